//! Keyed hashes: what is to be known again without being kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;

/// A key of this gateway's own for HMAC-SHA-256 (RFC 2104), in a file that nobody else may read. Cheap to clone.
#[derive(Clone)]
pub struct HashKey(Arc<hmac::Key>);

impl HashKey {
    /// Reads the key, or makes one the first time. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds something else. What is kept hashed has to see to it that a lost
    /// key is not replaced silently: nothing could be known again.
    pub fn open_or_make(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(octets) if octets.len() == OCTETS => Ok(Self::new(&octets)),
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} is not a key of {OCTETS} octets", path.display()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error),
        }
    }

    /// A key of these octets.
    pub fn new(octets: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, octets)))
    }

    /// The hash of something, for one purpose: that of another purpose is another one.
    pub fn hash(&self, purpose: &str, octets: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(octets);
        let mut hash = [0; 32];
        // A tag of SHA-256 has 32 octets.
        hash.copy_from_slice(&context.sign().as_ref()[..32]);
        hash
    }

    /// Written whole under another name and linked: of two processes that make one at once, one wins and both use it.
    fn make(path: &Path) -> io::Result<Self> {
        let mut octets = [0; OCTETS];
        getrandom::fill(&mut octets)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(&octets)?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Ok(()) => {
                let folder = path
                    .parent()
                    .filter(|folder| !folder.as_os_str().is_empty());
                fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
                Ok(Self::new(&octets))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::open_or_make(path),
            Err(error) => Err(error),
        }
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(***)")
    }
}

/// HMAC-SHA-256 of a text under a secret: signatures of JSON web tokens (RFC 7518 §3.2).
pub fn hmac_sha256(secret: &[u8], octets: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, octets).as_ref().to_vec()
}

/// Octets of a key: as many as the hash has.
const OCTETS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sms.key");
        let first = HashKey::open_or_make(&path).unwrap();
        let again = HashKey::open_or_make(&path).unwrap();
        assert_eq!(first.hash("a", b"x"), again.hash("a", b"x"));
        assert_ne!(first.hash("a", b"x"), first.hash("b", b"x"));
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&path, b"short").unwrap();
        assert!(
            HashKey::open_or_make(&path).is_err(),
            "a damaged key is not replaced"
        );
    }

    #[test]
    fn the_hash_is_that_of_rfc_4231() {
        let hash = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        let hex: String = hash.iter().map(|octet| format!("{octet:02x}")).collect();
        assert!(hex.starts_with("5bdcc146bf60754e6a042426089575c7"), "{hex}");
    }
}
