//! Words near a number: what speaks for it, and what against.
//!
//! All words of the policy file are one automaton, run over a text once and only if there is a
//! candidate in it. A space in a word stands for any of the ways in which people write it: `nhs
//! number`, `NHS-Number`, `nhs_number`, `NHSnumber`, or broken over two lines.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

/// What a group of words says about a number near it.
#[derive(Clone, Debug, PartialEq)]
pub struct WordGroup {
    /// What it says.
    pub sense: Sense,
    /// What it adds or takes away.
    pub weight: f64,
    /// How far from the number it may stand, in characters.
    pub window: usize,
    /// The words, in lower case.
    pub words: Vec<String>,
}

/// What a word says about a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sense {
    /// It is an identifier, wherever in the window the word stands.
    For,
    /// It is an identifier if nothing but filling words stands between.
    Label,
    /// It is something else, if the word is the last one before the number.
    Against(&'static str),
}

/// All groups of words, ready to search for.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    groups: Vec<WordGroup>,
    automaton: AhoCorasick,
    /// The group of each pattern of the automaton.
    group_of: Vec<usize>,
}

impl Vocabulary {
    /// Puts the groups into one automaton. Fails if they are too many to be held.
    pub fn new(groups: Vec<WordGroup>) -> Result<Self, aho_corasick::BuildError> {
        let (mut patterns, mut group_of) = (Vec::new(), Vec::new());
        for (index, group) in groups.iter().enumerate() {
            for pattern in group.words.iter().flat_map(|word| spellings(word)) {
                patterns.push(pattern);
                group_of.push(index);
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&patterns)?;
        Ok(Self {
            groups,
            automaton,
            group_of,
        })
    }

    /// The words in a text, in its order.
    pub fn words_in(&self, text: &str) -> Words<'_> {
        let mut words = vec![Vec::new(); self.groups.len()];
        for found in self.automaton.find_iter(text) {
            if stands_alone(text, found.range()) {
                words[self.group_of[found.pattern().as_usize()]].push(found.range());
            }
        }
        Words {
            groups: &self.groups,
            words,
        }
    }
}

/// The words of a text, by group.
#[derive(Clone, Debug)]
pub struct Words<'v> {
    groups: &'v [WordGroup],
    words: Vec<Vec<Range<usize>>>,
}

/// What the words near a number say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said {
    /// The most that one group adds.
    pub weight_for: f64,
    /// Whether the number stands right after a word that names it.
    pub labelled: bool,
    /// What the last word before the number makes of it, and what that takes away.
    pub against: Option<(&'static str, f64)>,
}

impl Words<'_> {
    /// Whether a word that speaks for an identifier is among them at all.
    pub fn any_for(&self) -> bool {
        let mut groups = self.groups.iter().zip(&self.words);
        groups.any(|(group, words)| group.sense == Sense::For && !words.is_empty())
    }

    /// The largest weight of the words that speak for an identifier, wherever they stand.
    pub fn weight_for(&self) -> f64 {
        let groups = self.groups.iter().zip(&self.words);
        groups
            .filter(|(group, words)| group.sense == Sense::For && !words.is_empty())
            .fold(0.0, |most, (group, _)| group.weight.max(most))
    }

    /// What they say about the number at `number`. Takes time that does not grow with the text.
    pub fn about(&self, text: &str, number: &Range<usize>) -> Said {
        let mut said = Said::default();
        // The last word before the number that speaks for it: one against has to stand after that.
        let mut last_for = 0;
        for (group, words) in self.groups.iter().zip(&self.words) {
            let after = words.partition_point(|word| word.start < number.start);
            let before = after.checked_sub(1).map(|index| &words[index]);
            let labelled = before.is_some_and(|word| is_label_of(text, word.end..number.start));
            let near = before
                .is_some_and(|word| within(text, word.end..number.start, group.window))
                || words
                    .get(after)
                    .is_some_and(|word| within(text, number.end..word.start, group.window));
            let counts = match group.sense {
                Sense::For => near,
                Sense::Label => labelled,
                Sense::Against(_) => false,
            };
            if counts {
                said.weight_for = said.weight_for.max(group.weight);
                said.labelled |= labelled;
                last_for = last_for.max(before.map_or(0, |word| word.end));
            }
        }
        said.against = self.against(text, number, last_for);
        said
    }

    fn against(
        &self,
        text: &str,
        number: &Range<usize>,
        last_for: usize,
    ) -> Option<(&'static str, f64)> {
        let groups = self.groups.iter().zip(&self.words);
        let speaking = groups.filter_map(|(group, words)| {
            let Sense::Against(because) = group.sense else {
                return None;
            };
            let after = words.partition_point(|word| word.start < number.start);
            let before = after.checked_sub(1).map(|index| &words[index]);
            let belongs = before.is_some_and(|word| {
                let between = word.end..number.start;
                word.end > last_for
                    && within(text, between.clone(), group.window)
                    && !holds_number(&text[between.clone()])
                    && !is_heading(text, between, last_for)
            });
            let bracketed = words
                .get(after)
                .is_some_and(|word| is_bracket(text, number.end..word.start));
            (belongs || bracketed).then_some((because, group.weight))
        });
        speaking.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Whether no more than `window` characters lie in between.
fn within(text: &str, between: Range<usize>, window: usize) -> bool {
    if between.start >= between.end || between.len() <= window {
        return true;
    }
    // Four octets are the most that a character takes.
    between.len() <= window * 4
        && text
            .get(between)
            .is_some_and(|text| text.chars().count() <= window)
}

/// Whether only signs and filling words stand between a word and the number: `NHS No. is: …`.
fn is_label_of(text: &str, between: Range<usize>) -> bool {
    if between.len() > LABEL_OCTETS {
        return false;
    }
    let Some(between) = text.get(between) else {
        // The word reaches into the number: `nhs-` and digits.
        return true;
    };
    !holds_number(between)
        && between
            .split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty())
            .all(|word| {
                FILLING
                    .iter()
                    .any(|filling| word.eq_ignore_ascii_case(filling))
            })
}

