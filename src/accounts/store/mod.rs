//! What lasts of accounts: hashed secrets, counters, locks, in `<data>/accounts.db`.
//!
//! SQLite in WAL mode, every commit synced: a secret that was rotated away must not open anything after a power cut.
//! The gateway and the commands of administrators have it open at once, so what is asked is read from the file each
//! time: a rotated secret is in force with the next log-in. All methods block for a read (microseconds) or a synced
//! write (milliseconds).

mod certificates;
mod days;
mod locks;
mod secrets;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::base::private;

pub use certificates::SeenCertificate;
pub use days::{Day, today};
pub use secrets::{LiveSecret, NewSecret, Stored};

/// The database of accounts.
pub struct Store {
    connection: Mutex<Connection>,
    seed: [u8; 32],
}

impl Store {
    /// Opens it in the data folder, and makes it if there is none. Blocks.
    pub fn open(folder: &Path) -> Result<Self, AccountsDbError> {
        let path = folder.join(DATABASE);
        let failed = |source| AccountsDbError::File {
            path: path.clone(),
            source,
        };
        private::folder(folder).map_err(failed)?;
        private::make(&path).map_err(failed)?;
        Self::on(Connection::open(&path)?)
    }

    /// One that goes with the process: for tests.
    pub fn in_memory() -> Result<Self, AccountsDbError> {
        Self::on(Connection::open_in_memory()?)
    }

    fn on(mut connection: Connection) -> Result<Self, AccountsDbError> {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        let begun = TransactionBehavior::Immediate;
        let transaction = Transaction::new(&mut connection, begun)?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => {
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.execute_batch(include_str!("certificates.sql"))?;
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|_| AccountsDbError::Random)?;
                transaction.execute("INSERT INTO seed VALUES (1, ?1)", [key])?;
            }
            1 => {
                transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
                transaction.execute_batch(include_str!("certificates.sql"))?;
            }
            SCHEMA_VERSION => {}
            found => return Err(AccountsDbError::Version { found }),
        }
        let seed = transaction.query_row("SELECT key FROM seed", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok(Self {
            connection: Mutex::new(connection),
            seed,
        })
    }

    /// A key of this database alone.
    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// A statement that panics leaves the connection as good as it was.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Why the database of accounts could not do what was asked. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum AccountsDbError {
    /// SQLite failed.
    #[error("the database of accounts: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file cannot be made or opened.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer version of the program made it.
    #[error("the database of accounts has version {found}, this program knows {SCHEMA_VERSION}")]
    Version {
        /// The version in the file.
        found: i64,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

const DATABASE: &str = "accounts.db";
const SCHEMA_VERSION: i64 = 2;
/// How long another process may hold the write lock.
const BUSY: Duration = Duration::from_secs(10);
