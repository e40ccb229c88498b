//! What the domain of the author asks for (DMARC: RFC 9989, by way of `mail-auth`), and for how much of its
//! mail (`pct`, RFC 7489 §6.6.4, which the newer one has dropped and many records still have).

use mail_auth::dkim::Signature;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::{DkimOutput, DmarcOutput, DmarcResult, SpfOutput, SpfResult};
use sha2::{Digest, Sha256};

use crate::base::dns::{Dns, DnsError};
use crate::mail::MailTransaction;
use crate::policy::finding::{DmarcDisposition, MethodResult};
use crate::policy::stage::authenticate_sender::value;

use super::signatures::{self, Signed};
use super::{Evidence, helo, method, reason};

/// The result, and what is asked for if the check failed.
pub(super) struct Judged {
    pub(super) result: MethodResult,
    pub(super) disposition: Option<DmarcDisposition>,
}

impl Judged {
    /// There was no time to ask.
    pub(super) fn out_of_time() -> Self {
        Self::without_policy("temperror", Vec::new())
    }

    fn without_policy(word: &str, properties: Vec<String>) -> Self {
        Self {
            result: method("dmarc", word, properties),
            disposition: None,
        }
    }
}

impl Evidence {
    /// Of several authors it is not known which is meant: `permerror` (RFC 9989 §11.5 leaves it to us).
    pub(super) async fn dmarc(
        &self,
        transaction: &MailTransaction,
        signed: Option<&Signed<'_>>,
        dkim: &[signatures::Judged],
        spf: &MethodResult,
    ) -> Judged {
        let Some(Signed { message, .. }) = signed else {
            return Judged::without_policy("none", Vec::new());
        };
        let fields = transaction.message.header();
        if message.from.len() > 1 || fields.all("From").nth(1).is_some() {
            return Judged::without_policy("permerror", vec![reason("several authors")]);
        }
        let domain = transaction.envelope.reverse_path.domain();
        let domain = domain.map_or_else(|| helo(transaction), |domain| domain.as_str());
        let signatures: Vec<_> = dkim.iter().filter_map(as_signature).collect();
        let dkim: Vec<_> = signatures
            .iter()
            .map(|(signature, output)| output.clone().with_signature(signature))
            .collect();
        let parameters = DmarcParameters {
            message,
            dkim_output: &dkim,
            dkim2_output: None,
            rfc5321_mail_from_domain: domain,
            spf_output: &spf_output(domain, spf),
        };
        let output = {
            let _turn = self.dns.permit().await;
            self.authenticator.verify_dmarc(parameters).await
        };
        self.judged(&output, transaction).await
    }

    async fn judged(&self, output: &DmarcOutput, transaction: &MailTransaction) -> Judged {
        let (word, because) = match output.result() {
            DmarcResult::Pass => ("pass", None),
            DmarcResult::Fail(error) => ("fail", Some(error)),
            DmarcResult::TempError(error) => ("temperror", Some(error)),
            DmarcResult::PermError(error) => ("permerror", Some(error)),
            DmarcResult::None => ("none", None),
        };
        let mut properties: Vec<String> = because
            .iter()
            .map(|error| reason(&error.to_string()))
            .collect();
        let mut disposition = None;
        if word == "fail" {
            let asked = asked_for(output.policy());
            let asked = match asked {
                DmarcDisposition::None => asked,
                _ => match percentage(&self.dns, output.domain()).await {
                    Ok(percent) if percent <= sample(transaction) => milder(asked),
                    _ => asked,
                },
            };
            properties.push(format!("policy.dmarc={}", word_of(asked)));
            disposition = Some(asked);
        }
        if !output.domain().is_empty() {
            properties.push(format!("header.from={}", value(output.domain())));
        }
        Judged {
            result: method("dmarc", word, properties),
            disposition,
        }
    }
}

