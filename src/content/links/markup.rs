//! HTML in pieces, after the tokenizer of its standard (HTML §13.2.5), each with its place. What stands at the
//! end without an end is read as far as it goes: some readers show it.

use std::ops::Range;

/// A piece of HTML; places are octets.
#[derive(Debug)]
pub(super) enum Piece<'h> {
    /// Text, references not decoded.
    Text(Range<usize>),
    /// A tag.
    Tag(Tag<'h>),
    /// What stands in a comment.
    Comment(Range<usize>),
}

/// A tag and its attributes.
#[derive(Debug)]
pub(super) struct Tag<'h> {
    pub name: &'h str,
    pub closes: bool,
    pub attributes: Vec<Attribute<'h>>,
}

/// One attribute, references in its value not decoded.
#[derive(Debug)]
pub(super) struct Attribute<'h> {
    pub name: &'h str,
    pub value: &'h str,
    /// From the name to the end of the value, quotes and all.
    pub at: Range<usize>,
}

/// Reads a text from its start to its end.
pub(super) struct Pieces<'h> {
    html: &'h str,
    at: usize,
    /// The element whose content comes next and is no markup.
    raw: Option<&'h str>,
}

impl<'h> Pieces<'h> {
    pub(super) fn of(html: &'h str) -> Self {
        Self {
            html,
            at: 0,
            raw: None,
        }
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.html.as_bytes().get(at).copied()
    }

    fn next_of(&self, octet: u8, from: usize) -> usize {
        let rest = &self.html.as_bytes()[from.min(self.html.len())..];
        memchr::memchr(octet, rest).map_or(self.html.len(), |at| from + at)
    }

    fn comment(&mut self, start: usize) -> Piece<'h> {
        let rest = &self.html[start..];
        let (inner, end) = match rest.as_bytes() {
            [b'>', ..] => (0, 1),
            [b'-', b'>', ..] => (0, 2),
            octets => end_of_comment(octets),
        };
        self.at = start + end;
        Piece::Comment(start..start + inner)
    }

    fn tag(&mut self, name_at: usize, closes: bool) -> Piece<'h> {
        let is_end = |octet: u8| octet.is_ascii_whitespace() || matches!(octet, b'>' | b'/');
        let rest = &self.html.as_bytes()[name_at..];
        let length = rest
            .iter()
            .position(|octet| is_end(*octet))
            .unwrap_or(rest.len());
        let name = &self.html[name_at..name_at + length];
        self.at = name_at + length;
        let mut attributes = Vec::new();
        while let Some(attribute) = self.attribute() {
            attributes.push(attribute);
        }
        if !closes && RAW.iter().any(|raw| name.eq_ignore_ascii_case(raw)) {
            self.raw = Some(name);
        }
        Piece::Tag(Tag {
            name,
            closes,
            attributes,
        })
    }

    /// The next attribute of a tag; `None` at its end, which is passed over.
    fn attribute(&mut self) -> Option<Attribute<'h>> {
        while self
            .octet(self.at)
            .is_some_and(|o| o.is_ascii_whitespace() || o == b'/')
        {
            self.at += 1;
        }
        let start = self.at;
        match self.octet(start) {
            None => return None,
            Some(b'>') => {
                self.at += 1;
                return None;
            }
            Some(_) => self.at += 1, // also a `=`: a name may begin with it
        }
        while self
            .octet(self.at)
            .is_some_and(|o| !o.is_ascii_whitespace() && !matches!(o, b'>' | b'/' | b'='))
        {
            self.at += 1;
        }
        // A name ends at ASCII or where the text ends: between characters.
        let name = start..self.at;
        let mut ahead = self.at;
        while self.octet(ahead).is_some_and(|o| o.is_ascii_whitespace()) {
            ahead += 1;
        }
        let value = match self.octet(ahead) {
            Some(b'=') => self.value(ahead + 1),
            _ => self.at..self.at,
        };
        Some(Attribute {
            name: &self.html[name],
            value: &self.html[value],
            at: start..self.at,
        })
    }

    fn value(&mut self, mut from: usize) -> Range<usize> {
        while self.octet(from).is_some_and(|o| o.is_ascii_whitespace()) {
            from += 1;
        }
        match self.octet(from) {
            Some(quote @ (b'"' | b'\'')) => {
                let end = self.next_of(quote, from + 1);
                self.at = (end + 1).min(self.html.len());
                from + 1..end.max(from + 1)
            }
            _ => {
                let rest = &self.html.as_bytes()[from..];
                let end = rest
                    .iter()
                    .position(|o| o.is_ascii_whitespace() || *o == b'>');
                self.at = from + end.unwrap_or(rest.len());
                from..self.at
            }
        }
    }
}

impl<'h> Iterator for Pieces<'h> {
    type Item = Piece<'h>;

    fn next(&mut self) -> Option<Piece<'h>> {
        let start = self.at;
        if start >= self.html.len() {
            return None;
        }
        if let Some(name) = self.raw.take() {
            self.at = end_of_raw(self.html.as_bytes(), start, name);
            return Some(Piece::Text(start..self.at));
        }
        let rest = &self.html.as_bytes()[start..];
        match rest {
            [b'<', b'!', b'-', b'-', ..] => return Some(self.comment(start + 4)),
            [b'<', b'!' | b'?', ..] => {
                let end = self.next_of(b'>', start);
                self.at = (end + 1).min(self.html.len());
                return Some(Piece::Comment(start + 2..end.max(start + 2)));
            }
            [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => {
                return Some(self.tag(start + 2, true));
            }
            [b'<', letter, ..] if letter.is_ascii_alphabetic() => {
                return Some(self.tag(start + 1, false));
            }
            _ => {}
        }
        // A `<` that begins nothing is text.
        self.at = self.next_of(b'<', start + 1);
        Some(Piece::Text(start..self.at))
    }
}

/// How long a comment is, without and with its end.
fn end_of_comment(octets: &[u8]) -> (usize, usize) {
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(&octets[from..], b"--") {
        let at = from + found;
        match &octets[at + 2..] {
            [b'>', ..] => return (at, at + 3),
            [b'!', b'>', ..] => return (at, at + 4),
            _ => from = at + 1,
        }
    }
    (octets.len(), octets.len())
}

/// Where the content of an element ends that is no markup: at its own closing tag.
fn end_of_raw(html: &[u8], from: usize, name: &str) -> usize {
    let closes = |at: &usize| {
        let rest = &html[at + 2..];
        let is_name = rest
            .get(..name.len())
            .is_some_and(|o| o.eq_ignore_ascii_case(name.as_bytes()));
        let ends = rest
            .get(name.len())
            .is_none_or(|o| o.is_ascii_whitespace() || matches!(o, b'>' | b'/'));
        is_name && ends
    };
    let mut found = memchr::memmem::find_iter(&html[from..], b"</").map(|at| from + at);
    found.find(closes).unwrap_or(html.len())
}

/// Elements whose content is no markup to a browser.
pub(super) const RAW: &[&str] = &[
    "script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes",
];
