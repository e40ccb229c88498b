//! Moving what is committed from the log into the database, beside the writer.
//!
//! Left alone, SQLite does it inside the commit that makes the log long enough: whoever waits for that commit
//! waits for megabytes to be copied, and for two more syncs. Here a thread with a connection of its
//! own copies while the writer goes on, pass by pass until little is left. The writer copies this rest
//! between two transactions, and the log begins at its start again.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::open_log;

/// The writer's side: told of each commit.
pub(super) struct Checkpoints {
    /// Pages in the log from which on the next turn begins.
    due_at: i64,
    /// Pages in the log after the commit before.
    before: i64,
    turn: Arc<Turn>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread. From here on SQLite itself copies nothing out of the log of `writer`'s database.
    pub(super) fn start(writer: &mut Connection, database: &Path) -> rusqlite::Result<Self> {
        let turn = Arc::new(Turn::default());
        let count = Arc::clone(&turn);
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            count.log.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }))?;
        let guard = AloneWhenDropped(Arc::clone(&turn));
        let database = database.to_owned();
        let thread = thread::Builder::new()
            .name("queue-checkpoint".to_owned())
            .spawn(move || copy_when_asked(&database, &guard.0));
        Ok(Self {
            due_at: DUE_PAGES,
            before: 0,
            turn,
            thread: thread.ok(),
        })
    }

    /// Called when those who waited for a commit have their answers.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        let pages = self.turn.log.load(Ordering::Relaxed);
        if pages < self.before {
            // The log began anew.
            self.due_at = DUE_PAGES;
        }
        self.before = pages;
        match self.turn.get() {
            Now::Idle if pages >= self.due_at => self.turn.pass(Now::Idle, Now::Copying),
            // The disk takes the log faster than the copy: the writer waits, or the log would never end.
            Now::Copying if pages >= self.due_at + BEHIND_PAGES => {
                self.turn.wait_while(|now| now == Now::Copying);
                self.finish(writer);
            }
            Now::Copied => self.finish(writer),
            Now::Alone if pages >= self.due_at => self.finish(writer),
            Now::Idle | Now::Copying | Now::Alone | Now::Ended => {}
        }
    }

    /// Copies what is left. Unless somebody still reads what is in the log, the next commit begins it anew.
    fn finish(&mut self, writer: &Connection) {
        copy(writer);
        self.due_at = self.before + DUE_PAGES;
        self.turn.pass(Now::Copied, Now::Idle);
    }

    /// Ends the thread, and leaves nothing in the log: the next start has nothing to read back.
    pub(super) fn end(mut self, writer: &Connection) {
        self.turn.set(Now::Ended);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so already.
            let _ = thread.join();
        }
        let _ = writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

/// However the writer ends, its thread has nothing more to wait for.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.turn.set(Now::Ended);
    }
}

/// Whose turn it is, and the bell for both threads.
#[derive(Default)]
struct Turn {
    now: Mutex<Now>,
    changed: Condvar,
    /// Pages in the log after the last commit, as SQLite counts them.
    log: AtomicI64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Now {
    /// Nobody copies.
    #[default]
    Idle,
    /// The thread copies.
    Copying,
    /// The thread has copied; the rest is the writer's.
    Copied,
    /// There is no thread: the writer copies everything.
    Alone,
    /// The writer has ended.
    Ended,
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, Now> {
        // One word: whole at every moment.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Now {
        *self.lock()
    }

    fn set(&self, to: Now) {
        *self.lock() = to;
        self.changed.notify_all();
    }

    /// From one to the other; nothing changes if it is neither's turn by now.
    fn pass(&self, from: Now, to: Now) {
        let mut now = self.lock();
        if *now == from {
            *now = to;
        }
        drop(now);
        self.changed.notify_all();
    }

    /// Waits as long as `so` holds, and returns what it is then.
    fn wait_while(&self, so: impl Fn(Now) -> bool) -> Now {
        let waited = self.changed.wait_while(self.lock(), |now| so(*now));
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the thread ends, and if it never began, the writer goes on alone.
struct AloneWhenDropped(Arc<Turn>);

impl Drop for AloneWhenDropped {
    fn drop(&mut self) {
        let mut now = self.0.lock();
        if *now != Now::Ended {
            *now = Now::Alone;
        }
        drop(now);
        self.0.changed.notify_all();
    }
}

/// The thread.
fn copy_when_asked(database: &Path, turn: &Turn) {
    let connection = match open(database) {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "no connection beside the queue's writer: it copies its log itself");
            return;
        }
    };
    let nothing_to_do = |now| matches!(now, Now::Idle | Now::Copied);
    while turn.wait_while(nothing_to_do) == Now::Copying {
        for _ in 0..PASSES_MAX {
            let copied = copy(&connection);
            if turn.log.load(Ordering::Relaxed) - copied <= REST_PAGES {
                break;
            }
        }
        turn.pass(Now::Copying, Now::Copied);
    }
}

fn open(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(database)?;
    connection.pragma_update(None, "synchronous", "full")?;
    open_log(&connection)?;
    Ok(connection)
}

/// Copies what is in the log at this moment, waiting for nobody; returns how many of its pages are copied.
fn copy(connection: &Connection) -> i64 {
    let copied = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2));
    copied.unwrap_or_else(|error| {
        // The log keeps everything until a later turn.
        tracing::warn!(%error, "the queue's log could not be copied into its database");
        i64::MAX
    })
}

