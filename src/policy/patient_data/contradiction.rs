//! Words that are written down against an identifier, and name one.
//!
//! A word against a number takes away what speaks for it. "NHS number" among them lets every number leave
//! that stands behind those very words, and nothing is seen to be missing.

use crate::config::{Diagnostic, Diagnostics, Located};

use super::vocabulary::{Sense, WordGroup};

/// Warns of the words against an identifier that are also words for one, and of its own names.
pub(super) fn check(groups: &[WordGroup], against: &[Located<String>], diagnostics: &Diagnostics) {
    let names = |group: &&WordGroup| matches!(group.sense, Sense::For | Sense::Label);
    let speaking = groups.iter().filter(names).flat_map(|group| &group.words);
    let speaking: Vec<String> = speaking.map(|word| squeezed(word)).collect();
    for word in against {
        let text = squeezed(word);
        if !speaking.contains(&text) && !NAMES.contains(&text.as_str()) {
            continue;
        }
        let message = format!(
            "`{}` speaks for an identifier: against one it hides patient data",
            word.as_str()
        );
        let diagnostic = Diagnostic::warning("word-against", message)
            .at_maybe(word.place(), "")
            .help("take it out here");
        diagnostics.push(diagnostic);
    }
}

/// What the ways of writing a word have in common: `NHS-Number`, `nhs number`, `n.h.s. number`.
fn squeezed(word: &str) -> String {
    let kept = word.chars().filter(|c| c.is_alphanumeric() || *c == '&');
    kept.flat_map(char::to_lowercase).collect()
}

/// What identifiers are called, also where the file has no word for them.
const NAMES: [&str; 14] = [
    "nhs",
    "nhsno",
    "nhsnum",
    "nhsnumber",
    "nhsid",
    "chi",
    "chino",
    "chinumber",
    "hcn",
    "h&c",
    "h&cno",
    "h&cnumber",
    "healthcarenumber",
    "patient",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn said(against: &[&str]) -> Vec<String> {
        let group = |sense, words: &[&str]| WordGroup {
            sense,
            weight: 0.4,
            window: 24,
            words: words.iter().map(ToString::to_string).collect(),
        };
        let groups = [
            group(Sense::For, &["service user", "d.o.b"]),
            group(Sense::Notice, &["confidential"]),
            group(Sense::Against("order"), against),
        ];
        let located = |word: &&str| Located::built_in(word.to_string());
        let against: Vec<_> = against.iter().map(located).collect();
        let diagnostics = Diagnostics::default();
        check(&groups, &against, &diagnostics);
        let said = diagnostics.into_vec().into_iter();
        said.map(|diagnostic| diagnostic.message).collect()
    }

    #[test]
    fn a_name_of_an_identifier_is_no_word_against_one_however_it_is_written() {
        for word in [
            "nhs number",
            "NHS-No",
            "N.H.S. number",
            "H&C number",
            "Service_User",
            "DOB",
        ] {
            assert_eq!(said(&[word]).len(), 1, "{word}");
        }
        assert!(said(&["order number", "confidential", "number", "hcn2"]).is_empty());
    }
}
