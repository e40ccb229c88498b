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
    /// Patient data for a mailbox that takes none.
    TakesNoPatientData,
    /// Patient data of our own, under a name that may not send any.
    MaySendNoPatientData,
    /// A subject that nearly asks for encryption, for a domain that is not secure.
    NearMiss {
        /// Whether there is patient data in the message, which wants encryption whatever the subject says.
        patient_data: bool,
    },
    /// Something that could not be looked into, for a domain that is not secure.
    Unreadable {
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
    /// Whether the envelope alone says so, of a recipient: a client hears it at `RCPT TO`.
    pub fn is_of_recipient(&self) -> bool {
        matches!(
            self,
            Self::UnknownMailbox { .. }
                | Self::ClosedMailbox
                | Self::MovedMailbox { .. }
                | Self::AmbiguousMailbox
                | Self::AliasLoop
                | Self::TakesNoMail { .. }
                | Self::EmptyList
                | Self::RelayingDenied
        )
    }

    /// What clients are told. The whole table: no other module chooses a code for a refusal.
    pub fn reply(&self, reference: &Reference) -> Reply {
        let Row(code, status, text) = match self {
            Self::UnknownMailbox { suggestion } => no(550, 1, 1, no_such_mailbox(suggestion)),
            Self::ClosedMailbox => no(550, 2, 1, "this mailbox is closed and has no successor"),
            Self::MovedMailbox { successor } => {
                no(551, 1, 6, format!("this mailbox has moved to {successor}"))
            }
            Self::AmbiguousMailbox => no(553, 1, 4, "this name may mean more than one mailbox"),
            Self::AliasLoop => no(550, 4, 6, "the aliases of this name form a loop"),
            // RFC 3463 §3.3: X.2.1, the mailbox exists and takes no messages.
            Self::TakesNoMail { instead } => no(550, 2, 1, not_to_be_written_to(instead)),
            Self::EmptyList => no(550, 2, 4, "this list has no members"),
            Self::RelayingDenied => no(550, 7, 1, "relaying denied"),
            Self::PatientData { domain } => {
                no(550, 7, 1, format!("patient data may not go to {domain}"))
            }
            Self::TakesNoPatientData => no(550, 7, 1, "this mailbox does not take patient data"),
            Self::MaySendNoPatientData => no(550, 7, 1, "this sender may not send patient data"),
            Self::NearMiss { patient_data } => no(550, 7, 1, near_miss(*patient_data)),
            Self::Unreadable { domain } => no(550, 7, 1, unreadable(domain)),
            Self::AttachmentKind => no(550, 7, 1, "this kind of attachment is not let through"),
            Self::Link => no(550, 7, 1, "a link in this message is not let through"),
            Self::Malware => no(550, 7, 1, "malware was found in this message"),
            Self::Spam => no(550, 7, 1, "this message looks like spam"),
            Self::DmarcReject => no(550, 7, 1, "the sender's DMARC policy refuses this message"),
            Self::SenderNotAllowed => no(550, 7, 1, "this client may not send from that address"),
            Self::Sms(refusal) => {
                let (code, status, text) = refusal.reply();
                Row(code, status, text)
            }
            Self::OutsideContract => {
                no(550, 7, 1, "the contract of this account does not allow it")
            }
            Self::OverContractSize { limit_octets } => no(552, 3, 4, over_contract(*limit_octets)),
            Self::Greylisted => later(7, 1, "greylisted, try again in a few minutes"),
            // RFC 7372 has no code for it: the policy refuses, not SPF or DKIM alone.
            Self::OwnDomain => no(550, 7, 1, OWN_DOMAIN),
            Self::SenderBlocked => no(550, 7, 1, "mail of this sender is not wanted here"),
            Self::SenderUnverified => {
                later(4, 3, "the sender cannot be verified now, try again later")
            }
            Self::StageUnavailable { .. } => {
                later(3, 0, "a check could not be made, try again later")
            }
        };
        Reply::new(code, status, format!("{text}: see {reference}"))
    }
}

/// Code, status and text of a reply.
struct Row(u16, EnhancedStatusCode, String);

/// A refusal for good.
fn no(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Row {
    Row(
        code,
        EnhancedStatusCode::permanent(subject, detail),
        text.into(),
    )
}

/// One that may pass.
fn later(subject: u16, detail: u16, text: &str) -> Row {
    Row(
        451,
        EnhancedStatusCode::transient(subject, detail),
        text.to_owned(),
    )
}

fn no_such_mailbox(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(name) => format!("no such mailbox here; did you mean {name}?"),
        None => "no such mailbox here".to_owned(),
    }
}

fn not_to_be_written_to(instead: &Option<String>) -> String {
    match instead {
        Some(name) => format!("this mailbox is not to be written to; write to {name}"),
        None => "this mailbox is not to be written to".to_owned(),
    }
}

fn over_contract(limit_octets: u64) -> String {
    format!("the contract of this account allows messages of {limit_octets} octets")
}

fn unreadable(domain: &str) -> String {
    format!("a part of this message could not be looked into, and may not go to {domain}")
}

fn near_miss(patient_data: bool) -> &'static str {
    match patient_data {
        true => "the subject nearly asks for encryption: send it again with the exact tag [secure]",
        false => {
            "the subject nearly asks for encryption: send it again with the exact tag [secure], or without any"
        }
    }
}

const OWN_DOMAIN: &str =
    "mail in the name of this domain is not taken from outside unless SPF or DKIM vouches for it";
