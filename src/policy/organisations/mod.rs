//! The legal entities that send mail, and how each of them is found (`organisations.toml`).
//!
//! The law wants particulars of the sender in business mail (`domain.md` §7). Which entity sends
//! follows from the sender: its own address in the file, the organisation of its mailbox in the
//! directory, the account that submitted, its domain; in this order.

mod audience;
mod entity;
mod footers;
mod law;
mod particulars;
mod signature;
mod template;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Located, Section, load_toml};
use crate::directory::OdsCode;
use crate::mail::{Audience, Mailbox};
use crate::policy::secure_domains::is_anybodys;

use audience::{Audiences, ByDomain, Pattern};

pub use entity::Entity;
pub use footers::{FooterText, Footers};
pub use particulars::{Form, Particulars, State};
pub use signature::Signature;

/// All entities, and what leads to them.
#[derive(Debug, Default)]
pub struct Organisations {
    by_sender: HashMap<Mailbox, Arc<Entity>>,
    by_code: HashMap<OdsCode, Arc<Entity>>,
    by_account: HashMap<String, Arc<Entity>>,
    by_domain: ByDomain<Arc<Entity>>,
    ids: HashSet<String>,
    /// What happens to mail of a sender who belongs to none of them.
    pub unknown_sender: Located<UnknownSender>,
    /// The signature of entities that have none of their own.
    signature: Option<Signature>,
    audiences: Audiences,
    /// What happens to mail whose footer cannot be proved to be all that is new.
    pub unproved: Located<IfUnproved>,
}

/// What happens to a message if the edit that puts the footer in cannot be proved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum IfUnproved {
    /// It goes on as it came, with the fields of the trace.
    #[default]
    Original,
    /// It waits, as it came, until somebody decides.
    Hold,
    /// The footer goes with it as a part of its own, if that can be proved; else as [`Self::Original`].
    NoticePart,
}

impl Default for Located<IfUnproved> {
    fn default() -> Self {
        Self::built_in(IfUnproved::Original)
    }
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

impl IfUnproved {
    const WORDS: [(&'static str, Self); 3] = [
        ("original", Self::Original),
        ("hold", Self::Hold),
        ("notice-part", Self::NoticePart),
    ];
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
            signature: Signature::read(top),
            audiences: Audiences::read(top),
            unproved: top.word("unproved", &IfUnproved::WORDS).unwrap_or_default(),
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
            .or_else(|| self.by_domain.of(domain?))
    }

    /// The signature that goes with the mail of an entity.
    pub fn signature<'a>(&'a self, entity: &'a Entity) -> Option<&'a Signature> {
        entity.signature.as_ref().or(self.signature.as_ref())
    }

    /// Which kind of recipient this is; `organisation` is that of its mailbox in the directory.
    pub fn audience(&self, recipient: &Mailbox, organisation: Option<OdsCode>) -> Audience {
        let own = Sender {
            mailbox: recipient,
            organisation,
            account: None,
        };
        match self.of(own) {
            Some(_) => Audience::Internal,
            None => self.audiences.of(recipient),
        }
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
            if pattern.below && is_anybodys(&pattern.domain) {
                let message = format!(
                    "`*.{}` is everybody's, and this entity is named under the mail of all of them",
                    pattern.domain
                );
                let diagnostic = Diagnostic::warning("everybodys-domain", message)
                    .at_maybe(pattern.place(), "")
                    .help("list the domains of this entity");
                section.diagnostics().push(diagnostic);
            }
            let map = self.by_domain.map(&pattern);
            insert(section, map, pattern.map(|pattern| pattern.domain), entity);
        }
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
