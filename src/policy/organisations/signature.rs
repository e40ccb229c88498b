//! The standard signature: a template of the head office, filled in with what the directory knows of a sender.

use std::fmt::Write as _;

use crate::config::{Located, Section};
use crate::directory::Entry;

use super::footers::FooterText;
use super::template;

/// A signature for every mailbox of an entity.
#[derive(Clone, Debug)]
pub struct Signature {
    text: Template,
    html: Option<Template>,
}

impl Signature {
    /// Reads `signature` of an entity or of the whole file; `None` if there is none.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let signature = section.section("signature");
        let text = signature
            .is_present()
            .then(|| signature.required_string("text"))
            .flatten();
        let (text, html) = (
            text.map(|text| Template::read(&signature, &text)),
            signature.string("html"),
        );
        let html = html.map(|html| Template::read(&signature, &html));
        signature.finish();
        Some(Self { text: text?, html })
    }

    /// The signature of a sender.
    pub fn of(&self, sender: &Entry) -> FooterText {
        let text = self.text.filled(sender, str::to_owned);
        let html = match &self.html {
            Some(html) => html.filled(sender, template::escaped),
            None => template::html_of(&text),
        };
        FooterText { text, html }
    }
}

/// Text with fields, line by line.
#[derive(Clone, Debug)]
struct Template {
    lines: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Field(Field),
}

impl Template {
    /// Reads a template; a field that is none is reported and stands as it is written.
    fn read(section: &Section<'_>, text: &Located<String>) -> Self {
        let mut unknown = Vec::new();
        let lines = text.lines();
        let lines = lines.map(|line| pieces(line, &mut unknown)).collect();
        for field in unknown {
            let known: Vec<&str> = Field::WORDS.iter().map(|(word, _)| *word).collect();
            section.report(
                "unknown-field",
                format!("there is no field `{{{field}}}`"),
                text,
                format!("one of: {}", known.join(", ")),
            );
        }
        Self { lines }
    }

    /// Puts the sender's values in. A line with fields all of which are empty is left out.
    fn filled(&self, sender: &Entry, escape: fn(&str) -> String) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let (mut fields, mut filled) = (0, 0);
            let mut text = String::new();
            for piece in line {
                match piece {
                    Piece::Text(piece) => text.push_str(piece),
                    Piece::Field(field) => {
                        let value = field.of(sender);
                        fields += 1;
                        filled += usize::from(!value.is_empty());
                        text.push_str(&escape(&value));
                    }
                }
            }
            if fields == 0 || filled > 0 {
                let _ = writeln!(out, "{}", text.trim_end());
            }
        }
        out
    }
}

/// Parts a line at its fields, `{name}`.
fn pieces(line: &str, unknown: &mut Vec<String>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some((before, name, after)) = next_field(rest) {
        pieces.push(Piece::Text(before.to_owned()));
        match Field::WORDS.iter().find(|(word, _)| *word == name) {
            Some((_, field)) => pieces.push(Piece::Field(*field)),
            None => {
                unknown.push(name.to_owned());
                pieces.push(Piece::Text(format!("{{{name}}}")));
            }
        }
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

/// Whatever stands in braces without spaces is meant as a field; CSS in HTML has spaces or line ends in its own.
fn next_field(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| {
        let letter = |octet: u8| octet.is_ascii_lowercase() || octet == b'-';
        !name.is_empty() && name.bytes().all(letter)
    };
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let close = open + text[open..].find('}')?;
        let name = &text[open + 1..close];
        if is_name(name) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
}

/// What the directory knows of a sender.
#[derive(Clone, Copy, Debug)]
enum Field {
    DisplayName,
    Address,
    Organisation,
    OdsCode,
    Street,
    Town,
    Postcode,
}

impl Field {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("display-name", Self::DisplayName),
        ("address", Self::Address),
        ("organisation", Self::Organisation),
        ("ods-code", Self::OdsCode),
        ("street", Self::Street),
        ("town", Self::Town),
        ("postcode", Self::Postcode),
    ];

    /// Its value, on one line; empty if the directory has none.
    fn of(self, sender: &Entry) -> String {
        let organisation = sender.organisation.as_deref();
        let value = match (self, organisation) {
            (Self::DisplayName, _) => sender.display_name.clone(),
            (Self::Address, _) => sender.address.to_string(),
            (_, None) => String::new(),
            (Self::Organisation, Some(organisation)) => organisation.name.clone(),
            (Self::OdsCode, Some(organisation)) => organisation.code.to_string(),
            (Self::Street, Some(organisation)) => organisation.street.clone(),
            (Self::Town, Some(organisation)) => organisation.town.clone(),
            (Self::Postcode, Some(organisation)) => organisation.postcode.clone(),
        };
        value.replace(char::is_control, " ")
    }
}
