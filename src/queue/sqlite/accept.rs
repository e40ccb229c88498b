//! Taking over a message: its row, one row for each recipient, its events.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::params;

use crate::mail::BodyType;
use crate::queue::error::QueueError;
use crate::queue::handling::Handling;
use crate::queue::record::{
    DeliveryId, Handoff, Lease, LeasedDelivery, MessageId, NewDelivery, Standing,
};
use crate::queue::spool::Placed;
use crate::queue::store::{State, delivery_of};
use crate::queue::words;

use super::old_names;
use super::self_release;
use super::writer::Batch;

/// Writes the messages; the due deliveries of the first come back leased if that is wanted.
pub(super) fn accept(
    batch: &mut Batch<'_>,
    accepted: Vec<Placed>,
    handoff: Handoff,
) -> Result<Option<Lease>, QueueError> {
    let mut lease = None;
    let mut handoff = handoff;
    for one in accepted {
        let leased = accept_one(batch, one, handoff)?;
        lease = lease.or(leased);
        handoff = Handoff::None;
    }
    Ok(lease)
}

/// Writes messages that nobody waits for: reports.
pub(super) fn accept_all(batch: &mut Batch<'_>, accepted: Vec<Placed>) -> Result<(), QueueError> {
    accept(batch, accepted, Handoff::None).map(|_| ())
}

fn accept_one(
    batch: &mut Batch<'_>,
    placed: Placed,
    handoff: Handoff,
) -> Result<Option<Lease>, QueueError> {
    if let Some(unless) = &placed.accepted.unless_told
        && !old_names::is_news(batch.db, unless, placed.accepted.received_at)?
    {
        placed
            .file
            .into_iter()
            .for_each(|file| batch.remove_file(file));
        return Ok(None);
    }
    // Of a message that goes to nobody (all its recipients are addresses that nobody reads) the record alone is kept.
    let id = match placed.accepted.deliveries.is_empty() {
        false => insert_message(batch, &placed)?,
        true => {
            placed
                .file
                .into_iter()
                .for_each(|file| batch.remove_file(file));
            MessageId(0)
        }
    };
    let mut accepted = placed.accepted;
    let uses = std::mem::take(&mut accepted.old_names);
    for notice in old_names::count(batch, uses, accepted.received_at)? {
        accept_one(
            batch,
            Placed {
                accepted: notice,
                file: None,
            },
            Handoff::None,
        )?;
    }
    let mut leased = Vec::new();
    let handling = accepted.handling;
    for (place, delivery) in accepted.deliveries.iter().enumerate() {
        let id = delivery_of(id, place);
        let came = (accepted.received_at, handling);
        let state = insert_delivery(batch, id, delivery, came, handoff)?;
        if state == State::Leased {
            leased.push(LeasedDelivery {
                id,
                recipient: delivery.recipient.clone(),
                binding: delivery.binding,
                attempts: 0,
                delay_notified: false,
                priority: handling.priority,
                policy: handling.policy,
                released_at: None,
            });
        }
    }
    for event in &accepted.events {
        batch.append(event)?;
    }
    Ok(match handoff {
        Handoff::LeaseUntil(until) if !leased.is_empty() => Some(Lease {
            message: Arc::new(accepted.into_queued(id)),
            deliveries: leased,
            until,
        }),
        _ => None,
    })
}

fn insert_message(batch: &Batch<'_>, placed: &Placed) -> Result<MessageId, QueueError> {
    let accepted = &placed.accepted;
    let body = match placed.file {
        Some(_) => None,
        None => Some(&accepted.message.octets()[..]),
    };
    let mut statement = batch.db.prepare_cached(
        "INSERT INTO message (reference, reverse_path, env_id, ret, eight_bit, smtputf8, require_tls,
                              patient_data, received_at, message_id, octets, spool, body, mt_priority)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let id = statement.insert(params![
        accepted.reference.to_string(),
        accepted.reverse_path.to_string(),
        accepted.env_id.as_ref().map(ToString::to_string),
        accepted.ret.map(|ret| ret.to_string()),
        accepted.body == BodyType::EightBitMime,
        accepted.smtputf8,
        accepted.require_tls,
        accepted.patient_data,
        accepted.received_at.as_millisecond(),
        accepted.message_id,
        i64::try_from(accepted.message.len()).unwrap_or(i64::MAX),
        placed.file,
        body,
        accepted.handling.mt_priority,
    ])?;
    Ok(MessageId(id))
}

fn insert_delivery(
    batch: &Batch<'_>,
    id: DeliveryId,
    delivery: &NewDelivery,
    (received_at, handling): (Timestamp, Handling),
    handoff: Handoff,
) -> Result<State, QueueError> {
    let (state, ready_at) = match (delivery.standing, handoff) {
        (Standing::Held, _) => (State::Held, None),
        (Standing::Quarantined, _) => (State::Quarantined, None),
        (Standing::Due, Handoff::None) => (State::Due, Some(received_at)),
        (Standing::Due, Handoff::LeaseUntil(until)) => (State::Leased, Some(until)),
    };
    let recipient = &delivery.recipient;
    let mut statement = batch.db.prepare_cached(
        "INSERT INTO delivery (id, state, ready_at, domain, forward_path, notify, orcpt, binding, rule,
                               because, attempts, delay_notified, priority, policy)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, 0, ?11, ?12)",
    )?;
    statement.insert(params![
        id.0,
        state.word(),
        ready_at.map(Timestamp::as_millisecond),
        words::domain(&recipient.forward_path),
        recipient.forward_path.to_string(),
        recipient.notify.map(|notify| notify.to_string()),
        recipient.orcpt.as_ref().map(ToString::to_string),
        delivery.binding.word(),
        delivery.rule,
        delivery.because,
        handling.priority.number(),
        handling.policy.map(|mark| mark.0),
    ])?;
    if let (State::Held | State::Quarantined, Some(offer)) = (state, &delivery.self_release) {
        self_release::offer(batch.db, id, offer)?;
    }
    Ok(state)
}
