//! ZIP archives: the table of contents, and the octets of one entry.
//!
//! Entries come from the central directory at the end (APPNOTE 4.3.12), as programs that open archives
//! read them. What stands between the entries and is none of them is [`Directory::hides`]: another
//! program might find it.

use std::collections::HashSet;

use super::unpack::{self, Budget, Stopped};

/// What the central directory says.
#[derive(Default)]
pub(super) struct Directory {
    /// The entries, in order; no more than [`ENTRIES_MAX`].
    pub(super) entries: Vec<Entry>,
    /// Whether at least one entry is encrypted.
    pub(super) encrypted: bool,
    /// Whether there are entries that are not in it, or more than are looked at.
    pub(super) hides: bool,
    /// Where the end record stands, in octets from the start of the file.
    end: usize,
}

/// One file, or folder, of an archive.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) encrypted: bool,
    /// How it is packed (APPNOTE 4.4.5).
    method: u16,
    /// Its size in the archive, in octets, as it says.
    packed: usize,
    /// Where its local and its central header stand, in octets from the start of the file.
    header: usize,
    central: usize,
}

impl Directory {
    /// Reads it; `None` if the archive is cut off or no archive.
    pub(super) fn read(archive: &[u8]) -> Option<Self> {
        let end = archive.len().checked_sub(END_OCTETS)?;
        let from = end.saturating_sub(usize::from(u16::MAX));
        let end = memchr::memmem::rfind(&archive[from..], b"PK\x05\x06")? + from;
        let size = usize::try_from(u32_at(archive, end + 12)?).ok()?;
        // Counted back from the end record, so that what stands before the archive does not matter.
        let start = end.checked_sub(size)?;
        let before = start.saturating_sub(usize::try_from(u32_at(archive, end + 16)?).ok()?);
        let mut directory = Self {
            end,
            ..Self::default()
        };
        let mut at = start;
        while archive.get(at..at + 4) == Some(b"PK\x01\x02") {
            if directory.entries.len() == ENTRIES_MAX {
                directory.hides = true;
                return Some(directory);
            }
            let (entry, next) = Entry::read(archive, at, before)?;
            directory.encrypted |= entry.encrypted;
            directory.entries.push(entry);
            at = next;
        }
        directory.hides = directory.has_strays(&archive[..start]);
        Some(directory)
    }

    /// What is said of the archive and of its entries, in lines: comments, and what else they are called, by programs
    /// that read archives from their start and by those that know a name or comment in UTF-8 (APPNOTE 4.6.8, 4.6.9).
    ///
    /// Hardly more than `octets_max`. Headers that lie in each other say no more than the archive has octets.
    pub(super) fn said(&self, archive: &[u8], octets_max: usize) -> Said {
        let mut said = Said {
            text: String::new(),
            whole: true,
            left: archive.len(),
            octets_max,
        };
        said.add(archive.get(self.end + END_OCTETS..).unwrap_or_default());
        let mut headers = HashSet::new();
        for entry in &self.entries {
            said.add(entry.comment(archive).unwrap_or_default());
            if headers.insert(entry.header) {
                said.add_name(entry.local_name(archive).unwrap_or_default(), entry);
            }
            let mut extra = entry.extra(archive).unwrap_or_default();
            while let (Some(id), Some(octets)) = (u16_at(extra, 0), u16_at(extra, 2)) {
                let end = extra.len().min(4 + usize::from(octets));
                let (field, rest) = extra.split_at(end);
                extra = rest;
                if UNICODE.contains(&id) {
                    said.add_name(field.get(4 + UNICODE_OCTETS..).unwrap_or_default(), entry);
                }
            }
        }
        said
    }

