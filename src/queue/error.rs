//! Why the queue could not do what was asked: one variant for each thing that a caller does differently.

use super::record::Repeated;

/// Why the queue could not do what was asked. In every case but a lost answer nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The volume is nearly full. Nothing was written; the client keeps the message.
    #[error("queue volume has {free_octets} octets free, {needed_octets} are needed")]
    Full {
        /// Free on the volume, in octets.
        free_octets: u64,
        /// Size of the message and of what must stay free, in octets.
        needed_octets: u64,
    },

    /// The message was accepted before, under the same key: nothing was written.
    #[error("the message came before as {}", .0.reference)]
    Repeated(Box<Repeated>),

    /// Another process runs the scheduler of this queue.
    #[error("another process serves this queue")]
    Served,

    /// The database failed. Whether a write took effect is unknown until it is read back.
    #[error("queue database failed")]
    Store(#[from] StoreError),
}

/// What failed underneath. For the operator: its text never goes to a peer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),

    /// PostgreSQL failed, or cannot be reached. Nothing of what was asked took effect.
    #[error("PostgreSQL: {what} ({code})")]
    Postgres {
        /// Its code (SQLSTATE), or a word of our own.
        code: String,
        /// In its own words, without the details: those repeat what was written.
        what: String,
    },

    /// The server of the database is not one to trust with mail.
    #[error("the database server: {0}")]
    Unsafe(String),

    /// The folder of the queue or a file of a large message could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },

    /// A file of the database is not the one that was opened: it was deleted, moved or replaced. What is written to it now
    /// is not found at the next start.
    #[error("{path} is not the file that was opened: it was deleted, moved or replaced")]
    Moved {
        /// Which.
        path: String,
    },

    /// The log of a database is there, and the database is not: it was deleted or moved, perhaps under a gateway that runs.
    /// A new one in its place would take the log away.
    #[error(
        "{path} was deleted or moved: files that belong to it (-wal, -shm, large messages in spool/) are there and it is not"
    )]
    Missing {
        /// The database.
        path: String,
    },

    /// A copy of a queue lies there that was written when its database was gone, and nobody has put it back.
    #[error(
        "{path} has the mail that waited when the queue's database was taken away, and is not in its place"
    )]
    Rescued {
        /// The copy.
        path: String,
    },

    /// A row holds what this program never writes.
    #[error("row {row} of the queue is damaged: {what}")]
    Damaged {
        /// Its number.
        row: i64,
        /// Which column.
        what: &'static str,
    },

    /// The database was made by a newer version of the program.
    #[error("the database has version {found}, this program knows {known}")]
    Version {
        /// The version in the file.
        found: i64,
        /// The version in the program.
        known: i64,
    },

    /// The job was not run, or broke off and was taken back: no transaction could begin, it panicked, or the process is
    /// going down.
    #[error("the queue's writer could not begin, broke off, or has ended")]
    Ended,

    /// The commit of a batch failed, and with it every job in it; or its file was gone after it. What was written may be
    /// there all the same.
    #[error("commit failed: {0}")]
    Commit(String),
}

impl QueueError {
    /// The error, or what it came from where it says no more than that something did: for the log.
    pub fn to_text(&self) -> String {
        match self {
            Self::Store(cause) => cause.to_string(),
            error => error.to_string(),
        }
    }
}

impl StoreError {
    /// The server said nothing in time.
    pub(super) fn silent() -> Self {
        Self::Postgres {
            code: "silent".to_owned(),
            what: "no answer in time".to_owned(),
        }
    }

    /// The server cannot be trusted, and why.
    pub(super) fn unsafe_server(why: String) -> Self {
        Self::Unsafe(why)
    }

    /// An error of a file, with its name.
    pub(super) fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            error,
        }
    }
}

impl From<rusqlite::Error> for QueueError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full {
                free_octets: 0,
                needed_octets: 0,
            },
            _ => Self::Store(StoreError::Sqlite(error)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        use std::error::Error as _;
        match error.as_db_error() {
            // Its detail would repeat a row: addresses, octets of a message.
            Some(db) => Self::Postgres {
                code: db.code().code().to_owned(),
                what: db.message().to_owned(),
            },
            None => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                Self::Postgres {
                    code: "connection".to_owned(),
                    what: format!("{error}{}", cause.unwrap_or_default()),
                }
            }
        }
    }
}

impl From<tokio_postgres::Error> for QueueError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&tokio_postgres::error::SqlState::DISK_FULL) => Self::Full {
                free_octets: 0,
                needed_octets: 0,
            },
            _ => Self::Store(error.into()),
        }
    }
}
