//! What happens to those who may not have patient data: `[verdicts]` of `secure-domains.toml`.

use std::collections::HashMap;

use crate::config::{Located, Section};
use crate::content::{UNAVAILABLE, Unread};

/// What happens where the decision table leaves a choice.
#[derive(Debug)]
pub struct Verdicts {
    /// Patient data for a domain that is not secure, without the keyword.
    pub not_secure: Located<Restriction>,
    /// A near miss of the keyword, for a domain that is not secure.
    pub near_miss: Located<Restriction>,
    /// Patient data for a mailbox that does not take any.
    pub mailbox_declines: Located<Restriction>,
    /// Patient data of our own clients under a name that is neither an account's nor at a secure domain;
    /// `None` lets it pass.
    pub sender_not_secure: Option<Located<Restriction>>,
    /// Whether numbers that are never issued restrict as well.
    pub synthetic_restricts: Located<bool>,
    /// What could not be looked into, by its reason, for domains that are not secure. A reason that
    /// is not here is recorded and restricts nothing.
    pub unreadable: HashMap<String, Located<Restriction>>,
}

impl Default for Verdicts {
    fn default() -> Self {
        let hold = || Located::built_in(Restriction::Hold);
        Self {
            not_secure: hold(),
            near_miss: hold(),
            mailbox_declines: hold(),
            sender_not_secure: Some(hold()),
            synthetic_restricts: Located::built_in(false),
            unreadable: reasons()
                .filter(|reason| holds_as_shipped(reason))
                .map(|reason| (reason.to_owned(), hold()))
                .collect(),
        }
    }
}

/// Something short of delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Restriction {
    /// Kept until somebody decides.
    Hold,
    /// Refused.
    Refuse,
}

impl Verdicts {
    /// Takes `[verdicts]` out of the outermost section.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let words = [("hold", Restriction::Hold), ("refuse", Restriction::Refuse)];
        let section = top.section("verdicts");
        let word = |key: &str, otherwise| section.word(key, &words).unwrap_or(otherwise);
        let shipped = Self::default();
        let verdicts = Self {
            not_secure: word("not-secure", shipped.not_secure),
            near_miss: word("near-miss", shipped.near_miss),
            mailbox_declines: word("mailbox-declines", shipped.mailbox_declines),
            sender_not_secure: match section.word("sender-not-secure", &WORDS) {
                Some(word) => some_restriction(word),
                None => shipped.sender_not_secure,
            },
            synthetic_restricts: section
                .flag("synthetic-restricts")
                .unwrap_or(shipped.synthetic_restricts),
            unreadable: read_unreadable(section.section("unreadable"), shipped.unreadable),
        };
        section.finish();
        verdicts
    }
}

fn read_unreadable(
    section: Section<'_>,
    mut verdicts: HashMap<String, Located<Restriction>>,
) -> HashMap<String, Located<Restriction>> {
    for reason in reasons() {
        let Some(word) = section.word(reason, &WORDS) else {
            continue;
        };
        match some_restriction(word) {
            Some(restriction) => verdicts.insert(reason.to_owned(), restriction),
            None => verdicts.remove(reason),
        };
    }
    section.finish();
    verdicts
}

fn some_restriction(word: Located<Option<Restriction>>) -> Option<Located<Restriction>> {
    let restriction = (*word)?;
    Some(word.map(|_| restriction))
}

/// The reasons that the file says something of: all that are the file's own.
fn reasons() -> impl Iterator<Item = &'static str> {
    let words = Unread::WORDS.iter().copied();
    words.filter(|word| *word != UNAVAILABLE)
}

/// Whether a reason holds as shipped (`design.md` §4.3): what might have been read and was not. Formats that are not read
/// at all are recorded.
fn holds_as_shipped(reason: &'static str) -> bool {
    Unread::broadly(reason) != "unknown-format"
}

/// The words where nothing may be done about it as well.
const WORDS: [(&str, Option<Restriction>); 3] = [
    ("hold", Some(Restriction::Hold)),
    ("refuse", Some(Restriction::Refuse)),
    ("record", None),
];
