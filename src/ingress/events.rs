//! What ingress writes into the audit trail: ids, addresses of the envelope, rules, redacted evidence.

use jiff::Timestamp;

use crate::base::PolicyVersion;
use crate::mail::{Client, MailTransaction, Message, Recipient, Reply, ReversePath, redact};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::finding::{Findings, SecureKeyword};
use crate::policy::verdict::{Fate, Verdict};
use crate::policy::{Decision, RecipientDecision, Rejection};

/// A recipient was refused at `RCPT TO`.
pub fn recipient_refused(
    at: Timestamp,
    policy: &PolicyVersion,
    client: &Client,
    reverse_path: &ReversePath,
    recipient: &Recipient,
    rejection: &Rejection,
) -> AuditEvent {
    let mut event = AuditEvent::new(
        at,
        rejection.reference.clone(),
        AuditKind::Refused,
        reverse_path.to_string(),
    );
    event.recipient = Some(recipient.forward_path.to_string());
    event.policy = Some(policy.clone());
    event.rule = Some(rejection.rule.clone());
    with_client(event, client)
        .fact("because", &*rejection.because)
        .fact("reply", rejection.reply.to_string())
}

/// A message was accepted under this `Message-ID`: its reception, and the decision for each recipient.
pub fn message_accepted(
    transaction: &MailTransaction,
    decision: &Decision,
    message_id: Option<&str>,
) -> Vec<AuditEvent> {
    let of = Of {
        transaction,
        decision,
        message_id,
    };
    let mut received = of.event(AuditKind::Received);
    received
        .facts
        .insert("octets", transaction.message.len().to_string());
    received
        .facts
        .insert("direction", decision.direction.word().to_owned());
    let mut received = with_edits(received, decision);
    let notes = &decision.findings.notes;
    if !notes.is_empty() {
        received.facts.insert("notes", notes.join("; "));
    }
    let mut events = vec![with_client(received, &transaction.client)];
    for (recipient, fate) in decision.fates() {
        events.push(of.decided(recipient, AuditKind::Decided));
        if let Fate::Fail(refusal) = fate {
            let mut failed = of.event(AuditKind::Failed);
            failed.recipient = Some(recipient.recipient.forward_path.to_string());
            events.push(failed.fact("reply", refusal.reply(&decision.reference).to_string()));
        }
    }
    events
}

/// A message was refused while the client waited under this `Message-ID`: one event for each recipient.
pub fn message_refused(
    transaction: &MailTransaction,
    decision: &Decision,
    reply: &Reply,
    message_id: Option<&str>,
) -> Vec<AuditEvent> {
    let of = Of {
        transaction,
        decision,
        message_id,
    };
    let recipients = decision.recipients.iter();
    recipients
        .map(|recipient| {
            let event = of.decided(recipient, AuditKind::Refused);
            with_client(event, &transaction.client)
                .fact("direction", decision.direction.word())
                .fact("reply", reply.to_string())
        })
        .collect()
}

/// The `Message-ID` of a message, cut to 200 characters. Programs build it from a patient's number, also of messages in
/// which there is nothing else of a patient: such a number is not shown.
pub fn message_id(message: &Message) -> Option<String> {
    let header = message.header();
    let value = header.first("Message-ID")?.value();
    let kept = value.chars().filter(|c| !c.is_control()).take(200);
    Some(redact::numbers(&kept.collect::<String>()).into_owned())
}

/// What the events of one message are of. A message can have many recipients and a long header: what all
/// events share is looked for once.
struct Of<'a> {
    transaction: &'a MailTransaction,
    decision: &'a Decision,
    message_id: Option<&'a str>,
}

impl Of<'_> {
    fn event(&self, kind: AuditKind) -> AuditEvent {
        let sender = self.transaction.envelope.reverse_path.to_string();
        let reference = self.decision.reference.clone();
        let mut event = AuditEvent::new(self.transaction.received_at, reference, kind, sender);
        event.message_id = self.message_id.map(str::to_owned);
        event.policy = Some(self.decision.policy.clone());
        event
    }

    fn decided(&self, recipient: &RecipientDecision, kind: AuditKind) -> AuditEvent {
        let mut event = self.event(kind);
        let (given, resolved) = (
            recipient.given.to_string(),
            recipient.recipient.forward_path.to_string(),
        );
        event.original_recipient = (given != resolved).then_some(given);
        event.recipient = Some(resolved);
        event.rule = Some(recipient.rule.clone());
        event
            .facts
            .insert("verdict", recipient.verdict.word().to_owned());
        event.facts.insert("because", recipient.because.clone());
        if recipient.verdict == Verdict::Hold {
            event
                .facts
                .insert("owner", self.decision.held.owner.clone());
        }
        if let Some(change) = &recipient.would_pass_if {
            event.facts.insert("would-pass-if", change.clone());
        }
        if !recipient.path.is_empty() {
            let hops = recipient.path.iter().map(|hop| {
                format!(
                    "{} → {} ({}, {})",
                    hop.from,
                    hop.to,
                    hop.because.word(),
                    hop.source
                )
            });
            event
                .facts
                .insert("path", hops.collect::<Vec<_>>().join("; "));
        }
        with_findings(event, &self.decision.findings)
    }
}

