//! The lessons: every message that somebody called spam or not spam, as hashed features, kept in
//! `lessons.db` in the data folder until it is too old to count.
//!
//! A model is made of the lessons and nothing else, so that the order in which they came does not matter, a
//! lesson taken back is gone, and one message counts once however often it is handed in. What is kept of
//! a message cannot be read: hashes of its words, of its author and of who handed it in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use crate::base::private;

use super::features::Features;

/// What somebody said of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is spam.
    Spam,
    /// It is not.
    Ham,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Ham => "ham",
        }
    }
}

/// Whose lesson it is. The gateway's own are for everybody.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Organisation(Option<String>);

impl Organisation {
    /// Those of the whole gateway.
    pub const ALL: Self = Self(None);

    /// Those of one organisation, by its ODS code; `None` if it cannot be one.
    pub fn of(code: &str) -> Option<Self> {
        let code = code.trim().to_ascii_uppercase();
        let plain =
            (2..=12).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
        plain.then_some(Self(Some(code)))
    }

    /// The code; empty for the whole gateway.
    pub fn code(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The file of its model below the folder of models.
    pub fn file(&self) -> String {
        match &self.0 {
            Some(code) => format!("organisation-{code}.model"),
            None => "site.model".to_owned(),
        }
    }
}

/// A message to learn from.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// What is in it.
    pub features: Features,
    /// What it is.
    pub verdict: Verdict,
    /// The address of its author, in lower case; kept as a hash.
    pub author: String,
    /// Who says so: a mailbox, or empty for an administrator; kept as a hash.
    pub by: String,
}

/// A lesson as it was kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The features, packed.
    pub packed: Vec<u8>,
    /// What it is.
    pub verdict: Verdict,
    /// Which author: equal for equal ones.
    pub author: u64,
    /// The domain of the author, likewise.
    pub domain: u64,
    /// Who said so; 0 for an administrator.
    pub by: u64,
    /// How old it is.
    pub age: Duration,
}

/// Why a lesson was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LessonError {
    /// The folder cannot be made.
    #[error("{}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database failed. Nothing of what was handed over was kept.
    #[error("lessons.db: {0}")]
    Store(#[from] rusqlite::Error),
}

/// The database. A connection for whoever opened it; another process may have it open as well. Blocks.
#[derive(Debug)]
pub struct Lessons {
    connection: Connection,
    forgotten: usize,
}

impl Lessons {
    /// Opens the database of a data folder, and makes it if there is none. Lessons that another version took apart in
    /// another way say nothing to this one and are forgotten ([`Lessons::forgotten`]).
    pub fn open(data: &Path) -> Result<Self, LessonError> {
        private::folder(data).map_err(|error| LessonError::Folder {
            path: data.to_owned(),
            error,
        })?;
        let path = data.join(FILE);
        // It holds words of mail. Where that cannot be, SQLite says why, or the file is another's.
        let _ = private::keep(&path);
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        let forgotten = prepare(&mut connection)?;
        Ok(Self {
            connection,
            forgotten,
        })
    }

    /// How many lessons of an older version were thrown away when this was opened: they must be handed in again.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Opens it if it is there; for those who only ask.
    pub fn open_existing(data: &Path) -> Result<Option<Self>, LessonError> {
        match data.join(FILE).exists() {
            true => Self::open(data).map(Some),
            false => Ok(None),
        }
    }

