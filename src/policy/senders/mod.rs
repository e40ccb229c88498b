//! Who is known, wanted, unwanted or only pretends to be: `senders.toml`, and what is remembered between messages.
//!
//! [`Senders::judge`] speaks with the evidence at hand, before anything else is looked at; [`Scored`] puts what
//! the network and the memory say round the score. What is to be remembered is noted by
//! [`Senders::remember`], which nobody waits for.

mod allowed;
pub mod dns_list;
mod grey;
mod lists;
mod own;
mod pattern;
mod pending;
mod scored;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::{Diagnostics, Located, Section, load_toml};
use crate::mail::{Domain, MailTransaction};
use crate::policy::author::authors;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::finding::AuthenticationResults;
use crate::policy::opinion::Opinion;
use crate::policy::secure_domains::SecureDomains;
use crate::policy::verdict::{Decision, Direction, FinalReply};

use grey::{Greylisting, State, network};
use lists::{Allowed, Blocked};
use own::{OwnDomains, unverified};
use pattern::RecipientPattern;
pub(super) use pattern::SenderPattern;

use pending::Note;

pub use allowed::{Allowance, comparable};
pub use grey::Key;
pub use scored::Scored;
pub use store::{SenderStoreError, Store};

/// `senders.toml`, checked.
#[derive(Debug)]
pub struct Senders {
    defers_without_dns: bool,
    trusted_sealers: Vec<Domain>,
    own: OwnDomains,
    allowed: Vec<Allowed>,
    blocked: Vec<Blocked>,
    greylisting: Option<Greylisting>,
    priority_senders: Vec<SenderPattern>,
    priority_recipients: Vec<RecipientPattern>,
    /// How long a mailbox knows whom it wrote to; `None` for never.
    correspondents: Option<Duration>,
}

impl Default for Senders {
    fn default() -> Self {
        Self {
            defers_without_dns: false,
            trusted_sealers: Vec::new(),
            own: OwnDomains::default(),
            allowed: Vec::new(),
            blocked: Vec::new(),
            greylisting: None,
            priority_senders: Vec::new(),
            priority_recipients: Vec::new(),
            correspondents: Some(CORRESPONDENTS),
        }
    }
}

impl Senders {
    /// Reads the file; without one, what holds is what ships.
    pub fn load(path: Option<&Path>, diagnostics: &Diagnostics) -> Option<Self> {
        match path {
            Some(path) => load_toml(path, diagnostics, Self::read),
            None => Some(Self::default()),
        }
    }

    pub(super) fn read(top: &Section<'_>) -> Self {
        let authentication = top.section("authentication");
        let words = [("pass", false), ("defer", true)];
        let defers_without_dns = authentication.word("when-dns-fails", &words);
        let sealers = authentication.parse_list::<Domain>("trusted-sealers");
        authentication.finish();
        let priority = top.section("priority");
        let senders = priority.parse_list::<SenderPattern>("senders");
        let recipients = priority.parse_list::<RecipientPattern>("recipients");
        let correspondents = priority.duration("correspondents");
        priority.finish();
        Self {
            defers_without_dns: defers_without_dns.is_some_and(Located::into_inner),
            trusted_sealers: values(sealers),
            own: OwnDomains::read(top),
            allowed: lines(top, "allow", Allowed::read),
            blocked: lines(top, "block", Blocked::read),
            greylisting: Greylisting::read(top),
            priority_senders: values(senders),
            priority_recipients: values(recipients),
            correspondents: Some(correspondents.map_or(CORRESPONDENTS, Located::into_inner))
                .filter(|time| !time.is_zero()),
        }
    }

    /// Whose seals are believed.
    pub fn trusted_sealers(&self) -> &[Domain] {
        &self.trusted_sealers
    }

    /// What the evidence alone says of mail from outside; `None` if nothing speaks against it, or if there was
    /// nobody to ask.
    pub fn judge(
        &self,
        case: &Case<'_>,
        results: &AuthenticationResults,
        register: &SecureDomains,
    ) -> Option<Opinion> {
        if !results.was_asked {
            return None;
        }
        if let Some(opinion) = self.own.judge(case, results) {
            return Some(opinion);
        }
        let is_open = results.is_unsure() && !results.has("dmarc", &["pass"]);
        let authors = authors(case.header, "From");
        let mut domains = authors
            .iter()
            .filter_map(|one| one.mailbox.as_ref()?.domain());
        let is_clinical = domains.any(|domain| register.is_secure(domain, case.now));
        match is_open && (self.defers_without_dns || is_clinical) {
            true => Some(unverified(
                "the DNS did not answer, and it is not known who sent this",
            )),
            false => None,
        }
    }

    /// Whether the author is of those who are never kept back on a score.
    fn has_priority(&self, senders: &lists::Senders<'_>) -> bool {
        let author = senders.proven_author();
        let listed = |author| self.priority_senders.iter().any(|one| one.is(author));
        author.is_some_and(listed)
    }

    fn is_allowed(&self, senders: &lists::Senders<'_>, recipient: &ResolvedRecipient) -> bool {
        self.allowed
            .iter()
            .any(|line| line.holds(senders, recipient))
    }

