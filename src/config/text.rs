//! Files of text as programs on desks write them: UTF-8, with or without a mark at the start.
//!
//! Excel puts a byte order mark before what it saves as "CSV UTF-8", and saves "Unicode text" as UTF-16.

use std::io;
use std::path::Path;

/// Returns the text of a file, with its mark if it has one: what is written back stays as it was. Readers of TOML
/// and of tables pass over it; [`without_mark`] takes it off for the others. Blocks.
///
/// # Errors
/// If it cannot be read; [`NotUtf8`] within if it is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    text_of(std::fs::read(path)?).map_err(Into::into)
}

/// Returns the octets of a file as text.
pub fn text_of(octets: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(octets).map_err(|error| {
        let read = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        if is_utf16(error.as_bytes()) {
            return NotUtf8::Utf16;
        }
        let line = read.iter().filter(|octet| **octet == b'\n').count() + 1;
        NotUtf8::Line { line }
    })
}

/// Whether it begins with the mark of UTF-16, either way round.
pub fn is_utf16(octets: &[u8]) -> bool {
    octets.starts_with(&[0xff, 0xfe]) || octets.starts_with(&[0xfe, 0xff])
}

/// The text behind the byte order mark, if there is one.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// A file that is not in UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotUtf8 {
    /// Two octets for each character.
    #[error("it is in UTF-16: save it as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Utf16,
    /// Something else from this line on.
    #[error("line {line} is not UTF-8: save it as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Line {
        /// From 1.
        line: usize,
    },
}

impl From<NotUtf8> for io::Error {
    fn from(error: NotUtf8) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The byte order mark, as a character.
pub const MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_said_with_what_helps() {
        let said = |octets: &[u8]| text_of(octets.to_vec()).map_err(|error| error.to_string());
        assert_eq!(said(b"\xef\xbb\xbfa").as_deref(), Ok("\u{feff}a"));
        assert_eq!(without_mark("\u{feff}a"), "a");
        let utf16 = "it is in UTF-16: save it as UTF-8 (in Excel: \"CSV UTF-8\")";
        assert_eq!(said(b"\xff\xfea\0"), Err(utf16.to_owned()));
        assert_eq!(said(b"\xfe\xff\0a"), Err(utf16.to_owned()));
        assert!(
            said(b"a\nb\xfc\n")
                .unwrap_err()
                .starts_with("line 2 is not")
        );
    }
}
