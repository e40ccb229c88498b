//! The contract of an account: to whom it may send, how much, from where, and in which time.
//!
//! Whom it may send *as* stands in [`Account::may_send_from`](super::Account::may_send_from); what it says of patient
//! data in [`Declaration`]. The defaults are NHSmail's own (`domain.md` §6.1).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::base::certificate::KnownCertificate;
use crate::base::network::Network;
use crate::config::{Diagnostic, Located, Section};
use crate::mail::{AddressError, Domain, Mailbox};

use super::Declaration;
use super::account::Sender;
use super::certificate;

/// What an account may do, beside the names that it sends under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contract {
    /// The reverse paths that it may use; `None` for the names that it may send from.
    pub envelope_senders: Option<Vec<Sender>>,
    /// Whose name it may put into `From` if `Sender` bears its own (RFC 5322 §3.6.2).
    pub on_behalf_of: Vec<Sender>,
    /// The shared mailbox that it belongs to, as one of its ten accounts.
    pub linked_mailbox: Option<Mailbox>,
    /// To whom it may send; empty for anybody.
    pub recipients: Vec<RecipientClass>,
    /// Messages a minute; 0 for no limit.
    pub rate_per_minute: u32,
    /// Recipients a day (universal time); 0 for no limit.
    pub daily_recipients: u32,
    /// Largest message, in octets; `None` for the gateway's own limit.
    pub message_octets: Option<u64>,
    /// Where its clients are; empty for anywhere.
    pub networks: Vec<Network>,
    /// Clients that are this account by their address alone: devices that can do nothing else.
    pub pinned_to: Vec<Network>,
    /// Whose tokens open it, by the claim that its issuer is read by.
    pub token_subjects: Vec<String>,
    /// The issuers that may make these tokens; empty for the one there is (of several it would be none).
    pub token_issuers: Vec<String>,
    /// By what the certificates of its clients are known.
    pub certificates: Vec<KnownCertificate>,
    /// The first day on which it may be used.
    pub valid_from: Option<Date>,
    /// The last day on which it may be used.
    pub valid_until: Option<Date>,
    /// Whether its mail is marked `Auto-Submitted: auto-generated` (RFC 3834 §5) where it is not marked at all.
    pub is_automatic: bool,
    /// What becomes of a `From` that it may not use.
    pub foreign_from: ForeignFrom,
    /// What becomes of answers to its own address.
    pub replies: Replies,
}

impl Default for Contract {
    fn default() -> Self {
        Self {
            envelope_senders: None,
            on_behalf_of: Vec::new(),
            linked_mailbox: None,
            recipients: Vec::new(),
            rate_per_minute: RATE_PER_MINUTE,
            daily_recipients: DAILY_RECIPIENTS,
            message_octets: None,
            networks: Vec::new(),
            pinned_to: Vec::new(),
            token_subjects: Vec::new(),
            token_issuers: Vec::new(),
            certificates: Vec::new(),
            valid_from: None,
            valid_until: None,
            is_automatic: true,
            foreign_from: ForeignFrom::Refuse,
            replies: Replies::Deliver,
        }
    }
}

/// What becomes of a `From` that an account may not use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForeignFrom {
    /// The message is refused.
    #[default]
    Refuse,
    /// The account's own address takes its place (RFC 6409 §8).
    Fix,
}

/// What becomes of mail to the account's own address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Replies {
    /// It is delivered like any other.
    #[default]
    Deliver,
    /// It is taken, written down and thrown away.
    Discard,
    /// As with discard; whoever wrote is told once where to turn to instead.
    Answer {
        /// Where: a sentence with a telephone number or an address.
        contact: String,
    },
    /// It goes to the linked mailbox.
    LinkedMailbox,
}

/// Recipients of one kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecipientClass {
    /// Domains that this gateway serves.
    Served,
    /// Domains that may have patient data.
    Secure,
    /// Anybody.
    Anyone,
    /// Everybody of a domain.
    Domain(Domain),
    /// One mailbox; folded.
    Mailbox(Mailbox),
}

impl FromStr for RecipientClass {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text {
            "served" => return Ok(Self::Served),
            "secure" => return Ok(Self::Secure),
            "anyone" => return Ok(Self::Anyone),
            _ => {}
        }
        Ok(match text.parse::<Sender>()? {
            Sender::Domain(domain) => Self::Domain(domain),
            Sender::Mailbox(mailbox) => Self::Mailbox(mailbox),
        })
    }
}

impl fmt::Display for RecipientClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => f.write_str("served"),
            Self::Secure => f.write_str("secure"),
            Self::Anyone => f.write_str("anyone"),
            Self::Domain(domain) => write!(f, "@{domain}"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// What is known of a recipient when the contract is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The mailbox; `None` for the bare postmaster, whom everybody may write to.
    pub mailbox: Option<&'a Mailbox>,
    /// Whether this gateway serves its domain.
    pub is_served: bool,
    /// Whether its domain may have patient data.
    pub is_secure: bool,
}

