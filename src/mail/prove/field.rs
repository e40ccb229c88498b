//! Header fields, as the strict reader takes them: whole lines, one grammar, nothing repaired.

use std::ops::Range;

/// One field. Its octets are content: no `Debug` of them.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Field<'m> {
    /// As written.
    pub name: &'m [u8],
    /// What follows the colon, with its line ends.
    pub value: &'m [u8],
    /// All of it.
    pub raw: &'m [u8],
}

impl Field<'_> {
    /// Whether it has this name (lower case).
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Whether its name begins so (lower case).
    pub(super) fn begins(&self, start: &str) -> bool {
        let name = self.name.get(..start.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(start.as_bytes()))
    }
}

/// A media type in lower case, and its parameters.
pub(super) type MediaType = (String, Vec<(String, Vec<u8>)>);

/// The fields of a header section; `None` if a line is none.
pub(super) fn fields(header: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    let mut range = 0..0;
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        let folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !folded && !range.is_empty() {
            fields.push(field(header, range.clone())?);
            range.start = range.end;
        }
        if folded && range.is_empty() {
            return None;
        }
        range.end += line.len();
    }
    if !range.is_empty() {
        fields.push(field(header, range)?);
    }
    Some(fields)
}

fn field(header: &[u8], range: Range<usize>) -> Option<Field<'_>> {
    let raw = &header[range];
    let colon = memchr::memchr(b':', raw)?;
    let name = &raw[..colon];
    // RFC 5322 §4.5 let blanks stand before the colon; readers differ on what such a field is called.
    let named = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    named.then_some(Field {
        name,
        value: &raw[colon + 1..],
        raw,
    })
}

/// A field body that is one word, in lower case: parameters after it are left alone.
pub(super) fn word(value: &[u8]) -> Option<String> {
    let mut scan = Scan { rest: value };
    scan.blank()?;
    let word = scan.token()?;
    scan.blank()?;
    let ends = matches!(scan.rest.first(), None | Some(b';'));
    ends.then(|| lower(word))
}

/// A `Content-Type` (RFC 2045 §5.1).
pub(super) fn media_type(value: &[u8]) -> Option<MediaType> {
    let mut scan = Scan { rest: value };
    scan.blank()?;
    let kind = lower(scan.token()?);
    scan.take(b'/')?;
    let kind = format!("{kind}/{}", lower(scan.token()?));
    let mut params: Vec<(String, Vec<u8>)> = Vec::new();
    loop {
        scan.blank()?;
        if scan.rest.is_empty() {
            return Some((kind, params));
        }
        scan.take(b';')?;
        scan.blank()?;
        if scan.rest.is_empty() {
            return Some((kind, params)); // many write a semicolon after the last one
        }
        let name = lower(scan.token()?);
        scan.blank()?;
        scan.take(b'=')?;
        scan.blank()?;
        let value = match scan.rest.first() {
            Some(b'"') => scan.quoted(name != "boundary")?,
            _ => scan.token()?.to_vec(),
        };
        if params.iter().any(|(known, _)| *known == name) {
            return None;
        }
        params.push((name, value));
    }
}

fn lower(word: &[u8]) -> String {
    word.iter()
        .map(|octet| char::from(octet.to_ascii_lowercase()))
        .collect()
}

struct Scan<'m> {
    rest: &'m [u8],
}

impl<'m> Scan<'m> {
    /// Passes over white space, folding and comments; `None` if a comment does not end.
    fn blank(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.rest {
                [b' ' | b'\t' | b'\r' | b'\n', ..] => {}
                [b'(', ..] => depth += 1,
                [b')', ..] if depth > 0 => depth -= 1,
                [b'\\', _, ..] if depth > 0 => self.rest = &self.rest[1..],
                [_, ..] if depth > 0 => {}
                _ => return (depth == 0).then_some(()),
            }
            self.rest = &self.rest[1..];
        }
    }

    fn take(&mut self, octet: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == octet).then_some(())
    }

    /// RFC 2045 §5.1.
    fn token(&mut self) -> Option<&'m [u8]> {
        let special =
            |octet: &u8| !octet.is_ascii_graphic() || b"()<>@,;:\\\"/[]?=".contains(octet);
        let length = self
            .rest
            .iter()
            .position(special)
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then_some(token)
    }

    /// A quoted string; folding inside it goes, if there may be some (RFC 5322 §3.2.4).
    fn quoted(&mut self, may_fold: bool) -> Option<Vec<u8>> {
        self.take(b'"')?;
        let mut value = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' => return Some(value),
                b'\r' | b'\n' if may_fold => {}
                b'\r' | b'\n' => return None,
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    value.push(*escaped);
                }
                octet => value.push(*octet),
            }
        }
    }
}
