//! Where an address leads, and through which hops (`design.md` §4.2).

use std::fmt;
use std::sync::Arc;

use crate::mail::Mailbox;

/// The answer to "where does this address lead?".
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolution {
    /// Where it ends.
    pub end: End,
    /// The hops from the address asked for, in order; empty if the name is itself a mailbox.
    pub path: Vec<Hop>,
}

/// Where a resolution ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// In the directory.
    Mailbox(Mailbox),
    /// A list, expanded to the end: each member canonical and once.
    List(Vec<Mailbox>),
    /// A served domain whose directory is declared partial, name not in it: passed on as it is.
    Unlisted(Mailbox),
    /// A domain not served here: passed on as it is.
    External(Mailbox),
    /// A successor exists, but the policy says tell, not forward.
    Moved(Mailbox),
    /// Known and shut, no confirmed successor.
    Closed,
    /// More than one possibility, or the name disagrees with the code.
    Ambiguous(Vec<Mailbox>),
    /// Nobody; a suggestion only where it gives away no person.
    Unknown(Option<Mailbox>),
    /// A chain that does not end.
    Loop,
}

impl End {
    /// The word for it in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Mailbox(_) => "mailbox",
            Self::List(_) => "list",
            Self::Unlisted(_) => "unlisted",
            Self::External(_) => "external",
            Self::Moved(_) => "moved",
            Self::Closed => "closed",
            Self::Ambiguous(_) => "ambiguous",
            Self::Unknown(_) => "unknown",
            Self::Loop => "loop",
        }
    }
}

/// One step from a name to the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hop {
    /// The name before, folded.
    pub from: Mailbox,
    /// The name after.
    pub to: Mailbox,
    /// Why.
    pub because: Because,
    /// What says so.
    pub source: Source,
}

/// What says that a name leads to another: `policies/aliases.toml:12`, or words where no line does.
/// Hardly any is ever read, so it becomes text only then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    place: Arc<str>,
    line: Option<usize>,
}

impl Source {
    /// A line of a file, from 1.
    pub fn line(file: &Arc<str>, line: usize) -> Self {
        Self {
            place: Arc::clone(file),
            line: Some(line),
        }
    }

    /// Words for a place that is no line.
    pub fn words(words: &str) -> Self {
        Self {
            place: words.into(),
            line: None,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.place),
            None => f.write_str(&self.place),
        }
    }
}

/// Why one name leads to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// An entry of the alias table.
    Alias,
    /// A renamed person or mailbox.
    Renamed,
    /// A successor organisation, confirmed by an administrator.
    Successor,
    /// The shape `nhspharmacy.location.nameCODE`.
    LegacyPharmacyName,
    /// The shape `care.town.nameCODE`.
    CareName,
    /// The shape `reminders.CODE.donotreply`.
    ApplicationName,
    /// A member of a list.
    List,
    /// A plus tag taken off.
    PlusTag,
}

impl Because {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Alias => "alias",
            Self::Renamed => "renamed",
            Self::Successor => "successor",
            Self::LegacyPharmacyName => "legacy-pharmacy-name",
            Self::CareName => "care-name",
            Self::ApplicationName => "application-name",
            Self::List => "list",
            Self::PlusTag => "plus-tag",
        }
    }
}
