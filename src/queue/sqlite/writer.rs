//! The one thread that writes: group commit.
//!
//! Jobs come over a channel from all connections. The thread takes what is waiting at that moment,
//! runs it in one transaction with a savepoint around each job but the first, commits, and only then answers:
//! under load many messages share one sync, and without load no client waits for company. What came of
//! attempts does, for a moment: it mostly goes with the next message that is accepted, and saves a commit.
//!
//! A panic is an error of this program and ends no more than it must. That of a job takes back its own writes, and its
//! caller hears that it was not run; any other takes back the transaction. The thread goes on: if it ended, the gateway
//! would take no mail until somebody looks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::base::metrics;
use crate::outcome::audit::AuditEvent;
use crate::queue::error::{QueueError, StoreError};
use crate::queue::gathering::Gathering;
use crate::queue::spool::Spool;

use super::audit::Chain;
use super::checkpoint::Checkpoints;
use super::place::Place;
use super::trace;

/// The way to the writing thread. The thread ends when this is dropped.
pub(super) struct Writer {
    /// `None` once it is closed.
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A job: runs in the transaction and returns what answers its caller after the commit.
struct Job {
    work: Box<dyn FnOnce(&mut Batch<'_>) -> Answered + Send>,
    kind: Kind,
}

/// What a job is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// For somebody who waits, and is told: what it writes must be there at the next start.
    Promise,
    /// For the scheduler, which waits. Where the database is gone it goes on with what it has.
    Step,
    /// What came of attempts. Nobody waits: it may wait a moment for company.
    Aftermath,
}

/// Whether the job's writes stay, and how its caller hears of the commit.
struct Answered {
    keep: bool,
    kind: Kind,
    answer: Box<dyn FnOnce(Result<(), String>) + Send>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        checkpoints: Checkpoints,
        spool: Spool,
        place: Arc<Place>,
    ) -> Self {
        let (jobs, waiting) = channel();
        // Without a thread the channel is closed, and callers see `Ended`.
        let thread = thread::Builder::new()
            .name("queue-writer".to_owned())
            .spawn(move || write(&connection, checkpoints, (&spool, &place), &waiting));
        Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(thread.ok()),
        }
    }

    /// Lets the thread finish what it was given, and waits for its end.
    pub(super) async fn close(&self) {
        drop(lock(&self.jobs).take());
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        // A thread that panicked has said so already.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// Runs a job in the next transaction. What it did is durable when this returns `Ok`; nothing
    /// of it took effect when it returns an error.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        kind: Kind,
        job: impl FnOnce(&mut Batch<'_>) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |batch: &mut Batch<'_>| {
            let result = job(batch);
            Answered {
                keep: result.is_ok(),
                kind,
                answer: Box::new(move |committed| {
                    // The caller may have gone; what is committed stays committed.
                    let _ = answer.send(match committed {
                        Ok(()) => result,
                        Err(why) => result.and(Err(StoreError::Commit(why).into())),
                    });
                }),
            }
        });
        let jobs = lock(&self.jobs).clone().ok_or(StoreError::Ended)?;
        jobs.send(Job { work, kind })
            .map_err(|_| StoreError::Ended)?;
        drop(jobs);
        answered.await.map_err(|_| StoreError::Ended)?
    }
}

/// A transaction under way, as its jobs see it.
pub(super) struct Batch<'c> {
    /// The connection: statements go into the transaction.
    pub(super) db: &'c Connection,
    /// Large messages.
    pub(super) spool: &'c Spool,
    chain: Chain,
    gathering: &'c mut Gathering,
    /// Files of messages that are gone: removed after the commit.
    gone: Vec<String>,
}

impl Batch<'_> {
    /// Adds an event to the audit trail.
    pub(super) fn append(&mut self, event: &AuditEvent) -> Result<(), QueueError> {
        self.chain.append(self.db, event)?;
        self.gathering.add(self.chain.end(), event);
        Ok(())
    }

    /// Takes back the transaction, which has nothing that is to stay, and begins another. Somebody else may have written
    /// between the two.
    fn begin_again(&mut self) -> Result<(), QueueError> {
        self.gathering.ended(self.chain.end());
        // SQLite takes it back itself where the disk is full or fails.
        if !self.db.is_autocommit() {
            execute(self.db, "ROLLBACK")?;
        }
        execute(self.db, "BEGIN IMMEDIATE")?;
        self.chain = Chain::load(self.db)?;
        Ok(())
    }

    /// Removes a file of the spool once the transaction is committed.
    pub(super) fn remove_file(&mut self, name: String) {
        self.gone.push(name);
    }
}

