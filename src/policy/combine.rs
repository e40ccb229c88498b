//! Combining opinions into verdicts: the worst wins, and of equally bad ones the first; but a refusal that the client
//! hears at `RCPT TO` comes before those of the message, as it does there.
//!
//! Nothing else weighs one stage against another. The stages run in the order of the policy file, so
//! "first" is the upper one there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::mail::{Audience, Edit, EditKind, ForwardPath, Notify};

use super::case::ResolvedRecipient;
use super::finding::Findings;
use super::opinion::{Ask, Finding, Opinion, Opinions};
use super::organisations::IfUnproved;
use super::self_release::Grounds;
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
    /// Which copy each recipient gets; empty while all get the same.
    audiences: Vec<Audience>,
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
        if !opinions.audiences.is_empty() {
            self.audiences = opinions.audiences;
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
        if overlap_for_anybody(&self.edits) {
            let left = self.edits.split_off(before);
            let note = format!("{kind}: not made, another edit changes the same octets");
            self.findings.notes.push(note);
            self.go_without(&left);
        }
    }

    /// What the policy says for edits that are left out.
    fn go_without(&mut self, left: &[Edit]) {
        for kind in [EditKind::Links, EditKind::Banner] {
            let link_edits = self.findings.link_edits.as_ref();
            let verdict = link_edits.and_then(|edits| edits.without(kind));
            let verdict = verdict.filter(|_| left.iter().any(|edit| edit.kind == kind));
            if let Some((verdict, ask)) = verdict.and_then(|one| Some((one, one.ask()?))) {
                let because = "a link could not be dealt with as the policy says: another edit changes the same octets";
                let opinion = Opinion::new(ask, verdict.source(), because)
                    .would_pass_if("the message comes without this link");
                self.take_for_all(&opinion);
            }
        }
        let footer = self.findings.footer.as_mut();
        let footer = footer.filter(|_| left.iter().any(|edit| edit.kind == EditKind::Footer));
        if let Some(footer) = footer {
            footer.left_for_another();
            if *footer.if_unproved == IfUnproved::Hold {
                let because = "the footer cannot be put in: another edit changes the same octets";
                let opinion = Opinion::new(Ask::Hold, footer.if_unproved.source(), because)
                    .would_pass_if("unproved in organisations.toml is not hold");
                self.take_for_all(&opinion);
            }
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
        let audiences = std::mem::take(&mut self.audiences);
        let audiences = audiences
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        let mut served: HashMap<ForwardPath, usize> = HashMap::new();
        let mut decided: Vec<RecipientDecision> = Vec::with_capacity(recipients.len());
        for ((resolved, opinion), audience) in recipients.into_iter().zip(standing).zip(audiences) {
            let refused = verdict_of(&opinion.ask).refusal().is_some();
            let first = match refused {
                true => None,
                false => match served.entry(resolved.copy_key()) {
                    Entry::Occupied(first) => Some(*first.get()),
                    Entry::Vacant(none) => {
                        none.insert(decided.len());
                        None
                    }
                },
            };
            if let Some(first) = first {
                report_for_both(&mut decided[first], &resolved);
            }
            decided.push(RecipientDecision {
                audience,
                ..decision(resolved, opinion, first.is_some())
            });
        }
        decided
    }

    fn replace_recipients(&mut self, recipients: Vec<ResolvedRecipient>) {
        let inherited = |new: &ResolvedRecipient| {
            let old = self.recipients.iter().position(|old| old.of == new.of);
            old.map_or_else(Opinion::pass, |at| self.standing[at].clone())
        };
        self.standing = recipients.iter().map(inherited).collect();
        self.audiences.clear();
        self.recipients = recipients;
    }
}

