//! How much an account has sent: the rate of the last minute and the recipients of the day.
//!
//! A [`Claim`] is taken at MAIL, grows with each recipient and is settled with the reply after the data; one that is
//! dropped gives back what it took. The path of a message touches memory alone. What a crash may not lose is the
//! count of recipients, so numbers are *reserved* on disk, [`RESERVED`] at a time, before they are given out: after a
//! crash counting goes on from the end of the last reservation. The day is never counted short, and by less than one
//! reservation too long. The minute is in memory alone: a restart forgives at most one minute's worth of messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::store::{AccountsDbError, Day, Store, today};
use super::{Account, Contract};

/// The meters of all accounts.
#[derive(Debug)]
pub struct Meters {
    store: Arc<Store>,
    meters: Mutex<HashMap<String, Meter>>,
}

/// What one account has used.
#[derive(Debug)]
struct Meter {
    /// As it is to be written down.
    day: Day,
    /// Recipients of claims under way.
    pending: i64,
    minute: Minute,
    is_dirty: bool,
    /// A day that is over and not written down yet.
    over: Option<Day>,
}

/// Why an account must wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Over {
    /// Too many messages in a minute.
    #[error("{limit} messages a minute")]
    Rate {
        /// What the contract allows.
        limit: u32,
        /// When there is room again.
        wait: Duration,
    },
    /// Too many recipients in a day.
    #[error("{limit} recipients a day")]
    Quota {
        /// What the contract allows.
        limit: u32,
    },
}

/// What came of taking a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Taken {
    /// It counts.
    Yes,
    /// It is over the quota.
    No(Over),
    /// Numbers must be reserved first ([`Meters::reserve`]); then ask again.
    ReserveFirst,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was accepted; its size in octets.
    Accepted(usize),
    /// It had been accepted before.
    Repeated,
    /// It was refused, for now or for good.
    Refused,
}

