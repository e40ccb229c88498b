//! From a transaction to the reply that it gets: the step in which responsibility changes hands.
//!
//! A 250 leaves here after the queue has the message on disk, or after the next hop has said 250 and that is on record
//! (`straight`), and not before. Whatever fails on the way, a time-out, a panic in a stage, a full disk, ends in a 4xx: the client keeps the message.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::base::metrics;
use crate::mail::{Client, EnhancedStatusCode, MailTransaction, Recipient, Reply, ReversePath};
use crate::policy::refusal::Refusal;
use crate::policy::verdict::{Fate, FinalReply};
use crate::policy::{Decision, Policy};
use crate::queue::record::LEASE;
use crate::queue::{Handoff, Once, QueueError};

use super::finish::{Copy, finish};
use super::settings::Limits;
use super::straight::{self, Begun, Straight};
use super::text::Texts;
use super::{Parts, at_sight, events, lesson, once, promise, release, text};

/// Asks the policy about one recipient; the refusal is on its way to the audit trail when it is
/// returned.
pub async fn check_recipient(
    parts: &Parts,
    policy: &Policy,
    client: &Client,
    reverse_path: &ReversePath,
    recipient: &Recipient,
) -> Result<(), Reply> {
    let is_ours = policy.is_release_address(&recipient.forward_path)
        || policy
            .learning()
            .verdict_of(&recipient.forward_path)
            .is_some();
    let checked = match is_ours {
        true => policy.may_answer(client, reverse_path),
        false => policy.at_recipient(client, reverse_path, recipient),
    };
    let Err(rejection) = checked else {
        return Ok(());
    };
    let is_number = matches!(rejection.refusal, Refusal::Sms(_));
    let recipient = &*text::for_the_trail(parts, policy.sms(), recipient, is_number);
    metrics::RECIPIENTS_REFUSED.add(1);
    let event = events::recipient_refused(
        parts.clock.now(),
        policy.version(),
        client,
        reverse_path,
        recipient,
        &rejection,
    );
    let queue = parts.queue.clone();
    // Not waited for: a stranger who guesses names must not make every guess a disk write of ours that
    // others wait behind.
    parts.shutdown.spawn(async move {
        if let Err(error) = queue.record(vec![event]).await {
            error!(%error, "a refusal is missing in the audit trail");
        }
    });
    Err(rejection.reply)
}

/// Whether a message had come before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Came {
    /// Not as far as anybody knows.
    First,
    /// It had, under the same key.
    Again,
}

/// Takes a message in, or refuses it; returns what the client hears. `straight`: how long the client may wait for a next
/// hop, where messages are sent straight on.
pub async fn receive(
    parts: &Parts,
    policy: Arc<Policy>,
    transaction: MailTransaction,
    (limits, straight): (&Limits, Option<Duration>),
) -> (Reply, Came) {
    let hostname = parts.hostname.as_str();
    let once = match once::once(&transaction) {
        Ok(once) => once,
        Err(bad) => {
            let reply = bad.into();
            count(&reply);
            return (reply, Came::First);
        }
    };
    // Before the policy is asked: what was accepted once is, whatever the policy says now.
    if let Some(answered) = repeated(parts, &transaction, once.as_ref()).await {
        return answered;
    }
    let first = |reply| (reply, Came::First);
    let lesson = lesson::verdict_of(&policy, &transaction);
    let (reply, came) = match at_sight::refusal(&transaction.message, hostname, limits) {
        Some(reply) => first(reply),
        None if release::is_answer(&policy, &transaction) => {
            first(release::answer(parts, policy, &transaction).await)
        }
        None => match lesson {
            Some(verdict) => first(lesson::keep(parts, policy, transaction, verdict).await),
            None => judge(parts, policy, transaction, (once, straight)).await,
        },
    };
    count(&reply);
    (reply, came)
}

