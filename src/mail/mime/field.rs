//! Fields with parameters: `Content-Type`, `Content-Disposition` (RFC 2045 §5.1, RFC 2231).

use std::collections::BTreeMap;
use std::ops::Range;

use super::charset::{self, Charset};
use super::part::{Oddity, Params};

/// A word and parameters, read from a field body.
pub(super) struct WordAndParams {
    /// What stands before the parameters, lower case, without comments.
    pub word: String,
    pub params: Params,
    /// The `boundary` parameter, octet by octet.
    pub boundary: Option<Vec<u8>>,
    pub oddities: Vec<Oddity>,
}

/// Reads a field body. Never fails: what does not fit is an oddity.
pub(super) fn parse(body: &[u8]) -> WordAndParams {
    let mut scanner = Scanner {
        octets: body,
        at: 0,
    };
    let mut raw = Vec::new();
    let mut oddities = Vec::new();
    scanner.skip_space();
    let word = scanner.token(b";").to_ascii_lowercase();
    loop {
        match scanner.param() {
            Next::End => break,
            Next::Param(param) => raw.push(param),
            Next::Odd(param) => {
                raw.extend(param);
                oddities.push(Oddity::MalformedParameter);
            }
        }
    }
    let (params, boundary) = combine(raw, &mut oddities);
    WordAndParams {
        word: charset::utf8_or_latin1(&word),
        params,
        boundary,
        oddities,
    }
}

/// Where a parameter stands in a field body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::mail) enum ParamPlace {
    /// Its value, with the quotes if there are any.
    Value(Range<usize>),
    /// Nowhere; it could go here, with a semicolon before it.
    Absent(usize),
    /// In several pieces or in a form that must be decoded.
    InPieces,
}

/// Finds the parameter with this name (lower case).
pub(in crate::mail) fn place_of(body: &[u8], name: &str) -> ParamPlace {
    let mut scanner = Scanner {
        octets: body,
        at: 0,
    };
    scanner.skip_space();
    scanner.token(b";");
    let word_end = scanner.at;
    loop {
        let param = match scanner.param() {
            Next::End => return ParamPlace::Absent(word_end),
            Next::Param(param) | Next::Odd(Some(param)) => param,
            Next::Odd(None) => continue,
        };
        if param.name == name {
            return match (param.section, param.extended) {
                (None, false) => ParamPlace::Value(param.place),
                _ => ParamPlace::InPieces,
            };
        }
    }
}

/// A parameter as written: `filename*0*=…` is name `filename`, section 0, extended.
struct RawParam {
    name: String,
    section: Option<u32>,
    extended: bool,
    value: Vec<u8>,
    place: Range<usize>,
    /// Whether a line ends within it.
    folded: bool,
}

enum Next {
    End,
    Param(RawParam),
    Odd(Option<RawParam>),
}

struct Scanner<'f> {
    octets: &'f [u8],
    at: usize,
}

impl<'f> Scanner<'f> {
    fn peek(&self) -> Option<u8> {
        self.octets.get(self.at).copied()
    }

    /// Skips white space, line ends and comments (RFC 5322 §3.2.2).
    fn skip_space(&mut self) {
        let mut depth = 0usize;
        while let Some(octet) = self.peek() {
            match octet {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                // All that ends a token: else a form feed would be neither, and never passed.
                octet if octet.is_ascii_whitespace() => {}
                _ if depth > 0 => {}
                _ => break,
            }
            self.at += 1;
        }
        self.at = self.at.min(self.octets.len());
    }

    /// Takes what runs up to white space or one of `ends`.
    fn token(&mut self, ends: &[u8]) -> &'f [u8] {
        let rest = &self.octets[self.at..];
        let stop = |octet: &u8| octet.is_ascii_whitespace() || ends.contains(octet);
        let length = rest.iter().position(stop).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes the next parameter and the semicolon before it.
    fn param(&mut self) -> Next {
        let mut separated = false;
        loop {
            self.skip_space();
            match self.peek() {
                Some(b';') => separated = true,
                Some(_) => break,
                None => return Next::End,
            }
            self.at += 1;
        }
        let name = self.token(b"=;").to_ascii_lowercase();
        self.skip_space();
        if self.peek() != Some(b'=') {
            return Next::Odd(None);
        }
        self.at += 1;
        let equals = self.at;
        self.skip_space();
        let start = self.at;
        let (value, closed) = match self.peek() {
            Some(b'"') => self.quoted(),
            _ => (self.token(b";").to_vec(), true),
        };
        let place = if self.at == start {
            equals..equals
        } else {
            start..self.at
        };
        let mut param = raw_param(&name, value, place);
        param.folded = memchr::memchr(b'\n', &self.octets[param.place.clone()]).is_some();
        if separated && closed && !name.is_empty() {
            Next::Param(param)
        } else {
            Next::Odd(Some(param))
        }
    }

