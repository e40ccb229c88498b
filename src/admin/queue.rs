//! `postern queue`: what waits and what is held, and orders about it; `quarantine` is about what is kept apart.
//!
//! Both look at the same deliveries. They work beside a gateway that runs, through the same database, and every order
//! leaves its event in the audit trail.

use std::io::{self, Write};
use std::path::Path;

use crate::base::Reference;
use crate::outcome::Letterhead;
use crate::queue::{Administered, DeliveryId, Filter, Order, Queue, Selection, State, Waiting};

use super::answer::{Answer, CommandError, Table, json_line, printable};
use super::cli::{Chosen, List, QueueCommand, Release};

/// Who gives an order, and for which gateway.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The administrator, for the audit trail.
    pub by: &'a str,
    /// On what the reports to senders are written.
    pub letterhead: &'a Letterhead,
    /// Whether the answer is JSON.
    pub json: bool,
    /// Whether there is a route for what is to be encrypted.
    pub encrypts: bool,
    /// The data folder, below which what is let go on is put for the learner; `None`: nowhere.
    pub data: Option<&'a Path>,
}

/// Who runs this command, for the audit trail: the name before `sudo`, or the user's own.
pub fn administrator() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find(|name| !name.is_empty());
    named.unwrap_or_else(|| "an administrator".to_owned())
}

/// Carries out a `queue` command. The answer is no if an order changed nothing, or a message that is
/// asked for is not there.
pub async fn run(
    command: &QueueCommand,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let letterhead = desk.letterhead.clone();
    let (chosen, order) = match command {
        QueueCommand::List(asked) => {
            let waiting = [State::Due, State::Leased, State::Held];
            return list(asked, &waiting, queue, desk, out).await;
        }
        QueueCommand::Show(asked) => return show(&asked.reference, queue, desk, out).await,
        QueueCommand::Retry(chosen) => (chosen, Order::Retry),
        QueueCommand::Hold(ordered) => {
            let reason = ordered.reason.clone();
            (&ordered.chosen, Order::Hold { reason })
        }
        QueueCommand::Release(Release { ordered, encrypted }) => {
            let reason = ordered.reason.clone();
            let order = match encrypted {
                true if !desk.encrypts => return cannot_encrypt(desk, out),
                true => Order::ReleaseEncrypted { reason },
                false => Order::ReleaseHeld { reason },
            };
            (&ordered.chosen, order)
        }
        QueueCommand::Fail(ordered) => {
            let reason = ordered.reason.clone();
            (&ordered.chosen, Order::Fail { reason, letterhead })
        }
    };
    administer(chosen, order, queue, desk, out).await
}

