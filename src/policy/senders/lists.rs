//! Lists of senders who are wanted, and of those who are not, for a mailbox, an organisation or all.
//!
//! Whoever is allowed is never kept back on the score alone; nothing else is forgiven. It holds for an author who
//! is proven to be who it says: a name on a list must not help whoever borrows it.

use crate::config::{Located, Section};
use crate::mail::Mailbox;
use crate::policy::author::authors;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::opinion::{Ask, Opinion};
use crate::policy::refusal::Refusal;

use super::pattern::{RecipientPattern, SenderPattern};

/// `[[allow]]`: who is wanted.
#[derive(Debug)]
pub(super) struct Allowed {
    sender: SenderPattern,
    recipients: Vec<RecipientPattern>,
    must_be_proven: bool,
}

/// `[[block]]`: who is not.
#[derive(Debug)]
pub(super) struct Blocked {
    sender: Located<SenderPattern>,
    recipients: Vec<RecipientPattern>,
    then: Then,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    Refuse,
    Quarantine,
}

/// Who sent a message, as far as lists go by it.
pub(super) struct Senders<'c> {
    case: &'c Case<'c>,
    authors: Vec<Mailbox>,
    is_one: bool,
}

impl<'c> Senders<'c> {
    pub(super) fn of(case: &'c Case<'c>) -> Self {
        let authors = authors(case.header, "From");
        Self {
            is_one: authors.len() == 1,
            authors: authors.into_iter().filter_map(|one| one.mailbox).collect(),
            case,
        }
    }

    /// The author, if there is one alone whom DMARC, or SPF or a signature in the name of his domain,
    /// vouches for, or a sealer whose word is taken.
    pub(super) fn proven_author(&self) -> Option<&Mailbox> {
        let author = self.authors.first().filter(|_| self.is_one)?;
        let results = &self.case.findings.authentication;
        let is_aligned = author
            .domain()
            .is_some_and(|domain| results.answers_for(domain));
        let failed = results.has("dmarc", &["fail"]);
        let is_vouched_for = results.has("dmarc", &["pass"]) || results.sealer.is_some();
        (is_vouched_for || (is_aligned && !failed)).then_some(author)
    }

    fn are(&self, pattern: &SenderPattern) -> bool {
        let reverse_path = self.case.transaction.envelope.reverse_path.notifiable();
        pattern.has(self.case.transaction.client.address.ip())
            || reverse_path.is_some_and(|mailbox| pattern.is(mailbox))
            || self.authors.iter().any(|author| pattern.is(author))
    }

    pub(super) fn is_for(
        &self,
        patterns: &[RecipientPattern],
        recipient: &ResolvedRecipient,
    ) -> bool {
        let Some(mailbox) = recipient.mailbox() else {
            return patterns.contains(&RecipientPattern::All);
        };
        let directory = self.case.directory;
        patterns
            .iter()
            .any(|pattern| pattern.is(mailbox, directory))
    }
}

impl Allowed {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let sender = section.required::<SenderPattern>("sender");
        let must_be_proven = section.flag("proven").is_none_or(|flag| *flag);
        section.required_string("reason");
        Some(Self {
            recipients: recipients(section),
            sender: sender?.into_inner(),
            must_be_proven,
        })
    }

    pub(super) fn holds(&self, senders: &Senders<'_>, recipient: &ResolvedRecipient) -> bool {
        let client = senders.case.transaction.client.address.ip();
        let is_sender = match self.must_be_proven {
            // Nobody borrows the address of a client.
            true => {
                let author = senders.proven_author();
                self.sender.has(client) || author.is_some_and(|author| self.sender.is(author))
            }
            false => senders.are(&self.sender),
        };
        is_sender && senders.is_for(&self.recipients, recipient)
    }
}

