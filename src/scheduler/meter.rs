//! What several destinations share: an account at next hops, or an address of ours, with its connections and rate.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::{Route, Rule};

use super::destination::interval;

/// All meters, by what they are of. Empty where no `[[shaping]]` is about an account or an address.
#[derive(Default)]
pub(super) struct Meters(HashMap<String, Meter>);

#[derive(Default)]
struct Meter {
    running: usize,
    interval: Duration,
    next_start: Option<Instant>,
}

impl Meters {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an attempt by this route may start, as far as what it shares is concerned.
    pub(super) fn may_start(&self, route: &Route, now: Instant) -> bool {
        route.shaping.shared().all(|rule| {
            self.0.get(&rule.applies.to_string()).is_none_or(|meter| {
                meter.running < connections(rule) && meter.next_start.is_none_or(|at| at <= now)
            })
        })
    }

    /// An attempt by this route starts.
    pub(super) fn start(&mut self, route: &Route, now: Instant) {
        for rule in route.shaping.shared() {
            let meter = self.0.entry(rule.applies.to_string()).or_default();
            meter.running += 1;
            meter.interval = interval(rule.rate_per_minute);
            meter.next_start = match meter.interval.is_zero() {
                true => None,
                false => Some(now + meter.interval),
            };
        }
    }

    /// An attempt by this route has ended. Returns whether others may go on for that.
    pub(super) fn finished(&mut self, route: &Route) -> bool {
        let mut shared = false;
        for rule in route.shaping.shared() {
            shared = true;
            if let Some(meter) = self.0.get_mut(&rule.applies.to_string()) {
                meter.running = meter.running.saturating_sub(1);
            }
        }
        shared
    }

    /// When the next ones may start, by their rates.
    pub(super) fn next_starts(&self) -> impl Iterator<Item = Instant> {
        self.0.values().filter_map(|meter| meter.next_start)
    }
}

fn connections(rule: &Rule) -> usize {
    rule.connections.unwrap_or(usize::MAX).max(1)
}
