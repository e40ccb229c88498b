//! Certificates of clients: what is read out of one (RFC 5280 §4.1), and by what a contract knows it.
//!
//! The TLS handshake has shown that the client holds the key. What it may do with it is decided here: the certificate is
//! one that was written down, or holds a key that was, or an authority that was written down signed it for a name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

use super::der::{
    CONTEXT_0, CONTEXT_3, Element, GENERALIZED_TIME, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING,
    SEQUENCE, UTC_TIME,
};

/// A SHA-256 sum of a certificate, or of its public key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Of all of it.
    pub sha256: Fingerprint,
    /// Of its SubjectPublicKeyInfo: stays the same when it is renewed with the same key.
    pub key_sha256: Fingerprint,
    /// From when on it is good.
    pub begins_at: Timestamp,
    /// Up to when it is good.
    pub ends_at: Timestamp,
    /// The DNS names and addresses in its subject alternative name, in lower case.
    pub names: Vec<String>,
}

/// A certificate that a client has shown, and those behind it.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Its own.
    pub leaf: Certificate,
    chain: Vec<CertificateDer<'static>>,
}

/// By what a certificate of a client is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KnownCertificate {
    /// This one, by the sum of it.
    Itself {
        /// The sum.
        sha256: Fingerprint,
        /// Where it was read, and when it ends; `None` if the sum alone was written down.
        read: Option<(PathBuf, Timestamp)>,
    },
    /// Any with this key.
    Key(Fingerprint),
    /// Any that this authority signed for this name.
    Named {
        /// Who signs.
        authority: Authority,
        /// A DNS name or an address, in lower case.
        name: String,
    },
}

/// Authorities of one file.
#[derive(Clone)]
pub struct Authority {
    file: PathBuf,
    verifier: Arc<dyn ClientCertVerifier>,
}

/// Why a file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read, or is not PEM.
    #[error("{0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// No certificate in it, or one that cannot be read.
    #[error("no certificate that can be read is in it")]
    None,
    /// It cannot be an authority.
    #[error("it is no authority: {0}")]
    Authority(String),
}

impl Certificate {
    /// Reads one; `None` if it is none of X.509 version 3.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let tbs = Element::expect(Element::expect(der, SEQUENCE)?.content, SEQUENCE)?;
        let (validity, key, after) = key_and_validity(tbs.content)?;
        let begins = Element::first(validity)?;
        let extensions = Element::all(after).find(|element| element.tag == CONTEXT_3);
        Some(Self {
            sha256: Fingerprint(Sha256::digest(der).into()),
            key_sha256: Fingerprint(Sha256::digest(key).into()),
            begins_at: time(&begins)?,
            ends_at: time(&Element::first(begins.rest)?)?,
            names: extensions.map_or_else(Vec::new, |all| names(all.content)),
        })
    }

    /// Reads the first of a PEM file. Blocks.
    pub fn read(file: &std::path::Path) -> Result<Self, CertificateError> {
        let mut all = CertificateDer::pem_file_iter(file)?;
        let first = all.next().ok_or(CertificateError::None)??;
        Self::parse(&first).ok_or(CertificateError::None)
    }

    /// Whether this moment lies within its time.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.begins_at <= now && now <= self.ends_at
    }
}

impl Presented {
    /// Reads the chain of a client, its own certificate first; `None` if there is none that can be read.
    pub fn read(chain: &[Vec<u8>]) -> Option<Self> {
        Some(Self {
            leaf: Certificate::parse(chain.first()?)?,
            chain: chain.iter().cloned().map(CertificateDer::from).collect(),
        })
    }
}

impl KnownCertificate {
    /// Whether a client that shows this is the one that is meant, at this moment. A certificate out of its time is
    /// nobody's.
    pub fn matches(&self, shown: &Presented, now: Timestamp) -> bool {
        let is_known = match self {
            Self::Itself { sha256, .. } => *sha256 == shown.leaf.sha256,
            Self::Key(sum) => *sum == shown.leaf.key_sha256,
            Self::Named { authority, name } => {
                shown.leaf.names.contains(name) && authority.signed(shown, now)
            }
        };
        is_known && shown.leaf.is_valid(now)
    }

