//! Replies to an address that nobody reads, and log-ins by token, through a whole gateway.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Gateway, installed, wait_for};

const NAME: &str = "reminders.fa001.donotreply@nhs.net";
const WRITER: &str = "pharmacy.fa001@nhs.net";
const LINKED: &str = "pharmacy.faq59@nhs.net";

fn gateway(keys: &str) -> Gateway {
    let block = format!("\n[[account]]\nname = \"{NAME}\"\nsecret = \"stored\"\n{keys}\n");
    Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(&path, text + &block).expect("accounts.toml");
    })
}

/// Answers a reminder; returns the reply to the message.
fn answer(gateway: &Gateway, from: &str, to: &[&str]) -> String {
    let mut client = gateway.connect();
    client.command("EHLO client.example");
    assert!(
        client
            .command(&format!("MAIL FROM:<{from}>"))
            .starts_with("250")
    );
    for to in to {
        assert!(
            client
                .command(&format!("RCPT TO:<{to}>"))
                .starts_with("250"),
            "{to}"
        );
    }
    assert!(client.command("DATA").starts_with("354"));
    client.command(&format!(
        "From: <{from}>\r\nSubject: Re: Your order\r\n\r\nthank you\r\n."
    ))
}

fn trail(gateway: &Gateway) -> String {
    let trail = gateway.postern(&["audit", "export"]);
    String::from_utf8_lossy(&trail.stdout).into_owned()
}

#[test]
fn whoever_answers_is_told_once_where_to_turn_to() {
    let gateway =
        gateway("replies = \"answer\"\nreply-contact = \"Bumbleton Pharmacy, 020 7946 0018\"");
    for _ in 0..2 {
        assert!(answer(&gateway, WRITER, &[NAME]).starts_with("250"));
    }
    let told = gateway.wait_for_mail(WRITER, 1);
    let text = String::from_utf8_lossy(&told[0]).into_owned();
    assert!(text.contains("Bumbleton Pharmacy, 020 7946 0018"), "{text}");
    assert!(answer(&gateway, "mailer-daemon@nhs.net", &[NAME, LINKED]).starts_with("250"));
    gateway.wait_for_mail(LINKED, 1);
    assert_eq!(gateway.mail_for(WRITER).len(), 1);
    assert!(gateway.mail_for(NAME).is_empty());
    assert_eq!(trail(&gateway).matches("\"kind\":\"discarded\"").count(), 3);
    let waiting = gateway.postern(&["--json", "queue", "list"]);
    assert!(!String::from_utf8_lossy(&waiting.stdout).contains(NAME));
}

#[test]
fn answers_are_thrown_away_on_record_but_reports_of_failures_are_not() {
    let gateway = gateway("replies = \"discard\"");
    assert!(answer(&gateway, WRITER, &[NAME]).starts_with("250"));
    assert!(answer(&gateway, "", &[NAME]).starts_with("250"));
    let delivered = gateway.wait_for_mail(NAME, 1);
    assert_eq!(delivered.len(), 1);
    assert_eq!(trail(&gateway).matches("\"kind\":\"discarded\"").count(), 1);
}

#[test]
fn answers_go_to_the_linked_mailbox() {
    let gateway = gateway(&format!(
        "replies = \"linked-mailbox\"\nlinked-mailbox = \"{LINKED}\""
    ));
    assert!(answer(&gateway, WRITER, &[NAME]).starts_with("250"));
    let delivered = gateway.wait_for_mail(LINKED, 1);
    assert!(String::from_utf8_lossy(&delivered[0]).contains("thank you"));
    assert!(gateway.mail_for(NAME).is_empty());
}

/// An issuer of tokens made of OpenSSL's program: its keys, and a token for a subject.
const ISSUER: &str = r#"
import base64, json, subprocess, sys, time, os
folder, what = sys.argv[1], sys.argv[2]
key = os.path.join(folder, "issuer.pem")
b64 = lambda octets: base64.urlsafe_b64encode(octets).decode().rstrip("=")
if what == "keys":
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    n = subprocess.run(["openssl", "rsa", "-in", key, "-noout", "-modulus"], check=True, capture_output=True).stdout
    n = bytes.fromhex(n.decode().strip().split("=")[1])
    print(json.dumps({"keys": [{"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": b64(n), "e": "AQAB"}]}))
else:
    claims = {"iss": "https://issuer.example/", "aud": sys.argv[3], "sub": what, "exp": int(time.time()) + 300}
    signed = b64(json.dumps({"alg": "RS256", "kid": "1"}).encode()) + "." + b64(json.dumps(claims).encode())
    made = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=signed.encode(), check=True, capture_output=True)
    print(signed + "." + b64(made.stdout), end="")
"#;

fn issuer(args: &[&str]) -> String {
    let output = Command::new("python3")
        .args(["-c", ISSUER])
        .args(args)
        .output();
    let output = output.expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_token_of_the_issuer_opens_the_account_and_no_other_does() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().to_str().expect("a path");
    let keys = issuer(&[here, "keys"]);
    let gateway = Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(policies.join("issuer.json"), &keys).expect("the keys");
        let more = format!(
            "\n[[issuer]]\nname = \"https://issuer.example/\"\naudience = [\"postern\"]\nkeys = \"issuer.json\"\n\
             [[account]]\nname = \"{NAME}\"\ntoken-subjects = [\"app-1\"]\n"
        );
        fs::write(&path, text + &more).expect("accounts.toml");
    });
    let log_in = |mech: &str, token: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accounts/client.py");
        let port = gateway.submission.to_string();
        let output = Command::new("python3")
            .arg(script)
            .args([
                "--port", &port, "--mech", mech, "--user", NAME, "--secret", token,
            ])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("python runs");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().last().unwrap_or_default().to_owned()
    };
    let (good, other, elsewhere) = (
        issuer(&[here, "app-1", "postern"]),
        issuer(&[here, "app-2", "postern"]),
        issuer(&[here, "app-1", "another"]),
    );
    for mech in ["OAUTHBEARER", "XOAUTH2"] {
        let said = wait_for("the log-in", || Some(log_in(mech, &good)));
        assert!(said.starts_with("auth 235"), "{mech}: {said}");
        assert!(log_in(mech, &other).starts_with("auth 535"), "{mech}");
        assert!(log_in(mech, &elsewhere).starts_with("auth 535"), "{mech}");
    }
    assert!(log_in("PLAIN", &good).starts_with("auth 535"));
}
