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
mod tests;
