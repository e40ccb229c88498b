//! MTA-STS (RFC 8461) with policies on web servers that nobody here wrote (`tests/openssl_web.py`), on port 443, and
//! Postfix as exchanger.
//!
//! Its certificate is from nobody that is trusted, so that what became of a policy is seen by what becomes of mail: one
//! that was found keeps it here, and one that was not lets it go as if there were none (§5.1).

use std::fs;
use std::net::TcpListener;

use serde_json::{Value, json};

use super::authority::{Authority, Wrong};
use super::exchange::{HOURS, all_come_to, by_mx, send_each};
use super::name_server::{NameServer, mx, txt};
use super::next_hop::edit;
use super::postfix::Postfix;
use super::program::Program;
use super::support::{Gateway, installed, wait_for};

/// The web server of one domain: its certificate, what it does, what the log says, and whether the policy counts.
type Case = (&'static str, Wrong, &'static str, &'static str, bool);

const CASES: &[Case] = &[
    (
        "good",
        Wrong::Nothing,
        "is good",
        "an MTA-STS policy is kept",
        true,
    ),
    (
        "vouched",
        Wrong::Nothing,
        "is good",
        "an MTA-STS policy is kept",
        true,
    ),
    (
        "other",
        Wrong::Name,
        "is good",
        "the certificate of the server is for another name",
        false,
    ),
    (
        "expired",
        Wrong::Expired,
        "is good",
        "the certificate of the server has expired",
        false,
    ),
    (
        "self",
        Wrong::SelfSigned,
        "is good",
        "the certificate of the server is from an authority that is not trusted",
        false,
    ),
    (
        "old",
        Wrong::Nothing,
        "speaks TLS 1.1",
        "the TLS handshake failed",
        false,
    ),
    // §3.3: whoever redirects is not followed, wherever he points.
    (
        "redirects",
        Wrong::Nothing,
        "redirects",
        "the server answers 301",
        false,
    ),
    (
        "page",
        Wrong::Nothing,
        "is a page",
        "what the server has is not text/plain",
        false,
    ),
    (
        "large",
        Wrong::Nothing,
        "is too large",
        "the answer is too large",
        false,
    ),
    (
        "none",
        Wrong::Nothing,
        "has none",
        "the server answers 404",
        false,
    ),
    (
        "slow",
        Wrong::Nothing,
        "is slow",
        "the server took too long",
        false,
    ),
];

const ELSEWHERE: &str = "https://mta-sts.good.example/elsewhere";

#[test]
fn a_policy_counts_if_it_comes_from_the_right_server_as_it_should_and_is_found_again_after_a_restart()
 {
    if !installed("python3") {
        return;
    }
    if let Err(error) = TcpListener::bind("127.26.6.1:443") {
        return eprintln!("skipped: port 443 of 127.26.6.1: {error}");
    }
    let authority = Authority::new();
    let files = [
        (
            "stranger",
            authority.pem_for(&["stranger.example"], Wrong::SelfSigned),
        ),
        (
            "vouched",
            authority.pem_for(&["mx.vouched.example"], Wrong::Nothing),
        ),
    ];
    let service = |address: &str, pem: &str| {
        (
            format!("{address}:25"),
            vec![format!("smtpd_tls_chain_files=FOLDER/{pem}")],
        )
    };
    let services = [
        service("127.26.7.1", "stranger"),
        service("127.26.7.2", "vouched"),
    ];
    let Some(postfix) = Postfix::start(&services, "", "", &files) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (mut sites, mut names) = (Vec::new(), NameServer::start());
    for ((name, certificate, does, ..), last) in CASES.iter().zip(1..) {
        let (domain, address) = (format!("{name}.example"), format!("127.26.6.{last}"));
        let (host, web) = (format!("mx.{domain}"), format!("mta-sts.{domain}"));
        fs::write(
            folder.path().join(name),
            authority.pem_for(&[&web], *certificate),
        )
        .unwrap();
        let policy = format!("version: STSv1\r\nmode: enforce\r\nmx: {host}\r\nmax_age: 86400\r\n");
        sites.push(json!({
            "name": name, "address": address, "port": 443, "does": does, "pem": name, "policy": policy, "to": ELSEWHERE
        }));
        let exchanger = if *name == "vouched" {
            "127.26.7.2"
        } else {
            "127.26.7.1"
        };
        names = names
            .with(&domain, mx(10, &host))
            .with_address(&host, exchanger)
            .with_address(&web, &address)
            .with(&format!("_mta-sts.{domain}"), txt(&["v=STSv1; id=1;"]));
    }
    fs::write(
        folder.path().join("web.json"),
        Value::Array(sites).to_string(),
    )
    .unwrap();
    let web = Program::start("openssl_web.py", folder);
    let mut gateway = Gateway::start_with(|policies| {
        by_mx(policies, names.address, false, &authority);
        edit(
            policies,
            "postern.toml",
            "internal-addresses = false",
            "internal-addresses = true",
        );
    });
    let to = |local: &str| {
        CASES
            .iter()
            .map(|(name, ..)| format!("{local}@{name}.example"))
            .collect::<Vec<_>>()
    };
    send_each(&gateway, &to("first"), HOURS);
    let kept_here = vec![
        "deferred; status: 4.7.5",
        "is from an authority that is not trusted",
    ];
    let expected = |local: &str| -> Vec<(String, Vec<&str>)> {
        let words = |name: &str, counts: bool| match (name, counts) {
            ("vouched", _) => vec![
                "delivered",
                " verified for mx.vouched.example",
                "named by DNS and MTA-STS",
                "authenticated: mta-sts",
            ],
            (_, true) => kept_here.clone(),
            (_, false) => vec!["delivered", " unverified for ", "authenticated: none"],
        };
        let of_each = CASES
            .iter()
            .map(|(name, .., counts)| (format!("{local}@{name}.example"), words(name, *counts)));
        of_each.collect()
    };
    all_come_to(&gateway, &expected("first"));
    for (name, _, _, words, _) in CASES {
        wait_for(words, || {
            let log = gateway.log();
            let about =
                |line: &&str| line.contains(&format!("{name}.example")) && line.contains(words);
            log.lines().find(about).map(drop)
        });
    }
    let asked = web.file("asked.txt");
    assert!(
        asked.contains("redirects /.well-known/mta-sts.txt"),
        "{asked}"
    );
    assert!(!asked.contains("elsewhere"), "{asked}");

    // Whoever could keep us from the policy would like us to forget it: no web server, no record, and a restart.
    drop(web);
    for (name, ..) in CASES {
        names.change(&format!("_mta-sts.{name}.example"), |known| {
            known.records.clear();
        });
    }
    assert!(gateway.terminate());
    gateway.restart();
    let again: Vec<_> = to("second").into_iter().take(2).collect();
    send_each(&gateway, &again, HOURS);
    all_come_to(&gateway, &expected("second")[..2]);
    assert!(postfix.mail_for("first@good.example").is_empty());
    assert!(postfix.mail_for("second@good.example").is_empty());
}
