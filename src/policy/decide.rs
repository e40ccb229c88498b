//! The moment of the message: reads it once, asks every stage in turn, and makes one [`Decision`].
//!
//! A stage that panics or says that it failed takes nobody down: the policy file says whether its
//! failure defers the message or lets it pass with a note, and a safety stage always defers.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;

use crate::base::Reference;
use crate::content::{self, Content};
use crate::mail::mime::{self, MimeError, Structure};
use crate::mail::{Header, MailTransaction};

use super::case::{Case, ResolvedRecipient};
use super::combine::Tally;
use super::finding::Unreadable;
use super::opinion::{Finding, Opinions};
use super::settings::OnFailure;
use super::stage::StageName;
use super::verdict::{Decision, Direction};
use super::{PlacedStage, Policy, unavailable};

/// Whether stages may ask the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    /// They may.
    Allowed,
    /// They may not: what comes out is the same everywhere.
    Off,
}

impl Policy {
    /// Decides about a message as of the moment it was received. Never fails: what cannot be judged is
    /// deferred. Large messages are judged on a thread of their own.
    pub async fn decide(self: &Arc<Self>, transaction: &MailTransaction) -> Decision {
        if transaction.message.len() <= INLINE_OCTETS_MAX {
            return self.judge(transaction, Network::Allowed).await;
        }
        let (policy, owned) = (Arc::clone(self), transaction.clone());
        let runtime = Handle::current();
        let judged = tokio::task::spawn_blocking(move || {
            runtime.block_on(policy.judge(&owned, Network::Allowed))
        });
        match judged.await {
            Ok(decision) => decision,
            Err(_) => self.undecided(transaction),
        }
    }

    /// As [`Policy::decide`], on the spot.
    pub async fn judge(&self, transaction: &MailTransaction, network: Network) -> Decision {
        let direction = self.direction(&transaction.client);
        let mut tally = Tally::new(unresolved(transaction));
        match catch_unwind(AssertUnwindSafe(|| self.read(transaction))) {
            Ok(reading) => {
                tally.take(reading.unreadable());
                let look = Look {
                    transaction,
                    direction,
                    network,
                };
                self.run_stages(&look, &reading, &mut tally).await;
            }
            Err(_) => tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in")),
        }
        self.decision(direction, tally)
    }

    async fn run_stages(&self, look: &Look<'_>, reading: &Reading<'_>, tally: &mut Tally) {
        for placed in &self.stages {
            let case = self.case(look, reading, tally);
            let said = without_panic(placed.stage.examine(&case)).await;
            placed.settle(said, tally);
        }
    }

    fn case<'a>(&'a self, look: &Look<'a>, reading: &'a Reading<'a>, tally: &'a Tally) -> Case<'a> {
        let client = &look.transaction.client;
        Case {
            transaction: look.transaction,
            direction: look.direction,
            header: &reading.header,
            structure: reading.structure.as_ref().map_err(|error| *error),
            content: &reading.content,
            recipients: &tally.recipients,
            findings: &tally.findings,
            now: look.transaction.received_at,
            account: client
                .account
                .as_ref()
                .and_then(|name| self.accounts.get(name)),
            accounts: &self.accounts,
            directory: &self.directory,
            hostname: &self.hostname,
            network_allowed: look.network == Network::Allowed,
        }
    }

    fn read<'m>(&self, transaction: &'m MailTransaction) -> Reading<'m> {
        let message = &transaction.message;
        let structure = mime::parse(message.octets());
        let content = match &structure {
            Ok(structure) => content::read(message, structure, &self.limits),
            Err(_) => Content::default(),
        };
        Reading {
            header: message.header(),
            structure,
            content,
        }
    }

    fn decision(&self, direction: Direction, mut tally: Tally) -> Decision {
        Decision {
            reference: Reference::random(),
            direction,
            recipients: tally.decide(),
            edits: tally.edits,
            findings: tally.findings,
            policy: self.version.clone(),
        }
    }

    /// The decision about a message that could not be judged at all.
    fn undecided(&self, transaction: &MailTransaction) -> Decision {
        let mut tally = Tally::new(unresolved(transaction));
        tally.take_for_all(&unavailable(StageName::ClassifyPatientData, "built-in"));
        self.decision(self.direction(&transaction.client), tally)
    }
}

/// What is looked at, and how.
struct Look<'a> {
    transaction: &'a MailTransaction,
    direction: Direction,
    network: Network,
}

/// A message, read once for all stages.
struct Reading<'m> {
    header: Header<'m>,
    structure: Result<Structure, MimeError>,
    content: Content,
}

impl Reading<'_> {
    /// A message that is not taken apart may hold anything.
    fn unreadable(&self) -> Opinions {
        if self.structure.is_ok() {
            return Opinions::none();
        }
        Opinions::finding(Finding::Unreadable(vec![Unreadable {
            place: "body:1".to_owned(),
            because: "malformed",
        }]))
    }
}

impl PlacedStage {
    /// Puts what a stage said into the tally, or what its failure means.
    fn settle(&self, said: Result<Opinions, Panicked>, tally: &mut Tally) {
        let failure = match said {
            Ok(mut opinions) => {
                let failure = opinions.failure.take();
                tally.take(opinions);
                failure
            }
            Err(Panicked) => Some("it broke off".to_owned()),
        };
        let Some(failure) = failure else { return };
        let note = format!("{}: failed, {failure}", self.name.word());
        tally.take(Opinions::note(note));
        if self.on_failure == OnFailure::Defer || self.name.is_safety() {
            tally.take_for_all(&unavailable(self.name, &self.source));
        }
    }
}

fn unresolved(transaction: &MailTransaction) -> Vec<ResolvedRecipient> {
    let recipients = transaction.envelope.recipients.iter().enumerate();
    recipients
        .map(|(of, recipient)| ResolvedRecipient::unresolved(of, recipient))
        .collect()
}

/// A stage panicked. What it said is for nobody: it may hold content.
struct Panicked;

/// Runs a future to its end, or to its panic.
async fn without_panic<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Messages over this are judged on a thread of their own, so that no session waits for them.
const INLINE_OCTETS_MAX: usize = 256 * 1024;
