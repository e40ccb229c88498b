//! SMTP servers on OpenSSL that break in one way each (`tests/openssl_next_hop.py`): the gateway keeps within its
//! limits, sends nothing bound to verified TLS to the wrong place, and serves the others meanwhile.

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::authority::Authority;
use super::chains::Chain;
use super::exchange::{HOURS, PATIENT, all_come_to, bound, by_mx, send_each, trail};
use super::name_server::{NameServer, mx};
use super::next_hop::edit;
use super::program::Program;
use super::support::{Gateway, installed};

/// One exchanger: what it does and shows, what comes of patient data for it, and of what may go to anybody.
struct Case {
    name: &'static str,
    does: &'static str,
    shows: Chain,
    bound: &'static [&'static str],
    free: &'static [&'static str],
}

const fn case(
    name: &'static str,
    does: &'static str,
    shows: Chain,
    bound: &'static [&'static str],
    free: &'static [&'static str],
) -> Case {
    Case {
        name,
        does,
        shows,
        bound,
        free,
    }
}

const VERIFIED: &[&str] = &["delivered", " verified for mx.", "authenticated: web-pki"];
const UNVERIFIED: &[&str] = &["delivered", "tls: TLSv1.", " unverified for mx."];
const NO_HANDSHAKE: &[&str] = &["deferred; status: 4.7.5", "the TLS handshake failed"];
const IN_CLEAR: &[&str] = &["delivered", "downgrade: in clear: the TLS handshake failed"];
const TOO_LONG: &[&str] = &["deferred; status: 4.4.2", "the next hop took too long"];
const GIBBERISH: &[&str] = &[
    "deferred; status: 4.4.2",
    "the next hop does not speak the protocol",
];

/// Where a certificate says that one may ask whether it is revoked.
const REVOCATIONS: &str = "127.26.1.200:80";

const CASES: &[Case] = &[
    case("silent", "never answers", Chain::Right, TOO_LONG, TOO_LONG),
    case(
        "slow",
        "an octet a second",
        Chain::Right,
        TOO_LONG,
        TOO_LONG,
    ),
    case(
        "line",
        "a line without an end",
        Chain::Right,
        GIBBERISH,
        GIBBERISH,
    ),
    case(
        "lines",
        "lines without an end",
        Chain::Right,
        GIBBERISH,
        GIBBERISH,
    ),
    case(
        "hello",
        "250 without an end to EHLO",
        Chain::Right,
        GIBBERISH,
        GIBBERISH,
    ),
    case("well", "well", Chain::Right, VERIFIED, VERIFIED),
    case("eleven", "tls 1.1", Chain::Right, NO_HANDSHAKE, IN_CLEAR),
    case("weak", "weak cipher", Chain::Right, NO_HANDSHAKE, IN_CLEAR),
    case(
        "key",
        "weak key",
        Chain::WeakKey,
        &[
            "deferred; status: 4.7.5",
            "the certificate of the next hop cannot be verified",
        ],
        UNVERIFIED,
    ),
    case(
        "subject",
        "well",
        Chain::NameInSubject,
        &["deferred; status: 4.7.5", "is for another name"],
        UNVERIFIED,
    ),
    case("swapped", "well", Chain::Swapped, VERIFIED, VERIFIED),
    case(
        "missing",
        "well",
        Chain::Missing,
        &[
            "deferred; status: 4.7.5",
            "an authority that is not trusted",
        ],
        UNVERIFIED,
    ),
    case(
        "revocable",
        "well",
        Chain::Revocable(REVOCATIONS),
        VERIFIED,
        VERIFIED,
    ),
    case(
        "closes",
        "closes in the handshake",
        Chain::Right,
        NO_HANDSHAKE,
        IN_CLEAR,
    ),
    case(
        "hangs",
        "silent in the handshake",
        Chain::Right,
        NO_HANDSHAKE,
        IN_CLEAR,
    ),
    case(
        "later",
        "454 to STARTTLS",
        Chain::Right,
        &["deferred", "454 4.7.0 TLS not available"],
        &[
            "delivered",
            "downgrade: in clear: the next hop offers TLS and refuses it",
        ],
    ),
    // What was said in clear before TLS counts for nothing: not even the handshake is begun.
    case(
        "injects",
        "words after the go-ahead",
        Chain::Right,
        NO_HANDSHAKE,
        IN_CLEAR,
    ),
    case(
        "data",
        "silent after the data",
        Chain::Right,
        TOO_LONG,
        TOO_LONG,
    ),
];

