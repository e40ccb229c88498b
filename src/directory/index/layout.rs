//! How the octets of an index lie: a header, then sections of numbers and texts.
//!
//! Numbers are little-endian. Everything is read through the functions below, which answer `None`
//! where the octets do not reach: whatever a file holds, reading it cannot panic.

use std::ops::Range;

use jiff::civil::Date;
use sha2::{Digest, Sha256};

/// The sections, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Section {
    /// Each domain or literal: how many mailboxes it has, the first of them, its text.
    Hosts,
    /// Each mailbox: a [`super::record::Mailbox`].
    Entries,
    /// Where in `Entries` a name is: a hash table.
    Slots,
    /// The local parts, each after its length.
    Names,
    /// Of each mailbox, what a look-up does not need.
    Details,
    /// Each organisation: a [`super::record::Organisation`].
    Organisations,
    /// Where in `Organisations` a code is: a hash table.
    Codes,
    /// Of each organisation, its name, place and evidence.
    Descriptions,
    /// The mailboxes of the organisations; of each organisation the personal ones last.
    Members,
    /// The organisations, those that bear the same name next to each other.
    Namesakes,
    /// The words to search by: an `fst` map to a place in `Postings`.
    Words,
    /// Of each word, the mailboxes and the organisations that have it.
    Postings,
    /// What there was to be said of the table.
    Reports,
}

/// How many sections there are.
pub(super) const SECTIONS: usize = 13;

/// What the octets were made of: the hash of the sources and of [`FORMAT`].
pub(in crate::directory) type Key = [u8; 32];

/// A checksum.
pub(in crate::directory) type Sum = [u8; 32];

/// Makes the key of an index out of its sources.
pub(in crate::directory) struct KeyMaker(Sha256);

impl KeyMaker {
    /// Begins a key with what is not in the table: the version of the format, and words whose
    /// choice or order the octets hang on.
    pub(in crate::directory) fn new<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(FORMAT.to_le_bytes());
        for word in words {
            hash.update(word);
            hash.update([0]);
        }
        hash.update([0]);
        Self(hash)
    }

    /// Goes on with a piece of the table.
    pub(in crate::directory) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The key.
    pub(in crate::directory) fn finish(self) -> Key {
        self.0.finalize().into()
    }
}

/// Puts the sections together under a header. Its checksum is left to whoever writes it to a file.
pub(super) fn write(key: &Key, sections: [Vec<u8>; SECTIONS]) -> Vec<u8> {
    let length: usize = sections.iter().map(Vec::len).sum();
    let mut octets = Vec::with_capacity(HEADER + length);
    octets.extend(MAGIC);
    octets.extend(FORMAT.to_le_bytes());
    octets.extend(key);
    octets.extend([0; 32]);
    let mut at = HEADER as u64;
    for section in &sections {
        octets.extend(at.to_le_bytes());
        octets.extend((section.len() as u64).to_le_bytes());
        at += section.len() as u64;
    }
    for section in sections {
        octets.extend(section);
    }
    octets
}

/// The checksum that stands in a header.
pub(super) fn sum_of(octets: &[u8]) -> Option<[u8; 32]> {
    octets.get(SUM)?.try_into().ok()
}

/// Reads a header: the key, and where the sections are. `None` if this is not the header of an
/// index of this version that is `length` octets long, or if `sum` is not its checksum.
pub(super) fn read(
    header: &[u8],
    length: usize,
    sum: &[u8; 32],
) -> Option<(Key, [Range<usize>; SECTIONS])> {
    let header = header.get(..HEADER)?;
    let version = header.get(MAGIC.len()..KEY.start)?;
    if !header.starts_with(MAGIC) || version != FORMAT.to_le_bytes() || header.get(SUM)? != sum {
        return None;
    }
    let mut sections: [Range<usize>; SECTIONS] = Default::default();
    let mut end = HEADER;
    for (at, section) in sections.iter_mut().enumerate() {
        let start = u64_at(header, SUM.end + at * 16)?;
        let length = u64_at(header, SUM.end + at * 16 + 8)?;
        if start != end {
            return None;
        }
        end = start.checked_add(length)?;
        *section = start..end;
    }
    let key = header.get(KEY)?.try_into().ok()?;
    (end == length).then_some((key, sections))
}

/// The checksum: over everything but itself.
pub(super) struct Checksum(Sha256);

impl Checksum {
    /// Begins with the header.
    pub(super) fn new(header: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(header.get(..SUM.start).unwrap_or(header));
        hash.update(header.get(SUM.end..).unwrap_or_default());
        Self(hash)
    }

    /// Goes on with a piece of what follows.
    pub(super) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// Of octets that are all here.
    pub(super) fn of(octets: &[u8]) -> [u8; 32] {
        let (header, rest) = octets.split_at(octets.len().min(HEADER));
        let mut sum = Self::new(header);
        sum.add(rest);
        sum.finish()
    }
}

