//! Locks after too many failures, and the clients that an account is known by.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use super::secrets::time;
use super::{AccountsDbError, Store};

impl Store {
    /// Until when somebody (`account:NAME`, `client:ADDRESS`) is locked out; `None` if he is not.
    pub fn locked_until(
        &self,
        who: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AccountsDbError> {
        let connection = self.lock();
        let mut statement =
            connection.prepare_cached("SELECT until FROM lock WHERE who = ?1 AND until > ?2")?;
        let until = statement.query_row(params![who, now.as_millisecond()], |row| row.get(0));
        Ok(until.optional()?.map(time))
    }

    /// Locks somebody out. Locks whose time is over are forgotten.
    pub fn put_lock(
        &self,
        who: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), AccountsDbError> {
        let connection = self.lock();
        connection.execute("DELETE FROM lock WHERE until <= ?1", [now.as_millisecond()])?;
        connection.execute(
            "INSERT OR REPLACE INTO lock (who, until) VALUES (?1, ?2)",
            params![who, until.as_millisecond()],
        )?;
        Ok(())
    }

    /// Lets somebody in again. Returns whether he was locked out.
    pub fn unlock(&self, who: &str, now: Timestamp) -> Result<bool, AccountsDbError> {
        let connection = self.lock();
        let locked = connection.query_row(
            "SELECT count(*) FROM lock WHERE who = ?1 AND until > ?2",
            params![who, now.as_millisecond()],
            |row| row.get::<_, i64>(0),
        )?;
        connection.execute("DELETE FROM lock WHERE who = ?1", [who])?;
        Ok(locked > 0)
    }

    /// Whether a client used the account with its secret lately.
    pub fn knows_client(
        &self,
        account: &str,
        client: &str,
        since: Timestamp,
    ) -> Result<bool, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT 1 FROM known_client WHERE account = ?1 AND client = ?2 AND seen_at >= ?3",
        )?;
        let found = statement.exists(params![account, client, since.as_millisecond()])?;
        Ok(found)
    }

    /// Writes down that a client used the account with its secret. Of each account the latest few are kept.
    pub fn note_client(
        &self,
        account: &str,
        client: &str,
        now: Timestamp,
    ) -> Result<(), AccountsDbError> {
        let connection = self.lock();
        connection.execute(
            "INSERT OR REPLACE INTO known_client (account, client, seen_at) VALUES (?1, ?2, ?3)",
            params![account, client, now.as_millisecond()],
        )?;
        connection.execute(
            "DELETE FROM known_client WHERE account = ?1 AND client NOT IN
                 (SELECT client FROM known_client WHERE account = ?1 ORDER BY seen_at DESC LIMIT ?2)",
            params![account, CLIENTS_KEPT],
        )?;
        Ok(())
    }
}

/// Clients of one account that are remembered.
const CLIENTS_KEPT: i64 = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;

    #[test]
    fn a_lock_ends_by_its_time_or_by_an_order() {
        let store = Store::in_memory().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let until = now + 15.minutes();
        store.put_lock("client:192.0.2.1", now, until).unwrap();
        let asked = |at| store.locked_until("client:192.0.2.1", at).unwrap();
        assert_eq!((asked(now), asked(until)), (Some(until), None));
        assert!(store.unlock("client:192.0.2.1", now).unwrap());
        assert_eq!(asked(now), None);
        assert!(!store.unlock("client:192.0.2.1", now).unwrap());
    }

    #[test]
    fn a_client_is_known_for_the_account_that_it_used() {
        let store = Store::in_memory().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        store.note_client("a", "192.0.2.1", now).unwrap();
        let knows = |account, client, since| store.knows_client(account, client, since).unwrap();
        assert!(knows("a", "192.0.2.1", now));
        assert!(!knows("a", "192.0.2.2", now) && !knows("b", "192.0.2.1", now));
        assert!(!knows("a", "192.0.2.1", now + 1.hours()));
    }
}
