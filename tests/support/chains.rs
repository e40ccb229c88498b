//! Chains of certificates that authorities would be ashamed of, each with its key, in one PEM text.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::authority::Authority;

/// What is odd about a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Chain {
    /// Nothing: it is as it should be.
    Right,
    /// Two authorities between, and those in the wrong order (RFC 8446 §4.4.2: to be prepared for).
    Swapped,
    /// Two authorities between, and neither is shown.
    Missing,
    /// The name stands where names no longer count (RFC 9525 §2): in the subject alone.
    NameInSubject,
    /// It says where to ask whether it is revoked: at this address, by HTTP.
    Revocable(&'static str),
    /// An RSA key of 1,024 bits, by the `openssl` program.
    WeakKey,
}

impl Chain {
    /// The key, and the chain for a host as it is shown. `None`, and says so, where `openssl` is wanted and not there.
    pub(crate) fn pem(self, authority: &Authority, host: &str) -> Option<String> {
        if self == Self::WeakKey {
            return weak(authority, host);
        }
        let names = match self {
            Self::NameInSubject => Vec::new(),
            _ => vec![host.to_owned()],
        };
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        if let Self::Revocable(address) = self {
            let uris = vec![format!("http://{address}/revoked.crl")];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
        }
        let key = KeyPair::generate().unwrap();
        if !matches!(self, Self::Swapped | Self::Missing) {
            let own = params.signed_by(&key, authority.issuer()).unwrap();
            return Some(key.serialize_pem() + &own.pem());
        }
        let upper = CertifiedIssuer::signed_by(
            between("upper"),
            KeyPair::generate().unwrap(),
            authority.issuer(),
        );
        let upper = upper.unwrap();
        let lower =
            CertifiedIssuer::signed_by(between("lower"), KeyPair::generate().unwrap(), &upper);
        let lower = lower.unwrap();
        let own = params.signed_by(&key, &lower).unwrap();
        let others = match self {
            Self::Swapped => upper.pem() + &lower.pem(),
            _ => String::new(),
        };
        Some(key.serialize_pem() + &own.pem() + &others)
    }
}

fn between(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn weak(authority: &Authority, host: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    fs::write(path("ca.key"), authority.issuer().key().serialize_pem()).unwrap();
    let made = Command::new("openssl")
        .current_dir(folder.path())
        .args([
            "req", "-x509", "-newkey", "rsa:1024", "-noenc", "-days", "2",
        ])
        .args([
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-subj",
            &format!("/CN={host}"),
        ])
        .args(["-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "own.key", "-out", "own.pem"])
        .output();
    match made {
        Ok(output) if output.status.success() => {
            let read = |name| fs::read_to_string(path(name)).unwrap();
            Some(read("own.key") + &read("own.pem"))
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("skipped: openssl: {error}");
            None
        }
    }
}