/// What a client hears of a message that came before. A look-up that fails is made again with the commit.
async fn repeated(
    parts: &Parts,
    transaction: &MailTransaction,
    once: Option<&Once>,
) -> Option<(Reply, Came)> {
    let found = parts.queue.repeated(once?.clone()).await;
    let found = found.unwrap_or_else(|error| {
        error!(%error, "an idempotency key cannot be looked up");
        None
    })?;
    let answered = once::answer(parts, transaction, &found).await;
    count(&answered.0);
    Some(answered)
}

/// That a message is meant once, if it is; how long its client may wait for a next hop, if it may.
type How = (Option<Once>, Option<Duration>);

async fn judge(
    parts: &Parts,
    policy: Arc<Policy>,
    transaction: MailTransaction,
    how: How,
) -> (Reply, Came) {
    match timeout(DECISION_MAX, policy.decide(&transaction)).await {
        Ok(decision) => carry_out(parts, &policy, transaction, decision, how).await,
        Err(_) => {
            error!("the policy took too long: the client was told to try again");
            (try_later(), Came::First)
        }
    }
}

async fn carry_out(
    parts: &Parts,
    policy: &Policy,
    transaction: MailTransaction,
    mut decision: Decision,
    how: How,
) -> (Reply, Came) {
    let Some(texts) = text::disguise(parts, policy.sms(), &transaction, &mut decision) else {
        error!("text messages can be sent after a restart: the client was told to try again");
        return (try_later(), Came::First);
    };
    match decision.reply() {
        FinalReply::Refused(reply) => {
            let message_id = texts.message_id.as_deref();
            let reply = refuse(parts, &transaction, &decision, (reply, message_id)).await;
            remember(policy, &transaction, &decision);
            (reply, Came::First)
        }
        FinalReply::Accepted(_) => accept(parts, policy, transaction, decision, texts, how).await,
    }
}

/// Notes what is to be known of the sender the next time. Not to know it costs a delay, not mail: the client does not
/// wait for it.
fn remember(policy: &Policy, transaction: &MailTransaction, decision: &Decision) {
    let known = policy.known();
    if let Some(store) = &known.store {
        known.senders.remember(store, transaction, decision);
    }
}

async fn refuse(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &Decision,
    (reply, message_id): (Reply, Option<&str>),
) -> Reply {
    let events = events::message_refused(transaction, decision, &reply, message_id);
    if let Err(error) = parts.queue.record(events).await {
        error!(%error, reference = %decision.reference, "a refusal is missing in the audit trail");
    }
    info!(reference = %decision.reference, reply = %reply.code(), "refused");
    reply
}

