//! Bringing forward what waits for a later attempt because nobody was there: domain by domain, so many at a time.

use jiff::Timestamp;

use crate::outcome::IN_DOUBT;
use crate::queue::error::QueueError;
use crate::queue::fair::DOMAINS_MAX;
use crate::queue::store::{Recall, Recalled, Skip};

use super::domains::Domains;
use super::writer::Batch;

/// Makes due what is not skipped and never got an answer.
pub(super) async fn recall(
    batch: &Batch,
    now: Timestamp,
    recall: &Recall,
    skip: &Skip,
) -> Result<Recalled, QueueError> {
    // A reply begins with its code; our own words do not. What the next hop may have keeps its pause.
    let change = "UPDATE delivery SET ready_at = $3 WHERE id IN (
                      SELECT id FROM delivery
                      WHERE state = 'due' AND domain = $1 AND binding = $2 AND ready_at > $3
                        AND last_reply !~ '^[2-5][0-9][0-9]' AND left(last_reply, length($5)) <> $5
                      ORDER BY ready_at LIMIT $4)";
    let (db, mut done) = (batch.db(), Recalled::default());
    let mut after = match (&recall.after, &recall.domain) {
        (Some(after), _) => after.clone(),
        // Before its first binding.
        (None, Some(domain)) => (domain.clone(), String::new()),
        (None, None) => (String::new(), String::new()),
    };
    let (mut steps, mut looked) = (Domains::after(after.clone(), DOMAINS_MAX), 0);
    loop {
        let page = steps.next(db).await?;
        if page.is_empty() {
            // There may be more domains than are gone through in one transaction.
            done.after = (looked >= DOMAINS_MAX).then_some(after);
            return Ok(done);
        }
        for one in page {
            looked += 1;
            if recall
                .domain
                .as_ref()
                .is_some_and(|only| *only != one.domain)
            {
                return Ok(done);
            }
            if !one.is_skipped(skip) {
                let room = recall.limit.saturating_sub(done.changed);
                let room = i64::try_from(room).unwrap_or(i64::MAX);
                let now = now.as_millisecond();
                let changed = db
                    .execute(change, &[&one.domain, &one.binding, &now, &room, &IN_DOUBT])
                    .await?;
                done.changed += usize::try_from(changed).unwrap_or(0);
            }
            if done.changed >= recall.limit {
                // There may be more of this one.
                done.after = Some(after);
                return Ok(done);
            }
            after = (one.domain, one.binding);
        }
    }
}
