//! The conditions that scoring rules name: a closed set, each answered from what is already known.

use jiff::Timestamp;

use crate::mail::{Domain, Header};

use super::author::{Author, authors};
use super::case::Case;
use super::people::People;
use super::spam::Mail;
use super::spam::look::Look;
use super::spam::patterns::{Pattern, Patterns};
use super::spam::signs::{Sign, is_date_beyond};

/// What a rule of `scoring.toml` asks.
#[derive(Clone, Debug)]
pub enum Condition {
    /// A method of sender authentication came to this result: `spf`, `fail`.
    Method(&'static str, &'static [&'static str]),
    /// DMARC fails, and no sealer whose word is taken vouches for the author.
    DmarcFails,
    /// A field is not there.
    Missing(&'static str),
    /// A field that may be there once is there several times.
    SeveralFrom,
    /// Lines in the header that are no field.
    MalformedHeader,
    /// `Reply-To` leads to another domain than `From`.
    ReplyToDiffers,
    /// The subject is in capitals alone.
    SubjectCapitals,
    /// More recipients than this in the envelope.
    RecipientsOver(usize),
    /// `Precedence: bulk` or `junk`.
    BulkPrecedence,
    /// The name shown is an address at another domain than the real one.
    NameShowsOtherAddress,
    /// The name shown bears a domain that is served here, and the address is not there.
    NameShowsServedDomain,
    /// `From` is at a domain that is served here, and nobody vouches for it.
    FromServedDomain,
    /// `Date` is further from now than this many hours, either way.
    DateOff(i64),
    /// The client said HELO with an address, or nothing.
    HeloNoName,
    /// Something in the message matches an expression.
    Matches(Pattern),
    /// The message is of a certain kind.
    Sign(Sign),
    /// `Date` lies so many seconds ahead of when the message was received; behind if they are negative.
    DateBeyond(i64),
    /// The name shown is that of somebody in the directory, and the address is elsewhere.
    NameOfOurs,
    /// The name shown matches one of these expressions, the author's domain is neither served nor secure.
    NameFromOutside(Pattern),
}

impl Condition {
    /// Its expression, if it has one.
    pub fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Matches(pattern) | Self::NameFromOutside(pattern) => Some(pattern),
            _ => None,
        }
    }

    /// Whether it rests on what the network said of the sender when the message came.
    pub fn asks_of_sender(&self) -> bool {
        matches!(
            self,
            Self::Method(..) | Self::DmarcFails | Self::FromServedDomain
        )
    }
}

/// What the conditions need of a message, looked up once.
pub struct Facts<'c> {
    case: &'c Case<'c>,
    from: Vec<Author>,
    look: Look<'c>,
    /// The numbers of the rules whose expressions match, in order.
    hits: Vec<usize>,
    people: Option<&'c People>,
    /// Whether the author is at a domain that is served here or listed as secure.
    is_known_domain: bool,
}

impl<'c> Facts<'c> {
    /// Looks it up, with the expressions of all rules.
    pub fn new(case: &'c Case<'c>, patterns: &Patterns) -> Self {
        let look = Look::new(Mail {
            octets: case.transaction.message.octets(),
            header: case.header,
            structure: case.structure.ok(),
            content: case.content,
        });
        Self {
            from: look.from.clone(),
            hits: patterns.hits(&look),
            look,
            case,
            people: None,
            is_known_domain: false,
        }
    }

    /// With what the conditions about names need: who is in the directory, and which domains are secure.
    #[must_use]
    pub fn knowing(mut self, people: &'c People, is_secure: impl Fn(&Domain) -> bool) -> Self {
        self.people = Some(people);
        let known = |domain: &Domain| self.case.directory.serves(domain) || is_secure(domain);
        self.is_known_domain = self.author_domain().is_some_and(known);
        self
    }

