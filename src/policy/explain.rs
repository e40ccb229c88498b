//! A decision for people: the JSON of `design.md` §4.3, and the same as text.
//!
//! Holds what the findings hold: redacted evidence, words and places, never a value.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::content::Unread;
use crate::mail::Edit;

use super::finding::{Evidence, Findings, LinkFinding, Symbol, Unreadable};
use super::verdict::{Decision, RecipientDecision};

/// Where a recipient's mail would go next: what the policy does not know.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Onward {
    /// The name of the route.
    pub route: Option<String>,
    /// What it asks of TLS: `none`, `opportunistic`, `required`, `verified`. `None` with a route: the mail does not
    /// leave this machine, so there is nothing to ask.
    pub tls: Option<String>,
}

/// The decision as one JSON object. `onward` says where each recipient's mail would go next.
pub fn to_json(decision: &Decision, onward: impl Fn(&RecipientDecision) -> Onward) -> Value {
    let recipients: Vec<Value> = decision
        .recipients
        .iter()
        .map(|recipient| recipient_json(decision, recipient, onward(recipient)))
        .collect();
    json!({
        "message": message_json(&decision.findings),
        "recipients": recipients,
        "edits": distinct(decision.edits.iter().map(edit_json)),
    })
}

/// The decision as text for a terminal.
pub fn to_text(decision: &Decision, onward: impl Fn(&RecipientDecision) -> Onward) -> String {
    let mut text = String::new();
    for recipient in &decision.recipients {
        write_recipient(&mut text, decision, recipient, &onward(recipient));
    }
    write_findings(&mut text, &decision.findings);
    for words in distinct(decision.edits.iter().map(edit_words)) {
        line(&mut text, "edit", &words);
    }
    text
}

fn message_json(findings: &Findings) -> Value {
    let found = &findings.patient_data;
    json!({
        "patient_data": {
            "found": found.found,
            "confidence": found.confidence.word(),
            "synthetic": found.synthetic,
            "evidence": found.evidence.iter().map(evidence_json).collect::<Vec<_>>(),
        },
        "markings": findings.markings,
        "secure_keyword": findings.secure_keyword.word(),
        "unreadable": findings.unreadable.iter().map(unreadable_json).collect::<Vec<_>>(),
        "links": findings.links.iter().map(link_json).collect::<Vec<_>>(),
        "spam": {
            "score": findings.spam.score,
            "symbols": findings.spam.symbols.iter().map(symbol_json).collect::<Vec<_>>(),
        },
        "authentication": methods(findings),
        "notes": findings.notes,
    })
}

fn evidence_json(evidence: &Evidence) -> Value {
    json!({
        "kind": evidence.kind,
        "confidence": evidence.confidence.word(),
        "where": evidence.place,
        "redacted": evidence.redacted,
        "because": evidence.because,
    })
}

fn unreadable_json(unreadable: &Unreadable) -> Value {
    let because = Unread::broadly(unreadable.because);
    let mut said = json!({"where": unreadable.place, "because": because});
    if because != unreadable.because {
        said["kind"] = unreadable.because.into();
    }
    said
}

fn link_json(link: &LinkFinding) -> Value {
    json!({
        "kind": link.kind.word(),
        "host": link.host,
        "where": link.place,
        "instead_of": link.instead_of,
        "count": link.count,
        "does": link.does,
        "rule": link.rule,
    })
}

/// `look-alike nhs-uk.net for nhs.uk, 2 in body:1: annotate (policies/links.toml:40)`.
fn link_words(link: &LinkFinding) -> String {
    let mut words = link.kind.word().to_owned();
    if let Some(host) = &link.host {
        words.push_str(&format!(" {host}"));
    }
    if let Some(other) = &link.instead_of {
        words.push_str(&format!(" for {other}"));
    }
    let LinkFinding {
        count,
        place,
        does,
        rule,
        ..
    } = link;
    format!("{words}, {count} in {place}: {does} ({rule})")
}

fn symbol_json(symbol: &Symbol) -> Value {
    json!({"name": symbol.name, "score": symbol.score, "because": symbol.because})
}

