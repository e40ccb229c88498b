//! Indexes in files: `<data>/directory/<key>.idx`, mapped into memory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::base::private;

use super::layout::{Checksum, HEADER, Key, Made, SUM, Sum};
use super::{Index, Octets};

/// Opens the index with this key; `None` if there is none, or none that can be believed.
pub(in crate::directory) fn open(folder: &Path, key: &Key) -> Option<Index> {
    let path = path_of(folder, key);
    let mut file = File::open(&path).ok()?;
    // Read, not mapped: pages that are only summed up need not stay in memory.
    let sum = checksum(&mut file).ok()?;
    let index = Octets::map(file).and_then(|octets| Index::new(octets, &sum, Some(key)));
    if index.is_none() {
        tracing::warn!(file = %path.display(), "this index of the directory is damaged: it is made anew");
    }
    index
}

/// Opens the index that was just written.
pub(in crate::directory) fn open_written(folder: &Path, key: &Key, sum: &Sum) -> Option<Index> {
    let file = File::open(path_of(folder, key)).ok()?;
    Index::unchecked(Octets::map(file)?, sum, Some(key))
}

/// Writes an index under its checksum, whole or not at all, readable for nobody else. Summing up and
/// writing take about as long, so they are done at once.
pub(in crate::directory) fn write(folder: &Path, key: &Key, made: &Made) -> io::Result<Sum> {
    private::folder(folder)?;
    let mut file = tempfile::Builder::new()
        .suffix(UNFINISHED)
        .tempfile_in(folder)?;
    let sum = std::thread::scope(|scope| {
        let sum = scope.spawn(|| made.sum());
        file.write_all(&made.header)?;
        for section in &made.sections {
            file.write_all(section)?;
        }
        sum.join()
            .map_err(|_| io::Error::other("the checksum panicked"))
    })?;
    file.as_file().write_all_at(&sum, SUM.start as u64)?;
    file.as_file().sync_all()?;
    file.persist(path_of(folder, key))?;
    File::open(folder)?.sync_all()?;
    Ok(sum)
}

/// Removes the indexes of other keys, and what a crash left unfinished. What cannot be removed is
/// in nobody's way.
pub(in crate::directory) fn remove_others(folder: &Path, key: &Key) {
    let keep = path_of(folder, key);
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        let ours = file
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(UNFINISHED) || name.ends_with(FINISHED));
        if ours && path != keep {
            let _ = fs::remove_file(path);
        }
    }
}

/// The digest of a table in a file, which is read once and not kept.
pub(in crate::directory) fn digest(table: &Path) -> io::Result<Sum> {
    let (mut file, mut hash) = (File::open(table)?, Sha256::new());
    each_piece(&mut file, |piece| hash.update(piece))?;
    Ok(hash.finalize().into())
}

fn checksum(file: &mut File) -> io::Result<Sum> {
    let mut header = Vec::with_capacity(HEADER);
    Read::by_ref(file)
        .take(HEADER as u64)
        .read_to_end(&mut header)?;
    let mut sum = Checksum::new(&header);
    each_piece(file, |piece| sum.add(piece))?;
    Ok(sum.finish())
}

fn each_piece(file: &mut File, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => each(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn path_of(folder: &Path, key: &Key) -> PathBuf {
    let name: String = key.iter().map(|octet| format!("{octet:02x}")).collect();
    folder.join(name + FINISHED)
}

/// How a file of an index ends, and how one that is being written.
const FINISHED: &str = ".idx";
const UNFINISHED: &str = ".idx.new";
/// Octets read at once.
const PIECE: usize = 256 << 10;
