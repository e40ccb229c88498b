//! The legal entities that send mail, and how each of them is found (`organisations.toml`).
//!
//! The law wants particulars of the sender in business mail (`domain.md` §7). Which entity sends
//! follows from the sender: its own address in the file, the organisation of its mailbox in the
//! directory, the account that submitted, its domain; in this order.

mod entity;
mod law;
mod template;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Located, Section, load_toml};
use crate::directory::OdsCode;
use crate::mail::{Domain, Mailbox};

pub use entity::{Entity, FooterText, Form, Particulars, State};

/// All entities, and what leads to them.
#[derive(Debug, Default)]
pub struct Organisations {
    by_sender: HashMap<Mailbox, Arc<Entity>>,
    by_code: HashMap<OdsCode, Arc<Entity>>,
    by_account: HashMap<String, Arc<Entity>>,
    by_domain: HashMap<Domain, Arc<Entity>>,
    below_domain: HashMap<Domain, Arc<Entity>>,
    ids: HashSet<String>,
    /// What happens to mail of a sender who belongs to none of them.
    pub unknown_sender: Located<UnknownSender>,
}

/// What happens to mail of a sender whose entity is not known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum UnknownSender {
    /// It goes without a footer, and a note says so.
    #[default]
    Pass,
    /// It waits until somebody decides.
    Hold,
}

impl Default for Located<UnknownSender> {
    fn default() -> Self {
        Self::built_in(UnknownSender::Pass)
    }
}

/// A sender as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'s> {
    /// The author, or whom notifications go to.
    pub mailbox: &'s Mailbox,
    /// The organisation that the directory says the mailbox belongs to.
    pub organisation: Option<OdsCode>,
    /// The account that submitted.
    pub account: Option<&'s str>,
}

impl Organisations {
    /// Reads the file; `None` if it cannot be read at all.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        load_toml(path, diagnostics, Self::read)
    }

    /// Takes everything out of the outermost table. Reports what is wrong and what the law misses.
    pub fn read(top: &Section<'_>) -> Self {
        let words = [("pass", UnknownSender::Pass), ("hold", UnknownSender::Hold)];
        let mut organisations = Self {
            unknown_sender: top.word("unknown-sender", &words).unwrap_or_default(),
            ..Self::default()
        };
        let mut ids: HashMap<String, Located<String>> = HashMap::new();
        for section in top.sections("entity") {
            let entity = Entity::read(&section);
            if let Some(id) = section.string("id") {
                if let Some(first) = ids.get(id.as_str()) {
                    report_twice(&section, "entity", &id, first);
                }
                ids.insert(id.as_str().to_owned(), id);
            }
            match entity {
                Some(entity) => organisations.add(&section, &Arc::new(entity)),
                None => Self::default().add(&section, &Arc::default()), // its mistakes are told as well
            }
            section.finish();
        }
        organisations.ids = ids.into_keys().collect();
        organisations
    }

    /// The ids of all entities.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Returns the entity that sends, if one of them does.
    pub fn of(&self, sender: Sender<'_>) -> Option<&Arc<Entity>> {
        let domain = sender.mailbox.domain();
        let account = sender.account.map(str::to_ascii_lowercase);
        self.by_sender
            .get(&sender.mailbox.folded())
            .or_else(|| self.by_code.get(&sender.organisation?))
            .or_else(|| self.by_account.get(&account?))
            .or_else(|| self.by_domain.get(domain?))
            .or_else(|| self.of_parent(domain?))
    }

    /// The entity of the nearest domain above this one that is written `*.x`.
    fn of_parent(&self, domain: &Domain) -> Option<&Arc<Entity>> {
        let mut name = domain.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            let found = Domain::parse(parent).ok();
            if let Some(entity) = found.and_then(|parent| self.below_domain.get(&parent)) {
                return Some(entity);
            }
            name = parent;
        }
        None
    }

    /// Reads what leads to an entity.
    fn add(&mut self, section: &Section<'_>, entity: &Arc<Entity>) {
        for mailbox in section.parse_list::<Mailbox>("senders").unwrap_or_default() {
            insert(
                section,
                &mut self.by_sender,
                mailbox.map(|mailbox| mailbox.folded()),
                entity,
            );
        }
        for code in section
            .parse_list::<OdsCode>("ods-codes")
            .unwrap_or_default()
        {
            insert(section, &mut self.by_code, code, entity);
        }
        for account in section.strings("accounts").unwrap_or_default() {
            let account = account.map(|account| account.to_ascii_lowercase());
            insert(section, &mut self.by_account, account, entity);
        }
        for pattern in section.parse_list::<Pattern>("domains").unwrap_or_default() {
            let map = match pattern.below {
                true => &mut self.below_domain,
                false => &mut self.by_domain,
            };
            insert(section, map, pattern.map(|pattern| pattern.domain), entity);
        }
    }
}

/// `x`, or `*.x` for anything below it.
struct Pattern {
    domain: Domain,
    below: bool,
}

impl std::str::FromStr for Pattern {
    type Err = crate::mail::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        Domain::parse(name).map(|domain| Self { domain, below })
    }
}

/// Notes that `key` leads to an entity; one that leads to two is reported.
fn insert<K: Eq + std::hash::Hash + Clone>(
    section: &Section<'_>,
    map: &mut HashMap<K, Arc<Entity>>,
    key: Located<K>,
    entity: &Arc<Entity>,
) {
    let plain: K = (*key).clone();
    let other = map.insert(plain, Arc::clone(entity));
    if other.is_some_and(|other| other.id != entity.id) {
        section.report(
            "two-entities",
            "this sender belongs to another entity already",
            &key,
            "take it out of one of them".into(),
        );
    }
}

fn report_twice(section: &Section<'_>, what: &str, id: &Located<String>, first: &Located<String>) {
    let mut diagnostic =
        Diagnostic::error("twice", format!("there are two {what} `{}`", id.as_str()))
            .at_maybe(id.place(), "the second");
    diagnostic = diagnostic.at_maybe(first.place(), "the first");
    section
        .diagnostics()
        .push(diagnostic.help("give each an id of its own"));
}

#[cfg(test)]
mod tests;