/// What was found, redacted as the findings are.
fn with_findings(mut event: AuditEvent, findings: &Findings) -> AuditEvent {
    let evidence: Vec<String> = findings
        .patient_data
        .evidence
        .iter()
        .take(EVIDENCE_MAX)
        .map(|e| {
            format!(
                "{} {} at {}: {} ({})",
                e.confidence.word(),
                e.kind,
                e.place,
                e.redacted,
                e.because.join(", ")
            )
        })
        .collect();
    let unreadable: Vec<String> = findings
        .unreadable
        .iter()
        .map(|u| format!("{}: {}", u.place, u.because))
        .collect();
    for (name, values) in [
        ("evidence", evidence),
        ("unreadable", unreadable),
        ("markings", findings.markings.clone()),
        ("links", links(findings)),
    ] {
        if !values.is_empty() {
            event.facts.insert(name, values.join("; "));
        }
    }
    if findings.secure_keyword != SecureKeyword::Absent {
        let word = findings.secure_keyword.word().to_owned();
        event.facts.insert("secure-keyword", word);
    }
    if findings.spam.score != 0.0 {
        event
            .facts
            .insert("spam", format!("{:.1}", findings.spam.score));
    }
    let symbols = findings.spam.symbols.iter();
    let symbols: Vec<String> = symbols
        .map(|it| format!("{}({})", it.name, it.score))
        .collect();
    if !symbols.is_empty() {
        event.facts.insert("spam-symbols", symbols.join(" "));
    }
    event
}

/// Kind and host of what is odd about links, and what was done; nothing else of an address.
fn links(findings: &Findings) -> Vec<String> {
    let first = findings.links.iter().take(EVIDENCE_MAX);
    first
        .map(|link| {
            let host = link.host.as_deref().unwrap_or("-");
            format!("{} {host}: {}", link.kind.word(), link.does)
        })
        .collect()
}

/// What was changed, and what became of the footer and for which entity.
fn with_edits(mut event: AuditEvent, decision: &Decision) -> AuditEvent {
    let mut edits: Vec<String> = Vec::new();
    for edit in &decision.edits {
        let part = edit.part.iter().map(|part| format!(" {part}"));
        let words = part.fold(edit.kind.name().to_owned(), |words, part| words + &part);
        if !edits.contains(&words) {
            edits.push(words);
        }
    }
    if !edits.is_empty() {
        event.facts.insert("edits", edits.join(", "));
    }
    if let Some(footer) = &decision.findings.footer {
        event.facts.insert("footer", footer.outcome.to_owned());
        if let Some(entity) = &footer.entity {
            event.facts.insert("entity", entity.clone());
        }
    }
    event
}

fn with_client(event: AuditEvent, client: &Client) -> AuditEvent {
    let mut event = event.fact("client", client.address.ip().to_canonical().to_string());
    if let Some(helo) = &client.helo {
        event.facts.insert("helo", helo.clone());
    }
    if let Some(account) = &client.account {
        event.facts.insert("account", account.clone());
    }
    if let Some(tls) = &client.tls {
        event
            .facts
            .insert("tls", format!("{} {}", tls.version, tls.cipher));
    }
    event
}

/// So many pieces of evidence go into one event; the first are the ones that people look at.
const EVIDENCE_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_message_id_is_not_shown_whatever_else_was_found() {
        let id = |id: &str| {
            let text = format!("Message-ID: {id}\r\n\r\nhello\r\n");
            message_id(&Message::new(text.into_bytes())).unwrap()
        };
        assert_eq!(
            id("<nhs.4505577104@x.example>"),
            "<nhs.**********@x.example>"
        );
        assert_eq!(
            id("<450-557-7104.1@x.example>"),
            "<***-***-****.1@x.example>"
        );
        assert_eq!(
            id("<1700000009.14505577104@x>"),
            "<1700000009.14505577104@x>"
        );
    }
}
