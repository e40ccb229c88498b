//! `postern plan`, through a whole gateway: mail is decided, the policy folder is copied and changed, and the command says
//! whose mail would have gone elsewhere. On both stores; where PostgreSQL is not installed it says so.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/postgres.rs"]
mod postgres;

use std::fs;
use std::path::{Path, PathBuf};

use postgres::Cluster;
use serde_json::{Value, json};
use support::{Gateway, copy, root, wait_for};

const GP: &str = "pharmacy.fa001@nhs.net";
/// Found nowhere in an answer: neither the number nor the words beside it.
const PATIENT: &str =
    "Subject: referral of Zebedee\r\n\r\nNHS number: 450 557 7104, date of birth 12/03/1961.\r\n";
const PLAIN: &str = "Subject: rota of Zebedee\r\n\r\nYou are on duty on Friday.\r\n";
const LABELLED: &str =
    "Subject: stock of Zebedee\r\nX-Protective-Marking: Patient Data\r\n\r\nTen boxes.\r\n";

fn send(gateway: &Gateway, from: &str, to: &[&str], message: &str) -> String {
    let mut client = gateway.connect();
    client.command("EHLO client.example");
    let message = match message.contains("From:") {
        true => message.to_owned(),
        false => format!("From: <{from}>\r\n{message}"),
    };
    client.submit(from, to, message.as_bytes())
}

/// Changes a file of a folder.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {file}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// A copy of the policies in force, without their tests: what they say must be so is what is changed here.
fn changed(gateway: &Gateway) -> PathBuf {
    let folder = gateway.folder.path().join("new-policies");
    let _ = fs::remove_dir_all(&folder);
    copy(gateway.config().parent().unwrap(), &folder);
    fs::remove_dir_all(folder.join("tests")).unwrap();
    folder
}

struct Plan {
    status: Option<i32>,
    text: String,
    lines: Vec<Value>,
}

impl Plan {
    /// What the command says of a folder, as text and as JSON.
    fn of(gateway: &Gateway, folder: &Path, more: &[&str]) -> Self {
        let folder = folder.to_str().unwrap();
        let said = gateway.postern(&[&["plan", folder], more].concat());
        let json = gateway.postern(&[&["--json", "plan", folder], more].concat());
        assert_eq!(said.status, json.status);
        let text = String::from_utf8(said.stdout).unwrap();
        let json = String::from_utf8(json.stdout).unwrap();
        for secret in ["Zebedee", "450 557", "4505577104", "Friday", "Ten boxes"] {
            assert!(!text.contains(secret) && !json.contains(secret), "{secret}");
        }
        let lines = json.lines().map(|line| serde_json::from_str(line).unwrap());
        Self {
            status: said.status.code(),
            lines: lines.collect(),
            text,
        }
    }

    /// That of a folder by which nothing is decided differently.
    fn of_no_change(gateway: &Gateway, folder: &Path) -> Self {
        let same = Self::of(gateway, folder, &[]);
        assert_eq!(
            (same.status, same.changes()),
            (Some(0), vec![]),
            "{}",
            same.text
        );
        same
    }

    fn kind<'p>(&'p self, kind: &'p str) -> impl Iterator<Item = &'p Value> {
        self.lines.iter().filter(move |line| line["kind"] == kind)
    }

    fn summary(&self) -> &Value {
        self.kind("summary").next().unwrap()
    }