impl Meters {
    /// Meters that are kept in this store.
    pub fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            meters: Mutex::default(),
        })
    }

    /// Begins a message of an account.
    ///
    /// # Errors
    /// It must wait: then this is counted.
    pub fn claim(self: &Arc<Self>, account: &Account, now: Timestamp) -> Result<Claim, Over> {
        let contract = &account.contract;
        self.with(account.name(), now, |meter| {
            let begun = meter.begin(contract, now);
            begun.inspect_err(|over| meter.count_over(*over))
        })?;
        Ok(Claim {
            meters: Arc::clone(self),
            account: account.name().to_owned(),
            second: now.as_second(),
            recipients: 0,
            is_settled: false,
        })
    }

    /// Reserves numbers on disk for recipients to come. Blocks for a synced write.
    pub fn reserve(&self, account: &Account, now: Timestamp) -> Result<(), AccountsDbError> {
        let limit = account.contract.daily_recipients;
        let day = self.with(account.name(), now, |meter| Day {
            reserved: meter.day.recipients + meter.pending + reserved_at_once(limit),
            ..meter.day
        });
        self.store.put_days(&[(account.name().to_owned(), day)])?;
        self.with(account.name(), now, |meter| {
            if meter.day.day == day.day {
                meter.day.reserved = meter.day.reserved.max(day.reserved);
            }
        });
        Ok(())
    }

    /// Writes down what has changed: every few seconds, so that reports are fresh. Blocks for a synced write.
    pub fn flush(&self) -> Result<(), AccountsDbError> {
        let days = self.changed(|meter| meter.day);
        match days.is_empty() {
            true => Ok(()),
            false => self.store.put_days(&days),
        }
    }

    /// The same at the end of the process: what was reserved and not used is given back.
    pub fn close(&self) -> Result<(), AccountsDbError> {
        let days = self.changed(|meter| Day {
            reserved: meter.day.recipients + meter.pending,
            ..meter.day
        });
        self.store.close_days(&days)
    }

    fn changed(&self, as_kept: impl Fn(&Meter) -> Day) -> Vec<(String, Day)> {
        let mut days = Vec::new();
        for (account, meter) in self.lock().iter_mut() {
            days.extend(meter.over.take().map(|over| (account.clone(), over)));
            let kept = as_kept(meter);
            if std::mem::take(&mut meter.is_dirty) || kept != meter.day {
                days.push((account.clone(), kept));
            }
        }
        days
    }

    /// What every account has done today, as far as it did anything since the start.
    pub fn today(&self, now: Timestamp) -> Vec<(String, Day)> {
        let meters = self.lock();
        let of_today = meters
            .iter()
            .filter(|(_, meter)| meter.day.day == today(now));
        let mut days: Vec<_> = of_today
            .map(|(account, meter)| (account.clone(), meter.day))
            .collect();
        days.sort_by(|a, b| a.0.cmp(&b.0));
        days
    }

    fn with<T>(&self, account: &str, now: Timestamp, act: impl FnOnce(&mut Meter) -> T) -> T {
        let mut meters = self.lock();
        if !meters.contains_key(account) {
            let meter = Meter::load(&self.store, account, now);
            meters.insert(account.to_owned(), meter);
        }
        match meters.get_mut(account) {
            Some(meter) => {
                meter.roll(now);
                act(meter)
            }
            // It was just put there.
            None => act(&mut Meter::of(Day::default())),
        }
    }

    /// Meters are whole at every moment.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Meter>> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter {
    fn of(day: Day) -> Self {
        Self {
            day,
            pending: 0,
            minute: Minute::default(),
            is_dirty: false,
            over: None,
        }
    }

    /// As it was left; after a crash from the end of what was reserved. A store that cannot be read is no reason to
    /// refuse mail: the first reservation will say so.
    fn load(store: &Store, account: &str, now: Timestamp) -> Self {
        let mut day = store.day(account, today(now)).unwrap_or(Day {
            day: today(now),
            ..Day::default()
        });
        let is_short = day.recipients < day.reserved;
        day.recipients = day.recipients.max(day.reserved);
        Self {
            // So that reports say what is left.
            is_dirty: is_short,
            ..Self::of(day)
        }
    }

    /// Begins a new day. A clock that goes back does not.
    fn roll(&mut self, now: Timestamp) {
        let today = today(now);
        if today > self.day.day {
            let over = Day {
                reserved: self.day.recipients,
                ..self.day
            };
            self.over = self.is_dirty.then_some(over).or(self.over);
            self.is_dirty = false;
            self.day = Day {
                day: today,
                ..Day::default()
            };
        }
    }

    fn begin(&mut self, contract: &Contract, now: Timestamp) -> Result<(), Over> {
        if !self.has_room(contract.daily_recipients) {
            return Err(Over::Quota {
                limit: contract.daily_recipients,
            });
        }
        self.minute
            .take(contract.rate_per_minute, now.as_second())
            .map_err(|wait| Over::Rate {
                limit: contract.rate_per_minute,
                wait,
            })
    }

    fn has_room(&self, limit: u32) -> bool {
        limit == 0 || self.day.recipients + self.pending < i64::from(limit)
    }

    fn count_over(&mut self, over: Over) {
        match over {
            Over::Rate { .. } => self.day.over_rate += 1,
            Over::Quota { .. } => self.day.over_quota += 1,
        }
        self.is_dirty = true;
    }

    fn take_recipient(&mut self, contract: &Contract) -> Taken {
        let limit = contract.daily_recipients;
        if !self.has_room(limit) {
            let over = Over::Quota { limit };
            self.count_over(over);
            return Taken::No(over);
        }
        // Without a quota there is nothing that a crash could lose.
        if limit > 0 && self.day.recipients + self.pending >= self.day.reserved {
            return Taken::ReserveFirst;
        }
        self.pending += 1;
        Taken::Yes
    }

    fn settle(&mut self, recipients: i64, outcome: Outcome) {
        self.pending -= recipients;
        self.is_dirty = true;
        match outcome {
            Outcome::Accepted(octets) => {
                self.day.accepted += 1;
                self.day.recipients += recipients;
                self.day.octets += i64::try_from(octets).unwrap_or(0);
            }
            Outcome::Repeated => self.day.repeated += 1,
            Outcome::Refused => self.day.refused += 1,
        }
    }
}

/// A message under way, and what it takes of the account's allowance.
#[derive(Debug)]
pub struct Claim {
    meters: Arc<Meters>,
    account: String,
    second: i64,
    recipients: i64,
    is_settled: bool,
}

