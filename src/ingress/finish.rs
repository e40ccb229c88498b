//! From a decision to the octets that leave: the fields of the trace and what the policy wants, spliced in,
//! then signed.

use crate::base::Reference;
use crate::mail::edit::{self, Audience, Edit, EditKind};
use crate::mail::{MailTransaction, Message, Service, trace};
use crate::policy::{Decision, RecipientDecision};

use super::Parts;
use super::sign::sign;

/// A message as it goes into the queue, edits made.
#[derive(Clone)]
pub(super) struct Copy {
    /// Whose it is; empty if all get the same.
    audiences: Vec<Audience>,
    /// Its octets.
    pub(super) message: Message,
}

impl Copy {
    /// The one copy of a message that is the same for everybody.
    pub(super) fn for_all(message: Message) -> Self {
        Self {
            audiences: Vec::new(),
            message,
        }
    }

    /// Whether a recipient gets this one.
    pub(super) fn is_for(&self, recipient: &RecipientDecision) -> bool {
        let audience = recipient.audience.as_ref();
        self.audiences.is_empty() || audience.is_some_and(|one| self.audiences.contains(one))
    }
}

/// Returns the message as it goes into the queue, one copy for each kind of recipient that has edits of its own;
/// `None` if edits contradict each other, or if it cannot be signed and must be. What there is to say of the
/// signatures is added to the notes of the decision.
pub(super) async fn finish(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &mut Decision,
) -> Option<Vec<Copy>> {
    let mut copies = unsigned(parts, transaction, decision).await?;
    for copy in &mut copies {
        let bare = std::mem::replace(&mut copy.message, Message::new(Vec::new()));
        let (message, notes) = sign(parts, decision, bare).await?;
        copy.message = message;
        let known = &mut decision.findings.notes;
        let new: Vec<String> = notes
            .into_iter()
            .filter(|one| !known.contains(one))
            .collect();
        known.extend(new);
    }
    Some(copies)
}

/// The copies with their edits, before they are signed.
async fn unsigned(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &Decision,
) -> Option<Vec<Copy>> {
    let edits = edits(parts, transaction, decision);
    let of_all = |edit: &&Edit| edit.audience.is_none();
    if edits.iter().all(|edit| of_all(&edit)) {
        let message = edited(&transaction.message, edits).await?;
        return Some(vec![Copy::for_all(message)]);
    }
    let mut copies: Vec<(Vec<Edit>, Vec<Audience>)> = Vec::new();
    for audience in audiences(decision) {
        let own = |edit: &&Edit| of_all(edit) || edit.audience == Some(audience);
        let own: Vec<Edit> = edits.iter().filter(own).cloned().collect();
        match copies.iter_mut().find(|(others, _)| same(others, &own)) {
            Some((_, audiences)) => audiences.push(audience),
            None => copies.push((own, vec![audience])),
        }
    }
    let mut finished = Vec::with_capacity(copies.len());
    for (edits, audiences) in copies {
        let message = edited(&transaction.message, edits).await?;
        finished.push(Copy { audiences, message });
    }
    Some(finished)
}

/// Whether two lists of edits make the same message.
fn same(one: &[Edit], other: &[Edit]) -> bool {
    let splices = |edits: &[Edit]| -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
        let splices = edits
            .iter()
            .map(|edit| (edit.at.clone(), edit.with.clone()));
        splices.collect()
    };
    splices(one) == splices(other)
}

/// The kinds of recipients there are.
fn audiences(decision: &Decision) -> Vec<Audience> {
    let mut audiences = Vec::new();
    for audience in decision.fates().filter_map(|(one, _)| one.audience) {
        if !audiences.contains(&audience) {
            audiences.push(audience);
        }
    }
    audiences
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
