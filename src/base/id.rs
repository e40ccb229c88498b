//! Names that we give to things: references for people, versions of a policy.

use std::fmt;
use std::str::FromStr;

/// What a client is told to quote: `PX-7F3K2Q9A`. Letters and digits that are not mistaken for one
/// another (Crockford's base 32), eight of them: a billion billion messages apart from guessing,
/// and short enough for the telephone. Six-character ones are read as well.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Reference(String);

impl Reference {
    /// A new one, from the operating system's random numbers.
    pub fn random() -> Self {
        let mut octets = [0; LENGTH];
        // The kernel's generator fails on no supported platform once it is seeded; if it ever did,
        // zeros would make a reference that is not unique, which loses nothing.
        let _ = getrandom::fill(&mut octets);
        Self(
            octets
                .iter()
                .map(|octet| char::from(ALPHABET[usize::from(octet % 32)]))
                .collect(),
        )
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PX-{}", self.0)
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    /// Reads a reference in any case, with or without `PX-`.
    fn from_str(text: &str) -> Result<Self, BadReference> {
        let upper = text.trim().to_ascii_uppercase();
        let name = upper.strip_prefix("PX-").unwrap_or(&upper);
        let shaped =
            (6..=LENGTH).contains(&name.len()) && name.bytes().all(|b| ALPHABET.contains(&b));
        shaped.then(|| Self(name.to_owned())).ok_or(BadReference)
    }
}

/// Not a reference.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a reference looks like PX-7F3K2Q9A")]
pub struct BadReference;

/// Which policy decided: the first 12 hexadecimal digits of a SHA-256 over its files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyVersion(pub String);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const LENGTH: usize = 8;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_back_in_any_case() {
        let reference = Reference::random();
        assert_eq!(reference.to_string().to_lowercase().parse(), Ok(reference));
        assert_eq!(
            "px-7f3k2q".parse::<Reference>().unwrap().to_string(),
            "PX-7F3K2Q"
        );
        assert!("PX-UUUUUU".parse::<Reference>().is_err());
    }
}
