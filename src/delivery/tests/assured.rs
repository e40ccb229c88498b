//! What destinations say of TLS, against exchangers that keep to it and exchangers that do not: DANE (RFC 7672)
//! and MTA-STS (RFC 8461).

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::next_hop::{Act, Script};
use super::*;
use crate::delivery::assurance::tests::{ENFORCE, Web};
use crate::delivery::https::Limits;
use crate::outcome::Authenticated;

/// A server's certificate, and the authority that issued it.
struct Server {
    root: CertificateDer<'static>,
    own: CertificateDer<'static>,
    acceptor: TlsAcceptor,
}

/// One for this name; it shows the authority as well, as DANE-TA wants.
fn server(name: &str, expired: bool) -> Server {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, &root).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![own.clone(), root.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Server {
        root: root.der().clone(),
        own,
        acceptor: TlsAcceptor::from(Arc::new(config)),
    }
}

/// How the exchanger of x.example behaves.
#[derive(Clone, Copy)]
enum Behaves {
    Well,
    OffersNoTls,
    BreaksTls,
}

async fn exchanger(server: &Server, behaves: Behaves) -> NextHop {
    let script = match behaves {
        Behaves::OffersNoTls => Script::default(),
        Behaves::Well => Script::default().with_tls(server.acceptor.clone()),
        Behaves::BreaksTls => Script::default()
            .with_tls(server.acceptor.clone())
            .at("STARTTLS", Act::BrokenTls),
    };
    NextHop::start(script).await
}

fn by_mx(next_hop: &NextHop, tls: TlsLevel) -> TakenRoute {
    route(Transport::Mx {
        tls,
        port: next_hop.address.port(),
    })
}

async fn zone(next_hop: &NextHop) -> (FakeDns, String) {
    let dns = FakeDns::start().await;
    let dns = dns
        .with_mx("x.example", 10, "mx.x.example.")
        .with_address("mx.x.example", "127.0.0.1");
    (
        dns,
        format!("_{}._tcp.mx.x.example", next_hop.address.port()),
    )
}

async fn deliver(deliveries: &Deliveries, route: &TakenRoute, message: &[u8]) -> Outcome {
    let message = Message::new(message.to_vec());
    let to_one = envelope(&["a@x.example"]);
    let mut outcomes = deliveries
        .attempt(route, &to_one, &message, TlsNeed::AsRoute)
        .await;
    outcomes.remove(0)
}

fn validating(dns: &FakeDns) -> Deliveries {
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    Deliveries::new(&settings(), dns.validating(), "gw.example", clock).unwrap()
}

const DELIVERED: &str = "delivered 2.0.0: 250 2.0.0 queued";
const NO_MATCH: &str = "transient 4.7.5: the certificate of the next hop is not the one that its TLSA records announce";
const NO_TLS: &str = "transient 4.7.10: TLS is needed and not offered";
const NO_HANDSHAKE: &str = "transient 4.7.5: the TLS handshake failed";

