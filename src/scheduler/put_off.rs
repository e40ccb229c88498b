//! What waits for a next hop that is away, or that has wanted nothing for long: put off without an attempt, and called
//! back when somebody is there again.
//!
//! Each message keeps its own schedule, so that its sender hears of the delay in time and it is given up when its time
//! is over. What was put off, or found nobody, is due at once when the next hop answers, and does not wait for hours
//! more because it failed early.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::delivery::{Route, Transport};
use crate::mail::EnhancedStatusCode;
use crate::outcome::Outcome;
use crate::queue::{Binding, Recall, Skip};

use super::Shared;
use super::destination::{Batch, NotTried};
use super::health::Gate;
use super::in_hand::Charge;

impl Shared {
    /// Settles a batch without an attempt.
    pub(super) fn put_off(self: &Arc<Self>, batch: Batch, why: NotTried) {
        let shared = Arc::clone(self);
        self.shutdown.spawn(async move {
            let _charge = Charge::of(&shared, batch.taking, &batch.deliveries);
            let outcome = not_tried(&why);
            let outcomes = vec![outcome; batch.deliveries.len()];
            let route = Some(&*batch.route);
            shared
                .settle(
                    &batch.message,
                    &batch.deliveries,
                    outcomes,
                    route,
                    why.probes_at,
                )
                .await;
            drop(batch.permit);
            shared.one_less_in_hand();
        });
    }

    /// Somebody is there again: what waits for this destination, and never got an answer, is due now. In steps, so
    /// that a long queue stops nobody else, and no further if nobody is there after all.
    pub(super) fn recall(self: &Arc<Self>, route: &Route, destination: &str) {
        info!(destination, "the next hop answers again");
        let (shared, destination) = (Arc::clone(self), destination.to_owned());
        let domain = domain_of(route, &destination);
        let stop = self.shutdown.clone();
        self.shutdown.spawn(async move {
            let steps = shared.recall_in_steps(&destination, domain);
            stop.unless_begun(steps).await;
        });
    }

    /// Nothing makes the next trial: calls back one of those that wait, which is put off until then.
    pub(super) fn find_prober(self: &Arc<Self>, route: &Route, destination: &str) {
        let (shared, destination) = (Arc::clone(self), destination.to_owned());
        let mut recall = Recall {
            domain: domain_of(route, &destination),
            after: None,
            limit: 1,
        };
        let stop = self.shutdown.clone();
        self.shutdown.spawn(async move {
            let steps = async {
                loop {
                    let (now, others) = (shared.clock.now(), shared.all_but(&destination));
                    match shared.queue.recall(now, recall.clone(), others).await {
                        Ok(recalled) if recalled.changed > 0 => return shared.wake.notify_one(),
                        Ok(recalled) if recalled.after.is_some() => recall.after = recalled.after,
                        Ok(_) => return,
                        Err(error) => {
                            error!(%error, "nothing could be found that tries a next hop that is away");
                            return;
                        }
                    }
                    tokio::time::sleep(BETWEEN_STEPS).await;
                }
            };
            stop.unless_begun(steps).await;
        });
    }

    async fn recall_in_steps(self: &Arc<Self>, destination: &str, domain: Option<String>) {
        let mut recall = Recall {
            domain,
            after: None,
            limit: RECALL_STEP,
        };
        loop {
            let now = self.clock.now();
            let gate = self.board().health.get(destination).map(|h| h.gate(now));
            if matches!(gate, Some(Gate::Shut(_) | Gate::Trial | Gate::Unwilling(_))) {
                return;
            }
            let others = self.all_but(destination);
            match self.queue.recall(now, recall.clone(), others).await {
                Ok(recalled) => {
                    if recalled.changed > 0 {
                        self.wake.notify_one();
                    }
                    let Some(after) = recalled.after else { return };
                    recall.after = Some(after);
                }
                Err(error) => {
                    error!(%error, "what waits for a next hop that is back could not be called back");
                    return;
                }
            }
            tokio::time::sleep(BETWEEN_STEPS).await;
        }
    }

    /// Passes over all recipients of other destinations.
    fn all_but(self: &Arc<Self>, destination: &str) -> Skip {
        let (shared, destination) = (Arc::clone(self), destination.to_owned());
        Skip::when(move |path, binding| {
            let route = shared.courier.route(path, binding == Binding::Encryption);
            route.is_none_or(|route| route.destination(path) != destination)
        })
    }
}

/// The one domain whose mail goes there, if it is one.
fn domain_of(route: &Route, destination: &str) -> Option<String> {
    match route.transport {
        Transport::Mx { .. } => destination.strip_prefix("mx ").map(str::to_owned),
        _ => None,
    }
}

fn not_tried(why: &NotTried) -> Outcome {
    let NotTried {
        because,
        since,
        next_trial,
        ..
    } = why;
    let (detail, because) = match since {
        Some(since) => (
            1,
            format!(
                "nobody is there since {since:.0}, looked for again at {next_trial:.0}: {because}"
            ),
        ),
        None => (
            5,
            format!("the next hop wants nothing now, asked again at {next_trial:.0}: {because}"),
        ),
    };
    let because = format!("{NOT_TRIED}{because}");
    Outcome::without_reply(EnhancedStatusCode::transient(4, detail), because)
}

/// How the words of something begin that was put off without an attempt.
const NOT_TRIED: &str = "not tried: ";
/// Deliveries that are called back in one transaction.
const RECALL_STEP: usize = 500;
/// Between two such transactions: what was called back is to be on its way.
const BETWEEN_STEPS: Duration = Duration::from_millis(250);
