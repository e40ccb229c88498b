//! Straight through: the next hop decides while the client waits, and its word is the reply (`manual::crash_points`).
//!
//! Nothing is written down before the next hop has answered. Until then the client has the message, and sends it again
//! if anything goes wrong. What the next hop takes or refuses for all recipients is recorded and told; everything else (it
//! defers, is slow, breaks off, or is of two minds) is for the queue, and the attempt goes with it.

use std::time::Duration;

use tracing::{error, info};

use crate::base::Reference;
use crate::mail::{Class, MailTransaction, Message, Reply};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::outcome::{DeliveryResult, Outcome};
use crate::policy::verdict::{Direction, Fate};
use crate::policy::{Decision, RecipientDecision};
use crate::queue::{Accepted, Handoff, Lease, QueueError, Standing};
use crate::scheduler::Flight;

use super::receive::try_later;
use super::{Parts, events};

/// What became of a message that was tried while its client waits.
pub(super) enum Straight {
    /// The next hop has decided and it is on record, or neither: this is the reply.
    Decided(Reply),
    /// It goes into the queue, with the attempt if one was begun.
    Queue(Option<Begun>),
}

/// An attempt for a message that goes into the queue.
pub(super) struct Begun {
    flight: Flight,
    /// What came of it for each delivery that will be due, if that is known.
    known: Option<Vec<Outcome>>,
    /// What the client hears if the queue cannot take the message: nobody has it.
    pub(super) deferral: Option<Reply>,
}

impl Begun {
    /// The message is in the queue, its due deliveries leased.
    pub(super) fn adopt(self, lease: Lease) {
        self.flight.adopt(lease, self.known);
    }
}

/// Tries a message once, if it may go straight on. `accepted` is all there is of it: one copy, and nothing beside it.
/// What is told of the attempt goes into its events.
pub(super) async fn go(
    parts: &Parts,
    transaction: &MailTransaction,
    decision: &Decision,
    accepted: &mut Accepted,
    wait: Duration,
) -> Straight {
    let octets = accepted.message.len() as u64;
    if !is_plain(decision, accepted) || parts.queue.check_room(octets).is_err() {
        return Straight::Queue(None);
    }
    let Some(mut flight) = parts.scheduler.fly(accepted) else {
        return Straight::Queue(None);
    };
    let known = flight.land(wait).await.map(<[Outcome]>::to_vec);
    match course(known.as_deref()) {
        Course::Delivered(outcomes) => {
            let reply = relayed(&decision.reference, &outcomes[0]);
            let record = delivered(parts, accepted, outcomes);
            let written = parts.queue.accept(record, Handoff::None).await.map(|_| ());
            Straight::Decided(concluded(parts, decision, flight, written, reply))
        }
        Course::Refused(outcomes) => {
            let reply = relayed(&decision.reference, &outcomes[0]);
            let events = refused(transaction, decision, accepted, outcomes, &reply);
            let written = parts.queue.record(events).await;
            Straight::Decided(concluded(parts, decision, flight, written, reply))
        }
        Course::Queued(why) => {
            mark(&mut accepted.events, why);
            info!(reference = %decision.reference, why, "not straight through");
            let deferral = known.as_deref().and_then(|all| deferral(decision, all));
            let known = known.map(|all| keep_what_nobody_hears_of(parts, decision, accepted, all));
            Straight::Queue(Some(Begun {
                flight,
                known,
                deferral,
            }))
        }
    }
}

/// Whether every recipient simply gets it, and whoever sent it is the one to hear of a failure.
fn is_plain(decision: &Decision, accepted: &Accepted) -> bool {
    let plain = |(recipient, fate): (&RecipientDecision, Fate)| {
        matches!(fate, Fate::Deliver | Fate::DeliverVerifiedTls) && recipient.errors_to.is_none()
    };
    let count = decision.fates().count();
    count > 0 && count == accepted.deliveries.len() && decision.fates().all(plain)
}

