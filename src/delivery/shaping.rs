//! How much goes onward at once and how fast: the limits of a destination, of an account at a next hop, and of an
//! address of our own.
//!
//! A route has limits for each of its destinations. `[[shaping]]` sets stricter ones for some destinations, for an
//! account at next hops, or for an address that mail leaves from; of all that apply the strictest counts. What a next
//! hop is found to take is kept to within these bounds, and is no matter of settings.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::mail::ForwardPath;

use super::pattern::Pattern;

/// What holds for one destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Attempts at once; each has a connection.
    pub connections: usize,
    /// Messages on one connection.
    pub messages_per_connection: u32,
    /// Messages a minute; 0 is no limit.
    pub rate_per_minute: u32,
    /// Recipients of one transaction.
    pub recipients: usize,
}

impl Limits {
    fn stricter(self, rule: &Rule) -> Self {
        Self {
            connections: self.connections.min(rule.connections.unwrap_or(usize::MAX)),
            rate_per_minute: slower(self.rate_per_minute, rule.rate_per_minute),
            ..self.with_messages(rule)
        }
    }

    fn with_messages(self, rule: &Rule) -> Self {
        Self {
            messages_per_connection: self
                .messages_per_connection
                .min(rule.messages_per_connection.unwrap_or(u32::MAX)),
            recipients: self.recipients.min(rule.recipients.unwrap_or(usize::MAX)),
            ..self
        }
    }
}

/// 0 is no limit.
fn slower(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, rate) | (rate, 0) => rate,
        (one, other) => one.min(other),
    }
}

/// What a route has of limits beyond connections and rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Shaping {
    /// Messages on one connection.
    pub messages_per_connection: u32,
    /// Recipients of one transaction.
    pub recipients: usize,
    /// The sections of `[[shaping]]` that may concern it.
    pub rules: Arc<[Rule]>,
    /// The addresses of ours that mail leaves from; empty: as the system chooses.
    pub sources: Arc<[IpAddr]>,
    /// How one of several is chosen.
    pub source_by: SourceBy,
}

impl Default for Shaping {
    fn default() -> Self {
        Self {
            messages_per_connection: MESSAGES_PER_CONNECTION,
            recipients: RECIPIENTS,
            rules: Arc::default(),
            sources: Arc::default(),
            source_by: SourceBy::Turns,
        }
    }
}

impl Shaping {
    /// The limits of a recipient's destination: of the named next hop, else of his domain. `own` has the route's own
    /// connections and rate.
    pub(super) fn limits(
        &self,
        own: (usize, u32),
        next_hop: Option<&str>,
        path: &ForwardPath,
    ) -> Limits {
        let own = Limits {
            connections: own.0.max(1),
            messages_per_connection: self.messages_per_connection,
            rate_per_minute: own.1,
            recipients: self.recipients,
        };
        let is_of = |pattern: &Pattern| match next_hop {
            Some(host) => pattern.takes_host(host),
            None => pattern.takes(path),
        };
        self.rules
            .iter()
            .fold(own, |limits, rule| match &rule.applies {
                Applies::Destinations(patterns) => match patterns.iter().any(is_of) {
                    true => limits.stricter(rule),
                    false => limits,
                },
                Applies::Account(_) | Applies::Source(_) => limits.with_messages(rule),
            })
    }

    /// What all destinations of the route share with others: the connections and the rate of an account or an address.
    pub fn shared(&self) -> impl Iterator<Item = &Rule> {
        let is_shared = |rule: &&Rule| !matches!(rule.applies, Applies::Destinations(_));
        self.rules.iter().filter(is_shared)
    }
}

/// How one of several addresses of ours is chosen for a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceBy {
    /// One after the other.
    Turns,
    /// Always the same for one destination.
    Destination,
}

/// The address of ours that one connection leaves from, of either family.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Source {
    /// Whether the system chooses.
    pub(super) any: bool,
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
}

