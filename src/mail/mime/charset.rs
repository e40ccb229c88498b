//! Charsets: from octets to text and, for those who edit, back (RFC 2046 §4.1.2).

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use mail_parser::decoders::charsets::DecoderFnc;
use mail_parser::decoders::charsets::map::charset_decoder;

/// A charset by its label.
#[derive(Clone, Copy)]
pub enum Charset {
    /// Nothing was said, or nothing that is known: UTF-8 if the octets are that, else Windows-1252.
    Unknown,
    /// `us-ascii`, said or implied; over 127 it is read as [`Charset::Unknown`] is.
    Ascii,
    /// One of the WHATWG Encoding Standard. The flag is set for labels such as `iso-8859-1`, whose
    /// octets 80 to 9F are no printable characters, whatever the standard makes of them.
    Known(&'static Encoding, bool),
    /// UTF-16 that says by its first two octets which of the two it is (RFC 2781 §4.3). Without them readers
    /// differ: the RFC has big-endian, the Encoding Standard little-endian.
    Utf16ByMark,
    /// One that can be read but not written: UTF-7, IBM 850.
    ReadOnly(DecoderFnc),
}

impl Charset {
    /// The charset of a `charset` parameter. Without one it is us-ascii (RFC 2046 §4.1.2).
    pub fn of(label: Option<&str>) -> Self {
        let label = label.map(|label| label.trim().to_ascii_lowercase());
        match label.as_deref() {
            None | Some("" | "us-ascii" | "ascii" | "ansi_x3.4-1968" | "iso646-us") => Self::Ascii,
            Some(label) => match Encoding::for_label(label.as_bytes()) {
                // HZ, ISO-2022-KR and others that the standard refuses, for their ASCII is none.
                Some(encoding) if encoding == REPLACEMENT => Self::Unknown,
                Some(encoding) if encoding == UTF_16LE && label != "utf-16le" => Self::Utf16ByMark,
                Some(encoding) => Self::Known(encoding, is_without_c1(label)),
                None => charset_decoder(label.as_bytes()).map_or(Self::Unknown, Self::ReadOnly),
            },
        }
    }

    /// The text, with U+FFFD where there is none.
    pub fn decode_lossy(self, octets: &[u8]) -> String {
        match self {
            Self::Unknown | Self::Ascii => match std::str::from_utf8(octets) {
                Ok(text) => text.to_owned(),
                Err(_) => WINDOWS_1252
                    .decode_without_bom_handling(octets)
                    .0
                    .into_owned(),
            },
            Self::Known(encoding, _) => encoding.decode(octets).0.into_owned(),
            Self::Utf16ByMark => UTF_16LE.decode(octets).0.into_owned(),
            Self::ReadOnly(decoder) => decoder(octets),
        }
    }

    /// The text, if the octets are text of this charset and of no other.
    pub fn decode_strict(self, octets: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            Self::Unknown | Self::ReadOnly(_) => None,
            Self::Ascii => octets.is_ascii().then(|| String::from_utf8_lossy(octets)),
            Self::Utf16ByMark => {
                let (encoding, length) = Encoding::for_bom(octets)?;
                let is_utf16 = encoding == UTF_16BE || encoding == UTF_16LE;
                let text = &octets[length..];
                encoding
                    .decode_without_bom_handling_and_without_replacement(text)
                    .filter(|_| is_utf16)
            }
            Self::Known(encoding, _) => {
                encoding.decode_without_bom_handling_and_without_replacement(octets)
            }
        }
    }

