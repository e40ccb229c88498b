//! Reading the audit trail from a moment on, page by page: the trail of years does not fit into memory.

use std::time::Duration;

use jiff::Timestamp;

use crate::queue::{AuditEntry, Queue, QueueError};

/// A number from which on the trail has all events since then. Numbers follow time, but for what was under
/// way at once.
pub(super) async fn first_since(queue: &Queue, since: Timestamp) -> Result<i64, QueueError> {
    let since = since.checked_sub(SLACK).unwrap_or(Timestamp::MIN);
    let mut low = 1;
    let mut high = 1;
    while is_before(queue, high, since).await? {
        (low, high) = (high, high.saturating_mul(2));
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(queue, middle, since).await? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// About how many events there are from this number on.
pub(super) async fn length_from(queue: &Queue, first: i64) -> Result<u64, QueueError> {
    let mut length = 1_i64;
    while !queue
        .events(first.saturating_add(length), 1)
        .await?
        .is_empty()
    {
        length = length.saturating_mul(2);
    }
    let (mut low, mut high) = (length / 2, length);
    while low < high {
        let middle = low + (high - low) / 2;
        let is_within = !queue
            .events(first.saturating_add(middle), 1)
            .await?
            .is_empty();
        (low, high) = if is_within {
            (middle + 1, high)
        } else {
            (low, middle)
        };
    }
    Ok(u64::try_from(low).unwrap_or_default())
}

/// Whether the first event from this number on is earlier; false past the end.
async fn is_before(queue: &Queue, number: i64, since: Timestamp) -> Result<bool, QueueError> {
    let page = queue.events(number, 1).await?;
    let time = |entry: &AuditEntry| {
        entry
            .object()
            .get("at")?
            .as_str()?
            .parse::<Timestamp>()
            .ok()
    };
    Ok(page
        .first()
        .is_some_and(|entry| time(entry).is_none_or(|at| at < since)))
}

/// Events read at a time.
pub(super) const PAGE: usize = 1_000;
/// How long an event may be under way before it is written down: the policy may take two minutes.
const SLACK: Duration = Duration::from_secs(15 * 60);