impl Claim {
    /// Takes one more recipient.
    pub fn take_recipient(&mut self, contract: &Contract, now: Timestamp) -> Taken {
        let taken = self
            .meters
            .with(&self.account, now, |meter| meter.take_recipient(contract));
        if taken == Taken::Yes {
            self.recipients += 1;
        }
        taken
    }

    /// Counts what came of the message.
    pub fn settle(mut self, outcome: Outcome, now: Timestamp) {
        self.is_settled = true;
        let recipients = self.recipients;
        self.meters.with(&self.account, now, |meter| {
            meter.settle(recipients, outcome);
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_settled {
            return;
        }
        if let Some(meter) = self.meters.lock().get_mut(&self.account) {
            meter.pending -= self.recipients;
            meter.minute.give_back(self.second);
        }
    }
}

/// Messages of the last minute, second by second.
#[derive(Debug)]
struct Minute {
    counts: [u32; SECONDS],
    /// The second of the latest count.
    latest: i64,
}

impl Default for Minute {
    fn default() -> Self {
        Self {
            counts: [0; SECONDS],
            latest: 0,
        }
    }
}

impl Minute {
    /// Counts one message if there is room; else returns when there is.
    fn take(&mut self, limit: u32, second: i64) -> Result<(), Duration> {
        self.advance(second);
        let sent: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if limit > 0 && sent >= u64::from(limit) {
            return Err(self.wait());
        }
        self.counts[place(self.latest)] += 1;
        Ok(())
    }

    fn give_back(&mut self, second: i64) {
        if (0..SECONDS_I).contains(&(self.latest - second)) {
            let count = &mut self.counts[place(second)];
            *count = count.saturating_sub(1);
        }
    }

    /// Forgets what is older than a minute. A clock that goes back stands still here.
    fn advance(&mut self, second: i64) {
        let passed = (second - self.latest).clamp(0, SECONDS_I);
        for ago in 0..passed {
            self.counts[place(second - ago)] = 0;
        }
        self.latest = self.latest.max(second);
    }

    /// Until the oldest of those that are counted is a minute old.
    fn wait(&self) -> Duration {
        let ages = (0..SECONDS_I).rev();
        let oldest = ages
            .into_iter()
            .find(|ago| self.counts[place(self.latest - ago)] > 0);
        let seconds = SECONDS_I - oldest.unwrap_or(0);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(1))
    }
}

fn place(second: i64) -> usize {
    usize::try_from(second.rem_euclid(SECONDS_I)).unwrap_or(0)
}

/// How many numbers are reserved at once: fewer for a small quota, so that a crash costs it little.
fn reserved_at_once(limit: u32) -> i64 {
    (i64::from(limit) / 20).clamp(1, RESERVED)
}

/// Most recipients that are reserved at once, and so most that a crash counts too many.
pub const RESERVED: i64 = 500;
const SECONDS: usize = 60;
const SECONDS_I: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::testing::account;
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn send(
        meters: &Arc<Meters>,
        account: &Account,
        people: u32,
        now: Timestamp,
    ) -> Result<(), Over> {
        let mut claim = meters.claim(account, now)?;
        for _ in 0..people {
            let mut taken = claim.take_recipient(&account.contract, now);
            if taken == Taken::ReserveFirst {
                meters.reserve(account, now).unwrap();
                taken = claim.take_recipient(&account.contract, now);
            }
            if let Taken::No(over) = taken {
                return Err(over);
            }
            assert_eq!(taken, Taken::Yes);
        }
        claim.settle(Outcome::Accepted(10), now);
        Ok(())
    }

    #[test]
    fn so_many_messages_a_minute_and_no_more() {
        let account = account("rate = 3\n");
        let meters = Meters::new(Arc::new(Store::in_memory().unwrap()));
        for second in [0, 10, 20] {
            assert_eq!(
                send(&meters, &account, 1, start() + second.seconds()),
                Ok(())
            );
        }
        let over = send(&meters, &account, 1, start() + 30.seconds());
        let wait = Duration::from_secs(30);
        assert_eq!(over, Err(Over::Rate { limit: 3, wait }));
        assert_eq!(send(&meters, &account, 1, start() + 60.seconds()), Ok(()));
        assert!(send(&meters, &account, 1, start() + 61.seconds()).is_err());
        assert_eq!(send(&meters, &account, 1, start() + 70.seconds()), Ok(()));
    }

