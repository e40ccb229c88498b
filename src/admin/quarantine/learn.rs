//! What is let go on is learned from: each message is put into a folder that the learner empties.
//!
//! The contract is that of [`released`].

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::policy::spam::released;
use crate::queue::{DeliveryId, QueuedMessage};

/// Puts a message there that somebody wanted after all. Blocks.
///
/// # Errors
/// The folder cannot be written to: the message goes on all the same, and is not learned.
pub(super) fn as_ham(data: &Path, message: &QueuedMessage, delivery: DeliveryId) -> io::Result<()> {
    if message.patient_data {
        return Ok(());
    }
    let folder = data.join(released::FOLDER);
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

/// Files that may wait there.
const FILES_MAX: usize = 10_000;