    /// Takes a quoted string; folding inside it goes (RFC 5322 §3.2.4). Also says whether it ended.
    fn quoted(&mut self) -> (Vec<u8>, bool) {
        let mut value = Vec::new();
        self.at += 1;
        while let Some(octet) = self.peek() {
            self.at += 1;
            match octet {
                b'"' => return (value, true),
                b'\\' => {
                    value.extend(self.peek());
                    self.at += 1;
                }
                b'\r' | b'\n' => {}
                _ => value.push(octet),
            }
        }
        self.at = self.octets.len();
        (value, false)
    }
}

/// Splits `filename*0*` into its pieces.
fn raw_param(name: &[u8], value: Vec<u8>, place: Range<usize>) -> RawParam {
    let name = charset::utf8_or_latin1(name);
    let (rest, extended) = match name.strip_suffix('*') {
        Some(rest) => (rest, true),
        None => (name.as_str(), false),
    };
    let (base, section) = match rest.split_once('*') {
        Some((base, digits)) => (base, digits.parse().ok()),
        None => (rest, None),
    };
    RawParam {
        name: base.to_owned(),
        section,
        extended,
        value,
        place,
        folded: false,
    }
}

/// The pieces of one parameter.
#[derive(Default)]
struct Pieces {
    plain: Option<Vec<u8>>,
    extended: Option<Vec<u8>>,
    sections: BTreeMap<u32, (bool, Vec<u8>)>,
}

impl Pieces {
    /// Takes a piece; false if it was there already, with another value or in pieces.
    fn take(&mut self, param: RawParam) -> bool {
        let RawParam {
            section,
            extended,
            value,
            ..
        } = param;
        match (section, extended) {
            (Some(section), _) => self.sections.insert(section, (extended, value)).is_none(),
            (None, true) => self.extended.replace(value).is_none(),
            // The first one counts, as in most readers. Some old programs write a charset twice.
            (None, false) => *self.plain.get_or_insert_with(|| value.clone()) == value,
        }
    }

    /// The value in plain form, if there is one in another form that counts before it.
    fn other(&self) -> Option<Vec<u8>> {
        self.plain.clone().filter(|_| !self.is_plain())
    }

    fn is_plain(&self) -> bool {
        self.extended.is_none() && self.sections.is_empty()
    }

    /// The octets, and the charset if one is named (RFC 2231 §3, §4).
    fn join(self) -> (Vec<u8>, Option<String>) {
        if let Some(value) = self.extended {
            let (charset, text) = split_charset(&value);
            return (percent_decode(text), charset);
        }
        if self.sections.is_empty() {
            return (self.plain.unwrap_or_default(), None);
        }
        let (mut joined, mut charset) = (Vec::new(), None);
        for (at, (extended, value)) in self.sections.into_values().enumerate() {
            let mut text = value.as_slice();
            if at == 0 && extended {
                (charset, text) = split_charset(&value);
            }
            if extended {
                joined.extend(percent_decode(text));
            } else {
                joined.extend(text);
            }
        }
        (joined, charset)
    }
}

