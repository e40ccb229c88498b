//! The rows of the audit trail (`queue::chain`), and the one that says where it ends.

use crate::queue::chain::{End, PAGE, Row, Walk, count};
use crate::queue::error::{QueueError, StoreError};
use crate::queue::store::{AuditEntry, Verified, hex};

use super::db::Db;
use super::schema;

/// An event on its way into the trail.
pub(super) struct Line {
    /// Its number.
    pub(super) id: i64,
    /// Its JSON.
    pub(super) event: String,
    /// Its hash.
    pub(super) hash: [u8; 32],
}

/// Where the trail ends. Until the transaction does, nobody else in the fleet writes.
pub(super) async fn lock_end(db: Db<'_>) -> Result<End, QueueError> {
    let sql = "SELECT id, hash, (SELECT version FROM postern_version WHERE one = 1)
               FROM audit_end WHERE one = 1 FOR UPDATE";
    let row = db.one(sql, &[]).await?;
    // Another gateway may have brought the tables to a version that this program does not know.
    schema::check(row.get::<_, Option<i64>>(2).unwrap_or(0))?;
    read_end(&row)
}

fn read_end(row: &tokio_postgres::Row) -> Result<End, QueueError> {
    let (row, what) = (row, "audit_end");
    let last = row.get(0);
    let hash = row.get::<_, &[u8]>(1).try_into();
    let hash = hash.map_err(|_| StoreError::Damaged { row: last, what })?;
    Ok(End { last, hash })
}

/// Writes these events, and where the trail ends with them.
pub(super) async fn write(db: Db<'_>, lines: &[Line], end: &End) -> Result<(), QueueError> {
    if lines.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = lines.iter().map(|line| line.id).collect();
    let events: Vec<&str> = lines.iter().map(|line| &*line.event).collect();
    let hashes: Vec<&[u8]> = lines.iter().map(|line| &line.hash[..]).collect();
    db.execute(
        "INSERT INTO audit (id, event, hash) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[])",
        &[&ids, &events, &hashes],
    )
    .await?;
    let sql = "UPDATE audit_end SET id = $1, hash = $2 WHERE one = 1";
    db.execute(sql, &[&end.last, &&end.hash[..]]).await?;
    Ok(())
}

/// The rows from `from` on, `limit` at most.
pub(super) async fn events(
    db: Db<'_>,
    from: i64,
    limit: usize,
) -> Result<Vec<AuditEntry>, QueueError> {
    let sql = "SELECT id, event, hash FROM audit WHERE id >= $1 ORDER BY id LIMIT $2";
    let rows = db.rows(sql, &[&from, &count(limit)]).await?;
    let entry = |row: &tokio_postgres::Row| {
        AuditEntry::new(
            row.get(0),
            row.get::<_, &str>(1).as_bytes(),
            hex(row.get(2)),
        )
    };
    Ok(rows.iter().map(entry).collect())
}

/// Goes over the whole chain, page by page.
pub(super) async fn verify(db: Db<'_>) -> Result<Verified, QueueError> {
    let end = read_end(&db.one("SELECT id, hash FROM audit_end", &[]).await?)?;
    let last = end.last;
    let before = db
        .one("SELECT min(id) FROM audit WHERE id < 1", &[])
        .await?;
    let mut walk = Walk::new(end, before.get(0));
    while let Some((after, end)) = walk.next() {
        let sql =
            "SELECT id, event, hash FROM audit WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
        let rows = db.rows(sql, &[&after, &end, &PAGE]).await?;
        if rows.is_empty() {
            break;
        }
        let row = |row: &tokio_postgres::Row| Row {
            id: row.get(0),
            event: row.get::<_, &str>(1).as_bytes().to_vec(),
            hash: row.get(2),
        };
        walk.step(rows.iter().map(row).collect());
    }
    let sql = "SELECT max(id) FROM audit WHERE id > $1 AND id > (SELECT id FROM audit_end)";
    let beyond = db.one(sql, &[&last]).await?;
    Ok(walk.finish(beyond.get(0)))
}
