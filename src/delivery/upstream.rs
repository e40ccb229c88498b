//! What an account at a smart host may send: messages a minute, recipients in 24 hours. Kept by waiting: whoever is over
//! his limits at Exchange Online is refused, and after a while blocked (`domain.md` §6.1).
//!
//! Each attempt that begins is written into `<data>/upstream.db` before it does, so that a restart does not begin to count
//! anew. The windows slide, as Microsoft's do. Recipients that the smart host did not take are given back; those of a message
//! that it had to the last octet and said nothing to stay counted, for it may have taken them.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::base::private;

/// What an account may send. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UpstreamLimits {
    /// Messages in any 60 seconds.
    pub messages_per_minute: u32,
    /// Recipients in any 24 hours.
    pub recipients_per_day: u32,
}

impl UpstreamLimits {
    /// Whether there is any.
    pub fn are_some(self) -> bool {
        self != Self::default()
    }
}

/// What every account has sent.
pub struct Upstream {
    inner: Mutex<Inner>,
}

struct Inner {
    db: Connection,
    accounts: HashMap<String, VecDeque<Sent>>,
}

/// One attempt. Oldest first, as far as the clock goes forward.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: i64,
    at: Timestamp,
    recipients: u32,
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum May {
    /// With so many of its recipients, one at least; they are counted.
    Go {
        /// For [`Upstream::give_back`].
        ticket: Ticket,
        /// How many.
        recipients: usize,
        /// When the others may, if there are any.
        others_at: Option<Wait>,
    },
    /// Not yet.
    Wait(Wait),
}

/// When there is room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    /// When to ask again.
    pub until: Timestamp,
    /// Which limit it is, for people.
    pub because: &'static str,
}

/// An attempt that was counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ticket(i64);

/// The file cannot be used: nothing is known about what was sent.
#[derive(Debug, thiserror::Error)]
#[error("the counts of upstream accounts (upstream.db): {0}")]
pub struct UpstreamError(#[from] rusqlite::Error);

impl Upstream {
    /// Opens the counts in the data folder, and makes them if there are none. Blocks.
    pub fn open(folder: &Path) -> Result<Self, UpstreamError> {
        let file = folder.join("upstream.db");
        // Where it cannot be made, SQLite says why.
        let _ = private::make(&file);
        Self::on(Connection::open(file)?)
    }

    /// Counts that go with the process.
    pub fn in_memory() -> Result<Self, UpstreamError> {
        Self::on(Connection::open_in_memory()?)
    }

    fn on(db: Connection) -> Result<Self, UpstreamError> {
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(SCHEMA)?;
        let mut accounts: HashMap<String, VecDeque<Sent>> = HashMap::new();
        {
            let mut rows =
                db.prepare("SELECT id, account, at, recipients FROM sent ORDER BY id")?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let at = Timestamp::from_millisecond(row.get(2)?);
                let account: String = row.get(1)?;
                accounts.entry(account).or_default().push_back(Sent {
                    id: row.get(0)?,
                    at: at.unwrap_or(Timestamp::UNIX_EPOCH),
                    recipients: row.get(3)?,
                });
            }
        }
        Ok(Self {
            inner: Mutex::new(Inner { db, accounts }),
        })
    }

    /// Asks whether a message may go to so many recipients now; those that may are counted. Blocks for a synced write.
    pub fn ask(
        &self,
        account: &str,
        limits: UpstreamLimits,
        recipients: usize,
        now: Timestamp,
    ) -> Result<May, UpstreamError> {
        let mut inner = self.lock();
        let Inner { db, accounts } = &mut *inner;
        let sent = accounts.entry(account.to_owned()).or_default();
        count_as_now(db, account, sent, now)?;
        while sent.front().is_some_and(|first| first.at + DAY <= now) {
            sent.pop_front();
        }
        if let Some(until) = minute_full(sent, limits.messages_per_minute, now) {
            return Ok(May::Wait(Wait {
                until,
                because: MINUTE_FULL,
            }));
        }
        let wanted = u32::try_from(recipients).unwrap_or(u32::MAX);
        let limit = limits.recipients_per_day;
        let used: u32 = sent
            .iter()
            .map(|one| one.recipients)
            .fold(0, u32::saturating_add);
        let granted = match limit {
            0 => wanted,
            limit => wanted.min(limit.saturating_sub(used)),
        };
        let others = wanted - granted;
        let wait = |until| Wait {
            until,
            because: DAY_FULL,
        };
        if granted == 0 && wanted > 0 {
            return Ok(May::Wait(wait(day_free(sent, limit, others, now))));
        }
        let transaction = db.unchecked_transaction()?;
        let before = (now - DAY).as_millisecond();
        transaction.execute("DELETE FROM sent WHERE at <= ?1", [before])?;
        transaction.execute(
            "INSERT INTO sent (account, at, recipients) VALUES (?1, ?2, ?3)",
            params![account, now.as_millisecond(), granted],
        )?;
        let id = transaction.last_insert_rowid();
        transaction.commit()?;
        sent.push_back(Sent {
            id,
            at: now,
            recipients: granted,
        });
        Ok(May::Go {
            ticket: Ticket(id),
            recipients: usize::try_from(granted).unwrap_or(recipients),
            others_at: (others > 0).then(|| wait(day_free(sent, limit, others, now))),
        })
    }

    /// Gives recipients back that the smart host did not take. The message stays counted. Blocks for a synced write.
    pub fn give_back(
        &self,
        account: &str,
        ticket: Ticket,
        recipients: usize,
    ) -> Result<(), UpstreamError> {
        let mut inner = self.lock();
        let Inner { db, accounts } = &mut *inner;
        let back = u32::try_from(recipients).unwrap_or(u32::MAX);
        let sent = accounts.get_mut(account).into_iter().flatten();
        if let Some(one) = sent.rev().find(|one| one.id == ticket.0) {
            one.recipients = one.recipients.saturating_sub(back);
            let left = params![ticket.0, one.recipients];
            db.execute("UPDATE sent SET recipients = ?2 WHERE id = ?1", left)?;
        }
        Ok(())
    }

    /// Counts are whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upstream")
    }
}

