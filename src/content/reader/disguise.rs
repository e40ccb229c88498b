//! Texts that stand for other texts: what a program that opens the file shows in their place.
//!
//! Each is read in addition to the text as it stands, and only where its signs are there.

use crate::content::{Form, TextPiece};
use crate::mail::mime;

use super::Reader;

impl Reader {
    /// Keeps a further reading of a text at the same place, as far as the limit allows.
    pub(super) fn another_reading(&mut self, place: &str, mut text: String, form: Form) {
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

/// What programs make of a text: of JSON and scripts with escapes, of a contact or calendar with quoted-printable.
pub(super) fn readings(text: &str) -> impl Iterator<Item = String> {
    [unescaped(text), unquoted(text)].into_iter().flatten()
}

/// A text with `\u0034` as the characters that it stands for (RFC 8259 §7); `None` if there are none. Halves of
/// characters stay as they are: no digit or letter of a label is written so.
fn unescaped(text: &str) -> Option<String> {
    memchr::memmem::find(text.as_bytes(), b"\\u00")?;
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"\\u") {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let code = escape.get(2..6);
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                plain.push(c);
                rest = &escape[6..];
            }
            None => {
                plain.push_str("\\u");
                rest = &escape[2..];
            }
        }
    }
    plain.push_str(rest);
    Some(plain)
}

/// A text decoded that says somewhere that it is quoted-printable: vCard 2.1 and vCalendar 1.0 do so for a line, and
/// so does mail that was pasted with its fields.
fn unquoted(text: &str) -> Option<String> {
    let says = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    if !["QUOTED-PRINTABLE", "quoted-printable", "Quoted-Printable"]
        .into_iter()
        .any(says)
    {
        return None;
    }
    let decoded = mime::quoted_printable(text.as_bytes()).0;
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

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
                "BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:NHS=20no=20450=20557=207104\n",
                "BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:NHS no 450 557 7104\n",
            ),
        ] {
            assert_eq!(other(text), [read]);
        }
        for text in ["C:\\users\\u", "a=20b", "\\u4e2d"] {
            assert!(other(text).is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in r"(\\u00|\\u|[0-9a-fé]|quoted-printable|=|\PC){0,40}") {
            other(&text);
        }
    }
}
