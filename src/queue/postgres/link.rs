//! The session of the writer: made again when it breaks, with pauses that grow, and the only one of its gateway.
//!
//! A gateway that serves holds an advisory lock under its name on this very session. So a second process of the same
//! name cannot serve, and a process that lost its session can write nothing any more; the others see in the
//! database's own list of locks who is alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::base::Clock;
use crate::queue::error::{QueueError, StoreError};

use super::connect::Server;
use super::db::Db;
use super::schema::LOCKS;

/// What a session knows beyond its connection.
pub(super) struct Session {
    client: ClientWrapper,
    gateway: Arc<str>,
    serves: Arc<AtomicBool>,
    /// What tells it from others: the number of its process, and since when that runs.
    process: (i32, String),
}

/// The way to a session of the writer.
pub(super) struct Link {
    server: Server,
    clock: Clock,
    gateway: Arc<str>,
    /// Whether this process is the scheduler of its name.
    serves: Arc<AtomicBool>,
    session: Option<Arc<Session>>,
    /// The session before, if it broke off: it may still be there on the other side.
    broken: Option<(i32, String)>,
    pause: Duration,
    trouble: Trouble,
}

/// Until when nothing is tried, after a failure. Shared with those who ask whether there is room.
#[derive(Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Timestamp>>>);

impl Trouble {
    /// Whether the last transaction failed, and another try is not due yet.
    pub(super) fn is_at_hand(&self, now: Timestamp) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    fn until(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, until: Option<Timestamp>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

impl Session {
    /// The connection.
    pub(super) fn db(&self) -> Db<'_> {
        Db(&self.client)
    }

    /// The name of this gateway.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Makes this process the one scheduler of its name.
    ///
    /// # Errors
    /// [`QueueError::Served`]: another is.
    pub(super) async fn serve(&self) -> Result<(), QueueError> {
        let serves = self.serves.load(Ordering::SeqCst);
        if !serves && !take_lock(self.db(), &self.gateway).await? {
            return Err(QueueError::Served);
        }
        self.serves.store(true, Ordering::SeqCst);
        Ok(())
    }
}

impl Link {
    /// A way over this session, which was just made.
    pub(super) async fn new(
        server: Server,
        clock: Clock,
        gateway: &str,
        client: ClientWrapper,
    ) -> Result<Self, QueueError> {
        let mut link = Self {
            server,
            clock,
            gateway: gateway.into(),
            serves: Arc::default(),
            session: None,
            broken: None,
            pause: PAUSE_FIRST,
            trouble: Trouble::default(),
        };
        link.session = Some(Arc::new(link.begin(client).await?));
        Ok(link)
    }

    /// What others may know of its troubles.
    pub(super) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// A session that lives; `None` if there is none now, or a pause is not over.
    pub(super) async fn session(&mut self) -> Option<Arc<Session>> {
        if let Some(session) = &self.session
            && !session.client.is_closed()
        {
            return Some(Arc::clone(session));
        }
        if self.trouble.is_at_hand(self.clock.now()) {
            return None;
        }
        self.lose();
        match self.again().await {
            Ok(session) => {
                tracing::info!("connected to the database again");
                self.session = Some(Arc::clone(&session));
                Some(session)
            }
            Err(error) => {
                tracing::error!(error = error.to_text(), "the database cannot be used");
                self.wait();
                None
            }
        }
    }

    /// After a transaction. One that failed is taken back, or its session given up.
    pub(super) async fn after(&mut self, committed: bool) {
        if committed {
            self.pause = PAUSE_FIRST;
            self.trouble.set(None);
            return;
        }
        let rolled_back = match &self.session {
            Some(session) => session.db().run("ROLLBACK").await.is_ok(),
            None => false,
        };
        if !rolled_back {
            self.lose();
        }
    }

    /// Ends the session, and with it the lock.
    pub(super) async fn close(self) {
        if let Some(session) = &self.session {
            let _ = session.db().run("SELECT pg_advisory_unlock_all()").await;
        }
    }

    fn lose(&mut self) {
        if let Some(session) = self.session.take() {
            self.broken = Some(session.process.clone());
        }
    }

    fn wait(&mut self) {
        self.trouble.set(Some(self.clock.now() + self.pause));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    async fn again(&mut self) -> Result<Arc<Session>, QueueError> {
        let client = self.server.connect().await?;
        if let Some((process, since)) = &self.broken {
            // Nobody is at its other end any more; it may hold locks until it notices.
            let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                       WHERE pid = $1 AND backend_start::text = $2 AND pid <> pg_backend_pid()";
            Db(&client).execute(end, &[process, since]).await?;
        }
        let session = self.begin(client).await?;
        self.broken = None;
        Ok(Arc::new(session))
    }

    async fn begin(&self, client: ClientWrapper) -> Result<Session, QueueError> {
        let db = Db(&client);
        // Each of the writer's statements has an index that is in its order. No guess about a table that was empty when
        // the statement was planned must make it read, or sort, a million rows.
        db.run("SET enable_seqscan = off; SET enable_bitmapscan = off")
            .await?;
        let sql = "SELECT pid, backend_start::text, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                   FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = db.one(sql, &[]).await?;
        let apart = row
            .get::<_, i64>(2)
            .abs_diff(self.clock.now().as_millisecond());
        if apart > APART_MAX_MILLIS {
            tracing::warn!(
                seconds = apart / 1_000,
                "the clocks of gateway and database differ: leases end too early or too late"
            );
        }
        let process = (row.get(0), row.get(1));
        if self.serves.load(Ordering::SeqCst) && !take_lock(db, &self.gateway).await? {
            return Err(QueueError::Served);
        }
        Ok(Session {
            client,
            gateway: Arc::clone(&self.gateway),
            serves: Arc::clone(&self.serves),
            process,
        })
    }
}

/// Takes the lock of a gateway's name for as long as the session lasts.
async fn take_lock(db: Db<'_>, gateway: &str) -> Result<bool, QueueError> {
    let row = db
        .one(
            "SELECT pg_try_advisory_lock($1, $2)",
            &[&LOCKS, &number(gateway)],
        )
        .await?;
    Ok(row.get(0))
}

/// The number of a gateway's lock: the first octets of SHA-256 of its name, never that of the schema.
pub(super) fn number(gateway: &str) -> i32 {
    let hash: [u8; 32] = Sha256::digest(gateway.as_bytes()).into();
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) | 1
}

impl Trouble {
    /// The error of whoever asks while there is trouble.
    pub(super) fn error() -> QueueError {
        StoreError::Ended.into()
    }
}

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How far the clocks of a gateway and the database may be apart without a word.
const APART_MAX_MILLIS: u64 = 10_000;
