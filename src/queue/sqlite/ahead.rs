//! Bringing back what came while the clock was ahead (`queue::ahead`).

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::mail::Priority;
use crate::queue::ahead::{Trail, far, say};
use crate::queue::chain::count;
use crate::queue::error::QueueError;
use crate::queue::record::{DeliveryId, MessageId};
use crate::queue::search::STRETCH_ROWS;
use crate::queue::store::{PLACES, message_of, of_message};

use super::audit;
use super::writer::Batch;

/// Makes due what waits because the clock was ahead, `limit` messages at most; returns how many there were.
pub(super) fn bring_back(
    batch: &Batch<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<usize, QueueError> {
    let db = batch.db;
    if !was_ahead(db, now)? {
        return Ok(0);
    }
    let mut messages = BTreeSet::new();
    let mut find = db.prepare_cached(&format!(
        "SELECT m.id FROM delivery d CROSS JOIN message m ON m.id = d.id / {PLACES}
         WHERE d.ready_at IS NOT NULL AND d.priority = ?1 AND d.ready_at > ?2
               AND coalesce(d.released_at, m.received_at) > ?2
         ORDER BY d.ready_at DESC LIMIT ?3"
    ))?;
    for class in Priority::ALL {
        let mut rows = find.query(params![class.number(), far(now), count(limit)])?;
        while let Some(row) = rows.next()?
            && messages.len() < limit
        {
            messages.insert(row.get(0)?);
        }
    }
    let mut due = db.prepare_cached(
        "UPDATE delivery SET ready_at = ?3 WHERE id BETWEEN ?1 AND ?2 AND state = 'due' AND ready_at > ?3",
    )?;
    for message in &messages {
        let (first, last) = of_message(MessageId(*message));
        due.execute([first, last, now.as_millisecond()])?;
        begin_now(db, *message, now)?;
    }
    say(messages.len());
    Ok(messages.len())
}

/// The time of these deliveries begins now, and that of their messages, if it lies ahead.
pub(super) fn begin_anew(
    db: &Connection,
    deliveries: &[DeliveryId],
    now: Timestamp,
) -> Result<(), QueueError> {
    if deliveries.is_empty() || !was_ahead(db, now)? {
        return Ok(());
    }
    for delivery in deliveries {
        begin_now(db, message_of(*delivery).0, now)?;
    }
    Ok(())
}

fn begin_now(db: &Connection, message: i64, now: Timestamp) -> Result<(), QueueError> {
    db.prepare_cached("UPDATE message SET received_at = ?2 WHERE id = ?1 AND received_at > ?3")?
        .execute([message, now.as_millisecond(), far(now)])?;
    let (first, last) = of_message(MessageId(message));
    db.prepare_cached(
        "UPDATE delivery SET released_at = ?3 WHERE id BETWEEN ?1 AND ?2 AND released_at > ?4",
    )?
    .execute([first, last, now.as_millisecond(), far(now)])?;
    Ok(())
}

fn was_ahead(db: &Connection, now: Timestamp) -> Result<bool, QueueError> {
    let sealed = "SELECT coalesce(max(last), 0), max(latest) FROM audit_stretch";
    let (last, latest_sealed): (i64, Option<i64>) =
        db.query_row(sealed, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let trail = Trail {
        first: audit::events(db, 1, 1)?,
        latest_sealed,
        tail: audit::events(db, last + 1, STRETCH_ROWS)?,
    };
    Ok(trail.was_ahead(now))
}
