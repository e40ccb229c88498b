//! The use of old names: counted with the message that came by them, and told of once in a while.

use jiff::Timestamp;

use crate::outcome::notify::UnlessTold;
use crate::queue::chain::count as limit_of;
use crate::queue::error::QueueError;
use crate::queue::record::{Accepted, OldNameNotice, OldNameUse};
use crate::queue::store::{OLD_NAME_USERS, OLD_NAMES_MAX, OldNameCount};
use crate::queue::words;

use super::db::{Db, text};
use super::writer::Batch;

/// Counts the uses; returns the notices that are due. Part of the transaction that accepts the message.
pub(super) async fn count(
    batch: &Batch,
    uses: Vec<OldNameUse>,
    at: Timestamp,
) -> Result<Vec<Accepted>, QueueError> {
    let mut due = Vec::new();
    for one in uses {
        count_one(batch.db(), &one, at).await?;
        if let Some(notice) = one.notice
            && is_due(batch.db(), &one.name, &notice, at).await?
        {
            due.push(notice.notice);
        }
    }
    Ok(due)
}

/// A name that is new to a full table is not counted: strangers can think of names without end.
async fn count_one(db: Db<'_>, used: &OldNameUse, at: Timestamp) -> Result<(), QueueError> {
    let at = at.as_millisecond();
    let (name, used_by, mailbox) = (text(&used.name), text(&used.used_by), text(&used.mailbox));
    let counted = db
        .execute(
            "UPDATE old_name SET uses = uses + 1, last_used = greatest(last_used, $3), mailbox = $4, because = $5
             WHERE name = $1 AND used_by = $2",
            &[&name, &used_by, &at, &mailbox, &used.because],
        )
        .await?;
    if counted == 0 {
        db.execute(
            "INSERT INTO old_name (name, used_by, mailbox, because, uses, first_used, last_used)
             SELECT $1::text, $2::text, $4::text, $5::text, 1, $3::bigint, $3::bigint
             WHERE coalesce((SELECT max(id) FROM old_name), 0) < $6",
            &[
                &name,
                &used_by,
                &at,
                &mailbox,
                &used.because,
                &OLD_NAMES_MAX,
            ],
        )
        .await?;
    }
    Ok(())
}

/// Whether the sender has not been told of the name lately; from now on it has.
async fn is_due(
    db: Db<'_>,
    name: &str,
    notice: &OldNameNotice,
    at: Timestamp,
) -> Result<bool, QueueError> {
    let before = (at - notice.at_most_every).as_millisecond();
    db.execute("DELETE FROM told WHERE at <= $1", &[&before])
        .await?;
    let sql = "INSERT INTO told (sender, name, at) VALUES ($1, $2, $3) ON CONFLICT (sender, name) DO NOTHING";
    let told = db
        .execute(sql, &[&text(&notice.to), &text(name), &at.as_millisecond()])
        .await?;
    Ok(told > 0)
}

/// Whether nobody was told of it lately; from now on somebody has. Unlike an old name it has a rhythm of its
/// own, so only its own row is looked at.
pub(super) async fn is_news(
    db: Db<'_>,
    unless: &UnlessTold,
    at: Timestamp,
) -> Result<bool, QueueError> {
    let before = (at - unless.at_most_every).as_millisecond();
    let sql = "INSERT INTO told (sender, name, at) VALUES ($1, $2, $3)
               ON CONFLICT (sender, name) DO UPDATE SET at = excluded.at WHERE told.at <= $4";
    let told = db
        .execute(
            sql,
            &[
                &text(&unless.to),
                &text(&unless.about),
                &at.as_millisecond(),
                &before,
            ],
        )
        .await?;
    Ok(told > 0)
}

/// What was counted, the most used name first.
pub(super) async fn list(db: Db<'_>, limit: usize) -> Result<Vec<OldNameCount>, QueueError> {
    let sql =
        "SELECT name, sum(uses)::bigint AS total, min(first_used), max(last_used) FROM old_name
               GROUP BY name ORDER BY total DESC, name LIMIT $1";
    let mut counts = Vec::new();
    for row in db.rows(sql, &[&limit_of(limit)]).await? {
        let name: String = row.get(0);
        let sql =
            "SELECT used_by FROM old_name WHERE name = $1 ORDER BY uses DESC, used_by LIMIT $2";
        let users = db.rows(sql, &[&name, &OLD_NAME_USERS]).await?;
        let sql =
            "SELECT mailbox, because FROM old_name WHERE name = $1 ORDER BY last_used DESC LIMIT 1";
        let last = db.row(sql, &[&name]).await?;
        let (mailbox, because) = last.map(|row| (row.get(0), row.get(1))).unwrap_or_default();
        counts.push(OldNameCount {
            name,
            uses: row.get(1),
            first_used: words::time(row.get(2)).to_string(),
            last_used: words::time(row.get(3)).to_string(),
            mailbox,
            because,
            used_by: users.iter().map(|row| row.get(0)).collect(),
        });
    }
    Ok(counts)
}