    /// Whether a local header stands outside all entries.
    fn has_strays(&self, archive: &[u8]) -> bool {
        let mut taken: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.range(archive))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if start > at && has_header(&archive[at..start]) {
                return true;
            }
            at = at.max(end);
        }
        archive.get(at..).is_some_and(has_header)
    }

    /// The names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Whether an entry has this name, in any case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|entry| entry.eq_ignore_ascii_case(name))
    }

    /// Whether a folder with this name is at the top.
    pub(super) fn has_folder(&self, folder: &str) -> bool {
        let folder = format!("{folder}/");
        self.names().any(|entry| entry.starts_with(&folder))
    }

    /// Whether a file with this name lies in some folder.
    pub(super) fn has_file(&self, name: &str) -> bool {
        self.names().any(|entry| {
            let last = entry.rsplit(['/', '\\']).next().unwrap_or(entry);
            last.eq_ignore_ascii_case(name)
        })
    }
}

/// What is said of an archive.
pub(super) struct Said {
    pub(super) text: String,
    /// Whether it is all of it.
    pub(super) whole: bool,
    /// Octets that may still be looked at.
    left: usize,
    octets_max: usize,
}

impl Said {
    fn add_name(&mut self, name: &[u8], entry: &Entry) {
        if self.whole && String::from_utf8_lossy(name) != entry.name.as_str() {
            self.add(name);
        }
    }

    fn add(&mut self, words: &[u8]) {
        if words.trim_ascii().is_empty() {
            return;
        }
        if words.len() > self.left || self.text.len() > self.octets_max {
            self.whole = false;
            return;
        }
        self.left -= words.len();
        let words = String::from_utf8_lossy(words);
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&words);
    }
}

impl Entry {
    /// Reads the central header at `at`: the entry, and where the next one begins. `before` octets stand before
    /// the archive.
    fn read(archive: &[u8], at: usize, before: usize) -> Option<(Self, usize)> {
        let length = |offset| Some(usize::from(u16_at(archive, at + offset)?));
        let long = |offset| usize::try_from(u32_at(archive, at + offset)?).ok();
        let name_end = at + HEADER_OCTETS + length(28)?;
        let name = archive.get(at + HEADER_OCTETS..name_end)?;
        let entry = Self {
            name: String::from_utf8_lossy(name).into_owned(),
            encrypted: u16_at(archive, at + 8)? & ENCRYPTED != 0,
            method: u16_at(archive, at + 10)?,
            packed: long(20)?,
            header: before.saturating_add(long(42)?),
            central: at,
        };
        Some((entry, name_end + length(30)? + length(32)?))
    }

    pub(super) fn is_folder(&self) -> bool {
        self.name.ends_with('/') && self.packed == 0
    }

    /// Its last name, without the folders.
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name)
    }

    /// Unpacks it, as far as the budget goes.
    pub(super) fn unpack(&self, archive: &[u8], budget: &mut Budget) -> Result<Vec<u8>, Stopped> {
        if self.encrypted {
            return Err(Stopped::Encrypted);
        }
        let packed = self.data_at(archive).and_then(|at| archive.get(at..));
        let packed = packed.ok_or(Stopped::Malformed)?;
        match self.method {
            STORED => {
                let stored = packed.get(..self.packed).ok_or(Stopped::Malformed)?;
                budget.take(stored.len())?;
                Ok(stored.to_vec())
            }
            // Deflate says itself where it ends, and the size may be in ZIP64 fields.
            DEFLATED => unpack::inflate(packed, self.packed, budget),
            _ => Err(Stopped::Unknown),
        }
    }

    /// Where its data begins, behind its local header (APPNOTE 4.3.7).
    fn data_at(&self, archive: &[u8]) -> Option<usize> {
        if archive.get(self.header..self.header.checked_add(4)?)? != LOCAL {
            return None;
        }
        let length = |offset| Some(usize::from(u16_at(archive, self.header + offset)?));
        Some(self.header + LOCAL_OCTETS + length(26)? + length(28)?)
    }

    /// The name in its local header.
    fn local_name<'a>(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let data = self.data_at(archive)?;
        let name = self.header + LOCAL_OCTETS;
        let octets = usize::from(u16_at(archive, self.header + 26)?);
        archive.get(name..(name + octets).min(data))
    }

    /// The extra fields of its central header.
    fn extra<'a>(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let length = |offset| Some(usize::from(u16_at(archive, self.central + offset)?));
        let start = self.central + HEADER_OCTETS + length(28)?;
        archive.get(start..start + length(30)?)
    }

    /// The comment behind them.
    fn comment<'a>(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let length = |offset| Some(usize::from(u16_at(archive, self.central + offset)?));
        let start = self.central + HEADER_OCTETS + length(28)? + length(30)?;
        archive.get(start..start + length(32)?)
    }

    /// From its local header to the end of its data.
    fn range(&self, archive: &[u8]) -> (usize, usize) {
        let start = self.header.min(archive.len());
        let data = self.data_at(archive).unwrap_or(start);
        (
            start,
            data.saturating_add(self.packed).clamp(start, archive.len()),
        )
    }
}

