//! The detector: weighs what speaks for and against each candidate, and says how sure it is.
//!
//! A candidate starts with the weight of a right check digit in a range that is given out. Grouping and
//! words near it add, structure and words that make it something else take away; thresholds turn
//! the sum into a confidence. Two rules are fixed (`design.md` §4.3): a number that nobody gives out is
//! never more than `low`, and enough different numbers at `low` are `medium` together. Right after
//! a word that names it a number is an identifier, whatever else stands near.

use std::collections::{BTreeSet, HashMap};

use crate::policy::finding::{Confidence, Evidence, PatientData};

use super::candidate::{Candidate, Candidates, Shape, is_invisible};
use super::columns::Columns;
use super::corroboration::{Corroboration, CorroborationSettings};
use super::hand_written::{HandWritten, number_behind};
use super::identifier::{Identifier, Register};
use super::settings::{IdentifierSettings, Settings};
use super::vocabulary::{Vocabulary, Words};

/// A text to look into.
#[derive(Clone, Copy)]
pub struct Piece<'t> {
    /// Where it stands: `body:1.2`.
    pub place: &'t str,
    /// What it says.
    pub text: &'t str,
    /// Text that a reader has before the eyes while reading this one: the subject, a file name.
    pub heading: &'t str,
    /// Whether it is a table, in which the words of the first line speak for the whole column.
    pub is_table: bool,
    /// Whether it says once more what a piece before it says: what fails the check there was counted.
    pub is_again: bool,
}

/// Looks for patient identifiers, by the weights of a policy file.
#[derive(Clone, Debug)]
pub struct Detector {
    settings: IdentifierSettings,
    corroboration: CorroborationSettings,
    vocabulary: Vocabulary,
    /// Whether the vocabulary has all labels of `hand_written` among its words.
    has_labels: bool,
    hand_written: HandWritten,
}

impl Detector {
    /// Prepares the search. Fails if the words of the settings are too many to be held.
    pub fn new(settings: &Settings) -> Result<Self, aho_corasick::BuildError> {
        let mut vocabulary = Vocabulary::new(settings.words.clone())?;
        Ok(Self {
            settings: settings.identifiers.clone(),
            corroboration: settings.corroboration,
            has_labels: vocabulary.collect_labels(&settings.hand_written),
            vocabulary,
            hand_written: HandWritten::new(&settings.hand_written)?,
        })
    }

