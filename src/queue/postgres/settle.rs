//! Settling an attempt: the delivery's row, its event, and the reports that follow, together.

use jiff::Timestamp;
use tokio_postgres::Row;

use crate::outcome::IN_DOUBT;
use crate::queue::error::QueueError;
use crate::queue::known::Known;
use crate::queue::record::{DeliveryId, Next, Settlement};
use crate::queue::store::{message_of, of_message};

use super::accept::accept_all;
use super::bodies::Placed;
use super::db::{Db, text};
use super::rows;
use super::writer::Batch;

/// Writes what came of attempts. Deliveries that are gone are passed over, and those that another gateway has leased
/// since; if all are, somebody has settled them and their reports are written already.
pub(super) async fn settle(
    batch: &mut Batch,
    now: Timestamp,
    settlements: &[Settlement],
    notices: Vec<Placed>,
) -> Result<(), QueueError> {
    let mut settled = 0;
    for settlement in settlements {
        let Some((known, holder)) = known_and_holder(batch.db(), settlement.delivery).await? else {
            continue;
        };
        if holder.is_some_and(|holder| holder != batch.gateway()) {
            // Our lease ran out, and another's attempt is under way. That the next hop has it from us too stays on record.
            if settlement.next == Next::Delivered {
                let event = known.event(now, settlement).fact("lease", "ended before");
                batch.append(&event);
            }
            continue;
        }
        settle_one(batch, now, settlement).await?;
        batch.append(&known.event(now, settlement));
        settled += 1;
    }
    if settled > 0 {
        return accept_all(batch, notices).await;
    }
    for notice in notices {
        remove_body(batch, notice.body).await?;
    }
    Ok(())
}

async fn settle_one(
    batch: &Batch,
    now: Timestamp,
    settlement: &Settlement,
) -> Result<(), QueueError> {
    let id = settlement.delivery;
    let (state, ready_at, binding) = match settlement.next {
        Next::Delivered | Next::Failed | Next::Expired => return remove(batch, id).await,
        Next::RetryAt(at) => ("due", Some(at), None),
        Next::Held => ("held", None, None),
        Next::Diverted => ("due", Some(now), Some("encryption")),
        Next::Bound => ("due", Some(now), Some("verified-tls")),
    };
    // A delivery that was held while it was tried stays held.
    let sql = "UPDATE delivery SET
                   ready_at = CASE state WHEN 'leased' THEN $3 ELSE ready_at END,
                   leased_by = NULL,
                   state = CASE state WHEN 'leased' THEN $2 ELSE state END,
                   binding = coalesce($6, binding),
                   because = CASE $2 WHEN 'held' THEN $5 ELSE because END,
                   rule = CASE $2 WHEN 'held' THEN 'built-in' ELSE rule END,
                   attempts = attempts + CASE $2 WHEN 'due' THEN 1 ELSE 0 END,
                   delay_notified = delay_notified OR $4,
                   last_reply = CASE WHEN $7 AND left(last_reply, length($8::text)) = $8::text THEN $8::text || $5 ELSE $5 END
               WHERE id = $1";
    let ready_at = ready_at.map(Timestamp::as_millisecond);
    let last_reply = text(&settlement.outcome.short_text());
    batch
        .db()
        .execute(
            sql,
            &[
                &id.0,
                &state,
                &ready_at,
                &settlement.delay_notified,
                &last_reply,
                &binding,
                &settlement.outcome.leaves_doubt(),
                &IN_DOUBT,
            ],
        )
        .await?;
    Ok(())
}

/// Removes a delivery that is final, and the message with its last one.
pub(super) async fn remove(batch: &Batch, delivery: DeliveryId) -> Result<(), QueueError> {
    let message = message_of(delivery);
    let (first, last) = of_message(message);
    let gone = batch
        .db()
        .row(
            "WITH offer AS (DELETE FROM self_release WHERE delivery = $1),
                  gone AS (DELETE FROM delivery WHERE id = $1)
             DELETE FROM message WHERE id = $2
             AND NOT EXISTS (SELECT 1 FROM delivery WHERE id BETWEEN $3 AND $4 AND id <> $1) RETURNING stored",
            &[&delivery.0, &message.0, &first, &last],
        )
        .await?;
    remove_body(batch, gone.and_then(|row| row.get(0))).await
}

/// Removes a body that no message names any more.
pub(super) async fn remove_body(batch: &Batch, body: Option<i64>) -> Result<(), QueueError> {
    if let Some(body) = body {
        batch
            .db()
            .execute("DELETE FROM body WHERE id = $1", &[&body])
            .await?;
    }
    Ok(())
}

/// Reads what the events of a delivery say of it; `None` if the delivery is gone.
pub(super) async fn known(db: Db<'_>, delivery: DeliveryId) -> Result<Option<Known>, QueueError> {
    Ok(known_and_holder(db, delivery)
        .await?
        .map(|(known, _)| known))
}

/// The same, and which gateway has it in hand.
async fn known_and_holder(
    db: Db<'_>,
    delivery: DeliveryId,
) -> Result<Option<(Known, Option<String>)>, QueueError> {
    let sql =
        "SELECT coalesce(m.reference, ''), coalesce(m.reverse_path, ''), m.message_id, d.forward_path, d.attempts, d.leased_by
               FROM delivery d LEFT JOIN message m ON m.id = $2 WHERE d.id = $1";
    let row = db.row(sql, &[&delivery.0, &message_of(delivery).0]).await?;
    let read = |row: Row| {
        let known = Known {
            reference: row.get(0),
            sender: row.get(1),
            message_id: row.get(2),
            recipient: row.get(3),
            attempts: rows::attempts(row.get(4)),
        };
        (known, row.get(5))
    };
    Ok(row.map(read))
}
