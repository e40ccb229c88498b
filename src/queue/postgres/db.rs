//! Statements: each prepared once for a connection, each bounded in time on both sides.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::queue::error::{QueueError, StoreError};

/// A connection, as those see it who ask something of it.
#[derive(Clone, Copy)]
pub(super) struct Db<'c>(pub(super) &'c ClientWrapper);

/// What a statement is given.
pub(super) type Values<'v> = &'v [&'v (dyn ToSql + Sync)];

impl Db<'_> {
    /// All rows.
    pub(super) async fn rows(self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, QueueError> {
        in_time(async {
            let statement = self.0.prepare_cached(sql).await?;
            self.0.query(&statement, values).await
        })
        .await
    }

    /// The one row, or none.
    pub(super) async fn row(
        self,
        sql: &str,
        values: Values<'_>,
    ) -> Result<Option<Row>, QueueError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The one row that there always is.
    pub(super) async fn one(self, sql: &str, values: Values<'_>) -> Result<Row, QueueError> {
        in_time(async {
            let statement = self.0.prepare_cached(sql).await?;
            self.0.query_one(&statement, values).await
        })
        .await
    }

    /// Runs it; how many rows it changed.
    pub(super) async fn execute(self, sql: &str, values: Values<'_>) -> Result<u64, QueueError> {
        in_time(async {
            let statement = self.0.prepare_cached(sql).await?;
            self.0.execute(&statement, values).await
        })
        .await
    }

    /// Runs statements that take and return nothing.
    pub(super) async fn run(self, sql: &str) -> Result<(), QueueError> {
        in_time(self.0.batch_execute(sql)).await
    }
}

/// Waits for the server, not for ever: it ends statements itself before that (`statement_timeout`), so who is silent
/// for longer is gone.
async fn in_time<T>(
    asked: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, QueueError> {
    match timeout(ANSWER_MAX, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::silent().into()),
    }
}

/// A text as PostgreSQL takes it: it knows no NUL in a text, and a header or a reply of somebody may have one.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// The same, if there is one.
pub(super) fn some_text(some: Option<&str>) -> Option<String> {
    some.map(text)
}

/// How long a statement may take by the server's clock.
pub(super) const STATEMENT_MAX: Duration = Duration::from_secs(30);
/// How long it waits for a lock of others.
pub(super) const LOCK_MAX: Duration = Duration::from_secs(20);
/// How long the server waits for the next word of a transaction: a gateway that has stopped must not stop the others.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long we wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(40);
