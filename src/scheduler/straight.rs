//! Straight through: one attempt for a message that is in no queue, while its client waits.
//!
//! It is an attempt like any other: of the same route and need, in a place of its destination on the board, bounded in
//! time, counted. Only what follows is another's to say. Who began it waits for as long as it likes; then either
//! the next hop has decided, or the message goes into the queue and the attempt, ended or still under way, becomes
//! that of its lease ([`Flight::adopt`]): what the next hop has taken in the meantime is not sent to it again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::base::metrics;
use crate::delivery::{Limits, TakenRoute, TlsNeed};
use crate::mail::Notify;
use crate::outcome::{DeliveryResult, Outcome};
use crate::queue::{
    Accepted, Binding, DeliveryId, Lease, LeasedDelivery, MessageId, Next, QueuedMessage, Standing,
};

use super::attempt::{answers, end, say};
use super::destination::Batch;
use super::in_hand::Charge;
use super::{Handle, Permit, Shared, need};

/// An attempt for a message that is in no queue.
pub struct Flight {
    shared: Arc<Shared>,
    message: Arc<QueuedMessage>,
    route: TakenRoute,
    destination: String,
    /// `None` once it has come, or never will.
    landing: Option<oneshot::Receiver<Vec<Outcome>>>,
    /// What came of it, once that is known.
    landed: Option<Vec<Outcome>>,
    /// When what has failed may be tried again, whatever the schedule says.
    sooner: Arc<OnceLock<Timestamp>>,
    permit: Arc<Permit>,
}

impl Handle {
    /// Starts an attempt for a message that nobody has written down. `None` if it cannot go straight on: what is held
    /// or goes several ways, what a report is asked for of, a route that is not for it, a next hop that has enough in
    /// hand or has just kept somebody waiting, a gateway that is stopping.
    pub fn fly(&self, accepted: &Accepted) -> Option<Flight> {
        let shared = &self.shared;
        let (route, destination) = shared.one_way(accepted)?;
        if !shared.runway.is_open(&destination) {
            return None;
        }
        let permit = Arc::new(self.reserve(accepted.message.len())?);
        let limits = route.limits(&accepted.deliveries.first()?.recipient.forward_path);
        if accepted.deliveries.len() > limits.recipients {
            return None;
        }
        let batch = batch(accepted, &route, &destination, limits, &permit);
        if !shared.board().claim(&batch, shared.now()) {
            return None;
        }
        let message = Arc::clone(&batch.message);
        let (tell, landing) = oneshot::channel();
        let sooner = Arc::new(OnceLock::new());
        let flying = Arc::clone(shared).fly(batch, tell, Arc::clone(&sooner));
        shared.shutdown.spawn(flying);
        metrics::STRAIGHT_BEGUN.add(1);
        Some(Flight {
            shared: Arc::clone(shared),
            message,
            route,
            destination,
            landing: Some(landing),
            landed: None,
            sooner,
            permit,
        })
    }

    /// From now on nothing is sent straight on: what came of it could not be written down, and each try of the
    /// client would be one more copy. [`Handle::writes_again`] ends this.
    pub fn cannot_write(&self) {
        self.shared.runway.closed.store(true, Ordering::SeqCst);
    }

    /// The queue takes mail.
    pub fn writes_again(&self) {
        self.shared.runway.closed.store(false, Ordering::SeqCst);
    }
}

impl Flight {
    /// What came of it, one outcome for each delivery in their order, with numbers of patients taken out of the next
    /// hop's words; `None` if that is not known after `wait`.
    pub async fn land(&mut self, wait: Duration) -> Option<&[Outcome]> {
        if let Some(landing) = &mut self.landing {
            let Ok(landed) = timeout(wait, landing).await else {
                self.shared.runway.rest(&self.destination);
                return None;
            };
            self.landing = None;
            let outcomes = landed.ok()?;
            // What is refused for a reason of ours kept nobody waiting.
            let is_decided =
                |one: &Outcome| answers(one) || one.result == DeliveryResult::Permanent;
            if !outcomes.iter().any(is_decided) {
                self.shared.runway.rest(&self.destination);
            }
            self.landed = Some(outcomes.into_iter().map(Outcome::redacted).collect());
        }
        self.landed.as_deref()
    }

    /// Counts and logs what came of it, for a message that does not go into the queue.
    pub fn conclude(self) {
        for outcome in self.landed.iter().flatten() {
            let next = match outcome.result {
                DeliveryResult::Delivered { .. } => Next::Delivered,
                _ => Next::Failed,
            };
            say(&self.message, outcome, next);
        }
        metrics::STRAIGHT_THROUGH.add(1);
    }

    /// The message is in the queue now, leased: the attempt is that of its deliveries, which are those that are due,
    /// in their order. `known`: what came of each of them, if that is known. Returns at once.
    pub fn adopt(self, lease: Lease, known: Option<Vec<Outcome>>) {
        let shared = Arc::clone(&self.shared);
        let ids: Vec<DeliveryId> = lease.deliveries.iter().map(|one| one.id).collect();
        let taking = shared.in_hand.take(ids.iter().copied());
        let tracker = shared.shutdown.clone();
        tracker.spawn(async move {
            let _charge = Charge::of(&shared, Some(taking), &lease.deliveries);
            let outcomes = match (known.or(self.landed), self.landing) {
                (None, Some(landing)) => landing.await.ok(),
                (known, _) => known,
            };
            match outcomes {
                Some(outcomes) if outcomes.len() == lease.deliveries.len() => {
                    let (message, deliveries) = (&lease.message, &lease.deliveries);
                    let (route, sooner) = (Some(&*self.route), self.sooner.get().copied());
                    shared
                        .settle(message, deliveries, outcomes, route, sooner)
                        .await;
                }
                _ => shared.give_back(ids).await,
            }
            drop(self.permit);
            shared.one_less_in_hand();
        });
    }
}

