//! A panic costs what was at work alone.

use super::*;

#[tokio::test]
async fn an_attempt_that_panics_is_one_more_failure_that_may_go_by() {
    let running = Running::start().await;
    running
        .hand_off(accepted(
            &running.clock,
            &["a@panic.example", "b@ok.example"],
        ))
        .await;
    running.until("delivered", 1).await;
    running.until("deferred", 1).await;
}

/// They are tried again when their lease ends and not before.
#[tokio::test]
async fn deliveries_of_a_settlement_that_panics_are_not_in_hand_for_ever() {
    let running = Running::start().await;
    for _ in 0..3 {
        let message = accepted(&running.clock, &["muddled@ok.example", "b@other.example"]);
        running.hand_off(message).await;
    }
    running.until("delivered", 3).await;
    running.until_panics(3).await;

    let of_him = || {
        let carried = running.courier.carried_to();
        carried
            .iter()
            .filter(|to| to.starts_with("muddled"))
            .count()
    };
    assert_eq!(of_him(), 3, "their leases last");

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(LEASE);
    running.handle.wake();
    running.until("delivered", 6).await;
    assert_eq!(of_him(), 6);
    assert_eq!(running.states().await, []);
}

/// Before the attempt: where it is judged again.
#[tokio::test]
async fn work_that_panics_keeps_no_place_at_the_destination() {
    let running = Running::start().await;
    for _ in 0..3 {
        let by_another = decided_by(7, &running.clock, &["muddled@ok.example"]);
        running.hand_off(by_another).await;
    }
    // More than the two connections that the destination has.
    running.until_panics(3).await;
    let message = accepted(&running.clock, &["a@ok.example"]);
    running.hand_off(message).await;
    running.until("delivered", 1).await;
}

/// In the writer, which asks what to pass over, in the loop, and where the settlement asks for the encryption route.
#[tokio::test]
async fn wherever_the_courier_panics_mail_goes_on() {
    for nth in 1..5 {
        let courier = Scripted {
            route_panics_at: nth,
            ..Scripted::default()
        };
        let running = Running::with(courier, &["a@later.example"]).await;
        running.until_panics(1).await;
        running.courier.recovered.store(true, Ordering::SeqCst);
        running.clock.advance(LEASE);
        running.handle.wake();
        running.until("delivered", 1).await;
    }
}

/// Its place and its deliveries do not stay taken.
#[tokio::test]
async fn a_policy_that_panics_when_it_is_asked_again_puts_the_message_off_and_holds_up_nobody() {
    let running = Running::start().await;
    for _ in 0..3 {
        let by_another = decided_by(7, &running.clock, &["panic@ok.example"]);
        running.hand_off(by_another).await;
    }
    running.until("deferred", 3).await;

    // More than the two connections that the destination has.
    let message = accepted(&running.clock, &["a@ok.example"]);
    running.hand_off(message).await;
    running.until("delivered", 1).await;
    assert_eq!(running.courier.carried_to(), ["a@ok.example"]);
}
