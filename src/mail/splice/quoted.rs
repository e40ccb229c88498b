//! Changes within quoted-printable: what stands in the lines stays as it is written, and lines that would grow
//! too long are broken (RFC 2045 §6.7 rule 5).

use std::ops::Range;

use super::change::{OctetChange, RawChange, line_length, line_start};
use super::encode;
use crate::mail::mime;

/// Returns the splices of the octets as they are written.
pub(super) fn splices(raw: &[u8], changes: &[OctetChange], eol: &str) -> Vec<RawChange> {
    let ranges = ranges(raw, changes);
    let mut all = Vec::new();
    let mut from = 0;
    while from < changes.len() {
        // Changes of one line are written together, since they share its width.
        let mut to = from + 1;
        while to < changes.len() && line_start(raw, ranges[to].start) <= ranges[to - 1].end {
            to += 1;
        }
        let with = lines(raw, &ranges[from..to], &changes[from..to], eol);
        all.push(RawChange {
            makes: from..to,
            ..with
        });
        from = to;
    }
    all
}

/// Where the octets that go are written. A soft line break behind the last one stays.
fn ranges(raw: &[u8], changes: &[OctetChange]) -> Vec<Range<usize>> {
    let indexes: Vec<usize> = changes
        .iter()
        .flat_map(|change| [change.at.start, change.at.end.max(change.at.start + 1) - 1])
        .collect();
    let offsets = mime::quoted_printable_offsets(raw, &indexes);
    let pairs = offsets.chunks_exact(2).zip(changes);
    pairs
        .map(|(offsets, change)| match change.at.is_empty() {
            true => offsets[0]..offsets[0],
            false => offsets[0]..(offsets[1] + token(&raw[offsets[1]..])).min(raw.len()),
        })
        .collect()
}

/// Writes the lines anew in which changes stand.
fn lines(raw: &[u8], ranges: &[Range<usize>], changes: &[OctetChange], eol: &str) -> RawChange {
    let start = line_start(raw, ranges[0].start);
    let last = ranges[ranges.len() - 1].end;
    let line = last..last + line_length(&raw[last..]);
    // The sign of a soft line break at the end stays where it is.
    let end = match raw[line.clone()].trim_ascii_end() {
        [rest @ .., b'='] => line.start + rest.len(),
        _ => line.end,
    };
    let mut writer = Writer {
        out: Vec::with_capacity(end - start + 64),
        column: 0,
        eol: eol.as_bytes(),
    };
    let mut from = start;
    for (range, change) in ranges.iter().zip(changes) {
        writer.put(&raw[from..range.start]);
        writer.put_encoded(&encode::quoted_printable(&change.with, eol));
        from = range.end;
    }
    writer.put(&raw[from..end]);
    narrowed(raw, start..end, writer.out)
}

/// Leaves out of a splice what is the same before and after.
fn narrowed(raw: &[u8], at: Range<usize>, with: Vec<u8>) -> RawChange {
    let old = &raw[at.clone()];
    let pairs = old.iter().zip(&with);
    let front = pairs.take_while(|(a, b)| a == b).count();
    let pairs = old[front..].iter().rev().zip(with[front..].iter().rev());
    let back = pairs.take_while(|(a, b)| a == b).count();
    RawChange {
        makes: 0..0,
        at: at.start + front..at.end - back,
        with: with[front..with.len() - back].to_vec(),
    }
}

/// Writes what is encoded already, with soft line breaks where they are needed.
struct Writer<'e> {
    out: Vec<u8>,
    column: usize,
    eol: &'e [u8],
}

impl Writer<'_> {
    /// Lines as they stand, with their line ends.
    fn put(&mut self, raw: &[u8]) {
        let mut rest = raw;
        while let Some(first) = rest.first() {
            if *first == b'\n' {
                self.out.push(b'\n');
                self.column = 0;
                rest = &rest[1..];
                continue;
            }
            if rest.starts_with(b"\r\n") || is_soft_break(rest) {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len() - 1);
                self.out.extend_from_slice(&rest[..end]);
                rest = &rest[end..];
                continue;
            }
            let (token, after) = rest.split_at(token(rest).min(rest.len()));
            self.put_token(token);
            rest = after;
        }
    }

    /// What was encoded for lines of its own: soft line breaks in it are not kept.
    fn put_encoded(&mut self, encoded: &[u8]) {
        let mut rest = encoded;
        while !rest.is_empty() {
            if is_soft_break(rest) {
                rest = &rest[1 + self.eol.len()..];
            } else if rest.starts_with(self.eol) {
                if matches!(self.out.last(), Some(b' ' | b'\t')) {
                    self.soft_break(); // a blank before a line end would be lost
                }
                self.out.extend_from_slice(self.eol);
                self.column = 0;
                rest = &rest[self.eol.len()..];
            } else {
                let (token, after) = rest.split_at(token(rest).min(rest.len()));
                self.put_token(token);
                rest = after;
            }
        }
    }

    fn put_token(&mut self, token: &[u8]) {
        if self.column + token.len() >= encode::LINE_MAX {
            self.soft_break();
        }
        self.out.extend_from_slice(token);
        self.column += token.len();
    }

    fn soft_break(&mut self) {
        self.out.push(b'=');
        self.out.extend_from_slice(self.eol);
        self.column = 0;
    }
}

/// How many octets one decoded octet is written in.
fn token(raw: &[u8]) -> usize {
    match raw {
        [b'=', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => 3,
        _ => 1,
    }
}

/// Whether a soft line break stands here: `=`, perhaps blanks, the line end.
fn is_soft_break(raw: &[u8]) -> bool {
    let Some(rest) = raw.strip_prefix(b"=") else {
        return false;
    };
    let blanks = rest
        .iter()
        .take_while(|octet| matches!(octet, b' ' | b'\t' | b'\r'));
    rest.get(blanks.count()) == Some(&b'\n')
}
