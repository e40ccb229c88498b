//! Bringing back what came while the clock was ahead (`queue::ahead`). The clocks of a fleet must agree.

use jiff::Timestamp;

use crate::mail::Priority;
use crate::queue::ahead::{Trail, far, say};
use crate::queue::chain::count;
use crate::queue::error::QueueError;
use crate::queue::record::DeliveryId;
use crate::queue::search::STRETCH_ROWS;
use crate::queue::store::{PLACES, message_of};

use super::audit;
use super::db::Db;
use super::writer::Batch;

/// Makes due what waits because the clock was ahead, `limit` messages at most; returns how many there were.
pub(super) async fn bring_back(
    batch: &Batch,
    now: Timestamp,
    limit: usize,
) -> Result<usize, QueueError> {
    let db = batch.db();
    if !was_ahead(db, now).await? {
        return Ok(0);
    }
    let find = format!(
        "SELECT m.id FROM delivery d JOIN message m ON m.id = d.id / {PLACES}
         WHERE d.ready_at IS NOT NULL AND d.priority = $1 AND d.ready_at > $2
               AND coalesce(d.released_at, m.received_at) > $2
         ORDER BY d.ready_at DESC LIMIT $3"
    );
    let mut messages: Vec<i64> = Vec::new();
    for class in Priority::ALL {
        let class = i16::try_from(class.number()).unwrap_or(0);
        let rows = db.rows(&find, &[&class, &far(now), &count(limit)]).await?;
        messages.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
    messages.sort_unstable();
    messages.dedup();
    messages.truncate(limit);
    let due = format!(
        "UPDATE delivery d SET ready_at = $2 FROM unnest($1::bigint[]) AS w (message)
         WHERE d.id BETWEEN w.message * {PLACES} AND w.message * {PLACES} + {PLACES} - 1
               AND d.state = 'due' AND d.ready_at > $2"
    );
    if !messages.is_empty() {
        db.execute(&due, &[&messages, &now.as_millisecond()])
            .await?;
        begin_now(db, &messages, now).await?;
    }
    say(messages.len());
    Ok(messages.len())
}

/// The time of these deliveries begins now, and that of their messages, if it lies ahead.
pub(super) async fn begin_anew(
    db: Db<'_>,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> Result<(), QueueError> {
    if deliveries.is_empty() || !was_ahead(db, now).await? {
        return Ok(());
    }
    let messages = deliveries.iter().map(|one| message_of(*one).0);
    begin_now(db, &messages.collect::<Vec<_>>(), now).await
}

async fn begin_now(db: Db<'_>, messages: &[i64], now: Timestamp) -> Result<(), QueueError> {
    let sql = "UPDATE message SET received_at = $2 WHERE id = ANY($1) AND received_at > $3";
    db.execute(sql, &[&messages, &now.as_millisecond(), &far(now)])
        .await?;
    let sql = format!(
        "UPDATE delivery d SET released_at = $2 FROM unnest($1::bigint[]) AS w (message)
         WHERE d.id BETWEEN w.message * {PLACES} AND w.message * {PLACES} + {PLACES} - 1 AND d.released_at > $3"
    );
    db.execute(&sql, &[&messages, &now.as_millisecond(), &far(now)])
        .await?;
    Ok(())
}

async fn was_ahead(db: Db<'_>, now: Timestamp) -> Result<bool, QueueError> {
    let sealed = "SELECT coalesce(max(last), 0), max(latest) FROM audit_stretch";
    let sealed = db.one(sealed, &[]).await?;
    let last: i64 = sealed.get(0);
    let trail = Trail {
        first: audit::events(db, 1, 1).await?,
        latest_sealed: sealed.get(1),
        tail: audit::events(db, last + 1, STRETCH_ROWS).await?,
    };
    Ok(trail.was_ahead(now))
}
