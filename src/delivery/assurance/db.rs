//! What must outlast a restart: the MTA-STS policies that were found, and what is to be reported.
//!
//! `<data>/transport.db`. A policy that is forgotten lets mail go in clear that must not, so it is on the disk before
//! it counts (`synchronous=FULL`). Times are seconds since 1970 in universal time.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::base::private;

/// The file.
pub(super) struct Db(Mutex<Connection>);

/// A policy as it was fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) domain: String,
    /// The `id` of the record at that time.
    pub(super) id: String,
    /// The policy file.
    pub(super) text: String,
    pub(super) fetched_at: Timestamp,
}

/// What happened to so many sessions of a day.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Tally {
    pub(super) day: Date,
    /// The recipients' domain.
    pub(super) domain: String,
    /// `sts`, `tlsa` or `no-policy-found`.
    pub(super) policy_type: String,
    /// Its lines, as a JSON array.
    pub(super) policy: String,
    /// The patterns of exchangers in it, as a JSON array.
    pub(super) mx_hosts: String,
    /// A result type of RFC 8460 §4.3; empty for success.
    pub(super) result: String,
    /// The exchanger; empty where it does not matter.
    pub(super) mx: String,
    /// Its address; empty where there was none.
    pub(super) ip: String,
    /// More about a failure.
    pub(super) reason: String,
    /// The address of ours that it was made from; empty where there was none.
    pub(super) sending_ip: String,
}

impl Db {
    /// Opens it, and makes it if it is not there.
    pub(super) fn open(file: &Path) -> rusqlite::Result<Self> {
        // It says whom mail goes to. Where it cannot be made, SQLite says why.
        let _ = private::make(file);
        let mut db = Connection::open(file)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        bring_up_to_date(&mut db)?;
        Ok(Self(Mutex::new(db)))
    }

    pub(super) fn policy(&self, domain: &str) -> rusqlite::Result<Option<Kept>> {
        let db = self.lock();
        let mut statement = db.prepare_cached(
            "SELECT domain, id, text, fetched_at FROM sts_policy WHERE domain = ?1",
        )?;
        statement.query_row([domain], kept).optional()
    }

    /// Policies that were fetched before this, the oldest first.
    pub(super) fn policies_before(&self, at: Timestamp, limit: u32) -> rusqlite::Result<Vec<Kept>> {
        let db = self.lock();
        let mut statement = db.prepare_cached(
            "SELECT domain, id, text, fetched_at FROM sts_policy WHERE fetched_at < ?1
             ORDER BY fetched_at LIMIT ?2",
        )?;
        statement
            .query_map(params![at.as_second(), limit], kept)?
            .collect()
    }

    pub(super) fn keep(&self, policy: &Kept) -> rusqlite::Result<()> {
        let sql = "INSERT INTO sts_policy (domain, id, text, fetched_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (domain) DO UPDATE SET id = ?2, text = ?3, fetched_at = ?4";
        let Kept {
            domain,
            id,
            text,
            fetched_at,
        } = policy;
        self.lock()
            .execute(sql, params![domain, id, text, fetched_at.as_second()])?;
        Ok(())
    }

    pub(super) fn forget(&self, domain: &str) -> rusqlite::Result<()> {
        self.lock()
            .execute("DELETE FROM sts_policy WHERE domain = ?1", [domain])?;
        Ok(())
    }

