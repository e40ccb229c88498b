//! `postern quarantine`: listing, searching, showing and judging what was kept back.

use std::io::Write;
use std::sync::Arc;

use crate::admin::answer::{Answer, CommandError, json_line};
use crate::admin::cli::{QuarantineCommand, QuarantineList, QuarantineRelease, QuarantineShow};
use crate::admin::queue::{Desk, administer, comparable, list_those, selections, show};
use crate::base::{Clock, tell};
use crate::policy::senders::Store;
use crate::queue::{DeliveryId, Filter, Order, Queue, QueuedMessage, Selection, State, Waiting};

use super::{allowed, learn, view};

/// Carries out a `quarantine` command.
pub async fn run(
    command: &QuarantineCommand,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    match command {
        QuarantineCommand::List(asked) => search(asked, queue, desk, out).await,
        QuarantineCommand::Show(asked) => show_message(asked, queue, desk, out).await,
        QuarantineCommand::Release(asked) => release(asked, queue, desk, out).await,
        QuarantineCommand::Allowed(command) => allowed::run(command, queue, desk, out).await,
        QuarantineCommand::Delete(ordered) => {
            let reason = ordered.reason.clone();
            administer(&ordered.chosen, Order::Delete { reason }, queue, desk, out).await
        }
    }
}

/// Lets messages go on; learns from them, and lets their senders through if that is asked for.
async fn release(
    asked: &QuarantineRelease,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let chosen = &asked.ordered.chosen;
    // First, for what is let go on may be delivered and gone at once.
    let wanted = wanted(&selections(chosen), queue).await?;
    learn_from(&wanted, queue, desk).await?;
    let mut allowed_now = Vec::new();
    for one in wanted.iter().filter(|_| asked.allow_sender) {
        let message = queue.message(DeliveryId(one.delivery)).await?;
        let now = Clock::system().now();
        let found = message.and_then(|it| allowed::of(&it, &one.recipient, desk.by, now));
        allowed_now.push((one.reference.as_str(), found));
    }
    let reason = asked.ordered.reason.clone();
    let order = Order::ReleaseQuarantined { reason };
    let answer = administer(chosen, order, queue, desk, out).await?;
    if let (Answer::Done, Some(data)) = (answer, desk.data) {
        let store = Store::at(data);
        for (reference, found) in &allowed_now {
            if let Some(one) = found {
                allowed::allow(one, &store, queue).await?;
            }
            allowed::say_allowed(reference, found.as_ref(), desk.json, out)?;
        }
    }
    Ok(answer)
}

/// Lists what is looked for. A subject is looked for in the messages themselves.
async fn search(
    asked: &QuarantineList,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let filter = Filter {
        states: vec![State::Quarantined],
        domain: asked.domain.as_deref().map(comparable),
        sender: asked.from.clone(),
        recipient: asked.to.clone(),
        because: asked.because.clone(),
        received_from: asked.since,
        received_before: asked.until,
        limit: match asked.subject {
            Some(_) => 0,
            None => asked.limit,
        },
        ..Filter::default()
    };
    let mut found = queue.list(filter).await?;
    if let Some(subject) = &asked.subject {
        found = with_subject(found, subject, asked.limit, queue).await?;
    }
    list_those(&found, asked.limit, desk, out)
}

async fn with_subject(
    all: Vec<Waiting>,
    subject: &str,
    limit: usize,
    queue: &Queue,
) -> Result<Vec<Waiting>, CommandError> {
    let wanted = subject.to_lowercase();
    let mut found = Vec::new();
    for one in all {
        let Some(message) = queue.message(DeliveryId(one.delivery)).await? else {
            continue;
        };
        let fields = view::fields(&message.message);
        if fields.subject.to_lowercase().contains(&wanted) {
            found.push(one);
        }
        if limit > 0 && found.len() == limit {
            break;
        }
    }
    Ok(found)
}

/// Shows what is known of a message, and then the message if that is asked for.
async fn show_message(
    asked: &QuarantineShow,
    queue: &Queue,
    desk: Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let answer = show(&asked.reference, queue, desk, out).await?;
    if !asked.message {
        return Ok(answer);
    }
    let filter = Filter {
        reference: Some(asked.reference.clone()),
        states: vec![State::Quarantined],
        limit: 1,
        ..Filter::default()
    };
    let Some(first) = queue.list(filter).await?.into_iter().next() else {
        return Ok(answer);
    };
    let message = queue.message(DeliveryId(first.delivery)).await?;
    if let Some(message) = message {
        // Opening files may take a while.
        if desk.json {
            json_line(&view::to_json(&message.message), out)?;
        } else {
            view::write(&message.message, asked.lines, out)?;
        }
    }
    Ok(answer)
}

/// The quarantined deliveries of these selections.
async fn wanted(chosen: &[Selection], queue: &Queue) -> Result<Vec<Waiting>, CommandError> {
    let mut wanted = Vec::new();
    for selection in chosen {
        let mut filter = Filter {
            states: vec![State::Quarantined],
            ..Filter::default()
        };
        match selection {
            Selection::All => {}
            Selection::Message(reference) => filter.reference = Some(reference.clone()),
            Selection::Delivery(delivery) => filter.delivery = Some(*delivery),
            Selection::Domain(domain) => filter.domain = Some(domain.clone()),
        }
        wanted.extend(queue.list(filter).await?);
    }
    Ok(wanted)
}

/// What somebody wants after all is learned from.
async fn learn_from(wanted: &[Waiting], queue: &Queue, desk: Desk<'_>) -> Result<(), CommandError> {
    let Some(data) = desk.data else {
        return Ok(());
    };
    for one in wanted {
        let delivery = DeliveryId(one.delivery);
        let message: Option<Arc<QueuedMessage>> = queue.message(delivery).await?;
        if let Some(message) = message {
            // What is wanted goes on, whether or not it can be learned from.
            if let Err(error) = learn::as_ham(data, &message, delivery) {
                let reference = &message.reference;
                tell(format_args!(
                    "postern: {reference} is not learned from: {error}"
                ));
            }
        }
    }
    Ok(())
}
