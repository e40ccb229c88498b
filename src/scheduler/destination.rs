//! Concurrency and rate of each destination: who may start, who waits.
//!
//! The board knows every destination that has something in hand. A slow one fills its own row and
//! nothing else: what is due for it stays in the queue while the others go on. A destination begins with a few
//! attempts at once and gets one more with each that is answered, up to what its route allows: many
//! destinations that never answer must not take every connection there is.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::{Route, TlsNeed};
use crate::queue::{DeliveryId, LeasedDelivery, QueuedMessage};

use super::Permit;

/// Deliveries of one message for one attempt: of one route, destination and need.
pub(super) struct Batch {
    pub(super) route: Arc<Route>,
    pub(super) destination: String,
    pub(super) need: TlsNeed,
    pub(super) message: Arc<QueuedMessage>,
    pub(super) deliveries: Vec<LeasedDelivery>,
    /// Kept until the batch is settled.
    pub(super) permit: Arc<Permit>,
}

impl Batch {
    /// The names of its deliveries.
    pub(super) fn ids(&self) -> Vec<DeliveryId> {
        self.deliveries.iter().map(|delivery| delivery.id).collect()
    }
}

/// All destinations that have something in hand.
#[derive(Default)]
pub(super) struct Board {
    rows: HashMap<String, Row>,
}

/// One destination.
#[derive(Default)]
struct Row {
    running: usize,
    waiting: VecDeque<Batch>,
    /// What the route allows.
    connections: usize,
    /// Attempts that were answered, less those since that were not.
    credit: usize,
    /// Time between two starts; zero for no limit.
    interval: Duration,
    /// Not before this, where a rate is set.
    next_start: Option<Instant>,
}

impl Row {
    /// Attempts at once, as things go.
    fn window(&self) -> usize {
        (BEGIN_WITH + self.credit).min(self.connections)
    }

    fn may_start(&self, now: Instant) -> bool {
        self.running < self.window() && self.next_start.is_none_or(|at| at <= now)
    }

    /// Notes how an attempt ended.
    fn note(&mut self, answered: bool) {
        self.running = self.running.saturating_sub(1);
        self.credit = match answered {
            true => self.connections.min(self.credit + 1),
            false => self.credit / 2,
        };
    }

    fn start(&mut self, now: Instant) -> Option<Batch> {
        if !self.may_start(now) {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        self.running += 1;
        if !self.interval.is_zero() {
            self.next_start = Some(now + self.interval);
        }
        Some(batch)
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0 && self.waiting.is_empty() && self.next_start.is_none_or(|at| at <= now)
    }
}

impl Board {
    /// Puts a batch behind those of its destination. Returns it at once if it may start.
    pub(super) fn add(&mut self, batch: Batch, now: Instant) -> Option<Batch> {
        if !self.rows.contains_key(&batch.destination) {
            self.rows.insert(batch.destination.clone(), Row::default());
        }
        let row = self.rows.get_mut(&batch.destination)?;
        // As the route says now: a reload may have changed it.
        row.connections = batch.route.connections.max(1);
        row.interval = match batch.route.rate_per_minute {
            0 => Duration::ZERO,
            rate => MINUTE / rate,
        };
        row.waiting.push_back(batch);
        row.start(now)
    }

    /// Takes a place for an attempt that is not queued: only if one is free and nobody waits for it. It is given back
    /// by [`Board::finished`].
    pub(super) fn claim(&mut self, route: &Route, destination: &str, now: Instant) -> bool {
        let row = self.rows.entry(destination.to_owned()).or_default();
        row.connections = route.connections.max(1);
        row.interval = match route.rate_per_minute {
            0 => Duration::ZERO,
            rate => MINUTE / rate,
        };
        if !row.waiting.is_empty() || !row.may_start(now) {
            return false;
        }
        row.running += 1;
        if !row.interval.is_zero() {
            row.next_start = Some(now + row.interval);
        }
        true
    }

    /// An attempt at this destination has ended, with an answer of the next hop or without. Returns
    /// what may start in its place, and whether the destination has just got room again.
    pub(super) fn finished(
        &mut self,
        destination: &str,
        answered: bool,
        now: Instant,
    ) -> (Vec<Batch>, bool) {
        let Some(row) = self.rows.get_mut(destination) else {
            return (Vec::new(), false);
        };
        row.note(answered);
        let waited = row.waiting.len();
        let started: Vec<Batch> = std::iter::from_fn(|| row.start(now)).collect();
        let half = row.window() / 2;
        let room = waited > half && row.waiting.len() <= half;
        if row.is_idle(now) {
            self.rows.remove(destination);
        }
        (started, room)
    }

    /// What waited for its rate and may start now, over all destinations.
    pub(super) fn paced(&mut self, now: Instant) -> Vec<Batch> {
        let mut started = Vec::new();
        for row in self.rows.values_mut().filter(|row| !row.interval.is_zero()) {
            started.extend(row.start(now));
        }
        self.rows.retain(|_, row| !row.is_idle(now));
        started
    }

    /// When the next one that waits for its rate may start.
    pub(super) fn next_paced(&self) -> Option<Instant> {
        let paced = self.rows.values().filter(|row| row.running < row.window());
        let waiting = paced.filter(|row| !row.waiting.is_empty());
        waiting.filter_map(|row| row.next_start).min()
    }

    /// Batches of a destination that wait for their turn.
    pub(super) fn waiting(&self, destination: &str) -> usize {
        self.rows
            .get(destination)
            .map_or(0, |row| row.waiting.len())
    }

    /// Leased batches that may wait for a destination: few while it has not shown that it answers, for
    /// each takes a place in the scheduler's hands from others.
    pub(super) fn leased_max(&self, destination: &str) -> usize {
        match self.rows.get(destination) {
            Some(row) if row.credit > 0 => usize::MAX,
            _ => 2 * BEGIN_WITH,
        }
    }

    /// Whether enough waits for a destination that nothing more is leased for it.
    pub(super) fn is_full(&self, destination: &str) -> bool {
        let full = |row: &Row| row.waiting.len() >= row.window();
        self.rows.get(destination).is_some_and(full)
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> Vec<Batch> {
        self.rows
            .values_mut()
            .flat_map(|row| row.waiting.drain(..))
            .collect()
    }
}

/// Attempts at once at a destination of which nothing is known.
const BEGIN_WITH: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
