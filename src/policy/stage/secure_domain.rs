//! The secure-domain rule: patient data goes to domains that the register lists as secure, over
//! verified TLS, and to nobody else unless the sender asked for encryption.
//!
//! Reads what `classify-patient-data` found and where `resolve-recipients` says each recipient is.
//! The decision table is `domain.md` §4; where it leaves a choice, `secure-domains.toml` makes it.
//! Every recipient is judged alone: one that may not have the message takes nothing from those
//! who may.

use std::sync::Arc;

use crate::accounts::Declaration;
use crate::config::Located;
use crate::mail::{Domain, Mailbox, ReversePath};
use crate::policy::author::authors;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::finding::{Findings, SecureKeyword, Unreadable};
use crate::policy::opinion::{Ask, Opinion, Opinions, Protection};
use crate::policy::refusal::Refusal;
use crate::policy::secure_domains::{Restriction, SecureDomains, Standing, Transport};
use crate::policy::self_release::{Ground, Grounds};
use crate::policy::sms::SmsRule;

/// The stage `secure-domain`.
#[derive(Debug)]
pub struct SecureDomain {
    register: Arc<SecureDomains>,
    sms: Arc<SmsRule>,
}

impl SecureDomain {
    /// The rule by a register.
    pub fn new(register: Arc<SecureDomains>) -> Self {
        Self {
            register,
            sms: Arc::default(),
        }
    }

    /// The same with a domain whose recipients are numbers.
    #[must_use]
    pub fn with_texts(self, sms: Arc<SmsRule>) -> Self {
        Self { sms, ..self }
    }

