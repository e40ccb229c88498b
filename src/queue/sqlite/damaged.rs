//! Leaving a message that cannot be read, so that it is seen and stands in nobody's way: held, or, if that may pass, put
//! by for a while.
//!
//! A damaged page of the database is a case of its own: once SQLite has met one, it writes nothing more in that
//! transaction. So what is known of such a message is read beside the writer, and it is held in a transaction that does
//! not look at it ([`HELD_UNSEEN`]).

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::queue::damage::{Damaged, Teller, UNREADABLE};
use crate::queue::error::{QueueError, StoreError};
use crate::queue::known::Known;
use crate::queue::record::{DeliveryId, MessageId};
use crate::queue::spool::Placed;
use crate::queue::store::of_message;

use super::accept::accept_all;
use super::rows::{count_of, is_corrupt, is_unread, text_of};
use super::settle::known;
use super::writer::Batch;

/// What a store knows of damage. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Damage {
    /// Who is told.
    pub(super) teller: Teller,
    /// Messages on damaged pages that could not even be held. At the next start they are tried again.
    passed_over: Arc<Mutex<HashSet<MessageId>>>,
    /// The last one that a transaction met, and failed for.
    met: Arc<Mutex<Option<MessageId>>>,
    /// Rows of deliveries themselves are damaged.
    is_careful: Arc<AtomicBool>,
    /// Leases in a row for which the disk did not give a page.
    unread: Arc<AtomicU32>,
}

impl Damage {
    /// A transaction has met a message on a damaged page. Returns its error.
    pub(super) fn meet(&self, message: MessageId, error: QueueError) -> QueueError {
        *lock(&self.met) = Some(message);
        error
    }

    /// The message that the transaction before has met.
    pub(super) fn met(&self) -> Option<MessageId> {
        lock(&self.met).take()
    }

    /// From now on leases do not look at this one any more.
    pub(super) fn pass_over(&self, message: MessageId) {
        lock(&self.passed_over).insert(message);
    }

    /// Leases look at it again.
    pub(super) fn look_again(&self, message: MessageId) {
        lock(&self.passed_over).remove(&message);
    }

    /// Whether this error, of a lease, is the first sign that rows of deliveries are damaged: from now on they are looked at
    /// one by one. What the disk does not give once it may give the next time; a bad sector it never gives.
    pub(super) fn begins_with(&self, error: &QueueError) -> bool {
        let is_bad = match is_unread(error) {
            true => self.unread.fetch_add(1, Ordering::Relaxed) + 1 >= UNREAD_MAX,
            false => is_corrupt(error),
        };
        is_bad && self.begins(error)
    }

    /// The same of the one look at the start.
    pub(super) fn begins_at_start(&self, error: &QueueError) -> bool {
        (is_corrupt(error) || is_unread(error)) && self.begins(error)
    }

    /// A lease has gone well.
    pub(super) fn is_read(&self) {
        self.unread.store(0, Ordering::Relaxed);
    }

    fn begins(&self, error: &QueueError) -> bool {
        let begins = !self.is_careful.swap(true, Ordering::Relaxed);
        if begins {
            let error = error.to_text();
            tracing::error!(
                error,
                "ALARM: the database of the queue is damaged: what is due is looked at one by one"
            );
        }
        begins
    }

    /// Whether deliveries are looked at one by one.
    pub(super) fn is_careful(&self) -> bool {
        self.is_careful.load(Ordering::Relaxed)
    }

    /// Whether leases do not look at it.
    pub(super) fn is_passed_over(&self, message: MessageId) -> bool {
        lock(&self.passed_over).contains(&message)
    }
}

/// The values behind these locks are whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does about a message that cannot be read what the error asks for.
///
/// # Errors
/// The database failed, not the message; or the message lies on a damaged page.
pub(super) fn leave(
    batch: &mut Batch<'_>,
    message: MessageId,
    now: Timestamp,
    error: QueueError,
    teller: &Teller,
) -> Result<(), QueueError> {
    // SQLite has given the transaction up: what follows would be outside of any.
    if batch.db.is_autocommit() {
        return Err(error);
    }
    match remedy(&error) {
        Remedy::None => Err(error),
        Remedy::Later => put_by(batch.db, message, now, &error),
        Remedy::Hold => {
            let known = known_of(batch.db, message)?;
            hold(batch, message, now, (&error, UNREADABLE), &known, teller)
        }
    }
}

/// What helps against an error.
enum Remedy {
    /// Time: too many files are open, no memory, no right, a disk that does not answer. Nobody would let go on what is
    /// held for that.
    Later,
    /// Somebody who puts back what is lost: a file is not there, a row is not as it was written.
    Hold,
    /// Nothing that can be done in this transaction.
    None,
}

fn remedy(error: &QueueError) -> Remedy {
    let QueueError::Store(error) = error else {
        return Remedy::None;
    };
    match error {
        StoreError::File { error, .. } if error.kind() != ErrorKind::NotFound => Remedy::Later,
        StoreError::Sqlite(error) => match error.sqlite_error_code() {
            // A column of another type.
            None => Remedy::Hold,
            Some(_) => Remedy::None,
        },
        _ => Remedy::Hold,
    }
}

/// Makes what is ready of a message due a little later. Does not look at its row.
pub(super) fn put_by(
    db: &Connection,
    message: MessageId,
    now: Timestamp,
    why: &QueueError,
) -> Result<(), QueueError> {
    let error = why.to_text();
    tracing::error!(
        message = message.0,
        error,
        "a message cannot be read for now, and waits"
    );
    let (first, last) = of_message(message);
    let later = now + READ_AGAIN;
    db.prepare_cached(
        "UPDATE delivery SET state = 'due', ready_at = ?4 WHERE id BETWEEN ?1 AND ?2 AND ready_at <= ?3",
    )?
    .execute([first, last, now.as_millisecond(), later.as_millisecond()])?;
    Ok(())
}

