//! Refusals, and the one table from a refusal to a reply.

use crate::base::Reference;
use crate::mail::{EnhancedStatusCode, Reply};

use super::sms::SmsRefusal;

/// Why something is refused. One variant for each reply that a client gets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No such mailbox; perhaps the name of one that gives away no person.
    UnknownMailbox {
        /// The nearest mailbox of an organisation.
        suggestion: Option<String>,
    },
    /// The mailbox is shut and has no successor.
    ClosedMailbox,
    /// The mailbox has moved and mail is not forwarded.
    MovedMailbox {
        /// Where it is now.
        successor: String,
    },
    /// The name stands for more than one mailbox, or disagrees with its code.
    AmbiguousMailbox,
    /// An alias chain that does not end.
    AliasLoop,
    /// Nothing is to be sent to the mailbox; perhaps the shared one of its organisation that takes mail.
    TakesNoMail {
        /// The shared mailbox.
        instead: Option<String>,
    },
    /// A list without members.
    EmptyList,
    /// A stranger asks for a domain that is not served.
    RelayingDenied,
    /// Patient data for a domain that may not have it.
    PatientData {
        /// The domain.
        domain: String,
    },
    /// A kind of attachment that is not let through.
    AttachmentKind,
    /// A link that is not let through.
    Link,
    /// A scanner found malware.
    Malware,
    /// The spam score is over the limit.
    Spam,
    /// The sender's DMARC policy asks for refusal (RFC 7489 §10.3).
    DmarcReject,
    /// The sender may not use this address.
    SenderNotAllowed,
    /// It cannot go as a text message.
    Sms(SmsRefusal),
    /// The contract of the account does not allow it.
    OutsideContract,
    /// The message is larger than the contract of the account allows.
    OverContractSize {
        /// What it allows, in octets.
        limit_octets: u64,
    },
    /// A stranger is asked to come again.
    Greylisted,
    /// It claims to be from here, and nobody vouches for it.
    OwnDomain,
    /// The sender is on a list of those whose mail is not wanted.
    SenderBlocked,
    /// The DNS did not answer, so that it is not known who sent it.
    SenderUnverified,
    /// A stage could not do its work.
    StageUnavailable {
        /// The name of the stage.
        stage: &'static str,
    },
}

impl Refusal {
    /// What clients are told. The whole table: no other module chooses a code for a refusal.
    pub fn reply(&self, reference: &Reference) -> Reply {
        use EnhancedStatusCode as Code;
        let (code, status, text) = match self {
            Self::UnknownMailbox { suggestion: None } => (
                550,
                Code::permanent(1, 1),
                "no such mailbox here".to_owned(),
            ),
            Self::UnknownMailbox {
                suggestion: Some(name),
            } => (
                550,
                Code::permanent(1, 1),
                format!("no such mailbox here; did you mean {name}?"),
            ),
            Self::ClosedMailbox => (
                550,
                Code::permanent(2, 1),
                "this mailbox is closed and has no successor".to_owned(),
            ),
            Self::MovedMailbox { successor } => (
                551,
                Code::permanent(1, 6),
                format!("this mailbox has moved to {successor}"),
            ),
            Self::AmbiguousMailbox => (
                553,
                Code::permanent(1, 4),
                "this name may mean more than one mailbox".to_owned(),
            ),
            Self::AliasLoop => (
                550,
                Code::permanent(4, 6),
                "the aliases of this name form a loop".to_owned(),
            ),
            // RFC 3463 §3.3: X.2.1, the mailbox exists and takes no messages.
            Self::TakesNoMail { instead } => (
                550,
                Code::permanent(2, 1),
                match instead {
                    Some(name) => format!("this mailbox is not to be written to; write to {name}"),
                    None => "this mailbox is not to be written to".to_owned(),
                },
            ),
            Self::EmptyList => (
                550,
                Code::permanent(2, 4),
                "this list has no members".to_owned(),
            ),
            Self::RelayingDenied => (550, Code::permanent(7, 1), "relaying denied".to_owned()),
            Self::PatientData { domain } => (
                550,
                Code::permanent(7, 1),
                format!("patient data may not go to {domain}"),
            ),
            Self::AttachmentKind => (
                550,
                Code::permanent(7, 1),
                "this kind of attachment is not let through".to_owned(),
            ),
            Self::Link => (
                550,
                Code::permanent(7, 1),
                "a link in this message is not let through".to_owned(),
            ),
            Self::Malware => (
                550,
                Code::permanent(7, 1),
                "malware was found in this message".to_owned(),
            ),
            Self::Spam => (
                550,
                Code::permanent(7, 1),
                "this message looks like spam".to_owned(),
            ),
            Self::DmarcReject => (
                550,
                Code::permanent(7, 1),
                "the sender's DMARC policy refuses this message".to_owned(),
            ),
            Self::SenderNotAllowed => (
                550,
                Code::permanent(7, 1),
                "this client may not send from that address".to_owned(),
            ),
            Self::Sms(refusal) => refusal.reply(),
            Self::OutsideContract => (
                550,
                Code::permanent(7, 1),
                "the contract of this account does not allow it".to_owned(),
            ),
            Self::OverContractSize { limit_octets } => (
                552,
                Code::permanent(3, 4),
                format!("the contract of this account allows messages of {limit_octets} octets"),
            ),
            Self::Greylisted => (
                451,
                Code::transient(7, 1),
                "greylisted, try again in a few minutes".to_owned(),
            ),
            // RFC 7372 has no code for it: the policy refuses, not SPF or DKIM alone.
            Self::OwnDomain => (
                550,
                Code::permanent(7, 1),
                "mail in the name of this domain is not taken from outside unless SPF or DKIM vouches for it".to_owned(),
            ),
            Self::SenderBlocked => (
                550,
                Code::permanent(7, 1),
                "mail of this sender is not wanted here".to_owned(),
            ),
            Self::SenderUnverified => (
                451,
                Code::transient(4, 3),
                "the sender cannot be verified now, try again later".to_owned(),
            ),
            Self::StageUnavailable { .. } => (
                451,
                Code::transient(3, 0),
                "a check could not be made, try again later".to_owned(),
            ),
        };
        Reply::new(code, status, format!("{text}: see {reference}"))
    }
}