/// The messages that one of them took: for whom, and under which TLS.
fn taken(hops: &Program, name: &str) -> Vec<(String, String)> {
    let text = hops.file("taken.jsonl");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_it = lines.filter(|taken: &Value| taken["name"] == name);
    let said = |taken: &Value| {
        (
            taken["to"][0].as_str().unwrap().to_owned(),
            taken["tls"].to_string(),
        )
    };
    of_it.map(|taken| said(&taken)).collect()
}

#[test]
fn openssl_servers_that_break_get_nothing_that_is_bound_and_keep_nobody_else_waiting() {
    if !installed("python3") {
        return;
    }
    let revocations = match TcpListener::bind(REVOCATIONS) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("skipped: {REVOCATIONS}: {error}"),
    };
    revocations.set_nonblocking(true).unwrap();
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let mut names = NameServer::start();
    let (mut hops, mut cases) = (Vec::new(), Vec::new());
    for (case, last) in CASES.iter().zip(1..) {
        let (domain, address) = (format!("{}.example", case.name), format!("127.26.1.{last}"));
        let host = format!("mx.{domain}");
        let Some(pem) = case.shows.pem(&authority, &host) else {
            continue;
        };
        fs::write(folder.path().join(case.name), pem).unwrap();
        hops.push(json!({"name": case.name, "address": address, "port": 25, "does": case.does, "pem": case.name}));
        names = names
            .with(&domain, mx(10, &host))
            .with_address(&host, &address);
        cases.push(case);
    }
    fs::write(
        folder.path().join("hops.json"),
        Value::Array(hops).to_string(),
    )
    .unwrap();
    let hops = Program::start("openssl_next_hop.py", folder);
    let gateway = Gateway::start_with(|policies| {
        by_mx(policies, names.address, false, &authority);
        let (greeting, others) = (
            "greeting-timeout = \"5m\"",
            "command-timeout = \"5m\"\ndata-timeout = \"10m\"",
        );
        edit(
            policies,
            "postern.toml",
            greeting,
            "greeting-timeout = \"8s\"",
        );
        edit(
            policies,
            "postern.toml",
            others,
            "command-timeout = \"6s\"\ndata-timeout = \"6s\"",
        );
        for case in &cases {
            bound(policies, &format!("{}.example", case.name));
        }
    });
    let to = |local: &str| -> Vec<String> {
        cases
            .iter()
            .map(|case| format!("{local}@{}.example", case.name))
            .collect()
    };
    // The first of them say nothing at all: those after them go on meanwhile.
    send_each(&gateway, &to("gp"), PATIENT);
    send_each(&gateway, &to("desk"), HOURS);

    let both = cases.iter().flat_map(|case| {
        let to = |local| format!("{local}@{}.example", case.name);
        [
            (to("gp"), case.bound.to_vec()),
            (to("desk"), case.free.to_vec()),
        ]
    });
    all_come_to(&gateway, &both.collect::<Vec<_>>());
    for case in &cases {
        let gp = format!("gp@{}.example", case.name);
        let taken = taken(&hops, case.name);
        let bound: Vec<_> = taken.iter().filter(|(to, _)| *to == gp).collect();
        // Never without TLS 1.2 or 1.3, and not at all but where the certificate is right.
        assert!(
            bound.iter().all(|(_, tls)| tls.contains("TLSv1.3")),
            "{}: {bound:?}",
            case.name
        );
        match case.bound[0] {
            "delivered" => assert_eq!(bound.len(), 1, "{}", case.name),
            // It took the message, and never said so: it may get it again.
            _ if case.does == "silent after the data" => assert!(!bound.is_empty()),
            _ => assert!(bound.is_empty(), "{}: {bound:?}", case.name),
        }
        if case.free[0] == "delivered" {
            let desk = taken.iter().filter(|(to, _)| to.starts_with("desk@"));
            assert_eq!(desk.count(), 1, "{}", case.name);
        }
    }
    // Whoever does well was served before the first one that says nothing was given up for now.
    let trail = trail(&gateway);
    let first = |to: &str, kind: &str| {
        let is = |event: &&Value| event["recipient"] == to && event["kind"] == kind;
        let at = &trail.iter().find(is).unwrap()["at"];
        at.as_str().unwrap().to_owned()
    };
    assert!(first("gp@well.example", "delivered") < first("gp@silent.example", "deferred"));
    // A certificate of a stranger makes the gateway ask nobody anything.
    assert!(revocations.accept().is_err());
}
