//! What comes in goes on, or says why not.

use super::*;

#[tokio::test]
async fn a_hand_off_is_delivered_at_once_and_grouped_by_destination() {
    let running = Running::start().await;
    let mut message = accepted(
        &running.clock,
        &[
            "a@ok.example",
            "b@other.example",
            "c@ok.example",
            "d@ok.example",
        ],
    );
    message.deliveries[3].binding = Binding::VerifiedTls;

    running.hand_off(message).await;
    running.until("delivered", 4).await;

    let mut asked = running.courier.asked();
    asked.sort_by_key(|(_, to)| to.clone());
    let of = |to: &[&str]| to.iter().map(|to| (*to).to_owned()).collect::<Vec<_>>();
    let expected = [
        (TlsNeed::AsRoute, of(&["a@ok.example", "c@ok.example"])),
        (TlsNeed::AsRoute, of(&["b@other.example"])),
        (TlsNeed::Verified, of(&["d@ok.example"])),
    ];
    assert_eq!(asked, expected);
    assert_eq!(running.states().await, []);
}

#[tokio::test]
async fn what_is_bound_for_a_domain_that_is_secure_no_more_is_held_and_the_rest_goes_on() {
    let running = Running::start().await;
    let to = ["a@lapsed.example", "b@lapsed.example", "c@ok.example"];
    let mut message = accepted(&running.clock, &to);
    message.deliveries[0].binding = Binding::VerifiedTls;
    message.deliveries[2].binding = Binding::VerifiedTls;

    running.hand_off(message).await;
    running.until("held", 1).await;
    running.until("delivered", 3).await; // the notice that it is held is the third

    let mut carried_to = running.courier.carried_to();
    carried_to.sort();
    assert_eq!(
        carried_to,
        ["b@lapsed.example", "c@ok.example", "s@ok.example"]
    );
    let held = ("a@lapsed.example".to_owned(), State::Held);
    assert_eq!(running.states().await, [held]);
}

#[tokio::test]
async fn what_waited_from_before_is_found_at_the_start() {
    let running = Running::with(Scripted::default(), &["a@ok.example", "b@ok.example"]).await;
    running.until("delivered", 2).await;
}

#[tokio::test]
async fn a_failure_is_reported_to_the_sender() {
    let running = Running::start().await;
    running
        .hand_off(accepted(
            &running.clock,
            &["a@never.example", "b@ok.example"],
        ))
        .await;
    running.until("delivered", 2).await;

    assert!(
        running
            .courier
            .carried_to()
            .contains(&"s@ok.example".to_owned()),
        "the report"
    );
    let mut kinds = running.kinds().await;
    kinds.sort();
    assert_eq!(
        kinds,
        ["delivered", "delivered", "failed", "notified", "received"]
    );
}

#[tokio::test]
async fn what_a_next_hop_quotes_is_written_down_without_numbers_of_patients() {
    let running = Running::start().await;
    let message = accepted(&running.clock, &["a@quotes.example"]);
    assert!(!message.patient_data);
    running.hand_off(message).await;
    running.until("failed", 1).await;

    let events = running.queue.events(1, 100_000).await.unwrap();
    let words = events.iter().flat_map(|event| event.object().into_iter());
    let trail: String = words.map(|(_, value)| value.to_string()).collect();
    assert!(
        trail.contains("550 5.1.1 no mail about *** *** **** here"),
        "{trail}"
    );
    assert!(!trail.contains("450 557"), "{trail}");
}

#[tokio::test]
async fn what_no_route_takes_is_deferred_and_what_cannot_be_encrypted_is_held() {
    let courier = Scripted {
        no_encryption: true,
        ..Scripted::default()
    };
    let running = Running::with(courier, &[]).await;
    let mut message = accepted(&running.clock, &["a@nowhere.example", "b@ok.example"]);
    message.deliveries[1].binding = Binding::Encryption;

    running.hand_off(message).await;
    running.until("deferred", 1).await;
    running.until("held", 1).await;
    running.until("notified", 1).await;
    running.until("delivered", 1).await;

    let states: Vec<State> = running
        .states()
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, [State::Due, State::Held]);
    // Nobody was tried but the sender, who is told of the hold.
    let asked = running.courier.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
}

