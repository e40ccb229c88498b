//! The table of contents of a ZIP archive: names and whether they are encrypted. Nothing is unpacked.
//!
//! Names come from the central directory at the end (APPNOTE 4.3.12), as programs that open archives
//! read it.

/// What the central directory says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directory {
    /// The names, in order; no more than [`ENTRIES_MAX`].
    pub(super) names: Vec<String>,
    /// Whether at least one entry is encrypted.
    pub(super) encrypted: bool,
}

impl Directory {
    /// Reads it; `None` if the archive is cut off or no archive.
    pub(super) fn read(archive: &[u8]) -> Option<Self> {
        let end = archive.len().checked_sub(END_OCTETS)?;
        let from = end.saturating_sub(usize::from(u16::MAX));
        let end = memchr::memmem::rfind(&archive[from..], b"PK\x05\x06")? + from;
        let size = usize::try_from(u32_at(archive, end + 12)?).ok()?;
        // Counted back from the end record, so that what stands before the archive does not matter.
        let mut at = end.checked_sub(size)?;
        let mut directory = Self::default();
        while archive.get(at..at + 4) == Some(b"PK\x01\x02") && directory.names.len() < ENTRIES_MAX
        {
            let length = |offset| Some(usize::from(u16_at(archive, at + offset)?));
            directory.encrypted |= u16_at(archive, at + 8)? & ENCRYPTED != 0;
            let name_end = at + HEADER_OCTETS + length(28)?;
            let name = archive.get(at + HEADER_OCTETS..name_end)?;
            directory
                .names
                .push(String::from_utf8_lossy(name).into_owned());
            at = name_end + length(30)? + length(32)?;
        }
        Some(directory)
    }

    /// Whether an entry has this name, in any case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names
            .iter()
            .any(|entry| entry.eq_ignore_ascii_case(name))
    }

    /// Whether a folder with this name is at the top.
    pub(super) fn has_folder(&self, folder: &str) -> bool {
        let folder = format!("{folder}/");
        self.names.iter().any(|entry| entry.starts_with(&folder))
    }

    /// Whether a file with this name lies in some folder.
    pub(super) fn has_file(&self, name: &str) -> bool {
        let is_it = |entry: &String| {
            let last = entry.rsplit(['/', '\\']).next().unwrap_or(entry);
            last.eq_ignore_ascii_case(name)
        };
        self.names.iter().any(is_it)
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    let octets = octets.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(octets.try_into().ok()?))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    let octets = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}

/// Entries that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// The general-purpose flag of an encrypted entry (APPNOTE 4.4.4).
const ENCRYPTED: u16 = 1;
/// The fixed part of a central header (APPNOTE 4.3.12).
const HEADER_OCTETS: usize = 46;
/// The end record without its comment (APPNOTE 4.3.16).
const END_OCTETS: usize = 22;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An archive of empty files, stored.
    pub(crate) fn archive(names: &[&str], flags: u16) -> Vec<u8> {
        let (mut out, mut central) = (Vec::new(), Vec::new());
        for name in names {
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            out.extend_from_slice(b"PK\x03\x04\x14\x00");
            out.extend_from_slice(&flags.to_le_bytes());
            out.extend_from_slice(&[0; 18]);
            out.extend_from_slice(&length);
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(name.as_bytes());
            central.extend_from_slice(b"PK\x01\x02\x14\x00\x14\x00");
            central.extend_from_slice(&flags.to_le_bytes());
            central.extend_from_slice(&[0; 18]);
            central.extend_from_slice(&length);
            central.extend_from_slice(&[0; 16]);
            central.extend_from_slice(name.as_bytes());
        }
        let size = u32::try_from(central.len()).unwrap().to_le_bytes();
        out.extend_from_slice(&central);
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&size);
        out.extend_from_slice(&[0; 6]);
        out
    }

    #[test]
    fn names_and_encryption_are_read() {
        let directory = Directory::read(&archive(&["a/b.txt", "C.exe"], 0)).unwrap();
        assert_eq!(directory.names, ["a/b.txt", "C.exe"]);
        assert!(!directory.encrypted && directory.has("c.EXE") && directory.has_folder("a"));
        assert!(directory.has_file("B.txt"));
        assert!(Directory::read(&archive(&["a"], 1)).unwrap().encrypted);
        let cut = archive(&["a", "b"], 0);
        assert_eq!(Directory::read(&cut[..cut.len() - 30]), None);
    }

    proptest! {
        #[test]
        fn any_octets_are_read(mut octets in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            Directory::read(&octets);
            octets.splice(at.min(octets.len()).., archive(&["x"], 0));
            let turn = at.min(octets.len());
            octets.rotate_left(turn);
            Directory::read(&octets);
        }
    }
}
