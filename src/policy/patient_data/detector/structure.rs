//! What the signs right around a number make of it: a telephone number, an amount, part of an address.

use crate::policy::patient_data::candidate::{Candidate, is_invisible};

/// What the signs right around a number make of it, if not an identifier.
pub(super) fn structure_against(text: &str, candidate: &Candidate) -> Option<&'static str> {
    if candidate.dialled {
        return Some("telephone");
    }
    if candidate.part_of_longer {
        return Some("part-of-longer");
    }
    let visible = |c: &char| !is_invisible(*c);
    let before = text[..candidate.start].chars().rev().find(visible);
    let after = text[candidate.end..].chars().find(visible);
    if matches!(before, Some('£' | '$' | '€')) {
        return Some("amount");
    }
    if is_in_url(text, candidate) {
        return Some("url");
    }
    let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic() || c == '#');
    (glued(before) || glued(after)).then_some("glued-letters")
}

/// Whether the word that holds the number is an address of the web or of mail, or a path.
fn is_in_url(text: &str, candidate: &Candidate) -> bool {
    let octets = text.as_bytes();
    let is_edge = |octet: &u8| octet.is_ascii_whitespace() || b"<>\"".contains(octet);
    let from = candidate.start.saturating_sub(URL_OCTETS);
    let start = octets[from..candidate.start]
        .iter()
        .rposition(is_edge)
        .map_or(from, |at| from + at + 1);
    let until = octets.len().min(candidate.end + URL_OCTETS);
    let end = octets[candidate.end..until]
        .iter()
        .position(is_edge)
        .map_or(until, |at| candidate.end + at);
    let before = &octets[start..candidate.start];
    let has = |part: &[u8]| memchr::memmem::find(before, part).is_some();
    has(b"://")
        || has(b"www.")
        || has(b"@")
        || octets[candidate.end..end].contains(&b'@')
        || before.ends_with(b"/")
        || before.ends_with(b"=")
        || octets.get(candidate.end) == Some(&b'/')
}

/// How much of a word is looked at to tell whether it is an address, in octets to either side.
const URL_OCTETS: usize = 256;