/// RFC 7672 §2.2, §3.1: what a record announces, and what the exchanger then shows.
#[tokio::test]
async fn records_decide_who_gets_mail_and_nobody_gets_it_in_clear() {
    let digest = |octets: &[u8]| Sha256::digest(octets).to_vec();
    for (name, expired, behaves, record, outcome) in [
        // DANE-EE: neither names nor dates matter.
        ("other.example", true, Behaves::Well, "own", DELIVERED),
        ("mx.x.example", false, Behaves::Well, "other", NO_MATCH),
        ("mx.x.example", false, Behaves::OffersNoTls, "own", NO_TLS),
        (
            "mx.x.example",
            false,
            Behaves::BreaksTls,
            "own",
            NO_HANDSHAKE,
        ),
        // DANE-TA: they do. The recipient's domain is a right name too.
        ("mx.x.example", false, Behaves::Well, "authority", DELIVERED),
        ("x.example", false, Behaves::Well, "authority", DELIVERED),
        ("other.example", false, Behaves::Well, "authority", NO_MATCH),
        ("mx.x.example", true, Behaves::Well, "authority", NO_MATCH),
        // None that can be used: TLS is a must, with anybody.
        ("other.example", true, Behaves::Well, "unusable", DELIVERED),
        (
            "mx.x.example",
            false,
            Behaves::OffersNoTls,
            "unusable",
            NO_TLS,
        ),
    ] {
        let server = server(name, expired);
        let next_hop = exchanger(&server, behaves).await;
        let (dns, tlsa) = zone(&next_hop).await;
        let (numbers, data) = match record {
            "own" => ((3, 0, 1), digest(&server.own)),
            "other" => ((3, 0, 1), digest(b"another certificate")),
            "authority" => ((2, 0, 1), digest(&server.root)),
            _ => ((1, 0, 1), digest(&server.own)),
        };
        let dns =
            dns.with_tlsa(&tlsa, numbers, &data)
                .signed(&["x.example", "mx.x.example", &tlsa]);
        let route = by_mx(&next_hop, TlsLevel::Opportunistic);
        let found = deliver(&validating(&dns), &route, MESSAGE).await;
        assert_eq!(in_short(&found), outcome, "{name} {record}");
        assert_eq!(next_hop.messages().len(), usize::from(outcome == DELIVERED));
        assert_eq!(found.no_secured_path, outcome != DELIVERED);
        let evidence = found.tls.map(|tls| (tls.authenticated, tls.verified));
        let expected = match (outcome == DELIVERED, record) {
            (false, _) => None,
            (true, "unusable") => Some((Authenticated::None, false)),
            (true, _) => Some((Authenticated::Dane, true)),
        };
        assert_eq!(evidence, expected, "{name} {record}");
    }
}

/// RFC 7672 §2.1, §2.2.1, §2.2.2: every step of the way to the records is validated, or they do not count; one that
/// fails keeps the message here.
#[tokio::test]
async fn records_count_where_the_whole_way_to_them_is_signed() {
    let server = server("other.example", false);
    for (signed, failing, counts) in [
        (&["x.example", "mx.x.example", "TLSA"][..], "", Some(true)),
        (&["mx.x.example", "TLSA"], "", Some(false)),
        (&["x.example", "TLSA"], "", Some(false)),
        (&["x.example", "mx.x.example"], "", Some(false)),
        (&["x.example", "mx.x.example", "TLSA"], "TLSA", None),
        (&["x.example", "mx.x.example", "TLSA"], "mx.x.example", None),
        (&["x.example", "mx.x.example", "TLSA"], "x.example", None),
    ] {
        let next_hop = exchanger(&server, Behaves::Well).await;
        let (dns, tlsa) = zone(&next_hop).await;
        let name = |name: &'static str| {
            if name == "TLSA" {
                tlsa.clone()
            } else {
                name.to_owned()
            }
        };
        let names: Vec<String> = signed.iter().map(|one| name(one)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut dns = dns.with_tlsa(&tlsa, (3, 0, 1), &[7; 32]).signed(&names);
        if !failing.is_empty() {
            dns = dns.failing_for(&name(failing));
        }
        let route = by_mx(&next_hop, TlsLevel::Opportunistic);
        let found = deliver(&validating(&dns), &route, MESSAGE).await;
        let taken = next_hop.messages().len();
        match counts {
            Some(true) => assert_eq!(in_short(&found), NO_MATCH),
            Some(false) => assert_eq!((in_short(&found).as_str(), taken), (DELIVERED, 1)),
            None => {
                assert_eq!(
                    found.result,
                    DeliveryResult::Transient,
                    "{signed:?} {failing}"
                );
                assert_eq!(taken, 0);
            }
        }
    }
}

/// Without a resolver whose word counts there is no DANE; a route in clear asks nobody.
#[tokio::test]
async fn without_a_validating_resolver_or_at_level_none_records_are_not_asked_for() {
    let server = server("other.example", false);
    let next_hop = exchanger(&server, Behaves::Well).await;
    let (dns, tlsa) = zone(&next_hop).await;
    let dns =
        dns.with_tlsa(&tlsa, (3, 0, 1), &[7; 32])
            .signed(&["x.example", "mx.x.example", &tlsa]);
    let plain = deliveries_with(&settings(), &dns);
    let route = by_mx(&next_hop, TlsLevel::Opportunistic);
    assert_eq!(in_short(&deliver(&plain, &route, MESSAGE).await), DELIVERED);
    let in_clear = by_mx(&next_hop, TlsLevel::None);
    let found = deliver(&validating(&dns), &in_clear, MESSAGE).await;
    assert_eq!(
        (in_short(&found).as_str(), found.downgrade),
        (DELIVERED, None)
    );
}

