//! What time it is. Nothing else asks: a test replaces this clock and no test sleeps for luck.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

/// A clock: the machine's, or one that a test moves. Cheap to clone; clones share the time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds that a test has set; `None` for the machine's own time.
    fixed: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `start` until it is moved.
    pub fn fixed(start: Timestamp) -> Self {
        Self {
            fixed: Some(Arc::new(AtomicI64::new(start.as_millisecond()))),
        }
    }

    /// The time, to the millisecond.
    pub fn now(&self) -> Timestamp {
        let milliseconds = match &self.fixed {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Timestamp::now().as_millisecond(),
        };
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Sets a fixed clock, back too; does nothing to the machine's.
    pub fn set(&self, to: Timestamp) {
        if let Some(fixed) = &self.fixed {
            fixed.store(to.as_millisecond(), Ordering::SeqCst);
        }
    }

    /// Moves a fixed clock forward; does nothing to the machine's.
    pub fn advance(&self, by: Duration) {
        if let Some(fixed) = &self.fixed {
            fixed.fetch_add(
                i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_when_told() {
        let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
        clock.clone().advance(Duration::from_secs(90));
        assert_eq!(clock.now().to_string(), "2026-11-21T10:01:30Z");
    }
}
