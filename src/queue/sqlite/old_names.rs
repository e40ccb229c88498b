//! The use of old names: counted with the message that came by them, and told of once in a while.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::outcome::notify::UnlessTold;
use crate::queue::error::QueueError;
use crate::queue::record::{Accepted, OldNameNotice, OldNameUse};
use crate::queue::store::{OLD_NAME_USERS, OLD_NAMES_MAX, OldNameCount};
use crate::queue::words;

use super::writer::Batch;

/// Counts the uses; returns the notices that are due. Part of the transaction that accepts the message.
pub(super) fn count(
    batch: &Batch<'_>,
    uses: Vec<OldNameUse>,
    at: Timestamp,
) -> Result<Vec<Accepted>, QueueError> {
    let mut due = Vec::new();
    for one in uses {
        count_one(batch.db, &one, at)?;
        if let Some(notice) = one.notice
            && is_due(batch.db, &one.name, &notice, at)?
        {
            due.push(notice.notice);
        }
    }
    Ok(due)
}

/// A name that is new to a full table is not counted: strangers can think of names without end.
fn count_one(db: &Connection, used: &OldNameUse, at: Timestamp) -> Result<(), QueueError> {
    let at = at.as_millisecond();
    let counted = db
        .prepare_cached(
            "UPDATE old_name SET uses = uses + 1, last_used = max(last_used, ?3), mailbox = ?4, because = ?5
             WHERE name = ?1 AND used_by = ?2",
        )?
        .execute(params![used.name, used.used_by, at, used.mailbox, used.because])?;
    if counted == 0 {
        db.prepare_cached(
            "INSERT INTO old_name (name, used_by, mailbox, because, uses, first_used, last_used)
             SELECT ?1, ?2, ?4, ?5, 1, ?3, ?3 WHERE coalesce((SELECT max(id) FROM old_name), 0) < ?6",
        )?
        .execute(params![used.name, used.used_by, at, used.mailbox, used.because, OLD_NAMES_MAX])?;
    }
    Ok(())
}

/// Whether the sender has not been told of the name lately; from now on it has.
fn is_due(
    db: &Connection,
    name: &str,
    notice: &OldNameNotice,
    at: Timestamp,
) -> Result<bool, QueueError> {
    let before = at - notice.at_most_every;
    db.prepare_cached("DELETE FROM told WHERE at <= ?1")?
        .execute([before.as_millisecond()])?;
    let told = db
        .prepare_cached("INSERT OR IGNORE INTO told (sender, name, at) VALUES (?1, ?2, ?3)")?
        .execute(params![notice.to, name, at.as_millisecond()])?;
    Ok(told > 0)
}

/// Whether nobody was told of it lately; from now on somebody has. Unlike an old name it has a rhythm of its
/// own, so only its own row is looked at.
pub(super) fn is_news(
    db: &Connection,
    unless: &UnlessTold,
    at: Timestamp,
) -> Result<bool, QueueError> {
    let before = at - unless.at_most_every;
    let told = db
        .prepare_cached(
            "INSERT INTO told (sender, name, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (sender, name) DO UPDATE SET at = excluded.at WHERE told.at <= ?4",
        )?
        .execute(params![
            unless.to,
            unless.about,
            at.as_millisecond(),
            before.as_millisecond()
        ])?;
    Ok(told > 0)
}

/// What was counted, the most used name first.
pub(super) fn list(db: &Connection, limit: usize) -> Result<Vec<OldNameCount>, QueueError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT name, sum(uses) AS total, min(first_used), max(last_used) FROM old_name
         GROUP BY name ORDER BY total DESC, name LIMIT ?1",
    )?;
    let names = statement.query_map([limit], |row| {
        Ok(OldNameCount {
            name: row.get(0)?,
            uses: row.get(1)?,
            first_used: words::time(row.get(2)?).to_string(),
            last_used: words::time(row.get(3)?).to_string(),
            mailbox: String::new(),
            because: String::new(),
            used_by: Vec::new(),
        })
    })?;
    let mut counts = names.collect::<Result<Vec<_>, _>>()?;
    counts.iter_mut().try_for_each(|one| add_users(db, one))?;
    Ok(counts)
}

fn add_users(db: &Connection, count: &mut OldNameCount) -> Result<(), QueueError> {
    let mut statement = db.prepare_cached(
        "SELECT used_by FROM old_name WHERE name = ?1 ORDER BY uses DESC, used_by LIMIT ?2",
    )?;
    let users = statement.query_map(params![count.name, OLD_NAME_USERS], |row| row.get(0))?;
    count.used_by = users.collect::<Result<_, _>>()?;
    let mut statement = db.prepare_cached(
        "SELECT mailbox, because FROM old_name WHERE name = ?1 ORDER BY last_used DESC LIMIT 1",
    )?;
    (count.mailbox, count.because) =
        statement.query_row([&count.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(())
}
