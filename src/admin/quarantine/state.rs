//! Up to when digests were written: `quarantine.sqlite` in the data folder.
//!
//! It is written behind the digests. Where the gateway ends between the two, the same digests are written
//! again for the same time, and the queue, which knows who was told of it, drops them.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::base::private;

/// The file. Calls block for a moment.
pub struct State {
    db: Mutex<Connection>,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{FILE} in the data folder: {0}")]
pub struct StateError(#[from] rusqlite::Error);

impl State {
    /// Opens it, and makes it if there is none.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(FILE);
        // Where that cannot be, SQLite says why, or the file is another's.
        let _ = private::keep(&path);
        let db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS digest (one INTEGER PRIMARY KEY CHECK (one = 1), until INTEGER NOT NULL) STRICT",
        )?;
        Ok(Self { db: Mutex::new(db) })
    }

    /// Up to when digests were written; `None` if none ever was.
    pub fn digests_until(&self) -> Result<Option<Timestamp>, StateError> {
        let until = self
            .db()
            .query_row("SELECT until FROM digest", [], |row| row.get(0))
            .optional()?;
        Ok(until.and_then(|until| Timestamp::from_millisecond(until).ok()))
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down up to when they were.
    pub fn set_digests_until(&self, until: Timestamp) -> Result<(), StateError> {
        self.db().execute(
            "INSERT INTO digest (one, until) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET until = excluded.until",
            [until.as_millisecond()],
        )?;
        Ok(())
    }
}

const FILE: &str = "quarantine.sqlite";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.digests_until().unwrap(), None);
        let until = "2026-11-21T07:00:00Z".parse().unwrap();
        state
            .set_digests_until("2026-11-20T07:00:00Z".parse().unwrap())
            .unwrap();
        state.set_digests_until(until).unwrap();
        drop(state);
        let again = State::open(folder.path()).unwrap();
        assert_eq!(again.digests_until().unwrap(), Some(until));
    }
}
