//! The audit trail: a chain in which each row's hash covers the row before it.
//!
//! A changed, missing or re-ordered row breaks every hash after it, and [`verify`] says where. The
//! end of the chain, its number and its hash, is kept in a row of its own, so that rows missing or
//! rewritten at the end are noticed too. (Whoever puts that row back as well, or the whole file as it was
//! yesterday, has a whole chain: `audit export` takes the hashes to where he cannot.)

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use crate::outcome::audit::AuditEvent;
use crate::queue::error::QueueError;
use crate::queue::store::{AuditEntry, Fault, Verified, hex};

/// Where the chain ends, in the transaction under way.
#[derive(Clone)]
pub(super) struct Chain {
    last: i64,
    hash: [u8; 32],
    /// Whether the transaction added to it.
    grew: bool,
}

impl Chain {
    /// Reads where it ends: another process may have added to it since.
    pub(super) fn load(db: &Connection) -> Result<Self, QueueError> {
        let mut statement = db.prepare_cached("SELECT id, hash FROM audit_end")?;
        let (last, hash) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self {
            last,
            hash,
            grew: false,
        })
    }

    /// Adds an event.
    pub(super) fn append(&mut self, db: &Connection, event: &AuditEvent) -> Result<(), QueueError> {
        // Strings, numbers and maps of them always become JSON.
        let event = serde_json::to_string(event).unwrap_or_default();
        let hash = link(&self.hash, event.as_bytes());
        db.prepare_cached("INSERT INTO audit (id, event, hash) VALUES (?1, ?2, ?3)")?
            .execute(params![self.last + 1, event, hash])?;
        self.last += 1;
        self.hash = hash;
        self.grew = true;
        Ok(())
    }

    /// Writes where it ends now.
    pub(super) fn save(&self, db: &Connection) -> Result<(), QueueError> {
        if self.grew {
            db.prepare_cached("UPDATE audit_end SET id = ?1, hash = ?2")?
                .execute(params![self.last, self.hash])?;
        }
        Ok(())
    }

    /// The number of its last row; 0 if it is empty.
    pub(super) fn end(&self) -> i64 {
        self.last
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
    let Chain {
        last: end, hash, ..
    } = Chain::load(db)?;
    let mut verified = Verified::default();
    let before: Option<i64> =
        db.query_row("SELECT min(id) FROM audit WHERE id < 1", [], |row| {
            row.get(0)
        })?;
    verified.faults.extend(before.map(Fault::Changed));
    let mut walk = Walk {
        last: 0,
        hash: Some([0; 32]),
    };
    while walk.last < end {
        let page = page(db, walk.last, end)?;
        if page.is_empty() {
            break;
        }
        verified.lines += page.len() as u64;
        for (id, event, hash) in page {
            let faults = walk.step(id, &event, &hash);
            verified.faults.extend(faults);
        }
        verified.faults.truncate(FAULTS_MAX);
    }
    // A last row that follows from the one before, and yet is not the one that was written.
    if walk.last == end
        && walk.hash != Some(hash)
        && verified.faults.last() != Some(&Fault::Changed(end))
    {
        verified.faults.push(Fault::Changed(end));
    }
    let beyond: Option<i64> = db
        .query_row(
            "SELECT max(id) FROM audit WHERE id > ?1 AND id > (SELECT id FROM audit_end)",
            [end],
            |row| row.get(0),
        )
        .optional()?
        .flatten();
    let found = beyond.unwrap_or(walk.last);
    if found != end {
        verified.faults.push(Fault::End {
            found,
            expected: end,
        });
    }
    Ok(verified)
}

/// Number, event, hash. The event as octets: text that was damaged need not be UTF-8.
type Row = (i64, Vec<u8>, Vec<u8>);

fn page(db: &Connection, after: i64, end: i64) -> Result<Vec<Row>, QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT id, event, hash FROM audit WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![after, end, PAGE], |row| {
        Ok((
            row.get(0)?,
            row.get_ref(1)?.as_bytes()?.to_vec(),
            row.get(2)?,
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A walk along the chain.
struct Walk {
    last: i64,
    /// The hash of the last row; `None` after a gap, when the next row cannot be judged.
    hash: Option<[u8; 32]>,
}

impl Walk {
    fn step(&mut self, id: i64, event: &[u8], hash: &[u8]) -> Vec<Fault> {
        let mut faults = Vec::new();
        if id != self.last + 1 {
            faults.push(Fault::Missing {
                first: self.last + 1,
                last: id - 1,
            });
            self.hash = None;
        }
        let expected = self.hash.map(|before| link(&before, event));
        if expected.is_some_and(|expected| expected != hash) {
            faults.push(Fault::Changed(id));
        }
        // The row's own hash from here on: each fault is told once, where it is.
        self.hash = hash.try_into().ok();
        self.last = id;
        faults
    }
}

/// SHA-256 over the hash before and the event.
fn link(before: &[u8; 32], event: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(before);
    digest.update(event);
    digest.finalize().into()
}

/// A limit as SQLite takes it; beyond its range there is none.
pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Rows in one read transaction.
const PAGE: i64 = 2_000;
/// Faults that are told.
const FAULTS_MAX: usize = 100;
