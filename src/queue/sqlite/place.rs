//! Whether the database is still where it was opened. To a file that was deleted, moved or replaced everything can be
//! written as before, and the next start finds nothing of it.
//!
//! Three `stat` calls tell, a few microseconds beside the sync of a commit. They are made before anything new is taken, and
//! again after each commit, before anybody is told of it: so a 250 means that the file lay there when its message was
//! in it. Between the two lies the commit itself. What comes in just then is in the file that is gone and its client
//! hears 451: he sends again, and there may be two of it. What is deleted after the 250 nobody can help.
//!
//! It is told by device and inode: their numbers are given to no other file as long as this one is open. A file that
//! somebody overwrites where it lies is not noticed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::metrics;
use crate::queue::error::StoreError;
use crate::queue::spool;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// That of the file of this name, links followed.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Whether a database may be opened, or made, under this name.
///
/// # Errors
/// [`StoreError::Rescued`] while a copy lies in the folder that an orderly end has written: a start on whatever is there now would
/// take mail into what somebody then replaces by the copy, and remove the large messages that only the copy knows of.
/// [`StoreError::Missing`] if there is no database, or an empty file, and yet what lies beside one: what SQLite keeps
/// while it is open or was not closed, or large messages. The first thing in a new database is written without either.
pub(super) fn check_before_opening(database: &Path) -> Result<(), StoreError> {
    let path = |path: &Path| path.display().to_string();
    if let Some(rescued) = rescued(database) {
        return Err(StoreError::Rescued {
            path: path(&rescued),
        });
    }
    let is_there = fs::metadata(database).is_ok_and(|found| found.len() > 0);
    let large = database.with_file_name(spool::FOLDER);
    let has_large = || fs::read_dir(large).is_ok_and(|mut files| files.next().is_some());
    let has_beside = || BESIDE.iter().any(|end| beside(database, end).exists());
    match is_there || !(has_beside() || has_large()) {
        true => Ok(()),
        false => Err(StoreError::Missing {
            path: path(database),
        }),
    }
}

/// The first copy that an orderly end wrote into the folder of this database ([`rescue`](super::rescue)).
fn rescued(database: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(database.parent()?).ok()?.flatten();
    let mut names = files.map(|file| file.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(RESCUED) && name.ends_with(".sqlite")
    });
    names.next()
}

fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The files of a database, as they were when it was opened.
pub(super) struct Place {
    files: Vec<(PathBuf, Identity)>,
    /// Whether that was said already.
    is_gone: AtomicBool,
}

impl Place {
    /// The files of the database of this name, which is open. `before` is what had the name when it was not open yet.
    pub(super) fn of(database: &Path, before: Identity) -> Result<Self, StoreError> {
        let error = |error| StoreError::file(database, error);
        let mut files = vec![(database.to_owned(), before)];
        // SQLite follows links, and keeps its log beside the file itself.
        let itself = fs::canonicalize(database).map_err(error)?;
        for end in BESIDE {
            let path = beside(&itself, end);
            if let Ok(identity) = Identity::of(&path) {
                files.push((path, identity));
            }
        }
        let place = Self {
            files,
            is_gone: AtomicBool::new(false),
        };
        place.check().map(|()| place)
    }

    /// Errs with [`StoreError::Moved`] unless all files are where they were. Says so once, and once when they are back.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let is_there = |(path, identity): &(PathBuf, Identity)| {
            Identity::of(path).is_ok_and(|found| found == *identity)
        };
        let gone = self.files.iter().find(|file| !is_there(file));
        let was_gone = self.is_gone.swap(gone.is_some(), Ordering::SeqCst);
        match gone {
            Some((path, _)) => {
                let path = path.display().to_string();
                if !was_gone {
                    metrics::QUEUE_MOVED.set(1);
                    tracing::error!(path, "{GONE}");
                }
                Err(StoreError::Moved { path })
            }
            None => {
                if was_gone {
                    metrics::QUEUE_MOVED.set(0);
                    tracing::warn!(
                        "the queue's database is back where it was: mail is taken again"
                    );
                }
                Ok(())
            }
        }
    }
}

/// How the name of a copy begins.
pub(super) const RESCUED: &str = "queue.rescued-";
/// The ends of the names of SQLite's log and of its index.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// What happened and what to do.
const GONE: &str = "ALARM: the queue's database was deleted, moved or replaced under the gateway. No mail is taken now; what \
    waits is still delivered, from the file that is open. If it was moved, put it back, with its -wal and -shm: mail is \
    taken again. Otherwise stop the gateway (SIGTERM): it writes what it still has to queue.rescued-TIME.sqlite in the \
    data folder; put that in place of queue.sqlite, remove the -wal and -shm there, and start it. Killed, it loses what waits";