/// The loop of the thread.
fn write(
    connection: &Connection,
    mut checkpoints: Checkpoints,
    (spool, place): (&Spool, &Place),
    waiting: &Receiver<Job>,
) {
    let mut gathering = Gathering::default();
    while let Ok(first) = waiting.recv() {
        let jobs = together(first, waiting, PATIENCE);
        let mut answers = Vec::new();
        let whole = || commit_together(connection, spool, &mut gathering, jobs, &mut answers);
        let committed = commit_or_not(whole);
        if let Err(why) = &committed {
            tracing::error!(error = why, "the queue could not commit");
            gathering.forget();
            // Out of a transaction that a failed commit left open.
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        let is_there = || place.check().map_err(|error| error.to_string());
        let promised = committed.clone().and_then(|()| is_there());
        for answered in answers {
            (answered.answer)(match answered.kind {
                Kind::Promise => promised.clone(),
                Kind::Step | Kind::Aftermath => committed.clone(),
            });
        }
        checkpoints.after_commit(connection);
    }
    checkpoints.end(connection);
}

/// What came of a transaction; after a panic that is unknown, for the commit may be behind it.
fn commit_or_not(transaction: impl FnOnce() -> Result<(), QueueError>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(transaction)) {
        Ok(committed) => committed.map_err(|error| error.to_string()),
        Err(_) => Err(BROKE_OFF.to_owned()),
    }
}

/// What goes into one transaction: all that waits at this moment and, as long as nobody waits for any of it, what comes
/// a moment later.
fn together(first: Job, waiting: &Receiver<Job>, patience: Duration) -> Vec<Job> {
    let until = Instant::now() + patience;
    let mut jobs = vec![first];
    let mut seen = 0;
    loop {
        jobs.extend(waiting.try_iter().take(BATCH_MAX - jobs.len()));
        let hurried = jobs[seen..].iter().any(|job| job.kind != Kind::Aftermath);
        if hurried || jobs.len() == BATCH_MAX {
            return jobs;
        }
        seen = jobs.len();
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(job) => jobs.push(job),
            // The moment is over, or the queue is being closed.
            Err(_) => return jobs,
        }
    }
}

/// Runs the jobs in one transaction. `answers` holds those that ran, whatever came of it.
fn commit_together(
    db: &Connection,
    spool: &Spool,
    gathering: &mut Gathering,
    jobs: Vec<Job>,
    answers: &mut Vec<Answered>,
) -> Result<(), QueueError> {
    execute(db, "BEGIN IMMEDIATE")?;
    let mut batch = Batch {
        db,
        spool,
        chain: Chain::load(db)?,
        gathering,
        gone: Vec::new(),
    };
    let mut alone = true;
    for job in jobs {
        let kept = run(&mut batch, job, alone, answers)?;
        alone &= !kept;
    }
    batch.chain.save(db)?;
    batch.gathering.ended(batch.chain.end());
    trace::seal_stretches(db, batch.chain.end(), batch.gathering)?;
    execute(db, "COMMIT")?;
    metrics::COMMITS.add(1);
    metrics::COMMITTED_JOBS.add(i64::try_from(answers.len()).unwrap_or(0));
    spool.remove(&batch.gone);
    Ok(())
}

/// Runs one job so that its failure takes back its own writes alone: between savepoints, or as the first of the transaction
/// (`alone`), which is begun again then. A savepoint keeps a copy of each page that the job changes: some 4 % of what
/// acceptance costs where mail comes singly. Returns whether its writes stay.
fn run(
    batch: &mut Batch<'_>,
    job: Job,
    alone: bool,
    answers: &mut Vec<Answered>,
) -> Result<bool, QueueError> {
    let (chain, gone) = (batch.chain.clone(), batch.gone.len());
    if !alone {
        execute(batch.db, "SAVEPOINT job")?;
    }
    let keep = match catch_unwind(AssertUnwindSafe(|| (job.work)(batch))) {
        Ok(answered) => {
            let keep = answered.keep;
            answers.push(answered);
            keep
        }
        // Its caller has heard: what answers him is gone.
        Err(_) => {
            tracing::error!(error = BROKE_OFF, "a write to the queue was taken back");
            batch.gathering.forget();
            false
        }
    };
    if !keep {
        batch.chain = chain;
        batch.gone.truncate(gone);
    }
    if keep && batch.db.is_autocommit() {
        // SQLite took the transaction back, and the job went on for all that: the next one would be in none.
        return Err(StoreError::Ended.into());
    }
    match (keep, alone) {
        (true, true) => {}
        (true, false) => execute(batch.db, "RELEASE job")?,
        (false, true) => batch.begin_again()?,
        (false, false) => {
            execute(batch.db, "ROLLBACK TO job")?;
            execute(batch.db, "RELEASE job")?;
        }
    }
    Ok(keep)
}