fn recipient_json(decision: &Decision, recipient: &RecipientDecision, onward: Onward) -> Value {
    json!({
        "address": recipient.given.to_string(),
        "resolved": recipient.recipient.forward_path.to_string(),
        "secure": recipient.secure,
        "verdict": recipient.verdict.word(),
        "reply": recipient.reply(&decision.reference).to_string(),
        "rule": recipient.rule,
        "because": recipient.because,
        "would_pass_if": recipient.would_pass_if,
        "route": onward.route,
        "tls": onward.tls,
    })
}

/// Each once: one footer may take several splices, of a part and of its header.
fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for item in items {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
    }
    distinct
}

fn edit_json(edit: &Edit) -> Value {
    let mut said = json!({"kind": edit.kind.name(), "part": edit.part, "entity": edit.entity});
    if let Some(audience) = edit.audience {
        said["for"] = audience.word().into();
    }
    said
}

/// Each as one word: `spf=pass smtp.mailfrom=a@b.example`.
fn methods(findings: &Findings) -> Vec<String> {
    let methods = findings.authentication.methods.iter();
    methods
        .map(|method| {
            let mut words = vec![format!("{}={}", method.method, method.result)];
            words.extend(method.properties.iter().cloned());
            words.join(" ")
        })
        .collect()
}

fn write_recipient(
    text: &mut String,
    decision: &Decision,
    recipient: &RecipientDecision,
    onward: &Onward,
) {
    line(text, &recipient.given.to_string(), recipient.verdict.word());
    for hop in &recipient.path {
        let step = format!("{} ({}, {})", hop.to, hop.because.word(), hop.source);
        line(text, "  leads to", &step);
    }
    let secure = if recipient.secure { "yes" } else { "no" };
    line(text, "  secure domain", secure);
    line(text, "  because", &recipient.because);
    line(text, "  rule", &recipient.rule);
    if let Some(change) = &recipient.would_pass_if {
        line(text, "  would pass if", change);
    }
    line(
        text,
        "  reply",
        &recipient.reply(&decision.reference).to_string(),
    );
    if let Some(route) = &onward.route {
        let way = match &onward.tls {
            Some(tls) => format!("{route}, TLS {tls}"),
            // Also where the verdict wants verified TLS: there is nobody on the way who could read it.
            None => format!("{route}, within this machine: no network, so no TLS"),
        };
        line(text, "  route", &way);
    }
}

fn write_findings(text: &mut String, findings: &Findings) {
    let found = &findings.patient_data;
    let summary = match (found.found, found.synthetic) {
        (false, _) => "not found".to_owned(),
        (true, false) => format!("found, confidence {}", found.confidence.word()),
        (true, true) => format!("found, confidence {}, synthetic", found.confidence.word()),
    };
    line(text, "patient data", &summary);
    for evidence in &found.evidence {
        let because = evidence.because.join(", ");
        let (kind, confidence) = (evidence.kind, evidence.confidence.word());
        let words = format!(
            "{kind} {} in {} ({confidence}: {because})",
            evidence.redacted, evidence.place
        );
        line(text, "  evidence", &words);
    }
    for marking in &findings.markings {
        line(text, "marking", marking);
    }
    line(text, "secure keyword", findings.secure_keyword.word());
    for unreadable in &findings.unreadable {
        line(
            text,
            "unreadable",
            &format!("{} ({})", unreadable.place, unreadable.because),
        );
    }
    for link in &findings.links {
        line(text, "link", &link_words(link));
    }
    for method in methods(findings) {
        line(text, "sender", &method);
    }
    line(text, "spam score", &findings.spam.score.to_string());
    for symbol in &findings.spam.symbols {
        line(
            text,
            "  symbol",
            &format!("{} {:+}: {}", symbol.name, symbol.score, symbol.because),
        );
    }
    for note in &findings.notes {
        line(text, "note", note);
    }
}

fn edit_words(edit: &Edit) -> String {
    let mut words = edit.kind.name().to_owned();
    if let Some(part) = &edit.part {
        words.push_str(&format!(" in part {part}"));
    }
    if let Some(entity) = &edit.entity {
        words.push_str(&format!(" for {entity}"));
    }
    if let Some(audience) = edit.audience {
        words.push_str(&format!(" (recipients: {})", audience.word()));
    }
    words
}