    /// Adds to what happened, all of it or none.
    pub(super) fn count(&self, tallies: &[(Tally, i64)]) -> rusqlite::Result<()> {
        let mut db = self.lock();
        let transaction = db.transaction()?;
        for (tally, sessions) in tallies {
            transaction
                .prepare_cached(
                    "INSERT INTO tls_session (day, domain, policy_type, policy, mx_hosts, result, mx, ip, reason, sessions,
                                              sending_ip)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT DO UPDATE SET sessions = sessions + ?10",
                )?
                .execute(params![
                    tally.day.to_string(),
                    tally.domain,
                    tally.policy_type,
                    tally.policy,
                    tally.mx_hosts,
                    tally.result,
                    tally.mx,
                    tally.ip,
                    tally.reason,
                    sessions,
                    tally.sending_ip
                ])?;
        }
        transaction.commit()
    }

    /// The domains and days before this one of which there is something to report, the oldest first.
    pub(super) fn due(&self, before: Date) -> rusqlite::Result<Vec<(Date, String)>> {
        let db = self.lock();
        let mut statement = db.prepare_cached(
            "SELECT DISTINCT day, domain FROM tls_session WHERE day < ?1 ORDER BY day, domain",
        )?;
        let rows = statement.query_map([before.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?))
        })?;
        let mut due = Vec::new();
        for row in rows {
            let (day, domain) = row?;
            due.extend(day.parse().ok().map(|day: Date| (day, domain)));
        }
        Ok(due)
    }

    /// What happened on a day to mail for a domain.
    pub(super) fn tallies(&self, day: Date, domain: &str) -> rusqlite::Result<Vec<(Tally, i64)>> {
        let db = self.lock();
        let mut statement = db.prepare_cached(
            "SELECT policy_type, policy, mx_hosts, result, mx, ip, reason, sessions, sending_ip FROM tls_session
             WHERE day = ?1 AND domain = ?2 ORDER BY policy_type, policy, result, mx, ip, reason, sending_ip",
        )?;
        let rows = statement.query_map(params![day.to_string(), domain], |row| {
            let tally = Tally {
                day,
                domain: domain.to_owned(),
                policy_type: row.get(0)?,
                policy: row.get(1)?,
                mx_hosts: row.get(2)?,
                result: row.get(3)?,
                mx: row.get(4)?,
                ip: row.get(5)?,
                reason: row.get(6)?,
                sending_ip: row.get(8)?,
            };
            Ok((tally, row.get(7)?))
        })?;
        rows.collect()
    }

    /// It was reported, or is too old to be.
    pub(super) fn reported(&self, day: Date, domain: &str) -> rusqlite::Result<()> {
        self.lock().execute(
            "DELETE FROM tls_session WHERE day = ?1 AND domain = ?2",
            params![day.to_string(), domain],
        )?;
        Ok(())
    }

    /// A panic elsewhere leaves it whole: every change is one transaction.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    let fetched_at: i64 = row.get(3)?;
    Ok(Kept {
        domain: row.get(0)?,
        id: row.get(1)?,
        text: row.get(2)?,
        // A damaged time is one long ago: the policy is fetched anew.
        fetched_at: Timestamp::from_second(fetched_at).unwrap_or(Timestamp::UNIX_EPOCH),
    })
}

