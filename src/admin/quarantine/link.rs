//! Links that let one message go on to one mailbox: signed with a key of this gateway, good for a time.
//!
//! A link names a delivery, a time and what it is about, under HMAC-SHA256 (RFC 2104). It holds no secret of the
//! message and needs no log-in: whoever has it can do one thing, once. That it was used is not kept
//! anywhere: what was let go on is no longer quarantined, and a number of a delivery is never given out twice.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::queue::DeliveryId;

/// The key that signs links.
pub struct Links {
    key: hmac::Key,
}

/// What a good link says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// What it lets go on.
    pub delivery: DeliveryId,
    /// From when on it is no good any more.
    pub until: Timestamp,
    /// What the delivery was when the link was made.
    about: [u8; ABOUT_OCTETS],
}

impl Links {
    /// Reads the key in the data folder, and makes one if there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, is none of ours, or somebody else may read it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        if !path.exists() {
            make(folder, &path)?;
        }
        let octets = fs::read(&path)?;
        let mode = fs::metadata(&path)?.permissions().mode();
        if octets.len() != KEY_OCTETS || mode & 0o077 != 0 {
            let what = format!(
                "{} must hold {KEY_OCTETS} octets, for its owner alone",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &octets),
        })
    }

    /// The last part of the address of a link.
    pub fn make(
        &self,
        delivery: DeliveryId,
        reference: &str,
        recipient: &str,
        until: Timestamp,
    ) -> String {
        let mut token = delivery.0.to_be_bytes().to_vec();
        token.extend(until.as_millisecond().to_be_bytes());
        token.extend(about(reference, recipient));
        let tag = hmac::sign(&self.key, &[PURPOSE, &token].concat());
        token.extend(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What a link says, if it is one of ours, whether or not it is still good.
    pub fn read(&self, token: &str) -> Option<Link> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, tag) = token.split_at_checked(SAID_OCTETS)?;
        // Compared in constant time.
        hmac::verify(&self.key, &[PURPOSE, said].concat(), tag).ok()?;
        let (delivery, rest) = said.split_first_chunk::<8>()?;
        let (until, about) = rest.split_first_chunk::<8>()?;
        Some(Link {
            delivery: DeliveryId(i64::from_be_bytes(*delivery)),
            until: Timestamp::from_millisecond(i64::from_be_bytes(*until)).ok()?,
            about: about.try_into().ok()?,
        })
    }
}

impl Link {
    /// Whether the delivery is still the one that the link was made for: a database that was put back from a
    /// copy may give its number to another.
    pub fn is_about(&self, reference: &str, recipient: &str) -> bool {
        self.about == about(reference, recipient)
    }
}

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links(***)")
    }
}

fn about(reference: &str, recipient: &str) -> [u8; ABOUT_OCTETS] {
    let hash = Sha256::digest(format!("{reference} {recipient}"));
    let mut about = [0; ABOUT_OCTETS];
    about.copy_from_slice(&hash[..ABOUT_OCTETS]);
    about
}

/// Puts a new key there as a whole, for this user alone; one that came meanwhile stays.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_OCTETS];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    // Mode 0600 from the start.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => fs::File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// The key, in the data folder.
const FILE: &str = "quarantine.key";
const KEY_OCTETS: usize = 32;
/// What the key is used for: a signature for this is none for anything else.
const PURPOSE: &[u8] = b"postern quarantine release 1\n";
const ABOUT_OCTETS: usize = 16;
/// Delivery, time, and what it is about.
const SAID_OCTETS: usize = 8 + 8 + ABOUT_OCTETS;
/// Characters of a link that are looked at.
const TOKEN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_what_it_was_made_for_and_nothing_else_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(folder.path()).unwrap();
        let until: Timestamp = "2026-11-28T07:00:00Z".parse().unwrap();
        let token = links.make(DeliveryId(7), "PX-7F3K2Q9A", "a@nhs.net", until);
        let link = links.read(&token).unwrap();
        assert_eq!((link.delivery, link.until), (DeliveryId(7), until));
        assert!(link.is_about("PX-7F3K2Q9A", "a@nhs.net"));
        assert!(!link.is_about("PX-7F3K2Q9A", "b@nhs.net"));
        assert!(!link.is_about("PX-7F3K2Q9B", "a@nhs.net"));
        // The same key after a restart.
        assert_eq!(Links::open(folder.path()).unwrap().read(&token), Some(link));

        let other = tempfile::tempdir().unwrap();
        assert_eq!(Links::open(other.path()).unwrap().read(&token), None);
        for at in 0..token.len() - 1 {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(links.read(&forged), None, "at {at}");
        }
        for none in [
            "",
            "AAAA",
            &token[1..],
            &format!("{token}AAAA"),
            "ü",
            &"A".repeat(500),
        ] {
            assert_eq!(links.read(none), None);
        }
    }

    #[test]
    fn the_key_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        Links::open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Links::open(folder.path()).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(Links::open(folder.path()).is_err());
    }
}
