//! Connections that are kept for the next message.

use std::pin::pin;

use tokio::sync::Notify;

use super::next_hop::{Act, Script};
use super::*;

const OFFERS: &[&str] = &["PIPELINING", "CHUNKING"];

async fn attempts(
    script: Script,
    settings: &ConnectionSettings,
    count: usize,
) -> (NextHop, Vec<String>) {
    let next_hop = NextHop::start(script).await;
    let deliveries = deliveries(settings).await;
    let route = smart_host(&next_hop, TlsLevel::None);
    let mut outcomes = Vec::new();
    for _ in 0..count {
        outcomes.extend(attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await);
    }
    (next_hop, outcomes)
}

#[tokio::test]
async fn one_connection_serves_message_after_message() {
    let (hop, outcomes) = attempts(Script::offering(OFFERS), &settings(), 5).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"; 5]);
    assert_eq!((hop.connections(), hop.messages().len()), (1, 5));
}

#[tokio::test]
async fn a_connection_serves_a_hundred_messages_and_then_says_goodbye() {
    let (hop, _) = attempts(Script::offering(OFFERS), &settings(), 101).await;
    assert_eq!((hop.connections(), hop.messages().len()), (2, 101));
    let (hop, _) = attempts(Script::offering(&["LIMITS MAILMAX=2"]), &settings(), 3).await;
    assert_eq!(hop.connections(), 2);
}

#[tokio::test]
async fn a_connection_serves_no_more_messages_than_the_limits_say() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    let route = taken(Route {
        shaping: Shaping {
            messages_per_connection: 2,
            ..Shaping::default()
        },
        ..Route::clone(&smart_host(&next_hop, TlsLevel::None))
    });
    for _ in 0..5 {
        attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    }
    assert_eq!((next_hop.connections(), next_hop.messages().len()), (3, 5));
}

#[tokio::test]
async fn after_a_reload_no_connection_from_before_serves_another_message() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    let (before, after) = reload(&next_hop);
    for (router, connections) in [(&before, 1), (&before, 1), (&after, 2), (&after, 2)] {
        if connections == 2 {
            deliveries.reloaded(router);
        }
        let route = router.take(&somebody(), false).unwrap();
        attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
        assert_eq!(next_hop.connections(), connections);
    }
}

/// Its route was taken before: what it logged in as, and whom it met, may be what the reload was to end.
#[tokio::test]
async fn an_attempt_that_a_reload_overtakes_leaves_no_connection_to_those_after_it() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    let (before, after) = reload(&next_hop);
    let [overtaken, next] = [&before, &after].map(|r| r.take(&somebody(), false).unwrap());
    deliveries.reloaded(&after);
    for (route, connections) in [(&overtaken, 1), (&next, 2), (&overtaken, 3), (&next, 3)] {
        attempt(&deliveries, route, &envelope(&["a@x.example"]), MESSAGE).await;
        assert_eq!(next_hop.connections(), connections);
    }
}

/// The other way round: routes are there a moment before the pool hears of them.
#[tokio::test]
async fn an_attempt_by_new_routes_takes_no_connection_from_before_and_leaves_its_own() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    let (before, after) = reload(&next_hop);
    let [old, new] = [&before, &after].map(|r| r.take(&somebody(), false).unwrap());
    for (route, connections) in [(&old, 1), (&new, 2), (&new, 2)] {
        attempt(&deliveries, route, &envelope(&["a@x.example"]), MESSAGE).await;
        assert_eq!(next_hop.connections(), connections);
    }
    deliveries.reloaded(&after);
    attempt(&deliveries, &new, &envelope(&["a@x.example"]), MESSAGE).await;
    assert_eq!(next_hop.connections(), 2);
}

/// The routes before a reload and after it, which look alike.
fn reload(next_hop: &NextHop) -> (Router, Router) {
    let route = Route::clone(&smart_host(next_hop, TlsLevel::None));
    let before = Router::new(vec![Arc::new(route)]);
    let after = before.replaced_by(before.routes().to_vec());
    (before, after)
}

