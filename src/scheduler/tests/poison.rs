//! Messages that a next hop cannot cope with keep nobody else's mail from it.

use super::*;

/// Five of them, and what each comes to.
async fn five(domain: &str) -> Running {
    let courier = Scripted {
        connections: 10,
        pause_hours: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    for number in 0..5 {
        let to = format!("poison{number}@{domain}");
        running.hand_off(accepted(&running.clock, &[&to])).await;
    }
    running.until("deferred", 5).await;
    running
}

#[tokio::test]
async fn a_next_hop_that_hangs_up_on_some_messages_gets_the_others() {
    let running = five("breaks.example").await;
    let good = accepted(&running.clock, &["good@breaks.example"]);
    running.hand_off(good).await;
    running.until("delivered", 1).await;
}

#[tokio::test]
async fn what_fails_one_trial_does_not_make_the_next_if_something_else_waits() {
    let running = five("silent.example").await;
    for _ in 0..3 {
        let good = accepted(&running.clock, &["good@silent.example"]);
        running.hand_off(good).await;
    }
    running.until("deferred", 8).await;
    let tried = |running: &Running| running.courier.asked().len();
    assert_eq!(tried(&running), 5, "the circuit is open");

    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();
    // The first of them makes the trial, and has the others called back.
    running.until("delivered", 3).await;
}

#[tokio::test]
async fn what_a_next_hop_closes_the_channel_on_is_tried_after_the_others_and_then_delays_nobody() {
    let courier = Scripted {
        pause_hours: 1,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    let come = async |who: &str| {
        let to = format!("{who}@grumbles.example");
        running.hand_off(accepted(&running.clock, &[&to])).await;
    };
    let pass = |seconds| {
        running.clock.advance(Duration::from_secs(seconds));
        running.handle.wake();
    };
    come("poison").await;
    running.until("deferred", 1).await;
    for _ in 0..3 {
        come("good").await;
    }
    // It may be busy, so nobody is tried for a moment; then the others are.
    pass(15);
    running.until("delivered", 3).await;
    assert_eq!(running.courier.asked().len(), 4, "not the first one");

    pass(1);
    running.until("deferred", 2).await;
    come("good").await;
    running.until("delivered", 4).await;
    // By its schedule from now on, not every half minute.
    pass(60);
    come("good").await;
    running.until("delivered", 5).await;
    assert_eq!(running.courier.asked().len(), 7);
}
