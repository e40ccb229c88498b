//! Leasing what is due: at each call a bounded amount of work, however much is queued and however
//! much of it must be stepped over. The order is that of the other store.
//!
//! What a gateway has in hand another one takes when the lease has ended and the gateway is gone from the database.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::mail::{Message, Priority};
use crate::queue::damage::{Damaged, Teller, UNREADABLE};
use crate::queue::error::{QueueError, StoreError};
use crate::queue::fair::{DOMAINS_MAX, Found, LOOK_MAX, PER_DOMAIN, room};
use crate::queue::known::Known;
use crate::queue::record::{DeliveryId, Lease, LeasedDelivery, MessageId, QueuedMessage};
use crate::queue::store::{PLACES, Skip, message_of, of_message};
use crate::queue::words;

use super::accept::accept_all;
use super::ahead;
use super::bodies::Placed;
use super::db::Db;
use super::domains::Domains;
use super::link::number;
use super::rows::{self, Octets};
use super::schema::LOCKS;
use super::settle::known;
use super::unseen::{Met, is_corrupt};
use super::writer::Batch;

/// What was leased, but for octets that lie apart: they are read after the commit, so that nobody waits for them.
pub(super) struct Taken {
    /// In the order of finding.
    pub(super) leases: Vec<TakenLease>,
}

/// A message whose deliveries are leased.
pub(super) struct TakenLease {
    /// The message, without its octets where they lie apart.
    pub(super) message: QueuedMessage,
    /// The body that has them.
    pub(super) body: Option<i64>,
    /// What may be tried.
    pub(super) deliveries: Vec<LeasedDelivery>,
    /// Until when.
    pub(super) until: Timestamp,
}

impl TakenLease {
    /// The lease, once the octets are there.
    pub(super) fn into_lease(self) -> Lease {
        Lease {
            message: Arc::new(self.message),
            deliveries: self.deliveries,
            until: self.until,
        }
    }
}

/// Who asks for leases, and when.
struct Asking<'s> {
    now: i64,
    gateway: String,
    /// Gateways that are alive: what they have in hand is theirs.
    others: Vec<String>,
    skip: &'s Skip,
}

/// Leases up to `limit` messages until `until`.
pub(super) async fn lease(
    batch: &mut Batch,
    (now, until): (Timestamp, Timestamp),
    limit: usize,
    skip: &Skip,
    (teller, met): (&Teller, &Met),
) -> Result<Taken, QueueError> {
    let db = batch.db();
    let asking = Asking {
        now: now.as_millisecond(),
        gateway: batch.gateway().to_owned(),
        others: others_alive(db, batch.gateway()).await?,
        skip,
    };
    let mut found = Found::default();
    if by_class(db, &asking, limit, &mut found).await?.is_break() {
        domain_by_domain(db, &asking, limit, &mut found).await?;
    }
    let taken = take(db, &asking, &found.messages, until).await;
    if taken.as_ref().is_err_and(is_corrupt) {
        met.set(found.messages);
    }
    let (leases, damaged) = taken?;
    for (message, error) in damaged {
        hold_damaged(batch, message, now, &error, None, teller).await?;
    }
    Ok(Taken { leases })
}

