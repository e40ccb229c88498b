//! Connections that are kept for the next message.

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
