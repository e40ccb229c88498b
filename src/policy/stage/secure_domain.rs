//! The secure-domain rule: patient data goes to domains that the register lists as secure, over
//! verified TLS, and to nobody else unless the sender asked for encryption.
//!
//! Reads what `classify-patient-data` found and where `resolve-recipients` says each recipient is.
//! The decision table is `domain.md` §4; where it leaves a choice, `secure-domains.toml` makes it.
//! Every recipient is judged alone: one that may not have the message takes nothing from those
//! who may.

use std::sync::Arc;

use crate::config::Located;
use crate::mail::Domain;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::finding::{Findings, SecureKeyword};
use crate::policy::opinion::{Ask, Opinion, Opinions};
use crate::policy::refusal::Refusal;
use crate::policy::secure_domains::{Restriction, SecureDomains, Standing};

/// The stage `secure-domain`.
#[derive(Debug)]
pub struct SecureDomain {
    register: Arc<SecureDomains>,
}

impl SecureDomain {
    /// The rule by a register.
    pub fn new(register: Arc<SecureDomains>) -> Self {
        Self { register }
    }

    /// One opinion for each recipient, in the order of the case.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let per_recipient = case
            .recipients
            .iter()
            .map(|recipient| {
                if recipient.secure {
                    self.for_secure(case, recipient)
                } else {
                    self.for_others(case, recipient)
                }
            })
            .collect();
        Opinions {
            per_recipient,
            ..Opinions::none()
        }
    }

    fn for_secure(&self, case: &Case<'_>, recipient: &ResolvedRecipient) -> Opinion {
        if !self.is_patient_data(case.findings) {
            return Opinion::pass();
        }
        if !accepts_patient_data(case, recipient) {
            let verdict = &self.register.verdicts.mailbox_declines;
            let because = "patient data was found, and this mailbox does not take patient data";
            return restrict(verdict, recipient, because)
                .would_pass_if("it goes to a mailbox that takes patient data");
        }
        let rule = recipient.secure_rule.clone().unwrap_or_default();
        let because = "patient data was found, and this domain is secure";
        Opinion::new(Ask::RequireVerifiedTls, rule, because)
    }

    fn for_others(&self, case: &Case<'_>, recipient: &ResolvedRecipient) -> Opinion {
        let findings = case.findings;
        let verdicts = &self.register.verdicts;
        let keyword = findings.secure_keyword;
        if keyword == SecureKeyword::Present {
            let because = "the subject asks for encryption, and this domain is not secure";
            return Opinion::new(Ask::Encrypt, "built-in", because);
        }
        if keyword == SecureKeyword::NearMiss {
            let because = "the subject nearly asks for encryption, and this domain is not secure";
            return restrict(&verdicts.near_miss, recipient, because)
                .would_pass_if("the subject has the exact tag [secure], or asks for nothing");
        }
        if self.is_patient_data(findings) {
            let because = self.why_not_secure(case, recipient);
            return restrict(&verdicts.not_secure, recipient, because).would_pass_if(REMEDY);
        }
        self.for_unreadable(findings, recipient)
    }

    /// What could not be looked into counts as the register says for its reason; the worst speaks.
    fn for_unreadable(&self, findings: &Findings, recipient: &ResolvedRecipient) -> Opinion {
        let verdict_of = |reason: &str| self.register.verdicts.unreadable.get(reason);
        let restricted: Vec<_> = findings
            .unreadable
            .iter()
            .filter_map(|unreadable| Some((unreadable, verdict_of(unreadable.because)?)))
            .collect();
        let refused = restricted
            .iter()
            .find(|(_, verdict)| ***verdict == Restriction::Refuse);
        let Some((unreadable, verdict)) = refused.or(restricted.first()) else {
            return Opinion::pass();
        };
        let because = format!(
            "{} could not be looked into ({}), and this domain is not secure",
            unreadable.place, unreadable.because
        );
        restrict(verdict, recipient, because).would_pass_if(REMEDY)
    }

    fn why_not_secure(&self, case: &Case<'_>, recipient: &ResolvedRecipient) -> String {
        let standing = recipient
            .domain()
            .map(|domain| self.register.standing(domain, case.now));
        match standing {
            Some(Standing::Lapsed(entry)) => format!(
                "patient data was found, and the entry of this domain is out of its dates ({})",
                entry.pattern.source()
            ),
            _ => "patient data was found, and this domain is not on the list of secure domains"
                .to_owned(),
        }
    }

    /// Whether what was found restricts: evidence of numbers that are never issued alone does not,
    /// unless the register says so.
    fn is_patient_data(&self, findings: &Findings) -> bool {
        let found = &findings.patient_data;
        found.found && (!found.synthetic || *self.register.verdicts.synthetic_restricts)
    }
}

/// A mailbox that the directory does not know takes what its domain may have.
fn accepts_patient_data(case: &Case<'_>, recipient: &ResolvedRecipient) -> bool {
    let entry = recipient
        .mailbox()
        .and_then(|mailbox| case.directory.entry(mailbox));
    entry.is_none_or(|entry| entry.accepts_patient_data)
}

fn restrict(
    verdict: &Located<Restriction>,
    recipient: &ResolvedRecipient,
    because: impl Into<String>,
) -> Opinion {
    let ask = match **verdict {
        Restriction::Hold => Ask::Hold,
        Restriction::Refuse => Ask::Refuse(Refusal::PatientData {
            domain: recipient
                .domain()
                .map_or_else(|| "this recipient".to_owned(), Domain::to_string),
        }),
    };
    Opinion::new(ask, verdict.source(), because)
}

/// The smallest change for a recipient elsewhere.
const REMEDY: &str = "the subject has the tag [secure], or the recipient is at a secure domain";
