//! What should happen to a message.
//!
//! A [`Policy`] is an immutable snapshot of all policy files: an ordered list of stages, asked at two
//! moments. [`Policy::at_recipient`] needs the envelope alone and answers a `RCPT TO`;
//! [`Policy::decide`] has the whole message. Stages return [`Opinions`]; `combine` makes verdicts of
//! them. A transaction keeps the policy it began with, and its version is in the audit trail.

mod again;
pub mod author;
pub mod case;
pub mod combine;
pub mod condition;
mod contract;
pub mod corpus;
pub mod decide;
pub mod evidence;
pub mod explain;
pub mod finding;
pub mod held;
pub mod links;
pub mod load;
pub mod old_name;
pub mod opinion;
pub mod organisations;
pub mod patient_data;
pub mod people;
pub mod policy_test;
pub mod refusal;
pub mod relay_certificates;
mod relay_networks;
pub mod replay;
pub mod replies;
pub mod scanner;
pub mod scoring;
pub mod secure_domains;
pub mod self_release;
pub mod senders;
pub mod settings;
pub mod signed_by;
pub mod signing;
pub mod sms;
pub mod spam;
pub mod spam_corpus;
pub mod stage;
pub mod submitter;
#[cfg(test)]
mod testing;
pub mod urgency;
pub mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::accounts::Accounts;
use crate::base::{Clock, PolicyVersion, Reference};
use crate::content::Limits;
use crate::directory::{self, Directory};
use crate::mail::{Client, Recipient, Reply, ReversePath};

use relay_certificates::RelayCertificates;
use secure_domains::SecureDomains;
use senders::Known;
use settings::{Files, OnFailure};
use signing::Signing;
use sms::SmsRule;
use spam::Learned;
use stage::authenticate_sender::may_use;
use stage::resolve_recipients::ResolveRecipients;
use stage::{Stage, StageName};

pub use again::Again;
pub use case::{Case, ResolvedRecipient};
pub use finding::Findings;
pub use held::{Hears, Held, Holds};
pub use old_name::{OldName, Tell};
pub use opinion::{Ask, Finding, Opinion, Opinions};
pub use refusal::Refusal;
pub use verdict::{Decision, Direction, Fate, FinalReply, RecipientDecision, Verdict};

/// Everything that decides about mail, as of one state of the policy files.
#[derive(Debug)]
pub struct Policy {
    version: PolicyVersion,
    hostname: String,
    clock: Clock,
    files: Files,
    limits: Limits,
    accounts: Arc<Accounts>,
    directory: Arc<Directory>,
    register: Arc<SecureDomains>,
    recipients: Arc<ResolveRecipients>,
    stages: Vec<PlacedStage>,
    known: Known,
    /// How often a sender is told that a name is an old one; `None` for never.
    tell_of_old_names: Option<Duration>,
    holds: Holds,
    urgency: urgency::Urgency,
    /// The tag that asks for encryption, as a sender is to write it.
    secure_tag: String,
    /// Whether something may have to be encrypted: a subject asks for it, the register or a release.
    orders_encryption: bool,
    signing: Arc<Signing>,
    sms: Arc<SmsRule>,
    learned: Arc<Learned>,
    learning: spam::settings::Settings,
}

/// A stage, and its line in the policy file.
#[derive(Debug)]
struct PlacedStage {
    stage: Stage,
    name: StageName,
    on_failure: OnFailure,
    source: String,
}

impl Policy {
    /// Which policy this is.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// The file of the accounts, for the command that adds one.
    pub fn accounts_file(&self) -> &Path {
        &self.files.accounts
    }

    /// Who may submit.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Who lives here.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The files that the gateway's own one names.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The files of the directory.
    pub fn directory_files(&self) -> directory::Files {
        self.files.of_directory()
    }

    /// What happens to what is held.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Whether mail may come to need the encryption next hop.
    pub fn orders_encryption(&self) -> bool {
        self.orders_encryption
    }

    /// Which domains may have patient data.
    pub fn secure_domains(&self) -> &Arc<SecureDomains> {
        &self.register
    }

    /// The file of the accredited list, if one is named.
    pub fn accredited_file(&self) -> Option<&Path> {
        self.files.accredited_domains.as_deref()
    }

    /// The keys that sign what leaves.
    pub fn signing(&self) -> &Arc<Signing> {
        &self.signing
    }

    /// Which recipients are numbers, and who may send them texts.
    pub fn sms(&self) -> &SmsRule {
        &self.sms
    }

    /// Who is known, and what is remembered of senders.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// What was learnt about spam.
    pub fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    /// How it is learnt.
    pub fn learning(&self) -> &spam::settings::Settings {
        &self.learning
    }

    /// The clients that are known by their certificates.
    pub fn relay_certificates(&self) -> &RelayCertificates {
        self.recipients.relay_certificates()
    }

    /// Which way mail of this client goes.
    pub fn direction(&self, client: &Client) -> Direction {
        self.recipients.direction(client)
    }

    /// The moment of `RCPT TO`: what the envelope alone decides. Errs with what the client hears.
    ///
    /// Should a look-up fail altogether, the client is asked to try again.
    pub fn at_recipient(
        &self,
        client: &Client,
        reverse_path: &ReversePath,
        recipient: &Recipient,
    ) -> Result<(), Box<Rejection>> {
        self.at_recipient_on(client, reverse_path, recipient, self.clock.now())
    }

    /// As [`Policy::at_recipient`], as of a moment.
    fn at_recipient_on(
        &self,
        client: &Client,
        reverse_path: &ReversePath,
        recipient: &Recipient,
        now: Timestamp,
    ) -> Result<(), Box<Rejection>> {
        let asked = catch_unwind(AssertUnwindSafe(|| {
            may_use(&self.accounts, client, reverse_path)?;
            self.within_contract(client, &recipient.forward_path, now)?;
            let account = client.account.as_ref();
            let account = account.and_then(|name| self.accounts.get(name));
            let direction = self.direction(client);
            self.sms
                .may_send(direction, account, &recipient.forward_path)?;
            self.recipients
                .resolve(direction, 0, recipient, now)
                .map(drop)
        }));
        let name = StageName::ResolveRecipients;
        asked
            .unwrap_or_else(|_| Err(unavailable(name, "built-in")))
            .map_err(|opinion| Box::new(Rejection::of(opinion)))
    }
}

/// Why a recipient is refused before there is a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rejection {
    /// What people quote.
    pub reference: Reference,
    /// The kind of refusal.
    pub refusal: Refusal,
    /// What the client hears.
    pub reply: Reply,
    /// What says so.
    pub rule: String,
    /// Why, for people.
    pub because: String,
}

impl Rejection {
    fn of(opinion: Opinion) -> Self {
        let refusal = match opinion.ask {
            Ask::Refuse(refusal) | Ask::Defer(refusal) => refusal,
            // Before there is a message nothing else is asked.
            _ => Refusal::StageUnavailable {
                stage: StageName::ResolveRecipients.word(),
            },
        };
        let reference = Reference::random();
        Self {
            reply: refusal.reply(&reference),
            reference,
            refusal,
            rule: opinion.rule,
            because: opinion.because,
        }
    }
}

/// The opinion that a stage which could not do its work leaves behind.
fn unavailable(stage: StageName, rule: &str) -> Opinion {
    let word = stage.word();
    let refusal = Refusal::StageUnavailable { stage: word };
    let because = format!("the stage {word} could not do its work");
    Opinion::new(Ask::Defer(refusal), rule, because)
        .would_pass_if("the message is sent again when the stage works")
}
