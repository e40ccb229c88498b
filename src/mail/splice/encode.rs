//! Transfer encodings written (RFC 2045 §6.7, §6.8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest line of base64 and of quoted-printable, in octets without the line end.
pub(super) const LINE_MAX: usize = 76;

/// Writes base64 in lines of `width` digits; the last one without a line end.
pub(super) fn base64(octets: &[u8], width: usize, eol: &str) -> Vec<u8> {
    let digits = STANDARD.encode(octets);
    let mut out = Vec::with_capacity(digits.len() + digits.len() / width * 2 + 2);
    for (at, line) in digits.as_bytes().chunks(width).enumerate() {
        if at > 0 {
            out.extend_from_slice(eol.as_bytes());
        }
        out.extend_from_slice(line);
    }
    out
}

/// Writes text in quoted-printable, beginning at the start of a line. `eol` ends lines in the text and
/// in what is written; any other line end in the text is written as its octets.
pub(super) fn quoted_printable(octets: &[u8], eol: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() + octets.len() / 8);
    let mut from = 0;
    for at in memchr::memmem::find_iter(octets, eol.as_bytes()) {
        quoted_line(&octets[from..at], eol, &mut out);
        out.extend_from_slice(eol.as_bytes());
        from = at + eol.len();
    }
    quoted_line(&octets[from..], eol, &mut out);
    out
}

fn quoted_line(text: &[u8], eol: &str, out: &mut Vec<u8>) {
    let mut column = 0;
    for (at, octet) in text.iter().enumerate() {
        let last = at + 1 == text.len();
        let plain = match octet {
            b' ' | b'\t' => !last,
            b'=' => false,
            octet => octet.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        // One column is kept for the `=` of a soft line break.
        let limit = if last { LINE_MAX } else { LINE_MAX - 1 };
        if column + width > limit {
            out.push(b'=');
            out.extend_from_slice(eol.as_bytes());
            column = 0;
        }
        if plain {
            out.push(*octet);
        } else {
            out.extend_from_slice(format!("={octet:02X}").as_bytes());
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;
    use proptest::prelude::*;

    #[test]
    fn quoted_printable_keeps_to_its_rules() {
        let text =
            |text: &str| String::from_utf8(quoted_printable(text.as_bytes(), "\r\n")).unwrap();
        assert_eq!(text("a=b \r\n\té\n"), "a=3Db=20\r\n\t=C3=A9=0A");
        assert_eq!(text(&"x".repeat(77)), format!("{}=\r\nxx", "x".repeat(75)));
        assert_eq!(text(&"x".repeat(76)), "x".repeat(76));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_lines_are_short(text in "([ -~é\t\n=]|\r\n){0,300}") {
            let quoted = quoted_printable(text.as_bytes(), "\r\n");
            prop_assert_eq!(mime::quoted_printable(&quoted), (text.clone().into_bytes(), true));
            let digits = base64(text.as_bytes(), LINE_MAX, "\r\n");
            prop_assert_eq!(mime::base64(&digits), (text.into_bytes(), true));
            for line in quoted.split(|octet| *octet == b'\n').chain(digits.split(|octet| *octet == b'\n')) {
                prop_assert!(line.trim_ascii_end().len() <= LINE_MAX);
            }
        }
    }
}