    /// Notes what is to be remembered of a message that has had its decision: attempts that were put off,
    /// clients that came again, and to whom a mailbox of ours has written. To be called for accepted mail after the
    /// commit. Never waits.
    pub fn remember(&self, store: &Store, transaction: &MailTransaction, decision: &Decision) {
        let now = transaction.received_at;
        let is_accepted = matches!(decision.reply(), FinalReply::Accepted(_));
        if decision.direction == Direction::Outbound {
            if is_accepted && self.correspondents.is_some() {
                store.note(recipients_of(transaction, decision));
            }
            return;
        }
        let (Some(greylisting), Some(found)) = (&self.greylisting, &decision.findings.greylist)
        else {
            return;
        };
        let keys = found.keys.clone();
        if !is_accepted {
            let retry_within = greylisting.retry_within;
            store.note(Note::Attempts {
                keys,
                now,
                retry_within,
            });
        } else if found.has_returned {
            let domain = sender_domain(transaction);
            store.note(Note::Return { keys, domain, now });
        }
    }

    /// Forgets what is too old to count. Called once a day or so.
    pub async fn forget(&self, store: &Store, now: Timestamp) -> Result<(), SenderStoreError> {
        let grey = self
            .greylisting
            .as_ref()
            .map_or(FORGET, |grey| grey.remember);
        let written = self.correspondents.unwrap_or(FORGET);
        let before = |time: Duration| now.checked_sub(time).unwrap_or(Timestamp::MIN);
        store.forget(before(grey), before(written)).await
    }
}

/// Mailboxes of ours: the reverse path, and the author if he is another. The recipients are those of the decision, in
/// which the numbers of text messages are out of sight already; the envelope still has them in clear.
fn recipients_of(transaction: &MailTransaction, decision: &Decision) -> Note {
    let recipients = decision.recipients.iter();
    let recipients = recipients.filter_map(|one| one.given.mailbox());
    let mut to: Vec<String> = recipients.map(comparable).collect();
    to.sort();
    to.dedup();
    let mut mailboxes: Vec<String> = Vec::new();
    let authors = authors(&transaction.message.header(), "From");
    let authors = authors.iter().filter_map(|one| one.mailbox.as_ref());
    let sender = transaction.envelope.reverse_path.notifiable();
    for mailbox in sender.into_iter().chain(authors.take(1)) {
        let name = comparable(mailbox);
        if !mailboxes.contains(&name) {
            mailboxes.push(name);
        }
    }
    let now = transaction.received_at;
    Note::Written { mailboxes, to, now }
}

fn sender_domain(transaction: &MailTransaction) -> String {
    let domain = transaction.envelope.reverse_path.domain();
    domain.map_or_else(String::new, |domain| domain.as_str().to_owned())
}

fn values<T>(list: Option<Vec<Located<T>>>) -> Vec<T> {
    let list = list.unwrap_or_default().into_iter();
    list.map(Located::into_inner).collect()
}

fn lines<T>(top: &Section<'_>, key: &str, read: fn(&Section<'_>) -> Option<T>) -> Vec<T> {
    let mut lines = Vec::new();
    for section in top.sections(key) {
        lines.extend(read(&section));
        section.finish();
    }
    lines
}

/// What the memory says of a message from outside.
#[derive(Debug, Default)]
struct Memory {
    /// For each recipient, whether it has written to the author.
    is_correspondent: Vec<bool>,
    /// For each recipient, whether somebody let the author through to it.
    is_let_through: Vec<bool>,
    /// How far the client has come, and the attempt; `None` where nobody is put off.
    greylist: Option<(State, Vec<Key>)>,
}

impl Senders {
    async fn recall(
        &self,
        store: &Store,
        case: &Case<'_>,
        author: Option<String>,
    ) -> Result<Memory, SenderStoreError> {
        let mut memory = Memory::default();
        if let Some(author) = author {
            let names = case.recipients.iter().map(|recipient| {
                let mailbox = recipient.mailbox();
                mailbox.map_or_else(String::new, comparable)
            });
            let names: Vec<String> = names.collect();
            memory.is_let_through = store.are_allowed(names.clone(), author.clone()).await?;
            if let Some(time) = self.correspondents {
                let written = store.written(names, author).await?.into_iter();
                let is_recent =
                    |last: Timestamp| case.now.duration_since(last).unsigned_abs() <= time;
                memory.is_correspondent = written.map(|last| last.is_some_and(is_recent)).collect();
            }
        }
        let keys = Key::all(case);
        if let (Some(greylisting), false) = (&self.greylisting, keys.is_empty()) {
            let client = network(case.transaction.client.address.ip());
            let attempts = store.attempts(keys.clone()).await?;
            let returns = store
                .returns(client, sender_domain(case.transaction))
                .await?;
            let state = greylisting.state(&attempts, returns, case.now);
            memory.greylist = Some((state, keys));
        }
        Ok(memory)
    }
}

/// The senders of a policy and the memory of the gateway.
#[derive(Clone, Debug)]
pub struct Known {
    /// What the file says.
    pub senders: Arc<Senders>,
    /// What is remembered; `None` for what must come out the same everywhere.
    pub store: Option<Store>,
}

/// How long a mailbox knows whom it wrote to.
const CORRESPONDENTS: Duration = Duration::from_secs(180 * 86_400);
/// How long anything is kept that no setting speaks of.
const FORGET: Duration = Duration::from_secs(36 * 86_400);
