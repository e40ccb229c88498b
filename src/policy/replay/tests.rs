//! Replays by the policy that ships and by changed copies of it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::base::Clock;
use crate::config::{Diagnostics, load_toml};
use crate::policy::Policy;
use crate::policy::policy_test::client;

const GP: &str = "pharmacy.fa001@nhs.net";
const NUMBER: &str = "high nhs-number at body:1: 450 *** **04 (checksum, live-range, keyword)";
/// Takes the domain of the house off the register.
const NOT_OURS: Edit = (
    "secure-domains.toml",
    "[[domain]]\npattern = \"bumbleton.example\"",
    "[[domain]]\npattern = \"else.example\"",
);

/// A file, what stands in it, and what stands there instead.
type Edit = (&'static str, &'static str, &'static str);

/// The policy that ships, changed.
fn policy(edits: &[Edit]) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for entry in fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    for (file, from, to) in edits {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let main = folder.path().join("postern.toml");
    let policy = load_toml(&main, &Diagnostics::default(), |top| {
        Policy::load(top, "gateway.bumbleton.example", None, clock, None)
    });
    policy.flatten().unwrap()
}

/// A message from this client with these facts, and what was decided for each recipient.
fn record(before: &Policy, from: &str, address: &str, facts: Value, to: &[(&str, &str)]) -> Record {
    let mut found = OnRecord::default();
    found.take(facts.as_object().unwrap());
    Record {
        client: client(address.parse().unwrap(), None),
        reverse_path: ReversePath::parse(from).unwrap(),
        received_at: "2026-11-20T10:00:00Z".parse().unwrap(),
        policy: Some(before.version().clone()),
        found,
        rows: to
            .iter()
            .map(|(path, verdict)| Row {
                given: ForwardPath::parse(path).unwrap(),
                resolved: (*path).to_owned(),
                verdict: (*verdict).to_owned(),
                rule: String::new(),
            })
            .collect(),
    }
}

fn ours(before: &Policy, facts: Value, to: &[(&str, &str)]) -> Record {
    record(before, GP, "127.0.0.1", facts, to)
}

/// `hold → deliver`, or the word for why that is not known, for each recipient.
fn told(before: &Policy, after: &Policy, record: &Record) -> Vec<String> {
    let pair = Pair::new(before, after);
    let judging = pair.judge(record, &record.rows, None);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let judged = runtime.unwrap().block_on(judging);
    let word = |side: &Option<Side>| {
        let side = side.as_ref();
        side.map_or_else(|| "-".to_owned(), |side| side.verdict().to_owned())
    };
    let words = judged.into_iter().map(|one| match one.told {
        Ok(told) => format!("{} → {}", word(&told.before), word(&told.after)),
        Err(why) => why.word().to_owned(),
    });
    words.collect()
}

#[test]
fn what_was_found_meets_the_register_of_either_policy() {
    let (before, after) = (policy(&[]), policy(&[NOT_OURS]));
    let known = json!({"evidence": NUMBER, "direction": "outbound"});
    let to = [
        ("results@bumbleton.example", "deliver-verified-tls"),
        ("patient@example.com", "hold"),
        ("staff@else.example", "hold"),
    ];
    assert_eq!(
        told(&before, &after, &ours(&before, known, &to)),
        [
            "deliver-verified-tls → hold",
            "hold → hold",
            "hold → deliver-verified-tls"
        ]
    );
    let nothing = json!({"direction": "outbound"});
    let plain = ours(
        &before,
        nothing,
        &[("results@bumbleton.example", "deliver")],
    );
    assert_eq!(told(&before, &after, &plain), ["deliver → deliver"]);
}

#[test]
fn a_change_that_is_sure_is_told_also_where_its_outcome_is_not() {
    let (before, after) = (policy(&[]), policy(&[NOT_OURS]));
    let unknown = json!({"evidence": NUMBER});
    let to = [("results@bumbleton.example", "deliver-verified-tls")];
    let record = ours(&before, unknown.clone(), &to);
    assert_eq!(
        told(&before, &after, &record),
        ["deliver-verified-tls → encrypt or hold"]
    );
    // Another recipient of the same message tells what the subject said.
    let both = [to[0], ("patient@example.com", "encrypt")];
    let record = ours(&before, unknown, &both);
    assert_eq!(
        told(&before, &after, &record),
        ["deliver-verified-tls → encrypt", "encrypt → encrypt"]
    );
    // Without patient data it may be that nothing changes.
    let record = ours(
        &before,
        json!({}),
        &[("results@bumbleton.example", "deliver")],
    );
    assert_eq!(told(&before, &after, &record), ["hangs-on-content"]);
}

#[test]
fn what_the_policy_in_force_does_not_come_to_is_not_told() {
    let (before, after) = (policy(&[]), policy(&[NOT_OURS]));
    let known = || json!({"evidence": NUMBER, "direction": "outbound"});
    let quarantined = [("results@bumbleton.example", "quarantine")];
    let mut record = ours(&before, known(), &quarantined);
    assert_eq!(told(&before, &after, &record), ["not-on-record"]);
    record.policy = Some(after.version().clone());
    assert_eq!(told(&before, &after, &record), ["other-policy"]);
    // It spoils nothing for the others.
    let two = [quarantined[0], ("gp@nhs.net", "deliver-verified-tls")];
    let record = ours(&before, known(), &two);
    assert_eq!(
        told(&before, &after, &record),
        [
            "not-on-record",
            "deliver-verified-tls → deliver-verified-tls"
        ]
    );
}

#[test]
fn of_a_report_its_author_would_have_to_be_known() {
    let (before, after) = (policy(&[]), policy(&[NOT_OURS]));
    let known = json!({"evidence": NUMBER, "direction": "outbound"});
    let to = [("results@bumbleton.example", "deliver-verified-tls")];
    let report = record(&before, "", "127.0.0.1", known, &to);
    assert_eq!(told(&before, &after, &report), ["hangs-on-content"]);
}

#[test]
fn the_number_of_a_text_is_on_no_record() {
    let sms: Edit = (
        "postern.toml",
        "[policy]",
        "[sms]\ndomain = \"sms.example\"\n[policy]",
    );
    let (before, after) = (policy(&[sms]), policy(&[sms, NOT_OURS]));
    let to = [
        ("sms-123@sms.example", "deliver"),
        ("gp@nhs.net", "deliver"),
    ];
    let record = ours(&before, json!({"direction": "outbound"}), &to);
    assert_eq!(
        told(&before, &after, &record),
        ["text-message", "deliver → deliver"]
    );
}

#[test]
fn what_an_account_declares_is_for_each_policy_to_say() {
    let account = "[[account]]\nname = \"rota@bumbleton.example\"\nmay-send-from = [\"rota@bumbleton.example\"]\n";
    let with = |more: &str| {
        let text: &'static str = Box::leak(format!("{account}{more}").into_boxed_str());
        policy(&[("accounts.toml", "", text)])
    };
    let (before, after) = (with(""), with("patient-data = \"always\"\n"));
    let facts = json!({"direction": "outbound"});
    let to = [("locum@example.com", "deliver"), ("gp@nhs.net", "deliver")];
    let mut record = record(&before, "rota@bumbleton.example", "192.0.2.1", facts, &to);
    record.client.account = Some("rota@bumbleton.example".to_owned());
    assert_eq!(
        told(&before, &after, &record),
        ["deliver → hold", "deliver → deliver-verified-tls"]
    );
}

#[test]
fn a_score_is_reckoned_anew_from_the_symbols_on_record() {
    let before = policy(&[]);
    let lower = policy(&[("scoring.toml", "quarantine = 10.0", "quarantine = 7.0")]);
    let of = |symbols: &str, verdict| {
        let facts = json!({"direction": "inbound", "spam-symbols": symbols});
        record(
            &before,
            "x@elsewhere.example",
            "192.0.2.1",
            facts,
            &[(GP, verdict)],
        )
    };
    let eight = "LEARNED_SPAM(8)";
    assert_eq!(
        told(&before, &lower, &of(eight, "deliver")),
        ["deliver → quarantine"]
    );
    // Whoever DMARC vouches for may be at a secure domain, and is not kept back on a score then.
    let vouched = "LEARNED_SPAM(9) DMARC_PASS(-1)";
    assert_eq!(
        told(&before, &lower, &of(vouched, "deliver")),
        ["hangs-on-content"]
    );
    assert_eq!(
        told(
            &before,
            &lower,
            &of("LEARNED_SPAM(30) SENDER_ALLOWED(0)", "deliver")
        ),
        ["deliver → deliver"]
    );
    // Another weight of a rule that spoke.
    let heavier = policy(&[(
        "scoring.toml",
        "group = \"authentication\"\nweight = -1.0\nwhen = \"dmarc-pass\"",
        "weight = -15.0\nwhen = \"dmarc-pass\"",
    )]);
    assert_eq!(
        told(
            &before,
            &heavier,
            &of("LEARNED_SPAM(14) DMARC_PASS(-1)", "quarantine")
        ),
        ["quarantine → deliver"]
    );
}

#[test]
fn the_entity_that_sends_is_told_where_it_follows_from_the_envelope() {
    let before = policy(&[]);
    let after = policy(&[(
        "organisations.toml",
        "id = \"bumbleton-pharmacies\"",
        "id = \"another\"",
    )]);
    let entity = |recorded: &str| {
        let facts = json!({"direction": "outbound", "footer": "added", "entity": recorded});
        let record = ours(&before, facts, &[("gp@nhs.net", "deliver")]);
        let pair = Pair::new(&before, &after);
        let judging = pair.judge(&record, &record.rows, None);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let judged = runtime.unwrap().block_on(judging).remove(0).told.unwrap();
        [judged.before, judged.after].map(|side| match side {
            Some(Side::Verdict { entity, .. }) => entity.unwrap_or_default(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(
        entity("bumbleton-pharmacies"),
        ["bumbleton-pharmacies", "another"]
    );
    // The author was of another entity than the reverse path.
    assert_eq!(entity("someone-else"), ["", ""]);
}
