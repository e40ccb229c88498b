//! Labelled mail, and how well the settings in force tell it apart (`postern check --corpus`).
//!
//! Somebody wrote beside each message what is in it ([`Label`]); the stage `classify-patient-data` looks at it as
//! at any other. What the two say of each rule is counted: precision is the share of alarms that were
//! right, recall the share of what is there that was found. Names of files and words of evidence are all that
//! comes out: no content.

mod labels;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::content;
use crate::mail::{Message, mime};

use super::finding::{Confidence, SecureKeyword};
use super::stage::Stage;
use super::stage::classify_patient_data::{Classification, ClassifyPatientData};
use super::{Limits, Policy};

pub use labels::{Label, Labels};

/// A folder of labelled mail, ready to be judged.
#[derive(Debug)]
pub struct Corpus {
    mails: Vec<LabelledMail>,
}

/// A message and what is in it.
#[derive(Debug)]
struct LabelledMail {
    path: PathBuf,
    /// As the label file names it, below the folder asked for.
    name: String,
    is: Labels,
    /// What it is an example of, in a word.
    group: String,
}

/// How well each rule did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Messages judged.
    pub messages: usize,
    /// The whole verdict first ([`PATIENT_DATA`]), then each [`Label`].
    pub rules: Vec<Score>,
    /// Each word of evidence on which a message was taken for patient data: how often rightly, how often not.
    pub reasons: BTreeMap<&'static str, Alarms>,
    /// Messages of each group, and how many of them were misjudged.
    pub groups: BTreeMap<String, (usize, usize)>,
    /// What was misjudged, in the order of the labels.
    pub misjudged: Vec<Misjudged>,
}

/// What a rule said, held against the labels. Counts are messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Score {
    /// [`PATIENT_DATA`] or the word of a [`Label`].
    pub rule: &'static str,
    /// It is there and was found.
    pub right: usize,
    /// It is not there and was found.
    pub false_alarms: usize,
    /// It is there and was not found.
    pub missed: usize,
}

/// Messages with a certain evidence.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Alarms {
    /// With patient data in them.
    pub right: usize,
    /// Without.
    pub wrong: usize,
}

/// A message that was not judged as its label says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misjudged {
    /// Below the folder.
    pub name: String,
    /// What the label says.
    pub is: Labels,
    /// What was found.
    pub found: Labels,
}

/// Why a corpus was not measured.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// No stage looks for patient data.
    #[error("the policy has no stage `classify-patient-data`")]
    NoStage,
    /// No stage scores.
    #[error("the policy has no stage `score-spam`")]
    NoSpamStage,
    /// The words of `patient-data.toml` cannot be searched for.
    #[error("the words of patient-data.toml: {0}")]
    Words(String),
    /// A message that the labels name cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl Score {
    /// The share of alarms that were right; 1 if there was none.
    pub fn precision(&self) -> f64 {
        share(self.right, self.right + self.false_alarms)
    }

    /// The share of what is there that was found; 1 if nothing is.
    pub fn recall(&self) -> f64 {
        share(self.right, self.right + self.missed)
    }

    fn of(rule: &'static str) -> Self {
        Self {
            rule,
            right: 0,
            false_alarms: 0,
            missed: 0,
        }
    }

    fn count(&mut self, is_there: bool, was_found: bool) {
        match (is_there, was_found) {
            (true, true) => self.right += 1,
            (true, false) => self.missed += 1,
            (false, true) => self.false_alarms += 1,
            (false, false) => {}
        }
    }
}

impl Policy {
    /// Judges labelled mail by the settings in force. Nothing is sent, stored or recorded.
    pub fn measure(&self, corpus: &Corpus) -> Result<Report, CorpusError> {
        let stage = self.stages.iter().find_map(|placed| match &placed.stage {
            Stage::ClassifyPatientData(stage) => Some(stage),
            _ => None,
        });
        corpus.measure(stage.ok_or(CorpusError::NoStage)?, &self.limits)
    }
}

impl Corpus {
    fn measure(&self, stage: &ClassifyPatientData, limits: &Limits) -> Result<Report, CorpusError> {
        let mut report = Report::empty();
        for mail in &self.mails {
            let found = mail.classify(stage, limits)?;
            report.count(mail, &found);
        }
        Ok(report)
    }
}

impl LabelledMail {
    fn classify(
        &self,
        stage: &ClassifyPatientData,
        limits: &Limits,
    ) -> Result<Classification, CorpusError> {
        let octets = std::fs::read(&self.path).map_err(|error| CorpusError::Unreadable {
            path: self.path.clone(),
            error,
        })?;
        let message = Message::of_file(octets);
        let content = match mime::parse(message.octets()) {
            Ok(structure) => content::read(&message, &structure, limits),
            Err(_) => content::unparsed(&message, limits),
        };
        stage
            .classify(&content, None)
            .map_err(|error| CorpusError::Words(error.to_owned()))
    }
}