/// Without a route to it, what is bound to the encryption next hop would wait for nothing.
fn cannot_encrypt(desk: Desk<'_>, out: &mut impl Write) -> Result<Answer, CommandError> {
    let text = "there is no route with `for = \"encryption\"`: nothing was released";
    if desk.json {
        json_line(&serde_json::json!({ "error": text }), out)?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(Answer::No)
}

async fn list(
    asked: &List,
    all: &[State],
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let named: Vec<State> = asked
        .state
        .iter()
        .filter_map(|word| State::parse(word))
        .collect();
    let filter = Filter {
        states: if named.is_empty() {
            all.to_vec()
        } else {
            named
        },
        domain: asked.domain.as_deref().map(comparable),
        limit: asked.limit,
        ..Filter::default()
    };
    list_those(&queue.list(filter).await?, asked.limit, desk, out)
}

/// Writes the list of what was found.
pub(super) fn list_those(
    waiting: &[Waiting],
    limit: usize,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    if desk.json {
        for one in waiting {
            json_line(one, out)?;
        }
        return Ok(Answer::Done);
    }
    table_of(waiting).write(out)?;
    if waiting.is_empty() {
        writeln!(out, "nothing")?;
    } else if waiting.len() == limit {
        writeln!(out, "these are the first {limit}: --limit 0 shows all")?;
    }
    Ok(Answer::Done)
}

fn table_of(waiting: &[Waiting]) -> Table {
    let headings = [
        "number",
        "reference",
        "state",
        "tries",
        "next",
        "from",
        "to",
        "because",
    ];
    let mut table = Table::new(&headings);
    for one in waiting {
        let because = match &one.last_reply {
            Some(reply) => reply,
            None => &one.because,
        };
        table.row([
            one.delivery.to_string(),
            one.reference.clone(),
            one.state.word().to_owned(),
            one.attempts.to_string(),
            one.next_attempt_at
                .as_deref()
                .map_or("-", short_time)
                .to_owned(),
            path_of(&one.sender),
            one.recipient.clone(),
            cut(because),
        ]);
    }
    table
}

pub(super) async fn show(
    reference: &Reference,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let filter = Filter {
        reference: Some(reference.clone()),
        ..Filter::default()
    };
    let waiting = queue.list(filter).await?;
    for one in &waiting {
        if desk.json {
            json_line(one, out)?;
        } else {
            write_all_of(one, out)?;
        }
    }
    if waiting.is_empty() {
        let text = format!(
            "nothing of {reference} waits here; `postern trace {reference}` says what became of it"
        );
        if desk.json {
            json_line(&serde_json::json!({ "error": text }), out)?;
        } else {
            writeln!(out, "{text}")?;
        }
    }
    Ok(Answer::yes_if(!waiting.is_empty()))
}

fn write_all_of(one: &Waiting, out: &mut impl Write) -> io::Result<()> {
    let next = match (one.state, one.next_attempt_at.as_deref()) {
        (State::Leased, Some(until)) => format!("being tried now, until {until} at most"),
        (_, Some(next)) => next.to_owned(),
        (_, None) => "when somebody decides".to_owned(),
    };
    let patient_data = if one.patient_data {
        "found, or may be in it"
    } else {
        "not found"
    };
    let octets = format!("{} octets", one.octets);
    let attempts = one.attempts.to_string();
    let sender = path_of(&one.sender);
    let lines = [
        ("state", one.state.word()),
        ("from", &sender),
        ("to", &one.recipient),
        ("message-id", one.message_id.as_deref().unwrap_or("-")),
        ("received", &one.received_at),
        ("released", one.released_at.as_deref().unwrap_or("-")),
        ("size", &octets),
        ("patient data", patient_data),
        ("rule", &one.rule),
        ("because", &one.because),
        ("transport", one.binding),
        ("attempts", &attempts),
        ("next", &next),
        ("last reply", one.last_reply.as_deref().unwrap_or("-")),
    ];
    writeln!(out, "{} delivery {}", one.reference, one.delivery)?;
    for (name, value) in lines {
        writeln!(out, "  {name:<12}  {}", printable(value))?;
    }
    Ok(())
}

pub(super) async fn administer(
    chosen: &Chosen,
    order: Order,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let mut sum = Administered::default();
    for selection in selections(chosen) {
        let by = desk.by.to_owned();
        let done = queue.administer(selection, order.clone(), by).await?;
        sum.changed += done.changed;
        sum.in_attempt += done.in_attempt;
        sum.passed_over += done.passed_over;
    }
    if desk.json {
        json_line(&sum, out)?;
    } else {
        write_sum(sum, out)?;
    }
    Ok(Answer::yes_if(sum.changed > 0))
}

pub(super) fn selections(chosen: &Chosen) -> Vec<Selection> {
    if chosen.all {
        return vec![Selection::All];
    }
    if let Some(domain) = &chosen.domain {
        return vec![Selection::Domain(comparable(domain))];
    }
    if let Some(number) = chosen.delivery {
        return vec![Selection::Delivery(DeliveryId(number))];
    }
    let references = chosen.references.iter().cloned();
    references.map(Selection::Message).collect()
}

fn write_sum(sum: Administered, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{} changed", deliveries(sum.changed))?;
    if sum.in_attempt > 0 {
        writeln!(
            out,
            "{} left alone: an attempt is being made, ask again",
            deliveries(sum.in_attempt)
        )?;
    }
    if sum.passed_over > 0 {
        writeln!(
            out,
            "{} left alone: this order is not for them, or not in this state",
            deliveries(sum.passed_over)
        )?;
    }
    Ok(())
}

fn deliveries(count: usize) -> String {
    match count {
        1 => "1 delivery".to_owned(),
        _ => format!("{count} deliveries"),
    }
}

/// A domain in the form in which the queue compares it; what is no domain matches nothing.
pub(super) fn comparable(domain: &str) -> String {
    match crate::mail::Domain::parse(domain) {
        Ok(parsed) => parsed.as_str().to_ascii_lowercase(),
        Err(_) => domain.to_ascii_lowercase(),
    }
}

fn path_of(sender: &str) -> String {
    if sender.is_empty() {
        "<>".to_owned()
    } else {
        sender.to_owned()
    }
}

/// A time without its fractions of a second.
fn short_time(time: &str) -> &str {
    time.split_once('.').map_or(time, |(seconds, _)| seconds)
}

/// The start of a long sentence: the whole is in `show` and in JSON.
fn cut(text: &str) -> String {
    if text.chars().count() <= CELL_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(CELL_MAX - 1).collect();
    format!("{start}…")
}

/// Widest last cell of a list, in characters.
const CELL_MAX: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::cli::{AuditCommand, Cli, Command};
    use crate::admin::{audit, quarantine, trace};
    use crate::base::Clock;
    use crate::mail::{BodyType, ForwardPath, Message, Recipient, ReversePath};
    use crate::outcome::audit::{AuditEvent, AuditKind};
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
        let accepted = Accepted {
            reference,
            reverse_path: ReversePath::parse("a@nhs.net").unwrap(),
            env_id: None,
            ret: None,
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            message: Message::new(&b"Subject: x\r\n\r\nhello\r\n"[..]),
            message_id: Some("<1@nhs.net>".to_owned()),
            patient_data: true,
            received_at: clock.now(),
            deliveries: vec![
                delivery("b@example.com", Standing::Held),
                delivery("c@nhs.net", Standing::Due),
                delivery("d@nhs.net", Standing::Quarantined),
            ],
            handling: crate::queue::Handling::default(),
            unless_told: None,
            old_names: Vec::new(),
            events: vec![decided.fact("verdict", "hold")],
        };
        queue.accept(accepted, Handoff::None).await.unwrap();
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
}
