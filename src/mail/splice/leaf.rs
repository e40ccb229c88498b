//! One leaf of the body: read without doubt, and spliced in its own charset and encoding.
//!
//! Wherever it can be, the footer is the only thing that is new: it is written in the encoding of the
//! leaf and put in. Base64 is written anew from the line on where the footer falls. The whole leaf is
//! written anew when its charset or its transfer encoding cannot hold the footer.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::fields::{self, Change};
use super::{Footer, NotEdited, encode, html};
use crate::mail::edit::{Edit, EditKind};
use crate::mail::message::Message;
use crate::mail::mime::{self, Charset, Encoding, Part};

/// A leaf of the body, decoded.
pub struct Leaf<'m> {
    pub(super) message: &'m Message,
    pub(super) part: &'m Part,
    pub(super) charset: Charset,
    pub(super) decoded: Cow<'m, [u8]>,
    pub(super) kind: LeafKind,
    /// What it says.
    pub(super) text: String,
    /// What stands in it as HTML, once somebody has asked.
    scan: OnceCell<html::Scan>,
}

/// How a leaf is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LeafKind {
    Text,
    Html,
}

impl std::fmt::Debug for Leaf<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, octets) = (&self.part.number, self.decoded.len());
        write!(f, "Leaf({number} {:?}, {octets} octets)", self.kind)
    }
}

/// The footer as it goes into a leaf.
struct Insertion {
    /// Where, in the decoded text.
    at: usize,
    /// What, with the line ends that set it off.
    block: String,
}

impl<'m> Leaf<'m> {
    /// Decodes a leaf. Errs if there is any doubt about what it says, or if it is inline PGP.
    pub fn read(message: &'m Message, part: &'m Part) -> Result<Self, NotEdited> {
        let raw = part.raw(message.octets());
        let (decoded, clean) = match part.encoding {
            Encoding::Base64 => owned(mime::base64(raw)),
            Encoding::QuotedPrintable => owned(mime::quoted_printable(raw)),
            Encoding::Other(_) => return Err(NotEdited::Undecodable),
            _ => (Cow::Borrowed(raw), true),
        };
        let charset = Charset::of(part.content_type.params.get("charset"));
        let text = charset.decode_strict(&decoded).filter(|_| clean);
        let text = text.ok_or(NotEdited::Undecodable)?.into_owned();
        check_pgp(&text)?;
        let kind = match part.is("text", "html") {
            true => LeafKind::Html,
            false => LeafKind::Text,
        };
        Ok(Self {
            message,
            part,
            charset,
            decoded,
            kind,
            text,
            scan: OnceCell::new(),
        })
    }

    /// What stands in it, read as HTML: once, since it costs more than all else.
    pub(super) fn scan(&self) -> &html::Scan {
        self.scan.get_or_init(|| html::scan(&self.text))
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is HTML.
    pub fn is_html(&self) -> bool {
        self.kind == LeafKind::Html
    }

    /// The part that it is.
    pub fn part(&self) -> &'m Part {
        self.part
    }

    /// Returns the splices that put the footer in.
    pub(super) fn with_footer(&self, footer: &Footer<'_>) -> Result<Vec<Edit>, NotEdited> {
        let says = match self.kind {
            LeafKind::Text => joined(footer.signature_text, footer.text),
            LeafKind::Html => joined(footer.signature_html, footer.html),
        };
        let insertion = match self.kind {
            LeafKind::Text => self.text_insertion(&says),
            LeafKind::Html => self.html_insertion(&says)?,
        };
        let changes = match self.spliced(&insertion) {
            Some(change) => vec![change],
            None => self.rewritten(&insertion)?,
        };
        let body = self.part.body.start;
        let edit = |(at, with): Change| Edit {
            kind: EditKind::Footer,
            part: Some(self.part.number.clone()),
            entity: Some(footer.entity.to_owned()),
            audience: None,
            says: (at.start >= body).then(|| says.clone()),
            takes: Vec::new(),
            at,
            with,
        };
        Ok(changes.into_iter().map(edit).collect())
    }

    /// At the end, on a line of its own.
    fn text_insertion(&self, footer: &str) -> Insertion {
        let eol = self.text_eol();
        let mut block = self.line_end_before(self.text.len()).to_owned();
        let flowed = self.is_flowed();
        if flowed && ends_flowed(&self.text) {
            block.push_str(eol); // an empty line ends the paragraph, or the footer would join it
        }
        for line in footer.lines() {
            if flowed {
                block.push_str(&fixed_line(line));
            } else {
                block.push_str(line);
            }
            block.push_str(eol);
        }
        Insertion {
            at: self.text.len(),
            block,
        }
    }

    /// Whether its lines flow together (RFC 3676).
    pub(super) fn is_flowed(&self) -> bool {
        let format = self.part.content_type.params.get("format");
        format.is_some_and(|format| format.eq_ignore_ascii_case("flowed"))
    }