/// What follows from what the next hop said.
enum Course<'a> {
    /// It has the message, for everybody.
    Delivered(&'a [Outcome]),
    /// It will not have it, for anybody.
    Refused(&'a [Outcome]),
    /// Neither, and why.
    Queued(&'static str),
}

fn course(known: Option<&[Outcome]>) -> Course<'_> {
    let Some(outcomes) = known else {
        return Course::Queued("no: the next hop was slow");
    };
    let all = |is: fn(&Outcome) -> bool| !outcomes.is_empty() && outcomes.iter().all(is);
    if all(|one| matches!(one.result, DeliveryResult::Delivered { .. })) {
        Course::Delivered(outcomes)
    } else if all(|one| one.result == DeliveryResult::Permanent) {
        Course::Refused(outcomes)
    } else if all(|one| one.result == DeliveryResult::Transient) {
        Course::Queued("no: the next hop deferred it, or broke off")
    } else {
        Course::Queued("no: not the same for all recipients")
    }
}

/// The end of what is decided. What could not be written down is not told: the client tries again, by way of the queue.
fn concluded(
    parts: &Parts,
    decision: &Decision,
    flight: Flight,
    written: Result<(), QueueError>,
    reply: Reply,
) -> Reply {
    flight.conclude();
    match written {
        Ok(()) => {
            info!(reference = %decision.reference, reply = %reply.code(), "straight through");
            reply
        }
        Err(error) => {
            parts.scheduler.cannot_write();
            error!(%error, reference = %decision.reference, "the next hop has decided, and the audit trail does not take it: the client was told to try again");
            try_later()
        }
    }
}

/// What is written down of a message that the next hop has: everything but its octets.
fn delivered(parts: &Parts, accepted: &mut Accepted, outcomes: &[Outcome]) -> Accepted {
    let now = parts.clock.now();
    let sender = accepted.reverse_path.to_string();
    let deliveries = std::mem::take(&mut accepted.deliveries);
    let mut record = Accepted {
        message: Message::new(Vec::new()),
        ..accepted.clone()
    };
    for (delivery, outcome) in deliveries.iter().zip(outcomes) {
        let reference = accepted.reference.clone();
        let mut event = AuditEvent::new(now, reference, AuditKind::Delivered, sender.clone());
        event.recipient = Some(delivery.recipient.forward_path.to_string());
        event.message_id.clone_from(&accepted.message_id);
        record
            .events
            .push(event.fact("attempt", "1").with_outcome(outcome));
    }
    mark(&mut record.events, YES);
    record
}

/// What is written down of a message that the next hop refused.
fn refused(
    transaction: &MailTransaction,
    decision: &Decision,
    accepted: &Accepted,
    outcomes: &[Outcome],
    reply: &Reply,
) -> Vec<AuditEvent> {
    let message_id = events::message_id(&transaction.message);
    let told = events::message_refused(transaction, decision, reply, message_id.as_deref());
    let told = told.into_iter().map(|event| {
        let place = accepted.deliveries.iter().position(|one| {
            event.recipient.as_deref() == Some(&*one.recipient.forward_path.to_string())
        });
        match place.and_then(|at| outcomes.get(at)) {
            Some(outcome) => refused_by(outcome, event, reply),
            None => event,
        }
    });
    let mut events: Vec<AuditEvent> = told.collect();
    mark(&mut events, YES);
    events
}

/// The event of a refusal, with whose it is. What is said of the client stays: `tls` is how it came.
fn refused_by(outcome: &Outcome, event: AuditEvent, reply: &Reply) -> AuditEvent {
    let came_by = event.facts.get("tls").cloned();
    let mut event = event.with_outcome(outcome);
    let went_by = match came_by {
        Some(tls) => event.facts.insert("tls", tls),
        None => event.facts.remove("tls"),
    };
    let next_hop_tls = went_by.filter(|_| outcome.tls.is_some());
    event
        .facts
        .extend(next_hop_tls.map(|tls| ("next-hop-tls", tls)));
    event
        .fact("because", "the next hop refused it")
        .fact("next-hop-reply", outcome.short_text())
        .fact("reply", reply.to_string())
}

/// Quarantines what the next hop refuses in mixed company and nobody would hear of (`design.md` §1: no backscatter, and
/// nothing vanishes). Returns what came of the others.
fn keep_what_nobody_hears_of(
    parts: &Parts,
    decision: &Decision,
    accepted: &mut Accepted,
    outcomes: Vec<Outcome>,
) -> Vec<Outcome> {
    if decision.direction == Direction::Outbound && decision.has_sender {
        return outcomes;
    }
    let now = parts.clock.now();
    let sender = accepted.reverse_path.to_string();
    let mut left = Vec::with_capacity(outcomes.len());
    for (delivery, outcome) in accepted.deliveries.iter_mut().zip(outcomes) {
        if outcome.result != DeliveryResult::Permanent {
            left.push(outcome);
            continue;
        }
        delivery.standing = Standing::Quarantined;
        "built-in".clone_into(&mut delivery.rule);
        delivery.because = format!("the next hop refused it: {}", outcome.short_text());
        let reference = accepted.reference.clone();
        let mut event = AuditEvent::new(now, reference, AuditKind::Held, sender.clone());
        event.recipient = Some(delivery.recipient.forward_path.to_string());
        event.message_id.clone_from(&accepted.message_id);
        let because =
            "the next hop refused it, others have it, and nobody is to be told: quarantined";
        accepted
            .events
            .push(event.with_outcome(&outcome).fact("because", because));
    }
    left
}

/// What the client hears of a message that nobody has, and that cannot be kept here either.
fn deferral(decision: &Decision, outcomes: &[Outcome]) -> Option<Reply> {
    let is_transient = |one: &Outcome| one.result == DeliveryResult::Transient;
    let said = outcomes.iter().find(|one| one.reply.is_some())?;
    outcomes
        .iter()
        .all(is_transient)
        .then(|| relayed(&decision.reference, said))
}

/// The next hop's word with our reference: its class and enhanced code are kept; a code that means something between it
/// and us alone (who may log in, which command comes when) becomes one that means the message.
fn relayed(reference: &Reference, outcome: &Outcome) -> Reply {
    let code = outcome.reply.as_ref().map(|reply| reply.code().value());
    let code = match (outcome.status.class(), code) {
        (Class::Success, _) => 250,
        (Class::Transient, Some(code @ 450..=452)) => code,
        (Class::Transient, _) => 451,
        (Class::Permanent, Some(code @ (550 | 552 | 553 | 554))) => code,
        (Class::Permanent, None) => 550,
        (Class::Permanent, Some(_)) => 554,
    };
    let said = match (&outcome.reply, &outcome.because) {
        (Some(reply), _) => reply.text(),
        (None, Some(because)) => because.clone(),
        (None, None) => String::new(),
    };
    let said = plain(&said);
    let text = match (outcome.status.class(), said.is_empty()) {
        (Class::Success, true) => format!("sent on: {reference}"),
        (Class::Success, false) => format!("sent on: {reference} ({said})"),
        (_, true) => format!("the next hop refused it: see {reference}"),
        (_, false) => format!("the next hop: {said}: see {reference}"),
    };
    Reply::new(code, outcome.status, text)
}

/// A stranger's words for a line of ours: printable ASCII, cut to what a line has room for (RFC 5321 §4.5.3.1.5).
fn plain(text: &str) -> String {
    let printable = text.chars().map(|c| match c {
        ' '..='~' => c,
        c if c.is_whitespace() || c.is_control() => ' ',
        _ => '?',
    });
    let printable: String = printable.take(RELAYED_MAX).collect();
    let words: Vec<&str> = printable.split_whitespace().collect();
    words.join(" ")
}

fn mark(events: &mut [AuditEvent], word: &str) {
    for event in events {
        event.facts.insert("straight-through", word.to_owned());
    }
}

/// In the audit trail: it went, or was refused, while the client waited.
const YES: &str = "yes";
/// Characters of a next hop's words that are passed on.
const RELAYED_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EnhancedStatusCode;

    fn said(code: u16, status: &str, text: &str) -> Outcome {
        let status = EnhancedStatusCode::parse(status).unwrap();
        Outcome::from_reply(Reply::new(code, status, text), "mx.example", false)
    }

    fn reply_to(outcome: &Outcome) -> String {
        relayed(&"PX-7F3K2Q".parse().unwrap(), outcome).to_string()
    }

    #[test]
    fn a_next_hops_word_is_passed_on_with_our_reference() {
        for (outcome, expected) in [
            (
                said(250, "2.6.0", "queued as 4711"),
                "250 2.6.0 sent on: PX-7F3K2Q (queued as 4711)",
            ),
            (said(250, "2.0.0", ""), "250 2.0.0 sent on: PX-7F3K2Q"),
            (
                said(550, "5.1.1", "no such user"),
                "550 5.1.1 the next hop: no such user: see PX-7F3K2Q",
            ),
            (
                said(552, "5.3.4", "too big"),
                "552 5.3.4 the next hop: too big: see PX-7F3K2Q",
            ),
            // What the next hop wants of us is not for the client to do.
            (
                said(530, "5.7.0", "log in first"),
                "554 5.7.0 the next hop: log in first: see PX-7F3K2Q",
            ),
            (
                said(551, "5.1.6", "try <b@other.example>"),
                "554 5.1.6 the next hop: try <b@other.example>: see PX-7F3K2Q",
            ),
            (
                said(452, "4.2.2", "full"),
                "452 4.2.2 the next hop: full: see PX-7F3K2Q",
            ),
            (
                said(421, "4.3.2", "going down"),
                "451 4.3.2 the next hop: going down: see PX-7F3K2Q",
            ),
        ] {
            assert_eq!(reply_to(&outcome), expected);
        }
        let nobody = Outcome::without_reply(EnhancedStatusCode::permanent(1, 2), "no such domain");
        assert_eq!(
            reply_to(&nobody),
            "550 5.1.2 the next hop: no such domain: see PX-7F3K2Q"
        );
    }

    #[test]
    fn a_next_hops_words_fit_into_one_line_and_hold_nothing_but_text() {
        let wild = format!("a\r\n250 ok\u{1b}[31m caf\u{e9} {}", "x".repeat(5_000));
        let said = reply_to(&said(550, "5.0.0", &wild));
        assert!(
            said.starts_with("550 5.0.0 the next hop: a 250 ok [31m caf? xxx"),
            "{said}"
        );
        assert!(said.len() < 500 && said.ends_with(": see PX-7F3K2Q"));
        assert!(said.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
    }

    #[test]
    fn what_is_the_same_for_all_is_passed_on_and_the_rest_is_queued() {
        let (yes, no, later) = (
            || said(250, "2.0.0", ""),
            || said(550, "5.1.1", ""),
            || said(450, "4.2.0", ""),
        );
        let word = |outcomes: Vec<Outcome>| match course(Some(&outcomes)) {
            Course::Delivered(_) => "delivered",
            Course::Refused(_) => "refused",
            Course::Queued(why) => why,
        };
        assert_eq!(word(vec![yes(), yes()]), "delivered");
        assert_eq!(word(vec![no(), no()]), "refused");
        let deferred = "no: the next hop deferred it, or broke off";
        assert_eq!(word(vec![later()]), deferred);
        for mixed in [vec![yes(), no()], vec![yes(), later()], vec![no(), later()]] {
            assert_eq!(word(mixed), "no: not the same for all recipients");
        }
        assert!(matches!(course(None), Course::Queued(_)));
        assert!(matches!(course(Some(&[])), Course::Queued(_)));
    }

    #[test]
    fn of_a_refusal_it_is_said_how_it_came_and_how_it_went() {
        let tls = crate::outcome::TlsEvidence {
            version: "TLSv1.3".to_owned(),
            cipher: "C".to_owned(),
            certificate_sha256: "00".to_owned(),
            name: "mx.example".to_owned(),
            named_by: crate::outcome::NamedBy::Route,
            verified: true,
            authenticated: crate::outcome::Authenticated::WebPki,
        };
        let outcome = Outcome {
            tls: Some(tls),
            ..said(550, "5.1.1", "no such user")
        };
        let reply = Reply::new(550, EnhancedStatusCode::permanent(1, 1), "x");
        for came_by in [Some("TLSv1.2 D"), None] {
            let at = jiff::Timestamp::UNIX_EPOCH;
            let reference = "PX-7F3K2Q".parse().unwrap();
            let mut event = AuditEvent::new(at, reference, AuditKind::Refused, "");
            let tls = came_by.map(|tls| ("tls", tls.to_owned()));
            event.facts.extend(tls);
            let facts = refused_by(&outcome, event, &reply).facts;
            assert_eq!(facts.get("tls").map(String::as_str), came_by);
            assert!(facts["next-hop-tls"].starts_with("TLSv1.3 C verified"));
            assert_eq!(facts["next-hop-reply"], "550 5.1.1 no such user");
            assert_eq!(
                (&*facts["reply"], &*facts["next-hop"]),
                ("550 5.1.1 x", "mx.example")
            );
        }
    }
}
