//! Senders who are let through because somebody released what was kept back of them: `release --allow-sender`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/strangers.rs"]
mod strangers;
mod support;

use name_server::NameServer;
use serde_json::{Value, json};
use strangers::{TO, client, gateway, message};
use support::{Gateway, wait_for};

const AUTHOR: &str = "Friend@friend.example";
/// Enough to be kept back, and not to be refused.
const KEPT: &str = "[[rule]]\nname = \"TEST_KEPT\"\nweight = 12\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"word\"\ndescription = \"for the test\"\n";

fn lines(gateway: &Gateway, args: &[&str]) -> Vec<Value> {
    let said = gateway.postern(&[&["--json"], args].concat());
    let said = String::from_utf8(said.stdout).unwrap();
    let lines = said.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether a message from this address to this mailbox is kept back.
fn is_kept(gateway: &Gateway, address: &str, to: &str) -> bool {
    let reply = client(gateway, address).submit(AUTHOR, &[to], &message(AUTHOR));
    assert!(reply.starts_with("250"), "{reply}");
    reply.starts_with("250 2.6.0 accepted, kept back")
}

#[test]
fn whoever_is_released_so_is_let_through_to_that_mailbox_where_it_is_proven_to_be_him() {
    let dns = NameServer::start().with_txt("friend.example", "v=spf1 ip4:192.0.2.7 -all");
    let mut gateway = gateway(&dns, "", KEPT);
    assert!(is_kept(&gateway, "192.0.2.7", TO));
    assert_eq!(
        lines(&gateway, &["quarantine", "allowed", "list"]),
        [] as [Value; 0]
    );
    let listed = lines(&gateway, &["quarantine", "list"]);
    let reference = listed[0]["reference"].as_str().unwrap().to_owned();

    let said = lines(
        &gateway,
        &["quarantine", "release", &reference, "--allow-sender"],
    );
    assert_eq!(said[0]["changed"], 1);
    let allowed = &said[1]["allowed"];
    assert_eq!(
        (&allowed["mailbox"], &allowed["sender"]),
        (&json!(TO), &json!("friend@friend.example"))
    );
    assert_eq!(gateway.wait_for_mail(TO, 1).len(), 1);

    assert!(!is_kept(&gateway, "192.0.2.7", TO));
    let mail = gateway.wait_for_mail(TO, 2);
    let told = mail
        .iter()
        .any(|one| String::from_utf8_lossy(one).contains("SENDER_ALLOWED(0)"));
    assert!(told);
    // Not proven; not that mailbox.
    assert!(is_kept(&gateway, "192.0.2.9", TO));
    assert!(is_kept(&gateway, "192.0.2.7", "nurse@bumbleton.example"));

    assert!(gateway.terminate());
    gateway.restart();
    assert!(!is_kept(&gateway, "192.0.2.7", TO));
    let listed = lines(&gateway, &["quarantine", "allowed", "list", "--for", TO]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["reference"], reference);
    let others = [
        "quarantine",
        "allowed",
        "list",
        "--for",
        "nurse@bumbleton.example",
    ];
    assert!(lines(&gateway, &others).is_empty());

    let remove = ["quarantine", "allowed", "remove", AUTHOR, "--for", TO];
    assert!(gateway.postern(&remove).status.success());
    assert_eq!(gateway.postern(&remove).status.code(), Some(1));
    assert!(is_kept(&gateway, "192.0.2.7", TO));
    let trail = lines(&gateway, &["audit", "export"]);
    let done = trail
        .iter()
        .map(|line| &line["event"])
        .filter(|event| event["kind"] == "sender-allowed");
    let done: Vec<_> = done
        .map(|event| {
            (
                &event["facts"]["action"],
                &event["recipient"],
                &event["sender"],
            )
        })
        .collect();
    let (who, of) = (json!(TO), json!("friend@friend.example"));
    assert_eq!(
        done,
        [
            (&json!("allowed"), &who, &of),
            (&json!("removed"), &who, &of)
        ]
    );
    wait_for("a trail that is whole", || {
        gateway
            .postern(&["audit", "verify"])
            .status
            .success()
            .then_some(())
    });
}

#[test]
fn a_release_without_that_lets_nobody_through_and_blocked_ones_stay_blocked() {
    let dns = NameServer::start().with_txt("friend.example", "v=spf1 ip4:192.0.2.7 -all");
    let block = "[[block]]\nsender = \"friend@friend.example\"\nreason = \"r\"\n";
    for (senders, more) in [("", &[][..]), (block, &["--allow-sender"])] {
        let gateway = gateway(&dns, senders, KEPT);
        assert!(is_kept(&gateway, "192.0.2.7", TO));
        let listed = lines(&gateway, &["quarantine", "list"]);
        let reference = listed[0]["reference"].as_str().unwrap();
        let release = [&["quarantine", "release", reference], more].concat();
        assert_eq!(lines(&gateway, &release).len(), 1 + more.len());
        assert!(is_kept(&gateway, "192.0.2.7", TO));
    }
}
