//! Levels of TLS against certificates that are right and wrong in every way.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::HandshakeKind;

use super::next_hop::{Act, Script};
use super::*;
use crate::base::secret::Secret;
use crate::delivery::Listing;
use crate::delivery::tls::{Certificate, Tls};
use crate::outcome::NamedBy;

#[path = "../../../tests/support/authority.rs"]
pub(super) mod authority;
use authority::{Authority, Wrong};

impl Authority {
    pub(super) fn acceptor(&self, wrong: Wrong) -> TlsAcceptor {
        TlsAcceptor::from(self.server(wrong))
    }
}

async fn send(
    next_hop: &NextHop,
    authority: &Authority,
    level: TlsLevel,
    need: TlsNeed,
) -> Outcome {
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let deliveries = deliveries(&trusting).await;
    let route = smart_host(next_hop, level);
    let message = Message::new(MESSAGE);
    let to_one = envelope(&["a@x.example"]);
    let mut outcomes = deliveries.attempt(&route, &to_one, &message, need).await;
    outcomes.remove(0)
}

/// A session that is resumed shows no certificate: one that was right yesterday would count today.
#[tokio::test]
async fn a_certificate_that_must_be_right_is_looked_at_in_every_handshake() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(Wrong::Nothing);
    let tls = Tls::new(&[authority.root()]).unwrap();
    for (certificate, expected) in [
        (Certificate::MayBeAny, HandshakeKind::Resumed),
        (Certificate::MustBeRight, HandshakeKind::Full),
    ] {
        let mut last = None;
        for _ in 0..2 {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let greet = async {
                let mut stream = acceptor.accept(theirs).await.unwrap();
                stream.write_all(b"220").await.unwrap();
                stream.flush().await.unwrap();
                stream
            };
            let at = ("mx.x.example", NamedBy::Route);
            let (secured, _theirs) = tokio::join!(tls.secure(ours, at, certificate), greet);
            let mut stream = secured.unwrap().stream;
            // What a session is resumed with comes before the first word.
            stream.read_exact(&mut [0; 3]).await.unwrap();
            last = stream.get_ref().1.handshake_kind();
        }
        assert_eq!(last, Some(expected), "{certificate:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_right_is_verified_at_every_level() {
    let authority = Authority::new();
    for level in [
        TlsLevel::Opportunistic,
        TlsLevel::Required,
        TlsLevel::Verified,
    ] {
        let script = Script::offering(&["PIPELINING"]).with_tls(authority.acceptor(Wrong::Nothing));
        let next_hop = NextHop::start(script).await;
        let outcome = send(&next_hop, &authority, level, TlsNeed::AsRoute).await;
        assert_eq!(in_short(&outcome), "delivered 2.0.0: 250 2.0.0 queued");
        let evidence = outcome.tls.unwrap();
        assert!(evidence.verified, "{level:?}");
        assert_eq!(
            (&*evidence.version, evidence.certificate_sha256.len()),
            ("TLSv1.3", 64)
        );
        assert!(evidence.cipher.starts_with("TLS13_"), "{}", evidence.cipher);
        assert_eq!(next_hop.messages(), [MESSAGE]);
        assert_eq!(
            &next_hop.lines_of(1)[..3],
            ["EHLO gw.example", "STARTTLS", "EHLO gw.example"]
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_wrong_passes_below_verified_and_is_written_down() {
    let authority = Authority::new();
    for wrong in [
        Wrong::Issuer,
        Wrong::Name,
        Wrong::Expired,
        Wrong::SelfSigned,
    ] {
        for level in [TlsLevel::Opportunistic, TlsLevel::Required] {
            let next_hop =
                NextHop::start(Script::default().with_tls(authority.acceptor(wrong))).await;
            let outcome = send(&next_hop, &authority, level, TlsNeed::AsRoute).await;
            assert_eq!(in_short(&outcome), "delivered 2.0.0: 250 2.0.0 queued");
            assert!(!outcome.tls.unwrap().verified, "{wrong:?}");
        }
    }
}

#[tokio::test]
async fn at_verified_a_wrong_certificate_keeps_the_message_here() {
    let authority = Authority::new();
    for (wrong, words) in [
        (Wrong::Issuer, "is from an authority that is not trusted"),
        (Wrong::Name, "is for another name"),
        (Wrong::Expired, "has expired"),
        (
            Wrong::SelfSigned,
            "is from an authority that is not trusted",
        ),
    ] {
        for (level, need) in [
            (TlsLevel::Verified, TlsNeed::AsRoute),
            (TlsLevel::None, TlsNeed::Verified),
            (TlsLevel::Opportunistic, TlsNeed::Verified),
        ] {
            let next_hop =
                NextHop::start(Script::default().with_tls(authority.acceptor(wrong))).await;
            let outcome = send(&next_hop, &authority, level, need).await;
            assert_eq!(
                in_short(&outcome),
                format!("transient 4.7.5: the certificate of the next hop {words}")
            );
            assert!(
                !next_hop
                    .lines_of(1)
                    .iter()
                    .any(|line| line.starts_with("MAIL"))
            );
            assert_eq!(next_hop.connections(), 1);
        }
    }
}

#[tokio::test]
async fn without_starttls_mail_goes_in_clear_only_where_it_may() {
    let authority = Authority::new();
    for (level, need, outcome) in [
        (
            TlsLevel::Opportunistic,
            TlsNeed::AsRoute,
            "delivered 2.0.0: 250 2.0.0 queued",
        ),
        (
            TlsLevel::Required,
            TlsNeed::AsRoute,
            "transient 4.7.10: TLS is needed and not offered",
        ),
        (
            TlsLevel::Verified,
            TlsNeed::AsRoute,
            "transient 4.7.10: TLS is needed and not offered",
        ),
        (
            TlsLevel::None,
            TlsNeed::Verified,
            "transient 4.7.10: TLS is needed and not offered",
        ),
    ] {
        let next_hop = NextHop::start(Script::default()).await;
        let found = send(&next_hop, &authority, level, need).await;
        assert_eq!((in_short(&found).as_str(), found.tls), (outcome, None));
    }
}

#[tokio::test]
async fn broken_tls_is_done_without_on_a_fresh_connection_only_where_it_may() {
    let authority = Authority::new();
    for (level, delivered) in [
        (TlsLevel::Opportunistic, true),
        (TlsLevel::Required, false),
        (TlsLevel::Verified, false),
    ] {
        let script = Script::default()
            .with_tls(authority.acceptor(Wrong::Nothing))
            .at("STARTTLS", Act::BrokenTls);
        let next_hop = NextHop::start(script).await;
        let outcome = send(&next_hop, &authority, level, TlsNeed::AsRoute).await;
        assert_eq!(
            matches!(outcome.result, DeliveryResult::Delivered { .. }),
            delivered
        );
        assert_eq!(next_hop.connections(), if delivered { 2 } else { 1 });
        assert_eq!(next_hop.messages().len(), usize::from(delivered));
    }
}

#[tokio::test]
async fn a_server_that_cannot_do_tls_now_is_used_in_clear_on_the_same_connection() {
    let authority = Authority::new();
    let script = || {
        Script::default()
            .with_tls(authority.acceptor(Wrong::Nothing))
            .at("STARTTLS", Act::Say("454 4.7.0 not now"))
    };
    let next_hop = NextHop::start(script()).await;
    let outcome = send(
        &next_hop,
        &authority,
        TlsLevel::Opportunistic,
        TlsNeed::AsRoute,
    )
    .await;
    assert_eq!(
        (in_short(&outcome).as_str(), next_hop.connections()),
        ("delivered 2.0.0: 250 2.0.0 queued", 1)
    );

    let next_hop = NextHop::start(script()).await;
    let outcome = send(&next_hop, &authority, TlsLevel::Required, TlsNeed::AsRoute).await;
    assert_eq!(in_short(&outcome), "transient 4.7.0: 454 4.7.0 not now");
}

#[tokio::test]
async fn what_was_said_in_clear_before_the_handshake_is_not_heard() {
    let authority = Authority::new();
    let script = Script::default()
        .with_tls(authority.acceptor(Wrong::Nothing))
        .at("STARTTLS", Act::Say("220 go\r\n250 injected"));
    let next_hop = NextHop::start(script).await;
    let outcome = send(&next_hop, &authority, TlsLevel::Required, TlsNeed::AsRoute).await;
    assert_eq!(
        in_short(&outcome),
        "transient 4.7.5: the TLS handshake failed"
    );
}

#[tokio::test]
async fn a_backup_that_is_down_does_not_hide_that_the_first_exchanger_cannot_be_secured() {
    let next_hop = NextHop::start(Script::default()).await;
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("x.example", 10, "one.example.")
        .with_mx("x.example", 20, "two.example.")
        .with_address("one.example", "127.0.0.1")
        .with_address("two.example", "127.0.0.2");
    let route = route(Transport::Mx {
        tls: TlsLevel::None,
        port: next_hop.address.port(),
    });
    let deliveries = deliveries_with(&settings(), &dns);
    let (to_one, message) = (envelope(&["a@x.example"]), Message::new(MESSAGE));
    let outcomes = deliveries
        .attempt(&route, &to_one, &message, TlsNeed::Verified)
        .await;
    let said = "transient 4.7.10: TLS is needed and not offered";
    assert_eq!(in_short(&outcomes[0]), said);
    assert!(outcomes[0].no_secured_path);
    assert!(next_hop.messages().is_empty());
}

#[tokio::test]
async fn the_evidence_says_whose_word_the_name_of_the_next_hop_is() {
    let authority = Authority::new();
    let script = Script::default().with_tls(authority.acceptor(Wrong::Nothing));
    let next_hop = NextHop::start(script).await;
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("x.example", 10, "mx.x.example.")
        .with_address("mx.x.example", "127.0.0.1");
    let by_dns = route(Transport::Mx {
        tls: TlsLevel::Required,
        port: next_hop.address.port(),
    });
    let by_route = smart_host(&next_hop, TlsLevel::Required);
    for (route, named) in [(by_dns, "for mx.x.example"), (by_route, "for 127.0.0.1")] {
        let deliveries = deliveries_with(&settings(), &dns);
        let (to_one, message) = (envelope(&["a@x.example"]), Message::new(MESSAGE));
        let outcomes = deliveries
            .attempt(&route, &to_one, &message, TlsNeed::AsRoute)
            .await;
        let evidence = outcomes[0].tls.as_ref().unwrap().to_string();
        let by = match named {
            "for 127.0.0.1" => "(named by the route)",
            _ => "(named by DNS, unsigned)",
        };
        assert!(
            evidence.contains(named) && evidence.ends_with(by),
            "{evidence}"
        );
    }
}

#[tokio::test]
async fn where_exchangers_are_listed_no_answer_of_dns_names_another() {
    let authority = Authority::new();
    let script = Script::default().with_tls(authority.acceptor(Wrong::Nothing));
    let next_hop = NextHop::start(script).await;
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("x.example", 10, "mx.x.example.")
        .with_address("mx.x.example", "127.0.0.1");
    let by_dns = route(Transport::Mx {
        tls: TlsLevel::Opportunistic,
        port: next_hop.address.port(),
    });
    let attempt = async |listed: &'static [&'static str], need| {
        let mut settings = settings();
        settings.extra_roots = vec![authority.root()];
        let deliveries =
            deliveries_with(&settings, &dns).asking(Arc::new(move |domain, host| match listed {
                [] => Listing::None,
                _ if domain.as_str() == "x.example" && listed.contains(&host) => Listing::Listed,
                _ => Listing::Stranger,
            }));
        let (to_one, message) = (envelope(&["a@x.example"]), Message::new(MESSAGE));
        let outcomes = deliveries.attempt(&by_dns, &to_one, &message, need).await;
        outcomes.into_iter().next().unwrap()
    };

    let stranger = attempt(&["mx1.x.example"], TlsNeed::Verified).await;
    assert_eq!(
        in_short(&stranger),
        "transient 4.7.5: DNS names mx.x.example as mail exchanger, and the register of secure domains does not"
    );
    assert!(stranger.no_secured_path && next_hop.messages().is_empty());

    let listed = attempt(&["mx.x.example"], TlsNeed::Verified).await;
    let evidence = listed.tls.unwrap().to_string();
    assert!(
        evidence.ends_with("(named by DNS, and listed in the register)"),
        "{evidence}"
    );

    // What is not bound to verified TLS goes as DNS says, and so does everything where nothing is listed.
    attempt(&["mx1.x.example"], TlsNeed::AsRoute).await;
    attempt(&[], TlsNeed::Verified).await;
    assert_eq!(next_hop.messages().len(), 3);
}

#[tokio::test]
async fn mail_that_requires_tls_is_sent_verified_and_to_those_who_will_keep_to_it() {
    let authority = Authority::new();
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let mut bound = envelope(&["a@x.example"]);
    bound.require_tls = true;
    let deliveries = deliveries(&trusting).await;
    for (offers, wrong, outcome) in [
        (
            &["REQUIRETLS"][..],
            Wrong::Nothing,
            "delivered 2.0.0: 250 2.0.0 queued",
        ),
        (
            &[],
            Wrong::Nothing,
            "permanent 5.7.30: the next hop does not support REQUIRETLS",
        ),
        (
            &["REQUIRETLS"],
            Wrong::Name,
            "transient 4.7.5: the certificate of the next hop is for another name",
        ),
    ] {
        let script = Script::offering(offers).with_tls(authority.acceptor(wrong));
        let next_hop = NextHop::start(script).await;
        let route = smart_host(&next_hop, TlsLevel::Opportunistic);
        assert_eq!(
            attempt(&deliveries, &route, &bound, MESSAGE).await,
            [outcome]
        );
        let sent = next_hop
            .lines_of(1)
            .iter()
            .any(|line| line.ends_with(" REQUIRETLS"));
        assert_eq!(sent, outcome.starts_with("delivered"));
    }
}

#[tokio::test]
async fn a_password_is_shown_to_a_verified_server_alone() {
    let authority = Authority::new();
    let trusting = ConnectionSettings {
        extra_roots: vec![authority.root()],
        ..settings()
    };
    let deliveries = deliveries(&trusting).await;
    for (wrong, refused, outcome) in [
        (Wrong::Nothing, false, "delivered 2.0.0: 250 2.0.0 queued"),
        (
            Wrong::Nothing,
            true,
            "transient 4.7.8: 535 5.7.8 wrong password",
        ),
        (
            Wrong::Name,
            false,
            "transient 4.7.5: the certificate of the next hop is for another name",
        ),
    ] {
        let mut script = Script::offering(&["AUTH PLAIN"]).with_tls(authority.acceptor(wrong));
        if refused {
            script = script.at("AUTH", Act::Say("535 5.7.8 wrong password"));
        }
        let next_hop = NextHop::start(script).await;
        let route = route(Transport::SmartHost(SmartHost {
            next_hop: next_hop.host_port(),
            tls: TlsLevel::Verified,
            credentials: Some(Credentials::password("u", Secret::new("p".to_owned()))),
        }));
        let to_one = envelope(&["a@x.example"]);
        assert_eq!(
            attempt(&deliveries, &route, &to_one, MESSAGE).await,
            [outcome]
        );
        let lines = next_hop.lines_of(1);
        let shown = lines.iter().any(|line| line == "AUTH PLAIN AHUAcA==");
        assert_eq!(shown, wrong == Wrong::Nothing);
    }
}

#[tokio::test]
async fn a_connection_in_clear_is_never_used_for_what_is_bound_to_tls() {
    let authority = Authority::new();
    let next_hop = NextHop::start(Script::default()).await;
    let deliveries = deliveries(&settings()).await;
    let route = smart_host(&next_hop, TlsLevel::Opportunistic);
    let (to_one, message) = (envelope(&["a@x.example"]), Message::new(MESSAGE));
    drop(authority);

    let clear = deliveries
        .attempt(&route, &to_one, &message, TlsNeed::AsRoute)
        .await;
    let bound = deliveries
        .attempt(&route, &to_one, &message, TlsNeed::Verified)
        .await;

    assert_eq!(in_short(&clear[0]), "delivered 2.0.0: 250 2.0.0 queued");
    assert_eq!(
        in_short(&bound[0]),
        "transient 4.7.10: TLS is needed and not offered"
    );
    assert_eq!(next_hop.messages().len(), 1);
}