/// Makes the tables, or adds to those of an older program what they lack: an older one can go on with the result.
fn bring_up_to_date(db: &mut Connection) -> rusqlite::Result<()> {
    // Two processes may begin at once.
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute_batch(SCHEMA)?;
    let sql = "SELECT count(*) FROM pragma_table_info('tls_session') WHERE name = 'sending_ip'";
    if change.query_row(sql, [], |row| row.get::<_, i64>(0))? == 0 {
        change.execute_batch("ALTER TABLE tls_session RENAME TO tls_session_1")?;
        change.execute_batch(SCHEMA)?;
        change.execute_batch(
            "INSERT INTO tls_session (day, domain, policy_type, policy, mx_hosts, result, mx, ip, reason, sessions)
                 SELECT day, domain, policy_type, policy, mx_hosts, result, mx, ip, reason, sessions
                 FROM tls_session_1;
             DROP TABLE tls_session_1",
        )?;
    }
    change.commit()
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS sts_policy (
        domain     TEXT PRIMARY KEY,
        id         TEXT NOT NULL,    -- of the record at the time
        text       TEXT NOT NULL,    -- the policy file
        fetched_at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS tls_session (
        day         TEXT NOT NULL,   -- universal time
        domain      TEXT NOT NULL,
        policy_type TEXT NOT NULL,
        policy      TEXT NOT NULL,
        mx_hosts    TEXT NOT NULL,
        result      TEXT NOT NULL,   -- empty: success
        mx          TEXT NOT NULL,
        ip          TEXT NOT NULL,
        reason      TEXT NOT NULL,
        sessions    INTEGER NOT NULL,
        sending_ip  TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (day, domain, policy_type, policy, mx_hosts, result, mx, ip, reason, sending_ip)
    ) STRICT, WITHOUT ROWID;
";
/// Another process, a command perhaps, may be writing.
const BUSY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_was_kept_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("transport.db");
        let policy = |id: &str, second| Kept {
            domain: "x.example".to_owned(),
            id: id.to_owned(),
            text: "version: STSv1".to_owned(),
            fetched_at: Timestamp::from_second(second).unwrap(),
        };
        let db = Db::open(&file).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        db.keep(&policy("1", 10)).unwrap();
        db.keep(&policy("2", 20)).unwrap();
        drop(db);
        let db = Db::open(&file).unwrap();
        assert_eq!(db.policy("x.example").unwrap(), Some(policy("2", 20)));
        let before = |second| {
            let at = Timestamp::from_second(second).unwrap();
            db.policies_before(at, 10).unwrap().len()
        };
        assert_eq!((before(20), before(21)), (0, 1));
        db.forget("x.example").unwrap();
        assert_eq!(db.policy("x.example").unwrap(), None);
    }

    #[test]
    fn sessions_are_counted_until_they_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&folder.path().join("transport.db")).unwrap();
        let today: Date = "2026-11-21".parse().unwrap();
        let tally = |day: Date, result: &str| Tally {
            day,
            domain: "x.example".to_owned(),
            policy_type: "sts".to_owned(),
            policy: "[]".to_owned(),
            mx_hosts: "[]".to_owned(),
            result: result.to_owned(),
            mx: String::new(),
            ip: String::new(),
            reason: String::new(),
            sending_ip: String::new(),
        };
        let yesterday = today.yesterday().unwrap();
        db.count(&[(tally(yesterday, ""), 2), (tally(today, ""), 1)])
            .unwrap();
        db.count(&[(tally(yesterday, ""), 3), (tally(yesterday, "expired"), 1)])
            .unwrap();
        assert_eq!(
            db.due(today).unwrap(),
            [(yesterday, "x.example".to_owned())]
        );
        assert_eq!(
            db.tallies(yesterday, "x.example").unwrap(),
            [(tally(yesterday, ""), 5), (tally(yesterday, "expired"), 1)]
        );
        db.reported(yesterday, "x.example").unwrap();
        assert_eq!(db.due(today).unwrap(), []);
        assert_eq!(db.tallies(today, "x.example").unwrap().len(), 1);
    }

    /// That a policy was known must not be forgotten by an update, nor what is to be reported.
    #[test]
    fn tables_of_an_older_program_are_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("transport.db");
        let old = SCHEMA
            .replace("sending_ip  TEXT NOT NULL DEFAULT '',", "")
            .replace(", sending_ip)", ")");
        let before = Connection::open(&file).unwrap();
        before.execute_batch(&old).unwrap();
        let insert = "INSERT INTO tls_session (day, domain, policy_type, policy, mx_hosts, result, mx, ip, reason, sessions)
             VALUES ('2026-11-20', 'x.example', 'sts', '[]', '[]', 'expired', 'mx', '192.0.2.1', 'r', 7)
             ON CONFLICT DO UPDATE SET sessions = sessions + 7";
        before.execute(insert, []).unwrap();
        before
            .execute(
                "INSERT INTO sts_policy VALUES ('x.example', '1', 't', 10)",
                [],
            )
            .unwrap();
        drop(before);

        for _ in 0..2 {
            let db = Db::open(&file).unwrap();
            let tallies = db.tallies("2026-11-20".parse().unwrap(), "x.example");
            let [(tally, 7)] = &tallies.unwrap()[..] else {
                panic!("what was counted is gone");
            };
            assert_eq!((&*tally.ip, &*tally.sending_ip), ("192.0.2.1", ""));
            assert!(db.policy("x.example").unwrap().is_some());
        }
        // The older program goes on with what it finds.
        let older = Connection::open(&file).unwrap();
        assert_eq!(older.execute(insert, []).unwrap(), 1);
    }
}
