//! The end of the memory of senders: what waits to be written is written when the gateway stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::policy::Policy;

/// Writes it; gives up after some seconds, for it costs a delay and no mail.
pub(super) async fn flush(policies: &watch::Receiver<Arc<Policy>>) {
    let known = policies.borrow().known().clone();
    let Some(store) = known.store else { return };
    if !store.flush(WITHIN).await {
        warn!("what was last learnt of senders is lost: its file cannot be written");
    }
}

/// Longer than a writer of another program is waited for.
const WITHIN: Duration = Duration::from_secs(5);
