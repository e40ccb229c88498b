//! Concurrency and rate of each destination: who may start, who waits.
//!
//! The board knows every destination that has something in hand. A slow one fills its own row and
//! nothing else: what is due for it stays in the queue while the others go on. A destination begins with a few
//! attempts at once and gets one more with each that is answered, up to what its limits allow: many
//! destinations that never answer must not take every connection there is. When half of all connections are
//! in use, each destination may have its share of most of them and no more. One that is not well has its
//! [`Health`] besides; what several destinations share (an account, an address of ours) has a meter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use crate::delivery::{Limits, Route, TakenRoute, TlsNeed, Transport};
use crate::mail::Priority;
use crate::queue::{DeliveryId, LeasedDelivery, MessageId, QueuedMessage};

use super::Permit;
use super::answer::Answer;
use super::health::{Gate, Health};
use super::in_hand::Taking;
use super::line::Line;
use super::meter::Meters;

/// Deliveries of one message for one attempt: of one route, destination and need.
pub(super) struct Batch {
    pub(super) route: TakenRoute,
    pub(super) destination: String,
    pub(super) need: TlsNeed,
    pub(super) limits: Limits,
    /// Its class: higher ones go first.
    pub(super) priority: Priority,
    pub(super) message: Arc<QueuedMessage>,
    pub(super) deliveries: Vec<LeasedDelivery>,
    /// By which they are in hand.
    pub(super) taking: Option<Taking>,
    /// When its lease ends: from then on another gateway of a fleet may have it in hand.
    pub(super) until: Timestamp,
    /// Whether it is there to see if anybody answers.
    pub(super) is_trial: bool,
    /// Kept until the batch is settled.
    pub(super) permit: Arc<Permit>,
}

impl Batch {
    /// The names of its deliveries.
    pub(super) fn ids(&self) -> Vec<DeliveryId> {
        self.deliveries.iter().map(|delivery| delivery.id).collect()
    }

    /// The first so many of its deliveries, and the rest.
    fn split(mut self, at: usize) -> (Self, Option<Self>) {
        if self.deliveries.len() <= at {
            return (self, None);
        }
        let rest = Self {
            deliveries: self.deliveries.split_off(at),
            route: self.route.clone(),
            destination: self.destination.clone(),
            message: Arc::clone(&self.message),
            permit: Arc::clone(&self.permit),
            ..self
        };
        (self, Some(rest))
    }
}

/// This moment by both clocks: pauses between starts go by the one, what is remembered by the other.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Timestamp,
}

/// What becomes of a batch that is put on the board.
pub(super) enum Placed {
    /// It starts at once.
    Starts(Batch),
    /// It waits for its turn.
    Waits,
    /// Nobody is there: it is put off without an attempt.
    Shut(Batch, NotTried),
    /// The destination wants nothing before this time.
    Paused(Batch, Timestamp),
}

/// Why something is put off without an attempt.
#[derive(Clone, Debug)]
pub(super) struct NotTried {
    pub(super) because: String,
    /// Since when nobody is there; `None` for one who is, and wants nothing.
    pub(super) since: Option<Timestamp>,
    pub(super) next_trial: Timestamp,
    /// When it is tried, if it makes that trial itself.
    pub(super) probes_at: Option<Timestamp>,
}

/// What follows from the end of an attempt.
#[derive(Default)]
pub(super) struct Ended {
    /// What may start now.
    pub(super) started: Vec<Batch>,
    /// What waited and does so for nothing: nobody is there.
    pub(super) shut: Vec<(Batch, NotTried)>,
    /// What waited and may not start before a time.
    pub(super) paused: Vec<(Batch, Timestamp)>,
    /// Whether the destination has just got room again.
    pub(super) room: bool,
    /// When what has just failed may be tried again, whatever the schedule says.
    pub(super) sooner: Option<Timestamp>,
    /// Whether somebody is there again.
    pub(super) is_back: bool,
}

