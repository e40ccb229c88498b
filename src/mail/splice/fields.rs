//! The two header fields of a leaf that a splice may change.

use std::ops::Range;

use super::NotEdited;
use crate::mail::header::HeaderField;
use crate::mail::message::Message;
use crate::mail::mime::{ParamPlace, Part, place_of};

/// Octets that go, and what comes instead.
pub(super) type Change = (Range<usize>, Vec<u8>);

/// Makes the charset of a leaf UTF-8.
pub(super) fn charset_utf8(
    message: &Message,
    part: &Part,
    eol: &str,
) -> Result<Vec<Change>, NotEdited> {
    let octets = message.octets();
    let fields = part.fields(octets);
    let Some(field) = fields.first("Content-Type") else {
        let mut added = format!("Content-Type: text/plain; charset=utf-8{eol}");
        if part.parent.is_none() && fields.first("MIME-Version").is_none() {
            added.insert_str(0, &format!("MIME-Version: 1.0{eol}"));
        }
        return Ok(vec![(part.header.end..part.header.end, added.into())]);
    };
    let start = value_start(part, field);
    match place_of(field.raw_value(), "charset") {
        ParamPlace::Value(at) => Ok(vec![(start + at.start..start + at.end, b"utf-8".to_vec())]),
        ParamPlace::Absent(at) => Ok(vec![(start + at..start + at, b"; charset=utf-8".to_vec())]),
        ParamPlace::InPieces => Err(NotEdited::Ambiguous),
    }
}

/// Makes `word` the transfer encoding of a leaf. `is_versioned` says that a change before this one brings
/// `MIME-Version`.
pub(super) fn transfer_encoding(
    message: &Message,
    part: &Part,
    word: &str,
    eol: &str,
    is_versioned: bool,
) -> Change {
    let octets = message.octets();
    let fields = part.fields(octets);
    let Some(field) = fields.first("Content-Transfer-Encoding") else {
        // RFC 2045 §4: mail from before there was MIME means nothing by such a field.
        let mime = ["MIME-Version", "Content-Type"]
            .iter()
            .any(|name| fields.first(name).is_some());
        let version = match mime || part.parent.is_some() || is_versioned {
            true => String::new(),
            false => format!("MIME-Version: 1.0{eol}"),
        };
        let added = format!("{version}Content-Transfer-Encoding: {word}{eol}");
        return (part.header.end..part.header.end, added.into());
    };
    // Blanks at the end go with the old word: not every reader ignores them.
    let raw = field.raw_value();
    let length = raw.strip_suffix(b"\n").unwrap_or(raw);
    let length = length.strip_suffix(b"\r").unwrap_or(length).len();
    let at = value_start(part, field);
    (at..at + length, format!(" {word}").into())
}

/// Where the body of a field begins in the message.
fn value_start(part: &Part, field: &HeaderField<'_>) -> usize {
    part.header.start + field.range().end - field.raw_value().len()
}
