//! When mail goes onward: leases what is due, hands it out to destinations, settles what came of it.
//!
//! Work arrives in three ways. A message that is in no queue yet may be tried while its client waits ([`Handle::fly`]); one
//! that was just accepted may be offered by hand, still in memory, if there was [`Handle::room`]; everything else is
//! leased from the queue when it is due. What is offered and what is leased have their own bounds on what is in hand, so
//! that neither a backlog nor a flood stops the other. Each destination has its row on the `destination::Board`: its own
//! concurrency, its own rate. What is learnt of it outlasts a restart (`kept`).

mod again;
mod answer;
mod attempt;
mod courier;
mod destination;
mod health;
mod in_hand;
mod kept;
mod line;
mod meter;
mod put_off;
mod retry;
mod room;
mod shown;
mod straight;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::base::unwind::{Panicked, without_panic};
use crate::base::{Clock, Shutdown};
use crate::delivery::{Deliveries, Generation, Router, TlsNeed};
use crate::mail::{EnhancedStatusCode, ReversePath};
use crate::outcome::{Letterhead, Outcome};
use crate::queue::{
    Accepted, Binding, DeliveryId, Lease, LeasedDelivery, Next, Queue, QueuedMessage, Settlement,
    Skip,
};

pub use courier::{Again, Answers, Attempt, Courier, Fallback, Holding, Onward, Rulings, Then};
use destination::{Batch, Board, End, Now, Placed};
use in_hand::{Charge, InHand, Taking};
pub use room::Permit;
use room::Room;
pub use straight::Flight;
use straight::Runway;

/// The scheduler: one for each queue.
pub struct Scheduler;

impl Scheduler {
    /// Starts it. It ends with `shutdown`: it leases no more, lets attempts in flight settle for a
    /// while, and gives back the rest.
    pub fn start(
        queue: Queue,
        router: watch::Receiver<Arc<Router>>,
        deliveries: Deliveries,
        rulings: Rulings,
        clock: Clock,
        shutdown: Shutdown,
        letterhead: impl Into<Letterhead>,
    ) -> Handle {
        let mut reloads = router.clone();
        let onward = Arc::new(Onward {
            router,
            deliveries,
            rulings,
        });
        let handle = Self::start_with(queue, onward, clock, shutdown.clone(), letterhead);
        let shared = Arc::clone(&handle.shared);
        shutdown.clone().spawn(async move {
            while let Some(Ok(())) = shutdown.unless_begun(reloads.changed()).await {
                shared.reroute().await;
            }
        });
        handle
    }

    /// The same over any courier.
    pub fn start_with(
        queue: Queue,
        courier: Arc<dyn Courier>,
        clock: Clock,
        shutdown: Shutdown,
        letterhead: impl Into<Letterhead>,
    ) -> Handle {
        let connections = courier.connections();
        let shared = Arc::new(Shared {
            queue,
            courier,
            clock,
            letterhead: letterhead.into(),
            shutdown,
            board: Mutex::new(Board::new(connections)),
            in_hand: InHand::default(),
            wake: Notify::new(),
            hungry: AtomicBool::new(false),
            cut_off: CancellationToken::new(),
            room: Room::new(),
            leases: Arc::new(Semaphore::new(LEASES_MAX)),
            runway: Runway::default(),
        });
        shared.shutdown.spawn(Arc::clone(&shared).work());
        Handle { shared }
    }
}

/// The way to the scheduler for those who accept mail. Clones share it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Room for one more message of so many octets in hand; `None` if there is none, or the gateway is stopping: the
    /// message then waits in the queue. While mail goes out briskly it waits up to a second for it.
    pub async fn room(&self, octets: usize) -> Option<Permit> {
        match self.shared.shutdown.has_begun() {
            true => None,
            false => self.shared.room.take(octets).await,
        }
    }

    /// The same, if there is room now.
    pub fn reserve(&self, octets: usize) -> Option<Permit> {
        match self.shared.shutdown.has_begun() {
            true => None,
            false => self.shared.room.try_take(octets),
        }
    }

    /// Hands over a message that was accepted under a lease. Returns at once.
    pub fn offer(&self, permit: Permit, lease: Lease) {
        let shared = Arc::clone(&self.shared);
        let ids = lease.deliveries.iter().map(|one| one.id).collect();
        if self.shared.shutdown.has_begun() {
            self.shared
                .shutdown
                .spawn(async move { shared.give_back(ids).await });
            return;
        }
        shared.hand_out(lease, permit, Came::Offered);
    }

    /// Something may be due.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }
}

