//! Certificates that opened an account: when they end is known once they were shown.

use jiff::Timestamp;
use rusqlite::params;

use super::secrets::time;
use super::{AccountsDbError, Store};

/// A certificate that opened an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeenCertificate {
    /// The account.
    pub account: String,
    /// By what it was known, as the contract is shown.
    pub known_as: String,
    /// The SHA-256 sum of it, in hexadecimal digits.
    pub sha256: String,
    /// When it ends.
    pub ends_at: Timestamp,
    /// When it was shown last, within a day.
    pub seen_at: Timestamp,
}

impl Store {
    /// Whether a certificate was written down for the account lately.
    pub fn knows_certificate(
        &self,
        account: &str,
        sha256: &str,
        since: Timestamp,
    ) -> Result<bool, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT 1 FROM certificate WHERE account = ?1 AND sha256 = ?2 AND seen_at >= ?3",
        )?;
        Ok(statement.exists(params![account, sha256, since.as_millisecond()])?)
    }

    /// Writes down that a certificate opened an account. Of each account the latest few are kept. Blocks for a synced
    /// write.
    pub fn note_certificate(&self, seen: &SeenCertificate) -> Result<(), AccountsDbError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT OR REPLACE INTO certificate (account, sha256, known_as, ends_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                seen.account,
                seen.sha256,
                seen.known_as,
                seen.ends_at.as_millisecond(),
                seen.seen_at.as_millisecond()
            ],
        )?;
        transaction.execute(
            "DELETE FROM certificate WHERE account = ?1 AND sha256 NOT IN
                 (SELECT sha256 FROM certificate WHERE account = ?1 ORDER BY seen_at DESC LIMIT ?2)",
            params![seen.account, CERTIFICATES_KEPT],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// The certificates that opened an account, the latest first.
    pub fn certificates(&self, account: &str) -> Result<Vec<SeenCertificate>, AccountsDbError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT account, known_as, sha256, ends_at, seen_at FROM certificate
             WHERE account = ?1 ORDER BY seen_at DESC, sha256",
        )?;
        let rows = statement.query_map([account], |row| {
            Ok(SeenCertificate {
                account: row.get(0)?,
                known_as: row.get(1)?,
                sha256: row.get(2)?,
                ends_at: time(row.get(3)?),
                seen_at: time(row.get(4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Certificates of one account that are remembered.
const CERTIFICATES_KEPT: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;
    use rusqlite::Connection;

    fn seen(sha256: &str, seen_at: Timestamp) -> SeenCertificate {
        SeenCertificate {
            account: "a".into(),
            known_as: "app.example by ca.pem".into(),
            sha256: sha256.into(),
            ends_at: seen_at + 1000.hours(),
            seen_at,
        }
    }

    #[test]
    fn a_certificate_is_remembered_as_it_was_seen_last() {
        let store = Store::in_memory().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        store.note_certificate(&seen("one", now)).unwrap();
        store
            .note_certificate(&seen("two", now + 1.hours()))
            .unwrap();
        store
            .note_certificate(&seen("one", now + 2.hours()))
            .unwrap();
        let kept = [seen("one", now + 2.hours()), seen("two", now + 1.hours())];
        assert_eq!(store.certificates("a").unwrap(), kept);
        assert_eq!(store.certificates("b").unwrap(), []);
        let knows = |since| store.knows_certificate("a", "two", since).unwrap();
        assert!(knows(now) && !knows(now + 2.hours()));
    }

    #[test]
    fn a_database_of_the_version_before_is_taken_on_with_all_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.note_client("a", "192.0.2.1", now).unwrap();
        drop(store);
        let file = Connection::open(folder.path().join("accounts.db")).unwrap();
        file.execute_batch("DROP TABLE certificate; PRAGMA user_version = 1")
            .unwrap();
        drop(file);
        let store = Store::open(folder.path()).unwrap();
        store.note_certificate(&seen("one", now)).unwrap();
        assert!(store.knows_client("a", "192.0.2.1", now).unwrap());
    }
}