    /// Before the end of the body, else at the end.
    fn html_insertion(&self, footer: &str) -> Result<Insertion, NotEdited> {
        let scan = self.scan();
        // What stands in a comment or an open tag is shown by no reader.
        let at = match scan.body_end {
            Some(at) => at,
            None if scan.swallowed => return Err(NotEdited::Ambiguous),
            None => self.text.len(),
        };
        let mut block = self.line_end_before(at).to_owned();
        for line in footer.lines() {
            block.push_str(line);
            block.push_str(self.text_eol());
        }
        // The document names its charset itself: it must stay true.
        if scan.names_charset && self.charset.is_ascii_compatible() {
            block =
                html::with_references(&block, |character| self.charset.encode(character).is_some());
        }
        Ok(Insertion { at, block })
    }

    pub(super) fn line_end_before(&self, at: usize) -> &'static str {
        match self.text[..at].chars().next_back() {
            None | Some('\n') => "",
            Some(_) => self.text_eol(),
        }
    }

    /// The line end within the decoded text.
    pub(super) fn text_eol(&self) -> &'static str {
        match memchr::memchr(b'\n', self.text.as_bytes()) {
            Some(0) => "\n",
            Some(at) if self.text.as_bytes()[at - 1] != b'\r' => "\n",
            _ => self.wire_eol(),
        }
    }

    /// The line end of the message.
    pub(super) fn wire_eol(&self) -> &'static str {
        match memchr::memchr(b'\n', self.message.octets()) {
            Some(at) if at == 0 || self.message.octets()[at - 1] != b'\r' => "\n",
            _ => "\r\n",
        }
    }

    /// Puts the footer in and leaves the rest as it stands, if charset and encoding can hold it.
    fn spliced(&self, insertion: &Insertion) -> Option<Change> {
        let block = self.charset.encode(&insertion.block)?;
        let at = self
            .charset
            .octets_of(&self.text[..insertion.at], &self.decoded)?;
        match self.part.encoding {
            Encoding::Base64 => self.spliced_base64(at, &block),
            Encoding::QuotedPrintable => Some(self.spliced_quoted(at, &block)),
            Encoding::SevenBit if !block.is_ascii() => None,
            _ if !has_short_lines(&block) => None,
            _ => {
                let at = self.part.body.start + at;
                Some((at..at, block.into_owned()))
            }
        }
    }

    fn spliced_quoted(&self, at: usize, block: &[u8]) -> Change {
        let raw = self.part.raw(self.message.octets());
        let eol = self.wire_eol();
        let mut offset = match at == self.decoded.len() {
            true => raw.len(), // of text: nothing need be counted
            false => mime::quoted_printable_offset(raw, at),
        };
        if offset == raw.len() {
            offset = raw.trim_ascii_end().len().max(end_of_lines(raw)); // trailing blanks mean nothing
        }
        let join = match raw[..offset].last() {
            None | Some(b'\n') => String::new(),
            Some(b'=') if offset == raw.trim_ascii_end().len() => eol.to_owned(),
            Some(b' ' | b'\t') => format!("={eol}"),
            Some(_) if block.starts_with(eol.as_bytes()) => String::new(),
            Some(_) => format!("={eol}"),
        };
        let with = [join.into_bytes(), encode::quoted_printable(block, eol)].concat();
        let at = self.part.body.start + offset;
        (at..at, with)
    }

    /// Writes anew from the start of the line in which the footer falls.
    fn spliced_base64(&self, at: usize, block: &[u8]) -> Option<Change> {
        let raw = self.part.raw(self.message.octets());
        let (line, decoded_before) = base64_line_before(raw, at);
        let tail = [
            &self.decoded[decoded_before..at],
            block,
            &self.decoded[at..],
        ]
        .concat();
        let digits = encode::base64(&tail, encode::LINE_MAX, self.wire_eol());
        let with = self.ended(digits, self.wire_eol());
        let range = line..raw.len();
        let start = self.part.body.start;
        Some((start + range.start..start + range.end, with))
    }

    /// Writes the whole leaf anew: in UTF-8 if its charset cannot hold the footer, in
    /// quoted-printable if its transfer encoding cannot hold that.
    fn rewritten(&self, insertion: &Insertion) -> Result<Vec<Change>, NotEdited> {
        let eol = self.wire_eol();
        let mut changes = Vec::new();
        let octets = match self.in_own_charset(insertion) {
            Some(octets) => octets,
            None => {
                changes.extend(fields::charset_utf8(self.message, self.part, eol)?);
                let (before, after) = self.text.split_at(insertion.at);
                [before, &insertion.block, after].concat().into_bytes()
            }
        };
        let fits = has_short_lines(&octets);
        let body = match self.part.encoding {
            Encoding::Base64 => encode::base64(&octets, encode::LINE_MAX, eol),
            Encoding::SevenBit if fits && octets.is_ascii() => octets,
            Encoding::EightBit | Encoding::Binary if fits => octets,
            Encoding::QuotedPrintable => encode::quoted_printable(&octets, eol),
            _ => {
                let word = "quoted-printable";
                let versioned = changes
                    .iter()
                    .any(|(_, with)| with.starts_with(b"MIME-Version"));
                let (message, part) = (self.message, self.part);
                changes.push(fields::transfer_encoding(
                    message, part, word, eol, versioned,
                ));
                encode::quoted_printable(&octets, eol)
            }
        };
        changes.push((self.part.body.clone(), self.ended(body, eol)));
        Ok(changes)
    }

    fn in_own_charset(&self, insertion: &Insertion) -> Option<Vec<u8>> {
        let block = self.charset.encode(&insertion.block)?;
        let at = self
            .charset
            .octets_of(&self.text[..insertion.at], &self.decoded)?;
        Some([&self.decoded[..at], &block, &self.decoded[at..]].concat())
    }

    /// Ends a new body in a line end if the old one did, or if it was empty: then the line end before
    /// the boundary is that of the header.
    fn ended(&self, mut body: Vec<u8>, eol: &str) -> Vec<u8> {
        let raw = self.part.raw(self.message.octets());
        if (raw.is_empty() || raw.ends_with(b"\n")) && !body.ends_with(b"\n") {
            body.extend_from_slice(eol.as_bytes());
        }
        body
    }
}

