//! Tar archives (POSIX.1-2001 `pax`, and GNU's): files one behind the other, each under a header of 512 octets.
//!
//! Nothing is packed, so nothing is copied: what is read lies where it lies.

/// A file of an archive.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) octets: &'a [u8],
}

/// What an archive holds.
#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// Folders, and what is no file: links with what they lead to, comments.
    pub(super) said: Vec<String>,
    /// Whether it was read to its end: no header is damaged, nothing is cut off.
    pub(super) clean: bool,
}

/// Whether these are the first octets of one: a header whose sum is right.
pub(super) fn begins(head: &[u8]) -> bool {
    head.get(..BLOCK)
        .is_some_and(|header| header[0] != 0 && has_right_sum(header))
}

/// Reads all of it. Links, devices and folders are none of its files.
pub(super) fn read(archive: &[u8]) -> Files<'_> {
    let mut files = Files::default();
    let (mut at, mut long_name) = (0, None);
    while let Some(header) = archive.get(at..at + BLOCK) {
        if header.iter().all(|octet| *octet == 0) {
            files.clean = true;
            break;
        }
        let size = number(&header[124..136]);
        let data = size.and_then(|size| archive.get(at + BLOCK..(at + BLOCK).checked_add(size)?));
        let Some(data) = data.filter(|_| has_right_sum(header)) else {
            return files;
        };
        match header[156] {
            b'L' => long_name = Some(words(data)),
            b'x' => {
                long_name = pax(data, b"path=").or(long_name);
                files.say(pax(data, b"comment=").unwrap_or_default());
            }
            // A global header is about files that it does not name.
            b'g' => files.say(pax(data, b"comment=").unwrap_or_default()),
            0 | b'0' | b'7' => {
                let name = long_name.take().unwrap_or_else(|| name_of(header));
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                files.say(folder.to_owned());
                files.entries.push(Entry { name, octets: data });
            }
            // What comes next is linked to a long name.
            b'K' => files.say(words(data)),
            _ => {
                files.say(long_name.take().unwrap_or_else(|| name_of(header)));
                files.say(words(&header[157..257]));
            }
        }
        at += BLOCK + data.len().next_multiple_of(BLOCK);
    }
    // Some programs leave out the empty blocks at the end.
    files.clean |= at == archive.len();
    files
}

impl Files<'_> {
    /// Keeps what is said, once where it is said of one file after the other.
    fn say(&mut self, words: String) {
        if !words.is_empty() && self.said.last() != Some(&words) {
            self.said.push(words);
        }
    }
}

fn name_of(header: &[u8]) -> String {
    let (name, prefix) = (words(&header[..100]), words(&header[345..500]));
    let is_posix = &header[257..263] == b"ustar\0";
    if is_posix && !prefix.is_empty() {
        format!("{prefix}/{name}")
    } else {
        name
    }
}

/// What stands before the first zero.
fn words(field: &[u8]) -> String {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// `27 path=a/name/in/full`, among other records.
fn pax(records: &[u8], key: &[u8]) -> Option<String> {
    let mut records = records.split(|octet| *octet == b'\n');
    let path = records.find_map(|record| {
        let at = memchr::memchr(b' ', record)?;
        record[at + 1..].strip_prefix(key)
    })?;
    Some(String::from_utf8_lossy(path).into_owned())
}

/// Octal digits; or, with the highest bit set, the number itself.
fn number(field: &[u8]) -> Option<usize> {
    if field[0] & 0x80 != 0 {
        let tail = field.last_chunk::<8>()?;
        return usize::try_from(u64::from_be_bytes(*tail)).ok();
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(['\0', ' ']);
    if text.is_empty() {
        return Some(0);
    }
    usize::from_str_radix(text, 8).ok()
}

/// Whether the octets of a header add up to its sum, which itself counts as spaces.
fn has_right_sum(header: &[u8]) -> bool {
    let sum: usize = header.iter().map(|octet| usize::from(*octet)).sum();
    let field: usize = header[148..156]
        .iter()
        .map(|octet| usize::from(*octet))
        .sum();
    number(&header[148..156]) == Some(sum - field + 8 * usize::from(b' '))
}

/// Octets of a header; files are filled up to as many.
const BLOCK: usize = 512;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn entry(name: &str, kind: u8, octets: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", octets.len()).as_bytes());
        header[156] = kind;
        header[148..156].fill(b' ');
        let sum: usize = header.iter().map(|octet| usize::from(*octet)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let fill = octets.len().next_multiple_of(BLOCK) - octets.len();
        [header, octets.to_vec(), vec![0; fill]].concat()
    }

    fn names<'a>(files: &'a Files<'_>) -> Vec<(&'a str, &'a [u8])> {
        let entries = files.entries.iter();
        entries
            .map(|entry| (entry.name.as_str(), entry.octets))
            .collect()
    }

    #[test]
    fn files_are_read_and_other_entries_are_not() {
        let long = "x".repeat(120);
        let archive = [
            entry("folder/", b'5', b""),
            entry("a.txt", b'0', b"450"),
            entry("@LongLink", b'L', long.as_bytes()),
            entry("cut", b'0', b"557"),
            entry("pax", b'x', b"14 path=b.txt\n"),
            entry("old", 0, b"7104"),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        assert!(begins(&archive));
        let files = read(&archive);
        assert!(files.clean);
        let expected: [(&str, &[u8]); 3] = [("a.txt", b"450"), (&long, b"557"), ("b.txt", b"7104")];
        assert_eq!(names(&files), expected);
        let archive = [
            entry("of a patient/", b'5', b""),
            entry("list/a.txt", b'0', b"450"),
            entry("list/b.txt", b'0', b"450"),
            entry("pax", b'x', b"18 comment=of May\n"),
            entry("link", b'2', b""),
        ]
        .concat();
        assert_eq!(
            read(&archive).said,
            ["of a patient/", "list", "of May", "link"]
        );
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_read_as_far_as_it_goes() {
        let archive = [entry("a", b'0', b"450"), entry("b", b'0', &[b'x'; 600])].concat();
        assert!(read(&archive).clean, "without the blocks at the end");
        let cut = read(&archive[..archive.len() - BLOCK]);
        assert!(!cut.clean && names(&cut) == [("a", &b"450"[..])]);
        let mut damaged = archive;
        damaged[2 * BLOCK] ^= 1;
        assert!(!read(&damaged).clean);
        assert!(!begins(b"short") && !begins(&[0; BLOCK]) && !begins(&[b'x'; BLOCK]));
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..600), at in 0usize..1500) {
            read(&octets);
            let mut whole = [entry("a", b'0', b"450"), entry("b", b'L', b"557")].concat();
            let at = at.min(whole.len());
            whole.splice(at.., octets);
            read(&whole);
        }
    }
}
