//! Whether an old name speaks of the organisation that its code names.
//!
//! `nhspharmacy.palmersgreen.aldermanspharmacyFAQ59` says a place, a name and a code, and nothing
//! separates them. A slip in the code lands on another live one all too often, so the rest of the
//! name must speak of the same organisation: a word of its name, street or town stands in it, also
//! squeezed together with others. Words of the trade and of every street prove nothing.

use std::collections::HashSet;

/// The words that prove nothing: `pharmacy`, `street`, `london`, … (`aliases.toml`).
#[derive(Debug, Default)]
pub(super) struct StopWords {
    words: HashSet<String>,
    /// Those of two letters and more by their first two, `aa` first: labels are searched for them
    /// all the time. Empty if there are none.
    by_start: Vec<Vec<String>>,
    longest: usize,
}

impl StopWords {
    pub(super) fn new(words: impl IntoIterator<Item = String>) -> Self {
        let words: HashSet<_> = words
            .into_iter()
            .map(|word| word.to_ascii_lowercase())
            .collect();
        let longest = words.iter().map(String::len).max().unwrap_or(0);
        let mut by_start = vec![Vec::new(); LETTERS * LETTERS];
        for word in &words {
            if let Some(start) = start_of(word) {
                by_start[start].push(word.clone());
            }
        }
        Self {
            words,
            by_start,
            longest,
        }
    }

    /// All of them, in their order.
    pub(super) fn sorted(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        words.sort_unstable();
        words
    }

    fn contains(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Whether octets `start..end` of `label` lie within a stop word that stands there.
    fn cover(&self, label: &str, start: usize, end: usize) -> bool {
        let first = (end).saturating_sub(self.longest);
        (first..=start).any(|from| {
            let rest = label.get(from..).unwrap_or_default();
            self.prefixes(rest).any(|length| from + length >= end)
        })
    }

    /// The lengths of the stop words that `text` begins with.
    fn prefixes<'t>(&'t self, text: &'t str) -> impl Iterator<Item = usize> + 't {
        let words = start_of(text).and_then(|start| self.by_start.get(start));
        let words = words.into_iter().flatten();
        words
            .filter(|word| text.starts_with(word.as_str()))
            .map(String::len)
    }
}

/// The place of a word in [`StopWords::by_start`]. Labels have small letters alone, so a word that
/// begins with anything else stands in none of them.
fn start_of(text: &str) -> Option<usize> {
    let [first, second] = *text.as_bytes().first_chunk()?;
    let letter = |octet: u8| {
        octet
            .is_ascii_lowercase()
            .then(|| usize::from(octet - b'a'))
    };
    Some(letter(first)? * LETTERS + letter(second)?)
}

/// What an organisation may be known by: the words of its name, street and town.
#[derive(Debug, Default)]
pub(super) struct Evidence<S = String> {
    pub(super) words: Vec<Word<S>>,
}

#[derive(Debug)]
pub(super) struct Word<S> {
    pub(super) text: S,
    /// Where in the description it stands.
    pub(super) part: Part,
    /// Whether it says anything: not a word of the trade, and three letters at least.
    pub(super) speaks: bool,
}

/// A part of an organisation's description.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Name,
    Street,
    Town,
}

impl Part {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 3] = [Self::Name, Self::Street, Self::Town];
}

impl Evidence {
    pub(super) fn new(name: &str, street: &str, town: &str, stop: &StopWords) -> Self {
        let texts = Part::ALL.into_iter().zip([name, street, town]);
        let words = texts.flat_map(|(part, text)| weigh(words_of(text), part, stop));
        Self {
            words: words.collect(),
        }
    }
}

impl<S: AsRef<str>> Evidence<S> {
    /// Which of its words stand in `said`: the part of an old name before its code. Once that is
    /// enough, no more is looked for.
    pub(super) fn agreement(&self, said: &str, stop: &StopWords) -> Agreement {
        let mut found = Agreement {
            explained: true,
            ..Agreement::default()
        };
        each_label(said, |label, extent| {
            let is_whole = extent == Extent::Whole;
            let enough = found.name && found.town;
            if enough && !(is_whole && found.explained) {
                return; // nothing else would count
            }
            let starts = self.word_starts(label, stop);
            if is_whole {
                found.explained &= starts.has(label.len());
            }
            if enough {
                return;
            }
            for word in &self.words {
                let part = match word.part {
                    Part::Name => &mut found.name,
                    Part::Street => &mut found.street,
                    Part::Town => &mut found.town,
                };
                *part = *part || self.stands(word, label, starts, stop);
            }
        });
        found
    }

