//! Descriptors: how many connections the process may have at all.
//!
//! Systems give a process 1,024 to begin with and many more if it asks. Connections that used up the last
//! one would stop delivery and the queue with them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Asks for as many descriptors as may be had; returns how many of `connections` there is room for.
pub(super) fn places(connections: usize) -> usize {
    let given = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: given.maximum,
        maximum: given.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => wanted.current,
        Err(_) => given.current,
    };
    let places = connections.min(room(limit));
    if places < connections {
        warn!(
            connections,
            places,
            "the limit of open files (ulimit -n) allows fewer connections than postern.toml"
        );
    }
    places
}

/// Connections for so many descriptors, where one in three has a large message in a file as well; `None` is no
/// limit.
fn room(descriptors: Option<u64>) -> usize {
    let left = descriptors.map(|all| all.saturating_sub(RESERVED) / 4 * 3);
    let left = left.map_or(usize::MAX, |left| {
        usize::try_from(left).unwrap_or(usize::MAX)
    });
    left.max(PLACES_MIN)
}

/// For the queue, deliveries, look-ups and the console.
const RESERVED: u64 = 600;
/// Fewer connections would be no service.
const PLACES_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(room(Some(1_024)), 318);
        assert_eq!(room(Some(65_536)), 48_702);
        assert_eq!(room(Some(64)), PLACES_MIN);
        assert_eq!(room(None), usize::MAX);
    }
}
