//! A copy of a database whose file is gone, from the connection that still has it open.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::Connection;

use crate::base::private;
use crate::queue::error::{QueueError, StoreError};

use super::place::RESCUED;

/// Writes all that the connection sees to a new file of this folder, for its owner alone; on the disk when it returns.
/// Not to where the database lay: whatever is there by now is somebody's. It has its name once it is whole: a part of a
/// queue would stop the next start, and be put in place of all of it.
pub(super) fn rescue(
    db: &Connection,
    folder: &Path,
    now: Timestamp,
) -> Result<PathBuf, QueueError> {
    let path = folder.join(format!(
        "{RESCUED}{}.sqlite",
        now.strftime("%Y%m%dT%H%M%SZ")
    ));
    let part = path.with_extension("part");
    let failed = |error| StoreError::file(&path, error);
    // Made here, because SQLite would let others read it; it takes an empty file.
    private::make_new(&part).map_err(failed)?;
    if let Err(error) = db.execute("VACUUM INTO ?1", [part.to_string_lossy()]) {
        // Of no use to anybody, and perhaps what fills the disk. If it stays it is in nobody's way.
        let _ = fs::remove_file(&part);
        return Err(error.into());
    }
    name(&part, &path, folder).map_err(failed)?;
    Ok(path)
}

/// Gives a file that is written its name, in the same folder.
fn name(part: &Path, path: &Path, folder: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_whole_does_not_bear_the_name_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let now = "2026-11-22T07:00:00Z".parse().unwrap();
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE mail (octets BLOB); INSERT INTO mail VALUES (randomblob(300000)); BEGIN",
        )
        .unwrap();
        let names = || -> Vec<_> {
            let files = fs::read_dir(folder.path()).unwrap();
            files.map(|file| file.unwrap().file_name()).collect()
        };

        // Within a transaction there is no copy to be had, as there is none where the disk is full.
        assert!(rescue(&db, folder.path(), now).is_err());
        assert_eq!(names(), [""; 0]);

        db.execute_batch("COMMIT").unwrap();
        rescue(&db, folder.path(), now).unwrap();
        assert_eq!(names(), ["queue.rescued-20261122T070000Z.sqlite"]);
    }
}
