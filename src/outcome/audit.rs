//! Audit events: who, what, when, by which rule. Ids and addresses of the envelope, never content.

use jiff::Timestamp;
use serde::Serialize;

use crate::base::{PolicyVersion, Reference};

use super::Outcome;

/// One line of the audit trail, before it gets its place in the chain.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct AuditEvent {
    /// When.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// The reference of the message.
    #[serde(serialize_with = "as_text")]
    pub reference: Reference,
    /// What happened.
    pub kind: AuditKind,
    /// The reverse path, without brackets; empty for the null path.
    pub sender: String,
    /// The recipient concerned, as resolved; `None` where all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The recipient as the client gave it, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_recipient: Option<String>,
    /// The `Message-ID` of the message, cut to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The policy in force.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_text_maybe"
    )]
    pub policy: Option<PolicyVersion>,
    /// The rule that decided: `policies/secure-domains.toml:31`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Facts of this kind of event in the order of their names: `verdict`, `status`, `next-hop`, `tls`,
    /// `client`, `account`, `direction`, `octets`, `because`, `evidence` (redacted), `secure-keyword`, …
    pub facts: std::collections::BTreeMap<&'static str, String>,
}

impl AuditEvent {
    /// An event without facts.
    pub fn new(
        at: Timestamp,
        reference: Reference,
        kind: AuditKind,
        sender: impl Into<String>,
    ) -> Self {
        Self {
            at,
            reference,
            kind,
            sender: sender.into(),
            recipient: None,
            original_recipient: None,
            message_id: None,
            policy: None,
            rule: None,
            facts: std::collections::BTreeMap::new(),
        }
    }

    /// Adds what one attempt came to: status, words and name of the next hop, what protected the connection. The
    /// same for an attempt from the queue and for one while the client waits.
    #[must_use]
    pub fn with_outcome(mut self, outcome: &Outcome) -> Self {
        let facts = &mut self.facts;
        facts.insert("status", outcome.status.to_string());
        facts.insert("reply", outcome.short_text());
        if let Some(next_hop) = &outcome.next_hop {
            facts.insert("next-hop", next_hop.clone());
        }
        if let Some(tls) = &outcome.tls {
            facts.insert("tls", tls.to_string());
            facts.insert("authenticated", tls.authenticated.word().to_owned());
        }
        if let Some(downgrade) = &outcome.downgrade {
            facts.insert("downgrade", downgrade.clone());
        }
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.facts.insert(name, value.into());
        self
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditKind {
    /// A message was accepted and is durable.
    Received,
    /// What the policy decided for one recipient.
    Decided,
    /// A message or a recipient was refused while the client waited.
    Refused,
    /// The next hop took it.
    Delivered,
    /// An attempt failed; another will follow.
    Deferred,
    /// It failed for good.
    Failed,
    /// Its time ran out.
    Expired,
    /// A delivery status notification was queued.
    Notified,
    /// An administrator let it go on.
    Released,
    /// An administrator held it.
    Held,
    /// An administrator removed it.
    Deleted,
    /// An administrator asked for an attempt at once.
    Retried,
    /// A policy came into force.
    PolicyLoaded,
    /// An application account was added or changed.
    AccountChanged,
    /// A reply to an address that nobody reads was taken and thrown away.
    Discarded,
    /// Somebody could not log in, or is locked out.
    LoginRefused,
    /// A message came again under the key of one that was accepted before.
    Repeated,
    /// Messages were handed in as spam or not spam.
    Learnt,
    /// A sender is let through to a mailbox from now on, or no more.
    SenderAllowed,
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_text_maybe<T: std::fmt::Display, S: serde::Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
