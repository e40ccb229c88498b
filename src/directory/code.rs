//! Codes of the Organisation Data Service: 1 to 9 letters and digits, upper case.
//!
//! The shape of a code does not decide its type; the directory does. The one shape that is trusted
//! is the pharmacy's, and only to say that something is none (`domain.md` §1.3, §2.1).

use std::fmt;
use std::str::FromStr;

/// The code of an organisation, such as `FAQ59`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OdsCode {
    octets: [u8; LENGTH_MAX],
    length: u8,
}

impl OdsCode {
    /// Reads a code in any case.
    pub fn parse(text: &str) -> Result<Self, BadCode> {
        let shaped = (1..=LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if !shaped {
            return Err(BadCode);
        }
        let mut octets = [0; LENGTH_MAX];
        for (to, from) in octets.iter_mut().zip(text.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        // At most 9, as checked above.
        let length = u8::try_from(text.len()).map_err(|_| BadCode)?;
        Ok(Self { octets, length })
    }

    /// Reads a code that has the shape of a pharmacy's: `F`, two letters, two digits, or `F`, a
    /// letter, three digits, without the letters that are never issued (B, I, O, S, U, Z).
    pub fn parse_pharmacy(text: &str) -> Result<Self, BadCode> {
        let code = Self::parse(text)?;
        let letter = |i: usize| LETTERS.contains(&code.octets[i]);
        let digit = |i: usize| code.octets[i].is_ascii_digit();
        let shaped = code.length == 5
            && code.octets[0] == b'F'
            && letter(1)
            && (letter(2) || digit(2))
            && digit(3)
            && digit(4);
        shaped.then_some(code).ok_or(BadCode)
    }

    /// The code, in upper case.
    pub fn as_str(&self) -> &str {
        // Letters and digits of ASCII alone, as `parse` has checked.
        std::str::from_utf8(&self.octets[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl FromStr for OdsCode {
    type Err = BadCode;

    fn from_str(text: &str) -> Result<Self, BadCode> {
        Self::parse(text)
    }
}

impl fmt::Display for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for OdsCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an ODS code is 1 to 9 letters and digits")]
pub struct BadCode;

/// Longest code: a branch surgery's.
pub(super) const LENGTH_MAX: usize = 9;
/// Length of a pharmacy's code.
pub(super) const PHARMACY_LENGTH: usize = 5;
/// The letters in the second and third place of a pharmacy's code (computed over 20,932 codes).
pub(super) const LETTERS: &[u8] = b"ACDEFGHJKLMNPQRTVWXY";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pharmacy_code_has_one_of_two_shapes_and_no_letter_that_looks_like_a_digit() {
        for good in ["FAQ59", "fe164", "FFF08", "fh734", "FVR79"] {
            assert!(OdsCode::parse_pharmacy(good).is_ok(), "{good}");
        }
        for bad in [
            "SM689",
            "FBQ59",
            "FAI59",
            "FO164",
            "FSM68",
            "FUA12",
            "FZ123",
            "FTC400",
            "FAQ5",
            "FAQ5X",
            "F1234",
            "FAQ\u{665}9",
            "VLAXL",
        ] {
            assert!(OdsCode::parse_pharmacy(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(text in "\\PC{0,12}") {
            if let Ok(code) = OdsCode::parse(&text) {
                prop_assert_eq!(OdsCode::parse(code.as_str()), Ok(code));
                prop_assert!(code.as_str().eq_ignore_ascii_case(&text));
            }
        }
    }
}
