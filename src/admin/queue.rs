//! `postern queue` and `postern quarantine`: what waits, what is kept back, and orders about it.
//!
//! Both look at the same deliveries: the queue at those that wait or are held, the quarantine at
//! those kept apart. They work beside a gateway that runs, through the same database, and every order
//! leaves its event in the audit trail.

use std::io::{self, Write};

use crate::base::Reference;
use crate::queue::{Administered, DeliveryId, Filter, Order, Queue, Selection, State, Waiting};

use super::answer::{Answer, CommandError, Table, json_line, printable};
use super::cli::{Chosen, List, QuarantineCommand, QueueCommand};

/// Who gives an order, and for which gateway.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The administrator, for the audit trail.
    pub by: &'a str,
    /// The gateway's name, for the reports that go to senders.
    pub hostname: &'a str,
    /// Whether the answer is JSON.
    pub json: bool,
}

/// Carries out a `queue` command. The answer is no if an order changed nothing, or a message that is
/// asked for is not there.
pub async fn run(
    command: &QueueCommand,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let hostname = desk.hostname.to_owned();
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
        QueueCommand::Release(ordered) => {
            let reason = ordered.reason.clone();
            (&ordered.chosen, Order::ReleaseHeld { reason })
        }
        QueueCommand::Fail(ordered) => {
            let reason = ordered.reason.clone();
            (&ordered.chosen, Order::Fail { reason, hostname })
        }
    };
    administer(chosen, order, queue, desk, out).await
}

/// Carries out a `quarantine` command.
pub async fn run_quarantine(
    command: &QuarantineCommand,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let (ordered, order) = match command {
        QuarantineCommand::List(asked) => {
            return list(asked, &[State::Quarantined], queue, desk, out).await;
        }
        QuarantineCommand::Show(asked) => return show(&asked.reference, queue, desk, out).await,
        QuarantineCommand::Release(ordered) => {
            let reason = ordered.reason.clone();
            (ordered, Order::ReleaseQuarantined { reason })
        }
        QuarantineCommand::Delete(ordered) => {
            let reason = ordered.reason.clone();
            (ordered, Order::Delete { reason })
        }
    };
    administer(&ordered.chosen, order, queue, desk, out).await
}

async fn list(
    asked: &List,
    all: &[State],
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let named: Vec<State> = asked.state.iter().filter_map(|word| State::parse(word)).collect();
    let filter = Filter {
        states: if named.is_empty() { all.to_vec() } else { named },
        reference: None,
        domain: asked.domain.as_deref().map(comparable),
        limit: asked.limit,
    };
    let waiting = queue.list(filter).await?;
    if desk.json {
        for one in &waiting {
            json_line(one, out)?;
        }
        return Ok(Answer::Done);
    }
    table_of(&waiting).write(out)?;
    if waiting.is_empty() {
        writeln!(out, "nothing")?;
    } else if waiting.len() == asked.limit {
        writeln!(out, "these are the first {}: --limit 0 shows all", asked.limit)?;
    }
    Ok(Answer::Done)
}

fn table_of(waiting: &[Waiting]) -> Table {
    let headings = [
        "number", "reference", "state", "tries", "next", "from", "to", "because",
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
            one.next_attempt_at.as_deref().map_or("-", short_time).to_owned(),
            path_of(&one.sender),
            one.recipient.clone(),
            cut(because),
        ]);
    }
    table
}

async fn show(
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
    if waiting.is_empty() && !desk.json {
        writeln!(
            out,
            "nothing of {reference} waits here; `postern trace {reference}` says what became of it"
        )?;
    }
    Ok(Answer::yes_if(!waiting.is_empty()))
}

fn write_all_of(one: &Waiting, out: &mut impl Write) -> io::Result<()> {
    let next = match (one.state, one.next_attempt_at.as_deref()) {
        (State::Leased, Some(until)) => format!("being tried now, until {until} at most"),
        (_, Some(next)) => next.to_owned(),
        (_, None) => "when somebody decides".to_owned(),
    };
    let patient_data = if one.patient_data { "found" } else { "not found" };
    let octets = format!("{} octets", one.octets);
    let attempts = one.attempts.to_string();
    let sender = path_of(&one.sender);
    let lines = [
        ("state", one.state.word()),
        ("from", &sender),
        ("to", &one.recipient),
        ("message-id", one.message_id.as_deref().unwrap_or("-")),
        ("received", &one.received_at),
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

async fn administer(
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

fn selections(chosen: &Chosen) -> Vec<Selection> {
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
            "{} left alone: in a state that this order is not for",
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
fn comparable(domain: &str) -> String {
    match crate::mail::Domain::parse(domain) {
        Ok(parsed) => parsed.as_str().to_ascii_lowercase(),
        Err(_) => domain.to_ascii_lowercase(),
    }
}

fn path_of(sender: &str) -> String {
    if sender.is_empty() { "<>".to_owned() } else { sender.to_owned() }
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