    /// Each change with how many it concerns, in the order of the words.
    fn changes(&self) -> Vec<(String, u64)> {
        let changes = self.kind("change");
        let changes = changes.map(|line| {
            let words = line["change"].as_str().unwrap().to_owned();
            (words, line["count"].as_u64().unwrap())
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort();
        changes
    }

    /// What is said of one recipient: judged how, before, after.
    fn of_recipient(&self, address: &str) -> [String; 3] {
        let mut told = self.kind("recipient");
        let told = told.find(|line| line["address"] == address).unwrap();
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        [
            word(&told["judged"]),
            word(&told["before"]["verdict"]),
            word(&told["after"]["verdict"]),
        ]
    }
}

fn what_would_change_is_told(gateway: &Gateway) {
    let accepted = |to: &[&str], message: &str| {
        let said = send(gateway, GP, to, message);
        assert!(said.starts_with("250 "), "{said}");
    };
    accepted(&["patient@example.com", "gp@nhs.net"], PATIENT);
    accepted(&["results@bumbleton.example"], PATIENT);
    accepted(
        &["results@bumbleton.example", "orders@bumbleton.example"],
        PATIENT,
    );
    accepted(&["stock@other.example"], LABELLED);
    accepted(
        &["locum@example.com"],
        &PLAIN.replace("rota", "[secure] rota"),
    );
    accepted(&["bumbleton.branches@nhs.net"], PLAIN);
    let refused = send(gateway, GP, &["reminders.fa123.donotreply@nhs.net"], PLAIN);
    assert!(refused.starts_with('5'), "{refused}");
    wait_for("the mail that goes on", || {
        let count = gateway.mail_for("results@bumbleton.example").len();
        (count == 2).then_some(())
    });
    let exported = |what: &[&str]| String::from_utf8(gateway.postern(what).stdout).unwrap();
    let state = || {
        let trail = exported(&["audit", "export"]);
        (trail, exported(&["--json", "queue", "list"]))
    };
    wait_for(
        "everything that goes on, also what was written to the sender",
        || {
            let (trail, queue) = state();
            (queue.lines().count() == 2 && trail.contains("\"refused\"")).then_some(())
        },
    );
    let before = state();

    // Nothing is changed yet.
    let folder = changed(gateway);
    let same = Plan::of_no_change(gateway, &folder);
    assert!(
        same.text
            .contains("nothing would have been decided differently")
    );

    // A line more: everything is judged, and comes to the same.
    edit(
        &folder,
        "secure-domains.toml",
        "\n[[domain]]\npattern",
        "\n\n[[domain]]\npattern",
    );
    let same = Plan::of_no_change(gateway, &folder);
    let summary = same.summary();
    assert_eq!(
        summary["messages"],
        json!({"wholly": 2, "by_record": 6, "own": 0})
    );
    assert_eq!(
        [
            &summary["recipients"],
            &summary["changed"],
            &summary["untold"]
        ],
        [&json!(11), &json!(0), &json!(0)],
        "{}",
        same.text
    );

    let domain = "[[domain]]\npattern = \"bumbleton.example\"";
    let other = "[[domain]]\npattern = \"example.com\"";
    edit(&folder, "secure-domains.toml", domain, other);
    edit(&folder, "patient-data.toml", "\"Patient Data\", ", "");
    edit(
        &folder,
        "aliases.toml",
        "orders@bumbleton.example\"\nto = \"pharmacy.fa001",
        "orders@bumbleton.example\"\nto = \"pharmacy.fa003",
    );
    edit(
        &folder,
        "aliases.toml",
        "    \"pharmacy.fa123@nhs.net\",\n",
        "",
    );
    edit(
        &folder,
        "directory.csv",
        "office,,no,yes,2026-10-01",
        "office,,no,no,2026-10-01",
    );

    let plan = Plan::of(gateway, &folder, &[]);
    assert_eq!(plan.status, Some(1), "{}", plan.text);
    let changes = plan.changes();
    let expected = [
        ("deliver → no recipient any more", 1),
        ("deliver-verified-tls → hold", 2),
        ("deliver-verified-tls, to another mailbox", 1),
        ("encrypt → deliver, route encryption → everything", 1),
        ("hold → deliver, without mark", 1),
        ("hold → deliver-verified-tls", 1),
        ("refuse → accept", 1),
    ];
    let expected = expected.map(|(words, count)| (words.to_owned(), count));
    assert_eq!(changes, expected, "{}", plan.text);
    for (address, judged, old, new) in [
        (
            "patient@example.com",
            "wholly",
            "hold",
            "deliver-verified-tls",
        ),
        // Without our own mark, which would count as patient data.
        ("stock@other.example", "wholly", "hold", "deliver"),
        (
            "results@bumbleton.example",
            "by-record",
            "deliver-verified-tls",
            "hold",
        ),
        (
            "reminders.fa123.donotreply@nhs.net",
            "by-record",
            "refuse",
            "accept",
        ),
    ] {
        assert_eq!(plan.of_recipient(address), [judged, old, new], "{address}");
    }
    let files = plan.summary()["files"].as_array().unwrap();
    let names: Vec<_> = files.iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["secure-domains", "patient-data", "aliases", "directory"]
    );
    let hold = plan
        .kind("change")
        .find(|line| line["change"] == "deliver-verified-tls → hold");
    let hold = hold.unwrap();
    let rule = |side: &str| hold[side]["rule"].as_str().unwrap().to_owned();
    assert!(
        rule("before").contains("/policies/secure-domains.toml:"),
        "{hold}"
    );
    assert!(
        rule("after").contains("/new-policies/secure-domains.toml:"),
        "{hold}"
    );
    assert_eq!(hold["messages"], 2);
    assert_eq!(
        hold["domains"],
        json!([{"domain": "bumbleton.example", "count": 2}])
    );
    assert!(
        plan.text
            .contains("deliver-verified-tls → hold: 2 recipients of 2 messages\n"),
        "{}",
        plan.text
    );

    // Examples are bounded, and the trail is looked at from a moment on; what waits is judged whenever it came.
    let few = Plan::of(
        gateway,
        &folder,
        &["--limit", "0", "--since", "2099-01-01T00:00:00Z"],
    );
    let words: Vec<_> = few.changes().into_iter().map(|(words, _)| words).collect();
    assert_eq!(
        words,
        [
            "hold → deliver, without mark",
            "hold → deliver-verified-tls"
        ]
    );
    assert_eq!(few.kind("recipient").count(), 0);

    assert_eq!(state(), before, "nothing is stored or recorded");
}

#[test]
fn what_would_change_is_told_and_nothing_is_stored() {
    what_would_change_is_told(&Gateway::start());
}

#[test]
fn what_would_change_is_told_from_a_database() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let name = cluster.database().name;
    let gateway = Gateway::start_with(|policies| {
        let main = policies.join("postern.toml");
        let text = fs::read_to_string(&main).unwrap();
        let section = format!("\n[store]\npostgresql = \"{name}\"\n");
        fs::write(&main, text + &section).unwrap();
    });
    what_would_change_is_told(&gateway);
}