    /// Keeps lessons, all or none of them; durable when it returns. A message that is there already is
    /// overwritten: the last word counts. Returns how many were new or said something new.
    pub fn keep(
        &mut self,
        organisation: &Organisation,
        lessons: &[Lesson],
        now: Timestamp,
    ) -> Result<usize, LessonError> {
        let transaction = self.connection.transaction()?;
        let mut changed = 0;
        for lesson in lessons {
            let packed = lesson.features.pack();
            let digest = Sha256::digest(&packed);
            let code = organisation.code();
            let known: Option<bool> = transaction
                .prepare_cached(KNOWN)?
                .query_row(params![code, digest.as_slice()], |row| row.get(0))
                .optional()?;
            let spam = lesson.verdict == Verdict::Spam;
            changed += usize::from(known != Some(spam));
            let domain = lesson.author.rsplit('@').next().unwrap_or_default();
            transaction.prepare_cached(KEEP)?.execute(params![
                code,
                digest.as_slice(),
                spam,
                name_hash(&lesson.author),
                name_hash(domain),
                name_hash(&lesson.by),
                now.as_second(),
                packed,
            ])?;
        }
        transaction.execute(FORGET_OLD, params![now.as_second() - KEPT_SECS])?;
        transaction.execute(FORGET_MOST, params![organisation.code(), KEPT_MAX])?;
        transaction.commit()?;
        Ok(changed)
    }