    /// Looks into all pieces of one message.
    pub fn examine<'t>(&self, pieces: impl IntoIterator<Item = Piece<'t>>) -> PatientData {
        let mut sightings = Sightings::default();
        for piece in pieces {
            let candidates = Candidates::of(piece.text);
            sightings.enter(&piece);
            *sightings.failed() += candidates.failed;
            let has_valid = !candidates.valid.is_empty();
            if has_valid {
                self.weigh_all(&piece, &candidates, &mut sightings);
            }
            // Where the text was searched for words, its labels are known already.
            if candidates.digits >= HAND_WRITTEN_DIGITS && !(has_valid && self.has_labels) {
                for identifier in self.hand_written.in_text(piece.text) {
                    sightings.add_hand_written(identifier);
                }
            }
        }
        self.raise_several(&mut sightings);
        sightings.into_finding()
    }

    fn weigh_all(&self, piece: &Piece<'_>, candidates: &Candidates, sightings: &mut Sightings) {
        let words = self.vocabulary.words_in(piece.text);
        let heading = self.vocabulary.words_in(piece.heading);
        let columns = Columns::of(piece, &self.vocabulary, words.any_title());
        let chance = self.chance(candidates);
        for (index, candidate) in candidates.valid.iter().enumerate() {
            let is_early = index < CORROBORATED_MAX;
            let column = columns.weight_of(piece.text, candidate.start, is_early);
            let round = Surroundings {
                words: &words,
                elsewhere: near_heading(piece, candidate, &heading).max(column),
                is_titled: column > 0.0,
                by_chance: column == 0.0 && chance.has(candidate.shape),
                corroborate: is_early,
            };
            let weighed = self.weigh(piece.text, candidate, &round);
            if let Some((confidence, because)) = weighed {
                sightings.add(candidate.identifier, confidence, because);
            }
        }
        if self.has_labels {
            for label in words.clear_labels() {
                if is_read(&candidates.valid, label.end, piece.text) {
                    continue;
                }
                if let Some(identifier) = number_behind(piece.text, label.end) {
                    sightings.add_hand_written(identifier);
                }
            }
        }
    }

    /// Whether so many other tens of digits in the text fail the check that those which pass are chance.
    fn chance(&self, candidates: &Candidates) -> Chance {
        let is_chance = |unspaced: bool, failed: usize| {
            let valid = candidates.valid.iter();
            let right = valid.filter(|valid| (valid.shape == Shape::Unspaced) == unspaced);
            failed >= CHANCE_FAILED && !self.settings.is_more_than_chance(right.count(), failed)
        };
        Chance {
            unspaced: is_chance(true, candidates.failed),
            spaced: is_chance(false, candidates.failed_grouped),
        }
    }

    /// What signs of a person near a candidate add. Asked only where it can make a difference.
    fn corroborate(&self, text: &str, candidate: &Candidate, score: f64) -> Corroboration {
        if score >= self.settings.high || self.settings.confidence(score).is_none() {
            return Corroboration::default();
        }
        let number = candidate.start..candidate.end;
        self.corroboration.near(text, &number)
    }

    /// Returns how sure it is and why; `None` if it is not worth recording. One that is there by chance is
    /// no more than `low`, unless a word right before names it.
    fn weigh(
        &self,
        text: &str,
        candidate: &Candidate,
        round: &Surroundings<'_>,
    ) -> Option<(Confidence, Vec<&'static str>)> {
        let register = candidate.identifier.register();
        let said = round.words.about(text, &(candidate.start..candidate.end));
        if candidate.shape == Shape::Odd && !said.labelled && !round.is_titled {
            return None;
        }
        let mut because = Vec::with_capacity(REASONS);
        because.extend(["checksum", register.because()]);
        let mut score = self.settings.valid;
        if candidate.shape == Shape::Grouped {
            score += self.settings.grouped;
            because.push("grouped");
        }
        let keyword = said.weight_for.max(round.elsewhere);
        if keyword > 0.0 {
            score += keyword;
            because.push("keyword");
        }
        if !said.labelled {
            let structure =
                structure_against(text, candidate).map(|why| (why, self.settings.structure));
            let against = [structure, said.against].into_iter().flatten();
            if let Some((why, weight)) = against.max_by(|a, b| a.1.total_cmp(&b.1)) {
                score -= weight;
                because.push(why);
            }
        }
        if round.corroborate {
            let near = self.corroborate(text, candidate, score);
            score += near.weight;
            because.extend(near.because);
        }
        let confidence = self.settings.confidence(score)?;
        let by_chance = round.by_chance && !said.labelled;
        if by_chance {
            because.push("chance");
        }
        let is_capped = by_chance || register == Register::Unissued;
        Some((
            if is_capped {
                Confidence::Low
            } else {
                confidence
            },
            because,
        ))
    }

    /// Many different numbers at `low` are `medium` together, unless so many others have a wrong
    /// check digit that these are chance. Test numbers are counted apart.
    ///
    /// What is read again in another way has the same wrong ones once more, and right ones that nobody wrote: first only
    /// what stands so is counted, then all.
    fn raise_several(&self, sightings: &mut Sightings) {
        for (synthetic, again) in [(false, false), (true, false), (false, true), (true, true)] {
            let counts = |sighting: &Sighting| {
                sighting.identifier.register() != Register::Unissued
                    && sighting.is_synthetic() == synthetic
                    && sighting.evidence.confidence == Confidence::Low
                    && (again || !sighting.is_again)
            };
            let failed = sightings.failed + if again { sightings.failed_again } else { 0 };
            let low = sightings.all.iter().filter(|sighting| counts(sighting));
            let distinct: BTreeSet<Identifier> = low.map(|sighting| sighting.identifier).collect();
            let enough = distinct.len() >= self.settings.several;
            if !enough || !self.settings.is_more_than_chance(distinct.len(), failed) {
                continue;
            }
            for sighting in sightings.all.iter_mut().filter(|sighting| counts(sighting)) {
                sighting.evidence.confidence = Confidence::Medium;
                sighting.evidence.because.push("several");
            }
        }
    }
}

