//! Which files of two policy folders differ, and what that means for mail that is gone.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::admin::answer::CommandError;

use super::Desk;

/// The names of the files that differ, as `[files]` of the gateway's own one has them.
pub(super) fn changed(desk: &Desk<'_>) -> Result<Vec<&'static str>, CommandError> {
    let [before, after] = [desk.before, desk.after].map(|policy| policy.files().texts());
    let mut changed = Vec::new();
    if differ(desk.mains[0], desk.mains[1])? {
        changed.push(MAIN);
    }
    for (name, path) in &before {
        let other = after.iter().find(|(other, _)| other == name);
        let differs = match other {
            Some((_, other)) => differ(path, other)?,
            None => true,
        };
        if differs {
            changed.push(*name);
        }
    }
    let is_new = |name: &&str| !before.iter().any(|(known, _)| known == name);
    changed.extend(after.iter().map(|(name, _)| *name).filter(is_new));
    Ok(changed)
}

/// What of the changed files was not asked about mail that is gone, in words.
pub(super) fn not_asked(changed: &[&'static str]) -> Vec<&'static str> {
    let asks = NEEDS_CONTENT.iter();
    asks.filter(|(name, _)| changed.contains(name))
        .map(|(_, words)| *words)
        .collect()
}

/// A directory can be large: it is read piece by piece.
fn differ(one: &Path, other: &Path) -> Result<bool, CommandError> {
    let open = |path: &Path| File::open(path).map_err(|error| CommandError::file(path, error));
    let (mut first, mut second) = (BufReader::new(open(one)?), BufReader::new(open(other)?));
    let (mut here, mut there) = ([0; PIECE], [0; PIECE]);
    loop {
        let read = fill(&mut first, &mut here).map_err(|error| CommandError::file(one, error))?;
        let also = fill(&mut second, &mut there);
        let also = also.map_err(|error| CommandError::file(other, error))?;
        if here[..read] != there[..also] {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
    }
}

/// As much as there is, up to the size of the piece.
fn fill(reader: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match reader.read(&mut piece[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What the gateway's own file is called here.
const MAIN: &str = "postern";
/// Octets compared at a time.
const PIECE: usize = 16 << 10;
/// Files whose rules read the message itself, and what of them stays as it is on record.
const NEEDS_CONTENT: [(&str, &str); 4] = [
    ("patient-data", "what patient data is found (patient-data)"),
    ("links", "attachments and links (links)"),
    (
        "scoring",
        "rules that are new or ask something else, and DMARC (scoring)",
    ),
    ("senders", "who the author is (senders)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_differ_by_their_octets_whatever_their_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, octets: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, octets).unwrap();
            path
        };
        let long = vec![b'x'; PIECE * 2];
        let (one, two) = (file("one", &long), file("two", &long));
        assert!(!differ(&one, &two).unwrap());
        let longer = file("longer", &[&long[..], b"y"].concat());
        assert!(differ(&one, &longer).unwrap() && differ(&longer, &one).unwrap());
        assert!(!differ(&file("a", b""), &file("b", b"")).unwrap());
        assert!(differ(&one, Path::new("/nowhere/x")).is_err());
    }
}
