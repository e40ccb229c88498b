//! The shipped policy: it loads, its own tests pass, and what it explains gives nothing away.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use postern::base::Clock;
use postern::config::{Diagnostic, Diagnostics, Severity, load_toml, render};
use postern::mail::{Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath};
use postern::policy::decide::Network;
use postern::policy::explain::{Onward, to_json, to_text};
use postern::policy::{Decision, Policy, Verdict, policy_test};

/// Loads the policy of a gateway file; without DNS. Keys that other modules read are not looked at.
fn load(path: &Path) -> (Option<Arc<Policy>>, Vec<Diagnostic>) {
    let diagnostics = Diagnostics::default();
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let policy = load_toml(path, &diagnostics, |top| {
        for key in top.keys() {
            top.section(&key); // not ours: counted as read
        }
        Policy::load(top, "gateway.bumbleton.example", None, clock, None)
    });
    let others = |d: &Diagnostic| d.id == "wrong-type";
    let said = diagnostics.into_vec().into_iter().filter(|d| !others(d));
    (policy.flatten().map(Arc::new), said.collect())
}

fn shipped() -> Arc<Policy> {
    let (policy, said) = load(Path::new("policies/postern.toml"));
    let errors: Vec<_> = said
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(render::short)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    policy.unwrap()
}

async fn judge(policy: &Policy, message: &str, client: &str, to: &[&str]) -> Decision {
    let mut envelope = Envelope::new(ReversePath::parse("pharmacy.fa001@nhs.net").unwrap());
    envelope.recipients = to
        .iter()
        .map(|to| Recipient::new(ForwardPath::parse(to).unwrap()))
        .collect();
    let path = format!("policies/tests/{message}");
    let message = Message::of_file(std::fs::read(path).unwrap());
    judge_message(policy, message, client, envelope).await
}

async fn judge_message(
    policy: &Policy,
    message: Message,
    client: &str,
    envelope: Envelope,
) -> Decision {
    let transaction = MailTransaction {
        client: policy_test::client(client.parse().unwrap(), None),
        envelope,
        message,
        received_at: "2026-11-20T09:31:00Z".parse().unwrap(),
    };
    policy.judge(&transaction, Network::Off).await
}

#[tokio::test]
async fn the_shipped_policy_passes_its_own_tests() {
    let run = policy_test::run(&shipped()).await;
    let failures: Vec<_> = run.diagnostics.iter().map(render::short).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(run.tests >= 20, "only {} tests ran", run.tests);
}

#[test]
fn retired_families_are_warned_about_and_nothing_else() {
    let (_, said) = load(Path::new("policies/postern.toml"));
    let ids: Vec<_> = said.iter().map(|d| d.id).collect();
    assert_eq!(ids, ["retired-domain"; 4]);
}

#[tokio::test]
async fn a_failing_policy_test_is_an_error_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("policies").unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let tests = folder.path().join("tests");
    std::fs::create_dir(&tests).unwrap();
    std::fs::copy("policies/tests/nhs-number.eml", tests.join("a.eml")).unwrap();
    let test = "[[test]]\nname = \"all may have it\"\nmessage = \"a.eml\"\nfrom = \"\"\n\
                to = { \"a@nhs.net\" = \"deliver-verified-tls\", \"a@example.com\" = \"deliver\" }\n\
                [[test]]\nname = \"no such file\"\nmessage = \"b.eml\"\nfrom = \"\"\nto = { \"a@nhs.net\" = \"deliver\" }\n";
    std::fs::write(tests.join("a.toml"), test).unwrap();

    let (policy, _) = load(&folder.path().join("postern.toml"));
    let run = policy_test::run(&policy.unwrap()).await;
    let said = run.diagnostics;

    assert_eq!(said.len(), 2);
    assert_eq!(
        said[0].message,
        "policy test fails: all may have it: a@example.com gets `hold`, not `deliver`"
    );
    assert_eq!(said[0].labels[0].place.line(), 5);
    assert_eq!(said[1].id, "unreadable-file");
}