/// How an attempt ended.
pub(super) struct End<'a> {
    pub(super) destination: &'a str,
    pub(super) route: &'a Route,
    pub(super) was_trial: bool,
    /// Of which message, if it is in the queue.
    pub(super) message: Option<MessageId>,
    pub(super) answer: Answer,
    /// What it came to, if it failed.
    pub(super) because: String,
    /// Recipients that were taken, if others were too many.
    pub(super) took: usize,
    /// Whether anything was tried.
    pub(super) tried: bool,
}

/// All destinations that have something in hand or are not well.
pub(super) struct Board {
    pub(super) rows: HashMap<String, Row>,
    pub(super) health: HashMap<String, Health>,
    pub(super) meters: Meters,
    /// Attempts under way.
    running: usize,
    /// Attempts that were started.
    starts: u64,
    /// Connections to all destinations together.
    connections: usize,
}

/// One destination.
#[derive(Default)]
pub(super) struct Row {
    pub(super) running: usize,
    pub(super) waiting: Line<Batch>,
    /// What its limits allow.
    pub(super) connections: usize,
    /// Attempts that were answered, less those since that were not.
    credit: usize,
    /// Time between two starts; zero for no limit.
    interval: Duration,
    /// Not before this, where a rate is set.
    pub(super) next_start: Option<Instant>,
    /// Which of all starts was its last one.
    started: u64,
}

impl Row {
    /// Attempts at once, as things go.
    pub(super) fn window(&self, ceiling: Option<usize>) -> usize {
        let limit = self.connections.min(ceiling.unwrap_or(usize::MAX));
        (BEGIN_WITH + self.credit).min(limit)
    }

    fn queue_up(&mut self, batch: Batch) {
        let (class, is_leased) = (batch.priority, batch.permit.is_of_lease());
        self.waiting.push(batch, class, is_leased);
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0 && self.waiting.is_empty() && self.next_start.is_none_or(|at| at <= now)
    }
}

