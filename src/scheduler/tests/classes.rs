//! What goes first where something has to wait, and that nobody waits for ever.

use super::*;

fn of_class(clock: &Clock, class: Priority, to: &str) -> Accepted {
    Accepted {
        handling: Handling {
            priority: class,
            ..Handling::default()
        },
        ..accepted(clock, &[to])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_mail_that_comes_faster_than_it_goes_leaves_the_next_hop_to_the_rest_too() {
    let courier = Scripted {
        connections: 1,
        ..Scripted::default()
    };
    let running = Arc::new(Running::with(courier, &[]).await);
    let flood = tokio::spawn({
        let running = Arc::clone(&running);
        async move {
            loop {
                let Some(permit) = running.handle.reserve(1_000) else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                let message = of_class(&running.clock, Priority::Urgent, "urgent@slow.example");
                let until = Handoff::LeaseUntil(running.clock.now() + LEASE);
                let lease = running.queue.accept(message, until).await.unwrap();
                running.handle.offer(permit, lease.unwrap());
            }
        }
    });
    while running.handle.reserve(1_000).is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    for (class, to) in [
        (Priority::Bulk, "bulk@slow.example"),
        (Priority::Normal, "normal@slow.example"),
    ] {
        for _ in 0..3 {
            let message = of_class(&running.clock, class, to);
            running.queue.accept(message, Handoff::None).await.unwrap();
        }
    }
    running.handle.wake();
    let met = async {
        loop {
            let carried = running.courier.carried_to();
            let others = carried.iter().filter(|to| !to.starts_with("urgent"));
            if others.count() == 6 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let met = tokio::time::timeout(Duration::from_secs(30), met).await;
    flood.abort();
    assert!(
        met.is_ok(),
        "the others wait for as long as urgent mail comes"
    );
}

#[tokio::test]
async fn what_destinations_share_goes_to_them_by_turns() {
    for (connections, rate_per_minute) in [(Some(1), 0), (None, 6_000)] {
        let courier = Scripted {
            connections: 5,
            shared: Some(Rule {
                applies: Applies::Account("relay".to_owned()),
                connections,
                messages_per_connection: None,
                rate_per_minute,
                recipients: None,
            }),
            ..Scripted::default()
        };
        let running = Running::with(courier, &["x@slow1.example"; 200]).await;
        running.until("delivered", 5).await;
        let others = ["a@slow2.example", "b@slow3.example", "c@slow4.example"];
        for to in others {
            running.hand_off(accepted(&running.clock, &[to])).await;
        }
        let carried = async {
            loop {
                let carried = running.courier.carried_to();
                if others.iter().all(|to| carried.contains(&(*to).to_owned())) {
                    return carried.len();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let carried = tokio::time::timeout(Duration::from_secs(30), carried).await;
        assert!(carried.unwrap() < 150, "they waited for the 200 of another");
    }
}