/// Makes the edits, writes the message down and hands it to the scheduler. The order matters: an edit that
/// cannot be proved may change the decision, and the reply to it leaves this function only behind the commit.
async fn accept(
    parts: &Parts,
    policy: &Policy,
    transaction: MailTransaction,
    mut decision: Decision,
    texts: Texts,
    (once, straight): How,
) -> (Reply, Came) {
    let mail = match texts.is_all {
        true => Some(Vec::new()),
        false => finish(parts, policy, &transaction, &mut decision).await,
    };
    let Some(mail) = mail else {
        error!(reference = %decision.reference, "edits contradict each other, or it cannot be signed: the client was told to try again");
        return (try_later(), Came::First);
    };
    // Who gets mail as well has it with its own Message-ID, in which a number may be: the trail has it without.
    let shown_id = texts.message_id.filter(|_| !texts.copies.is_empty());
    let copies = Copy::with_texts(mail, texts.copies);
    let reply = decision.reply().reply().clone();
    let octets = copies.iter().map(|copy| copy.message.len()).max();
    let octets = octets.unwrap_or_default();
    let is_one = copies.len() == 1 && once.is_none();
    let unread = policy.take_out_unread(&transaction, &mut decision);
    let (mut accepted, others) =
        promise::messages(parts, &transaction, &decision, (copies, shown_id), &unread);
    let mut begun = None;
    if let Some(wait) = straight.filter(|_| is_one && others.is_empty() && unread.is_empty()) {
        match straight::go(parts, &transaction, &decision, &mut accepted, wait).await {
            Straight::Decided(reply) => {
                if reply.code().is_positive() {
                    tell(&decision, octets);
                }
                remember(policy, &transaction, &decision);
                return (reply, Came::First);
            }
            Straight::Queue(attempt) => begun = attempt,
        }
    }
    // Each copy has octets of its own by now: while room or the disk is waited for, the original need not be there as well.
    let transaction = transaction.without_body();
    let permit = match begun {
        Some(_) => None,
        None => parts.scheduler.room(octets).await,
    };
    let handoff = match permit.is_some() || begun.is_some() {
        true => Handoff::LeaseUntil(parts.clock.now() + LEASE),
        false => Handoff::None,
    };
    let queue = &parts.queue;
    let queued = match once {
        Some(once) => queue.accept_once(accepted, others, handoff, once).await,
        None => queue.accept_with_notices(accepted, others, handoff).await,
    };
    let reply = match queued {
        Ok(lease) => {
            parts.scheduler.writes_again();
            match (begun, permit, lease) {
                (Some(begun), _, Some(lease)) => begun.adopt(lease),
                (None, Some(permit), Some(lease)) => parts.scheduler.offer(permit, lease),
                _ => parts.scheduler.wake(),
            }
            tell(&decision, octets);
            remember(policy, &transaction, &decision);
            reply
        }
        Err(QueueError::Repeated(found)) => {
            return once::answer(parts, &transaction, &found).await;
        }
        Err(error) => not_queued(&error, begun),
    };
    (reply, Came::First)
}

/// What the client hears when the queue does not take its message: the next hop's word, if that has put it off too.
fn not_queued(error: &QueueError, begun: Option<Begun>) -> Reply {
    let ours = match error {
        QueueError::Full { .. } => {
            warn!("the disk is nearly full: the client was told to try again");
            Reply::new(
                452,
                EnhancedStatusCode::transient(3, 1),
                "insufficient storage, try again later",
            )
        }
        error => {
            let error = error.to_text();
            error!(
                error,
                "the queue does not take mail: the client was told to try again"
            );
            try_later()
        }
    };
    begun.and_then(|begun| begun.deferral).unwrap_or(ours)
}

pub(super) fn try_later() -> Reply {
    Reply::new(
        451,
        EnhancedStatusCode::transient(3, 0),
        "the message cannot be taken now, try again later",
    )
}

fn tell(decision: &Decision, octets: usize) {
    metrics::OCTETS_ACCEPTED.add(i64::try_from(octets).unwrap_or(i64::MAX));
    for (_, fate) in decision.fates() {
        match fate {
            Fate::Deliver => metrics::PASSED.add(1),
            Fate::DeliverVerifiedTls => metrics::BOUND_TO_TLS.add(1),
            Fate::Encrypt => metrics::ENCRYPTED.add(1),
            Fate::Hold => metrics::HELD.add(1),
            Fate::Quarantine => metrics::QUARANTINED.add(1),
            Fate::Fail(_) => metrics::RECIPIENTS_REFUSED.add(1),
        }
    }
    info!(reference = %decision.reference, recipients = decision.recipients.len(), octets, "accepted");
}

fn count(reply: &Reply) {
    match reply.code().value() / 100 {
        2 => metrics::MESSAGES_ACCEPTED.add(1),
        4 => metrics::MESSAGES_DEFERRED.add(1),
        _ => metrics::MESSAGES_REFUSED.add(1),
    }
}

/// How long the policy may take: well under the ten minutes that a client waits (RFC 5321
/// §4.5.3.2.6).
pub(super) const DECISION_MAX: Duration = Duration::from_secs(120);