/// Whether the word before `between` stands in a line above the number beside one that speaks for it:
/// a heading names several columns (`NHS number   Telephone`), and each has its own numbers below.
fn is_heading(text: &str, between: Range<usize>, last_for: usize) -> bool {
    let breaks = |range: Range<usize>| memchr::memchr(b'\n', &text.as_bytes()[range]).is_some();
    let beside = last_for..between.start;
    last_for > 0 && breaks(between) && beside.len() <= HEADING_OCTETS && !breaks(beside)
}

/// Whether a word follows in brackets: `7700 900 123 (mobile)`.
fn is_bracket(text: &str, between: Range<usize>) -> bool {
    between.len() <= BRACKET_OCTETS
        && text.get(between).is_some_and(|between| {
            between.trim_start().starts_with(['(', '[']) && between.trim().len() == 1
        })
}

/// Whether a number of four digits or more is in it: then a word before belongs to that one.
fn holds_number(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|octet| {
        run = if octet.is_ascii_digit() { run + 1 } else { 0 };
        run == 4
    })
}

/// Whether a match is a whole word, or its plural, or runs into digits (`NHS9434765919`).
fn stands_alone(text: &str, word: Range<usize>) -> bool {
    let before = text[..word.start].chars().next_back();
    let mut after = text[word.end..].chars();
    let next = match after.next() {
        Some('s' | 'S') => after.next(),
        next => next,
    };
    !before.is_some_and(char::is_alphanumeric) && !next.is_some_and(char::is_alphabetic)
}

/// The ways in which people write the spaces of a word.
fn spellings(word: &str) -> Vec<String> {
    let mut spelt = vec![String::new()];
    for (index, piece) in word.split(' ').enumerate() {
        let between: &[&str] = if index == 0 { &[""] } else { SPACES };
        spelt = spelt
            .iter()
            .flat_map(|start| {
                between
                    .iter()
                    .map(move |space| format!("{start}{space}{piece}"))
            })
            .collect();
    }
    spelt
}

/// Ways to write a space within a word.
const SPACES: &[&str] = &[" ", "\u{a0}", "\u{fffd}", "-", "_", "", "  ", "\n", "\r\n"];
/// Words that may stand between a label and its number.
const FILLING: &[&str] = &[
    "no", "nos", "number", "numbers", "num", "nr", "id", "is", "was", "the", "and", "a", "s",
];
/// How far a label may stand from its number, in octets.
const LABEL_OCTETS: usize = 24;
/// How far apart two words of one heading may stand, in octets.
const HEADING_OCTETS: usize = 1200;
/// How far a bracketed word may stand behind a number, in octets.
const BRACKET_OCTETS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let group = |sense, weight, window, words: &[&str]| WordGroup {
            sense,
            weight,
            window,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        let vocabulary = Vocabulary::new(vec![
            group(
                Sense::For,
                0.4,
                300,
                &["nhs number", "patient", "date of birth"],
            ),
            group(Sense::Label, 0.4, 0, &["nhs"]),
            group(Sense::Against("telephone"), 0.6, 40, &["tel", "mobile"]),
        ])
        .unwrap();
        let at = text.find("4505577104").unwrap();
        vocabulary.words_in(text).about(text, &(at..at + 10))
    }

    #[test]
    fn a_word_is_known_in_all_its_spellings() {
        for text in [
            "NHS Number: 4505577104",
            "nhs-number=4505577104",
            "nhs_number 4505577104",
            "NHSNumber:4505577104",
            "NHS\u{a0}Numbers 4505577104",
            "NHS\r\nnumber 4505577104",
            "nhs4505577104",
            "NHS No. is 4505577104",
        ] {
            let said = said(text);
            assert!(said.labelled && said.weight_for == 0.4, "{text}: {said:?}");
        }
        for text in [
            "impatiently 4505577104",
            "NHS Trust, London 4505577104",
            "telnhs number4x 4505577104",
        ] {
            assert_eq!(said(text).weight_for, 0.0, "{text}");
        }
    }

    #[test]
    fn a_word_counts_within_its_window_on_either_side() {
        let far = |n: usize| format!("patient{}4505577104", "\u{2014}".repeat(n));
        assert_eq!(said(&far(300)).weight_for, 0.4);
        assert_eq!(said(&far(301)).weight_for, 0.0);
        assert_eq!(said("4505577104 is the patient").weight_for, 0.4);
    }

    #[test]
    fn the_last_word_before_the_number_decides_whose_it_is() {
        let against = |text| said(text).against.is_some();
        assert!(against("Patient J Smith, tel 4505577104"));
        assert!(against("4505577104 (mobile)"));
        assert!(!against("Tel: see below. Patient 4505577104"));
        assert!(
            !against("Tel 01632 960 and 4960, 4505577104"),
            "the label is used up"
        );
        assert!(!against("4505577104 tel 01632"));
    }

    #[test]
    fn a_heading_of_several_columns_speaks_against_none_of_them() {
        let against = |text: &str| said(text).against.is_some();
        let wide = |n| {
            let gap = " ".repeat(n);
            format!("NHS number{gap}Tel\n4505577104")
        };
        assert!(!against(&wide(4)) && !against(&wide(280)));
        assert!(!against("Patient\tTel\r\n4505577104\t01632 960960"));
        assert!(against("Patient\nTel\n4505577104"), "a line of its own");
        assert!(against("Tel\n4505577104"), "no other column");
        assert!(against("Patient, tel 4505577104"), "no heading");
    }
}