impl Board {
    /// A board for so many connections to all destinations together.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            rows: HashMap::new(),
            health: HashMap::new(),
            meters: Meters::default(),
            running: 0,
            starts: 0,
            connections: connections.max(1),
        }
    }

    /// Splits a batch by what its destination is known to take at once.
    pub(super) fn split(&self, batch: Batch) -> Vec<Batch> {
        let known = self.health.get(&batch.destination);
        let limit = known.and_then(Health::recipients_max).unwrap_or(usize::MAX);
        let (mut parts, mut rest) = (Vec::with_capacity(1), Some(batch));
        while let Some(batch) = rest.take() {
            let (part, others) = batch.split(limit);
            parts.push(part);
            rest = others;
        }
        parts
    }

    /// Puts a batch behind those of its destination, unless it may not be tried now.
    pub(super) fn add(&mut self, mut batch: Batch, now: Now) -> Placed {
        match self.gate(&batch, now.time) {
            Gate::Open => {}
            Gate::Trial => {
                batch.is_trial = true;
                if let Some(health) = self.health.get_mut(&batch.destination) {
                    health.begin_trial();
                }
                // Whatever else is under way there: it hangs.
                if let Some(row) = self.row_of(&batch) {
                    row.running += 1;
                }
                self.meters.start(&batch.route, now.instant);
                self.running += 1;
                return Placed::Starts(batch);
            }
            Gate::Shut(_) | Gate::Unwilling(_) => {
                let not_tried = NotTried {
                    probes_at: self.probe(&batch.destination, now.time),
                    ..self.not_tried(&batch.destination, now.time)
                };
                return Placed::Shut(batch, not_tried);
            }
            Gate::Paused(until) => return Placed::Paused(batch, until),
        }
        let destination = batch.destination.clone();
        if let Some(row) = self.row_of(&batch) {
            row.queue_up(batch);
        }
        match self.start(&destination, now.instant) {
            Some(batch) => Placed::Starts(batch),
            None => Placed::Waits,
        }
    }

    /// The row of a batch, with limits as they are now: a reload may have changed them.
    fn row_of(&mut self, batch: &Batch) -> Option<&mut Row> {
        if !self.rows.contains_key(&batch.destination) {
            // Behind those whose last turn is longer ago: who comes and goes shall not always be before who waits.
            let row = Row {
                started: self.starts,
                ..Row::default()
            };
            self.rows.insert(batch.destination.clone(), row);
        }
        let row = self.rows.get_mut(&batch.destination)?;
        row.connections = batch.limits.connections.max(1);
        row.interval = interval(batch.limits.rate_per_minute);
        Some(row)
    }

    fn gate(&self, batch: &Batch, now: Timestamp) -> Gate {
        match self.health.get(&batch.destination) {
            Some(health) => health.gate(now),
            None => Gate::Open,
        }
    }

    fn not_tried(&self, destination: &str, now: Timestamp) -> NotTried {
        let health = self.health.get(destination);
        let (because, since) = health.map_or(("", now), Health::because);
        let (since, next_trial) = match health.map(|one| one.gate(now)) {
            Some(Gate::Unwilling(at)) => (None, at),
            Some(Gate::Shut(at) | Gate::Paused(at)) => (Some(since), at),
            _ => (Some(since), now),
        };
        NotTried {
            because: because.to_owned(),
            since,
            next_trial,
            probes_at: None,
        }
    }

    fn probe(&mut self, destination: &str, now: Timestamp) -> Option<Timestamp> {
        self.health.get_mut(destination)?.probe(now)
    }

    fn ceiling(&self, destination: &str) -> Option<usize> {
        // Hardly ever is anything in it.
        match self.health.is_empty() {
            true => None,
            false => self.health.get(destination).and_then(Health::ceiling),
        }
    }

    /// Starts the next one of a destination, if it may start.
    fn start(&mut self, destination: &str, now: Instant) -> Option<Batch> {
        let route = self.rows.get(destination)?.waiting.first()?.route.clone();
        if !self.may_start(destination, &route, now) {
            return None;
        }
        let batch = self.rows.get_mut(destination)?.waiting.pop()?;
        self.begin(destination, &route, now);
        Some(batch)
    }

    fn may_start(&mut self, destination: &str, route: &Route, now: Instant) -> bool {
        let ceiling = self.ceiling(destination);
        let share = (self.connections * 3 / 4 / self.rows.len().max(1)).max(1);
        let is_scarce = self.running >= self.connections / 2;
        let Some(row) = self.rows.get(destination) else {
            return false;
        };
        row.running < row.window(ceiling)
            && row.next_start.is_none_or(|at| at <= now)
            && (!is_scarce || row.running < share)
            && self.meters.may_start(route, now)
    }

    fn begin(&mut self, destination: &str, route: &Route, now: Instant) {
        self.starts += 1;
        if let Some(row) = self.rows.get_mut(destination) {
            row.running += 1;
            row.started = self.starts;
            if !row.interval.is_zero() {
                row.next_start = Some(now + row.interval);
            }
        }
        self.running += 1;
        self.meters.start(route, now);
    }

    /// Takes a place for an attempt that is not queued: only if one is free, nobody waits for it, and nothing bad is
    /// known of the destination. It is given back by [`Board::finished`].
    pub(super) fn claim(&mut self, batch: &Batch, now: Now) -> bool {
        let health = self.health.get(&batch.destination);
        let takes = health.and_then(Health::recipients_max);
        let is_well = self.gate(batch, now.time) == Gate::Open
            && takes.is_none_or(|takes| batch.deliveries.len() <= takes);
        let may_start = is_well
            && self.row_of(batch).is_some_and(|row| row.waiting.is_empty())
            && self.may_start(&batch.destination, &batch.route, now.instant);
        if may_start {
            self.begin(&batch.destination, &batch.route, now.instant);
        }
        may_start
    }

    fn start_all(&mut self, destination: &str, now: Instant) -> Vec<Batch> {
        std::iter::from_fn(|| self.start(destination, now)).collect()
    }

    /// An attempt has ended.
    pub(super) fn finished(&mut self, end: &End<'_>, now: Now) -> Ended {
        let mut ended = self.note_health(end, now.time);
        let Some(row) = self.rows.get_mut(end.destination) else {
            return ended;
        };
        row.running = row.running.saturating_sub(1);
        row.credit = match end.answer.is_of_one_who_works() {
            true => row.connections.min(row.credit + 1),
            false if end.tried => row.credit / 2,
            false => row.credit,
        };
        self.running = self.running.saturating_sub(1);
        let metered = self.meters.finished(end.route);
        let waited = row.waiting.leased();
        self.turn_away(end.destination, now, &mut ended);
        ended.started = match metered {
            true => self.start_everywhere(now.instant),
            false => self.start_all(end.destination, now.instant),
        };
        let ceiling = self.ceiling(end.destination);
        if let Some(row) = self.rows.get(end.destination) {
            let half = row.window(ceiling) / 2;
            ended.room = waited > half && row.waiting.leased() <= half;
            if row.is_idle(now.instant) {
                self.rows.remove(end.destination);
            }
        }
        ended
    }

    fn note_health(&mut self, end: &End<'_>, now: Timestamp) -> Ended {
        let mut ended = Ended::default();
        let others = self
            .rows
            .get(end.destination)
            .map_or(0, |row| row.running.saturating_sub(1));
        let is_bad = has_health(end.route) && matches!(end.answer, Answer::Away | Answer::Busy);
        let took_some = end.answer == Answer::TooMany && end.took > 0;
        if took_some {
            ended.sooner = Some(now);
        }
        if is_bad || took_some {
            self.remember(end.destination, now);
        }
        if self.health.is_empty() {
            return ended;
        }
        let Some(health) = self.health.get_mut(end.destination) else {
            return ended;
        };
        let because = end.because.clone();
        match end.answer {
            Answer::Away => {
                ended.sooner = health.note_away(end.was_trial, because, now);
                if health.has_just_tripped() {
                    warn!(
                        destination = end.destination,
                        because = end.because,
                        "the next hop is away"
                    );
                }
            }
            Answer::BrokeOff => ended.is_back = health.note_there(end.was_trial, now),
            Answer::Nothing if end.was_trial => ended.sooner = health.note_nothing(now),
            Answer::Nothing => {}
            Answer::Busy => match end.message.is_some_and(|one| health.note_refused(one)) {
                // It is about this message: the others need not wait for it.
                true => ended.is_back = health.note_there(end.was_trial, now),
                false => {
                    ended.sooner = Some(health.note_busy(end.was_trial, others, because, now));
                }
            },
            _ => {
                let connections = end.route.connections;
                ended.is_back = health.note_works(end.was_trial, connections, now);
                if took_some {
                    health.takes_recipients(end.took, now);
                }
            }
        }
        if health.may_be_forgotten(now) {
            self.health.remove(end.destination);
        }
        ended
    }

    /// Makes room for what is to be known of a destination; of too many that are not well the rest is not known.
    fn remember(&mut self, destination: &str, now: Timestamp) {
        if self.health.contains_key(destination) {
            return;
        }
        if self.health.len() >= REMEMBERED_MAX {
            self.health
                .retain(|_, health| !health.may_be_forgotten(now));
        }
        if self.health.len() < REMEMBERED_MAX {
            self.health.insert(destination.to_owned(), Health::new(now));
        }
    }

    /// Takes out what waits for a destination that may not be tried now.
    fn turn_away(&mut self, destination: &str, now: Now, ended: &mut Ended) {
        let gate = match self.health.get(destination) {
            Some(health) => health.gate(now.time),
            None => return,
        };
        let not_tried = self.not_tried(destination, now.time);
        let Some(row) = self.rows.get_mut(destination) else {
            return;
        };
        match gate {
            Gate::Shut(_) | Gate::Unwilling(_) => {
                let waiting = row.waiting.drain();
                ended
                    .shut
                    .extend(waiting.map(|batch| (batch, not_tried.clone())));
                if let Some((_, first)) = ended.shut.first_mut() {
                    first.probes_at = self.probe(destination, now.time);
                }
            }
            Gate::Paused(until) => {
                ended
                    .paused
                    .extend(row.waiting.drain().map(|batch| (batch, until)));
            }
            Gate::Open | Gate::Trial => {}
        }
    }

    /// What may start at any destination: something that they share has got free. By turns, first the one whose last
    /// turn is longest ago, so that none of them has all of it.
    fn start_everywhere(&mut self, now: Instant) -> Vec<Batch> {
        let waiting = self.rows.iter().filter(|(_, row)| !row.waiting.is_empty());
        let mut waiting: Vec<(u64, String)> = waiting
            .map(|(name, row)| (row.started, name.clone()))
            .collect();
        waiting.sort_unstable();
        let mut started = Vec::new();
        while !waiting.is_empty() {
            waiting.retain(|(_, destination)| {
                let begun = self.start(destination, now);
                let may_go_on = begun.is_some();
                started.extend(begun);
                may_go_on
            });
        }
        started
    }

    /// What waited for its rate and may start now, over all destinations.
    pub(super) fn paced(&mut self, now: Instant) -> Vec<Batch> {
        let is_paced = |row: &Row| !row.interval.is_zero();
        let any = !self.meters.is_empty() || self.rows.values().any(is_paced);
        let started = match any {
            true => self.start_everywhere(now),
            false => Vec::new(),
        };
        self.rows.retain(|_, row| !row.is_idle(now));
        started
    }

    /// When the next one that waits for its rate may start. What might have started by now waits for something else.
    pub(super) fn next_paced(&self, now: Instant) -> Option<Instant> {
        let waiting = self.rows.values().filter(|row| !row.waiting.is_empty());
        let own = waiting.filter_map(|row| row.next_start);
        own.chain(self.meters.next_starts())
            .filter(|at| *at > now)
            .min()
    }

    /// Leased batches of a destination that wait for their turn.
    pub(super) fn leased(&self, destination: &str) -> usize {
        self.rows
            .get(destination)
            .map_or(0, |row| row.waiting.leased())
    }

    /// Leased batches that may wait for a destination: few while it has not shown that it answers, for
    /// each takes a place in the scheduler's hands from others; and where places are scarce, few more than
    /// it has under way.
    pub(super) fn leased_max(&self, destination: &str, is_scarce: bool) -> usize {
        match self.rows.get(destination) {
            Some(row) if row.credit > 0 && is_scarce && self.rows.len() > 1 => {
                2 * row.window(self.ceiling(destination))
            }
            Some(row) if row.credit > 0 => usize::MAX,
            _ => 2 * BEGIN_WITH,
        }
    }

    /// Whether enough that was leased waits for a destination. What is handed over as it comes does not count: it would
    /// keep what is in the queue there for as long as it comes faster than it goes.
    pub(super) fn is_full(&self, destination: &str, now: Timestamp) -> bool {
        let health = match self.health.is_empty() {
            true => None,
            false => self.health.get(destination),
        };
        if matches!(health.map(|one| one.gate(now)), Some(Gate::Paused(_))) {
            return true;
        }
        let ceiling = health.and_then(Health::ceiling);
        let full = |row: &Row| row.waiting.leased() >= row.window(ceiling);
        self.rows.get(destination).is_some_and(full)
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> Vec<Batch> {
        self.rows
            .values_mut()
            .flat_map(|row| row.waiting.drain())
            .collect()
    }
}

/// Whether the next hops of a route are somewhere else: they can be away, and want less.
pub(super) fn has_health(route: &Route) -> bool {
    matches!(
        route.transport,
        Transport::SmartHost(_) | Transport::Mx { .. } | Transport::Lmtp(_)
    )
}

/// The time between two starts at this rate; zero for no limit.
pub(super) fn interval(rate_per_minute: u32) -> Duration {
    match rate_per_minute {
        0 => Duration::ZERO,
        rate => MINUTE / rate,
    }
}

/// Attempts at once at a destination of which nothing is known.
const BEGIN_WITH: usize = 5;
const MINUTE: Duration = Duration::from_secs(60);
/// Destinations of which it is known that they are not well.
pub(super) const REMEMBERED_MAX: usize = 10_000;
