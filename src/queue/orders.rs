//! What an administrator's order is for, what is written of it, and what the sender is told.

use jiff::Timestamp;

use crate::mail::sms::Pseudonym;
use crate::mail::{EnhancedStatusCode, ForwardPath, Recipient};
use crate::outcome::audit::AuditKind;
use crate::outcome::notify::{self, Event, Told};
use crate::outcome::{Letterhead, Outcome};

use super::error::QueueError;
use super::known::Known;
use super::record::{Accepted, MessageId, QueuedMessage};
use super::store::{Order, State};

impl Order {
    pub(super) fn states(&self) -> &'static [State] {
        match self {
            Self::Retry | Self::Hold { .. } => &[State::Due],
            Self::ReleaseHeld { .. } | Self::ReleaseEncrypted { .. } => &[State::Held],
            Self::ReleaseQuarantined { .. } | Self::Delete { .. } => &[State::Quarantined],
            Self::Fail { .. } => &[State::Due, State::Held],
        }
    }

    /// Whether it is for a delivery to this recipient. A text message cannot be encrypted: what encrypts mail would get
    /// the number and the words of it, and the telephone nothing.
    pub(super) fn is_for(&self, known: &Known) -> bool {
        let is_text =
            || ForwardPath::parse(&known.recipient).is_ok_and(|to| Pseudonym::is_one(&to));
        !(matches!(self, Self::ReleaseEncrypted { .. }) && is_text())
    }

    pub(super) fn event(&self) -> AuditKind {
        match self {
            Self::Retry => AuditKind::Retried,
            Self::Hold { .. } => AuditKind::Held,
            Self::ReleaseHeld { .. }
            | Self::ReleaseEncrypted { .. }
            | Self::ReleaseQuarantined { .. } => AuditKind::Released,
            Self::Fail { .. } => AuditKind::Failed,
            Self::Delete { .. } => AuditKind::Deleted,
        }
    }

    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Self::Retry => None,
            Self::Hold { reason }
            | Self::ReleaseHeld { reason }
            | Self::ReleaseEncrypted { reason }
            | Self::ReleaseQuarantined { reason }
            | Self::Fail { reason, .. }
            | Self::Delete { reason } => Some(reason),
        }
    }
}

/// A word in the log of what is given up and nobody hears of.
pub(super) fn untold(message: MessageId, error: &QueueError) {
    let error = error.to_text();
    tracing::error!(
        message = message.0,
        error,
        "a message is given up by order, and its sender cannot be told: its row is damaged"
    );
}

/// The reports about recipients of a message that an administrator gives up.
pub(super) fn failure_notices(
    message: &QueuedMessage,
    recipients: &[Recipient],
    reason: &str,
    letterhead: &Letterhead,
    now: Timestamp,
) -> Vec<Accepted> {
    let hostname = letterhead.hostname();
    let outcome = Outcome::without_reply(
        EnhancedStatusCode::permanent(7, 0),
        format!("an administrator of {hostname} gave it up: {reason}"),
    );
    let told: Vec<Told<'_>> = recipients
        .iter()
        .map(|recipient| Told {
            recipient,
            outcome: &outcome,
            event: Event::Failed,
        })
        .collect();
    let notices = notify::notices(&message.original(), &told, hostname, now).into_iter();
    notices
        .map(|notice| Accepted::notice(notice, letterhead))
        .collect()
}
