//! Greylisting: a stranger whose mail is neither clearly good nor clearly bad is asked to come again. A mail
//! server does; much of what sends spam does not, and the DNS lists know it by then.
//!
//! One client network, sender and recipient together are an attempt. Whoever comes again after the delay and within
//! the time for it gets in, and after some times its network is not asked any more for mail of that domain.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Located, Section};
use crate::policy::case::Case;

/// `[greylisting]` of `senders.toml`.
#[derive(Clone, Debug)]
pub(super) struct Greylisting {
    /// From this score on, and with what says so.
    pub(super) from: Located<f64>,
    /// Below this one.
    pub(super) below: f64,
    pub(super) delay: Duration,
    pub(super) retry_within: Duration,
    pub(super) remember: Duration,
    /// After so many returns a client is not asked any more.
    pub(super) passes: u32,
}

impl Greylisting {
    /// `None` if the section is not there.
    pub(super) fn read(top: &Section<'_>) -> Option<Self> {
        let section = top.section("greylisting");
        let is_there = section.is_present();
        let from = section.number("from").unwrap_or(Located::built_in(FROM));
        let below = section.number("below").map_or(BELOW, Located::into_inner);
        let time = |key, otherwise| section.duration(key).map_or(otherwise, Located::into_inner);
        let passes = section.integer("passes", 1..=1_000);
        let read = Self {
            below,
            delay: time("delay", DELAY),
            retry_within: time("retry-within", RETRY_WITHIN),
            remember: time("remember", REMEMBER),
            passes: passes
                .and_then(|number| u32::try_from(*number).ok())
                .unwrap_or(PASSES),
            from,
        };
        if read.retry_within <= read.delay {
            let help = "give clients more time to come again".to_owned();
            section.report(
                "greylisting-times",
                "`retry-within` is not over `delay`",
                &read.from,
                help,
            );
        }
        section.finish();
        is_there.then_some(read)
    }

    /// Whether a score is in the band.
    pub(super) fn is_for(&self, score: f64) -> bool {
        score >= *self.from && score < self.below
    }

    /// Whether a client is let in, by what is known of its attempts and its returns.
    pub(super) fn state(
        &self,
        attempts: &[Option<Attempt>],
        returns: Option<(u32, Timestamp)>,
        now: Timestamp,
    ) -> State {
        let is_recent = |last: Timestamp| now.duration_since(last).unsigned_abs() <= self.remember;
        if returns.is_some_and(|(passes, last)| passes >= self.passes && is_recent(last)) {
            return State::Known;
        }
        let states = attempts.iter().flatten().map(|attempt| {
            let waited = now.duration_since(attempt.first).unsigned_abs();
            match attempt.has_passed {
                true if is_recent(attempt.last) => State::Known,
                false if waited >= self.delay && waited <= self.retry_within => State::Returned,
                _ => State::New,
            }
        });
        states.max().unwrap_or(State::New)
    }
}

/// How far a client has come. Of several recipients the best speaks: they came together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum State {
    /// It is asked to come again.
    New,
    /// It has come again, for the first time.
    Returned,
    /// It has done so before.
    Known,
}

/// What is known of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Attempt {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) has_passed: bool,
}

/// An attempt: who, from where, for whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The network of the client.
    pub client: String,
    /// The reverse path, in lower case.
    pub sender: String,
    /// The recipient, in lower case.
    pub recipient: String,
}

impl Key {
    /// One for each recipient; none for mail without a sender, which must not be put off: who reports a failure
    /// may not come again.
    pub(super) fn all(case: &Case<'_>) -> Vec<Self> {
        let Some(sender) = case.transaction.envelope.reverse_path.notifiable() else {
            return Vec::new();
        };
        let client = network(case.transaction.client.address.ip());
        let keys = case.recipients.iter().map(|recipient| Self {
            client: client.clone(),
            sender: sender.folded().to_string().to_lowercase(),
            recipient: recipient.given.to_string().to_lowercase(),
        });
        keys.collect()
    }
}

/// The /24 or /64 of a client: the servers of one sender take turns.
pub(super) fn network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & !u128::from(u64::MAX);
            format!("{}/64", std::net::Ipv6Addr::from_bits(bits))
        }
    }
}

const FROM: f64 = 4.0;
const BELOW: f64 = 10.0;
const DELAY: Duration = Duration::from_secs(5 * 60);
const RETRY_WITHIN: Duration = Duration::from_secs(24 * 3_600);
const REMEMBER: Duration = Duration::from_secs(36 * 86_400);
const PASSES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn greylisting() -> Greylisting {
        Greylisting {
            from: Located::built_in(FROM),
            below: BELOW,
            delay: DELAY,
            retry_within: RETRY_WITHIN,
            remember: REMEMBER,
            passes: PASSES,
        }
    }

    #[test]
    fn whoever_comes_again_in_time_gets_in() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let minute = 60;
        let day = 24 * 60 * minute;
        let before = |seconds: i64| Timestamp::from_second(now.as_second() - seconds).unwrap();
        let attempt = |seconds, has_passed| {
            Some(Attempt {
                first: before(seconds),
                last: before(seconds),
                has_passed,
            })
        };
        for (attempts, returns, state) in [
            (vec![None], None, State::New),
            (vec![attempt(minute, false)], None, State::New),
            (vec![attempt(6 * minute, false)], None, State::Returned),
            (
                vec![None, attempt(6 * minute, false)],
                None,
                State::Returned,
            ),
            (vec![attempt(2 * day, false)], None, State::New),
            (vec![attempt(2 * day, true)], None, State::Known),
            (vec![attempt(40 * day, true)], None, State::New),
            (vec![None], Some((2, before(minute))), State::New),
            (vec![None], Some((3, before(minute))), State::Known),
            (vec![None], Some((3, before(40 * day))), State::New),
        ] {
            let found = greylisting().state(&attempts, returns, now);
            assert_eq!(found, state, "{attempts:?} {returns:?}");
        }
    }

    #[test]
    fn servers_of_one_network_are_one_client() {
        for (client, one) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(network(client.parse().unwrap()), one);
        }
    }

    #[test]
    fn the_band_ends_where_worse_begins() {
        let greylisting = greylisting();
        assert!(greylisting.is_for(4.0) && greylisting.is_for(9.9));
        assert!(!greylisting.is_for(3.9) && !greylisting.is_for(10.0));
    }
}
