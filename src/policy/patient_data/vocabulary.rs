//! Words near a number: what speaks for it, and what against.
//!
//! All words of the policy file are one automaton, run over a text once and only if there is a
//! candidate in it. A space in a word stands for any of the ways in which people write it: `nhs
//! number`, `NHS-Number`, `nhs_number`, `NHSnumber`, or broken over two lines.

use std::collections::HashSet;
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
    /// It begins a notice that stands under every mail: words that speak for an identifier and follow it
    /// in its paragraph do not count, unless the number stands right after one.
    Notice,
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
    /// Whether each pattern is a label behind which a number counts however it is written.
    is_clear: Vec<bool>,
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
            is_clear: vec![false; group_of.len()],
            group_of,
        })
    }

    /// Has the words that are also among these labels collected ([`Words::clear_labels`]), so that a text need
    /// not be searched for them again. False if some of the labels are none of the words.
    pub(super) fn collect_labels(&mut self, labels: &[String]) -> bool {
        let patterns: Vec<String> = self.patterns().collect();
        let wanted: HashSet<String> = labels.iter().flat_map(|label| spellings(label)).collect();
        self.is_clear = patterns.iter().map(|word| wanted.contains(word)).collect();
        let known: HashSet<&String> = patterns.iter().collect();
        wanted.iter().all(|label| known.contains(label))
    }

    /// The patterns of the automaton, in their order.
    fn patterns(&self) -> impl Iterator<Item = String> {
        let words = self.groups.iter().flat_map(|group| &group.words);
        words.flat_map(|word| spellings(word))
    }

    /// The words in a text, in its order.
    pub fn words_in(&self, text: &str) -> Words<'_> {
        let mut words = vec![Vec::new(); self.groups.len()];
        let mut clear_labels = Vec::new();
        for found in self.automaton.find_iter(text) {
            if stands_alone(text, found.range()) {
                let pattern = found.pattern().as_usize();
                words[self.group_of[pattern]].push(found.range());
                if self.is_clear[pattern] {
                    clear_labels.push(found.range());
                }
            }
        }
        let muted = self.muted(text, &words);
        let speaking = (!muted.is_empty()).then(|| {
            let mut speaking = words.clone();
            for (group, words) in self.groups.iter().zip(&mut speaking) {
                if group.sense == Sense::For {
                    words.retain(|word| !muted.iter().any(|muted| muted.contains(&word.start)));
                }
            }
            speaking
        });
        Words {
            groups: &self.groups,
            words,
            speaking,
            clear_labels,
        }
    }

    /// What a text weighs that is one word which names an identifier, and nothing else: the title of a column.
    pub(super) fn label_weight(&self, text: &str) -> Option<f64> {
        if text.len() > TITLE_OCTETS {
            return None;
        }
        let found = self.automaton.find(text)?;
        let group = &self.groups[self.group_of[found.pattern().as_usize()]];
        let names = matches!(group.sense, Sense::For | Sense::Label);
        (names && found.range() == (0..text.len())).then_some(group.weight)
    }

    /// What notices cover: from each to the end of its paragraph, but no further than its window.
    fn muted(&self, text: &str, words: &[Vec<Range<usize>>]) -> Vec<Range<usize>> {
        let mut muted: Vec<Range<usize>> = Vec::new();
        for (group, words) in self.groups.iter().zip(words) {
            if group.sense != Sense::Notice {
                continue;
            }
            for word in words {
                if muted.iter().any(|muted| muted.contains(&word.start)) {
                    continue;
                }
                let end = text.len().min(word.end + group.window);
                muted.push(word.start..paragraph_end(text, word.end..end));
            }
        }
        muted
    }
}

