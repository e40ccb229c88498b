//! Encoded words in field bodies and file names (RFC 2047), as tolerant readers show them.

use std::borrow::Cow;

use super::charset::Charset;
use super::decode;

/// Decodes the encoded words of an unfolded field body or of a file name. White space between two
/// of them goes; a character split over two of one charset is put together.
pub fn decode_words(text: &str) -> Cow<'_, str> {
    if !text.contains("=?") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut pending: Option<(&str, Vec<u8>)> = None;
    let mut rest = text;
    while let Some(at) = rest.find("=?") {
        let Some((word, after)) = Word::read(&rest[at..]) else {
            write_pending(&mut out, pending.take());
            out.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        let adjacent = pending.is_some() && rest[..at].trim().is_empty();
        match &mut pending {
            Some((charset, octets)) if adjacent && charset.eq_ignore_ascii_case(word.charset) => {
                octets.extend(word.octets);
            }
            _ => {
                write_pending(&mut out, pending.take());
                if !adjacent {
                    out.push_str(&rest[..at]);
                }
                pending = Some((word.charset, word.octets));
            }
        }
        rest = after;
    }
    write_pending(&mut out, pending);
    out.push_str(rest);
    Cow::Owned(out)
}

fn write_pending(out: &mut String, pending: Option<(&str, Vec<u8>)>) {
    if let Some((charset, octets)) = pending {
        out.push_str(&Charset::of(Some(charset)).decode_lossy(&octets));
    }
}

struct Word<'t> {
    charset: &'t str,
    octets: Vec<u8>,
}

impl<'t> Word<'t> {
    /// Reads the encoded word that `text` begins with; also returns what follows it.
    fn read(text: &'t str) -> Option<(Self, &'t str)> {
        let (charset, rest) = text.strip_prefix("=?")?.split_at(find(text, 2, "?")? - 2);
        let rest = rest.strip_prefix('?')?;
        let (letter, rest) = rest.split_at_checked(1)?;
        let rest = rest.strip_prefix('?')?;
        let end = find(rest, 0, "?=")?;
        let octets = match letter {
            "b" | "B" => decode::base64(&rest.as_bytes()[..end]).0,
            "q" | "Q" => decode_q(&rest[..end]),
            _ => return None,
        };
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split('*').next().unwrap_or(charset);
        let plausible =
            !charset.is_empty() && charset.bytes().all(|octet| octet.is_ascii_graphic());
        plausible.then_some((Self { charset, octets }, &rest[end + 2..]))
    }
}

/// Finds `what` in the next [`WORD_MAX`] octets from `from`.
fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    let window = &text.as_bytes()[from..text.len().min(from + WORD_MAX)];
    memchr::memmem::find(window, what.as_bytes()).map(|at| from + at)
}

/// Decodes `Q` (RFC 2047 §4.2).
fn decode_q(text: &str) -> Vec<u8> {
    let octets = text.as_bytes();
    let mut out = Vec::with_capacity(octets.len());
    let mut at = 0;
    while at < octets.len() {
        let pair = octets.get(at + 1..at + 3).filter(|_| octets[at] == b'=');
        let (octet, length) = match (octets[at], pair.and_then(decode::hex_pair)) {
            (_, Some(octet)) => (octet, 3),
            (b'_', None) => (b' ', 1),
            (octet, None) => (octet, 1),
        };
        out.push(octet);
        at += length;
    }
    out
}

/// Longest encoded word that is looked for, in octets. RFC 2047 §2 allows 75; senders do not care.
const WORD_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words_are_decoded() {
        for (text, expected) in [
            ("plain.txt", "plain.txt"),
            ("=?utf-8?Q?caf=C3=A9?=.txt", "café.txt"),
            ("Re: =?iso-8859-1*en?q?a_=A3?= b", "Re: a £ b"),
            ("=?utf-8?B?w6k=?= =?utf-8?B?w6k=?= x", "éé x"),
            ("=?utf-8?Q?=C3?=  =?UTF-8?Q?=A9?=", "é"),
            ("=?utf-8?Q?a?= =?latin1?Q?=E9?=", "aé"),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("=?utf-8?Q?open", "=?utf-8?Q?open"),
            ("a =? b", "a =? b"),
        ] {
            assert_eq!(decode_words(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_decodes(text in "([=?QBqb_a-c é]|=\\?utf-8\\?[QB]\\?|\\?=){0,60}") {
            let _ = decode_words(&text);
        }
    }
}
