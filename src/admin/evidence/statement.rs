//! What a document of evidence says: the events of one message as the audit trail has them, with their places in its
//! chain, and what they come to. Nothing of what the message says: the trail has nothing of it.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// One event, exactly as it was hashed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Link {
    /// Its number in the trail.
    pub(super) number: i64,
    /// The hash of the event before it, in hexadecimal.
    pub(super) previous: String,
    /// SHA-256 over that hash and the event, in hexadecimal.
    pub(super) hash: String,
    /// The event, as JSON.
    pub(super) event: String,
}

impl Link {
    /// Whether the hash is over what stands here.
    pub(super) fn holds(&self) -> bool {
        let Some(previous) = octets_of(&self.previous) else {
            return false;
        };
        let digest = Sha256::new()
            .chain_update(previous)
            .chain_update(self.event.as_bytes())
            .finalize();
        octets_of(&self.hash).is_some_and(|hash| hash == digest[..])
    }

    fn object(&self) -> Map<String, Value> {
        serde_json::from_str(&self.event).unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        json!({
            "number": self.number, "previous": self.previous, "hash": self.hash, "event": self.event,
        })
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        Some(Self {
            number: value.get("number")?.as_i64()?,
            previous: text("previous")?,
            hash: text("hash")?,
            event: text("event")?,
        })
    }
}

/// The whole statement. `made_at` is RFC 3339.
pub(super) fn statement(gateway: &str, reference: &str, made_at: &str, links: &[Link]) -> Value {
    let mut statement = summary(reference, links);
    for (key, value) in [
        ("format", Value::from(FORMAT)),
        ("gateway", Value::from(gateway)),
        (
            "software",
            Value::from(concat!("postern ", env!("CARGO_PKG_VERSION"))),
        ),
        ("made_at", Value::from(made_at)),
        ("reference", Value::from(reference)),
        ("events", links.iter().map(Link::to_json).collect()),
    ] {
        statement.insert(key.to_owned(), value);
    }
    Value::Object(statement)
}

/// What the events come to: how the message came, and for each recipient what was decided and what became of it.
fn summary(reference: &str, links: &[Link]) -> Map<String, Value> {
    let mut received = Value::Null;
    let mut recipients: Vec<Map<String, Value>> = Vec::new();
    let of_it = links.iter().map(Link::object);
    for event in of_it.filter(|event| text(event, "reference") == reference) {
        if text(&event, "kind") == "received" {
            received = step(&event, &["recipient"]);
            continue;
        }
        let address = text(&event, "recipient");
        if address.is_empty() {
            continue;
        }
        let known = recipients
            .iter()
            .position(|one| text(one, "address") == address);
        let at = known.unwrap_or_else(|| {
            let mut entry = Map::new();
            entry.insert("address".to_owned(), address.into());
            entry.insert("steps".to_owned(), Value::Array(Vec::new()));
            recipients.push(entry);
            recipients.len() - 1
        });
        let entry = &mut recipients[at];
        entry.insert("last".to_owned(), text(&event, "kind").into());
        if let Some(Value::Array(steps)) = entry.get_mut("steps") {
            steps.push(step(&event, &["recipient", "sender", "message_id"]));
        }
    }
    let mut summary = Map::new();
    summary.insert("received".to_owned(), received);
    let recipients = recipients.into_iter().map(Value::Object);
    summary.insert("recipients".to_owned(), recipients.collect());
    summary
}

/// An event without what stands around it already; its facts beside the rest, and in words how the way was protected.
fn step(event: &Map<String, Value>, without: &[&str]) -> Value {
    let mut step = Map::new();
    for (key, value) in event {
        match value {
            Value::Object(facts) if key == "facts" => {
                let facts = facts.iter();
                step.extend(facts.map(|(name, value)| (name.replace('-', "_"), value.clone())));
            }
            _ if key == "reference" || without.contains(&key.as_str()) => {}
            _ => {
                step.insert(key.clone(), value.clone());
            }
        }
    }
    if text(event, "kind") == "delivered" && !step.contains_key("tls") {
        step.insert(
            "tls".to_owned(),
            "none: in clear, or on this machine".into(),
        );
    }
    Value::Object(step)
}

