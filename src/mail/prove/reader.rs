//! A second reader of MIME: small, strict, by recursive descent over lines. It shares no code with
//! [`mime`](crate::mail::mime), so that a mistake in the one is not made again by the other.
//!
//! It repairs nothing. What two readers could take in two ways it refuses to read, and what it refuses is
//! not provable. An attached message is a leaf to it: nothing in there is ever edited.

use std::ops::Range;

use super::field::{self, Field};

/// One part and those in it. Ranges are octets of the message.
#[derive(Debug)]
pub(super) struct Node {
    /// Its fields, without the empty line after them.
    pub header: Range<usize>,
    /// What follows the empty line, without the line end that belongs to the next boundary.
    pub body: Range<usize>,
    /// `text/plain`, lower case.
    pub kind: String,
    /// Parameters of `Content-Type`: names in lower case, values as they are without their quotes.
    pub params: Vec<(String, Vec<u8>)>,
    /// `Content-Transfer-Encoding`, lower case; `7bit` if there is none.
    pub encoding: String,
    /// Whether it is offered for saving.
    pub attachment: bool,
    /// Of a multipart; else empty.
    pub children: Vec<Self>,
}

/// Why a message is not read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum NotRead {
    /// A line end that is no CRLF.
    #[error("a line end is no CRLF")]
    LineEnd,
    /// A header line that is no field, or a header without an end.
    #[error("a header line is no field, or a header does not end")]
    Header,
    /// A field that says what the part is stands there twice, or cannot be understood.
    #[error("a field that says what a part is stands there twice, or cannot be understood")]
    Field,
    /// A boundary that is missing, repeated, or begins like another.
    #[error("a boundary is missing, repeated, or begins like another")]
    Boundary,
    /// Too deep, or too many parts.
    #[error("there are too many parts, or they lie too deep")]
    Limit,
}

impl NotRead {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::LineEnd => "unreadable-line-end",
            Self::Header => "unreadable-header",
            Self::Field => "unreadable-field",
            Self::Boundary => "unreadable-boundary",
            Self::Limit => "unreadable-limit",
        }
    }
}

/// Reads a whole message.
pub(super) fn read(octets: &[u8]) -> Result<Node, NotRead> {
    check_line_ends(octets)?;
    let mut reader = Reader {
        octets,
        at: 0,
        parts: 0,
    };
    let mut around = Vec::new();
    match reader.part("text/plain", &mut around)? {
        (node, End::Octets) => Ok(node),
        (_, End::Delimiter { .. }) => Err(NotRead::Boundary),
    }
}

impl Node {
    /// The value of a parameter of `Content-Type`.
    pub(super) fn param(&self, name: &str) -> Option<&[u8]> {
        let found = self.params.iter().find(|(this, _)| this == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// Whether it is text that programs show.
    pub(super) fn is_text(&self) -> bool {
        self.kind == "text/plain" || self.kind == "text/html"
    }

    /// All parts, itself first, in the order in which they stand.
    pub(super) fn all(&self) -> Vec<&Self> {
        let mut nodes = vec![self];
        for child in &self.children {
            nodes.extend(child.all());
        }
        nodes
    }
}

/// What ended a part.
enum End {
    /// The end of the message.
    Octets,
    /// The boundary line of the multipart at this level, the outermost being 0.
    Delimiter { level: usize, close: bool },
}

struct Reader<'m> {
    octets: &'m [u8],
    at: usize,
    parts: usize,
}

impl<'m> Reader<'m> {
    /// Reads a part up to the boundary line that ends it. `around` are the boundaries of the multiparts
    /// that it lies in.
    fn part(&mut self, default: &str, around: &mut Vec<Vec<u8>>) -> Result<(Node, End), NotRead> {
        self.parts += 1;
        if self.parts > PARTS_MAX || around.len() > DEPTH_MAX {
            return Err(NotRead::Limit);
        }
        let mut node = self.header(default, around)?;
        let is_multipart = node.kind.starts_with("multipart/");
        let plain = matches!(node.encoding.as_str(), "7bit" | "8bit" | "binary");
        if !plain && (is_multipart || node.kind.starts_with("message/")) {
            return Err(NotRead::Field);
        }
        let end = match is_multipart {
            true => self.multipart(&mut node, around)?,
            false => self.skip(around)?,
        };
        node.body.end = match &end {
            End::Octets => self.octets.len(),
            End::Delimiter { .. } => self.before_last_line(),
        }
        .max(node.body.start);
        Ok((node, end))
    }

    /// Reads the fields of a part and the empty line after them.
    fn header(&mut self, default: &str, around: &[Vec<u8>]) -> Result<Node, NotRead> {
        let start = self.at;
        loop {
            let line_start = self.at;
            let line = self.line().ok_or(NotRead::Header)?;
            if delimiter(line, around)?.is_some() {
                return Err(NotRead::Header);
            }
            if line == b"\r\n" {
                let fields = field::fields(&self.octets[start..line_start]);
                let fields = fields.ok_or(NotRead::Header)?;
                let mut node = described(&fields, default)?;
                node.header = start..line_start;
                node.body = self.at..self.at;
                return Ok(node);
            }
        }
    }