/// A signature, and a footer on the line after it.
fn joined(signature: &str, footer: &str) -> String {
    let between = match signature.is_empty() || signature.ends_with('\n') {
        true => "",
        false => "\n",
    };
    format!("{signature}{between}{footer}")
}

fn owned((octets, clean): (Vec<u8>, bool)) -> (Cow<'static, [u8]>, bool) {
    (Cow::Owned(octets), clean)
}

/// Errs if a line begins PGP armour (RFC 9580 §6.2, §7).
fn check_pgp(text: &str) -> Result<(), NotEdited> {
    for line in text
        .lines()
        .filter(|line| line.starts_with("-----BEGIN PGP "))
    {
        if line.starts_with("-----BEGIN PGP SIGNED MESSAGE") {
            return Err(NotEdited::Signed);
        }
        if line.starts_with("-----BEGIN PGP MESSAGE") {
            return Err(NotEdited::Encrypted);
        }
    }
    Ok(())
}

/// Whether the last line of a flowed text goes on in the next one (RFC 3676 §4.2); the signature
/// separator does not (§4.3).
fn ends_flowed(text: &str) -> bool {
    let last = text.lines().next_back().unwrap_or_default();
    last.ends_with(' ') && last.trim_start_matches('>').trim_start() != "-- " && last != "-- "
}

/// A line that no reader of flowed text joins or unstuffs (RFC 3676 §4.4).
pub(super) fn fixed_line(line: &str) -> Cow<'_, str> {
    if line == "-- " {
        return Cow::Borrowed(line);
    }
    let line = line.trim_end_matches(' ');
    if line.starts_with([' ', '>']) || line.starts_with("From ") {
        return Cow::Owned(format!(" {line}"));
    }
    Cow::Borrowed(line)
}

/// Whether all lines keep to RFC 5322 §2.1.1.
fn has_short_lines(octets: &[u8]) -> bool {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', octets).chain([octets.len()]);
    ends.into_iter().all(|end| {
        let length = end - from;
        from = end + 1;
        length <= LINE_OCTETS_MAX + 1
    })
}

/// Where the last line begins.
fn end_of_lines(raw: &[u8]) -> usize {
    memchr::memrchr(b'\n', raw).map_or(0, |lf| lf + 1)
}

/// Finds the last line of base64 that begins a whole group at or before the decoded octet `at`.
/// Returns where it begins, and how many octets are decoded before it.
fn base64_line_before(raw: &[u8], at: usize) -> (usize, usize) {
    let (mut best, mut digits) = ((0, 0), 0);
    let mut line = 0..0;
    while line.end < raw.len() {
        line.start = line.end;
        line.end =
            memchr::memchr(b'\n', &raw[line.start..]).map_or(raw.len(), |lf| line.start + lf + 1);
        let decoded = digits / 4 * 3;
        if decoded > at {
            break;
        }
        let digits_here = raw[line.clone()]
            .iter()
            .filter(|octet| !octet.is_ascii_whitespace());
        let digits_here = digits_here.count();
        if digits % 4 == 0 && digits_here > 0 {
            best = (line.start, decoded);
        }
        digits += digits_here;
    }
    best
}

/// Longest line, in octets without the line end (RFC 5322 §2.1.1).
pub(super) const LINE_OCTETS_MAX: usize = 998;