    /// The message as rules and learner see it.
    pub fn look(&self) -> &Look<'c> {
        &self.look
    }

    /// Whether DMARC vouches for the author, and there is one alone: of several it is not known which of
    /// them it vouches for (RFC 7489 §6.6.1).
    pub fn author_is_proven(&self) -> bool {
        self.method_is("dmarc", &["pass"]) && !self.has_several_authors()
    }

    fn has_several_authors(&self) -> bool {
        self.case.header.all("From").nth(1).is_some() || self.from.len() > 1
    }

    /// The domain of the first author.
    pub fn author_domain(&self) -> Option<&Domain> {
        self.from
            .iter()
            .find_map(|author| author.mailbox.as_ref()?.domain())
    }

    /// Whether a method of sender authentication came to one of these results.
    pub fn method_is(&self, method: &str, results: &[&str]) -> bool {
        let methods = &self.case.findings.authentication.methods;
        methods
            .iter()
            .any(|found| found.method == method && results.contains(&found.result.as_str()))
    }

    /// Whether the condition of the rule of this number holds.
    pub fn holds(&self, number: usize, condition: &Condition) -> bool {
        let header = self.case.header;
        match condition {
            Condition::Method(method, results) => self.method_is(method, results),
            Condition::DmarcFails => {
                // A list that broke the signature and whose word is taken is no forger.
                let is_vouched_for = self.case.findings.authentication.sealer.is_some();
                self.method_is("dmarc", &["fail"]) && !is_vouched_for
            }
            Condition::Missing(field) => header.first(field).is_none(),
            Condition::SeveralFrom => self.has_several_authors(),
            Condition::MalformedHeader => header.malformed_lines() > 0,
            Condition::ReplyToDiffers => self.reply_to_differs(),
            Condition::SubjectCapitals => is_shouted(&self.case.content.subject),
            Condition::RecipientsOver(count) => {
                self.case.transaction.envelope.recipients.len() > *count
            }
            Condition::BulkPrecedence => is_bulk(header),
            Condition::NameShowsOtherAddress => self.from.iter().any(shows_other_address),
            Condition::NameShowsServedDomain => self
                .from
                .iter()
                .any(|author| self.shows_served_domain(author)),
            Condition::FromServedDomain => self.is_unproven_own(),
            Condition::DateOff(hours) => is_date_off(header, self.case.now, *hours),
            Condition::HeloNoName => {
                let helo = self.case.transaction.client.helo.as_deref();
                helo.is_none_or(|name| name.starts_with('[') || !name.contains('.'))
            }
            Condition::Matches(_) => self.hits.binary_search(&number).is_ok(),
            Condition::Sign(sign) => sign.holds(&self.look),
            Condition::DateBeyond(seconds) => is_date_beyond(&self.look, *seconds, self.case.now),
            Condition::NameOfOurs => !self.is_known_domain && self.shows_name_of_ours(),
            Condition::NameFromOutside(_) => {
                !self.is_known_domain && self.hits.binary_search(&number).is_ok()
            }
        }
    }

    fn shows_name_of_ours(&self) -> bool {
        let names = self.from.iter().filter_map(|author| author.name.as_deref());
        let people = self.people;
        people.is_some_and(|people| {
            names
                .into_iter()
                .any(|name| people.has(self.case.directory, name))
        })
    }

    fn reply_to_differs(&self) -> bool {
        let reply_to = authors(self.case.header, "Reply-To");
        let domain = reply_to
            .iter()
            .find_map(|author| author.mailbox.as_ref()?.domain());
        match (domain, self.author_domain()) {
            (Some(reply_to), Some(from)) => {
                reply_to != from && !reply_to.is_below(from) && !from.is_below(reply_to)
            }
            _ => false,
        }
    }

    fn shows_served_domain(&self, author: &Author) -> bool {
        let served = |domain: &Domain| self.case.directory.serves(domain);
        if author
            .mailbox
            .as_ref()
            .and_then(|mailbox| mailbox.domain())
            .is_some_and(served)
        {
            return false;
        }
        words(author).any(|word| {
            let domain = word.rsplit('@').next().unwrap_or(word);
            domain.contains('.') && Domain::parse(domain).is_ok_and(|domain| served(&domain))
        })
    }

    fn is_unproven_own(&self) -> bool {
        let domains = self
            .from
            .iter()
            .filter_map(|it| it.mailbox.as_ref()?.domain());
        let own = domains
            .into_iter()
            .any(|domain| self.case.directory.serves(domain));
        own && !self.author_is_proven()
    }
}

/// The words of the name that is shown.
fn words(author: &Author) -> impl Iterator<Item = &str> {
    let name = author.name.as_deref().unwrap_or_default();
    name.split(|c: char| c.is_whitespace() || "<>()[]\"',;".contains(c))
        .map(|word| word.trim_matches('.'))
}

