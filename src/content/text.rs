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
    let label = label.or_else(|| unmarked_utf16(octets));
    Charset::of(label).decode_lossy(octets)
}

/// ASCII in UTF-16 has a zero in every second place.
fn unmarked_utf16(octets: &[u8]) -> Option<&'static str> {
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
    if most == 0 {
        None
    } else if zeros(1) >= most && zeros(0) == 0 {
        Some("utf-16le")
    } else if zeros(0) >= most && zeros(1) == 0 {
        Some("utf-16be")
    } else {
        None
    }
}

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
