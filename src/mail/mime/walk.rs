//! The walk over the octets of a message: one pass, no recursion, nothing copied.
//!
//! A boundary line ends whatever lies deeper than the multipart that it belongs to (RFC 2046
//! §5.1.2), so the walk keeps the multiparts that are open and tries each line that begins with two
//! hyphens against them, the innermost first.

use std::ops::Range;

use memchr::memmem;

use super::field::{self, WordAndParams};
use super::part::{ContentType, Disposition, Encoding, Oddity, Part};
use super::{DEPTH_MAX, MimeError, PARTS_MAX};
use crate::mail::header::Header;

/// Returns the parts, depth first, the message itself first.
pub(super) fn walk(octets: &[u8]) -> Result<Vec<Part>, MimeError> {
    let mut walker = Walker {
        octets,
        line_hyphens: memmem::Finder::new(b"\n--"),
        parts: Vec::new(),
        unfinished: Vec::new(),
        open: Vec::new(),
        entries: 0,
    };
    let mut at = walker.begin_part(0)?;
    while let Some(line) = walker.next_delimiter(at) {
        at = walker.cross(line)?;
    }
    walker.finish();
    Ok(walker.parts)
}

struct Walker<'m> {
    octets: &'m [u8],
    line_hyphens: memmem::Finder<'static>,
    parts: Vec<Part>,
    /// Parts whose end is not known yet, outermost first.
    unfinished: Vec<usize>,
    /// Multiparts that are open, outermost first.
    open: Vec<Open>,
    /// Leaves seen in the attached message that the walk is in.
    entries: usize,
}

/// A multipart that is open.
struct Open {
    part: usize,
    boundary: Vec<u8>,
    /// Parts begun in it.
    children: usize,
    closed: bool,
}

/// A boundary line.
struct Delimiter {
    /// The index in `open` of the multipart it belongs to.
    level: usize,
    line: Range<usize>,
    close: bool,
}

/// What a line that begins like a boundary is.
enum Likeness {
    No,
    Prefix,
    Delimiter { close: bool },
}

