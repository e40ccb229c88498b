//! What a provider of text messages does, and the few things that can come of asking it.

use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;

use crate::mail::EnhancedStatusCode;
use crate::mail::sms::TextMessage;

/// An answer that is waited for; every one comes in bounded time.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sends texts.
pub(super) trait Provider: Send + Sync {
    /// Who it is, in reports and the audit trail.
    fn name(&self) -> &str;

    /// Whether it tells later what became of a text.
    fn reports(&self) -> bool;

    /// Asks it to send a text, once.
    fn send<'a>(&'a self, text: &'a TextMessage) -> Answer<'a, Sent>;

    /// Asks it whether it has a text of this reference.
    fn find<'a>(&'a self, reference: &'a str) -> Answer<'a, Found>;

    /// Asks it what became of a text that it has taken.
    fn progress<'a>(&'a self, id: &'a str) -> Answer<'a, Found>;
}

/// What came of a request to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Sent {
    /// It has the text and calls it this.
    Taken { id: String },
    /// It will not send it, today or tomorrow.
    Refused {
        status: EnhancedStatusCode,
        because: String,
    },
    /// It has not sent it, and will send nobody's for a while.
    NotNow(NotNow),
    /// It has not heard of it: nothing was written to it.
    Unreached(String),
    /// It says that it broke. It may have got as far as to send it.
    Failed(String),
    /// The request was written and no answer came.
    Unknown(String),
}

/// Why a provider sends nothing for a while.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct NotNow {
    pub(super) because: String,
    pub(super) until: Until,
    /// Whether somebody has to do something about it.
    pub(super) alarm: bool,
}

/// For how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Until {
    After(Duration),
    At(Timestamp),
}

/// What a provider knows of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// It has it.
    Here { id: String, progress: Progress },
    /// It has it not.
    Nowhere,
    /// It cannot be asked.
    CannotSay,
    /// It could not be asked now.
    NotNow(String),
}

/// How far a text has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// On its way.
    Underway,
    /// On the telephone; or gone to a network that does not report.
    Delivered,
    /// It will not arrive. The word of the provider for it.
    Failed(String),
}

impl Progress {
    /// Reads a word of GOV.UK Notify, in an answer or a receipt. One that is new is no end.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "delivered" | "sent" => Self::Delivered,
            "permanent-failure" | "temporary-failure" | "technical-failure" => {
                Self::Failed(word.to_owned())
            }
            _ => Self::Underway,
        }
    }
}
