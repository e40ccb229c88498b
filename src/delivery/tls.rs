//! TLS towards next hops: whom to trust, and what to write down about a connection.
//!
//! There are three ways to shake hands. At level `verified` the chain and the name must be right, or
//! there is no connection. Below it any certificate will do, because the alternative is no protection
//! at all; whether it would have been right is found out afterwards, for the audit trail. There it may even be one whose
//! key we cannot check, which proves nothing, and is noted as such. Where a server has TLSA
//! records that can be used, its certificate must be the one that they announce, and is looked at before anything is
//! said under it.
//!
//! TLS 1.2 and 1.3 alone, with the suites and groups of the NCSC's profile ("Using TLS to protect data"): AES-GCM or
//! ChaCha20-Poly1305, with ephemeral keys. Tests hold both sides of the gateway to that.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, WantsVerifier, version,
};

use crate::outcome::{Authenticated, NamedBy, TlsEvidence};

use super::dane::Dane;

/// Makes connections secure. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls {
    verifying: TlsConnector,
    accepting: TlsConnector,
    matching: TlsConnector,
    unproven: TlsConnector,
    verifier: Arc<WebPkiServerVerifier>,
}

/// Whether the certificate must be right, and by what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Certificate<'a> {
    MustBeRight,
    MayBeAny,
    /// Any, of whoever shows it: that he has its key he need not show.
    MayBeUnproven,
    MustMatch(&'a Dane),
}

/// A connection under TLS, and what is known of it.
pub(super) struct Secured<S> {
    pub(super) stream: TlsStream<S>,
    pub(super) evidence: TlsEvidence,
    /// What is wrong with the certificate, where any will do.
    pub(super) fault: Option<Fault>,
}

impl Tls {
    /// Trusts the public authorities and `extra_roots`. Errs if one of these is no certificate.
    pub(super) fn new(extra_roots: &[CertificateDer<'static>]) -> Result<Self, TlsSetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(&provider, extra_roots)?;
        let mut verifying = versions(&provider)?
            .with_webpki_verifier(Arc::clone(&verifier))
            .with_no_client_auth();
        let accepting = versions(&provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(Arc::clone(&provider))))
            .with_no_client_auth();
        let mut unproven = versions(&provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Whatever(Arc::clone(&provider))))
            .with_no_client_auth();
        let mut matching = accepting.clone();
        // A session that is resumed shows no certificate: that of yesterday would count today, though it has ended since, and
        // be held against the TLSA records of today; a key that was rolled over would keep mail here for as long as the
        // server remembers the session.
        verifying.resumption = Resumption::disabled();
        matching.resumption = Resumption::disabled();
        unproven.resumption = Resumption::disabled();
        Ok(Self {
            verifying: TlsConnector::from(Arc::new(verifying)),
            matching: TlsConnector::from(Arc::new(matching)),
            accepting: TlsConnector::from(Arc::new(accepting)),
            unproven: TlsConnector::from(Arc::new(unproven)),
            verifier,
        })
    }

    /// Shakes hands with the server of this name, or of this address, and notes who named it.
    pub(super) async fn secure<S>(
        &self,
        stream: S,
        (host, named_by): (&str, NamedBy),
        certificate: Certificate<'_>,
    ) -> Result<Secured<S>, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = match certificate {
            Certificate::MustMatch(dane) => &dane.base,
            _ => host,
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| HandshakeError::Name)?;
        let connector = match certificate {
            Certificate::MustBeRight => &self.verifying,
            Certificate::MayBeAny => &self.accepting,
            Certificate::MayBeUnproven => &self.unproven,
            Certificate::MustMatch(_) => &self.matching,
        };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(HandshakeError::from)?;
        let (mut evidence, mut fault) = self.evidence(stream.get_ref().1, &name, named_by);
        if let Certificate::MustMatch(dane) = certificate {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            if !dane.accepts(chain, UnixTime::now()) {
                return Err(HandshakeError::Certificate(Fault::Tlsa));
            }
            evidence.verified = true;
            evidence.authenticated = Authenticated::Dane;
            fault = None;
        }
        // Another's certificate may be right.
        if certificate == Certificate::MayBeUnproven {
            evidence.verified = false;
            evidence.authenticated = Authenticated::None;
            fault = fault.or(Some(Fault::Other));
        }
        Ok(Secured {
            stream,
            evidence,
            fault,
        })
    }

    fn evidence(
        &self,
        session: &rustls::ClientConnection,
        name: &ServerName<'_>,
        named_by: NamedBy,
    ) -> (TlsEvidence, Option<Fault>) {
        let version = session.protocol_version();
        let suite = session.negotiated_cipher_suite();
        let chain = session.peer_certificates().unwrap_or_default();
        let fault = match chain.split_first() {
            None => Some(Fault::Other),
            Some((own, others)) => self
                .verifier
                .verify_server_cert(own, others, name, &[], UnixTime::now())
                .err()
                .map(|error| fault_in(&error)),
        };
        let evidence = TlsEvidence {
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
            verified: fault.is_none(),
            authenticated: match (fault, named_by) {
                (Some(_), _) => Authenticated::None,
                (None, NamedBy::Policy) => Authenticated::MtaSts,
                (None, _) => Authenticated::WebPki,
            },
        };
        (evidence, fault)
    }
}

