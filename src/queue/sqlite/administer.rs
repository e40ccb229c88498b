//! Orders of administrators: the change, its event and the report that follows, in one transaction.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, params, params_from_iter};

use crate::outcome::Letterhead;
use crate::queue::error::QueueError;
use crate::queue::orders::failure_notices;
use crate::queue::record::{Binding, DeliveryId, MessageId};
use crate::queue::spool::Placed;
use crate::queue::store::{Administered, Order, Selection, State, message_of, of_message};

use super::accept::accept_all;
use super::damaged::is_unseen;
use super::rows;
use super::self_release;
use super::settle::{known, remove, remove_alone};
use super::writer::Batch;

/// Carries out the order on what is selected and in a state that the order is for.
pub(super) fn administer(
    batch: &mut Batch<'_>,
    now: Timestamp,
    selection: &Selection,
    order: &Order,
    by: &str,
) -> Result<Administered, QueueError> {
    let mut done = Administered::default();
    let mut chosen = Vec::new();
    for (delivery, state) in selected(batch.db, selection)? {
        match state {
            State::Leased => done.in_attempt += 1,
            state if order.states().contains(&state) => chosen.push(delivery),
            _ => done.passed_over += 1,
        }
    }
    done.changed = chosen.len();
    if let Order::Fail { reason, letterhead } = order {
        report_failures(batch, now, &chosen, reason, letterhead)?;
    }
    for delivery in chosen {
        let Some(known) = known(batch.db, delivery)? else {
            continue;
        };
        if !order.is_for(&known) {
            done.changed -= 1;
            done.passed_over += 1;
            continue;
        }
        change(batch, now, delivery, order)?;
        batch.append(&known.ordered(now, order, by))?;
    }
    Ok(done)
}

fn change(
    batch: &mut Batch<'_>,
    now: Timestamp,
    delivery: DeliveryId,
    order: &Order,
) -> Result<(), QueueError> {
    match order {
        Order::Fail { .. } if is_unseen(batch.db, delivery)? => remove_alone(batch.db, delivery),
        Order::Fail { .. } | Order::Delete { .. } => remove(batch, delivery),
        Order::Hold { reason } => {
            batch
                .db
                .prepare_cached(
                    "UPDATE delivery SET state = 'held', ready_at = NULL, rule = 'administrator', because = ?2
                     WHERE id = ?1",
                )?
                .execute(params![delivery.0, reason])?;
            Ok(())
        }
        Order::ReleaseEncrypted { .. } => release(batch.db, now, delivery, Binding::Encryption),
        Order::Retry => {
            batch
                .db
                .prepare_cached("UPDATE delivery SET ready_at = ?2 WHERE id = ?1")?
                .execute(params![delivery.0, now.as_millisecond()])?;
            Ok(())
        }
        Order::ReleaseHeld { .. } | Order::ReleaseQuarantined { .. } => {
            release(batch.db, now, delivery, Binding::Any)
        }
    }
}

/// Makes due what waited for somebody: he has decided, so no policy is asked again, and its time begins now. With
/// [`Binding::Encryption`] it goes by way of the encryption next hop; otherwise its binding stays.
pub(super) fn release(
    db: &Connection,
    now: Timestamp,
    delivery: DeliveryId,
    binding: Binding,
) -> Result<(), QueueError> {
    self_release::withdraw(db, delivery)?;
    // Who was told of a delay before is told of the next one: it is another.
    db.prepare_cached(
        "UPDATE delivery SET state = 'due', ready_at = ?2, released_at = ?2, delay_notified = 0, policy = NULL,
             binding = CASE ?3 WHEN 'encryption' THEN 'encryption' ELSE binding END WHERE id = ?1",
    )?
    .execute(params![delivery.0, now.as_millisecond(), binding.word()])?;
    Ok(())
}