/// Whether a candidate that was weighed begins right behind a label that ends at `end`: then nothing else does.
fn is_read(candidates: &[Candidate], end: usize, text: &str) -> bool {
    let next = candidates.partition_point(|candidate| candidate.start < end);
    let Some(next) = candidates.get(next) else {
        return false;
    };
    let between = &text.as_bytes()[end..next.start];
    between.len() <= READ_OCTETS && !between.iter().any(u8::is_ascii_alphanumeric)
}

/// What stands round a candidate.
struct Surroundings<'a> {
    /// The words of the text.
    words: &'a Words<'a>,
    /// The weight of words over it: the heading of the text or of the column.
    elsewhere: f64,
    /// Whether the title of its column names it.
    is_titled: bool,
    /// Whether other numbers of its shape fail the check so often that this one is chance.
    by_chance: bool,
    /// Whether signs of a person are looked for.
    corroborate: bool,
}

/// Of which shapes the numbers of a text are chance.
#[derive(Clone, Copy)]
struct Chance {
    unspaced: bool,
    spaced: bool,
}

impl Chance {
    fn has(self, shape: Shape) -> bool {
        if shape == Shape::Unspaced {
            self.unspaced
        } else {
            self.spaced
        }
    }
}

/// The weight of the heading's words for a number that stands near the top.
fn near_heading(piece: &Piece<'_>, candidate: &Candidate, heading: &Words<'_>) -> f64 {
    if candidate.start <= HEADING_OCTETS || piece.is_table {
        heading.weight_for()
    } else {
        0.0
    }
}

/// What the signs right around a number make of it, if not an identifier.
fn structure_against(text: &str, candidate: &Candidate) -> Option<&'static str> {
    if candidate.dialled {
        return Some("telephone");
    }
    if candidate.part_of_longer {
        return Some("part-of-longer");
    }
    let visible = |c: &char| !is_invisible(*c);
    let before = text[..candidate.start].chars().rev().find(visible);
    let after = text[candidate.end..].chars().find(visible);
    if matches!(before, Some('£' | '$' | '€')) {
        return Some("amount");
    }
    if is_in_url(text, candidate) {
        return Some("url");
    }
    let glued = |c: Option<char>| c.is_some_and(|c| c.is_alphabetic() || c == '#');
    (glued(before) || glued(after)).then_some("glued-letters")
}

/// Whether the word that holds the number is an address of the web or of mail, or a path.
fn is_in_url(text: &str, candidate: &Candidate) -> bool {
    let octets = text.as_bytes();
    let is_edge = |octet: &u8| octet.is_ascii_whitespace() || b"<>\"".contains(octet);
    let from = candidate.start.saturating_sub(URL_OCTETS);
    let start = octets[from..candidate.start]
        .iter()
        .rposition(is_edge)
        .map_or(from, |at| from + at + 1);
    let until = octets.len().min(candidate.end + URL_OCTETS);
    let end = octets[candidate.end..until]
        .iter()
        .position(is_edge)
        .map_or(until, |at| candidate.end + at);
    let before = &octets[start..candidate.start];
    let has = |part: &[u8]| memchr::memmem::find(before, part).is_some();
    has(b"://")
        || has(b"www.")
        || has(b"@")
        || octets[candidate.end..end].contains(&b'@')
        || before.ends_with(b"/")
        || before.ends_with(b"=")
        || octets.get(candidate.end) == Some(&b'/')
}

