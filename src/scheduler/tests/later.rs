//! What could not go at once: when it is tried again, and who hears of it.

use super::*;

#[tokio::test]
async fn a_deferred_message_is_tried_again_when_it_is_due_and_then_delivered() {
    let running = Running::start().await;
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    running.until("deferred", 1).await;
    running.courier.recovered.store(true, Ordering::SeqCst);
    running.handle.wake();
    assert_eq!(running.states().await[0].1, State::Due);

    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();

    running.until("delivered", 1).await;
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_set_right_keeps_nothing_waiting() {
    let running = Running::start().await;
    let right = running.clock.now();
    running
        .hand_off(accepted(&running.clock, &["a@ok.example"]))
        .await;
    running.until("delivered", 1).await;
    let day = Duration::from_secs(24 * 3_600);
    running.clock.advance(30 * day);
    running.handle.wake();
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    running.until("deferred", 1).await;

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.set(right + Duration::from_secs(60));
    running.handle.wake();

    running.until("delivered", 2).await;
}

#[tokio::test]
async fn the_sender_hears_once_that_it_is_late_and_once_that_it_is_given_up() {
    let running = Running::start().await;
    running
        .hand_off(accepted(&running.clock, &["a@later.example"]))
        .await;
    for attempt in 1..=4 {
        running.until("deferred", attempt).await;
        running.clock.advance(Duration::from_secs(30));
        running.handle.wake();
    }
    running.until("expired", 1).await;
    running.until("delivered", 2).await;

    let kinds = running.kinds().await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "notified").count(), 2);
}

/// Held for ten minutes, where all is given up after two.
#[tokio::test]
async fn what_a_person_lets_go_on_is_tried_for_as_long_as_what_has_just_come() {
    let running = Running::start().await;
    let mut held = accepted(&running.clock, &["a@later.example"]);
    held.deliveries[0].standing = Standing::Held;
    running.queue.accept(held, Handoff::None).await.unwrap();
    running.clock.advance(Duration::from_secs(600));
    let release = Order::ReleaseHeld {
        reason: "agreed".to_owned(),
    };
    let released = running.queue.administer(Selection::All, release, "root");
    released.await.unwrap();
    running.handle.wake();

    for attempt in 1..=4 {
        running.until("deferred", attempt).await;
        // Who sent it hears of the delay after a minute of it.
        let told = usize::from(attempt >= 3);
        let kinds = running.kinds().await;
        let notified = kinds.iter().filter(|kind| *kind == "notified").count();
        assert_eq!(notified, told, "{kinds:?}");
        running.clock.advance(Duration::from_secs(30));
        running.handle.wake();
    }
    running.until("expired", 1).await;
    running.until("delivered", 2).await;
}
