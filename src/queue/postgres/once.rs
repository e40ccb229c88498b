//! Messages that are meant once, however often they come: found by their key, written down with the message.

use jiff::Timestamp;

use crate::queue::error::QueueError;
use crate::queue::record::{Handoff, Lease, Once, Repeated};
use crate::queue::words;

use super::accept::accept;
use super::bodies::Placed;
use super::db::{Db, text};
use super::writer::Batch;

/// Accepts as usual, unless the key was used and its time is not over: then that is the error, and nothing is written.
/// One transaction of the fleet writes at a time, so of two that come at the same time one is the first.
pub(super) async fn accept_once(
    batch: &mut Batch,
    accepted: Vec<Placed>,
    handoff: Handoff,
    once: &Once,
) -> Result<Option<Lease>, QueueError> {
    if let Some(repeated) = repeated(batch.db(), once).await? {
        return Err(QueueError::Repeated(Box::new(repeated)));
    }
    if let Some(first) = accepted.first() {
        let reference = first.accepted.reference.to_string();
        remember(batch.db(), once, &reference).await?;
    }
    accept(batch, accepted, handoff).await
}

/// The message that used the key before, if its time is not over.
pub(super) async fn repeated(db: Db<'_>, once: &Once) -> Result<Option<Repeated>, QueueError> {
    let sql = "SELECT reference, recipients, body FROM idempotency WHERE account = $1 AND key = $2 AND until > $3";
    let at = once.at.as_millisecond();
    let found = db
        .row(sql, &[&text(&once.account), &&once.key[..], &at])
        .await?;
    Ok(found.and_then(|row| {
        Some(Repeated {
            reference: words::reference(row.get(0))?,
            same_recipients: row.get::<_, &[u8]>(1) == once.recipients,
            same_body: row.get::<_, &[u8]>(2) == once.body,
        })
    }))
}

async fn remember(db: Db<'_>, once: &Once, reference: &str) -> Result<(), QueueError> {
    forget(db, once.at).await?;
    db.execute(
        "INSERT INTO idempotency (account, key, recipients, body, reference, until) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (account, key) DO UPDATE SET recipients = excluded.recipients, body = excluded.body,
             reference = excluded.reference, until = excluded.until",
        &[
            &text(&once.account),
            &&once.key[..],
            &&once.recipients[..],
            &&once.body[..],
            &reference,
            &once.until.as_millisecond(),
        ],
    )
    .await?;
    Ok(())
}

/// A few of those whose time is over, each time: more than come, so that the table does not grow.
async fn forget(db: Db<'_>, now: Timestamp) -> Result<(), QueueError> {
    db.execute(
        "DELETE FROM idempotency WHERE (account, key) IN
             (SELECT account, key FROM idempotency WHERE until <= $1 ORDER BY until LIMIT 4)",
        &[&now.as_millisecond()],
    )
    .await?;
    Ok(())
}