struct Sts {
    /// Kept for as long as the test runs.
    _folder: tempfile::TempDir,
    deliveries: Deliveries,
    next_hop: NextHop,
}

/// x.example has a policy; its exchanger has this certificate.
async fn sts(policy: &str, server: &Server, behaves: Behaves, waivable: bool) -> Sts {
    let next_hop = exchanger(server, behaves).await;
    let (dns, _) = zone(&next_hop).await;
    let web = Web::start("mta-sts.x.example").await;
    web.has(policy);
    let dns = dns
        .with_txt("_mta-sts.x.example", "v=STSv1; id=1;")
        .with_address("mta-sts.x.example", "127.0.0.1");
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let resolver = dns.resolver(Duration::from_secs(5));
    let limits = Limits {
        timeout: Duration::from_secs(10),
        body_octets: 1_024,
        port: web.port,
    };
    let of = AssuranceSettings {
        tls_required_no: waivable,
        internal_addresses: true,
        ..AssuranceSettings::default()
    };
    let roots = [web.root.clone()];
    let assurance = Assurance::open_with(
        of,
        folder.path(),
        resolver.clone(),
        &roots,
        clock.clone(),
        limits,
    );
    let trusting = ConnectionSettings {
        extra_roots: vec![server.root.clone()],
        ..settings()
    };
    let deliveries = Deliveries::new(&trusting, resolver, "gw.example", clock).unwrap();
    Sts {
        _folder: folder,
        deliveries: deliveries.with_assurance(Arc::new(assurance.unwrap())),
        next_hop,
    }
}

/// RFC 8461 §4, §5: what the policy says, what the exchanger shows, and what comes of it.
#[tokio::test]
async fn an_enforced_policy_keeps_mail_here_and_one_in_testing_lets_it_go_and_says_so() {
    let not_named = "transient 4.7.5: the next hop mx.x.example is not named in the MTA-STS policy of its domain";
    let other_name = "transient 4.7.5: the certificate of the next hop is for another name";
    for (name, expired, behaves, mx, outcome) in [
        (
            "mx.x.example",
            false,
            Behaves::Well,
            "mx.x.example",
            DELIVERED,
        ),
        (
            "mx.x.example",
            false,
            Behaves::Well,
            "*.x.example",
            DELIVERED,
        ),
        (
            "other.example",
            false,
            Behaves::Well,
            "mx.x.example",
            other_name,
        ),
        (
            "mx.x.example",
            true,
            Behaves::Well,
            "mx.x.example",
            "transient 4.7.5: the certificate of the next hop has expired",
        ),
        (
            "mx.x.example",
            false,
            Behaves::OffersNoTls,
            "mx.x.example",
            NO_TLS,
        ),
        (
            "mx.x.example",
            false,
            Behaves::BreaksTls,
            "mx.x.example",
            NO_HANDSHAKE,
        ),
        (
            "mx.x.example",
            false,
            Behaves::Well,
            "mx.y.example",
            not_named,
        ),
    ] {
        for mode in ["enforce", "testing"] {
            let policy = ENFORCE.replace("mx.x.example", mx).replace("enforce", mode);
            let server = server(name, expired);
            let world = sts(&policy, &server, behaves, false).await;
            let route = by_mx(&world.next_hop, TlsLevel::Opportunistic);
            let found = deliver(&world.deliveries, &route, MESSAGE).await;
            let expected = if mode == "testing" {
                DELIVERED
            } else {
                outcome
            };
            assert_eq!(in_short(&found), expected, "{mode} {name} {mx}");
            let taken = usize::from(expected == DELIVERED);
            assert_eq!(world.next_hop.messages().len(), taken);
            assert_eq!(found.no_secured_path, taken == 0);
            // A downgrade is never silent, and what is none is not called one.
            let downgraded = mode == "testing" && outcome != DELIVERED;
            assert_eq!(
                found.downgrade.is_some(),
                downgraded,
                "{:?}",
                found.downgrade
            );
            if outcome == DELIVERED {
                let tls = found.tls.unwrap();
                assert_eq!(tls.authenticated, Authenticated::MtaSts);
                assert!(
                    tls.to_string().ends_with("(named by DNS and MTA-STS)"),
                    "{tls}"
                );
            }
        }
    }
}