/// Where the paragraph ends that goes on at the start of `within`, or else the end of `within`: at an empty
/// line, or at a line that ends with a full stop (HTML has no empty lines).
fn paragraph_end(text: &str, within: Range<usize>) -> usize {
    let octets = &text.as_bytes()[within.clone()];
    let line_ends = memchr::memchr_iter(b'\n', octets);
    let last = |at: usize| octets[..at].trim_ascii_end().last().copied();
    let is_empty_next = |at: usize| matches!(octets[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    let end = line_ends
        .into_iter()
        .find(|at| is_empty_next(*at) || last(*at) == Some(b'.'));
    end.map_or(within.end, |at| within.start + at)
}

/// The words of a text, by group.
#[derive(Clone, Debug)]
pub struct Words<'v> {
    groups: &'v [WordGroup],
    words: Vec<Vec<Range<usize>>>,
    /// Those that count from afar, without what stands in a notice; `None` where that is all of them.
    speaking: Option<Vec<Vec<Range<usize>>>>,
    /// Those behind which a number counts however it is written.
    clear_labels: Vec<Range<usize>>,
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
    /// The words that [`Vocabulary::collect_labels`] was asked for.
    pub(super) fn clear_labels(&self) -> &[Range<usize>] {
        &self.clear_labels
    }

    /// Whether a word that speaks for an identifier is among them at all.
    pub fn any_for(&self) -> bool {
        let mut groups = self.groups.iter().zip(&self.words);
        groups.any(|(group, words)| group.sense == Sense::For && !words.is_empty())
    }

    /// Whether a word that may be the title of a column is among them at all.
    pub(super) fn any_title(&self) -> bool {
        let mut groups = self.groups.iter().zip(&self.words);
        groups.any(|(group, words)| {
            matches!(group.sense, Sense::For | Sense::Label) && !words.is_empty()
        })
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
        for (index, (group, words)) in self.groups.iter().zip(&self.words).enumerate() {
            if words.is_empty() || matches!(group.sense, Sense::Against(_) | Sense::Notice) {
                continue;
            }
            let (before, after) = neighbours(words, number);
            let labelled = before.is_some_and(|word| is_label_of(text, word.end..number.start));
            let (left, right) = match &self.speaking {
                Some(speaking) => neighbours(&speaking[index], number),
                None => (before, after),
            };
            let near = left.is_some_and(|word| within(text, word.end..number.start, group.window))
                || right.is_some_and(|word| within(text, number.end..word.start, group.window));
            let behind = after.is_some_and(|word| is_behind(text, number.end, word));
            let counts = labelled || behind || (group.sense == Sense::For && near);
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
            let (before, after) = neighbours(words, number);
            let belongs = before.is_some_and(|word| {
                let between = word.end..number.start;
                word.end > last_for
                    && within(text, between.clone(), group.window)
                    && !is_used_up(&text[between.clone()])
                    && !is_heading(text, between, last_for)
            });
            let bracketed = after.is_some_and(|word| is_bracket(text, number.end..word.start));
            (belongs || bracketed).then_some((because, group.weight))
        });
        speaking.max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// The last word before a number and the first after it.
fn neighbours<'w>(
    words: &'w [Range<usize>],
    number: &Range<usize>,
) -> (Option<&'w Range<usize>>, Option<&'w Range<usize>>) {
    let after = words.partition_point(|word| word.start < number.start);
    let before = after.checked_sub(1).map(|index| &words[index]);
    (before, words.get(after))
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
    let between = without_second_name(between);
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

/// What follows the label of two things, without the second: the numbers come in the order of the names
/// (`NHS number / telephone: 450 557 7104 / 01632 960123`).
fn without_second_name(between: &str) -> &str {
    let second = between.trim_start().strip_prefix(['/', '&', ',']);
    let named = second.and_then(|second| second.split_once(':'));
    match named {
        Some((second, rest)) if !second.contains(|c: char| c.is_ascii_digit() || c == '\n') => rest,
        _ => between,
    }
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

/// Whether a word stands right behind a number in brackets of its own: `4505577104 (NHS)`.
fn is_behind(text: &str, end: usize, word: &Range<usize>) -> bool {
    let closes = |rest: &str| rest.trim_start_matches(['.', ' ']).starts_with([')', ']']);
    is_bracket(text, end..word.start) && text.get(word.end..).is_some_and(closes)
}

/// Whether a word before belongs to another number in between: but `Tel 01632 960123 / 4505577104` goes on.
fn is_used_up(between: &str) -> bool {
    let goes_on = between.trim_end().strip_suffix('/');
    holds_number(between)
        && !goes_on.is_some_and(|list| list.trim_end().ends_with(|c: char| c.is_ascii_digit()))
}

/// Whether a number of four digits or more is in it.
fn holds_number(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|octet| {
        run = if octet.is_ascii_digit() { run + 1 } else { 0 };
        run == 4
    })
}

/// Whether a match is a whole word, or its plural, or runs into digits (`NHS9434765919`).
pub(super) fn stands_alone(text: &str, word: Range<usize>) -> bool {
    let before = text[..word.start].chars().next_back();
    let mut after = text[word.end..].chars();
    let next = match after.next() {
        Some('s' | 'S') => after.next(),
        next => next,
    };
    !before.is_some_and(char::is_alphanumeric) && !next.is_some_and(char::is_alphabetic)
}

/// The ways in which people write the spaces of a word.
pub(super) fn spellings(word: &str) -> Vec<String> {
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
pub(super) const FILLING: &[&str] = &[
    "no", "nos", "number", "numbers", "num", "nr", "id", "is", "was", "the", "and", "a", "s",
];
/// No title that is one word is longer, in octets.
const TITLE_OCTETS: usize = 64;
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
            group(Sense::Notice, 0.0, 100, &["this email may"]),
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
        assert!(against("Tel/mobile 01632 960960 / 4505577104"));
        assert!(!against("4505577104 tel 01632"));
        assert_eq!(said("4505577104 (NHS)").weight_for, 0.4);
        assert_eq!(said("4505577104 (NHS Trust)").weight_for, 0.0);
    }

    #[test]
    fn words_of_a_notice_do_not_speak_for_a_number() {
        let weight = |text: &str| said(text).weight_for;
        let notice = "This email may hold data of a patient";
        assert_eq!(weight(&format!("4505577104\n\n{notice}")), 0.0);
        assert_eq!(weight(&format!("{notice} in it\n4505577104")), 0.0);
        assert_eq!(weight(&format!("{notice} 4505577104")), 0.4, "right before");
        assert_eq!(weight(&format!("4505577104 is a patient. {notice}")), 0.4);
        assert_eq!(
            weight(&format!("{notice}\r\n\r\nThe patient is well, 4505577104")),
            0.4
        );
        assert_eq!(
            weight(&format!(
                "{notice}, and so on.\nThe patient is well, 4505577104"
            )),
            0.4
        );
        let long = "x ".repeat(60);
        assert_eq!(
            weight(&format!("4505577104. This email may {long} patient")),
            0.4
        );
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