    /// The letters of `said` that its words of some parts account for.
    pub(super) fn letters(&self, said: &str, parts: &[Part], stop: &StopWords) -> Letters {
        let mut labels = Vec::new();
        each_label(said, |label, _| {
            let starts = self.word_starts(label, stop);
            let mut letters = Starts::default();
            let words = self.words.iter().filter(|word| word.speaks);
            for word in words.filter(|word| parts.contains(&word.part)) {
                let text = word.text.as_ref();
                for at in starts.all() {
                    if self.stands_at(at, text, label, stop) {
                        (at..at + text.len()).for_each(|letter| letters.add(letter));
                    }
                }
            }
            labels.push(letters);
        });
        Letters(labels)
    }

    /// Whether a label is its whole name: `akpharmacy`, which has no word that speaks.
    pub(super) fn is_called(&self, label: &str) -> bool {
        let names = self.words.iter().filter(|word| word.part == Part::Name);
        let mut names = names.map(|word| word.text.as_ref()).peekable();
        let mut rest = label;
        while let Some(word) = names.next() {
            // Before the word that it is a part of (`weigh`).
            let is_bare = names.peek().is_some_and(|next| {
                next.len() >= word.len() + SHORTEST_SUFFIX && next.starts_with(word)
            });
            if !is_bare {
                let Some(left) = rest.strip_prefix(word) else {
                    return false;
                };
                rest = left;
            }
        }
        rest.is_empty() && !label.is_empty()
    }

    /// Whether one of the words of its name that speak is among the letters of a label, wherever.
    pub(super) fn may_be_named_in(&self, labels: &[String]) -> bool {
        let mut words = self.words.iter();
        words.any(|word| {
            let stands = |label: &String| label.contains(word.text.as_ref());
            word.part == Part::Name && word.speaks && labels.iter().any(stands)
        })
    }

    fn stands(&self, word: &Word<S>, label: &str, starts: Starts, stop: &StopWords) -> bool {
        let text = word.text.as_ref();
        word.speaks && starts.all().any(|at| self.stands_at(at, text, label, stop))
    }

    /// Whether a word stands in a squeezed label where a word may begin: not as a part of a stop
    /// word, and, if it is short, up to where another one begins.
    fn stands_at(&self, at: usize, text: &str, label: &str, stop: &StopWords) -> bool {
        let end = at + text.len();
        label[at..].starts_with(text)
            && (text.len() >= LONG || end == label.len() || self.begins_word(&label[end..], stop))
            && !stop.cover(label, at, end)
    }

    /// Where in a label a word may begin: at its start, and after a word of ours or of the trade.
    fn word_starts(&self, label: &str, stop: &StopWords) -> Starts {
        let mut starts = Starts(1);
        for at in 0..label.len() {
            if !starts.has(at) {
                continue;
            }
            let rest = &label[at..];
            let texts = self.words.iter().map(|word| word.text.as_ref());
            for text in texts.filter(|text| rest.starts_with(text)) {
                starts.add(at + text.len());
            }
            for length in stop.prefixes(rest) {
                starts.add(at + length);
            }
        }
        starts
    }

    fn begins_word(&self, rest: &str, stop: &StopWords) -> bool {
        let mut words = self.words.iter();
        words.any(|word| rest.starts_with(word.text.as_ref()))
            || stop.prefixes(rest).next().is_some()
    }
}

/// Places in a label, one bit for each: a local part has 64 octets at most (RFC 5321 §4.5.3.1.1). In a
/// label that is longer all the same, places past the bits are none, and nothing is found there.
#[derive(Clone, Copy, Default)]
struct Starts(u128);

impl Starts {
    fn add(&mut self, at: usize) {
        let bit = u32::try_from(at).ok().and_then(|at| 1_u128.checked_shl(at));
        self.0 |= bit.unwrap_or(0);
    }

    fn has(self, at: usize) -> bool {
        at < 128 && self.0 >> at & 1 == 1
    }

    fn all(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (at < 128).then_some(at as usize)
        })
    }
}

/// Letters of an old name, label by label, that the words of an organisation account for.
pub(super) struct Letters(Vec<Starts>);

