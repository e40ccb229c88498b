//! Connections that wait for the next message.
//!
//! The one used last is taken first, so that the others grow old and are closed. All connections
//! together have a cap, and so have those to a destination, of an account and from an address of ours; when one is
//! reached, a connection that waits makes room for one that works.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::places::{Held, Limit, Places, Right};
use super::route::TlsLevel;
use super::router::Generation;

/// What a connection can be used for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) route: String,
    pub(super) destination: String,
    pub(super) level: TlsLevel,
    /// Whether what the destination says of TLS was waived by the sender.
    pub(super) waived: bool,
    /// Whether somebody vouches for the name of the next hop, as REQUIRETLS wants.
    pub(super) require_tls: bool,
    /// Of the settings that it was made by: who we log in as, which exchangers may have patient data.
    pub(super) generation: Generation,
}

/// All connections: those that wait, and the right to open more.
pub(super) struct Pool {
    waiting: Mutex<Waiting>,
    permits: Arc<Semaphore>,
    /// Those that are open, by the limits that they count for.
    places: Arc<Places>,
    /// Attempts that wait for a permit.
    wanted: AtomicUsize,
    idle: Duration,
}

#[derive(Default)]
struct Waiting {
    by_key: HashMap<Key, Vec<Parked>>,
    /// Of the last settings that were announced, once any were. An attempt may know of newer ones already.
    announced: Option<Generation>,
    /// Whether somebody looks after connections that grow old.
    swept: bool,
}

struct Parked {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(connections: usize, idle: Duration) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            permits: Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS))),
            places: Arc::default(),
            wanted: AtomicUsize::new(0),
            idle,
        })
    }

    /// Settings have come into force: what was made by those before serves no further message.
    pub(super) fn renew(&self, generation: Generation) {
        let mut waiting = self.lock();
        waiting.announced = waiting.announced.max(Some(generation));
    }

    /// Takes a connection that is alive as far as can be seen.
    pub(super) fn take(&self, key: &Key) -> Option<Connection> {
        let mut waiting = self.lock();
        let parked = waiting.by_key.get_mut(key)?;
        while let Some(mut last) = parked.pop() {
            if last.since.elapsed() < self.idle && last.connection.is_alive() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next message, unless it is used up (it may have so many messages), the settings have
    /// changed since it was made, or another is waited for.
    pub(super) fn park(self: &Arc<Self>, key: Key, connection: Connection, messages: u32) {
        let mut waiting = self.lock();
        // Under the lock: whoever comes to wait after this finds the connection among those that are parked.
        let wanted = self.wanted.load(Ordering::Acquire) > 0;
        let is_old = Some(key.generation) < waiting.announced;
        if wanted || is_old || self.idle.is_zero() || !connection.may_serve_again(messages) {
            drop(waiting);
            tokio::spawn(connection.quit());
            return;
        }
        waiting.by_key.entry(key).or_default().push(Parked {
            connection,
            since: Instant::now(),
        });
        if !waiting.swept {
            waiting.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), self.idle));
        }
        drop(waiting);
        // Whoever waits for a place under one of its limits may close it.
        self.places.freed().notify_waiters();
    }

    /// Returns the right to open a connection that counts for these limits, or `None` if all are busy until `until`. One
    /// that waits under a limit makes room: it is closed before this returns.
    pub(super) async fn right(&self, limits: &[Limit], until: Instant) -> Option<Right> {
        let held = self.places(limits, until).await?;
        let _permit = self.permit(until).await?;
        Some(Right { _permit, held })
    }

    async fn places(&self, limits: &[Limit], until: Instant) -> Option<Held> {
        loop {
            let mut freed = pin!(self.places.freed().notified());
            // Before the look: what is freed after it is heard of.
            freed.as_mut().enable();
            let full = match self.places.take(limits) {
                Ok(held) => return Some(held),
                Err(full) => full,
            };
            if Instant::now() >= until {
                return None;
            }
            match self.take_oldest(|one| one.counts_for(&full.of)) {
                Some(connection) => connection.quit().await,
                None => timeout_at(until, freed).await.ok()?,
            }
        }
    }

    async fn permit(&self, until: Instant) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _wanted = Wanted::new(&self.wanted);
        drop(self.take_oldest(|_| true));
        let permit = Arc::clone(&self.permits).acquire_owned();
        timeout_at(until, permit).await.ok()?.ok()
    }

    /// Takes the one of these that has waited longest.
    fn take_oldest(&self, is_one: impl Fn(&Connection) -> bool) -> Option<Connection> {
        let mut waiting = self.lock();
        let firsts = waiting.by_key.values_mut().filter_map(|parked| {
            let at = parked.iter().position(|one| is_one(&one.connection))?;
            Some((parked[at].since, parked, at))
        });
        let (_, parked, at) = firsts.min_by_key(|(since, ..)| *since)?;
        Some(parked.remove(at).connection)
    }

    /// Takes the connections that have waited for too long, and says whether others are left. If not,
    /// the next one that is parked calls a new sweeper.
    fn take_old(&self) -> (Vec<Connection>, bool) {
        let mut waiting = self.lock();
        let mut old = Vec::new();
        for parked in waiting.by_key.values_mut() {
            let fresh = parked.partition_point(|parked| parked.since.elapsed() >= self.idle);
            old.extend(parked.drain(..fresh).map(|parked| parked.connection));
        }
        waiting.by_key.retain(|_, parked| !parked.is_empty());
        waiting.swept = !waiting.by_key.is_empty();
        (old, waiting.swept)
    }

    /// A panic elsewhere leaves the map whole: nothing is done in steps under the lock.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one who waits, for as long as it lives.
struct Wanted<'a>(&'a AtomicUsize);

impl<'a> Wanted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Closes connections that have waited for too long, until none is left or the pool is gone.
async fn sweep(pool: Weak<Pool>, idle: Duration) {
    loop {
        tokio::time::sleep((idle / 2).max(SWEEP_MIN)).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let (old, others_left) = pool.take_old();
        for connection in old {
            tokio::spawn(connection.quit());
        }
        if !others_left {
            return;
        }
    }
}

/// The shortest pause between two looks.
const SWEEP_MIN: Duration = Duration::from_millis(50);
