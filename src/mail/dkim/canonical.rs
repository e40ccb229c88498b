//! Canonical forms of body and fields (RFC 6376 §3.4): what a signature sees of a message.
//!
//! Simple changes nothing but the empty lines at the end of the body; relaxed also forgives white
//! space. Both are ours, not those of `mail-auth`, so that a signature made here is checked there by code that
//! shares no mistake with it.

use sha2::{Digest, Sha256};

use crate::mail::HeaderField;

/// How much a relay may change on the way without breaking the signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Nothing (§3.4.1, §3.4.3).
    Simple,
    /// White space (§3.4.2, §3.4.4).
    Relaxed,
}

/// The SHA-256 of a body in this form; of its first `length` canonical octets where the signature has `l=`.
/// `None` if the body is shorter than that: no verifier accepts it (§3.5).
pub fn body_hash(body: &[u8], form: Form, length: Option<u64>) -> Option<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut left = length;
    let mut sink = |octets: &[u8]| match &mut left {
        None => hash.update(octets),
        Some(left) => {
            let taken = usize::try_from(*left).map_or(octets.len(), |left| left.min(octets.len()));
            hash.update(&octets[..taken]);
            *left -= taken as u64;
        }
    };
    match form {
        Form::Simple => simple_body(body, &mut sink),
        Form::Relaxed => relaxed_body(body, &mut sink),
    }
    (left.unwrap_or(0) == 0).then(|| hash.finalize().into())
}

/// §3.4.3: all empty lines at the end count as none; what has no line end gets one.
fn simple_body(body: &[u8], sink: &mut impl FnMut(&[u8])) {
    let mut end = body.len();
    while body[..end].ends_with(b"\r\n") {
        end -= 2;
    }
    sink(&body[..end]);
    sink(b"\r\n");
}

/// §3.4.4: white space at line ends goes, within lines it is one space; then empty lines at the end go.
/// A body without anything stays so.
fn relaxed_body(body: &[u8], sink: &mut impl FnMut(&[u8])) {
    let (mut empty_lines, mut rest, mut line) = (0_usize, body, Vec::new());
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n");
        let (this, next) = match end {
            Some(at) => (&rest[..at], &rest[at + 2..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = next;
        line.clear();
        collapse(this, &mut line);
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        (0..std::mem::take(&mut empty_lines)).for_each(|_| sink(b"\r\n"));
        line.extend_from_slice(b"\r\n");
        sink(&line);
    }
}

/// Runs of white space become one space, those at the end nothing.
fn collapse(octets: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for &octet in octets {
        if matches!(octet, b' ' | b'\t') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(b' ');
        }
        out.push(octet);
    }
}

/// Appends a field, with its line end. `octets` are those of the header section that the field is of.
pub fn field(field: &HeaderField<'_>, octets: &[u8], form: Form, out: &mut Vec<u8>) {
    match form {
        Form::Simple => out.extend_from_slice(&octets[field.range()]),
        Form::Relaxed => {
            relaxed_field(field.name(), field.raw_value(), out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a field without its line end: name in lower case, unfolded, white space as in the body and none
/// round the value (§3.4.2).
pub fn relaxed_field(name: &str, raw_value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.to_ascii_lowercase().as_bytes());
    out.push(b':');
    let unfolded: Vec<u8> = raw_value
        .iter()
        .copied()
        .filter(|octet| !matches!(octet, b'\r' | b'\n'))
        .collect();
    let start = unfolded
        .iter()
        .position(|octet| !matches!(octet, b' ' | b'\t'));
    collapse(&unfolded[start.unwrap_or(unfolded.len())..], out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Header;

    fn body(octets: &[u8], form: Form) -> String {
        let mut out = Vec::new();
        let mut sink = |part: &[u8]| out.extend_from_slice(part);
        match form {
            Form::Simple => simple_body(octets, &mut sink),
            Form::Relaxed => relaxed_body(octets, &mut sink),
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bodies_are_as_rfc_6376_says() {
        for (octets, simple, relaxed) in [
            ("", "\r\n", ""),
            ("\r\n\r\n", "\r\n", ""),
            ("a", "a\r\n", "a\r\n"),
            (
                " C \r\nD \t E\r\n\r\n\r\n",
                " C \r\nD \t E\r\n",
                " C\r\nD E\r\n",
            ),
            // Lines of white space alone at the end: empty once relaxed, and so gone (where `mail-auth`
            // 0.13.3 goes wrong); simple keeps them.
            ("a\r\n \r\n\t\r\n", "a\r\n \r\n\t\r\n", "a\r\n"),
            ("a\r\n \r\nb\r\n", "a\r\n \r\nb\r\n", "a\r\n\r\nb\r\n"),
            ("a \r\n  ", "a \r\n  \r\n", "a\r\n"),
        ] {
            assert_eq!(body(octets.as_bytes(), Form::Simple), simple, "{octets:?}");
            assert_eq!(
                body(octets.as_bytes(), Form::Relaxed),
                relaxed,
                "{octets:?}"
            );
        }
    }

    #[test]
    fn the_hashes_of_the_empty_body_are_those_of_the_rfc() {
        use base64::prelude::{BASE64_STANDARD, Engine};
        for (form, hash) in [
            (Form::Simple, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
            (
                Form::Relaxed,
                "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            ),
        ] {
            let found = body_hash(b"", form, None).unwrap();
            assert_eq!(BASE64_STANDARD.encode(found), hash);
        }
    }

    #[test]
    fn a_length_covers_the_beginning_and_never_more_than_there_is() {
        let whole = body_hash(b"abc\r\n", Form::Simple, None);
        assert_eq!(body_hash(b"abc\r\nmore\r\n", Form::Simple, Some(5)), whole);
        assert_eq!(body_hash(b"abc\r\n", Form::Simple, Some(6)), None);
    }

    #[test]
    fn relaxed_fields_are_as_rfc_6376_says() {
        let octets = b"A: X\r\nB : Y\t\r\n\tZ  \r\nSubjeCT:\r\n  two  words\r\nE:\r\n";
        let header = Header::parse(octets);
        let mut out = Vec::new();
        for one in header.fields() {
            field(one, octets, Form::Relaxed, &mut out);
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "a:X\r\nb:Y Z\r\nsubject:two words\r\ne:\r\n"
        );
    }
}
