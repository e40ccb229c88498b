//! DKIM signatures (RFC 6376), by way of `mail-auth`, with what it gets wrong put right: the hash of relaxed
//! bodies that end in lines of white space is our own, and signatures over SHA-1 are none (RFC 8301 §3.1).

use base64::prelude::{BASE64_STANDARD, Engine};
use mail_auth::common::crypto::{Algorithm, HashAlgorithm};
use mail_auth::dkim::{Canonicalization, DkimError};
use mail_auth::{AuthenticatedMessage, DkimOutput, DkimResult, Error};

use crate::mail::dkim::{Form, canonical::body_hash};
use crate::mail::{Domain, MailTransaction};
use crate::policy::author::authors;
use crate::policy::finding::MethodResult;
use crate::policy::stage::authenticate_sender::value;

use super::{Evidence, method, reason};

/// A message as `mail-auth` reads it, with no more signatures than are looked at, and the authors as we read
/// them.
pub(super) struct Signed<'m> {
    pub(super) message: AuthenticatedMessage<'m>,
    /// Signatures that are not looked at: of an algorithm that is not to be believed.
    weak: Vec<(String, String)>,
}

impl<'m> Signed<'m> {
    /// `None` if it has no header.
    pub(super) fn parse(transaction: &'m MailTransaction) -> Option<Self> {
        let mut message = AuthenticatedMessage::parse(transaction.message.octets())?;
        message.dkim_headers.truncate(SIGNATURES_MAX);
        message.errors.truncate(SIGNATURES_MAX);
        let mut weak = Vec::new();
        message.dkim_headers.retain(|signature| {
            let signature = &signature.header;
            let is_weak = signature.a == Algorithm::RsaSha1;
            if is_weak {
                weak.push((signature.d.clone(), signature.s.clone()));
            }
            !is_weak
        });
        let authors = authors(&transaction.message.header(), "From");
        message.from = authors
            .iter()
            .filter_map(|author| Some(author.mailbox.as_ref()?.to_string()))
            .collect();
        correct_hashes(&mut message, transaction.message.body_octets());
        Some(Self { message, weak })
    }
}

/// `mail-auth` 0.13.3 goes wrong on relaxed bodies that end in lines of white space (`design.md` §3).
fn correct_hashes(message: &mut AuthenticatedMessage<'_>, body: &[u8]) {
    for (form, algorithm, length, hash) in &mut message.body_hashes {
        let length = (*length > 0).then_some(*length);
        if *form == Canonicalization::Relaxed
            && matches!(algorithm, HashAlgorithm::Sha256)
            && let Some(ours) = body_hash(body, Form::Relaxed, length)
        {
            *hash = ours.to_vec();
        }
    }
}

/// A signature and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    word: &'static str,
    because: Option<String>,
    signature: Option<Signature>,
}

#[derive(Clone, Debug)]
struct Signature {
    domain: String,
    selector: String,
    /// Algorithm and the first characters of the signature, which tell signatures apart (RFC 6008).
    identity: Option<(&'static str, String)>,
}

impl Judged {
    /// There was no time to look.
    pub(super) fn out_of_time() -> Self {
        Self {
            word: "temperror",
            because: None,
            signature: None,
        }
    }

    fn none() -> Self {
        Self {
            word: "none",
            ..Self::out_of_time()
        }
    }

    fn weak((domain, selector): &(String, String)) -> Self {
        Self {
            word: "policy",
            because: Some("rsa-sha1 is not believed".to_owned()),
            signature: Some(Signature {
                domain: domain.clone(),
                selector: selector.clone(),
                identity: None,
            }),
        }
    }