/// Holds it, with its events, and tells of it. `known` is what is known of its deliveries.
pub(super) fn hold(
    batch: &mut Batch<'_>,
    message: MessageId,
    now: Timestamp,
    (error, because): (&QueueError, &str),
    known: &[Known],
    teller: &Teller,
) -> Result<(), QueueError> {
    let (first, last) = of_message(message);
    batch
        .db
        .prepare_cached(
            "UPDATE delivery SET state = 'held', ready_at = NULL, rule = 'built-in', because = ?3
             WHERE id BETWEEN ?1 AND ?2 AND ready_at IS NOT NULL",
        )?
        .execute(params![first, last, because])?;
    tell(batch, message, now, error, known, teller)
}

/// Writes the events of a message that stays in the queue and is not tried any more, and tells of it.
pub(super) fn tell(
    batch: &mut Batch<'_>,
    message: MessageId,
    now: Timestamp,
    error: &QueueError,
    known: &[Known],
    teller: &Teller,
) -> Result<(), QueueError> {
    let damaged = Damaged::new(message, known, error, now);
    for event in damaged.events(known) {
        batch.append(&event)?;
    }
    // In the row, whatever their size: files are written outside of transactions.
    let placed = teller.notices(&damaged).into_iter();
    let placed = placed.map(|accepted| Placed {
        accepted,
        file: None,
    });
    accept_all(batch, placed.collect())
}

/// What is known of the deliveries of a message that would be held; of one on a damaged page, to whom they go.
pub(super) fn known_of(db: &Connection, message: MessageId) -> Result<Vec<Known>, QueueError> {
    let (first, last) = of_message(message);
    let mut statement = db.prepare_cached(
        "SELECT id, forward_path, attempts FROM delivery
         WHERE id BETWEEN ?1 AND ?2 AND ready_at IS NOT NULL ORDER BY id",
    )?;
    let mut rows = statement.query([first, last])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let known = match known(db, DeliveryId(row.get(0)?)) {
            Err(error) if !is_corrupt(&error) && !is_unread(&error) => return Err(error),
            known => known.ok().flatten(),
        };
        all.push(match known {
            Some(known) => known,
            None => Known {
                reference: String::new(),
                sender: String::new(),
                message_id: None,
                recipient: text_of(row, 1)?.unwrap_or_default(),
                attempts: count_of(row, 2)?,
            },
        });
    }
    Ok(all)
}

/// What is known of a message whose deliveries lie on a damaged page.
pub(super) fn known_alone(db: &Connection, message: MessageId) -> Result<Vec<Known>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT coalesce(reference, ''), coalesce(reverse_path, ''), message_id FROM message WHERE id = ?1",
    )?;
    let known = statement.query_row([message.0], |row| {
        Ok(Known {
            reference: text_of(row, 0)?.unwrap_or_default(),
            sender: text_of(row, 1)?.unwrap_or_default(),
            message_id: text_of(row, 2)?,
            recipient: String::new(),
            attempts: 0,
        })
    });
    Ok(known.optional()?.into_iter().collect())
}

/// Whether a delivery was held because its message lies on a damaged page.
pub(super) fn is_unseen(db: &Connection, delivery: DeliveryId) -> Result<bool, QueueError> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM delivery WHERE id = ?1 AND because = ?2")?;
    Ok(statement.exists(params![delivery.0, HELD_UNSEEN])?)
}

/// Why it is held: nobody may look at its row within a transaction that is to write something.
pub(super) const HELD_UNSEEN: &str =
    "the message cannot be read: it lies on a damaged page of the database";
/// Between two tries to read a message that cannot be read for now.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Leases in a row that fail for want of a page, until that is taken for lasting.
const UNREAD_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;
    use crate::queue::sqlite::SqliteStore;

    fn failed(code: i32) -> QueueError {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into()
    }

    #[test]
    fn a_sector_that_stays_bad_is_damage_and_one_failed_read_is_none() {
        let unread = failed(rusqlite::ffi::SQLITE_IOERR_READ);
        let damage = Damage::default();
        for _ in 0..3 {
            assert!(!damage.begins_with(&unread) && !damage.begins_with(&unread));
            damage.is_read();
        }
        assert!(!damage.begins_with(&failed(rusqlite::ffi::SQLITE_BUSY)));
        assert!(!damage.begins_with(&unread) && !damage.begins_with(&unread));
        assert!(damage.begins_with(&unread) && damage.is_careful());
        assert!(!damage.begins_with(&unread), "once");

        for code in [
            rusqlite::ffi::SQLITE_IOERR_READ,
            rusqlite::ffi::SQLITE_CORRUPT,
        ] {
            assert!(Damage::default().begins_at_start(&failed(code)));
        }
    }

    /// Where the whole disk is away for a while, nobody can be told, and nothing is left out afterwards.
    #[tokio::test]
    async fn what_nobody_could_be_told_of_is_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Clock::system()).unwrap();
        let unread = || failed(rusqlite::ffi::SQLITE_IOERR_READ);
        let (told, untold) = (MessageId(1), MessageId(2));
        store
            .pass_over(told, Timestamp::now(), unread())
            .await
            .unwrap();
        store.writer.close().await;
        let gone = store.pass_over(untold, Timestamp::now(), unread()).await;
        assert!(gone.is_err());
        assert!(store.damage.is_passed_over(told) && !store.damage.is_passed_over(untold));
    }
}
