//! What is remembered of senders between messages: `senders.db` in the data folder. Who was asked to come again,
//! who did, to whom each mailbox has written, and who is let through because somebody wanted his mail.
//!
//! Losing it costs strangers a delay and correspondents a little trust, so it is written without waiting for the
//! disk (`synchronous=NORMAL`), and beside the mail: what is noted lies in memory until a task of its own writes all of
//! it at once. It is made when there is first something to write; `explain` and `check` only read.
//! Whatever fails here is no reason to keep mail back: the caller goes on as if nothing were known.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use crate::base::{metrics, private};

use super::grey::{Attempt, Key};
use super::pending::{Batch, Note, Noted, Pending};

/// The file. Cheap to clone; clones share the connections and what waits to be written.
#[derive(Clone)]
pub struct Store {
    path: Arc<PathBuf>,
    /// Of its own, for whoever reads is not to wait for whoever writes.
    reading: Slot,
    writing: Slot,
    pending: Pending,
    /// One writes at a time: what came again counts once.
    turn: Arc<tokio::sync::Mutex<()>>,
    is_behind: Arc<AtomicBool>,
}

/// A connection, once it is needed.
type Slot = Arc<Mutex<Option<Connection>>>;

/// Nothing is known, or nothing is kept: the message goes on all the same.
#[derive(Debug, thiserror::Error)]
pub enum SenderStoreError {
    /// The file cannot be opened, read or written.
    #[error("what is known of senders cannot be read or written")]
    Sqlite(#[from] rusqlite::Error),
    /// The runtime is ending.
    #[error("the gateway is stopping")]
    Ended,
}

impl Store {
    /// The file in this data folder, which need not be there.
    pub fn at(data: &Path) -> Self {
        Self {
            path: Arc::new(data.join(FILE)),
            reading: Slot::default(),
            writing: Slot::default(),
            pending: Pending::default(),
            turn: Arc::default(),
            is_behind: Arc::default(),
        }
    }

    /// Takes something to remember; never waits. It is in the file a moment later; if too much waits
    /// already, it is forgotten and counted. To be called on a runtime.
    pub(super) fn note(&self, note: Note) {
        match self.pending.add(note) {
            Noted::Kept => {}
            Noted::Dropped => metrics::SENDERS_FORGOTTEN.add(1),
            Noted::NeedsWriter => drop(tokio::spawn(self.clone().write_all())),
        }
    }

    /// Writes until nothing waits, a moment after each note, so that many are written at once.
    async fn write_all(self) {
        let mut pause = LINGER;
        loop {
            tokio::time::sleep(pause).await;
            let written = self.write_next().await;
            self.is_behind.store(written.is_err(), Ordering::Relaxed);
            pause = match written {
                Ok(Written::Nothing) => return,
                Ok(Written::Some) => LINGER,
                Err(_) => RETRY,
            };
        }
    }

    async fn write_next(&self) -> Result<Written, SenderStoreError> {
        let _turn = self.turn.lock().await;
        let Some(batch) = self.pending.take() else {
            return Ok(Written::Nothing);
        };
        self.write(move |db| write_batch(db, &batch)).await?;
        self.pending.is_written();
        Ok(Written::Some)
    }