#[test]
fn a_folder_with_errors_is_told_as_check_tells_it() {
    let gateway = Gateway::start();
    let folder = changed(&gateway);
    edit(
        &folder,
        "secure-domains.toml",
        "\n[[domain]]\npattern",
        "\n[[domain]]\nnonsense = 1\npattern",
    );
    let plan = gateway.postern(&["plan", folder.to_str().unwrap()]);
    let check = gateway.postern(&["check", folder.to_str().unwrap()]);
    assert_eq!(
        (plan.status.code(), check.status.code()),
        (Some(2), Some(1))
    );
    let text = String::from_utf8(plan.stdout).unwrap();
    assert!(
        text.contains("nonsense") && text.contains("cannot be used"),
        "{text}"
    );
    let nowhere = gateway.postern(&["plan", "/nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert_eq!(gateway.postern(&["plan"]).status.code(), Some(2));
}

#[test]
fn of_what_an_earlier_policy_decided_nothing_is_said() {
    let gateway = Gateway::start();
    let policies = gateway.config().parent().unwrap().to_owned();
    let said = send(
        &gateway,
        GP,
        &["results@bumbleton.example", "gp@nhs.net"],
        PATIENT,
    );
    assert!(said.starts_with("250 "), "{said}");
    gateway.wait_for_mail("gp@nhs.net", 1);
    gateway.wait_for_mail("results@bumbleton.example", 1);
    // The policy in force is not the one that decided any more, and would have held it.
    fs::remove_dir_all(policies.join("tests")).unwrap();
    fs::create_dir(policies.join("tests")).unwrap();
    let domain = "[[domain]]\npattern = \"bumbleton.example\"";
    edit(
        &policies,
        "secure-domains.toml",
        domain,
        "[[domain]]\npattern = \"example.com\"",
    );
    let folder = changed(&gateway);
    edit(
        &folder,
        "secure-domains.toml",
        "[[domain]]\npattern = \"example.com\"",
        domain,
    );

    let plan = Plan::of(&gateway, &folder, &[]);

    assert_eq!(
        (plan.status, plan.changes()),
        (Some(0), vec![]),
        "{}",
        plan.text
    );
    let untold: Vec<_> = plan.kind("untold").collect();
    assert_eq!(untold.len(), 1);
    assert_eq!(
        (&untold[0]["because"], &untold[0]["count"]),
        (&json!("other-policy"), &json!(1))
    );
    assert!(
        plan.text.contains("an earlier policy decided"),
        "{}",
        plan.text
    );
}

#[test]
fn another_threshold_is_judged_by_the_symbols_on_record() {
    let gateway = Gateway::start_with(|policies| {
        let ours = "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]";
        edit(
            policies,
            "postern.toml",
            ours,
            "relay-networks = [\"192.0.2.0/24\"]",
        );
        fs::remove_dir_all(policies.join("tests")).unwrap();
        fs::create_dir(policies.join("tests")).unwrap();
    });
    let spam = fs::read_to_string(root().join("policies/tests/spam.eml")).unwrap();
    let spam = spam.replace("\r\n", "\n").replace('\n', "\r\n");
    let said = send(&gateway, "prize@elsewhere.example", &[GP], &spam);
    assert!(said.contains("kept back"), "{said}");
    let said = send(&gateway, "x@elsewhere.example", &["gp@nhs.net"], PLAIN);
    assert!(said.contains("accepted: "), "{said}");
    gateway.wait_for_mail("gp@nhs.net", 1);

    let folder = changed(&gateway);
    edit(
        &folder,
        "scoring.toml",
        "quarantine = 10.0",
        "quarantine = 19.0",
    );
    let plan = Plan::of(&gateway, &folder, &[]);
    assert_eq!(
        plan.changes(),
        [("quarantine → deliver".to_owned(), 1)],
        "{}",
        plan.text
    );
    assert_eq!(plan.of_recipient(GP), ["wholly", "quarantine", "deliver"]);

    // A rule that is new: asked of what is here, and not of what is gone.
    let folder = changed(&gateway);
    let rule = "\n[[rule]]\nname = \"ANY_AT_ALL\"\nweight = -8\nwhen = \"text-matches\"\npattern = \"the link\"\ndescription = \"x\"\n";
    let path = folder.join("scoring.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + rule).unwrap();
    let plan = Plan::of(&gateway, &folder, &[]);
    assert_eq!(
        plan.changes(),
        [("quarantine → deliver".to_owned(), 1)],
        "{}",
        plan.text
    );
    assert!(plan.text.contains("as they are on record"), "{}", plan.text);
}