/// RFC 8689 §5: a sender's waiver counts where the policy of this gateway allows it, and never against a verdict.
#[tokio::test]
async fn a_sender_may_waive_a_policy_only_where_that_is_allowed_and_nothing_binds_the_mail() {
    let waiving = [b"TLS-Required: No\r\n", MESSAGE].concat();
    let twice = [b"TLS-Required: No\r\nTLS-Required: No\r\n", MESSAGE].concat();
    for (message, waivable, need, level, delivered) in [
        (
            &waiving,
            true,
            TlsNeed::AsRoute,
            TlsLevel::Opportunistic,
            true,
        ),
        (
            &waiving,
            false,
            TlsNeed::AsRoute,
            TlsLevel::Opportunistic,
            false,
        ),
        (
            &waiving,
            true,
            TlsNeed::Verified,
            TlsLevel::Opportunistic,
            false,
        ),
        (&waiving, true, TlsNeed::AsRoute, TlsLevel::Verified, false),
        (
            &twice,
            true,
            TlsNeed::AsRoute,
            TlsLevel::Opportunistic,
            false,
        ),
        (
            &MESSAGE.to_vec(),
            true,
            TlsNeed::AsRoute,
            TlsLevel::Opportunistic,
            false,
        ),
    ] {
        let server = server("other.example", false);
        let world = sts(ENFORCE, &server, Behaves::Well, waivable).await;
        let route = by_mx(&world.next_hop, level);
        let (to_one, message) = (envelope(&["a@x.example"]), Message::new(message.clone()));
        let outcomes = world
            .deliveries
            .attempt(&route, &to_one, &message, need)
            .await;
        let taken = world.next_hop.messages().len() == 1;
        assert_eq!(taken, delivered, "{}", in_short(&outcomes[0]));
        assert_eq!(outcomes[0].downgrade.is_some(), delivered);
    }
    // REQUIRETLS goes before it (RFC 8689 §4.1).
    let server = server("other.example", false);
    let world = sts(ENFORCE, &server, Behaves::Well, true).await;
    let route = by_mx(&world.next_hop, TlsLevel::Opportunistic);
    let (mut bound, message) = (envelope(&["a@x.example"]), Message::new(waiving.clone()));
    bound.require_tls = true;
    world
        .deliveries
        .attempt(&route, &bound, &message, TlsNeed::AsRoute)
        .await;
    assert!(world.next_hop.messages().is_empty());
}

/// RFC 8460 §3: our reports of TLS go whatever the policy says, for it may be what they report. Anybody can write their
/// header.
#[tokio::test]
async fn a_report_of_our_own_passes_a_policy_and_what_looks_like_one_does_not() {
    let report = b"TLS-Report-Domain: x.example\r\nTLS-Required: No\r\n";
    let report = Message::new([&report[..], MESSAGE].concat());
    let mut from_nobody = envelope(&["a@x.example"]);
    from_nobody.reverse_path = ReversePath::Null;
    for (need, delivered) in [(TlsNeed::OwnReport, true), (TlsNeed::AsRoute, false)] {
        let server = server("other.example", false);
        let world = sts(ENFORCE, &server, Behaves::Well, false).await;
        let route = by_mx(&world.next_hop, TlsLevel::Opportunistic);
        let outcomes = world
            .deliveries
            .attempt(&route, &from_nobody, &report, need)
            .await;
        let taken = world.next_hop.messages().len() == 1;
        assert_eq!(taken, delivered, "{need:?}: {}", in_short(&outcomes[0]));
    }
}

