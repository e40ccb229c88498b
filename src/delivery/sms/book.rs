//! The book of text messages, `<data>/sms.db`: what became of each, who wants none, how many a number got today.
//!
//! No number stands in it: a keyed hash, and the last three digits of those who want none, so that a list can be
//! read. A row is durable before the request that it speaks of is written (`synchronous=FULL`).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use crate::base::{HashKey, private};
use crate::mail::sms::{MobileNumber, Pseudonym};

/// The book. Several processes may have it open: the gateway, and the commands of administrators.
pub struct Book {
    db: Mutex<Connection>,
    key: HashKey,
}

/// Why the book cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file cannot be made.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It was written under another key: nobody on the list of opt-outs would be known again.
    #[error(
        "sms.db was written under another key than the one in {}: put the old file back",
        super::KEY
    )]
    OtherKey,
    /// SQLite says no.
    #[error("the book of text messages: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// What is known of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Row {
    /// A request was written, and no answer has come.
    Begun,
    /// The provider says that it broke.
    Failed,
    /// As begun, and somebody was asked to decide.
    Asked,
    /// The provider has it and calls it this.
    Taken(String),
    /// It is on the telephone.
    Delivered,
    /// It will not arrive: the word of the provider for it.
    Lost(String),
}

/// Whether a text may be sent now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Begun {
    Yes,
    /// The number has had as many as it may today.
    TooMany,
    /// Its receiver wants none.
    OptedOut,
}

/// A number whose owner wants no texts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OptOut {
    /// The name that the number goes by in lists and in the audit trail.
    pub pseudonym: String,
    /// Since when.
    pub since: Timestamp,
    /// How it came: `reply`, `command` or `file`.
    pub how: String,
}

