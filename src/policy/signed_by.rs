//! Which keys sign what a decision lets go: for those who ask before, and for the one who signs.

use crate::mail::MailTransaction;

use super::Policy;
use super::verdict::{Decision, Direction, Fate, RecipientDecision};

/// A signature that a message leaves with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedBy {
    /// `dkim`, or `arc` for a seal.
    pub kind: &'static str,
    /// Domain and selector: `ward.example/s1`.
    pub key: String,
}

impl Policy {
    /// Whether a copy of a message goes on to a domain that is not ours: by an alias, a list, a forward.
    pub fn passes_on(&self, decision: &Decision) -> bool {
        let is_external = |recipient: &RecipientDecision| {
            let domain = recipient.recipient.forward_path.domain();
            domain.is_some_and(|domain| !self.directory().serves(domain))
        };
        decision
            .fates()
            .any(|(recipient, fate)| fate != Fate::Quarantine && is_external(recipient))
    }

    /// The signatures that the message would leave with: mail of our own those of its author's domain, mail that is
    /// passed on a seal. Nothing is signed.
    pub fn would_sign(&self, transaction: &MailTransaction, decision: &Decision) -> Vec<SignedBy> {
        let (message, now) = (&transaction.message, transaction.received_at);
        let signed = |kind, keys: Vec<String>| {
            let of = move |key| SignedBy { kind, key };
            keys.into_iter().map(of).collect()
        };
        match decision.direction {
            Direction::Outbound => signed("dkim", self.signing().would_sign(message, now)),
            Direction::Inbound if self.passes_on(decision) => {
                let results = &decision.findings.authentication;
                let seal = self.signing().would_seal(message, results, now);
                signed("arc", seal.into_iter().collect())
            }
            Direction::Inbound => Vec::new(),
        }
    }
}
