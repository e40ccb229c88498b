//! What leaves a running gateway signed, verified by a program that nobody here wrote (dkimpy).
//!
//! `pip install dkimpy pynacl`, for the `python3` in the path or the one that POSTERN_TEST_PYTHON names; skipped
//! where there is none.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::programs::dkim_key;
use support::{Gateway, root};

/// Keys `r1` (RSA) and `e1` (Ed25519) of the domains, made by the command that administrators use; `[signing]`
/// with `settings` in front; and the records, as the judge wants them.
fn with_keys(policies: &Path, settings: &str, domains: &[&str]) {
    let (mut section, mut records) = (format!("\n[signing]\n{settings}\n"), String::new());
    for domain in domains {
        for (selector, algorithm) in [("r1", "rsa"), ("e1", "ed25519")] {
            let file = policies.join(format!("{domain}.{selector}.pem"));
            let (name, record) = dkim_key(domain, selector, algorithm, &file);
            records.push_str(&format!("{name}\t{record}\n"));
            section.push_str(&format!(
                "[[signing.key]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nfile = \"{}\"\n",
                file.display()
            ));
        }
    }
    let main = policies.join("postern.toml");
    let text = fs::read_to_string(&main).expect("postern.toml");
    fs::write(&main, text + &section).expect("a changed postern.toml");
    fs::write(policies.join("records.txt"), records).expect("records");
}

