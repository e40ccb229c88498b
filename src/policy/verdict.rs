//! Verdicts: what happens to a message for one recipient, and which of two wins.

use crate::base::{PolicyVersion, Reference};
use crate::directory::Hop;
use crate::mail::{Edit, ForwardPath, Recipient};

use super::finding::Findings;
use super::refusal::Refusal;

/// What the policy decided about one message.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What people quote to ask about it.
    pub reference: Reference,
    /// Which way the message goes.
    pub direction: Direction,
    /// One for each resolved recipient, in envelope order; a list has one for each member.
    pub recipients: Vec<RecipientDecision>,
    /// What changes in the octets.
    pub edits: Vec<Edit>,
    /// What the stages found.
    pub findings: Findings,
    /// Which policy decided.
    pub policy: PolicyVersion,
}

/// What was decided for one resolved recipient.
#[derive(Clone, Debug)]
pub struct RecipientDecision {
    /// The recipient as the client gave it.
    pub given: ForwardPath,
    /// The recipient to deliver to, with ORCPT set to what was asked for if it changed.
    pub recipient: Recipient,
    /// How the one became the other.
    pub path: Vec<Hop>,
    /// Whether its domain may have patient data.
    pub secure: bool,
    /// What happens.
    pub verdict: Verdict,
    /// What says so: `policies/secure-domains.toml:31`, or `built-in`.
    pub rule: String,
    /// Why, in one plain sentence.
    pub because: String,
    /// The smallest change that would have let it pass.
    pub would_pass_if: Option<String>,
}

/// Which way a message goes (`design.md` §1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From an authenticated account, a client certificate or a listed relay network.
    Outbound,
    /// From anyone else, to a domain that the gateway serves.
    Inbound,
}

/// What happens to a message for one recipient. Later ones win over earlier ones.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Deliver it.
    Deliver,
    /// Deliver it over verified TLS or not at all.
    DeliverVerifiedTls,
    /// Hand it to the encryption next hop.
    Encrypt,
    /// Keep it in the queue until somebody decides.
    Hold,
    /// Keep it apart as unwanted.
    Quarantine,
    /// A safety stage failed: the client shall try again.
    Defer(Refusal),
    /// Refuse it.
    Refuse(Refusal),
}

impl Verdict {
    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::DeliverVerifiedTls => "deliver-verified-tls",
            Self::Encrypt => "encrypt",
            Self::Hold => "hold",
            Self::Quarantine => "quarantine",
            Self::Defer(_) => "defer",
            Self::Refuse(_) => "refuse",
        }
    }

    /// The place in the order of severity.
    pub fn severity(&self) -> u8 {
        match self {
            Self::Deliver => 0,
            Self::DeliverVerifiedTls => 1,
            Self::Encrypt => 2,
            Self::Hold => 3,
            Self::Quarantine => 4,
            Self::Defer(_) => 5,
            Self::Refuse(_) => 6,
        }
    }
}