/// What the loop, the attempts and the handles share.
struct Shared {
    queue: Queue,
    courier: Arc<dyn Courier>,
    clock: Clock,
    letterhead: Letterhead,
    shutdown: Shutdown,
    board: Mutex<Board>,
    in_hand: InHand,
    wake: Notify,
    /// Whether the last lease left something behind for want of room.
    hungry: AtomicBool,
    /// The end of waiting for attempts in flight.
    cut_off: CancellationToken,
    room: Room,
    leases: Arc<Semaphore>,
    /// Where nothing is sent straight on for now.
    runway: Runway,
}

impl Shared {
    /// The loop. It outlasts a panic: nothing would go onward until somebody looks.
    async fn work(self: Arc<Self>) {
        let mut seen = self.clock.now();
        while !self.shutdown.has_begun() {
            let until = match without_panic(self.look(&mut seen)).await {
                Ok(until) => until,
                Err(Panicked) => {
                    error!("looking for what is due panicked");
                    Instant::now() + LOOK_EVERY
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.shutdown.begun() => {}
            }
        }
        self.drain().await;
    }

    /// Starts what may start now. Returns when to look again.
    async fn look(self: &Arc<Self>, seen: &mut Timestamp) -> Instant {
        *seen = self.look_at_the_clock(*seen).await;
        let next_ready = self.lease_what_is_due().await;
        self.start_paced();
        self.next_look(next_ready)
    }

    /// If the clock was set back since it was `seen`, what came while it was ahead must not wait for that time. Returns
    /// what counts as seen.
    async fn look_at_the_clock(&self, seen: Timestamp) -> Timestamp {
        let now = self.clock.now();
        if now + SET_BACK > seen {
            return now.max(seen);
        }
        match self.queue.bring_back().await {
            Ok(_) => now,
            Err(error) => {
                error!(%error, "the clock was set back, and what came before that could not be brought back yet");
                seen
            }
        }
    }

    /// Leases as long as something is due and there is room. Returns when the next is due.
    async fn lease_what_is_due(self: &Arc<Self>) -> Option<Timestamp> {
        loop {
            let room = self.leases.available_permits().min(LEASE_BATCH);
            let next_ready = match self.queue.next_ready().await {
                Ok(next) => next?,
                Err(error) => {
                    error!(%error, "the queue could not be asked for what is due");
                    return None;
                }
            };
            let now = self.clock.now();
            self.hungry
                .store(next_ready <= now && room == 0, Ordering::SeqCst);
            if next_ready > now || room == 0 || self.shutdown.has_begun() {
                return Some(next_ready);
            }
            match self.queue.lease(now, room, self.busy()).await {
                Ok(leases) if leases.is_empty() => return None,
                Ok(leases) => leases.into_iter().for_each(|lease| self.take(lease)),
                Err(error) => {
                    error!(%error, "nothing could be leased");
                    return None;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, lease: Lease) {
        match Arc::clone(&self.leases).try_acquire_owned() {
            Ok(permit) => {
                Arc::clone(self).hand_out(lease, Permit::of_lease(permit), Came::Leased);
            }
            // The loop leases no more than there are permits, and nobody else takes any.
            Err(_) => self.return_to_queue(lease.deliveries, self.clock.now()),
        }
    }

    /// What to pass over: recipients whose destination has enough in hand.
    fn busy(self: &Arc<Self>) -> Skip {
        let (shared, holder) = (Arc::clone(self), Arc::clone(self));
        let now = self.clock.now();
        Skip::when(move |path, binding| {
            let route = shared.courier.route(path, binding == Binding::Encryption);
            route.is_some_and(|route| shared.board().is_full(&route.destination(path), now))
        })
        .and_what_is_in_hand(move |delivery| holder.in_hand.holds(delivery))
    }

    /// Sorts the deliveries of a message by where they go, and starts what may start. What finds
    /// too many before it goes back into the queue.
    fn hand_out(self: Arc<Self>, lease: Lease, permit: Permit, came: Came) {
        let permit = Arc::new(permit);
        let taking = self.in_hand.take(lease.deliveries.iter().map(|one| one.id));
        let sorting = Charge::of(&self, Some(taking), &lease.deliveries);
        let (batches, unroutable) = self.sort(&lease, taking, &permit);
        let now = self.now();
        for batch in batches {
            self.put_on_board(batch, came, now);
        }
        // Each has somebody in charge of it now.
        drop(sorting);
        if !unroutable.is_empty() {
            let shared = Arc::clone(&self);
            self.shutdown.spawn(async move {
                let _charge = Charge::of(&shared, Some(taking), &unroutable);
                shared.settle_unroutable(&lease, unroutable).await;
                drop(permit);
            });
        }
    }

    fn put_on_board(self: &Arc<Self>, batch: Batch, came: Came, now: Now) {
        let is_scarce = self.leases.available_permits() < LEASES_MAX / 2;
        let mut board = self.board();
        let mut placed = Vec::with_capacity(1);
        for batch in board.split(batch) {
            let is_full = match came {
                // There was room for it.
                Came::Offered => false,
                Came::Leased => {
                    let waiting_max = board.leased_max(&batch.destination, is_scarce);
                    board.leased(&batch.destination) >= waiting_max
                }
            };
            placed.push(match is_full {
                true => Placed::Paused(batch, now.time),
                false => board.add(batch, now),
            });
        }
        drop(board);
        for one in placed {
            match one {
                Placed::Starts(batch) => self.start(batch),
                Placed::Waits => {}
                Placed::Shut(batch, why) => self.put_off(batch, why),
                Placed::Paused(batch, until) => self.return_to_queue(batch.deliveries, until),
            }
        }
    }

    /// Batches for attempts, and the deliveries that no route takes.
    fn sort(
        &self,
        lease: &Lease,
        taking: Taking,
        permit: &Arc<Permit>,
    ) -> (Vec<Batch>, Vec<LeasedDelivery>) {
        let mut batches: Vec<Batch> = Vec::with_capacity(1);
        let mut open: HashMap<(Generation, String, String, TlsNeed), usize> = HashMap::new();
        let mut unroutable = Vec::new();
        for delivery in lease.deliveries.iter().cloned() {
            let path = &delivery.recipient.forward_path;
            let Some(route) = self
                .courier
                .route(path, delivery.binding == Binding::Encryption)
            else {
                unroutable.push(delivery);
                continue;
            };
            let destination = route.destination(path);
            let need = match is_report_of_ours(&lease.message, &delivery) {
                true => TlsNeed::OwnReport,
                false => need(delivery.binding),
            };
            let key = (
                route.generation(),
                route.name.clone(),
                destination.clone(),
                need,
            );
            match open.get(&key) {
                Some(at) if batches[*at].deliveries.len() < batches[*at].limits.recipients => {
                    batches[*at].deliveries.push(delivery);
                }
                _ => {
                    open.insert(key, batches.len());
                    batches.push(Batch {
                        limits: route.limits(path),
                        priority: delivery.priority,
                        route,
                        destination,
                        need,
                        message: Arc::clone(&lease.message),
                        deliveries: vec![delivery],
                        taking: Some(taking),
                        until: lease.until,
                        is_trial: false,
                        permit: Arc::clone(permit),
                    });
                }
            }
        }
        (batches, unroutable)
    }

    /// Nothing takes these: an error of the settings must lose no mail. What must be encrypted is
    /// held, for nothing but a change of settings helps; the rest is tried again until its time is over.
    async fn settle_unroutable(&self, lease: &Lease, deliveries: Vec<LeasedDelivery>) {
        let (encrypt, others): (Vec<_>, Vec<_>) = deliveries
            .into_iter()
            .partition(|one| one.binding == Binding::Encryption);
        if !others.is_empty() {
            let outcome = Outcome::without_reply(
                EnhancedStatusCode::transient(4, 4),
                "no route takes this recipient",
            );
            let outcomes = vec![outcome; others.len()];
            self.settle(&lease.message, &others, outcomes, None, None)
                .await;
        }
        if encrypt.is_empty() {
            return;
        }
        let because = "must be encrypted, and no route for encryption is set up";
        let outcome = Outcome::without_reply(EnhancedStatusCode::transient(7, 5), because);
        let now = self.clock.now();
        let told = encrypt.iter().map(|one| (one, &outcome));
        let notice = self.held_notice(&lease.message, told, now);
        let settlements = encrypt.iter().map(|one| Settlement {
            delivery: one.id,
            outcome: outcome.clone(),
            next: Next::Held,
            delay_notified: false,
        });
        let notices = notice
            .into_iter()
            .map(|notice| Accepted::notice(notice, &self.letterhead))
            .collect();
        self.write(settlements.collect(), notices, now).await;
    }

    fn start(self: &Arc<Self>, batch: Batch) {
        self.shutdown.spawn(Arc::clone(self).run(batch));
    }

    fn start_paced(self: &Arc<Self>) {
        let paced = self.board().paced(Instant::now());
        paced.into_iter().for_each(|batch| self.start(batch));
    }

    /// An attempt has ended: its place is free. Returns when what has failed may be tried again, whatever the
    /// schedule says.
    fn finished(self: &Arc<Self>, end: &End<'_>) -> Option<Timestamp> {
        let ended = self.board().finished(end, self.now());
        ended.started.into_iter().for_each(|one| self.start(one));
        ended
            .shut
            .into_iter()
            .for_each(|(one, why)| self.put_off(one, why));
        for (batch, until) in ended.paused {
            self.return_to_queue(batch.deliveries, until);
        }
        if ended.is_back {
            self.recall(end.route, end.destination);
        }
        if ended.room {
            self.wake.notify_one();
        }
        ended.sooner
    }

    /// A message less in hand: the loop may go on leasing if it had to stop.
    fn one_less_in_hand(&self) {
        if self.leases.available_permits() >= LEASE_BATCH
            && self.hungry.swap(false, Ordering::SeqCst)
        {
            self.wake.notify_one();
        }
    }

    /// When to look again if nobody wakes the loop: another process may have changed the queue.
    fn next_look(&self, next_ready: Option<Timestamp>) -> Instant {
        let now = Instant::now();
        let ready = next_ready.map(|at| {
            let wait = Duration::try_from(at - self.clock.now()).unwrap_or_default();
            now + wait.clamp(LOOK_AT_LEAST, LOOK_EVERY)
        });
        let paced = self.board().next_paced(now);
        let look = now + LOOK_EVERY;
        [ready, paced]
            .into_iter()
            .flatten()
            .fold(look, Instant::min)
    }

    fn return_to_queue(self: &Arc<Self>, deliveries: Vec<LeasedDelivery>, at: Timestamp) {
        let shared = Arc::clone(self);
        let ids = deliveries.iter().map(|one| one.id).collect();
        self.shutdown.spawn(async move {
            shared.give_back_until(ids, at).await;
            // There may have been room since: who made it found nothing due. What is not to be tried yet costs a look.
            shared.wake.notify_one();
        });
    }

    async fn give_back(&self, deliveries: Vec<DeliveryId>) {
        self.give_back_until(deliveries, self.clock.now()).await;
    }

    /// Gives them back untried, not to be tried before a time.
    async fn give_back_until(&self, deliveries: Vec<DeliveryId>, at: Timestamp) {
        let given_back = self.queue.give_back(deliveries.clone(), at).await;
        if let Err(error) = given_back {
            error!(%error, "deliveries could not be given back: they are free when their lease ends");
        }
        self.in_hand.let_go(deliveries);
    }

    /// Routes or policy have changed: what waits for its turn is sorted again.
    async fn reroute(&self) {
        self.courier.reloaded();
        let waiting: Vec<DeliveryId> = self.board().drain().iter().flat_map(Batch::ids).collect();
        self.give_back(waiting).await;
        self.wake.notify_one();
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            time: self.clock.now(),
        }
    }

    /// Gives back what waits, and lets what is in flight settle for a while.
    async fn drain(self: &Arc<Self>) {
        let waiting: Vec<DeliveryId> = self.board().drain().iter().flat_map(Batch::ids).collect();
        info!(given_back = waiting.len(), "the scheduler is stopping");
        self.give_back(waiting).await;
        let shared = Arc::clone(self);
        // Not one of the tasks that the end waits for: it only ends their waiting.
        tokio::spawn(async move {
            tokio::time::sleep(DRAIN_MAX).await;
            shared.cut_off.cancel();
        });
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        // Nothing in a critical section can leave the board half changed.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a message came into the scheduler's hands.
#[derive(Clone, Copy)]
enum Came {
    Offered,
    Leased,
}

/// Whether the gateway wrote it to tell somebody of something. A fact of its row: any client can write a header that
/// looks like it.
fn is_report_of_ours(message: &QueuedMessage, delivery: &LeasedDelivery) -> bool {
    message.reverse_path == ReversePath::Null
        && delivery.is_our_own()
        && delivery.binding == Binding::Any
}

fn need(binding: Binding) -> TlsNeed {
    match binding {
        Binding::VerifiedTls => TlsNeed::Verified,
        Binding::Encryption => TlsNeed::Encryption,
        Binding::Any => TlsNeed::AsRoute,
    }
}

/// Messages in hand that were leased.
const LEASES_MAX: usize = 512;
/// Messages leased in one transaction.
const LEASE_BATCH: usize = 64;
/// Another process may change the queue: look at least this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A clock that is behind what it was by so much was ahead then.
const SET_BACK: Duration = Duration::from_secs(60 * 60);
/// Two looks are at least this far apart, whatever the clocks say.
const LOOK_AT_LEAST: Duration = Duration::from_millis(5);
/// How long attempts in flight may take to settle once the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(30);