/// RFC 8460: a report says what the destination did, not that nobody asked it for TLS, nor what a sender waived.
#[tokio::test]
async fn sessions_that_ask_nothing_of_the_destination_are_not_reported() {
    let next_hop = exchanger(&server("mx.x.example", false), Behaves::Well).await;
    let folder = tempfile::tempdir().unwrap();
    let deliveries = counting(&next_hop, &folder).await;
    let waiving = [b"TLS-Required: No\r\n", MESSAGE].concat();
    for (level, message) in [
        (TlsLevel::None, MESSAGE),
        (TlsLevel::Opportunistic, &waiving),
        (TlsLevel::Opportunistic, MESSAGE),
    ] {
        let outcome = deliver(&deliveries, &by_mx(&next_hop, level), message).await;
        assert_eq!(in_short(&outcome), DELIVERED);
    }
    assert_eq!(counted(&folder, "result").await, (1, String::new()));
}

/// RFC 8460 §4.4: the address that it was made from, not the one that the system would have chosen.
#[tokio::test]
async fn a_session_is_reported_from_the_address_that_it_was_made_from() {
    let next_hop = exchanger(&server("mx.x.example", false), Behaves::OffersNoTls).await;
    let folder = tempfile::tempdir().unwrap();
    let deliveries = counting(&next_hop, &folder).await;
    let route = taken(Route {
        shaping: Shaping {
            sources: ["127.0.0.9".parse().unwrap()].into(),
            ..Shaping::default()
        },
        ..Route::clone(&by_mx(&next_hop, TlsLevel::Opportunistic))
    });
    let outcome = deliver(&deliveries, &route, MESSAGE).await;
    assert_eq!(in_short(&outcome), DELIVERED);
    let ends = "ip || ' from ' || sending_ip";
    let found = counted(&folder, ends).await;
    assert_eq!(found, (1, "127.0.0.1 from 127.0.0.9".to_owned()));
}

/// Counts sessions with x.example, which wants reports.
async fn counting(next_hop: &NextHop, folder: &tempfile::TempDir) -> Deliveries {
    let (dns, _) = zone(next_hop).await;
    let dns = dns.with_txt("_smtp._tls.x.example", "v=TLSRPTv1; rua=mailto:r@y.example");
    let resolver = dns.resolver(Duration::from_secs(5));
    let of = AssuranceSettings {
        mta_sts: false,
        tls_required_no: true,
        report_from: crate::mail::Mailbox::parse("tls@gw.example").ok(),
        ..AssuranceSettings::default()
    };
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let (here, none) = (folder.path(), &[]);
    let assurance = Assurance::open(of, here, resolver.clone(), none, clock.clone()).unwrap();
    let deliveries = Deliveries::new(&settings(), resolver, "gw.example", clock).unwrap();
    deliveries.with_assurance(Arc::new(assurance))
}

/// How many sessions were counted, once one was, and what of them.
async fn counted(folder: &tempfile::TempDir, what: &str) -> (i64, String) {
    let db = rusqlite::Connection::open(folder.path().join("transport.db")).unwrap();
    let sql = format!(
        "SELECT coalesce(sum(sessions), 0), coalesce(group_concat({what}), '') FROM tls_session"
    );
    loop {
        let found = db.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
        match found.unwrap() {
            (0, _) => tokio::time::sleep(Duration::from_millis(5)).await,
            found => return found,
        }
    }
}

#[tokio::test]
async fn mail_in_clear_is_a_downgrade_that_is_said() {
    let server = server("mx.x.example", false);
    for (behaves, why) in [
        (Behaves::OffersNoTls, "in clear: the next hop offers no TLS"),
        (Behaves::BreaksTls, "in clear: the TLS handshake failed"),
    ] {
        let next_hop = exchanger(&server, behaves).await;
        let (dns, _) = zone(&next_hop).await;
        let deliveries = deliveries_with(&settings(), &dns);
        let route = by_mx(&next_hop, TlsLevel::Opportunistic);
        let found = deliver(&deliveries, &route, MESSAGE).await;
        assert_eq!(in_short(&found), DELIVERED);
        assert_eq!((found.downgrade.as_deref(), found.tls), (Some(why), None));
    }
}