impl Walker<'_> {
    /// Begins the part at `start` and, if that is a message, the one in it. Returns where the first
    /// body begins that is no message.
    fn begin_part(&mut self, start: usize) -> Result<usize, MimeError> {
        let mut start = start;
        loop {
            let (header, body) = self.header_at(start);
            let index = self.parts.len();
            let (part, boundary) = self.read_part(header, body);
            if index >= PARTS_MAX {
                return Err(MimeError::TooManyParts);
            }
            if part.depth > DEPTH_MAX {
                return Err(MimeError::TooDeep);
            }
            start = part.body.start;
            let opens_message = part.is_message() && part.encoding.is_identity();
            if let Some(parent) = part.parent {
                self.parts[parent].has_children = true;
            }
            self.parts.push(part);
            self.unfinished.push(index);
            if let Some(boundary) = boundary {
                self.open_multipart(index, boundary);
                return Ok(start);
            }
            if !opens_message {
                self.count_entry(index);
                return Ok(start);
            }
            if self.parts[index].within_message.is_none() {
                self.entries = 0;
            }
        }
    }

    /// Finds the header of the part at `start`: its fields, and where its body begins.
    fn header_at(&self, start: usize) -> (Range<usize>, (usize, bool)) {
        let mut at = start;
        while at < self.octets.len() {
            let next = self.line_end(at);
            match &self.octets[at..next] {
                b"\n" | b"\r\n" => return (start..at, (next, true)),
                line if line.starts_with(b"--") && self.delimiter_at(at).is_some() => {
                    return (start..at, (at, false));
                }
                _ => at = next,
            }
        }
        (start..at, (at, false))
    }

    fn line_end(&self, at: usize) -> usize {
        memchr::memchr(b'\n', &self.octets[at..]).map_or(self.octets.len(), |lf| at + lf + 1)
    }

    /// Reads the fields of a part; its place among the others follows from the state of the walk.
    fn read_part(
        &mut self,
        header: Range<usize>,
        (body, finished): (usize, bool),
    ) -> (Part, Option<Vec<u8>>) {
        let fields = Header::parse(&self.octets[header.clone()]);
        let mut part = self.place_of_next();
        part.header = header.clone();
        part.body = body..body;
        part.preamble = body..body;
        part.epilogue = body..body;
        if malformed_lines(&fields, &self.octets[header], part.parent.is_none()) {
            part.note(Oddity::MalformedHeader);
        }
        if !finished {
            part.note(Oddity::UnfinishedHeader);
        }
        part.encoding = encoding(&fields, &mut part.oddities);
        part.disposition = disposition(&fields, &mut part.oddities);
        let parent = part.parent.map(|parent| &self.parts[parent]);
        let in_digest = parent.is_some_and(|parent| parent.is("multipart", "digest"));
        let boundary = content_type(&fields, in_digest, &mut part);
        let boundary = usable_boundary(&mut part, boundary);
        if part.parent.is_none() && boundary.is_none() {
            part.number = "1".to_owned();
        }
        (part, boundary)
    }

    /// Returns a part that has nothing yet but its place: it lies in the innermost part that is
    /// unfinished.
    fn place_of_next(&self) -> Part {
        let mut part = Part::unplaced();
        let Some(&index) = self.unfinished.last() else {
            return part;
        };
        let parent = &self.parts[index];
        part.parent = Some(index);
        part.depth = parent.depth + 1;
        part.within_message = match parent.within_message {
            None if parent.is_message() => Some(index),
            within => within,
        };
        let nth = self.open.last().map_or(1, |open| open.children);
        part.number = match (part.within_message, parent.number.as_str()) {
            (Some(_), number) => number.to_owned(),
            (None, "") => nth.to_string(),
            (None, number) => format!("{number}.{nth}"),
        };
        part
    }

    fn count_entry(&mut self, index: usize) {
        if self.parts[index].within_message.is_some() {
            self.entries += 1;
            self.parts[index].entry = Some(self.entries);
        }
    }

    /// Opens a multipart; its boundary is held against those around it.
    fn open_multipart(&mut self, part: usize, boundary: Vec<u8>) {
        for around in &self.open {
            if around.boundary == boundary {
                self.parts[part].note(Oddity::ReusedBoundary);
            } else if around.boundary.starts_with(&boundary)
                || boundary.starts_with(&around.boundary)
            {
                self.parts[part].note(Oddity::PrefixBoundary);
            }
        }
        self.open.push(Open {
            part,
            boundary,
            children: 0,
            closed: false,
        });
    }

    /// Finds the next boundary line at or after `at`, which is the start of a line.
    fn next_delimiter(&mut self, at: usize) -> Option<Delimiter> {
        let mut at = at;
        while !self.open.is_empty() {
            if self.octets[at..].starts_with(b"--") {
                match self.delimiter_at(at) {
                    Some(line) => return Some(line),
                    None => self.note_likeness(at),
                }
            }
            at += self.line_hyphens.find(&self.octets[at..])? + 1;
        }
        None
    }

    /// Reads the line at `at` as the boundary line of a multipart that is open, the innermost first.
    fn delimiter_at(&self, at: usize) -> Option<Delimiter> {
        let line = at..self.line_end(at);
        let octets = &self.octets[line.clone()];
        let open = self.open.iter().enumerate().rev();
        open.filter(|(_, open)| !open.closed)
            .find_map(|(level, open)| match likeness(octets, &open.boundary) {
                Likeness::Delimiter { close } => Some(Delimiter {
                    level,
                    line: line.clone(),
                    close,
                }),
                Likeness::Prefix | Likeness::No => None,
            })
    }

    /// Notes what lenient readers may take the line at `at` for.
    fn note_likeness(&mut self, at: usize) {
        let line = &self.octets[at..self.line_end(at)];
        for open in &self.open {
            let oddity = match likeness(line, &open.boundary) {
                Likeness::No => continue,
                Likeness::Prefix => Oddity::PrefixBoundary,
                Likeness::Delimiter { .. } => Oddity::BoundaryAfterClose,
            };
            self.parts[open.part].note(oddity);
        }
    }

    /// Takes a boundary line: ends what lies deeper, and begins the next part or the epilogue.
    /// Returns where the walk goes on.
    fn cross(&mut self, delimiter: Delimiter) -> Result<usize, MimeError> {
        let Delimiter { level, line, close } = delimiter;
        self.close_deeper(level + 1);
        let index = self.open[level].part;
        let mut end = self.before_line(line.start);
        while self.unfinished.last().is_some_and(|last| *last != index) {
            end = self.end_last(end);
        }
        if self.open[level].children == 0 {
            let part = &mut self.parts[index];
            part.preamble.end = end.max(part.preamble.start);
        }
        if close {
            self.open[level].closed = true;
            self.parts[index].epilogue.start = line.end;
            return Ok(line.end);
        }
        self.open[level].children += 1;
        self.begin_part(line.end)
    }

    /// Forgets the multiparts from `level` inward, which end here, closed or not.
    fn close_deeper(&mut self, level: usize) {
        for open in self.open.drain(level..) {
            if !open.closed {
                let oddity = match open.children {
                    0 => Oddity::BoundaryNotFound,
                    _ => Oddity::MissingClose,
                };
                self.parts[open.part].note(oddity);
                if open.children == 0 {
                    self.parts[open.part].preamble.end = usize::MAX; // cut to the body when that ends
                }
            }
        }
    }

    /// Returns where the line before the one at `at` ends, without its line end.
    fn before_line(&self, at: usize) -> usize {
        match &self.octets[..at] {
            [.., b'\r', b'\n'] => at - 2,
            [.., b'\n'] => at - 1,
            _ => at,
        }
    }

    /// Ends the innermost part that is unfinished, at `end` or after an empty body. Returns where.
    fn end_last(&mut self, end: usize) -> usize {
        let Some(index) = self.unfinished.pop() else {
            return end;
        };
        let part = &mut self.parts[index];
        part.body.end = end.max(part.body.start);
        part.preamble.end = part.preamble.end.min(part.body.end);
        if part.epilogue.start > part.body.start {
            part.epilogue.start = part.epilogue.start.min(part.body.end);
            part.epilogue.end = part.body.end;
        }
        part.body.end
    }

    /// Ends everything at the end of the octets.
    fn finish(&mut self) {
        self.close_deeper(0);
        while !self.unfinished.is_empty() {
            self.end_last(self.octets.len());
        }
    }
}

