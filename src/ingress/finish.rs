//! From a decision to the octets that leave: the fields of the trace and what the policy wants, spliced in,
//! then signed.

use crate::base::Reference;
use crate::mail::edit::{self, Edit, EditKind};
use crate::mail::{MailTransaction, Message, Service, trace};
use crate::policy::Decision;

use super::Parts;
use super::sign::sign;

/// Returns the message as it goes into the queue; `None` if its edits contradict each other, or if it cannot be
/// signed and must be. What there is to say of its signatures is added to the notes of the decision.
pub(super) async fn finish(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &mut Decision,
) -> Option<Message> {
    let edits = edits(parts, transaction, decision);
    let message = edited(&transaction.message, edits).await?;
    let (message, notes) = sign(parts, decision, message).await?;
    decision.findings.notes.extend(notes);
    Some(message)
}

/// The message with its edits; `None` if they contradict each other. A large one is copied on a thread that
/// may take its time.
async fn edited(message: &Message, edits: Vec<Edit>) -> Option<Message> {
    if message.len() <= INLINE_OCTETS_MAX {
        return edit::apply(message, &edits).ok();
    }
    let message = message.clone();
    let applied = tokio::task::spawn_blocking(move || edit::apply(&message, &edits));
    applied.await.ok()?.ok()
}

/// The trace fields and what the policy wants, in the order in which they stand in the message.
fn edits(parts: &Parts, transaction: &MailTransaction, decision: &Decision) -> Vec<Edit> {
    let reference = decision.reference.to_string();
    let MailTransaction {
        client,
        envelope,
        received_at,
        ..
    } = transaction;
    let received = trace::received_field(
        client,
        parts.hostname.as_str(),
        &reference,
        envelope,
        *received_at,
    );
    let mut edits = vec![Edit::prepend_fields(EditKind::Trace, received)];
    edits.extend(decision.edits.iter().cloned());
    if client.service == Service::Submission {
        edits.extend(missing_fields(parts, transaction, &decision.reference));
    }
    edits
}

/// Date and Message-ID, where a submitted message has none (RFC 6409 §8).
fn missing_fields(
    parts: &Parts,
    transaction: &MailTransaction,
    reference: &Reference,
) -> Option<Edit> {
    let header = transaction.message.header();
    let mut fields = String::new();
    if header.first("Date").is_none() {
        fields.push_str(&format!(
            "Date: {}\r\n",
            trace::date(transaction.received_at)
        ));
    }
    if header.first("Message-ID").is_none() {
        fields.push_str(&format!("Message-ID: <{reference}@{}>\r\n", parts.hostname));
    }
    (!fields.is_empty()).then(|| Edit::prepend_fields(EditKind::Trace, fields))
}

/// Messages up to this are copied on the spot: that takes less than the way to another thread.
const INLINE_OCTETS_MAX: usize = 256 << 10;
