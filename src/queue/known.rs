//! The events of a delivery: what they say of it, whichever store it lies in.

use jiff::Timestamp;

use crate::outcome::audit::{AuditEvent, AuditKind};

use super::record::{Binding, Next, Settlement};
use super::store::{Order, SenderRelease};

/// What the event of a delivery says of it.
pub(super) struct Known {
    /// The reference of its message, as it was written down.
    pub(super) reference: String,
    /// The reverse path.
    pub(super) sender: String,
    /// The `Message-ID`.
    pub(super) message_id: Option<String>,
    /// The recipient.
    pub(super) recipient: String,
    /// Attempts made before.
    pub(super) attempts: u32,
}

impl Known {
    /// An event about the delivery.
    pub(super) fn about(&self, at: Timestamp, kind: AuditKind) -> AuditEvent {
        // What was written as a reference reads as one; a damaged row gets one that nobody knows.
        let reference =
            super::words::reference(&self.reference).unwrap_or_else(crate::base::Reference::random);
        let mut event = AuditEvent::new(at, reference, kind, self.sender.clone());
        event.recipient = Some(self.recipient.clone());
        event.message_id.clone_from(&self.message_id);
        event
    }

    /// The event of a settlement.
    pub(super) fn event(&self, at: Timestamp, settlement: &Settlement) -> AuditEvent {
        let kind = match settlement.next {
            Next::Delivered => AuditKind::Delivered,
            Next::RetryAt(_) | Next::Diverted | Next::Bound => AuditKind::Deferred,
            Next::Failed => AuditKind::Failed,
            Next::Expired => AuditKind::Expired,
            Next::Held => AuditKind::Held,
        };
        let mut event = self
            .about(at, kind)
            .fact("attempt", (self.attempts + 1).to_string())
            .with_outcome(&settlement.outcome);
        if let Next::RetryAt(next) = settlement.next {
            event = event.fact("next-attempt", next.to_string());
        }
        if settlement.next == Next::Diverted {
            event = event.fact("diverted", "encryption");
        }
        if settlement.next == Next::Bound {
            event = event.fact("bound", "verified-tls");
        }
        event
    }

    /// The event of an administrator's order.
    pub(super) fn ordered(&self, at: Timestamp, order: &Order, by: &str) -> AuditEvent {
        let mut event = self.about(at, order.event()).fact("by", by);
        if let Some(reason) = order.reason() {
            event = event.fact("because", reason);
        }
        if let Order::ReleaseEncrypted { .. } = order {
            event = event.fact("transport", Binding::Encryption.word());
        }
        event
    }

    /// The event of what its sender lets go on.
    pub(super) fn sent_on(
        &self,
        at: Timestamp,
        asked: &SenderRelease,
        grounds: &str,
        binding: Binding,
    ) -> AuditEvent {
        self.about(at, AuditKind::Released)
            .fact("by", format!("the sender, {}", asked.sender))
            .fact("because", &*asked.reason)
            .fact("self-release", grounds)
            .fact("transport", binding.word())
    }
}
