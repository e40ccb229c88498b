//! `postern evidence`: one signed document that says what became of a message, and the check of one.
//!
//! It stands by itself: the events of the audit trail as they were hashed, their places in the chain, what they come
//! to, the public key and a signature over all of it. Whoever gets it needs neither the gateway nor its data; he
//! compares the fingerprint of the key with the one that the gateway's people told him.

mod key;
mod shape;
mod statement;

use std::io::{self, Write};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::json;

use crate::base::{Reference, private};
use crate::queue::{AuditEntry, Queue, TraceQuery};

use super::answer::{Answer, CommandError, json_line, printable};
use key::Key;
use statement::{Link, canonical};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The file of the key cannot be read or made.
    #[error("the key that signs evidence (evidence.key in the data folder): {0}")]
    KeyFile(io::Error),
    /// Others can read it.
    #[error(
        "the key that signs evidence (evidence.key in the data folder) can be read by others: what it signs proves nothing"
    )]
    KeyOpen,
    /// It is no Ed25519 key, or does not sign.
    #[error("the key that signs evidence (evidence.key in the data folder) cannot be used")]
    Key,
    /// The trail does not hold together where the message is in it.
    #[error(
        "line {0} of the audit trail was changed: nothing is signed (`postern audit verify` says more)"
    )]
    Chain(i64),
}

/// What a document is made with.
pub struct Desk<'a> {
    /// The name of the gateway.
    pub gateway: &'a str,
    /// Where the key is.
    pub data: &'a Path,
    /// When it is made.
    pub now: Timestamp,
    /// Whether the answer is JSON, a line of it.
    pub json: bool,
}

/// Writes the document of a message, into a new file for its owner alone or to `out`. The answer is no if nothing is
/// known of it.
pub async fn make(
    reference: &Reference,
    queue: &Queue,
    desk: &Desk<'_>,
    file: Option<&Path>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let links = links(reference, queue).await?;
    if links.is_empty() {
        let said = format!("nothing is known of {reference} in this gateway's audit trail");
        match desk.json {
            true => json_line(&json!({ "error": said }), out)?,
            false => writeln!(out, "{said}")?,
        }
        return Ok(Answer::No);
    }
    let made_at = desk.now.to_string();
    let statement = statement::statement(desk.gateway, &reference.to_string(), &made_at, &links);
    let key = Key::in_folder(desk.data)?;
    let public = key.public();
    let signature = key.sign(canonical(&statement).as_bytes())?;
    let fingerprint = key::fingerprint(&public);
    let document = json!({
        "statement": statement,
        "signature": {
            "algorithm": "Ed25519",
            "public_key": BASE64_STANDARD.encode(&public),
            "fingerprint": fingerprint,
            "value": BASE64_STANDARD.encode(signature),
        },
    });
    // Values of strings and numbers always become JSON. How the document is laid out is not signed.
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    let Some(path) = file else {
        match desk.json {
            true => json_line(&document, out)?,
            false => writeln!(out, "{text}")?,
        }
        return Ok(Answer::Done);
    };
    write_new(path, &text).map_err(|error| CommandError::file(path, error))?;
    let (events, path) = (links.len(), path.display().to_string());
    match desk.json {
        true => {
            let said = json!({"events": events, "file": path, "fingerprint": fingerprint});
            json_line(&said, out)?;
        }
        false => writeln!(
            out,
            "{events} events are in {path}, signed by the key {fingerprint}"
        )?,
    }
    Ok(Answer::Done)
}