impl Shared {
    /// The one way that all recipients of a message go, if there is one that may be gone straight on.
    fn one_way(&self, accepted: &Accepted) -> Option<(TakenRoute, String)> {
        let deliveries = &accepted.deliveries;
        let now = self.clock.now();
        let mut way: Option<(TakenRoute, String)> = None;
        for delivery in deliveries {
            let path = &delivery.recipient.forward_path;
            let may_go = delivery.standing == Standing::Due
                && delivery.binding == deliveries[0].binding
                && delivery.binding != Binding::Encryption
                // Whose success is to be reported needs the queue's books.
                && !Notify::on_success(delivery.recipient.notify)
                // Decided by the policy of the transaction; the one in force may know better.
                && (delivery.binding != Binding::VerifiedTls
                    || self.courier.may_have_patient_data(path, now));
            if !may_go {
                return None;
            }
            let route = self.courier.route(path, false)?;
            let destination = route.destination(path);
            match &way {
                Some((known, to)) if !is_one(known, &route) || *to != destination => return None,
                Some(_) => {}
                None => way = Some((route, destination)),
            }
        }
        // Where another policy decided than is in force by now: by way of the queue it is asked again.
        way.filter(|(route, _)| {
            route.straight_through && self.is_in_force(accepted.handling.policy)
        })
    }

    /// Makes the attempt and gives its place back. When the gateway waits no longer, nothing came of it.
    async fn fly(
        self: Arc<Self>,
        batch: Batch,
        tell: oneshot::Sender<Vec<Outcome>>,
        sooner: Arc<OnceLock<Timestamp>>,
    ) {
        let mut charge = Charge::of_attempt(&self, &batch);
        let outcomes = tokio::select! {
            outcomes = self.attempt(&batch) => Some(outcomes),
            () = self.cut_off.cancelled() => None,
        };
        let end = end(&batch, outcomes.as_deref().unwrap_or_default());
        if let Some(at) = charge.finished(&end) {
            let _ = sooner.set(at); // it is asked for once
        }
        if let Some(outcomes) = outcomes {
            // Nobody listens where the session broke off: the client was told nothing.
            let _ = tell.send(outcomes);
        }
    }
}

/// Whether both are the same route of the same settings: a reload may come between two recipients.
fn is_one(first: &TakenRoute, other: &TakenRoute) -> bool {
    first.name == other.name && first.generation() == other.generation()
}

/// The attempt of a message that has no name in the queue yet: its deliveries are numbered by their places.
fn batch(
    accepted: &Accepted,
    route: &TakenRoute,
    destination: &str,
    limits: Limits,
    permit: &Arc<Permit>,
) -> Batch {
    let message = Accepted {
        events: Vec::new(),
        old_names: Vec::new(),
        deliveries: Vec::new(),
        ..accepted.clone()
    };
    let deliveries = accepted.deliveries.iter().zip(0..);
    Batch {
        limits,
        priority: accepted.handling.priority,
        until: Timestamp::MAX, // it is in nobody's queue yet
        is_trial: false,
        route: route.clone(),
        destination: destination.to_owned(),
        need: accepted
            .deliveries
            .first()
            .map_or(TlsNeed::AsRoute, |one| need(one.binding)),
        message: Arc::new(message.into_queued(MessageId(0))),
        deliveries: deliveries
            .map(|(delivery, place)| LeasedDelivery {
                id: DeliveryId(place),
                recipient: delivery.recipient.clone(),
                binding: delivery.binding,
                attempts: 0,
                delay_notified: false,
                priority: accepted.handling.priority,
                policy: accepted.handling.policy,
                released_at: None,
            })
            .collect(),
        taking: None,
        permit: Arc::clone(permit),
    }
}

/// Where nothing is sent straight on for now.
#[derive(Default)]
pub(super) struct Runway {
    /// Nowhere: what comes of it cannot be written down.
    closed: AtomicBool,
    /// Destinations that kept somebody waiting for nothing, and until when clients are not made to wait for them.
    resting: Mutex<HashMap<String, Instant>>,
}

impl Runway {
    fn is_open(&self, destination: &str) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = resting
            .get(destination)
            .is_some_and(|until| Instant::now() < *until);
        !rests && !self.closed.load(Ordering::SeqCst)
    }

    fn rest(&self, destination: &str) {
        let now = Instant::now();
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        if resting.len() >= RESTING_MAX {
            resting.retain(|_, until| now < *until);
        }
        // Of more than that the others are found out by waiting.
        if resting.len() < RESTING_MAX {
            resting.insert(destination.to_owned(), now + REST);
        }
    }
}

/// How long a next hop that did not answer in time is left to the queue.
const REST: Duration = Duration::from_secs(30);
/// Destinations that rest at once.
const RESTING_MAX: usize = 10_000;

#[cfg(test)]
impl Flight {
    /// From now on this is what comes of it.
    pub(super) fn replace_landing(&mut self, landing: oneshot::Receiver<Vec<Outcome>>) {
        self.landing = Some(landing);
    }
}