    fn of(output: &DkimOutput<'_>) -> Self {
        let (word, because) = match output.result() {
            DkimResult::Pass => ("pass", None),
            // A body that was changed is a failure (RFC 6376 §3.5 `bh=`, RFC 8601 §2.7.1), to which the library is milder.
            DkimResult::Neutral(error @ Error::Dkim(DkimError::FailedBodyHashMatch)) => {
                ("fail", Some(error))
            }
            DkimResult::Neutral(error) => ("neutral", Some(error)),
            DkimResult::Fail(error) => ("fail", Some(error)),
            DkimResult::PermError(error) => ("permerror", Some(error)),
            DkimResult::TempError(error) => ("temperror", Some(error)),
            DkimResult::None => ("none", None),
        };
        let signature = output.signature().map(|signature| Signature {
            domain: signature.d.clone(),
            selector: signature.s.clone(),
            identity: Some((
                signature.a.name(),
                BASE64_STANDARD
                    .encode(&signature.b)
                    .chars()
                    .take(8)
                    .collect(),
            )),
        });
        Self {
            word,
            because: because.map(ToString::to_string),
            signature,
        }
    }

    /// The domain that answers for the message, if the signature is good.
    pub(super) fn good_domain(&self) -> Option<Domain> {
        let signature = self.signature.as_ref().filter(|_| self.word == "pass")?;
        Domain::parse(&signature.domain).ok()
    }

    /// The result and the domain of the signature, for DMARC.
    pub(super) fn of_domain(&self) -> Option<(&'static str, &str)> {
        Some((self.word, &self.signature.as_ref()?.domain))
    }

    /// For the field.
    pub(super) fn result(&self) -> MethodResult {
        let mut properties: Vec<String> = self.because.iter().map(|text| reason(text)).collect();
        if let Some(signature) = &self.signature {
            properties.push(format!("header.d={}", value(&signature.domain)));
            properties.push(format!("header.s={}", value(&signature.selector)));
            if let Some((algorithm, beginning)) = &signature.identity {
                properties.push(format!("header.a={algorithm}"));
                properties.push(format!("header.b={}", value(beginning)));
            }
        }
        method("dkim", self.word, properties)
    }
}

impl Evidence {
    /// Each signature, in the order of the header; one `none` if there are none.
    pub(super) async fn dkim(&self, signed: Option<&Signed<'_>>) -> Vec<Judged> {
        let Some(signed) = signed else {
            return vec![Judged::none()];
        };
        let mut judged: Vec<Judged> = signed.weak.iter().map(Judged::weak).collect();
        let message = &signed.message;
        if !message.dkim_headers.is_empty() || !message.errors.is_empty() {
            let _turn = self.dns.permit().await;
            let outputs = self.authenticator.verify_dkim(message).await;
            judged.extend(outputs.iter().map(Judged::of));
        }
        match judged.is_empty() {
            true => vec![Judged::none()],
            false => judged,
        }
    }
}

/// How many DKIM signatures of one message are looked at; each costs a question and a signature check.
const SIGNATURES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::World;

    #[test]
    fn a_body_that_the_library_hashes_wrongly_is_hashed_by_us() {
        let body = "a\n \n \n";
        let text = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.example; s=s; h=From;\n bh=YWJj; b=YWJj\nFrom: a@x.example\n\n{body}"
        );
        let world = World::new(&text, "a@x.example", &["a@nhs.net"]);
        let raw = AuthenticatedMessage::parse(world.transaction.message.octets()).unwrap();
        let signed = Signed::parse(&world.transaction).unwrap();
        let ours = body_hash(b"a\r\n", Form::Relaxed, None).unwrap();
        assert_eq!(signed.message.body_hashes[0].3, ours);
        assert_ne!(
            raw.body_hashes[0].3, ours,
            "the library is right by now: take this out"
        );
    }

    #[test]
    fn a_signature_over_sha1_is_not_looked_at() {
        let text = "DKIM-Signature: v=1; a=rsa-sha1; d=x.example; s=s; h=From; bh=YWJj; b=YWJj\n\
                    From: a@x.example\n\nhello\n";
        let world = World::new(text, "a@x.example", &["a@nhs.net"]);
        let signed = Signed::parse(&world.transaction).unwrap();
        assert!(signed.message.dkim_headers.is_empty());
        let result = Judged::weak(&signed.weak[0]).result();
        assert_eq!(result.result, "policy");
        assert!(Judged::weak(&signed.weak[0]).good_domain().is_none());
    }
}
