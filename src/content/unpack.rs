//! Unpacking within a budget: what is packed may come out a thousand times as long, over and over.
//!
//! One budget is for all that a message unpacks, however deep it lies, so that an archive of archives costs
//! no more than a single one. It counts octets, not time: the same message comes out the same everywhere.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, GzDecoder};

/// What may still be unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// In octets.
    left: usize,
    /// How many times its packed size a file may have, once it is longer than [`ANY_RATIO_OCTETS`].
    ratio: usize,
    /// Files.
    files: usize,
}

impl Budget {
    /// Of so many octets, at so many times the packed size.
    pub(super) fn new(octets: usize, ratio: usize) -> Self {
        Self {
            left: octets,
            ratio,
            files: FILES_MAX,
        }
    }

    /// What is left of a budget, in octets and files.
    pub(super) fn resumed(octets: usize, ratio: usize, files: usize) -> Self {
        Self {
            files,
            ..Self::new(octets, ratio)
        }
    }

    /// The ratio, and how many files are left.
    pub(super) fn ratio_and_files(&self) -> (usize, usize) {
        (self.ratio, self.files)
    }

    /// What is left of it, in octets.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Takes so many octets out of it.
    pub(super) fn take(&mut self, octets: usize) -> Result<(), Stopped> {
        self.left = self.left.checked_sub(octets).ok_or(Stopped::TooLarge)?;
        Ok(())
    }

    /// Takes one file out of it.
    pub(super) fn take_file(&mut self) -> Result<(), Stopped> {
        self.files = self.files.checked_sub(1).ok_or(Stopped::TooLarge)?;
        Ok(())
    }

    /// The most that a file of this packed size may come to, in octets.
    fn most(&self, packed: usize) -> usize {
        let by_ratio = packed.saturating_mul(self.ratio).max(ANY_RATIO_OCTETS);
        self.left.min(by_ratio)
    }

    /// Reads all that comes out, and takes it out of the budget.
    fn read(&mut self, packed: usize, unpacked: impl Read) -> Result<Vec<u8>, Stopped> {
        let most = self.most(packed);
        let mut octets = Vec::new();
        let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let whole = unpacked.take(limit).read_to_end(&mut octets).is_ok();
        // What was unpacked in vain counts as well.
        self.left = self.left.saturating_sub(octets.len());
        if octets.len() > most {
            return Err(Stopped::TooLarge);
        }
        whole.then_some(octets).ok_or(Stopped::Malformed)
    }
}

/// Why something could not be unpacked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stopped {
    /// A password is needed.
    Encrypted,
    /// It is more than the budget allows.
    TooLarge,
    /// It is cut off or damaged.
    Malformed,
    /// It is packed in a way that is not known here.
    Unknown,
}

impl Stopped {
    /// The word of `design.md` §4.3, for an archive.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted-archive",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown-format",
        }
    }
}

/// Unpacks raw deflate (RFC 1951). `packed` may run on behind its end; `octets` is its size as told.
pub(super) fn inflate(
    packed: &[u8],
    octets: usize,
    budget: &mut Budget,
) -> Result<Vec<u8>, Stopped> {
    budget.read(octets.min(packed.len()), DeflateDecoder::new(packed))
}

/// What a gzip file holds.
pub(super) struct Gunzipped {
    /// Its octets.
    pub(super) octets: Result<Vec<u8>, Stopped>,
    /// What its headers say of it: the name that it had, comments.
    pub(super) said: Vec<String>,
}

/// Unpacks gzip, all members of it (RFC 1952 §2.2).
pub(super) fn gunzip(packed: &[u8], budget: &mut Budget) -> Gunzipped {
    let mut members = Members {
        member: GzDecoder::new(packed),
        said: Vec::new(),
    };
    let octets = budget.read(packed.len(), &mut members);
    members.note();
    Gunzipped {
        octets,
        said: members.said,
    }
}

/// The members of a gzip file, one after the other.
struct Members<'p> {
    member: GzDecoder<&'p [u8]>,
    said: Vec<String>,
}

impl Members<'_> {
    /// Takes down what the header of the member says (RFC 1952 §2.3.1): Latin-1 by the rule, what the machine has in use.
    fn note(&mut self) {
        if self.said.len() >= SAID_MAX {
            return;
        }
        let header = self.member.header();
        let said = header.and_then(|it| it.filename()).into_iter();
        for words in said.chain(header.and_then(|it| it.comment())) {
            let words = String::from_utf8_lossy(words).into_owned();
            if !words.is_empty() && !self.said.contains(&words) {
                self.said.push(words);
            }
        }
    }
}

impl Read for Members<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let octets = self.member.read(into)?;
            let rest = *self.member.get_ref();
            if octets > 0 || into.is_empty() || rest.is_empty() {
                return Ok(octets);
            }
            self.note();
            // In the same memory: a new one for each of many small members takes long.
            self.member.reset(rest);
        }
    }
}

/// Names and comments of one file that are kept.
const SAID_MAX: usize = 100;

/// Files that archives and documents of one message may hold together.
const FILES_MAX: usize = 10_000;
/// Up to here a file may have any ratio: a table of empty cells packs very well.
const ANY_RATIO_OCTETS: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder};
    use std::io::Write;

    fn deflated(octets: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    }

    fn gzipped(octets: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_is_packed_comes_out_and_is_counted() {
        let mut budget = Budget::new(8, 10);
        let packed = deflated(b"NHS");
        let unpacked = inflate(&packed, packed.len(), &mut budget);
        assert_eq!((unpacked.unwrap(), budget.left), (b"NHS".to_vec(), 5));
        let twice = [gzipped(b"N"), gzipped(b"HS")].concat();
        assert_eq!(gunzip(&twice, &mut budget).octets.unwrap(), b"NHS");
        assert_eq!(
            gunzip(&gzipped(b"NHS"), &mut budget).octets,
            Err(Stopped::TooLarge)
        );
    }

    #[test]
    fn what_the_headers_of_gzip_say_is_kept() {
        let named = |name: &str, comment: &str| {
            let encoder = flate2::GzBuilder::new().filename(name).comment(comment);
            let mut encoder = encoder.write(Vec::new(), Compression::default());
            encoder.write_all(b"x").unwrap();
            encoder.finish().unwrap()
        };
        let file = [gzipped(b"x"), named("list.csv", "of 1 May"), named("b", "")].concat();
        let read = gunzip(&file, &mut Budget::new(9, 10));
        assert_eq!(read.octets.unwrap(), b"xxx");
        assert_eq!(read.said, ["list.csv", "of 1 May", "b"]);
        let cut = gunzip(&file[..file.len() - 3], &mut Budget::new(9, 10));
        assert_eq!((cut.octets, cut.said.len()), (Err(Stopped::Malformed), 3));
    }

    #[test]
    fn a_bomb_is_stopped_by_its_ratio_and_by_the_budget() {
        let bomb = deflated(&vec![b'x'; 8 << 20]);
        let stopped = |octets: usize, ratio| {
            inflate(&bomb, bomb.len(), &mut Budget::new(octets, ratio)).map(|out| out.len())
        };
        assert_eq!(stopped(64 << 20, 200), Err(Stopped::TooLarge));
        assert_eq!(stopped(1 << 20, 2000), Err(Stopped::TooLarge));
        assert_eq!(stopped(64 << 20, 2000), Ok(8 << 20));
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        let packed = gzipped(b"NHS 943 476 5919");
        let cut = &packed[..packed.len() - 9];
        assert_eq!(
            gunzip(cut, &mut Budget::new(1000, 10)).octets,
            Err(Stopped::Malformed)
        );
    }
}
