//! How destinations are doing, for commands that run beside the gateway: a small file of its own that the scheduler
//! writes when something changes. Nothing depends on it, and it is nothing that lasts: a lock beside it, held by the gateway
//! that writes, says whether it is still true. Of one that was killed the file says what was so before.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use crate::base::private;

use super::error::StoreError;

/// How one destination is doing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DestinationState {
    /// Its name, as deliveries are grouped by it.
    pub name: String,
    /// Attempts under way.
    pub under_way: usize,
    /// Attempts that may be under way at once, as things are.
    pub at_once: usize,
    /// What keeps its mail.
    pub kept_by: KeptBy,
    /// What the last attempt that failed came to; of a reply its codes alone.
    pub because: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it is tried again.
    pub until: Option<Timestamp>,
}

/// What keeps the mail of a destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeptBy {
    /// Nothing.
    Nothing,
    /// Nobody is there.
    Away,
    /// It wants less, and has a pause.
    Pause,
    /// As many attempts are under way as may be.
    Limit,
    /// Its rate.
    Rate,
}

impl KeptBy {
    const WORDS: [(&str, Self); 5] = [
        ("nothing", Self::Nothing),
        ("away", Self::Away),
        ("pause", Self::Pause),
        ("limit", Self::Limit),
        ("rate", Self::Rate),
    ];

    /// Its word in the file and in JSON.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, one)| *one == self);
        found.map_or("nothing", |(word, _)| word)
    }

    fn parse(word: &str) -> Self {
        let found = Self::WORDS.iter().find(|(known, _)| *known == word);
        found.map_or(Self::Nothing, |(_, one)| *one)
    }
}

/// The file in a data folder.
pub fn file(data: &Path) -> PathBuf {
    data.join("destinations.db")
}

/// The lock of whoever writes how destinations are doing in a data folder, until it is dropped; `None` if somebody has it or
/// looks at it at this moment.
pub fn hold(data: &Path) -> Result<Option<File>, StoreError> {
    let path = data.join(LOCK);
    let error = |error| StoreError::file(&path, error);
    let lock = private::make(&path).map_err(error)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(failed)) => Err(error(failed)),
    }
}

/// Whether a gateway runs on this data folder, and shows there how destinations are doing.
pub fn is_shown(data: &Path) -> bool {
    let Ok(lock) = File::open(data.join(LOCK)) else {
        return false;
    };
    // Where there are no locks, what stands there has to do.
    !matches!(lock.try_lock_shared(), Ok(()))
}

/// Writes how destinations are doing, in place of what stood there.
pub fn write(file: &Path, at: Timestamp, states: &[DestinationState]) -> Result<(), StoreError> {
    // It says whom mail goes to. Where that cannot be, SQLite says why, or the file is another's.
    let _ = private::keep(file);
    let mut connection = Connection::open(file)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What is lost with the machine is out of date with it.
    connection.pragma_update(None, "synchronous", "off")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("DELETE FROM destination", [])?;
    transaction.execute(
        "INSERT INTO seen (one, at) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET at = ?1",
        [at.as_millisecond()],
    )?;
    {
        let mut insert = transaction.prepare(
            "INSERT OR REPLACE INTO destination (name, under_way, at_once, kept_by, because, since, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        for one in states {
            insert.execute(params![
                one.name,
                number(one.under_way),
                number(one.at_once),
                one.kept_by.word(),
                one.because,
                one.since.map(Timestamp::as_millisecond),
                one.until.map(Timestamp::as_millisecond),
            ])?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Reads how destinations are doing, and when that was written; nothing if the gateway never wrote it.
pub fn read(file: &Path) -> Result<Option<(Timestamp, Vec<DestinationState>)>, StoreError> {
    if !file.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(PATIENCE)?;
    connection.execute_batch(SCHEMA)?;
    let at = connection
        .query_row("SELECT at FROM seen", [], |row| row.get(0))
        .optional()?;
    let Some(at) = at else { return Ok(None) };
    let mut statement = connection.prepare(
        "SELECT name, under_way, at_once, kept_by, because, since, until FROM destination ORDER BY name",
    )?;
    let states = statement.query_map([], |row| {
        Ok(DestinationState {
            name: row.get(0)?,
            under_way: usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            at_once: usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
            kept_by: KeptBy::parse(&row.get::<_, String>(3)?),
            because: row.get(4)?,
            since: row.get::<_, Option<i64>>(5)?.map(time),
            until: row.get::<_, Option<i64>>(6)?.map(time),
        })
    })?;
    Ok(Some((time(at), states.collect::<Result<_, _>>()?)))
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS seen (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS destination (
        name TEXT PRIMARY KEY, under_way INTEGER NOT NULL, at_once INTEGER NOT NULL, kept_by TEXT NOT NULL,
        because TEXT NOT NULL, since INTEGER, until INTEGER
    ) STRICT;";
/// The name of the lock in a data folder.
const LOCK: &str = "destinations.lock";
/// For another process that has the file.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn where_mail_goes_is_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let mode = || file.metadata().unwrap().permissions().mode() & 0o777;
        let write = || write(&file, Timestamp::UNIX_EPOCH, &[]).unwrap();
        write();
        assert_eq!(mode(), 0o600);
        // Of an older program.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        write();
        assert_eq!(mode(), 0o600);
    }

    #[test]
    fn it_counts_as_long_as_who_wrote_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_shown(folder.path()));
        let lock = hold(folder.path()).unwrap().unwrap();
        assert!(is_shown(folder.path()));
        assert!(hold(folder.path()).unwrap().is_none());
        drop(lock);
        assert!(!is_shown(folder.path()));
        assert!(hold(folder.path()).unwrap().is_some());
    }

    #[test]
    fn what_was_written_last_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        assert_eq!(read(&file).unwrap(), None);
        let at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let state = |name: &str, kept_by| DestinationState {
            name: name.to_owned(),
            under_way: 2,
            at_once: 20,
            kept_by,
            because: "421 4.3.2".to_owned(),
            since: None,
            until: Some(at),
        };
        write(&file, at, &[state("mx old.example", KeptBy::Limit)]).unwrap();
        let states = [
            state("mx a.example", KeptBy::Away),
            state("mx b.example", KeptBy::Pause),
        ];
        write(&file, at, &states).unwrap();
        assert_eq!(read(&file).unwrap(), Some((at, states.to_vec())));
    }
}
