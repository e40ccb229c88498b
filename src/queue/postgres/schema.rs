//! The tables, and which version of them there is.

use crate::queue::error::{QueueError, StoreError};

use super::db::Db;

/// Makes the tables of a new database and brings those of an older program up to date; says so if an old program
/// meets a newer one.
pub(super) async fn make(db: Db<'_>) -> Result<(), QueueError> {
    if found(db).await? == VERSION {
        return Ok(());
    }
    db.run("BEGIN").await?;
    let made = bring_up_to_date(db).await;
    let end = match made {
        Ok(()) => "COMMIT",
        Err(_) => "ROLLBACK",
    };
    made.and(db.run(end).await)
}

/// The first of two gateways does it; the other waits, and finds it done.
async fn bring_up_to_date(db: Db<'_>) -> Result<(), QueueError> {
    db.execute("SELECT pg_advisory_xact_lock($1, 0)", &[&LOCKS])
        .await?;
    let found = found(db).await?;
    let known = usize::try_from(found).ok();
    let Some(missing) = known.and_then(|known| SCHEMAS.get(known..)) else {
        return Err(newer(found));
    };
    for schema in missing {
        db.run(schema).await?;
    }
    db.run(&format!(
        "CREATE TABLE IF NOT EXISTS postern_version (one INTEGER PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL);
         INSERT INTO postern_version VALUES (1, {VERSION}) ON CONFLICT (one) DO UPDATE SET version = {VERSION}"
    ))
    .await
}

/// The version of the tables; 0 if there are none.
async fn found(db: Db<'_>) -> Result<i64, QueueError> {
    // Not `to_regclass`: a session remembers that there was no such table, even while it waits for who makes it.
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_class
                              WHERE relname = 'postern_version' AND pg_table_is_visible(oid))";
    let exists = db.one(sql, &[]).await?;
    if !exists.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = db.row("SELECT version FROM postern_version", &[]).await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

/// Errs unless the tables are those of this program.
pub(super) fn check(found: i64) -> Result<(), QueueError> {
    match found == VERSION {
        true => Ok(()),
        false => Err(newer(found)),
    }
}

fn newer(found: i64) -> QueueError {
    let known = VERSION;
    StoreError::Version { found, known }.into()
}

const VERSION: i64 = 2;
/// What each version adds to the one before it.
const SCHEMAS: [&str; 2] = [
    include_str!("../schema/postgres.sql"),
    include_str!("../schema/postgres-2.sql"),
];
/// Our advisory locks in a database that may have others: the first of their two numbers.
pub(super) const LOCKS: i32 = 0x504F_5354;