/// The other gateways that hold the lock of their name.
async fn others_alive(db: Db<'_>, gateway: &str) -> Result<Vec<String>, QueueError> {
    let sql = "SELECT g.name FROM gateway g WHERE g.name <> $1 AND EXISTS (
                   SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
                   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND l.classid::bigint = $2 AND l.objid::bigint = g.lock::bigint & 4294967295)";
    let rows = db.rows(sql, &[&gateway, &i64::from(LOCKS)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Writes down that a gateway serves, under the number of its lock.
pub(super) async fn enter(db: Db<'_>, gateway: &str, now: Timestamp) -> Result<(), QueueError> {
    let sql = "INSERT INTO gateway (name, lock, began_at) VALUES ($1, $2, $3)
               ON CONFLICT (name) DO UPDATE SET lock = excluded.lock, began_at = excluded.began_at";
    db.execute(sql, &[&gateway, &number(gateway), &now.as_millisecond()])
        .await?;
    Ok(())
}

/// The higher classes first. Where several have something due a higher one leaves the lower ones a part of the room,
/// so that nothing waits for ever.
async fn by_class(
    db: Db<'_>,
    asking: &Asking<'_>,
    limit: usize,
    found: &mut Found,
) -> Result<ControlFlow<()>, QueueError> {
    let mut due = Vec::with_capacity(1);
    for class in Priority::ALL {
        if next_of_class(db, class)
            .await?
            .is_some_and(|at| at <= asking.now)
        {
            due.push(class);
        }
    }
    let mut flow = ControlFlow::Continue(());
    for (at, class) in due.iter().enumerate() {
        let lower = due.len() - 1 - at;
        let room = room(limit, lower).max(found.messages.len());
        if oldest_first(db, asking, (*class, room), found)
            .await?
            .is_break()
        {
            flow = ControlFlow::Break(());
        }
    }
    // What the lower ones left over.
    if due.len() > 1 && found.messages.len() < limit {
        for class in due {
            if oldest_first(db, asking, (class, limit), found)
                .await?
                .is_break()
            {
                flow = ControlFlow::Break(());
            }
        }
    }
    Ok(match found.messages.len() >= limit {
        true => ControlFlow::Continue(()),
        false => flow,
    })
}

/// Looks at what has been ready longest, at a few first. Breaks off if it looked at enough without finding enough.
async fn oldest_first(
    db: Db<'_>,
    asking: &Asking<'_>,
    (class, limit): (Priority, usize),
    found: &mut Found,
) -> Result<ControlFlow<()>, QueueError> {
    let sql = "SELECT id, forward_path, binding FROM delivery
               WHERE ready_at IS NOT NULL AND priority = $3 AND ready_at <= $1
                     AND (leased_by IS NULL OR leased_by = $4 OR leased_by <> ALL($5))
               ORDER BY ready_at, id LIMIT $2";
    let class = i16::try_from(class.number()).unwrap_or(0);
    for look in [LOOK_FIRST, LOOK_MAX] {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&asking.now, &look, &class, &asking.gateway, &asking.others];
        let rows = db.rows(sql, &values).await?;
        for row in &rows {
            let delivery = DeliveryId(row.get(0));
            if !asking.skip.holds(delivery) && !asking.skip.skips_words(row.get(1), row.get(2)) {
                found.add(delivery);
            }
            if found.messages.len() >= limit {
                return Ok(ControlFlow::Continue(()));
            }
        }
        if i64::try_from(rows.len()).is_ok_and(|looked| looked < look) {
            return Ok(ControlFlow::Continue(()));
        }
    }
    Ok(ControlFlow::Break(()))
}

/// Goes through the domains in which something waits, by their names, and takes the oldest few of each
/// that is not skipped.
async fn domain_by_domain(
    db: Db<'_>,
    asking: &Asking<'_>,
    limit: usize,
    found: &mut Found,
) -> Result<(), QueueError> {
    let sql = "SELECT w.place, d.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (domain, binding, place),
                   LATERAL (SELECT id, ready_at FROM delivery
                            WHERE state = 'due' AND domain = w.domain AND binding = w.binding AND ready_at <= $3
                            ORDER BY ready_at, id LIMIT $4) d
               ORDER BY w.place, d.ready_at, d.id";
    let mut steps = Domains::after((String::new(), String::new()), DOMAINS_MAX);
    while found.messages.len() < limit {
        let page = steps.next(db).await?;
        if page.is_empty() {
            return Ok(());
        }
        let free = page.iter().filter(|one| !one.is_skipped(asking.skip));
        let (domains, bindings): (Vec<&str>, Vec<&str>) =
            free.map(|one| (&*one.domain, &*one.binding)).unzip();
        let mut place = 0;
        for row in db
            .rows(sql, &[&domains, &bindings, &asking.now, &PER_DOMAIN])
            .await?
        {
            if row.get::<_, i64>(0) != place && found.messages.len() >= limit {
                return Ok(());
            }
            place = row.get(0);
            found.add(DeliveryId(row.get(1)));
        }
    }
    Ok(())
}

/// Leases all deliveries of these messages that are ready and not skipped. What cannot be read comes back with the
/// reason.
async fn take(
    db: Db<'_>,
    asking: &Asking<'_>,
    messages: &[MessageId],
    until: Timestamp,
) -> Result<(Vec<TakenLease>, Vec<Unread>), QueueError> {
    let ids: Vec<i64> = messages.iter().map(|message| message.0).collect();
    if ids.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut ready = ready(db, asking, &ids).await?;
    let sql = format!("SELECT {} FROM message WHERE id = ANY($1)", rows::MESSAGE);
    let found = db.rows(&sql, &[&ids]).await?;
    let found: HashMap<i64, _> = found.iter().map(|row| (row.get(0), row)).collect();
    let (mut leases, mut leased) = (Vec::with_capacity(ids.len()), Vec::new());
    let mut unread = Vec::new();
    for id in ids {
        let read = match (found.get(&id), ready.remove(&id)) {
            (_, None) => continue,
            (None, _) => Err(rows::damaged(id, "message")),
            (Some(row), Some(deliveries)) => {
                let (octets, body) = match Octets::of(row) {
                    Ok(Octets::Here(message)) => (Ok(message), None),
                    Ok(Octets::Stored(body)) => (Ok(Message::new("")), Some(body)),
                    Err(error) => (Err(error), None),
                };
                let message = octets.and_then(|octets| rows::header(row, octets));
                deliveries.and_then(|deliveries| Ok((message?, body, deliveries)))
            }
        };
        let (message, body, deliveries) = match read {
            Ok(read) => read,
            Err(error) => {
                unread.push((MessageId(id), error));
                continue;
            }
        };
        let not_skipped = |one: &LeasedDelivery| {
            !asking.skip.holds(one.id)
                && !asking.skip.skips(&one.recipient.forward_path, one.binding)
        };
        let deliveries: Vec<_> = deliveries.into_iter().filter(not_skipped).collect();
        leased.extend(deliveries.iter().map(|one| one.id.0));
        if !deliveries.is_empty() {
            leases.push(TakenLease {
                message,
                body,
                deliveries,
                until,
            });
        }
    }
    let sql =
        "UPDATE delivery SET state = 'leased', ready_at = $2, leased_by = $3 WHERE id = ANY($1)";
    db.execute(sql, &[&leased, &until.as_millisecond(), &asking.gateway])
        .await?;
    Ok((leases, unread))
}

/// A message that cannot be read, and why.
type Unread = (MessageId, QueueError);

type Ready = HashMap<i64, Result<Vec<LeasedDelivery>, QueueError>>;

/// The ready deliveries of these messages, locked; one that nobody else has a lock on.
async fn ready(db: Db<'_>, asking: &Asking<'_>, messages: &[i64]) -> Result<Ready, QueueError> {
    let sql = format!(
        "SELECT {} FROM unnest($1::bigint[]) AS w (message) JOIN delivery d
             ON d.id BETWEEN w.message * {PLACES} AND w.message * {PLACES} + {PLACES} - 1
         WHERE d.ready_at <= $2 AND (d.leased_by IS NULL OR d.leased_by = $3 OR d.leased_by <> ALL($4))
         ORDER BY d.id FOR UPDATE OF d SKIP LOCKED",
        rows::DELIVERY
    );
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&messages, &asking.now, &asking.gateway, &asking.others];
    let mut ready = Ready::new();
    for row in db.rows(&sql, &values).await? {
        let message = message_of(DeliveryId(row.get(0)));
        let all = ready.entry(message.0).or_insert_with(|| Ok(Vec::new()));
        match (all.as_mut(), rows::delivery(&row)) {
            (Ok(all), Ok(delivery)) => all.push(delivery),
            (Ok(_), Err(error)) => *all = Err(error),
            (Err(_), _) => {}
        }
    }
    Ok(ready)
}

