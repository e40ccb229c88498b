//! An authority, and certificates that are right or wrong in one way: for next hops of tests.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    Nothing,
    Issuer,
    Name,
    Expired,
    SelfSigned,
}

/// An authority that a gateway may be told to trust.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("trusted")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// To sign with.
    pub(crate) fn issuer(&self) -> &CertifiedIssuer<'static, KeyPair> {
        &self.0
    }

    /// A server's end of TLS at 127.0.0.1, also called mx.x.example, with a certificate that has this fault.
    pub(crate) fn server(&self, wrong: Wrong) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(&["127.0.0.1", "mx.x.example"], wrong);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    /// The same for a server that is another program: the key and the certificate, for these names, in one PEM text.
    pub(crate) fn pem_for(&self, names: &[&str], wrong: Wrong) -> String {
        let (certificate, key) = self.issue(names, wrong);
        key.serialize_pem() + &certificate.pem()
    }

    pub(crate) fn issue(&self, names: &[&str], wrong: Wrong) -> (Certificate, KeyPair) {
        let names = match wrong {
            Wrong::Name => &["other.example"],
            _ => names,
        };
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if wrong == Wrong::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match wrong {
            Wrong::SelfSigned => params.self_signed(&key),
            Wrong::Issuer => params.signed_by(&key, &Self::named("other").0),
            _ => params.signed_by(&key, &self.0),
        };
        (certificate.unwrap(), key)
    }
}
