//! How often one address may ask for a page.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Counts the questions of each address, minute by minute. Its memory is bounded.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    minute: Mutex<(i64, HashMap<IpAddr, u32>)>,
}

impl Limiter {
    /// Whether this address may ask once more in this minute. Of an IPv6 address its network of 64 bits counts.
    pub(super) fn allows(&self, client: IpAddr, now: Timestamp) -> bool {
        let client = match client.to_canonical() {
            IpAddr::V6(v6) => IpAddr::from((v6.to_bits() >> 64 << 64).to_be_bytes()),
            v4 => v4,
        };
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let this = now.as_second().div_euclid(60);
        if minute.0 != this {
            *minute = (this, HashMap::new());
        }
        if minute.1.len() >= CLIENTS_MAX && !minute.1.contains_key(&client) {
            return false;
        }
        let asked = minute.1.entry(client).or_default();
        *asked = asked.saturating_add(1);
        *asked <= A_MINUTE
    }
}

/// Questions of one address in a minute: a person with a long digest, or many behind one proxy.
const A_MINUTE: u32 = 60;
/// Addresses that are counted in one minute.
const CLIENTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_often_waits_for_the_next_minute() {
        let limiter = Limiter::default();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        for _ in 0..A_MINUTE {
            assert!(limiter.allows(one, now));
        }
        assert!(!limiter.allows(neighbour, now));
        assert!(limiter.allows("2001:db8:0:1::1".parse().unwrap(), now));
        assert!(limiter.allows("::ffff:192.0.2.1".parse().unwrap(), now));
        assert!(limiter.allows(one, now + std::time::Duration::from_secs(60)));
    }
}
