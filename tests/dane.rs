//! DANE (RFC 7672) through the whole program: a name server on this machine that says which of its answers are
//! validated, exchangers on port 25 of loopback addresses, and the gateway between them.
//!
//! Exchangers listen on port 25 whatever a route says: where that may not be opened this says so and ends. The same
//! is tested without the program, on other ports, in `src/delivery/tests/assured.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/next_hop.rs"]
mod next_hop;

use std::net::TcpListener;
use std::sync::Arc;

use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::TLSA;
use hickory_resolver::proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use name_server::{NameServer, mx};
use next_hop::{NextHop, Protection, edit};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use support::{Gateway, wait_for};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

const FROM: &str = "ward@bumbleton.example";
const MESSAGE: &[u8] = b"From: <ward@bumbleton.example>\r\nSubject: hours\r\n\r\nNine to five.\r\n";

/// A server that nobody but its TLSA record vouches for, and SHA-256 of its certificate.
fn server() -> (Protection, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["another.example".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap().der().clone();
    let digest = Sha256::digest(&own).to_vec();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own], key)
        .unwrap();
    (Protection::Tls(Arc::new(config)), digest)
}

/// DANE-EE(3) Cert(0) SHA2-256(1).
fn tlsa(digest: &[u8]) -> RData {
    let (usage, selector) = (CertUsage::DaneEe, Selector::Full);
    RData::TLSA(TLSA::new(
        usage,
        selector,
        Matching::Sha256,
        digest.to_vec(),
    ))
}

/// An exchanger at port 25 of 127.25.0.`last`; `None` where that may not be opened.
fn exchanger(last: u8, protection: &Protection) -> Option<NextHop> {
    match TcpListener::bind((format!("127.25.0.{last}"), 25)) {
        Ok(listener) => Some(NextHop::on(listener, protection, "250 2.0.0 taken\r\n")),
        Err(error) => {
            eprintln!("skipped: port 25 of 127.25.0.{last}: {error}");
            None
        }
    }
}

/// Facts of the events of a kind about an address.
fn facts(gateway: &Gateway, about: &str, kind: &str) -> Vec<Value> {
    let output = gateway.postern(&["--json", "trace", about]);
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_kind = events.filter(|event: &Value| event["kind"] == kind);
    of_kind.map(|event| event["facts"].clone()).collect()
}

#[test]
fn a_record_that_matches_authenticates_one_that_does_not_keeps_mail_here_and_unsigned_ones_count_for_nothing()
 {
    let (protection, digest) = server();
    let [Some(right), Some(wrong), Some(unsigned)] =
        [1, 2, 3].map(|last| exchanger(last, &protection))
    else {
        return;
    };
    let other = Sha256::digest(b"another certificate").to_vec();
    let mut zone = NameServer::start();
    for (domain, last, announced) in [
        ("right.example", 1, &digest),
        ("wrong.example", 2, &other),
        ("unsigned.example", 3, &other),
    ] {
        let host = format!("mx.{domain}");
        let records = format!("_25._tcp.{host}");
        zone = zone
            .with(domain, mx(10, &host))
            .with_address(&host, &format!("127.25.0.{last}"))
            .with(&records, tlsa(announced));
        if domain != "unsigned.example" {
            zone = zone.signed(&[domain, &host, &records]);
        }
    }
    let gateway = Gateway::start_with(|policies| {
        let servers = format!("servers = [\"{}\"]\nvalidating = true\n#", zone.address);
        edit(policies, "postern.toml", "# servers = ", &servers);
        let route = "mx = true\ntls = \"opportunistic\"\n#";
        edit(
            policies,
            "postern.toml",
            "maildir = \"../data/maildir\" ",
            route,
        );
        let straight = "straight-through = true ";
        edit(
            policies,
            "postern.toml",
            "straight-through = false ",
            straight,
        );
        let longer = "straight-through-wait = \"20s\"";
        edit(
            policies,
            "postern.toml",
            "straight-through-wait = \"5s\"",
            longer,
        );
    });
    let mut client = gateway.connect();
    client.command("EHLO ward.example");

    let reply = client.submit(FROM, &["gp@right.example"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 sent on: PX-"), "{reply}");
    let said = facts(&gateway, "gp@right.example", "delivered");
    assert_eq!(said[0]["authenticated"], "dane");
    assert_eq!(said[0]["straight-through"], "yes");
    let tls = said[0]["tls"].as_str().unwrap();
    assert!(
        tls.contains(" verified for ") && tls.contains("(named by DNS, signed)"),
        "{tls}"
    );

    let reply = client.submit(FROM, &["gp@wrong.example"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    let deferred = wait_for("the deferral", || {
        facts(&gateway, "gp@wrong.example", "deferred").pop()
    });
    let why = deferred["reply"].as_str().unwrap();
    assert!(
        why.contains("is not the one that its TLSA records announce"),
        "{why}"
    );

    // As if there were no record: under TLS with whoever is there, for nobody vouches for the record either.
    let reply = client.submit(FROM, &["gp@unsigned.example"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 sent on: PX-"), "{reply}");
    let said = facts(&gateway, "gp@unsigned.example", "delivered");
    assert_eq!(said[0]["authenticated"], "none");
    assert!(said[0]["tls"].as_str().unwrap().contains(" unverified "));

    let taken = [&right, &wrong, &unsigned].map(|hop| hop.messages().len());
    assert_eq!(taken, [1, 0, 1]);
}
