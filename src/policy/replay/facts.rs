//! What the audit trail has of the findings of a message: the reverse of what `ingress::events` writes.

use serde_json::{Map, Value};

use crate::accounts::{Account, Declaration};
use crate::content::Unread;
use crate::policy::finding::{
    Confidence, Evidence, PatientData, SecureKeyword, Symbol, Unreadable,
};
use crate::policy::opinion::{Finding, Opinions};

/// Findings on record. What is redacted stays so.
#[derive(Clone, Debug, Default)]
pub struct OnRecord {
    /// Numbers and markings; not what the account declares, which is for each policy to say.
    evidence: Vec<Evidence>,
    markings: Vec<String>,
    /// What the subject says of encryption; `None` where that is not on record: of mail that came before it was.
    pub(super) keyword: Option<SecureKeyword>,
    unreadable: Vec<Unreadable>,
    pub(super) symbols: Vec<Symbol>,
    /// What became of the footer, by the legal entity that sent; `None` if that is not on record.
    pub(super) footer: Option<Option<String>>,
    /// Whether the gateway itself has marked the message.
    pub(super) is_marked: bool,
}

impl OnRecord {
    /// Takes in the facts of one event of the message.
    pub fn take(&mut self, facts: &Map<String, Value>) {
        let text = |name: &str| facts.get(name).and_then(Value::as_str);
        if let Some(all) = text("evidence") {
            self.evidence = parts(all).filter_map(evidence).collect();
        }
        if let Some(all) = text("unreadable") {
            self.unreadable = parts(all).filter_map(unreadable).collect();
        }
        if let Some(all) = text("markings") {
            self.markings = parts(all).map(str::to_owned).collect();
        }
        if let Some(all) = text("spam-symbols") {
            self.symbols = all.split(' ').filter_map(symbol).collect();
        }
        if text("footer").is_some() {
            self.footer = Some(text("entity").map(str::to_owned));
        }
        if let Some(edits) = text("edits") {
            self.is_marked |= edits.split(", ").any(|edit| edit == "mark");
        }
        // Since the direction is on record the keyword is too, wherever there is one.
        let keyword = text("secure-keyword").and_then(keyword);
        let silence = text("direction").map(|_| SecureKeyword::Absent);
        if keyword.is_some() || self.keyword.is_none() {
            self.keyword = keyword.or(silence);
        }
    }

    /// What `classify-patient-data` would have said, by the contract of the account that a policy has.
    pub(super) fn classified(&self, account: Option<&Account>, keyword: SecureKeyword) -> Opinions {
        Opinions {
            findings: vec![
                Finding::PatientData(self.patient_data(account)),
                Finding::Markings(self.markings.clone()),
                Finding::SecureKeyword(keyword),
                Finding::Unreadable(self.unreadable.clone()),
            ],
            ..Opinions::none()
        }
    }

    fn patient_data(&self, account: Option<&Account>) -> PatientData {
        let declaring = account.filter(|account| account.patient_data == Declaration::Always);
        let declared = declaring.map(|account| Evidence {
            kind: DECLARED,
            confidence: Confidence::High,
            place: "account".to_owned(),
            redacted: account.name().to_owned(),
            because: vec!["declared"],
        });
        let evidence: Vec<Evidence> = declared
            .into_iter()
            .chain(self.evidence.iter().cloned())
            .collect();
        let confidence = evidence.iter().map(|one| one.confidence).max();
        let confidence = confidence.unwrap_or_default();
        let mut restricting = evidence
            .iter()
            .filter(|one| one.confidence >= Confidence::Medium)
            .peekable();
        let found = restricting.peek().is_some();
        PatientData {
            found,
            confidence,
            synthetic: found && restricting.all(is_synthetic),
            evidence,
        }
    }

    /// Whether patient data was found, whatever an account declares.
    pub(super) fn has_patient_data(&self) -> bool {
        self.patient_data(None).found
    }

    /// Whether a symbol of this name is on record.
    pub(super) fn has_symbol(&self, name: &str) -> bool {
        self.symbols.iter().any(|symbol| symbol.name == name)
    }
}

/// The parts of a fact that has several.
fn parts(all: &str) -> impl Iterator<Item = &str> {
    all.split("; ").filter(|part| !part.is_empty())
}