impl Letters {
    /// Whether there are letters that `other` has not. Where the labels are not the same, there may be.
    pub(super) fn go_beyond(&self, other: &Self) -> bool {
        self.0.len() != other.0.len()
            || self
                .0
                .iter()
                .zip(&other.0)
                .any(|(ours, theirs)| ours.0 & !theirs.0 != 0)
    }
}

/// The labels of an old name, as they are compared.
pub(super) fn labels_of(said: &str) -> Vec<String> {
    let mut labels = Vec::new();
    each_label(said, |label, _| labels.push(label.to_owned()));
    labels
}

/// Which parts of an organisation's description an old name agrees with.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Agreement {
    pub(super) name: bool,
    pub(super) street: bool,
    pub(super) town: bool,
    /// Whether words of the organisation, short ones too, and stop words make up all of it.
    pub(super) explained: bool,
}

impl Agreement {
    /// Whether that is enough. Of a name that several live organisations bear the town must agree
    /// as well, for the branches of a chain differ in nothing else. Whether they are several is
    /// only asked if it decides.
    pub(super) fn suffices(self, borne_by_several: impl FnOnce() -> bool) -> bool {
        let any = self.name || self.street || self.town;
        any && (self.name && self.town || !borne_by_several())
    }
}

/// Two organisations with the same key bear the same name.
pub(super) fn name_key(name: &str, stop: &StopWords) -> String {
    let words = words_of(name);
    let telling: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| !stop.contains(word))
        .collect();
    if telling.is_empty() {
        words.join(" ")
    } else {
        telling.join(" ")
    }
}

/// Words as runs of ASCII letters, in lower case; an apostrophe is no gap.
fn words_of(text: &str) -> Vec<String> {
    let bare: String = text.chars().filter(|c| !is_apostrophe(*c)).collect();
    bare.split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect()
}

/// Calls `each` with the labels of an old name: the words between its dots, each also as one with its
/// hyphens and digits taken out.
fn each_label(said: &str, mut each: impl FnMut(&str, Extent)) {
    let (mut label, mut ends) = (String::new(), Vec::new());
    for part in said.split('.') {
        label.clear();
        ends.clear();
        for c in part.chars() {
            if c.is_ascii_alphabetic() {
                label.push(c.to_ascii_lowercase());
            } else if !is_apostrophe(c) && ends.last().unwrap_or(&0) < &label.len() {
                ends.push(label.len());
            }
        }
        if ends.last().is_some_and(|end| *end < label.len()) {
            ends.push(label.len());
        }
        if !label.is_empty() {
            each(&label, Extent::Whole);
        }
        if ends.len() > 1 {
            let starts = std::iter::once(&0).chain(&ends);
            for (start, end) in starts.zip(&ends) {
                each(&label[*start..*end], Extent::Piece);
            }
        }
    }
}

/// How much of what stands between two dots.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Extent {
    Whole,
    /// What stands between hyphens and digits.
    Piece,
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}

/// Marks the words that say something. A word of the name that ends in one of the trade counts without it as
/// well: `lloydspharmacy` is `lloyds`. A town is not: the `ton` of Tonbridge stands in every Newton.
fn weigh(words: Vec<String>, part: Part, stop: &StopWords) -> Vec<Word<String>> {
    let mut weighed = Vec::with_capacity(words.len());
    for text in words {
        let bare = (LONG_ENOUGH..text.len())
            .find(|at| text.len() - at >= SHORTEST_SUFFIX && stop.contains(&text[*at..]))
            .filter(|_| part == Part::Name)
            .map(|at| text[..at].to_owned());
        weighed.extend(bare.into_iter().chain([text]).map(|text| Word {
            part,
            speaks: text.len() >= LONG_ENOUGH && !stop.contains(&text),
            text,
        }));
    }
    weighed
}