    /// One opinion for each recipient, in the order of the case.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let sender = self.against_sender(case);
        let broken = self.broken_contract(case);
        let texts = self.sms.judge(case, self.is_patient_data(case.findings));
        let per_recipient = case
            .recipients
            .iter()
            .map(|recipient| {
                let mut opinion = match (&texts, recipient.secure) {
                    (Some(texts), _) if self.sms.is_for(&recipient.recipient.forward_path) => {
                        return texts.opinion(broken.as_ref());
                    }
                    (_, true) => self.for_secure(case, recipient),
                    (_, false) => self.for_others(case, recipient),
                };
                if sender.is_some() || broken.is_some() || !accepts_patient_data(case, recipient) {
                    // Who may not send it may not release it either, nor to whom it may not go.
                    opinion.grounds = Grounds::default();
                }
                let opinion = match (&broken, sender) {
                    (Some(broken), _) if goes_on(&opinion) => broken.clone(),
                    (_, Some(verdict)) if goes_on(&opinion) => not_his_to_send(verdict),
                    _ => opinion,
                };
                opinion.protected(self.protection(case, recipient))
            })
            .collect();
        Opinions {
            per_recipient,
            findings: texts.map_or_else(Vec::new, |texts| texts.findings),
            ..Opinions::none()
        }
    }

    /// How the message goes to a recipient if it goes, also after a hold or a quarantine.
    fn protection(&self, case: &Case<'_>, recipient: &ResolvedRecipient) -> Protection {
        let encrypts = recipient
            .domain()
            .map(|domain| self.register.transport(domain))
            == Some(Transport::Encryption);
        match recipient.secure {
            true if !self.is_patient_data(case.findings) => Protection::AsRoute,
            true if encrypts => Protection::Encryption,
            true => Protection::VerifiedTls,
            false if case.findings.secure_keyword == SecureKeyword::Present => {
                Protection::Encryption
            }
            false => Protection::AsRoute,
        }
    }

    fn for_secure(&self, case: &Case<'_>, recipient: &ResolvedRecipient) -> Opinion {
        if !self.is_patient_data(case.findings) {
            return Opinion::pass();
        }
        if !accepts_patient_data(case, recipient) {
            let verdict = &self.register.verdicts.mailbox_declines;
            let because = "patient data was found, and this mailbox does not take patient data";
            return restrict(verdict, Refusal::TakesNoPatientData, because)
                .would_pass_if("it goes to a mailbox that takes patient data");
        }
        let rule = recipient.secure_rule.clone().unwrap_or_default();
        let transport = recipient
            .domain()
            .map(|domain| self.register.transport(domain));
        if transport == Some(Transport::Encryption) {
            let because = "patient data was found, and this secure domain gets it encrypted";
            return Opinion::new(Ask::Encrypt, rule, because);
        }
        let because = "patient data was found, and this domain is secure";
        Opinion::new(Ask::RequireVerifiedTls, rule, because)
    }

    /// What becomes of patient data that our own clients send under a name that may not. What strangers
    /// send to us is theirs to answer for: it is not kept from those whom it is about.
    fn against_sender(&self, case: &Case<'_>) -> Option<&Located<Restriction>> {
        let verdict = self.register.verdicts.sender_not_secure.as_ref()?;
        let may = !case.is_outbound()
            || case.account.is_some()
            || !self.is_patient_data(case.findings)
            || self.is_secure_sender(case);
        (!may).then_some(verdict)
    }

    /// What becomes of patient data of an account that says it sends none. The declaration switches nothing
    /// off: either it is wrong, or the message is, and somebody has to look, whoever is to get it.
    fn broken_contract(&self, case: &Case<'_>) -> Option<Opinion> {
        let account = case
            .account
            .filter(|account| account.patient_data == Declaration::Never)?;
        let rule = account
            .place()
            .map_or_else(|| "built-in".to_owned(), ToString::to_string);
        let because = "patient data was found in mail of an account that says it sends none";
        self.is_patient_data(case.findings).then(|| {
            Opinion::new(Ask::Hold, rule, because).would_pass_if(
                "the message has none, or the account says `patient-data = \"by-content\"`",
            )
        })
    }

    /// The reverse path speaks; for a report, which has none, its author does.
    fn is_secure_sender(&self, case: &Case<'_>) -> bool {
        let is_secure = |mailbox: &Mailbox| {
            mailbox
                .domain()
                .is_some_and(|domain| self.register.is_secure(domain, case.now))
        };
        match &case.transaction.envelope.reverse_path {
            ReversePath::Mailbox(mailbox) => is_secure(mailbox),
            ReversePath::Null => {
                let authors = authors(case.header, "From");
                !authors.is_empty()
                    && authors
                        .iter()
                        .all(|author| author.mailbox.as_ref().is_some_and(is_secure))
            }
        }
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
            let patient_data = self.is_patient_data(findings);
            let remedy = match patient_data {
                true => REMEDY_OF_BOTH,
                false => "the subject has the exact tag [secure], or asks for nothing",
            };
            return restrict(
                &verdicts.near_miss,
                Refusal::NearMiss { patient_data },
                because,
            )
            .would_pass_if(remedy)
            .on(self.grounds(findings));
        }
        if self.is_patient_data(findings) {
            let because = self.why_not_secure(case, recipient);
            let refusal = Refusal::PatientData {
                domain: domain_of(recipient),
            };
            return restrict(&verdicts.not_secure, refusal, because)
                .would_pass_if(REMEDY)
                .on(self.grounds(findings));
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
        let remedy = match way_out(unreadable.because) {
            Some(way_out) => format!("{way_out}, or {REMEDY}"),
            None => REMEDY.to_owned(),
        };
        let refusal = Refusal::Unreadable {
            domain: domain_of(recipient),
        };
        restrict(verdict, refusal, because)
            .would_pass_if(remedy)
            .on(self.grounds(findings))
    }

    /// Everything that keeps a message from a domain that is not secure, whichever of it is said first.
    fn grounds(&self, findings: &Findings) -> Grounds {
        let unreadable =
            |one: &Unreadable| self.register.verdicts.unreadable.contains_key(one.because);
        let all = [
            (
                Ground::NearMiss,
                findings.secure_keyword == SecureKeyword::NearMiss,
            ),
            (
                Ground::Unreadable,
                findings.unreadable.iter().any(unreadable),
            ),
            (Ground::NotSecure, self.is_patient_data(findings)),
        ];
        let standing = all.into_iter().filter(|(_, stands)| *stands);
        standing.map(|(ground, _)| ground).collect()
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

/// What a sender can do about a file, in words of the notice; `None` where nothing is sure to help.
fn way_out(because: &str) -> Option<&'static str> {
    Some(match because {
        "encrypted-archive" | "encrypted-document" => "the file is sent without its password",
        "image-only" => "the words of the scan or picture are sent as text",
        "unknown-font" => "the PDF is made anew by the program that its text was written with",
        "legacy-office" => "the document is saved as DOCX, XLSX, PPTX or PDF",
        "outlook-item" => "the message is sent as HTML or plain text, and an attached one as .eml",
        "archive" => "the files are sent by themselves or in a ZIP archive without a password",
        _ => return None,
    })
}

