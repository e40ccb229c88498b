//! SCRAM-SHA-256 (RFC 5802, RFC 7677): the keys that a server keeps, and the sums that both sides do.
//!
//! The exchanges themselves are in `smtp`: this is what the keeper of the keys and the two ends share.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A digest, a key or a proof.
pub type Sum = [u8; 32];

/// What a server keeps of a password to take part in SCRAM (RFC 5802 §3). Whoever has it can pretend to be the server,
/// and can try passwords at the price of the iterations; he cannot log in with it.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramKeys {
    /// How often the password was hashed.
    pub iterations: NonZeroU32,
    /// The salt.
    pub salt: Vec<u8>,
    /// The digest of the client's key.
    pub stored_key: Sum,
    /// The server's key.
    pub server_key: Sum,
}

impl ScramKeys {
    /// Derives them from a password of printable ASCII, for which SASLprep (RFC 4013) changes nothing; `None` for
    /// others. Takes milliseconds.
    pub fn derive(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Option<Self> {
        if !password.bytes().all(|octet| (0x20..0x7f).contains(&octet)) {
            return None;
        }
        let salted = salted(password, &salt, iterations);
        Some(Self {
            iterations,
            salt,
            stored_key: hash(&mac(&salted, b"Client Key")),
            server_key: mac(&salted, b"Server Key"),
        })
    }

    /// Whether a proof was made with the password behind these keys.
    pub fn proves(&self, proof: &Sum, auth_message: &[u8]) -> bool {
        let client_key = xor(proof, &mac(&self.stored_key, auth_message));
        constant_time::verify_slices_are_equal(&hash(&client_key), &self.stored_key).is_ok()
    }

    /// What shows the client that the server knows them.
    pub fn signature(&self, auth_message: &[u8]) -> Sum {
        mac(&self.server_key, auth_message)
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({}, ***)", self.iterations)
    }
}

/// As it is kept: `iterations,salt,stored key,server key`, the last three in base64.
impl fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coded = |octets: &[u8]| STANDARD.encode(octets);
        let (salt, stored) = (coded(&self.salt), coded(&self.stored_key));
        let server = coded(&self.server_key);
        write!(f, "{},{salt},{stored},{server}", self.iterations)
    }
}

impl FromStr for ScramKeys {
    type Err = BadKeys;

    fn from_str(text: &str) -> Result<Self, BadKeys> {
        let mut parts = text.split(',');
        let mut part = || parts.next().ok_or(BadKeys);
        let iterations = part()?.parse().map_err(|_| BadKeys)?;
        let mut octets = || STANDARD.decode(part()?).map_err(|_| BadKeys);
        let salt = octets()?;
        let mut sum = || octets()?.try_into().map_err(|_| BadKeys);
        Ok(Self {
            iterations,
            salt,
            stored_key: sum()?,
            server_key: sum()?,
        })
    }
}

/// Not keys as they are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not SCRAM keys")]
pub struct BadKeys;

/// What a client sends to show that it knows the password, and the signature that it then expects of the server.
pub fn client_sums(
    password: &str,
    salt: &[u8],
    iterations: NonZeroU32,
    auth_message: &[u8],
) -> (Sum, Sum) {
    let salted = salted(password, salt, iterations);
    let client_key = mac(&salted, b"Client Key");
    let proof = xor(&client_key, &mac(&hash(&client_key), auth_message));
    let signature = mac(&mac(&salted, b"Server Key"), auth_message);
    (proof, signature)
}

/// HMAC-SHA-256.
pub fn mac(key: &[u8], message: &[u8]) -> Sum {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    sum_of(tag.as_ref())
}

fn salted(password: &str, salt: &[u8], iterations: NonZeroU32) -> Sum {
    let mut salted = [0; 32];
    let password = password.as_bytes();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        salt,
        password,
        &mut salted,
    );
    salted
}

fn hash(octets: &[u8]) -> Sum {
    sum_of(digest::digest(&digest::SHA256, octets).as_ref())
}

/// SHA-256 has 32 octets.
fn sum_of(octets: &[u8]) -> Sum {
    let mut sum = [0; 32];
    sum.copy_from_slice(octets);
    sum
}

fn xor(one: &Sum, other: &Sum) -> Sum {
    std::array::from_fn(|at| one[at] ^ other[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    /// The example of RFC 7677 §3.
    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let rounds = NonZeroU32::new(4096).unwrap();
        let auth_message = AUTH_MESSAGE.as_bytes();
        let (proof, signature) = client_sums("pencil", &salt, rounds, auth_message);
        assert_eq!(
            STANDARD.encode(proof),
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(
            STANDARD.encode(signature),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        let keys = ScramKeys::derive("pencil", salt, rounds).unwrap();
        assert!(keys.proves(&proof, auth_message) && !keys.proves(&proof, b"another"));
        assert!(!keys.proves(&[0; 32], auth_message));
        assert_eq!(keys.signature(auth_message), signature);
    }

    #[test]
    fn keys_are_read_back_as_they_were_written_and_shown_by_nothing() {
        let rounds = NonZeroU32::new(5).unwrap();
        let keys = ScramKeys::derive("x", vec![1, 2], rounds).unwrap();
        assert_eq!(keys.to_string().parse(), Ok(keys.clone()));
        for bad in ["", "0,AA==,AA==,AA==", "5,AA==", "x,a,b,c"] {
            assert_eq!(bad.parse::<ScramKeys>(), Err(BadKeys), "{bad}");
        }
        assert_eq!(format!("{keys:?}"), "ScramKeys(5, ***)");
        assert!(ScramKeys::derive("caf\u{e9}", vec![1], rounds).is_none());
    }
}