/// A client's settings that take nothing but right certificates.
pub(super) fn verifying_config(
    extra_roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(&provider, extra_roots)?;
    let config = versions(&provider)?.with_webpki_verifier(verifier);
    Ok(config.with_no_client_auth())
}

fn verifier(
    provider: &Arc<CryptoProvider>,
    extra_roots: &[CertificateDer<'static>],
) -> Result<Arc<WebPkiServerVerifier>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for root in extra_roots {
        roots.add(root.clone()).map_err(TlsSetupError::Root)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|_| TlsSetupError::Verifier)
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
    /// The certificate is not right.
    #[error("the certificate of the next hop {0}")]
    Certificate(Fault),
    /// Something else: no common version, a broken connection, octets that are not TLS.
    #[error("the TLS handshake failed")]
    Failed,
    /// The host has no name that a certificate can bear.
    #[error("the next hop has no name that a certificate can bear")]
    Name,
}

/// What is wrong with a certificate; the words go on from "the certificate of …".
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    #[error("has expired")]
    Expired,
    #[error("is not valid yet")]
    NotYet,
    #[error("is for another name")]
    Name,
    #[error("is from an authority that is not trusted")]
    Issuer,
    #[error("is revoked")]
    Revoked,
    #[error("is not the one that its TLSA records announce")]
    Tlsa,
    #[error("cannot be verified")]
    Other,
}

impl Fault {
    /// The result type of RFC 8460 §4.3.1.
    pub(super) fn result_type(self) -> &'static str {
        match self {
            Self::Expired | Self::NotYet => "certificate-expired",
            Self::Name => "certificate-host-mismatch",
            Self::Issuer => "certificate-not-trusted",
            Self::Tlsa => "tlsa-invalid",
            Self::Revoked | Self::Other => "validation-failure",
        }
    }
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        fault_of(&error).map_or(Self::Failed, Self::Certificate)
    }
}

/// What is wrong with the certificate, if that is why a handshake failed.
pub(super) fn fault_of(error: &std::io::Error) -> Option<Fault> {
    match error.get_ref()?.downcast_ref()? {
        error @ rustls::Error::InvalidCertificate(_) => Some(fault_in(error)),
        _ => None,
    }
}

fn fault_in(error: &rustls::Error) -> Fault {
    let rustls::Error::InvalidCertificate(why) = error else {
        return Fault::Other;
    };
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Fault::NotYet
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Fault::Name
        }
        CertificateError::UnknownIssuer => Fault::Issuer,
        CertificateError::Revoked => Fault::Revoked,
        _ => Fault::Other,
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

/// Takes any certificate, of anyone.
#[derive(Debug)]
struct Whatever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whatever {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::rustls::CipherSuite;

    /// NCSC, "Using TLS to protect data", the recommended profiles and what it lists as sound beside them. The
    /// server's side is built from the same provider (`ingress::tls`), which has a test of its own.
    #[test]
    fn nothing_is_offered_but_what_the_ncsc_recommends() {
        let config = verifying_config(&[]).unwrap();
        for suite in &config.crypto_provider().cipher_suites {
            let suite = suite.suite();
            let sound = [
                CipherSuite::TLS13_AES_256_GCM_SHA384,
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ];
            assert!(sound.contains(&suite), "{suite:?}");
        }
        for group in &config.crypto_provider().kx_groups {
            let name = format!("{:?}", group.name());
            let sound = ["X25519MLKEM768", "X25519", "secp256r1", "secp384r1"];
            assert!(sound.contains(&&*name), "{name}");
        }
    }
}
