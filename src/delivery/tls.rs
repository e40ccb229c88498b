//! TLS towards next hops: whom to trust, and what to write down about a connection.
//!
//! There are two ways to shake hands. At level `verified` the chain and the name must be right, or
//! there is no connection. Below it any certificate will do, because the alternative is no protection
//! at all; whether it would have been right is found out afterwards, for the audit trail.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, WantsVerifier, version,
};

use crate::outcome::{NamedBy, TlsEvidence};

/// Makes connections secure. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    verifying: TlsConnector,
    accepting: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Whether the certificate must be right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Certificate {
    MustBeRight,
    MayBeAny,
}

impl Tls {
    /// Trusts the public authorities and `extra_roots`. Errs if one of these is no certificate.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for root in extra_roots {
            roots.add(root.clone()).map_err(TlsSetupError::Root)?;
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|_| TlsSetupError::Verifier)?;
        let verifying = versions(&provider)?
            .with_webpki_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        let accepting = versions(&provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(Arc::clone(&provider))))
            .with_no_client_auth();
        Ok(Self {
            verifying: TlsConnector::from(Arc::new(verifying)),
            accepting: TlsConnector::from(Arc::new(accepting)),
            verifier,
        })
    }

    /// Shakes hands with the server of this name, or of this address, and notes who named it.
    pub(super) async fn secure<S>(
        &self,
        stream: S,
        (host, named_by): (&str, NamedBy),
        certificate: Certificate,
    ) -> Result<(TlsStream<S>, TlsEvidence), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| HandshakeError::Name)?;
        let connector = match certificate {
            Certificate::MustBeRight => &self.verifying,
            Certificate::MayBeAny => &self.accepting,
        };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(HandshakeError::from)?;
        let evidence = self.evidence(stream.get_ref().1, &name, named_by);
        Ok((stream, evidence))
    }

    fn evidence(
        &self,
        session: &rustls::ClientConnection,
        name: &ServerName<'_>,
        named_by: NamedBy,
    ) -> TlsEvidence {
        let version = session.protocol_version();
        let suite = session.negotiated_cipher_suite();
        let chain = session.peer_certificates().unwrap_or_default();
        let verified = chain.split_first().is_some_and(|(own, others)| {
            self.verifier
                .verify_server_cert(own, others, name, &[], UnixTime::now())
                .is_ok()
        });
        TlsEvidence {
            version: version.map_or_else(String::new, |v| match v {
                rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
                rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
                other => format!("{other:?}"),
            }),
            cipher: suite.map_or_else(String::new, |suite| format!("{:?}", suite.suite())),
            certificate_sha256: chain
                .first()
                .map_or_else(String::new, |own| fingerprint(own)),
            name: name.to_str().into_owned(),
            named_by,
            verified,
        }
    }
}

/// Why TLS cannot be set up at all: a fault of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// One of the certificates to trust is malformed.
    #[error("a certificate to trust is malformed: {0}")]
    Root(rustls::Error),
    /// The certificates to trust make no verifier.
    #[error("the certificates to trust cannot be used")]
    Verifier,
    /// The library cannot do TLS 1.2 and 1.3.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Why a handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The certificate is not right: which is why.
    #[error("the certificate of the next hop {0}")]
    Certificate(&'static str),
    /// Something else: no common version, a broken connection, octets that are not TLS.
    #[error("the TLS handshake failed")]
    Failed,
    /// The host has no name that a certificate can bear.
    #[error("the next hop has no name that a certificate can bear")]
    Name,
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        let inner = error.get_ref().and_then(|e| e.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(words(why)),
            _ => Self::Failed,
        }
    }
}

fn words(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::UnknownIssuer => "is from an authority that is not trusted",
        CertificateError::Revoked => "is revoked",
        _ => "cannot be verified",
    }
}

fn versions(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsSetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    Ok(builder.with_protocol_versions(&[&version::TLS13, &version::TLS12])?)
}

fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate.as_ref());
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Takes any certificate, and checks that whoever shows it holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
