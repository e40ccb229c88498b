//! What each account did on each day, as it is kept.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{AccountsDbError, Store};

/// One day of one account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
pub struct Day {
    /// Days since 1970, in universal time.
    #[serde(skip)]
    pub day: i64,
    /// Recipients of messages that were accepted.
    pub recipients: i64,
    /// Where counting goes on after a crash: never less than `recipients`.
    #[serde(skip)]
    pub reserved: i64,
    /// Messages that were accepted.
    pub accepted: i64,
    /// Messages that had been accepted before, by their idempotency key.
    pub repeated: i64,
    /// Messages that were refused.
    pub refused: i64,
    /// How often it was told to slow down.
    pub over_rate: i64,
    /// How often it was told that the day's quota is used up.
    pub over_quota: i64,
    /// Octets of the messages that were accepted.
    pub octets: i64,
}

impl Day {
    /// The date.
    pub fn date(&self) -> jiff::civil::Date {
        let start = Timestamp::from_second(self.day.saturating_mul(DAY_SECS));
        let start = start.unwrap_or(Timestamp::UNIX_EPOCH);
        start.to_zoned(jiff::tz::TimeZone::UTC).date()
    }
}

/// The day of a moment: days since 1970, in universal time.
pub fn today(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY_SECS)
}

impl Store {
    /// A day of an account; empty if nothing was written down.
    pub fn day(&self, account: &str, day: i64) -> Result<Day, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT day, recipients, reserved, accepted, repeated, refused, over_rate, over_quota, octets
             FROM day WHERE account = ?1 AND day = ?2",
        )?;
        let found = statement
            .query_row(params![account, day], read)
            .optional()?;
        Ok(found.unwrap_or(Day {
            day,
            ..Day::default()
        }))
    }

    /// The days of an account from this one on, the latest first.
    pub fn days(&self, account: &str, from: i64) -> Result<Vec<Day>, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT day, recipients, reserved, accepted, repeated, refused, over_rate, over_quota, octets
             FROM day WHERE account = ?1 AND day >= ?2 ORDER BY day DESC",
        )?;
        let rows = statement.query_map(params![account, from], read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes days as they stand now, in one transaction. What is reserved only grows: of two who write at once the later
    /// may know less. Days of more than two years ago are forgotten.
    pub fn put_days(&self, days: &[(String, Day)]) -> Result<(), AccountsDbError> {
        self.write_days(days, "max(reserved, excluded.reserved)")
    }

    /// The same at the end of the process, when nobody else writes: what was reserved and not used is given back.
    pub fn close_days(&self, days: &[(String, Day)]) -> Result<(), AccountsDbError> {
        self.write_days(days, "excluded.reserved")
    }

    fn write_days(&self, days: &[(String, Day)], reserved: &str) -> Result<(), AccountsDbError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let upsert = format!(
            "INSERT INTO day (account, day, recipients, reserved, accepted, repeated, refused, over_rate, over_quota,
                              octets)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (account, day) DO UPDATE SET
                 recipients = excluded.recipients, reserved = {reserved}, accepted = excluded.accepted,
                 repeated = excluded.repeated, refused = excluded.refused, over_rate = excluded.over_rate,
                 over_quota = excluded.over_quota, octets = excluded.octets"
        );
        for (account, day) in days {
            transaction.prepare_cached(&upsert)?.execute(params![
                account,
                day.day,
                day.recipients,
                day.reserved,
                day.accepted,
                day.repeated,
                day.refused,
                day.over_rate,
                day.over_quota,
                day.octets
            ])?;
            transaction
                .prepare_cached("DELETE FROM day WHERE account = ?1 AND day < ?2")?
                .execute(params![account, day.day - DAYS_KEPT])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Day> {
    Ok(Day {
        day: row.get(0)?,
        recipients: row.get(1)?,
        reserved: row.get(2)?,
        accepted: row.get(3)?,
        repeated: row.get(4)?,
        refused: row.get(5)?,
        over_rate: row.get(6)?,
        over_quota: row.get(7)?,
        octets: row.get(8)?,
    })
}

const DAY_SECS: i64 = 86_400;
/// Days that are kept: as long as NHSmail keeps its own (`domain.md` §8.2, forensic retention).
const DAYS_KEPT: i64 = 730;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_back_as_they_were_written() {
        let store = Store::in_memory().unwrap();
        let now: Timestamp = "2026-11-21T23:59:59Z".parse().unwrap();
        let day = Day {
            day: today(now),
            recipients: 7,
            reserved: 100,
            accepted: 5,
            octets: 1_000,
            ..Day::default()
        };
        store.put_days(&[("a".to_owned(), day)]).unwrap();
        assert_eq!(store.day("a", today(now)).unwrap(), day);
        assert_eq!(store.days("a", 0).unwrap(), [day]);
        let earlier = Day {
            reserved: 50,
            ..day
        };
        let days = [("a".to_owned(), earlier)];
        store.put_days(&days).unwrap();
        assert_eq!(store.day("a", today(now)).unwrap().reserved, 100);
        store.close_days(&days).unwrap();
        assert_eq!(store.day("a", today(now)).unwrap().reserved, 50);
        assert_eq!(store.day("b", today(now)).unwrap().accepted, 0);
        assert_eq!(day.date().to_string(), "2026-11-21");
    }
}
