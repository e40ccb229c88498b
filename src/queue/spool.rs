//! Files of large messages: beside the database, not in it.
//!
//! A file is written and synced, and its folder too, before the row that names it is committed; it
//! is removed after the row is gone. So a row always has its file, and what a crash leaves over is
//! a file without a row, which [`Spool::remove_orphans`] takes away. Readers map the file: a large message in
//! hand costs address space, not memory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Reference;
use crate::mail::Message;

use super::error::{QueueError, StoreError};
use super::record::Accepted;

/// The folder of large messages. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    folder: Arc<PathBuf>,
}

/// A message on its way into the database, and the file that has its octets if it is large.
pub(super) struct Placed {
    /// The message; its octets are mapped from the file if there is one.
    pub(super) accepted: Accepted,
    /// The name of the file.
    pub(super) file: Option<String>,
}

/// The names of the files that were written for these messages.
pub(super) fn files_of(placed: &[Placed]) -> Vec<String> {
    placed.iter().filter_map(|one| one.file.clone()).collect()
}

/// The octets of these messages, all together.
pub(super) fn octets_of(accepted: &[Accepted]) -> u64 {
    accepted.iter().map(|one| one.message.len() as u64).sum()
}

impl Spool {
    /// Opens `folder/spool`, and makes both for this user alone if there are none.
    pub(super) fn open(folder: &Path) -> Result<Self, QueueError> {
        let folder = folder.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| StoreError::file(&folder, error))?;
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// Returns `Full` unless the volume has room for so many octets and what must stay free.
    pub(super) fn check_room(&self, octets: u64) -> Result<(), QueueError> {
        let needed_octets = octets.saturating_add(RESERVE_OCTETS);
        let volume = rustix::fs::statvfs(&*self.folder)
            .map_err(|error| StoreError::file(&self.folder, error.into()))?;
        let free_octets = volume.f_bavail.saturating_mul(volume.f_frsize);
        if free_octets < needed_octets {
            return Err(QueueError::Full {
                free_octets,
                needed_octets,
            });
        }
        Ok(())
    }

    /// Writes the large ones among the messages to files; durable when it returns.
    pub(super) async fn put_large(
        &self,
        accepted: Vec<Accepted>,
    ) -> Result<Vec<Placed>, QueueError> {
        let is_large = |one: &Accepted| one.message.len() > LARGE_OCTETS;
        if !accepted.iter().any(is_large) {
            let in_row = |accepted| Placed {
                accepted,
                file: None,
            };
            return Ok(accepted.into_iter().map(in_row).collect());
        }
        let spool = self.clone();
        let put = tokio::task::spawn_blocking(move || {
            let place = |mut accepted: Accepted| {
                let mut file = None;
                if is_large(&accepted) {
                    let name = spool.put(&accepted.message)?;
                    accepted.message = spool.read(&name)?;
                    file = Some(name);
                }
                Ok(Placed { accepted, file })
            };
            accepted.into_iter().map(place).collect()
        });
        put.await.map_err(|_| StoreError::Ended)?
    }

    fn put(&self, message: &Message) -> Result<String, QueueError> {
        let (name, path, mut file) = self.create()?;
        let written = file
            .write_all(message.octets())
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(&*self.folder)?.sync_all());
        match written {
            Ok(()) => Ok(name),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(match error.kind() {
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => QueueError::Full {
                        free_octets: 0,
                        needed_octets: message.len() as u64,
                    },
                    _ => StoreError::file(&path, error).into(),
                })
            }
        }
    }

    fn create(&self) -> Result<(String, PathBuf, File), QueueError> {
        loop {
            let name = format!("{}.eml", Reference::random());
            let path = self.folder.join(&name);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match file {
                Ok(file) => return Ok((name, path, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StoreError::file(&path, error).into()),
            }
        }
    }

    /// Maps a file.
    pub(super) fn read(&self, name: &str) -> Result<Message, QueueError> {
        let path = self.folder.join(name);
        let file = File::open(&path).map_err(|error| StoreError::file(&path, error))?;
        let message = map(&file).map_err(|error| StoreError::file(&path, error))?;
        Ok(message)
    }

    /// Removes files that no row names any more. One that stays behind is an orphan at the next start.
    pub(super) fn remove<'n>(&self, names: impl IntoIterator<Item = &'n String>) {
        for name in names {
            if let Err(error) = fs::remove_file(self.folder.join(name)) {
                tracing::warn!(file = %name, %error, "a file of the spool could not be removed");
            }
        }
    }

    /// The names of all files.
    pub(super) async fn files(&self) -> Result<Vec<String>, QueueError> {
        let folder = Arc::clone(&self.folder);
        let list = tokio::task::spawn_blocking(move || {
            let names = fs::read_dir(&*folder)?.map(|entry| {
                let name = entry?.file_name();
                Ok(name.to_string_lossy().into_owned())
            });
            names.collect::<std::io::Result<Vec<String>>>()
        });
        let names = list.await.map_err(|_| StoreError::Ended)?;
        Ok(names.map_err(|error| StoreError::file(&self.folder, error))?)
    }

    /// Removes what is in `on_disk` and not in `known`.
    pub(super) async fn remove_orphans(&self, on_disk: Vec<String>, known: &HashSet<String>) {
        let orphans: Vec<String> = on_disk
            .into_iter()
            .filter(|name| !known.contains(name))
            .collect();
        if !orphans.is_empty() {
            tracing::info!(
                files = orphans.len(),
                "removing files of messages that were never accepted"
            );
            let spool = self.clone();
            // Ends early only with the process; the next start goes on.
            let _ = tokio::task::spawn_blocking(move || spool.remove(&orphans)).await;
        }
    }
}

/// Maps a file that nobody changes any more.
pub(super) fn map(file: &File) -> std::io::Result<Message> {
    #[expect(
        unsafe_code,
        reason = "a mapping is sound while nobody changes the file: ours are written once, before they get their \
                  name in the database or without ever having a name, and then only removed, which leaves mappings \
                  as they are"
    )]
    let map = unsafe { memmap2::Mmap::map(file) }?;
    Ok(Message::new(Bytes::from_owner(map)))
}

/// The folder of large messages, beside the database.
pub(super) const FOLDER: &str = "spool";
/// Messages over this do not lie in their row. Below it, one write to the log is cheaper than two syncs.
pub(super) const LARGE_OCTETS: usize = 256 << 10;
/// What must stay free on the volume after a message is accepted: attempts are settled, and the
/// log of the database is written back, in it.
const RESERVE_OCTETS: u64 = 64 << 20;
