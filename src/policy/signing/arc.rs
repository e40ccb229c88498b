//! The seal on mail that is passed on (RFC 8617): what was known of its sender when it came, under the gateway's own
//! name, so that who gets it next can go by that although SPF fails now.
//!
//! A set has three fields: the results, a signature over the message, and a seal over all sets so far. The chain that
//! came with the message was validated when it was judged (`evidence.rs`).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mail_auth::common::crypto;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;

use super::key::{Algorithm, Key};
use super::{Signing, name};
use crate::mail::dkim::canonical::{self, body_hash, relaxed_field};
use crate::mail::dkim::draft::fold_base64;
use crate::mail::dkim::{Draft, FieldKind, Form};
use crate::mail::{Header, HeaderField, Message};
use crate::policy::finding::AuthenticationResults;
use crate::policy::stage::authenticate_sender::results_text;

/// What came of sealing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sealed {
    /// No domain is named to seal with, or none of its keys is valid now.
    Off,
    /// It may not be sealed, for this reason.
    Not(&'static str),
    /// These fields go on top.
    Fields {
        /// Whole fields with their line ends.
        fields: String,
        /// What is said of it in the audit trail.
        note: String,
    },
    /// The seal did not verify: a fault of ours. It leaves without, as if it had not been sealed.
    Failed(String),
}

/// What the chain so far is worth (RFC 8617 §4.1.3, `cv=`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chain {
    None,
    Pass,
    Fail,
}

impl Chain {
    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

impl Signing {
    /// Seals a message as it leaves, edits made. `results` are those of the message as it came.
    pub fn seal(
        &self,
        message: &Message,
        hostname: &str,
        results: &AuthenticationResults,
        now: Timestamp,
    ) -> Sealed {
        let Some(key) = self.seal_key(now) else {
            return Sealed::Off;
        };
        let header = message.header();
        let (instance, chain) = match next(&header, results) {
            Ok(next) => next,
            Err(because) => return Sealed::Not(because),
        };
        let work = Work {
            key,
            message,
            header: &header,
            instance,
            chain,
            seconds: now.as_second(),
        };
        let results = format!(" i={instance}; {hostname}{}", results_text(results));
        let mut signed = self.coverage.names(&header);
        let signatures = header.all("DKIM-Signature").take(SIGNATURES_MAX);
        signed.extend(signatures.map(|_| "DKIM-Signature".to_owned()));
        match work.fields(&results, &signed) {
            Some(fields) => Sealed::Fields {
                fields,
                note: format!(
                    "arc: sealed as {instance} by {}, cv={}",
                    name(key),
                    chain.word()
                ),
            },
            None => Sealed::Failed(name(key)),
        }
    }

    /// The name of the key that would seal a message, unless its chain is broken.
    pub fn would_seal(
        &self,
        message: &Message,
        results: &AuthenticationResults,
        now: Timestamp,
    ) -> Option<String> {
        let key = self.seal_key(now)?;
        let is_open = next(&message.header(), results).is_ok();
        is_open.then(|| name(key))
    }

    /// One key seals: RSA where there is one, which all verifiers of chains know.
    fn seal_key(&self, now: Timestamp) -> Option<&Key> {
        let domain = self.seal.as_ref()?;
        let today = now.to_zoned(TimeZone::UTC).date();
        let of_domain = self.keys.iter().filter(|key| key.domain == *domain);
        of_domain
            .filter(|key| key.signs_on(today))
            .min_by_key(|key| key.pair().algorithm() != Algorithm::Rsa)
    }
}

/// The number of our set and the state of the chain before it, or why there is to be none.
fn next(
    header: &Header<'_>,
    results: &AuthenticationResults,
) -> Result<(u32, Chain), &'static str> {
    let seals: Vec<&HeaderField<'_>> = header.all(SEAL).collect();
    let is_there = SET.iter().any(|name| header.first(name).is_some());
    if !is_there {
        return Ok((1, Chain::None));
    }
    let highest = SET.iter().flat_map(|name| header.all(name));
    let highest = highest.filter_map(instance).max().unwrap_or(0);
    // §4.2.1: fifty sets and no more.
    if highest >= INSTANCES_MAX {
        return Err("there are as many seals on it as there may be");
    }
    // §5.2: who finds a chain that is marked as failed adds nothing.
    let last = seals.iter().find(|seal| instance(seal) == Some(highest));
    if last.is_some_and(|seal| tag(seal, "cv").as_deref() == Some("fail")) {
        return Err("its chain of seals has failed before");
    }
    let said = results.methods.iter().find(|one| one.method == "arc");
    match said.map(|one| one.result.as_str()) {
        Some("pass") => Ok((highest + 1, Chain::Pass)),
        Some("fail") => Ok((highest + 1, Chain::Fail)),
        // A seal that says "fail" is for ever: not on the word of a name server that was slow.
        _ => Err("its chain of seals could not be validated"),
    }
}

