//! The key that signs evidence: Ed25519 (RFC 8032), in the data folder, made at its first use.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::Path;

use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::alg_id;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use zeroize::Zeroizing;

use super::EvidenceError;

/// Both halves. Has no `Debug`.
pub(super) struct Key(KeyPair);

impl Key {
    /// Reads the key in the data folder, or makes it.
    pub(super) fn in_folder(data: &Path) -> Result<Self, EvidenceError> {
        let file = data.join(FILE);
        match read(&file) {
            Err(EvidenceError::KeyFile(error)) if error.kind() == io::ErrorKind::NotFound => {
                make(data, &file)?;
                // What another process may have made meanwhile.
                read(&file)
            }
            read => read,
        }
    }

    /// The 32 octets of the public half.
    pub(super) fn public(&self) -> Vec<u8> {
        self.0.der_bytes().to_vec()
    }

    pub(super) fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, EvidenceError> {
        self.0.sign(octets).map_err(|_| EvidenceError::Key)
    }
}

/// Whether this is the signature over these octets of whoever has the other half of this key.
pub(super) fn is_signed(public: &[u8], octets: &[u8], signature: &[u8]) -> bool {
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms.all;
    let ed25519 = algorithms
        .iter()
        .find(|one| one.signature_alg_id() == alg_id::ED25519);
    ed25519.is_some_and(|ed25519| ed25519.verify_signature(public, octets, signature).is_ok())
}

/// What people compare: SHA-256 of the public half, in hexadecimal.
pub(super) fn fingerprint(public: &[u8]) -> String {
    let digest = Sha256::digest(public);
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn read(file: &Path) -> Result<Key, EvidenceError> {
    let mut opened = File::open(file).map_err(EvidenceError::KeyFile)?;
    let mode = opened.metadata().map_err(EvidenceError::KeyFile)?.mode();
    if mode & 0o077 != 0 {
        return Err(EvidenceError::KeyOpen);
    }
    let mut pem = Zeroizing::new(String::new());
    opened
        .read_to_string(&mut pem)
        .map_err(EvidenceError::KeyFile)?;
    let pair = KeyPair::from_pem_and_sign_algo(&pem, &PKCS_ED25519);
    pair.map(Key).map_err(|_| EvidenceError::Key)
}

/// Whole or not at all, and never over one that is there: older evidence is held against it.
fn make(data: &Path, file: &Path) -> Result<(), EvidenceError> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| EvidenceError::Key)?;
    let pem = Zeroizing::new(pair.serialize_pem());
    let temporary = data.join(format!("{FILE}.{}", std::process::id()));
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut opened = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        opened.write_all(pem.as_bytes())?;
        opened.sync_all()?;
        match std::fs::hard_link(&temporary, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(data)?.sync_all(),
        }
    })();
    let _ = std::fs::remove_file(&temporary);
    written.map_err(EvidenceError::KeyFile)
}

/// In the data folder.
const FILE: &str = "evidence.key";

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = Key::in_folder(folder.path()).unwrap();
        let file = folder.path().join(FILE);
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        let second = Key::in_folder(folder.path()).unwrap();
        assert_eq!(
            (first.public().len(), first.public()),
            (32, second.public())
        );
        // One that others could have copied proves nothing.
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&file, open).unwrap();
        let refused = Key::in_folder(folder.path()).err();
        assert!(matches!(refused, Some(EvidenceError::KeyOpen)));
    }

    #[test]
    fn a_signature_holds_for_its_octets_and_its_key() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (
            Key::in_folder(one.path()).unwrap(),
            Key::in_folder(other.path()).unwrap(),
        );
        let signature = one.sign(b"octets").unwrap();
        assert!(is_signed(&one.public(), b"octets", &signature));
        assert!(!is_signed(&one.public(), b"octet", &signature));
        assert!(!is_signed(&other.public(), b"octets", &signature));
        assert!(!is_signed(b"", b"octets", &signature));
    }
}
