//! Octets of large messages: in the database, in pieces, so that any gateway reads them and none holds them in memory.
//!
//! They are written and committed before the transaction that names them, as files are in the other store: what a
//! crash leaves over is a body that no message names, which [`remove_orphans`] takes away. Read back they go to
//! a file without a name, which is mapped: a large message in hand costs address space, not memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deadpool_postgres::{Pool, PoolError};
use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;

use crate::base::private;
use crate::mail::Message;
use crate::queue::error::{QueueError, StoreError};
use crate::queue::record::Accepted;
use crate::queue::spool::{LARGE_OCTETS, map};

use super::db::Db;

/// A message on its way into the database, and the body that has its octets if it is large.
pub(super) struct Placed {
    /// The message.
    pub(super) accepted: Accepted,
    /// The number of the body.
    pub(super) body: Option<i64>,
}

impl Placed {
    /// A message whose octets go into its row, whatever their size.
    pub(super) fn in_row(accepted: Accepted) -> Self {
        Self {
            accepted,
            body: None,
        }
    }
}

/// The numbers of the bodies that were written for these messages.
pub(super) fn bodies_of(placed: &[Placed]) -> Vec<i64> {
    placed.iter().filter_map(|one| one.body).collect()
}

/// Where large messages are put, and where they are read to.
#[derive(Clone)]
pub(super) struct Bodies {
    pool: Pool,
    gateway: Arc<str>,
    folder: Arc<PathBuf>,
}

impl Bodies {
    /// Bodies by way of this pool; `folder` is for files without a name.
    pub(super) fn new(pool: Pool, gateway: &str, folder: &Path) -> Self {
        Self {
            pool,
            gateway: gateway.into(),
            folder: Arc::new(folder.to_owned()),
        }
    }

    /// Writes the large ones among the messages; durable when it returns.
    pub(super) async fn put_large(
        &self,
        accepted: Vec<Accepted>,
        now: Timestamp,
    ) -> Result<Vec<Placed>, QueueError> {
        let mut placed = Vec::with_capacity(accepted.len());
        for one in accepted {
            let body = match one.message.len() > LARGE_OCTETS {
                false => None,
                true => {
                    // A task of its own: whoever waits may go away, and a connection must not go back half-way.
                    let (bodies, message) = (self.clone(), one.message.clone());
                    let put = tokio::spawn(async move { bodies.put(&message, now).await });
                    Some(put.await.map_err(|_| StoreError::Ended)??)
                }
            };
            placed.push(Placed {
                accepted: one,
                body,
            });
        }
        Ok(placed)
    }

    async fn put(&self, message: &Message, now: Timestamp) -> Result<i64, QueueError> {
        let client = self.pool.get().await.map_err(from_pool)?;
        let db = Db(&client);
        db.run("BEGIN").await?;
        let written = self.write(db, message, now).await;
        let ended = match written {
            Ok(_) => db.run("COMMIT").await,
            Err(_) => db.run("ROLLBACK").await,
        };
        if ended.is_err() {
            // Not for others: who knows where it stands.
            drop(deadpool_postgres::Object::take(client));
        }
        written.and_then(|body| ended.map(|()| body))
    }

    async fn write(
        &self,
        db: Db<'_>,
        message: &Message,
        now: Timestamp,
    ) -> Result<i64, QueueError> {
        let octets = i64::try_from(message.len()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO body (gateway, put_at, octets) VALUES ($1, $2, $3) RETURNING id";
        let row = db
            .one(sql, &[&&*self.gateway, &now.as_millisecond(), &octets])
            .await?;
        let body: i64 = row.get(0);
        for (place, piece) in (0_i32..).zip(message.octets().chunks(PIECE_OCTETS)) {
            let sql = "INSERT INTO body_piece (body, place, octets) VALUES ($1, $2, $3)";
            db.execute(sql, &[&body, &place, &piece]).await?;
        }
        Ok(body)
    }

    /// Ends its connections.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Takes away bodies of a write that failed. What stays behind is an orphan at the next start.
    pub(super) async fn remove(&self, bodies: Vec<i64>) {
        let removed = async {
            let client = self.pool.get().await.map_err(from_pool)?;
            let sql = "DELETE FROM body WHERE id = ANY($1)";
            Db(&client).execute(sql, &[&bodies]).await
        };
        if let Err(error) = removed.await {
            tracing::warn!(
                error = error.to_text(),
                "a body that nobody names could not be removed"
            );
        }
    }

    /// Reads a body back, over this connection; `None` if it is not there, or not whole.
    pub(super) async fn read(&self, db: Db<'_>, body: i64) -> Result<Option<Message>, QueueError> {
        let sql = "SELECT octets FROM body WHERE id = $1";
        let Some(row) = db.row(sql, &[&body]).await? else {
            return Ok(None);
        };
        let octets: i64 = row.get(0);
        let folder = Arc::clone(&self.folder);
        let opened = tokio::task::spawn_blocking(move || {
            private::folder(&folder)?;
            tempfile::tempfile_in(&*folder)
        });
        let failed = |error| StoreError::file(&self.folder, error);
        let file = opened
            .await
            .map_err(|_| StoreError::Ended)?
            .map_err(failed)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut read = 0;
        for place in 0_i32.. {
            if read >= octets {
                break;
            }
            let sql = "SELECT octets FROM body_piece WHERE body = $1 AND place = $2";
            let Some(row) = db.row(sql, &[&body, &place]).await? else {
                return Ok(None);
            };
            let piece: &[u8] = row.get(0);
            file.write_all(piece).await.map_err(failed)?;
            read += i64::try_from(piece.len()).unwrap_or(0);
        }
        file.flush().await.map_err(failed)?;
        let file = file.into_std().await;
        match read == octets {
            true => Ok(Some(map(&file).map_err(failed)?)),
            false => Ok(None),
        }
    }
}

/// Removes bodies that no message names: those of this gateway, which has just begun, and those that are old.
pub(super) async fn remove_orphans(
    db: Db<'_>,
    gateway: &str,
    now: Timestamp,
) -> Result<(), QueueError> {
    let before = now.as_millisecond() - ORPHAN_MILLIS;
    let removed = db
        .execute(
            "DELETE FROM body b WHERE (gateway = $1 OR put_at < $2)
             AND NOT EXISTS (SELECT 1 FROM message m WHERE m.stored = b.id)",
            &[&gateway, &before],
        )
        .await?;
    if removed > 0 {
        tracing::info!(
            bodies = removed,
            "removed bodies of messages that were never accepted"
        );
    }
    Ok(())
}

/// The error of a pool: of the connection in it, or that there was none in time.
pub(super) fn from_pool(error: PoolError) -> QueueError {
    match error {
        PoolError::Backend(error) => error.into(),
        error => StoreError::Postgres {
            code: "pool".to_owned(),
            what: error.to_string(),
        }
        .into(),
    }
}

/// Octets in a piece: so much more than the message itself an accept or a read holds, two or three times over.
const PIECE_OCTETS: usize = 1 << 20;
/// A day: no accept takes so long from its body to its row.
const ORPHAN_MILLIS: i64 = 24 * 3_600 * 1_000;
