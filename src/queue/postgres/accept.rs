//! Taking over a message: its row, one row for each recipient, its events.

use std::sync::Arc;

use jiff::Timestamp;

use crate::mail::BodyType;
use crate::queue::error::QueueError;
use crate::queue::record::{
    Accepted, DeliveryId, Handoff, Lease, LeasedDelivery, MessageId, NewDelivery, Standing,
};
use crate::queue::store::{State, delivery_of};
use crate::queue::words;

use super::bodies::Placed;
use super::db::{some_text, text};
use super::writer::Batch;
use super::{old_names, self_release, settle};

/// Writes the messages; the due deliveries of the first come back leased if that is wanted.
pub(super) async fn accept(
    batch: &mut Batch,
    accepted: Vec<Placed>,
    handoff: Handoff,
) -> Result<Option<Lease>, QueueError> {
    let mut lease = None;
    let mut handoff = handoff;
    for one in accepted {
        let leased = accept_one(batch, one, handoff).await?;
        lease = lease.or(leased);
        handoff = Handoff::None;
    }
    Ok(lease)
}

/// Writes messages that nobody waits for: reports.
pub(super) async fn accept_all(batch: &mut Batch, accepted: Vec<Placed>) -> Result<(), QueueError> {
    accept(batch, accepted, Handoff::None).await.map(|_| ())
}

async fn accept_one(
    batch: &mut Batch,
    placed: Placed,
    handoff: Handoff,
) -> Result<Option<Lease>, QueueError> {
    let Placed { mut accepted, body } = placed;
    if let Some(unless) = &accepted.unless_told
        && !old_names::is_news(batch.db(), unless, accepted.received_at).await?
    {
        settle::remove_body(batch, body).await?;
        return Ok(None);
    }
    // Of a message that goes to nobody (all its recipients are addresses that nobody reads) the record alone is kept.
    let id = match accepted.deliveries.is_empty() {
        false => insert_message(batch, &accepted, body).await?,
        true => {
            settle::remove_body(batch, body).await?;
            MessageId(0)
        }
    };
    let uses = std::mem::take(&mut accepted.old_names);
    for notice in old_names::count(batch, uses, accepted.received_at).await? {
        Box::pin(accept_one(batch, Placed::in_row(notice), Handoff::None)).await?;
    }
    let leased = insert_deliveries(batch, id, &accepted, handoff).await?;
    for event in &accepted.events {
        batch.append(event);
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

async fn insert_message(
    batch: &Batch,
    accepted: &Accepted,
    body: Option<i64>,
) -> Result<MessageId, QueueError> {
    let content = match body {
        Some(_) => None,
        None => Some(&accepted.message.octets()[..]),
    };
    let row = batch
        .db()
        .one(
            "INSERT INTO message (reference, reverse_path, env_id, ret, eight_bit, smtputf8, require_tls,
                                  patient_data, received_at, message_id, octets, mt_priority, stored, content)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING id",
            &[
                &accepted.reference.to_string(),
                &text(&accepted.reverse_path.to_string()),
                &accepted.env_id.as_ref().map(|id| text(&id.to_string())),
                &accepted.ret.map(|ret| ret.to_string()),
                &(accepted.body == BodyType::EightBitMime),
                &accepted.smtputf8,
                &accepted.require_tls,
                &accepted.patient_data,
                &accepted.received_at.as_millisecond(),
                &some_text(accepted.message_id.as_deref()),
                &i64::try_from(accepted.message.len()).unwrap_or(i64::MAX),
                &accepted.handling.mt_priority.map(i16::from),
                &body,
                &content,
            ],
        )
        .await?;
    Ok(MessageId(row.get(0)))
}

/// What differs from one recipient to the next, column by column: one statement writes all rows.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    states: Vec<&'static str>,
    ready_at: Vec<Option<i64>>,
    domains: Vec<String>,
    paths: Vec<String>,
    notify: Vec<Option<String>>,
    orcpt: Vec<Option<String>>,
    bindings: Vec<&'static str>,
    rules: Vec<String>,
    because: Vec<String>,
}

impl Columns {
    fn add(
        &mut self,
        id: DeliveryId,
        delivery: &NewDelivery,
        (state, ready_at): (State, Option<Timestamp>),
    ) {
        let recipient = &delivery.recipient;
        self.ids.push(id.0);
        self.states.push(state.word());
        self.ready_at.push(ready_at.map(Timestamp::as_millisecond));
        self.domains
            .push(text(&words::domain(&recipient.forward_path)));
        self.paths.push(text(&recipient.forward_path.to_string()));
        self.notify
            .push(recipient.notify.map(|notify| notify.to_string()));
        self.orcpt.push(
            recipient
                .orcpt
                .as_ref()
                .map(|orcpt| text(&orcpt.to_string())),
        );
        self.bindings.push(delivery.binding.word());
        self.rules.push(text(&delivery.rule));
        self.because.push(text(&delivery.because));
    }
}

/// Writes a row for each recipient; returns what is leased.
async fn insert_deliveries(
    batch: &Batch,
    message: MessageId,
    accepted: &Accepted,
    handoff: Handoff,
) -> Result<Vec<LeasedDelivery>, QueueError> {
    let (mut columns, mut leased, mut offers) = (Columns::default(), Vec::new(), Vec::new());
    let handling = accepted.handling;
    for (place, delivery) in accepted.deliveries.iter().enumerate() {
        let id = delivery_of(message, place);
        let (state, ready_at) = match (delivery.standing, handoff) {
            (Standing::Held, _) => (State::Held, None),
            (Standing::Quarantined, _) => (State::Quarantined, None),
            (Standing::Due, Handoff::None) => (State::Due, Some(accepted.received_at)),
            (Standing::Due, Handoff::LeaseUntil(until)) => (State::Leased, Some(until)),
        };
        columns.add(id, delivery, (state, ready_at));
        if let (State::Held | State::Quarantined, Some(offer)) = (state, &delivery.self_release) {
            offers.push((id, offer));
        }
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
    if columns.ids.is_empty() {
        return Ok(leased);
    }
    let c = &columns;
    let priority = i16::try_from(handling.priority.number()).unwrap_or(0);
    let sql = "INSERT INTO delivery (id, state, ready_at, leased_by, domain, forward_path, notify, orcpt, binding, rule,
                                     because, attempts, delay_notified, priority, policy)
               SELECT id, state, ready_at, CASE state WHEN 'leased' THEN $11::text END, domain, forward_path, notify, orcpt,
                      binding, rule, because, 0, false, $12::smallint, $13::bigint
               FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                           $8::text[], $9::text[], $10::text[])
                    AS r (id, state, ready_at, domain, forward_path, notify, orcpt, binding, rule, because)";
    let db = batch.db();
    db.execute(
        sql,
        &[
            &c.ids,
            &c.states,
            &c.ready_at,
            &c.domains,
            &c.paths,
            &c.notify,
            &c.orcpt,
            &c.bindings,
            &c.rules,
            &c.because,
            &batch.gateway(),
            &priority,
            &handling.policy.map(|mark| mark.0),
        ],
    )
    .await?;
    for (id, offer) in offers {
        self_release::offer(db, id, offer).await?;
    }
    Ok(leased)
}
