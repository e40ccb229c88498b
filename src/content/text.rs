//! Octets as text, whatever the label says: marks at the start win, then what is plainly UTF-16.

use crate::mail::mime::Charset;

/// Decodes a text as tolerantly as the reading programs do.
pub(super) fn decode(octets: &[u8], label: Option<&str>) -> String {
    let marked = match octets {
        [0xEF, 0xBB, 0xBF, rest @ ..] => Some(("utf-8", rest)),
        [0xFF, 0xFE, rest @ ..] => Some(("utf-16le", rest)),
        [0xFE, 0xFF, rest @ ..] => Some(("utf-16be", rest)),
        _ => None,
    };
    if let Some((label, rest)) = marked {
        return Charset::of(Some(label)).decode_lossy(rest);
    }
    let label = match label {
        // Without a mark readers differ about which of the two it is: what it looks like decides.
        Some(label) if matches!(Charset::of(Some(label)), Charset::Utf16ByMark) => {
            unmarked_utf16(octets).or(Some(label))
        }
        Some(label) => Some(label),
        None => unmarked_utf16(octets),
    };
    let mut text = Charset::of(label).decode_lossy(octets);
    if memchr::memchr(0, text.as_bytes()).is_some() {
        // UTF-16 or UTF-32 under another name: nobody sees the zeros.
        text.retain(|c| c != '\0');
    }
    text
}

/// Whether the text is what every reader makes of these octets. Under a charset that is not known here it
/// may be anything (EBCDIC, HZ), unless the octets are plain ASCII or UTF-8.
pub(super) fn is_certain(octets: &[u8], label: Option<&str>) -> bool {
    if !matches!(Charset::of(label), Charset::Unknown) {
        return true;
    }
    // UTF-7 writes any character, digits too, as base64 behind a plus (RFC 2152).
    let seven = label.is_some_and(|label| label.trim().to_ascii_lowercase().ends_with("utf-7"));
    let shifts = (seven && memchr::memchr(b'+', octets).is_some())
        || memchr::memchr(0x1B, octets).is_some()
        || memchr::memmem::find(octets, b"~{").is_some()
        || memchr::memchr(0x0E, octets).is_some();
    !shifts && std::str::from_utf8(octets).is_ok()
}

/// Whether a file stands in the text that reading programs offer as an attachment: uuencode
/// (`begin 644 name`) or yEnc.
pub(super) fn holds_encoded_file(octets: &[u8]) -> bool {
    let is_start = |at: usize| {
        let line_starts = at == 0 || octets[at - 1] == b'\n';
        line_starts && begins_encoded_file(&octets[at..])
    };
    memchr::memmem::find_iter(octets, b"begin ").any(|at| {
        let at = at.saturating_sub(usize::from(octets[..at].ends_with(b"y")) * 2);
        is_start(at)
    })
}

fn begins_encoded_file(line: &[u8]) -> bool {
    if line.starts_with(b"=ybegin ") {
        return true;
    }
    let Some(rest) = line.strip_prefix(b"begin ") else {
        return false;
    };
    let digits = rest.iter().take_while(|octet| octet.is_ascii_digit());
    let digits = digits.count();
    (3..=4).contains(&digits) && rest.get(digits) == Some(&b' ')
}

/// ASCII in UTF-16 has a zero in every second place.
pub(super) fn unmarked_utf16(octets: &[u8]) -> Option<&'static str> {
    let sample = &octets[..octets.len().min(64)];
    let zeros = |from: usize| {
        sample
            .iter()
            .skip(from)
            .step_by(2)
            .filter(|octet| **octet == 0)
            .count()
    };
    let most = sample.len() / 2 * 3 / 4;
    if sample.len() < SAMPLE_MIN {
        None
    } else if zeros(1) >= most && zeros(0) == 0 {
        Some("utf-16le")
    } else if zeros(0) >= most && zeros(1) == 0 {
        Some("utf-16be")
    } else {
        None
    }
}

/// Octets from which on a sample shows anything.
const SAMPLE_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_by_its_mark_its_label_or_its_look() {
        let utf16: Vec<u8> = "NHS 943"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let marked = [&b"\xFF\xFE"[..], &utf16].concat();
        let big: Vec<u8> = "NHS 943"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        for (octets, label) in [
            (&b"NHS 943"[..], None),
            (&utf16, Some("utf-16le")),
            (&utf16, None),
            (&big, None),
            (&big, Some("utf-16")),
            (&utf16, Some("utf-16")),
            (&marked, Some("utf-8")),
            (b"\xEF\xBB\xBFNHS 943", None),
            (b"NHS 943", Some("no-such-charset")),
        ] {
            assert_eq!(decode(octets, label), "NHS 943");
        }
        assert_eq!(decode(b"caf\xe9", None), "caf\u{e9}");
        assert_eq!(decode(b"", None), "");
    }
}
