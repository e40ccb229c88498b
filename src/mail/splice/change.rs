//! Words of a leaf replaced by others, in the charset and transfer encoding that the leaf has.
//!
//! Each change is a splice of its own: of the octets of the words alone in text that is not encoded and in
//! quoted-printable, of whole groups of four digits in base64. What came out is decoded again
//! and held against what was meant before it is handed out.

use std::ops::Range;

use super::leaf::{LINE_OCTETS_MAX, Leaf};
use super::{NotEdited, base64, quoted};
use crate::mail::edit::{Edit, EditKind, Taken};
use crate::mail::mime::{self, Encoding};

/// Words that go, and what comes instead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TextChange {
    /// What it is for.
    pub kind: EditKind,
    /// Where, in octets of [`Leaf::text`]. Empty inserts.
    pub at: Range<usize>,
    /// What comes instead: ASCII.
    pub with: String,
    /// Where in `with` up to two more spaces do no harm: base64 may need them.
    pub pad: usize,
    /// What readers are to see that was not there, if it adds something ([`Edit::says`]).
    pub says: Option<String>,
}

/// A change of decoded octets.
#[derive(Clone, Debug)]
pub(super) struct OctetChange {
    pub at: Range<usize>,
    pub with: Vec<u8>,
    pub pad: usize,
}

/// A splice of the octets of a leaf as they stand in the message.
pub(super) struct RawChange {
    /// Which of the changes it makes: those of one line or one group of digits are made together.
    pub makes: Range<usize>,
    pub at: Range<usize>,
    pub with: Vec<u8>,
}

impl TextChange {
    /// What goes, in words; `octets` is what came of it, which may have got more spaces. What only adds takes nothing.
    fn taken(&self, octets: &OctetChange) -> Option<Taken> {
        let with = || String::from_utf8_lossy(&octets.with).into_owned(); // ASCII
        (!self.at.is_empty()).then(|| Taken {
            at: self.at.clone(),
            with: with(),
        })
    }
}

/// What a splice is for that makes several changes: what is taken out matters most.
fn kind_of(changes: &[TextChange]) -> EditKind {
    let takes = changes.iter().find(|change| change.kind == EditKind::Links);
    takes
        .or(changes.first())
        .map_or(EditKind::Banner, |one| one.kind)
}

impl Leaf<'_> {
    /// Returns the splices that make these changes, which come in their order and do not overlap.
    pub fn changed(&self, wanted: &[TextChange]) -> Result<Vec<Edit>, NotEdited> {
        let mut changes = self.in_octets(wanted).ok_or(NotEdited::Undecodable)?;
        let raw = self.part.raw(self.message.octets());
        let raws = match self.part.encoding {
            Encoding::Base64 => base64::splices(raw, &self.decoded, &mut changes, self.wire_eol()),
            Encoding::QuotedPrintable => quoted::splices(raw, &changes, self.wire_eol()),
            _ => identity(raw, &changes)?,
        };
        self.check(raw, &changes, &raws)?;
        let start = self.part.body.start;
        let edit = |raw: RawChange| {
            let made = raw
                .makes
                .clone()
                .map(|index| (&wanted[index], &changes[index]));
            Edit {
                kind: kind_of(&wanted[raw.makes.clone()]),
                part: Some(self.part.number.clone()),
                entity: None,
                audience: None,
                at: start + raw.at.start..start + raw.at.end,
                with: raw.with,
                says: made.clone().find_map(|(change, _)| change.says.clone()),
                takes: made
                    .filter_map(|(change, octets)| change.taken(octets))
                    .collect(),
            }
        };
        Ok(raws.into_iter().map(edit).collect())
    }

    /// The changes in the octets of the charset, counted in one pass.
    fn in_octets(&self, changes: &[TextChange]) -> Option<Vec<OctetChange>> {
        let (mut text_at, mut octet_at) = (0, 0);
        let mut reach = |to: usize| {
            let piece = self.text.get(text_at..to)?;
            octet_at += self
                .charset
                .octets_of(piece, self.decoded.get(octet_at..)?)?;
            text_at = to;
            Some(octet_at)
        };
        let mut all = Vec::with_capacity(changes.len());
        for change in changes {
            let at = reach(change.at.start)?..reach(change.at.end)?;
            let with = change
                .with
                .is_ascii()
                .then(|| self.charset.encode(&change.with))??;
            all.push(OctetChange {
                at,
                with: with.into_owned(),
                pad: change.pad,
            });
        }
        Some(all)
    }

    /// Errs if what will be read is not what was meant.
    fn check(
        &self,
        raw: &[u8],
        changes: &[OctetChange],
        raws: &[RawChange],
    ) -> Result<(), NotEdited> {
        let meant = replaced(&self.decoded, changes.iter().map(|c| (&c.at, &c.with)));
        let written = replaced(raw, raws.iter().map(|c| (&c.at, &c.with)));
        let (Some(meant), Some(written)) = (meant, written) else {
            return Err(NotEdited::Ambiguous); // they overlap
        };
        let (read, clean) = match self.part.encoding {
            Encoding::Base64 => mime::base64(&written),
            Encoding::QuotedPrintable => mime::quoted_printable(&written),
            _ => (written, true),
        };
        // A text that was empty may have got the line end before the boundary.
        let same = read == meant
            || self.decoded.is_empty() && read.trim_ascii_end() == meant.trim_ascii_end();
        (clean && same).then_some(()).ok_or(NotEdited::Undecodable)
    }
}

/// The octets with all changes made; `None` if two of them overlap.
fn replaced<'c>(
    octets: &[u8],
    changes: impl Iterator<Item = (&'c Range<usize>, &'c Vec<u8>)>,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(octets.len() + 64);
    let mut from = 0;
    for (at, with) in changes {
        out.extend_from_slice(octets.get(from..at.start)?);
        out.extend_from_slice(with);
        from = at.end;
    }
    out.extend_from_slice(octets.get(from..)?);
    Some(out)
}

/// Octets that stand as they are.
fn identity(raw: &[u8], changes: &[OctetChange]) -> Result<Vec<RawChange>, NotEdited> {
    let mut all = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let line = line_start(raw, change.at.start);
        let before = change.at.start - line;
        let after = line_length(&raw[change.at.end..]);
        let grows = change.with.len() > change.at.len();
        let mut lines = change.with.split(|octet| *octet == b'\n');
        let first = lines.next().map_or(0, <[u8]>::len);
        let last = lines.next_back().map_or(before + first, <[u8]>::len);
        if grows && (before + first).max(last + after) > LINE_OCTETS_MAX {
            return Err(NotEdited::LongLine);
        }
        all.push(RawChange {
            makes: index..index + 1,
            at: change.at.clone(),
            with: change.with.clone(),
        });
    }
    Ok(all)
}

/// Where the line begins in which this octet stands.
pub(super) fn line_start(raw: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &raw[..at]).map_or(0, |end| end + 1)
}

/// How long a line is, without its end.
pub(super) fn line_length(octets: &[u8]) -> usize {
    let end = memchr::memchr(b'\n', octets).unwrap_or(octets.len());
    octets[..end]
        .strip_suffix(b"\r")
        .unwrap_or(&octets[..end])
        .len()
}