/// The events of a message with the hashes before them.
async fn links(reference: &Reference, queue: &Queue) -> Result<Vec<Link>, CommandError> {
    let query = TraceQuery {
        about: Some(reference.to_string()),
        ..TraceQuery::default()
    };
    let mut links: Vec<Link> = Vec::new();
    // Lines that are damaged may be about anything, and are shown by `trace`; none of this message has them.
    let entries = queue.trace(query, EVENTS_MAX).await?.into_iter();
    for entry in entries.filter(|entry| entry.damaged.is_none()) {
        let before = links.last().filter(|last| last.number + 1 == entry.number);
        let previous = match before {
            Some(last) => last.hash.clone(),
            None => hash_before(&entry, queue).await?,
        };
        let link = Link {
            number: entry.number,
            previous,
            hash: entry.hash,
            event: entry.event,
        };
        if !link.holds() {
            return Err(EvidenceError::Chain(link.number).into());
        }
        links.push(link);
    }
    Ok(links)
}

/// The hash of the line before this one; zeros before the first.
async fn hash_before(entry: &AuditEntry, queue: &Queue) -> Result<String, CommandError> {
    let number = entry.number - 1;
    if number == 0 {
        return Ok("00".repeat(32));
    }
    let before = queue.events(number, 1).await?.into_iter().next();
    let before = before.filter(|before| before.number == number);
    Ok(before.ok_or(EvidenceError::Chain(entry.number))?.hash)
}

/// Checks a document by itself: its signature, the key if one is wanted, and that its events are what was hashed. The
/// answer is no if one of these does not hold.
pub fn verify(
    text: &str,
    wanted: Option<&str>,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let checked = check(text, wanted);
    if json {
        let said = match &checked {
            Ok(found) => {
                json!({"valid": true, "reference": found.reference, "gateway": found.gateway,
                "made_at": found.made_at, "fingerprint": found.fingerprint, "events": found.events})
            }
            Err(because) => json!({"valid": false, "because": because}),
        };
        json_line(&said, out)?;
        return Ok(Answer::yes_if(checked.is_ok()));
    }
    match &checked {
        Ok(found) => {
            let line = format!(
                "the evidence about {} is whole: {} events, said by {} at {}",
                found.reference, found.events, found.gateway, found.made_at
            );
            writeln!(out, "{}", printable(&line))?;
            writeln!(out, "signed by the key {}", found.fingerprint)?;
            if wanted.is_none() {
                writeln!(
                    out,
                    "compare it with what the people of that gateway say their key is"
                )?;
            }
        }
        Err(because) => writeln!(out, "this is NOT evidence: {because}")?,
    }
    Ok(Answer::yes_if(checked.is_ok()))
}

/// A document that holds.
struct Found {
    reference: String,
    gateway: String,
    made_at: String,
    fingerprint: String,
    events: usize,
}

fn check(text: &str, wanted: Option<&str>) -> Result<Found, &'static str> {
    let document = shape::read(text)?;
    let (statement, signature) = (&document["statement"], &document["signature"]);
    let octets = |key: &str| {
        let text = signature[key].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(text).unwrap_or_default()
    };
    let public = octets("public_key");
    if signature["algorithm"] != "Ed25519"
        || !key::is_signed(&public, canonical(statement).as_bytes(), &octets("value"))
    {
        return Err("its signature does not hold");
    }
    let fingerprint = key::fingerprint(&public);
    // What people compare with what they were told is what stands here.
    if signature["fingerprint"] != *fingerprint {
        return Err("its fingerprint is not that of its key");
    }
    if wanted.is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&fingerprint)) {
        return Err("it is signed by another key");
    }
    let (reference, links) =
        statement::read(statement).ok_or("its summary is not what its events come to")?;
    let in_order = links.windows(2).all(|two| {
        let [one, next] = two else { return true };
        one.number < next.number && (one.number + 1 < next.number || one.hash == next.previous)
    });
    if !in_order || !links.iter().all(Link::holds) {
        return Err("its events are not what was hashed");
    }
    let text = |key: &str| statement[key].as_str().unwrap_or_default().to_owned();
    Ok(Found {
        reference,
        gateway: text("gateway"),
        made_at: text("made_at"),
        fingerprint,
        events: links.len(),
    })
}

/// Never over a file that is there; for the owner's eyes alone.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = private::make_new(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

/// Events of one message.
const EVENTS_MAX: usize = 10_000;