/// Tells whether a line is the boundary line of this boundary; white space may follow (RFC 2046
/// §5.1.1).
fn likeness(line: &[u8], boundary: &[u8]) -> Likeness {
    let Some(rest) = line
        .strip_prefix(b"--")
        .and_then(|rest| rest.strip_prefix(boundary))
    else {
        return Likeness::No;
    };
    match rest.strip_prefix(b"--").unwrap_or(rest).trim_ascii() {
        b"" => Likeness::Delimiter {
            close: rest.starts_with(b"--"),
        },
        _ => Likeness::Prefix,
    }
}

/// Whether there are lines that are no field. The envelope line of an mbox file at the very top is
/// one that readers know.
fn malformed_lines(fields: &Header<'_>, octets: &[u8], top: bool) -> bool {
    let envelope_line = top && (octets.starts_with(b"From ") || octets.starts_with(b">From "));
    fields.malformed_lines() > usize::from(envelope_line)
}

/// The body of a field that a part has once. The first one counts.
fn single<'h>(fields: &Header<'h>, name: &str, oddities: &mut Vec<Oddity>) -> Option<&'h [u8]> {
    let mut all = fields.all(name);
    let first = all.next()?;
    if all.next().is_some() {
        oddities.push(Oddity::DuplicateField);
    }
    Some(first.raw_value())
}

/// Reads `Content-Type` into the part and returns the boundary parameter.
fn content_type(fields: &Header<'_>, in_digest: bool, part: &mut Part) -> Option<Vec<u8>> {
    let Some(body) = single(fields, "Content-Type", &mut part.oddities) else {
        if in_digest {
            part.content_type = ContentType::new("message", "rfc822");
        }
        return None;
    };
    let WordAndParams {
        word,
        params,
        boundary,
        oddities,
    } = field::parse(body);
    part.oddities.extend(oddities);
    match word.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
            part.content_type = ContentType::new(kind, subtype);
        }
        _ => part.oddities.push(Oddity::MalformedType), // RFC 2045 §5.2: text/plain
    }
    part.content_type.params = params;
    boundary
}

/// Whether this is a token (RFC 2045 §5.1).
fn is_token(text: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&octet);
    !text.is_empty() && text.bytes().all(allowed)
}

fn encoding(fields: &Header<'_>, oddities: &mut Vec<Oddity>) -> Encoding {
    let Some(body) = single(fields, "Content-Transfer-Encoding", oddities) else {
        return Encoding::SevenBit;
    };
    let word = field::parse(body).word;
    match word.as_str() {
        "7bit" | "7-bit" | "" => Encoding::SevenBit,
        "8bit" | "8-bit" => Encoding::EightBit,
        "binary" => Encoding::Binary,
        "quoted-printable" => Encoding::QuotedPrintable,
        "base64" => Encoding::Base64,
        _ => Encoding::Other(word),
    }
}

fn disposition(fields: &Header<'_>, oddities: &mut Vec<Oddity>) -> Option<Disposition> {
    let body = single(fields, "Content-Disposition", oddities)?;
    let WordAndParams { word, params, .. } = field::parse(body);
    Some(Disposition { kind: word, params })
}

/// The boundary to look for, if the part is a multipart that can be opened.
fn usable_boundary(part: &mut Part, boundary: Option<Vec<u8>>) -> Option<Vec<u8>> {
    if !part.is_multipart() && !part.is_message() {
        return None;
    }
    if !part.encoding.is_identity() {
        part.note(Oddity::EncodedComposite);
        return None;
    }
    if !part.is_multipart() {
        return None;
    }
    let mut boundary = boundary.unwrap_or_default();
    let length = boundary.trim_ascii_end().len();
    if length == 0 || length != boundary.len() || length > BOUNDARY_MAX {
        part.note(Oddity::BadBoundary);
    }
    boundary.truncate(length);
    (length > 0).then_some(boundary)
}

/// Longest boundary, in octets (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;
