//! The rounds of the quarantine: what is too old goes, and the owners of mailboxes are told once a day.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::quarantine::{
    Desk, DigestSettings, Digests, Links, Settings, State, start as start_pages,
};
use crate::base::{Clock, Shutdown};
use crate::outcome::Letterhead;
use crate::policy::Policy;
use crate::queue::{DeliveryId, Filter, Order, Queue, QueueError, Selection, State as Standing};
use crate::{ingress, settings};

use super::ServeError;

/// What goes round.
pub(super) struct Rounds {
    queue: Queue,
    policies: watch::Receiver<Arc<Policy>>,
    clock: Clock,
    letterhead: Letterhead,
    settings: Settings,
    /// What digests need, where there are any.
    digests: Option<(DigestSettings, Arc<Links>, State)>,
}

/// Serves the pages behind the links, if digests are sent; says what goes round.
pub(super) async fn start(
    settings: &settings::Settings,
    parts: &ingress::Parts,
) -> Result<Rounds, ServeError> {
    let quarantine = settings.admin.quarantine.clone();
    let mut digests = None;
    if let Some(digest) = quarantine.digest.clone() {
        let failed =
            |what: String| ServeError::Start(format!("the digests of the quarantine: {what}"));
        let links = Links::open(&settings.data).map_err(|error| failed(error.to_string()))?;
        let state = State::open(&settings.data).map_err(|error| failed(error.to_string()))?;
        let links = Arc::new(links);
        let scheduler = parts.scheduler.clone();
        let desk = Desk {
            links: Arc::clone(&links),
            queue: parts.queue.clone(),
            clock: parts.clock.clone(),
            data: settings.data.clone(),
            wake: Arc::new(move || scheduler.wake()),
        };
        let address = *digest.address;
        let listening = start_pages(address, desk, &parts.shutdown).await;
        let listening = listening.map_err(|error| failed(format!("{address}: {error}")))?;
        info!(%listening, "the pages of the quarantine are served");
        digests = Some((digest, links, state));
    }
    Ok(Rounds {
        queue: parts.queue.clone(),
        policies: parts.policies.clone(),
        clock: parts.clock.clone(),
        letterhead: parts.letterhead.clone(),
        settings: quarantine,
        digests,
    })
}

impl Rounds {
    /// Goes round until the shutdown begins.
    pub(super) async fn run(self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            if let Err(error) = self.expire().await {
                error!(%error, "what is too old in the quarantine could not be removed");
            }
            self.tell().await;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    /// Removes what is older than it may be. What may hold patient data stays until somebody decides: it may be a
    /// referral, and nobody would hear that it is gone.
    async fn expire(&self) -> Result<(), QueueError> {
        let Some(after) = self.settings.expire_after else {
            return Ok(());
        };
        let filter = Filter {
            states: vec![Standing::Quarantined],
            received_before: self.clock.now().checked_sub(after).ok(),
            patient_data: Some(false),
            limit: LOOKED_AT,
            ..Filter::default()
        };
        let old = self.queue.list(filter).await?;
        for one in &old {
            let delivery = Selection::Delivery(DeliveryId(one.delivery));
            let reason = "it was quarantined for longer than such things are kept".to_owned();
            self.queue
                .administer(delivery, Order::Delete { reason }, BY)
                .await?;
        }
        if !old.is_empty() {
            info!(
                deliveries = old.len(),
                "removed from the quarantine for their age"
            );
        }
        Ok(())
    }

    async fn tell(&self) {
        let Some((settings, links, state)) = &self.digests else {
            return;
        };
        let policy = Arc::clone(&self.policies.borrow());
        let digests = Digests {
            queue: &self.queue,
            clock: &self.clock,
            policy: &policy,
            links,
            settings,
            letterhead: &self.letterhead,
        };
        match digests.write_due(state).await {
            Ok(0) => {}
            Ok(mailboxes) => info!(mailboxes, "digests of the quarantine were written"),
            Err(error) => warn!(%error, "not all digests could be written: they are tried again"),
        }
    }
}

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// What is removed in one round.
const LOOKED_AT: usize = 1_000;
/// Who removes what is too old, in the audit trail.
const BY: &str = "postern";
