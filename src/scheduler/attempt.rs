//! One attempt from its start to its settlement.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, error, info};

use crate::base::metrics;
use crate::delivery::Route;
use crate::mail::{EnhancedStatusCode, Envelope, Recipient};
use crate::outcome::held::{HeldFor, HeldNotice};
use crate::outcome::notify::{self, Event, Notice, Told};
use crate::outcome::{After, DeliveryResult, Outcome};
use crate::queue::{Accepted, Binding, LeasedDelivery, Next, QueuedMessage, Settlement};

use super::Shared;
use super::answer::Answer;
use super::courier::{Fallback, Then};
use super::destination::{Batch, End};
use super::in_hand::Charge;
use super::retry::{Circumstances, Judgement, judge};

impl Shared {
    /// Makes the attempt of a batch and settles it; then starts what waited for its place.
    pub(super) async fn run(self: Arc<Self>, mut batch: Batch) {
        let mut charge = Charge::of_attempt(&self, &batch);
        if self.is_stale(&batch) {
            return self.sort_again(batch, charge).await;
        }
        self.hold_what_may_not_go_any_more(&mut batch).await;
        self.judge_again(&mut batch).await;
        if batch.deliveries.is_empty() {
            charge.finished(&end(&batch, &[]));
            drop(batch.permit);
            self.one_less_in_hand();
            return;
        }
        // The policy may have taken its time.
        if self.is_stale(&batch) {
            return self.sort_again(batch, charge).await;
        }
        let outcomes = tokio::select! {
            outcomes = self.attempt(&batch) => Some(outcomes),
            () = self.cut_off.cancelled() => None,
        };
        let end = end(&batch, outcomes.as_deref().unwrap_or_default());
        let sooner = charge.finished(&end);
        match outcomes {
            Some(outcomes) => {
                let route = Some(&*batch.route);
                self.settle(&batch.message, &batch.deliveries, outcomes, route, sooner)
                    .await;
            }
            None => self.give_back(batch.ids()).await,
        }
        drop(batch.permit);
        self.one_less_in_hand();
    }

    /// Whether the routes have changed since the batch was sorted, or its lease has ended while it waited for its turn.
    fn is_stale(&self, batch: &Batch) -> bool {
        self.clock.now() >= batch.until || batch.route.generation() != self.courier.generation()
    }

    /// Gives a batch back that is stale: it is found again.
    async fn sort_again(&self, batch: Batch, mut charge: Charge) {
        charge.finished(&end(&batch, &[]));
        self.give_back(batch.ids()).await;
        drop(batch.permit);
        self.one_less_in_hand();
        self.wake.notify_one();
    }

    /// Takes out of a batch what is bound to a secured path and goes to a domain that is secure no more: its
    /// entry has lapsed, or was taken out, while the message waited. It is held, with an alarm.
    async fn hold_what_may_not_go_any_more(&self, batch: &mut Batch) {
        let now = self.clock.now();
        let (lapsed, others): (Vec<_>, Vec<_>) = batch.deliveries.drain(..).partition(|one| {
            one.binding == Binding::VerifiedTls
                && !self
                    .courier
                    .may_have_patient_data(&one.recipient.forward_path, now)
        });
        batch.deliveries = others;
        if lapsed.is_empty() {
            return;
        }
        let outcome = Outcome {
            no_secured_path: true,
            ..Outcome::without_reply(EnhancedStatusCode::transient(7, 5), SECURE_NO_MORE)
        };
        let held = Judgement {
            next: Next::Held,
            event: None,
        };
        let judged = lapsed.iter().map(|one| (one, outcome.clone(), held));
        self.conclude(&batch.message, judged.collect(), now).await;
    }

    /// Attempts; one outcome for each recipient, whatever happens. A panic is one more failure
    /// that may go by.
    pub(super) async fn attempt(&self, batch: &Batch) -> Vec<Outcome> {
        let recipients: Vec<Recipient> = batch
            .deliveries
            .iter()
            .map(|one| one.recipient.clone())
            .collect();
        let envelope: Envelope = batch.message.envelope(recipients);
        let (courier, route) = (Arc::clone(&self.courier), batch.route.clone());
        let (message, need) = (batch.message.message.clone(), batch.need);
        let attempt =
            tokio::spawn(async move { courier.attempt(&route, &envelope, &message, need).await });
        // Dropped with this future when the process stops waiting for it.
        let mut attempt = AbortOnDrop(attempt);
        let mut outcomes = match (&mut attempt.0).await {
            Ok(outcomes) => outcomes,
            Err(failure) => {
                error!(reference = %batch.message.reference, %failure, "an attempt broke off");
                Vec::new()
            }
        };
        outcomes.resize_with(batch.deliveries.len(), broken_off);
        outcomes
    }