    /// The octets of a text, or `None` if the charset cannot hold all of it, or cannot be added to
    /// without a look at what stands before (UTF-16, ISO-2022-JP).
    pub fn encode(self, text: &str) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Unknown | Self::Utf16ByMark | Self::ReadOnly(_) => None,
            Self::Ascii => text.is_ascii().then_some(Cow::Borrowed(text.as_bytes())),
            Self::Known(encoding, _) if encoding == UTF_8 || text.is_ascii() => encoding
                .is_ascii_compatible()
                .then_some(Cow::Borrowed(text.as_bytes())),
            // What goes under the names of the others (GB 2312, EUC-KR …) differs from reader to reader.
            Self::Known(encoding, without_c1) if encoding.is_single_byte() => {
                let (octets, _, unmappable) = encoding.encode(text);
                let control = |octet: &u8| without_c1 && (0x80..0xA0).contains(octet);
                (!unmappable && !octets.iter().any(control)).then_some(octets)
            }
            Self::Known(..) => None,
        }
    }

    /// Whether ASCII text may be added anywhere as it is.
    pub fn is_ascii_compatible(self) -> bool {
        match self {
            Self::Ascii => true,
            Self::Known(encoding, _) => encoding.is_ascii_compatible(),
            Self::Unknown | Self::Utf16ByMark | Self::ReadOnly(_) => false,
        }
    }

    /// How many of the octets are those of `start`, if they begin with it beyond doubt.
    pub fn octets_of(self, start: &str, octets: &[u8]) -> Option<usize> {
        let length = match self {
            Self::Unknown | Self::Utf16ByMark | Self::ReadOnly(_) => return None,
            Self::Ascii => start.len(),
            Self::Known(encoding, _) => encoding.encode(start).0.len(),
        };
        let same = self.decode_strict(octets.get(..length)?)? == start;
        same.then_some(length)
    }

    /// Whether it is UTF-8.
    pub fn is_utf8(self) -> bool {
        matches!(self, Self::Known(encoding, _) if encoding == UTF_8)
    }
}

/// Whether 80 to 9F are control characters under this label, as in ISO 8859.
fn is_without_c1(label: &str) -> bool {
    const WITH_LETTERS: [&str; 6] = ["windows", "cp", "x-cp", "koi", "mac", "x-mac"];
    !WITH_LETTERS.iter().any(|start| label.starts_with(start)) && label != "ibm866"
}

/// Octets of a header that should be ASCII and may be anything.
pub(super) fn utf8_or_latin1(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lead_to_charsets() {
        let pound = |label: Option<&str>, octets: &[u8]| Charset::of(label).decode_lossy(octets);
        assert_eq!(pound(Some("ISO-8859-1"), b"\xa3"), "£");
        assert_eq!(pound(Some(" utf8"), "£".as_bytes()), "£");
        assert_eq!(pound(None, "£".as_bytes()), "£");
        assert_eq!(pound(Some("x-nobody"), b"\xa3"), "£");
        assert_eq!(pound(Some("utf-7"), b"+AKM-"), "£");
        assert_eq!(pound(Some("utf-16be"), b"\0\xa3"), "£");
        assert_eq!(pound(Some("ibm850"), b"\x9c"), "£");
    }

    #[test]
    fn a_charset_holds_only_what_all_readers_see_alike() {
        let encode = |label, text| Charset::of(Some(label)).encode(text).map(Cow::into_owned);
        assert_eq!(encode("iso-8859-1", "£"), Some(b"\xa3".to_vec()));
        assert_eq!(encode("iso-8859-1", "–"), None);
        assert_eq!(encode("windows-1252", "–"), Some(b"\x96".to_vec()));
        assert_eq!(encode("us-ascii", "£"), None);
        assert_eq!(encode("utf-16", "a"), None);
        assert_eq!(encode("gb2312", "a"), Some(b"a".to_vec()));
        assert_eq!(encode("gb2312", "£"), None);
        assert_eq!(encode("utf-7", "a"), None);
    }

    #[test]
    fn text_of_another_charset_is_not_text() {
        assert!(Charset::of(None).decode_strict(b"\xa3").is_none());
        assert!(Charset::of(Some("utf-8")).decode_strict(b"\xa3").is_none());
        assert_eq!(
            Charset::of(Some("latin1"))
                .decode_strict(b"\xa3")
                .as_deref(),
            Some("£")
        );
    }
}