/// `high nhs-number at body:1.2: 450 *** **04 (checksum, live-range, keyword)`. Why it counts is not needed again.
fn evidence(text: &str) -> Option<Evidence> {
    let (confidence, rest) = text.split_once(' ')?;
    let confidence = [Confidence::Low, Confidence::Medium, Confidence::High]
        .into_iter()
        .find(|one| one.word() == confidence)?;
    let (kind, rest) = rest.split_once(" at ")?;
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let (place, rest) = rest.split_once(": ")?;
    let redacted = rest.rsplit_once(" (").map_or(rest, |(before, _)| before);
    Some(Evidence {
        kind,
        confidence,
        place: place.to_owned(),
        redacted: redacted.to_owned(),
        because: Vec::new(),
    })
}

/// `attachment:2: encrypted-archive`.
fn unreadable(text: &str) -> Option<Unreadable> {
    let (place, because) = text.rsplit_once(": ")?;
    Some(Unreadable {
        place: place.to_owned(),
        because: Unread::word(because)?,
    })
}

/// `DMARC_PASS(-0.5)`.
fn symbol(text: &str) -> Option<Symbol> {
    let (name, score) = text.strip_suffix(')')?.split_once('(')?;
    Some(Symbol {
        name: name.to_owned(),
        score: score.parse().ok()?,
        because: String::new(),
    })
}

fn keyword(word: &str) -> Option<SecureKeyword> {
    [
        SecureKeyword::Absent,
        SecureKeyword::Present,
        SecureKeyword::NearMiss,
    ]
    .into_iter()
    .find(|one| one.word() == word)
}

/// Numbers that are never issued begin with a nine, which is not starred out.
fn is_synthetic(evidence: &Evidence) -> bool {
    evidence.kind == "nhs-number" && evidence.redacted.starts_with('9')
}

/// Kinds of evidence that are of the message itself.
const KINDS: [&str; 4] = ["nhs-number", "chi-number", "hc-number", "marking"];
/// The one that is of an account.
const DECLARED: &str = "declared-by-account";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(facts: Value) -> OnRecord {
        let mut found = OnRecord::default();
        found.take(facts.as_object().unwrap());
        found
    }

    #[test]
    fn what_is_on_record_becomes_the_findings_again() {
        let found = read(json!({
            "evidence": "high nhs-number at body:1.2: 450 *** **04 (checksum, live-range, keyword); \
                         low chi-number at header:X: 010 *** **12 (checksum)",
            "unreadable": "attachment:2/1: encrypted-archive",
            "markings": "OFFICIAL-SENSITIVE; RESTRICTED",
            "spam-symbols": "DMARC_PASS(-0.5) BAD(12)",
        }));
        let data = found.patient_data(None);
        assert!(data.found && !data.synthetic && data.confidence == Confidence::High);
        assert_eq!(data.evidence[0].redacted, "450 *** **04");
        assert_eq!(data.evidence[1].place, "header:X");
        assert_eq!(found.unreadable[0].because, "encrypted-archive");
        assert_eq!(found.markings, ["OFFICIAL-SENSITIVE", "RESTRICTED"]);
        assert!(found.has_symbol("BAD") && found.symbols[0].score < 0.0);
        assert_eq!(found.keyword, None);
    }

    #[test]
    fn evidence_of_test_numbers_alone_is_synthetic_and_what_is_low_is_nothing() {
        let of = |text: &str| read(json!({ "evidence": text })).patient_data(None);
        let test = of("high nhs-number at body:1: 943 *** **19 (checksum)");
        assert!(test.found && test.synthetic);
        let both = of(
            "high nhs-number at body:1: 943 *** **19 (checksum); high marking at subject: OFFICIAL-SENSITIVE (marking)",
        );
        assert!(both.found && !both.synthetic);
        assert!(!of("low nhs-number at body:1: 450 *** **04 (checksum)").found);
        // What the account declared is for the policy to say again.
        assert!(!of("high declared-by-account at account: rota@b.example (declared)").found);
    }

    #[test]
    fn the_keyword_is_absent_only_where_it_would_be_on_record() {
        assert_eq!(read(json!({})).keyword, None);
        let silent = read(json!({ "direction": "outbound" }));
        assert_eq!(silent.keyword, Some(SecureKeyword::Absent));
        let mut said = silent;
        said.take(
            json!({ "secure-keyword": "near-miss" })
                .as_object()
                .unwrap(),
        );
        said.take(json!({ "direction": "outbound" }).as_object().unwrap());
        assert_eq!(said.keyword, Some(SecureKeyword::NearMiss));
    }
}