/// One line of the judge for each message; `None` if there is no judge.
fn judged(gateway: &Gateway, arc: bool, messages: &[Vec<u8>]) -> Option<Vec<String>> {
    let files: Vec<PathBuf> = (0..messages.len())
        .map(|at| gateway.folder.path().join(format!("judged-{at}.eml")))
        .collect();
    for (file, message) in files.iter().zip(messages) {
        fs::write(file, message).expect("a file for the judge");
    }
    let python = std::env::var("POSTERN_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let judge = Command::new(python)
        .arg(root().join("tests/signing_judge.py"))
        .args(arc.then_some("--arc"))
        .arg(gateway.folder.path().join("policies/records.txt"))
        .args(&files)
        .output();
    let Ok(output) = judge else {
        eprintln!("skipped: no python3");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.trim() == "no dkimpy" {
        eprintln!("skipped: dkimpy is not installed");
        return None;
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(said.lines().map(str::to_owned).collect())
}

fn text(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

const FROM: &str = "reception@bumbleton.example";
const TO: &str = "friend@lab.example";

#[test]
fn mail_of_our_own_leaves_signed_after_all_edits_and_verifies() {
    let gateway = Gateway::start_with(|policies| with_keys(policies, "", &["bumbleton.example"]));
    let bodies = [
        "Stock on hand.\r\n",
        "trailing white space \t\r\n \r\n\t\r\n",
        "\r\n\r\n",
        "",
        ".\r\n..dots\r\n",
        "caf\u{e9} \u{a3}5\r\n",
    ];
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    for (at, body) in bodies.iter().enumerate() {
        let message = format!(
            "From: Reception <{FROM}>\r\nTo: {TO}\r\nSubject:  order   {at} \r\n\tgoes on\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}"
        );
        let reply = client.submit(FROM, &[TO], message.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
    }
    let mail = gateway.wait_for_mail(TO, bodies.len());
    for message in &mail {
        let message = text(message);
        assert_eq!(message.matches("DKIM-Signature:").count(), 2);
        assert!(message.contains("d=bumbleton.example"));
    }
    if let Some(said) = judged(&gateway, false, &mail) {
        assert_eq!(said, vec!["r1 e1"; bodies.len()]);
        let altered: Vec<Vec<u8>> = vec![text(&mail[0]).replace("order", "ardor").into_bytes()];
        let said = judged(&gateway, false, &altered).expect("the judge");
        assert_eq!(said, ["not-r1 not-e1"]);
    }
}

#[test]
fn explain_says_which_keys_would_sign() {
    let gateway = Gateway::start_with(|policies| with_keys(policies, "", &["bumbleton.example"]));
    let file = gateway.folder.path().join("order.eml");
    for (author, keys) in [
        (FROM, vec!["bumbleton.example/r1", "bumbleton.example/e1"]),
        ("someone@elsewhere.example", Vec::new()),
    ] {
        fs::write(&file, format!("From: {author}\r\n\r\nhello\r\n")).expect("a file");
        let file = file.to_str().expect("a path");
        let asked = ["explain", "--from", author, "--to", TO, file];
        let said = gateway.postern(&[&asked[..], &["--json"]].concat());
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
        let expected: Vec<serde_json::Value> = keys
            .iter()
            .map(|key| serde_json::json!({"kind": "dkim", "key": key}))
            .collect();
        assert_eq!(said["signatures"], serde_json::json!(expected));
        let said = text(&gateway.postern(&asked).stdout);
        for key in keys {
            let line = format!("signature          dkim by {key}\n");
            assert!(said.contains(&line), "{said}");
        }
    }
}

#[test]
fn mail_of_others_is_not_signed() {
    let gateway = Gateway::start_with(|policies| with_keys(policies, "", &["bumbleton.example"]));
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    let message = format!("From: someone@elsewhere.example\r\nSender: {FROM}\r\n\r\nhello\r\n");
    let reply = client.submit(FROM, &[TO], message.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let mail = gateway.wait_for_mail(TO, 1);
    assert!(!text(&mail[0]).contains("DKIM-Signature"));
}

#[test]
fn reports_of_the_gateway_are_signed_in_its_own_name() {
    let gateway = Gateway::start_with(|policies| {
        with_keys(policies, "", &["bumbleton.example"]);
        let main = policies.join("postern.toml");
        let text = fs::read_to_string(&main).expect("postern.toml");
        let nowhere = "[[route]]\nname = \"lab\"\nrecipients = [\"lab.example\"]\nsmart-host = \"127.0.0.1:1\"\nretry = [\"1h\"]\n\n";
        let everything = "[[route]]\nname = \"everything\"";
        fs::write(
            &main,
            text.replace(everything, &format!("{nowhere}{everything}")),
        )
        .expect("routes");
    });
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    let message = format!("From: {FROM}\r\nTo: {TO}\r\nSubject: x\r\n\r\nhello\r\n");
    let reply = client.submit(FROM, &[TO], message.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let reference = reply
        .split_whitespace()
        .last()
        .expect("a reference")
        .to_owned();

    let mail = support::wait_for("the order to be taken", || {
        gateway.postern(&["queue", "fail", &reference, "--reason", "the lab moved"]);
        let mail = gateway.mail_for(FROM);
        (!mail.is_empty()).then_some(mail)
    });

    let report = text(&mail[0]);
    assert!(
        report.contains("Content-Type: multipart/report"),
        "{report}"
    );
    // Its own header: the message that it returns was signed as well.
    let (header, _) = report.split_once("\r\n\r\n").expect("a header");
    assert_eq!(header.matches("DKIM-Signature:").count(), 2, "{report}");
    if let Some(said) = judged(&gateway, false, &mail) {
        assert_eq!(said, ["r1 e1"]);
    }
}

#[test]
fn what_was_signed_is_in_the_audit_trail_and_in_the_metrics() {
    let gateway = Gateway::start_with(|policies| with_keys(policies, "", &["bumbleton.example"]));
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    let message = format!("From: {FROM}\r\nTo: {TO}\r\n\r\nhello\r\n");
    let reply = client.submit(FROM, &[TO], message.as_bytes());
    gateway.wait_for_mail(TO, 1);
    let reference = reply.split_whitespace().last().expect("a reference");
    let trace = gateway.postern(&["--json", "trace", reference]);
    let trace = text(&trace.stdout);
    assert!(
        trace.contains("signing: signed by bumbleton.example/r1, bumbleton.example/e1"),
        "{trace}"
    );
}

/// Adds a list of ours whose member lives elsewhere; mail from outside to it is passed on.
fn with_list(policies: &Path) {
    let aliases = policies.join("aliases.toml");
    let text = fs::read_to_string(&aliases).expect("aliases.toml");
    let alias = "\n[[alias]]\nfrom = \"forward@bumbleton.example\"\nto = \"friend@lab.example\"\n";
    fs::write(&aliases, text + alias).expect("a changed aliases.toml");
    let main = policies.join("postern.toml");
    let text = fs::read_to_string(&main).expect("postern.toml");
    // This machine is a stranger.
    let strangers = text.replace(
        "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]",
        "relay-networks = [\"192.0.2.1/32\"]",
    );
    assert_ne!(strangers, text);
    fs::write(&main, strangers).expect("a changed postern.toml");
    // The policy tests that ship are about mail of our own.
    fs::remove_dir_all(policies.join("tests")).expect("the policy tests");
    fs::create_dir(policies.join("tests")).expect("an empty folder");
}

#[test]
fn mail_from_outside_that_goes_on_is_sealed_and_mail_that_stays_is_not() {
    let gateway = Gateway::start_with(|policies| {
        with_keys(
            policies,
            "arc-domain = \"bumbleton.example\"",
            &["bumbleton.example"],
        );
        with_list(policies);
    });
    let mut client = gateway.connect();
    client.command("EHLO elsewhere.example");
    let message =
        b"From: someone@elsewhere.example\r\nTo: x@y.example\r\nSubject: x\r\n\r\nhello \r\n \r\n";
    for to in ["forward@bumbleton.example", "reception@bumbleton.example"] {
        let reply = client.submit("someone@elsewhere.example", &[to], message);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let passed_on = gateway.wait_for_mail("friend@lab.example", 1);
    let stays = gateway.wait_for_mail("reception@bumbleton.example", 1);
    assert!(!text(&stays[0]).contains("ARC-"));
    let sealed = text(&passed_on[0]);
    assert!(sealed.contains("ARC-Seal: i=1;"), "{sealed}");
    assert!(!sealed.contains("DKIM-Signature:"), "mail of others");
    if let Some(said) = judged(&gateway, true, &passed_on) {
        assert_eq!(said, ["arc pass 1"]);
    }
}

#[test]
fn a_footer_that_would_break_a_signature_is_left_out_where_the_file_says_so() {
    // sha256 of "hello\r\n".
    let hash = "zS7KNTV0HyeorkDDGwxB1AV6enuRKzO5rthkhdHIRnY=";
    for (policy, of_hello, has_footer) in [
        ("foreign-signature = \"leave\"", true, false),
        ("foreign-signature = \"leave\"", false, true),
        ("", true, true),
    ] {
        let gateway =
            Gateway::start_with(|policies| with_keys(policies, policy, &["bumbleton.example"]));
        let mut client = gateway.connect();
        client.command("EHLO ward.example");
        let body = if of_hello { "hello" } else { "hello there" };
        let message = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=bumbleton.example; s=app;\r\n h=From; bh={hash}; b=x\r\n\
             From: {FROM}\r\nSubject: x\r\n\r\n{body}\r\n"
        );
        let reply = client.submit(FROM, &[TO], message.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        let mail = gateway.wait_for_mail(TO, 1);
        let (_, body) = mail[0].split_at(text(&mail[0]).find("hello").expect("the body"));
        assert_eq!(
            text(body).contains("Registered in"),
            has_footer,
            "{policy} {of_hello}"
        );
        let reference = reply
            .split_whitespace()
            .last()
            .expect("a reference")
            .to_owned();
        let trace = text(&gateway.postern(&["--json", "trace", &reference]).stdout);
        assert_eq!(
            trace.contains("would break the signature of bumbleton.example"),
            !has_footer,
            "{trace}"
        );
        // Ours is there in any case, over what leaves.
        if let Some(said) = judged(&gateway, false, &mail) {
            assert!(said[0].starts_with("r1 e1 "), "{said:?}");
        }
    }
}