/// Whether two edits of one copy want the same octets. Copies of other recipients are other messages.
fn overlap_for_anybody(edits: &[Edit]) -> bool {
    let mut audiences: Vec<Option<Audience>> = edits.iter().map(|edit| edit.audience).collect();
    audiences.sort_unstable_by_key(|audience| audience.map_or("", Audience::word));
    audiences.dedup();
    let own = |audience: Option<Audience>| {
        let is_own = move |edit: &&Edit| edit.audience.is_none() || edit.audience == audience;
        edits.iter().filter(is_own)
    };
    audiences.into_iter().any(|audience| overlap(own(audience)))
}

/// Whether two edits want the same octets.
fn overlap<'e>(edits: impl Iterator<Item = &'e Edit>) -> bool {
    let mut ranges: Vec<_> = edits.map(|edit| (edit.at.start, edit.at.end)).collect();
    ranges.sort_unstable();
    ranges.windows(2).any(|two| two[1].0 < two[0].1)
}

/// Keeps the worse of two opinions; the earlier one if they are equally bad. The protection is the stronger
/// of both: what is kept back now may be let go on later. Two holds rest on the grounds of both: if one of them
/// has none, nobody's sender decides about it. Whoever lets go on something quarantined must read that it was to be
/// held as well.
fn worsen(standing: &mut Opinion, mut opinion: Opinion) {
    let protection = standing.protection.max(opinion.protection);
    let (before, now) = (verdict_of(&standing.ask), verdict_of(&opinion.ask));
    let of_recipient = |verdict: &Verdict| matches!(verdict, Verdict::Refuse(refusal) if refusal.is_of_recipient());
    let worse = now.severity() > before.severity()
        || now.severity() == before.severity() && of_recipient(&now) && !of_recipient(&before);
    match (&standing.ask, &opinion.ask) {
        (Ask::Hold, Ask::Hold) | (Ask::Quarantine, Ask::Quarantine) => {
            standing.grounds = standing.grounds.with(opinion.grounds);
        }
        // What would be held is for nobody else to let go on.
        (Ask::Hold, Ask::Quarantine) => {
            add_reason(&mut opinion, standing);
            opinion.grounds = Grounds::default();
        }
        (Ask::Quarantine, Ask::Hold) => {
            add_reason(standing, &opinion);
            standing.grounds = Grounds::default();
        }
        _ => {}
    }
    if worse {
        *standing = opinion;
    }
    standing.protection = protection;
}

fn add_reason(quarantine: &mut Opinion, hold: &Opinion) {
    let also = format!("; and it would be held: {} ({})", hold.because, hold.rule);
    quarantine.because.push_str(&also);
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
        audience: None,
        secure: resolved.secure,
        verdict,
        rule,
        because,
        would_pass_if: opinion.would_pass_if,
        protection: opinion.protection,
        grounds: opinion.grounds,
    }
}

/// The one copy for a mailbox that was named twice is reported about as either asked for; and to the sender, if he
/// named it himself and not a list alone.
fn report_for_both(first: &mut RecipientDecision, again: &ResolvedRecipient) {
    let asked = &mut first.recipient;
    match (&first.errors_to, &again.errors_to) {
        (Some(_), None) => {
            asked.notify = again.recipient.notify;
            asked.orcpt.clone_from(&again.recipient.orcpt);
            first.errors_to = None;
        }
        (None, None) => asked.notify = Notify::either(asked.notify, again.recipient.notify),
        (_, Some(_)) => {}
    }
}

