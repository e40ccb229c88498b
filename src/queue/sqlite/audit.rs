//! The rows of the audit trail (`queue::chain`), and the one that says where it ends.

use rusqlite::{Connection, OptionalExtension, params};

use crate::outcome::audit::AuditEvent;
use crate::queue::chain::{End, PAGE, Row, Walk, count};
use crate::queue::error::QueueError;
use crate::queue::store::{AuditEntry, Verified, hex};

/// Where the chain ends, in the transaction under way.
#[derive(Clone)]
pub(super) struct Chain {
    end: End,
    /// Whether the transaction added to it.
    grew: bool,
}

impl Chain {
    /// Reads where it ends: another process may have added to it since.
    pub(super) fn load(db: &Connection) -> Result<Self, QueueError> {
        let mut statement = db.prepare_cached("SELECT id, hash FROM audit_end")?;
        let end = statement.query_row([], |row| {
            Ok(End {
                last: row.get(0)?,
                hash: row.get(1)?,
            })
        })?;
        Ok(Self { end, grew: false })
    }

    /// Adds an event.
    pub(super) fn append(&mut self, db: &Connection, event: &AuditEvent) -> Result<(), QueueError> {
        let mut end = self.end.clone();
        let event = end.add(event);
        db.prepare_cached("INSERT INTO audit (id, event, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![end.last, event, end.hash])?;
        self.end = end;
        self.grew = true;
        Ok(())
    }

    /// Writes where it ends now.
    pub(super) fn save(&self, db: &Connection) -> Result<(), QueueError> {
        if self.grew {
            db.prepare_cached("UPDATE audit_end SET id = ?1, hash = ?2")?
                .execute(params![self.end.last, self.end.hash])?;
        }
        Ok(())
    }

    /// The number of its last row; 0 if it is empty.
    pub(super) fn end(&self) -> i64 {
        self.end.last
    }
}

/// The rows from `from` on, `limit` at most.
pub(super) fn events(
    db: &Connection,
    from: i64,
    limit: usize,
) -> Result<Vec<AuditEntry>, QueueError> {
    let mut statement =
        db.prepare_cached("SELECT id, event, hash FROM audit WHERE id >= ?1 ORDER BY id LIMIT ?2")?;
    let rows = statement.query_map(params![from, count(limit)], |row| {
        let hash: Vec<u8> = row.get(2)?;
        // Octets: a row that was damaged need not be text, and must not keep the others from being read.
        let event = row.get_ref(1)?.as_bytes().unwrap_or_default();
        Ok(AuditEntry::new(row.get(0)?, event, hex(&hash)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Goes over the whole chain, page by page, so that it never keeps the log from being written back.
pub(super) fn verify(db: &Connection) -> Result<Verified, QueueError> {
    let Chain { end, .. } = Chain::load(db)?;
    let last = end.last;
    let before = "SELECT min(id) FROM audit WHERE id < 1";
    let before: Option<i64> = db.query_row(before, [], |row| row.get(0))?;
    let mut walk = Walk::new(end, before);
    while let Some((after, end)) = walk.next() {
        let page = page(db, after, end)?;
        if page.is_empty() {
            break;
        }
        walk.step(page);
    }
    let beyond: Option<i64> = db
        .query_row(
            "SELECT max(id) FROM audit WHERE id > ?1 AND id > (SELECT id FROM audit_end)",
            [last],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    Ok(walk.finish(beyond))
}

fn page(db: &Connection, after: i64, end: i64) -> Result<Vec<Row>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT id, event, hash FROM audit WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after, end, PAGE], |row| {
        Ok(Row {
            id: row.get(0)?,
            event: row.get_ref(1)?.as_bytes()?.to_vec(),
            hash: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