impl Book {
    /// Opens the book in the data folder, and makes it if there is none. Blocks.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn open(folder: &Path, key: HashKey) -> Result<Self, BookError> {
        let path = folder.join(FILE);
        // Hashes of numbers can be guessed by whoever has the key beside them.
        private::make(&path).map_err(|error| BookError::File {
            path: path.clone(),
            error,
        })?;
        let db = Connection::open(&path)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.execute_batch(SCHEMA)?;
        check_key(&db, &key)?;
        Ok(Self {
            db: Mutex::new(db),
            key,
        })
    }

    /// The key of this gateway.
    pub(super) fn key(&self) -> &HashKey {
        &self.key
    }

    /// What is known of a text; `None` if it was never sent.
    pub(super) fn row(&self, reference: &str) -> Result<Option<Row>, BookError> {
        let db = self.db();
        let mut statement =
            db.prepare_cached("SELECT state, said FROM text WHERE reference = ?1")?;
        let row = statement.query_row([reference], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        });
        Ok(row.optional()?.map(|(state, said)| match state.as_str() {
            "failed" => Row::Failed,
            "asked" => Row::Asked,
            "taken" => Row::Taken(said),
            "delivered" => Row::Delivered,
            "lost" => Row::Lost(said),
            _ => Row::Begun,
        }))
    }

    /// Writes down that a text is about to be sent, unless it may not be: one transaction, so that of two texts at
    /// once no more get through than may.
    pub(super) fn begin(
        &self,
        reference: &str,
        number: &MobileNumber,
        (now, day): (Timestamp, Date),
        most: u32,
    ) -> Result<Begun, BookError> {
        let hash = self.hash(number);
        let mut db = self.db();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if has_opted_out(&transaction, &hash)? {
            return Ok(Begun::OptedOut);
        }
        let is_new = transaction.execute(
            "INSERT INTO text VALUES (?1, 'begun', '', ?2) ON CONFLICT (reference) DO NOTHING",
            params![reference, now.as_millisecond()],
        )? == 1;
        if is_new {
            let count: u32 = transaction.query_row(
                "INSERT INTO sent VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count",
                params![hash, day.to_string()],
                |row| row.get(0),
            )?;
            if most > 0 && count > most {
                return Ok(Begun::TooMany); // rolled back
            }
        } else {
            transaction.execute(
                "UPDATE text SET state = 'begun', at = ?2 WHERE reference = ?1 AND state IN ('failed', 'asked', 'begun')",
                params![reference, now.as_millisecond()],
            )?;
        }
        transaction.commit()?;
        Ok(Begun::Yes)
    }

    /// It was not sent after all.
    pub(super) fn take_back(
        &self,
        reference: &str,
        number: &MobileNumber,
        day: Date,
    ) -> Result<(), BookError> {
        let hash = self.hash(number);
        let mut db = self.db();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let gone = transaction.execute(
            "DELETE FROM text WHERE reference = ?1 AND state = 'begun'",
            [reference],
        )?;
        if gone == 1 {
            transaction.execute(
                "UPDATE sent SET count = count - 1 WHERE hash = ?1 AND day = ?2 AND count > 0",
                params![hash, day.to_string()],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// Writes down what is known of a text. What has ended stays so: a receipt may come before the answer.
    pub(super) fn mark(&self, reference: &str, row: &Row) -> Result<bool, BookError> {
        let (state, said) = match row {
            Row::Begun => ("begun", ""),
            Row::Failed => ("failed", ""),
            Row::Asked => ("asked", ""),
            Row::Taken(id) => ("taken", id.as_str()),
            Row::Delivered => ("delivered", ""),
            Row::Lost(word) => ("lost", word.as_str()),
        };
        let changed = self.db().execute(
            "UPDATE text SET state = ?2, said = ?3 WHERE reference = ?1 AND state NOT IN ('delivered', 'lost')",
            params![reference, state, said],
        )?;
        Ok(changed == 1)
    }

    /// Whether there is a text of this reference.
    pub(super) fn knows(&self, reference: &str) -> Result<bool, BookError> {
        Ok(self.row(reference)?.is_some())
    }

    /// Whether the owner of a number wants no texts.
    ///
    /// # Errors
    /// The book cannot be read: then nothing may be sent.
    pub fn has_opted_out(&self, number: &MobileNumber) -> Result<bool, BookError> {
        has_opted_out(&self.db(), &self.hash(number))
    }

    /// The owner of a number wants no texts. False if that was known.
    ///
    /// # Errors
    /// The book cannot be written.
    pub fn opt_out(
        &self,
        number: &MobileNumber,
        now: Timestamp,
        how: &str,
    ) -> Result<bool, BookError> {
        let hash = self.hash(number);
        let shown = self.pseudonym(number).to_string();
        let changed = self.db().execute(
            "INSERT INTO opt_out VALUES (?1, ?2, ?3, ?4) ON CONFLICT (hash) DO NOTHING",
            params![hash, shown, now.as_millisecond(), how],
        )?;
        Ok(changed == 1)
    }

    /// The owner of a number wants texts again. False if he was not on the list.
    ///
    /// # Errors
    /// The book cannot be written.
    pub fn opt_in(&self, number: &MobileNumber) -> Result<bool, BookError> {
        let changed = self
            .db()
            .execute("DELETE FROM opt_out WHERE hash = ?1", [self.hash(number)])?;
        Ok(changed == 1)
    }

    /// The name that a number goes by in lists and in the audit trail.
    pub fn pseudonym(&self, number: &MobileNumber) -> Pseudonym {
        Pseudonym::new(number, &self.hash(number))
    }

    /// All who want no texts, the latest first.
    ///
    /// # Errors
    /// The book cannot be read.
    pub fn opt_outs(&self) -> Result<Vec<OptOut>, BookError> {
        let db = self.db();
        let mut statement =
            db.prepare("SELECT shown, since, how FROM opt_out ORDER BY since DESC, shown")?;
        let rows = statement.query_map([], |row| {
            let since: i64 = row.get(1)?;
            Ok(OptOut {
                pseudonym: row.get(0)?,
                since: Timestamp::from_millisecond(since).unwrap_or(Timestamp::UNIX_EPOCH),
                how: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets what ended long ago.
    pub(super) fn tidy(&self, now: Timestamp) -> Result<(), BookError> {
        let before = (now - KEPT).as_millisecond();
        let day = (now - COUNTS_KEPT).to_zoned(jiff::tz::TimeZone::UTC).date();
        let db = self.db();
        db.execute("DELETE FROM text WHERE at < ?1", [before])?;
        db.execute("DELETE FROM sent WHERE day < ?1", [day.to_string()])?;
        Ok(())
    }

    fn hash(&self, number: &MobileNumber) -> [u8; 32] {
        self.key
            .hash(Pseudonym::PURPOSE, number.digits().as_bytes())
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        // A panic rolls back what was open; the connection is as good as before.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that was lost and made anew would let texts go to those who want none.
fn check_key(db: &Connection, key: &HashKey) -> Result<(), BookError> {
    let hash = key.hash("book of text messages", b"");
    db.execute(
        "INSERT INTO key_check SELECT 1, ?1 WHERE NOT EXISTS (SELECT 1 FROM key_check)",
        [hash],
    )?;
    let known: Vec<u8> = db.query_row("SELECT hash FROM key_check", [], |row| row.get(0))?;
    match known == hash {
        true => Ok(()),
        false => Err(BookError::OtherKey),
    }
}

fn has_opted_out(db: &Connection, hash: &[u8; 32]) -> Result<bool, BookError> {
    let mut statement = db.prepare_cached("SELECT 1 FROM opt_out WHERE hash = ?1")?;
    Ok(statement.exists([hash])?)
}

const FILE: &str = "sms.db";
/// How long a command and the gateway wait for one another.
const BUSY: Duration = Duration::from_secs(10);
/// A row outlives its text in the queue by far: 90 days.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3_600);
/// Counts are of days.
const COUNTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS text (
    reference TEXT PRIMARY KEY,  -- what the provider is told to call it
    state     TEXT NOT NULL CHECK (state IN ('begun', 'failed', 'asked', 'taken', 'delivered', 'lost')),
    said      TEXT NOT NULL,     -- taken: the provider's name for it; lost: its word for why
    at        INTEGER NOT NULL   -- milliseconds since 1970: when its last request was written
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key_check (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    hash BLOB NOT NULL           -- of nothing, under the key of the numbers
) STRICT;
CREATE TABLE IF NOT EXISTS opt_out (
    hash  BLOB PRIMARY KEY,      -- HMAC of the number
    shown TEXT NOT NULL,         -- its last three digits and a part of the hash
    since INTEGER NOT NULL,
    how   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    hash  BLOB NOT NULL,
    day   TEXT NOT NULL,         -- in the wall time of the United Kingdom
    count INTEGER NOT NULL,
    PRIMARY KEY (hash, day)
) STRICT, WITHOUT ROWID;";

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (tempfile::TempDir, Book) {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(folder.path(), HashKey::new(&[1; 32])).unwrap();
        (folder, book)
    }

    fn number() -> MobileNumber {
        MobileNumber::parse("07700900003").unwrap()
    }

    fn now() -> (Timestamp, Date) {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        (now, super::super::quiet::today(now))
    }

    #[test]
    fn a_number_gets_as_many_as_it_may_and_what_was_not_sent_does_not_count() {
        let (_folder, book) = book();
        let begin = |reference: &str| book.begin(reference, &number(), now(), 2).unwrap();
        assert_eq!(
            (begin("a"), begin("b"), begin("c")),
            (Begun::Yes, Begun::Yes, Begun::TooMany)
        );
        assert_eq!(book.row("c").unwrap(), None);
        assert_eq!(
            begin("b"),
            Begun::Yes,
            "another attempt at the same text is no other text"
        );
        book.take_back("b", &number(), now().1).unwrap();
        book.take_back("b", &number(), now().1).unwrap();
        assert_eq!((begin("c"), begin("d")), (Begun::Yes, Begun::TooMany));
    }

    #[test]
    fn what_has_ended_stays_so() {
        let (_folder, book) = book();
        book.begin("a", &number(), now(), 0).unwrap();
        assert_eq!(book.row("a").unwrap(), Some(Row::Begun));
        assert!(book.mark("a", &Row::Delivered).unwrap());
        assert!(!book.mark("a", &Row::Taken("id".into())).unwrap());
        book.begin("a", &number(), now(), 0).unwrap();
        assert_eq!(book.row("a").unwrap(), Some(Row::Delivered));
        assert!(!book.mark("unknown", &Row::Delivered).unwrap());
    }

    #[test]
    fn who_wants_no_texts_gets_none_and_his_number_is_nowhere() {
        let (folder, book) = book();
        assert!(book.opt_out(&number(), now().0, "reply").unwrap());
        assert!(!book.opt_out(&number(), now().0, "file").unwrap());
        let same = MobileNumber::parse("+44 7700 900003").unwrap();
        assert!(book.has_opted_out(&same).unwrap());
        assert_eq!(
            book.begin("a", &number(), now(), 9).unwrap(),
            Begun::OptedOut
        );
        let listed = book.opt_outs().unwrap();
        assert!(listed[0].pseudonym.starts_with("number-ending-003."));
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let octets = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&octets, b"7700900003").is_none());
        }
        assert!(book.opt_in(&number()).unwrap() && !book.opt_in(&number()).unwrap());
        assert_eq!(book.begin("a", &number(), now(), 9).unwrap(), Begun::Yes);
    }

    #[test]
    fn it_is_all_there_when_it_is_opened_again_and_old_rows_go() {
        let (folder, book) = book();
        book.begin("a", &number(), now(), 0).unwrap();
        book.mark("a", &Row::Taken("id".into())).unwrap();
        drop(book);
        let book = Book::open(folder.path(), HashKey::new(&[1; 32])).unwrap();
        assert_eq!(book.row("a").unwrap(), Some(Row::Taken("id".into())));
        let other = Book::open(folder.path(), HashKey::new(&[2; 32]));
        assert!(matches!(other, Err(BookError::OtherKey)));
        book.tidy(now().0 + Duration::from_secs(24 * 3_600))
            .unwrap();
        assert!(book.knows("a").unwrap());
        book.tidy(now().0 + KEPT + Duration::from_secs(1)).unwrap();
        assert!(!book.knows("a").unwrap());
    }
}
