//! An attempt at a smart host that is asked first whether the account there may send so much now.

use std::sync::Arc;

use tracing::{error, info};

use crate::mail::{EnhancedStatusCode, Envelope};
use crate::outcome::{After, DeliveryResult, Outcome};

use super::smtp::Job;
use super::upstream::{May, Upstream, UpstreamError, UpstreamLimits, Wait};
use super::{Deliveries, Route, Transport};

impl Deliveries {
    /// Sends a message to as many of its recipients as the limits of its account allow now; the others wait until they
    /// do.
    pub(super) async fn send_within_limits(&self, job: &Job<'_>) -> Vec<Outcome> {
        let (Some((account, limits)), Some(upstream)) = (account(job.route), &self.upstream) else {
            return self.send(job).await;
        };
        let (count, now) = (job.envelope.recipients.len(), self.clock.now());
        let (asked, of) = (Arc::clone(upstream), account.clone());
        let may = tokio::task::spawn_blocking(move || asked.ask(&of, limits, count, now)).await;
        let (ticket, recipients, others_at) = match may {
            Ok(Ok(May::Go {
                ticket,
                recipients,
                others_at,
            })) => (ticket, recipients, others_at),
            Ok(Ok(May::Wait(wait))) => {
                info!(route = job.route.name, until = %wait.until, because = wait.because, "mail waits");
                return vec![later(wait); count];
            }
            // What cannot be counted could be too much.
            Ok(Err(error)) => return vec![uncounted(&error.to_string()); count],
            Err(error) => return vec![uncounted(&error.to_string()); count],
        };
        let part = Envelope {
            recipients: job.envelope.recipients[..recipients].to_vec(),
            ..job.envelope.clone()
        };
        let mut outcomes = self.send(&job.with_envelope(&part)).await;
        // What the smart host may have taken it may have counted: to count too little is to be blocked in the end.
        let counted =
            |one: &&Outcome| one.in_doubt || matches!(one.result, DeliveryResult::Delivered { .. });
        let not_taken = recipients - outcomes.iter().filter(counted).count().min(recipients);
        if not_taken > 0 {
            let upstream = Arc::clone(upstream);
            let back = tokio::task::spawn_blocking(move || -> Result<(), UpstreamError> {
                upstream.give_back(&account, ticket, not_taken)
            });
            if let Ok(Err(error)) = back.await {
                error!(%error, "recipients that were not served stay counted");
            }
        }
        outcomes.resize_with(recipients, super::undecided);
        outcomes.extend(others_at.into_iter().flat_map(|wait| {
            let others = count - recipients;
            std::iter::repeat_n(later(wait), others)
        }));
        outcomes
    }

    /// The same with counts of what accounts at smart hosts have sent.
    #[must_use]
    pub fn with_upstream(mut self, upstream: Arc<Upstream>) -> Self {
        self.upstream = Some(upstream);
        self
    }
}

/// The account at the smart host of a route, if it has limits: routes that share it share them.
fn account(route: &Route) -> Option<(String, UpstreamLimits)> {
    let Transport::SmartHost(smart_host) = &route.transport else {
        return None;
    };
    let credentials = smart_host.credentials.as_ref()?;
    let limits = credentials.limits;
    let name = credentials.username.to_lowercase();
    let account = format!("{name} at {}", smart_host.next_hop);
    limits.are_some().then_some((account, limits))
}

fn later(wait: Wait) -> Outcome {
    Outcome {
        after: After::NotBefore(wait.until),
        ..Outcome::without_reply(EnhancedStatusCode::transient(4, 5), wait.because)
    }
}

fn uncounted(error: &str) -> Outcome {
    error!(%error, "mail for a smart host waits: what its account has sent cannot be counted");
    Outcome::without_reply(
        EnhancedStatusCode::transient(3, 0),
        "what the account has sent cannot be counted",
    )
}
