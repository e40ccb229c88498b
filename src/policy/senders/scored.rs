//! The spam rule with what the network and the memory know put round it: DNS lists before the score, lists of
//! senders and greylisting after it.
//!
//! Nobody who has priority is kept back on the score alone: authors on the priority list, mail for priority
//! mailboxes, and those to whom a mailbox has written, if they are proven to be who they say. What a person
//! blocked is blocked all the same, and what DMARC asks for is done.

use crate::base::dns::Dns;
use crate::base::metrics;
use crate::policy::case::{Case, ResolvedRecipient};
use crate::policy::finding::{Greylist, SpamScore, Symbol};
use crate::policy::opinion::{Ask, Finding, Opinion, Opinions};
use crate::policy::refusal::Refusal;
use crate::policy::stage::score_spam::ScoreSpam;

use super::dns_list::{self, DnsList};
use super::grey::State;
use super::lists::Senders as Sent;
use super::{Known, Memory, comparable};

/// The stage `score-spam`, with all that it may ask.
#[derive(Debug)]
pub struct Scored {
    score: ScoreSpam,
    known: Known,
    dns: Option<Dns>,
    lists: Vec<DnsList>,
}

impl Scored {
    /// The rule `score`, with these lists of the DNS.
    pub fn new(score: ScoreSpam, known: Known, dns: Option<Dns>, lists: Vec<DnsList>) -> Self {
        Self {
            score,
            known,
            dns,
            lists,
        }
    }

    /// The rule by itself, without network and memory.
    pub fn alone(&self) -> &ScoreSpam {
        &self.score
    }

    /// The score of mail from outside and what follows; nothing about our own.
    pub async fn examine(&self, case: &Case<'_>) -> Opinions {
        if case.is_outbound() {
            return Opinions::none();
        }
        let sent = Sent::of(case);
        let (symbols, (memory, note)) =
            tokio::join!(self.listed(case), self.remembered(case, &sent));
        let standing: Vec<Standing> = (0..case.recipients.len())
            .map(|at| self.standing(&sent, &case.recipients[at], &memory, at))
            .collect();
        // What is known from outside is of the score like any other symbol.
        let mut findings = case.findings.clone();
        findings.spam.symbols.extend(symbols);
        findings.spam.symbols.extend(of_standing(&standing));
        let inner = Case {
            findings: &findings,
            ..*case
        };
        let mut opinions = self.score.examine(&inner);
        for (opinion, standing) in opinions.per_recipient.iter_mut().zip(&standing) {
            if standing.is_protected() && self.score.is_by_score(opinion) {
                *opinion = self.score.by_dmarc(case);
            }
            if let Standing::Blocked(blocked) = standing {
                worsen(opinion, blocked);
            }
        }
        opinions.findings.extend(note.map(Finding::Note));
        self.greylist(case, &sent, &standing, memory, &mut opinions);
        opinions
    }

    async fn listed(&self, case: &Case<'_>) -> Vec<Symbol> {
        match &self.dns {
            Some(dns) if case.network_allowed => {
                Box::pin(dns_list::ask(&self.lists, dns, case)).await
            }
            _ => Vec::new(),
        }
    }

    /// What the memory has, and a note if it could not be asked: then nobody is known, and nobody put off.
    async fn remembered(&self, case: &Case<'_>, sent: &Sent<'_>) -> (Memory, Option<String>) {
        let Some(store) = self.known.store.as_ref().filter(|_| case.network_allowed) else {
            return (Memory::default(), None);
        };
        let author = sent.proven_author();
        let author = author.map(comparable);
        match Box::pin(self.known.senders.recall(store, case, author)).await {
            Ok(memory) => (memory, None),
            Err(error) => (Memory::default(), Some(format!("score-spam: {error}"))),
        }
    }

