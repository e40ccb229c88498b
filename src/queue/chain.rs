//! The chain of the audit trail: each row's hash covers the row before it. What of it has no SQL in it.
//!
//! A changed, missing or re-ordered row breaks every hash after it, and a [`Walk`] says where. The
//! end of the chain, its number and its hash, is kept in a row of its own, so that rows missing or
//! rewritten at the end are noticed too. (Whoever puts that row back as well, or the whole database as it was
//! yesterday, has a whole chain: `audit export` takes the hashes to where he cannot.)

use sha2::{Digest, Sha256};

use crate::outcome::audit::AuditEvent;

use super::store::{Fault, Verified};

/// Where the chain ends.
#[derive(Clone)]
pub(super) struct End {
    /// The number of its last row; 0 if it is empty.
    pub(super) last: i64,
    /// The hash of that row.
    pub(super) hash: [u8; 32],
}

impl End {
    /// Adds an event. Returns it as the JSON that is to be written with the number and the hash that are here now.
    pub(super) fn add(&mut self, event: &AuditEvent) -> String {
        // Strings, numbers and maps of them always become JSON.
        let event = serde_json::to_string(event).unwrap_or_default();
        self.last += 1;
        self.hash = link(&self.hash, event.as_bytes());
        event
    }
}

/// A row of the trail. The event as octets: text that was damaged need not be UTF-8.
pub(super) struct Row {
    /// Its number.
    pub(super) id: i64,
    /// The event as JSON, as it was hashed.
    pub(super) event: Vec<u8>,
    /// Its hash.
    pub(super) hash: Vec<u8>,
}

/// A walk along the chain, from its first row.
pub(super) struct Walk {
    end: End,
    last: i64,
    /// The hash of the last row; `None` after a gap, when the next row cannot be judged.
    hash: Option<[u8; 32]>,
    verified: Verified,
}

impl Walk {
    /// Begins a walk to this end. `before` is a row that stands before the first, if there is one.
    pub(super) fn new(end: End, before: Option<i64>) -> Self {
        let faults = before.map(Fault::Changed).into_iter().collect();
        Self {
            end,
            last: 0,
            hash: Some([0; 32]),
            verified: Verified { lines: 0, faults },
        }
    }

    /// The rows that are to come next: after this one, up to that one; `None` at the end.
    pub(super) fn next(&self) -> Option<(i64, i64)> {
        (self.last < self.end.last).then_some((self.last, self.end.last))
    }

    /// Goes along these rows.
    pub(super) fn step(&mut self, rows: Vec<Row>) {
        self.verified.lines += rows.len() as u64;
        for row in rows {
            self.step_one(&row);
        }
        self.verified.faults.truncate(FAULTS_MAX);
    }

    fn step_one(&mut self, row: &Row) {
        if row.id != self.last + 1 {
            self.verified.faults.push(Fault::Missing {
                first: self.last + 1,
                last: row.id - 1,
            });
            self.hash = None;
        }
        let expected = self.hash.map(|before| link(&before, &row.event));
        if expected.is_some_and(|expected| expected != *row.hash) {
            self.verified.faults.push(Fault::Changed(row.id));
        }
        // The row's own hash from here on: each fault is told once, where it is.
        self.hash = row.hash.as_slice().try_into().ok();
        self.last = row.id;
    }

    /// Ends the walk. `beyond` is the last row after the end, if there is one.
    pub(super) fn finish(mut self, beyond: Option<i64>) -> Verified {
        let (end, faults) = (self.end.last, &mut self.verified.faults);
        // A last row that follows from the one before, and yet is not the one that was written.
        if self.last == end
            && self.hash != Some(self.end.hash)
            && faults.last() != Some(&Fault::Changed(end))
        {
            faults.push(Fault::Changed(end));
        }
        let found = beyond.unwrap_or(self.last);
        if found != end {
            faults.push(Fault::End {
                found,
                expected: end,
            });
        }
        self.verified
    }
}

/// SHA-256 over the hash before and the event.
fn link(before: &[u8; 32], event: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(before);
    digest.update(event);
    digest.finalize().into()
}

/// A limit as a database takes it; beyond its range there is none.
pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Rows that are read at once on a walk.
pub(super) const PAGE: i64 = 2_000;
/// Faults that are told.
const FAULTS_MAX: usize = 100;