fn not_his_to_send(verdict: &Located<Restriction>) -> Opinion {
    let because =
        "patient data was found, and the sender is neither an account nor at a secure domain";
    restrict(verdict, Refusal::MaySendNoPatientData, because)
        .would_pass_if("an account sends it, or a mailbox at a secure domain")
}

/// Whether the message leaves, as far as this rule is concerned.
fn goes_on(opinion: &Opinion) -> bool {
    matches!(
        opinion.ask,
        Ask::Pass | Ask::RequireVerifiedTls | Ask::Encrypt
    )
}

/// A mailbox that the directory does not know takes what its domain may have.
fn accepts_patient_data(case: &Case<'_>, recipient: &ResolvedRecipient) -> bool {
    let known = recipient
        .mailbox()
        .and_then(|mailbox| case.directory.glance(mailbox));
    known.is_none_or(|known| known.accepts_patient_data)
}

/// Holds or refuses, as the register says; a client that is refused hears what it was that spoke against it.
fn restrict(
    verdict: &Located<Restriction>,
    refusal: Refusal,
    because: impl Into<String>,
) -> Opinion {
    let ask = match **verdict {
        Restriction::Hold => Ask::Hold,
        Restriction::Refuse => Ask::Refuse(refusal),
    };
    Opinion::new(ask, verdict.source(), because)
}

fn domain_of(recipient: &ResolvedRecipient) -> String {
    let domain = recipient.domain();
    domain.map_or_else(|| "this recipient".to_owned(), Domain::to_string)
}

/// The smallest change for a recipient elsewhere.
const REMEDY: &str = "the subject has the tag [secure], or the recipient is at a secure domain";
/// The same where the subject has nearly the tag, and there is patient data as well.
const REMEDY_OF_BOTH: &str =
    "the subject has the exact tag [secure], or the recipient is at a secure domain";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reference;
    use crate::config::{Diagnostics, read_toml};
    use crate::content;
    use crate::policy::finding::{Confidence, PatientData};
    use crate::policy::testing::{World, file};

    const REGISTER: &str = "
