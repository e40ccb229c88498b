//! A message shown safely: as text, whatever it is made of.
//!
//! HTML is shown as the text in it, attachments by what they are; nothing is opened, no escape reaches the terminal, and
//! links are written so that no program follows them.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::content::{self, Attachment, Content, Form, Limits};
use crate::mail::{Message, mime, shown};

/// The fields of a header that people go by, decoded. They hold content.
pub(super) struct Fields {
    pub(super) from: String,
    pub(super) subject: String,
    pub(super) date: String,
}

/// Reads them, and nothing of the body.
pub(super) fn fields(message: &Message) -> Fields {
    let header = Message::new(message.header_octets().to_vec());
    let content = content::unparsed(&header, &Limits::default());
    Fields {
        from: of_header(&content, "From"),
        date: header
            .header()
            .first("Date")
            .map_or_else(String::new, |field| field.value().into_owned()),
        subject: content.subject,
    }
}

fn of_header(content: &Content, name: &str) -> String {
    let place = format!("header:{name}");
    let mut found = content.headers.iter();
    let found = found.find(|piece| piece.place.eq_ignore_ascii_case(&place));
    found.map_or_else(String::new, |piece| piece.text.clone())
}

fn read(message: &Message) -> Content {
    match mime::parse(message.octets()) {
        Ok(structure) => content::read(message, &structure, &Limits::default()),
        Err(_) => content::unparsed(message, &Limits::default()),
    }
}

/// Writes a message for a terminal: its fields, its texts to `lines` lines each, its attachments.
pub(super) fn write(message: &Message, lines: usize, out: &mut impl Write) -> io::Result<()> {
    let content = read(message);
    let fields = fields(message);
    writeln!(out, "  --- the message, as text ---")?;
    for (name, value) in [
        ("From", &fields.from),
        ("Subject", &fields.subject),
        ("Date", &fields.date),
    ] {
        writeln!(out, "  {name:<12}  {}", safe_line(value))?;
    }
    for piece in texts(&content) {
        let made_of = match piece.form {
            Form::Html => ", HTML as text",
            Form::Again => ", in another reading",
            Form::Plain | Form::Table => "",
        };
        writeln!(out, "  [{}{made_of}]", shown::line(&piece.place, 40))?;
        let text = safe_text(&piece.text);
        let mut rest = text.lines();
        for line in rest.by_ref().take(lines) {
            writeln!(out, "  | {line}")?;
        }
        match rest.count() {
            0 => {}
            more => writeln!(
                out,
                "  … {more} lines more: --lines says how many are shown"
            )?,
        }
    }
    for one in &content.attachments {
        writeln!(
            out,
            "  [{}] {}, {} octets, said to be {}: {}",
            shown::line(&one.place, 40),
            one.kind.word(),
            one.encoded_octets,
            safe_line(&one.declared),
            name(one),
        )?;
    }
    for one in &content.unreadable {
        writeln!(
            out,
            "  not read: {} ({})",
            shown::line(&one.place, 40),
            one.because
        )?;
    }
    Ok(())
}

/// The same as an object.
pub(super) fn to_json(message: &Message) -> Value {
    let content = read(message);
    let fields = fields(message);
    let texts = texts(&content).map(|piece| {
        json!({"where": piece.place, "html": piece.form == Form::Html, "text": safe_text(&piece.text)})
    });
    let attachments = content.attachments.iter().map(|one| {
        json!({"where": one.place, "kind": one.kind.word(), "declared": safe_line(&one.declared),
            "octets": one.encoded_octets, "name": name(one)})
    });
    json!({
        "from": safe_line(&fields.from),
        "subject": safe_line(&fields.subject),
        "date": safe_line(&fields.date),
        "texts": texts.collect::<Vec<_>>(),
        "attachments": attachments.collect::<Vec<_>>(),
    })
}

/// Texts of the message itself; those of attachments are not shown.
fn texts(content: &Content) -> impl Iterator<Item = &content::TextPiece> {
    let texts = content.texts.iter();
    texts.filter(|piece| piece.place.starts_with("body:"))
}

fn name(one: &Attachment) -> String {
    let name = one.filename.as_deref().unwrap_or("without a name");
    safe_line(name)
}

fn safe_line(text: &str) -> String {
    shown::defanged(&shown::line(text, 200))
}

fn safe_text(text: &str) -> String {
    let start = text.floor_char_boundary(TEXT_OCTETS_MAX);
    shown::defanged(&shown::harmless(&text[..start]))
}

/// The most of one text that is shown, in octets.
const TEXT_OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From: =?utf-8?q?Zo=C3=AB_=1B]0;title=07?= <z@evil.example>\r\n\
        Subject: See\u{1b}[2J https://evil.example/x\r\nDate: Fri, 20 Nov 2026 09:30:00 +0000\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
        <p>Hello&#27;[31m</p><script>alert(1)</script><a href=\"http://evil.example/\">the bank</a>\r\n\
        --b\r\nContent-Type: application/pdf; name=\"a\u{1b}c.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        TVqQAAMAAAAEAAAA//8AAA==\r\n--b--\r\n";

    #[test]
    fn nothing_of_a_message_reaches_the_terminal_but_letters() {
        let message = Message::new(MAIL.as_bytes());
        let mut out = Vec::new();
        write(&message, 100, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            !text.contains('\u{1b}') && !text.contains('\u{7}'),
            "{text:?}"
        );
        assert!(text.contains("hxxps[:]//evil[.]example/x"), "{text}");
        assert!(!text.contains("http"), "{text}");
        assert!(text.contains("[body:1, HTML as text]"), "{text}");
        assert!(text.contains("the bank"), "{text}");
        assert!(text.contains("said to be application/pdf"), "{text}");
        let said = to_json(&message).to_string();
        assert!(
            !said.contains("\\u001b") && !said.contains("http"),
            "{said}"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mail = format!("Subject: x\r\n\r\n{}", "line\r\n".repeat(30));
        let mut out = Vec::new();
        write(&Message::new(mail.into_bytes()), 10, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("| line").count(), 10);
        assert!(text.contains("20 lines more"), "{text}");
    }

    #[test]
    fn the_fields_are_read_without_the_body() {
        let fields = fields(&Message::new(MAIL.as_bytes()));
        assert!(fields.from.contains("Zo\u{eb}"), "{}", fields.from);
        assert!(fields.subject.starts_with("See"));
    }
}
