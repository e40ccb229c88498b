//! Changes within base64: whole groups of four digits are written anew, and nothing else.

use std::ops::Range;

use super::change::{OctetChange, RawChange};
use super::encode;

/// Octets that are written anew: from one group of three to another.
struct Region {
    groups: Range<usize>,
    changes: Range<usize>,
}

/// Returns the splices of the digits. Where a count of octets would move all that follow, spaces are put into
/// the last change of the region.
pub(super) fn splices(
    raw: &[u8],
    decoded: &[u8],
    changes: &mut [OctetChange],
    eol: &str,
) -> Vec<RawChange> {
    let regions = regions(changes);
    let groups: Vec<usize> = regions
        .iter()
        .flat_map(|region| [region.groups.start, region.groups.end])
        .collect();
    let places = places(raw, &groups);
    let pairs = regions.iter().zip(places.chunks_exact(2));
    pairs
        .map(|(region, places)| {
            let octets = octets(decoded, region, &mut changes[region.changes.clone()]);
            let at = places[0].0..match region.groups.is_empty() {
                true => places[0].0,
                false => places[1].1,
            };
            RawChange {
                makes: region.changes.clone(),
                with: between(
                    &raw[..at.start],
                    &raw[at.clone()],
                    &raw[at.end..],
                    &octets,
                    eol,
                ),
                at,
            }
        })
        .collect()
}

/// Changes that touch the same group are written together.
fn regions(changes: &[OctetChange]) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for (number, change) in changes.iter().enumerate() {
        let groups = change.at.start / 3..change.at.end.div_ceil(3);
        match regions.last_mut() {
            Some(last) if groups.start <= last.groups.end => {
                last.groups.end = last.groups.end.max(groups.end);
                last.changes.end = number + 1;
            }
            _ => regions.push(Region {
                groups,
                changes: number..number + 1,
            }),
        }
    }
    regions
}

/// The octets of a region with its changes made.
fn octets(decoded: &[u8], region: &Region, changes: &mut [OctetChange]) -> Vec<u8> {
    let upto = decoded.len().min(region.groups.end * 3);
    let from = decoded.len().min(region.groups.start * 3);
    let kept = upto - from;
    let gone: usize = changes.iter().map(|change| change.at.len()).sum();
    let come: usize = changes.iter().map(|change| change.with.len()).sum();
    // Into a text that is empty a footer may go as well, behind this.
    let is_last = upto == decoded.len() && !decoded.is_empty();
    if let Some(last) = changes.last_mut()
        && !is_last
    {
        let more = (3 - (kept + come - gone) % 3) % 3;
        let pad = last.pad.min(last.with.len());
        last.with.splice(pad..pad, std::iter::repeat_n(b' ', more));
    }
    let mut out = Vec::with_capacity(kept + come + 2);
    let mut at = from;
    for change in changes {
        out.extend_from_slice(&decoded[at..change.at.start]);
        out.extend_from_slice(&change.with);
        at = change.at.end;
    }
    out.extend_from_slice(&decoded[at..upto]);
    out
}

/// For each of the groups, given in their order: where its first digit stands, and the end of the last digit
/// before it.
fn places(raw: &[u8], groups: &[usize]) -> Vec<(usize, usize)> {
    let mut found = Vec::with_capacity(groups.len());
    let (mut digits, mut end) = (0, 0);
    for (at, octet) in raw.iter().enumerate() {
        if octet.is_ascii_whitespace() {
            continue;
        }
        while groups
            .get(found.len())
            .is_some_and(|group| group * 4 == digits)
        {
            found.push((at, end));
        }
        digits += 1;
        end = at + 1;
    }
    found.resize(groups.len(), (end, end));
    found
}

/// Writes digits between others: in the line if they fill the same place, on lines of their own if not.
fn between(before: &[u8], old: &[u8], after: &[u8], octets: &[u8], eol: &str) -> Vec<u8> {
    let digits = encode::base64(octets, encode::LINE_MAX, eol);
    if digits.len() == old.len() && !old.contains(&b'\n') && !digits.contains(&b'\n')
        || digits.is_empty()
    {
        return digits;
    }
    let mut out = Vec::with_capacity(digits.len() + 4);
    if !(before.is_empty() || before.ends_with(b"\n")) {
        out.extend_from_slice(eol.as_bytes());
    }
    out.extend_from_slice(&digits);
    let ends_line = after.is_empty() && !(before.is_empty() && old.is_empty());
    if !ends_line && !after.starts_with(b"\r") && !after.starts_with(b"\n") {
        out.extend_from_slice(eol.as_bytes());
    }
    out
}
