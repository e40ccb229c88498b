//! One replay: the stages of one policy about one message, of which what is gone is supposed.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::unwind::{Panicked, without_panic};
use crate::mail::{Edit, EditKind, ForwardPath, Message};
use crate::policy::combine::Tally;
use crate::policy::decide::{Look, Network, Reading, unresolved};
use crate::policy::finding::{AuthenticationResults, MethodResult, SecureKeyword};
use crate::policy::opinion::{Finding, Opinions};
use crate::policy::stage::score_spam::ScoredBefore;
use crate::policy::verdict::{Direction, RecipientDecision};
use crate::policy::{PlacedStage, Policy, Stage};

use super::Record;

/// What is supposed of what is not on record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Supposed {
    /// What the subject says of encryption.
    pub(super) keyword: SecureKeyword,
    /// Whether the author is one whose mail is not kept back on its score.
    pub(super) is_protected: bool,
    /// Whether the entity that sends follows from the envelope: the author is not known any more.
    pub(super) with_footer: bool,
}

/// What the rules of both policies are called.
#[derive(Clone, Copy)]
pub(super) struct Rules<'r> {
    /// All of them.
    pub(super) all: &'r BTreeSet<String>,
    /// Those that ask something new; empty for the policy in force.
    pub(super) new: &'r BTreeSet<String>,
}

/// A message to be judged again.
#[derive(Clone, Copy)]
pub(super) struct Again<'r> {
    pub(super) record: &'r Record,
    /// Those of its recipients that it is judged for.
    pub(super) given: &'r [ForwardPath],
    /// Its octets, if they are still here.
    pub(super) message: Option<&'r Message>,
    pub(super) rules: Rules<'r>,
    pub(super) supposed: Supposed,
}

/// What came of it.
pub(super) struct Replayed {
    /// For each recipient that gets a copy of its own.
    pub(super) recipients: Vec<RecipientDecision>,
    /// The legal entity that sends, if one is known.
    pub(super) entity: Option<String>,
    /// What is done to it, in words, each once.
    pub(super) edits: Vec<String>,
    /// Whether a file in it could not be opened for now: then nothing is known.
    pub(super) is_unfinished: bool,
}

impl Policy {
    /// Asks the stages. Never waits for the network.
    pub(super) async fn replay(&self, again: &Again<'_>) -> Replayed {
        let message = again.message.cloned();
        let message = message.unwrap_or_else(|| Message::new(&b"\r\n"[..]));
        let transaction = again.record.transaction(again.given, message);
        let mut tally = Tally::new(unresolved(&transaction));
        let Ok(reading) = catch_unwind(AssertUnwindSafe(|| self.read(&transaction))) else {
            return Replayed::unfinished();
        };
        if reading.is_unfinished() {
            return Replayed::unfinished();
        }
        let look = Look {
            transaction: &transaction,
            direction: self.direction(&transaction.client),
            network: Network::Off,
        };
        self.hold_to_contract(&transaction, &mut tally);
        for placed in &self.stages {
            let said = self.ask(placed, (&look, &reading), again, &tally).await;
            placed.settle(said, &mut tally);
        }
        if again.message.is_some() {
            self.protect_signatures(&transaction, &mut tally);
        }
        let footer = tally.findings.footer.take();
        let mut recipients = tally.decide();
        recipients.retain(|one| !one.duplicate);
        Replayed {
            recipients,
            entity: footer.and_then(|footer| footer.entity),
            edits: words_of(&tally.edits),
            is_unfinished: false,
        }
    }

    async fn ask(
        &self,
        placed: &PlacedStage,
        (look, reading): (&Look<'_>, &Reading<'_>),
        again: &Again<'_>,
        tally: &Tally,
    ) -> Result<Opinions, Panicked> {
        let case = self.case(look, reading, tally);
        let (found, supposed) = (&again.record.found, again.supposed);
        let is_here = again.message.is_some();
        match &placed.stage {
            Stage::ClassifyPatientData(_) if !is_here => {
                Ok(found.classified(case.account, supposed.keyword))
            }
            Stage::Scan(_) | Stage::Mark(_) if !is_here => Ok(Opinions::none()),
            Stage::Footer(_) if !supposed.with_footer => Ok(Opinions::none()),
            Stage::ScoreSpam(scored) => {
                let rules = again.rules;
                let before = ScoredBefore {
                    symbols: &found.symbols,
                    is_rule: &|name| rules.all.contains(name),
                    is_new: &|name| is_here && rules.new.contains(name),
                    is_protected: supposed.is_protected,
                };
                Ok(scored.alone().by_record(&case, &before))
            }
            stage => {
                let mut said = without_panic(stage.examine(&case)).await?;
                match stage {
                    Stage::AuthenticateSender(_) if look.direction == Direction::Inbound => {
                        let vouched = vouched_for(look, &self.hostname);
                        said.findings.push(Finding::Authentication(vouched));
                    }
                    // Nothing of the octets is here to be edited.
                    Stage::Footer(_) if !is_here => {
                        said.edits.clear();
                        said.audiences.clear();
                    }
                    _ => {}
                }
                Ok(said)
            }
        }
    }
}

impl Replayed {
    fn unfinished() -> Self {
        Self {
            recipients: Vec::new(),
            entity: None,
            edits: Vec::new(),
            is_unfinished: true,
        }
    }
}

/// What this gateway itself wrote on the message about its author: a forged field was taken out when it came.
fn vouched_for(look: &Look<'_>, hostname: &str) -> AuthenticationResults {
    let header = look.transaction.message.header();
    let own = header.all("Authentication-Results").find(|field| {
        let value = field.value();
        let name = value.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(hostname)
    });
    let value = own.map(|field| field.value()).unwrap_or_default();
    let mut results = value.split(';').filter_map(|result| {
        let word = result.split_whitespace().next()?;
        word.strip_prefix("dmarc=").map(str::to_owned)
    });
    let dmarc = results.next().map(|result| MethodResult {
        method: "dmarc",
        result,
        properties: Vec::new(),
    });
    AuthenticationResults {
        methods: dmarc.into_iter().collect(),
        ..AuthenticationResults::default()
    }
}

/// What is done to a message that its readers would see. What is written for the trace says nothing of the policy, and of
/// a footer its entity says all: a message that was kept has one already.
fn words_of(edits: &[Edit]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for edit in edits {
        if matches!(
            edit.kind,
            EditKind::Trace | EditKind::Removal | EditKind::Footer
        ) {
            continue;
        }
        let word = match &edit.entity {
            Some(entity) => format!("{} of {entity}", edit.kind.name()),
            None => edit.kind.name().to_owned(),
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.sort();
    words
}