/// RFC 8689 §4.2.1: each host is asked, and a message goes to none that will not keep to it; a report from elsewhere goes
/// to such a one rather than nowhere (§5).
#[tokio::test]
async fn mail_that_requires_tls_goes_to_the_host_that_keeps_to_it_wherever_in_the_list_that_is() {
    let report =
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x--\r\n";
    let refused = "permanent 5.7.30: the next hop does not support REQUIRETLS";
    let server = server("mx.x.example", false);
    let digest = Sha256::digest(&server.own).to_vec();
    for (message, from, second_keeps, said, taken) in [
        (MESSAGE, "s@a.example", true, DELIVERED, [0, 1]),
        (MESSAGE, "s@a.example", false, refused, [0, 0]),
        (MESSAGE, "", false, refused, [0, 0]),
        (&report[..], "", true, DELIVERED, [0, 1]),
        (&report[..], "", false, DELIVERED, [1, 0]),
    ] {
        let script =
            |offers: &[&'static str]| Script::offering(offers).with_tls(server.acceptor.clone());
        let first = NextHop::start(script(&[])).await;
        let offers: &[&str] = if second_keeps { &["REQUIRETLS"] } else { &[] };
        let port = first.address.port();
        let second = NextHop::start_at(&format!("127.0.0.2:{port}"), script(offers)).await;
        let (dns, tlsa) = zone(&first).await;
        let tlsa2 = tlsa.replace("mx.", "mx2.");
        let dns = dns
            .with_mx("x.example", 20, "mx2.x.example.")
            .with_address("mx2.x.example", "127.0.0.2")
            .with_tlsa(&tlsa, (3, 0, 1), &digest)
            .with_tlsa(&tlsa2, (3, 0, 1), &digest)
            .signed(&["x.example", "mx.x.example", "mx2.x.example", &tlsa, &tlsa2]);
        let deliveries = validating(&dns);
        let mut bound = envelope(&["a@x.example"]);
        bound.require_tls = true;
        bound.reverse_path = ReversePath::parse(from).unwrap();
        let route = by_mx(&first, TlsLevel::Opportunistic);
        // Twice: what a report left behind serves nobody who wants more.
        for round in 1..=2 {
            let outcomes = deliveries
                .attempt(&route, &bound, &Message::new(message), TlsNeed::AsRoute)
                .await;
            assert_eq!(in_short(&outcomes[0]), said, "{from} {second_keeps}");
            let found = [&first, &second].map(|hop| hop.messages().len());
            assert_eq!(found, taken.map(|one| one * round), "{from} {second_keeps}");
        }
    }
}

/// RFC 8689 §4.2.1: REQUIRETLS wants to know whose word the name of the exchanger is.
#[tokio::test]
async fn mail_that_requires_tls_goes_to_exchangers_that_somebody_vouches_for() {
    let mut bound = envelope(&["a@x.example"]);
    bound.require_tls = true;
    let message = Message::new(MESSAGE);
    let server = server("mx.x.example", false);
    let digest = Sha256::digest(&server.own).to_vec();
    for (signed, delivered) in [(true, true), (false, false)] {
        let script = Script::offering(&["REQUIRETLS"]).with_tls(server.acceptor.clone());
        let next_hop = NextHop::start(script).await;
        let (dns, tlsa) = zone(&next_hop).await;
        let names = ["x.example", "mx.x.example", &tlsa];
        let dns = dns.with_tlsa(&tlsa, (3, 0, 1), &digest);
        let dns = dns.signed(if signed { &names } else { &[] });
        let route = by_mx(&next_hop, TlsLevel::Opportunistic);
        let deliveries = validating(&dns);
        let outcomes = deliveries
            .attempt(&route, &bound, &message, TlsNeed::AsRoute)
            .await;
        let said = in_short(&outcomes[0]);
        match delivered {
            true => assert_eq!(said, DELIVERED),
            false => assert!(said.starts_with("transient 4.7.30: "), "{said}"),
        }
        assert_eq!(next_hop.messages().len(), usize::from(delivered));
    }
}