/// Holds a message that cannot be read, with its events, and tells of it. `unseen` is what is known of its deliveries where
/// nobody may look at the message itself: its page is damaged, and the transaction would be lost.
pub(super) async fn hold_damaged(
    batch: &mut Batch,
    message: MessageId,
    now: Timestamp,
    error: &QueueError,
    unseen: Option<Vec<Known>>,
    teller: &Teller,
) -> Result<(), QueueError> {
    let (first, last) = of_message(message);
    let sql =
        "UPDATE delivery SET state = 'held', ready_at = NULL, leased_by = NULL, rule = 'built-in', because = $3
         WHERE id BETWEEN $1 AND $2 AND ready_at IS NOT NULL RETURNING id";
    let ids = batch.db().rows(sql, &[&first, &last, &UNREADABLE]).await?;
    let held = match unseen {
        Some(known) => known,
        None => {
            let mut held = Vec::with_capacity(ids.len());
            for row in &ids {
                held.extend(known(batch.db(), DeliveryId(row.get(0))).await?);
            }
            held
        }
    };
    let damaged = Damaged::new(message, &held, error, now);
    for event in damaged.events(&held) {
        batch.append(&event);
    }
    let notices = teller.notices(&damaged).into_iter();
    accept_all(batch, notices.map(Placed::in_row).collect()).await
}

