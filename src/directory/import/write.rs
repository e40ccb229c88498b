//! Putting the new tables in the place of the old ones, each whole or not at all.
//!
//! `redirects.csv` goes first: if the machine stops between the two, old names lead to mailboxes that
//! are not there yet, while every mailbox that is still there comes before them; the next import
//! finishes the work. The other way round, names would be shut that lead nowhere.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::config::replace;
use crate::directory::sources::{Files, Sources};

use super::Prepared;

/// Why nothing was written, or not all.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody has changed a file since it was read. Nothing was written: import again.
    #[error("{path} has changed while the import was prepared: import again")]
    Changed {
        /// Which file.
        path: String,
    },
    /// Another import is writing. Nothing was written.
    #[error("another import is at work in {folder}")]
    Busy {
        /// Which folder.
        folder: String,
    },
    /// The import has redirects, and no file to hold them. Nothing was written.
    #[error(
        "there are redirects to write: name a file, redirects = \"redirects.csv\" under [files] in postern.toml"
    )]
    NoRedirectsFile,
    /// A file could not be written. Each is as it was or as it is to be.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// Writes what has changed, and returns the paths that were written. `sources` is what the import was
/// prepared from.
///
/// # Errors
/// See [`WriteError`].
pub fn write(
    prepared: &Prepared,
    files: &Files,
    sources: &Sources,
) -> Result<Vec<String>, WriteError> {
    let folder = files
        .mailboxes
        .parent()
        .filter(|path| !path.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let lock = File::open(folder).map_err(|error| failed(folder, error))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| WriteError::Busy {
        folder: folder.display().to_string(),
    })?;
    unchanged(&files.mailboxes, &sources.mailboxes.text)?;
    let mut written = Vec::new();
    if let Some(text) = &prepared.redirects {
        let path = files
            .redirects
            .as_ref()
            .ok_or(WriteError::NoRedirectsFile)?;
        let old = sources.redirects.as_ref().map_or("", |file| &file.text);
        unchanged(path, old)?;
        replace(path, text).map_err(|error| failed(path, error))?;
        written.push(path.display().to_string());
    }
    if let Some(text) = &prepared.mailboxes {
        let path = &files.mailboxes;
        replace(path, text).map_err(|error| failed(path, error))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

fn failed(path: &Path, error: io::Error) -> WriteError {
    WriteError::Io {
        path: path.display().to_string(),
        error,
    }
}

fn unchanged(path: &Path, text: &str) -> Result<(), WriteError> {
    let now = fs::read(path).map_err(|error| failed(path, error))?;
    if now == text.as_bytes() {
        return Ok(());
    }
    Err(WriteError::Changed {
        path: path.display().to_string(),
    })
}
