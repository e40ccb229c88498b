//! Settling an attempt: the delivery's row, its event, and the reports that follow, together.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::outcome::IN_DOUBT;
use crate::queue::error::QueueError;
use crate::queue::known::Known;
use crate::queue::record::{DeliveryId, MessageId, Next, Settlement};
use crate::queue::spool::Placed;
use crate::queue::store::{message_of, of_message};

use super::accept::accept_all;
use super::rows::{count_of, text_of};
use super::self_release;
use super::writer::Batch;

/// Writes what came of attempts. Deliveries that are gone are passed over; if all are, somebody has
/// settled them and their reports are written already.
pub(super) fn settle(
    batch: &mut Batch<'_>,
    now: Timestamp,
    settlements: Vec<Settlement>,
    notices: Vec<Placed>,
) -> Result<(), QueueError> {
    let mut settled = 0;
    for settlement in &settlements {
        let Some(known) = known(batch.db, settlement.delivery)? else {
            continue;
        };
        settle_one(batch, now, settlement)?;
        batch.append(&known.event(now, settlement))?;
        settled += 1;
    }
    if settled > 0 {
        accept_all(batch, notices)?;
    } else {
        batch
            .spool
            .remove(notices.iter().filter_map(|notice| notice.file.as_ref()));
    }
    Ok(())
}

fn settle_one(
    batch: &mut Batch<'_>,
    now: Timestamp,
    settlement: &Settlement,
) -> Result<(), QueueError> {
    let id = settlement.delivery;
    let (state, ready_at) = match settlement.next {
        Next::Delivered | Next::Failed | Next::Expired => return remove(batch, id),
        Next::RetryAt(at) => ("due", Some(at.as_millisecond())),
        Next::Held => ("held", None),
        Next::Diverted => {
            batch
                .db
                .prepare_cached("UPDATE delivery SET binding = 'encryption' WHERE id = ?1")?
                .execute([id.0])?;
            ("due", Some(now.as_millisecond()))
        }
        Next::Bound => {
            batch
                .db
                .prepare_cached("UPDATE delivery SET binding = 'verified-tls' WHERE id = ?1")?
                .execute([id.0])?;
            ("due", Some(now.as_millisecond()))
        }
    };
    // A delivery that was held while it was tried stays held.
    batch
        .db
        .prepare_cached(
            "UPDATE delivery SET
                 ready_at = CASE state WHEN 'leased' THEN ?3 ELSE ready_at END,
                 state = CASE state WHEN 'leased' THEN ?2 ELSE state END,
                 because = CASE ?2 WHEN 'held' THEN ?5 ELSE because END,
                 rule = CASE ?2 WHEN 'held' THEN 'built-in' ELSE rule END,
                 attempts = attempts + (?2 = 'due'), delay_notified = max(delay_notified, ?4),
                 last_reply = CASE WHEN ?6 AND substr(last_reply, 1, length(?7)) = ?7 THEN ?7 || ?5 ELSE ?5 END
             WHERE id = ?1",
        )?
        .execute(params![
            id.0,
            state,
            ready_at,
            settlement.delay_notified,
            settlement.outcome.short_text(),
            settlement.outcome.leaves_doubt(),
            IN_DOUBT,
        ])?;
    Ok(())
}

/// Removes a delivery that is final, and the message with its last one.
pub(super) fn remove(batch: &mut Batch<'_>, delivery: DeliveryId) -> Result<(), QueueError> {
    let message = message_of(delivery);
    let (first, last) = of_message(message);
    remove_alone(batch.db, delivery)?;
    // Not by RETURNING, for which SQLite makes a table each time: half of what the removal costs.
    let file: Option<Option<String>> = batch
        .db
        .prepare_cached(
            "SELECT spool FROM message WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM delivery WHERE id BETWEEN ?2 AND ?3)",
        )?
        .query_row([message.0, first, last], |row| row.get(0))
        .optional()?;
    let Some(file) = file else {
        return Ok(());
    };
    batch
        .db
        .prepare_cached("DELETE FROM message WHERE id = ?1")?
        .execute([message.0])?;
    if let Some(file) = file {
        batch.remove_file(file);
    }
    Ok(())
}

/// Removes a delivery, and leaves the message: it lies on a damaged page, and belongs to nobody from now on.
pub(super) fn remove_alone(db: &Connection, delivery: DeliveryId) -> Result<(), QueueError> {
    self_release::withdraw(db, delivery)?;
    db.prepare_cached("DELETE FROM delivery WHERE id = ?1")?
        .execute([delivery.0])?;
    Ok(())
}

/// Reads what the events of a delivery say of it; `None` if the delivery is gone. A column that is damaged is read as far as
/// it can be: what is wrong with one message keeps no other from being leased, or ordered about.
pub(super) fn known(db: &Connection, delivery: DeliveryId) -> Result<Option<Known>, QueueError> {
    let MessageId(message) = message_of(delivery);
    let mut statement = db.prepare_cached(
        "SELECT coalesce(m.reference, ''), coalesce(m.reverse_path, ''), m.message_id, d.forward_path, d.attempts
         FROM delivery d LEFT JOIN message m ON m.id = ?2 WHERE d.id = ?1",
    )?;
    let known = statement.query_row([delivery.0, message], |row| {
        Ok(Known {
            reference: text_of(row, 0)?.unwrap_or_default(),
            sender: text_of(row, 1)?.unwrap_or_default(),
            message_id: text_of(row, 2)?,
            recipient: text_of(row, 3)?.unwrap_or_default(),
            attempts: count_of(row, 4)?,
        })
    });
    Ok(known.optional()?)
}