impl Report {
    fn empty() -> Self {
        let rules = std::iter::once(PATIENT_DATA).chain(Label::ALL.map(Label::word));
        Self {
            messages: 0,
            rules: rules.map(Score::of).collect(),
            reasons: BTreeMap::new(),
            groups: BTreeMap::new(),
            misjudged: Vec::new(),
        }
    }

    /// The verdict as a whole: whether a message is held back from those who may not have it.
    pub fn overall(&self) -> &Score {
        &self.rules[0]
    }

    fn count(&mut self, mail: &LabelledMail, classified: &Classification) {
        let found = labels_of(classified);
        self.messages += 1;
        let (overall, rules) = self.rules.split_at_mut(1);
        overall[0].count(mail.is.restrict(), found.restrict());
        for (score, label) in rules.iter_mut().zip(Label::ALL) {
            score.count(mail.is.has(label), found.has(label));
        }
        if found.restrict() {
            self.count_reasons(classified, mail.is.restrict());
        }
        let group = self.groups.entry(mail.group.clone()).or_default();
        group.0 += 1;
        if mail.is != found {
            group.1 += 1;
            self.misjudged.push(Misjudged {
                name: mail.name.clone(),
                is: mail.is,
                found,
            });
        }
    }

    /// Counts each reason once for a message.
    fn count_reasons(&mut self, classified: &Classification, rightly: bool) {
        let evidence = classified.patient_data.evidence.iter();
        let mut reasons: Vec<&'static str> = evidence
            .filter(|evidence| evidence.confidence >= Confidence::Medium)
            .flat_map(|evidence| evidence.because.iter().copied())
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        for reason in reasons {
            let alarms = self.reasons.entry(reason).or_default();
            if rightly {
                alarms.right += 1;
            } else {
                alarms.wrong += 1;
            }
        }
    }
}

/// What was found, in the words of the labels. Evidence at `low` restricts nothing and is not counted.
fn labels_of(classified: &Classification) -> Labels {
    let mut found = Labels::default();
    for evidence in &classified.patient_data.evidence {
        if evidence.confidence >= Confidence::Medium {
            let synthetic = evidence.because.contains(&"synthetic-range");
            let word = if synthetic {
                Some(Label::Synthetic)
            } else {
                Label::of(evidence.kind)
            };
            word.into_iter().for_each(|label| found.add(label));
        }
    }
    match classified.secure_keyword {
        SecureKeyword::Absent => {}
        SecureKeyword::Present => found.add(Label::Secure),
        SecureKeyword::NearMiss => found.add(Label::NearMiss),
    }
    found
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        1.0
    } else {
        part as f64 / whole as f64
    }
}

/// The rule of the whole verdict: any label that restricts.
pub const PATIENT_DATA: &str = "patient-data";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Diagnostics;
    use crate::policy::patient_data::Settings;

    fn measured(mails: &[(&str, &str)]) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let mut labels = String::from("file\tis\tgroup\n");
        for (number, (is, message)) in mails.iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number}.eml")), message).unwrap();
            labels += &format!("{number}.eml\t{is}\ttest\n");
        }
        std::fs::write(folder.path().join("labels.tsv"), labels).unwrap();
        let diagnostics = Diagnostics::default();
        let corpus = Corpus::load(folder.path(), &diagnostics);
        assert_eq!(diagnostics.into_vec(), []);
        let settings = Settings::default();
        let limits = settings.limits;
        let stage = ClassifyPatientData::new(settings);
        corpus.unwrap().measure(&stage, &limits).unwrap()
    }

    #[test]
    fn labels_and_findings_are_counted_by_rule() {
        let report = measured(&[
            ("nhs-number", "Subject: x\n\nNHS number 450 557 7104\n"),
            ("nhs-number", "Subject: x\n\nthe number is somewhere else\n"),
            ("none", "Subject: x\n\nNHS number 401 023 2137\n"),
            ("none", "Subject: x\n\ntel 4010232137\n"),
            (
                "synthetic,secure",
                "Subject: [secure]\n\nNHS number 943 476 5919\n",
            ),
            ("marking", "Subject: OFFICIAL-SENSITIVE\n\nx\n"),
        ]);
        let score = |rule| {
            report
                .rules
                .iter()
                .find(|score| score.rule == rule)
                .unwrap()
        };
        let counts = |rule| {
            let Score {
                right,
                false_alarms,
                missed,
                ..
            } = score(rule);
            (*right, *false_alarms, *missed)
        };
        assert_eq!(counts("patient-data"), (2, 1, 1));
        assert_eq!(counts("nhs-number"), (1, 1, 1));
        assert_eq!(counts("marking"), (1, 0, 0));
        assert_eq!(
            (counts("synthetic"), counts("secure")),
            ((1, 0, 0), (1, 0, 0))
        );
        assert_eq!(score("near-miss").precision(), 1.0, "nothing there");
        assert!((report.overall().precision() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(report.reasons["keyword"], Alarms { right: 1, wrong: 1 });
        assert_eq!(report.groups["test"], (6, 2));
        let names: Vec<_> = report
            .misjudged
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names, ["1.eml", "2.eml"]);
    }
}
