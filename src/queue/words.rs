//! The words of a database to values: the RFCs' own, and ours.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::ForwardPath;

use super::record::Binding;

/// Reads a forward path as it was written with `Display`.
pub(super) fn forward_path(text: &str) -> Option<ForwardPath> {
    ForwardPath::parse(text).ok()
}

/// Reads a reference.
pub(super) fn reference(text: &str) -> Option<Reference> {
    text.parse().ok()
}

/// Reads the word of a binding.
pub(super) fn binding(word: &str) -> Option<Binding> {
    [Binding::Any, Binding::VerifiedTls, Binding::Encryption]
        .into_iter()
        .find(|binding| binding.word() == word)
}

/// A moment as the database has it.
pub(super) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

/// The domain by which deliveries are found and skipped; empty for the bare postmaster.
pub(super) fn domain(path: &ForwardPath) -> String {
    path.mailbox()
        .map(|mailbox| mailbox.host().to_string())
        .unwrap_or_default()
}
