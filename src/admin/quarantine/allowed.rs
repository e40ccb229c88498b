//! Senders who are let through from now on, because somebody wanted what was kept back of them.

use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use crate::admin::answer::{Answer, CommandError, Table, json_line, printable};
use crate::admin::cli::AllowedCommand;
use crate::admin::queue::Desk;
use crate::base::{Clock, Reference};
use crate::mail::{ForwardPath, Mailbox};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::author::authors;
use crate::policy::senders::{Allowance, Store, comparable};
use crate::queue::{Queue, QueueError, QueuedMessage};

/// The author of a message, and the mailbox that it is for; `None` unless there is one of each.
pub(super) fn of(
    message: &QueuedMessage,
    recipient: &str,
    by: &str,
    at: Timestamp,
) -> Option<Allowance> {
    let authors = authors(&message.message.header(), "From");
    let [author] = authors.as_slice() else {
        return None;
    };
    let path = ForwardPath::parse(recipient).ok()?;
    Some(Allowance {
        mailbox: comparable(path.mailbox()?),
        author: comparable(author.mailbox.as_ref()?),
        reference: message.reference.to_string(),
        by: by.to_owned(),
        at,
    })
}

/// Writes one down, and into the audit trail.
pub(super) async fn allow(
    one: &Allowance,
    store: &Store,
    queue: &Queue,
) -> Result<(), CommandError> {
    store.allow(one.clone()).await?;
    record(one, "allowed", &one.by, one.at, queue).await?;
    Ok(())
}

async fn record(
    one: &Allowance,
    what: &str,
    by: &str,
    at: Timestamp,
    queue: &Queue,
) -> Result<(), QueueError> {
    let reference = one.reference.parse();
    let reference = reference.unwrap_or_else(|_| Reference::random());
    let mut event = AuditEvent::new(at, reference, AuditKind::SenderAllowed, &*one.author)
        .fact("action", what)
        .fact("by", by);
    event.recipient = Some(one.mailbox.clone());
    queue.record(vec![event]).await
}

/// Carries out `quarantine allowed`.
pub(super) async fn run(
    command: &AllowedCommand,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let Some(store) = desk.data.map(Store::at) else {
        return Ok(Answer::No);
    };
    match command {
        AllowedCommand::List { mailbox } => {
            list(mailbox.as_ref(), &store, desk.json, out).await?;
            Ok(Answer::Done)
        }
        AllowedCommand::Remove { sender, mailbox } => {
            let (of, author) = (comparable(mailbox), comparable(sender));
            let found = store.disallow(of, author).await?;
            if let Some(one) = &found {
                let now = Clock::system().now();
                record(one, "removed", desk.by, now, queue).await?;
            }
            say_removed(found.is_some(), desk.json, out)?;
            Ok(Answer::yes_if(found.is_some()))
        }
    }
}

async fn list(
    mailbox: Option<&Mailbox>,
    store: &Store,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    let wanted = mailbox.map(comparable);
    let mut all = store.allowances().await?;
    all.retain(|one| wanted.as_ref().is_none_or(|wanted| one.mailbox == *wanted));
    if json {
        for one in &all {
            json_line(&to_json(one), out)?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["mailbox", "sender", "since", "by", "reference"]);
    for one in &all {
        table.row([
            one.mailbox.clone(),
            one.author.clone(),
            one.at.to_string(),
            one.by.clone(),
            one.reference.clone(),
        ]);
    }
    table.write(out)?;
    if all.is_empty() {
        writeln!(out, "nobody")?;
    }
    Ok(())
}

fn to_json(one: &Allowance) -> serde_json::Value {
    json!({"mailbox": one.mailbox, "sender": one.author, "since": one.at.to_string(), "by": one.by,
        "reference": one.reference})
}

/// Says who is let through now, or that nobody is.
pub(super) fn say_allowed(
    reference: &str,
    one: Option<&Allowance>,
    json: bool,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    match (json, one) {
        (true, one) => json_line(
            &json!({"reference": reference, "allowed": one.map(to_json)}),
            out,
        )?,
        (false, Some(one)) => writeln!(
            out,
            "{} is let through to {} from now on, where it is proven to be him",
            printable(&one.author),
            printable(&one.mailbox)
        )?,
        (false, None) => writeln!(
            out,
            "nobody is let through because of {reference}: it has not exactly one author"
        )?,
    }
    Ok(())
}

fn say_removed(was_there: bool, json: bool, out: &mut impl Write) -> Result<(), CommandError> {
    if json {
        json_line(&json!({"removed": was_there}), out)?;
    } else if was_there {
        writeln!(out, "taken back")?;
    } else {
        writeln!(out, "that sender is not on the list of that mailbox")?;
    }
    Ok(())
}
