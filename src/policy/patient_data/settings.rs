//! The settings of `patient-data.toml`. The shipped file is the default: a key that is left out means
//! what stands there.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use crate::config::{Diagnostics, Section, SourceFile, read_toml};
use crate::content::Limits;
use crate::policy::finding::Confidence;

use super::contradiction;
use super::corroboration::CorroborationSettings;
use super::vocabulary::{Sense, WordGroup};

/// All of `patient-data.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Weights and thresholds.
    pub identifiers: IdentifierSettings,
    /// What signs of a person near a number add.
    pub corroboration: CorroborationSettings,
    /// Words near a number.
    pub words: Vec<WordGroup>,
    /// Labels behind which a number counts however it is written: `nhs number`. In lower case.
    pub hand_written: Vec<String>,
    /// Markings.
    pub markings: MarkingSettings,
    /// Tags that ask for encryption, as they stand in the subject: `[secure]`.
    pub secure_tags: Vec<String>,
    /// How far a message is looked into.
    pub limits: Limits,
    /// What is put on outbound mail.
    pub mark: MarkSettings,
}

/// `[identifiers]`: how numbers are weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentifierSettings {
    /// A right check digit in a range that is given out.
    pub valid: f64,
    /// Printed as identifiers are.
    pub grouped: f64,
    /// What a URL, an amount, a dialling code take away.
    pub structure: f64,
    /// From here on a number is recorded.
    pub low: f64,
    /// From here on it restricts.
    pub medium: f64,
    /// From here on it is as good as certain.
    pub high: f64,
    /// So many different numbers at `low` are `medium` together.
    pub several: usize,
    /// The share of numbers with a right check digit from which on they are not chance.
    pub several_share: f64,
}

impl IdentifierSettings {
    /// What a sum of weights means; `None` if it is not worth recording.
    pub fn confidence(&self, score: f64) -> Option<Confidence> {
        // Sums of decimal fractions: 0.4 + 0.2 is a hair over 0.6, and 0.7 - 0.1 one under.
        let reaches = |threshold: f64| score + 1e-9 >= threshold;
        if reaches(self.high) {
            Some(Confidence::High)
        } else if reaches(self.medium) {
            Some(Confidence::Medium)
        } else {
            reaches(self.low).then_some(Confidence::Low)
        }
    }

    /// Whether so many right check digits among so many wrong ones mean something.
    #[expect(clippy::cast_precision_loss, reason = "counts of numbers in a message")]
    pub fn is_more_than_chance(&self, right: usize, wrong: usize) -> bool {
        right as f64 >= self.several_share * (right + wrong) as f64
    }

    fn read(section: Section<'_>, default: Self) -> Self {
        let weight = |key: &str, default| bounded(&section, key).unwrap_or(default);
        let read = Self {
            valid: weight("valid", default.valid),
            grouped: weight("grouped", default.grouped),
            structure: weight("structure", default.structure),
            low: weight("low", default.low),
            medium: weight("medium", default.medium),
            high: weight("high", default.high),
            several: count(&section, "several", 2, default.several),
            several_share: weight("several-share", default.several_share),
        };
        if !(read.low <= read.medium && read.medium <= read.high)
            && let Some(medium) = section.number("medium").or_else(|| section.number("low"))
        {
            section.report(
                "thresholds",
                "the thresholds are not in order",
                &medium,
                "low must not be above medium, nor medium above high".into(),
            );
        }
        section.finish();
        read
    }
}

/// `[corroboration]`.
fn read_corroboration(
    section: Section<'_>,
    default: CorroborationSettings,
) -> CorroborationSettings {
    let weight = |key: &str, default| bounded(&section, key).unwrap_or(default);
    let year = section.integer("born-before", 1905..=2200);
    let read = CorroborationSettings {
        window: count(&section, "window", 0, default.window),
        birth_date: weight("birth-date", default.birth_date),
        born_before: year
            .and_then(|year| u32::try_from(*year).ok())
            .unwrap_or(default.born_before),
        nino: weight("nino", default.nino),
        name: weight("name", default.name),
        postcode: weight("postcode", default.postcode),
    };
    section.finish();
    read
}

