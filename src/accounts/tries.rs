//! Failed log-ins of late: how many, by whom, and what that costs.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::fold;
use super::store::{AccountsDbError, Store};

/// Failures of clients and at accounts.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failures: HashMap<String, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Timestamp,
}

/// What follows a failure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Penalty {
    /// How long the reply waits.
    pub(super) delay: Duration,
    /// Who is locked out from now on.
    pub(super) locks: Vec<String>,
}

impl Tries {
    /// Counts a failure of a client at an account, if there is one of the name that was given.
    pub(super) fn fail(&mut self, client: &str, account: Option<&str>, now: Timestamp) -> Penalty {
        let of_client = self.count(client, now);
        let mut locks = Vec::new();
        if of_client >= CLIENT_MAX {
            locks.push(client.to_owned());
        }
        if let Some(account) = account
            && self.count(account, now) >= ACCOUNT_MAX
        {
            locks.push(account.to_owned());
        }
        for locked in &locks {
            self.failures.remove(locked);
        }
        let doublings = of_client.saturating_sub(1).min(DOUBLINGS_MAX);
        Penalty {
            delay: FIRST_DELAY * (1 << doublings),
            locks,
        }
    }

    /// Forgets the failures of a client that has shown the secret after all. Those at the account stay: somebody else
    /// may be trying.
    pub(super) fn succeed(&mut self, client: &str) {
        self.failures.remove(client);
    }

    fn count(&mut self, who: &str, now: Timestamp) -> u32 {
        if !self.failures.contains_key(who) && self.failures.len() >= TABLE_MAX {
            self.failures
                .retain(|_, failures| is_of_late(failures, now));
            // Strangers can come from addresses without end: what does not fit is delayed, not counted.
            if self.failures.len() >= TABLE_MAX {
                return 1;
            }
        }
        let fresh = Failures {
            count: 0,
            since: now,
        };
        let failures = self.failures.entry(who.to_owned()).or_insert(fresh);
        if !is_of_late(failures, now) {
            *failures = fresh;
        }
        failures.count = failures.count.saturating_add(1);
        failures.count
    }
}

fn is_of_late(failures: &Failures, now: Timestamp) -> bool {
    now < failures.since + WINDOW
}

/// The name of a client in locks: its address; of IPv6 the network, in which one machine has addresses without end.
pub(super) fn client_key(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(address) => format!("client:{address}"),
        IpAddr::V6(address) => {
            let network = std::net::Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64));
            format!("client:{network}/64")
        }
    }
}

/// The name of an account in locks.
pub(super) fn account_key(account: &str) -> String {
    format!("account:{account}")
}

/// Lets somebody try again: an account by its name, or a client by its address. Returns whether he was locked out.
pub fn unlock(store: &Store, who: &str, now: Timestamp) -> Result<bool, AccountsDbError> {
    let key = match who.parse::<IpAddr>() {
        Ok(address) => client_key(address),
        Err(_) => account_key(&fold(who)),
    };
    store.unlock(&key, now)
}

/// Failures are counted together for so long.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// How long a lock lasts.
pub(super) const LOCK: Duration = Duration::from_secs(15 * 60);
/// Failures of one client before it is locked out.
const CLIENT_MAX: u32 = 10;
/// Failures at one account, from wherever, before it is locked for clients that never used it.
const ACCOUNT_MAX: u32 = 50;
/// What the first failure costs; each further one twice as much.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Up to sixteen seconds: a client waits for minutes.
const DOUBLINGS_MAX: u32 = 4;
/// Clients and accounts that are counted at once.
const TABLE_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn each_failure_costs_more_and_the_tenth_locks_the_client_out() {
        let mut tries = Tries::default();
        let delays: Vec<u64> = (0..9)
            .map(|_| tries.fail("client:192.0.2.1", None, start()))
            .inspect(|penalty| assert!(penalty.locks.is_empty()))
            .map(|penalty| penalty.delay.as_secs())
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 16, 16, 16, 16]);
        let tenth = tries.fail("client:192.0.2.1", None, start());
        assert_eq!(tenth.locks, ["client:192.0.2.1"]);
        let other = tries.fail("client:192.0.2.2", None, start());
        assert_eq!(other.delay.as_secs(), 1);
    }

    #[test]
    fn many_clients_lock_the_account_that_they_try() {
        let mut tries = Tries::default();
        for n in 0..49 {
            let client = format!("client:192.0.2.{n}");
            assert!(
                tries
                    .fail(&client, Some("account:a"), start())
                    .locks
                    .is_empty()
            );
        }
        let last = tries.fail("client:192.0.2.99", Some("account:a"), start());
        assert_eq!(last.locks, ["account:a"]);
    }

    #[test]
    fn what_is_long_ago_or_made_good_does_not_count() {
        let mut tries = Tries::default();
        for _ in 0..9 {
            tries.fail("client:192.0.2.1", None, start());
        }
        let later = start() + 15.minutes();
        assert_eq!(
            tries.fail("client:192.0.2.1", None, later).delay,
            FIRST_DELAY
        );
        tries.fail("client:192.0.2.1", None, later);
        tries.succeed("client:192.0.2.1");
        assert_eq!(
            tries.fail("client:192.0.2.1", None, later).delay,
            FIRST_DELAY
        );
    }

    #[test]
    fn a_machine_of_ipv6_is_its_network() {
        let key = |text: &str| client_key(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2:3::4"), "client:2001:db8:1:2::/64");
        assert_eq!(key("::ffff:192.0.2.1"), "client:192.0.2.1");
    }
}
