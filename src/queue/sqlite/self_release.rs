//! What senders let go on themselves: the code is checked, used up, and the delivery made due, in one
//! transaction with its event and the notices of it.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::mail::{ForwardPath, Mailbox};
use crate::queue::error::QueueError;
use crate::queue::record::{Binding, DeliveryId, SelfRelease};
use crate::queue::spool::Placed;
use crate::queue::store::{PLACES, SenderRelease, SentOn};

use super::accept::accept_all;
use super::administer;
use super::settle::known;
use super::writer::Batch;

/// Writes down who may release a held delivery, and until when.
pub(super) fn offer(
    db: &Connection,
    delivery: DeliveryId,
    offer: &SelfRelease,
) -> Result<(), QueueError> {
    db.prepare_cached(
        "INSERT INTO self_release (delivery, hash, account, grounds, until) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        delivery.0,
        offer.code_hash,
        offer.account,
        offer.grounds,
        offer.until.as_millisecond()
    ])?;
    Ok(())
}

/// Ends the offer: the delivery is gone, or goes on.
pub(super) fn withdraw(db: &Connection, delivery: DeliveryId) -> Result<(), QueueError> {
    db.prepare_cached("DELETE FROM self_release WHERE delivery = ?1")?
        .execute([delivery.0])?;
    Ok(())
}

/// Lets go on what the code is good for and the policy gives leave for now. Returns what went; nothing changes
/// if that is nothing.
pub(super) fn release(
    batch: &mut Batch<'_>,
    now: Timestamp,
    asked: &SenderRelease,
) -> Result<Vec<SentOn>, QueueError> {
    let mut sent_on = Vec::new();
    for one in offered(batch.db, now, asked)? {
        let Some(binding) = (asked.leave)(&one.path, &one.grounds) else {
            continue;
        };
        let Some(known) = known(batch.db, one.delivery)? else {
            continue;
        };
        administer::release(batch.db, now, one.delivery, binding)?;
        let event = known.sent_on(now, asked, &one.grounds, binding);
        batch.append(&event)?;
        sent_on.push(SentOn {
            recipient: one.path.to_string(),
            is_encrypted: binding == Binding::Encryption,
        });
    }
    if !sent_on.is_empty() {
        let notices = (asked.notices)(&sent_on).into_iter();
        // In the row, whatever their size: files are written outside of transactions.
        let placed = notices.map(|accepted| Placed {
            accepted,
            file: None,
        });
        accept_all(batch, placed.collect())?;
    }
    Ok(sent_on)
}

struct Offered {
    delivery: DeliveryId,
    path: ForwardPath,
    grounds: String,
}

/// Held deliveries of this message that this sender may release with this code by this account.
fn offered(
    db: &Connection,
    now: Timestamp,
    asked: &SenderRelease,
) -> Result<Vec<Offered>, QueueError> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT d.id, d.forward_path, s.grounds, m.reverse_path
         FROM message m JOIN delivery d ON d.id BETWEEN m.id * {PLACES} AND m.id * {PLACES} + {PLACES} - 1
              JOIN self_release s ON s.delivery = d.id
         WHERE m.reference = ?1 AND s.hash = ?2 AND s.until > ?3 AND s.account IS ?4 AND d.state = 'held'
         ORDER BY d.id"
    ))?;
    let rows = statement.query_map(
        params![
            asked.reference.to_string(),
            asked.code_hash,
            now.as_millisecond(),
            asked.account
        ],
        |row| {
            Ok((
                DeliveryId(row.get(0)?),
                row.get::<_, String>(1)?,
                row.get(2)?,
                row.get::<_, String>(3)?,
            ))
        },
    )?;
    let mut offered = Vec::new();
    for row in rows {
        let (delivery, path, grounds, sender) = row?;
        let is_sender =
            Mailbox::parse(&sender).is_ok_and(|sender| sender.folded() == asked.sender.folded());
        if let (true, Ok(path)) = (is_sender, ForwardPath::parse(&path)) {
            offered.push(Offered {
                delivery,
                path,
                grounds,
            });
        }
    }
    Ok(offered)
}