/// A weight or threshold: from 0 to 1, but a threshold above 1 is one that is never reached.
fn bounded(section: &Section<'_>, key: &str) -> Option<f64> {
    let number = section.number(key)?;
    if (0.0..=WEIGHT_MAX).contains(&*number) {
        return Some(*number);
    }
    let help = format!("from 0 to {WEIGHT_MAX}; weights that take away are written without a sign");
    let message = format!("`{key}` is out of bounds");
    section.report("out-of-bounds", message, &number, help);
    None
}

/// `[markings]`: which markings count as patient data.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkingSettings {
    /// Values of `Sensitivity` that count (RFC 2156 §5.3.4).
    pub sensitivity: Vec<String>,
    /// Names in `X-Protective-Marking` and `msip_labels` that count.
    pub labels: Vec<String>,
}

/// `[mark]`: what is put on outbound mail with patient data.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkSettings {
    /// The value of `Sensitivity`, if the field is to be added where it is missing.
    pub sensitivity: Option<String>,
    /// What is put before the subject, if anything.
    pub subject: Option<String>,
}

impl Settings {
    /// Reads the file.
    pub fn read(top: &Section<'_>) -> Self {
        Self::read_over(top, SHIPPED.clone())
    }

    fn read_over(top: &Section<'_>, default: Self) -> Self {
        let words = read_words(top);
        Self {
            identifiers: IdentifierSettings::read(top.section("identifiers"), default.identifiers),
            corroboration: read_corroboration(top.section("corroboration"), default.corroboration),
            words: if words.is_empty() {
                default.words
            } else {
                words
            },
            hand_written: read_hand_written(top.section("hand-written"), default.hand_written),
            markings: read_markings(top.section("markings"), default.markings),
            secure_tags: read_secure_tags(top.section("secure-keyword"), default.secure_tags),
            limits: read_limits(top.section("limits"), default.limits),
            mark: read_mark(top.section("mark"), default.mark),
        }
    }

    /// What is read over when the shipped file itself is read.
    fn empty() -> Self {
        Self {
            identifiers: IdentifierSettings {
                valid: 0.0,
                grouped: 0.0,
                structure: 0.0,
                low: 0.0,
                medium: 0.0,
                high: 0.0,
                several: 0,
                several_share: 0.0,
            },
            corroboration: CorroborationSettings::default(),
            words: Vec::new(),
            hand_written: Vec::new(),
            markings: MarkingSettings {
                sensitivity: Vec::new(),
                labels: Vec::new(),
            },
            secure_tags: Vec::new(),
            limits: Limits::default(),
            mark: MarkSettings {
                sensitivity: None,
                subject: None,
            },
        }
    }
}

impl Default for Settings {
    /// Those of the shipped file.
    fn default() -> Self {
        SHIPPED.clone()
    }
}

/// `[[keywords]]`, `[[labels]]`, `[[notices]]` and `[[against]]`. A file that has any of them has all of its own.
fn read_words(top: &Section<'_>) -> Vec<WordGroup> {
    let mut groups = Vec::new();
    let mut against = Vec::new();
    for section in top.sections("keywords") {
        groups.extend(read_group(section, Sense::For, true));
    }
    for section in top.sections("labels") {
        groups.extend(read_group(section, Sense::Label, false));
    }
    for section in top.sections("notices") {
        groups.extend(read_group(section, Sense::Notice, true));
    }
    for section in top.sections("against") {
        let because = section.word("because", AGAINST);
        let because = because.map_or("other", |because| *because);
        against.extend(section.strings("words").unwrap_or_default());
        groups.extend(read_group(section, Sense::Against(because), true));
    }
    contradiction::check(&groups, &against, top.diagnostics());
    groups
}

