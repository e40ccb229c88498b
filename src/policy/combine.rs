//! Combining opinions into verdicts: the worst wins, and of equally bad ones the first.
//!
//! Nothing else weighs one stage against another. The stages run in the order of the policy file, so
//! "first" is the upper one there.

use std::collections::HashSet;

use crate::mail::Edit;

use super::case::ResolvedRecipient;
use super::finding::Findings;
use super::opinion::{Ask, Finding, Opinion, Opinions};
use super::verdict::{RecipientDecision, Verdict};

/// What is known and asked so far, while the stages run.
#[derive(Debug, Default)]
pub struct Tally {
    /// Who gets it, as far as it is known.
    pub recipients: Vec<ResolvedRecipient>,
    /// What the stages found.
    pub findings: Findings,
    /// What they want changed.
    pub edits: Vec<Edit>,
    /// The worst that was asked for each recipient.
    standing: Vec<Opinion>,
}

impl Tally {
    /// Begins with recipients for whom nothing was asked yet.
    pub fn new(recipients: Vec<ResolvedRecipient>) -> Self {
        Self {
            standing: vec![Opinion::pass(); recipients.len()],
            recipients,
            ..Self::default()
        }
    }

    /// Takes in what one stage says. If it names new recipients, its opinions are about those; they
    /// inherit what was asked for the recipient of the envelope that they come from.
    pub fn take(&mut self, opinions: Opinions) {
        let mut recipients = None;
        for finding in opinions.findings {
            match finding {
                Finding::Recipients(resolved) => recipients = Some(resolved),
                other => self.findings.add(other),
            }
        }
        if let Some(recipients) = recipients {
            self.replace_recipients(recipients);
        }
        for (standing, opinion) in self.standing.iter_mut().zip(opinions.per_recipient) {
            worsen(standing, opinion);
        }
        self.take_edits(opinions.edits);
    }

    /// Takes in all edits of a stage, or none if a stage before it changes the same octets: a message with one
    /// edit less goes on, one with both could not be written at all.
    fn take_edits(&mut self, edits: Vec<Edit>) {
        let Some(kind) = edits.first().map(|edit| edit.kind.name()) else {
            return;
        };
        let before = self.edits.len();
        self.edits.extend(edits);
        if overlap(&self.edits) {
            self.edits.truncate(before);
            let note = format!("{kind}: not made, another edit changes the same octets");
            self.findings.notes.push(note);
        }
    }

    /// Takes in one opinion about everybody.
    pub fn take_for_all(&mut self, opinion: &Opinion) {
        for standing in &mut self.standing {
            worsen(standing, opinion.clone());
        }
    }

    /// The decision for each recipient.
    pub fn decide(&mut self) -> Vec<RecipientDecision> {
        let recipients = std::mem::take(&mut self.recipients);
        let standing = std::mem::take(&mut self.standing);
        let mut served = HashSet::new();
        let decide = |(resolved, opinion): (ResolvedRecipient, Opinion)| {
            let refused = verdict_of(&opinion.ask).refusal().is_some();
            let duplicate = !refused && !served.insert(resolved.copy_key());
            decision(resolved, opinion, duplicate)
        };
        recipients.into_iter().zip(standing).map(decide).collect()
    }

    fn replace_recipients(&mut self, recipients: Vec<ResolvedRecipient>) {
        let inherited = |new: &ResolvedRecipient| {
            let old = self.recipients.iter().position(|old| old.of == new.of);
            old.map_or_else(Opinion::pass, |at| self.standing[at].clone())
        };
        self.standing = recipients.iter().map(inherited).collect();
        self.recipients = recipients;
    }
}

/// Whether two edits want the same octets.
fn overlap(edits: &[Edit]) -> bool {
    let mut ranges: Vec<_> = edits
        .iter()
        .map(|edit| (edit.at.start, edit.at.end))
        .collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|two| two[1].0 < two[0].1)
}

/// Keeps the worse of two opinions; the earlier one if they are equally bad.
fn worsen(standing: &mut Opinion, opinion: Opinion) {
    if verdict_of(&opinion.ask).severity() > verdict_of(&standing.ask).severity() {
        *standing = opinion;
    }
}

fn verdict_of(ask: &Ask) -> Verdict {
    match ask {
        Ask::Pass => Verdict::Deliver,
        Ask::RequireVerifiedTls => Verdict::DeliverVerifiedTls,
        Ask::Encrypt => Verdict::Encrypt,
        Ask::Hold => Verdict::Hold,
        Ask::Quarantine => Verdict::Quarantine,
        Ask::Defer(refusal) => Verdict::Defer(refusal.clone()),
        Ask::Refuse(refusal) => Verdict::Refuse(refusal.clone()),
    }
}

fn decision(resolved: ResolvedRecipient, opinion: Opinion, duplicate: bool) -> RecipientDecision {
    let verdict = verdict_of(&opinion.ask);
    let (rule, because) = match opinion.ask {
        Ask::Pass => (
            "built-in".to_owned(),
            "no rule speaks against it".to_owned(),
        ),
        _ => (opinion.rule, opinion.because),
    };
    RecipientDecision {
        given: resolved.given,
        recipient: resolved.recipient,
        path: resolved.path,
        errors_to: resolved.errors_to,
        duplicate,
        secure: resolved.secure,
        verdict,
        rule,
        because,
        would_pass_if: opinion.would_pass_if,
    }
}

