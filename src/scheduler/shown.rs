//! What the board shows to commands that run beside the gateway (`postern queue list --by destination`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::base::metrics;
use crate::queue::destinations::{self, DestinationState, KeptBy};

use super::destination::{Board, Now};
use super::health::Gate;
use super::{Handle, Shared};

impl Handle {
    /// From now on writes down how destinations are doing, in a file of this data folder, when that has changed.
    pub fn show_in(&self, data: &std::path::Path) {
        let (shared, data) = (Arc::clone(&self.shared), data.to_owned());
        self.shared.shutdown.spawn(shared.show(data));
    }
}

impl Shared {
    async fn show(self: Arc<Self>, data: PathBuf) {
        let (mut shown, mut lock) = (None, None);
        let file = destinations::file(&data);
        loop {
            if lock.is_none() {
                let held = destinations::hold(&data);
                lock = held.unwrap_or_else(|error| {
                    warn!(%error, "it is not shown that a gateway runs");
                    None
                });
            }
            let states = match self.shutdown.has_begun() {
                true => Vec::new(),
                false => self.board().states(self.now()),
            };
            let kept = |by| states.iter().filter(|one| one.kept_by == by).count();
            let number = |by| i64::try_from(kept(by)).unwrap_or(i64::MAX);
            metrics::DESTINATIONS_AWAY.set(number(KeptBy::Away));
            metrics::DESTINATIONS_PAUSED.set(number(KeptBy::Pause));
            if shown.as_ref() != Some(&states) {
                let (at, file, list) = (self.clock.now(), file.clone(), states.clone());
                let write = move || destinations::write(&file, at, &list);
                match tokio::task::spawn_blocking(write).await {
                    Ok(Ok(())) => shown = Some(states),
                    Ok(Err(error)) => warn!(%error, "how destinations are doing is not shown"),
                    Err(_) => return,
                }
            }
            if self.shutdown.has_begun() {
                return;
            }
            let pause = tokio::time::sleep(SHOWN_EVERY);
            self.shutdown.unless_begun(pause).await;
        }
    }
}

impl Board {
    /// How all destinations are doing that have something in hand or are not well.
    pub(super) fn states(&self, now: Now) -> Vec<DestinationState> {
        let names: BTreeSet<&String> = self.rows.keys().chain(self.health.keys()).collect();
        names
            .into_iter()
            .map(|name| self.state(name, now))
            .collect()
    }

    fn state(&self, name: &str, now: Now) -> DestinationState {
        let (row, health) = (self.rows.get(name), self.health.get(name));
        let under_way = row.map_or(0, |row| row.running);
        let ceiling = health.and_then(|health| health.ceiling());
        let at_once = row.map_or(0, |row| row.window(ceiling));
        let mut state = DestinationState {
            name: name.to_owned(),
            under_way,
            at_once,
            kept_by: KeptBy::Nothing,
            because: health.map_or_else(String::new, |health| health.because().0.to_owned()),
            since: None,
            until: None,
        };
        let gate = health.map_or(Gate::Open, |health| health.gate(now.time));
        let waits = row.is_some_and(|row| !row.waiting.is_empty());
        let paced = row
            .and_then(|row| row.next_start)
            .filter(|at| *at > now.instant);
        match (gate, paced) {
            (Gate::Shut(until), _) => {
                state.kept_by = KeptBy::Away;
                state.since = health.map(|health| health.because().1);
                state.until = Some(until);
            }
            (Gate::Trial, _) => {
                state.kept_by = KeptBy::Away;
                state.since = health.map(|health| health.because().1);
                state.until = Some(now.time);
            }
            (Gate::Paused(until) | Gate::Unwilling(until), _) => {
                state.kept_by = KeptBy::Pause;
                state.until = Some(until);
            }
            (Gate::Open, Some(at)) if waits => {
                state.kept_by = KeptBy::Rate;
                state.until = Some(now.time + (at - now.instant));
            }
            (Gate::Open, _) if waits => state.kept_by = KeptBy::Limit,
            (Gate::Open, _) => {}
        }
        state
    }
}

/// Between two looks.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