fn read_group(section: Section<'_>, sense: Sense, has_window: bool) -> Option<WordGroup> {
    // A notice weighs nothing: it takes the weight of others.
    let weight = match sense {
        Sense::Notice => Some(0.0),
        _ => bounded(&section, "weight"),
    };
    let named = sense == Sense::Notice || section.has("weight");
    let window = has_window.then(|| count(&section, "window", 0, 0));
    let words = section.strings("words").unwrap_or_default();
    for word in &words {
        if word.trim().is_empty() || word.matches(' ').count() > WORD_SPACES_MAX {
            let help = format!(
                "one word, or up to {} with single spaces",
                WORD_SPACES_MAX + 1
            );
            section.report("bad-keyword", "this cannot be searched for", word, help);
        }
    }
    if !named || words.is_empty() {
        let at = crate::config::Located::at((), section.place().clone());
        section.report(
            "incomplete-words",
            "a group of words needs `weight` and `words`",
            &at,
            "for example: weight = 0.4, words = [\"nhs number\"]".into(),
        );
    }
    section.finish();
    let usable = words
        .iter()
        .map(|word| word.trim().to_lowercase())
        .filter(|word| !word.is_empty() && word.matches(' ').count() <= WORD_SPACES_MAX);
    Some(WordGroup {
        sense,
        weight: weight?,
        window: window.unwrap_or(0),
        words: usable.collect(),
    })
}

/// `[hand-written]`: labels without empty ones, which would stand before every number.
fn read_hand_written(section: Section<'_>, default: Vec<String>) -> Vec<String> {
    let labels = texts(&section, "labels", default);
    section.finish();
    labels
        .iter()
        .map(|label| label.trim().to_lowercase())
        .filter(|label| !label.is_empty() && label.matches(' ').count() <= WORD_SPACES_MAX)
        .collect()
}

fn read_markings(section: Section<'_>, default: MarkingSettings) -> MarkingSettings {
    let read = MarkingSettings {
        sensitivity: texts(&section, "sensitivity", default.sensitivity),
        labels: texts(&section, "labels", default.labels),
    };
    section.finish();
    read
}

fn read_secure_tags(section: Section<'_>, default: Vec<String>) -> Vec<String> {
    let tags = section.strings("tags");
    for tag in tags.iter().flatten() {
        if tag.trim().is_empty() {
            section.report(
                "empty-tag",
                "an empty tag is in every subject",
                tag,
                "write for example \"[secure]\"".into(),
            );
        }
    }
    section.finish();
    match tags {
        Some(tags) => tags
            .into_iter()
            .map(crate::config::Located::into_inner)
            .filter(|tag| !tag.trim().is_empty())
            .collect(),
        None => default,
    }
}

fn read_limits(section: Section<'_>, default: Limits) -> Limits {
    let text = section
        .octets("text")
        .and_then(|octets| usize::try_from(*octets).ok());
    let unpacked = section
        .octets("unpacked")
        .and_then(|octets| usize::try_from(*octets).ok());
    let read = Limits {
        text_octets: text.unwrap_or(default.text_octets),
        depth: count(&section, "depth", 0, default.depth),
        unpacked_octets: unpacked.unwrap_or(default.unpacked_octets),
        ratio: count(&section, "ratio", 1, default.ratio),
    };
    section.finish();
    read
}

fn read_mark(section: Section<'_>, default: MarkSettings) -> MarkSettings {
    // An empty text switches a mark off.
    let choice = |key: &str, default: Option<String>| match section.string(key) {
        Some(text) => {
            let printable = text.bytes().all(|octet| (b' '..=b'~').contains(&octet));
            if !printable {
                let help = "printable ASCII alone: it stands in a header field".to_owned();
                section.report(
                    "not-ascii",
                    format!("`{key}` cannot be written"),
                    &text,
                    help,
                );
            }
            (printable && !text.trim().is_empty()).then(|| text.trim().to_owned())
        }
        None => default,
    };
    let read = MarkSettings {
        sensitivity: choice("sensitivity", default.sensitivity),
        subject: choice("subject", default.subject),
    };
    section.finish();
    read
}

