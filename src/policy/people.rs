//! The names of the people in the directory, for the rule about mail that shows one of them and comes from elsewhere.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use crate::directory::{Directory, Kind};

/// Hashes of the names, made when the first message asks.
#[derive(Debug, Default)]
pub struct People {
    names: OnceLock<Vec<u64>>,
}

impl People {
    /// Whether a name is that of somebody in the directory: two words or more, in any order, case and punctuation.
    pub fn has(&self, directory: &Directory, name: &str) -> bool {
        let Some(hash) = hash(name) else {
            return false;
        };
        let names = self.names.get_or_init(|| read(directory));
        names.binary_search(&hash).is_ok()
    }
}

/// A directory with more mailboxes than this is a nation's: every name is in there, and the rule would say nothing.
fn read(directory: &Directory) -> Vec<u64> {
    if directory.len() > MAILBOXES_MAX {
        return Vec::new();
    }
    let people = directory
        .entries()
        .filter(|entry| entry.kind == Kind::Personal);
    let mut names: Vec<u64> = people
        .filter_map(|entry| hash(without_note(&entry.display_name)))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// `SMITH, Jane (BUMBLETON PHARMACIES LTD)` without what stands in brackets.
fn without_note(name: &str) -> &str {
    name.split('(').next().unwrap_or(name)
}

fn hash(name: &str) -> Option<u64> {
    let mut words: Vec<String> = without_note(name)
        .split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| word.len() > 1 && !TITLES.contains(&word.as_str()))
        .collect();
    words.sort_unstable();
    if words.len() < 2 {
        return None;
    }
    let digest = Sha256::digest(words.join(" ").as_bytes());
    let first: [u8; 8] = std::array::from_fn(|at| digest[at]);
    Some(u64::from_le_bytes(first))
}

const TITLES: [&str; 6] = ["dr", "mr", "mrs", "ms", "miss", "prof"];
const MAILBOXES_MAX: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::directory_of;

    #[test]
    fn a_name_is_known_however_it_is_written() {
        let rows = "address,kind,status,ods_code,organisation,street,town,display_name\n\
            jane.smith@bumbleton.example,personal,active,,,,,\"SMITH, Jane (BUMBLETON PHARMACIES LTD)\"\n\
            info@bumbleton.example,shared,active,,Bumbleton,,,Bumbleton Information Desk\n";
        let directory = directory_of(rows, &["bumbleton.example"]);
        let people = People::default();
        for name in [
            "Jane Smith",
            "smith jane",
            "Dr. Jane SMITH",
            "Smith, Jane (NHS)",
        ] {
            assert!(people.has(&directory, name), "{name}");
        }
        for name in ["Jane", "Jane Smithson", "Bumbleton Information Desk", ""] {
            assert!(!people.has(&directory, name), "{name}");
        }
    }
}
