//! Mail of which somebody said what is spam, and how well the settings in force tell it apart
//! (`postern check --corpus FOLDER --spam`).
//!
//! The folder has two others in it, `spam` and `ham`. Each message is judged as if a stranger had sent it to the
//! postmaster when the last server that had it wrote its trace, and the DNS knew nothing. Comes out: how well the
//! scores part the two kinds at any threshold, what happens at the threshold in force, which rules never speak, and which
//! always speak together. No content.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::mail::{Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath};

use super::Policy;
use super::corpus::CorpusError;
use super::decide::Network;
use super::policy_test::client;
use super::spam::Specimen;
use super::stage::Stage;

/// A message and what it is.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// Its file.
    pub path: PathBuf,
    /// Whether it is spam.
    pub is_spam: bool,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// Each message in the order of the files.
    pub judged: Vec<Judged>,
    /// The score from which on a message is marked.
    pub threshold: f64,
    /// Each rule of the file: how often it spoke on spam, on ham.
    pub rules: BTreeMap<String, (usize, usize)>,
    /// Time that reading and deciding took, all together.
    pub took: Duration,
}

/// A message and its score.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its file, below the folder.
    pub name: String,
    /// What it is.
    pub is_spam: bool,
    /// What it got.
    pub score: f64,
    /// The symbols, and what each added.
    pub symbols: Vec<(String, f64)>,
}

/// The messages of a folder, sorted. Errs if one of the two folders in it cannot be read.
pub fn load(folder: &Path) -> Result<Vec<Labelled>, CorpusError> {
    let mut found = Vec::new();
    for (name, is_spam) in [("ham", false), ("spam", true)] {
        let path = folder.join(name);
        let unreadable = |error| CorpusError::Unreadable {
            path: path.clone(),
            error,
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.sort();
        found.extend(files.into_iter().map(|path| Labelled { path, is_spam }));
    }
    Ok(found)
}

impl Policy {
    /// Judges messages by the settings in force and by what was learnt. `step` is called after each.
    pub async fn measure_spam(
        &self,
        mails: &[Labelled],
        mut step: impl FnMut(),
    ) -> Result<Report, CorpusError> {
        let stage = self.stages.iter().find_map(|placed| match &placed.stage {
            Stage::ScoreSpam(stage) => Some(stage.alone()),
            _ => None,
        });
        let stage = stage.ok_or(CorpusError::NoSpamStage)?;
        let names = stage.rule_names();
        let mut report = Report {
            judged: Vec::with_capacity(mails.len()),
            threshold: stage.threshold(),
            rules: names.map(|name| (name.to_owned(), (0, 0))).collect(),
            took: Duration::ZERO,
        };
        for mail in mails {
            let octets = std::fs::read(&mail.path).map_err(|error| CorpusError::Unreadable {
                path: mail.path.clone(),
                error,
            })?;
            let transaction = self.transaction(octets);
            let started = Instant::now();
            let spam = self.score_alone(stage, &transaction, Network::Allowed);
            report.took += started.elapsed();
            report.add(mail, spam);
            step();
        }
        Ok(report)
    }

    /// As a stranger would have sent it.
    fn transaction(&self, octets: Vec<u8>) -> MailTransaction {
        let specimen = Specimen::read(octets);
        let message: Message = specimen.message().clone();
        let mut envelope = Envelope::new(ReversePath::Null);
        envelope.recipients = vec![Recipient::new(ForwardPath::Postmaster)];
        MailTransaction {
            client: client(IpAddr::V4(STRANGER), None),
            envelope,
            received_at: received_at(&message).unwrap_or_else(|| self.clock.now()),
            message,
        }
    }
}

/// When the last server that had it wrote its trace; else what `Date` says.
fn received_at(message: &Message) -> Option<Timestamp> {
    let header = message.header();
    let read = |text: &str| {
        let text = text.split('(').next().unwrap_or(text).trim();
        let parser = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true);
        parser.parse_timestamp(text).ok()
    };
    let mut traces = header.all("Received");
    let trace = traces.find_map(|field| read(field.value().rsplit_once(';')?.1));
    trace.or_else(|| read(&header.first("Date")?.value()))
}

impl Report {
    fn add(&mut self, mail: &Labelled, spam: super::finding::SpamScore) {
        for symbol in &spam.symbols {
            if let Some(counts) = self.rules.get_mut(&symbol.name) {
                match mail.is_spam {
                    true => counts.0 += 1,
                    false => counts.1 += 1,
                }
            }
        }
        let names = mail
            .path
            .iter()
            .rev()
            .take(2)
            .map(|part| part.to_string_lossy());
        let names: Vec<_> = names.collect();
        self.judged.push(Judged {
            name: names.into_iter().rev().collect::<Vec<_>>().join("/"),
            is_spam: mail.is_spam,
            score: spam.score,
            symbols: spam
                .symbols
                .into_iter()
                .map(|it| (it.name, it.score))
                .collect(),
        });
    }

