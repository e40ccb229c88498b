//! Files and folders for the gateway's own user alone, whatever the user's mask. A database gets its file so before SQLite opens it;
//! SQLite gives its log the same rights.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes a file for its owner alone, if there is none. One that is there stays as it is.
///
/// # Errors
/// It cannot be made, or not be opened.
pub fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(OWNER_ALONE);
    options.open(path)
}

/// Makes a new file for its owner alone, and never over one that is there.
///
/// # Errors
/// There is one, or it cannot be made.
pub fn make_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(OWNER_ALONE);
    options.open(path)
}

/// As [`make`]; one that is there, of an older program, is its owner's alone from now on.
///
/// # Errors
/// As [`make`]; or the file is another's.
pub fn keep(path: &Path) -> io::Result<()> {
    make(path)?.set_permissions(Permissions::from_mode(OWNER_ALONE))
}

/// Makes a folder for its owner alone, and those that it lies in; one that is there stays as it is.
///
/// # Errors
/// It cannot be made.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_OF_OWNER)
        .create(path)
}

const OWNER_ALONE: u32 = 0o600;
const FOLDER_OF_OWNER: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_its_owner_alone_and_keeps_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        make(&path).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        make(&path).unwrap();
        assert_eq!(mode(), 0o640);
        keep(&path).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"x");
        let inner = folder.path().join("a/b");
        super::folder(&inner).unwrap();
        super::folder(&inner).unwrap();
        for made in [&inner, &folder.path().join("a")] {
            assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