/// Pages in the log at which a turn begins: 16 MiB, tens of milliseconds of copying.
const DUE_PAGES: i64 = 4_096;
/// Pages that may come into the log meanwhile before the writer waits: 64 MiB.
const BEHIND_PAGES: i64 = 16_384;
/// Pages that the writer copies at the end of a turn: a millisecond or two.
const REST_PAGES: i64 = 256;
/// Passes of the thread in a turn: the writer may be as fast as it is.
const PASSES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A database with one table, and what looks after its log.
    fn database(folder: &Path) -> (Connection, Checkpoints) {
        let path = folder.join("queue.sqlite");
        let mut writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer
            .execute_batch("CREATE TABLE body (id INTEGER PRIMARY KEY, octets BLOB)")
            .unwrap();
        let checkpoints = Checkpoints::start(&mut writer, &path).unwrap();
        (writer, checkpoints)
    }

    /// Commits bodies of 400 KiB until so many pages have gone into the log since the test began; each takes the
    /// place of one of ten. Returns the greatest number of pages that the log had.
    fn commit_pages(writer: &Connection, checkpoints: &mut Checkpoints, pages: i64) -> i64 {
        let mut longest = 0;
        for turn in 0..pages / 100 {
            writer
                .execute(
                    "REPLACE INTO body VALUES (?1, zeroblob(409600))",
                    [turn % 10],
                )
                .unwrap();
            checkpoints.after_commit(writer);
            longest = longest.max(checkpoints.before);
        }
        longest
    }

    fn rows(folder: &Path) -> i64 {
        let beside = Connection::open(folder.join("queue.sqlite")).unwrap();
        let count = "SELECT count(*) FROM body WHERE length(octets) = 409600";
        beside.query_row(count, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_log_begins_anew_however_much_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = database(folder.path());
        let longest = commit_pages(&writer, &mut checkpoints, 12 * DUE_PAGES);
        assert!(longest >= DUE_PAGES);
        assert!(longest <= DUE_PAGES + BEHIND_PAGES + 200, "{longest} pages");
        assert_eq!(rows(folder.path()), 10);
        checkpoints.end(&writer);
        let log = folder.path().join("queue.sqlite-wal");
        assert_eq!(log.metadata().unwrap().len(), 0);
        drop(writer);
        assert_eq!(rows(folder.path()), 10);
    }

    #[test]
    fn a_writer_without_the_thread_copies_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = database(folder.path());
        checkpoints.turn.set(Now::Ended);
        checkpoints.thread.take().unwrap().join().unwrap();
        checkpoints.turn.set(Now::Alone);
        let longest = commit_pages(&writer, &mut checkpoints, 3 * DUE_PAGES);
        assert!(longest <= DUE_PAGES + 200, "{longest} pages");
        checkpoints.end(&writer);
        assert_eq!(rows(folder.path()), 10);
    }

    #[test]
    fn the_thread_ends_with_a_writer_that_panics() {
        let folder = tempfile::tempdir().unwrap();
        let (_writer, mut checkpoints) = database(folder.path());
        let thread = checkpoints.thread.take().unwrap();
        let (tell, ended) = std::sync::mpsc::channel();
        thread::spawn(move || tell.send(thread.join().is_ok()));
        drop(checkpoints);
        let is_well = ended.recv_timeout(Duration::from_secs(30));
        assert!(is_well.expect("it waits for a writer that is gone"));
    }

    #[test]
    fn who_reads_what_is_in_the_log_keeps_it_as_long_as_he_reads() {
        let folder = tempfile::tempdir().unwrap();
        let (writer, mut checkpoints) = database(folder.path());
        commit_pages(&writer, &mut checkpoints, DUE_PAGES / 2);
        let reader = Connection::open(folder.path().join("queue.sqlite")).unwrap();
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM body")
            .unwrap();
        let longest = commit_pages(&writer, &mut checkpoints, 3 * DUE_PAGES);
        assert!(longest > 3 * DUE_PAGES, "{longest} pages");
        reader.execute_batch("COMMIT").unwrap();
        // Its turn comes, and the log is short again.
        commit_pages(&writer, &mut checkpoints, 8 * DUE_PAGES);
        assert!(checkpoints.before < longest, "{} pages", checkpoints.before);
        checkpoints.end(&writer);
        assert_eq!(rows(folder.path()), 10);
    }
}
