//! The reader that nobody here wrote: `mail-parser`.
//!
//! What it sees before and after must be the same message but for the additions; and before the edit it
//! must see the parts where the strict reader sees them. Long stretches of parts that no edit touches
//! are left out of what it is given, the same on both sides: they hold no two hyphens in a row, so no
//! reader finds a boundary in them, and so a large attachment is neither copied nor decoded.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders as _, PartType};
use memchr::memmem;

use super::Change;
use super::reader::Node;

/// Stretches that are left out, in the order in which they lie.
pub(super) type Cuts = Vec<Range<usize>>;

static PARSER: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .with_mime_headers()
        .default_header_ignore()
});

/// Long stretches of the leaves that are not changed.
pub(super) fn cuts(octets: &[u8], nodes: &[&Node], changed: impl Fn(usize) -> bool) -> Cuts {
    let mut cuts = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if node.children.is_empty() && node.body.len() > CUT_MIN && !changed(index) {
            cut_leaf(octets, node.body.clone(), &mut cuts);
        }
    }
    cuts
}

/// Whole lines between two places with hyphens; some are kept at both ends.
fn cut_leaf(octets: &[u8], body: Range<usize>, cuts: &mut Cuts) {
    let hyphens = memmem::find_iter(&octets[body.clone()], b"--").map(|at| body.start + at);
    let mut from = body.start;
    for at in hyphens.chain([body.end]) {
        let stretch = from..at;
        from = at;
        if stretch.len() <= CUT_MIN {
            continue;
        }
        let first = stretch.start + KEPT;
        let last = stretch.end - KEPT;
        let start = memchr::memchr(b'\n', &octets[first..last]).map(|at| first + at + 1);
        let end = memchr::memrchr(b'\n', &octets[first..last]).map(|at| first + at + 1);
        if let (Some(start), Some(end)) = (start, end)
            && end - start > CUT_MIN / 2
        {
            cuts.push(start..end);
        }
    }
}

/// The octets without the stretches.
pub(super) fn without(octets: &[u8], cuts: &[Range<usize>]) -> Vec<u8> {
    let cut: usize = cuts.iter().map(Range::len).sum();
    let mut out = Vec::with_capacity(octets.len() - cut);
    let mut from = 0;
    for cut in cuts {
        out.extend_from_slice(&octets[from..cut.start]);
        from = cut.end;
    }
    out.extend_from_slice(&octets[from..]);
    out
}

/// Where an octet lies once the stretches are left out.
fn after_cuts(at: usize, cuts: &[Range<usize>]) -> usize {
    let before = cuts.iter().take_while(|cut| cut.end <= at);
    at - before.map(Range::len).sum::<usize>()
}

/// A message as `mail-parser` has it; `None` where it finds nothing or breaks off.
pub(super) fn read(octets: &[u8]) -> Option<Message<'_>> {
    // It trips over assertions of its own at boundaries that it does not expect.
    catch_unwind(AssertUnwindSafe(|| PARSER.parse(octets)))
        .ok()
        .flatten()
}

/// Whether it sees the parts where the strict reader sees them.
///
/// `octets` are those that it was given.
pub(super) fn agrees(
    octets: &[u8],
    message: &Message<'_>,
    nodes: &[&Node],
    cuts: &[Range<usize>],
) -> bool {
    message.parts.len() == nodes.len()
        && message.parts.iter().zip(nodes).all(|(part, node)| {
            let body = part.offset_body as usize..part.offset_end as usize;
            let expected = after_cuts(node.body.start, cuts)..after_cuts(node.body.end, cuts);
            body.start == expected.start
                && (!node.children.is_empty() || ends_alike(octets, &body, &expected))
                && matches!(part.body, PartType::Multipart(_)) != node.children.is_empty()
                && kind(part, node) == node.kind
        })
}

/// Whether two stretches end alike: readers differ on whether the last line ends belong to them.
fn ends_alike(octets: &[u8], one: &Range<usize>, other: &Range<usize>) -> bool {
    let (first, last) = (one.end.min(other.end), one.end.max(other.end));
    octets
        .get(first..last)
        .is_some_and(|between| between.trim_ascii().is_empty())
}

/// `text/plain`; what holds in the absence of the field is not looked up again.
fn kind(part: &MessagePart<'_>, node: &Node) -> String {
    match part.content_type() {
        Some(kind) => {
            let subtype = kind.subtype().unwrap_or_default();
            format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase()
        }
        None => node.kind.clone(),
    }
}

/// Whether two messages are the same but for what the changes say. `changes` has the changes by part.
pub(super) fn same(
    old: (&[u8], &Message<'_>),
    new: (&[u8], &Message<'_>),
    changes: &[(usize, Change<'_>)],
) -> bool {
    let (one, other) = (&old.1.parts, &new.1.parts);
    if one.len() != other.len() {
        return false;
    }
    one.iter().zip(other).enumerate().all(|(index, pair)| {
        let change = changes.iter().find(|(changed, _)| *changed == index);
        match change {
            Some((_, change)) => is_changed_so(pair, change),
            None => {
                let root = index == 0;
                is_same((pair.0, old.0), (pair.1, new.0), root)
            }
        }
    })
}

fn is_changed_so((one, other): (&MessagePart<'_>, &MessagePart<'_>), change: &Change<'_>) -> bool {
    match (&one.body, &other.body) {
        (PartType::Text(old), PartType::Text(new)) | (PartType::Html(old), PartType::Html(new)) => {
            let is_html = matches!(one.body, PartType::Html(_));
            other.is_encoding_problem == one.is_encoding_problem
                && one.content_disposition() == other.content_disposition()
                && change.makes(old, new, is_html).is_ok()
        }
        _ => false,
    }
}

/// The header of the message itself is the business of the strict reader.
fn is_same(
    (one, old): (&MessagePart<'_>, &[u8]),
    (other, new): (&MessagePart<'_>, &[u8]),
    root: bool,
) -> bool {
    let range = |part: &MessagePart<'_>| part.offset_header as usize..part.offset_body as usize;
    let header = root || old.get(range(one)) == new.get(range(other));
    let body = match (&one.body, &other.body) {
        (PartType::Text(one), PartType::Text(other))
        | (PartType::Html(one), PartType::Html(other)) => one == other,
        (PartType::Binary(one), PartType::Binary(other))
        | (PartType::InlineBinary(one), PartType::InlineBinary(other)) => one == other,
        (PartType::Multipart(one), PartType::Multipart(other)) => one == other,
        // Its octets are held against each other by the strict reader.
        (PartType::Message(one), PartType::Message(other)) => one.parts.len() == other.parts.len(),
        _ => false,
    };
    header
        && body
        && (one.encoding, one.is_encoding_problem) == (other.encoding, other.is_encoding_problem)
        && one.content_type() == other.content_type()
        && one.content_disposition() == other.content_disposition()
}

/// Shortest stretch that is worth leaving out, in octets.
const CUT_MIN: usize = 2048;
/// So much is kept of a stretch at either end, in octets.
const KEPT: usize = 256;
