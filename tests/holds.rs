//! Holds through a whole gateway: what an application declares of its mail, who is told, and what a sender may
//! let go on himself.
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
    // Never: what holds nothing goes, what holds something is held though the recipient is secure. Each account may
    // have come with a reload of its own.
    wait_for("the account", || {
        submit(&gateway, &never, &never_secret, "two@example.com", PLAIN).then_some(())
    });
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
    assert!(
        !held.contains("450 557") && !held.contains("03/1961"),
        "{held}"
    );
    // By content: to the secure recipient.
    wait_for("the account", || {
        submit(&gateway, &plain, &plain_secret, "gp.three@nhs.net", PATIENT).then_some(())
    });
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

const RELEASE: &str = "release@gateway.bumbleton.example";

/// A gateway whose senders may release what is held on some grounds.
fn with_self_release(words: &str) -> Gateway {
    Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).unwrap();
        let section = format!("[holds.self-release]\naddress = \"{RELEASE}\"\n{words}\n");
        assert!(text.contains("\n[directory]\n"));
        let text = text.replace("\n[directory]\n", &format!("\n{section}\n[directory]\n"));
        fs::write(file, text).unwrap();
    })
}

const LEAVE: &str =
    "near-miss = \"as-it-is\"\nunreadable = \"encrypted\"\nnot-secure = \"encrypted\"";

fn send(gateway: &Gateway, from: &str, to: &[&str], message: &str) -> String {
    let mut client = gateway.connect();
    client.command("EHLO x");
    client.submit(from, to, message.as_bytes())
}

/// Has a message of this subject and body held; returns the code in the notice: `[PX-7F3K2Q9A/…]`.
fn held(gateway: &Gateway, from: &str, to: &[&str], subject: &str, body: &str) -> String {
    let message = format!("From: <{from}>\r\nSubject: {subject}\r\n\r\n{body}\r\n");
    let reply = send(gateway, from, to, &message);
    assert!(reply.starts_with("250 2.6.0"), "{reply}");
    let notice = mail(gateway, from);
    let (_, rest) = notice
        .split_once("Subject: Your message is held [")
        .expect(&notice);
    let tag = format!("[{}]", rest.split_once(']').unwrap().0);
    assert!(
        notice.contains(&format!("Reply-To: <{RELEASE}>")),
        "{notice}"
    );
    assert!(
        !notice.contains("450 557") && !notice.contains("blister"),
        "{notice}"
    );
    tag
}

fn answer(gateway: &Gateway, from: &str, tag: &str, body: &str) -> String {
    let message =
        format!("From: <{from}>\r\nSubject: Re: Your message is held {tag}\r\n\r\n{body}\r\n");
    send(gateway, from, &[RELEASE], &message)
}

fn json(gateway: &Gateway, args: &[&str]) -> String {
    String::from_utf8(gateway.postern(&[&["--json"], args].concat()).stdout).unwrap()
}

fn encrypted_for(gateway: &Gateway, local: &str) -> usize {
    let folder = gateway
        .folder
        .path()
        .join("data/maildir/encrypted/example.com");
    fs::read_dir(folder.join(local).join("new")).map_or(0, Iterator::count)
}

const BECAUSE: &str = "Reason: he has asked for it at the counter\r\n\r\n> Your message is held";

