//! Footers through a running gateway: what is edited is the old message and the footer; what cannot be
//! proved goes on as it came, or waits, and `postern report footers` says so.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::corpus::{collect, with_crlf};
use support::{Client, Gateway, wait_for};

const SENDER: &str = "bumbleton.headoffice@nhs.net";
const COMPANY: &str = "Company no. 01234567";

/// A message that the splice engine would edit, and that the strict reader does not read.
const UNREADABLE: &[u8] =
    b"From: bumbleton.headoffice@nhs.net\r\nSubject: stock\r\nContent-Type: text/plain;; charset=utf-8\r\n\r\nHello\r\n";

fn greeted(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    assert!(
        client
            .command("EHLO client.bumbleton.example")
            .starts_with("250")
    );
    client
}

fn with_unproved(word: &'static str) -> Gateway {
    Gateway::start_with(|policies| {
        let file = policies.join("organisations.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = text.replace("unproved = \"original\"", &format!("unproved = \"{word}\""));
        assert_ne!(text, changed);
        std::fs::write(file, changed).unwrap();
    })
}

fn report(gateway: &Gateway) -> Vec<serde_json::Value> {
    let output = gateway.postern(&["report", "footers", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn what_cannot_be_proved_goes_on_as_it_came_and_is_reported() {
    let gateway = Gateway::start();
    let mut client = greeted(&gateway);
    let good = b"Subject: stock\r\n\r\nHello\r\n";
    for (to, message) in [("a1@nhs.net", &good[..]), ("a2@nhs.net", UNREADABLE)] {
        assert!(
            client
                .submit(SENDER, &[to], message)
                .starts_with("250 2.0.0")
        );
    }
    assert!(
        client
            .submit("nobody.known@elsewhere.example", &["a3@nhs.net"], good)
            .starts_with("250")
    );

    let footed = gateway.wait_for_mail("a1@nhs.net", 1).remove(0);
    assert!(String::from_utf8_lossy(&footed).contains(COMPANY));
    let original = gateway.wait_for_mail("a2@nhs.net", 1).remove(0);
    assert!(original.ends_with(UNREADABLE));
    assert!(original.starts_with(b"Return-Path") || original.starts_with(b"Received"));

    let rows = report(&gateway);
    let reasons: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                &row["sender"],
                &row["entity"],
                &row["because"],
                &row["messages"],
            )
        })
        .collect();
    assert_eq!(
        serde_json::json!(reasons),
        serde_json::json!([
            [SENDER, "bumbleton-pharmacies", "unreadable-field", 1],
            ["nobody.known@elsewhere.example", null, "unknown-sender", 1],
        ])
    );
    let table = gateway.postern(&["report", "footers", "--since", "1h"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("2 of 3 messages of our own went without particulars"),
        "{table}"
    );
}

#[test]
fn what_cannot_be_proved_is_held_if_the_policy_says_so() {
    let gateway = with_unproved("hold");
    let mut client = greeted(&gateway);
    let reply = client.submit(SENDER, &["a1@nhs.net"], UNREADABLE);
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 1 of 1"),
        "{reply}"
    );
    let listed = gateway.postern(&["queue", "list", "--state", "held", "--json"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("organisations.toml:"), "{listed}");
    assert!(
        listed.contains("the footer cannot be put in with proof"),
        "{listed}"
    );
    let notice = gateway.wait_for_mail(SENDER, 1).remove(0);
    assert!(String::from_utf8_lossy(&notice).contains("held"));
    assert!(gateway.mail_for("a1@nhs.net").is_empty());
}

#[test]
fn what_cannot_be_proved_gets_a_part_of_its_own_if_the_policy_says_so() {
    let gateway = with_unproved("notice-part");
    let mut client = greeted(&gateway);
    // Some programs write this word; the strict reader does not know it.
    let body = "Subject: stock\r\nContent-Transfer-Encoding: 7-bit\r\n\r\nHello\r\n";
    for (to, message) in [("a1@nhs.net", body.as_bytes()), ("a2@nhs.net", UNREADABLE)] {
        let reply = client.submit(SENDER, &[to], message);
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    let noticed = gateway.wait_for_mail("a1@nhs.net", 1).remove(0);
    let noticed = String::from_utf8(noticed).unwrap();
    assert!(
        noticed.contains("Content-Type: multipart/mixed"),
        "{noticed}"
    );
    assert!(
        noticed.contains("\r\n\r\nHello\r\n\r\n--=_postern"),
        "{noticed}"
    );
    assert!(
        noticed.contains("Registered in England and Wales"),
        "{noticed}"
    );
    let original = gateway.wait_for_mail("a2@nhs.net", 1).remove(0);
    assert!(original.ends_with(UNREADABLE));
    let rows = report(&gateway);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["because"], "unreadable-field");
}

/// All difficult mail there is: nothing is lost, what is left alone is the same octets, what is edited has
/// the footer, and every one has a word in the audit trail. Prints the table of the README.
#[test]
fn the_torture_collection_is_edited_with_proof_or_left_alone_and_nothing_is_lost() {
    let mut files = Vec::new();
    collect(Path::new("/work/corpora/torture-dev"), &mut files);
    if files.is_empty() {
        eprintln!("skipped: no corpora in /work/corpora");
        return;
    }
    files.sort();
    let gateway = Gateway::start();
    let mut client = greeted(&gateway);
    let (mut sent, mut refused) = (BTreeMap::new(), 0);
    for (number, file) in files.iter().enumerate() {
        let message = with_crlf(&std::fs::read(file).unwrap());
        let to = format!("m{number}@nhs.net");
        let reply = client.submit(SENDER, &[&to], &message);
        if reply.starts_with("421") {
            client = greeted(&gateway);
        }
        match reply.starts_with("250") {
            true => drop(sent.insert(to, message)),
            false => refused += 1,
        }
    }
    let mut outcomes = outcomes(&gateway);
    assert_eq!(
        outcomes.len(),
        sent.len(),
        "each has a word for what became of its footer"
    );
    let (mut table, mut waiting) = (BTreeMap::new(), sent);
    wait_for("all that is not held to arrive", || {
        waiting.retain(|to, message| {
            let Some(arrived) = gateway.mail_for(to).pop() else {
                return true;
            };
            let (outcome, held) = outcomes.remove(to.as_str()).unwrap();
            assert!(!held);
            check(to, &outcome, message, &arrived);
            *table.entry(outcome).or_insert(0) += 1;
            false
        });
        waiting
            .keys()
            .all(|to| outcomes[to.as_str()].1)
            .then_some(())
    });
    println!("\n| what became of it | messages |\n|---|--:|");
    for (outcome, count) in &table {
        println!("| {outcome} | {count} |");
    }
    println!(
        "| held or kept back for other reasons | {} |\n| refused | {refused} |",
        waiting.len()
    );
}

fn check(to: &str, outcome: &str, message: &[u8], arrived: &[u8]) {
    if outcome == "added" {
        assert!(arrived.len() > message.len(), "{to}: something is missing");
    } else {
        // Behind the fields of the trace; a marking is a change as well, and of our own.
        let end = &message[message.len() / 2..];
        assert!(
            arrived.ends_with(end),
            "{to}: changed though it is {outcome}"
        );
    }
}

/// By recipient: the word for its footer, and whether it does not go on.
fn outcomes(gateway: &Gateway) -> BTreeMap<String, (String, bool)> {
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8(trail.stdout).unwrap();
    let (mut words, mut found) = (BTreeMap::new(), BTreeMap::new());
    for line in trail.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = &line["event"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let reference = text(&event["reference"]);
        match event["kind"].as_str() {
            Some("received") => drop(words.insert(reference, text(&event["facts"]["footer"]))),
            Some("decided") => {
                let goes = text(&event["facts"]["verdict"]).starts_with("deliver");
                found.insert(
                    text(&event["recipient"]),
                    (words[&reference].clone(), !goes),
                );
            }
            _ => {}
        }
    }
    found
}
