//! The contracts about text messages, one after the other.

use super::*;
use crate::config::{Diagnostics, read_toml};
use crate::policy::Opinions;
use crate::policy::finding::{Confidence, Evidence, PatientData};
use crate::policy::stage::secure_domain::SecureDomain;
use crate::policy::testing::{World, file};
use std::sync::Arc;

const TO: [&str; 1] = ["447700900003@sms.bumbleton.example"];

fn rule() -> Arc<SmsRule> {
    let text = "[sms]\ndomain = \"sms.bumbleton.example\"\n";
    let diagnostics = Diagnostics::default();
    Arc::new(read_toml(
        &file("postern.toml", text),
        &diagnostics,
        |top| SmsRule::read(top, &[]),
    ))
}

/// A world in which `reminders` has this contract.
fn world(contract: &str, message: &str) -> World {
    let mut world = World::new(message, "reminders@bumbleton.example", &TO)
        .outbound(Some("reminders@bumbleton.example"));
    let text = format!("[[account]]\nname = \"reminders@bumbleton.example\"\n{contract}\n");
    world.accounts =
        crate::accounts::Accounts::read(&file("accounts.toml", &text), &Diagnostics::default());
    world
}

fn examined(world: &World) -> Opinions {
    let stage = SecureDomain::new(Arc::default()).with_texts(rule());
    world.ask(|case| stage.examine(case))
}

