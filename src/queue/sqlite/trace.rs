//! Finding events: by reference, address, Message-ID or time. The trail has no index (`queue::search`).

use rusqlite::{Connection, params};

use crate::queue::error::QueueError;
use crate::queue::search::{Filter, STRETCH, STRETCH_ROWS, Search, stretch};
use crate::queue::store::{AuditEntry, TraceQuery};

use super::audit;

/// Writes the filters of stretches that have become full.
pub(super) fn seal_stretches(db: &Connection, end: i64) -> Result<(), QueueError> {
    if end < STRETCH {
        return Ok(());
    }
    let mut sealed = last_sealed(db)?;
    while end - sealed >= STRETCH {
        let rows = audit::events(db, sealed + 1, STRETCH_ROWS)?;
        let Some(last) = rows.last().map(|row| row.number) else {
            return Ok(());
        };
        let (filter, times) = stretch(&rows);
        db.prepare_cached(
            "INSERT INTO audit_stretch (last, earliest, latest, filter) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![last, times.0, times.1, filter.0])?;
        sealed = last;
    }
    Ok(())
}

/// The events that the query finds, oldest first, and the damaged rows that were met on the way.
pub(super) fn trace(
    db: &Connection,
    query: &TraceQuery,
    limit: usize,
) -> Result<Vec<AuditEntry>, QueueError> {
    let search = Search::new(query);
    let mut found = Vec::new();
    let mut first = 1;
    for (last, may_hold) in stretches(db, &search)? {
        if may_hold {
            collect(db, &search, first, last, limit, &mut found)?;
        }
        first = last + 1;
        if found.len() >= limit {
            return Ok(found);
        }
    }
    collect(db, &search, first, i64::MAX, limit, &mut found)?;
    Ok(found)
}

fn last_sealed(db: &Connection) -> Result<i64, QueueError> {
    let mut statement = db.prepare_cached("SELECT coalesce(max(last), 0) FROM audit_stretch")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Each stretch's last row, and whether it may hold what is searched for.
fn stretches(db: &Connection, search: &Search) -> Result<Vec<(i64, bool)>, QueueError> {
    let mut statement = db
        .prepare_cached("SELECT last, earliest, latest, filter FROM audit_stretch ORDER BY last")?;
    let rows = statement.query_map([], |row| {
        let (earliest, latest): (i64, i64) = (row.get(1)?, row.get(2)?);
        let filter = Filter(row.get(3)?);
        Ok((row.get(0)?, search.may_be_in(earliest, latest, &filter)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn collect(
    db: &Connection,
    search: &Search,
    first: i64,
    last: i64,
    limit: usize,
    found: &mut Vec<AuditEntry>,
) -> Result<(), QueueError> {
    let mut next = first;
    while next <= last && found.len() < limit {
        let rows = audit::events(db, next, STRETCH_ROWS)?;
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