impl Findings {
    /// Adds one; what can be there once only takes the place of what was there.
    fn add(&mut self, finding: Finding) {
        match finding {
            Finding::Authentication(results) => self.authentication = results,
            Finding::PatientData(patient_data) => self.patient_data = patient_data,
            Finding::Markings(markings) => self.markings = markings,
            Finding::SecureKeyword(keyword) => self.secure_keyword = keyword,
            Finding::Links(links) => self.links = links,
            Finding::Unreadable(unreadable) => self.unreadable.extend(unreadable),
            Finding::Spam(spam) => self.spam = spam,
            Finding::Note(note) => self.notes.push(note),
            // Taken out before; the tally keeps them.
            Finding::Recipients(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::EditKind;
    use crate::mail::{ForwardPath, Recipient};
    use crate::policy::Refusal;
    use proptest::prelude::*;

    fn recipient(of: usize, address: &str) -> ResolvedRecipient {
        let path = ForwardPath::parse(address).unwrap();
        ResolvedRecipient::unresolved(of, &Recipient::new(path))
    }

    fn said(asks: impl IntoIterator<Item = (Ask, &'static str)>) -> Opinions {
        Opinions {
            per_recipient: asks
                .into_iter()
                .map(|(ask, rule)| Opinion::new(ask, rule, "because"))
                .collect(),
            ..Opinions::none()
        }
    }

    fn any_ask() -> impl Strategy<Value = Ask> {
        prop_oneof![
            Just(Ask::Pass),
            Just(Ask::RequireVerifiedTls),
            Just(Ask::Encrypt),
            Just(Ask::Hold),
            Just(Ask::Quarantine),
            Just(Ask::Defer(Refusal::StageUnavailable { stage: "scan" })),
            Just(Ask::Refuse(Refusal::Spam)),
        ]
    }

    #[test]
    fn the_worst_opinion_wins_and_of_equal_ones_the_first() {
        let mut tally = Tally::new(vec![
            recipient(0, "a@b.example"),
            recipient(1, "c@d.example"),
        ]);
        tally.take(said([(Ask::Hold, "one:1"), (Ask::Pass, "")]));
        tally.take(said([
            (Ask::Hold, "two:2"),
            (Ask::RequireVerifiedTls, "two:3"),
        ]));
        tally.take(said([(Ask::Encrypt, "three:4"), (Ask::Pass, "")]));
        let decided = tally.decide();
        assert_eq!(
            (&decided[0].verdict, decided[0].rule.as_str()),
            (&Verdict::Hold, "one:1")
        );
        assert_eq!(decided[1].verdict, Verdict::DeliverVerifiedTls);
    }

    #[test]
    fn the_members_of_a_list_inherit_what_was_asked_for_the_list() {
        let mut tally = Tally::new(vec![
            recipient(0, "list@b.example"),
            recipient(1, "c@d.example"),
        ]);
        tally.take(said([(Ask::Hold, "one:1"), (Ask::Pass, "")]));
        let resolved = vec![
            recipient(0, "x@b.example"),
            recipient(0, "c@d.example"),
            recipient(1, "c@d.example"),
        ];
        tally.take(Opinions::finding(Finding::Recipients(resolved)));
        let decided = tally.decide();
        let seen: Vec<_> = decided
            .iter()
            .map(|d| (d.verdict.word(), d.duplicate))
            .collect();
        assert_eq!(seen, [("hold", false), ("hold", false), ("deliver", true)]);
    }

    #[test]
    fn of_two_edits_of_the_same_octets_the_first_is_made() {
        let edit = |kind, at: std::ops::Range<usize>| Edit {
            kind,
            part: None,
            entity: None,
            at,
            with: b"x".to_vec(),
        };
        let mut tally = Tally::new(Vec::new());
        let says = |edits| Opinions {
            edits,
            ..Opinions::none()
        };
        tally.take(says(vec![edit(EditKind::Links, 5..9)]));
        tally.take(says(vec![
            edit(EditKind::Footer, 9..9),
            edit(EditKind::Footer, 0..0),
        ]));
        assert_eq!((tally.edits.len(), tally.findings.notes.len()), (3, 0));
        tally.take(says(vec![
            edit(EditKind::Mark, 1..2),
            edit(EditKind::Mark, 8..12),
        ]));
        assert_eq!(tally.edits.len(), 3);
        assert_eq!(
            tally.findings.notes,
            ["mark: not made, another edit changes the same octets"]
        );
    }

    proptest! {
        #[test]
        fn the_order_of_the_stages_never_changes_how_severe_the_verdict_is(
            asks in proptest::collection::vec(any_ask(), 0..8), turn in 0usize..8)
        {
            let severity = |asks: &[Ask]| {
                let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
                for ask in asks {
                    tally.take(said([(ask.clone(), "rule")]));
                }
                tally.decide()[0].verdict.severity()
            };
            let mut other = asks.clone();
            other.reverse();
            let by = turn.min(other.len());
            other.rotate_left(by);
            prop_assert_eq!(severity(&asks), severity(&other));
            let worst = asks.iter().map(|ask| verdict_of(ask).severity()).max();
            prop_assert_eq!(severity(&asks), worst.unwrap_or(0));
        }
    }
}
