//! Holds through a whole gateway: what an application declares of its mail, and who is told.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::process::Command;

use support::{Gateway, wait_for};

const PLAIN: &str = "Subject: rota\r\n\r\nYou are on duty on Friday.\r\n";
const PATIENT: &str =
    "Subject: rota\r\n\r\nNHS number: 450 557 7104, date of birth 12/03/1961.\r\n";

fn mail(gateway: &Gateway, address: &str) -> String {
    let mail = gateway.wait_for_mail(address, 1);
    let text = String::from_utf8(mail[0].clone()).unwrap();
    text.replace("\r\n", " ")
}

/// Submits under an account, with its secret; whether it was taken.
fn submit(gateway: &Gateway, account: &str, secret: &str, to: &str, message: &str) -> bool {
    let file = gateway.folder.path().join("message.eml");
    fs::write(
        &file,
        format!("From: <{account}>\r\nTo: <{to}>\r\n{message}"),
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .args(["send", "--from", account, "--to", to, "--username", account])
        .args(["--tls", "starttls", "--file"])
        .arg(&file)
        .args(["--server", &format!("127.0.0.1:{}", gateway.submission)])
        .arg("--ca")
        .arg(gateway.folder.path().join("certs/ca.pem"))
        .env("POSTERN_PASSWORD", secret)
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn what_an_application_declares_of_its_mail_holds_for_all_of_it() {
    let gateway = Gateway::start();
    let add = |name: &str, more: &[&str]| {
        let added = gateway.postern(&[&["--json", "account", "add", name], more].concat());
        assert!(added.status.success());
        let added: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        added["secret"].as_str().unwrap().to_owned()
    };
    let [always, never, plain] =
        ["results", "rota", "shop"].map(|name| format!("{name}.donotreply@nhs.net"));
    let told = ["--owner-address", "results.owner@nhs.net"];
    let always_secret = add(
        &always,
        &[&["--patient-data", "always"], &told[..]].concat(),
    );
    let never_secret = add(
        &never,
        &["--patient-data", "never", "--owner", "rota.owner@nhs.net"],
    );
    let plain_secret = add(&plain, &[]);
    gateway.signal("-HUP");

    // The same in policy tests, which the reload runs.
    let policies = gateway.config().parent().unwrap().to_owned();
    let mut tests = String::new();
    for (account, message, elsewhere, secure) in [
        (&always, "plain", "hold", "deliver-verified-tls"),
        (&always, "patient", "hold", "deliver-verified-tls"),
        (&never, "plain", "deliver", "deliver"),
        (&never, "patient", "hold", "hold"),
        (&plain, "plain", "deliver", "deliver"),
        (&plain, "patient", "hold", "deliver-verified-tls"),
    ] {
        let text = if message == "plain" { PLAIN } else { PATIENT };
        let file = format!("{account}-{message}.eml");
        fs::write(
            policies.join("tests").join(&file),
            format!("From: <{account}>\r\n{text}"),
        )
        .unwrap();
        tests.push_str(&format!(
            "[[test]]\nname = \"{file}\"\nmessage = \"{file}\"\nfrom = \"{account}\"\naccount = \"{account}\"\n\
             to = {{ \"locum@example.com\" = \"{elsewhere}\", \"gp@nhs.net\" = \"{secure}\" }}\n"
        ));
    }
    fs::write(policies.join("tests/accounts.toml"), tests).unwrap();
    let said = gateway.postern(&["check", "--format", "short"]);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );

    // By log-in. Always: what holds nothing is held for a stranger, and its owner hears of it.
    wait_for("the account", || {
        submit(&gateway, &always, &always_secret, "one@example.com", PLAIN).then_some(())
    });
    let held = mail(&gateway, "results.owner@nhs.net");
    assert!(
        held.contains(&always) && held.contains("<one@example.com>"),
        "{held}"
    );
    // Never: what holds nothing goes, what holds something is held though the recipient is secure.
    assert!(submit(
        &gateway,
        &never,
        &never_secret,
        "two@example.com",
        PLAIN
    ));
    mail(&gateway, "two@example.com");
    assert!(submit(
        &gateway,
        &never,
        &never_secret,
        "gp.two@nhs.net",
        PATIENT
    ));
    let held = mail(&gateway, "rota.owner@nhs.net");
    assert!(
        held.contains("an account that says it sends none"),
        "{held}"
    );
    assert!(!held.contains("450") && !held.contains("1961"), "{held}");
    // By content: to the secure recipient.
    assert!(submit(
        &gateway,
        &plain,
        &plain_secret,
        "gp.three@nhs.net",
        PATIENT
    ));
    mail(&gateway, "gp.three@nhs.net");
    assert!(
        gateway.mail_for("one@example.com").is_empty()
            && gateway.mail_for("gp.two@nhs.net").is_empty()
    );
    let shown = gateway.postern(&["account", "show", &never]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("never: what is found all the same is held"),
        "{shown}"
    );
}