/// Signature and result, as `mail-auth` wants them; only what it goes by is in it.
fn as_signature(judged: &signatures::Judged) -> Option<(Signature, DkimOutput<'static>)> {
    let (word, domain) = judged.of_domain()?;
    let signature = Signature {
        d: domain.to_owned(),
        ..Signature::default()
    };
    let output = match word {
        "pass" => DkimOutput::pass(),
        "temperror" => DkimOutput::temp_err(unanswered()),
        _ => DkimOutput::fail(mail_auth::Error::NotAligned),
    };
    Some((signature, output))
}

fn unanswered() -> mail_auth::Error {
    mail_auth::Error::Dns(mail_auth::DnsError::Resolver(String::new()))
}

/// SPF of the reverse path, or of the HELO name where that is null: `domain` is the one that was asked about.
fn spf_output(domain: &str, spf: &MethodResult) -> SpfOutput {
    let result = match spf.result.as_str() {
        "pass" => SpfResult::Pass,
        "fail" => SpfResult::Fail,
        "softfail" => SpfResult::SoftFail,
        "neutral" => SpfResult::Neutral,
        "temperror" => SpfResult::TempError,
        "permerror" => SpfResult::PermError,
        _ => SpfResult::None,
    };
    SpfOutput::new(domain.to_owned()).with_result(result)
}

fn asked_for(policy: Policy) -> DmarcDisposition {
    match policy {
        Policy::Reject => DmarcDisposition::Reject,
        Policy::Quarantine => DmarcDisposition::Quarantine,
        Policy::None | Policy::Unspecified => DmarcDisposition::None,
    }
}

/// RFC 7489 §6.6.4: what is left out of the sample gets the next lower policy.
fn milder(disposition: DmarcDisposition) -> DmarcDisposition {
    match disposition {
        DmarcDisposition::Reject => DmarcDisposition::Quarantine,
        DmarcDisposition::Quarantine | DmarcDisposition::None => DmarcDisposition::None,
    }
}

fn word_of(disposition: DmarcDisposition) -> &'static str {
    match disposition {
        DmarcDisposition::None => "none",
        DmarcDisposition::Quarantine => "quarantine",
        DmarcDisposition::Reject => "reject",
    }
}

/// `pct` of the record that speaks for a domain: its own, or the nearest above it. The answers are in the cache.
async fn percentage(dns: &Dns, domain: &str) -> Result<u8, DnsError> {
    let mut name = domain;
    loop {
        let texts = dns.texts(&format!("_dmarc.{name}")).await;
        let texts = texts.unwrap_or_default();
        let texts = texts.iter().map(|octets| String::from_utf8_lossy(octets));
        let record = texts
            .into_iter()
            .find(|text| text.trim_start().starts_with("v=DMARC1"));
        if let Some(record) = record {
            return Ok(percentage_of(&record));
        }
        match name.split_once('.') {
            Some((_, above)) if above.contains('.') => name = above,
            _ => return Err(DnsError::NoRecords),
        }
    }
}

/// All of it, if nothing or nonsense is said.
fn percentage_of(record: &str) -> u8 {
    let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
    let pct = tags.find(|(name, _)| name.trim().eq_ignore_ascii_case("pct"));
    let number = pct.and_then(|(_, value)| value.trim().parse().ok());
    number.filter(|number| *number <= 100).unwrap_or(100)
}

/// A number from 0 to 99 that is the same whenever the message is looked at, by `explain` as by the gateway.
fn sample(transaction: &MailTransaction) -> u8 {
    let octets = transaction.message.octets();
    let header = &octets[..octets.len() - transaction.message.body_octets().len()];
    let digest = Sha256::digest(header);
    let number = u16::from_be_bytes([digest[0], digest[1]]) % 100;
    u8::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_mail_is_a_number_up_to_a_hundred() {
        for (record, percent) in [
            ("v=DMARC1; p=reject", 100),
            ("v=DMARC1; p=reject; pct=20", 20),
            ("v=DMARC1;p=reject;PCT = 0 ;", 0),
            ("v=DMARC1; p=reject; pct=101", 100),
            ("v=DMARC1; p=reject; pct=many", 100),
        ] {
            assert_eq!(percentage_of(record), percent, "{record}");
        }
    }
}
