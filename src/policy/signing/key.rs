//! Keys that sign: read from PEM files, never printed; what the DNS has to say of them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::civil::Date;
use mail_auth::common::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256, SigningKey as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::base::secret::Secret;
use crate::mail::Domain;

/// What a key is good at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// `rsa-sha256` (RFC 6376 §3.3.1).
    Rsa,
    /// `ed25519-sha256` (RFC 8463).
    Ed25519,
}

impl Algorithm {
    /// The word in `a=`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rsa => "rsa-sha256",
            Self::Ed25519 => "ed25519-sha256",
        }
    }

    /// The word in `k=` of the record.
    pub fn key_word(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// A key of a domain, and when it signs.
pub struct Key {
    /// Whose it is.
    pub domain: Domain,
    /// Under which name the DNS has its other half.
    pub selector: Domain,
    /// The first day on which it signs (UTC).
    pub from: Option<Date>,
    /// The last day on which it signs.
    pub until: Option<Date>,
    pair: Pair,
}

impl Key {
    /// A key that signs for this domain on any day.
    pub fn new(domain: Domain, selector: Domain, pair: Pair) -> Self {
        Self {
            domain,
            selector,
            from: None,
            until: None,
            pair,
        }
    }

    /// Whether it signs on this day.
    pub fn signs_on(&self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    /// Both halves.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Where the DNS has its public half, with the dot at the end.
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}.", self.selector, self.domain)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?})", self.record_name(), self.pair)
    }
}

/// The private and the public half. `Debug` shows the algorithm alone.
pub struct Pair {
    private: DkimKey,
    algorithm: Algorithm,
    /// As the record has it: SubjectPublicKeyInfo for RSA, the bare 32 octets for Ed25519 (RFC 8463 §4.2).
    public: Vec<u8>,
}

/// Why a text is no key to sign with. Never says what is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// There is no private key in PEM.
    #[error("it holds no private key in PEM")]
    NotPem,
    /// Another algorithm, an RSA key too short for today's verifiers, or damage.
    #[error("it is neither an RSA key of 2048 to 8192 bits nor an Ed25519 key")]
    Unusable,
    /// The system gave no random numbers for a new one.
    #[error("the system gave no random numbers")]
    NotMade,
    /// The key does not sign.
    #[error("the key does not sign")]
    Silent,
}

impl Pair {
    /// Reads a private key: PKCS #8, or PKCS #1 for RSA, in PEM.
    pub fn from_pem(pem: &Secret) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes());
        let der = der.map_err(|_| KeyError::NotPem)?;
        if let PrivateKeyDer::Pkcs8(pkcs8) = &der
            && let Some(pair) = ed25519(pkcs8)
        {
            return Ok(pair);
        }
        let key = RsaKey::<Sha256>::from_key_der(der).map_err(|_| KeyError::Unusable)?;
        Ok(Self {
            public: subject_public_key_info(&key.public_key()),
            private: DkimKey::Rsa(key),
            algorithm: Algorithm::Rsa,
        })
    }

    /// What it is good at.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs octets: what becomes of `b=`.
    pub fn sign(&self, octets: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.private.sign(octets).map_err(|_| KeyError::Silent)
    }

    /// The text of the record (RFC 6376 §3.6.1). `h=sha256` forbids the hash that is broken.
    pub fn record(&self) -> String {
        format!(
            "v=DKIM1; h=sha256; k={}; p={}",
            self.algorithm.key_word(),
            BASE64_STANDARD.encode(&self.public)
        )
    }

    /// Whether a record is of this key: not revoked, its own public half, for its kind of key.
    pub fn is_published_in(&self, record: &str) -> bool {
        let tag = |name: &str| {
            let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
            let found = tags.find(|(known, _)| known.trim() == name);
            found.map(|(_, value)| value.replace(char::is_whitespace, ""))
        };
        let published = tag("p").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let kind = tag("k").unwrap_or_else(|| "rsa".to_owned());
        let hashes = tag("h").unwrap_or_else(|| "sha256".to_owned());
        let bare = self.public.strip_prefix(&rsa_prefix(&self.public)[..]);
        let is_ours = published.is_some_and(|octets| {
            // RFC 6376 erratum 3017: some publish the key without what says that it is RSA.
            octets == self.public || (self.algorithm == Algorithm::Rsa && Some(&octets[..]) == bare)
        });
        is_ours
            && kind == self.algorithm.key_word()
            && hashes
                .split(':')
                .any(|hash| hash == "sha256" || hash == "*")
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.word())
    }
}

fn ed25519(pkcs8: &PrivatePkcs8KeyDer<'_>) -> Option<Pair> {
    // OpenSSL leaves the public half out of the file; it follows from the private one.
    let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(pkcs8.secret_pkcs8_der()).ok()?;
    Some(Pair {
        public: key.public_key(),
        private: DkimKey::Ed25519(key),
        algorithm: Algorithm::Ed25519,
    })
}

