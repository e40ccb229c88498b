//! Development certificates: an authority of one's own and a certificate that it signs.
//!
//! They let the gateway speak TLS a moment after it was built. Nobody else trusts the authority;
//! `postern send` and tests do, by way of `ca.pem`. A file that is there is never written over.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::answer::{Answer, CommandError, json_line};

/// The files of a folder of development certificates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DevelopmentFiles {
    /// The authority, for whoever shall trust it.
    pub authority: PathBuf,
    /// The authority's key.
    pub authority_key: PathBuf,
    /// The gateway's certificate, with the authority's behind it.
    pub certificate: PathBuf,
    /// The gateway's key.
    pub key: PathBuf,
}

impl DevelopmentFiles {
    /// The files in `folder`: `ca.pem`, `ca.key.pem`, `gateway.pem`, `gateway.key.pem`.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            authority: folder.join("ca.pem"),
            authority_key: folder.join("ca.key.pem"),
            certificate: folder.join("gateway.pem"),
            key: folder.join("gateway.key.pem"),
        }
    }
}

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// One half of a pair is there and the other is not: somebody must decide which one goes.
    #[error("{} is there, but {} is not: put it back, or remove the first", present.display(), missing.display())]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The key of the authority is no key, or a name is none for a certificate.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// Makes what is missing in `folder` and returns the files that were made, none if all are there.
/// The certificate is for `localhost`, both loopback addresses and `hostname`; keys are readable by
/// their owner alone. An authority that is there signs the new certificate.
pub fn init(folder: &Path, hostname: &str, now: Timestamp) -> Result<Vec<PathBuf>, CertsError> {
    let files = DevelopmentFiles::in_folder(folder);
    let mut made = Vec::new();
    let whole = |one: &Path, other: &Path| match (one.exists(), other.exists()) {
        (true, false) => Err(half(one, other)),
        (false, true) => Err(half(other, one)),
        (both, _) => Ok(both),
    };
    if whole(&files.certificate, &files.key)? {
        return Ok(made);
    }
    // Others may read what is public; nobody else puts another authority there, whatever the mask.
    let there = DirBuilder::new().recursive(true).mode(0o755).create(folder);
    there.map_err(|error| at(folder, error))?;
    let authority_is_there = whole(&files.authority, &files.authority_key)?;
    let key = if authority_is_there {
        let pem = std::fs::read_to_string(&files.authority_key);
        KeyPair::from_pem(&pem.map_err(|error| at(&files.authority_key, error))?)?
    } else {
        KeyPair::generate()?
    };
    let authority = authority(now)?;
    if !authority_is_there {
        let certificate = authority.self_signed(&key)?;
        write_new(&files.authority_key, &key.serialize_pem(), OWNER_ALONE)?;
        write_new(&files.authority, &certificate.pem(), EVERYONE)?;
        made.extend([files.authority.clone(), files.authority_key.clone()]);
    }
    let issuer = Issuer::new(authority, key);
    let own_key = KeyPair::generate()?;
    let certificate = gateway(hostname, now)?.signed_by(&own_key, &issuer)?;
    let chain = std::fs::read_to_string(&files.authority);
    let chain = chain.map_err(|error| at(&files.authority, error))?;
    write_new(&files.key, &own_key.serialize_pem(), OWNER_ALONE)?;
    write_new(&files.certificate, &(certificate.pem() + &chain), EVERYONE)?;
    made.extend([files.certificate, files.key]);
    Ok(made)
}

/// `postern certs init`: makes what is missing and says what was made.
pub fn run(
    folder: &Path,
    hostname: &str,
    now: Timestamp,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let made = init(folder, hostname, now)?;
    if json {
        let made: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
        json_line(&serde_json::json!({ "made": made }), out)?;
        return Ok(Answer::Done);
    }
    if made.is_empty() {
        let certificate = DevelopmentFiles::in_folder(folder).certificate;
        writeln!(out, "{} is there; nothing to do", certificate.display())?;
    }
    for path in made {
        writeln!(out, "made {}", path.display())?;
    }
    Ok(Answer::Done)
}