/// Attempts of a clock that was ahead were made now at the latest: the account would wait for their date otherwise.
fn count_as_now(
    db: &Connection,
    account: &str,
    sent: &mut VecDeque<Sent>,
    now: Timestamp,
) -> Result<(), UpstreamError> {
    let far = now + MINUTE;
    if sent.iter().all(|one| one.at <= far) {
        return Ok(());
    }
    db.execute(
        "UPDATE sent SET at = ?2 WHERE account = ?1 AND at > ?3",
        params![account, now.as_millisecond(), far.as_millisecond()],
    )?;
    let ahead = sent.iter_mut().filter(|one| one.at > far);
    ahead.for_each(|one| one.at = now);
    tracing::warn!(
        account,
        "messages were sent under a clock that was ahead: they count as sent now"
    );
    Ok(())
}

/// When the last minute has room for a message, if it has none.
fn minute_full(sent: &VecDeque<Sent>, limit: u32, now: Timestamp) -> Option<Timestamp> {
    let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0)?;
    let of_minute = sent.iter().rev().take_while(|one| one.at + MINUTE > now);
    // The one that must be a minute old first.
    let nth = of_minute.skip(limit - 1).map(|one| one.at).next()?;
    Some(nth + MINUTE)
}

/// When the last day has room for so many recipients, or for as many as it ever has.
fn day_free(sent: &VecDeque<Sent>, limit: u32, wanted: u32, now: Timestamp) -> Timestamp {
    let mut used: u32 = sent
        .iter()
        .map(|one| one.recipients)
        .fold(0, u32::saturating_add);
    let wanted = wanted.min(limit);
    for one in sent {
        used -= one.recipients.min(used);
        if limit.saturating_sub(used) >= wanted {
            return one.at + DAY;
        }
    }
    now + MINUTE
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE_FULL: &str = "the account has sent as many messages in a minute as its limits allow";
const DAY_FULL: &str = "the account has sent to as many recipients in 24 hours as its limits allow";
/// How long another process may hold the write lock.
const BUSY: Duration = Duration::from_secs(10);
/// Times are milliseconds since 1970 in universal time.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS sent (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    account    TEXT NOT NULL,
    at         INTEGER NOT NULL,
    recipients INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sent_at ON sent (at);";

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    const NAME: &str = "reminders@send.example:587";

    fn at(seconds: i64) -> Timestamp {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        start + seconds.seconds()
    }

    fn limits(messages_per_minute: u32, recipients_per_day: u32) -> UpstreamLimits {
        UpstreamLimits {
            messages_per_minute,
            recipients_per_day,
        }
    }

    /// How many may go now, or for how many seconds to wait.
    fn asked(
        upstream: &Upstream,
        of: UpstreamLimits,
        recipients: usize,
        now: i64,
    ) -> Result<usize, i64> {
        match upstream.ask(NAME, of, recipients, at(now)).unwrap() {
            May::Go { recipients, .. } => Ok(recipients),
            May::Wait(wait) => Err(wait.until.as_second() - at(now).as_second()),
        }
    }

    #[test]
    fn so_many_messages_go_in_any_minute_and_the_next_when_the_first_is_a_minute_old() {
        let upstream = Upstream::in_memory().unwrap();
        let three = limits(3, 0);
        for second in [0, 10, 20] {
            assert_eq!(asked(&upstream, three, 5, second), Ok(5));
        }
        assert_eq!(asked(&upstream, three, 5, 30), Err(30));
        assert_eq!(asked(&upstream, three, 5, 60), Ok(5));
        assert_eq!(asked(&upstream, three, 5, 61), Err(9));
        let other = upstream.ask("other", three, 1, at(61)).unwrap();
        assert!(matches!(other, May::Go { .. }));
    }

    #[test]
    fn so_many_recipients_go_in_any_day_and_a_large_message_in_parts() {
        let upstream = Upstream::in_memory().unwrap();
        let ten = limits(0, 10);
        let day = 24 * 60 * 60;
        assert_eq!(asked(&upstream, ten, 4, 0), Ok(4));
        let may = upstream.ask(NAME, ten, 9, at(100)).unwrap();
        let May::Go {
            recipients: 6,
            others_at: Some(others),
            ..
        } = may
        else {
            panic!("six of them: {may:?}");
        };
        assert_eq!(others.until, at(day));
        assert_eq!(asked(&upstream, ten, 1, 200), Err(day - 200));
        assert_eq!(asked(&upstream, ten, 5, 200), Err(day + 100 - 200));
        // More than the limit ever has room for: when all of it is free.
        assert_eq!(asked(&upstream, ten, 50, 200), Err(day + 100 - 200));
        assert_eq!(asked(&upstream, ten, 4, day), Ok(4));
    }

    #[test]
    fn attempts_of_a_clock_that_was_ahead_count_from_the_time_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::open(folder.path()).unwrap();
        let (day, of) = (24 * 60 * 60, limits(2, 10));
        for _ in 0..2 {
            assert_eq!(asked(&upstream, of, 4, 30 * day), Ok(4));
        }
        assert_eq!(asked(&upstream, of, 4, 0), Err(60));
        assert_eq!(asked(&upstream, of, 4, 60), Ok(2));
        assert_eq!(asked(&upstream, of, 4, 120), Err(day - 120));
        drop(upstream);
        let upstream = Upstream::open(folder.path()).unwrap();
        assert_eq!(asked(&upstream, of, 4, 130), Err(day - 130));
        assert_eq!(asked(&upstream, of, 4, day), Ok(4));
    }

    #[test]
    fn what_was_not_taken_is_given_back_and_a_restart_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::open(folder.path()).unwrap();
        let ten = limits(2, 10);
        let May::Go { ticket, .. } = upstream.ask(NAME, ten, 8, at(0)).unwrap() else {
            panic!("room");
        };
        upstream.give_back(NAME, ticket, 3).unwrap();
        drop(upstream);
        let upstream = Upstream::open(folder.path()).unwrap();
        assert_eq!(asked(&upstream, ten, 9, 10), Ok(5));
        assert_eq!(asked(&upstream, ten, 1, 20), Err(40));
        drop(upstream);
        let upstream = Upstream::open(folder.path()).unwrap();
        assert_eq!(asked(&upstream, limits(0, 10), 1, 20), Err(86_380));
    }

    proptest! {
        /// Whatever comes when: no window of a minute or a day ever holds more than the limits.
        #[test]
        fn no_window_ever_holds_more(asks in proptest::collection::vec((0_i64..20_000, 1_usize..9), 1..60)) {
            let upstream = Upstream::in_memory().unwrap();
            let of = limits(2, 12);
            let (mut now, mut went) = (0, Vec::new());
            for (pause, recipients) in asks {
                now += pause;
                if let Ok(granted) = asked(&upstream, of, recipients, now) {
                    prop_assert!((1..=recipients).contains(&granted));
                    went.push((now, granted));
                }
            }
            for (end, _) in &went {
                let within = |span: i64| went.iter().filter(move |(at, _)| *at <= *end && *at > end - span);
                prop_assert!(within(60).count() <= 2);
                prop_assert!(within(24 * 60 * 60).map(|(_, granted)| granted).sum::<usize>() <= 12);
            }
        }
    }
}
