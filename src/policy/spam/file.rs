//! The file of a model: a line that names the version, the SHA-256 of the rest, and the weights, deflated.
//!
//! A file is written whole beside the old one and then takes its place, so that whoever reads it sees one or
//! the other. One that is damaged, cut or of another version is refused, and what was in force stays.

use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use crate::base::private;

use super::features::FEATURES;
use super::model::{Learnt, Model};

/// Why a file is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// It cannot be read, or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("this is no model of Postern's")]
    Foreign,
    /// It is of another version: messages are taken apart in another way there.
    #[error("the model is of version `{0}`, this program knows `{VERSION}`: make it again")]
    Version(String),
    /// Its octets are not those that were written.
    #[error("the model is damaged: its checksum does not agree")]
    Damaged,
}

impl Model {
    /// Reads a file. Errs rather than return weights that nobody learnt.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let file = std::fs::File::open(path)?;
        let mut octets = Vec::new();
        file.take(FILE_OCTETS_MAX).read_to_end(&mut octets)?;
        Self::from_octets(&octets)
    }

    /// Writes a file, durably, in the place of another.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        private::folder(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&self.to_octets())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    }

    /// As it stands in a file.
    pub fn to_octets(&self) -> Vec<u8> {
        let packed = self.packed();
        let mut octets = format!("{MAGIC} {VERSION}\n").into_bytes();
        octets.extend_from_slice(&Sha256::digest(&packed));
        octets.extend_from_slice(&packed);
        octets
    }

    /// From the octets of a file.
    pub fn from_octets(octets: &[u8]) -> Result<Self, ModelError> {
        let head = &octets[..octets.len().min(HEAD_OCTETS_MAX)];
        let end = memchr::memchr(b'\n', head).ok_or(ModelError::Foreign)?;
        let line = std::str::from_utf8(&head[..end]).map_err(|_| ModelError::Foreign)?;
        let version = line.strip_prefix(MAGIC).ok_or(ModelError::Foreign)?.trim();
        if version != VERSION {
            return Err(ModelError::Version(version.to_owned()));
        }
        let rest = &octets[end + 1..];
        let (sum, packed) = rest.split_at_checked(32).ok_or(ModelError::Damaged)?;
        if Sha256::digest(packed)[..] != *sum {
            return Err(ModelError::Damaged);
        }
        Self::unpacked(packed).ok_or(ModelError::Damaged)
    }

    /// Numbers, then the places of the weights that are not 0 as distances, then their octets: all first ones,
    /// all second ones and so on, for those of equal rank are alike.
    fn packed(&self) -> Vec<u8> {
        let set = || self.weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
        let mut plain = Vec::new();
        for number in [self.bias, self.slope, self.offset] {
            plain.extend_from_slice(&number.to_le_bytes());
        }
        let count = u32::try_from(set().count()).unwrap_or(u32::MAX);
        for number in [
            self.learnt.spam,
            self.learnt.ham,
            u32::from(self.alone),
            count,
        ] {
            plain.extend_from_slice(&number.to_le_bytes());
        }
        let mut last = 0;
        for (at, _) in set() {
            push_number(&mut plain, at - last);
            last = at;
        }
        for octet in 0..4 {
            plain.extend(set().map(|(_, weight)| weight.to_le_bytes()[octet]));
        }
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        // Writing to a Vec never fails.
        let _ = encoder.write_all(&plain);
        encoder.finish().unwrap_or_default()
    }

    fn unpacked(packed: &[u8]) -> Option<Self> {
        let mut plain = Vec::new();
        let mut decoder = DeflateDecoder::new(packed).take(PLAIN_OCTETS_MAX);
        decoder.read_to_end(&mut plain).ok()?;
        let mut rest = &plain[..];
        let mut four = || {
            let (number, others) = rest.split_first_chunk::<4>()?;
            rest = others;
            Some(*number)
        };
        let [bias, slope, offset] = [four()?, four()?, four()?].map(f32::from_le_bytes);
        let [spam, ham, alone, count] =
            [four()?, four()?, four()?, four()?].map(u32::from_le_bytes);
        let count = usize::try_from(count).ok()?;
        let mut model = Self {
            bias,
            slope,
            offset,
            learnt: Learnt { spam, ham },
            alone: alone != 0,
            ..Self::empty()
        };
        let mut places = Vec::new();
        let mut at = 0;
        for _ in 0..count.min(FEATURES) {
            at += take_number(&mut rest)?;
            places.push(at);
        }
        if rest.len() != count * 4 || places.len() != count {
            return None;
        }
        for (nth, place) in places.into_iter().enumerate() {
            let octets = [0, 1, 2, 3].map(|octet| rest[octet * count + nth]);
            *model.weights.get_mut(place)? = f32::from_le_bytes(octets);
        }
        let all = [model.bias, model.slope, model.offset];
        let sane = |number: &f32| number.is_finite() && number.abs() <= WEIGHT_MAX;
        (all.iter().all(sane) && model.weights.iter().all(sane)).then_some(model)
    }
}