fn authority(now: Timestamp) -> Result<CertificateParams, CertsError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name("Postern development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now, AUTHORITY_DAYS);
    Ok(params)
}

fn gateway(hostname: &str, now: Timestamp) -> Result<CertificateParams, CertsError> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec();
    if !names.iter().any(|known| known == hostname) {
        names.push(hostname.to_owned());
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name(hostname);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now, GATEWAY_DAYS);
    Ok(params)
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // RFC 5280, appendix A: a common name has at most 64 characters.
    let short: String = common_name.chars().take(64).collect();
    name.push(DnType::CommonName, short);
    name
}

/// From the day before (clocks differ) for so many days.
fn valid(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let today = now.to_zoned(TimeZone::UTC).date();
    let day = |offset: i64| {
        let date = today.saturating_add(jiff::Span::new().days(offset));
        let part = |number: i8| u8::try_from(number).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = day(-1);
    params.not_after = day(days);
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertsError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| at(path, error))
}

fn half(present: &Path, missing: &Path) -> CertsError {
    CertsError::Half {
        present: present.to_owned(),
        missing: missing.to_owned(),
    }
}

fn at(path: &Path, error: io::Error) -> CertsError {
    CertsError::File {
        path: path.to_owned(),
        error,
    }
}

const OWNER_ALONE: u32 = 0o600;
const EVERYONE: u32 = 0o644;
const AUTHORITY_DAYS: i64 = 3_650;
/// What browsers and mail clients take at most.
const GATEWAY_DAYS: i64 = 397;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_empty_folder_gets_an_authority_and_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::in_folder(folder.path());
        let made = init(folder.path(), "gateway.bumbleton.example", now()).unwrap();
        assert_eq!(made.len(), 4);
        let chain = std::fs::read_to_string(&files.certificate).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        for key in [&files.key, &files.authority_key] {
            let mode = std::fs::metadata(key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_there_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::in_folder(folder.path());
        init(folder.path(), "a.example", now()).unwrap();
        let before = std::fs::read(&files.certificate).unwrap();

        assert!(init(folder.path(), "b.example", now()).unwrap().is_empty());
        assert_eq!(std::fs::read(&files.certificate).unwrap(), before);

        std::fs::remove_file(&files.key).unwrap();
        let half = init(folder.path(), "b.example", now());
        assert!(matches!(half, Err(CertsError::Half { .. })));
        assert_eq!(std::fs::read(&files.certificate).unwrap(), before);
    }

    #[test]
    fn an_authority_that_is_there_signs_the_next_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let files = DevelopmentFiles::in_folder(folder.path());
        init(folder.path(), "a.example", now()).unwrap();
        let authority = std::fs::read_to_string(&files.authority).unwrap();
        std::fs::remove_file(&files.key).unwrap();
        std::fs::remove_file(&files.certificate).unwrap();

        let made = init(folder.path(), "a.example", now()).unwrap();

        assert_eq!(made, [files.certificate.clone(), files.key.clone()]);
        verify(&files, "a.example");
        let chain = std::fs::read_to_string(&files.certificate).unwrap();
        assert!(chain.ends_with(&authority));
    }

    /// What a TLS client that trusts the authority says of the certificate.
    fn verify(files: &DevelopmentFiles, name: &str) {
        use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
        use tokio_rustls::rustls::{RootCertStore, client::WebPkiServerVerifier};

        let authority = CertificateDer::from_pem_file(&files.authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority).unwrap();
        let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let provider =
            std::sync::Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        let seconds = u64::try_from(now().as_second()).unwrap();
        for server in [name, "localhost", "127.0.0.1", "::1"] {
            use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
            let server = ServerName::try_from(server.to_owned()).unwrap();
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            verifier
                .verify_server_cert(&chain[0], &chain[1..], &server, &[], at)
                .unwrap();
        }
    }
}
