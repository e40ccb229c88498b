//! `postern trace`: where a message went, event by event; and the decision behind a reference, which
//! is `postern explain REF`.
//!
//! Both read the audit trail and nothing else: it holds who, when and by which rule, never content.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::base::Reference;
use crate::queue::{AuditEntry, Queue, TraceQuery};

use super::answer::{Answer, CommandError, json_line, printable};
use super::cli::Trace;

/// Writes the events that a query finds, oldest first. The answer is no if there are none.
pub async fn run(
    asked: &Trace,
    queue: &Queue,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let query = TraceQuery::parse(&asked.query);
    let entries = queue.trace(query, asked.limit).await?;
    for entry in &entries {
        write(entry, json, out)?;
    }
    let found = entries.iter().any(|entry| entry.damaged.is_none());
    if !found && !json {
        writeln!(out, "no trace of {}", printable(&asked.query))?;
    }
    if entries.len() == asked.limit && !json {
        writeln!(
            out,
            "these are the first {}: --limit shows more",
            asked.limit
        )?;
    }
    Ok(Answer::yes_if(found))
}

/// Writes the decision behind a reference: what was decided for each recipient, by which rule and
/// why. The answer is no if nothing is known of it.
pub async fn explain(
    reference: &Reference,
    queue: &Queue,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let query = TraceQuery {
        about: Some(reference.to_string()),
        ..TraceQuery::default()
    };
    let entries = queue.trace(query, EVENTS_MAX).await?;
    let decisions: Vec<_> = entries.iter().filter(|entry| is_decision(entry)).collect();
    let damaged = entries.iter().filter(|entry| entry.damaged.is_some());
    for entry in decisions.iter().copied().chain(damaged) {
        write(entry, json, out)?;
    }
    if decisions.is_empty() && !json {
        writeln!(
            out,
            "nothing is known of {reference} in this gateway's audit trail"
        )?;
    }
    Ok(Answer::yes_if(!decisions.is_empty()))
}

fn is_decision(entry: &AuditEntry) -> bool {
    let object = entry.object();
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    DECISIONS.contains(&kind)
}

fn write(entry: &AuditEntry, json: bool, out: &mut impl Write) -> io::Result<()> {
    if entry.damaged.is_some() {
        let number = entry.number;
        return match json {
            true => json_line(
                &serde_json::json!({"number": number, "damaged": NO_TEXT}),
                out,
            ),
            false => writeln!(
                out,
                "line {number} of the audit trail is damaged: {NO_TEXT}"
            ),
        };
    }
    let mut object = entry.object();
    if json {
        object.insert("number".to_owned(), entry.number.into());
        return json_line(&object, out);
    }
    for line in lines_of(&mut object) {
        writeln!(out, "{}", printable(&line).trim_end())?;
    }
    Ok(())
}

/// One line that says what happened to whom, and one more for each thing that says why.
fn lines_of(object: &mut Map<String, Value>) -> Vec<String> {
    let mut take = |key: &str| match object.remove(key) {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let (at, reference, kind) = (take("at"), take("reference"), take("kind"));
    let (sender, recipient) = (take("sender"), take("recipient"));
    let mut head = format!("{at}  {reference}  {kind:<10}");
    match (kind.as_str(), sender.as_str()) {
        ("policy-loaded" | "account-changed" | "login-refused", _) => {}
        (_, "") => head.push_str(" <>"),
        (_, sender) => head.push_str(&format!(" {sender}")),
    }
    if !recipient.is_empty() {
        head.push_str(&format!(" → {recipient}"));
    }
    let mut lines = vec![head];
    for key in ["original_recipient", "rule", "policy", "message_id"] {
        let value = take(key);
        if !value.is_empty() {
            lines.push(format!("    {:<12} {value}", key.replace('_', " ")));
        }
    }
    if let Some(Value::Object(facts)) = object.remove("facts") {
        for (name, value) in facts {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            lines.push(format!("    {:<12} {text}", name.replace('-', " ")));
        }
    }
    lines
}

/// What is said of a line that somebody changed so that it is no event.
const NO_TEXT: &str = "it is not text (`postern audit verify` says whether the rest is whole)";
/// Kinds of events that say what was decided, and who changed it since.
const DECISIONS: &[&str] = &["decided", "refused", "held", "released", "deleted"];
/// Events that one reference can have before the rest is left out.
const EVENTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line_and_its_reasons() {
        let event = serde_json::json!({
            "at": "2026-11-21T10:00:00Z", "reference": "PX-7F3K2Q9A", "kind": "decided",
            "sender": "a@nhs.net", "recipient": "b@example.com", "policy": "0123456789ab",
            "rule": "policies/secure-domains.toml:31",
            "facts": { "because": "patient data may not go there", "verdict": "hold" },
        });
        let Value::Object(mut object) = event else {
            panic!();
        };
        assert_eq!(
            lines_of(&mut object),
            [
                "2026-11-21T10:00:00Z  PX-7F3K2Q9A  decided    a@nhs.net → b@example.com",
                "    rule         policies/secure-domains.toml:31",
                "    policy       0123456789ab",
                "    because      patient data may not go there",
                "    verdict      hold",
            ]
        );
    }
}