#[test]
fn the_version_of_a_policy_follows_the_content_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir("policies").unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let file = folder.path().join("postern.toml");
    let version = || load(&file).0.unwrap().version().to_string();
    let before = version();
    assert_eq!(before, version());
    assert_eq!(before, shipped().version().to_string());
    let scoring = folder.path().join("scoring.toml");
    let text = std::fs::read_to_string(&scoring).unwrap();
    std::fs::write(&scoring, text + "\n# a comment\n").unwrap();
    assert_ne!(before, version());
    assert_eq!(before.len(), 12);
}

#[tokio::test]
async fn an_explanation_has_the_shape_of_the_contract_and_gives_no_number_away() {
    let policy = shipped();
    let decision = judge(
        &policy,
        "attached-csv.eml",
        "127.0.0.1",
        &["gp@nhs.net", "patient@example.com"],
    )
    .await;
    let onward = |_: &_| Onward {
        route: Some("everything".into()),
        tls: None,
    };
    let json = to_json(&decision, onward);

    let message = &json["message"];
    assert_eq!(message["patient_data"]["found"], true);
    assert_eq!(message["patient_data"]["confidence"], "high");
    assert_eq!(message["secure_keyword"], "absent");
    let evidence = &message["patient_data"]["evidence"][0];
    for key in ["kind", "confidence", "where", "redacted", "because"] {
        assert!(!evidence[key].is_null(), "{key} {evidence}");
    }
    let [secure, other] = [&json["recipients"][0], &json["recipients"][1]];
    assert_eq!(secure["verdict"], "deliver-verified-tls");
    assert_eq!(
        (&secure["secure"], &secure["route"]),
        (&true.into(), &"everything".into())
    );
    assert!(
        secure["rule"]
            .as_str()
            .unwrap()
            .starts_with("policies/secure-domains.toml:"),
        "{secure}"
    );
    assert_eq!(other["verdict"], "hold");
    let reply = other["reply"].as_str().unwrap();
    assert!(
        reply.starts_with("250 2.6.0 ") && reply.contains("PX-"),
        "{reply}"
    );
    assert!(
        other["would_pass_if"]
            .as_str()
            .unwrap()
            .contains("[secure]")
    );
    assert!(other["tls"].is_null() && json["edits"].is_array());

    let shown = json.to_string() + &to_text(&decision, |_| Onward::default());
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    for number in ["4505577104", "4010232137"] {
        assert!(!digits.contains(number), "{number} is shown");
    }
}

#[tokio::test]
async fn mail_from_outside_is_scored_and_shows_who_vouches_for_it() {
    let policy = shipped();
    let decision = judge(
        &policy,
        "spam.eml",
        "192.0.2.55",
        &["pharmacy.fa001@nhs.net"],
    )
    .await;
    assert!(decision.findings.spam.tagged);
    let added: String = decision
        .edits
        .iter()
        .map(|edit| String::from_utf8_lossy(&edit.with).into_owned())
        .collect();
    assert!(
        added.contains("Authentication-Results: gateway.bumbleton.example; none\r\n"),
        "{added}"
    );
    assert!(added.contains("X-Spam-Flag: YES\r\n"), "{added}");
}

#[test]
fn a_recipient_is_refused_before_there_is_a_message_with_a_reference() {
    let policy = shipped();
    let asked = |client: &str, to: &str| {
        let client = policy_test::client(client.parse().unwrap(), None);
        let recipient = Recipient::new(ForwardPath::parse(to).unwrap());
        let rejection = policy.at_recipient(&client, &ReversePath::Null, &recipient);
        rejection.map_err(|rejection| rejection.reply.to_string())
    };
    assert_eq!(asked("192.0.2.55", "pharmacy.fa001@nhs.net"), Ok(()));
    assert_eq!(asked("127.0.0.1", "someone@example.com"), Ok(()));
    let denied = asked("192.0.2.55", "someone@example.com").unwrap_err();
    assert!(
        denied.starts_with("550 5.7.1 relaying denied: see PX-"),
        "{denied}"
    );
    let closed = asked("192.0.2.55", "pharmacy.fkw41@nhs.net").unwrap_err();
    assert!(closed.starts_with("550 5.2.1 "), "{closed}");
}