/// One seal in the making.
struct Work<'a> {
    key: &'a Key,
    message: &'a Message,
    header: &'a Header<'a>,
    instance: u32,
    chain: Chain,
    seconds: i64,
}

impl Work<'_> {
    /// The three fields, the seal on top (§5.1); `None` if a signature does not hold.
    fn fields(&self, results: &str, signed: &[String]) -> Option<String> {
        let hash = body_hash(self.message.body_octets(), Form::Simple, None)?;
        let algorithm = self.key.pair().algorithm().word();
        let draft = Draft {
            kind: FieldKind::Arc(self.instance),
            algorithm,
            domain: self.key.domain.as_str(),
            selector: self.key.selector.as_str(),
            seconds: self.seconds,
            signed,
            body_hash: hash,
        };
        let signature = self.signature(&draft.to_sign(self.message))?;
        let message_signature = draft.field(&signature);
        let seal = format!(
            " i={}; a={algorithm}; t={}; cv={};\r\n\td={}; s={};\r\n\tb=",
            self.instance,
            self.seconds,
            self.chain.word(),
            self.key.domain,
            self.key.selector
        );
        let mut sealed = self.sets_before();
        relaxed_field(RESULTS, results.as_bytes(), &mut sealed);
        sealed.extend_from_slice(b"\r\n");
        let value = message_signature.split_once(':')?.1;
        relaxed_field(SIGNATURE, value.as_bytes(), &mut sealed);
        sealed.extend_from_slice(b"\r\n");
        relaxed_field(SEAL, seal.as_bytes(), &mut sealed);
        let signature = self.signature(&sealed)?;
        let mut fields = format!("{SEAL}:{seal}");
        fold_base64(&mut fields, &signature);
        fields.push_str(&format!("\r\n{message_signature}{RESULTS}:{results}\r\n"));
        Some(fields)
    }

    /// The sets that the seal covers besides its own: all before it in their order; none where the chain has
    /// failed (§5.1.2).
    fn sets_before(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.chain != Chain::Pass {
            return out;
        }
        let octets = self.message.header_octets();
        for number in 1..self.instance {
            for name in SET {
                let of_set = |field: &&HeaderField<'_>| instance(field) == Some(number);
                if let Some(field) = self.header.all(name).find(of_set) {
                    canonical::field(field, octets, Form::Relaxed, &mut out);
                }
            }
        }
        out
    }

    /// Signs, and checks with the public half.
    fn signature(&self, octets: &[u8]) -> Option<Vec<u8>> {
        let pair = self.key.pair();
        let signature = pair.sign(octets).ok()?;
        let public = DomainKey::parse(pair.record().as_bytes()).ok()?;
        let algorithm = match pair.algorithm() {
            Algorithm::Rsa => crypto::Algorithm::RsaSha256,
            Algorithm::Ed25519 => crypto::Algorithm::Ed25519Sha256,
        };
        public.p.verify_bytes(octets, &signature, algorithm).ok()?;
        Some(signature)
    }
}

fn instance(field: &HeaderField<'_>) -> Option<u32> {
    tag(field, "i")?.parse().ok()
}

/// The value of a tag, white space taken out.
fn tag(field: &HeaderField<'_>, name: &str) -> Option<String> {
    let value = field.value();
    let mut tags = value.split(';').filter_map(|tag| tag.split_once('='));
    let (_, value) = tags.find(|(known, _)| known.trim() == name)?;
    Some(value.replace(char::is_whitespace, ""))
}

