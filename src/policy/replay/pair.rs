//! Two policies about one message: what is the same, what differs, and what cannot be told.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::sms::Pseudonym;
use crate::mail::{ForwardPath, Message, Recipient};
use crate::policy::{Policy, Stage};

use super::compare::{agrees, either, pairs, summary};
use super::run::{Again, Replayed, Rules, Supposed};
use super::told::{Judged, Side, Told, Unknown};
use super::unmarked::unmarked;
use super::{Record, Row};

/// The policy in force and the one that may come.
pub struct Pair<'p> {
    pub(super) before: &'p Policy,
    pub(super) after: &'p Policy,
    rules: BTreeSet<String>,
    new_rules: BTreeSet<String>,
    pub(super) vouching: BTreeSet<String>,
}

impl<'p> Pair<'p> {
    /// Two policies, of which `before` is in force.
    pub fn new(before: &'p Policy, after: &'p Policy) -> Self {
        let questions = |policy: &Policy| -> BTreeMap<String, String> {
            let all = policy.scoring().into_iter();
            all.flat_map(|scoring| scoring.questions())
                .map(|(name, question)| (name.to_owned(), question))
                .collect()
        };
        let (old, new) = (questions(before), questions(after));
        let is_new = |(name, asked): &(&String, &String)| old.get(*name) != Some(asked);
        let new_rules = new.iter().filter(is_new).map(|(name, _)| name.clone());
        let vouching = before.scoring().into_iter();
        Self {
            before,
            after,
            new_rules: new_rules.collect(),
            vouching: vouching
                .flat_map(|scoring| scoring.vouching().map(str::to_owned))
                .collect(),
            rules: old.keys().chain(new.keys()).cloned().collect(),
        }
    }

    /// Judges a message for some of its recipients, those of `rows`: wholly with its octets, else by what is on record.
    pub async fn judge(
        &self,
        record: &Record,
        rows: &[Row],
        message: Option<&Message>,
    ) -> Vec<Judged> {
        let (texts, rows): (Vec<&Row>, Vec<&Row>) =
            rows.iter().partition(|row| self.is_text(&row.given));
        let unknown = |row: &&Row, why| Judged {
            given: row.given.clone(),
            told: Err(why),
        };
        let mut judged: Vec<Judged> = texts
            .iter()
            .map(|row| unknown(row, Unknown::Text))
            .collect();
        if rows.is_empty() {
            return judged;
        }
        let unmarked = message.map(|message| self.as_it_came(record, message));
        let again = Look {
            record,
            given: given_of(&rows),
            rows,
            message: unmarked.as_ref(),
        };
        match self.suppositions(&again).await {
            Ok(candidates) => judged.extend(self.tell(&again, &candidates).await),
            Err(why) => judged.extend(again.rows.iter().map(|row| unknown(row, why))),
        }
        judged
    }

    /// Judges a recipient that was refused before there was a message.
    pub fn judge_recipient(&self, record: &Record, given: &ForwardPath) -> Judged {
        let told = match self.is_text(given) {
            true => Err(Unknown::Text),
            false => self.told_at_recipient(record, given),
        };
        Judged {
            given: given.clone(),
            told,
        }
    }

    fn told_at_recipient(&self, record: &Record, given: &ForwardPath) -> Result<Told, Unknown> {
        let side = |policy: &Policy| {
            let recipient = Recipient::new(given.clone());
            let (client, path) = (&record.client, &record.reverse_path);
            match policy.at_recipient_on(client, path, &recipient, record.received_at) {
                Ok(()) => Side::LetIn,
                Err(rejection) => Side::Refused {
                    rule: rejection.rule,
                    because: rejection.because,
                },
            }
        };
        match side(self.before) {
            Side::LetIn => Err(self.why_otherwise(record)),
            before => Ok(Told {
                before: Some(before),
                after: Some(side(self.after)),
            }),
        }
    }

    /// What both policies say, where all that may be supposed comes to the same.
    async fn tell(&self, look: &Look<'_>, candidates: &[(Supposed, Replayed)]) -> Vec<Judged> {
        let mut afters = Vec::with_capacity(candidates.len());
        for (supposed, _) in candidates {
            let after = self.after.replay(&look.again(self, *supposed, true)).await;
            if after.is_unfinished {
                return look.all(Unknown::Unfinished);
            }
            afters.push(after);
        }
        let mut judged = Vec::new();
        for given in &look.given {
            judged.extend(self.tell_of(look, given, candidates, &afters));
        }
        judged
    }

