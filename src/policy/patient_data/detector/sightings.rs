//! The numbers that were found in a message, and the finding that they come to.

use std::collections::HashMap;

use crate::policy::finding::{Confidence, Evidence, PatientData};
use crate::policy::patient_data::identifier::{Identifier, Register};

use super::Piece;

/// One number at one place.
pub(super) struct Sighting {
    pub(super) identifier: Identifier,
    /// Whether it stands there only where a text is read again in another way.
    pub(super) is_again: bool,
    pub(super) evidence: Evidence,
}

impl Sighting {
    pub(super) fn is_synthetic(&self) -> bool {
        self.identifier.register() == Register::Synthetic
    }
}

/// All numbers of a message, each once for each place.
#[derive(Default)]
pub(super) struct Sightings {
    pub(super) all: Vec<Sighting>,
    seen: HashMap<(Identifier, usize), usize>,
    /// The places so far, by their names; and the one that is looked into.
    places: HashMap<String, usize>,
    here: (usize, String),
    /// Whether what is looked into says again what was looked into before it.
    is_again: bool,
    /// Tens of digits with a wrong check digit, and those that were read again.
    pub(super) failed: usize,
    pub(super) failed_again: usize,
}

impl Sightings {
    /// From now on, numbers are seen in this piece.
    pub(super) fn enter(&mut self, piece: &Piece<'_>) {
        let next = self.places.len();
        let number = *self.places.entry(piece.place.to_owned()).or_insert(next);
        self.here = (number, piece.place.to_owned());
        self.is_again = piece.is_again;
    }

    /// The count of what fails the check in such a piece.
    pub(super) fn failed_here(&mut self) -> &mut usize {
        match self.is_again {
            true => &mut self.failed_again,
            false => &mut self.failed,
        }
    }

    pub(super) fn add(
        &mut self,
        identifier: Identifier,
        confidence: Confidence,
        because: Vec<&'static str>,
    ) {
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
    pub(super) fn add_hand_written(&mut self, identifier: Identifier) {
        let register = identifier.register();
        let confidence = match register {
            Register::Unissued => Confidence::Low,
            _ => Confidence::High,
        };
        let because = vec!["checksum", register.because(), "keyword", "hand-written"];
        self.add(identifier, confidence, because);
    }

    pub(super) fn into_finding(mut self) -> PatientData {
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

/// Pieces of evidence kept of one message, the surest first: a list of patients has thousands.
pub(super) const EVIDENCE_MAX: usize = 100;