/// Seven bits an octet, the lowest first; the high bit says that more follow.
pub(super) fn push_number(octets: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        octets.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    octets.push(number.to_le_bytes()[0]);
}

/// The next number; `None` at the end, and if it is larger than there are features.
pub(super) fn take_number(octets: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let (first, rest) = octets.split_first()?;
        *octets = rest;
        number |= usize::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return (number < FEATURES).then_some(number);
        }
    }
    None
}

/// How such a file begins.
const MAGIC: &str = "postern-spam-model";
/// The version of the file and of the way in which messages are taken apart: with either of them this changes.
const VERSION: &str = "2";
/// The same as a number, for the lessons.
pub(super) const VERSION_NUMBER: i64 = 2;
const HEAD_OCTETS_MAX: usize = 64;
/// More than any model has, so that a file that is none does not fill the memory.
const FILE_OCTETS_MAX: u64 = 16 << 20;
const PLAIN_OCTETS_MAX: u64 = 16 << 20;
/// No weight that was learnt comes near it; a sum of such ones is finite.
const WEIGHT_MAX: f32 = 1e6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn model(weights: &[(usize, f32)]) -> Model {
        let mut model = Model {
            bias: -0.25,
            slope: 2.0,
            offset: 0.5,
            learnt: Learnt { spam: 30, ham: 40 },
            ..Model::empty()
        };
        for (at, weight) in weights {
            model.weights[*at] = *weight;
        }
        model
    }

    #[test]
    fn a_damaged_cut_foreign_or_newer_file_is_refused_with_its_reason() {
        let whole = model(&[(3, 0.5), (70_000, -1.25)]).to_octets();
        let said = |octets: &[u8]| Model::from_octets(octets).unwrap_err().to_string();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert_eq!(
            said(&flipped),
            "the model is damaged: its checksum does not agree"
        );
        assert_eq!(said(&whole[..whole.len() - 1]), said(&flipped));
        assert_eq!(said(&whole[..30]), said(&flipped));
        assert_eq!(said(b"hello\n"), "this is no model of Postern's");
        assert_eq!(said(b""), said(b"hello\n"));
        let newer = [b"postern-spam-model 9\n", &whole[21..]].concat();
        assert_eq!(
            said(&newer),
            "the model is of version `9`, this program knows `2`: make it again"
        );
        let endless = model(&[(3, f32::INFINITY)]).to_octets();
        assert_eq!(said(&endless), said(&flipped));
    }

    #[test]
    fn the_number_of_the_version_is_the_version() {
        assert_eq!(VERSION, VERSION_NUMBER.to_string());
    }

    #[test]
    fn a_file_takes_the_place_of_another_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models/site.model");
        let first = model(&[(1, 1.0)]);
        first.save(&path).unwrap();
        let second = model(&[(2, 1.0)]);
        second.save(&path).unwrap();
        assert!(Model::load(&path).unwrap() == second && first != second);
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn what_is_written_is_read_back(weights in proptest::collection::vec((0..FEATURES, -9.0f32..9.0), 0..300)) {
            let model = model(&weights);
            prop_assert!(Model::from_octets(&model.to_octets()).unwrap() == model);
        }

        #[test]
        fn any_octets_are_a_model_or_none(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Model::from_octets(&octets);
            let packed = [b"postern-spam-model 2\n", &Sha256::digest(&octets)[..], &octets].concat();
            let _ = Model::from_octets(&packed);
        }
    }
}