    /// Writes what came of it, and the reports that follow, in one transaction.
    pub(super) async fn settle(
        &self,
        message: &QueuedMessage,
        deliveries: &[LeasedDelivery],
        outcomes: Vec<Outcome>,
        route: Option<&Route>,
        sooner: Option<Timestamp>,
    ) {
        let now = self.clock.now();
        let judged: Vec<(&LeasedDelivery, Outcome, Judgement)> = deliveries
            .iter()
            .zip(outcomes)
            .map(|(delivery, outcome)| {
                let outcome = outcome.redacted();
                let circumstances = Circumstances {
                    route,
                    fallback: self.fallback(delivery),
                    began_at: delivery.began_at(message),
                    sooner,
                };
                let judgement = judge(&outcome, delivery, &circumstances, now);
                (delivery, as_final(outcome, judgement.next), judgement)
            })
            .collect();
        self.conclude(message, judged, now).await;
    }

    /// Writes what follows from attempts, and tells whoever is to hear of it.
    pub(super) async fn conclude(
        &self,
        message: &QueuedMessage,
        judged: Vec<(&LeasedDelivery, Outcome, Judgement)>,
        now: Timestamp,
    ) {
        let told: Vec<Told<'_>> = judged
            .iter()
            .filter_map(|(delivery, outcome, judgement)| {
                Some(Told {
                    recipient: &delivery.recipient,
                    outcome,
                    event: judgement.event?,
                })
            })
            .collect();
        let mut notices =
            notify::notices(&message.original(), &told, self.letterhead.hostname(), now);
        let held = judged.iter().filter(|(_, _, what)| what.next == Next::Held);
        let held = held.map(|(delivery, outcome, _)| (*delivery, outcome));
        notices.extend(self.held_notice(message, held, now));
        let settlements = judged
            .into_iter()
            .map(|(delivery, outcome, judgement)| {
                say(message, &outcome, judgement.next);
                Settlement {
                    delivery: delivery.id,
                    outcome,
                    next: judgement.next,
                    delay_notified: matches!(judgement.event, Some(Event::Delayed { .. })),
                }
            })
            .collect();
        self.write(
            settlements,
            notices
                .into_iter()
                .map(|notice| Accepted::notice(notice, &self.letterhead))
                .collect(),
            now,
        )
        .await;
    }

    /// What happens to a delivery without a secured path; nothing is diverted where nothing encrypts, and not from
    /// the encryption next hop to itself.
    pub(super) fn fallback(&self, delivery: &LeasedDelivery) -> Fallback {
        let path = &delivery.recipient.forward_path;
        let fallback = self.courier.fallback(path);
        let encrypts =
            delivery.binding != Binding::Encryption && self.courier.route(path, true).is_some();
        if fallback.then == Then::Encrypt && !encrypts {
            return Fallback {
                then: Then::Hold,
                ..fallback
            };
        }
        fallback
    }

    /// Tells the sender, or who answers for it, of what is held for want of a secured path.
    pub(super) fn held_notice<'d>(
        &self,
        message: &QueuedMessage,
        held: impl Iterator<Item = (&'d LeasedDelivery, &'d Outcome)>,
        now: Timestamp,
    ) -> Option<Notice> {
        let sender = message.reverse_path.notifiable()?;
        let recipients: Vec<HeldFor> = held
            .map(|(delivery, outcome)| HeldFor {
                address: delivery.recipient.forward_path.to_string(),
                because: why_held(outcome),
                would_pass_if: None,
                release: None,
            })
            .collect();
        let holding = self.courier.holding(sender);
        let notice = HeldNotice {
            to: &holding.to,
            program: holding.program.as_ref(),
            recipients: &recipients,
            tag: None,
            owner: &holding.owner,
            offer: None,
            about: &message.reference,
            message_id: message.message_id.as_deref(),
        };
        (!recipients.is_empty()).then(|| notice.notice(self.letterhead.hostname(), now))
    }

    /// Writes settlements. A message that was delivered and is not written down as such would be
    /// delivered again, so this goes on until it succeeds or the process ends.
    pub(super) async fn write(
        &self,
        settlements: Vec<Settlement>,
        notices: Vec<Accepted>,
        now: Timestamp,
    ) {
        let (reports, soonest) = (notices.len(), soonest(&settlements));
        metrics::NOTIFICATIONS.add(i64::try_from(reports).unwrap_or(0));
        while let Err(error) = self
            .queue
            .settle(settlements.clone(), notices.clone())
            .await
        {
            error!(%error, "what came of an attempt could not be written; trying again");
            tokio::select! {
                () = tokio::time::sleep(SETTLE_AGAIN) => {}
                () = self.cut_off.cancelled() => return,
            }
        }
        let settled = settlements.iter().map(|one| one.delivery);
        self.in_hand.let_go(settled);
        if reports > 0 || soonest.is_some_and(|at| at <= now + SOON) {
            self.wake.notify_one();
        }
    }
}

