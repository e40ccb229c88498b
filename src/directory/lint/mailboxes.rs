//! Mailboxes without owner or readers, and rows whose time has passed.

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};

use crate::directory::entry::{Completeness, Entry, Kind, Status};
use crate::mail::Mailbox;

use super::Lint;

impl Lint<'_> {
    /// Goes over every row of `directory.csv`.
    pub(super) fn mailboxes(&self) {
        // A table that has no links at all is not one of mailboxes that nobody reads.
        let keeps_links = self
            .directory
            .entries()
            .any(|entry| !entry.linked.is_empty());
        for entry in self.directory.entries() {
            if entry.is_live(self.on) {
                self.owner(&entry);
                if keeps_links {
                    self.links(&entry);
                }
                self.verified(&entry);
            } else {
                self.expired(&entry);
            }
        }
    }

    fn owner(&self, entry: &Entry) {
        let in_list = || self.directory.list_owner(&entry.address).is_some();
        if entry.kind != Kind::Personal && entry.owner.is_empty() && !in_list() {
            let message = format!("{} has no owner", entry.address);
            self.of_row(
                "no-owner",
                entry,
                message,
                "say in `owner` who answers for it",
            );
        }
    }

    fn links(&self, entry: &Entry) {
        if !entry.kind.is_organisation() {
            return;
        }
        let live = entry.linked.iter();
        let live = live.filter(|link| self.may_be_live(&link.account)).count();
        if live < LINKED_MIN {
            let message = format!("{} has {live} live linked accounts", entry.address);
            let help = "link a second person's: NHSmail wants two, and one may leave";
            self.of_row("few-links", entry, message, help);
        }
        let approved = usize::try_from(entry.approved_links.unwrap_or(0)).unwrap_or(usize::MAX);
        let linked = entry.linked.len();
        if linked > LINKED_MAX && linked > approved {
            let message = format!("{} has {linked} linked accounts", entry.address);
            let help = "more than ten need an approval: give its number in `approved_links`";
            self.of_row("many-links", entry, message, help);
        }
    }

    /// Whether an account is in use, or at least nothing says that it is not.
    fn may_be_live(&self, account: &Mailbox) -> bool {
        match self.directory.entry(account) {
            Some(entry) => entry.is_live(self.on),
            None => {
                let domain = account.domain();
                let served = domain.and_then(|domain| self.directory.served.get(domain));
                served != Some(&Completeness::Complete)
            }
        }
    }

    fn verified(&self, entry: &Entry) {
        if entry.kind.is_organisation()
            && let Some(date) = entry.last_verified
            && self.is_over(Some(date), 1.year())
        {
            let message = format!("{} was last verified on {date}", entry.address);
            let help = "make sure that somebody reads it, and write the day into `last_verified`";
            self.of_row("stale", entry, message, help);
        }
    }

    /// Rows that say what cannot be so any more: the times are those of `domain.md` §8.1 and §8.2.
    fn expired(&self, entry: &Entry) {
        let (after, help) = match (entry.status, entry.kind) {
            (Status::Leaver, _) => (30.days(), "a leaver's account is deleted by now: say so"),
            (Status::Inactive, Kind::Personal) => {
                (60.days(), "an inactive account is deleted by now: say so")
            }
            (Status::Disabled, _) => (18.months(), "a disabled account is gone by now: say so"),
            (Status::Deleted, _) => (2.years(), "its name may be given again: take the row out"),
            _ => return,
        };
        if self.is_over(entry.status_date, after) {
            let since = entry
                .status_date
                .map_or_else(String::new, |date| date.to_string());
            let word = entry.status.word();
            let message = format!("{} is {word} since {since}", entry.address);
            self.of_row("expired", entry, message, help);
        }
    }

    fn is_over(&self, since: Option<Date>, after: Span) -> bool {
        let end = since.and_then(|date| date.checked_add(after).ok());
        end.is_some_and(|end| end < self.on)
    }
}

/// Live accounts that a shared mailbox must have, and those that it may have without an approval
/// (`domain.md` §8.1).
const LINKED_MIN: usize = 2;
const LINKED_MAX: usize = 10;
