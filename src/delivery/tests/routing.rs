//! Which hosts are tried, and in which order.

use super::next_hop::{Act, Script};
use super::*;

fn mx(next_hop: &NextHop) -> TakenRoute {
    route(Transport::Mx {
        tls: TlsLevel::None,
        port: next_hop.address.port(),
    })
}

/// Two hosts on one port: the second has another loopback address.
async fn two_hosts(first: Script, second: Script) -> (NextHop, NextHop) {
    let second = NextHop::start_at("127.0.0.2:0", second).await;
    let address = format!("127.0.0.1:{}", second.address.port());
    (NextHop::start_at(&address, first).await, second)
}

async fn zone() -> FakeDns {
    let dns = FakeDns::start().await;
    dns.with_mx("x.example", 10, "one.example.")
        .with_mx("x.example", 20, "two.example.")
        .with_address("one.example", "127.0.0.1")
        .with_address("two.example", "127.0.0.2")
}

async fn to_x(dns: &FakeDns, route: &TakenRoute) -> Vec<String> {
    let deliveries = deliveries_with(&settings(), dns);
    attempt(&deliveries, route, &envelope(&["a@x.example"]), MESSAGE).await
}

#[tokio::test]
async fn the_preferred_exchanger_is_tried_first() {
    let (one, two) = two_hosts(Script::default(), Script::default()).await;
    let outcomes = to_x(&zone().await, &mx(&one)).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
    assert_eq!((one.messages().len(), two.connections()), (1, 0));
}

#[tokio::test]
async fn the_next_exchanger_is_tried_while_nothing_was_said_about_the_message() {
    for script in [
        Script::default().at("greeting", Act::Say("421 4.3.2 busy")),
        Script::default().at("greeting", Act::Say("554 5.3.2 not here")),
        Script::default().at("greeting", Act::HangUp),
        Script::default().at("EHLO", Act::Say("451 4.3.0 later")),
        Script::default().at("MAIL", Act::HangUp),
        Script::default().at("MAIL", Act::SayAndHangUp("421 4.3.2 busy")),
    ] {
        let (one, two) = two_hosts(script, Script::default()).await;
        let outcomes = to_x(&zone().await, &mx(&one)).await;
        assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
        assert_eq!((one.connections(), two.messages().len()), (1, 1));
    }
}

#[tokio::test]
async fn what_an_exchanger_says_about_the_message_stands() {
    for (script, outcome) in [
        (
            Script::default().at("MAIL", Act::Say("451 4.7.1 later")),
            "transient 4.7.1: 451 4.7.1 later",
        ),
        (
            Script::default().at("RCPT", Act::Say("550 5.1.1 no")),
            "permanent 5.1.1: 550 5.1.1 no",
        ),
    ] {
        let (one, two) = two_hosts(script, Script::default()).await;
        assert_eq!(to_x(&zone().await, &mx(&one)).await, [outcome]);
        assert_eq!(two.connections(), 0);
    }
}

#[tokio::test]
async fn an_exchanger_that_is_down_is_passed_over() {
    let two = NextHop::start_at("127.0.0.2:0", Script::default()).await;
    let outcomes = to_x(&zone().await, &mx(&two)).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
}

/// Whoever names hundreds of hosts does not decide how long an attempt takes.
#[tokio::test]
async fn of_very_many_exchangers_the_first_are_asked_for_and_no_more() {
    let mut dns = FakeDns::start().await;
    for nth in 0..25 {
        dns = dns.with_mx("x.example", nth, &format!("m{nth}.example."));
    }
    let two = NextHop::start_at("127.0.0.2:0", Script::default()).await;
    let dns = dns.with_address("m24.example", "127.0.0.2");
    let outcomes = to_x(&dns, &mx(&two)).await;
    assert!(outcomes[0].contains("the next hop m"), "{outcomes:?}");
    assert_eq!(two.connections(), 0);
    // Its exchangers, and two families of addresses for each that is asked for.
    assert!(dns.questions() <= 1 + 2 * 10, "{}", dns.questions());

    // The same where the first have addresses at which nobody is: these are as many as are tried.
    let mut dns = FakeDns::start().await;
    for nth in 0..25 {
        let host = format!("m{nth}.example");
        dns = dns.with_mx("x.example", nth, &format!("{host}."));
        dns = dns.with_address(&host, "127.0.0.9");
    }
    let outcomes = to_x(&dns, &mx(&two)).await;
    let refused = "transient 4.4.1: no connection to the next hop: connection refused";
    assert_eq!(outcomes, [refused]);
    assert!(dns.questions() <= 1 + 2 * 6, "{}", dns.questions());
}

#[tokio::test]
async fn a_host_has_several_addresses() {
    let two = NextHop::start_at("127.0.0.2:0", Script::default()).await;
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("x.example", 10, "one.example.")
        .with_address("one.example", "127.0.0.3")
        .with_address("one.example", "127.0.0.2")
        .with_address("one.example", "::1");
    let outcomes = to_x(&dns, &mx(&two)).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
}

