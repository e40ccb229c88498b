//! Messages that are meant once, however often they come: found by their key, written down with the message.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::queue::error::QueueError;
use crate::queue::record::{Handoff, Lease, Once, Repeated};
use crate::queue::spool::Placed;
use crate::queue::words;

use super::accept::accept;
use super::writer::Batch;

/// Accepts as usual, unless the key was used and its time is not over: then that is the error, and nothing is written.
/// The writer does one job after the other, so of two that come at the same time one is the first.
pub(super) fn accept_once(
    batch: &mut Batch<'_>,
    accepted: Vec<Placed>,
    handoff: Handoff,
    once: &Once,
) -> Result<Option<Lease>, QueueError> {
    if let Some(repeated) = repeated(batch.db, once)? {
        return Err(QueueError::Repeated(Box::new(repeated)));
    }
    if let Some(first) = accepted.first() {
        remember(batch.db, once, &first.accepted.reference.to_string())?;
    }
    accept(batch, accepted, handoff)
}

/// The message that used the key before, if its time is not over.
pub(super) fn repeated(db: &Connection, once: &Once) -> Result<Option<Repeated>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT reference, recipients, body FROM idempotency WHERE account = ?1 AND key = ?2 AND until > ?3",
    )?;
    let found = statement
        .query_row(
            params![once.account, once.key, once.at.as_millisecond()],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, [u8; 32]>(1)?,
                    row.get::<_, [u8; 32]>(2)?,
                ))
            },
        )
        .optional()?;
    Ok(found.and_then(|(reference, recipients, body)| {
        Some(Repeated {
            reference: words::reference(&reference)?,
            same_recipients: recipients == once.recipients,
            same_body: body == once.body,
        })
    }))
}

fn remember(db: &Connection, once: &Once, reference: &str) -> Result<(), QueueError> {
    forget(db, once.at)?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (account, key, recipients, body, reference, until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        once.account,
        once.key,
        once.recipients,
        once.body,
        reference,
        once.until.as_millisecond()
    ])?;
    Ok(())
}

/// A few of those whose time is over, each time: more than come, so that the table does not grow.
fn forget(db: &Connection, now: Timestamp) -> Result<(), QueueError> {
    db.prepare_cached(
        "DELETE FROM idempotency WHERE (account, key) IN
             (SELECT account, key FROM idempotency WHERE until <= ?1 ORDER BY until LIMIT 4)",
    )?
    .execute([now.as_millisecond()])?;
    Ok(())
}