#[test]
fn a_sender_lets_go_on_what_he_may_once_and_it_is_written_down() {
    let gateway = with_self_release(LEAVE);
    let tag = held(
        &gateway,
        "one@nhs.net",
        &["jo@example.com"],
        "secure: opening hours",
        "We close at noon.",
    );
    let reply = answer(
        &gateway,
        "ONE@nhs.net",
        &tag.to_lowercase().replace("px-", "PX-"),
        BECAUSE,
    );
    assert!(
        reply.starts_with("250 2.0.0 released for 1 recipient: PX-"),
        "{reply}"
    );
    let gone = mail(&gateway, "jo@example.com");
    assert!(gone.contains("We close at noon."), "{gone}");
    let again = answer(&gateway, "one@nhs.net", &tag, BECAUSE);
    assert!(
        again.starts_with("550 5.7.1 nothing was released: the code is not good"),
        "{again}"
    );

    // The trail says who and why; the owner of what is held and the sender are told; the code is nowhere.
    let trail = json(&gateway, &["audit", "export"]);
    for part in [
        "\"released\"",
        "the sender, ONE@nhs.net",
        "he has asked for it at the counter",
        "\"self-release\":\"near-miss\"",
    ] {
        assert!(trail.contains(part), "{part} in {trail}");
    }
    let told = mail(&gateway, "bumbleton.headoffice@nhs.net");
    assert!(
        told.contains("he has asked for it at the counter")
            && told.contains("<jo@example.com>: as it is."),
        "{told}"
    );
    gateway.wait_for_mail("one@nhs.net", 2);
    let (_, code) = tag.trim_end_matches(']').split_once('/').unwrap();
    assert!(!trail.contains(code) && !gateway.log().contains(code));

    // Patient data goes to the encryption next hop, also where a near miss was said first.
    for (from, local, subject) in [
        ("two@nhs.net", "jim", "prescription"),
        ("three@nhs.net", "jill", "secure: prescription"),
    ] {
        let to = format!("{local}@example.com");
        let tag = held(
            &gateway,
            from,
            &[&to],
            subject,
            "NHS number: 450 557 7104, for blister packs.",
        );
        assert!(answer(&gateway, from, &tag, BECAUSE).starts_with("250 "));
        wait_for("the encryption next hop", || {
            (encrypted_for(&gateway, local) == 1).then_some(())
        });
        assert!(gateway.mail_for(&to).is_empty());
    }
    assert_eq!(gateway.mail_for("jo@example.com").len(), 1);
    assert!(json(&gateway, &["audit", "verify"]).contains("\"whole\":true"));
}

#[test]
fn nobody_else_and_nothing_else_lets_it_go_on() {
    let gateway = with_self_release(LEAVE);
    let number = "NHS number: 450 557 7104.";
    let tag = held(
        &gateway,
        "one@nhs.net",
        &["jo@example.com"],
        "prescription",
        number,
    );
    let other = held(
        &gateway,
        "two@nhs.net",
        &["jim@example.com"],
        "prescription",
        number,
    );
    let (reference, code) = tag.split_once('/').unwrap();
    let (other_reference, _) = other.split_once('/').unwrap();
    let wrong_code = format!("{reference}/{}]", "A".repeat(26));
    let wrong_reference = format!("{other_reference}/{code}");
    for (from, tag, body, why) in [
        ("two@nhs.net", tag.as_str(), BECAUSE, "the code is not good"),
        (
            "one@nhs.net.evil.example",
            &tag,
            BECAUSE,
            "the code is not good",
        ),
        ("one@nhs.net", &wrong_code, BECAUSE, "the code is not good"),
        (
            "one@nhs.net",
            &wrong_reference,
            BECAUSE,
            "the code is not good",
        ),
        ("one@nhs.net", &other, BECAUSE, "the code is not good"),
        ("one@nhs.net", "", BECAUSE, "the subject has no code"),
        ("one@nhs.net", &tag, "Please do.", "a reason is needed"),
        (
            "one@nhs.net",
            &tag,
            "> Reason: because of a quotation",
            "a reason is needed",
        ),
        (
            "one@nhs.net",
            &tag,
            &format!("Reason: {}", "so ".repeat(120)),
            "longer than 300",
        ),
        (
            "one@nhs.net",
            &tag,
            "Reason: NHS number 450 557 7104 needs it",
            "patient data in the answer",
        ),
        (
            "one@nhs.net",
            &tag,
            "Reason: call 0117 496 0001 please",
            "a long number",
        ),
    ] {
        let reply = answer(&gateway, from, tag, body);
        assert!(
            reply.starts_with("550 5.7.1 nothing was released") && reply.contains(why),
            "{why}: {reply}"
        );
    }
    let message = |more: &str| format!("{more}Subject: {tag}\r\n\r\n{BECAUSE}\r\n");
    let automatic = message("Auto-Submitted: auto-replied\r\n");
    assert!(send(&gateway, "one@nhs.net", &[RELEASE], &automatic).contains("automatic"));
    let company = send(
        &gateway,
        "one@nhs.net",
        &[RELEASE, "gp@nhs.net"],
        &message(""),
    );
    assert!(
        company.starts_with("550") && company.contains("alone"),
        "{company}"
    );
    assert!(send(&gateway, "", &[RELEASE], &message("")).starts_with("550"));
    assert!(gateway.mail_for("gp@nhs.net").is_empty());

    // All of it is held still, and each try is in the trail; the right answer is as good as it was.
    assert_eq!(
        json(&gateway, &["queue", "list", "--state", "held"])
            .lines()
            .count(),
        2
    );
    let trail = json(&gateway, &["audit", "export"]);
    assert!(
        trail.matches("an answer to a notice").count() >= 12
            && !trail.contains(code.trim_end_matches(']'))
    );
    assert!(answer(&gateway, "one@nhs.net", &tag, BECAUSE).starts_with("250 "));
    wait_for("the encryption next hop", || {
        (encrypted_for(&gateway, "jo") == 1).then_some(())
    });
    assert_eq!(encrypted_for(&gateway, "jim"), 0);
    // What an administrator has let go on, or given up, is not for the sender any more.
    let reference = other_reference.trim_start_matches('[');
    assert!(
        gateway
            .postern(&["queue", "release", reference, "--reason", "agreed"])
            .status
            .success()
    );
    assert!(answer(&gateway, "two@nhs.net", &other, BECAUSE).starts_with("550"));
    gateway.wait_for_mail("jim@example.com", 1);
    assert_eq!(gateway.mail_for("jim@example.com").len(), 1);
}