    fn of(&self, is_spam: bool) -> impl Iterator<Item = &Judged> {
        self.judged
            .iter()
            .filter(move |judged| judged.is_spam == is_spam)
    }

    /// How many are spam, how many are not.
    pub fn counts(&self) -> (usize, usize) {
        (self.of(true).count(), self.of(false).count())
    }

    /// The chance that a spam has a lower score than a ham: 1 - the area under the curve; equal scores count half.
    #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
    pub fn misordered(&self) -> f64 {
        let mut ham: Vec<f64> = self.of(false).map(|judged| judged.score).collect();
        ham.sort_by(f64::total_cmp);
        let (spam, all) = self.counts();
        let wrong: f64 = self
            .of(true)
            .map(|judged| {
                let below = ham.partition_point(|score| *score < judged.score);
                let equal = ham.partition_point(|score| *score <= judged.score) - below;
                (ham.len() - below - equal) as f64 + equal as f64 / 2.0
            })
            .sum();
        wrong / (spam * all).max(1) as f64 + 0.0
    }

    /// The share of spam that is caught at the best threshold that marks no more than this share of ham.
    #[expect(clippy::cast_precision_loss, reason = "counts of messages")]
    pub fn recall_at(&self, most: f64) -> f64 {
        let mut ham: Vec<f64> = self.of(false).map(|judged| judged.score).collect();
        ham.sort_by(|one, other| other.total_cmp(one));
        let allowed = (ham.len() as f64 * most) as usize;
        let bound = ham.get(allowed).copied().unwrap_or(f64::NEG_INFINITY);
        share(
            self.of(true).filter(|judged| judged.score > bound).count(),
            self.counts().0,
        )
    }

    /// At the threshold in force: the share of spam that is marked, and that of ham.
    pub fn at_threshold(&self) -> (f64, f64) {
        let marked = |is_spam| {
            let of = self.of(is_spam);
            of.filter(|judged| judged.score >= self.threshold).count()
        };
        let (spam, ham) = self.counts();
        (share(marked(true), spam), share(marked(false), ham))
    }

    /// Rules that never spoke.
    pub fn silent(&self) -> Vec<&str> {
        let silent = self.rules.iter().filter(|(_, counts)| **counts == (0, 0));
        silent.map(|(name, _)| name.as_str()).collect()
    }

    /// Pairs of rules that spoke on the same messages and on no other ones, ten at least.
    pub fn inseparable(&self) -> Vec<(&str, &str, usize)> {
        let mut spoke: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, judged) in self.judged.iter().enumerate() {
            let names = judged.symbols.iter().map(|(name, _)| name.as_str());
            for name in names.filter(|name| self.rules.contains_key(*name)) {
                spoke.entry(name).or_default().push(at);
            }
        }
        let mut pairs = Vec::new();
        for (one, on) in &spoke {
            for (other, others) in
                spoke.range::<str, _>((std::ops::Bound::Excluded(*one), std::ops::Bound::Unbounded))
            {
                if on.len() >= TOGETHER_MIN && on == others {
                    pairs.push((*one, *other, on.len()));
                }
            }
        }
        pairs
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages")]
fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// A network for documentation (RFC 5737).
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Fewer messages show nothing.
const TOGETHER_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(spam: &[f64], ham: &[f64]) -> Report {
        let judged = |is_spam| {
            move |score: &f64| Judged {
                name: String::new(),
                is_spam,
                score: *score,
                symbols: Vec::new(),
            }
        };
        let both = spam
            .iter()
            .map(judged(true))
            .chain(ham.iter().map(judged(false)));
        Report {
            judged: both.collect(),
            threshold: 5.0,
            rules: BTreeMap::new(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn figures_are_those_of_the_curve() {
        let report = report(&[9.0, 6.0, 1.0, 4.0], &[0.0, 1.0, 5.0, -3.0, -1.0]);
        // Misordered: 1.0 against 5.0, half against 1.0; 4.0 against 5.0.
        assert!((report.misordered() - 2.5 / 20.0).abs() < 1e-9);
        assert_eq!(report.at_threshold(), (0.5, 0.2));
        assert_eq!(report.recall_at(0.0), 0.5);
        assert_eq!(report.recall_at(0.2), 0.75);
        assert_eq!(report.counts(), (4, 5));
    }

    #[test]
    fn rules_without_a_word_and_rules_that_say_the_same_are_named() {
        let mut report = report(&[1.0; 12], &[]);
        for (at, judged) in report.judged.iter_mut().enumerate() {
            let names: &[&str] = if at < 10 { &["A", "B", "C"] } else { &["C"] };
            judged.symbols = names.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        }
        for (name, counts) in [
            ("A", (10, 0)),
            ("B", (10, 0)),
            ("C", (12, 0)),
            ("D", (0, 0)),
        ] {
            report.rules.insert(name.to_owned(), counts);
        }
        assert_eq!(report.silent(), ["D"]);
        assert_eq!(report.inseparable(), [("A", "B", 10)]);
    }
}
