//! DANE for SMTP (RFC 7672, RFC 6698, RFC 7671): whether a server's certificates are those that its TLSA
//! records announce. No I/O; the records are taken to have been validated by DNSSEC.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256, Sha512};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::crypto::aws_lc_rs;

use crate::base::certificate::public_key_info;
use crate::base::dns::TlsaRecord;

/// The records of a server that can be used, and the names that a certificate below a trust anchor may bear.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Dane {
    /// Where the records stand: also the name that the server is asked for (RFC 7672 §8.1).
    pub(super) base: String,
    /// Reference identifiers for usage DANE-TA (RFC 7672 §3.2.2).
    names: Vec<String>,
    associations: Vec<Association>,
}

/// One record.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Association {
    usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Usage {
    /// DANE-TA(2): an authority above the server's certificate.
    TrustAnchor,
    /// DANE-EE(3): the server's certificate itself.
    EndEntity,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Selector {
    Certificate,
    PublicKey,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Matching {
    Exact,
    Sha256,
    Sha512,
}

impl Association {
    /// `None` if it cannot be used: usages 0 and 1 mean nothing for SMTP (RFC 7672 §3.1.3), and what is not known
    /// or not long enough matches nothing.
    fn of(record: &TlsaRecord) -> Option<Self> {
        let usage = match record.usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            _ => return None,
        };
        let selector = match record.selector {
            0 => Selector::Certificate,
            1 => Selector::PublicKey,
            _ => return None,
        };
        let (matching, fits) = match (record.matching, record.data.len()) {
            (0, length) => (Matching::Exact, length > 0),
            (1, length) => (Matching::Sha256, length == 32),
            (2, length) => (Matching::Sha512, length == 64),
            _ => return None,
        };
        fits.then(|| Self {
            usage,
            selector,
            matching,
            data: record.data.clone(),
        })
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let selected = match self.selector {
            Selector::Certificate => Some(certificate.as_ref()),
            Selector::PublicKey => public_key_info(certificate),
        };
        selected.is_some_and(|octets| match self.matching {
            Matching::Exact => octets == self.data,
            Matching::Sha256 => Sha256::digest(octets).as_slice() == self.data,
            Matching::Sha512 => Sha512::digest(octets).as_slice() == self.data,
        })
    }
}

impl Dane {
    /// The records at `base` that can be used; `None` if none can. Then TLS is a must all the same, whoever the
    /// server is (RFC 7672 §2.2).
    pub(super) fn new(records: &[TlsaRecord], base: &str, names: &[&str]) -> Option<Self> {
        let mut all: Vec<Association> = records.iter().filter_map(Association::of).collect();
        // Where a stronger digest stands beside a weaker one, the weaker one does not count (RFC 7671 §9).
        let strongest = all.clone();
        all.retain(|one| {
            one.matching != Matching::Sha256
                || !strongest.iter().any(|other| {
                    (other.usage, other.selector) == (one.usage, one.selector)
                        && other.matching == Matching::Sha512
                })
        });
        let names = std::iter::once(base).chain(names.iter().copied());
        (!all.is_empty()).then(|| Self {
            base: base.to_owned(),
            names: names.map(str::to_owned).collect(),
            associations: all,
        })
    }

    /// Whether a server that shows this chain, its own certificate first, is the one that the records announce.
    ///
    /// With DANE-EE neither names nor dates count (RFC 7671 §5.1). With DANE-TA the chain must lead to the anchor
    /// and hold for one of the names (§5.2).
    pub(super) fn accepts(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some((own, others)) = chain.split_first() else {
            return false;
        };
        let of = |usage| {
            self.associations
                .iter()
                .filter(move |one| one.usage == usage)
        };
        if of(Usage::EndEntity).any(|one| one.matches(own)) {
            return true;
        }
        let mut anchors = RootCertStore::empty();
        for anchor in others {
            if of(Usage::TrustAnchor).any(|one| one.matches(anchor)) {
                // One that cannot be read is no anchor.
                let _ = anchors.add(anchor.clone().into_owned());
            }
        }
        for one in of(Usage::TrustAnchor) {
            // "2 0 0" has the whole certificate, so the server need not send it (RFC 7671 §5.2.2).
            if (one.selector, one.matching) == (Selector::Certificate, Matching::Exact) {
                let _ = anchors.add(CertificateDer::from(one.data.clone()));
            }
        }
        self.leads_to(anchors, own, others, now)
    }

    fn leads_to(
        &self,
        anchors: RootCertStore,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> bool {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider).build();
        let Ok(verifier) = verifier else {
            return false;
        };
        let names = self.names.iter();
        let mut names = names.filter_map(|name| ServerName::try_from(name.as_str()).ok());
        names.any(|name| {
            let verified = verifier.verify_server_cert(own, others, &name, &[], now);
            verified.is_ok()
        })
    }

    /// The records as text, for reports (RFC 8460 §4.4).
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |one: &Association| {
            let (usage, selector, matching) = (
                match one.usage {
                    Usage::TrustAnchor => 2,
                    Usage::EndEntity => 3,
                },
                one.selector as u8,
                one.matching as u8,
            );
            let data = one.data.iter().take(64).map(|octet| format!("{octet:02x}"));
            let data: String = data.collect();
            format!("{usage} {selector} {matching} {data}")
        };
        self.associations.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
        KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
    };

    struct Pki {
        root: CertifiedIssuer<'static, KeyPair>,
        leaf: CertificateDer<'static>,
        leaf_key: Vec<u8>,
    }

    fn pki(name: &str, expired: bool) -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "anchor");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &root).unwrap().der().clone();
        Pki {
            root,
            leaf,
            leaf_key: key.subject_public_key_info(),
        }
    }

    fn record(usage: u8, selector: u8, matching: u8, octets: &[u8]) -> TlsaRecord {
        let data = match matching {
            1 => Sha256::digest(octets).to_vec(),
            2 => Sha512::digest(octets).to_vec(),
            _ => octets.to_vec(),
        };
        TlsaRecord {
            usage,
            selector,
            matching,
            data,
        }
    }

    fn accepts(records: &[TlsaRecord], chain: &[CertificateDer<'_>]) -> bool {
        let names = ["x.example"];
        let dane = Dane::new(records, "mx.x.example", &names).unwrap();
        dane.accepts(chain, UnixTime::now())
    }

    /// RFC 7672 §3.1.1: of DANE-EE nothing but the match counts.
    #[test]
    fn a_servers_own_certificate_matches_in_every_way_whatever_its_name_and_dates() {
        let pki = pki("other.example", true);
        let chain = [pki.leaf.clone()];
        for matching in 0..=2 {
            assert!(accepts(&[record(3, 0, matching, &pki.leaf)], &chain));
            assert!(accepts(&[record(3, 1, matching, &pki.leaf_key)], &chain));
            assert!(!accepts(&[record(3, 1, matching, &pki.leaf)], &chain));
            assert!(!accepts(&[record(3, 0, matching, b"other")], &chain));
        }
        let stale_and_new = [record(3, 1, 1, b"next"), record(3, 1, 1, &pki.leaf_key)];
        assert!(accepts(&stale_and_new, &chain));
        assert!(!accepts(&stale_and_new, &[]));
    }

    /// RFC 7672 §3.1.2, §3.2: of DANE-TA names and dates count, and the anchor is in the chain.
    #[test]
    fn a_trust_anchor_matches_with_one_of_the_names() {
        for (name, expired, right) in [
            ("mx.x.example", false, true),
            ("x.example", false, true),
            ("other.example", false, false),
            ("mx.x.example", true, false),
        ] {
            let pki = pki(name, expired);
            let anchor = pki.root.der().clone();
            let key = pki.root.key().subject_public_key_info();
            let chain = [pki.leaf.clone(), anchor.clone()];
            for matching in 0..=2 {
                assert_eq!(accepts(&[record(2, 0, matching, &anchor)], &chain), right);
                assert_eq!(accepts(&[record(2, 1, matching, &key)], &chain), right);
            }
            // Without the anchor in the chain, a digest of it proves nothing; the whole of it does.
            let alone = [pki.leaf.clone()];
            assert!(!accepts(&[record(2, 0, 1, &anchor)], &alone));
            assert_eq!(accepts(&[record(2, 0, 0, &anchor)], &alone), right);
            // An anchor of somebody else.
            let other = self::pki("x", false).root.der().clone();
            assert!(!accepts(
                &[record(2, 0, 1, &other)],
                &[pki.leaf.clone(), other]
            ));
        }
    }

    /// An anchor that matches and did not sign is no anchor of this certificate.
    #[test]
    fn an_anchor_beside_a_certificate_that_it_did_not_sign_proves_nothing() {
        let (ours, theirs) = (pki("mx.x.example", false), pki("mx.x.example", false));
        let anchor = ours.root.der().clone();
        let chain = [theirs.leaf.clone(), anchor.clone()];
        assert!(!accepts(&[record(2, 0, 1, &anchor)], &chain));
    }

    /// RFC 7672 §3.1.3, RFC 7671 §4: what cannot be used is as if it were not there.
    #[test]
    fn records_that_cannot_be_used_make_no_dane() {
        let data = [7; 32];
        for (usage, selector, matching, length) in [
            (0, 0, 1, 32),
            (1, 1, 1, 32),
            (4, 1, 1, 32),
            (255, 1, 1, 32),
            (3, 2, 1, 32),
            (3, 1, 3, 32),
            (3, 1, 1, 31),
            (3, 1, 2, 32),
            (3, 1, 0, 0),
        ] {
            let record = TlsaRecord {
                usage,
                selector,
                matching,
                data: data[..length].to_vec(),
            };
            assert_eq!(Dane::new(&[record], "x", &[]), None);
        }
        assert!(Dane::new(&[record(3, 1, 1, b"x")], "x", &[]).is_some());
    }

    /// RFC 7671 §9.
    #[test]
    fn a_weaker_digest_beside_a_stronger_one_does_not_count() {
        let pki = pki("x", false);
        let chain = [pki.leaf.clone()];
        let weak = record(3, 1, 1, &pki.leaf_key);
        assert!(accepts(&[weak.clone(), record(3, 0, 2, b"other")], &chain));
        assert!(!accepts(&[weak, record(3, 1, 2, b"other")], &chain));
    }

    #[test]
    fn records_are_written_as_in_a_zone_file() {
        let records = [record(3, 1, 1, b"x")];
        let lines = Dane::new(&records, "x", &[]).unwrap().lines();
        assert!(lines[0].starts_with("3 1 1 2d71"), "{lines:?}");
    }

    proptest! {
        #[test]
        fn no_octets_break_the_reader(octets in proptest::collection::vec(any::<u8>(), 0..64), cut in 0..400_usize, at in 0..400_usize, to: u8) {
            let _ = public_key_info(&CertificateDer::from(octets));
            let mut real = pki("x.example", false).leaf.to_vec();
            if let Some(octet) = real.get_mut(at) {
                *octet = to;
            }
            real.truncate(cut);
            let _ = public_key_info(&CertificateDer::from(real));
        }
    }
}
