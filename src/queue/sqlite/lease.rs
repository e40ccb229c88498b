//! Leasing what is due: at each call a bounded amount of work, however much is queued and however
//! much of it must be stepped over.
//!
//! First the deliveries that have been ready longest are looked at. If so many of them are for busy
//! destinations that the look ends before enough is found, the domains are gone through one by
//! one, each by one step in an index, so that a million messages for a slow destination hide nobody else's.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::mail::Priority;
use crate::queue::error::{QueueError, StoreError};
use crate::queue::fair::{DOMAINS_MAX, Found, LOOK_MAX, PER_DOMAIN, room};
use crate::queue::record::{DeliveryId, Lease, LeasedDelivery, MessageId, QueuedMessage};
use crate::queue::store::{Skip, of_message};
use crate::queue::words;

use super::damaged::{self, Damage};
use super::rows::{is_corrupt, is_unread};
use super::writer::Batch;
use super::{ahead, careful, rows};

/// Leases up to `limit` messages until `until`.
pub(super) fn lease(
    batch: &mut Batch<'_>,
    (now, until): (Timestamp, Timestamp),
    limit: usize,
    skip: &Skip,
    damage: &Damage,
) -> Result<Vec<Lease>, QueueError> {
    let mut found = Found::default();
    if damage.is_careful() {
        careful::look(batch.db, now, limit, skip, damage, &mut found)?;
    } else if by_class(batch.db, now, limit, skip, &mut found)?.is_break() {
        domain_by_domain(batch.db, now, limit, skip, &mut found)?;
    }
    let mut leases = Vec::with_capacity(found.messages.len());
    for message in found.messages {
        if damage.is_passed_over(message) {
            continue;
        }
        match read(batch, message, now) {
            Ok(read) => leases.extend(lease_message(batch, read, until, skip)?),
            Err(error) if is_corrupt(&error) || is_unread(&error) => {
                return Err(damage.meet(message, error));
            }
            Err(error) => damaged::leave(batch, message, now, error, &damage.teller)?,
        }
    }
    Ok(leases)
}

/// The higher classes first. Where several have something due a higher one leaves the lower ones a part of the room,
/// so that nothing waits for ever.
fn by_class(
    db: &Connection,
    now: Timestamp,
    limit: usize,
    skip: &Skip,
    found: &mut Found,
) -> Result<ControlFlow<()>, QueueError> {
    let mut due = Vec::with_capacity(1);
    for class in Priority::ALL {
        if next_of_class(db, class)?.is_some_and(|at| at <= now.as_millisecond()) {
            due.push(class);
        }
    }
    let mut flow = ControlFlow::Continue(());
    for (at, class) in due.iter().enumerate() {
        let lower = due.len() - 1 - at;
        let room = room(limit, lower).max(found.messages.len());
        if oldest_first(db, now, (*class, room), skip, found)?.is_break() {
            flow = ControlFlow::Break(());
        }
    }
    // What the lower ones left over.
    if due.len() > 1 && found.messages.len() < limit {
        for class in due {
            if oldest_first(db, now, (class, limit), skip, found)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
    }
    Ok(match found.messages.len() >= limit {
        true => ControlFlow::Continue(()),
        false => flow,
    })
}

/// Looks at what has been ready longest. Breaks off if it looked at enough without finding enough.
fn oldest_first(
    db: &Connection,
    now: Timestamp,
    (class, limit): (Priority, usize),
    skip: &Skip,
    found: &mut Found,
) -> Result<ControlFlow<()>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT id, forward_path, binding FROM delivery
         WHERE ready_at IS NOT NULL AND priority = ?3 AND ready_at <= ?1 ORDER BY ready_at LIMIT ?2",
    )?;
    let mut rows = statement.query(params![now.as_millisecond(), LOOK_MAX, class.number()])?;
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        let delivery = DeliveryId(row.get(0)?);
        if !skip.holds(delivery) && !skipped(row.get_ref(1)?, row.get_ref(2)?, skip) {
            found.add(delivery);
        }
        if found.messages.len() >= limit {
            return Ok(ControlFlow::Continue(()));
        }
    }
    Ok(match looked < LOOK_MAX {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    })
}

/// Goes through the domains in which something waits, by their names, and takes the oldest few of each
/// that is not skipped.
fn domain_by_domain(
    db: &Connection,
    now: Timestamp,
    limit: usize,
    skip: &Skip,
    found: &mut Found,
) -> Result<(), QueueError> {
    let mut after = (String::new(), String::new());
    let mut next = db.prepare_cached(
        "SELECT domain, binding, forward_path FROM delivery
         WHERE state = 'due' AND (domain, binding) > (?1, ?2) ORDER BY domain, binding LIMIT 1",
    )?;
    let mut oldest = db.prepare_cached(
        "SELECT id FROM delivery
         WHERE state = 'due' AND domain = ?1 AND binding = ?2 AND ready_at <= ?3 ORDER BY ready_at LIMIT ?4",
    )?;
    for _ in 0..DOMAINS_MAX {
        let step = next.query_row(params![after.0, after.1], |row| {
            let skipped = skipped(row.get_ref(2)?, row.get_ref(1)?, skip);
            Ok((row.get(0)?, row.get(1)?, skipped))
        });
        let Some((domain, binding, skipped)) = step.optional()? else {
            return Ok(());
        };
        if !skipped {
            let now = now.as_millisecond();
            let mut rows = oldest.query(params![domain, binding, now, PER_DOMAIN])?;
            while let Some(row) = rows.next()? {
                found.add(DeliveryId(row.get(0)?));
            }
        }
        if found.messages.len() >= limit {
            return Ok(());
        }
        after = (domain, binding);
    }
    Ok(())
}

