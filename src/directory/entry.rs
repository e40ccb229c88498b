//! What the directory knows of a mailbox and of its organisation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::civil::Date;

use crate::mail::{Domain, Mailbox, phrase};

use super::code::OdsCode;

/// A mailbox of the directory: one row of `directory.csv`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its canonical address, folded.
    pub address: Mailbox,
    /// Whose it is: an organisation's, a person's, an application's.
    pub kind: Kind,
    /// The organisation that it belongs to.
    pub organisation: Option<Arc<Organisation>>,
    /// As NHSmail shows it; not quoted for a header. May be empty.
    pub display_name: String,
    /// Who answers for it: a role or an address. May be empty.
    pub owner: String,
    /// What has become of it.
    pub status: Status,
    /// Since when, or from when on, the status holds; `None` is since ever.
    pub status_date: Option<Date>,
    /// An organisation that seems to have followed: a hint for people, never a redirect.
    pub successor: Option<OdsCode>,
    /// Whether its readers may be sent patient data.
    pub accepts_patient_data: bool,
    /// Whether nothing at all should be sent to it.
    pub do_not_send: bool,
    /// When someone last made sure that it is read.
    pub last_verified: Option<Date>,
    /// The accounts that read it and write in its name.
    pub linked: Vec<Link>,
    /// How many linked accounts were approved, where they are more than ten.
    pub approved_links: Option<u32>,
    /// The line in `directory.csv`.
    pub line: usize,
}

impl Entry {
    /// Whether mail may be delivered to it on this day: the date decides before the word does.
    pub fn is_live(&self, on: Date) -> bool {
        self.status.is_live(self.status_date, on)
    }

    /// Whether a redirect of its name is forbidden: the name was a person's who has gone, and will
    /// be given to another one (`domain.md` §8.2).
    pub fn is_gone_person(&self, on: Date) -> bool {
        self.kind == Kind::Personal && self.status.is_gone(self.status_date, on)
    }

    /// The code of its organisation.
    pub fn ods_code(&self) -> Option<OdsCode> {
        self.organisation
            .as_ref()
            .map(|organisation| organisation.code)
    }

    /// Its name and address as a header field holds them: quoted where RFC 5322 §3.4 wants it.
    pub fn in_header(&self) -> String {
        if self.display_name.is_empty() {
            return self.address.to_string();
        }
        format!("{} <{}>", phrase(&self.display_name), self.address)
    }
}

/// What decisions about mail hang on, of one mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Glance {
    /// Whose it is.
    pub kind: Kind,
    /// The code of its organisation.
    pub organisation: Option<OdsCode>,
    /// Whether its readers may be sent patient data.
    pub accepts_patient_data: bool,
    /// Whether nothing at all should be sent to it.
    pub do_not_send: bool,
}

/// An organisation, as its rows describe it.
#[derive(Debug)]
pub struct Organisation {
    /// Its code.
    pub code: OdsCode,
    /// Its name.
    pub name: String,
    /// The lines of its address before the town.
    pub street: String,
    /// Its town, and the part of the town if it has one.
    pub town: String,
    /// Its postcode. May be empty.
    pub postcode: String,
}

/// Whose a mailbox is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// A community pharmacy's shared mailbox.
    Pharmacy,
    /// A care provider's.
    Care,
    /// A dental practice's.
    Dental,
    /// An optician's.
    Optical,
    /// A general practice's.
    Practice,
    /// Another shared mailbox.
    Shared,
    /// A person's account.
    Personal,
    /// An application's account.
    Application,
    /// A distribution list. Its members are in `aliases.toml`, so the row describes it and leads
    /// nowhere by itself.
    List,
}

impl Kind {
    /// Whether it is an organisation's shared mailbox: these alone are ever suggested to someone
    /// who mistyped.
    pub fn is_organisation(self) -> bool {
        !matches!(self, Self::Personal | Self::Application | Self::List)
    }

    /// Whether a mailbox of it belongs to an organisation that has a code.
    pub(super) fn needs_code(self) -> bool {
        self.is_organisation() && self != Self::Shared
    }

    /// The word for it in files and JSON.
    pub fn word(self) -> &'static str {
        word_of(Self::WORDS, self)
    }

    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("pharmacy", Self::Pharmacy),
        ("care", Self::Care),
        ("dental", Self::Dental),
        ("optical", Self::Optical),
        ("practice", Self::Practice),
        ("shared", Self::Shared),
        ("personal", Self::Personal),
        ("application", Self::Application),
        ("list", Self::List),
    ];
}