impl Contract {
    /// Whether the account may send to this recipient.
    pub fn allows_recipient(&self, asked: Asked<'_>) -> bool {
        let Some(mailbox) = asked.mailbox else {
            return true;
        };
        let folded = mailbox.folded();
        let allows = |class: &RecipientClass| match class {
            RecipientClass::Anyone => true,
            RecipientClass::Served => asked.is_served,
            RecipientClass::Secure => asked.is_secure,
            RecipientClass::Domain(domain) => folded.domain() == Some(domain),
            RecipientClass::Mailbox(own) => *own == folded,
        };
        self.recipients.is_empty() || self.recipients.iter().any(allows)
    }

    /// Whether a client at this address may use the account.
    pub fn allows_client(&self, client: IpAddr) -> bool {
        let mut all = self.networks.iter().chain(&self.pinned_to);
        self.networks.is_empty() || all.any(|network| network.contains(client))
    }

    /// Whether a client at this address is the account without a word.
    pub fn is_pinned(&self, client: IpAddr) -> bool {
        self.pinned_to
            .iter()
            .any(|network| network.contains(client))
    }

    /// Whether a token of this issuer for this subject is the account's. What one issuer calls its subject is another's
    /// to give to whom it likes (RFC 7519 §4.1.2): without `token-issuers` this holds where there is one issuer only.
    pub fn takes_token(&self, issuer: &str, subject: &str) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|known| known == one);
        let is_of_issuer = self.token_issuers.is_empty() || has(&self.token_issuers, issuer);
        is_of_issuer && has(&self.token_subjects, subject)
    }

    /// Whether the account may be used on the day of this moment.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        let today = now.to_zoned(TimeZone::UTC).date();
        self.valid_from.is_none_or(|from| from <= today)
            && self.valid_until.is_none_or(|until| today <= until)
    }

    /// Whether there is a day, this one or a later one, on which both accounts may be used.
    pub(super) fn is_valid_with(&self, other: &Self, from: Date) -> bool {
        let both = [self, other];
        let begins = both.iter().filter_map(|one| one.valid_from);
        let first = begins.fold(from, Date::max);
        let ends = |one: &&Self| one.valid_until.is_none_or(|until| first <= until);
        both.iter().all(ends)
    }

    /// Takes the contract out of an `[[account]]`; what is wrong is reported.
    pub(super) fn read(section: &Section<'_>, patient_data: Declaration) -> Self {
        let default = Self::default();
        let number = |key: &str, default: u32| {
            let read = section.integer(key, 0..=10_000_000);
            read.map_or(default, |n| u32::try_from(*n).unwrap_or(default))
        };
        let linked_mailbox = section.parse("linked-mailbox").map(Located::into_inner);
        let contract = Self {
            envelope_senders: list(section, "envelope-senders"),
            on_behalf_of: list(section, "on-behalf-of").unwrap_or_default(),
            recipients: list(section, "recipients").unwrap_or_default(),
            rate_per_minute: number("rate", default.rate_per_minute),
            daily_recipients: number("daily-recipients", default.daily_recipients),
            message_octets: section.octets("message-octets").map(Located::into_inner),
            networks: list(section, "networks").unwrap_or_default(),
            pinned_to: list(section, "network-login").unwrap_or_default(),
            token_subjects: list(section, "token-subjects").unwrap_or_default(),
            token_issuers: list(section, "token-issuers").unwrap_or_default(),
            certificates: certificate::read_list(section, "certificates"),
            valid_from: section.date("valid-from").map(Located::into_inner),
            valid_until: section.date("valid-until").map(Located::into_inner),
            is_automatic: section
                .flag("auto-submitted")
                .is_none_or(Located::into_inner),
            foreign_from: section
                .word("foreign-from", &FOREIGN_FROM)
                .map_or(default.foreign_from, Located::into_inner),
            replies: read_replies(section, linked_mailbox.is_some()),
            linked_mailbox,
        };
        contract.check(section, patient_data);
        contract
    }

    fn check(&self, section: &Section<'_>, patient_data: Declaration) {
        let wrong = |message: &str, help: &str| {
            let wrong = Diagnostic::error("contract", message).at(section.place(), "");
            section.diagnostics().push(wrong.help(help));
        };
        if !self.pinned_to.is_empty() && patient_data != Declaration::Never {
            wrong(
                "a client that shows no secret may send no patient data",
                "write patient-data = \"never\", or give the device a secret and take `network-login` out",
            );
        }
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until < from
        {
            wrong(
                "`valid-until` lies before `valid-from`",
                "the last day on which the account may be used is not before the first",
            );
        }
    }
}