/// Whether a recipient with this path and binding, as the database has them, is passed over.
pub(super) fn skipped(
    path: rusqlite::types::ValueRef<'_>,
    binding: rusqlite::types::ValueRef<'_>,
    skip: &Skip,
) -> bool {
    let (path, binding) = (path.as_str(), binding.as_str());
    skip.skips_words(path.unwrap_or_default(), binding.unwrap_or_default())
}

/// A message with all of its deliveries that are ready.
fn read(
    batch: &Batch<'_>,
    id: MessageId,
    now: Timestamp,
) -> Result<(Arc<QueuedMessage>, Vec<LeasedDelivery>), QueueError> {
    let deliveries = ready(batch.db, id, now)?;
    let message = rows::message(batch.db, batch.spool, id)?;
    let message = message.ok_or(StoreError::Damaged {
        row: id.0,
        what: "message",
    })?;
    Ok((message, deliveries))
}

/// Leases what is not skipped.
fn lease_message(
    batch: &Batch<'_>,
    (message, deliveries): (Arc<QueuedMessage>, Vec<LeasedDelivery>),
    until: Timestamp,
    skip: &Skip,
) -> Result<Option<Lease>, QueueError> {
    let deliveries: Vec<LeasedDelivery> = deliveries
        .into_iter()
        .filter(|one| !skip.holds(one.id))
        .filter(|one| !skip.skips(&one.recipient.forward_path, one.binding))
        .collect();
    for delivery in &deliveries {
        batch
            .db
            .prepare_cached("UPDATE delivery SET state = 'leased', ready_at = ?2 WHERE id = ?1")?
            .execute(params![delivery.id.0, until.as_millisecond()])?;
    }
    Ok((!deliveries.is_empty()).then_some(Lease {
        message,
        deliveries,
        until,
    }))
}

fn ready(
    db: &Connection,
    message: MessageId,
    now: Timestamp,
) -> Result<Vec<LeasedDelivery>, QueueError> {
    let (first, last) = of_message(message);
    let mut statement = db.prepare_cached(&format!(
        "SELECT {} FROM delivery WHERE id BETWEEN ?1 AND ?2 AND ready_at <= ?3",
        rows::DELIVERY
    ))?;
    let mut rows = statement.query(params![first, last, now.as_millisecond()])?;
    let mut deliveries = Vec::new();
    while let Some(row) = rows.next()? {
        deliveries.push(rows::delivery(row)?);
    }
    Ok(deliveries)
}

/// Makes leased deliveries due again; what is not leased any more stays as it is.
pub(super) fn give_back(
    batch: &Batch<'_>,
    deliveries: &[DeliveryId],
    at: Timestamp,
) -> Result<(), QueueError> {
    let mut statement = batch.db.prepare_cached(
        "UPDATE delivery SET state = 'due', ready_at = ?2 WHERE id = ?1 AND state = 'leased'",
    )?;
    for delivery in deliveries {
        statement.execute(params![delivery.0, at.as_millisecond()])?;
    }
    Ok(())
}

/// Ends all leases; returns how many there were, and the names of all files in use.
pub(super) fn recover(
    batch: &Batch<'_>,
    now: Timestamp,
) -> Result<(usize, HashSet<String>), QueueError> {
    let mut free = batch.db.prepare(
        "UPDATE delivery SET state = 'due', ready_at = ?1 WHERE state = 'leased' RETURNING id",
    )?;
    let freed = free.query_map([now.as_millisecond()], |row| row.get(0).map(DeliveryId))?;
    let freed = freed.collect::<Result<Vec<_>, _>>()?;
    freed_and_files(batch, &freed, now)
}

/// The same for these alone: the others cannot be read.
pub(super) fn recover_these(
    batch: &Batch<'_>,
    leased: &[DeliveryId],
    now: Timestamp,
) -> Result<(usize, HashSet<String>), QueueError> {
    give_back(batch, leased, now)?;
    freed_and_files(batch, leased, now)
}

fn freed_and_files(
    batch: &Batch<'_>,
    freed: &[DeliveryId],
    now: Timestamp,
) -> Result<(usize, HashSet<String>), QueueError> {
    ahead::begin_anew(batch.db, freed, now)?;
    let mut statement = batch
        .db
        .prepare("SELECT spool FROM message WHERE spool IS NOT NULL")?;
    let files = statement.query_map([], |row| row.get(0))?;
    Ok((freed.len(), files.collect::<Result<_, _>>()?))
}

/// When something becomes ready next.
pub(super) fn next_ready(db: &Connection) -> Result<Option<Timestamp>, QueueError> {
    let mut first = None;
    for class in Priority::ALL {
        let next = next_of_class(db, class)?;
        first = [first, next].into_iter().flatten().min();
    }
    Ok(first.map(words::time))
}

/// When something of a class becomes ready next, in milliseconds.
fn next_of_class(db: &Connection, class: Priority) -> Result<Option<i64>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT min(ready_at) FROM delivery WHERE ready_at IS NOT NULL AND priority = ?1",
    )?;
    Ok(statement.query_row([class.number()], |row| row.get(0))?)
}
