//! Mail that came while the clock was ahead: it would wait for a date that is far off, without an attempt and without
//! a word to its sender.
//!
//! What the trail says decides whether there can be any, so that a start with a million waiting need not look at each.
//! A clock that is earlier than the first event of the trail is itself wrong (a battery that is empty): then nothing
//! is changed, for what is right would be counted as years old once the clock is right again.

use std::time::Duration;

use jiff::Timestamp;

use super::search::stretch;
use super::store::AuditEntry;

/// What the trail says of the clock.
pub(super) struct Trail {
    /// Its first event.
    pub(super) first: Vec<AuditEntry>,
    /// When the latest event of all sealed stretches happened, in milliseconds.
    pub(super) latest_sealed: Option<i64>,
    /// What came after them.
    pub(super) tail: Vec<AuditEntry>,
}

impl Trail {
    /// Whether something was written down under a time that is yet to come.
    pub(super) fn was_ahead(&self, now: Timestamp) -> bool {
        let (_, (_, latest)) = stretch(&self.tail);
        let latest = latest.max(self.latest_sealed.unwrap_or(i64::MIN));
        if latest <= far(now) {
            return false;
        }
        let (_, (first, _)) = stretch(&self.first);
        let is_wrong_now = first > now.as_millisecond();
        if is_wrong_now {
            tracing::error!(%now, "the clock is earlier than the first event of the audit trail: is it right?");
        }
        !is_wrong_now
    }
}

/// What lies after this, in milliseconds, came under a clock that was ahead.
pub(super) fn far(now: Timestamp) -> i64 {
    (now + AHEAD).as_millisecond()
}

/// Says that something was brought back.
pub(super) fn say(messages: usize) {
    if messages > 0 {
        tracing::warn!(
            messages,
            "mail that came while the clock was ahead is due now, and its time begins now"
        );
    }
}

/// Clocks are never quite the same; what is nearer than this comes by itself.
const AHEAD: Duration = Duration::from_secs(60 * 60);
/// Messages that are brought back in one transaction.
pub(super) const PAGE: usize = 5_000;
