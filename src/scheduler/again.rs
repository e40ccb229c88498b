//! A policy that has changed since a delivery was decided about: it is asked again before the next attempt.
//!
//! What it forbids is held, with a notice; what it wants better protected is bound so; what cannot be judged waits for
//! the next attempt. Nothing gets looser: a binding stays whatever the new policy would have said, what is held stays
//! held, and what a person has let go on is not judged again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::error;

use crate::mail::{EnhancedStatusCode, Recipient};
use crate::outcome::Outcome;
use crate::queue::{Binding, LeasedDelivery, Next, PolicyMark, QueuedMessage};

use super::Shared;
use super::attempt::AbortOnDrop;
use super::courier::Again;
use super::destination::Batch;
use super::retry::{Circumstances, Judgement, judge};

impl Shared {
    /// Whether nobody has to be asked again about mail that this policy decided about. Asked when its route is taken
    /// already: the policy is then the one of those routes, or a later one.
    pub(super) fn is_in_force(&self, decided_by: Option<PolicyMark>) -> bool {
        is_by(decided_by, self.courier.policy())
    }

    /// Takes out of a batch what may not go as it is bound by the policy in force.
    pub(super) async fn judge_again(&self, batch: &mut Batch) {
        let in_force = self.courier.policy();
        let is_other = |one: &LeasedDelivery| !is_by(one.policy, in_force);
        if !batch.deliveries.iter().any(is_other) {
            return;
        }
        let (others, mut going): (Vec<_>, Vec<_>) = batch.deliveries.drain(..).partition(is_other);
        let recipients = others.iter().map(|one| one.recipient.clone()).collect();
        let mut answers = self.ask_again(&batch.message, recipients).await;
        answers.resize(others.len(), Again::Unknown);
        let now = self.clock.now();
        let mut stopped = Vec::new();
        for (delivery, answer) in others.into_iter().zip(answers) {
            match self.ruling(batch, &delivery, answer) {
                None => going.push(delivery),
                Some((outcome, judgement)) => stopped.push((delivery, outcome, judgement)),
            }
        }
        batch.deliveries = going;
        if !stopped.is_empty() {
            let judged = stopped.iter();
            let judged = judged.map(|(one, outcome, judgement)| (one, outcome.clone(), *judgement));
            self.conclude(&batch.message, judged.collect(), now).await;
        }
    }

    /// The answers, if they come: one that takes too long, or panics, is none, and the place of the batch stays its own.
    async fn ask_again(
        &self,
        message: &Arc<QueuedMessage>,
        recipients: Vec<Recipient>,
    ) -> Vec<Again> {
        let (courier, asked) = (Arc::clone(&self.courier), Arc::clone(message));
        let answers = async move { courier.judge_again(&asked, recipients).await };
        let mut answers = AbortOnDrop(tokio::spawn(answers));
        match timeout(ANSWER_MAX, &mut answers.0).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(failure)) => {
                error!(reference = %message.reference, %failure, "a message could not be judged again");
                Vec::new()
            }
            Err(_) => {
                error!(reference = %message.reference, "a message took too long to be judged again");
                Vec::new()
            }
        }
    }

    /// What follows from an answer; `None`: it goes.
    fn ruling(
        &self,
        batch: &Batch,
        delivery: &LeasedDelivery,
        answer: Again,
    ) -> Option<(Outcome, Judgement)> {
        let transient = |detail, because: String| {
            Outcome::without_reply(EnhancedStatusCode::transient(7, detail), because)
        };
        let silently = |next| Judgement { next, event: None };
        Some(match answer {
            Again::Goes => return None,
            Again::VerifiedTls if delivery.binding != Binding::Any => return None,
            Again::Encrypt if delivery.binding == Binding::Encryption => return None,
            Again::VerifiedTls => (
                transient(5, format!("{CHANGED}: verified TLS is needed")),
                silently(Next::Bound),
            ),
            Again::Encrypt => (
                transient(5, format!("{CHANGED}: it must be encrypted")),
                silently(Next::Diverted),
            ),
            Again::Forbidden(because) => (
                Outcome {
                    no_secured_path: batch.message.patient_data,
                    ..transient(1, format!("{CHANGED}: {because}"))
                },
                silently(Next::Held),
            ),
            Again::Unknown => {
                let outcome = transient(0, format!("{CHANGED}, and it cannot be judged now"));
                let circumstances = Circumstances {
                    route: Some(&batch.route),
                    fallback: self.fallback(delivery),
                    began_at: delivery.began_at(&batch.message),
                    sooner: None,
                };
                let judgement = judge(&outcome, delivery, &circumstances, self.clock.now());
                (outcome, judgement)
            }
        })
    }
}

/// Whether the policy in force decided; so it did where there is none to ask, or nobody knows who did.
fn is_by(decided_by: Option<PolicyMark>, in_force: Option<PolicyMark>) -> bool {
    match (decided_by, in_force) {
        (Some(mark), Some(in_force)) => mark == in_force,
        _ => true,
    }
}

/// How long the policy may take: as long as when mail comes in.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How each reason begins.
const CHANGED: &str = "the policy has changed since it came";