    #[test]
    fn so_many_recipients_a_day_and_what_was_not_sent_does_not_count() {
        let account = account("rate = 0\ndaily-recipients = 10\n");
        let meters = Meters::new(Arc::new(Store::in_memory().unwrap()));
        assert_eq!(send(&meters, &account, 6, start()), Ok(()));
        assert_eq!(
            send(&meters, &account, 5, start()),
            Err(Over::Quota { limit: 10 })
        );
        assert_eq!(send(&meters, &account, 4, start()), Ok(()));
        assert!(meters.claim(&account, start()).is_err());
        let tomorrow = start() + 24.hours();
        assert_eq!(send(&meters, &account, 10, tomorrow), Ok(()));
        let day = meters.today(tomorrow)[0].1;
        assert_eq!((day.accepted, day.recipients, day.over_quota), (1, 10, 0));
        meters.flush().unwrap();
        let before = meters.store.day(account.name(), today(start())).unwrap();
        assert_eq!(
            (before.accepted, before.recipients, before.over_quota),
            (2, 10, 2)
        );
    }

    #[test]
    fn two_claims_at_once_do_not_share_the_last_place() {
        let account = account("rate = 0\ndaily-recipients = 1\n");
        let meters = Meters::new(Arc::new(Store::in_memory().unwrap()));
        let mut one = meters.claim(&account, start()).unwrap();
        let mut other = meters.claim(&account, start()).unwrap();
        meters.reserve(&account, start()).unwrap();
        assert_eq!(one.take_recipient(&account.contract, start()), Taken::Yes);
        let taken = other.take_recipient(&account.contract, start());
        assert_eq!(taken, Taken::No(Over::Quota { limit: 1 }));
        drop(one);
        assert_eq!(other.take_recipient(&account.contract, start()), Taken::Yes);
    }

    #[test]
    fn after_a_tidy_end_the_day_goes_on_to_the_number() {
        let account = account("rate = 0\ndaily-recipients = 100\n");
        let store = Arc::new(Store::in_memory().unwrap());
        let meters = Meters::new(Arc::clone(&store));
        send(&meters, &account, 7, start()).unwrap();
        meters.close().unwrap();
        let again = Meters::new(store);
        send(&again, &account, 1, start()).unwrap();
        assert_eq!(again.today(start())[0].1.recipients, 8);
    }

    proptest! {
        /// A crash at any moment: what comes after it is counted on from no less than what was accepted, and from less
        /// than one reservation more.
        #[test]
        fn a_crash_never_counts_the_day_short(
            messages in proptest::collection::vec((1u32..30, any::<bool>()), 1..60),
            limit in 1_000u32..20_000,
        ) {
            let account = account(&format!("rate = 0\ndaily-recipients = {limit}\n"));
            let store = Arc::new(Store::in_memory().unwrap());
            let meters = Meters::new(Arc::clone(&store));
            let mut accepted = 0;
            for (people, is_flushed) in messages {
                if send(&meters, &account, people, start()).is_ok() {
                    accepted += i64::from(people);
                }
                if is_flushed {
                    meters.flush().unwrap();
                }
                let after_a_crash = Meter::load(&store, account.name(), start()).day.recipients;
                prop_assert!(accepted <= after_a_crash, "{accepted} {after_a_crash}");
                prop_assert!(after_a_crash < accepted + 30 + RESERVED);
            }
        }

        #[test]
        fn no_minute_has_more_messages_than_its_limit(gaps in proptest::collection::vec(0i64..20, 1..200), limit in 1u32..20) {
            let mut minute = Minute::default();
            let (mut second, mut taken) = (1_000, Vec::new());
            for gap in gaps {
                second += gap;
                match minute.take(limit, second) {
                    Ok(()) => taken.push(second),
                    Err(wait) => {
                        let room = second + i64::try_from(wait.as_secs()).unwrap();
                        let left = taken.iter().filter(|one| **one > room - 60).count();
                        prop_assert!(left < limit as usize);
                    }
                }
                let sent = taken.iter().filter(|one| **one > second - 60).count();
                prop_assert!(sent <= limit as usize);
            }
        }
    }
}
