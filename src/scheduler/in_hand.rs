//! Deliveries in hand: between their lease and their settlement. Whoever leases passes over them, whatever the clock says,
//! so that nothing is tried twice at once.
//!
//! A task that has some in its charge and panics, which is an error of this program, lets go of them and of its place at
//! the destination. It does not give them back: the next hop may have taken the message and what it said is lost, and
//! what panics once may do so each time. They are tried again when their lease in the queue ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use tracing::error;

use crate::delivery::TakenRoute;
use crate::queue::{DeliveryId, LeasedDelivery};

use super::Shared;
use super::answer::Answer;
use super::destination::{Batch, End};

/// All that is in hand, each delivery with the taking that it came by.
#[derive(Default)]
pub(super) struct InHand {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    by: HashMap<DeliveryId, Taking>,
    takings: u64,
}

/// Tells one taking of a delivery from a later one of the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Taking(u64);

impl InHand {
    /// Takes what was just leased.
    pub(super) fn take(&self, deliveries: impl IntoIterator<Item = DeliveryId>) -> Taking {
        let mut held = self.lock();
        held.takings += 1;
        let taking = Taking(held.takings);
        held.by
            .extend(deliveries.into_iter().map(|one| (one, taking)));
        taking
    }

    /// Whether a delivery is in hand.
    pub(super) fn holds(&self, delivery: DeliveryId) -> bool {
        self.lock().by.contains_key(&delivery)
    }

    /// They are settled, or given back.
    pub(super) fn let_go(&self, deliveries: impl IntoIterator<Item = DeliveryId>) {
        let mut held = self.lock();
        for delivery in deliveries {
            held.by.remove(&delivery);
        }
    }

    /// The same for those of them that are still in hand by this taking: what was settled may have been leased anew.
    /// Returns how many.
    fn drop_of(&self, taking: Taking, deliveries: &[DeliveryId]) -> usize {
        let mut held = self.lock();
        let before = held.by.len();
        for delivery in deliveries {
            if held.by.get(delivery) == Some(&taking) {
                held.by.remove(delivery);
            }
        }
        before - held.by.len()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing in a critical section can leave it half changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task has in its charge. Dropped in a panic it lets go of all of it; otherwise the task has seen to that.
pub(super) struct Charge {
    shared: Arc<Shared>,
    taking: Option<Taking>,
    deliveries: Vec<DeliveryId>,
    /// Its place at a destination, as long as it has one.
    place: Option<Place>,
}

/// A place at a destination, on the board.
struct Place {
    route: TakenRoute,
    destination: String,
    is_trial: bool,
}

impl Charge {
    /// Of deliveries, if they are in hand: those of a message that is in no queue are not.
    pub(super) fn of(
        shared: &Arc<Shared>,
        taking: Option<Taking>,
        deliveries: &[LeasedDelivery],
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            taking,
            deliveries: deliveries.iter().map(|one| one.id).collect(),
            place: None,
        }
    }

    /// Of a batch that was started, with its place.
    pub(super) fn of_attempt(shared: &Arc<Shared>, batch: &Batch) -> Self {
        let place = Place {
            route: batch.route.clone(),
            destination: batch.destination.clone(),
            is_trial: batch.is_trial,
        };
        let mut charge = Self::of(shared, batch.taking, &batch.deliveries);
        charge.place = Some(place);
        charge
    }

    /// The attempt has ended: its place is free. As [`Shared::finished`].
    pub(super) fn finished(&mut self, end: &End<'_>) -> Option<Timestamp> {
        self.place.take()?;
        self.shared.finished(end)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        if let Some(place) = self.place.take() {
            let nothing = End {
                destination: &place.destination,
                route: &place.route,
                was_trial: place.is_trial,
                message: None,
                answer: Answer::Nothing,
                because: String::new(),
                took: 0,
                tried: false,
            };
            self.shared.finished(&nothing);
        }
        let in_hand = &self.shared.in_hand;
        let dropped = self
            .taking
            .map(|one| in_hand.drop_of(one, &self.deliveries));
        error!(
            deliveries = dropped.unwrap_or_default(),
            "work on deliveries panicked: they are tried again when their lease ends"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_breaks_off_does_not_let_go_of_what_another_has_leased_since() {
        let in_hand = InHand::default();
        let (one, two) = (DeliveryId(1), DeliveryId(2));
        let first = in_hand.take([one, two]);
        in_hand.let_go([one]);
        in_hand.take([one]);
        assert_eq!(in_hand.drop_of(first, &[one, two]), 1);
        assert!(in_hand.holds(one));
        assert!(!in_hand.holds(two));
    }
}