fn has_header(octets: &[u8]) -> bool {
    memchr::memmem::find(octets, LOCAL).is_some()
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    let octets = octets.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(octets.try_into().ok()?))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    let octets = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}

/// Extra fields with a name and a comment in UTF-8, and what stands in them before it.
const UNICODE: [u16; 2] = [0x7075, 0x6375];
const UNICODE_OCTETS: usize = 5;
/// Entries that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// The general-purpose flag of an encrypted entry (APPNOTE 4.4.4).
const ENCRYPTED: u16 = 1;
/// The fixed part of a central header (APPNOTE 4.3.12).
const HEADER_OCTETS: usize = 46;
/// How a local header begins (APPNOTE 4.3.7), and its fixed part.
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_OCTETS: usize = 30;
/// Ways of packing (APPNOTE 4.4.5).
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
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
            let header = u32::try_from(out.len()).unwrap().to_le_bytes();
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
            central.extend_from_slice(&[0; 12]);
            central.extend_from_slice(&header);
            central.extend_from_slice(name.as_bytes());
        }
        let size = u32::try_from(central.len()).unwrap().to_le_bytes();
        let start = u32::try_from(out.len()).unwrap().to_le_bytes();
        out.extend_from_slice(&central);
        out.extend_from_slice(b"PK\x05\x06\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&size);
        out.extend_from_slice(&start);
        out.extend_from_slice(&[0; 2]);
        out
    }

    #[test]
    fn names_and_encryption_are_read() {
        let directory = Directory::read(&archive(&["a/b.txt", "C.exe"], 0)).unwrap();
        assert!(directory.names().eq(["a/b.txt", "C.exe"]));
        assert!(!directory.encrypted && directory.has("c.EXE") && directory.has_folder("a"));
        assert!(directory.has_file("B.txt"));
        assert!(Directory::read(&archive(&["a"], 1)).unwrap().encrypted);
        let cut = archive(&["a", "b"], 0);
        assert!(Directory::read(&cut[..cut.len() - 30]).is_none());
    }

    #[test]
    fn an_entry_that_the_directory_leaves_out_is_noticed() {
        let (one, two) = (archive(&["a"], 0), archive(&["b"], 0));
        assert!(!Directory::read(&one).unwrap().hides);
        let shifted = [b"MZ".as_slice(), &one].concat();
        let shifted = Directory::read(&shifted).unwrap();
        assert!(!shifted.hides && shifted.entries[0].header == 2);
        assert!(Directory::read(&[two, one].concat()).unwrap().hides);
    }

    fn said(octets: &[u8]) -> String {
        let directory = Directory::read(octets).unwrap();
        let said = directory.said(octets, 1000);
        assert!(said.whole);
        said.text
    }

    #[test]
    fn what_is_said_of_an_archive_and_of_its_entries_is_read() {
        let mut octets = archive(&["a"], 0);
        assert_eq!(said(&octets), "");
        let end = octets.len() - END_OCTETS;
        octets.splice(end..end, *b"entry");
        octets[end - 1 - HEADER_OCTETS + 32] = 5; // the length in the one central header
        let at = octets.len() - END_OCTETS;
        let size = u32_at(&octets, at + 12).unwrap() + 5;
        octets[at + 12..at + 16].copy_from_slice(&size.to_le_bytes());
        octets.extend_from_slice(b"archive");
        assert_eq!(said(&octets), "archive\nentry");
    }

    #[test]
    fn what_else_an_entry_is_called_is_read() {
        let mut octets = archive(&["a"], 0);
        octets[LOCAL_OCTETS] = b'b';
        assert_eq!(said(&octets), "b");
        let mut octets = archive(&["a"], 0);
        let end = octets.len() - END_OCTETS;
        octets.splice(end..end, *b"\x75\x70\x06\0\x01....c");
        octets[end - 1 - HEADER_OCTETS + 30] = 10;
        let at = octets.len() - END_OCTETS;
        let size = u32_at(&octets, at + 12).unwrap() + 10;
        octets[at + 12..at + 16].copy_from_slice(&size.to_le_bytes());
        assert_eq!(said(&octets), "c");
    }

    #[test]
    fn names_that_many_entries_share_are_said_once_and_within_limits() {
        // Entries behind the first, with its local header and a name of their own.
        let shared = |name: &[u8], others: usize| {
            let mut octets = archive(&["a"], 0);
            let central = octets.len() - END_OCTETS - HEADER_OCTETS - 1;
            let entry = octets[central..octets.len() - END_OCTETS].to_vec();
            octets.splice(central..central, entry.repeat(others));
            let at = octets.len() - END_OCTETS;
            let size = u32::try_from((HEADER_OCTETS + 1) * (others + 1)).unwrap();
            octets[at + 12..at + 16].copy_from_slice(&size.to_le_bytes());
            let start = u32::try_from(central + name.len() - 1).unwrap();
            octets[at + 16..at + 20].copy_from_slice(&start.to_le_bytes());
            let length = u16::try_from(name.len()).unwrap().to_le_bytes();
            octets[26..28].copy_from_slice(&length);
            octets.splice(LOCAL_OCTETS..=LOCAL_OCTETS, name.iter().copied());
            octets
        };
        let octets = shared(&[0xFF; 60_000], 5000);
        let directory = Directory::read(&octets).unwrap();
        assert_eq!(directory.entries.len(), 5001);
        let said = directory.said(&octets, usize::MAX);
        assert_eq!((said.text.len(), said.whole), (180_000, true));

        // Local headers that lie in each other: the name of one is the next ones.
        let (mut octets, length) = (Vec::new(), 60_000_u16);
        let end = archive(&["a"], 0);
        for _ in 0..4000 {
            octets.extend_from_slice(&end[..26]);
            octets.extend_from_slice(&length.to_le_bytes());
            octets.extend_from_slice(&[0; 2]);
        }
        let start = u32::try_from(octets.len()).unwrap();
        for nth in 0..2000_u32 {
            let central = &end[LOCAL_OCTETS + 1..];
            octets.extend_from_slice(&central[..42]);
            octets.extend_from_slice(&(nth * 30).to_le_bytes());
            octets.push(b'a');
        }
        let size = u32::try_from(octets.len()).unwrap() - start;
        octets.extend_from_slice(b"PK\x05\x06\0\0\0\0\0\0\0\0");
        octets.extend_from_slice(&size.to_le_bytes());
        octets.extend_from_slice(&start.to_le_bytes());
        octets.extend_from_slice(&[0; 2]);
        let directory = Directory::read(&octets).unwrap();
        assert_eq!(directory.entries.len(), 2000);
        let said = directory.said(&octets, usize::MAX);
        assert!(!said.whole && said.text.len() <= 3 * octets.len());
        assert!(directory.said(&octets, 1000).text.len() < 200_000);
    }

    fn unpack_all(octets: &[u8]) {
        let mut budget = Budget::new(1000, 10);
        let directory = Directory::read(octets).unwrap_or_default();
        directory.said(octets, 100);
        for entry in directory.entries {
            let _ = entry.unpack(octets, &mut budget);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read(mut octets in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            unpack_all(&octets);
            octets.splice(at.min(octets.len()).., archive(&["x"], 0));
            let turn = at.min(octets.len());
            octets.rotate_left(turn);
            unpack_all(&octets);
        }
    }
}