/// RFC 5280 §4.1.2.7 round an RSA public key of PKCS #1.
fn subject_public_key_info(pkcs1: &[u8]) -> Vec<u8> {
    let bits = [&[0][..], pkcs1].concat();
    let bit_string = der(0x03, &bits);
    der(0x30, &[RSA_ENCRYPTION, &bit_string].concat())
}

/// What stands before the bare key in its SubjectPublicKeyInfo.
fn rsa_prefix(info: &[u8]) -> Vec<u8> {
    // Two headers of four octets each (every key of 1024 bits and more), the algorithm, and "no bits unused".
    info.iter()
        .take(4 + RSA_ENCRYPTION.len() + 4 + 1)
        .copied()
        .collect()
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|octet| **octet == 0).count()..];
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.extend_from_slice(length);
    } else {
        // A length has eight octets at most.
        out.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
        out.extend_from_slice(length);
    }
    out.extend_from_slice(content);
    out
}

/// AlgorithmIdentifier rsaEncryption with NULL parameters (RFC 3279 §2.3.1).
const RSA_ENCRYPTION: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::signing::testing;

    #[test]
    fn both_kinds_of_key_are_read_and_none_is_printed() {
        for (pem, kind) in [
            (testing::rsa(), "rsa-sha256"),
            (testing::ed25519(), "ed25519-sha256"),
        ] {
            let pair = Pair::from_pem(&pem).unwrap();
            assert_eq!(pair.algorithm().word(), kind);
            let shown = format!("{pair:?}");
            assert_eq!(shown, kind);
        }
    }

    #[test]
    fn the_record_has_the_public_half_as_others_write_it() {
        let published = |pair: &Pair| pair.record().split_once("p=").unwrap().1.to_owned();
        let (secret, spki) = testing::rsa_with_public();
        let rsa = Pair::from_pem(&secret).unwrap();
        assert_eq!(published(&rsa), BASE64_STANDARD.encode(spki));
        assert!(
            rsa.record()
                .starts_with("v=DKIM1; h=sha256; k=rsa; p=MIIBIjAN")
        );
        // RFC 8463 §4.2: 32 octets and nothing round them.
        let ed = Pair::from_pem(&testing::ed25519()).unwrap();
        assert_eq!(BASE64_STANDARD.decode(published(&ed)).unwrap().len(), 32);
        assert!(ed.record().starts_with("v=DKIM1; h=sha256; k=ed25519; p="));
    }

    #[test]
    fn what_is_no_key_is_told_without_its_content() {
        for (text, error) in [
            ("hello", KeyError::NotPem),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                KeyError::Unusable,
            ),
        ] {
            let read = Pair::from_pem(&Secret::new(text.to_owned()));
            assert_eq!(read.err(), Some(error));
        }
    }

    #[test]
    fn a_record_is_compared_by_what_it_means() {
        let pair = Pair::from_pem(&testing::rsa()).unwrap();
        let record = pair.record();
        let public = record.split_once("p=").unwrap().1;
        let (start, end) = public.split_at(100);
        let bare = BASE64_STANDARD.encode(&BASE64_STANDARD.decode(public).unwrap()[24..]);
        for (record, same) in [
            (record.clone(), true),
            (format!("p={public}"), true),
            (format!("v=DKIM1;p= {start} {end} ;t=s"), true),
            (format!("v=DKIM1; p={bare}"), true),
            (format!("k=ed25519; p={public}"), false),
            (format!("h=sha1; p={public}"), false),
            ("v=DKIM1; p=".to_owned(), false),
            (Pair::from_pem(&testing::ed25519()).unwrap().record(), false),
            (String::new(), false),
        ] {
            assert_eq!(pair.is_published_in(&record), same, "{record}");
        }
    }

    #[test]
    fn a_key_signs_from_its_first_day_to_its_last() {
        let pair = Pair::from_pem(&testing::ed25519()).unwrap();
        let domain = |text: &str| Domain::parse(text).unwrap();
        let mut key = Key::new(domain("ward.example"), domain("s1"), pair);
        let day = |text: &str| text.parse::<Date>().unwrap();
        assert!(key.signs_on(day("1999-01-01")));
        (key.from, key.until) = (Some(day("2026-11-01")), Some(day("2026-11-30")));
        for (text, signs) in [
            ("2026-10-31", false),
            ("2026-11-01", true),
            ("2026-11-30", true),
            ("2026-12-01", false),
        ] {
            assert_eq!(key.signs_on(day(text)), signs, "{text}");
        }
        assert_eq!(key.record_name(), "s1._domainkey.ward.example.");
    }
}
