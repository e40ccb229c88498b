//! What was learnt, kept in force: models whose files are new are taken, and lessons become models. Beside the
//! mail, never before it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::base::{Clock, Shutdown};
use crate::policy::Policy;
use crate::policy::spam::{catch_up, released};

/// Who keeps what was learnt in force.
pub(super) struct Learning {
    pub(super) policies: watch::Receiver<Arc<Policy>>,
    pub(super) data: PathBuf,
    pub(super) clock: Clock,
}

impl Learning {
    /// Goes round until the shutdown begins.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let mut rounds = 0_u32;
        while !shutdown.has_begun() {
            let learns = rounds.is_multiple_of(LEARN_EVERY);
            rounds = rounds.wrapping_add(1);
            self.round(learns).await;
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    async fn round(&self, learns: bool) {
        let policy = Arc::clone(&self.policies.borrow());
        let (data, now) = (self.data.clone(), self.clock.now());
        let work = move || {
            let learned = policy.learned();
            for (path, error) in learned.refresh() {
                warn!(path = %path.display(), %error, "a model cannot be used: what was in force stays");
            }
            match learns {
                true => {
                    if let Err(error) = released::take_released(&data, now) {
                        warn!(%error, "what was let go on out of the quarantine is not learnt yet");
                    }
                    catch_up(&data, learned, now)
                }
                false => Ok(Vec::new()),
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(taught)) => {
                for organisation in taught {
                    info!(organisation = organisation.code(), "lessons became a model");
                }
            }
            Ok(Err(error)) => {
                error!(%error, "lessons could not be learnt: what was in force stays");
            }
            Err(error) => error!(%error, "learning stopped half-way: what was in force stays"),
        }
    }
}

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(5);
/// Lessons become models in every so many rounds: each ten minutes.
const LEARN_EVERY: u32 = 120;