[verdicts]
mailbox-declines = \"refuse\"
[verdicts.unreadable]
too-large = \"refuse\"
[[domain]]
pattern = \"nhs.net\"
owner = \"NHS England\"
reason = \"NHSmail\"
[[domain]]
pattern = \"bumbleton.example\"
owner = \"us\"
reason = \"ours\"
[[domain]]
pattern = \"lapsed.example\"
owner = \"us\"
reason = \"over\"
valid-until = 2026-11-20
";

    const TO: [&str; 3] = ["gp@nhs.net", "patient@example.com", "x@lapsed.example"];

    fn register() -> Arc<SecureDomains> {
        register_of(REGISTER)
    }

    fn register_of(text: &str) -> Arc<SecureDomains> {
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        let diagnostics = Diagnostics::default();
        Arc::new(read_toml(
            &file("secure-domains.toml", text),
            &diagnostics,
            |top| SecureDomains::read(top, now),
        ))
    }

    fn found(synthetic: bool) -> PatientData {
        PatientData {
            found: true,
            confidence: Confidence::High,
            synthetic,
            evidence: Vec::new(),
        }
    }

    fn opinions(to: &[&str], findings: Findings) -> Vec<Opinion> {
        let register = register();
        let mut world = World::new("", "a@b.example", to).with_register(&register);
        world.findings = findings;
        world
            .ask(|case| SecureDomain::new(register).examine(case))
            .per_recipient
    }

    fn asks(to: &[&str], findings: Findings) -> Vec<Ask> {
        opinions(to, findings)
            .into_iter()
            .map(|opinion| opinion.ask)
            .collect()
    }

    fn finding(patient_data: PatientData, secure_keyword: SecureKeyword) -> Findings {
        Findings {
            patient_data,
            secure_keyword,
            ..Findings::default()
        }
    }

    #[test]
    fn without_patient_data_everybody_gets_the_message() {
        assert_eq!(
            asks(&TO, Findings::default()),
            [Ask::Pass, Ask::Pass, Ask::Pass]
        );
    }

    #[test]
    fn patient_data_goes_to_secure_domains_over_verified_tls_and_is_held_for_others() {
        let said = opinions(&TO, finding(found(false), SecureKeyword::Absent));
        let asks: Vec<_> = said.iter().map(|opinion| &opinion.ask).collect();
        assert_eq!(asks, [&Ask::RequireVerifiedTls, &Ask::Hold, &Ask::Hold]);
        assert!(said[1].would_pass_if.as_ref().unwrap().contains("[secure]"));
        assert!(
            said[2]
                .because
                .contains("out of its dates (secure-domains.toml:15)"),
            "{}",
            said[2].because
        );
    }

    #[test]
    fn the_keyword_sends_others_to_the_encryption_next_hop_with_or_without_patient_data() {
        for patient_data in [found(false), PatientData::default()] {
            let asks = asks(&TO[1..], finding(patient_data, SecureKeyword::Present));
            assert_eq!(asks, [Ask::Encrypt, Ask::Encrypt]);
        }
        let secure = asks(&TO[..1], finding(found(false), SecureKeyword::Present));
        assert_eq!(secure, [Ask::RequireVerifiedTls]);
    }

    #[test]
    fn a_near_miss_of_the_keyword_is_held_for_others_alone() {
        let asks = asks(
            &TO[..2],
            finding(PatientData::default(), SecureKeyword::NearMiss),
        );
        assert_eq!(asks, [Ask::Pass, Ask::Hold]);
    }

    #[test]
    fn numbers_that_are_never_issued_restrict_nothing() {
        let asks = asks(&TO[..2], finding(found(true), SecureKeyword::Absent));
        assert_eq!(asks, [Ask::Pass, Ask::Pass]);
    }

    #[test]
    fn a_mailbox_that_takes_no_patient_data_does_not_get_any() {
        let to = ["reception@bumbleton.example", "marketing@bumbleton.example"];
        let said = opinions(&to, finding(found(false), SecureKeyword::Absent));
        assert_eq!(said[0].ask, Ask::RequireVerifiedTls);
        assert_eq!(said[1].ask, Ask::Refuse(Refusal::TakesNoPatientData));
        assert_eq!(said[1].rule, "secure-domains.toml:3");
    }

    #[test]
    fn a_refusal_says_what_it_was_that_spoke_against_the_message() {
        let all = "[verdicts]\nnot-secure = \"refuse\"\nnear-miss = \"refuse\"\nsender-not-secure = \"refuse\"";
        let register = register_of(&REGISTER.replacen("[verdicts]", all, 1));
        let said = |from: &str, to: &str, findings: Findings| {
            let world = World::new("", from, &[to]).with_register(&register);
            let mut world = world.outbound(None);
            world.findings = findings;
            let said = world.ask(|case| SecureDomain::new(Arc::clone(&register)).examine(case));
            let opinion = said.per_recipient[0].clone();
            (opinion.ask, opinion.would_pass_if.unwrap_or_default())
        };
        let found = |keyword| finding(found(false), keyword);
        let too_large = Findings {
            unreadable: vec![Unreadable {
                place: "attachment:2".into(),
                because: "too-large",
            }],
            ..Findings::default()
        };
        let domain = || "example.com".to_owned();
        let near_miss = finding(PatientData::default(), SecureKeyword::NearMiss);
        for (from, to, findings, refusal, remedy) in [
            (
                "gp@nhs.net",
                TO[1],
                found(SecureKeyword::Absent),
                Refusal::PatientData { domain: domain() },
                "secure domain",
            ),
            (
                "gp@nhs.net",
                TO[1],
                near_miss,
                Refusal::NearMiss {
                    patient_data: false,
                },
                "asks for nothing",
            ),
            (
                "gp@nhs.net",
                TO[1],
                found(SecureKeyword::NearMiss),
                Refusal::NearMiss { patient_data: true },
                "or the recipient is at a secure domain",
            ),
            (
                "gp@nhs.net",
                TO[1],
                too_large,
                Refusal::Unreadable { domain: domain() },
                "secure domain",
            ),
            (
                "gp@nhs.net",
                "marketing@bumbleton.example",
                found(SecureKeyword::Absent),
                Refusal::TakesNoPatientData,
                "takes patient data",
            ),
            (
                "till@shop.example",
                TO[0],
                found(SecureKeyword::Absent),
                Refusal::MaySendNoPatientData,
                "an account sends it",
            ),
        ] {
            let (ask, would_pass_if) = said(from, to, findings);
            assert!(would_pass_if.contains(remedy), "{would_pass_if}");
            assert_eq!(ask, Ask::Refuse(refusal));
        }
    }

    #[test]
    fn a_near_miss_with_patient_data_is_not_told_to_leave_the_tag_out() {
        let reference = Reference::random();
        for (patient_data, way_out) in [(true, false), (false, true)] {
            let reply = Refusal::NearMiss { patient_data }.reply(&reference);
            let text = reply.to_string();
            assert!(text.contains("the exact tag [secure]"), "{text}");
            assert_eq!(text.contains("or without any"), way_out, "{text}");
        }
    }

    #[test]
    fn our_own_send_patient_data_from_an_account_or_a_secure_domain() {
        let register = register();
        let asks = |from: &str, account: Option<&str>, outbound: bool, findings: Findings| {
            let message = "From: gp@nhs.net\n\nx\n";
            let mut world = World::new(message, from, &TO[..1]).with_register(&register);
            if outbound {
                world = world.outbound(account);
            }
            world.findings = findings;
            let said = world.ask(|case| SecureDomain::new(Arc::clone(&register)).examine(case));
            said.per_recipient[0].ask.clone()
        };
        let found = || finding(found(false), SecureKeyword::Absent);
        assert_eq!(asks("a@shop.example", None, true, found()), Ask::Hold);
        assert_eq!(
            asks("gp@nhs.net", None, true, found()),
            Ask::RequireVerifiedTls
        );
        assert_eq!(asks("", None, true, found()), Ask::RequireVerifiedTls);
        let account = Some("reminders@bumbleton.example");
        assert_eq!(
            asks("a@shop.example", account, true, found()),
            Ask::RequireVerifiedTls
        );
        assert_eq!(
            asks("a@shop.example", None, false, found()),
            Ask::RequireVerifiedTls
        );
        assert_eq!(
            asks("a@shop.example", None, true, Findings::default()),
            Ask::Pass
        );
    }

    #[test]
    fn the_sender_of_a_file_that_is_not_read_hears_what_to_do_instead() {
        for because in content::Unread::WORDS {
            let has_way_out = !matches!(
                *because,
                "too-large" | "malformed" | "unknown-format" | content::UNAVAILABLE
            );
            assert_eq!(way_out(because).is_some(), has_way_out, "{because}");
        }
    }

    #[test]
    fn a_hold_rests_on_all_that_keeps_the_message_back_and_is_not_for_whom_it_may_not_go_to() {
        let scanned = Unreadable {
            place: "attachment:2".into(),
            because: "image-only",
        };
        let all = Findings {
            unreadable: vec![scanned],
            ..finding(found(false), SecureKeyword::NearMiss)
        };
        let grounds = |to: &str, findings: Findings| {
            let said = opinions(&[to], findings).remove(0);
            said.grounds.iter().collect::<Vec<_>>()
        };
        assert_eq!(
            grounds(TO[1], all.clone()),
            [Ground::NearMiss, Ground::Unreadable, Ground::NotSecure]
        );
        let near_miss = finding(PatientData::default(), SecureKeyword::NearMiss);
        assert_eq!(grounds(TO[1], near_miss), [Ground::NearMiss]);
        assert_eq!(grounds("marketing@bumbleton.example", all), []);

        let register = register();
        let mut world = World::new("", "till@shop.example", &TO[1..2])
            .with_register(&register)
            .outbound(None);
        world.findings = finding(found(false), SecureKeyword::Absent);
        let said = world.ask(|case| SecureDomain::new(Arc::clone(&register)).examine(case));
        assert_eq!(said.per_recipient[0].ask, Ask::Hold);
        assert_eq!(
            said.per_recipient[0].grounds,
            Grounds::default(),
            "nor is it for a sender who may not send it"
        );
    }

    #[test]
    fn patient_data_of_an_account_that_says_it_sends_none_waits_for_somebody() {
        let register = register();
        let asks = |patient_data: PatientData, keyword| {
            let mut world = World::new(
                "From: rota@bumbleton.example\n\nx\n",
                "rota@bumbleton.example",
                &TO,
            )
            .with_register(&register)
            .outbound(Some("rota@bumbleton.example"));
            world.findings = finding(patient_data, keyword);
            let said = world.ask(|case| SecureDomain::new(Arc::clone(&register)).examine(case));
            let asks = said.per_recipient.into_iter();
            asks.map(|opinion| opinion.ask).collect::<Vec<_>>()
        };
        let held = [Ask::Hold, Ask::Hold, Ask::Hold];
        assert_eq!(asks(found(false), SecureKeyword::Absent), held);
        assert_eq!(
            asks(found(false), SecureKeyword::Present),
            held,
            "the tag is no way round it"
        );
        let passes = [Ask::Pass, Ask::Pass, Ask::Pass];
        assert_eq!(asks(PatientData::default(), SecureKeyword::Absent), passes);
        assert_eq!(
            asks(found(true), SecureKeyword::Absent),
            passes,
            "numbers for tests restrict nothing"
        );
    }

    #[test]
    fn what_could_not_be_looked_into_counts_by_its_reason_for_others_alone() {
        let unreadable = |reasons: &[&'static str]| Findings {
            unreadable: reasons
                .iter()
                .map(|because| Unreadable {
                    place: "attachment:2".into(),
                    because,
                })
                .collect(),
            ..Findings::default()
        };
        assert_eq!(
            asks(&TO[..2], unreadable(&["unknown-format"])),
            [Ask::Pass, Ask::Pass]
        );
        assert_eq!(
            asks(&TO[..2], unreadable(&["image-only"])),
            [Ask::Pass, Ask::Hold]
        );
        let worst = asks(&TO[1..2], unreadable(&["image-only", "too-large"]));
        assert!(matches!(worst[0], Ask::Refuse(_)), "{worst:?}");
    }
}