    /// When it ends, where that is known from what was written down.
    pub fn ends_at(&self) -> Option<Timestamp> {
        match self {
            Self::Itself { read, .. } => read.as_ref().map(|(_, ends_at)| *ends_at),
            Self::Key(_) | Self::Named { .. } => None,
        }
    }
}

impl fmt::Display for KnownCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself { sha256, .. } => write!(f, "sha256 {sha256}"),
            Self::Key(sum) => write!(f, "key-sha256 {sum}"),
            Self::Named { authority, name } => {
                write!(f, "{name} by {}", authority.file.display())
            }
        }
    }
}

impl Authority {
    /// Reads the authorities of a PEM file. Blocks.
    pub fn read(file: PathBuf) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        let wrong = |error: &dyn fmt::Display| CertificateError::Authority(error.to_string());
        for one in CertificateDer::pem_file_iter(&file)? {
            roots.add(one?).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(CertificateError::None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|error| wrong(&error))?;
        Ok(Self { file, verifier })
    }

    /// Whether a path of good signatures leads from it to the certificate, for use by a client (RFC 5280 §4.2.1.12).
    fn signed(&self, shown: &Presented, now: Timestamp) -> bool {
        let Some((leaf, between)) = shown.chain.split_first() else {
            return false;
        };
        let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0));
        let now = UnixTime::since_unix_epoch(now);
        self.verifier.verify_client_cert(leaf, between, now).is_ok()
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file
    }
}

impl Eq for Authority {}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authority").field(&self.file).finish()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    /// 64 hexadecimal digits; colons as OpenSSL writes them do not count.
    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digits: Vec<u8> = text.bytes().filter(|octet| *octet != b':').collect();
        let mut sum = [0; 32];
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadFingerprint);
        }
        for (octet, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| BadFingerprint)?;
            *octet = u8::from_str_radix(pair, 16).map_err(|_| BadFingerprint)?;
        }
        Ok(Self(sum))
    }
}

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "a SHA-256 sum has 64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in FILE"
)]
pub struct BadFingerprint;

/// The SubjectPublicKeyInfo of a certificate, tag and length with it (RFC 5280 §4.1).
pub fn public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let tbs = Element::expect(Element::first(certificate)?.content, SEQUENCE)?;
    key_and_validity(tbs.content).map(|(_, key, _)| key)
}

/// The content of the validity, the whole of the key, and what comes after it.
fn key_and_validity(mut rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if let Some(version) = Element::expect(rest, CONTEXT_0) {
        rest = version.rest;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = Element::expect(rest, tag)?.rest;
    }
    let validity = Element::expect(rest, SEQUENCE)?;
    let subject = Element::expect(validity.rest, SEQUENCE)?;
    let key = Element::expect(subject.rest, SEQUENCE)?;
    Some((validity.content, key.whole, key.rest))
}