    /// Reads the parts of a multipart and what stands around them.
    fn multipart(&mut self, node: &mut Node, around: &mut Vec<Vec<u8>>) -> Result<End, NotRead> {
        let boundary = node.param("boundary").ok_or(NotRead::Boundary)?.to_vec();
        let fits = (1..=70).contains(&boundary.len()) && !boundary.ends_with(b" ");
        let alike = |other: &Vec<u8>| other.starts_with(&boundary) || boundary.starts_with(other);
        if !fits || around.iter().any(alike) {
            return Err(NotRead::Boundary);
        }
        let own = around.len();
        around.push(boundary);
        let mut end = self.skip(around)?;
        let default = match node.kind.as_str() {
            "multipart/digest" => "message/rfc822",
            _ => "text/plain",
        };
        loop {
            match end {
                End::Delimiter { level, close } if level == own => {
                    if close {
                        break;
                    }
                }
                // The part around it ended, or the message did, before its close delimiter.
                _ => return Err(NotRead::Boundary),
            }
            let (child, ended) = self.part(default, around)?;
            node.children.push(child);
            end = ended;
        }
        if node.children.is_empty() {
            return Err(NotRead::Boundary);
        }
        let end = self.skip(around)?; // the epilogue
        around.pop();
        match end {
            End::Delimiter { level, .. } if level == own => Err(NotRead::Boundary),
            end => Ok(end),
        }
    }

    /// Passes over lines up to a boundary line, which is taken.
    fn skip(&mut self, around: &[Vec<u8>]) -> Result<End, NotRead> {
        while let Some(line) = self.line() {
            if let Some(end) = delimiter(line, around)? {
                return Ok(end);
            }
        }
        Ok(End::Octets)
    }

    /// Takes a line with its line end.
    fn line(&mut self) -> Option<&'m [u8]> {
        let rest = &self.octets[self.at..];
        if rest.is_empty() {
            return None;
        }
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        self.at += length;
        Some(&rest[..length])
    }

    /// Where the line before the one just taken ends, without its line end.
    fn before_last_line(&self) -> usize {
        let taken = &self.octets[..self.at];
        let without_end = taken.strip_suffix(b"\r\n").unwrap_or(taken);
        let line = memchr::memrchr(b'\n', without_end).map_or(0, |at| at + 1);
        line.saturating_sub(2)
    }
}

/// What boundary line this is, if it is one. A line that begins like one and goes on is refused.
fn delimiter(line: &[u8], around: &[Vec<u8>]) -> Result<Option<End>, NotRead> {
    let Some(rest) = line.strip_prefix(b"--") else {
        return Ok(None);
    };
    let mut found = None;
    for (level, boundary) in around.iter().enumerate() {
        let Some(after) = rest.strip_prefix(boundary.as_slice()) else {
            continue;
        };
        let (close, after) = match after.strip_prefix(b"--") {
            Some(after) => (true, after),
            None => (false, after),
        };
        let blank = after.iter().all(|octet| b" \t\r\n".contains(octet));
        if !blank || found.is_some() {
            return Err(NotRead::Boundary);
        }
        found = Some(End::Delimiter { level, close });
    }
    Ok(found)
}

/// Every line ends in CRLF, and neither octet stands alone (RFC 5321 §2.3.8); the last may have no end.
fn check_line_ends(octets: &[u8]) -> Result<(), NotRead> {
    let lone_lf = memchr::memchr_iter(b'\n', octets).any(|at| at == 0 || octets[at - 1] != b'\r');
    let lone_cr = memchr::memchr_iter(b'\r', octets).any(|at| octets.get(at + 1) != Some(&b'\n'));
    match lone_lf || lone_cr {
        true => Err(NotRead::LineEnd),
        false => Ok(()),
    }
}

/// A part by its fields, without its place.
fn described(fields: &[Field<'_>], default: &str) -> Result<Node, NotRead> {
    let (kind, params) = match single(fields, "content-type")? {
        Some(value) => field::media_type(value).ok_or(NotRead::Field)?,
        None => (default.to_owned(), Vec::new()),
    };
    let encoding = match single(fields, "content-transfer-encoding")? {
        Some(value) => field::word(value).ok_or(NotRead::Field)?,
        None => "7bit".to_owned(),
    };
    let attachment = match single(fields, "content-disposition")? {
        Some(value) => field::word(value).ok_or(NotRead::Field)? != "inline",
        None => false,
    };
    Ok(Node {
        header: 0..0,
        body: 0..0,
        kind,
        params,
        encoding,
        attachment,
        children: Vec::new(),
    })
}

/// The body of a field that may stand there once.
fn single<'m>(fields: &[Field<'m>], name: &str) -> Result<Option<&'m [u8]>, NotRead> {
    let mut found = fields.iter().filter(|field| field.is(name));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(NotRead::Field),
        (field, _) => Ok(field.map(|field| field.value)),
    }
}