impl Source {
    /// The address to leave from for one of theirs; `None` if there is none of its family.
    pub(super) fn to(self, theirs: IpAddr) -> Option<IpAddr> {
        match theirs {
            IpAddr::V4(_) => self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// Counts connections, for the turns of addresses.
static TURN: AtomicUsize = AtomicUsize::new(0);

impl Shaping {
    /// Chooses the address for a connection to a destination.
    pub(super) fn source(&self, destination: &str) -> Source {
        let turn = match self.source_by {
            _ if self.sources.is_empty() => 0,
            SourceBy::Turns => TURN.fetch_add(1, Ordering::Relaxed),
            SourceBy::Destination => {
                let spread =
                    |sum: usize, octet: u8| sum.wrapping_mul(31).wrapping_add(usize::from(octet));
                destination.bytes().fold(7, spread)
            }
        };
        let choose = |v6: bool| {
            let of_family = || self.sources.iter().filter(|one| one.is_ipv6() == v6);
            let count = of_family().count().max(1);
            of_family().nth(turn % count).copied()
        };
        Source {
            any: self.sources.is_empty(),
            v4: choose(false),
            v6: choose(true),
        }
    }
}

/// A section of `[[shaping]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What it limits.
    pub applies: Applies,
    /// Attempts at once.
    pub connections: Option<usize>,
    /// Messages on one connection.
    pub messages_per_connection: Option<u32>,
    /// Messages a minute; 0 is no limit.
    pub rate_per_minute: u32,
    /// Recipients of one transaction.
    pub recipients: Option<usize>,
}

/// What a section of `[[shaping]]` limits.
#[derive(Clone, Debug, PartialEq)]
pub enum Applies {
    /// Each destination of these recipients, for itself.
    Destinations(Vec<Pattern>),
    /// What is sent under one user name, to whichever next hop.
    Account(String),
    /// What leaves from one address.
    Source(IpAddr),
}

impl std::fmt::Display for Applies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Destinations(_) => f.write_str("destinations"),
            Self::Account(name) => write!(f, "account {name}"),
            Self::Source(address) => write!(f, "source {address}"),
        }
    }
}

/// Messages on one connection, where nothing else is said.
pub(super) const MESSAGES_PER_CONNECTION: u32 = 100;
/// Recipients of one transaction, where nothing else is said: what every server takes (RFC 5321 §4.5.3.1.8).
pub(super) const RECIPIENTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(applies: Applies) -> Rule {
        Rule {
            applies,
            connections: Some(3),
            messages_per_connection: Some(20),
            rate_per_minute: 30,
            recipients: Some(50),
        }
    }

    #[test]
    fn of_all_limits_that_apply_the_strictest_counts() {
        let nhs = Applies::Destinations(vec!["*.nhs.uk".parse().unwrap()]);
        let account = Applies::Account("relay@bumbleton.example".to_owned());
        let shaping = Shaping {
            rules: [rule(nhs)].into(),
            ..Shaping::default()
        };
        let to = |path: &str, shaping: &Shaping| {
            shaping.limits((20, 600), None, &ForwardPath::parse(path).unwrap())
        };
        let own = Limits {
            connections: 20,
            messages_per_connection: 100,
            rate_per_minute: 600,
            recipients: 100,
        };
        assert_eq!(to("a@example.com", &shaping), own);
        let strict = Limits {
            connections: 3,
            messages_per_connection: 20,
            rate_per_minute: 30,
            recipients: 50,
        };
        assert_eq!(to("a@x.nhs.uk", &shaping), strict);
        let path = ForwardPath::parse("a@example.com").unwrap();
        let by = |host| shaping.limits((20, 600), Some(host), &path);
        assert_eq!(by("relay.nhs.uk"), strict, "the next hop is meant");
        assert_eq!(by("relay.example"), own);

        let shaping = Shaping {
            rules: [rule(account)].into(),
            ..Shaping::default()
        };
        let shared = Limits {
            connections: 20,
            rate_per_minute: 600,
            ..strict
        };
        assert_eq!(to("a@example.com", &shaping), shared, "the rest is shared");
        assert_eq!(shaping.shared().count(), 1);
    }

    #[test]
    fn an_address_of_ours_is_chosen_by_turns_or_by_destination() {
        let ours = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|one| one.parse().unwrap());
        let shaping = |source_by| Shaping {
            sources: ours.into(),
            source_by,
            ..Shaping::default()
        };
        let (v4, v6) = (
            "198.51.100.1".parse().unwrap(),
            "2001:db8::9".parse().unwrap(),
        );

        let by_turns = shaping(SourceBy::Turns);
        let mut used: Vec<_> = (0..32).map(|_| by_turns.source("mx a").to(v4)).collect();
        used.sort();
        used.dedup();
        assert_eq!(used, [Some(ours[0]), Some(ours[1])]);
        assert_eq!(by_turns.source("mx a").to(v6), Some(ours[2]));

        let by_destination = shaping(SourceBy::Destination);
        let always = by_destination.source("mx a");
        assert!((0..8).all(|_| by_destination.source("mx a") == always));
        let others = (0..32).map(|i| by_destination.source(&format!("mx {i}.example")));
        assert!(others.into_iter().any(|other| other != always));

        assert!(Shaping::default().source("mx a").any);
        let v4_alone = Shaping {
            sources: [ours[0]].into(),
            ..Shaping::default()
        };
        assert_eq!(v4_alone.source("mx a").to(v6), None);
    }
}