fn u64_at(octets: &[u8], at: usize) -> Option<usize> {
    let octets = octets.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(octets.try_into().ok()?)).ok()
}

/// The number that begins at octet `at`.
pub(super) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    let octets = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}

/// The `N` numbers of record `index` in a row of records.
pub(super) fn record_at<const N: usize>(octets: &[u8], index: u32) -> Option<[u32; N]> {
    let start = (index as usize).checked_mul(N * 4)?;
    let octets = octets.get(start..start.checked_add(N * 4)?)?;
    let mut numbers = [0; N];
    for (number, octets) in numbers.iter_mut().zip(octets.chunks_exact(4)) {
        *number = u32::from_le_bytes(octets.try_into().ok()?);
    }
    Some(numbers)
}

/// Writes what [`record_at`] reads.
pub(super) fn push_record<const N: usize>(octets: &mut Vec<u8>, numbers: [u32; N]) {
    octets.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
}

/// The number with index `index` in a row of numbers.
pub(super) fn nth_u32(octets: &[u8], index: usize) -> Option<u32> {
    u32_at(octets, index.checked_mul(4)?)
}

/// Reads octets from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'o> {
    octets: &'o [u8],
}

impl<'o> Reader<'o> {
    /// From octet `at` on; nothing if they do not reach so far.
    pub(super) fn at(octets: &'o [u8], at: u32) -> Self {
        let octets = octets.get(at as usize..).unwrap_or_default();
        Self { octets }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.octets.is_empty()
    }

    /// A number of 7 bits an octet, the lowest first.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let (first, rest) = self.octets.split_first()?;
            self.octets = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    /// A text after its length.
    pub(super) fn text(&mut self) -> Option<&'o str> {
        let length = self.number()? as usize;
        let text = self.octets.get(..length)?;
        self.octets = &self.octets[length..];
        std::str::from_utf8(text).ok()
    }
}

/// Writes what [`Reader::number`] reads.
pub(super) fn push_number(octets: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        octets.push(number as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

/// Writes what [`Reader::text`] reads.
pub(super) fn push_text(octets: &mut Vec<u8>, text: &str) {
    // Longer than that is no text of a table: `Builder` refuses tables of 4 GiB.
    push_number(octets, u32::try_from(text.len()).unwrap_or(u32::MAX));
    octets.extend(text.as_bytes());
}

/// A day as a number that compares as days do; no day is 0.
pub(super) fn pack_date(date: Option<Date>) -> u32 {
    date.map_or(0, |date| {
        let year = u32::try_from(i32::from(date.year()) + YEARS).unwrap_or(0);
        year << 9 | (date.month().unsigned_abs() as u32) << 5 | date.day().unsigned_abs() as u32
    })
}

/// What [`pack_date`] was given.
pub(super) fn unpack_date(packed: u32) -> Option<Date> {
    if packed == 0 {
        return None; // the most frequent one; an error of `jiff` is not for nothing
    }
    let year = i32::try_from(packed >> 9).ok()? - YEARS;
    let (month, day) = (packed >> 5 & 0xf, packed & 0x1f);
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    Date::new(i16::try_from(year).ok()?, month, day).ok()
}

/// The first octets of every index.
const MAGIC: &[u8; 8] = b"POSTIDX\n";
/// Counts the changes of the format: an index of another version is made anew.
const FORMAT: u32 = 2;
/// Years are counted from here, so that none is below 1.
const YEARS: i32 = 10_000;
/// Where the key stands in the header.
const KEY: Range<usize> = 12..44;
/// Where the checksum stands.
pub(super) const SUM: Range<usize> = 44..76;
/// Length of the header.
pub(super) const HEADER: usize = SUM.end + SECTIONS * 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_compare_as_their_numbers() {
        let days = [
            "-009999-01-01",
            "1999-12-31",
            "2000-01-01",
            "2026-11-21",
            "9999-12-31",
        ];
        let days = days.map(|day| Some(day.parse::<Date>().unwrap()));
        let packed = days.map(pack_date);
        assert!(packed.is_sorted() && packed[0] > pack_date(None));
        assert_eq!(packed.map(unpack_date), days);
        assert_eq!(unpack_date(0), None);
    }

    proptest! {
        #[test]
        fn numbers_and_texts_are_read_as_they_were_written(number: u32, text in "\\PC{0,200}") {
            let mut octets = Vec::new();
            push_number(&mut octets, number);
            push_text(&mut octets, &text);
            let mut reader = Reader::at(&octets, 0);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_octets_can_be_read(octets in prop::collection::vec(any::<u8>(), 0..200), at: u32) {
            let mut reader = Reader::at(&octets, at % 250);
            while reader.number().is_some() && reader.text().is_some() {}
            let sum = Checksum::of(&octets);
            prop_assert!(read(&octets, octets.len(), &sum).is_none());
            let _ = unpack_date(at);
        }
    }
}
