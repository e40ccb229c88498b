//! Nothing is tried twice at once, and nothing stays in hand for ever.

use super::*;

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
