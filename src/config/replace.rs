//! Putting a new text in the place of a file, whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use crate::base::private;

/// Puts `text` in the place of a file, with the same owner and permissions: to a new file, synced,
/// renamed over the old one, and the folder synced. Whoever reads sees the one or the other, whole.
///
/// # Errors
/// The file is as it was, unless syncing the folder failed.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    // What a link points to is replaced, not the link.
    let path = &fs::canonicalize(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let temporary = folder.join(format!(".postern-{}.new", std::process::id()));
    let result = write_like(path, &temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if result.is_err() {
        // Whatever is left of it is of no use to anyone.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_like(model: &Path, path: &Path, text: &str) -> io::Result<()> {
    let like = fs::metadata(model)?;
    // Nobody else opens it for writing before it has the rights of the old one.
    let mut file = private::make_new(path)?;
    file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o777))?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        // A file that the gateway could not read any more would shut everyone out.
        chown(path, Some(like.uid()), Some(like.gid()))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