/// How many letters there are.
const LETTERS: usize = 26;
/// A word of fewer letters proves nothing.
const LONG_ENOUGH: usize = 3;
/// A word of fewer letters is only found where it ends at the end of another.
const LONG: usize = 5;
/// The shortest stop word that is taken off the end of a word.
const SHORTEST_SUFFIX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stop() -> StopWords {
        let words = "pharmacy chemist chemists the high street road green end instore health care";
        StopWords::new(words.split(' ').map(str::to_owned))
    }

    fn agreement(name: &str, street: &str, town: &str, said: &str) -> (bool, bool, bool) {
        let found = Evidence::new(name, street, town, &stop()).agreement(said, &stop());
        (found.name, found.street, found.town)
    }

    #[test]
    fn a_word_is_found_in_a_squeezed_label() {
        let (yes, no) = (true, false);
        for (name, street, town, said, found) in [
            (
                "ALDERMANS PHARMACY",
                "38-40 ALDERMANS HILL",
                "PALMERS GREEN, LONDON",
                "palmersgreen.aldermanspharmacy",
                (yes, yes, yes),
            ),
            (
                "NR PATEL CHEMISTS",
                "153 BOWES ROAD",
                "PALMERS GREEN",
                "bowesroad.nrpatelchemist",
                (yes, yes, no),
            ),
            (
                "TESCO INSTORE PHARMACY",
                "288 HIGH STREET",
                "ENFIELD",
                "288highs.tescoin-s",
                (yes, no, no),
            ),
            (
                "WELL",
                "66 SILVER ST",
                "ENFIELD",
                "enfield.wellpharmacy",
                (yes, no, yes),
            ),
            ("LLOYDSPHARMACY", "", "", "x.lloyds", (yes, no, no)),
            ("GREENLIGHT", "", "", "x.green-light", (yes, no, no)),
            (
                "ST JOHN'S PHARMACY",
                "",
                "",
                "x.stjohnschemist",
                (yes, no, no),
            ),
            (
                "WELL",
                "",
                "STOCKWELL",
                "x.stockwellpharmacy",
                (no, no, yes),
            ),
            ("HARM", "", "", "x.pharmacy", (no, no, no)),
            ("HIGHGATE PHARMACY", "", "", "highgate.x", (yes, no, no)),
            (
                "THE PHARMACY",
                "HIGH STREET",
                "",
                "highstreet.thepharmacy",
                (no, no, no),
            ),
            (
                "A K PHARMACY",
                "",
                "LUTON",
                "luton.akpharmacy",
                (no, no, yes),
            ),
            ("ASDA PHARMACY", "", "", "x.asdapharmacy", (yes, no, no)),
            ("ASDA PHARMACY", "", "", "x.asdaphxrmacy", (no, no, no)),
            // As the `ton` of Tonbridge in Newton.
            (
                "FIELD PHARMACY",
                "",
                "TONSTREET",
                "x.tonpharmacy",
                (no, no, no),
            ),
        ] {
            assert_eq!(
                agreement(name, street, town, said),
                found,
                "{said} / {name}"
            );
        }
    }

    #[test]
    fn the_labels_of_a_name_are_its_words_and_what_they_make_together() {
        let labels = labels_of("288highs.tescoin-s.o'neil..9.a1b-");
        let expected = ["highs", "tescoins", "tescoin", "s", "oneil", "ab", "a", "b"];
        assert_eq!(labels, expected);
    }

    #[test]
    fn an_organisation_is_called_by_its_whole_name_alone() {
        for (name, label, is) in [
            ("A & K PHARMACY", "akpharmacy", true),
            ("LLOYDSPHARMACY", "lloydspharmacy", true),
            ("LLOYDS PHARMACY", "lloydspharmacy", true),
            ("LLOYDSPHARMACY", "lloyds", false),
            ("THE PHARMACY", "thepharmacyltd", false),
            ("THE PHARMACY", "the", false),
            ("24/7", "", false),
        ] {
            let evidence = Evidence::new(name, "", "LUTON", &stop());
            assert_eq!(evidence.is_called(label), is, "{name}: {label}");
        }
    }

    #[test]
    fn names_are_the_same_without_the_words_of_the_trade() {
        let key = |name| name_key(name, &stop());
        assert_eq!(key("WELL"), key("Well Pharmacy"));
        assert_eq!(key("The Pharmacy"), "the pharmacy");
        assert_ne!(key("WELL"), key("WELL ENFIELD"));
    }

    proptest! {
        #[test]
        fn any_text_can_be_compared(name in "\\PC{0,30}", town in "\\PC{0,20}", said in "\\PC{0,64}") {
            let _ = agreement(&name, "", &town, &said);
        }

        #[test]
        fn stop_words_alone_never_agree(picks in prop::collection::vec(0..11usize, 1..6)) {
            let words = ["pharmacy", "chemist", "chemists", "the", "high", "street", "road", "green", "end", "health", "care"];
            let said: String = picks.iter().map(|pick| words[*pick]).collect();
            let all = words.join(" ");
            prop_assert_eq!(agreement(&all, &all, &all, &said), (false, false, false));
        }
    }
}