/// An account that uses a shared mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// The account, folded.
    pub account: Mailbox,
    /// What it may do.
    pub right: Right,
}

impl FromStr for Link {
    type Err = String;

    /// Reads `jo.bell@nhs.net:send-as`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (account, word) = text
            .rsplit_once(':')
            .ok_or_else(|| format!("{text:?} says neither :send-as nor :on-behalf"))?;
        let right = Right::WORDS.iter().find(|(name, _)| *name == word);
        let right = right.ok_or_else(|| format!("{word:?} is none of send-as, on-behalf"))?;
        let account: Mailbox = account
            .parse()
            .map_err(|error| format!("{account:?}: {error}"))?;
        Ok(Self {
            account: account.folded(),
            right: right.1,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.account, word_of(Right::WORDS, self.right))
    }
}

/// What an account may do in the name of a shared mailbox.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Right {
    /// Write as the mailbox itself.
    SendAs,
    /// Write on behalf of it, under its own name.
    OnBehalf,
}

impl Right {
    /// The word for it in files and JSON.
    pub fn word(self) -> &'static str {
        word_of(Self::WORDS, self)
    }

    pub(super) const WORDS: &'static [(&'static str, Self)] =
        &[("send-as", Self::SendAs), ("on-behalf", Self::OnBehalf)];
}

/// What has become of a mailbox.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// In use.
    Active,
    /// Not logged in to for too long.
    Inactive,
    /// Shut by an administrator.
    Disabled,
    /// Its person has left the organisation.
    Leaver,
    /// Gone; the name may be given to someone else.
    Deleted,
    /// Its organisation is shut.
    Closed,
}

impl Status {
    /// The word for it in files and JSON.
    pub fn word(self) -> &'static str {
        word_of(Self::WORDS, self)
    }

    /// Whether mail may be delivered on a day to what has this status since `since`. Dates decide
    /// before words do: what will be closed tomorrow is live, and what opens tomorrow is not.
    pub(super) fn is_live(self, since: Option<Date>, on: Date) -> bool {
        let in_force = since.is_none_or(|since| since <= on);
        (self == Self::Active) == in_force
    }

    /// Whether someone has gone on a day who has this status since `since`.
    pub(super) fn is_gone(self, since: Option<Date>, on: Date) -> bool {
        matches!(self, Self::Leaver | Self::Deleted) && !self.is_live(since, on)
    }

    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("active", Self::Active),
        ("inactive", Self::Inactive),
        ("disabled", Self::Disabled),
        ("leaver", Self::Leaver),
        ("deleted", Self::Deleted),
        ("closed", Self::Closed),
    ];
}

/// A domain that the gateway takes mail for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Served {
    /// The domain itself, none below it.
    pub domain: Domain,
    /// Whether the directory has every mailbox of it.
    pub completeness: Completeness,
}

/// Whether the directory has every mailbox of a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Completeness {
    /// A name that is not in it does not exist.
    Complete,
    /// A name that is not in it is passed on as it is.
    Partial,
}

/// The word of a value, in a list that has all of them.
fn word_of<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, one)| *one == value);
    found.map_or("", |(word, _)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_decide_before_words_do() {
        let day: Date = "2026-11-21".parse().unwrap();
        for (status, date, live) in [
            (Status::Active, None, true),
            (Status::Active, Some("2026-11-21"), true),
            (Status::Active, Some("2026-11-22"), false),
            (Status::Closed, None, false),
            (Status::Closed, Some("2026-11-21"), false),
            (Status::Closed, Some("2026-11-22"), true),
            (Status::Disabled, Some("2020-01-01"), false),
        ] {
            let entry = Entry {
                address: "pharmacy.fa001@nhs.net".parse().unwrap(),
                kind: Kind::Pharmacy,
                organisation: None,
                display_name: String::new(),
                owner: String::new(),
                status,
                status_date: date.map(|date| date.parse().unwrap()),
                successor: None,
                accepts_patient_data: true,
                do_not_send: false,
                last_verified: None,
                linked: Vec::new(),
                approved_links: None,
                line: 2,
            };
            assert_eq!(entry.is_live(day), live, "{status:?} {date:?}");
        }
    }

    #[test]
    fn a_link_is_an_address_and_a_right() {
        for text in ["jo.bell@nhs.net:send-as", "\"a:b\"@nhs.net:on-behalf"] {
            assert_eq!(text.parse::<Link>().unwrap().to_string(), text);
        }
        for text in ["jo.bell@nhs.net", "jo.bell@nhs.net:reads", ":send-as"] {
            assert!(text.parse::<Link>().is_err(), "{text}");
        }
    }
}
