//! Finding events: by reference, address, Message-ID or time. The trail has no index (`queue::search`).

use rusqlite::{Connection, params};

use crate::queue::error::QueueError;
use crate::queue::gathering::Gathering;
use crate::queue::search::{Filter, STRETCH, STRETCH_ROWS, Search, Stretch, stretch};
use crate::queue::store::{AuditEntry, TraceQuery};

use super::audit;

/// Writes the filters of stretches that have become full: those that were gathered, and those of rows that are read.
pub(super) fn seal_stretches(
    db: &Connection,
    end: i64,
    gathering: &mut Gathering,
) -> Result<(), QueueError> {
    if end < STRETCH {
        return Ok(());
    }
    let mut sealed = last_sealed(db)?;
    while end - sealed >= STRETCH {
        if let Some(Stretch { filter, times }) = gathering.take(sealed + 1) {
            sealed += STRETCH;
            write(db, sealed, &filter, times)?;
            continue;
        }
        let rows = audit::events(db, sealed + 1, STRETCH_ROWS)?;
        let Some(last) = rows.last().map(|row| row.number) else {
            return Ok(());
        };
        let (filter, times) = stretch(&rows);
        write(db, last, &filter, times)?;
        sealed = last;
    }
    Ok(())
}

fn write(db: &Connection, last: i64, filter: &Filter, times: (i64, i64)) -> Result<(), QueueError> {
    db.prepare_cached(
        "INSERT INTO audit_stretch (last, earliest, latest, filter) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![last, times.0, times.1, filter.0])?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Clock, Reference};
    use crate::outcome::audit::{AuditEvent, AuditKind};
    use crate::queue::sqlite::SqliteStore;

    async fn append(store: &SqliteStore, count: i64, keep: bool) {
        let done = store.write(move |batch| {
            for _ in 0..count {
                let reference = Reference::random();
                let sender = format!("{reference}@b.example");
                let at = Clock::system().now();
                batch.append(&AuditEvent::new(at, reference, AuditKind::Received, sender))?;
            }
            match keep {
                true => Ok(()),
                false => Err(QueueError::Served),
            }
        });
        assert_eq!(done.await.is_ok(), keep);
    }

    /// The filters, and those of the rows as they are read.
    async fn filters(store: &SqliteStore) -> Vec<(Vec<u8>, Vec<u8>)> {
        let read = store.read(|db| {
            let mut statement = db.prepare("SELECT last, filter FROM audit_stretch")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
            let of_rows = |last| audit::events(db, last - STRETCH + 1, STRETCH_ROWS);
            let both = rows
                .into_iter()
                .map(|(last, filter)| Ok((filter, stretch(&of_rows(last)?).0.0)));
            both.collect()
        });
        read.await.unwrap()
    }

    #[tokio::test]
    async fn filters_are_those_of_the_rows_whoever_wrote_them() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SqliteStore::open(folder.path(), Clock::system()).unwrap();
        let (here, beside) = (open(), open());
        append(&here, 700, true).await;
        append(&beside, 5, true).await; // by a command of an administrator
        append(&here, 500, true).await; // into the second stretch
        append(&here, 3 * STRETCH, true).await; // ends in the fifth
        here.writer.close().await;
        let again = open(); // in the midst of it
        append(&again, 2 * STRETCH, true).await;
        let filters = filters(&again).await;
        assert_eq!(filters.len(), 6);
        for (written, read) in filters {
            assert!(written == read);
        }
    }

    #[tokio::test]
    async fn what_was_taken_back_takes_nothing_out_of_a_filter() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path(), Clock::system()).unwrap();
        append(&store, 20, true).await;
        append(&store, 30, false).await;
        append(&store, STRETCH, true).await;
        append(&store, 2 * STRETCH, false).await;
        append(&store, STRETCH, true).await;
        let filters = filters(&store).await;
        assert_eq!(filters.len(), 2);
        for (written, read) in filters {
            let has_all = |(written, read): (&u8, &u8)| written & read == *read;
            assert!(written.iter().zip(&read).all(has_all));
        }
    }
}
