//! Bringing forward what waits for a later attempt because nobody was there: domain by domain, so many at a time.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::outcome::IN_DOUBT;
use crate::queue::error::QueueError;
use crate::queue::store::{Recall, Recalled, Skip};

use super::lease::skipped;
use super::writer::Batch;

/// Makes due what is not skipped and never got an answer.
pub(super) fn recall(
    batch: &Batch<'_>,
    now: Timestamp,
    recall: &Recall,
    skip: &Skip,
) -> Result<Recalled, QueueError> {
    let mut done = Recalled::default();
    let mut after = match (&recall.after, &recall.domain) {
        (Some(after), _) => after.clone(),
        // Before its first binding.
        (None, Some(domain)) => (domain.clone(), String::new()),
        (None, None) => (String::new(), String::new()),
    };
    let mut next = batch.db.prepare_cached(
        "SELECT domain, binding, forward_path FROM delivery
         WHERE state = 'due' AND (domain, binding) > (?1, ?2) ORDER BY domain, binding LIMIT 1",
    )?;
    // A reply begins with its code; our own words do not. What the next hop may have keeps its pause.
    let mut change = batch.db.prepare_cached(
        "UPDATE delivery SET ready_at = ?3 WHERE id IN (
             SELECT id FROM delivery
             WHERE state = 'due' AND domain = ?1 AND binding = ?2 AND ready_at > ?3
               AND last_reply NOT GLOB '[2-5][0-9][0-9]*' AND substr(last_reply, 1, length(?5)) <> ?5
             ORDER BY ready_at LIMIT ?4)",
    )?;
    for _ in 0..DOMAINS_MAX {
        let step = next.query_row(params![after.0, after.1], |row| {
            let skipped = skipped(row.get_ref(2)?, row.get_ref(1)?, skip);
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, skipped))
        });
        let Some((domain, binding, skipped)) = step.optional()? else {
            return Ok(done);
        };
        if recall.domain.as_ref().is_some_and(|only| *only != domain) {
            return Ok(done);
        }
        if !skipped {
            let room = recall.limit.saturating_sub(done.changed);
            let room = i64::try_from(room).unwrap_or(i64::MAX);
            let now = now.as_millisecond();
            done.changed += change.execute(params![domain, binding, now, room, IN_DOUBT])?;
        }
        if done.changed >= recall.limit {
            // There may be more of this one.
            done.after = Some(after);
            return Ok(done);
        }
        after = (domain, binding);
    }
    done.after = Some(after);
    Ok(done)
}

/// Domains that are gone through in one transaction.
const DOMAINS_MAX: usize = 5_000;