fn list<T: FromStr>(section: &Section<'_>, key: &str) -> Option<Vec<T>>
where
    T::Err: fmt::Display,
{
    let read = section.parse_list::<T>(key)?;
    Some(read.into_iter().map(Located::into_inner).collect())
}

fn read_replies(section: &Section<'_>, is_linked: bool) -> Replies {
    let word = section.word("replies", &REPLIES);
    let contact = section.string("reply-contact");
    let Some(word) = word else {
        return Replies::Deliver;
    };
    let incomplete = |help: &str| {
        let message = "`replies` needs to know where people turn to";
        section.report("contract", message, &word, help.to_owned());
        Replies::Deliver
    };
    match *word {
        "answer" => match contact {
            Some(contact) => Replies::Answer {
                contact: contact.into_inner(),
            },
            None => incomplete("write reply-contact = \"Bumbleton Pharmacy, 020 7946 0018\""),
        },
        "linked-mailbox" if is_linked => Replies::LinkedMailbox,
        "linked-mailbox" => incomplete("write linked-mailbox = \"…\""),
        "discard" => Replies::Discard,
        _ => Replies::Deliver,
    }
}

const FOREIGN_FROM: [(&str, ForeignFrom); 2] =
    [("refuse", ForeignFrom::Refuse), ("fix", ForeignFrom::Fix)];
const REPLIES: [(&str, &str); 4] = [
    ("deliver", "deliver"),
    ("discard", "discard"),
    ("answer", "answer"),
    ("linked-mailbox", "linked-mailbox"),
];
/// Messages a minute: Exchange Online's own limit (`domain.md` §6.1).
const RATE_PER_MINUTE: u32 = 30;
/// Recipients a day: Exchange Online's own limit (`domain.md` §6.1).
const DAILY_RECIPIENTS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::testing::read;

    fn contract(keys: &str) -> Contract {
        let (accounts, said) = read(&format!(
            "[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n{keys}"
        ));
        assert_eq!(said, [""; 0]);
        accounts.get("a@nhs.net").unwrap().contract.clone()
    }

    #[test]
    fn what_is_not_written_is_as_with_nhsmail() {
        let contract = contract("");
        assert_eq!(contract, Contract::default());
        assert_eq!(
            (contract.rate_per_minute, contract.daily_recipients),
            (30, 10_000)
        );
    }

    #[test]
    fn recipients_are_allowed_by_their_class() {
        let contract = contract(
            "recipients = [\"served\", \"secure\", \"@lab.example\", \"One@else.example\"]",
        );
        for (mailbox, is_served, is_secure, allowed) in [
            ("x@nhs.net", true, false, true),
            ("x@gov.example", false, true, true),
            ("x@LAB.example", false, false, true),
            ("x@sub.lab.example", false, false, false),
            ("one@else.example", false, false, true),
            ("two@else.example", false, false, false),
        ] {
            let mailbox: Mailbox = mailbox.parse().unwrap();
            let asked = Asked {
                mailbox: Some(&mailbox),
                is_served,
                is_secure,
            };
            assert_eq!(contract.allows_recipient(asked), allowed, "{mailbox}");
        }
        let postmaster = Asked {
            mailbox: None,
            is_served: false,
            is_secure: false,
        };
        assert!(contract.allows_recipient(postmaster));
    }

    #[test]
    fn clients_and_days_are_allowed_as_written() {
        let contract = contract(
            "networks = [\"192.0.2.0/24\"]\nvalid-from = 2026-11-21\nvalid-until = 2026-11-22\n",
        );
        let allows = |address: &str| contract.allows_client(address.parse().unwrap());
        assert!(allows("192.0.2.7") && !allows("198.51.100.1"));
        let valid = |at: &str| contract.is_valid(at.parse().unwrap());
        assert!(!valid("2026-11-20T23:59:59Z") && valid("2026-11-21T00:00:00Z"));
        assert!(valid("2026-11-22T23:59:59Z") && !valid("2026-11-23T00:00:00Z"));
    }

    #[test]
    fn contracts_that_contradict_themselves_are_told() {
        let (_, said) = read(
            "[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\nnetwork-login = [\"192.0.2.7\"]\n\
             [[account]]\nname = \"b@nhs.net\"\nsecret = \"stored\"\nvalid-from = 2026-11-22\nvalid-until = 2026-11-21\n\
             [[account]]\nname = \"c@nhs.net\"\nsecret = \"stored\"\nreplies = \"answer\"\n\
             [[account]]\nname = \"d@nhs.net\"\nsecret = \"stored\"\nreplies = \"linked-mailbox\"\n",
        );
        assert_eq!(
            said,
            [
                "contract: a client that shows no secret may send no patient data",
                "contract: `valid-until` lies before `valid-from`",
                "contract: `replies` needs to know where people turn to",
                "contract: `replies` needs to know where people turn to",
            ]
        );
    }
}
