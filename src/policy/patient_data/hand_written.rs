//! Numbers as people fill them in by hand: `NHS No: 654/100/3238`, `|6|5|4|…`, a letter O for a nought.
//!
//! Such digits are a number only where a clear label says so right before them: anywhere else slashes and
//! commas keep dates and lists apart, and letters are letters. So these are looked for from the label on, and
//! nowhere else; the check digit has to be right as always.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::candidate::{digit_of, is_invisible};
use super::identifier::Identifier;
use super::vocabulary::{FILLING, spellings, stands_alone};

/// Finds numbers right behind labels.
#[derive(Clone, Debug)]
pub(super) struct HandWritten {
    /// `None` where the settings have no labels.
    labels: Option<AhoCorasick>,
}

impl HandWritten {
    /// Prepares the search for labels such as `nhs number`, in lower case.
    pub(super) fn new(labels: &[String]) -> Result<Self, aho_corasick::BuildError> {
        let patterns: Vec<String> = labels.iter().flat_map(|word| spellings(word)).collect();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            // The whole of every text with a few digits goes through it; the patterns are few.
            .kind(Some(AhoCorasickKind::DFA))
            .build(patterns)?;
        Ok(Self {
            labels: (!labels.is_empty()).then_some(automaton),
        })
    }

    /// All numbers of a text that a label stands right before, however they are written.
    pub(super) fn in_text<'s>(&'s self, text: &'s str) -> impl Iterator<Item = Identifier> + 's {
        let labels = self.labels.iter();
        labels
            .flat_map(move |labels| labels.find_iter(text))
            .filter(move |label| stands_alone(text, label.range()))
            .filter_map(move |label| number_behind(text, label.end()))
    }
}

/// The number that begins behind a label, with no more than signs and filling words between.
pub(super) fn number_behind(text: &str, label_end: usize) -> Option<Identifier> {
    let rest = &text[label_end..];
    let mut word = 0..0;
    for (at, c) in rest.char_indices() {
        if at > LABEL_OCTETS {
            return None;
        }
        if digit_of(c).is_some() {
            // `no O43…`: letters right before a digit may be digits too.
            let start = if may_be_digits(&rest[word.clone()]) && word.end == at {
                word.start
            } else {
                at
            };
            return read(&rest[start..]);
        }
        if c.is_alphabetic() {
            word = if word.end == at { word.start } else { at }..at + c.len_utf8();
        } else if !word.is_empty() && !is_filling(&rest[word.clone()]) {
            return None;
        }
    }
    None
}

fn is_filling(word: &str) -> bool {
    let mut filling = FILLING.iter().chain(&["o"]);
    filling.any(|known| word.eq_ignore_ascii_case(known))
}

fn may_be_digits(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| like_digit(c).is_some())
}

/// Ten digits with signs between them, of which no more than a few are letters.
fn read(text: &str) -> Option<Identifier> {
    let (mut value, mut len, mut letters, mut gap) = (0_u64, 0, 0, 0);
    let mut chars = text.chars().filter(|c| !is_invisible(*c));
    while len < DIGITS {
        let c = chars.next()?;
        if let Some(digit) = digit_of(c).or_else(|| like_digit(c)) {
            letters += usize::from(digit_of(c).is_none());
            value = value * 10 + digit;
            len += 1;
            gap = 0;
        } else if c.is_alphanumeric() || gap == GAP_CHARS {
            return None;
        } else {
            gap += 1;
        }
    }
    let goes_on = is_longer(chars);
    (letters <= LETTERS_MAX && !goes_on)
        .then(|| Identifier::read(value))
        .flatten()
}

/// Whether the digits go on: at once, or behind one sign without a space.
fn is_longer(mut rest: impl Iterator<Item = char>) -> bool {
    let goes_on = |c: Option<char>| c.is_some_and(|c| digit_of(c).is_some());
    match rest.next() {
        Some(c) if c.is_alphanumeric() => true,
        Some('/' | ',' | '.' | '-' | '_') => goes_on(rest.next()),
        _ => false,
    }
}

/// What people write or read for a digit.
fn like_digit(c: char) -> Option<u64> {
    match c {
        'O' | 'o' => Some(0),
        'I' | 'l' => Some(1),
        _ => None,
    }
}

/// Digits of a number.
const DIGITS: usize = 10;
/// Letters among them: more are a word.
const LETTERS_MAX: usize = 4;
/// Signs between two digits: ` / `.
const GAP_CHARS: usize = 3;
/// How far a number may stand behind its label, in octets.
const LABEL_OCTETS: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> usize {
        let labels = ["nhs no", "nhs number", "chi number"].map(str::to_owned);
        HandWritten::new(&labels).unwrap().in_text(text).count()
    }

    #[test]
    fn a_number_behind_its_label_is_read_as_a_person_would() {
        for text in [
            "NHS No: 654/100/3238",
            "NHS No: 654,100,3238",
            "NHS No. 654, 100, 3238",
            "NHS number 654 1OO 3238 (dictated)",
            "NHS number: |6|5|4|1|0|0|3|2|3|8|",
            "NHS number: 6.5.4.1.0.0.3.2.3.8.",
            "NHS number is 654__100__3238",
            "NHS no 654 / 100 / 3238",
            "nhs-number: (654)100-3238",
            "NHS No - 65 41 00 32 38",
            "NHS number: 654:100:3238, 14/03/1951",
            "CHI number O60723/0002",
            "NHS number 4Ol0232l37",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn what_is_not_right_behind_a_label_or_goes_on_is_no_number() {
        for text in [
            "654/100/3238",
            "patient 654/100/3238",
            "NHS No: see below. Order 654/100/3238",
            "NHS No: 654/100/3237",
            "NHS No: 654/100/3238/7",
            "NHS No: 654/100/32389",
            "NHS No: 654/100/3238x",
            "NHS No: 654 -- -- 100 3238",
            "NHS No: look 1OO lO1 lOO",
            "NHS No: 654 a 100 3238",
            "NHS No:",
            "anhs no 654/100/3238",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
        assert_eq!(HandWritten::new(&[]).unwrap().in_text("x 1").count(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(NHS No|nhs number|[0-9OolI]|[ ,./|:-]|\\PC){0,40}") {
            found(&text);
        }
    }
}
