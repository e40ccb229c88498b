//! Whether a footer is in a text already, as it was sent or as a reply quotes it.

use memchr::memmem;

use super::leaf::{Leaf, LeafKind};
use super::{Footer, html};

/// A footer as it is looked for: letters and digits alone, so that neither quote marks, line breaks,
/// spacing nor a mail program's taste in dashes hide it.
pub(super) struct Presence {
    text: Vec<u8>,
    /// The same in HTML, where it says something else.
    html: Option<Vec<u8>>,
}

impl Presence {
    /// Returns what to look for, or `None` if there is nothing in the footer that could be found.
    pub(super) fn of(footer: &Footer<'_>) -> Option<Self> {
        let text = bones(footer.text);
        let html = bones(&html::scan(footer.html).text);
        if text.is_empty() || html.is_empty() {
            return None;
        }
        let html = (html != text).then_some(html);
        Some(Self { text, html })
    }

    /// Whether the whole footer stands in the leaf, in either form: replies turn one into the other.
    pub(super) fn is_in(&self, leaf: &Leaf<'_>) -> bool {
        let bones = match leaf.kind {
            LeafKind::Text => bones(&leaf.text),
            LeafKind::Html => bones(&leaf.scan().text),
        };
        let holds = |footer: &Vec<u8>| memmem::find(&bones, footer).is_some();
        holds(&self.text) || self.html.as_ref().is_some_and(holds)
    }
}

/// Letters and digits in lower case, as UTF-8.
fn bones(text: &str) -> Vec<u8> {
    let mut bones = Vec::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = match rest.is_ascii() {
            true => rest.len(),
            false => rest.bytes().take_while(u8::is_ascii).count(),
        };
        let (run, after) = rest.split_at(ascii);
        push_ascii(&mut bones, run.as_bytes());
        let mut characters = after.chars();
        if let Some(character) = characters.next().filter(|found| found.is_alphanumeric()) {
            let mut buffer = [0; 4];
            for lower in character.to_lowercase() {
                bones.extend_from_slice(lower.encode_utf8(&mut buffer).as_bytes());
            }
        }
        rest = characters.as_str();
    }
    bones
}

/// Most of all mail: each octet is written, and the next one over it if it was none that counts. That has no
/// branch to guess wrong.
fn push_ascii(bones: &mut Vec<u8>, run: &[u8]) {
    let from = bones.len();
    bones.resize(from + run.len(), 0);
    let out = &mut bones[from..];
    let mut length = 0;
    for octet in run {
        let bone = BONES[usize::from(*octet)];
        out[length] = bone;
        length += usize::from(bone != 0);
    }
    bones.truncate(from + length);
}

/// Letters and digits of ASCII in lower case, and zero for all else.
const BONES: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 128 {
        if (octet as u8).is_ascii_alphanumeric() {
            table[octet] = (octet as u8).to_ascii_lowercase();
        }
        octet += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bones_are_letters_and_digits_in_lower_case(text in "([a-zA-Z0-9]|[ -~]|[À-ž]|\\PC){0,60}") {
            let letters = text.chars().filter(|character| character.is_alphanumeric());
            let expected: String = letters.flat_map(char::to_lowercase).collect();
            prop_assert_eq!(bones(&text), expected.into_bytes());
        }
    }
}