/// Queues one report for each message of which deliveries are given up, before their rows go.
fn report_failures(
    batch: &mut Batch<'_>,
    now: Timestamp,
    chosen: &[DeliveryId],
    reason: &str,
    letterhead: &Letterhead,
) -> Result<(), QueueError> {
    let mut by_message: BTreeMap<MessageId, Vec<DeliveryId>> = BTreeMap::new();
    for delivery in chosen {
        by_message
            .entry(message_of(*delivery))
            .or_default()
            .push(*delivery);
    }
    for (message, deliveries) in by_message {
        let is_unseen = deliveries.first().map(|one| is_unseen(batch.db, *one));
        let read = match is_unseen.transpose()? {
            Some(true) => rows::message_unseen(batch.db, message),
            _ => rows::message_to_report(batch.db, batch.spool, message),
        };
        let Some(message) = unless_garbled(message, read)? else {
            continue;
        };
        let mut recipients = Vec::new();
        for delivery in deliveries {
            recipients.extend(unless_garbled(message.id, recipient(batch.db, delivery))?);
        }
        if recipients.is_empty() {
            continue;
        }
        let notices = failure_notices(&message, &recipients, reason, letterhead, now);
        // In the row, whatever their size: files are written outside of transactions.
        let placed = notices.into_iter().map(|accepted| Placed {
            accepted,
            file: None,
        });
        accept_all(batch, placed.collect())?;
    }
    Ok(())
}

/// Nothing, and a word about it in the log, of what can only be got rid of: its row does not say whom to tell of what.
fn unless_garbled<T>(
    message: MessageId,
    read: Result<Option<T>, QueueError>,
) -> Result<Option<T>, QueueError> {
    match read {
        Err(error) if rows::is_garbled(&error) => {
            let error = error.to_text();
            tracing::error!(
                message = message.0,
                error,
                "a message is given up by order, and its sender cannot be told: its row is damaged"
            );
            Ok(None)
        }
        read => read,
    }
}

fn recipient(
    db: &Connection,
    delivery: DeliveryId,
) -> Result<Option<crate::mail::Recipient>, QueueError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {} FROM delivery WHERE id = ?1",
        rows::DELIVERY
    ))?;
    let mut rows = statement.query([delivery.0])?;
    match rows.next()? {
        Some(row) => Ok(Some(rows::delivery(row)?.recipient)),
        None => Ok(None),
    }
}

/// The deliveries of the selection, and where they stand.
fn selected(
    db: &Connection,
    selection: &Selection,
) -> Result<Vec<(DeliveryId, State)>, QueueError> {
    let (condition, values) = match selection {
        Selection::All => ("1", vec![]),
        Selection::Delivery(delivery) => ("id = ?1", vec![Value::Integer(delivery.0)]),
        Selection::Domain(domain) => (
            "domain = ?1",
            vec![Value::Text(domain.to_ascii_lowercase())],
        ),
        Selection::Message(reference) => {
            let reference = reference.to_string();
            let mut statement = db.prepare_cached("SELECT id FROM message WHERE reference = ?1")?;
            let messages = statement.query_map([reference], |row| row.get(0))?;
            let mut chosen = Vec::new();
            for message in messages {
                let (first, last) = of_message(MessageId(message?));
                let range = vec![Value::Integer(first), Value::Integer(last)];
                chosen.extend(states(db, "id BETWEEN ?1 AND ?2", range)?);
            }
            return Ok(chosen);
        }
    };
    states(db, condition, values)
}

fn states(
    db: &Connection,
    condition: &str,
    values: Vec<Value>,
) -> Result<Vec<(DeliveryId, State)>, QueueError> {
    let mut statement = db.prepare(&format!(
        "SELECT id, state FROM delivery WHERE {condition} ORDER BY id"
    ))?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        let state: String = row.get(1)?;
        // The schema lets no other words in.
        Ok((
            DeliveryId(row.get(0)?),
            State::parse(&state).unwrap_or(State::Leased),
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
