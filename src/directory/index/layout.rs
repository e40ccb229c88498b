//! How the octets of an index lie: a header, then sections of numbers and texts.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

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
    /// Who answers for mailboxes, each once.
    Owners,
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
    /// Of each mailbox, what a look-up does not need. The last, for it is larger than all the others
    /// and is not mapped with them: see [`super::octets::Octets`].
    Details,
}

/// How many sections there are.
pub(super) const SECTIONS: usize = 14;

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

    /// The key of a table with this digest.
    pub(in crate::directory) fn finish(mut self, table: &Sum) -> Key {
        self.0.update(table);
        self.0.finalize().into()
    }
}

/// An index that was made, piece by piece: put together, it would be in memory twice.
pub(in crate::directory) struct Made {
    /// With nothing for the checksum: that is left to whoever writes it to a file.
    pub(super) header: Vec<u8>,
    pub(super) sections: [Vec<u8>; SECTIONS],
}

impl Made {
    /// Writes the header of sections.
    pub(super) fn new(key: &Key, sections: [Vec<u8>; SECTIONS]) -> Self {
        let mut header = Vec::with_capacity(HEADER);
        header.extend(MAGIC);
        header.extend(FORMAT.to_le_bytes());
        header.extend(key);
        header.extend([0; 32]);
        let mut at = HEADER as u64;
        for section in &sections {
            header.extend(at.to_le_bytes());
            header.extend((section.len() as u64).to_le_bytes());
            at += section.len() as u64;
        }
        Self { header, sections }
    }

    /// All of it in one piece.
    pub(super) fn into_octets(self) -> Vec<u8> {
        let mut octets = self.header;
        octets.reserve_exact(self.sections.iter().map(Vec::len).sum());
        for section in self.sections {
            octets.extend(section);
        }
        octets
    }

    pub(super) fn sum(&self) -> Sum {
        let mut sum = Checksum::new(&self.header);
        for section in &self.sections {
            sum.add(section);
        }
        sum.finish()
    }
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
    #[cfg(test)]
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

/// The first octets of every index.
const MAGIC: &[u8; 8] = b"POSTIDX\n";
/// Counts the changes of the format: an index of another version is made anew.
const FORMAT: u32 = 5;
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

    proptest! {
        #[test]
        fn any_octets_can_be_a_header(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            let sum = Checksum::of(&octets);
            prop_assert!(read(&octets, octets.len(), &sum).is_none());
        }
    }
}
