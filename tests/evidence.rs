//! One document that says what became of a message, made by a gateway and checked without it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/next_hop.rs"]
mod next_hop;

use std::fs;
use std::process::{Command, Output};

use authority::{Authority, Wrong};
use next_hop::{NextHop, Protection, routes, secure_domain};
use serde_json::Value;
use support::{Gateway, wait_for};

const PATIENT: &str = "From: <pharmacy.fa001@nhs.net>\r\nMessage-ID: <p1@nhs.net>\r\nSubject: prescription\r\n\r\n\
    NHS number: 450 557 7104, date of birth 12/03/1961.\r\n";

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Checks a document with nothing but itself: no configuration, no data.
fn verify(document: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("evidence.json");
    fs::write(&file, document).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["--config", "/nowhere/postern.toml", "evidence", "verify"])
        .arg(&file)
        .args(more)
        .output()
        .unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn a_document_says_what_became_of_a_message_and_nothing_of_what_it_says() {
    let authority = Authority::new();
    let hop = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
    let gateway = Gateway::start_with(|policies| {
        routes(policies, &authority, &[("good.example", &hop)]);
        secure_domain(policies, "good.example", "");
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let to = ["gp@good.example", "someone@nowhere.example"];
    let reply = client.submit("pharmacy.fa001@nhs.net", &to, PATIENT.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
    let reference = reply
        .split_whitespace()
        .find(|word| word.starts_with("PX-"));
    let reference = reference.unwrap_or_else(|| panic!("{reply}")).to_owned();
    wait_for("the delivery", || {
        let said = text(&gateway.postern(&["--json", "trace", &reference]));
        said.contains("\"kind\":\"delivered\"").then_some(())
    });

    let made = gateway.postern(&["evidence", &reference]);
    assert!(made.status.success(), "{made:?}");
    let document = text(&made);
    let said: Value = serde_json::from_str(&document).unwrap();
    let recipients = said["statement"]["recipients"].as_array().unwrap();
    let of = |address: &str| {
        let one = recipients.iter().find(|one| one["address"] == address);
        one.unwrap_or_else(|| panic!("{address} in {document}"))
    };
    let steps = of("gp@good.example")["steps"].as_array().unwrap();
    let (decided, delivered) = (&steps[0], steps.last().unwrap());
    assert_eq!(decided["verdict"], "deliver-verified-tls");
    let rule = decided["rule"].as_str().unwrap();
    assert!(rule.contains("secure-domains.toml:"), "{rule}");
    assert!(decided["policy"].is_string());
    assert_eq!(delivered["kind"], "delivered");
    assert_eq!(delivered["reply"], "250 2.0.0 taken");
    assert_eq!(delivered["authenticated"], "web-pki");
    let tls = delivered["tls"].as_str().unwrap();
    assert!(
        tls.starts_with("TLSv1.3 TLS13_") && tls.contains("sha256:"),
        "{tls}"
    );
    assert_eq!(of("someone@nowhere.example")["last"], "decided");
    assert_eq!(said["statement"]["received"]["client"], "127.0.0.1");
    // Neither the number nor the subject nor the date of birth.
    for content in ["4505577104", "450 557", "prescription", "12/03"] {
        assert!(!document.contains(content), "{content}");
    }

    let fingerprint = said["signature"]["fingerprint"].as_str().unwrap();
    let (code, words) = verify(&document, &["--key", fingerprint]);
    assert_eq!(code, Some(0), "{words}");
    assert!(
        words.contains(&reference) && words.contains(fingerprint),
        "{words}"
    );
    let other = "0".repeat(64);
    let (code, words) = verify(&document, &["--key", &other]);
    assert_eq!(
        (code, words.as_str()),
        (
            Some(1),
            "this is NOT evidence: it is signed by another key\n"
        )
    );
    // Any change shows, whatever is changed.
    for (from, to) in [
        ("gp@good.example", "gp@evil.example"),
        ("250 2.0.0 taken", "250 2.0.0 Taken"),
        ("TLSv1.3", "TLSv1.2"),
        (reference.as_str(), "PX-AAAAAAAA"),
        (fingerprint, other.as_str()),
        // Said twice, or beside what is signed.
        (
            "\"statement\": {",
            "\"statement\": {\"gateway\": \"evil.example\",",
        ),
        ("\"statement\": {", "\"statement\": {}, \"statement\": {"),
        (
            "\"statement\": {",
            "\"note\": \"it came\", \"statement\": {",
        ),
    ] {
        let (code, words) = verify(&document.replacen(from, to, 1), &[]);
        assert_eq!(code, Some(1), "{from}: {words}");
    }
    // So does a document that somebody else has signed anew, to whoever knows the key; and every one is made alike.
    let again = text(&gateway.postern(&["evidence", &reference]));
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["signature"]["fingerprint"], fingerprint);
    assert_eq!(again["statement"]["events"], said["statement"]["events"]);
    // On one line with --json, as the answer of every command, and as good.
    let line = text(&gateway.postern(&["--json", "evidence", &reference]));
    assert_eq!(line.lines().count(), 1, "{line}");
    let (code, words) = verify(&line, &["--key", fingerprint]);
    assert_eq!(code, Some(0), "{words}");
}

#[test]
fn what_is_not_known_and_what_is_no_document_are_answered_with_no() {
    let gateway = Gateway::start();
    let made = gateway.postern(&["evidence", "PX-7F3K2Q9A"]);
    assert_eq!(made.status.code(), Some(1));
    assert!(text(&made).starts_with("nothing is known of PX-7F3K2Q9A"));
    for nonsense in ["", "{}", "[]", "{\"statement\": {}, \"signature\": {}}"] {
        let (code, words) = verify(nonsense, &[]);
        assert_eq!(code, Some(1), "{nonsense}");
        assert!(words.starts_with("this is NOT evidence: "), "{words}");
    }
}

#[test]
fn a_trail_that_was_changed_where_the_message_is_signs_nothing() {
    let gateway = Gateway::start();
    let mut client = gateway.connect();
    client.command("EHLO x");
    let plain = "From: <a@nhs.net>\r\nSubject: x\r\n\r\nNine to five.\r\n";
    let reply = client.submit("a@nhs.net", &["gp@nhs.net"], plain.as_bytes());
    let reference = reply
        .split_whitespace()
        .find(|word| word.starts_with("PX-"));
    let reference = reference.unwrap_or_else(|| panic!("{reply}")).to_owned();
    gateway.wait_for_mail("gp@nhs.net", 1);
    let file = walk(&gateway.folder.path().join("data"));
    let db = rusqlite::Connection::open(file).unwrap();
    let changed = db.execute(
        "UPDATE audit SET event = replace(event, 'decided', 'refused') WHERE event LIKE '%' || ?1 || '%decided%'",
        [&reference],
    );
    assert_eq!(changed, Ok(1));
    let made = gateway.postern(&["evidence", &reference]);
    assert_eq!(made.status.code(), Some(1));
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(
        said.contains("of the audit trail was changed: nothing is signed"),
        "{said}"
    );
}

/// The database of the queue.
fn walk(data: &std::path::Path) -> std::path::PathBuf {
    let files = fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut queue =
        files.filter(|file| file.file_name().is_some_and(|name| name == "queue.sqlite"));
    queue.next().unwrap()
}
