//! Mail that cannot be read back: held, put on record, and told to whoever looks after the gateway, in one transaction.
//!
//! Its client was told 250, so somebody has to know. Nothing of it can be delivered until what is lost is put back, and
//! nothing is decided here: an administrator puts it back and releases it, or gives it up, which its sender hears of.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::base::{Reference, metrics};
use crate::outcome::audit::{AuditEvent, AuditKind};

use super::error::QueueError;
use super::known::Known;
use super::record::{Accepted, MessageId};
use super::words;

/// A message that was held because it cannot be read back.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// What people quote; one that nobody knows, if that is lost too.
    pub reference: Reference,
    /// The reverse path; empty for the null path, and if it is lost.
    pub sender: String,
    /// The `Message-ID`.
    pub message_id: Option<String>,
    /// To whom it was to go.
    pub recipients: Vec<String>,
    /// What was found, for the operator: a file, a row, an error of the database.
    pub what: String,
    /// When.
    pub at: Timestamp,
}

/// What is queued about a message that was held so, in the same transaction.
pub type DamageFn = dyn Fn(&Damaged) -> Vec<Accepted> + Send + Sync;

/// Who is told of damage, once that is known. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Teller(Arc<OnceLock<Box<DamageFn>>>);

impl Teller {
    /// From now on these are told.
    pub(super) fn set(&self, notices: Box<DamageFn>) {
        // Those of a gateway are the same for as long as it runs.
        let _ = self.0.set(notices);
    }

    /// What is to be queued; nothing in a process that serves nobody.
    pub(super) fn notices(&self, damaged: &Damaged) -> Vec<Accepted> {
        self.0
            .get()
            .map_or_else(Vec::new, |notices| notices(damaged))
    }
}

impl Damaged {
    /// Sums up what is known of the deliveries of a message that were held, and says so in the log.
    pub(super) fn new(
        message: MessageId,
        held: &[Known],
        error: &QueueError,
        at: Timestamp,
    ) -> Self {
        // Where their rows are lost nobody knows to whom it was to go.
        let recipients = held.iter().map(|one| &one.recipient);
        let recipients = recipients.filter(|recipient| !recipient.is_empty());
        let first = held.first();
        let reference = first.and_then(|one| words::reference(&one.reference));
        let damaged = Self {
            reference: reference.unwrap_or_else(Reference::random),
            sender: first.map_or_else(String::new, |one| one.sender.clone()),
            message_id: first.and_then(|one| one.message_id.clone()),
            recipients: recipients.cloned().collect(),
            what: error.to_text(),
            at,
        };
        let (reference, what) = (&damaged.reference, &damaged.what);
        metrics::DAMAGED.add(i64::try_from(held.len()).unwrap_or(0));
        tracing::error!(%reference, message = message.0, error = what, "ALARM: a message cannot be read back and is held");
        damaged
    }

    /// The events of the hold, one for each delivery.
    pub(super) fn events(&self, held: &[Known]) -> Vec<AuditEvent> {
        let event = |one: &Known| {
            let mut event = one
                .about(self.at, AuditKind::Held)
                .fact("because", UNREADABLE)
                .fact("damage", &*self.what);
            event.recipient = event.recipient.filter(|recipient| !recipient.is_empty());
            event.reference = self.reference.clone();
            event.rule = Some("built-in".to_owned());
            event
        };
        held.iter().map(event).collect()
    }
}

/// Why it is held, in lists.
pub(super) const UNREADABLE: &str = "the message cannot be read";
