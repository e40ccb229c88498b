//! What senders let go on themselves: the code is checked, used up, and the delivery made due, in one
//! transaction with its event and the notices of it.

use jiff::Timestamp;

use crate::mail::{ForwardPath, Mailbox};
use crate::queue::error::QueueError;
use crate::queue::record::{Binding, DeliveryId, SelfRelease};
use crate::queue::store::{PLACES, SenderRelease, SentOn};

use super::accept::accept_all;
use super::administer;
use super::bodies::Placed;
use super::db::{Db, some_text, text};
use super::settle::known;
use super::writer::Batch;

/// Writes down who may release a held delivery, and until when.
pub(super) async fn offer(
    db: Db<'_>,
    delivery: DeliveryId,
    offer: &SelfRelease,
) -> Result<(), QueueError> {
    db.execute(
        "INSERT INTO self_release (delivery, hash, account, grounds, until) VALUES ($1, $2, $3, $4, $5)",
        &[
            &delivery.0,
            &&offer.code_hash[..],
            &some_text(offer.account.as_deref()),
            &text(&offer.grounds),
            &offer.until.as_millisecond(),
        ],
    )
    .await?;
    Ok(())
}

/// Ends the offer: the delivery is gone, or goes on.
pub(super) async fn withdraw(db: Db<'_>, delivery: DeliveryId) -> Result<(), QueueError> {
    db.execute(
        "DELETE FROM self_release WHERE delivery = $1",
        &[&delivery.0],
    )
    .await?;
    Ok(())
}

/// Lets go on what the code is good for and the policy gives leave for now. Returns what went; nothing changes
/// if that is nothing.
pub(super) async fn release(
    batch: &mut Batch,
    now: Timestamp,
    asked: &SenderRelease,
) -> Result<Vec<SentOn>, QueueError> {
    let mut sent_on = Vec::new();
    for one in offered(batch.db(), now, asked).await? {
        let Some(binding) = (asked.leave)(&one.path, &one.grounds) else {
            continue;
        };
        let Some(known) = known(batch.db(), one.delivery).await? else {
            continue;
        };
        administer::release(batch.db(), now, one.delivery, binding).await?;
        batch.append(&known.sent_on(now, asked, &one.grounds, binding));
        sent_on.push(SentOn {
            recipient: one.path.to_string(),
            is_encrypted: binding == Binding::Encryption,
        });
    }
    if !sent_on.is_empty() {
        let notices = (asked.notices)(&sent_on).into_iter();
        accept_all(batch, notices.map(Placed::in_row).collect()).await?;
    }
    Ok(sent_on)
}

struct Offered {
    delivery: DeliveryId,
    path: ForwardPath,
    grounds: String,
}

/// Held deliveries of this message that this sender may release with this code by this account.
async fn offered(
    db: Db<'_>,
    now: Timestamp,
    asked: &SenderRelease,
) -> Result<Vec<Offered>, QueueError> {
    let sql = format!(
        "SELECT d.id, d.forward_path, s.grounds, m.reverse_path
         FROM message m JOIN delivery d ON d.id BETWEEN m.id * {PLACES} AND m.id * {PLACES} + {PLACES} - 1
              JOIN self_release s ON s.delivery = d.id
         WHERE m.reference = $1 AND s.hash = $2 AND s.until > $3 AND s.account IS NOT DISTINCT FROM $4
               AND d.state = 'held'
         ORDER BY d.id"
    );
    let reference = asked.reference.to_string();
    let account = some_text(asked.account.as_deref());
    let now = now.as_millisecond();
    let rows = db
        .rows(&sql, &[&reference, &&asked.code_hash[..], &now, &account])
        .await?;
    let mut offered = Vec::new();
    for row in rows {
        let is_sender =
            Mailbox::parse(row.get(3)).is_ok_and(|sender| sender.folded() == asked.sender.folded());
        if let (true, Ok(path)) = (is_sender, ForwardPath::parse(row.get(1))) {
            offered.push(Offered {
                delivery: DeliveryId(row.get(0)),
                path,
                grounds: row.get(2),
            });
        }
    }
    Ok(offered)
}
