//! The detector: weighs what speaks for and against each candidate, and says how sure it is.
//!
//! A candidate starts with the weight of a right check digit in a range that is given out. Grouping and
//! words near it add, structure and words that make it something else take away; thresholds turn
//! the sum into a confidence. Two rules are fixed (`design.md` §4.3): a number that nobody gives out is
//! never more than `low`, and enough different numbers at `low` are `medium` together. Right after
//! a word that names it a number is an identifier, whatever else stands near.

mod sightings;
mod structure;

use std::collections::BTreeSet;

use crate::policy::finding::{Confidence, PatientData};

use super::candidate::{Candidate, Candidates, Shape};
use super::columns::Columns;
use super::corroboration::{Corroboration, CorroborationSettings};
use super::hand_written::{HandWritten, number_behind};
use super::identifier::{Identifier, Register};
use super::settings::{IdentifierSettings, Settings};
use super::vocabulary::{Vocabulary, Words};
use sightings::{Sighting, Sightings};
use structure::structure_against;

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
            *sightings.failed_here() += candidates.failed;
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

/// How far down a text its heading is still before the reader's eyes, in octets.
const HEADING_OCTETS: usize = 300;
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
mod tests;
