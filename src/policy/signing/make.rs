//! New keys to sign with.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PKCS_RSA_SHA256};
use zeroize::Zeroizing;

use crate::base::secret::Secret;

use super::key::{Algorithm, KeyError};

/// Makes a private key, as PKCS #8 in PEM: RSA of 2048 bits, which every verifier takes (RFC 8301 §3.2) and
/// whose record still fits into one answer of the DNS over UDP, or Ed25519. Takes up to a second.
///
/// # Errors
/// The system gives no random numbers.
pub fn generate(algorithm: Algorithm) -> Result<Secret, KeyError> {
    match algorithm {
        Algorithm::Rsa => {
            let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|_| KeyError::NotMade)?;
            Ok(Secret::new(pair.serialize_pem()))
        }
        Algorithm::Ed25519 => ed25519(),
    }
}

/// RFC 8410 §7, without the public half: so OpenSSL writes and reads it.
fn ed25519() -> Result<Secret, KeyError> {
    let mut der = Zeroizing::new(ED25519_PREFIX.to_vec());
    der.resize(ED25519_PREFIX.len() + 32, 0);
    getrandom::fill(&mut der[ED25519_PREFIX.len()..]).map_err(|_| KeyError::NotMade)?;
    let text = Zeroizing::new(BASE64_STANDARD.encode(&der[..]));
    Ok(Secret::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        &*text
    )))
}

/// OneAsymmetricKey version 1, id-Ed25519, and the headers of a seed of 32 octets.
const ED25519_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::signing::Pair;

    #[test]
    fn a_new_key_is_one_that_signs() {
        for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
            let pair = Pair::from_pem(&generate(algorithm).unwrap()).unwrap();
            assert_eq!(pair.algorithm(), algorithm);
            assert!(pair.sign(b"x").is_ok());
            let other = Pair::from_pem(&generate(algorithm).unwrap()).unwrap();
            assert_ne!(pair.record(), other.record());
        }
    }
}
