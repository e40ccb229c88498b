//! The one task that writes: group commit.
//!
//! Jobs come over a channel from all connections. The task takes what is waiting at that moment, runs it in one
//! transaction with a savepoint round each job, commits, and only then answers. The transaction begins by locking the
//! row that says where the audit trail ends: in a fleet one transaction writes at a time, as in the other store, so
//! that every rule which holds there holds here.
//!
//! A panic ends no more than it must, as in the other store: a job, or the transaction, and never the task.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::base::metrics;
use crate::base::unwind::{Panicked, without_panic};
use crate::outcome::audit::AuditEvent;
use crate::queue::chain::End;
use crate::queue::error::{QueueError, StoreError};

use super::db::Db;
use super::link::{Link, Session};
use super::{audit, trace};

/// The way to the writing task. The task ends when this is dropped.
pub(super) struct Writer {
    /// `None` once it is closed.
    jobs: Mutex<Option<mpsc::UnboundedSender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What a job, or its caller, waits for.
pub(super) type Work<'b, T> = Pin<Box<dyn Future<Output = T> + Send + 'b>>;

/// A job: runs in the transaction and returns what answers its caller after the commit.
type Job = Box<dyn for<'b> FnOnce(&'b mut Batch) -> Work<'b, Answered> + Send>;

/// Whether the job's writes stay, and how its caller hears of the commit.
struct Answered {
    keep: bool,
    answer: Box<dyn FnOnce(Result<(), Broken>) + Send>,
}

/// Why a transaction came to nothing, or perhaps to nothing.
#[derive(Clone)]
enum Broken {
    /// Before its commit: nothing of it is there.
    Before(String),
    /// In its commit: it may be there.
    Commit(String),
}

impl From<Broken> for StoreError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Before(what) => Self::Postgres {
                code: "batch".to_owned(),
                what,
            },
            Broken::Commit(why) => Self::Commit(why),
        }
    }
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(link: Link) -> Self {
        let (jobs, waiting) = mpsc::unbounded_channel();
        Self {
            jobs: Mutex::new(Some(jobs)),
            task: Mutex::new(Some(tokio::spawn(write(link, waiting)))),
        }
    }

    /// Lets the task finish what it was given, and waits for its end.
    pub(super) async fn close(&self) {
        drop(lock(&self.jobs).take());
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // A task that panicked has said so already.
            let _ = task.await;
        }
    }

    /// Runs a job in the next transaction. What it did is durable when this returns `Ok`; nothing
    /// of it took effect when it returns an error, but for one of the commit.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        job: impl for<'b> FnOnce(&'b mut Batch) -> Work<'b, Result<T, QueueError>> + Send + 'static,
    ) -> Result<T, QueueError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |batch| {
            Box::pin(async move {
                let result = job(batch).await;
                Answered {
                    keep: result.is_ok(),
                    answer: Box::new(move |committed| {
                        // The caller may have gone; what is committed stays committed.
                        let _ = answer.send(match committed {
                            Ok(()) => result,
                            Err(broken) => result.and(Err(StoreError::from(broken).into())),
                        });
                    }),
                }
            })
        });
        let jobs = lock(&self.jobs).clone().ok_or(StoreError::Ended)?;
        jobs.send(job).map_err(|_| StoreError::Ended)?;
        drop(jobs);
        answered.await.map_err(|_| StoreError::Ended)?
    }
}

/// A transaction under way, as its jobs see it.
pub(super) struct Batch {
    session: Arc<Session>,
    end: End,
    /// Whether the savepoint of the job before is not released yet.
    is_open: bool,
    /// Events of the transaction that are not written yet, with their numbers and hashes.
    events: Vec<audit::Line>,
}

impl Batch {
    /// The connection: statements go into the transaction.
    pub(super) fn db(&self) -> Db<'_> {
        self.session.db()
    }

    /// The session that the transaction is in.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// The name of this gateway.
    pub(super) fn gateway(&self) -> &str {
        self.session.gateway()
    }

    /// Adds an event to the audit trail.
    pub(super) fn append(&mut self, event: &AuditEvent) {
        let event = self.end.add(event);
        self.events.push(audit::Line {
            id: self.end.last,
            event,
            hash: self.end.hash,
        });
    }
}