/// One number at one place.
struct Sighting {
    identifier: Identifier,
    /// Whether it stands there only where a text is read again in another way.
    is_again: bool,
    evidence: Evidence,
}

impl Sighting {
    fn is_synthetic(&self) -> bool {
        self.identifier.register() == Register::Synthetic
    }
}

/// All numbers of a message, each once for each place.
#[derive(Default)]
struct Sightings {
    all: Vec<Sighting>,
    seen: HashMap<(Identifier, usize), usize>,
    /// The places so far, by their names; and the one that is looked into.
    places: HashMap<String, usize>,
    here: (usize, String),
    /// Whether what is looked into says again what was looked into before it.
    is_again: bool,
    /// Numbers with a wrong check digit, and those that were read again.
    failed: usize,
    failed_again: usize,
}

impl Sightings {
    /// From now on, numbers are seen in this piece.
    fn enter(&mut self, piece: &Piece<'_>) {
        let next = self.places.len();
        let number = *self.places.entry(piece.place.to_owned()).or_insert(next);
        self.here = (number, piece.place.to_owned());
        self.is_again = piece.is_again;
    }

    /// The count of what fails the check in such a piece.
    fn failed(&mut self) -> &mut usize {
        match self.is_again {
            true => &mut self.failed_again,
            false => &mut self.failed,
        }
    }

    fn add(&mut self, identifier: Identifier, confidence: Confidence, because: Vec<&'static str>) {
        let key = (identifier, self.here.0);
        if let Some(seen) = self.seen.get(&key) {
            let seen = &mut self.all[*seen];
            seen.is_again &= self.is_again;
            let evidence = &mut seen.evidence;
            if confidence > evidence.confidence {
                evidence.confidence = confidence;
                evidence.because = because;
            }
            return;
        }
        self.seen.insert(key, self.all.len());
        self.all.push(Sighting {
            identifier,
            is_again: self.is_again,
            evidence: Evidence {
                kind: identifier.register().kind(),
                confidence,
                place: self.here.1.clone(),
                redacted: identifier.redacted(),
                because,
            },
        });
    }

    /// Adds a number that stands right behind its label, unless it was read there already.
    fn add_hand_written(&mut self, identifier: Identifier) {
        let register = identifier.register();
        let confidence = match register {
            Register::Unissued => Confidence::Low,
            _ => Confidence::High,
        };
        let because = vec!["checksum", register.because(), "keyword", "hand-written"];
        self.add(identifier, confidence, because);
    }

    fn into_finding(mut self) -> PatientData {
        let confidence = self.all.iter().map(|sighting| sighting.evidence.confidence);
        let confidence = confidence.max().unwrap_or_default();
        let found = confidence >= Confidence::Medium;
        // Numbers at low restrict nothing, so they do not make test numbers restrict either.
        let synthetic = !self.all.is_empty()
            && self
                .all
                .iter()
                .filter(|sighting| !found || sighting.evidence.confidence >= Confidence::Medium)
                .all(Sighting::is_synthetic);
        self.all
            .sort_by_key(|sighting| std::cmp::Reverse(sighting.evidence.confidence));
        self.all.truncate(EVIDENCE_MAX);
        PatientData {
            found,
            confidence,
            synthetic,
            evidence: self
                .all
                .into_iter()
                .map(|sighting| sighting.evidence)
                .collect(),
        }
    }
}