/// Deepest nesting of multiparts that is read.
const DEPTH_MAX: usize = 64;
/// Most parts that are read.
const PARTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The tree as words: `multipart/mixed(text/plain image/png)`.
    fn outline(node: &Node) -> String {
        let children: Vec<String> = node.children.iter().map(outline).collect();
        match children.is_empty() {
            true => node.kind.clone(),
            false => format!("{}({})", node.kind, children.join(" ")),
        }
    }

    fn read_lf(message: &str) -> Result<Node, NotRead> {
        read(message.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn messages_are_trees() {
        for (message, expected) in [
            ("Subject: x\n\nhello", "text/plain"),
            ("\n", "text/plain"),
            (
                "Content-Type: Multipart/Mixed; boundary=\"a b\" (x)\n\npre\n--a b\nContent-Type: IMAGE/png\n\n--a b-- \nend",
                "multipart/mixed(image/png)",
            ),
            (
                "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html\n\ny\n--b--\n--a\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=never\n\n--a--\n",
                "multipart/mixed(multipart/alternative(text/plain text/html) message/rfc822)",
            ),
            (
                "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n\n--a--",
                "multipart/digest(message/rfc822)",
            ),
        ] {
            assert_eq!(
                read_lf(message).map(|node| outline(&node)),
                Ok(expected.into()),
                "{message}"
            );
        }
    }

    #[test]
    fn parts_lie_where_they_stand() {
        let message = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nX: y\r\n\r\none\r\n\r\n--a\r\n\r\n--a--\r\n";
        let node = read(message).unwrap();
        assert_eq!(&message[node.children[0].header.clone()], b"X: y\r\n");
        assert_eq!(&message[node.children[0].body.clone()], b"one\r\n");
        assert_eq!(&message[node.children[1].body.clone()], b"");
    }

    #[test]
    fn what_could_be_taken_in_two_ways_is_not_read() {
        let mixed = |parts: &str| format!("Content-Type: multipart/mixed; boundary=a\n\n{parts}");
        for (message, expected) in [
            ("no header".to_owned(), NotRead::Header),
            ("no header\n\n".to_owned(), NotRead::Header),
            (" folded first\n\n".to_owned(), NotRead::Header),
            ("Subject: x".to_owned(), NotRead::Header),
            ("Content-Type: text/plain\nContent-type: text/html\n\n".to_owned(), NotRead::Field),
            ("Content-Type: text\n\n".to_owned(), NotRead::Field),
            ("Content-Type: text/plain; a=b; A=c\n\n".to_owned(), NotRead::Field),
            ("Content-Type: text/plain; name=a b\n\n".to_owned(), NotRead::Field),
            ("Content-Type: multipart/mixed\n\n".to_owned(), NotRead::Boundary),
            (mixed("no boundary"), NotRead::Boundary),
            (mixed("--a\n\nx"), NotRead::Boundary),
            (mixed("--a--\n"), NotRead::Boundary),
            (mixed("--a\n\nx\n--ab\n--a--\n"), NotRead::Boundary),
            (mixed("--a\n\nx\n--a--\n--a\n"), NotRead::Boundary),
            (mixed("--a\nX: y\n--a--\n"), NotRead::Header),
            (
                mixed("--a\nContent-Type: multipart/mixed; boundary=ab\n\n--ab\n\n--ab--\n--a--\n"),
                NotRead::Boundary,
            ),
            (
                mixed("--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--a--\n"),
                NotRead::Boundary,
            ),
            (
                "Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: base64\n\n--a\n\n--a--\n".to_owned(),
                NotRead::Field,
            ),
        ] {
            assert_eq!(read_lf(&message).err(), Some(expected), "{message}");
        }
        for octets in [&b"A: b\n\r\n"[..], b"A: b\r\n\r\nx\ry", b"A: b\r\n\r\n\r"] {
            assert_eq!(read(octets).err(), Some(NotRead::LineEnd));
        }
    }

    #[test]
    fn depth_and_parts_have_a_limit() {
        let nested: String = (0..70)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=q{n}q\n\n--q{n}q\n"))
            .collect();
        assert_eq!(read_lf(&nested).err(), Some(NotRead::Limit));
        let wide = format!(
            "Content-Type: multipart/mixed; boundary=a\n\n{}",
            "--a\n\n".repeat(10_001)
        );
        assert_eq!(read_lf(&wide).err(), Some(NotRead::Limit));
    }

    proptest! {
        #[test]
        fn any_lines_are_read_or_refused(lines in proptest::collection::vec(prop::sample::select(vec![
            "Content-Type: multipart/mixed; boundary=a\r\n", "Content-Type: multipart/mixed; boundary=\"ab\"\r\n",
            "\r\n", "--a\r\n", "--a--\r\n", "--ab\r\n", "--ab--\r\n", "x\r\n", " y\r\n", "X: y\r\n", "--", "\n",
        ]), 0..20)) {
            let octets = lines.concat().into_bytes();
            if let Ok(node) = read(&octets) {
                for part in node.all() {
                    prop_assert!(part.header.end <= part.body.start && part.body.end <= octets.len());
                }
            }
        }
    }
}