    /// All lessons of an organisation as of a moment, in an order that does not depend on when they came.
    pub fn all(
        &self,
        organisation: &Organisation,
        now: Timestamp,
    ) -> Result<Vec<Kept>, LessonError> {
        let mut statement = self.connection.prepare(ALL)?;
        let rows = statement.query_map(params![organisation.code()], |row| {
            let age = now.as_second() - row.get::<_, i64>(4)?;
            Ok(Kept {
                verdict: match row.get(0)? {
                    true => Verdict::Spam,
                    false => Verdict::Ham,
                },
                author: row.get::<_, i64>(1)?.cast_unsigned(),
                domain: row.get::<_, i64>(2)?.cast_unsigned(),
                by: row.get::<_, i64>(3)?.cast_unsigned(),
                age: Duration::from_secs(u64::try_from(age).unwrap_or(0)),
                packed: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The organisations that have lessons, each with the moment of the last one.
    pub fn organisations(&self) -> Result<Vec<(Organisation, Timestamp)>, LessonError> {
        let mut statement = self.connection.prepare(ORGANISATIONS)?;
        let rows = statement.query_map([], |row| {
            let code: String = row.get(0)?;
            let last = Timestamp::from_second(row.get(1)?).unwrap_or(Timestamp::MIN);
            let organisation = Organisation::of(&code).unwrap_or(Organisation::ALL);
            Ok((organisation, last))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Makes the table, anew where it is of another version. Returns how many lessons went with the old one.
fn prepare(connection: &mut Connection) -> Result<usize, rusqlite::Error> {
    let version = |connection: &Connection| -> Result<i64, rusqlite::Error> {
        connection.pragma_query_value(None, "user_version", |row| row.get(0))
    };
    if version(connection)? == VERSION {
        return Ok(0);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been sooner.
    if version(&transaction)? == VERSION {
        return Ok(0);
    }
    transaction.execute_batch(SCHEMA)?;
    let old = transaction.execute("delete from lesson", [])?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(old)
}

/// Eight octets of a SHA-256, as SQLite keeps numbers; 0 for nobody.
fn name_hash(name: &str) -> i64 {
    if name.is_empty() {
        return 0;
    }
    let digest = Sha256::digest(name.as_bytes());
    let first: [u8; 8] = std::array::from_fn(|at| digest[at]);
    i64::from_le_bytes(first)
}

const FILE: &str = "lessons.db";
/// Of the way in which messages are taken apart, as in the file of a model; kept as `user_version`.
const VERSION: i64 = super::file::VERSION_NUMBER;
const SCHEMA: &str = "
    create table if not exists lesson (
        organisation text not null,      -- ODS code; '' for the whole gateway
        digest blob not null,            -- SHA-256 of the features: one message counts once
        spam integer not null,
        author integer not null,         -- hashes
        domain integer not null,
        by integer not null,             -- 0: an administrator
        learnt_at integer not null,      -- seconds since 1970
        features blob not null,
        primary key (organisation, digest)
    );
    create index if not exists lesson_by_age on lesson (organisation, learnt_at);
";
const KNOWN: &str = "select spam from lesson where organisation = ?1 and digest = ?2";
const KEEP: &str = "insert into lesson values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    on conflict (organisation, digest) do update
    set spam = excluded.spam, by = excluded.by, learnt_at = excluded.learnt_at";
const FORGET_OLD: &str = "delete from lesson where learnt_at < ?1";
/// The oldest above the limit.
const FORGET_MOST: &str = "delete from lesson where rowid in (
    select rowid from lesson where organisation = ?1 order by learnt_at desc, digest limit -1 offset ?2)";
const ALL: &str = "select spam, author, domain, by, learnt_at, features from lesson
    where organisation = ?1 order by digest";
const ORGANISATIONS: &str =
    "select organisation, max(learnt_at) from lesson group by organisation order by organisation";
/// How long another process may hold the database.
const BUSY: Duration = Duration::from_secs(10);
/// Older lessons weigh next to nothing: see the half-life in `fit`. Two years.
const KEPT_SECS: i64 = 2 * 365 * 86_400;
/// Of one organisation; at some 3 KB each.
const KEPT_MAX: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(features: &[u32], verdict: Verdict) -> Lesson {
        Lesson {
            features: Features::new(features.to_vec()),
            verdict,
            author: "a@b.example".into(),
            by: String::new(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_message_counts_once_and_the_last_word_about_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mut lessons = Lessons::open(folder.path()).unwrap();
        let now = at("2026-11-21T10:00:00Z");
        let one = [lesson(&[1, 5, 500_000], Verdict::Spam)];
        assert_eq!(lessons.keep(&Organisation::ALL, &one, now).unwrap(), 1);
        assert_eq!(lessons.keep(&Organisation::ALL, &one, now).unwrap(), 0);
        let other = [lesson(&[1, 5, 500_000], Verdict::Ham)];
        assert_eq!(lessons.keep(&Organisation::ALL, &other, now).unwrap(), 1);

        let again = Lessons::open(folder.path()).unwrap();
        let kept = again.all(&Organisation::ALL, now).unwrap();
        assert_eq!((kept.len(), kept[0].verdict), (1, Verdict::Ham));
        assert_eq!(
            Features::unpack(&kept[0].packed),
            Features::new(vec![1, 5, 500_000])
        );
    }

    #[test]
    fn lessons_that_an_older_version_took_apart_are_forgotten_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut lessons = Lessons::open(folder.path()).unwrap();
        assert_eq!(lessons.forgotten(), 0);
        let now = at("2026-11-21T10:00:00Z");
        let one = [lesson(&[1, 5], Verdict::Spam)];
        lessons.keep(&Organisation::ALL, &one, now).unwrap();
        assert_eq!(Lessons::open(folder.path()).unwrap().forgotten(), 0);
        // As version 1 left it.
        lessons
            .connection
            .pragma_update(None, "user_version", 0)
            .unwrap();

        let again = Lessons::open(folder.path()).unwrap();
        assert_eq!(again.forgotten(), 1);
        assert!(again.all(&Organisation::ALL, now).unwrap().is_empty());
    }

    #[test]
    fn organisations_are_kept_apart_and_what_is_old_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let mut lessons = Lessons::open(folder.path()).unwrap();
        let pharmacy = Organisation::of("fa001").unwrap();
        let (then, now) = (at("2024-01-01T10:00:00Z"), at("2026-11-21T10:00:00Z"));
        lessons
            .keep(&pharmacy, &[lesson(&[1], Verdict::Spam)], then)
            .unwrap();
        assert_eq!(lessons.organisations().unwrap(), [(pharmacy.clone(), then)]);
        lessons
            .keep(&Organisation::ALL, &[lesson(&[2], Verdict::Ham)], now)
            .unwrap();
        assert!(lessons.all(&pharmacy, now).unwrap().is_empty());
        assert_eq!(lessons.organisations().unwrap(), [(Organisation::ALL, now)]);
    }

    #[test]
    fn a_code_names_a_file_and_nothing_else_does() {
        assert_eq!(
            Organisation::of(" fa001 ").unwrap().file(),
            "organisation-FA001.model"
        );
        for bad in ["", "x", "../etc", "FA 01", "FA001.model"] {
            assert_eq!(Organisation::of(bad), None, "{bad}");
        }
    }
}