/// Reads a statement back. `None` if it is none, or its summary is not what its events come to.
pub(super) fn read(statement: &Value) -> Option<(String, Vec<Link>)> {
    let object = statement.as_object()?;
    if text(object, "format") != FORMAT {
        return None;
    }
    let reference = text(object, "reference").to_owned();
    let links = object.get("events")?.as_array()?.iter().map(Link::read);
    let links: Vec<Link> = links.collect::<Option<_>>()?;
    let agrees = summary(&reference, &links)
        .iter()
        .all(|(key, value)| object.get(key) == Some(value));
    agrees.then_some((reference, links))
}

/// The octets that are signed: JSON without spaces, the keys of every object in the order of their code points. Any
/// library can make them again: in Python `json.dumps(statement, sort_keys=True, separators=(",", ":"),
/// ensure_ascii=False)`.
pub(super) fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort();
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(&Value::from(key.as_str()), out);
                out.push(':');
                write(&object[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        simple => out.push_str(&simple.to_string()),
    }
}

fn text<'e>(object: &'e Map<String, Value>, key: &str) -> &'e str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Digits as octets.
fn octets_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}

const FORMAT: &str = "postern-evidence-1";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(number: i64, previous: &str, event: &str) -> Link {
        let digest = Sha256::new()
            .chain_update(octets_of(previous).unwrap())
            .chain_update(event)
            .finalize();
        Link {
            number,
            previous: previous.to_owned(),
            hash: digest.iter().map(|octet| format!("{octet:02x}")).collect(),
            event: event.to_owned(),
        }
    }

    fn links() -> Vec<Link> {
        let zero = "00".repeat(32);
        let received = link(
            1,
            &zero,
            r#"{"at":"T","reference":"PX-1","kind":"received","sender":"a@b","facts":{"client":"127.0.0.1"}}"#,
        );
        let decided = link(
            2,
            &received.hash,
            r#"{"at":"T","reference":"PX-1","kind":"decided","sender":"a@b","recipient":"c@d","policy":"p","rule":"r:1","facts":{"verdict":"deliver"}}"#,
        );
        let other = link(
            3,
            &decided.hash,
            r#"{"at":"T","reference":"PX-2","kind":"notified","sender":"","recipient":"a@b","facts":{"about":"PX-1"}}"#,
        );
        let delivered = link(
            9,
            &zero,
            r#"{"at":"U","reference":"PX-1","kind":"delivered","sender":"a@b","recipient":"c@d","facts":{"next-hop":"mx","reply":"250 ok"}}"#,
        );
        vec![received, decided, other, delivered]
    }

    #[test]
    fn a_statement_says_how_it_came_what_was_decided_and_where_it_went() {
        let said = statement("gate.example", "PX-1", "V", &links());
        assert_eq!(said["received"]["client"], "127.0.0.1");
        assert_eq!(
            said["recipients"],
            json!([{"address": "c@d", "last": "delivered", "steps": [
                {"at": "T", "kind": "decided", "policy": "p", "rule": "r:1", "verdict": "deliver"},
                {"at": "U", "kind": "delivered", "next_hop": "mx", "reply": "250 ok", "tls": "none: in clear, or on this machine"},
            ]}])
        );
        assert_eq!(read(&said), Some(("PX-1".to_owned(), links())));
    }

    #[test]
    fn a_summary_that_is_not_what_the_events_come_to_is_none() {
        let mut said = statement("gate.example", "PX-1", "V", &links());
        said["recipients"][0]["last"] = "failed".into();
        assert_eq!(read(&said), None);
        assert_eq!(read(&json!({"format": "other"})), None);
        assert_eq!(read(&Value::Null), None);
    }

    #[test]
    fn a_link_holds_for_what_was_hashed() {
        for at in 0..4 {
            let mut changed = links().remove(at);
            assert!(changed.holds());
            changed.event = changed.event.replace("PX-", "PY-");
            assert!(!changed.holds());
        }
        let mut short = links().remove(0);
        short.previous = "0".to_owned();
        assert!(!short.holds());
    }

    proptest! {
        #[test]
        fn what_is_signed_is_json_and_does_not_depend_on_the_order(keys in proptest::collection::btree_map("\\PC{0,5}", "\\PC{0,9}", 0..6)) {
            let forth: Map<String, Value> = keys.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            let back: Map<String, Value> = keys.iter().rev().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            let text = canonical(&Value::Object(forth.clone()));
            prop_assert_eq!(&text, &canonical(&Value::Object(back)));
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Object(forth));
        }
    }
}
