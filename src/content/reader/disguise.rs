//! Texts that stand for other texts: what a program that opens the file shows in their place.
//!
//! Each is read in addition to the text as it stands, and only where its signs are there.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::packed::Searcher;

use crate::content::{Form, TextPiece, html};
use crate::mail::mime;

use super::Reader;

impl Reader {
    /// Keeps a further reading of a text of this form at the same place, as far as the limit allows. That of a table is
    /// one.
    pub(super) fn another_reading(&mut self, place: &str, text: String, form: Form) {
        let form = match form {
            Form::Table => Form::Table,
            Form::Plain | Form::Html | Form::Again => Form::Again,
        };
        self.keep_text(place, text, form);
    }

    /// Keeps a text, as far as the limit allows.
    pub(super) fn keep_text(&mut self, place: &str, mut text: String, form: Form) {
        if text.len() > self.text_left {
            text.truncate(text.floor_char_boundary(self.text_left));
            self.unread(place, "too-large");
        }
        self.text_left -= text.len();
        self.content.texts.push(TextPiece {
            place: place.to_owned(),
            text,
            form,
        });
    }
}

/// What programs make of a text: of JSON, calendars and scripts with escapes, of a contact or calendar with
/// quoted-printable, of addresses with escapes.
pub(super) fn readings(text: &str) -> impl Iterator<Item = String> {
    // Most texts have no sign at all: one look for all of them.
    let has_sign = SIGNS
        .as_ref()
        .is_none_or(|signs| signs.find(text).is_some());
    let says = move |word: &str| {
        has_sign && memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some()
    };
    [unescaped(text, says), unquoted(text, says), addresses(text)]
        .into_iter()
        .flatten()
}

/// A text with `\u0034` as the characters that it stands for (RFC 8259 §7), `\n` and `\t` as white space (also RFC 5545
/// §3.3.11), and the folded lines of a calendar or contact in one (RFC 5545 §3.1); `None` if there are none. Halves of
/// characters stay as they are: no digit or letter of a label is written so.
fn unescaped(text: &str, says: impl Fn(&str) -> bool) -> Option<String> {
    let has = |sign: &[u8]| memchr::memmem::find(text.as_bytes(), sign).is_some();
    let has_escapes = memchr::memchr(b'\\', text.as_bytes()).is_some()
        && [&b"\\u00"[..], b"\\n", b"\\N", b"\\r", b"\\t"]
            .into_iter()
            .any(has);
    let is_folded = FOLDED.into_iter().any(says);
    if !has_escapes && !is_folded {
        return None;
    }
    let whole = if is_folded {
        unfolded(text)
    } else {
        text.into()
    };
    let mut plain = String::with_capacity(whole.len());
    let mut rest = &*whole;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let (shown, length) = shown_by(escape);
        plain.push_str(&shown);
        rest = &escape[length..];
    }
    plain.push_str(rest);
    Some(plain)
}

/// What an escape shows, and how many octets it takes.
fn shown_by(escape: &str) -> (Cow<'_, str>, usize) {
    let code = || {
        let code = u32::from_str_radix(escape.get(2..6)?, 16).ok()?;
        char::from_u32(code)
    };
    match escape.as_bytes() {
        [_, b'n' | b'N' | b'r', ..] => ("\n".into(), 2),
        [_, b't', ..] => ("\t".into(), 2),
        [_, b'\\', ..] => ("\\\\".into(), 2),
        [_, b'u', ..] => match code() {
            Some(c) => (c.to_string().into(), 6),
            None => ("\\u".into(), 2),
        },
        _ => ("\\".into(), 1),
    }
}

/// A text whose lines go on in the next one where that begins with white space.
fn unfolded(text: &str) -> Cow<'_, str> {
    let mut whole = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_prefix([' ', '\t']) {
            Some(rest) => {
                whole.truncate(whole.trim_end_matches(['\r', '\n']).len());
                whole.push_str(rest);
            }
            None => whole.push_str(line),
        }
    }
    whole.into()
}