impl Blocked {
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let sender = section.required::<SenderPattern>("sender");
        let words = [("refuse", Then::Refuse), ("quarantine", Then::Quarantine)];
        let then = section.word("then", &words);
        section.required_string("reason");
        Some(Self {
            recipients: recipients(section),
            sender: sender?,
            then: then.map_or(Then::Quarantine, Located::into_inner),
        })
    }

    pub(super) fn opinion(
        &self,
        senders: &Senders<'_>,
        recipient: &ResolvedRecipient,
    ) -> Option<Opinion> {
        if !senders.are(&self.sender) || !senders.is_for(&self.recipients, recipient) {
            return None;
        }
        let ask = match self.then {
            Then::Refuse => Ask::Refuse(Refusal::SenderBlocked),
            Then::Quarantine => Ask::Quarantine,
        };
        let because = "its sender is on a list of those whose mail is not wanted";
        let opinion = Opinion::new(ask, self.sender.source(), because);
        Some(opinion.would_pass_if("the sender is taken off the list"))
    }
}

/// `for`; everybody if it is left out.
fn recipients(section: &Section<'_>) -> Vec<RecipientPattern> {
    match section.parse_list::<RecipientPattern>("for") {
        Some(listed) => listed.into_iter().map(Located::into_inner).collect(),
        None => vec![RecipientPattern::All],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml};
    use crate::mail::Domain;
    use crate::policy::testing::{World, file};

    fn read<T>(line: &str, read: fn(&Section<'_>) -> Option<T>) -> T {
        let diagnostics = Diagnostics::default();
        let line = format!("{line}\nreason = \"r\"\n");
        let found = read_toml(&file("senders.toml", &line), &diagnostics, read);
        assert!(diagnostics.into_vec().is_empty());
        found.unwrap()
    }

    fn world(proven: bool) -> World {
        let to = ["reception@bumbleton.example"];
        let mut world = World::new("From: Gp@Lab.example\n\nhello\n", "gp@lab.example", &to);
        if proven {
            let domain = Domain::parse("lab.example").unwrap();
            world.findings.authentication.identities.push(domain);
        }
        world
    }

    fn is_allowed(line: &str, proven: bool) -> bool {
        let line = read(line, Allowed::read);
        world(proven).ask(|case| line.holds(&Senders::of(case), &case.recipients[0]))
    }

    #[test]
    fn a_name_on_the_list_does_not_help_whoever_borrows_it() {
        let line = "sender = \"gp@lab.example\"";
        assert!(is_allowed(line, true) && !is_allowed(line, false));
        assert!(is_allowed(
            "sender = \"lab.example\"\nproven = false",
            false
        ));
        assert!(is_allowed("sender = \"192.0.2.0/24\"", false));
        assert!(!is_allowed("sender = \"198.51.100.0/24\"", true));
    }

    #[test]
    fn a_line_is_for_those_whom_it_names() {
        for (recipients, meant) in [
            ("\"all\"", true),
            ("\"Reception@bumbleton.example\"", true),
            ("\"bumbleton.example\"", true),
            (
                "\"dispensary@bumbleton.example\", \"nhs.net\", \"FA123\"",
                false,
            ),
        ] {
            let line = format!("sender = \"lab.example\"\nfor = [{recipients}]");
            assert_eq!(is_allowed(&line, true), meant, "{recipients}");
        }
    }

    #[test]
    fn whoever_is_blocked_is_blocked_whoever_vouches_for_him() {
        for (line, expected) in [
            ("sender = \"lab.example\"", Some(Ask::Quarantine)),
            (
                "sender = \"lab.example\"\nthen = \"refuse\"",
                Some(Ask::Refuse(Refusal::SenderBlocked)),
            ),
            ("sender = \"*.lab.example\"", None),
        ] {
            let blocked = read(line, Blocked::read);
            let opinion =
                world(true).ask(|case| blocked.opinion(&Senders::of(case), &case.recipients[0]));
            assert_eq!(opinion.map(|opinion| opinion.ask), expected, "{line}");
        }
    }
}
