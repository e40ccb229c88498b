//! Whether a footer is in a text already, as it was sent or as a reply quotes it.

use super::leaf::{Leaf, LeafKind};
use super::{Footer, html};

/// A footer as it is looked for: letters and digits alone, so that neither quote marks, line breaks,
/// spacing nor a mail program's taste in dashes hide it.
pub(super) struct Presence {
    text: String,
    html: String,
}

impl Presence {
    /// Returns what to look for, or `None` if there is nothing in the footer that could be found.
    pub(super) fn of(footer: &Footer<'_>) -> Option<Self> {
        let presence = Self {
            text: bones(footer.text),
            html: bones(&html::scan(footer.html).text),
        };
        (!presence.text.is_empty() && !presence.html.is_empty()).then_some(presence)
    }

    /// Whether the whole footer stands in the leaf, in either form: replies turn one into the other.
    pub(super) fn is_in(&self, leaf: &Leaf<'_>) -> bool {
        let bones = match leaf.kind {
            LeafKind::Text => bones(&leaf.text),
            LeafKind::Html => bones(&html::scan(&leaf.text).text),
        };
        bones.contains(&self.text) || bones.contains(&self.html)
    }
}

fn bones(text: &str) -> String {
    if text.is_ascii() {
        let letters = text.bytes().filter(u8::is_ascii_alphanumeric);
        return letters
            .map(|octet| char::from(octet.to_ascii_lowercase()))
            .collect();
    }
    let mut bones = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            if character.is_ascii_alphanumeric() {
                bones.push(character.to_ascii_lowercase()); // most of all mail: the tables are slow
            }
        } else if character.is_alphanumeric() {
            bones.extend(character.to_lowercase());
        }
    }
    bones
}
