//! Names that are unlike the others of their kind, that two bear, or that lead to a stranger.

use std::collections::HashMap;

use jiff::civil::Date;

use crate::directory::code::OdsCode;
use crate::directory::entry::{Entry, Kind};
use crate::directory::led::Redirect;
use crate::mail::{Domain, Mailbox};

use super::Lint;

impl Lint<'_> {
    /// Goes over every name.
    pub(super) fn names(&self) {
        for entry in self.directory.entries() {
            if entry.is_live(self.on) {
                self.convention(&entry);
                self.person(&entry);
            }
        }
        self.owners();
        for redirect in self.directory.aliases.redirects.in_order() {
            self.stranger(redirect);
        }
        self.successors();
    }

    /// NHSmail's naming convention (`domain.md` §1.1): of its own domain alone.
    fn convention(&self, entry: &Entry) {
        if entry
            .address
            .domain()
            .is_none_or(|domain| domain.as_str() != NHSMAIL)
        {
            return;
        }
        let local = entry.address.local_part().as_str();
        let code = entry.ods_code();
        let code = code
            .map(|code| code.as_str().to_ascii_lowercase())
            .unwrap_or_default();
        let (good, wanted) = match entry.kind {
            Kind::Pharmacy => (
                local == format!("pharmacy.{code}"),
                format!("pharmacy.{code}"),
            ),
            Kind::Care => (
                local.starts_with("care.") && local.ends_with(&code),
                format!("care.{code}"),
            ),
            Kind::Personal => (is_like_a_person(local), "firstname.lastname".to_owned()),
            Kind::Application if local.starts_with("reminders.") => {
                let wanted = format!("reminders.{code}.donotreply");
                (local == wanted, wanted)
            }
            _ => return,
        };
        if !good {
            let message = format!("{} is unlike {wanted}@{NHSMAIL}", entry.address);
            let help = "look whether it is the right name; give a wrong one a rename";
            self.of_row("naming", entry, message, help);
        }
    }

    fn person(&self, entry: &Entry) {
        let local = entry.address.local_part().as_str();
        if entry.kind == Kind::Application && is_like_a_person(local) && !names_a_process(local) {
            let message = format!(
                "the application account {} is named like a person",
                entry.address
            );
            let help = "name it for its process, or say kind `personal` if it is a person's";
            self.of_row("application-like-person", entry, message, help);
        }
    }

    /// Organisations with two live mailboxes of one kind: their old names are ambiguous.
    fn owners(&self) {
        let mut first: HashMap<(OdsCode, Kind, Domain), Mailbox> = HashMap::new();
        for entry in self.directory.entries() {
            let (Some(code), Some(domain)) = (entry.ods_code(), entry.address.domain()) else {
                continue;
            };
            if !entry.kind.needs_code() || !entry.is_live(self.on) {
                continue;
            }
            let key = (code, entry.kind, domain.clone());
            if let Some(one) = first.get(&key) {
                let message = format!("{code} has two live mailboxes, {one} and {}", entry.address);
                let help =
                    "its old names are ambiguous: shut one, or give it an [[alias]] for each";
                self.of_row("two-owners", &entry, message, help);
            } else {
                first.insert(key, entry.address);
            }
        }
    }

    /// A redirect that is older than the person it leads to was made for somebody else.
    fn stranger(&self, redirect: Redirect<'_>) {
        let Some(entry) = self.directory.entry(&redirect.to()) else {
            return;
        };
        let is_older = match (redirect.since(), entry.status_date) {
            (Some(since), Some(date)) => since < date,
            _ => false,
        };
        if entry.kind == Kind::Personal && entry.is_live(self.on) && is_older {
            let message = format!(
                "{} led to {} before that was its person's",
                redirect.from(),
                entry.address
            );
            let help = "the name was given again: take the redirect out";
            self.of_line("redirect-to-stranger", redirect.line(), message, help);
        }
    }

    fn successors(&self) {
        let mut all: Vec<_> = self.directory.aliases.successors.iter().collect();
        all.sort_by_key(|(_, successors)| successors.first().map(|next| next.line));
        for (code, successors) in all {
            let mut mailboxes = self.directory.mailboxes(*code);
            let live = mailboxes.find(|entry| entry.kind.needs_code() && entry.is_live(Date::MAX));
            if let (Some(live), Some(next)) = (live, successors.first()) {
                let message = format!("{code} has a successor, and {} stays live", live.address);
                let help = "shut the mailbox from the day of the succession, or take the row out";
                self.of_line("shadowed-successor", next.line, message, help);
            }
        }
    }
}

/// `firstname.lastname` with a number, hyphens and apostrophes (`domain.md` §1.3).
fn is_like_a_person(local: &str) -> bool {
    let bare = local.trim_end_matches(|c: char| c.is_ascii_digit());
    let labels: Vec<&str> = bare.split('.').collect();
    let is_name = |label: &&str| {
        let rest = label.strip_prefix(|c: char| c.is_alphabetic());
        rest.is_some_and(|rest| {
            rest.chars()
                .all(|c| c.is_alphabetic() || matches!(c, '\'' | '-'))
        })
    };
    local.len() - bare.len() <= 4 && (2..=3).contains(&labels.len()) && labels.iter().all(is_name)
}

/// Whether a name says what an application does.
fn names_a_process(local: &str) -> bool {
    let mut labels = local.split(['.', '-']);
    labels.any(|label| PROCESSES.iter().any(|word| label.starts_with(word)))
}

/// Words that no person is called: the beginnings of those that applications are named for.
const PROCESSES: &[&str] = &[
    "admin",
    "alert",
    "app",
    "auto",
    "backup",
    "book",
    "clinic",
    "donotreply",
    "email",
    "feedback",
    "info",
    "invoice",
    "mail",
    "message",
    "monitor",
    "no",
    "notif",
    "order",
    "payment",
    "pharmacy",
    "prescription",
    "print",
    "recall",
    "referral",
    "refill",
    "remind",
    "repeat",
    "report",
    "result",
    "scan",
    "screen",
    "service",
    "sms",
    "stock",
    "survey",
    "system",
    "test",
    "text",
    "upload",
];
/// Where the convention holds.
const NHSMAIL: &str = "nhs.net";
