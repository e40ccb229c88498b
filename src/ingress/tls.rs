//! Certificates by name, followed for changes (RFC 6066 §3; TLS 1.2 and 1.3 only).
//!
//! A changed file that cannot be used keeps the certificate before it: a renewal that goes wrong at
//! night must not stop mail.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tracing::{error, info};

use crate::base::Shutdown;

use super::any_certificate::AnyCertificate;
use super::settings::CertificateFiles;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of the right kind.
    #[error("{}: {because}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        because: String,
    },
    /// Key and certificate do not belong together, or are of a kind that is not supported.
    #[error("{}: {source}", path.display())]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificates in force; swapped as a whole.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<CertificateFiles>,
    current: RwLock<Arc<Set>>,
}

/// Certificates in their order: each is asked in turn for a name, and there are few.
#[derive(Debug)]
struct Set {
    default: Arc<CertifiedKey>,
    all: Vec<Arc<CertifiedKey>>,
    /// When each file was last changed, as of this set.
    stamps: Vec<Option<SystemTime>>,
}

impl Certificates {
    /// Reads all of them; `None` if there are none.
    pub fn load(files: &[CertificateFiles]) -> Result<Option<Arc<Self>>, TlsError> {
        if files.is_empty() {
            return Ok(None);
        }
        let current = RwLock::new(Arc::new(Set::load(files)?));
        Ok(Some(Arc::new(Self {
            files: files.to_vec(),
            current,
        })))
    }

    /// The configuration of a listener that uses them; `asks` for certificates of its clients.
    pub fn server_config(self: &Arc<Self>, asks: bool) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        let config = match asks {
            true => config.with_client_cert_verifier(AnyCertificate::new(provider)),
            false => config.with_no_client_auth(),
        };
        let config = config.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(Arc::new(config))
    }

    /// Follows the files until the shutdown begins.
    pub async fn follow(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let certificates = Arc::clone(&self);
            // Files may lie on a slow disk. A panic in there would leave the certificates as they are.
            let _ = tokio::task::spawn_blocking(move || certificates.look()).await;
        }
    }

    /// Takes changed files into force.
    fn look(&self) {
        if stamps(&self.files) == self.current().stamps {
            return;
        }
        match Set::load(&self.files) {
            Ok(set) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
                info!("changed certificates are in force");
            }
            Err(because) => {
                error!(%because, "changed certificates cannot be used: those before stay in force");
            }
        }
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.current();
        let named = hello.server_name().and_then(|name| set.for_name(name));
        Some(named.unwrap_or_else(|| Arc::clone(&set.default)))
    }
}

impl Set {
    fn load(files: &[CertificateFiles]) -> Result<Self, TlsError> {
        let stamps = stamps(files);
        let all = files
            .iter()
            .map(|files| load_pair(files).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(default) = all.first().map(Arc::clone) else {
            return Err(TlsError::File {
                path: PathBuf::new(),
                because: "no certificate is named".to_owned(),
            });
        };
        Ok(Self {
            default,
            all,
            stamps,
        })
    }

    /// The first certificate that is good for a name.
    fn for_name(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = ServerName::DnsName(DnsName::try_from(name).ok()?);
        self.all
            .iter()
            .find(|key| is_for(key, &name))
            .map(Arc::clone)
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key
        .end_entity_cert()
        .ok()
        .map(rustls::server::ParsedCertificate::try_from);
    matches!(parsed, Some(Ok(parsed)) if rustls::client::verify_server_name(&parsed, name).is_ok())
}

fn load_pair(files: &CertificateFiles) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path, because: String| TlsError::File {
        path: path.to_owned(),
        because,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(unreadable(
            &files.certificate,
            "no certificate in it".to_owned(),
        ));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable(&files.key, error.to_string()))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
        TlsError::Pair {
            path: files.certificate.clone(),
            source,
        }
    })
}

/// When each file was last changed; `None` for one that is not there.
fn stamps(files: &[CertificateFiles]) -> Vec<Option<SystemTime>> {
    let stamp = |path: &PathBuf| -> io::Result<SystemTime> { std::fs::metadata(path)?.modified() };
    files
        .iter()
        .flat_map(|files| [stamp(&files.certificate).ok(), stamp(&files.key).ok()])
        .collect()
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, host: &str) -> CertificateFiles {
        let pair = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        let files = CertificateFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn the_certificate_is_chosen_by_name_and_the_first_serves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            write(folder.path(), "a", "a.example"),
            write(folder.path(), "b", "*.b.example"),
        ];
        let certificates = Certificates::load(&files).unwrap().unwrap();
        let set = certificates.current();
        assert!(Arc::ptr_eq(
            &set.for_name("mail.b.example").unwrap(),
            &set.all[1]
        ));
        assert!(Arc::ptr_eq(
            &set.for_name("a.example").unwrap(),
            &set.default
        ));
        assert!(set.for_name("c.example").is_none() && set.for_name("a_b").is_none());
    }

    #[test]
    fn changed_files_come_into_force_and_bad_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = [write(folder.path(), "a", "a.example")];
        let certificates = Certificates::load(&files).unwrap().unwrap();
        let before = certificates.current();

        std::fs::write(&files[0].key, "not a key").unwrap();
        certificates.look();
        assert!(Arc::ptr_eq(
            &before.default,
            &certificates.current().default
        ));

        write(folder.path(), "a", "new.example");
        certificates.look();
        assert!(certificates.current().for_name("new.example").is_some());
    }

    /// NCSC, "Using TLS to protect data": nothing without ephemeral keys and AEAD, nothing below TLS 1.2.
    #[test]
    fn nothing_is_accepted_but_what_the_ncsc_recommends() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        let made = rcgen::generate_simple_self_signed(vec!["gate.example".to_owned()]).unwrap();
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let certificates = Certificates::load(&[files]).unwrap().unwrap();
        let config = certificates.server_config(false).unwrap();
        let suites = config.crypto_provider().cipher_suites.iter();
        for suite in suites.map(|suite| format!("{:?}", suite.suite())) {
            let ephemeral = suite.starts_with("TLS13_") || suite.starts_with("TLS_ECDHE_");
            assert!(ephemeral, "{suite}");
            assert!(
                suite.contains("_GCM_") || suite.contains("_CHACHA20_POLY1305"),
                "{suite}"
            );
        }
    }
}
