//! How many connections are open, for each limit that they count for: a destination, an account at next hops, an address
//! of ours. One that waits for the next message is open as well, and so is one that is being closed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};

/// So many connections may be open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Limit {
    /// What it is a limit of.
    pub(super) of: String,
    pub(super) connections: usize,
}

/// All places that are taken.
#[derive(Default)]
pub(super) struct Places {
    /// None of them 0.
    taken: Mutex<HashMap<String, usize>>,
    /// Told whenever a place is free, or whoever has it could do without.
    freed: Notify,
}

impl Places {
    /// Takes a place under each of these limits; errs with the first under which there is none.
    pub(super) fn take<'l>(self: &Arc<Self>, limits: &'l [Limit]) -> Result<Held, &'l Limit> {
        let mut taken = self.lock();
        let is_full = |limit: &&Limit| {
            let count = taken.get(&limit.of).copied();
            count.unwrap_or_default() >= limit.connections.max(1)
        };
        if let Some(full) = limits.iter().find(is_full) {
            return Err(full);
        }
        for limit in limits {
            *taken.entry(limit.of.clone()).or_default() += 1;
        }
        Ok(Held {
            places: Arc::clone(self),
            of: limits.iter().map(|limit| limit.of.clone()).collect(),
        })
    }

    /// For those who wait for a place.
    pub(super) fn freed(&self) -> &Notify {
        &self.freed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Numbers, each whole at every moment.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place under each of some limits, until it is dropped.
pub(super) struct Held {
    places: Arc<Places>,
    of: Vec<String>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        for limit in &self.of {
            if let Some(count) = taken.get_mut(limit) {
                *count -= 1;
                if *count == 0 {
                    taken.remove(limit);
                }
            }
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

/// The right to have a connection open.
pub(super) struct Right {
    /// One of all.
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) held: Held,
}

impl Right {
    /// Whether it is one of those that a limit is about.
    pub(super) fn counts_for(&self, limit: &str) -> bool {
        self.held.of.iter().any(|one| one == limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_under_each_limit_or_under_none() {
        let places = Arc::new(Places::default());
        let limit = |of: &str, connections| Limit {
            of: of.to_owned(),
            connections,
        };
        let both = [limit("a", 2), limit("b", 1)];
        let held = places.take(&both).ok().unwrap();
        assert_eq!(places.take(&both).err(), Some(&both[1]));
        let alone = places.take(&both[..1]).ok().unwrap();
        assert_eq!(places.take(&both[..1]).err(), Some(&both[0]));
        drop(held);
        assert!(places.take(&both).is_ok());
        drop(alone);
        assert!(places.lock().is_empty());
    }
}
