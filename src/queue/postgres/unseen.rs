//! Messages on damaged pages: a statement that looks at one fails with its whole transaction.
//!
//! So a lease that has failed says which messages it was about to take. They are looked at one by one outside of it, and
//! those that cannot be read are held in a transaction that does not look at them. Damage under the rows of deliveries
//! themselves is not stepped over: every way to what is due leads through them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::queue::error::{QueueError, StoreError};
use crate::queue::known::Known;
use crate::queue::record::MessageId;
use crate::queue::store::of_message;

use super::db::Db;
use super::rows;

/// The messages that a lease was about to take when it failed. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Met(Arc<Mutex<Vec<MessageId>>>);

impl Met {
    pub(super) fn set(&self, messages: Vec<MessageId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = messages;
    }

    pub(super) fn take(&self) -> Vec<MessageId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether the server has found its own data damaged (`data_corrupted`, `index_corrupted`).
pub(super) fn is_corrupt(error: &QueueError) -> bool {
    matches!(error, QueueError::Store(StoreError::Postgres { code, .. }) if code == "XX001" || code == "XX002")
}

/// Those of these messages that cannot be read for that, each with the error and what is known of its deliveries.
///
/// # Errors
/// Also where the deliveries cannot be read either.
pub(super) async fn find(
    db: Db<'_>,
    messages: Vec<MessageId>,
) -> Result<Vec<(MessageId, QueueError, Vec<Known>)>, QueueError> {
    let read = format!("SELECT {} FROM message WHERE id = $1", rows::MESSAGE);
    let deliveries = "SELECT forward_path, attempts FROM delivery
                      WHERE id BETWEEN $1 AND $2 AND ready_at IS NOT NULL ORDER BY id";
    let mut found = Vec::new();
    for message in messages {
        let error = match db.row(&read, &[&message.0]).await {
            Err(error) if is_corrupt(&error) => error,
            read => {
                read?;
                continue;
            }
        };
        let (first, last) = of_message(message);
        let rows = db.rows(deliveries, &[&first, &last]).await?;
        let known = rows.iter().map(|row| Known {
            reference: String::new(),
            sender: String::new(),
            message_id: None,
            recipient: row.get(0),
            attempts: rows::attempts(row.get(1)),
        });
        found.push((message, error, known.collect()));
    }
    Ok(found)
}