    fn standing(
        &self,
        sent: &Sent<'_>,
        recipient: &ResolvedRecipient,
        memory: &Memory,
        at: usize,
    ) -> Standing {
        let senders = &self.known.senders;
        let mut blocked = senders.blocked.iter();
        if let Some(opinion) = blocked.find_map(|line| line.opinion(sent, recipient)) {
            return Standing::Blocked(Box::new(opinion));
        }
        if memory.is_correspondent.get(at) == Some(&true) {
            return Standing::Correspondent;
        }
        let is_let_through = memory.is_let_through.get(at) == Some(&true);
        if is_let_through || senders.is_allowed(sent, recipient) {
            return Standing::Allowed;
        }
        match senders.has_priority(sent) || self.is_priority_mailbox(sent, recipient) {
            true => Standing::Priority,
            false => Standing::Nobody,
        }
    }

    fn is_priority_mailbox(&self, sent: &Sent<'_>, recipient: &ResolvedRecipient) -> bool {
        let patterns = &self.known.senders.priority_recipients;
        sent.is_for(patterns, recipient)
    }

    /// Puts off everybody or nobody: after a 250 for some, the client would not come again for the others.
    fn greylist(
        &self,
        case: &Case<'_>,
        sent: &Sent<'_>,
        standing: &[Standing],
        memory: Memory,
        opinions: &mut Opinions,
    ) {
        let Some(greylisting) = &self.known.senders.greylisting else {
            return;
        };
        let Some((state, keys)) = memory.greylist else {
            return;
        };
        let score = opinions.findings.iter().find_map(|finding| match finding {
            Finding::Spam(SpamScore { score, .. }) => Some(*score),
            _ => None,
        });
        let in_band = score.is_some_and(|score| greylisting.is_for(score));
        let is_known =
            sent.proven_author().is_some() || standing.iter().any(Standing::is_protected);
        if !in_band || is_known || state == State::Known || case.recipients.is_empty() {
            return;
        }
        let has_returned = state == State::Returned;
        opinions
            .findings
            .push(Finding::Greylist(Greylist { keys, has_returned }));
        if has_returned {
            return;
        }
        metrics::GREYLISTED.add(1);
        let because =
            "a stranger whose mail is neither clearly good nor clearly bad is asked to come again";
        let opinion = Opinion::new(
            Ask::Defer(Refusal::Greylisted),
            greylisting.from.source(),
            because,
        )
        .would_pass_if("the same client sends it again after the delay");
        for standing in &mut opinions.per_recipient {
            worsen(standing, &opinion);
        }
    }
}

/// How a sender stands with a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Standing {
    Nobody,
    Allowed,
    Priority,
    Correspondent,
    Blocked(Box<Opinion>),
}

impl Standing {
    fn is_protected(&self) -> bool {
        matches!(self, Self::Allowed | Self::Priority | Self::Correspondent)
    }
}

/// Symbols without weight: they say why a score did not count, or why something else did.
fn of_standing(standing: &[Standing]) -> Vec<Symbol> {
    let has = |is: fn(&Standing) -> bool| standing.iter().any(is);
    let all: [(&str, &str, bool); 4] = [
        (
            "SENDER_BLOCKED",
            "its sender is on a list of those whose mail is not wanted",
            has(|one| matches!(one, Standing::Blocked(_))),
        ),
        (
            "SENDER_ALLOWED",
            "its sender is on a list of those whose mail is wanted",
            has(|one| *one == Standing::Allowed),
        ),
        (
            "SENDER_PRIORITY",
            "sender or mailbox is of those whose mail is never kept back on a score",
            has(|one| *one == Standing::Priority),
        ),
        (
            "CORRESPONDENT",
            "a mailbox that it is for has written to its author",
            has(|one| *one == Standing::Correspondent),
        ),
    ];
    let spoken = all.into_iter().filter(|(.., speaks)| *speaks);
    spoken
        .map(|(name, because, _)| Symbol {
            name: name.to_owned(),
            score: 0.0,
            because: because.to_owned(),
        })
        .collect()
}

/// Refusals stand before deferrals before quarantines.
fn worsen(standing: &mut Opinion, other: &Opinion) {
    let rank = |ask: &Ask| match ask {
        Ask::Refuse(_) => 3,
        Ask::Defer(_) => 2,
        Ask::Quarantine => 1,
        _ => 0,
    };
    if rank(&other.ask) > rank(&standing.ask) {
        *standing = other.clone();
    }
}