fn why_held(outcome: &Outcome) -> String {
    let because = outcome.because.as_deref();
    match outcome.after {
        After::Hold => because.unwrap_or("somebody has to decide").to_owned(),
        _ => format!(
            "the message may go over a secured path alone, and there is none: {}",
            because.unwrap_or("the next hop refused TLS")
        ),
    }
}

/// When the first of them is tried again.
fn soonest(settlements: &[Settlement]) -> Option<Timestamp> {
    let retries = settlements
        .iter()
        .filter_map(|settlement| match settlement.next {
            Next::RetryAt(at) => Some(at),
            _ => None,
        });
    retries.min()
}

/// Counts it, and tells the operator: ids and codes, nobody's address.
pub(super) fn say(message: &QueuedMessage, outcome: &Outcome, next: Next) {
    let (reference, status) = (&message.reference, outcome.status);
    let next_hop = outcome.next_hop.as_deref().unwrap_or("-");
    if outcome.no_secured_path && !matches!(next, Next::RetryAt(_) | Next::Expired) {
        metrics::NO_SECURED_PATH.add(1);
        error!(%reference, %status, next_hop, "ALARM: there is no secured path for patient data");
    }
    match next {
        Next::Delivered => {
            metrics::DELIVERED.add(1);
            debug!(%reference, %status, next_hop, "delivered");
        }
        Next::RetryAt(at) => {
            metrics::DEFERRED.add(1);
            info!(%reference, %status, next_hop, next_attempt = %at, "deferred");
        }
        Next::Failed => {
            metrics::FAILED.add(1);
            info!(%reference, %status, next_hop, "failed");
        }
        Next::Expired => {
            metrics::EXPIRED.add(1);
            info!(%reference, %status, next_hop, "expired");
        }
        Next::Held => {
            metrics::HELD.add(1);
            info!(%reference, %status, "held");
        }
        Next::Bound => {
            info!(%reference, %status, next_hop, "goes by verified TLS from now on");
        }
        Next::Diverted => {
            info!(%reference, %status, next_hop, "goes to the encryption next hop");
        }
    }
}

/// What is not tried again has failed for good, whatever the last attempt left open.
fn as_final(outcome: Outcome, next: Next) -> Outcome {
    if next != Next::Failed || outcome.result != DeliveryResult::Transient {
        return outcome;
    }
    let (subject, detail) = (outcome.status.subject(), outcome.status.detail());
    Outcome {
        result: DeliveryResult::Permanent,
        status: EnhancedStatusCode::permanent(subject, detail),
        ..outcome
    }
}

/// How the attempt of a batch ended; without outcomes it was none.
pub(super) fn end<'b>(batch: &'b Batch, outcomes: &[Outcome]) -> End<'b> {
    let answer = Answer::of_all(outcomes);
    let too_many = |one: &&Outcome| Answer::of(one) == Answer::TooMany;
    End {
        destination: &batch.destination,
        route: &batch.route,
        was_trial: batch.is_trial,
        // One that is in nobody's queue has no number yet.
        message: Some(batch.message.id).filter(|id| id.0 != 0),
        tried: !outcomes.is_empty(),
        answer,
        because: match outcomes.iter().find(|one| Answer::of(one) == answer) {
            Some(outcome) if matches!(answer, Answer::Away | Answer::Busy) => in_short(outcome),
            _ => String::new(),
        },
        took: match answer {
            Answer::TooMany => outcomes.len() - outcomes.iter().filter(too_many).count(),
            _ => 0,
        },
    }
}

/// Why, for others than those concerned: of a reply its codes alone, for its words may be about one message.
fn in_short(outcome: &Outcome) -> String {
    match &outcome.reply {
        Some(reply) => format!("{} {}", reply.code().value(), reply.status()),
        None => outcome.text(),
    }
}

/// Whether the next hop was there: it took the message, or said why not.
pub(super) fn answers(outcome: &Outcome) -> bool {
    outcome.reply.is_some() || matches!(outcome.result, DeliveryResult::Delivered { .. })
}

fn broken_off() -> Outcome {
    Outcome::without_reply(EnhancedStatusCode::transient(3, 0), "the attempt broke off")
}

/// A task of somebody who may stop waiting: it ends with him.
pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a message waits whose recipient could have it when it came.
const SECURE_NO_MORE: &str =
    "patient data was found, and the domain is not on the list of secure domains any more";
/// Between two tries to write a settlement.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
/// A retry within this makes the loop look again at once when it is due.
const SOON: Duration = Duration::from_secs(2);
