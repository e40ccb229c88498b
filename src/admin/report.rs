//! `postern report footers`: who sent mail of our own without the particulars that the law wants, and why.
//!
//! It reads the audit trail: the gateway writes there what became of each footer, as a word, with the sender
//! and the legal entity, and nothing of the message.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::policy::finding::FooterFinding;
use crate::queue::{Queue, QueueError};

use super::answer::{Answer, CommandError, Table, json_line};
use super::trail::{PAGE, first_since};

/// Shows who sent without particulars since `since`, the most frequent first.
pub async fn footers(
    queue: &Queue,
    since: Timestamp,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let report = read(queue, since).await?;
    let mut rows: Vec<_> = report.without.iter().collect();
    rows.sort_by(|(one, of_one), (other, of_other)| {
        of_other
            .count
            .cmp(&of_one.count)
            .then_with(|| one.cmp(other))
    });
    if json {
        for (who, seen) in rows {
            json_line(&who.object(seen), out)?;
        }
        return Ok(Answer::Done);
    }
    let mut table = Table::new(&[
        "sender",
        "entity",
        "because",
        "messages",
        "last",
        "reference",
    ]);
    for (who, seen) in rows {
        let [sender, entity, because] = [&who.sender, &who.entity, &who.because].map(Clone::clone);
        table.row([
            sender,
            entity,
            because,
            seen.count.to_string(),
            seen.last.clone(),
            seen.reference.clone(),
        ]);
    }
    table.write(out)?;
    let without: u64 = report.without.values().map(|seen| seen.count).sum();
    writeln!(
        out,
        "{without} of {} messages of our own went without particulars",
        report.messages
    )?;
    Ok(Answer::Done)
}

/// What the trail says.
#[derive(Default)]
struct Report {
    /// Messages of our own that should have particulars.
    messages: u64,
    without: BTreeMap<Who, Seen>,
}

/// A sender, and why there is no footer.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Who {
    sender: String,
    entity: String,
    because: String,
}

/// How often, and the last one.
#[derive(Default)]
struct Seen {
    count: u64,
    last: String,
    reference: String,
}

impl Who {
    fn object(&self, seen: &Seen) -> Value {
        json!({
            "sender": self.sender,
            "entity": Some(&self.entity).filter(|entity| !entity.is_empty()),
            "because": self.because,
            "messages": seen.count,
            "last": seen.last,
            "reference": seen.reference,
        })
    }
}

impl Report {
    fn take(&mut self, event: &Map<String, Value>, since: Timestamp) {
        let text = |object: &Map<String, Value>, key: &str| {
            object
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let Some(Value::Object(facts)) = event.get("facts") else {
            return;
        };
        let (at, outcome) = (text(event, "at"), text(facts, "footer"));
        let in_time = at.parse().is_ok_and(|at: Timestamp| at >= since);
        if outcome.is_empty() || outcome == FooterFinding::NOT_WANTED || !in_time {
            return;
        }
        self.messages += 1;
        if [FooterFinding::ADDED, FooterFinding::ALREADY_THERE].contains(&outcome.as_str()) {
            return;
        }
        let who = Who {
            sender: text(event, "sender"),
            entity: text(facts, "entity"),
            because: outcome,
        };
        let seen = self.without.entry(who).or_default();
        seen.count += 1;
        seen.last = at;
        seen.reference = text(event, "reference");
    }
}

/// Reads the end of the trail, page by page.
async fn read(queue: &Queue, since: Timestamp) -> Result<Report, QueueError> {
    let mut report = Report::default();
    let mut next = first_since(queue, since).await?;
    loop {
        let page = queue.events(next, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(report);
        };
        next = last.number + 1;
        for entry in &page {
            report.take(&entry.object(), since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: &str, sender: &str, facts: Value) -> Map<String, Value> {
        match json!({ "at": at, "sender": sender, "reference": "PX-7F3K2Q9A", "facts": facts }) {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    #[test]
    fn what_lacks_particulars_is_counted_by_sender_and_reason() {
        let since = "2026-11-01T00:00:00Z".parse().unwrap();
        let mut report = Report::default();
        for (at, sender, facts) in [
            (
                "2026-10-31T00:00:00Z",
                "a@b.example",
                json!({ "footer": "signed", "entity": "e" }),
            ),
            (
                "2026-11-02T00:00:00Z",
                "a@b.example",
                json!({ "footer": "signed", "entity": "e" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "a@b.example",
                json!({ "footer": "signed", "entity": "e" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "a@b.example",
                json!({ "footer": "added", "entity": "e" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "a@b.example",
                json!({ "footer": "already-there", "entity": "e" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "c@d.example",
                json!({ "footer": "unknown-sender" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "t@trust.example",
                json!({ "footer": "not-wanted", "entity": "t" }),
            ),
            (
                "2026-11-03T00:00:00Z",
                "x@y.example",
                json!({ "verdict": "deliver" }),
            ),
        ] {
            report.take(&event(at, sender, facts), since);
        }
        assert_eq!(report.messages, 5);
        let rows: Vec<_> = report
            .without
            .iter()
            .map(|(who, seen)| who.object(seen))
            .collect();
        assert_eq!(
            rows,
            [
                json!({"sender": "a@b.example", "entity": "e", "because": "signed", "messages": 2,
                    "last": "2026-11-03T00:00:00Z", "reference": "PX-7F3K2Q9A"}),
                json!({"sender": "c@d.example", "entity": null, "because": "unknown-sender", "messages": 1,
                    "last": "2026-11-03T00:00:00Z", "reference": "PX-7F3K2Q9A"}),
            ]
        );
    }
}
