//! Two policies about one message: what is the same, what differs, and what cannot be told.

use std::collections::{BTreeMap, BTreeSet};

use crate::mail::sms::Pseudonym;
use crate::mail::{ForwardPath, Message, Recipient, ReversePath};
use crate::policy::finding::SecureKeyword;
use crate::policy::opinion::Protection;
use crate::policy::verdict::{Direction, RecipientDecision};
use crate::policy::{Policy, Stage};

use super::run::{Again, Replayed, Rules, Supposed};
use super::unmarked::unmarked;
use super::{Record, Row};

/// The policy in force and the one that may come.
pub struct Pair<'p> {
    before: &'p Policy,
    after: &'p Policy,
    rules: BTreeSet<String>,
    new_rules: BTreeSet<String>,
    vouching: BTreeSet<String>,
}

/// What is told of one recipient.
#[derive(Debug)]
pub struct Judged {
    /// The recipient as the client gave it.
    pub given: ForwardPath,
    /// What each policy would have said, or why that is not known.
    pub told: Result<Told, Unknown>,
}

/// What two policies say of one recipient.
#[derive(Debug)]
pub struct Told {
    /// The one in force; `None`: it is no recipient by that one.
    pub before: Option<Side>,
    /// The other; `None`: it is no recipient by that one.
    pub after: Option<Side>,
}

/// What one policy says of one recipient.
#[derive(Clone, Debug)]
pub enum Side {
    /// A verdict.
    Verdict {
        /// The decision.
        decision: Box<RecipientDecision>,
        /// The legal entity that sends, if one is known.
        entity: Option<String>,
        /// What is done to the message, in words.
        edits: Vec<String>,
    },
    /// It is refused before there is a message.
    Refused {
        /// What says so.
        rule: String,
        /// Why.
        because: String,
    },
    /// It would be let in; what would be said of the message then is not known, for there never was one.
    LetIn,
    /// One of these verdicts: which of them hangs on what is not on record.
    Either(String),
}

/// Why it is not known what a policy would have said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Unknown {
    /// Another policy than the one in force decided, and by that one it would have been otherwise.
    OtherPolicy,
    /// It was decided by something that is not on record.
    NotOnRecord,
    /// It hangs on what is not on record.
    Hangs,
    /// The recipient is a number, which is nowhere in clear.
    Text,
    /// A file in it could not be opened for now.
    Unfinished,
}

impl Unknown {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::OtherPolicy => "other-policy",
            Self::NotOnRecord => "not-on-record",
            Self::Hangs => "hangs-on-content",
            Self::Text => "text-message",
            Self::Unfinished => "not-opened",
        }
    }

    /// The same for people.
    pub fn because(self) -> &'static str {
        match self {
            Self::OtherPolicy => {
                "an earlier policy decided, and the one in force would have decided otherwise"
            }
            Self::NotOnRecord => {
                "decided by what is not on record: content, links, attachments, who the author is, or a list"
            }
            Self::Hangs => {
                "it hangs on what is not on record: whether the subject asks for encryption, or who the author is"
            }
            Self::Text => "a text message: its number is on no record",
            Self::Unfinished => "a file in it cannot be opened for now",
        }
    }
}

impl Side {
    /// The word of the verdict; `accept` for what would be let in at `RCPT TO`; two with an `or` between them.
    pub fn verdict(&self) -> &str {
        match self {
            Self::Either(words) => words,
            Self::Verdict { decision, .. } => decision.verdict.word(),
            Self::Refused { .. } => "refuse",
            Self::LetIn => "accept",
        }
    }

    /// What says so.
    pub fn rule(&self) -> &str {
        match self {
            Self::Verdict { decision, .. } => &decision.rule,
            Self::Refused { rule, .. } => rule,
            Self::LetIn | Self::Either(_) => "built-in",
        }
    }

    /// Why.
    pub fn because(&self) -> &str {
        match self {
            Self::Verdict { decision, .. } => &decision.because,
            Self::Refused { because, .. } => because,
            Self::LetIn => "nothing speaks against it at RCPT TO; there was no message to judge",
            Self::Either(_) => Unknown::Hangs.because(),
        }
    }

