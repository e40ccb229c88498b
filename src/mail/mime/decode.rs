//! Transfer encodings read (RFC 2045 §6.7, §6.8), as tolerant readers do, and whether that was needed.

use std::ops::Range;

/// Decodes base64; what is not of the alphabet is skipped. Also says whether the text was clean:
/// whole groups of four, white space between them, padding at the very end alone.
pub fn base64(raw: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(raw.len() / 4 * 3 + 3);
    let (mut group, mut digits, mut padding, mut clean) = (0u32, 0u8, 0usize, true);
    for octet in raw {
        if let Some(digit) = base64_digit(*octet) {
            clean &= padding == 0;
            group = group << 6 | u32::from(digit);
            digits += 1;
            if digits == 4 {
                out.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, digits) = (0, 0);
            }
        } else if *octet == b'=' {
            padding += 1;
            flush(&mut out, group, digits);
            (group, digits) = (0, 0);
        } else {
            clean &= octet.is_ascii_whitespace();
        }
    }
    flush(&mut out, group, digits);
    let expected_padding = (3 - out.len() % 3) % 3;
    (out, clean && digits == 0 && padding == expected_padding)
}

/// Writes the octets of a group that ended early.
fn flush(out: &mut Vec<u8>, group: u32, digits: u8) {
    let octets = (group << (24 - 6 * u32::from(digits.min(4)))).to_be_bytes();
    match digits {
        2 => out.push(octets[1]),
        3 => out.extend_from_slice(&octets[1..3]),
        _ => {}
    }
}

