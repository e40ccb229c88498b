//! Nothing is tried twice at once, and nothing stays in hand for ever.

use super::*;
use crate::queue::destinations::{self, KeptBy};

#[tokio::test]
async fn what_is_in_hand_is_not_tried_again_beside_it_when_its_lease_ends() {
    let running = Running::with(Scripted::default(), &["x@hang.example"; 2]).await;
    running
        .hand_off(accepted(&running.clock, &["h@hang.example"]))
        .await;
    running
        .hand_off(accepted(&running.clock, &["first@ok.example"]))
        .await;
    running.until("delivered", 1).await;

    // The clock jumps, or a turn is waited for longer than a lease lasts.
    running.clock.advance(2 * LEASE);
    for _ in 0..3 {
        let marker = accepted(&running.clock, &["y@ok.example"]);
        running.queue.accept(marker, Handoff::None).await.unwrap();
        running.handle.wake();
    }
    running.until("delivered", 4).await;

    // What is delivered lets go of its lease a moment after its event can be read; what is leased twice does not.
    let free = || running.handle.shared.leases.available_permits();
    let met = async {
        while free() < LEASES_MAX - 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let met = tokio::time::timeout(Duration::from_secs(30), met).await;
    assert!(met.is_ok(), "leased twice: {} are free", free());
}

#[tokio::test]
async fn a_lease_that_is_over_when_its_turn_comes_is_not_used() {
    let running = Running::start().await;
    let permit = running.handle.reserve(1_000).unwrap();
    let now = running.clock.now();
    let stale = accepted(&running.clock, &["stale@ok.example"]);
    let stale = running.queue.accept(stale, Handoff::LeaseUntil(now)).await;
    let stale = stale.unwrap().unwrap();
    // Somebody else had it since, and holds it.
    let held = Settlement {
        delivery: stale.deliveries[0].id,
        outcome: Outcome::without_reply(EnhancedStatusCode::transient(7, 0), "held"),
        next: Next::Held,
        delay_notified: false,
    };
    running.queue.settle(vec![held], vec![]).await.unwrap();

    running.handle.offer(permit, stale);
    let marker = accepted(&running.clock, &["y@ok.example"]);
    running.hand_off(marker).await;
    running.until("delivered", 1).await;

    let left = running.states().await;
    assert_eq!(left, [("stale@ok.example".to_owned(), State::Held)]);
}

/// Seven messages, and one connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_as_under_way_are_attempts_and_not_what_is_in_hand() {
    let courier = Scripted {
        connections: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &["x@hang.example"; 7]).await;
    let data = running._folder.path();
    running.handle.show_in(data);
    let file = destinations::file(data);
    let shown = async {
        loop {
            let shown = destinations::read(&file).unwrap();
            let states = shown.map(|(_, states)| states).unwrap_or_default();
            match states.into_iter().next() {
                Some(state) if state.kept_by == KeptBy::Limit => return state,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let shown = tokio::time::timeout(Duration::from_secs(30), shown).await;
    let state = shown.unwrap();

    assert_eq!((state.under_way, state.at_once), (1, 1));
    let leased = running.queue.count().await.unwrap()["leased"];
    assert!(leased > 1, "{leased}");
    assert!(destinations::is_shown(data));
}
