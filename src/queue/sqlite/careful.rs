//! Looking at deliveries one by one, once a page with some of their rows is damaged: those on it are met one after the
//! other and passed over, and everybody else's mail goes on.
//!
//! What is due, and in what order, is read from an index alone. That is slower, and what a busy destination has in front of
//! it may hide others for a while: it is for the time until the database is put right.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::mail::Priority;
use crate::queue::error::QueueError;
use crate::queue::fair::{Found, room};
use crate::queue::record::DeliveryId;
use crate::queue::store::{Skip, message_of};

use super::damaged::Damage;
use super::lease::skipped;
use super::rows::{is_corrupt, is_unread};

/// Finds what is due: the higher classes first, with a part of the room left to each lower one.
///
/// # Errors
/// Also the first row that cannot be read: its message is met then.
pub(super) fn look(
    db: &Connection,
    now: Timestamp,
    limit: usize,
    skip: &Skip,
    damage: &Damage,
    found: &mut Found,
) -> Result<(), QueueError> {
    for (at, class) in Priority::ALL.iter().enumerate() {
        let lower = Priority::ALL.len() - 1 - at;
        let room = room(limit, lower).max(found.messages.len());
        look_at_class(db, now, (*class, room), skip, damage, found)?;
    }
    // What the lower ones left over.
    for class in Priority::ALL {
        look_at_class(db, now, (class, limit), skip, damage, found)?;
    }
    Ok(())
}

fn look_at_class(
    db: &Connection,
    now: Timestamp,
    (class, limit): (Priority, usize),
    skip: &Skip,
    damage: &Damage,
    found: &mut Found,
) -> Result<(), QueueError> {
    let mut due = db.prepare_cached(
        "SELECT id FROM delivery WHERE ready_at IS NOT NULL AND priority = ?2 AND ready_at <= ?1
         ORDER BY ready_at LIMIT ?3",
    )?;
    let mut of = db.prepare_cached("SELECT forward_path, binding FROM delivery WHERE id = ?1")?;
    let mut rows = due.query(params![now.as_millisecond(), class.number(), LOOK_MAX])?;
    while found.messages.len() < limit
        && let Some(row) = rows.next()?
    {
        let delivery = DeliveryId(row.get(0)?);
        let message = message_of(delivery);
        if skip.holds(delivery) || damage.is_passed_over(message) {
            continue;
        }
        let read = of.query_row([delivery.0], |row| {
            Ok(skipped(row.get_ref(0)?, row.get_ref(1)?, skip))
        });
        match read.map_err(QueueError::from) {
            Ok(true) => {}
            Ok(false) => found.add(delivery),
            Err(error) if is_corrupt(&error) || is_unread(&error) => {
                return Err(damage.meet(message, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The deliveries that are leased and can be read.
pub(super) fn leased(db: &Connection) -> Result<Vec<DeliveryId>, QueueError> {
    let mut ready = db.prepare_cached(
        "SELECT id FROM delivery WHERE ready_at IS NOT NULL AND priority = ?1 ORDER BY ready_at",
    )?;
    let mut state = db.prepare_cached("SELECT state = 'leased' FROM delivery WHERE id = ?1")?;
    let mut leased = Vec::new();
    for class in Priority::ALL {
        let mut rows = ready.query([class.number()])?;
        while let Some(row) = rows.next()? {
            let delivery = DeliveryId(row.get(0)?);
            let is_leased = state.query_row([delivery.0], |row| row.get(0));
            match is_leased.map_err(QueueError::from) {
                Ok(true) => leased.push(delivery),
                Ok(false) => {}
                Err(error) if is_corrupt(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(leased)
}

/// Deliveries of a class that are looked at: a lost page of the inner tree has thousands below it.
const LOOK_MAX: i64 = 20_000;
