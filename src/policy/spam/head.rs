//! The features of the header and of the parts: which program wrote the message, and how.
//!
//! Of an allow-list of fields alone ([`FIELDS`]): those that the author's program writes. Of addresses
//! of recipients nothing is kept but how they are written: who gets the mail says nothing about it.

use crate::mail::HeaderField;
use crate::mail::mime::decode_words;

use super::Mail;
use super::features::{Sink, cut, hash, mix};

/// Which fields there are, in which order, and what they are like.
pub(super) fn fields(mail: &Mail<'_>, sink: &mut Sink) {
    let mut last = ORDER;
    let listed = mail.header.fields().iter().filter_map(|field| {
        let at = FIELDS.iter().position(|name| field.is(name))?;
        Some((at as u64, field))
    });
    for (number, field) in listed.take(FIELDS_MAX) {
        sink.put(hash(NAMES, field.name().as_bytes()));
        sink.put(mix(last, number));
        last = mix(ORDER + 1, number);
        value(FIELD + number * 10, field, sink);
    }
}

fn value(space: u64, field: &HeaderField<'_>, sink: &mut Sink) {
    let value = field.value();
    let value = cut(&value, VALUE_OCTETS);
    match field.name().to_ascii_lowercase().as_str() {
        "from" | "reply-to" => author(space, &decode_words(value), sink),
        "to" | "cc" => {
            let addresses = value.matches('@').count().min(6);
            let written = [
                addresses,
                usize::from(value.contains('<')),
                usize::from(value.contains('"')),
            ];
            sink.put(hash(space, &written.map(|number| number.to_le_bytes()[0])));
            sink.put(hash(space + 1, &shape(cut(value, 3))));
        }
        "message-id" => {
            let (local, domain) = value.split_once('@').unwrap_or((value, ""));
            sink.put(hash(space, &shape(local)));
            sink.put(hash(space + 1, domain.as_bytes()));
            sink.put(hash(
                space + 2,
                &[(local.len() / 4).min(40).to_le_bytes()[0]],
            ));
            sink.put(hash(space + 3, &shape(domain)));
        }
        "in-reply-to" | "references" => {}
        "date" => {
            let zone = value.split_whitespace().nth(5).unwrap_or_default();
            sink.put(hash(space, zone.as_bytes()));
            sink.put(hash(space + 1, &shape(value)));
        }
        "subject" => sink.put(hash(space, &shape(value))),
        "content-type" => {
            let (kind, boundary) = value.split_once("boundary=").unwrap_or((value, ""));
            sink.words(space, kind, 100);
            sink.put(hash(space + 1, &shape(boundary)));
            sink.put(hash(
                space + 2,
                cut(boundary.trim_matches('"'), 6).as_bytes(),
            ));
            sink.put(hash(space + 3, &[boundary.len().min(99).to_le_bytes()[0]]));
        }
        _ => {
            sink.words(space, value, 120);
            sink.put(hash(space + 1, &shape(value)));
        }
    }
}

fn author(space: u64, value: &str, sink: &mut Sink) {
    sink.words(space, value, 200);
    let domain = value
        .rsplit('@')
        .next()
        .unwrap_or_default()
        .trim_end_matches('>');
    sink.put(hash(space + 1, domain.as_bytes()));
    let top = domain.rsplit('.').next().unwrap_or_default();
    sink.put(hash(space + 2, top.as_bytes()));
    sink.put(hash(space + 3, &shape(value)));
    sink.sequences(space + 4, value, 80);
}

/// What the parts are, how they lie in each other and how they are written.
pub(super) fn parts(mail: &Mail<'_>, sink: &mut Sink) {
    let parts = mail.structure.map_or(&[][..], |structure| &structure.parts);
    for part in parts.iter().take(PARTS_MAX) {
        let kind = format!("{}/{}", part.content_type.kind, part.content_type.subtype);
        let parent = part
            .parent
            .map(|at| parts[at].content_type.subtype.as_str());
        sink.put(hash(PARTS, kind.as_bytes()));
        sink.put(hash(
            PARTS + 1,
            format!("{}>{kind}", parent.unwrap_or_default()).as_bytes(),
        ));
        sink.put(hash(
            PARTS + 2,
            format!("{kind} {:?}", part.encoding).as_bytes(),
        ));
        if let Some(charset) = part.content_type.params.get("charset") {
            sink.put(hash(PARTS + 3, cut(charset, 40).as_bytes()));
        }
        for oddity in &part.oddities {
            sink.put(hash(PARTS + 4, &[*oddity as u8]));
        }
        if let Some(disposition) = &part.disposition {
            sink.put(hash(PARTS + 5, cut(&disposition.kind, 40).as_bytes()));
        }
        sink.put(hash(PARTS + 6, &size(part.body.len())));
    }
    sink.put(hash(PARTS + 7, &[parts.len().min(8).to_le_bytes()[0]]));
    sink.put(hash(PARTS + 8, &size(mail.octets.len())));
}

/// The order of magnitude, in powers of two.
fn size(octets: usize) -> [u8; 1] {
    [(octets + 1).ilog2().to_le_bytes()[0]]
}

/// How a value is written: small letters `a`, capitals `A`, digits `0`, runs of them as one.
pub(super) fn shape(text: &str) -> Vec<u8> {
    let mut shape: Vec<u8> = Vec::with_capacity(40);
    for octet in text.bytes().take(80) {
        let class = match octet {
            b'a'..=b'z' => b'a',
            b'A'..=b'Z' => b'A',
            b'0'..=b'9' => b'0',
            0x80.. => b'8',
            other => other,
        };
        if shape.last() != Some(&class) || !class.is_ascii_alphanumeric() {
            shape.push(class);
        }
    }
    shape
}

/// The fields that are looked at.
const FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "x-mailer",
    "user-agent",
    "x-priority",
    "importance",
    "organization",
    "in-reply-to",
    "references",
    "x-msmail-priority",
    "x-mimeole",
    "disposition-notification-to",
    "content-disposition",
    "auto-submitted",
];
const FIELDS_MAX: usize = 100;
const PARTS_MAX: usize = 20;
const VALUE_OCTETS: usize = 400;
const ORDER: u64 = 21;
const NAMES: u64 = 20;
const PARTS: u64 = 30;
const FIELD: u64 = 1_000;
