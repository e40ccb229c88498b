//! Certificates whose clients' mail is our own without a log-in: other mail servers of the house, which can show a
//! certificate and say no AUTH. The counterpart of `relay-networks` for hosts whose address changes, or is shared.

use crate::base::Clock;
use crate::base::certificate::{Fingerprint, KnownCertificate, Presented};
use crate::mail::{CertificateChain, Client};

/// `relay-certificates` of `[policy]`.
#[derive(Debug, Default)]
pub struct RelayCertificates {
    known: Vec<KnownCertificate>,
    clock: Clock,
}

impl RelayCertificates {
    /// Those that are known.
    pub fn new(known: Vec<KnownCertificate>, clock: Clock) -> Self {
        Self { known, clock }
    }

    /// Each of them.
    pub fn known(&self) -> &[KnownCertificate] {
        &self.known
    }

    /// The sum of the certificate that a client has shown, if it is one of these. Costs nothing where none is shown; a
    /// chain to an authority costs some hundreds of microseconds.
    pub fn knows(&self, client: &Client) -> Option<Fingerprint> {
        let tls = client.tls.as_ref().filter(|_| !self.known.is_empty())?;
        let chain = tls.client_certificate.as_ref();
        let shown = Presented::read(chain.map(CertificateChain::certificates)?)?;
        let now = self.clock.now();
        let is_known = self.known.iter().any(|one| one.matches(&shown, now));
        is_known.then_some(shown.leaf.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::TlsSession;
    use crate::policy::policy_test::client;

    #[test]
    fn a_listed_certificate_is_known_and_another_is_not() {
        let [one, two] = ["one.example", "two.example"].map(|name| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            made.cert.der().to_vec()
        });
        let sum = Presented::read(std::slice::from_ref(&one))
            .unwrap()
            .leaf
            .sha256;
        let known = KnownCertificate::Itself {
            sha256: sum,
            read: None,
        };
        let listed = RelayCertificates::new(vec![known], Clock::system());
        let with = |shown: Option<Vec<u8>>| {
            let tls = TlsSession {
                version: "TLSv1.3".into(),
                cipher: "x".into(),
                server_name: None,
                client_certificate: CertificateChain::new(shown),
            };
            Client {
                tls: Some(tls),
                ..client([192, 0, 2, 1].into(), None)
            }
        };
        assert_eq!(listed.knows(&with(Some(one.clone()))), Some(sum));
        assert_eq!(listed.knows(&with(Some(two))), None);
        assert_eq!(listed.knows(&with(Some(b"none".to_vec()))), None);
        assert_eq!(listed.knows(&with(None)), None);
        assert_eq!(RelayCertificates::default().knows(&with(Some(one))), None);
    }
}