fn texts(section: &Section<'_>, key: &str, default: Vec<String>) -> Vec<String> {
    section.strings(key).map_or(default, |texts| {
        texts
            .into_iter()
            .map(crate::config::Located::into_inner)
            .collect()
    })
}

fn count(section: &Section<'_>, key: &str, least: i64, default: usize) -> usize {
    section
        .integer(key, least..=100_000)
        .and_then(|number| usize::try_from(*number).ok())
        .unwrap_or(default)
}

static SHIPPED: LazyLock<Settings> = LazyLock::new(|| {
    let file = Arc::new(SourceFile {
        path: PathBuf::from("patient-data.toml"),
        text: include_str!("../../../policies/patient-data.toml").to_owned(),
    });
    read_toml(&file, &Diagnostics::default(), |top| {
        Settings::read_over(top, Settings::empty())
    })
});

/// What a number may be instead, as words of evidence.
const AGAINST: &[(&str, &str)] = &[
    ("telephone", "telephone"),
    ("isbn", "isbn"),
    ("order", "order"),
    ("tracking", "tracking"),
    ("meeting", "meeting"),
    ("account", "account"),
    ("staff", "staff"),
    ("other", "other"),
];

/// The largest weight or threshold: all that can speak for a number together.
const WEIGHT_MAX: f64 = 2.0;
/// Spaces in one keyword: each multiplies its spellings by eight.
const WORD_SPACES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

    fn read(text: &str) -> (Settings, Vec<String>) {
        let (settings, said) = read_text("patient-data.toml", text, Settings::read);
        let said = said.into_iter();
        let said = said.map(|d| format!("{}: {}", d.id, d.message));
        (settings, said.collect())
    }

    #[test]
    fn the_shipped_file_is_whole_and_without_fault() {
        let shipped = include_str!("../../../policies/patient-data.toml");
        let (settings, said) = read(shipped);
        assert_eq!((said, &settings), (vec![], &Settings::default()));
        let empty = Settings::empty();
        assert!(settings.identifiers.several == 5 && settings.limits == Limits::default());
        assert!(settings.words.len() > 3 && settings.markings != empty.markings);
        assert_eq!(settings.secure_tags, ["[secure]", "[encrypt]"]);
    }

    #[test]
    fn what_is_left_out_is_as_shipped() {
        assert_eq!(read(""), (Settings::default(), vec![]));
        let (settings, _) = read("[identifiers]\nmedium = 0.7\n[mark]\nsubject = \"\"\n");
        assert_eq!(settings.identifiers.medium, 0.7);
        assert_eq!(
            settings.identifiers.valid,
            Settings::default().identifiers.valid
        );
        assert_eq!(settings.mark.subject, None);
    }

    #[test]
    fn every_fault_is_reported() {
        let (_, said) = read(
            "[identifiers]\nlow = 0.9\nseveral = 1\nvalid = -0.4\n\
             [corroboration]\nname = nan\nborn-before = 1\n[[keywords]]\nwords = [\"a b c d\"]\n\
             [secure-keyword]\ntags = [\"\"]\n\
             [mark]\nsubject = \"[Ünfit]\"\n",
        );
        assert_eq!(
            said,
            [
                "bad-keyword: this cannot be searched for",
                "incomplete-words: a group of words needs `weight` and `words`",
                "out-of-bounds: `valid` is out of bounds",
                "out-of-bounds: `several` is out of bounds",
                "thresholds: the thresholds are not in order",
                "out-of-bounds: `born-before` is out of bounds",
                "out-of-bounds: `name` is out of bounds",
                "empty-tag: an empty tag is in every subject",
                "not-ascii: `subject` cannot be written",
            ]
        );
    }
}
