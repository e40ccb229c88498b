//! Limits of an account at a smart host: what is over them waits, and nothing is said to the next hop.

use super::*;
use crate::base::secret::Secret;
use crate::delivery::upstream::{Upstream, UpstreamLimits};
use crate::outcome::After;

use super::next_hop::{Act, Script};
use super::over_tls::authority::{Authority, Wrong};

fn clock() -> Clock {
    Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap())
}

fn limited(next_hop: &NextHop, messages_per_minute: u32, recipients_per_day: u32) -> TakenRoute {
    let secret = Secret::new("s3cret".to_owned());
    route(Transport::SmartHost(SmartHost {
        next_hop: next_hop.host_port(),
        tls: TlsLevel::Verified,
        credentials: Some(Credentials {
            limits: UpstreamLimits {
                messages_per_minute,
                recipients_per_day,
            },
            ..Credentials::password("reminders@bumbleton.example", secret)
        }),
    }))
}

async fn outcomes(deliveries: &Deliveries, route: &TakenRoute, to: &[&str]) -> Vec<Outcome> {
    let message = Message::new(MESSAGE.to_vec());
    let envelope = envelope(to);
    deliveries
        .attempt(route, &envelope, &message, TlsNeed::AsRoute)
        .await
}

/// A gateway that counts, and trusts what the authority signs.
async fn counting(authority: &Authority, clock: &Clock) -> Deliveries {
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let dns = FakeDns::start().await.resolver(Duration::from_secs(5));
    Deliveries::new(&trusting, dns, "gw.example", clock.clone())
        .unwrap()
        .with_upstream(Arc::new(Upstream::in_memory().unwrap()))
}

fn script(authority: &Authority) -> Script {
    let script = Script::offering(&["AUTH PLAIN"]);
    script.with_tls(authority.acceptor(Wrong::Nothing))
}

const SERVED: &str = "delivered 2.0.0: 250 2.0.0 queued";
const OVER: &str =
    "transient 4.4.5: the account has sent to as many recipients in 24 hours as its limits allow";

#[tokio::test]
async fn what_is_over_the_day_of_an_account_waits_until_there_is_room() {
    let (authority, clock) = (Authority::new(), clock());
    let deliveries = counting(&authority, &clock).await;
    let refusing = script(&authority).at("MAIL", Act::Say("452 4.3.1 full"));
    let refusing = NextHop::start(refusing).await;
    let one_a_day = limited(&refusing, 0, 1);
    let refused = outcomes(&deliveries, &one_a_day, &["z@x.example"]).await;
    assert_eq!(in_short(&refused[0]), "transient 4.3.1: 452 4.3.1 full");
    // What was not taken does not count: the second goes.
    let again = outcomes(&deliveries, &one_a_day, &["z@x.example"]).await;
    assert_eq!(in_short(&again[0]), SERVED);

    let next_hop = NextHop::start(script(&authority)).await;
    let route = limited(&next_hop, 0, 3);
    let first = outcomes(&deliveries, &route, &["a@x.example", "b@x.example"]).await;
    assert_eq!(first.iter().map(in_short).collect::<Vec<_>>(), [SERVED; 2]);
    clock.advance(Duration::from_secs(100));
    let second = outcomes(&deliveries, &route, &["c@x.example", "d@x.example"]).await;
    assert_eq!(in_short(&second[0]), SERVED);
    assert_eq!(in_short(&second[1]), OVER);
    let tomorrow = "2026-11-22T10:00:00Z".parse().unwrap();
    assert_eq!(second[1].after, After::NotBefore(tomorrow));

    let said = next_hop.connections();
    let third = outcomes(&deliveries, &route, &["d@x.example"]).await;
    assert_eq!(
        (in_short(&third[0]).as_str(), next_hop.connections()),
        (OVER, said)
    );
    clock.advance(Duration::from_secs(24 * 60 * 60 - 100));
    let fourth = outcomes(&deliveries, &route, &["d@x.example"]).await;
    assert_eq!(in_short(&fourth[0]), SERVED);
}

/// Whoever said nothing after the last octet may have it: to count too little is to be blocked in the end.
#[tokio::test]
async fn recipients_of_a_message_that_may_be_there_count_and_those_of_one_that_broke_off_do_not() {
    let (authority, clock) = (Authority::new(), clock());
    for (at, counts) in [("message", true), ("DATA", false), ("RCPT", false)] {
        let deliveries = counting(&authority, &clock).await;
        let next_hop = NextHop::start(script(&authority).at(at, Act::HangUp)).await;
        let one_a_day = limited(&next_hop, 0, 1);

        let lost = outcomes(&deliveries, &one_a_day, &["a@x.example"]).await;
        let said = "transient 4.4.2: the connection was lost";
        assert_eq!(in_short(&lost[0]), said, "{at}");
        assert_eq!(lost[0].in_doubt, counts, "{at}");

        let again = outcomes(&deliveries, &one_a_day, &["a@x.example"]).await;
        let expected = if counts { OVER } else { SERVED };
        assert_eq!(in_short(&again[0]), expected, "{at}");
    }
}
