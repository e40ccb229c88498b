//! Smart hosts that take tokens: a real token endpoint, a next hop that says what it got.

use std::sync::atomic::{AtomicU32, Ordering};

use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::next_hop::{Act, Script};
use super::over_tls::authority::{Authority, Wrong};
use super::*;
use crate::base::secret::Secret;
use crate::delivery::route::Shown;
use crate::delivery::token::TokenSource;
use crate::delivery::upstream::UpstreamLimits;
use crate::smtp::client::LoginMechanism;

/// A token endpoint that gives a new token each time it is asked.
async fn endpoint() -> (String, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let route = post(move || {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            format!(
                r#"{{"token_type":"Bearer","expires_in":3600,"access_token":"token-{number}"}}"#
            )
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let app = axum::Router::new().route("/token", route);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn by_token(next_hop: &NextHop, url: &str) -> TakenRoute {
    route(Transport::SmartHost(SmartHost {
        next_hop: next_hop.host_port(),
        tls: TlsLevel::Verified,
        credentials: Some(Credentials {
            username: "reminders@bumbleton.example".to_owned(),
            shown: Shown::Token(TokenSource {
                url: url.parse().unwrap(),
                client_id: "gateway".to_owned(),
                client_secret: Secret::new("s3cret".to_owned()),
                scope: "smtp".to_owned(),
            }),
            mechanism: LoginMechanism::XOAuth2,
            expires: None,
            limits: UpstreamLimits::default(),
        }),
    }))
}

fn shown(token: &str) -> String {
    let text = format!("user=reminders@bumbleton.example\x01auth=Bearer {token}\x01\x01");
    format!("AUTH XOAUTH2 {}", STANDARD.encode(text))
}

#[tokio::test]
async fn a_token_that_is_refused_is_asked_for_anew_at_the_next_attempt() {
    let (url, asked) = endpoint().await;
    let authority = Authority::new();
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let deliveries = deliveries(&trusting).await;
    let script = |refused: bool| {
        let script = Script::offering(&["AUTH XOAUTH2"]);
        let script = script.with_tls(authority.acceptor(Wrong::Nothing));
        match refused {
            true => script.at("AUTH", Act::Say("535 5.7.3 Authentication unsuccessful")),
            false => script,
        }
    };
    let to_one = envelope(&["a@x.example"]);

    let refusing = NextHop::start(script(true)).await;
    let outcome = attempt(&deliveries, &by_token(&refusing, &url), &to_one, MESSAGE).await;
    assert_eq!(
        outcome,
        ["transient 4.7.3: 535 5.7.3 Authentication unsuccessful"]
    );
    assert!(refusing.lines_of(1).contains(&shown("token-1")));

    let taking = NextHop::start(script(false)).await;
    let outcome = attempt(&deliveries, &by_token(&taking, &url), &to_one, MESSAGE).await;
    assert_eq!(outcome, ["delivered 2.0.0: 250 2.0.0 queued"]);
    assert!(taking.lines_of(1).contains(&shown("token-2")));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_is_shown_until_shortly_before_its_end_and_then_another() {
    let (url, asked) = endpoint().await;
    let authority = Authority::new();
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let dns = FakeDns::start().await.resolver(Duration::from_secs(5));
    let deliveries = Deliveries::new(&trusting, dns, "gw.example", clock.clone()).unwrap();
    // For an hour, it said; five minutes before that it is renewed.
    for (minutes, token) in [
        (0, "token-1"),
        (54, "token-1"),
        (1, "token-2"),
        (54, "token-2"),
    ] {
        clock.advance(Duration::from_secs(minutes * 60));
        let script = Script::offering(&["AUTH XOAUTH2"]);
        let script = script.with_tls(authority.acceptor(Wrong::Nothing));
        let next_hop = NextHop::start(script).await;
        let route = by_token(&next_hop, &url);
        let outcome = attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
        assert_eq!(outcome, ["delivered 2.0.0: 250 2.0.0 queued"]);
        assert!(next_hop.lines_of(1).contains(&shown(token)), "{token}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn without_a_token_the_mail_waits_and_nothing_is_said_to_the_next_hop() {
    let authority = Authority::new();
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let deliveries = deliveries(&trusting).await;
    let script = Script::offering(&["AUTH XOAUTH2"]).with_tls(authority.acceptor(Wrong::Nothing));
    let next_hop = NextHop::start(script).await;
    let route = by_token(&next_hop, "http://127.0.0.1:1/token");
    let outcome = attempt(&deliveries, &route, &envelope(&["a@x.example"]), MESSAGE).await;
    assert!(
        outcome[0].starts_with("transient 4.7.8: the token endpoint 127.0.0.1 cannot be asked"),
        "{outcome:?}"
    );
}