#[tokio::test]
async fn an_order_of_another_process_is_noticed() {
    let running = Running::start().await;
    let mut held = accepted(&running.clock, &["a@ok.example"]);
    held.deliveries[0].standing = Standing::Held;
    running.queue.accept(held, Handoff::None).await.unwrap();

    let release = Order::ReleaseHeld {
        reason: "fine".to_owned(),
    };
    running
        .queue
        .administer(Selection::All, release, "root")
        .await
        .unwrap();

    running.until("delivered", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_gives_back_what_waits_and_settles_what_is_in_flight() {
    let running = Running::with(Scripted::default(), &["x@slow.example"; 12]).await;
    running.until("delivered", 1).await;

    running.shutdown.begin();
    running.shutdown.finished().await;

    assert!(running.handle.reserve(1_000).is_none());
    let states = running.states().await;
    let delivered = running
        .kinds()
        .await
        .iter()
        .filter(|kind| *kind == "delivered")
        .count();
    assert_eq!(states.len() + delivered, 12);
    assert!(
        states.iter().all(|(_, state)| *state == State::Due),
        "{states:?}"
    );
}

#[tokio::test]
async fn more_mail_than_fits_in_hand_all_arrives() {
    let queued = vec!["x@ok.example"; 700];
    let running = Running::with(Scripted::default(), &queued).await;
    for _ in 0..300 {
        let message = accepted(&running.clock, &["z@ok.example"]);
        match running.handle.reserve(1_000) {
            Some(permit) => {
                let until = running.clock.now() + LEASE;
                let lease = running
                    .queue
                    .accept(message, Handoff::LeaseUntil(until))
                    .await
                    .unwrap();
                running.handle.offer(permit, lease.unwrap());
            }
            None => {
                running.queue.accept(message, Handoff::None).await.unwrap();
                running.handle.wake();
            }
        }
    }
    running.until("delivered", 1_000).await;
    assert_eq!(running.states().await, []);
}

#[tokio::test]
async fn urgent_mail_goes_before_what_came_earlier_and_bulk_goes_too() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let queue = Queue::open(folder.path(), clock.clone()).await.unwrap();
    for (class, number) in [
        (Priority::Bulk, 100),
        (Priority::Normal, 100),
        (Priority::Urgent, 40),
    ] {
        for _ in 0..number {
            let message = Accepted {
                handling: Handling {
                    priority: class,
                    ..Handling::default()
                },
                ..accepted(&clock, &["x@ok.example"])
            };
            queue.accept(message, Handoff::None).await.unwrap();
        }
    }

    let mut shares = Vec::new();
    for _ in 0..4 {
        let leases = queue.lease(clock.now(), 64, Skip::nothing()).await.unwrap();
        let of = |class| {
            leases
                .iter()
                .filter(|l| l.deliveries[0].priority == class)
                .count()
        };
        shares.push(Priority::ALL.map(of));
    }
    assert_eq!(shares, [[40, 16, 8], [0, 56, 8], [0, 28, 36], [0, 0, 48]]);
}

/// What the gateway wrote itself is known by its row: a policy decided about all that others bring, or a person did.
#[tokio::test]
async fn reports_of_our_own_are_told_from_what_others_send_by_the_null_path() {
    let running = Running::start().await;
    let from_nobody = |to: &str, policy| Accepted {
        reverse_path: ReversePath::Null,
        handling: Handling {
            policy,
            ..Handling::default()
        },
        ..accepted(&running.clock, &[to])
    };
    let in_force = Some(PolicyMark(0));
    let mut held = from_nobody("released@ok.example", in_force);
    held.deliveries[0].standing = Standing::Held;
    running.queue.accept(held, Handoff::None).await.unwrap();
    let release = Order::ReleaseHeld {
        reason: "read".to_owned(),
    };
    let released = running.queue.administer(Selection::All, release, "root");
    assert_eq!(released.await.unwrap().changed, 1);
    running.handle.wake();
    running.until("delivered", 1).await;
    for (to, policy) in [("ours@ok.example", None), ("theirs@ok.example", in_force)] {
        running.hand_off(from_nobody(to, policy)).await;
    }
    running.until("delivered", 3).await;
    let mut asked = running.courier.asked();
    asked.sort_by(|one, other| one.1.cmp(&other.1));
    let to = |name: &str| vec![format!("{name}@ok.example")];
    assert_eq!(
        asked,
        [
            (TlsNeed::OwnReport, to("ours")),
            (TlsNeed::AsRoute, to("released")),
            (TlsNeed::AsRoute, to("theirs")),
        ]
    );
}