/// A name and what is said of it, side by side. Control characters of what peers wrote become spaces.
fn line(text: &mut String, name: &str, said: &str) {
    let said = said.replace(|c: char| c.is_control(), " ");
    // Writing to a String never fails.
    let _ = writeln!(text, "{name:<18} {said}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PolicyVersion;
    use crate::mail::{ForwardPath, Recipient};
    use crate::policy::finding::{Confidence, PatientData, SpamScore};
    use crate::policy::{Direction, Verdict};

    fn decision() -> Decision {
        let path = ForwardPath::parse("a@b.example").unwrap();
        Decision {
            reference: "PX-7F3K2Q".parse().unwrap(),
            direction: Direction::Outbound,
            has_sender: true,
            old_names: Vec::new(),
            priority: crate::mail::Priority::Normal,
            held: crate::policy::Held::default(),
            recipients: vec![RecipientDecision {
                given: path.clone(),
                recipient: Recipient::new(path),
                path: Vec::new(),
                errors_to: None,
                duplicate: false,
                audience: None,
                secure: false,
                verdict: Verdict::Hold,
                rule: "policies/secure-domains.toml:31".into(),
                because: "patient data was found".into(),
                would_pass_if: Some("the subject has the tag [secure]".into()),
                protection: crate::policy::opinion::Protection::AsRoute,
                grounds: crate::policy::self_release::Grounds::default(),
            }],
            edits: Vec::new(),
            findings: Findings {
                patient_data: PatientData {
                    found: true,
                    confidence: Confidence::High,
                    synthetic: false,
                    evidence: vec![Evidence {
                        kind: "nhs-number",
                        confidence: Confidence::High,
                        place: "body:1.2".into(),
                        redacted: "450 *** **04".into(),
                        because: vec!["checksum", "live-range", "keyword"],
                    }],
                },
                markings: vec!["OFFICIAL-SENSITIVE".into()],
                spam: SpamScore::default(),
                ..Findings::default()
            },
            policy: PolicyVersion("0123456789ab".into()),
        }
    }

    #[test]
    fn the_text_says_what_happens_and_why() {
        assert_eq!(
            to_text(&decision(), |_| Onward::default()),
            "a@b.example        hold\n\
             \x20 secure domain    no\n\
             \x20 because          patient data was found\n\
             \x20 rule             policies/secure-domains.toml:31\n\
             \x20 would pass if    the subject has the tag [secure]\n\
             \x20 reply            250 2.6.0 accepted and held: see PX-7F3K2Q\n\
             patient data       found, confidence high\n\
             \x20 evidence         nhs-number 450 *** **04 in body:1.2 (high: checksum, live-range, keyword)\n\
             marking            OFFICIAL-SENSITIVE\n\
             secure keyword     absent\n\
             spam score         0\n"
        );
    }

    #[test]
    fn mail_that_does_not_leave_the_machine_is_said_to_stay_there() {
        let way = |tls: Option<&str>| {
            let onward = Onward {
                route: Some("everything".into()),
                tls: tls.map(str::to_owned),
            };
            let text = to_text(&decision(), |_| onward.clone());
            let json = to_json(&decision(), |_| onward.clone());
            let line = text.lines().find(|line| line.contains("route")).unwrap();
            (line.trim().to_owned(), json["recipients"][0]["tls"].clone())
        };
        assert_eq!(
            way(None),
            (
                "route            everything, within this machine: no network, so no TLS".into(),
                Value::Null
            )
        );
        assert_eq!(
            way(Some("verified")),
            (
                "route            everything, TLS verified".into(),
                json!("verified")
            )
        );
    }

    #[test]
    fn the_json_is_that_of_the_contract() {
        let json = to_json(&decision(), |_| Onward::default());
        assert_eq!(
            json["message"]["patient_data"],
            json!({"found": true, "confidence": "high", "synthetic": false,
                "evidence": [{"kind": "nhs-number", "confidence": "high", "where": "body:1.2",
                    "redacted": "450 *** **04", "because": ["checksum", "live-range", "keyword"]}]})
        );
        assert_eq!(
            json["recipients"][0],
            json!({"address": "a@b.example", "resolved": "a@b.example", "secure": false,
                "verdict": "hold", "reply": "250 2.6.0 accepted and held: see PX-7F3K2Q",
                "rule": "policies/secure-domains.toml:31", "because": "patient data was found",
                "would_pass_if": "the subject has the tag [secure]", "route": null, "tls": null})
        );
        assert_eq!(
            json["message"]["spam"],
            json!({"score": 0.0, "symbols": []})
        );
    }
}