    /// Writes all that waits at once, for the end; `false` if it cannot be written within this time.
    pub async fn flush(&self, within: Duration) -> bool {
        let all = async {
            loop {
                match self.write_next().await {
                    Ok(Written::Nothing) => return,
                    Ok(Written::Some) => {}
                    Err(_) => tokio::time::sleep(LINGER).await,
                }
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Whether what waits could not be written the last time; it is tried again.
    pub fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// What is known of each attempt, in the order of the keys.
    pub(super) async fn attempts(
        &self,
        keys: Vec<Key>,
    ) -> Result<Vec<Option<Attempt>>, SenderStoreError> {
        let known = vec![None; keys.len()];
        let found = self.read(move |db| keys.iter().map(|key| attempt(db, key)).collect());
        Ok(found.await?.unwrap_or(known))
    }

    /// How often a client has come again for mail of a domain.
    pub(super) async fn returns(
        &self,
        client: String,
        domain: String,
    ) -> Result<Option<(u32, Timestamp)>, SenderStoreError> {
        let sql = "SELECT passes, last FROM client WHERE client = ?1 AND domain = ?2";
        let found = self.read(move |db| {
            let mut query = db.prepare_cached(sql)?;
            let mut rows = query.query(params![client, domain])?;
            match rows.next()? {
                Some(row) => Ok(Some((row.get(0)?, moment(row.get(1)?)))),
                None => Ok(None),
            }
        });
        Ok(found.await?.flatten())
    }

    /// For each mailbox, when it last wrote to this address.
    pub(super) async fn written(
        &self,
        mailboxes: Vec<String>,
        to: String,
    ) -> Result<Vec<Option<Timestamp>>, SenderStoreError> {
        let waiting = mailboxes.iter();
        let waiting = waiting.map(|mailbox| self.pending.written(mailbox, &to));
        let waiting: Vec<Option<Timestamp>> = waiting.collect();
        let sql = "SELECT last FROM correspondent WHERE mailbox = ?1 AND address = ?2";
        let found = self.read(move |db| {
            let mut query = db.prepare_cached(sql)?;
            let mut last = Vec::with_capacity(mailboxes.len());
            for mailbox in &mailboxes {
                let mut rows = query.query(params![mailbox, to])?;
                last.push(match rows.next()? {
                    Some(row) => Some(moment(row.get(0)?)),
                    None => None,
                });
            }
            Ok(last)
        });
        // What is in the air is newer than what is in the file.
        Ok(match found.await? {
            Some(found) => {
                let both = waiting.into_iter().zip(found);
                both.map(|(waiting, found)| waiting.or(found)).collect()
            }
            None => waiting,
        })
    }

    /// Forgets what is older than this.
    pub(super) async fn forget(
        &self,
        attempts_before: Timestamp,
        written_before: Timestamp,
    ) -> Result<(), SenderStoreError> {
        if !self.path.exists() {
            return Ok(());
        }
        self.write(move |db| {
            db.execute(
                "DELETE FROM attempt WHERE last < ?1",
                [seconds(attempts_before)],
            )?;
            db.execute(
                "DELETE FROM client WHERE last < ?1",
                [seconds(attempts_before)],
            )?;
            db.execute(
                "DELETE FROM correspondent WHERE last < ?1",
                [seconds(written_before)],
            )?;
            Ok(())
        })
        .await
    }

    /// `None` if there is no file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, SenderStoreError> {
        let store = self.clone();
        let task = move || {
            let mut slot = store.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_none() && !store.path.exists() {
                return Ok(None);
            }
            query(store.opened(&mut slot)?).map(Some)
        };
        let done = tokio::task::spawn_blocking(task).await;
        Ok(done.map_err(|_| SenderStoreError::Ended)??)
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SenderStoreError> {
        let store = self.clone();
        let task = move || {
            let mut slot = store.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let db = store.opened(&mut slot)?;
            let transaction = db.unchecked_transaction()?;
            let done = change(&transaction)?;
            transaction.commit().map(|()| done)
        };
        let done = tokio::task::spawn_blocking(task).await;
        Ok(done.map_err(|_| SenderStoreError::Ended)??)
    }

    fn opened<'s>(&self, slot: &'s mut Option<Connection>) -> rusqlite::Result<&'s Connection> {
        let db = match slot.take() {
            Some(db) => db,
            None => open(&self.path)?,
        };
        Ok(slot.insert(db))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    // Who wrote to whom. Where that cannot be, SQLite says why, or the file is another's.
    let _ = private::keep(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.execute_batch(SCHEMA)?;
    Ok(db)
}

/// Whether there was anything to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    Nothing,
    Some,
}

fn write_batch(db: &Connection, batch: &Batch) -> rusqlite::Result<()> {
    // Once a day is enough: most mail is to those who were written to before.
    let mut insert = db.prepare_cached(
        "INSERT INTO correspondent (mailbox, address, last) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET last = ?3 WHERE last < ?3 - 86400",
    )?;
    for (address, by) in &batch.written {
        for (mailbox, now) in by {
            insert.execute(params![mailbox, address, seconds(*now)])?;
        }
    }
    for note in &batch.others {
        match note {
            Note::Attempts {
                keys,
                now,
                retry_within,
            } => write_attempts(db, keys, *now, *retry_within)?,
            Note::Return { keys, domain, now } => write_return(db, keys, domain, *now)?,
            Note::Written { .. } => {} // by address, above
        }
    }
    Ok(())
}

/// An attempt was put off. A first one is noted; a later one leaves it, unless it came too late to count.
fn write_attempts(
    db: &Connection,
    keys: &[Key],
    now: Timestamp,
    retry_within: Duration,
) -> rusqlite::Result<()> {
    let oldest = seconds(now).saturating_sub(whole_seconds(retry_within));
    let mut insert = db.prepare_cached(
        "INSERT INTO attempt (client, sender, recipient, first, last, passed) VALUES (?1, ?2, ?3, ?4, ?4, 0)
         ON CONFLICT DO UPDATE SET last = ?4, first = CASE WHEN first < ?5 THEN ?4 ELSE first END",
    )?;
    for key in keys {
        insert.execute(params![
            key.client,
            key.sender,
            key.recipient,
            seconds(now),
            oldest
        ])?;
    }
    Ok(())
}

/// A client has come again, as a mail server does.
fn write_return(
    db: &Connection,
    keys: &[Key],
    domain: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut update = db.prepare_cached(
        "UPDATE attempt SET passed = 1, last = ?4 WHERE client = ?1 AND sender = ?2 AND recipient = ?3",
    )?;
    for key in keys {
        update.execute(params![key.client, key.sender, key.recipient, seconds(now)])?;
    }
    let Some(key) = keys.first() else {
        return Ok(());
    };
    db.prepare_cached(
        "INSERT INTO client (client, domain, passes, last) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT DO UPDATE SET passes = passes + 1, last = ?3",
    )?
    .execute(params![key.client, domain, seconds(now)])?;
    Ok(())
}

fn attempt(db: &Connection, key: &Key) -> rusqlite::Result<Option<Attempt>> {
    let mut query = db.prepare_cached(
        "SELECT first, last, passed FROM attempt WHERE client = ?1 AND sender = ?2 AND recipient = ?3",
    )?;
    let mut rows = query.query(params![key.client, key.sender, key.recipient])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Attempt {
        first: moment(row.get(0)?),
        last: moment(row.get(1)?),
        has_passed: row.get(2)?,
    }))
}

pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_second()
}