    /// Where it leads; `None` where nobody was asked.
    pub fn resolved(&self) -> Option<String> {
        self.decision()
            .map(|decision| decision.recipient.forward_path.to_string())
    }

    /// The decision, if there is one.
    pub fn decision(&self) -> Option<&RecipientDecision> {
        match self {
            Self::Verdict { decision, .. } => Some(decision),
            Self::Refused { .. } | Self::LetIn | Self::Either(_) => None,
        }
    }

    /// Over which transport it goes, now or after somebody has let it go on: in the words of the queue.
    pub fn binding(&self) -> Option<&'static str> {
        let decision = self.decision()?;
        Some(match decision.protection {
            Protection::AsRoute => "any",
            Protection::VerifiedTls => "verified-tls",
            Protection::Encryption => "encryption",
        })
    }

    fn of(decision: &RecipientDecision, replayed: &Replayed) -> Self {
        Self::Verdict {
            decision: Box::new(decision.clone()),
            entity: replayed.entity.clone(),
            edits: replayed.edits.clone(),
        }
    }
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

    /// What may be supposed of what is not on record: all that leads to what is, by the policy in force.
    async fn suppositions(&self, look: &Look<'_>) -> Result<Vec<(Supposed, Replayed)>, Unknown> {
        if self.hangs_on_author(look) {
            return Err(Unknown::Hangs);
        }
        let mut best = Vec::new();
        let mut most = 0;
        for supposed in self.possible(look) {
            let (supposed, replayed) = self.replay_before(look, supposed).await;
            if replayed.is_unfinished {
                return Err(Unknown::Unfinished);
            }
            let agreeing = look.rows.iter();
            let agreeing = agreeing.filter(|row| agrees(row, &replayed)).count();
            if agreeing > most {
                best.clear();
                most = agreeing;
            }
            if agreeing == most {
                best.push((supposed, replayed));
            }
        }
        Ok(best)
    }

    /// By the policy in force; without the footer where the entity on record does not follow from the envelope.
    async fn replay_before(&self, look: &Look<'_>, supposed: Supposed) -> (Supposed, Replayed) {
        let replayed = self.before.replay(&look.again(self, supposed, false)).await;
        let on_record = look.record.found.footer.as_ref();
        let is_other = on_record.is_none_or(|entity| *entity != replayed.entity);
        let is_outbound = self.before.direction(&look.record.client) == Direction::Outbound;
        if look.message.is_some() || !is_outbound || !is_other {
            return (supposed, replayed);
        }
        let supposed = Supposed {
            with_footer: false,
            ..supposed
        };
        let replayed = self.before.replay(&look.again(self, supposed, false)).await;
        (supposed, replayed)
    }

    /// All that could be.
    fn possible(&self, look: &Look<'_>) -> Vec<Supposed> {
        let found = &look.record.found;
        let keywords = match (look.message, found.keyword) {
            (Some(_), _) => vec![SecureKeyword::Absent], // it is read
            (None, Some(keyword)) => vec![keyword],
            (None, None) => vec![
                SecureKeyword::Absent,
                SecureKeyword::Present,
                SecureKeyword::NearMiss,
            ],
        };
        let listed = STANDING.iter().any(|name| found.has_symbol(name));
        let inbound = self.before.direction(&look.record.client) == Direction::Inbound;
        // Without DMARC nobody is protected; with it those are whose domain is secure, and the author is gone.
        let vouched =
            self.vouching.is_empty() || self.vouching.iter().any(|name| found.has_symbol(name));
        let open = inbound && (listed || (look.message.is_none() && vouched));
        let protected: &[bool] = if open { &[false, true] } else { &[false] };
        let mut all = Vec::new();
        for keyword in keywords {
            for is_protected in protected.iter().copied() {
                all.push(Supposed {
                    keyword,
                    is_protected,
                    with_footer: true,
                });
            }
        }
        all
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

    /// Of a report of our own its author speaks for its sender, and is in the content alone.
    fn hangs_on_author(&self, look: &Look<'_>) -> bool {
        let asks = |policy: &Policy| {
            let verdicts = &policy.secure_domains().verdicts;
            verdicts.sender_not_secure.is_some()
                && policy.direction(&look.record.client) == Direction::Outbound
        };
        look.message.is_none()
            && look.record.reverse_path == ReversePath::Null
            && look.record.client.account.is_none()
            && look.record.found.has_patient_data()
            && (asks(self.before) || asks(self.after))
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
struct Look<'r> {
    record: &'r Record,
    given: Vec<ForwardPath>,
    rows: Vec<&'r Row>,
    message: Option<&'r Message>,
}

impl Look<'_> {
    fn again<'a>(&'a self, pair: &'a Pair<'_>, supposed: Supposed, is_after: bool) -> Again<'a> {
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

