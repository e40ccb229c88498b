//! Signing as a whole: which keys, which messages, and that what was signed verifies.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::mail::{Edit, EditKind, edit};

fn signing(keys: Vec<Key>) -> Signing {
    Signing::with_keys(keys)
}

fn both() -> Signing {
    signing(vec![
        testing::key("ward.example", "r1", &testing::rsa()),
        testing::key("ward.example", "e1", &testing::ed25519()),
    ])
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

fn message(text: &str) -> Message {
    Message::new(text.replace('\n', "\r\n"))
}

fn by(signing: &Signing, text: &str, at: Timestamp) -> String {
    match signing.sign(&message(text), at) {
        Signed::NotOurs => "not ours".to_owned(),
        Signed::Fields { by, failed, .. } if failed.is_empty() => by.join(" "),
        other => format!("{other:?}"),
    }
}

#[test]
fn the_domain_of_the_one_author_signs_and_nobody_else() {
    let mut keys = both().keys;
    keys.push(testing::key("east.ward.example", "e2", &testing::ed25519()));
    let signing = signing(keys);
    for (text, expected) in [
        (
            "From: a@ward.example\n\nx\n",
            "ward.example/r1 ward.example/e1",
        ),
        (
            "From: A <a@Ward.Example>\nSender: b@lab.example\n\nx\n",
            "ward.example/r1 ward.example/e1",
        ),
        (
            "From: a@west.ward.example\n\nx\n",
            "ward.example/r1 ward.example/e1",
        ),
        ("From: a@east.ward.example\n\nx\n", "east.ward.example/e2"),
        (
            "From: a@lab.example\nSender: a@ward.example\n\nx\n",
            "not ours",
        ),
        ("From: a@forward.example\n\nx\n", "not ours"),
        ("From: a@ward.example, b@lab.example\n\nx\n", "not ours"),
        (
            "From: a@ward.example\nFrom: b@lab.example\n\nx\n",
            "not ours",
        ),
        ("From: a@[192.0.2.1]\n\nx\n", "not ours"),
        ("Subject: x\n\nx\n", "not ours"),
        ("", "not ours"),
    ] {
        assert_eq!(by(&signing, text, now()), expected, "{text}");
    }
}

#[test]
fn which_key_signs_is_decided_by_the_day() {
    let mut keys = both().keys;
    keys[0].until = "2026-11-22".parse().ok();
    keys[1].from = "2026-11-22".parse().ok();
    let signing = signing(keys);
    let on = |days: u64| {
        by(
            &signing,
            "From: a@ward.example\n\nx\n",
            now() + Duration::from_secs(days * 86_400),
        )
    };
    assert_eq!(on(0), "ward.example/r1");
    assert_eq!(on(1), "ward.example/r1 ward.example/e1");
    assert_eq!(on(2), "ward.example/e1");
}

#[test]
fn a_key_that_is_over_is_not_replaced_by_the_one_of_the_domain_above() {
    let mut keys = both().keys;
    keys.push(testing::key("east.ward.example", "e2", &testing::ed25519()));
    keys[2].until = "2020-01-01".parse().ok();
    assert_eq!(
        by(&signing(keys), "From: a@east.ward.example\n\nx\n", now()),
        "not ours"
    );
}

#[test]
fn a_signature_that_does_not_hold_is_not_sent() {
    let good = testing::key("ward.example", "r1", &testing::rsa());
    let message = message("From: a@ward.example\n\nx\n");
    let Signed::Fields { fields, .. } = signing(vec![good]).sign(&message, now()) else {
        panic!("not signed");
    };
    let good = testing::key("ward.example", "r1", &testing::rsa());
    let forged = fields.replace("t=", "t=1");
    let changed = Message::new(&b"From: a@ward.example\r\n\r\ny\r\n"[..]);
    for (message, field) in [(&message, forged), (&changed, fields)] {
        let signed = verified(message, vec![(&good, field)], Vec::new());
        assert_eq!(signed, Signed::Failed(vec!["ward.example/r1".into()]));
    }
}

#[test]
fn nobody_adds_a_field_that_a_reader_sees() {
    let original = message("From: a@ward.example\nTo: b@lab.example\n\nx\n");
    let key = testing::key("ward.example", "e1", &testing::ed25519());
    let Signed::Fields { fields, .. } = both().sign(&original, now()) else {
        panic!("not signed");
    };
    let field = fields[fields.rfind("DKIM-Signature").unwrap()..].to_owned();
    for (added, holds) in [
        ("", true),
        ("X-Scanned: yes\r\n", true),
        ("Date: x\r\n", true),
        ("Subject: pay here\r\n", false),
        ("Reply-To: c@evil.example\r\n", false),
        ("From: c@evil.example\r\n", false),
        ("To: c@evil.example\r\n", false),
    ] {
        let added = Edit::prepend_fields(EditKind::Trace, added);
        let altered = edit::apply(&original, &[added]).unwrap();
        assert_eq!(verify::hold(&altered, &[(&key, field.clone())]), [holds]);
    }
}

#[test]
fn bodies_that_trip_others_verify() {
    for body in [
        "",
        "\n",
        "\n\n\n",
        "x",
        "x\n\n\n",
        " \n",
        "x\n \n",
        "x\n\t\n \n\n",
        " x \t y \n \n",
        ".\n..\n",
        "x\n\n \n\n",
    ] {
        let text = format!("From: a@ward.example\nSubject:  a\n\t b  \n\n{body}");
        assert_eq!(
            by(&both(), &text, now()),
            "ward.example/r1 ward.example/e1",
            "{body:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_message_that_is_signed_verifies_once_for_each_key_and_keeps_its_octets(
        fields in proptest::collection::vec(("[A-Za-z-]{1,12}", "[ -~]{0,60}(\r\n[ \t][ -~]{0,30})?"), 0..8),
        body in proptest::collection::vec("[ -~\t\u{a3}\u{e9}]{0,60}", 0..12),
        last in "(\r\n){0,4}",
    ) {
        let mut text = "From: a@ward.example\r\n".to_owned();
        for (name, value) in &fields {
            // A second author would make it nobody's.
            if !name.eq_ignore_ascii_case("from") {
                text.push_str(&format!("{name}:{value}\r\n"));
            }
        }
        text.push_str(&format!("\r\n{}{last}", body.join("\r\n")));
        let message = Message::new(text);
        let Signed::Fields { fields, by, failed } = both().sign(&message, now()) else {
            return Err(TestCaseError::fail("not signed"));
        };
        prop_assert_eq!(by.len(), 2, "{:?}", failed);
        prop_assert_eq!(fields.matches("DKIM-Signature:").count(), 2);
        let signed = edit::apply(&message, &[Edit::prepend_fields(EditKind::Trace, fields)]).unwrap();
        prop_assert_eq!(signed.body_octets(), message.body_octets());
        prop_assert!(signed.octets().ends_with(message.octets()));
    }
}
