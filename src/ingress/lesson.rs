//! Lessons by mail: what people attach to a message for one of two addresses is spam, or is not.
//!
//! From our own clients alone, under a name that they may use. The attached messages become lessons, hashes and no
//! words, that are durable before the 250; a model is made of them later, beside the mail (`server::learning`). The
//! message itself goes nowhere. One that has nothing attached is refused, so that its sender learns how it is done.

use std::sync::Arc;

use tracing::{error, info};

use crate::base::Reference;
use crate::mail::mime::Encoding;
use crate::mail::{EnhancedStatusCode, MailTransaction, Reply};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::Policy;
use crate::policy::spam::lessons::LessonError;
use crate::policy::spam::{Lesson, Lessons, Organisation, Specimen, Verdict};

use super::Parts;
use super::receive::try_later;

/// Whether this is mail for one of the two addresses, alone or among others: what it says of what is attached.
pub(super) fn verdict_of(policy: &Policy, transaction: &MailTransaction) -> Option<Verdict> {
    let recipients = &transaction.envelope.recipients;
    let mut verdicts = recipients
        .iter()
        .filter_map(|to| policy.learning().verdict_of(&to.forward_path));
    verdicts.next()
}

/// Keeps what is attached as lessons.
pub(super) async fn keep(
    parts: &Parts,
    policy: Arc<Policy>,
    transaction: MailTransaction,
    verdict: Verdict,
) -> Reply {
    if transaction.envelope.recipients.len() != 1 {
        return refusal("send it to this address alone");
    }
    let (data, now) = (parts.data.clone(), parts.clock.now());
    let sender = transaction.envelope.reverse_path.notifiable();
    let sender = sender.map_or_else(String::new, ToString::to_string);
    let work = move || keep_attached(&data, &policy, &transaction, verdict, now);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(0)) => refusal("attach the messages, as files or by `forward as attachment`"),
        Ok(Ok(count)) => {
            info!(count, verdict = verdict.word(), "lessons were handed in");
            let event = AuditEvent::new(now, Reference::random(), AuditKind::Learnt, sender)
                .fact("verdict", verdict.word())
                .fact("messages", count.to_string());
            if let Err(error) = parts.queue.record(vec![event]).await {
                error!(%error, "lessons are missing in the audit trail");
            }
            Reply::new(
                250,
                EnhancedStatusCode::success(0, 0),
                format!("{count} learnt as {}", verdict.word()),
            )
        }
        Ok(Err(error)) => {
            error!(%error, "lessons could not be kept: the client was told to try again");
            try_later()
        }
        Err(_) => try_later(),
    }
}

fn keep_attached(
    data: &std::path::Path,
    policy: &Policy,
    transaction: &MailTransaction,
    verdict: Verdict,
    now: jiff::Timestamp,
) -> Result<usize, LessonError> {
    let reporter = transaction.envelope.reverse_path.notifiable();
    let by = reporter.map_or_else(String::new, |mailbox| mailbox.folded().to_string());
    let lessons: Vec<Lesson> = attached(transaction)
        .into_iter()
        .map(|octets| {
            let specimen = Specimen::read(octets);
            Lesson {
                features: specimen.features(),
                verdict,
                author: specimen.author(),
                by: by.clone(),
            }
        })
        .collect();
    if lessons.is_empty() {
        return Ok(0);
    }
    let organisation = reporter
        .and_then(|mailbox| policy.directory().entry(mailbox)?.ods_code())
        .and_then(|code| Organisation::of(&code.to_string()));
    let organisation = organisation.unwrap_or(Organisation::ALL);
    Lessons::open(data)?.keep(&organisation, &lessons, now)?;
    Ok(lessons.len())
}

/// The messages attached to a message, so many at most.
fn attached(transaction: &MailTransaction) -> Vec<Vec<u8>> {
    let octets = transaction.message.octets();
    let Ok(structure) = crate::mail::mime::parse(octets) else {
        return Vec::new();
    };
    let outermost = structure.parts.iter().enumerate().filter(|(at, part)| {
        let is_file = part
            .filename()
            .is_some_and(|name| name.to_ascii_lowercase().ends_with(".eml"));
        *at > 0 && part.within_message.is_none() && (part.is_message() || is_file)
    });
    outermost
        .map(|(_, part)| match part.encoding {
            Encoding::Base64 | Encoding::QuotedPrintable => part.decoded(octets).into_owned(),
            _ => part.raw(octets).to_vec(),
        })
        .filter(|message| !message.is_empty())
        .take(ATTACHED_MAX)
        .collect()
}

fn refusal(text: &str) -> Reply {
    Reply::new(550, EnhancedStatusCode::permanent(6, 0), text)
}

/// Messages that one message may hand in.
const ATTACHED_MAX: usize = 100;
