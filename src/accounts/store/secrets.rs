//! Secrets in the store: which are live, which came before, whose owner is to be warned.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use crate::mail::scram::ScramKeys;

use super::{AccountsDbError, Store};

/// A secret that is to be kept.
#[derive(Debug)]
pub struct NewSecret<'a> {
    /// The account, folded.
    pub account: &'a str,
    /// Argon2id, as a PHC text.
    pub hash: &'a str,
    /// For SCRAM, if it is for that.
    pub scram: Option<&'a ScramKeys>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it expires.
    pub ends_at: Timestamp,
    /// Until when those before it are good.
    pub others_until: Timestamp,
}

/// A secret that opens its account.
#[derive(Clone, Debug)]
pub struct LiveSecret {
    /// Its number.
    pub id: i64,
    /// Argon2id, as a PHC text.
    pub hash: String,
    /// For SCRAM.
    pub scram: Option<ScramKeys>,
}

/// What is known of a secret without its hash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// Its number.
    pub id: i64,
    /// The account.
    pub account: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on it opens nothing.
    pub ends_at: Timestamp,
    /// Whether SCRAM works with it.
    pub has_scram: bool,
    /// So many days before its end its owner was warned last.
    pub warned: Option<i64>,
}

impl Store {
    /// Keeps a new secret. Of those before it the newest stays good for a while, and no other: at most two open an
    /// account.
    pub fn put_secret(&self, new: &NewSecret<'_>) -> Result<(), AccountsDbError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        let (made, until) = (
            new.made_at.as_millisecond(),
            new.others_until.as_millisecond(),
        );
        transaction.execute(
            "UPDATE secret SET ends_at = CASE
                 WHEN id = (SELECT max(id) FROM secret WHERE account = ?1) THEN min(ends_at, ?3)
                 ELSE min(ends_at, ?2) END
             WHERE account = ?1",
            params![new.account, made, until],
        )?;
        transaction.execute(
            "INSERT INTO secret (account, hash, scram, made_at, ends_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                new.account,
                new.hash,
                new.scram.map(ToString::to_string),
                made,
                new.ends_at.as_millisecond()
            ],
        )?;
        // What is older than the last four is of no use to anybody but a thief.
        transaction.execute(
            "DELETE FROM secret WHERE account = ?1 AND ends_at <= ?2 AND id NOT IN
                 (SELECT id FROM secret WHERE account = ?1 ORDER BY id DESC LIMIT ?3)",
            params![new.account, made, REMEMBERED + 1],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// Ends a secret of `accounts.toml` at a moment; never later than was said before.
    pub fn end_file_secret(&self, hash: &str, ends_at: Timestamp) -> Result<(), AccountsDbError> {
        self.lock().execute(
            "INSERT INTO file_secret (digest, ends_at) VALUES (?1, ?2)
             ON CONFLICT (digest) DO UPDATE SET ends_at = min(ends_at, excluded.ends_at)",
            params![digest(hash), ends_at.as_millisecond()],
        )?;
        Ok(())
    }

    /// When a secret of `accounts.toml` ends; `None` for never.
    pub fn file_secret_ends(&self, hash: &str) -> Result<Option<Timestamp>, AccountsDbError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT ends_at FROM file_secret WHERE digest = ?1")?;
        let ends = statement.query_row([digest(hash)], |row| row.get(0));
        Ok(ends.optional()?.map(time))
    }

    /// The secrets that open an account at this moment, the newest first.
    pub fn live_secrets(
        &self,
        account: &str,
        now: Timestamp,
    ) -> Result<Vec<LiveSecret>, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, hash, scram FROM secret WHERE account = ?1 AND ends_at > ?2 ORDER BY id DESC LIMIT 2",
        )?;
        let rows = statement.query_map(params![account, now.as_millisecond()], |row| {
            let scram: Option<String> = row.get(2)?;
            Ok(LiveSecret {
                id: row.get(0)?,
                hash: row.get(1)?,
                scram: scram.and_then(|text| text.parse().ok()),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The hashes of the last four secrets of an account, whether or not their time is over, and of a newest one.
    pub fn last_secrets(&self, account: &str) -> Result<Vec<String>, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT hash FROM secret WHERE account = ?1 ORDER BY id DESC LIMIT ?2",
        )?;
        let rows = statement.query_map(params![account, REMEMBERED], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is kept of the secrets of one account, or of all: the newest first.
    pub fn secrets(&self, account: Option<&str>) -> Result<Vec<Stored>, AccountsDbError> {
        let connection = self.lock();
        stored(&connection, account)
    }

    /// Writes down that the owner of a secret was warned so many days before its end.
    pub fn warned(&self, id: i64, days: i64) -> Result<(), AccountsDbError> {
        let connection = self.lock();
        connection.execute(
            "UPDATE secret SET warned = ?2 WHERE id = ?1",
            params![id, days],
        )?;
        Ok(())
    }
}

fn stored(connection: &Connection, account: Option<&str>) -> Result<Vec<Stored>, AccountsDbError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, account, made_at, ends_at, scram IS NOT NULL, warned FROM secret
         WHERE ?1 IS NULL OR account = ?1 ORDER BY account, id DESC",
    )?;
    let rows = statement.query_map([account], |row| {
        Ok(Stored {
            id: row.get(0)?,
            account: row.get(1)?,
            made_at: time(row.get(2)?),
            ends_at: time(row.get(3)?),
            has_scram: row.get(4)?,
            warned: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn digest(hash: &str) -> [u8; 32] {
    Sha256::digest(hash.as_bytes()).into()
}

/// A moment as the database has it.
pub(super) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

/// A new secret must be none of so many before it (`domain.md` §6.1).
const REMEMBERED: i64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn put(store: &Store, hash: &str, made: Timestamp) {
        let year = 8760.hours();
        let put = store.put_secret(&NewSecret {
            account: "a",
            hash,
            scram: None,
            made_at: made,
            ends_at: made + year,
            others_until: made + 168.hours(),
        });
        put.unwrap();
    }

    fn live(store: &Store, now: Timestamp) -> Vec<String> {
        let live = store.live_secrets("a", now).unwrap();
        live.into_iter().map(|secret| secret.hash).collect()
    }

    #[test]
    fn two_secrets_overlap_and_never_three() {
        let store = Store::in_memory().unwrap();
        let start = at("2026-11-21T10:00:00Z");
        put(&store, "one", start);
        put(&store, "two", start + 1.hours());
        assert_eq!(live(&store, start + 2.hours()), ["two", "one"]);
        assert_eq!(live(&store, start + 169.hours()), ["two"]);

        put(&store, "three", start + 2.hours());
        assert_eq!(live(&store, start + 2.hours()), ["three", "two"]);
        assert!(live(&store, start + 9000.hours()).is_empty());
        assert!(store.live_secrets("b", start).unwrap().is_empty());
    }

    #[test]
    fn the_last_four_are_remembered_and_no_more() {
        let store = Store::in_memory().unwrap();
        let start = at("2026-11-21T10:00:00Z");
        for (n, hash) in ["1", "2", "3", "4", "5", "6", "7"].iter().enumerate() {
            put(&store, hash, start + i64::try_from(n).unwrap().hours());
        }
        assert_eq!(store.last_secrets("a").unwrap(), ["7", "6", "5", "4"]);
        assert_eq!(store.secrets(Some("a")).unwrap().len(), 5);
    }

    #[test]
    fn a_secret_of_the_file_ends_when_it_was_said_first() {
        let store = Store::in_memory().unwrap();
        let (soon, late) = (at("2026-11-22T00:00:00Z"), at("2026-11-29T00:00:00Z"));
        assert_eq!(store.file_secret_ends("$x").unwrap(), None);
        store.end_file_secret("$x", soon).unwrap();
        store.end_file_secret("$x", late).unwrap();
        assert_eq!(store.file_secret_ends("$x").unwrap(), Some(soon));
    }
}