/// How far down a text its heading is still before the reader's eyes, in octets.
const HEADING_OCTETS: usize = 300;
/// How much of a word is looked at to tell whether it is an address, in octets to either side.
const URL_OCTETS: usize = 256;
/// Pieces of evidence kept of one message, the surest first: a list of patients has thousands.
const EVIDENCE_MAX: usize = 100;
/// Fewer digits than these are no number, also if letters stand for the others.
const HAND_WRITTEN_DIGITS: usize = 6;
/// Signs between a label and a number that was read as it stands, in octets.
const READ_OCTETS: usize = 4;
/// Reasons that hardly any number has more of.
const REASONS: usize = 8;
/// So many wrong check digits in a text, at least, make the right ones chance.
const CHANCE_FAILED: usize = 3;
/// So many numbers of a text are looked at for signs of a person: a bound on time. More raise each other.
const CORROBORATED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn detector() -> &'static Detector {
        static DETECTOR: LazyLock<Detector> =
            LazyLock::new(|| Detector::new(&Settings::default()).unwrap());
        &DETECTOR
    }

    fn piece<'t>(place: &'t str, text: &'t str) -> Piece<'t> {
        Piece {
            place,
            text,
            heading: "",
            is_table: false,
            is_again: false,
        }
    }

    fn examine(text: &str) -> PatientData {
        detector().examine([piece("body:1", text)])
    }

    /// The confidence of the only evidence in a text; `None` if there is none.
    fn confidence(text: &str) -> Option<&'static str> {
        let finding = examine(text);
        assert!(finding.evidence.len() <= 1, "{text}: {finding:?}");
        finding
            .evidence
            .first()
            .map(|found| found.confidence.word())
    }

    #[test]
    fn grouping_and_words_make_a_valid_number_sure() {
        for (text, expected) in [
            ("4505577104", Some("low")),
            ("please see 4505577104, thanks", Some("low")),
            ("450 557 7104", Some("medium")),
            ("401-023-2137", Some("medium")),
            ("NHS number 4505577104", Some("high")),
            ("NHS No: 450 557 7104", Some("high")),
            ("NHS4505577104", Some("high")),
            ("NHS: 4505577104", Some("high")),
            ("the patient (4505577104) was seen", Some("high")),
            ("4505577104, DOB 01/02/1950", Some("high")),
            ("Hospital number 4505577104", Some("high")),
            ("NHS number 45 0557 7104", Some("high")),
            ("NHS no. 4 5 0 5 5 7 7 1 0 4", Some("high")),
            ("NHS no. 450/557/7104", Some("high")),
            ("NHS no. 450,557,7104", Some("high")),
            ("NHS no. 450 | 557 | 7104", Some("high")),
            ("NHS no. 450+557+7104", Some("high")),
            ("NHS no. 450:557:7104", Some("high")),
            ("NHS no. 450~557~7104", Some("high")),
            ("NHS no. 450*557*7104", Some("high")),
            ("450+557+7104", None),
            ("450~557~7104", None),
            ("Dose 450*557*7104", None),
            (
                "NHS number / telephone: 450 557 7104 / 01632 960123",
                Some("high"),
            ),
            ("NHS no & phone: 4505577104, 07700 900123", Some("high")),
            (
                "Telephone / NHS number: 01632 960123 / 450 557 7104",
                Some("high"),
            ),
            (
                "\u{2463}\u{2464}\u{24ea} \u{2464}\u{2464}\u{2466} \u{2466}\u{2460}\u{24ea}\u{2463}",
                Some("medium"),
            ),
            ("NHS number: 45O 557 7lO4", Some("high")),
            ("NHS number: 003/269/8674", Some("low")),
            ("450/557/7104", None),
            ("45 0557 7104", None),
            ("the patient has 45 0557 7104", None),
            ("NHS number: 4505577103", None),
            ("NHS number: 987 654 4321", None),
            ("CHI 0607230002", Some("high")),
            ("0607230002", Some("low")),
            ("060723 0002", Some("medium")),
        ] {
            assert_eq!(confidence(text), expected, "{text}");
        }
    }

    #[test]
    fn an_example_of_the_contract_comes_out_as_written() {
        let finding = examine("NHS number 4505577104");
        assert_eq!(
            finding.evidence,
            [Evidence {
                kind: "nhs-number",
                confidence: Confidence::High,
                place: "body:1".into(),
                redacted: "450 *** **04".into(),
                because: vec!["checksum", "live-range", "keyword"],
            }]
        );
        assert!(finding.found && !finding.synthetic);
    }

    #[test]
    fn what_looks_like_something_else_is_not_patient_data() {
        for text in [
            "Tel 401 023 2137",
            "Telephone: 4010232137",
            "fax no. 401-023-2137",
            "call me on 401 023 2137",
            "Patient: J Smith. Mobile: 4505577104",
            "+44 450 557 7104",
            "(0) 450 557 7104",
            "ISBN 0306406152",
            "ISBN-10: 0131103628",
            "order number 4505577104",
            "Order 4505577104",
            "your order: 4505577104",
            "Invoice 450-557-7104",
            "tracking number 4505577104",
            "Royal Mail AB4505577104GB",
            "https://example.com/page/4010232137",
            "https://example.com/?id=4010232137&x=1",
            "www.example.com/4010232137",
            "4010232137@qq.com",
            "£4505577104",
            "4505577104.99",
            "12-401-023-2137-5",
            "Meeting ID: 401 023 2137",
            "Zoom 450 557 7104 passcode 1",
            "UTR 4505577104",
            "DOI 10.1000/4505577104",
            "timestamp 1701234567",
            "4444444444 patient",
            "patient 7777777777",
            "NHS number 0000000000",
            "card 4505 5771 0412 3456",
            "1234567890 patient",
            "patient 07700 900123",
            "Patient line 020 7946 0958",
        ] {
            assert!(!examine(text).found, "{text}: {:?}", examine(text));
        }
    }

    #[test]
    fn a_label_right_before_the_number_outweighs_all() {
        for text in [
            "Tel 01632 960123 NHS no 450 557 7104",
            "call about NHS number 4505577104",
            "https://example.com/?nhsnumber=4505577104",
            "order for patient 4505577104",
            "Order: see below. Patient: 450 557 7104",
        ] {
            assert_eq!(confidence(text), Some("high"), "{text}");
        }
    }

    #[test]
    fn a_number_that_nobody_gives_out_is_low_even_beside_a_keyword() {
        for text in [
            "NHS number 003 269 8674",
            "patient 5466066893",
            "0032698674",
        ] {
            assert_eq!(confidence(text), Some("low"), "{text}");
        }
    }

    #[test]
    fn test_numbers_are_found_and_told_apart() {
        for text in [
            "NHS number 943 476 5919",
            "943 476 5919",
            "patient 9990000026",
        ] {
            let finding = examine(text);
            assert!(finding.found && finding.synthetic, "{text}");
            assert_eq!(finding.evidence[0].because[1], "synthetic-range");
        }
        assert!(!examine("NHS numbers 943 476 5919 and 450 557 7104").synthetic);
        assert!(
            examine("ref 4505577104, and NHS number 943 476 5919").synthetic
                || examine("x").evidence.is_empty()
        );
    }

    #[test]
    fn five_different_numbers_at_low_are_medium_together() {
        let numbers = [
            "4505577104",
            "4010232137",
            "6716689966",
            "6541003238",
            "4000000632",
        ];
        assert!(!examine(&numbers[..4].join("\n")).found);
        assert!(
            !examine(&[numbers[0]; 9].join("\n")).found,
            "one number, nine times"
        );

        let finding = examine(&numbers.join("\n"));
        assert_eq!(finding.confidence, Confidence::Medium);
        assert!(
            finding
                .evidence
                .iter()
                .all(|found| found.because.contains(&"several"))
        );

        let spread = numbers.map(|number| piece("body:1", number));
        assert!(detector().examine(spread).found, "over several places");

        let mixed = format!("{} {}", numbers.join(" "), "4505577105 ".repeat(8));
        let once = piece("body:1", &mixed);
        assert!(detector().examine([once]).found);
        assert!(!detector().examine([once, once]).found);
        let again = Piece {
            is_again: true,
            ..once
        };
        assert!(
            detector().examine([once, again]).found,
            "what fails in another reading is no other number"
        );
        let failing = "4505577105 ".repeat(8);
        let first = piece("body:1", &failing);
        let of_chance = Piece {
            text: &mixed,
            ..again
        };
        assert!(!detector().examine([first, of_chance]).found);
        let alone = numbers.join("\n");
        let escaped = Piece {
            text: &alone,
            ..again
        };
        assert!(detector().examine([piece("body:1", "x"), escaped]).found);
    }

    #[test]
    fn a_list_of_other_numbers_is_not_taken_for_patients() {
        let ids: Vec<String> = (0..300u64)
            .map(|n| (4_000_000_000 + n * 7).to_string())
            .collect();
        assert!(
            Candidates::of(&ids.join(",")).valid.len() > 20,
            "one in eleven"
        );
        assert!(!examine(&ids.join(",")).found);
    }

    /// A number that passes among so many that do not: grouped or not, with a word far off or right before.
    fn among_failures(number: &str, failures: usize, grouped: bool) -> PatientData {
        let wrong = (4_000_000_000_u64..).filter(|value| Identifier::read(*value).is_none());
        let wrong = wrong.take(failures).map(|value| {
            let text = value.to_string();
            match grouped {
                true => format!("{} {} {}", &text[..3], &text[3..6], &text[6..]),
                false => text,
            }
        });
        let wrong: Vec<String> = wrong.collect();
        examine(&format!("patient list\n{number}\n{}", wrong.join("\n")))
    }

    #[test]
    fn right_check_digits_among_many_wrong_ones_are_chance() {
        let said = |number, failures, grouped| {
            let evidence = among_failures(number, failures, grouped).evidence;
            let first = evidence.into_iter().next().unwrap();
            (first.confidence.word(), first.because.contains(&"chance"))
        };
        // One right among two wrong ones is a third: as much as patients make with typing mistakes.
        assert_eq!(said("4505577104", 2, false), ("high", false));
        assert_eq!(said("4505577104", 3, false), ("low", true));
        assert_eq!(said("450 557 7104", 3, true), ("low", true));
        // Each shape is held against its own: printed numbers beside a list of other numbers are no chance.
        assert_eq!(said("450 557 7104", 30, false), ("high", false));
        assert_eq!(said("4505577104", 30, true), ("high", false));
        // A label right before it says more than all the others.
        assert_eq!(said("NHS number 4505577104", 30, false), ("high", false));
    }

    #[test]
    fn a_column_that_is_named_is_no_chance() {
        let wrong = (4_000_000_000_u64..).filter(|value| Identifier::read(*value).is_none());
        let wrong: Vec<String> = wrong.take(9).map(|value| value.to_string()).collect();
        let rows = |heading: &str| format!("{heading}\n4505577104\n{}", wrong.join("\n"));
        let found = |text: &str| {
            let table = Piece {
                is_table: true,
                is_again: false,
                ..piece("attachment:2", text)
            };
            detector().examine([table]).confidence.word()
        };
        assert_eq!(found(&rows("nhs_number")), "high");
        assert_eq!(found(&rows("sku")), "low");
    }

    #[test]
    fn a_column_with_a_short_title_speaks_for_its_own_numbers_alone() {
        let confidences = |text: &str| -> Vec<&'static str> {
            let table = Piece {
                is_table: true,
                is_again: false,
                ..piece("attachment:2", text)
            };
            let found = detector().examine([table]).evidence.into_iter();
            found.map(|one| one.confidence.word()).collect()
        };
        let rows = "name,NHS,contact\nAda,4505577104,4010232137\n";
        assert_eq!(confidences(rows), ["high", "low"]);
        assert_eq!(confidences(&rows.replace(',', ";")), ["high", "low"]);
        assert_eq!(
            confidences(&rows.replace("NHS", "NHS trust")),
            ["low", "low"]
        );
    }

    #[test]
    fn a_title_counts_wherever_it_stands_over_the_number() {
        let confidence = |is_table, text: &str| {
            let piece = Piece {
                is_table,
                is_again: false,
                ..piece("attachment:2", text)
            };
            detector().examine([piece]).confidence.word()
        };
        for (is_table, text, expected) in [
            // As workbooks of Excel come out: empty lines first, and the name of the list above the titles.
            (true, "\n\nName\tNHS\t\nAda\t4505577104\t\n", "high"),
            (
                true,
                "Clinic list\t\t\n\t\t\nName\tNHS\t\nAda\t4505577104\t\n",
                "high",
            ),
            (
                true,
                "Clinic list,,\n,,\nName,NHS,Ward\nAda,4505577104,3\n",
                "high",
            ),
            // As tables in mail and documents come out.
            (false, "list\nName\tNHS\tWard\nAda\t4505577104\t3\n", "high"),
            (true, "Name,CHI\nAda,607230002\n", "high"),
            (true, "Name,CHI,Ward\nAda,3,607230002\n", "low"),
            (
                false,
                "NHS No\tWard\n4010232130\t2\n4505577104\t3\n",
                "high",
            ),
            (false, "Name\tOrder\tNHS\nAda\t4505577104\t3\n", "low"),
            (false, "Name\tNHS\nAda\tref 4505577104\n", "low"),
            (false, "Name\tNHS\n\nAda\t4505577104\n", "low"),
        ] {
            assert_eq!(confidence(is_table, text), expected, "{text}");
        }
    }

    #[test]
    fn the_heading_of_a_text_and_the_first_line_of_a_table_count() {
        let under = |heading| {
            let piece = Piece {
                heading,
                ..piece("body:1", "4505577104")
            };
            detector().examine([piece]).confidence.word()
        };
        assert_eq!((under("Query"), under("Patient query")), ("low", "high"));

        let rows = "x,".repeat(400);
        let table = format!("name,nhs_number\n{rows}\nA,4505577104\n");
        let column = Piece {
            is_table: true,
            is_again: false,
            ..piece("attachment:2", &table)
        };
        assert!(detector().examine([column]).found);
        assert!(!detector().examine([piece("body:1", &table)]).found);
    }

    #[test]
    fn a_thousand_numbers_give_evidence_of_a_hundred() {
        let valid = (4_000_000_000u64..).filter(|n| Identifier::read(*n).is_some());
        let text: Vec<String> = valid.take(1000).map(|n| n.to_string()).collect();
        let finding = examine(&format!("NHS number {}", text.join(" ")));
        assert_eq!(finding.evidence.len(), EVIDENCE_MAX);
        assert_eq!(finding.evidence[0].confidence, Confidence::High);
    }

    fn digits_shown(evidence: &Evidence) -> usize {
        let shown = format!("{evidence:?}").replace("body:1", "");
        shown.chars().filter(char::is_ascii_digit).count()
    }

    proptest! {
        #[test]
        fn any_text_is_examined(text in "\\PC*") {
            examine(&text);
        }

        #[test]
        fn evidence_never_holds_the_number(value in 0u64..10_000_000_000, before in "(NHS no |patient |DOB |tel |)", gap in "[ .-]?") {
            let digits = format!("{value:010}");
            let number = [&digits[..3], &digits[3..6], &digits[6..]].join(&gap);
            let finding = examine(&format!("{before}{number}"));
            for evidence in &finding.evidence {
                prop_assert!(digits_shown(evidence) == 5);
            }
            let shown = format!("{finding:?}");
            prop_assert!(!shown.contains(&digits));
        }

        #[test]
        fn a_labelled_number_is_found_whatever_stands_round_it(before in "\\PC{0,60}", after in "[^0-9０-９𝟎-𝟿]{0,60}") {
            let text = format!("{before}\nNHS number: 450 557 7104 {after}");
            prop_assert!(examine(&text).found);
        }
    }
}