#[tokio::test]
async fn a_refused_message_leaves_the_connection_for_the_next() {
    let script = Script::offering(OFFERS)
        .at("RCPT", Act::Say("550 5.1.1 no"))
        .at("message", Act::Say("554 5.6.0 no"));
    let (hop, outcomes) = attempts(script, &settings(), 3).await;
    assert_eq!(
        outcomes,
        [
            "permanent 5.1.1: 550 5.1.1 no",
            "permanent 5.6.0: 554 5.6.0 no",
            "delivered 2.0.0: 250 2.0.0 queued"
        ]
    );
    assert_eq!(hop.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_died_while_it_waited_is_replaced() {
    // Hung up after the reply, with and without a word; hung up at the next MAIL, with and without.
    let scripts = [
        ("idle", Act::HangUp),
        ("idle", Act::Say("421 4.4.2 idle for too long")),
        ("MAIL", Act::HangUp),
        ("MAIL", Act::SayAndHangUp("421 4.4.2 bye")),
    ];
    for (moment, act) in scripts {
        let script = match moment {
            "MAIL" => Script::offering(OFFERS)
                .at("MAIL", Act::Say("250 ok"))
                .at("MAIL", act.clone()),
            _ => Script::offering(OFFERS).at(moment, act.clone()),
        };
        let (hop, outcomes) = attempts(script, &settings(), 2).await;
        assert_eq!(
            outcomes, ["delivered 2.0.0: 250 2.0.0 queued"; 2],
            "{moment} {act:?}"
        );
        assert_eq!(
            (hop.connections(), hop.messages().len()),
            (2, 2),
            "{moment} {act:?}"
        );
    }
}

#[tokio::test]
async fn after_mail_was_answered_a_lost_connection_is_not_tried_elsewhere() {
    let script = Script::offering(OFFERS).at("RCPT", Act::HangUp);
    let (hop, outcomes) = attempts(script, &settings(), 1).await;
    assert_eq!(outcomes, ["transient 4.4.2: the connection was lost"]);
    assert_eq!(hop.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_waited_for_too_long_is_closed_with_a_goodbye() {
    let short = ConnectionSettings {
        idle: Duration::from_millis(100),
        ..settings()
    };
    let hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&short).await;
    let route = smart_host(&hop, TlsLevel::None);
    attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while hop.lines_of(1).last().map(String::as_str) != Some("QUIT") {
        assert!(
            std::time::Instant::now() < until,
            "no QUIT: {:?}",
            hop.lines_of(1)
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_connection_that_waits_makes_room_when_the_cap_is_reached() {
    let few = ConnectionSettings {
        connections: 1,
        ..settings()
    };
    let one = NextHop::start(Script::offering(OFFERS)).await;
    let other = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&few).await;
    let to_one = envelope(&["a@x.example"]);
    for next_hop in [&one, &other, &one] {
        let route = smart_host(next_hop, TlsLevel::None);
        let outcomes = attempt(&deliveries, &route, &to_one, MESSAGE).await;
        assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
    }
    assert_eq!((one.connections(), other.connections()), (2, 1));
}

#[tokio::test]
async fn many_attempts_share_few_connections_and_none_starves() {
    let few = ConnectionSettings {
        connections: 3,
        ..settings()
    };
    let hops = [
        NextHop::start(Script::offering(OFFERS)).await,
        NextHop::start(Script::offering(&[])).await,
    ];
    let deliveries = Arc::new(deliveries(&few).await);
    let mut tasks = Vec::new();
    for n in 0..60 {
        let route = smart_host(&hops[n % 2], TlsLevel::None);
        let deliveries = Arc::clone(&deliveries);
        tasks.push(tokio::spawn(async move {
            attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), ["delivered 2.0.0: 250 2.0.0 queued"]);
    }
    assert_eq!(hops[0].messages().len() + hops[1].messages().len(), 60);
}

/// All that leaves under one account shares so many open connections, whether they are at work or wait for it.
#[tokio::test]
async fn a_connection_that_waits_makes_room_under_a_limit_that_several_next_hops_share() {
    let account = Rule {
        applies: Applies::Account("relay@bumbleton.example".to_owned()),
        connections: Some(2),
        messages_per_connection: None,
        rate_per_minute: 0,
        recipients: None,
    };
    let deliveries = deliveries(&settings()).await;
    let mut hops = Vec::new();
    for _ in 0..4 {
        hops.push(NextHop::start(Script::offering(OFFERS)).await);
    }
    let by = |hop: &NextHop| {
        taken(Route {
            shaping: Shaping {
                rules: [account.clone()].into(),
                ..Shaping::default()
            },
            ..Route::clone(&smart_host(hop, TlsLevel::None))
        })
    };
    let has_quit = |hop: &NextHop| hop.lines_of(1).last().is_some_and(|line| line == "QUIT");
    for (number, hop) in hops.iter().enumerate() {
        let said = attempt(&deliveries, &by(hop), &envelope(&["a@x.example"]), MESSAGE).await;
        assert_eq!(said, ["delivered 2.0.0: 250 2.0.0 queued"]);
        let open = hops[..=number].iter().filter(|hop| !has_quit(hop)).count();
        assert_eq!(open, (number + 1).min(2), "the oldest says goodbye first");
    }
    // The ones that were left are used again.
    attempt(
        &deliveries,
        &by(&hops[3]),
        &envelope(&["a@x.example"]),
        MESSAGE,
    )
    .await;
    assert_eq!((hops[3].connections(), has_quit(&hops[2])), (1, false));
}

/// Mail for one destination that cannot share a connection shares its limit.
#[tokio::test]
async fn a_connection_that_waits_makes_room_for_mail_that_cannot_use_it() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    let (before, after) = reload(&next_hop);
    let one = |router: &Router| {
        let route = Route {
            connections: 1,
            ..Route::clone(&router.take(&somebody(), false).unwrap())
        };
        Router::new(vec![Arc::new(route)])
    };
    let (before, after) = (
        one(&before),
        one(&after).replaced_by(one(&after).routes().to_vec()),
    );
    for router in [&before, &after] {
        let route = router.take(&somebody(), false).unwrap();
        attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    }
    let last = next_hop.lines_of(1).pop();
    assert_eq!((next_hop.connections(), last.as_deref()), (2, Some("QUIT")));
}

/// So does mail that goes there by another route.
#[tokio::test]
async fn two_routes_to_one_host_share_the_limit_of_that_destination() {
    let next_hop = NextHop::start(Script::offering(OFFERS)).await;
    let deliveries = deliveries(&settings()).await;
    for name in ["one", "other"] {
        let route = taken(Route {
            name: name.to_owned(),
            connections: 1,
            ..Route::clone(&smart_host(&next_hop, TlsLevel::None))
        });
        attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    }
    let last = next_hop.lines_of(1).pop();
    assert_eq!((next_hop.connections(), last.as_deref()), (2, Some("QUIT")));
}

/// One that allows few would else never get a place beside one that allows many and is busy.
#[tokio::test]
async fn two_routes_to_one_host_that_allow_different_numbers_count_apart() {
    let gate = Arc::new(Notify::new());
    let slow = Script::offering(OFFERS).at("message", Act::WaitFor(Arc::clone(&gate)));
    let next_hop = NextHop::start(slow).await;
    let deliveries = Arc::new(deliveries(&settings()).await);
    let mut under_way = Vec::new();
    for (name, connections) in [("many", 5), ("few", 1)] {
        let route = taken(Route {
            name: name.to_owned(),
            connections,
            ..Route::clone(&smart_host(&next_hop, TlsLevel::None))
        });
        let deliveries = Arc::clone(&deliveries);
        let known = next_hop.messages().len();
        under_way.push(tokio::spawn(async move {
            attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await
        }));
        let there = async {
            while next_hop.messages().len() == known {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), there)
            .await
            .unwrap_or_else(|_| panic!("{name} got no place"));
    }
    for mut attempt in under_way {
        let said = loop {
            tokio::select! {
                said = &mut attempt => break said.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(5)) => gate.notify_waiters(),
            }
        };
        assert_eq!(said, ["delivered 2.0.0: 250 2.0.0 queued"]);
    }
}

/// One who waits for a place gets it as soon as a connection that works has done so.
#[tokio::test]
async fn who_waits_for_a_place_closes_the_connection_that_has_just_become_free() {
    let gate = Arc::new(Notify::new());
    let slow = Script::offering(OFFERS).at("message", Act::WaitFor(Arc::clone(&gate)));
    let (slow, quick) = (
        NextHop::start(slow).await,
        NextHop::start(Script::offering(OFFERS)).await,
    );
    // What is kept is kept for longer than anybody waits for a place.
    let lasting = ConnectionSettings {
        idle: Duration::from_secs(600),
        ..settings()
    };
    let deliveries = Arc::new(deliveries(&lasting).await);
    let by = |hop: &NextHop| {
        let one = Rule {
            applies: Applies::Source("127.0.0.1".parse().unwrap()),
            connections: Some(1),
            messages_per_connection: None,
            rate_per_minute: 0,
            recipients: None,
        };
        taken(Route {
            shaping: Shaping {
                rules: [one].into(),
                ..Shaping::default()
            },
            ..Route::clone(&smart_host(hop, TlsLevel::None))
        })
    };
    let (to_slow, to_quick) = (by(&slow), by(&quick));
    let first = tokio::spawn({
        let deliveries = Arc::clone(&deliveries);
        async move { attempt(&deliveries, &to_slow, &envelope(&["a@x.example"]), MESSAGE).await }
    });
    while slow.messages().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let to_one = envelope(&["a@x.example"]);
    let mut second = pin!(attempt(&deliveries, &to_quick, &to_one, MESSAGE));
    // Until nothing but a place can be what it waits for: to an address there is nothing to ask anybody.
    for _ in 0..100 {
        tokio::select! {
            biased;
            said = &mut second => panic!("there was no place: {said:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(quick.connections(), 0);

    let before = std::time::Instant::now();
    gate.notify_one();
    let delivered = ["delivered 2.0.0: 250 2.0.0 queued"];
    assert_eq!(second.await, delivered);
    assert!(before.elapsed() < settings().connect_timeout / 2);
    assert_eq!(first.await.unwrap(), delivered);
    assert_eq!(slow.lines_of(1).pop().as_deref(), Some("QUIT"));
}