const RESULTS: &str = "ARC-Authentication-Results";
const SIGNATURE: &str = "ARC-Message-Signature";
const SEAL: &str = "ARC-Seal";
/// The fields of a set in the order in which they are sealed (§5.1.1).
const SET: [&str; 3] = [RESULTS, SIGNATURE, SEAL];
/// Most sets on a message (§4.2.1).
const INSTANCES_MAX: u32 = 50;
/// Signatures of others that the seal covers.
const SIGNATURES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Domain;
    use crate::policy::finding::MethodResult;
    use crate::policy::signing::testing;
    use crate::policy::signing::verify;

    fn sealing(pem: fn() -> crate::base::secret::Secret) -> Signing {
        Signing {
            keys: vec![testing::key("gate.example", "a1", &pem())],
            seal: Domain::parse("gate.example").ok(),
            ..Signing::default()
        }
    }

    fn results(arc: Option<&str>) -> AuthenticationResults {
        let method = |method, result: &str| MethodResult {
            method,
            result: result.to_owned(),
            properties: Vec::new(),
        };
        let spf = method("spf", "pass");
        AuthenticationResults {
            methods: [Some(spf), arc.map(|result| method("arc", result))]
                .into_iter()
                .flatten()
                .collect(),
            ..AuthenticationResults::default()
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn original() -> Message {
        Message::new(
            &b"From: a@lab.example\r\nDKIM-Signature: x\r\nSubject:  x \r\n\r\nhello \r\n\r\n"[..],
        )
    }

    fn seal(signing: &Signing, message: &Message, arc: Option<&str>) -> Sealed {
        signing.seal(message, "gate.example", &results(arc), now())
    }

    fn sealed(signing: &Signing, message: Message, arc: Option<&str>) -> Message {
        match seal(signing, &message, arc) {
            Sealed::Fields { fields, .. } => message.with_fields_on_top(&fields),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chain_of_seals_holds_set_upon_set() {
        let (rsa, ed) = (sealing(testing::rsa), sealing(testing::ed25519));
        for signing in [&rsa, &ed] {
            let keys = signing.keys.iter().collect::<Vec<_>>();
            let mut message = sealed(signing, original(), None);
            assert!(verify::chain_holds(&message, &keys));
            let text = String::from_utf8_lossy(message.octets()).into_owned();
            assert!(text.starts_with("ARC-Seal: i=1; a="), "{text}");
            assert!(
                text.contains(" cv=none;")
                    && text.contains(
                        "ARC-Authentication-Results: i=1; gate.example;\r\n\tspf=pass\r\n"
                    )
            );
            for number in 2..=4 {
                message = sealed(signing, message, Some("pass"));
                let text = String::from_utf8_lossy(message.octets()).into_owned();
                assert!(
                    text.starts_with(&format!("ARC-Seal: i={number}; "))
                        && text.contains(" cv=pass;")
                );
                assert!(verify::chain_holds(&message, &keys), "{text}");
            }
            let altered = message
                .octets()
                .iter()
                .copied()
                .chain(*b"x")
                .collect::<Vec<u8>>();
            assert!(!verify::chain_holds(&Message::new(altered), &keys));
        }
    }

    #[test]
    fn a_chain_that_failed_is_sealed_as_failed_once_and_never_again() {
        let signing = sealing(testing::rsa);
        let message = sealed(&signing, original(), None);
        let failed = sealed(&signing, message, Some("fail"));
        let text = String::from_utf8_lossy(failed.octets()).into_owned();
        assert!(text.starts_with("ARC-Seal: i=2; ") && text.contains(" cv=fail;"));
        let again = seal(&signing, &failed, Some("fail"));
        assert_eq!(again, Sealed::Not("its chain of seals has failed before"));
    }

    #[test]
    fn what_is_not_known_is_not_sealed() {
        let signing = sealing(testing::rsa);
        let message = sealed(&signing, original(), None);
        for arc in [None, Some("temperror"), Some("none")] {
            let sealed = seal(&signing, &message, arc);
            assert_eq!(
                sealed,
                Sealed::Not("its chain of seals could not be validated")
            );
        }
    }

    #[test]
    fn there_are_fifty_sets_at_most() {
        let signing = sealing(testing::rsa);
        let with = |number| {
            let set = SET
                .map(|name| format!("{name}: i={number}; cv=pass; x=y\r\n"))
                .concat();
            original().with_fields_on_top(&set)
        };
        assert!(matches!(
            seal(&signing, &with(49), Some("pass")),
            Sealed::Fields { .. }
        ));
        let full = seal(&signing, &with(50), Some("pass"));
        assert_eq!(
            full,
            Sealed::Not("there are as many seals on it as there may be")
        );
        let absurd = seal(&signing, &with(u32::MAX), Some("pass"));
        assert!(matches!(absurd, Sealed::Not(_)));
    }

    #[test]
    fn nothing_is_sealed_unless_a_domain_is_named_and_has_a_key_today() {
        let mut signing = sealing(testing::rsa);
        signing.keys[0].until = "2020-01-01".parse().ok();
        assert_eq!(seal(&signing, &original(), None), Sealed::Off);
        let mut signing = sealing(testing::rsa);
        signing.seal = None;
        assert_eq!(seal(&signing, &original(), None), Sealed::Off);
    }
}