/// The loop of the task.
async fn write(mut link: Link, mut waiting: mpsc::UnboundedReceiver<Job>) {
    while let Some(first) = waiting.recv().await {
        let mut jobs = vec![first];
        while jobs.len() < BATCH_MAX
            && let Ok(job) = waiting.try_recv()
        {
            jobs.push(job);
        }
        // Dropped jobs tell their callers that they were not run.
        let Some(session) = link.session().await else {
            continue;
        };
        let mut answers = Vec::new();
        let committed = without_panic(commit_together(&session, jobs, &mut answers)).await;
        // The commit may be behind it.
        let committed = committed.unwrap_or_else(|Panicked| Err(Broken::Commit(BROKE_OFF.into())));
        if let Err(Broken::Before(why) | Broken::Commit(why)) = &committed {
            tracing::error!(error = %why, "the queue could not commit");
        }
        link.after(committed.is_ok()).await;
        for answered in answers {
            (answered.answer)(committed.clone());
        }
    }
    link.close().await;
}

/// Runs the jobs in one transaction. `answers` holds those that ran, whatever came of it.
async fn commit_together(
    session: &Arc<Session>,
    jobs: Vec<Job>,
    answers: &mut Vec<Answered>,
) -> Result<(), Broken> {
    let before = |error: QueueError| Broken::Before(error.to_text());
    let db = session.db();
    let number = jobs.len();
    let (begun, end) = tokio::join!(biased; db.run("BEGIN"), audit::lock_end(db));
    let end = begun.and(end).map_err(before)?;
    let mut batch = Batch {
        session: Arc::clone(session),
        end,
        is_open: false,
        events: Vec::new(),
    };
    for job in jobs {
        let ran = timeout(JOB_MAX, run(&mut batch, job, answers)).await;
        ran.map_err(|_| Broken::Before("a job took too long".to_owned()))?
            .map_err(before)?;
    }
    let written = async {
        if batch.is_open {
            db.run("RELEASE job").await?;
        }
        audit::write(db, &batch.events, &batch.end).await?;
        trace::seal_stretches(db, batch.end.last).await
    };
    written.await.map_err(before)?;
    let committed = db.run("COMMIT").await;
    committed.map_err(|error| Broken::Commit(error.to_text()))?;
    metrics::COMMITS.add(1);
    metrics::COMMITTED_JOBS.add(i64::try_from(number).unwrap_or(0));
    Ok(())
}

/// Runs one job between savepoints, so that its failure takes back its own writes alone. Each savepoint is
/// set, and the one before released, on the way with the job's first statement: nobody waits for an answer to that alone.
async fn run(batch: &mut Batch, job: Job, answers: &mut Vec<Answered>) -> Result<(), QueueError> {
    let (end, events) = (batch.end.clone(), batch.events.len());
    let session = Arc::clone(&batch.session);
    let begin = match std::mem::replace(&mut batch.is_open, true) {
        // Fails if the job before hid a failure of one of its statements.
        true => "RELEASE job; SAVEPOINT job",
        false => "SAVEPOINT job",
    };
    // The first of the two is asked first, so the server has it before the job's own statements.
    let job = without_panic(job(batch));
    let (begun, answered) = tokio::join!(biased; session.db().run(begin), job);
    let keep = match answered {
        Ok(answered) => {
            let keep = answered.keep;
            answers.push(answered);
            keep
        }
        // Its caller has heard: what answers him is gone.
        Err(Panicked) => {
            tracing::error!(error = BROKE_OFF, "a write to the queue was taken back");
            false
        }
    };
    begun?;
    if !keep {
        batch.end = end;
        batch.events.truncate(events);
        batch.is_open = false;
        batch.db().run("ROLLBACK TO job; RELEASE job").await?;
    }
    Ok(())
}

/// The values behind these locks are whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic in words; its place is said by the process, and its own words to nobody.
const BROKE_OFF: &str = "it panicked";
/// Jobs in one transaction at most: bounds how long the first of them, and the rest of the fleet, waits.
const BATCH_MAX: usize = 128;
/// How long a job may take: a hundred leases, an order for a long queue.
const JOB_MAX: Duration = Duration::from_secs(120);
