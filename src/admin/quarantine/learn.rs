//! What is let go on is learned from: each message is put into a folder that the learner empties.
//!
//! The contract: `learn/ham/` in the data folder holds one file for each release, named
//! `REFERENCE-DELIVERY.eml`, the message as it was delivered. A file appears there whole, under its last name;
//! names that begin with a dot are not done yet. Whoever learns from a file removes it. Messages that hold
//! patient data, or may, are never put there.

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::queue::{DeliveryId, QueuedMessage};

/// Puts a message there that somebody wanted after all. Blocks.
///
/// # Errors
/// The folder cannot be written to: the message goes on all the same, and is not learned.
pub(super) fn as_ham(data: &Path, message: &QueuedMessage, delivery: DeliveryId) -> io::Result<()> {
    if message.patient_data {
        return Ok(());
    }
    let folder = data.join(FOLDER);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder)?;
    if std::fs::read_dir(&folder)?.take(FILES_MAX).count() == FILES_MAX {
        return Err(io::Error::other("nobody takes away what is to be learned"));
    }
    // Mode 0600, and a name that begins with a dot.
    let mut file = tempfile::NamedTempFile::new_in(&folder)?;
    file.write_all(message.message.octets())?;
    let name = format!("{}-{}.eml", message.reference, delivery.0);
    file.persist(folder.join(name))?;
    Ok(())
}

/// Below the data folder.
const FOLDER: &str = "learn/ham";
/// Files that may wait there.
const FILES_MAX: usize = 10_000;
