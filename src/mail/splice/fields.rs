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

/// Makes `word` the transfer encoding of a leaf.
pub(super) fn transfer_encoding(message: &Message, part: &Part, word: &str, eol: &str) -> Change {
    let octets = message.octets();
    let fields = part.fields(octets);
    let Some(field) = fields.first("Content-Transfer-Encoding") else {
        let added = format!("Content-Transfer-Encoding: {word}{eol}");
        return (part.header.end..part.header.end, added.into());
    };
    let raw = field.raw_value();
    let leading = raw.len() - raw.trim_ascii_start().len();
    let start = value_start(part, field) + leading.min(raw.trim_ascii_end().len());
    let value = raw.trim_ascii();
    let word = if value.is_empty() {
        format!(" {word}")
    } else {
        word.to_owned()
    };
    (start..start + value.len(), word.into())
}

/// Where the body of a field begins in the message.
fn value_start(part: &Part, field: &HeaderField<'_>) -> usize {
    part.header.start + field.range().end - field.raw_value().len()
}
