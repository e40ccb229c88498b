//! Next hops that are away, want less, or want fewer recipients.

use super::*;

/// The circuit in a courier's world: pauses of an hour, so that nothing comes back by the schedule.
fn slow_to_retry() -> Scripted {
    Scripted {
        pause_hours: 1,
        ..Scripted::default()
    }
}

#[tokio::test]
async fn a_next_hop_that_is_away_is_left_alone_and_all_its_mail_goes_when_it_is_back() {
    let running = Running::with(slow_to_retry(), &["x@away.example"; 60]).await;
    running.until("deferred", 60).await;
    let tried = running.courier.asked().len();
    assert!(
        (5..=12).contains(&tried),
        "{tried} attempts for 60 messages"
    );
    let list = running.queue.list(Filter::default()).await.unwrap();
    let not_tried = |one: &&crate::queue::Waiting| {
        let reply = one.last_reply.as_deref().unwrap_or_default();
        reply.starts_with("not tried: nobody is there since 2026-11-21T10:00:00Z")
    };
    assert_eq!(list.iter().filter(not_tried).count(), 60 - tried);

    // Still away: one message finds that out, and nothing else is tried.
    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();
    running.until("deferred", 61).await;
    assert_eq!(running.courier.asked().len(), tried + 1);

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(60));
    running.handle.wake();
    running.until("delivered", 60).await;
    assert_eq!(running.states().await, []);
}

#[tokio::test]
async fn what_comes_for_a_next_hop_that_is_away_is_put_off_and_expires_in_its_time() {
    let running = Running::with(slow_to_retry(), &["x@away.example"; 10]).await;
    running.until("deferred", 10).await;
    let tried = running.courier.asked().len();

    running
        .hand_off(accepted(&running.clock, &["late@away.example"]))
        .await;
    running.until("deferred", 11).await;
    assert_eq!(running.courier.asked().len(), tried, "without an attempt");

    for _ in 0..24 {
        running.clock.advance(Duration::from_secs(3_600));
        running.handle.wake();
        tokio::task::yield_now().await;
    }
    running.until("expired", 11).await;
}

#[tokio::test]
async fn a_next_hop_that_wants_less_is_left_alone_for_a_while() {
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    running.until("deferred", 1).await;
    running
        .hand_off(accepted(&running.clock, &["y@ok.example"]))
        .await;
    running.until("delivered", 1).await;
    let asked = || {
        let asked = running.courier.carried_to();
        asked.iter().filter(|to| to.contains("busy")).count()
    };
    let at_first = asked();
    assert!(at_first <= 4, "{at_first} attempts, two at once");

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(16));
    running.handle.wake();
    running.until("delivered", 21).await;
}

#[tokio::test]
async fn what_waits_for_a_next_hop_that_wants_nothing_is_reported_as_late_and_expires_in_its_time()
{
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    running.until("deferred", 1).await;
    // A pause is ten minutes at most: each ends a few times before the next hour is over.
    for _ in 0..6 * 24 {
        running.clock.advance(Duration::from_secs(600));
        running.handle.wake();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.until("expired", 20).await;
    // Each sender heard of the delay, and then of the end.
    running.until("notified", 40).await;
}

#[tokio::test]
async fn what_was_put_off_goes_when_a_next_hop_that_wanted_nothing_takes_mail_again() {
    let running = Running::with(slow_to_retry(), &["x@busy.example"; 20]).await;
    for _ in 0..20 {
        running.clock.advance(Duration::from_secs(60));
        running.handle.wake();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.until("deferred", 20).await;

    running.courier.recovered.store(true, Ordering::SeqCst);
    running.clock.advance(Duration::from_secs(600));
    running.handle.wake();
    running.until("delivered", 20).await;
}

#[tokio::test]
async fn the_rest_of_too_many_recipients_follows_and_the_number_is_kept_to() {
    let running = Running::with(slow_to_retry(), &[]).await;
    let to: Vec<String> = (0..6).map(|i| format!("r{i}@few.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    running.hand_off(accepted(&running.clock, &to)).await;
    running.until("delivered", 2).await;
    running.until("deferred", 4).await;

    running.clock.advance(Duration::from_secs(1));
    running.handle.wake();
    running.until("delivered", 6).await;

    let sizes: Vec<usize> = running.courier.asked().iter().map(|a| a.1.len()).collect();
    assert_eq!(sizes, [6, 2, 2]);
}

/// What a next hop had to the last octet it may have taken: it is not asked again before the time.
#[tokio::test]
async fn what_may_be_there_already_keeps_its_pause_whatever_else_is_tried_early() {
    let running = Running::with(slow_to_retry(), &["x@swallows.example"; 8]).await;
    running.until("deferred", 8).await;
    let tried = running.courier.asked().len();
    let list = running.queue.list(Filter::default()).await.unwrap();
    let reply = |one: &crate::queue::Waiting| one.last_reply.clone().unwrap_or_default();
    let in_doubt: Vec<_> = list
        .into_iter()
        .filter(|one| reply(one) == "it may be there already: lost")
        .collect();
    assert_eq!(in_doubt.len(), tried);
    for one in in_doubt {
        let at: Timestamp = one.next_attempt_at.unwrap().parse().unwrap();
        let pause = at - running.clock.now();
        assert!(Duration::try_from(pause).unwrap() >= Duration::from_secs(3_600));
    }
}