impl Findings {
    /// Adds one; what can be there once only takes the place of what was there.
    fn add(&mut self, finding: Finding) {
        match finding {
            Finding::Authentication(results) => self.authentication = results,
            Finding::Greylist(greylist) => self.greylist = Some(greylist),
            Finding::PatientData(patient_data) => self.patient_data = patient_data,
            Finding::Markings(markings) => self.markings = markings,
            Finding::SecureKeyword(keyword) => self.secure_keyword = keyword,
            Finding::Links(links) => self.links = links,
            Finding::LinkEdits(edits) => self.link_edits = Some(edits),
            Finding::Unreadable(unreadable) => self.unreadable.extend(unreadable),
            Finding::Scanned(symbols) => self.scanned.extend(symbols),
            Finding::Spam(spam) => self.spam = spam,
            Finding::Footer(footer) => self.footer = Some(footer),
            Finding::ShortText(text) => self.short_text = Some(text),
            Finding::Note(note) => self.notes.push(note),
            // Taken out before; the tally keeps them.
            Finding::Recipients(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Located;
    use crate::mail::{ForwardPath, Recipient};
    use crate::policy::Refusal;
    use crate::policy::finding::LinkEdits;
    use crate::policy::links::LinkVerdict;
    use crate::policy::opinion::Protection;
    use crate::policy::self_release::Ground;
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
    fn what_the_client_hears_of_a_recipient_comes_before_what_speaks_against_the_message() {
        for turn in 0..2 {
            let mut asks = vec![
                (Ask::Refuse(Refusal::OwnDomain), "one:1"),
                (Ask::Refuse(Refusal::ClosedMailbox), "two:2"),
                (Ask::Refuse(Refusal::RelayingDenied), "three:3"),
            ];
            asks.rotate_left(turn);
            let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
            asks.into_iter().for_each(|ask| tally.take(said([ask])));
            assert_eq!(tally.decide().remove(0).rule, "two:2");
        }
    }

    #[test]
    fn what_was_to_be_protected_stays_so_whatever_else_is_asked() {
        for (other, verdict) in [(Ask::Hold, "hold"), (Ask::Quarantine, "quarantine")] {
            for turn in 0..2 {
                let mut asks = vec![(Ask::Encrypt, "one:1"), (other.clone(), "two:2")];
                asks.rotate_left(turn);
                let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
                asks.into_iter().for_each(|ask| tally.take(said([ask])));
                let decided = tally.decide().remove(0);
                assert_eq!(decided.verdict.word(), verdict);
                assert_eq!(decided.protection, Protection::Encryption);
            }
        }
    }

    #[test]
    fn who_reads_why_something_is_quarantined_reads_why_it_would_be_held() {
        for turn in 0..2 {
            let mut asks = vec![(Ask::Hold, "one:1"), (Ask::Quarantine, "two:2")];
            asks.rotate_left(turn);
            let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
            asks.into_iter().for_each(|ask| tally.take(said([ask])));
            let decided = tally.decide().remove(0);
            assert_eq!(decided.rule, "two:2");
            let because = "because; and it would be held: because (one:1)";
            assert_eq!(decided.because, because);
        }
    }

    #[test]
    fn a_hold_that_is_for_people_stays_so_whatever_else_holds() {
        let near_miss =
            |rule| Opinion::new(Ask::Hold, rule, "").on([Ground::NearMiss].into_iter().collect());
        let for_people = |rule| Opinion::new(Ask::Hold, rule, "");
        for (first, second) in [
            (near_miss("one:1"), for_people("two:2")),
            (for_people("one:1"), near_miss("two:2")),
        ] {
            let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
            tally.take_for_all(&first);
            tally.take_for_all(&second);
            let decided = tally.decide();
            assert_eq!(
                (decided[0].rule.as_str(), decided[0].grounds.is_empty()),
                ("one:1", true)
            );
        }
    }

    #[test]
    fn what_is_more_than_unwanted_is_not_for_the_owner_of_the_mailbox() {
        let unwanted = || Opinion::new(Ask::Quarantine, "spam:1", "").on(Ground::Unwanted.into());
        let grounds = |others: &[Opinion]| {
            let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
            others.iter().for_each(|one| tally.take_for_all(one));
            let decided = tally.decide().remove(0);
            assert_eq!(decided.verdict, Verdict::Quarantine);
            decided.grounds
        };
        assert_eq!(grounds(&[unwanted()]), Ground::Unwanted.into());
        for other in [Ask::Quarantine, Ask::Hold] {
            let other = Opinion::new(other, "other:1", "");
            assert!(grounds(&[unwanted(), other.clone()]).is_empty());
            assert!(grounds(&[other, unwanted()]).is_empty());
        }
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
    fn whoever_is_named_twice_is_reported_about_as_either_asked_for() {
        let asking = |of, notify: &str| {
            let mut one = recipient(of, "c@d.example");
            one.recipient.notify = Notify::parse(notify);
            one
        };
        let member = |of| recipient(of, "c@d.example").of_list(&"owner@d.example".parse().unwrap());
        let told = |recipients: [ResolvedRecipient; 2]| {
            let mut decided = Tally::new(recipients.to_vec()).decide();
            assert!(decided.remove(1).duplicate);
            let first = decided.remove(0);
            let notify = first.recipient.notify.map(|asked| asked.to_string());
            (notify.unwrap_or_default(), first.errors_to.is_some())
        };
        let says = |notify: &str, owner| (notify.to_owned(), owner);

        assert_eq!(told([asking(0, "NEVER"), asking(1, "")]), says("", false));
        let all = says("SUCCESS,FAILURE,DELAY", false);
        assert_eq!(told([asking(0, ""), asking(1, "SUCCESS")]), all);
        let both = told([asking(0, "NEVER"), asking(1, "NEVER")]);
        assert_eq!(both, says("NEVER", false));
        // By a list its owner hears, by name the sender: in whichever order they come.
        let named = says("SUCCESS", false);
        assert_eq!(told([member(0), asking(1, "SUCCESS")]), named);
        assert_eq!(told([asking(0, "SUCCESS"), member(1)]), named);
        assert_eq!(told([member(0), member(1)]), says("", true));
    }

    #[test]
    fn of_two_edits_of_the_same_octets_the_first_is_made() {
        let edit = |kind, at: std::ops::Range<usize>| Edit {
            at,
            with: b"x".to_vec(),
            ..Edit::prepend_fields(kind, "")
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

    #[test]
    fn edits_of_other_copies_are_no_obstacle() {
        let edit = |audience, at: std::ops::Range<usize>| Edit {
            audience,
            at,
            with: b"x".to_vec(),
            ..Edit::prepend_fields(EditKind::Footer, "")
        };
        let mut tally = Tally::new(Vec::new());
        tally.take(Opinions {
            edits: vec![
                edit(Some(Audience::Internal), 4..9),
                edit(Some(Audience::Nhs), 4..9),
            ],
            ..Opinions::none()
        });
        assert_eq!((tally.edits.len(), tally.findings.notes.len()), (2, 0));
        let says = |edit| Opinions {
            edits: vec![edit],
            ..Opinions::none()
        };
        tally.take(says(edit(None, 8..10)));
        assert_eq!(tally.edits.len(), 2);
        tally.take(says(edit(Some(Audience::Outside), 8..10)));
        assert_eq!(tally.edits.len(), 3);
    }

    #[test]
    fn a_link_that_stays_because_of_another_edit_is_dealt_with_as_one_that_cannot_be_taken_out() {
        let edit = |kind, at: std::ops::Range<usize>| Edit {
            at,
            ..Edit::prepend_fields(kind, "x")
        };
        let mut tally = Tally::new(vec![recipient(0, "a@b.example")]);
        tally.take(Opinions {
            edits: vec![edit(EditKind::Footer, 4..9)],
            ..Opinions::none()
        });
        tally.take(Opinions {
            edits: vec![edit(EditKind::Links, 8..12)],
            ..Opinions::finding(Finding::LinkEdits(LinkEdits {
                cannot_strip: Located::built_in(LinkVerdict::Quarantine),
                cannot_annotate: Located::built_in(LinkVerdict::Pass),
            }))
        });
        assert_eq!(tally.decide()[0].verdict, Verdict::Quarantine);
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