    /// One recipient of the envelope; a list gives one for each member, by either policy.
    fn tell_of(
        &self,
        look: &Look<'_>,
        given: &ForwardPath,
        candidates: &[(Supposed, Replayed)],
        afters: &[Replayed],
    ) -> Vec<Judged> {
        let Some(((_, before), after)) = candidates.first().zip(afters.first()) else {
            return Vec::new();
        };
        let judged = |told| Judged {
            given: given.clone(),
            told,
        };
        let rows = || look.rows.iter().filter(|row| row.given == *given);
        if let Some(why) = rows().find_map(|row| self.disagrees(look, row, before)) {
            return rows().map(|_| judged(Err(why))).collect();
        }
        let known = |replayed: &Replayed| summary(replayed, given);
        let is_one = candidates
            .iter()
            .all(|(_, one)| known(one) == known(before))
            && afters.iter().all(|one| known(one) == known(after));
        if !is_one {
            return match either(candidates, afters, given) {
                Some(told) => vec![judged(Ok(told))],
                None => rows().map(|_| judged(Err(Unknown::Hangs))).collect(),
            };
        }
        let asked: Vec<&str> = rows().map(|row| row.resolved.as_str()).collect();
        let told = pairs(before, after, given, &asked);
        told.into_iter().map(|told| judged(Ok(told))).collect()
    }

    /// Why nothing is said of a recipient: what is on record is not what the policy in force comes to. Of a message that
    /// is read again it may well be that an earlier policy decided, and the difference is real; but not where something
    /// kept it apart that cannot be asked again.
    fn disagrees(&self, look: &Look<'_>, row: &Row, before: &Replayed) -> Option<Unknown> {
        if agrees(row, before) {
            return None;
        }
        let why = self.why_otherwise(look.record);
        let is_apart = matches!(row.verdict.as_str(), "quarantine" | "refuse" | "defer");
        match (look.message, why) {
            (Some(_), Unknown::OtherPolicy) if !is_apart => None,
            _ => Some(why),
        }
    }

    fn why_otherwise(&self, record: &Record) -> Unknown {
        match &record.policy {
            Some(policy) if policy == self.before.version() => Unknown::NotOnRecord,
            _ => Unknown::OtherPolicy,
        }
    }

    fn is_text(&self, path: &ForwardPath) -> bool {
        Pseudonym::is_one(path) || self.before.sms().is_for(path) || self.after.sms().is_for(path)
    }

    /// A message that was kept bears our own mark; one that is large is judged for the mark that it bears.
    fn as_it_came(&self, record: &Record, message: &Message) -> Message {
        match self.before.mark() {
            Some(mark) if record.found.is_marked => unmarked(message, mark),
            _ => message.clone(),
        }
    }
}

/// A message and those of its recipients that are judged.
pub(super) struct Look<'r> {
    pub(super) record: &'r Record,
    given: Vec<ForwardPath>,
    pub(super) rows: Vec<&'r Row>,
    pub(super) message: Option<&'r Message>,
}

impl Look<'_> {
    /// The question of a replay by either policy.
    pub(super) fn again<'a>(
        &'a self,
        pair: &'a Pair<'_>,
        supposed: Supposed,
        is_after: bool,
    ) -> Again<'a> {
        const NONE: &BTreeSet<String> = &BTreeSet::new();
        Again {
            record: self.record,
            given: &self.given,
            message: self.message,
            rules: Rules {
                all: &pair.rules,
                new: if is_after { &pair.new_rules } else { NONE },
            },
            supposed,
        }
    }

    fn all(&self, why: Unknown) -> Vec<Judged> {
        let rows = self.rows.iter();
        rows.map(|row| Judged {
            given: row.given.clone(),
            told: Err(why),
        })
        .collect()
    }
}

/// The recipients of the envelope, each once.
fn given_of(rows: &[&Row]) -> Vec<ForwardPath> {
    let mut given: Vec<ForwardPath> = Vec::new();
    for row in rows {
        if !given.contains(&row.given) {
            given.push(row.given.clone());
        }
    }
    given
}

impl Policy {
    /// The stage that scores, if it runs.
    fn scoring(&self) -> Option<&crate::policy::stage::score_spam::ScoreSpam> {
        self.stages.iter().find_map(|placed| match &placed.stage {
            Stage::ScoreSpam(scored) => Some(scored.alone()),
            _ => None,
        })
    }

    /// What is put on our own mail with patient data, if anything.
    fn mark(&self) -> Option<&crate::policy::patient_data::settings::MarkSettings> {
        self.stages.iter().find_map(|placed| match &placed.stage {
            Stage::Mark(mark) => Some(mark.settings()),
            _ => None,
        })
    }
}