#[tokio::test]
async fn when_nobody_is_there_it_is_tried_again_later() {
    let gone = NextHop::start_at("127.0.0.9:0", Script::default()).await;
    let outcomes = to_x(&zone().await, &mx(&gone)).await;
    assert_eq!(
        outcomes,
        ["transient 4.4.1: no connection to the next hop: connection refused"]
    );
}

#[tokio::test]
async fn a_greeting_that_refuses_is_tried_again_but_for_one_that_says_never() {
    let next_hop = NextHop::start(
        Script::default()
            .at("greeting", Act::Say("554 5.7.1 bad reputation"))
            .at("greeting", Act::Say("521 5.3.2 never")),
    )
    .await;
    let deliveries = deliveries(&settings()).await;
    let route = smart_host(&next_hop, TlsLevel::None);
    let to_one = envelope(&["a@x.example"]);
    assert_eq!(
        attempt(&deliveries, &route, &to_one, MESSAGE).await,
        ["transient 4.7.1: 554 5.7.1 bad reputation"]
    );
    assert_eq!(
        attempt(&deliveries, &route, &to_one, MESSAGE).await,
        ["permanent 5.3.2: 521 5.3.2 never"]
    );
}

#[tokio::test]
async fn what_dns_says_decides_between_later_and_never() {
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("null.example", 0, ".")
        .failing_for("broken.example")
        .with_mx("nowhere.example", 10, "gone.example.")
        .with_mx("half.example", 10, "gone.example.")
        .with_mx("half.example", 20, "unknown.example.")
        .failing_for("unknown.example");
    let deliveries = deliveries_with(&settings(), &dns);
    let route = route(Transport::Mx {
        tls: TlsLevel::None,
        port: 25,
    });
    for (domain, outcome) in [
        (
            "none.example",
            "permanent 5.1.2: the recipient's domain: no such name",
        ),
        (
            "null.example",
            "permanent 5.1.10: the recipient's domain: the domain takes no mail",
        ),
        (
            "broken.example",
            "transient 4.4.3: the recipient's domain: the name servers failed",
        ),
        (
            "nowhere.example",
            "permanent 5.4.4: the next hop gone.example: no such name",
        ),
        (
            "half.example",
            "transient 4.4.3: the next hop unknown.example: the name servers failed",
        ),
    ] {
        let to = envelope(&[&format!("a@{domain}")]);
        assert_eq!(attempt(&deliveries, &route, &to, MESSAGE).await, [outcome]);
    }
}

#[tokio::test]
async fn a_smart_host_that_has_no_address_today_may_have_one_tomorrow() {
    let route = route(Transport::SmartHost(SmartHost {
        next_hop: "gone.example:25".parse().unwrap(),
        tls: TlsLevel::None,
        credentials: None,
    }));
    let outcomes = to_x(&FakeDns::start().await, &route).await;
    assert_eq!(
        outcomes,
        ["transient 4.4.3: the next hop gone.example: no such name"]
    );
}

#[tokio::test]
async fn an_address_literal_is_connected_to_as_it_is() {
    let next_hop = NextHop::start(Script::default()).await;
    let deliveries = deliveries(&settings()).await;
    let to_literal = envelope(&["a@[127.0.0.1]"]);
    let outcomes = attempt(&deliveries, &mx(&next_hop), &to_literal, MESSAGE).await;
    assert_eq!(outcomes, ["delivered 2.0.0: 250 2.0.0 queued"]);
}

#[tokio::test]
async fn recipients_of_several_destinations_are_never_shown_to_the_wrong_one() {
    let (one, two) = two_hosts(
        Script::default(),
        Script::default().at("RCPT", Act::Say("550 5.1.1 no")),
    )
    .await;
    let dns = FakeDns::start().await;
    let dns = dns
        .with_address("x.example", "127.0.0.1")
        .with_address("y.example", "127.0.0.2");
    let deliveries = deliveries_with(&settings(), &dns);
    let to_three = envelope(&["a@x.example", "b@y.example", "c@x.example"]);

    let outcomes = attempt(&deliveries, &mx(&one), &to_three, MESSAGE).await;

    assert_eq!(
        outcomes,
        [
            "delivered 2.0.0: 250 2.0.0 queued",
            "permanent 5.1.1: 550 5.1.1 no",
            "delivered 2.0.0: 250 2.0.0 queued"
        ]
    );
    assert_eq!(one.messages().len(), 1);
    assert!(
        !one.lines_of(1)
            .iter()
            .any(|line| line.contains("y.example"))
    );
    assert!(
        !two.lines_of(1)
            .iter()
            .any(|line| line.contains("RCPT TO:<a@"))
    );
}