/// Whether a replay comes to what is on record of a recipient.
fn agrees(row: &Row, replayed: &Replayed) -> bool {
    replayed.recipients.iter().any(|one| {
        one.given == row.given
            && one.verdict.word() == row.verdict
            && one.recipient.forward_path.to_string() == row.resolved
    })
}

/// What a replay says of a recipient, as far as it matters whether two say the same.
fn summary(replayed: &Replayed, given: &ForwardPath) -> Vec<(String, &'static str, Protection)> {
    let of = replayed.recipients.iter().filter(|one| one.given == *given);
    of.map(|one| {
        let path = one.recipient.forward_path.to_string();
        (path, one.verdict.word(), one.protection)
    })
    .collect()
}

/// What was decided by either policy for one recipient, side by side: one with one, wherever they lead; the members of
/// lists by their mailboxes, as far as they are `asked` about. Members that only the other policy has come with the
/// first of the list, once.
fn pairs(before: &Replayed, after: &Replayed, given: &ForwardPath, asked: &[&str]) -> Vec<Told> {
    let of = |replayed: &Replayed| -> Vec<(String, Side)> {
        let own = replayed.recipients.iter().filter(|one| one.given == *given);
        own.map(|one| {
            let path = one.recipient.forward_path.to_string();
            (path, Side::of(one, replayed))
        })
        .collect()
    };
    let (old, mut new) = (of(before), of(after));
    if let ([(_, old)], [(_, new)]) = (&old[..], &new[..]) {
        return vec![Told {
            before: Some(old.clone()),
            after: Some(new.clone()),
        }];
    }
    let has_first = old
        .first()
        .is_some_and(|(path, _)| asked.contains(&path.as_str()));
    let mut told = Vec::new();
    for (path, side) in old {
        let other = new.iter().position(|(other, _)| *other == path);
        let after = other.map(|at| new.swap_remove(at).1);
        if asked.contains(&path.as_str()) {
            told.push(Told {
                before: Some(side),
                after,
            });
        }
    }
    if !has_first {
        return told;
    }
    told.extend(new.into_iter().map(|(_, side)| Told {
        before: None,
        after: Some(side),
    }));
    told
}

/// A recipient that is one by both policies and for whom it is different, whatever is supposed: it is only not known how.
fn either(
    candidates: &[(Supposed, Replayed)],
    afters: &[Replayed],
    given: &ForwardPath,
) -> Option<Told> {
    let (_, first) = candidates.first()?;
    let mut verdicts: Vec<&str> = Vec::new();
    for ((_, before), after) in candidates.iter().zip(afters) {
        let (old, new) = (summary(before, given), summary(after, given));
        let ([_], [(_, verdict, _)]) = (&old[..], &new[..]) else {
            return None;
        };
        if old == new || old != summary(first, given) {
            return None;
        }
        verdicts.push(*verdict);
    }
    verdicts.sort_unstable();
    verdicts.dedup();
    let decision = first.recipients.iter().find(|one| one.given == *given)?;
    Some(Told {
        before: Some(Side::of(decision, first)),
        after: Some(Side::Either(verdicts.join(" or "))),
    })
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

/// Symbols of those who are not kept back on a score: of which recipient they speak is not on record.
const STANDING: [&str; 3] = ["SENDER_ALLOWED", "SENDER_PRIORITY", "CORRESPONDENT"];