fn base64_digit(octet: u8) -> Option<u8> {
    match octet {
        b'A'..=b'Z' => Some(octet - b'A'),
        b'a'..=b'z' => Some(octet - b'a' + 26),
        b'0'..=b'9' => Some(octet - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Decodes quoted-printable; an `=` without two digits stays. Also says whether the text was clean:
/// each `=` followed by digits or a line end, and no octet over 127.
pub fn quoted_printable(raw: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(raw.len());
    let (mut at, mut clean) = (0, true);
    while at < raw.len() {
        let next = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |lf| at + lf + 1);
        QuotedLine::new(raw, at..next).write(&mut out, &mut clean);
        at = next;
    }
    (out, clean)
}

/// Returns where in `raw` the decoded octet with this index begins; the end if there are fewer.
pub fn quoted_printable_offset(raw: &[u8], index: usize) -> usize {
    quoted_printable_offsets(raw, &[index])[0]
}

/// As [`quoted_printable_offset`], for indexes in their order.
pub fn quoted_printable_offsets(raw: &[u8], indexes: &[usize]) -> Vec<usize> {
    let mut found = Vec::with_capacity(indexes.len());
    let (mut at, mut seen) = (0, 0);
    while at < raw.len() && found.len() < indexes.len() {
        let next = memchr::memchr(b'\n', &raw[at..]).map_or(raw.len(), |lf| at + lf + 1);
        let line = QuotedLine::new(raw, at..next);
        let before = seen;
        seen += line.decoded_len();
        // What is not asked about is counted, not read.
        while let Some(index) = indexes.get(found.len()).filter(|index| **index < seen) {
            let place = line.places().nth(index - before);
            found.push(place.unwrap_or(next));
        }
        at = next;
    }
    found.resize(indexes.len(), raw.len());
    found
}

/// One line of quoted-printable.
struct QuotedLine<'r> {
    raw: &'r [u8],
    text: Range<usize>,
    /// The line end, if the line is not continued on the next one.
    hard_end: Range<usize>,
}

impl<'r> QuotedLine<'r> {
    fn new(raw: &'r [u8], line: Range<usize>) -> Self {
        let octets = &raw[line.clone()];
        let length = match octets {
            [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text.len(),
            text => text.len(),
        };
        let end = line.start + length;
        // RFC 2045 §6.7 rule 3: white space before a line end was added on the way.
        let text = octets[..length].trim_ascii_end();
        match text {
            [text @ .., b'='] => Self {
                raw,
                text: line.start..line.start + text.len(),
                hard_end: line.end..line.end,
            },
            _ => Self {
                raw,
                text: line.start..line.start + text.len(),
                hard_end: end..line.end,
            },
        }
    }

    /// Adds what the line decodes to, in whole runs.
    fn write(&self, out: &mut Vec<u8>, clean: &mut bool) {
        let mut rest = &self.raw[self.text.clone()];
        while let Some(at) = memchr::memchr(b'=', rest) {
            let (plain, coded) = rest.split_at(at);
            *clean &= plain.is_ascii();
            out.extend_from_slice(plain);
            match coded.get(1..3).and_then(hex_pair) {
                Some(octet) => {
                    out.push(octet);
                    rest = &coded[3..];
                }
                None => {
                    *clean = false;
                    out.push(b'=');
                    rest = &coded[1..];
                }
            }
        }
        *clean &= rest.is_ascii();
        out.extend_from_slice(rest);
        out.extend_from_slice(&self.raw[self.hard_end.clone()]);
    }

    /// How many octets it decodes to.
    fn decoded_len(&self) -> usize {
        let mut rest = &self.raw[self.text.clone()];
        let mut length = rest.len() + self.hard_end.len();
        while let Some(at) = memchr::memchr(b'=', rest) {
            let coded = rest.get(at + 1..at + 3).and_then(hex_pair).is_some();
            length -= if coded { 2 } else { 0 };
            rest = &rest[at + if coded { 3 } else { 1 }..];
        }
        length
    }

    /// Where each octet that it decodes to begins.
    fn places(&self) -> impl Iterator<Item = usize> {
        let mut at = self.text.start;
        let text = std::iter::from_fn(move || {
            let place = at;
            let octet = *self.raw[..self.text.end].get(place)?;
            let pair = self.raw[..self.text.end].get(place + 1..place + 3);
            let coded = octet == b'=' && pair.and_then(hex_pair).is_some();
            at += if coded { 3 } else { 1 };
            Some(place)
        });
        text.chain(self.hard_end.clone())
    }
}

/// The octet that two hexadecimal digits of either case mean.
pub(super) fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    #[test]
    fn base64_is_read_in_whatever_state_it_comes() {
        for (raw, decoded, clean) in [
            ("SGVsbG8=\r\n", "Hello", true),
            ("SGVs\r\nbG8=", "Hello", true),
            ("SGVsbG8", "Hello", false),
            ("SGVsbG8=SGVsbG8=", "HelloHello", false),
            ("SGV*sbG8=", "Hello", false),
            ("SGVsbG8==", "Hello", false),
            ("S", "", false),
            ("", "", true),
        ] {
            assert_eq!(base64(raw.as_bytes()), (decoded.into(), clean), "{raw}");
        }
    }

    #[test]
    fn quoted_printable_is_read_in_whatever_state_it_comes() {
        for (raw, decoded, clean) in [
            ("caf=C3=A9=\r\n au lait \r\nx", "café au lait\r\nx", true),
            ("a=  \r\nb", "ab", true),
            ("a=\nb=3d", "ab=", true),
            ("a=ZZ b", "a=ZZ b", false),
            ("last=", "last", true),
            ("é", "é", false),
        ] {
            assert_eq!(
                quoted_printable(raw.as_bytes()),
                (decoded.into(), clean),
                "{raw}"
            );
        }
        assert_eq!(quoted_printable_offset(b"a=\r\nb=3Dc", 1), 4);
        assert_eq!(quoted_printable_offset(b"a=\r\nb=3Dc", 3), 8);
        assert_eq!(quoted_printable_offset(b"a=", 1), 2);
    }

    proptest! {
        #[test]
        fn from_each_octet_on_the_rest_is_read_as_before(raw in "([a-z=\t \r\né]|=3D|=\r\n){0,60}") {
            let (decoded, _) = quoted_printable(raw.as_bytes());
            for index in 0..decoded.len() {
                let at = quoted_printable_offset(raw.as_bytes(), index);
                prop_assert_eq!(&quoted_printable(&raw.as_bytes()[at..]).0, &decoded[index..]);
            }
            prop_assert_eq!(quoted_printable_offset(raw.as_bytes(), decoded.len()), raw.len());
        }

        #[test]
        fn what_a_strict_encoder_wrote_is_read_back_clean(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(base64(STANDARD.encode(&octets).as_bytes()), (octets, true));
        }

        #[test]
        fn any_octets_decode(octets in proptest::collection::vec(any::<u8>(), 0..300), index in 0usize..300) {
            let _ = base64(&octets);
            let (decoded, _) = quoted_printable(&octets);
            let at = quoted_printable_offset(&octets, index);
            prop_assert!(at <= octets.len());
            prop_assert_eq!(quoted_printable(&octets[at..]).0, decoded.get(index..).unwrap_or_default());
            let more = index + 7;
            let each = [index, index, more].map(|index| quoted_printable_offset(&octets, index));
            prop_assert_eq!(quoted_printable_offsets(&octets, &[index, index, more]), each.to_vec());
        }
    }
}
