//! Display names as a header field may hold them (RFC 5322 §3.2.5, §3.4; RFC 2047 §5 (3)).
//!
//! `Pharmacy.FA001 (Bumbleton Pharmacy, Bumbleton)` written as it is would be a comment and two
//! addresses. A name is written bare if it is atoms, in quotes if it is ASCII, else in encoded words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A display name as a phrase. Control characters become blanks: none may end the field.
pub fn phrase(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let name = name.trim();
    if !name.is_ascii() {
        return encoded(name);
    }
    // An encoded word that is none must not be read as one.
    let bare = !name.is_empty() && name.split(' ').all(is_atom) && !name.contains("=?");
    if bare {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Whether a word is an atom (RFC 5322 §3.2.3).
fn is_atom(word: &str) -> bool {
    let is_atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    !word.is_empty() && word.bytes().all(is_atext)
}

/// As encoded words, each whole in itself and short enough (RFC 2047 §2, §5).
fn encoded(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut chunk = String::new();
    for c in name.chars() {
        if chunk.len() + c.len_utf8() > WORD_OCTETS_MAX {
            words.push(encoded_word(&chunk));
            chunk.clear();
        }
        chunk.push(c);
    }
    words.push(encoded_word(&chunk));
    words.join(" ")
}

fn encoded_word(text: &str) -> String {
    format!("=?utf-8?b?{}?=", STANDARD.encode(text))
}

/// Octets of text in an encoded word of 75 octets, `=?utf-8?b?` and `?=` and base64 counted.
const WORD_OCTETS_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::decode_words;
    use proptest::prelude::*;

    #[test]
    fn a_name_with_commas_and_brackets_is_quoted() {
        for (name, written) in [
            ("Bumbleton Pharmacy", "Bumbleton Pharmacy"),
            (
                "Pharmacy.FA001 (Bumbleton Pharmacy, Bumbleton)",
                "\"Pharmacy.FA001 (Bumbleton Pharmacy, Bumbleton)\"",
            ),
            ("The \"Old\" \\ Shop", "\"The \\\"Old\\\" \\\\ Shop\""),
            ("A\r\nBcc: x@y.example", "\"A  Bcc: x@y.example\""),
            ("=?utf-8?b?eA==?=", "\"=?utf-8?b?eA==?=\""),
            ("", "\"\""),
        ] {
            assert_eq!(phrase(name), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(name in "[ -~é€𝄞]{0,80}[é€𝄞][ -~é€𝄞]{0,80}") {
            let written = phrase(&name);
            prop_assert!(written.split(' ').all(|word| word.len() <= 75), "{written}");
            prop_assert_eq!(decode_words(&written), name.trim());
        }
    }
}
