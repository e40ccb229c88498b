//! What the commands of the queue print and change.

use super::*;
use crate::admin::cli::{AuditCommand, Cli, Command};
use crate::admin::{audit, quarantine, trace};
use crate::base::Clock;
use crate::mail::{ForwardPath, Message, Recipient, ReversePath};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::queue::testing::accepted;
use crate::queue::{Accepted, Binding, Handoff, NewDelivery, Standing};
use clap::Parser as _;

/// A queue with one message: held for b@example.com, due for c@nhs.net, quarantined for d@nhs.net.
async fn queue(folder: &tempfile::TempDir) -> Queue {
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let queue = Queue::open(folder.path(), clock.clone()).await.unwrap();
    let reference: Reference = "PX-7F3K2Q9A".parse().unwrap();
    let delivery = |to: &str, standing| NewDelivery {
        recipient: Recipient::new(ForwardPath::parse(to).unwrap()),
        standing,
        binding: Binding::Any,
        rule: "policies/secure-domains.toml:31".to_owned(),
        because: "patient data may not go there".to_owned(),
        self_release: None,
    };
    let mut decided = AuditEvent::new(
        clock.now(),
        reference.clone(),
        AuditKind::Decided,
        "a@nhs.net",
    );
    decided.recipient = Some("b@example.com".to_owned());
    let from = ReversePath::parse("a@nhs.net").unwrap();
    let message = Accepted {
        reference,
        message: Message::new(&b"Subject: x\r\n\r\nhello\r\n"[..]),
        message_id: Some("<1@nhs.net>".to_owned()),
        patient_data: true,
        deliveries: vec![
            delivery("b@example.com", Standing::Held),
            delivery("c@nhs.net", Standing::Due),
            delivery("d@nhs.net", Standing::Quarantined),
        ],
        events: vec![decided.fact("verdict", "hold")],
        ..accepted(clock.now(), from, &[])
    };
    queue.accept(message, Handoff::None).await.unwrap();
    queue
}

async fn command(queue: &Queue, line: &str) -> (Answer, String) {
    let mut out = Vec::new();
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let desk = Desk {
        by: "smith",
        letterhead: &"gateway.bumbleton.example".into(),
        json: cli.json,
        encrypts: !line.contains("--domain no-route.example"),
        data: None,
    };
    let answer = match &cli.command {
        Command::Queue(command) => run(command, queue, desk, &mut out).await,
        Command::Quarantine(command) => quarantine::run(command, queue, desk, &mut out).await,
        Command::Trace(asked) => trace::run(asked, queue, cli.json, &mut out).await,
        Command::Explain(asked) => {
            let reference = asked.what[0].parse().unwrap();
            trace::explain(&reference, queue, cli.json, &mut out).await
        }
        Command::Audit(AuditCommand::Verify) => audit::verify(queue, cli.json, &mut out).await,
        Command::Audit(AuditCommand::Export { from, out: file }) => {
            audit::export(queue, *from, file.as_deref(), cli.json, &mut out).await
        }
        other => panic!("{other:?}"),
    };
    (answer.unwrap(), String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn the_queue_and_the_quarantine_list_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;

    let (_, waiting) = command(&queue, "postern queue list").await;
    let (_, kept) = command(&queue, "postern quarantine list").await;
    let (_, held) = command(&queue, "postern --json queue list --state held").await;

    assert_eq!(waiting.lines().count(), 3, "{waiting}");
    assert!(
        waiting.contains("b@example.com  patient data may not go there"),
        "{waiting}"
    );
    assert!(
        kept.contains("d@nhs.net") && !kept.contains("c@nhs.net"),
        "{kept}"
    );
    let held: serde_json::Value = serde_json::from_str(&held).unwrap();
    assert_eq!(
        (&held["recipient"], &held["state"]),
        (&"b@example.com".into(), &"held".into())
    );
}

#[tokio::test]
async fn an_order_is_carried_out_and_leaves_its_event() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;

    let released = "postern queue release PX-7F3K2Q9A --reason consent";
    let (answer, said) = command(&queue, released).await;
    assert_eq!(answer, Answer::Done);
    assert!(
        said.starts_with("1 delivery changed\n2 deliveries left alone"),
        "{said}"
    );
    let (answer, _) = command(&queue, released).await;
    assert_eq!(answer, Answer::No);
    let (answer, _) = command(&queue, "postern quarantine delete --domain NHS.net").await;
    assert_eq!(answer, Answer::Done);
    let (_, kept) = command(&queue, "postern quarantine list").await;
    assert_eq!(kept, "nothing\n");

    let (_, trace) = command(&queue, "postern trace b@example.com").await;
    assert!(
        trace.contains("released") && trace.contains("consent"),
        "{trace}"
    );
    assert!(trace.contains("smith"), "{trace}");
    let (answer, verified) = command(&queue, "postern audit verify").await;
    assert_eq!(answer, Answer::Done);
    assert!(
        verified.starts_with("the audit trail is whole"),
        "{verified}"
    );
}