/// The values behind these locks are whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn execute(db: &Connection, sql: &str) -> Result<(), QueueError> {
    db.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// A panic in words; its place is said by the process, and its own words to nobody.
const BROKE_OFF: &str = "it panicked";
/// Jobs in one transaction at most: bounds how long the first of them waits.
const BATCH_MAX: usize = 256;
/// How long what nobody waits for waits for company. A crash in this time repeats deliveries that the next hop had
/// taken, as one before it or during the commit does: it is to stay well below the time that a delivery takes.
const PATIENCE: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, Reference};
    use crate::outcome::audit::AuditKind;
    use crate::queue::sqlite::SqliteStore;
    use crate::queue::store::Store;
    use jiff::Timestamp;

    fn job(kind: Kind) -> Job {
        let nothing = move |_: &mut Batch<'_>| Answered {
            keep: true,
            kind,
            answer: Box::new(|_| ()),
        };
        Job {
            work: Box::new(nothing),
            kind,
        }
    }

    const LONG: Duration = Duration::from_mins(10);

    /// The disk fails, SQLite takes the transaction back, and the job passes over the error: what comes behind it must not
    /// be there while its client hears that it is not.
    #[tokio::test]
    async fn nothing_is_written_behind_a_transaction_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Clock::system()).unwrap();
        let event = || {
            let reference = Reference::random();
            AuditEvent::new(
                Timestamp::now(),
                reference,
                AuditKind::Received,
                "a@b.example",
            )
        };
        let writer = &store.writer;
        let (go, held) = channel();
        // The two behind it are one transaction, perhaps with it.
        let hold = writer.submit(Kind::Step, move |_| {
            held.recv().unwrap();
            Ok(())
        });
        let gone = writer.submit(Kind::Promise, |batch| {
            Ok(batch.db.execute_batch("ROLLBACK")?)
        });
        let next = writer.submit(Kind::Promise, move |batch| batch.append(&event()));
        let (_, gone, next, ()) = tokio::join!(hold, gone, next, async { go.send(()).unwrap() });
        assert!(gone.is_err() && next.is_err());
        assert_eq!(store.events(1, 10).await.unwrap().len(), 0);
        let after = writer.submit(Kind::Promise, move |batch| batch.append(&event()));
        after.await.unwrap();
        assert_eq!(store.events(1, 10).await.unwrap().len(), 1);
    }

    #[test]
    fn what_nobody_waits_for_goes_with_the_first_that_somebody_waits_for() {
        let (jobs, waiting) = channel();
        let taken = thread::spawn(move || together(job(Kind::Aftermath), &waiting, LONG).len());
        jobs.send(job(Kind::Aftermath)).unwrap();
        jobs.send(job(Kind::Step)).unwrap();
        assert_eq!(taken.join().unwrap(), 3);
    }

    #[test]
    fn who_waits_waits_for_no_company() {
        let (jobs, waiting) = channel();
        assert_eq!(together(job(Kind::Step), &waiting, LONG).len(), 1);
        jobs.send(job(Kind::Aftermath)).unwrap();
        assert_eq!(together(job(Kind::Step), &waiting, LONG).len(), 2);
    }

    #[test]
    fn what_nobody_waits_for_waits_a_moment_only() {
        let (jobs, waiting) = channel();
        let alone = together(job(Kind::Aftermath), &waiting, Duration::from_millis(1));
        assert_eq!(alone.len(), 1);
        // A queue that is being closed, and a full transaction, are not waited for.
        for _ in 0..BATCH_MAX {
            jobs.send(job(Kind::Aftermath)).unwrap();
        }
        let full = together(job(Kind::Aftermath), &waiting, LONG);
        assert_eq!(full.len(), BATCH_MAX);
        drop(jobs);
        assert_eq!(together(job(Kind::Aftermath), &waiting, LONG).len(), 2);
    }
}