#[test]
fn what_is_not_the_senders_to_decide_is_offered_to_nobody() {
    let gateway = with_self_release(&format!("{LEAVE}\nvalid-for = \"0s\""));
    let number = "Subject: prescription\r\n\r\nNHS number: 450 557 7104.\r\n";
    // A mailbox that takes no patient data; a sender who may not send any; a program.
    for (from, to, told) in [
        ("one@nhs.net", "bumbleton.headoffice@nhs.net", "one@nhs.net"),
        ("till@shop.example", "jo@example.com", "till@shop.example"),
        (
            "two.donotreply@nhs.net",
            "jo@example.com",
            "bumbleton.headoffice@nhs.net",
        ),
    ] {
        assert!(send(&gateway, from, &[to], number).starts_with("250 2.6.0"));
        let notice = mail(&gateway, told);
        assert!(
            notice.contains("is held")
                && !notice.contains("yourself")
                && !notice.contains("Reply-To"),
            "{notice}"
        );
    }
    // The code of this gateway has run out as soon as it is made.
    let tag = held(
        &gateway,
        "four@nhs.net",
        &["jo@example.com"],
        "secure: opening hours",
        "We close at noon.",
    );
    assert!(answer(&gateway, "four@nhs.net", &tag, BECAUSE).contains("the code is not good"));
    assert!(gateway.mail_for("jo@example.com").is_empty());

    // As shipped there is no offer, and no such address.
    let shipped = Gateway::start();
    assert!(send(&shipped, "one@nhs.net", &["jo@example.com"], number).starts_with("250 2.6.0"));
    let notice = mail(&shipped, "one@nhs.net");
    assert!(
        !notice.contains("yourself") && !notice.contains("Reply-To"),
        "{notice}"
    );
}

#[test]
fn a_stranger_answers_no_notice() {
    let gateway = Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).unwrap();
        let ours = "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]";
        assert!(text.contains(ours));
        let section = format!("[holds.self-release]\naddress = \"{RELEASE}\"\n{LEAVE}\n");
        let text = text.replace(ours, "relay-networks = [\"192.0.2.0/24\"]");
        let text = text.replace("\n[directory]\n", &format!("\n{section}\n[directory]\n"));
        fs::write(file, text).unwrap();
        // The shipped tests are about the shipped networks.
        fs::remove_file(policies.join("tests/decision-table.toml")).unwrap();
    });
    let reply = answer(&gateway, "one@nhs.net", "[PX-7F3K2Q9A/AAAA]", BECAUSE);
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
}
