//! A copy of a database whose file is gone, from the connection that still has it open.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::base::private;
use crate::queue::error::{QueueError, StoreError};

use super::place::RESCUED;

/// Writes all that the connection sees to a new file of this folder, for its owner alone; on the disk when it returns.
/// Not to where the database lay: whatever is there by now is somebody's.
pub(super) fn rescue(
    db: &Connection,
    folder: &Path,
    now: Timestamp,
) -> Result<PathBuf, QueueError> {
    let path = folder.join(format!(
        "{RESCUED}{}.sqlite",
        now.strftime("%Y%m%dT%H%M%SZ")
    ));
    let failed = |error| StoreError::file(&path, error);
    // Made here, because SQLite would let others read it; it takes an empty file.
    private::make_new(&path).map_err(failed)?;
    db.execute("VACUUM INTO ?1", [path.to_string_lossy()])?;
    sync(&path, folder).map_err(failed)?;
    Ok(path)
}

fn sync(path: &Path, folder: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    File::open(folder)?.sync_all()
}
