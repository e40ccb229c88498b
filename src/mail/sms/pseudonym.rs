//! The name that a number goes by wherever somebody may look: its last three digits and a keyed hash.

use std::fmt;

use crate::mail::{Domain, ForwardPath, Host, LocalPart, Mailbox};

use super::MobileNumber;

/// A number that nobody can read: `number-ending-003.7f3k2q9a4m`. The same number has the same one always, so that a
/// complaint can be traced; whoever has not the key of the gateway cannot tell whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pseudonym(String);

impl Pseudonym {
    /// What numbers are hashed for (`base::HashKey`): here, and in the list of those who want no texts.
    pub const PURPOSE: &'static str = "number";

    /// The one of this number, by its keyed hash (HMAC, 7 octets of it count).
    pub fn new(number: &MobileNumber, keyed_hash: &[u8]) -> Self {
        let mut bits = 0u64;
        for octet in keyed_hash.iter().take(7) {
            bits = (bits << 8) | u64::from(*octet);
        }
        let letter = |nth: u32| {
            let five = usize::try_from((bits >> (5 * nth)) & 0x1F).unwrap_or(0);
            char::from(ALPHABET[five])
        };
        let hash: String = (0..HASH_LETTERS).map(letter).collect();
        Self(format!("{PREFIX}{}.{hash}", number.last_three()))
    }

    /// The recipient as everybody sees it.
    pub fn at(&self, domain: &Domain) -> Option<ForwardPath> {
        let local = LocalPart::parse(&self.0).ok()?;
        let mailbox = Mailbox::new(local, Host::Domain(domain.clone()));
        Some(ForwardPath::Mailbox(mailbox))
    }

    /// Whether a path is a pseudonym and not an address where mail goes.
    pub fn is_one(path: &ForwardPath) -> bool {
        let Some(mailbox) = path.mailbox() else {
            return false;
        };
        let Some(rest) = mailbox.local_part().as_str().strip_prefix(PREFIX) else {
            return false;
        };
        let Some((digits, hash)) = rest.split_once('.') else {
            return false;
        };
        digits.len() == 3
            && digits.bytes().all(|octet| octet.is_ascii_digit())
            && hash.len() == HASH_LETTERS as usize
            && hash.bytes().all(|octet| ALPHABET.contains(&octet))
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every pseudonym begins with.
const PREFIX: &str = "number-ending-";
/// Fifty bits: no two numbers of an organisation's patients share one by chance.
const HASH_LETTERS: u32 = 10;
/// Crockford's base 32, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_shows_the_end_of_a_number_and_is_known_again() {
        let number = MobileNumber::parse("07700900003").unwrap();
        let pseudonym = Pseudonym::new(&number, &[0xA5; 32]);
        let path = pseudonym
            .at(&Domain::parse("sms.bumbleton.example").unwrap())
            .unwrap();
        let shown = path.to_string();
        assert!(
            shown.starts_with("number-ending-003.") && shown.len() == 50,
            "{shown}"
        );
        assert!(Pseudonym::is_one(&path) && !shown.contains("900"));
        assert_ne!(pseudonym, Pseudonym::new(&number, &[0xA4; 32]));
        for other in [
            "postmaster",
            "07700900003@sms.bumbleton.example",
            "number-ending-03.0123456789@sms.bumbleton.example",
            "number-ending-003.012345678u@sms.bumbleton.example",
            "number-ending-003@sms.bumbleton.example",
        ] {
            assert!(
                !Pseudonym::is_one(&ForwardPath::parse(other).unwrap()),
                "{other}"
            );
        }
    }
}
