//! Opinions: what a stage says about a case. It asks; the policy decides (`combine.rs`).

use crate::mail::{Audience, Edit};

use super::case::ResolvedRecipient;
use super::finding::{
    AuthenticationResults, FooterFinding, Greylist, LinkEdits, LinkFinding, PatientData,
    SecureKeyword, ShortText, SpamScore, Symbol, Unreadable,
};
use super::refusal::Refusal;
use super::self_release::Grounds;

/// All that one stage says about one case.
#[derive(Clone, Debug, Default)]
pub struct Opinions {
    /// One for each recipient of the case, in its order; empty if the stage lets all pass.
    pub per_recipient: Vec<Opinion>,
    /// What it found, for the stages after it and for people.
    pub findings: Vec<Finding>,
    /// What it wants changed in the octets.
    pub edits: Vec<Edit>,
    /// Which copy each recipient of the case gets, in its order, where copies differ; else empty.
    pub audiences: Vec<Audience>,
    /// Why it could not do its work, in one sentence without content. What that means (defer, or pass
    /// with a note) is written in the policy file.
    pub failure: Option<String>,
}

impl Opinions {
    /// Nothing to say: everybody passes.
    pub fn none() -> Self {
        Self::default()
    }

    /// A finding and nothing else.
    pub fn finding(finding: Finding) -> Self {
        Self {
            findings: vec![finding],
            ..Self::default()
        }
    }

    /// Something that was not done, and why: `footer: not added, signed by S/MIME`.
    pub fn note(text: impl Into<String>) -> Self {
        Self::finding(Finding::Note(text.into()))
    }

    /// The stage could not do its work.
    pub fn failed(because: impl Into<String>) -> Self {
        Self {
            failure: Some(because.into()),
            ..Self::default()
        }
    }

    /// The same opinion about each of `recipients` recipients.
    pub fn all(recipients: usize, opinion: &Opinion) -> Self {
        Self {
            per_recipient: vec![opinion.clone(); recipients],
            ..Self::default()
        }
    }
}

/// What a stage asks for one recipient, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opinion {
    /// What it asks.
    pub ask: Ask,
    /// What says so: `policies/secure-domains.toml:31`, or `built-in`.
    pub rule: String,
    /// Why, in one plain sentence that holds nothing of the message.
    pub because: String,
    /// The smallest change that would let it pass.
    pub would_pass_if: Option<String>,
    /// How it goes if it goes: also after somebody has let go on what was kept back.
    pub protection: Protection,
    /// Of a hold: the grounds on which it rests, all of which its sender would have to be allowed to pass over.
    /// None: it is not for him to decide.
    pub grounds: Grounds,
}

impl Opinion {
    /// Nothing against it.
    pub fn pass() -> Self {
        Self {
            ask: Ask::Pass,
            rule: String::new(),
            because: String::new(),
            would_pass_if: None,
            protection: Protection::AsRoute,
            grounds: Grounds::default(),
        }
    }

    /// Asks for something, by a rule and for a reason.
    pub fn new(ask: Ask, rule: impl Into<String>, because: impl Into<String>) -> Self {
        Self {
            protection: ask.protection(),
            ask,
            rule: rule.into(),
            because: because.into(),
            would_pass_if: None,
            grounds: Grounds::default(),
        }
    }

    /// Says how it goes in any case, whatever is asked.
    #[must_use]
    pub fn protected(mut self, protection: Protection) -> Self {
        self.protection = self.protection.max(protection);
        self
    }

    /// Says on which grounds it holds.
    #[must_use]
    pub fn on(mut self, grounds: Grounds) -> Self {
        self.grounds = grounds;
        self
    }

    /// Says what would let it pass.
    #[must_use]
    pub fn would_pass_if(mut self, change: impl Into<String>) -> Self {
        self.would_pass_if = Some(change.into());
        self
    }
}

/// What a stage asks for one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// Nothing.
    Pass,
    /// Deliver over verified TLS or not at all.
    RequireVerifiedTls,
    /// Hand it to the encryption next hop.
    Encrypt,
    /// Keep it until somebody decides.
    Hold,
    /// Keep it apart as unwanted.
    Quarantine,
    /// Let the client try again.
    Defer(Refusal),
    /// Refuse it.
    Refuse(Refusal),
}

impl Ask {
    fn protection(&self) -> Protection {
        match self {
            Self::RequireVerifiedTls => Protection::VerifiedTls,
            Self::Encrypt => Protection::Encryption,
            Self::Pass | Self::Hold | Self::Quarantine | Self::Defer(_) | Self::Refuse(_) => {
                Protection::AsRoute
            }
        }
    }
}

/// How a message must be protected on its way to a recipient. Later ones win over earlier ones.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Protection {
    /// As its route says.
    AsRoute,
    /// Over verified TLS or not at all.
    VerifiedTls,
    /// By way of the encryption next hop or not at all.
    Encryption,
}

/// One thing that a stage found. The policy puts it into the [`Findings`](super::Findings).
#[derive(Clone, Debug)]
pub enum Finding {
    /// Who the sender is known to be.
    Authentication(AuthenticationResults),
    /// Who the recipients are; takes the place of those in the case, in the order of the envelope.
    Recipients(Vec<ResolvedRecipient>),
    /// Whether there is patient data.
    PatientData(PatientData),
    /// Protective markings, in their canonical spelling.
    Markings(Vec<String>),
    /// Whether the subject asks for encryption.
    SecureKeyword(SecureKeyword),
    /// What could not be looked into.
    Unreadable(Vec<Unreadable>),
    /// What is odd about where its links lead.
    Links(Vec<LinkFinding>),
    /// What happens if the edits that those call for are not made.
    LinkEdits(LinkEdits),
    /// What attachments and scanners add to the score.
    Scanned(Vec<Symbol>),
    /// How much it looks like spam.
    Spam(SpamScore),
    /// Where it stands with greylisting.
    Greylist(Greylist),
    /// What became of the footer.
    Footer(FooterFinding),
    /// What goes to the recipients that are numbers.
    ShortText(ShortText),
    /// A remark for people, without content.
    Note(String),
}
