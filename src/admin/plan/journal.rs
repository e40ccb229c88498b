//! The decisions in the audit trail, message by message.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::admin::trail::PAGE;
use crate::base::PolicyVersion;
use crate::mail::{ForwardPath, ReversePath};
use crate::policy::policy_test::client;
use crate::policy::replay::{OnRecord, Record, Row};
use crate::queue::{Queue, QueueError};

/// One message of which something was decided, or one recipient that was refused before there was one.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) reference: String,
    pub(super) sender: String,
    /// Whether it was refused at `RCPT TO`: then it is the only recipient here.
    pub(super) at_recipient: bool,
    pub(super) record: Record,
}

/// Reads the trail from a number on. What was decided about one message stands together: it was written in one
/// transaction.
pub(super) struct Journal<'q> {
    queue: &'q Queue,
    next: i64,
    ready: VecDeque<Decided>,
    open: Option<Decided>,
    is_over: bool,
    /// Events that were read.
    pub(super) read: u64,
}

impl<'q> Journal<'q> {
    pub(super) fn new(queue: &'q Queue, first: i64) -> Self {
        Self {
            queue,
            next: first,
            ready: VecDeque::new(),
            open: None,
            is_over: false,
            read: 0,
        }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Decided>, QueueError> {
        loop {
            if let Some(decided) = self.ready.pop_front() {
                return Ok(Some(decided));
            }
            if self.is_over {
                return Ok(None);
            }
            let page = self.queue.events(self.next, PAGE).await?;
            match page.last() {
                Some(last) => self.next = last.number + 1,
                None => {
                    self.is_over = true;
                    self.close();
                }
            }
            self.read += page.len() as u64;
            for entry in &page {
                self.take(&entry.object());
            }
        }
    }

    fn take(&mut self, event: &Map<String, Value>) {
        let none = Map::new();
        let facts = event.get("facts").and_then(Value::as_object);
        let facts = facts.unwrap_or(&none);
        let reference = text(event, "reference");
        match text(event, "kind") {
            "received" => {
                self.close();
                self.open = Decided::begin(event, facts);
            }
            "decided" | "refused" if facts.contains_key("verdict") => {
                if self
                    .open
                    .as_ref()
                    .is_none_or(|open| open.reference != reference)
                {
                    self.close();
                    self.open = Decided::begin(event, facts);
                }
                if let Some(open) = &mut self.open {
                    open.record.found.take(facts);
                    open.record.rows.extend(row(event, facts));
                }
            }
            "refused" => {
                let refused = Decided::begin(event, facts);
                let refused = refused.zip(row(event, facts));
                self.ready.extend(refused.map(|(mut refused, row)| {
                    refused.at_recipient = true;
                    refused.record.rows.push(row);
                    refused
                }));
            }
            _ => {}
        }
    }

    fn close(&mut self) {
        let open = self.open.take();
        self.ready
            .extend(open.filter(|open| !open.record.rows.is_empty()));
    }
}

impl Decided {
    /// A message without recipients yet; `None` if the event does not say who brought it.
    fn begin(event: &Map<String, Value>, facts: &Map<String, Value>) -> Option<Self> {
        let sender = text(event, "sender");
        let address: IpAddr = text(facts, "client").parse().ok()?;
        let account = Some(text(facts, "account")).filter(|name| !name.is_empty());
        let mut client = client(address, account.map(str::to_owned));
        client.helo = Some(text(facts, "helo").to_owned()).filter(|helo| !helo.is_empty());
        let policy = Some(text(event, "policy")).filter(|policy| !policy.is_empty());
        let mut found = OnRecord::default();
        found.take(facts);
        Some(Self {
            reference: text(event, "reference").to_owned(),
            sender: sender.to_owned(),
            at_recipient: false,
            record: Record {
                client,
                reverse_path: ReversePath::parse(sender).ok()?,
                received_at: text(event, "at").parse::<Timestamp>().ok()?,
                policy: policy.map(|policy| PolicyVersion(policy.to_owned())),
                found,
                rows: Vec::new(),
            },
        })
    }
}

fn row(event: &Map<String, Value>, facts: &Map<String, Value>) -> Option<Row> {
    let resolved = Some(text(event, "recipient")).filter(|path| !path.is_empty())?;
    let given = match text(event, "original_recipient") {
        "" => resolved,
        given => given,
    };
    Some(Row {
        given: ForwardPath::parse(given).ok()?,
        resolved: resolved.to_owned(),
        verdict: text(facts, "verdict").to_owned(),
        rule: text(event, "rule").to_owned(),
    })
}

fn text<'o>(object: &'o Map<String, Value>, key: &str) -> &'o str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;
    use crate::outcome::audit::{AuditEvent, AuditKind};

    fn event(
        reference: &str,
        kind: AuditKind,
        to: &str,
        facts: &[(&'static str, &str)],
    ) -> AuditEvent {
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        let mut event = AuditEvent::new(at, reference.parse().unwrap(), kind, "a@nhs.net");
        event.recipient = Some(to.to_owned()).filter(|to| !to.is_empty());
        event.facts.extend(
            facts
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        event
    }

    #[tokio::test]
    async fn what_belongs_to_one_message_comes_together_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::open(folder.path(), Clock::system()).await.unwrap();
        let (one, two, three) = ("PX-11111111", "PX-22222222", "PX-33333333");
        let client = ("client", "192.0.2.1");
        let hold = [("verdict", "hold")];
        let mut events = vec![
            event(
                one,
                AuditKind::Received,
                "",
                &[client, ("direction", "inbound")],
            ),
            event(one, AuditKind::Decided, "b@c.example", &hold),
            event(one, AuditKind::Decided, "d@c.example", &hold),
            event(one, AuditKind::Failed, "d@c.example", &[]),
            event(two, AuditKind::Refused, "gone@c.example", &[client]),
            event(
                three,
                AuditKind::Refused,
                "e@c.example",
                &[client, ("verdict", "refuse")],
            ),
            event(
                three,
                AuditKind::Refused,
                "f@c.example",
                &[client, ("verdict", "refuse")],
            ),
            // Neither a recipient nor a client: an answer to a notice, a key that was used.
            event(two, AuditKind::Refused, "", &[client]),
            event(two, AuditKind::Refused, "x@c.example", &[]),
            event(two, AuditKind::Delivered, "x@c.example", &[]),
        ];
        events.extend((0..2_000).map(|_| event(two, AuditKind::Deferred, "x@c.example", &[])));
        queue.record(events).await.unwrap();

        let mut journal = Journal::new(&queue, 1);
        let mut seen = Vec::new();
        while let Some(decided) = journal.next().await.unwrap() {
            let rows = decided.record.rows.iter();
            let to: Vec<_> = rows.map(|row| row.resolved.clone()).collect();
            seen.push((decided.reference, decided.at_recipient, to.join(" ")));
        }
        seen.sort();
        assert_eq!(
            seen,
            [
                (one.to_owned(), false, "b@c.example d@c.example".to_owned()),
                (two.to_owned(), true, "gone@c.example".to_owned()),
                (
                    three.to_owned(),
                    false,
                    "e@c.example f@c.example".to_owned()
                ),
            ]
        );
        assert_eq!(journal.read, 2_010);
    }
}