#[tokio::test]
async fn a_large_message_is_judged_like_a_small_one() {
    let policy = shipped();
    let mut envelope = Envelope::new(ReversePath::parse("pharmacy.fa001@nhs.net").unwrap());
    envelope.recipients = vec![Recipient::new(ForwardPath::parse("a@example.com").unwrap())];
    let filler = "Nothing of note on this line of the letter.\r\n".repeat(10_000);
    let message = format!("Subject: x\r\n\r\n{filler}NHS number: 450 557 7104\r\n");
    let transaction = MailTransaction {
        client: policy_test::client("127.0.0.1".parse().unwrap(), None),
        envelope,
        message: Message::new(message.into_bytes()),
        received_at: "2026-11-20T09:31:00Z".parse().unwrap(),
    };
    let decision = policy.decide(&transaction).await;
    assert_eq!(decision.recipients[0].verdict.word(), "hold");
}

#[tokio::test]
async fn patient_data_goes_to_no_domain_that_merely_looks_secure() {
    let policy = shipped();
    let alike = [
        "gp@nhs.net.evil.example",
        "gp@evilnhs.net",
        "gp@evil-nhs.net",
        "gp@x.nhs.net",
        "gp@xn--nhs-9ma.net",
        "gp@n\u{21f}s.net",
        "gp@[192.0.2.1]",
        "\"gp@nhs.net\"@evil.example",
        "gp%nhs.net@evil.example",
        "gp+nhs.net@evil.example",
        "@nhs.net:gp@evil.example",
        "gp@police.uk",
        "gp@force.police.uk.evil.example",
    ];
    let decision = judge(&policy, "nhs-number.eml", "127.0.0.1", &alike).await;
    for recipient in &decision.recipients {
        assert_eq!(recipient.verdict, Verdict::Hold, "{}", recipient.given);
    }
    let secure = [
        "gp@NHS.NET",
        "gp@nhs.net.",
        "@evil.example:a@nhs.net",
        "gp@force.police.uk",
    ];
    let decision = judge(&policy, "nhs-number.eml", "127.0.0.1", &secure).await;
    for recipient in &decision.recipients {
        let to = &recipient.given;
        assert_eq!(recipient.verdict, Verdict::DeliverVerifiedTls, "{to}");
    }
}

#[tokio::test]
async fn a_route_in_the_local_part_leads_through_no_secure_domain() {
    let to = [
        "patient%example.com@nhs.net",
        "\"patient@example.com\"@nhs.net",
        "example.com!patient@force.police.uk",
    ];
    let decision = judge(&shipped(), "nhs-number.eml", "127.0.0.1", &to).await;
    for recipient in &decision.recipients {
        assert_eq!(recipient.verdict.word(), "refuse", "{}", recipient.given);
    }
}

#[tokio::test]
async fn one_mailbox_gets_one_copy_in_whatever_case_it_is_named() {
    let to = [
        "Ward.Five@nhs.net",
        "ward.five@NHS.net",
        "A@b.example",
        "a@b.example",
    ];
    let decision = judge(&shipped(), "nhs-number.eml", "127.0.0.1", &to).await;
    let duplicates: Vec<bool> = decision.recipients.iter().map(|it| it.duplicate).collect();
    assert_eq!(duplicates, [false, true, false, false]);
}

#[tokio::test]
async fn the_splices_of_one_footer_are_shown_as_one_edit() {
    let message = "From: bumbleton.headoffice@nhs.net\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-16le\r\n\
        Content-Transfer-Encoding: base64\r\n\r\naABpAA0ACgA=\r\n";
    let from = ReversePath::parse("bumbleton.headoffice@nhs.net").unwrap();
    let mut envelope = Envelope::new(from);
    envelope.recipients = vec![Recipient::new(ForwardPath::parse("a@b.example").unwrap())];
    let message = Message::new(message.as_bytes().to_vec());
    let decision = judge_message(&shipped(), message, "127.0.0.1", envelope).await;
    assert!(decision.edits.len() > 1, "{:?}", decision.edits);
    let json = to_json(&decision, |_| Onward::default());
    assert_eq!(
        json["edits"].as_array().unwrap().len(),
        1,
        "{}",
        json["edits"]
    );
}
