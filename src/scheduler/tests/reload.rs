//! Routes and policy that change while mail waits.

use super::*;

#[tokio::test]
async fn what_waits_for_its_turn_goes_by_the_new_routes_after_a_reload() {
    let running = Running::with(Scripted::default(), &["x@hang.example"; 12]).await;
    while running.courier.asked().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    running.courier.moved.store(true, Ordering::SeqCst);
    running.handle.shared.reroute().await;

    running.until("delivered", 10).await;
}

#[tokio::test]
async fn a_changed_policy_is_asked_again_before_what_it_did_not_decide_about_goes() {
    let running = Running::start().await;
    let to = [
        "a@ok.example",
        "forbidden@ok.example",
        "tls@ok.example",
        "encrypt@ok.example",
        "unknown@ok.example",
    ];

    running.hand_off(decided_by(7, &running.clock, &to)).await;
    running.until("held", 1).await;
    // Three of them, and the notice of the hold.
    running.until("delivered", 4).await;

    let mut asked = running.courier.asked();
    asked.sort_by_key(|(_, to)| to.clone());
    let asked: Vec<(TlsNeed, &str)> = asked.iter().map(|(need, to)| (*need, &*to[0])).collect();
    let expected = [
        (TlsNeed::AsRoute, "a@ok.example"),
        (TlsNeed::Encryption, "encrypt@ok.example"),
        (TlsNeed::OwnReport, "s@ok.example"),
        (TlsNeed::Verified, "tls@ok.example"),
    ];
    assert_eq!(asked, expected);
    let expected = [
        ("forbidden@ok.example".to_owned(), State::Held),
        ("unknown@ok.example".to_owned(), State::Due),
    ];
    assert_eq!(running.states().await, expected);

    // What a person let go on goes, and what this policy decided about.
    let release = Order::ReleaseHeld {
        reason: "agreed".to_owned(),
    };
    let released = running.queue.administer(Selection::All, release, "root");
    released.await.unwrap();
    running.until("delivered", 5).await;
    let by_this = decided_by(0, &running.clock, &["forbidden@ok.example"]);
    running.hand_off(by_this).await;
    running.until("delivered", 6).await;
}

/// Its way hangs, and that of the new settings does not.
#[tokio::test]
async fn what_was_judged_again_while_a_reload_came_goes_by_the_new_routes() {
    let running = Running::start().await;
    let by_another = decided_by(7, &running.clock, &["reload@hang.example"]);
    running.hand_off(by_another).await;
    running.until("delivered", 1).await;
}

#[tokio::test]
async fn a_reload_brings_the_new_policy_to_what_waits() {
    let running = Running::start().await;
    let message = decided_by(0, &running.clock, &["forbidden@later.example"]);
    running.hand_off(message).await;
    running.until("deferred", 1).await;

    running.courier.policy.store(1, Ordering::SeqCst);
    running.courier.recovered.store(true, Ordering::SeqCst);
    running.handle.shared.reroute().await;
    running.clock.advance(Duration::from_secs(30));
    running.handle.wake();

    running.until("held", 1).await;
    let carried = running.courier.carried_to();
    let to_him = carried.iter().filter(|to| to.contains("forbidden"));
    assert_eq!(to_him.count(), 1, "the one before the reload");
}
