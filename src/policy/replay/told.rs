//! What is told of a recipient: what each of two policies says, or why that is not known.

use crate::mail::ForwardPath;
use crate::policy::opinion::Protection;
use crate::policy::verdict::RecipientDecision;

use super::run::Replayed;

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

    pub(super) fn of(decision: &RecipientDecision, replayed: &Replayed) -> Self {
        Self::Verdict {
            decision: Box::new(decision.clone()),
            entity: replayed.entity.clone(),
            edits: replayed.edits.clone(),
        }
    }
}
