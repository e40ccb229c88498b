//! Attempts while a client waits, and what becomes of those that go into the queue after all.

use super::*;
use crate::mail::Notify;
use crate::outcome::DeliveryResult;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

impl Running {
    fn fly(&self, to: &[&str]) -> Option<Flight> {
        self.handle.fly(&accepted(&self.clock, to))
    }

    /// Queues the message of a flight under a lease, as ingress does.
    async fn queue_it(&self, to: &[&str]) -> Lease {
        let until = Handoff::LeaseUntil(self.clock.now() + LEASE);
        let lease = self.queue.accept(accepted(&self.clock, to), until).await;
        lease.unwrap().unwrap()
    }

    async fn until_empty(&self) {
        let empty = async {
            while !self.states().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, empty).await.unwrap();
    }
}

#[tokio::test]
async fn the_next_hops_word_for_each_recipient_is_there_and_nothing_is_queued() {
    let running = Running::start().await;
    for (to, delivered) in [("a@ok.example", true), ("a@never.example", false)] {
        let mut flight = running.fly(&[to, to]).unwrap();
        let outcomes = flight.land(LONG).await.unwrap().to_vec();
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            let taken = matches!(outcome.result, DeliveryResult::Delivered { .. });
            assert_eq!(taken, delivered);
        }
        flight.conclude();
    }
    assert_eq!(running.kinds().await, [""; 0]);
    assert_eq!(running.states().await, []);
}

/// A slow attempt is not cut off and not repeated: its message is queued, and the attempt settles it.
#[tokio::test]
async fn a_slow_attempt_settles_the_message_that_was_queued_meanwhile() {
    let running = Running::start().await;
    let to = ["a@slow.example"];
    let mut flight = running.fly(&to).unwrap();
    assert_eq!(flight.land(Duration::ZERO).await, None);
    let lease = running.queue_it(&to).await;
    flight.adopt(lease, None);
    running.until("delivered", 1).await;
    running.until_empty().await;
    assert_eq!(running.courier.carried_to(), to);
}

#[tokio::test]
async fn what_the_next_hop_said_is_settled_as_after_any_attempt() {
    let running = Running::start().await;
    let to = ["a@later.example"];
    let mut flight = running.fly(&to).unwrap();
    let known = flight.land(LONG).await.map(<[Outcome]>::to_vec);
    let lease = running.queue_it(&to).await;
    flight.adopt(lease, known);
    running.until("deferred", 1).await;
    assert_eq!(running.courier.carried_to(), to);
    let waiting = running.queue.list(Filter::default()).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].attempts), (1, 1));
    assert_eq!(waiting[0].state, State::Due);
}

#[tokio::test]
async fn what_goes_several_ways_or_may_not_go_on_does_not_fly() {
    let running = Running::start().await;
    assert!(running.fly(&["a@ok.example", "b@other.example"]).is_none());
    assert!(running.fly(&["a@nowhere.example"]).is_none());
    type Change = fn(&mut NewDelivery);
    let changes: [Change; 4] = [
        |one| one.standing = Standing::Held,
        |one| one.binding = Binding::Encryption,
        |one| one.binding = Binding::VerifiedTls,
        |one| one.recipient.notify = Notify::parse("SUCCESS"),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let mut message = accepted(&running.clock, &["a@ok.example", "b@ok.example"]);
        change(&mut message.deliveries[1]);
        assert!(running.handle.fly(&message).is_none(), "{nth}");
    }
    // Decided while it was still secure.
    let mut message = accepted(&running.clock, &["a@lapsed.example"]);
    message.deliveries[0].binding = Binding::VerifiedTls;
    assert!(running.handle.fly(&message).is_none());
    running.shutdown.begin();
    assert!(running.fly(&["a@ok.example"]).is_none());
    assert_eq!(running.courier.asked(), []);
}

/// What came in slowly may have been decided about by a policy that a reload has replaced.
#[tokio::test]
async fn what_another_policy_decided_about_than_is_in_force_does_not_fly() {
    let running = Running::start().await;
    let decided_by = |mark| decided_by(mark, &running.clock, &["a@ok.example"]);
    assert!(running.handle.fly(&decided_by(7)).is_none());
    assert!(running.handle.fly(&decided_by(0)).is_some());
    running.courier.policy.store(7, Ordering::SeqCst);
    running.handle.shared.reroute().await;
    assert!(running.handle.fly(&decided_by(0)).is_none());
    assert!(running.handle.fly(&decided_by(7)).is_some());
}

#[tokio::test]
async fn a_flight_takes_a_place_of_its_destination_and_gives_it_back() {
    let running = Running::start().await;
    // Two connections, as the route says.
    let flights = [1, 2].map(|_| running.fly(&["a@hang.example"]).unwrap());
    assert!(running.fly(&["a@hang.example"]).is_none());
    assert!(running.fly(&["a@ok.example"]).is_some());
    drop(flights);
    for _ in 0..5 {
        let mut flight = running.fly(&["a@good.example"]).unwrap();
        assert!(flight.land(LONG).await.is_some());
    }
}

#[tokio::test]
async fn nobody_waits_again_at_once_for_a_next_hop_that_kept_somebody_waiting() {
    let running = Running::start().await;
    let mut flight = running.fly(&["a@hang.example"]).unwrap();
    assert_eq!(flight.land(Duration::ZERO).await, None);
    assert!(running.fly(&["b@hang.example"]).is_none());
    let mut broken = running.fly(&["a@panic.example"]).unwrap();
    let outcomes = broken.land(LONG).await.unwrap();
    assert_eq!(outcomes[0].result, DeliveryResult::Transient);
    assert!(running.fly(&["b@panic.example"]).is_none());
    assert!(running.fly(&["a@ok.example"]).is_some());
    // What this next hop cannot have is no word about its pace.
    let mut refused = running.fly(&["a@small.example"]).unwrap();
    let outcomes = refused.land(LONG).await.unwrap();
    assert_eq!(outcomes[0].result, DeliveryResult::Permanent);
    assert!(running.fly(&["b@small.example"]).is_some());
}

#[tokio::test]
async fn nothing_flies_while_nothing_can_be_written_down() {
    let running = Running::start().await;
    running.handle.cannot_write();
    assert!(running.fly(&["a@ok.example"]).is_none());
    running.handle.writes_again();
    assert!(running.fly(&["a@ok.example"]).is_some());
}

#[tokio::test]
async fn numbers_of_patients_are_taken_out_of_what_is_passed_on() {
    let running = Running::start().await;
    for patient_data in [true, false] {
        let mut message = accepted(&running.clock, &["a@ok.example"]);
        message.patient_data = patient_data;
        let mut flight = running.handle.fly(&message).unwrap();
        let word = "no mail about 450 557 7104 here";
        let status = EnhancedStatusCode::permanent(7, 1);
        let (tell, landing) = tokio::sync::oneshot::channel();
        tell.send(vec![Outcome::from_reply(
            Reply::new(550, status, word),
            "mx.example",
            false,
        )])
        .unwrap();
        flight.replace_landing(landing);
        let said = flight.land(LONG).await.unwrap()[0].text();
        assert_eq!(said, "550 5.7.1 no mail about *** *** **** here");
    }
}