/// Makes leased deliveries due again; what is not leased any more, or by another, stays as it is.
pub(super) async fn give_back(
    batch: &Batch,
    deliveries: &[DeliveryId],
    at: Timestamp,
) -> Result<(), QueueError> {
    let ids: Vec<i64> = deliveries.iter().map(|delivery| delivery.0).collect();
    let sql = "UPDATE delivery SET state = 'due', ready_at = $2, leased_by = NULL
               WHERE id = ANY($1) AND state = 'leased' AND leased_by = $3";
    let db = batch.db();
    db.execute(sql, &[&ids, &at.as_millisecond(), &batch.gateway()])
        .await?;
    Ok(())
}

/// Ends the leases of this gateway; returns how many there were.
pub(super) async fn recover(batch: &Batch, now: Timestamp) -> Result<usize, QueueError> {
    let (db, gateway) = (batch.db(), batch.gateway());
    enter(db, gateway, now).await?;
    let sql = "UPDATE delivery SET state = 'due', ready_at = $1, leased_by = NULL
               WHERE state = 'leased' AND leased_by = $2 RETURNING id";
    let freed = db.rows(sql, &[&now.as_millisecond(), &gateway]).await?;
    let freed: Vec<_> = freed.iter().map(|row| DeliveryId(row.get(0))).collect();
    ahead::begin_anew(db, &freed, now).await?;
    Ok(freed.len())
}

/// When something becomes ready next.
pub(super) async fn next_ready(db: Db<'_>) -> Result<Option<Timestamp>, QueueError> {
    let mut first = None;
    for class in Priority::ALL {
        let next = next_of_class(db, class).await?;
        first = [first, next].into_iter().flatten().min();
    }
    Ok(first.map(words::time))
}

/// When something of a class becomes ready next, in milliseconds.
async fn next_of_class(db: Db<'_>, class: Priority) -> Result<Option<i64>, QueueError> {
    let sql = "SELECT min(ready_at) FROM delivery WHERE ready_at IS NOT NULL AND priority = $1";
    let class = i16::try_from(class.number()).unwrap_or(0);
    Ok(db.one(sql, &[&class]).await?.get(0))
}

/// The error of a message whose octets are not there.
pub(super) fn without_octets(message: MessageId) -> QueueError {
    StoreError::Damaged {
        row: message.0,
        what: "body",
    }
    .into()
}

/// Deliveries that are looked at first: that is enough unless destinations are busy.
const LOOK_FIRST: i64 = 200;
