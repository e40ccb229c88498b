//! Finding events: by reference, address, Message-ID or time. The trail has no index (`queue::search`).

use crate::queue::error::QueueError;
use crate::queue::search::{Filter, STRETCH, STRETCH_ROWS, Search, stretch};
use crate::queue::store::{AuditEntry, TraceQuery};

use super::audit;
use super::db::Db;

/// Writes the filters of stretches that have become full.
pub(super) async fn seal_stretches(db: Db<'_>, end: i64) -> Result<(), QueueError> {
    if end < STRETCH {
        return Ok(());
    }
    let sql = "SELECT coalesce(max(last), 0) FROM audit_stretch";
    let mut sealed: i64 = db.one(sql, &[]).await?.get(0);
    while end - sealed >= STRETCH {
        let rows = audit::events(db, sealed + 1, STRETCH_ROWS).await?;
        let Some(last) = rows.last().map(|row| row.number) else {
            return Ok(());
        };
        let (filter, times) = stretch(&rows);
        let sql =
            "INSERT INTO audit_stretch (last, earliest, latest, filter) VALUES ($1, $2, $3, $4)";
        db.execute(sql, &[&last, &times.0, &times.1, &filter.0])
            .await?;
        sealed = last;
    }
    Ok(())
}

/// The events that the query finds, oldest first, and the damaged rows that were met on the way.
pub(super) async fn trace(
    db: Db<'_>,
    query: &TraceQuery,
    limit: usize,
) -> Result<Vec<AuditEntry>, QueueError> {
    let search = Search::new(query);
    let mut found = Vec::new();
    let mut first = 1;
    loop {
        let page = stretches(db, &search, first).await?;
        if page.is_empty() {
            break;
        }
        for (last, may_hold) in page {
            if may_hold {
                collect(db, &search, (first, last), limit, &mut found).await?;
            }
            first = last + 1;
            if found.len() >= limit {
                return Ok(found);
            }
        }
    }
    collect(db, &search, (first, i64::MAX), limit, &mut found).await?;
    Ok(found)
}

/// The next stretches' last rows, and whether they may hold what is searched for.
async fn stretches(
    db: Db<'_>,
    search: &Search,
    first: i64,
) -> Result<Vec<(i64, bool)>, QueueError> {
    let sql = "SELECT last, earliest, latest, filter FROM audit_stretch WHERE last >= $1 ORDER BY last LIMIT $2";
    let rows = db.rows(sql, &[&first, &STRETCHES]).await?;
    let judged = rows.iter().map(|row| {
        let filter = Filter(row.get(3));
        (
            row.get(0),
            search.may_be_in(row.get(1), row.get(2), &filter),
        )
    });
    Ok(judged.collect())
}

async fn collect(
    db: Db<'_>,
    search: &Search,
    (first, last): (i64, i64),
    limit: usize,
    found: &mut Vec<AuditEntry>,
) -> Result<(), QueueError> {
    let mut next = first;
    while next <= last && found.len() < limit {
        let rows = audit::events(db, next, STRETCH_ROWS).await?;
        let Some(end) = rows.last().map(|row| row.number) else {
            break;
        };
        next = end + 1;
        let wanted = rows
            .into_iter()
            .filter(|row| row.number <= last && search.matches(row));
        found.extend(wanted.take(limit - found.len()));
    }
    Ok(())
}

/// Filters that are read at once: a mebibyte and a half.
const STRETCHES: i64 = 256;