fn shows_other_address(author: &Author) -> bool {
    let Some(own) = author.mailbox.as_ref().and_then(|mailbox| mailbox.domain()) else {
        return false;
    };
    words(author)
        .filter_map(|word| word.split_once('@'))
        .any(|(_, domain)| Domain::parse(domain).is_ok_and(|shown| shown != *own))
}

/// Capitals alone, and enough of them to be no abbreviation.
fn is_shouted(subject: &str) -> bool {
    let letters = subject.chars().filter(|c| c.is_alphabetic()).count();
    letters >= SHOUTED_LETTERS_MIN && !subject.chars().any(char::is_lowercase)
}

fn is_bulk(header: &Header<'_>) -> bool {
    let precedence = header.first("Precedence").map(|field| field.value());
    precedence.is_some_and(|value| {
        ["bulk", "junk"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word))
    })
}

/// A date that cannot be read is off.
fn is_date_off(header: &Header<'_>, now: Timestamp, hours: i64) -> bool {
    let Some(field) = header.first("Date") else {
        return false;
    };
    let value = field.value();
    match jiff::fmt::rfc2822::DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(value.as_bytes())
    {
        Ok(date) => (now.as_second() - date.as_second()).abs() > hours * 3_600,
        Err(_) => true,
    }
}

/// Letters that a subject must have to be shouted.
const SHOUTED_LETTERS_MIN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::World;

    fn holds(header: &str, condition: &Condition) -> bool {
        let world = World::new(
            &format!("{header}\n\nhello\n"),
            "x@y.example",
            &["a@nhs.net"],
        );
        let patterns = Patterns::default();
        world.ask(|case| Facts::new(case, &patterns).holds(0, condition))
    }

    #[test]
    fn each_condition_speaks_for_what_it_says_and_not_for_what_is_near_it() {
        let date = Condition::DateOff(96);
        for (speaks, header, condition) in [
            (true, "Subject: x", &Condition::Missing("Date")),
            (false, "date: x", &Condition::Missing("Date")),
            (
                true,
                "From: a@b.example, c@d.example",
                &Condition::SeveralFrom,
            ),
            (
                false,
                "From: \"a, b\" <a@b.example>",
                &Condition::SeveralFrom,
            ),
            (
                true,
                "From: a@b.example\nReply-To: c@d.example",
                &Condition::ReplyToDiffers,
            ),
            (
                false,
                "From: a@b.example\nReply-To: c@mail.b.example",
                &Condition::ReplyToDiffers,
            ),
            (true, "Precedence: Bulk", &Condition::BulkPrecedence),
            (false, "Precedence: list", &Condition::BulkPrecedence),
            (
                true,
                "From: \"boss@c.example\" <a@b.example>",
                &Condition::NameShowsOtherAddress,
            ),
            (
                false,
                "From: \"a@b.example\" <a@b.example>",
                &Condition::NameShowsOtherAddress,
            ),
            (
                true,
                "From: \"NHS (gp@nhs.net)\" <a@b.example>",
                &Condition::NameShowsServedDomain,
            ),
            (
                true,
                "From: helpdesk nhs.net <a@b.example>",
                &Condition::NameShowsServedDomain,
            ),
            (
                false,
                "From: \"gp@nhs.net\" <gp@nhs.net>",
                &Condition::NameShowsServedDomain,
            ),
            (true, "From: gp@nhs.net", &Condition::FromServedDomain),
            (
                true,
                "From: x@y.example, gp@nhs.net",
                &Condition::FromServedDomain,
            ),
            (false, "From: gp@sub.nhs.net", &Condition::FromServedDomain),
            (true, "Date: Mon, 2 Nov 2026 10:00:00 +0000", &date),
            (true, "Date: yesterday", &date),
            (false, "Date: Fri, 20 Nov 2026 10:00:00 GMT", &date),
            (true, "nonsense", &Condition::MalformedHeader),
        ] {
            assert_eq!(holds(header, condition), speaks, "{header:?} {condition:?}");
        }
    }

    #[test]
    fn a_short_subject_in_capitals_is_not_shouted() {
        assert!(is_shouted("BUY NOW OR NEVER AGAIN"));
        assert!(!is_shouted("RE: MDT") && !is_shouted("Buy Now Or Never Again"));
    }
}
