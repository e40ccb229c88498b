//! Scanners that are away: said in the log when it lasts, and when it is over. What their absence means for a
//! message is written with each; that nobody notices is the worse half.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, warn};

use crate::base::scanners::{News, SCANNERS};
use crate::base::{Clock, Shutdown};
use crate::policy::Policy;

/// Who looks after them.
pub(super) struct Scanners {
    pub(super) policies: watch::Receiver<Arc<Policy>>,
    pub(super) clock: Clock,
}

impl Scanners {
    /// Goes round until the shutdown begins. Asks nobody: mail does.
    pub(super) async fn run(self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            self.look();
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    fn look(&self) {
        let policy = Arc::clone(&self.policies.borrow());
        let scanners = policy.scanners();
        SCANNERS.keep(|name| scanners.iter().any(|one| *one.name == *name));
        for one in scanners {
            let (scanner, rule) = (one.name.as_str(), one.name.source());
            match SCANNERS.news(scanner, one.alarm_after, self.clock.now()) {
                Some(News::Away { since }) => {
                    error!(scanner, rule, %since, "ALARM: a scanner gives no answer");
                }
                Some(News::Back { since }) => {
                    warn!(scanner, away_since = %since, "ALARM over: a scanner answers again");
                }
                None => {}
            }
        }
    }
}

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