fn whole_seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// A number that is no moment was not written here: long ago.
pub(super) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS attempt (
    client TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, passed INTEGER NOT NULL,
    PRIMARY KEY (client, sender, recipient)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS client (
    client TEXT NOT NULL, domain TEXT NOT NULL, passes INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (client, domain)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS correspondent (
    mailbox TEXT NOT NULL, address TEXT NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (mailbox, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS allowed (
    mailbox TEXT NOT NULL, author TEXT NOT NULL,
    reference TEXT NOT NULL, by TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (mailbox, author)
) WITHOUT ROWID;
";
/// In the data folder.
const FILE: &str = "senders.db";
/// How long a write of another connection is waited for.
const BUSY: Duration = Duration::from_secs(2);
/// How long a note waits for others to be written with it.
const LINGER: Duration = Duration::from_millis(100);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn key(recipient: &str) -> Key {
        Key {
            client: "192.0.2.0/24".into(),
            sender: "x@y.example".into(),
            recipient: recipient.into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        moment(1_000_000 + seconds)
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    fn put_off(now: i64) -> Note {
        Note::Attempts {
            keys: vec![key("a")],
            now: at(now),
            retry_within: HOUR,
        }
    }

    #[tokio::test]
    async fn who_wrote_to_whom_is_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let mode = || std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        let write = async || {
            let store = Store::at(folder.path());
            store.note(put_off(0));
            assert!(store.flush(HOUR).await);
        };
        write().await;
        assert_eq!(mode(), 0o600);
        // Of an older program.
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        write().await;
        assert_eq!(mode(), 0o600);
    }

    #[tokio::test]
    async fn an_attempt_is_counted_from_its_first_time_unless_that_is_too_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let first = async || store.attempts(vec![key("a"), key("b")]).await.unwrap();
        assert_eq!(first().await, [None, None]);
        assert!(!folder.path().join(FILE).exists(), "reading makes no file");
        for (now, expected) in [(0, 0), (60, 0), (3_600, 0), (3_601, 3_601)] {
            store.note(put_off(now));
            assert!(store.flush(HOUR).await);
            let found = first().await;
            assert_eq!(found[0].map(|one| one.first), Some(at(expected)), "{now}");
            assert_eq!(found[1], None);
        }
    }

    #[tokio::test]
    async fn returns_are_counted_by_client_and_domain_and_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.note(put_off(0));
        for now in [10, 20] {
            store.note(Note::Return {
                keys: vec![key("a")],
                domain: "y.example".into(),
                now: at(now),
            });
        }
        assert!(store.flush(HOUR).await);
        let again = Store::at(folder.path());
        let returns = async |domain: &str| {
            again
                .returns("192.0.2.0/24".into(), domain.into())
                .await
                .unwrap()
        };
        assert_eq!(returns("y.example").await, Some((2, at(20))));
        assert_eq!(returns("z.example").await, None);
        let attempts = again.attempts(vec![key("a")]).await.unwrap();
        assert!(attempts[0].unwrap().has_passed);
        again.forget(at(21), at(0)).await.unwrap();
        assert_eq!(returns("y.example").await, None);
        assert_eq!(again.attempts(vec![key("a")]).await.unwrap(), [None]);
    }

    #[tokio::test]
    async fn a_mailbox_knows_to_whom_it_wrote_at_once_and_after_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        let known = async |store: &Store| {
            let mailboxes = vec!["a@b.example".to_owned(), "c@b.example".to_owned()];
            let known = store.written(mailboxes, "gp@x.example".into()).await;
            known.unwrap()
        };
        store.note(Note::Written {
            mailboxes: vec!["a@b.example".into()],
            to: vec!["gp@x.example".into()],
            now: at(0),
        });
        assert_eq!(known(&store).await, [Some(at(0)), None]);
        assert!(!folder.path().join(FILE).exists());
        assert!(store.flush(HOUR).await);
        assert_eq!(known(&store).await, [Some(at(0)), None]);
        assert_eq!(
            known(&Store::at(folder.path())).await,
            [Some(at(0)), None],
            "the file has it"
        );
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_had_is_waited_for_no_longer_than_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&folder.path().join("none"));
        store.note(put_off(0));
        assert!(!store.flush(Duration::from_millis(1)).await);
        std::fs::create_dir(folder.path().join("none")).unwrap();
        assert!(store.flush(HOUR).await);
        assert!(store.attempts(vec![key("a")]).await.unwrap()[0].is_some());
    }
}