/// A text decoded that says somewhere that it is quoted-printable: vCard 2.1 and vCalendar 1.0 do so for a line, and
/// so does mail that was pasted with its fields.
fn unquoted(text: &str, says: impl Fn(&str) -> bool) -> Option<String> {
    if !QUOTED.into_iter().any(says) {
        return None;
    }
    let decoded = mime::quoted_printable(text.as_bytes()).0;
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// The addresses in a text whose escapes hide a number, as a program fills in what they say that follows them (RFC 3986
/// §2.1): `mailto:a@b.example?subject=NHS%20no%20…&body=…`, each part on a line; `None` if there are none.
pub(super) fn addresses(text: &str) -> Option<String> {
    let mut read = String::new();
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'%', rest.as_bytes()) {
        let is_end = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"');
        let start = rest[..at].rfind(is_end).map_or(0, |found| {
            found + rest[found..].chars().next().map_or(1, char::len_utf8)
        });
        let end = rest[at..].find(is_end).map_or(rest.len(), |end| at + end);
        let address = &rest[start..end];
        rest = &rest[end..];
        let digits = address.bytes().filter(u8::is_ascii_digit).count();
        if digits < NUMBER_DIGITS {
            continue;
        }
        let lines = address.replace(['?', '&'], "\n");
        let lines = html::unescaped(&lines);
        if lines != address.as_bytes() {
            read.push_str(&String::from_utf8_lossy(&lines));
            read.push('\n');
        }
    }
    (!read.is_empty()).then_some(read)
}

/// Digits of a patient's number.
const NUMBER_DIGITS: usize = 10;
/// How files begin whose lines are folded.
const FOLDED: [&str; 2] = ["BEGIN:VCALENDAR", "BEGIN:VCARD"];
/// How it is said that something is quoted-printable.
const QUOTED: [&str; 3] = ["QUOTED-PRINTABLE", "quoted-printable", "Quoted-Printable"];
/// All of these; `None` on a machine that cannot look at many octets at once.
static SIGNS: LazyLock<Option<Searcher>> =
    LazyLock::new(|| Searcher::new(FOLDED.into_iter().chain(QUOTED)));

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn other(text: &str) -> Vec<String> {
        readings(text).collect()
    }

    #[test]
    fn what_a_program_shows_in_place_of_a_text_is_read_as_well() {
        for (text, read) in [
            (r#"{"nhs": "\u0034505577104"}"#, r#"{"nhs": "4505577104"}"#),
            (r"\u004e\uD83D\uDE00\u00", r"N\uD83D\uDE00\u00"),
            (
                "TEL;ENCODING=QUOTED-PRINTABLE:NHS=20no=20450=20557=207104\n",
                "TEL;ENCODING=QUOTED-PRINTABLE:NHS no 450 557 7104\n",
            ),
            (
                r#"{"note": "seen\nNHS 4505577104\tC:\\new"}"#,
                "{\"note\": \"seen\nNHS 4505577104\tC:\\\\new\"}",
            ),
            (
                "BEGIN:VCALENDAR\r\nDESCRIPTION:a patient\\, 45055\r\n 77104\\nx\r\nEND:VCALENDAR",
                "BEGIN:VCALENDAR\r\nDESCRIPTION:a patient\\, 4505577104\nx\r\nEND:VCALENDAR",
            ),
        ] {
            assert_eq!(other(text), [read]);
        }
        for (text, read) in [
            (
                "see <mailto:a@b.example?subject=NHS%20no%20450%20557%207104&body=x%0Ay>, 5% of 1234567890",
                "mailto:a@b.example\nsubject=NHS no 450 557 7104\nbody=x\ny\n",
            ),
            (
                "https://x.example/?q=4%35%305577104 https://x.example/%34",
                "https://x.example/\nq=4505577104\n",
            ),
        ] {
            assert_eq!(other(text), [read]);
        }
        for text in ["C:\\users\\u", "a=20b", "\\u4e2d", "12345678901%", "%20"] {
            assert!(other(text).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in r"(\\u00|\\u|\\n|\\\\|BEGIN:VCARD|\n |[0-9a-fé]|quoted-printable|=|%|%3[0-9]|\PC){0,40}") {
            other(&text);
        }
    }
}