fn combine(raw: Vec<RawParam>, oddities: &mut Vec<Oddity>) -> (Params, Option<Vec<u8>>) {
    let mut order: Vec<String> = Vec::new();
    let mut pieces: BTreeMap<String, Pieces> = BTreeMap::new();
    for param in raw {
        let name = param.name.clone();
        if param.folded && name == "boundary" {
            oddities.push(Oddity::BadBoundary);
        }
        let entry = pieces.entry(name.clone()).or_insert_with(|| {
            order.push(name);
            Pieces::default()
        });
        if !entry.take(param) {
            oddities.push(Oddity::DuplicateParameter);
        }
    }
    let mut params = Vec::with_capacity(order.len());
    let mut boundary = None;
    for name in order {
        let piece = pieces.remove(&name).unwrap_or_default();
        if name == "boundary" && !piece.is_plain() {
            oddities.push(Oddity::BadBoundary);
        }
        let other = piece.other();
        let (octets, charset) = piece.join();
        let value = match &charset {
            Some(label) => Charset::of(Some(label)).decode_lossy(&octets),
            None => charset::utf8_or_latin1(&octets),
        };
        if name == "boundary" {
            boundary = Some(octets);
        }
        let other = other.map(|octets| (name.clone(), charset::utf8_or_latin1(&octets)));
        params.push((name, value));
        params.extend(other);
    }
    (Params(params), boundary)
}

/// Splits `charset'language'text`.
fn split_charset(value: &[u8]) -> (Option<String>, &[u8]) {
    let mut pieces = value.splitn(3, |octet| *octet == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(text)) => (Some(charset::utf8_or_latin1(charset)), text),
        _ => (None, value),
    }
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair = (text[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten();
        match pair.and_then(super::decode::hex_pair) {
            Some(octet) => {
                out.push(octet);
                at += 3;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (String, Vec<(String, String)>, Vec<Oddity>) {
        let read = parse(body.as_bytes());
        (read.word, read.params.0, read.oddities)
    }

    fn params(body: &str) -> Vec<(String, String)> {
        read(body).1
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn words_and_parameters_are_read_as_written_in_the_wild() {
        for (body, word, expected) in [
            (
                " text/plain; charset=US-ASCII (plain)",
                "text/plain",
                pair("charset", "US-ASCII"),
            ),
            (
                "TEXT/HTML;\r\n\tCharset=\"utf-8\";",
                "text/html",
                pair("charset", "utf-8"),
            ),
            (
                "multipart/mixed; boundary=----=_Next.1",
                "multipart/mixed",
                pair("boundary", "----=_Next.1"),
            ),
            (
                "a/b (c (d) \\) e) ; x = \"q\\\"u;ote\"",
                "a/b",
                pair("x", "q\"u;ote"),
            ),
            ("a/b; x=\"fol\r\n ded\"", "a/b", pair("x", "fol ded")),
        ] {
            let (found, params, oddities) = read(body);
            assert_eq!(
                (found.as_str(), &params[..]),
                (word, &[expected][..]),
                "{body}"
            );
            assert_eq!(oddities, [], "{body}");
        }
    }

    #[test]
    fn rfc_2231_values_are_put_together() {
        assert_eq!(
            params("attachment; filename*=iso-8859-1'en'caf%E9.txt"),
            [pair("filename", "café.txt")]
        );
        assert_eq!(
            params("a; f*1=b; f*0*=utf-8''%C3%A9; f*2*=%20c"),
            [pair("f", "éb c")]
        );
        assert_eq!(
            params("a; f=plain; f*=utf-8''better"),
            [pair("f", "better"), pair("f", "plain")],
            "the better one is found first"
        );
    }

    #[test]
    fn a_parameter_is_found_where_it_stands() {
        let place = |body: &str| place_of(body.as_bytes(), "charset");
        assert_eq!(
            place(" a/b; Charset = \"x\" ; y=z"),
            ParamPlace::Value(16..19)
        );
        assert_eq!(place(" a/b; y=z"), ParamPlace::Absent(4));
        assert_eq!(place(" a/b; charset=\r\n"), ParamPlace::Value(14..14));
        assert_eq!(place(" a/b; charset*=utf-8''x"), ParamPlace::InPieces);
    }

    #[test]
    fn what_readers_take_in_two_ways_is_odd() {
        for (body, oddity) in [
            ("a/b; x=1; X=2", Oddity::DuplicateParameter),
            ("a/b; x=\"open", Oddity::MalformedParameter),
            ("a/b x=1", Oddity::MalformedParameter),
            ("a/b; x=1 2", Oddity::MalformedParameter),
            ("a/b; boundary*0=ab; boundary*1=c", Oddity::BadBoundary),
            ("a/b; boundary=\"fol\r\n ded\"", Oddity::BadBoundary),
        ] {
            assert_eq!(read(body).2, [oddity], "{body}");
        }
    }
}
