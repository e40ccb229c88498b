//! Orders of administrators: the change, its event and the report that follows, in one transaction.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::outcome::Letterhead;
use crate::queue::error::QueueError;
use crate::queue::orders::{failure_notices, untold};
use crate::queue::record::{Binding, DeliveryId, MessageId};
use crate::queue::store::{Administered, Order, PLACES, Selection, State, message_of};

use super::accept::accept_all;
use super::bodies::{Bodies, Placed};
use super::db::{Db, text};
use super::settle::{known, remove};
use super::writer::Batch;
use super::{rows, self_release};

/// Carries out the order on what is selected and in a state that the order is for.
pub(super) async fn administer(
    batch: &mut Batch,
    bodies: &Bodies,
    now: Timestamp,
    (selection, order, by): (&Selection, &Order, &str),
) -> Result<Administered, QueueError> {
    let mut done = Administered::default();
    let mut chosen = Vec::new();
    for (delivery, state) in selected(batch.db(), selection).await? {
        match state {
            State::Leased => done.in_attempt += 1,
            state if order.states().contains(&state) => chosen.push(delivery),
            _ => done.passed_over += 1,
        }
    }
    done.changed = chosen.len();
    if let Order::Fail { reason, letterhead } = order {
        report_failures(batch, bodies, now, &chosen, (reason, letterhead)).await?;
    }
    for delivery in chosen {
        let Some(known) = known(batch.db(), delivery).await? else {
            continue;
        };
        if !order.is_for(&known) {
            done.changed -= 1;
            done.passed_over += 1;
            continue;
        }
        change(batch, now, delivery, order).await?;
        batch.append(&known.ordered(now, order, by));
    }
    Ok(done)
}

async fn change(
    batch: &Batch,
    now: Timestamp,
    delivery: DeliveryId,
    order: &Order,
) -> Result<(), QueueError> {
    let (db, id) = (batch.db(), delivery.0);
    match order {
        Order::Fail { .. } | Order::Delete { .. } => return remove(batch, delivery).await,
        Order::Hold { reason } => {
            let sql = "UPDATE delivery SET state = 'held', ready_at = NULL, rule = 'administrator', because = $2
                       WHERE id = $1";
            db.execute(sql, &[&id, &text(reason)]).await?;
        }
        Order::ReleaseEncrypted { .. } => {
            release(db, now, delivery, Binding::Encryption).await?;
        }
        Order::Retry => {
            db.execute(
                "UPDATE delivery SET ready_at = $2 WHERE id = $1",
                &[&id, &now.as_millisecond()],
            )
            .await?;
        }
        Order::ReleaseHeld { .. } | Order::ReleaseQuarantined { .. } => {
            release(db, now, delivery, Binding::Any).await?;
        }
    }
    Ok(())
}

/// Makes due what waited for somebody: he has decided, so no policy is asked again, and its time begins now. With
/// [`Binding::Encryption`] it goes by way of the encryption next hop; otherwise its binding stays.
pub(super) async fn release(
    db: Db<'_>,
    now: Timestamp,
    delivery: DeliveryId,
    binding: Binding,
) -> Result<(), QueueError> {
    self_release::withdraw(db, delivery).await?;
    // Who was told of a delay before is told of the next one: it is another.
    let sql = "UPDATE delivery SET state = 'due', ready_at = $2, released_at = $2, delay_notified = false, policy = NULL,
                   binding = CASE $3 WHEN 'encryption' THEN 'encryption' ELSE binding END WHERE id = $1";
    let values = (now.as_millisecond(), binding.word());
    db.execute(sql, &[&delivery.0, &values.0, &values.1])
        .await?;
    Ok(())
}

/// Queues one report for each message of which deliveries are given up, before their rows go.
async fn report_failures(
    batch: &mut Batch,
    bodies: &Bodies,
    now: Timestamp,
    chosen: &[DeliveryId],
    (reason, letterhead): (&str, &Letterhead),
) -> Result<(), QueueError> {
    let mut by_message: BTreeMap<MessageId, Vec<i64>> = BTreeMap::new();
    for delivery in chosen {
        let message = by_message.entry(message_of(*delivery)).or_default();
        message.push(delivery.0);
    }
    for (message, deliveries) in by_message {
        let read = rows::message_to_report(batch.db(), bodies, message).await;
        let Some(message) = unless_garbled(message, read)? else {
            continue;
        };
        let sql = format!(
            "SELECT {} FROM delivery WHERE id = ANY($1) ORDER BY id",
            rows::DELIVERY
        );
        let rows = batch.db().rows(&sql, &[&deliveries]).await?;
        let mut recipients = Vec::new();
        for row in &rows {
            let recipient = rows::delivery(row).map(|delivery| Some(delivery.recipient));
            recipients.extend(unless_garbled(message.id, recipient)?);
        }
        if recipients.is_empty() {
            continue;
        }
        let notices = failure_notices(&message, &recipients, reason, letterhead, now);
        accept_all(batch, notices.into_iter().map(Placed::in_row).collect()).await?;
    }
    Ok(())
}

/// Nothing of what can only be got rid of: its row does not say whom to tell of what.
fn unless_garbled<T>(
    message: MessageId,
    read: Result<Option<T>, QueueError>,
) -> Result<Option<T>, QueueError> {
    match read {
        Err(error) if rows::is_garbled(&error) => {
            untold(message, &error);
            Ok(None)
        }
        read => read,
    }
}

/// The deliveries of the selection, and where they stand.
async fn selected(
    db: Db<'_>,
    selection: &Selection,
) -> Result<Vec<(DeliveryId, State)>, QueueError> {
    let rows = match selection {
        Selection::All => {
            db.rows("SELECT id, state FROM delivery ORDER BY id", &[])
                .await?
        }
        Selection::Delivery(delivery) => {
            db.rows(
                "SELECT id, state FROM delivery WHERE id = $1",
                &[&delivery.0],
            )
            .await?
        }
        Selection::Domain(domain) => {
            let sql = "SELECT id, state FROM delivery WHERE domain = $1 ORDER BY id";
            db.rows(sql, &[&domain.to_ascii_lowercase()]).await?
        }
        Selection::Message(reference) => {
            let sql = format!(
                "SELECT d.id, d.state FROM message m JOIN delivery d
                     ON d.id BETWEEN m.id * {PLACES} AND m.id * {PLACES} + {PLACES} - 1
                 WHERE m.reference = $1 ORDER BY d.id"
            );
            db.rows(&sql, &[&reference.to_string()]).await?
        }
    };
    let chosen = rows.iter().map(|row| {
        // The schema lets no other words in.
        let state = State::parse(row.get(1)).unwrap_or(State::Leased);
        (DeliveryId(row.get(0)), state)
    });
    Ok(chosen.collect())
}