/// What is asked for the one recipient: the reply of a refusal, or the word of the verdict.
fn said(world: &World) -> String {
    let opinion = examined(world).per_recipient.remove(0);
    match opinion.ask {
        Ask::Refuse(refusal) => {
            let reply = refusal.reply(&"PX-7F3K2Q".parse().unwrap()).to_string();
            reply.trim_end_matches(": see PX-7F3K2Q").to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn text(world: &World) -> String {
    let findings = examined(world).findings.into_iter();
    let mut texts = findings.filter_map(|finding| match finding {
        Finding::ShortText(text) => Some(text.0),
        _ => None,
    });
    texts.next().unwrap()
}

fn found(kind: &'static str, confidence: Confidence) -> PatientData {
    PatientData {
        found: confidence > Confidence::Low,
        confidence,
        synthetic: false,
        evidence: vec![Evidence {
            kind,
            confidence,
            place: "body:1".into(),
            redacted: "450 *** **04".into(),
            because: Vec::new(),
        }],
    }
}

#[test]
fn without_a_contract_nobody_sends_a_text() {
    let refused = "550 5.7.1 this client may not send text messages";
    assert_eq!(said(&world("", "\nhello\n")), refused);
    let mut relay = world("sms = {}", "\nhello\n");
    relay.transaction.client.account = None;
    assert_eq!(said(&relay), refused);
    assert_eq!(said(&world("sms = {}", "\nhello\n")), "Pass");
}

#[test]
fn at_rcpt_the_account_and_the_number_are_asked_for() {
    let rule = rule();
    let with = world("sms = {}", "");
    let without = world("", "");
    let name = "reminders@bumbleton.example";
    let path = |text: &str| ForwardPath::parse(text).unwrap();
    let may = |world: &World, to: &str| {
        rule.may_send(Direction::Outbound, world.accounts.get(name), &path(to))
            .is_ok()
    };
    assert!(may(&with, TO[0]) && !may(&without, TO[0]) && may(&without, "a@b.example"));
    let canonical = |text: &str| {
        let recipient = rule.canonical(&Recipient::new(path(text)));
        recipient.map(|one| one.map(|one| one.forward_path.to_string()))
    };
    assert_eq!(
        canonical("+447700900003@SMS.bumbleton.example"),
        Ok(Some(TO[0].to_owned()))
    );
    assert_eq!(canonical("07700900003@bumbleton.example"), Ok(None));
    for bad in [
        "reception@sms.bumbleton.example",
        "0770090000@sms.bumbleton.example",
        "number-ending-003.0123456789@x.example",
    ] {
        assert!(canonical(bad).is_err(), "{bad}");
    }
    assert_eq!(
        SmsRule::default().canonical(&Recipient::new(path(TO[0]))),
        Ok(None)
    );
}

#[test]
fn what_is_meant_to_be_a_text_is_never_mail() {
    let path = |text: &str| ForwardPath::parse(text).unwrap();
    let name = "reminders@bumbleton.example";
    let (with, without) = (world("sms = {}", ""), world("", ""));
    let may = |rule: &SmsRule, world: &World, to: &str| {
        rule.may_send(Direction::Outbound, world.accounts.get(name), &path(to))
            .is_ok()
    };
    // The domain was taken out of the policy, or another one took its place.
    let (none, before) = (SmsRule::default(), rule());
    none.follow(&before);
    let later = SmsRule::default();
    later.follow(&none);
    for rule in [&none, &later] {
        assert!(!may(rule, &with, TO[0]) && !may(rule, &without, TO[0]));
        assert!(rule.canonical(&Recipient::new(path(TO[0]))).is_err());
        assert!(may(rule, &with, "a@b.example") && may(rule, &without, "07700900003@b.example"));
    }
    // After a restart without it the contract alone says that texts are meant.
    assert!(!may(
        &SmsRule::default(),
        &with,
        "07700900003@sms.b.example"
    ));
    assert!(may(&before, &with, "07700900003@sms.b.example"));
    let said = none.may_be_mail(None, &path(TO[0])).unwrap_err();
    let Ask::Refuse(refusal) = said.ask else {
        panic!("{said:?}");
    };
    let reply = refusal.reply(&"PX-7F3K2Q".parse().unwrap()).to_string();
    assert!(
        reply.starts_with("550 5.3.3 text messages are not sent here any more"),
        "{reply}"
    );
}

#[test]
fn past_the_limit_it_is_refused_with_the_count_or_cut() {
    let long = format!("\n{}\n", "a".repeat(307));
    let refused = "552 5.3.4 the text takes 3 segments (307 characters, GSM-7), 2 are allowed";
    assert_eq!(said(&world("sms = { segments = 2 }", &long)), refused);
    let cut = world("sms = { segments = 2, past-limit = \"cut\" }", &long);
    assert_eq!((said(&cut).as_str(), text(&cut).len()), ("Pass", 306));
}

#[test]
fn what_cannot_be_sent_whole_is_refused() {
    let sms = |message: &str| said(&world("sms = {}", message));
    assert_eq!(
        sms("Subject: x\n\n-- \nme\n"),
        "550 5.6.0 there is no text to send"
    );
    assert_eq!(
        sms("Content-Type: text/plain; charset=utf-8\n\nاپ کی دوا تیار ہے\n"),
        "550 5.6.3 the text has letters that a text message cannot carry"
    );
    let attached = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n\
                    Content-Type: application/pdf; name=a.pdf\n\nx\n--b--\n";
    assert_eq!(
        sms(attached),
        "550 5.6.1 a text message takes no attachment"
    );
}

#[test]
fn patient_data_is_refused_or_held_as_the_contract_says() {
    let refused = "550 5.7.1 patient data may not go to sms.bumbleton.example";
    let number = || found("nhs-number", Confidence::High);
    let declared = || found("declared-by-account", Confidence::High);
    for (contract, patient_data, expected) in [
        ("sms = {}", number(), refused),
        ("sms = {}", declared(), refused),
        ("sms = {}", found("nhs-number", Confidence::Low), "Pass"),
        ("sms = { patient-data = \"hold\" }", number(), "Hold"),
        (
            "sms = { patient-data = \"refuse-found\" }",
            number(),
            refused,
        ),
        (
            "sms = { patient-data = \"refuse-found\" }",
            declared(),
            "Pass",
        ),
    ] {
        let mut world = world(contract, "\nhello\n");
        world.findings.patient_data = patient_data;
        assert_eq!(said(&world), expected, "{contract}");
    }
    let mut tagged = world("sms = {}", "\nhello\n");
    tagged.findings.secure_keyword = SecureKeyword::Present;
    assert_eq!(said(&tagged), refused);
}

#[test]
fn an_account_that_says_it_sends_none_is_held_to_it_whatever_its_texts_may_hold() {
    let mut world = world(
        "patient-data = \"never\"\nsms = { patient-data = \"hold\" }",
        "\nhello\n",
    );
    world.findings.patient_data = found("nhs-number", Confidence::High);
    assert_eq!(said(&world), "Hold");
}

#[test]
fn what_goes_is_what_was_judged() {
    let message = "Content-Type: text/plain; charset=utf-8\n\nIt\u{2019}s ready.\n-- \nme\n";
    assert_eq!(text(&world("sms = {}", message)), "It's ready.");
    let shown = format!("{:?}", examined(&world("sms = {}", message)));
    assert!(!shown.contains("ready"), "{shown}");
}

#[test]
fn what_is_sent_is_looked_through_as_it_is_sent() {
    use crate::policy::patient_data::Settings;
    use crate::policy::stage::classify_patient_data::ClassifyPatientData;

    let stage = ClassifyPatientData::new(Settings::default()).with_texts(rule());
    let refused = "550 5.7.1 patient data may not go to sms.bumbleton.example";
    let page = "Content-Type: text/html\n\n<p>NHS number";
    for (contract, words, expected) in [
        ("sms = {}", "450 557 7<del>8</del>104", refused),
        (
            "patient-data = \"always\"\nsms = { patient-data = \"refuse-found\" }",
            "450 557 7<del>8</del>104",
            refused,
        ),
        ("sms = {}", "450 557 7104", refused),
        ("sms = {}", "450 557<del>8</del>", "Pass"),
    ] {
        let mut world = world(contract, &format!("{page} {words}</p>\n"));
        for finding in world.ask(|case| stage.examine(case)).findings {
            if let Finding::PatientData(found) = finding {
                let numbers = found.evidence.iter();
                let numbers = numbers.filter(|one| one.kind == "nhs-number").count();
                assert_eq!(numbers, usize::from(expected == refused), "{found:?}");
                world.findings.patient_data = found;
            }
        }
        assert_eq!(said(&world), expected, "{contract} {words}");
    }
}

#[test]
fn what_was_not_looked_into_is_not_sent() {
    let unread = "550 5.6.0 the text cannot be read";
    let head = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n";
    let long = format!("\n{}", "a ".repeat(200_000));
    for message in [
        &*long,
        &format!("{head}--b\nContent-Type: text/plain; charset=x-ebcdic\n\n\x1b(a\n--b--\n"),
    ] {
        let cut = world("sms = { past-limit = \"cut\" }", message);
        assert_eq!(said(&cut), unread);
    }
    assert_eq!(said(&world("sms = {}", &format!("{head}--b--\n"))), "Pass");
}
