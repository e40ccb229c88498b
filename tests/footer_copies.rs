//! Footers that differ: by kind of recipient, by sender, by day; each recipient gets one copy, his own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::Path;

use support::Gateway;

/// Puts lines into the one entity of `organisations.toml`, and others behind all.
fn organisations(policies: &Path, entity: &str, rest: &str) {
    let file = policies.join("organisations.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = format!("{text}\n{entity}\n{rest}\n");
    fs::write(file, text).unwrap();
}

fn mail(gateway: &Gateway, address: &str) -> String {
    let mail = gateway.wait_for_mail(address, 1);
    assert_eq!(mail.len(), 1, "{address}");
    String::from_utf8(mail[0].clone()).unwrap()
}

const MESSAGE: &[u8] =
    b"From: Beeford <pharmacy.fa001@nhs.net>\r\nMessage-ID: <f1@nhs.net>\r\nSubject: opening hours\r\n\r\nNine to five.\r\n";
const PARTICULARS: &str = "Company no. 01234567.";

#[test]
fn each_kind_of_recipient_gets_a_copy_of_its_own_and_each_recipient_one() {
    let gateway = Gateway::start_with(|policies| {
        organisations(
            policies,
            "[entity.footer.internal]\nnone = true\n\
             [entity.footer.nhs]\ntext = \"\\nBumbleton Pharmacies Ltd, England and Wales, 01234567, \
             1 Market Place, Bumbleton BU1 1AA. NHSmail.\\n\"",
            "[signature]\ntext = \"\"\"\n\n-- {display-name} --\n{ods-code}\n\"\"\"",
        );
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let to = [
        "pharmacy.fa003@nhs.net",
        "someone@nhs.net",
        "gp@trust.nhs.uk",
        "shop@elsewhere.example",
        "shop@elsewhere.example",
        "other@elsewhere.example",
    ];
    let reply = client.submit("pharmacy.fa001@nhs.net", &to, MESSAGE);
    assert!(reply.starts_with("250 "), "{reply}");

    let internal = mail(&gateway, "pharmacy.fa003@nhs.net");
    assert!(!internal.contains(PARTICULARS), "{internal}");
    assert!(internal.ends_with("\r\nFA001\r\n"), "{internal}");
    for nhs in ["someone@nhs.net", "gp@trust.nhs.uk"] {
        let nhs = mail(&gateway, nhs);
        assert!(nhs.ends_with("BU1 1AA. NHSmail.\r\n"), "{nhs}");
        assert!(nhs.contains("\r\nFA001\r\n"), "{nhs}");
        assert!(!nhs.contains(PARTICULARS), "{nhs}");
    }
    for outside in ["shop@elsewhere.example", "other@elsewhere.example"] {
        let outside = mail(&gateway, outside);
        assert!(outside.contains(PARTICULARS), "{outside}");
        assert!(!outside.contains("NHSmail."), "{outside}");
    }
    // The original is the same in all of them, and so is the reference.
    let reference = |mail: &str| {
        let at = mail.find("PX-").unwrap();
        mail[at..at + 11].to_owned()
    };
    let outside = mail(&gateway, "other@elsewhere.example");
    assert_eq!(reference(&outside), reference(&internal));
    for mail in [&internal, &outside] {
        assert!(mail.contains("\r\n\r\nNine to five.\r\n"), "{mail}");
    }
}

#[test]
fn what_changes_on_a_day_that_has_come_is_said() {
    let gateway = Gateway::start_with(|policies| {
        organisations(
            policies,
            "[[entity.change]]\nfrom = 2020-01-01\nregistered-office = \"2 Station Road\"\n\
             [[entity.change]]\nfrom = 2999-01-01\nstate = \"being-wound-up\"\n",
            "",
        );
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let reply = client.submit("pharmacy.fa001@nhs.net", &["a@elsewhere.example"], MESSAGE);
    assert!(reply.starts_with("250 "), "{reply}");
    let got = mail(&gateway, "a@elsewhere.example");
    assert!(
        got.ends_with("Registered office: 2 Station Road.\r\n"),
        "{got}"
    );
    assert!(!got.contains("wound up"), "{got}");
}

#[test]
fn a_reply_that_quotes_the_footer_gets_none_again_whoever_signs() {
    let gateway = Gateway::start_with(|policies| {
        organisations(
            policies,
            "",
            "[signature]\ntext = \"\"\"\n\n-- {display-name} --\n\"\"\"",
        );
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    client.submit("pharmacy.fa001@nhs.net", &["a@elsewhere.example"], MESSAGE);
    let first = mail(&gateway, "a@elsewhere.example");
    let body = first.split_once("\r\n\r\n").unwrap().1;
    let quoted = body.lines().map(|line| format!("> {line}\r\n"));
    let reply = format!(
        "From: pharmacy.fa003@nhs.net\r\nSubject: Re: opening hours\r\n\r\nAnd on Sunday?\r\n\r\n{}",
        quoted.collect::<String>()
    );
    client.submit(
        "pharmacy.fa003@nhs.net",
        &["b@elsewhere.example"],
        reply.as_bytes(),
    );
    let second = mail(&gateway, "b@elsewhere.example");
    assert_eq!(second.matches(PARTICULARS).count(), 1, "{second}");
    assert!(second.ends_with(&reply[reply.len() - 40..]), "{second}");
}
