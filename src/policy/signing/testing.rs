//! Keys for tests: made once in a process, kept in no file.

use std::sync::OnceLock;

use rcgen::{KeyPair, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _};

use crate::base::secret::Secret;
use crate::mail::Domain;

use super::{Key, Pair};

/// An RSA key of 2048 bits, and its public half as another library writes it.
pub(crate) fn rsa_with_public() -> (Secret, Vec<u8>) {
    static MADE: OnceLock<(String, Vec<u8>)> = OnceLock::new();
    let (pem, public) = MADE.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        (key.serialize_pem(), key.subject_public_key_info())
    });
    (Secret::new(pem.clone()), public.clone())
}

/// An RSA key of 2048 bits.
pub(crate) fn rsa() -> Secret {
    rsa_with_public().0
}

/// An Ed25519 key.
pub(crate) fn ed25519() -> Secret {
    static MADE: OnceLock<String> = OnceLock::new();
    let pem = MADE.get_or_init(|| {
        KeyPair::generate_for(&PKCS_ED25519)
            .unwrap()
            .serialize_pem()
    });
    Secret::new(pem.clone())
}

/// A key that signs on any day.
pub(crate) fn key(domain: &str, selector: &str, pem: &Secret) -> Key {
    let [domain, selector] = [domain, selector].map(|name| Domain::parse(name).unwrap());
    Key::new(domain, selector, Pair::from_pem(pem).unwrap())
}