/// `YYMMDDHHMMSSZ`, where 50 and above is of the last century, or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn time(element: &Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(element.content)
        .ok()?
        .strip_suffix('Z')?;
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let pair = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    let at = DateTime::new(year, month, day, pair(4)?, pair(6)?, pair(8)?, 0).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The DNS names and addresses of a subject alternative name (RFC 5280 §4.2.1.6).
fn names(extensions: &[u8]) -> Vec<String> {
    let all = Element::expect(extensions, SEQUENCE);
    let all = all.into_iter().flat_map(|all| Element::all(all.content));
    let values = all.filter_map(|extension| {
        let name = Element::expect(extension.content, OBJECT_IDENTIFIER)?;
        let mut values = Element::all(name.rest).filter(|element| element.tag == OCTET_STRING);
        (name.content == SUBJECT_ALTERNATIVE_NAME).then(|| values.next())?
    });
    let general = values.filter_map(|value| Element::expect(value.content, SEQUENCE));
    let general = general.flat_map(|general| Element::all(general.content));
    let texts = general.filter(|one| matches!(one.tag, ADDRESS | DNS_NAME));
    texts
        .filter_map(|one| std::str::from_utf8(one.content).ok())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// `[1] rfc822Name`.
const ADDRESS: u8 = 0x81;
/// `[2] dNSName`.
const DNS_NAME: u8 = 0x82;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, PublicKeyData as _, SanType, date_time_ymd,
    };

    fn params(names: &[&str]) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2051, 1, 1);
        params
    }

    fn authority(
        folder: &std::path::Path,
        name: &str,
    ) -> (Authority, CertifiedIssuer<'static, KeyPair>) {
        let mut of_authority = params(&[]);
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        of_authority
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(of_authority, key).unwrap();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).unwrap();
        (Authority::read(file).unwrap(), issuer)
    }

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn shown(der: &[u8]) -> Presented {
        Presented::read(&[der.to_vec()]).unwrap()
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let key = KeyPair::generate().unwrap();
        let mut of_client = params(&["App.Example"]);
        let address = "Reminders@Bumbleton.example".try_into().unwrap();
        of_client
            .subject_alt_names
            .push(SanType::Rfc822Name(address));
        let made = of_client.self_signed(&key).unwrap();
        let read = Certificate::parse(made.der()).unwrap();
        assert_eq!(read.names, ["app.example", "reminders@bumbleton.example"]);
        assert_eq!(read.begins_at.to_string(), "2026-01-01T00:00:00Z");
        // From 2050 on the year has four digits.
        assert_eq!(read.ends_at.to_string(), "2051-01-01T00:00:00Z");
        let sum = Sha256::digest(key.subject_public_key_info());
        assert_eq!(read.key_sha256, Fingerprint(sum.into()));
        assert_eq!(read.sha256, Fingerprint(Sha256::digest(made.der()).into()));
    }

    #[test]
    fn a_certificate_is_known_by_itself_by_its_key_or_by_a_name_that_an_authority_signed() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, issuer) = authority(folder.path(), "ours");
        let (theirs, other) = authority(folder.path(), "theirs");
        let key = KeyPair::generate().unwrap();
        let one = params(&["app.example"]).signed_by(&key, &issuer).unwrap();
        let renewed = params(&["app.example"]).self_signed(&key).unwrap();
        let foreign = params(&["app.example"]).signed_by(&key, &other).unwrap();
        let mut for_servers = params(&["app.example"]);
        for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let for_servers = for_servers.signed_by(&key, &issuer).unwrap();
        let wild = params(&["*.example"]).signed_by(&key, &issuer).unwrap();
        let of_one = shown(one.der());
        let itself = KnownCertificate::Itself {
            sha256: of_one.leaf.sha256,
            read: None,
        };
        let by_key = KnownCertificate::Key(of_one.leaf.key_sha256);
        let named = KnownCertificate::Named {
            authority: ours,
            name: "app.example".into(),
        };
        for (der, expected) in [
            (one.der(), [true, true, true]),
            (renewed.der(), [false, true, false]),
            (foreign.der(), [false, true, false]),
            (for_servers.der(), [false, true, false]),
            (wild.der(), [false, true, false]),
        ] {
            let known = [&itself, &by_key, &named].map(|one| one.matches(&shown(der), now()));
            assert_eq!(known, expected);
        }
        let named = KnownCertificate::Named {
            authority: theirs,
            name: "app.example".into(),
        };
        assert!(!named.matches(&of_one, now()) && named.matches(&shown(foreign.der()), now()));
        let before: Timestamp = "2025-12-31T23:59:59Z".parse().unwrap();
        assert!(!itself.matches(&of_one, before) && !by_key.matches(&of_one, before));
    }

    #[test]
    fn a_fingerprint_is_read_as_openssl_writes_it() {
        let sum = Fingerprint([0xab; 32]);
        assert_eq!(sum.to_string().parse(), Ok(sum));
        let with_colons = vec!["AB"; 32].join(":");
        assert_eq!(with_colons.parse(), Ok(sum));
        for bad in [
            "",
            "ab",
            &"zz".repeat(32),
            &"ab".repeat(20),
            &"+a".repeat(32),
        ] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(BadFingerprint), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_octets_break_the_reader(octets in proptest::collection::vec(any::<u8>(), 0..64), cut in 0..400_usize, at in 0..400_usize, to: u8) {
            let _ = Certificate::parse(&octets);
            let made = params(&["app.example"]).self_signed(&KeyPair::generate().unwrap()).unwrap();
            let mut der = made.der().to_vec();
            let place = at % der.len();
            der[place] = to;
            let _ = Certificate::parse(&der);
            der.truncate(cut);
            let _ = Certificate::parse(&der);
        }
    }
}