#[tokio::test]
async fn what_is_held_can_be_let_go_by_way_of_the_encryption_next_hop() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;

    let no_route = "postern queue release --encrypted --domain no-route.example";
    let (answer, said) = command(&queue, no_route).await;
    assert!(answer == Answer::No && said.contains("no route"), "{said}");

    let released = "postern queue release --encrypted PX-7F3K2Q9A --reason agreed";
    let (answer, said) = command(&queue, released).await;
    assert_eq!(answer, Answer::Done, "{said}");
    assert!(said.starts_with("1 delivery changed\n2 deliveries left alone"));
    let (_, shown) = command(&queue, "postern --json queue list --domain example.com").await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["state"], &shown["binding"]),
        (&"due".into(), &"encryption".into())
    );
    let (_, trace) = command(&queue, "postern --json trace b@example.com").await;
    let event = trace
        .lines()
        .find(|line| line.contains("released"))
        .unwrap();
    assert!(
        event.contains("agreed") && event.contains("\"transport\":\"encryption\""),
        "{event}"
    );
    let (answer, _) = command(&queue, "postern audit verify").await;
    assert_eq!(answer, Answer::Done);
}

#[tokio::test]
async fn a_message_is_shown_with_its_reasons_or_said_to_be_gone() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;

    let (_, shown) = command(&queue, "postern queue show px-7f3k2q9a").await;
    assert!(
        shown.contains("because       patient data may not go there\n"),
        "{shown}"
    );
    assert!(
        shown.contains("next          when somebody decides\n"),
        "{shown}"
    );
    assert!(!shown.contains("hello"));
    let (answer, shown) = command(&queue, "postern queue show PX-000000").await;
    assert_eq!(answer, Answer::No);
    assert!(shown.contains("postern trace PX-000000"), "{shown}");
    let (answer, shown) = command(&queue, "postern --json queue show PX-000000").await;
    assert_eq!(answer, Answer::No);
    let said: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(
        said["error"]
            .as_str()
            .unwrap()
            .starts_with("nothing of PX-000000 waits")
    );
}

#[tokio::test]
async fn a_reference_explains_the_decision() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;

    let (answer, said) = command(&queue, "postern explain PX-7F3K2Q9A").await;
    assert_eq!(answer, Answer::Done);
    assert!(said.contains("a@nhs.net → b@example.com\n"), "{said}");
    assert!(said.contains("    verdict      hold\n"), "{said}");
    assert_eq!(
        command(&queue, "postern explain PX-000000").await.0,
        Answer::No
    );
}

#[tokio::test]
async fn a_line_of_the_trail_that_is_no_text_is_named_and_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;
    for reference in ["PX-22222222", "PX-33333333"] {
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        let reference = reference.parse().unwrap();
        let mut event = AuditEvent::new(at, reference, AuditKind::Decided, "a@nhs.net");
        event.recipient = Some("b@example.com".to_owned());
        queue.record(vec![event]).await.unwrap();
    }
    rusqlite::Connection::open(folder.path().join("queue.sqlite"))
        .unwrap()
        .execute(
            "UPDATE audit SET event = CAST(X'7BFF00' AS TEXT) WHERE id = 2",
            [],
        )
        .unwrap();

    let (answer, said) = command(&queue, "postern trace b@example.com").await;
    assert_eq!(answer, Answer::Done);
    assert!(
        said.contains("PX-7F3K2Q9A") && said.contains("PX-33333333"),
        "{said}"
    );
    assert!(
        said.contains("line 2 of the audit trail is damaged"),
        "{said}"
    );
    let (answer, said) = command(&queue, "postern --json trace nobody@nowhere.example").await;
    assert_eq!(answer, Answer::No);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["number"], 2);
    let (_, exported) = command(&queue, "postern audit export").await;
    let lines: Vec<serde_json::Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[1]["event"], &lines[1]["damaged"]),
        (&serde_json::Value::Null, &"7bff00".into())
    );
    assert_eq!(lines[2]["event"]["reference"], "PX-33333333");
    let (answer, _) = command(&queue, "postern audit verify").await;
    assert_eq!(answer, Answer::No);
}

#[tokio::test]
async fn the_trail_is_exported_whole_and_over_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let queue = queue(&folder).await;
    let (_, on_screen) = command(&queue, "postern audit export").await;
    let file = folder.path().join("trail.jsonl");
    let line = format!("postern audit export --out {}", file.display());

    let (_, said) = command(&queue, &line).await;

    assert_eq!(std::fs::read_to_string(&file).unwrap(), on_screen);
    assert!(said.contains("events are in"), "{said}");
    let again = audit::export(&queue, 1, Some(&file), false, &mut Vec::new()).await;
    assert!(matches!(again, Err(CommandError::File { .. })));
}
