//! Who lives here, and where every other name leads.
//!
//! A wrong alias sends a referral to the wrong pharmacy, so nothing here guesses. A [`Directory`]
//! is one immutable reading of `directory.csv` (mailboxes) and `aliases.toml` (names that lead to
//! them, and the rules for old shapes). [`Directory::resolve`] says of any address where it ends,
//! through which hops, and which line says so; the order is in `resolve`.

mod agreement;
mod aliases;
mod check;
pub mod code;
pub mod entry;
pub mod json;
mod recognise;
pub mod resolution;
mod resolve;
mod shape;
mod suggest;
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use crate::base::Clock;
use crate::config::{Diagnostics, SourceFile, read_source, read_toml};
use crate::mail::{Domain, Mailbox};

pub use code::OdsCode;
pub use entry::{Completeness, Entry, Kind, Link, Organisation, Right, Served, Status};
pub use json::answer;
pub use resolution::{Because, End, Hop, Resolution};

use aliases::Aliases;
use table::Table;

/// One reading of the directory's files. Look-ups block on nothing.
#[derive(Debug)]
pub struct Directory {
    served: HashMap<Domain, Completeness>,
    plus_addressing: bool,
    clock: Clock,
    entries: Vec<Entry>,
    /// Where in `entries` a mailbox is.
    mailboxes: HashMap<Mailbox, usize>,
    /// The mailboxes of an organisation, in `entries`.
    organisations: HashMap<OdsCode, Vec<usize>>,
    /// The organisations that bear a name.
    names: HashMap<String, Vec<OdsCode>>,
    aliases: Aliases,
}

impl Directory {
    /// Reads both files and reports everything that is wrong with them and between them. `None` if
    /// one cannot be read; with errors reported, the result is what was readable and must not be
    /// put in force.
    pub fn load(
        aliases: &Path,
        csv: &Path,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        // Both are read before either is given up, so that both are reported.
        let (aliases, csv) = (
            read_source(aliases, diagnostics),
            read_source(csv, diagnostics),
        );
        Some(Self::read(
            &aliases?,
            &csv?,
            served,
            plus_addressing,
            diagnostics,
        ))
    }

    /// As [`Directory::load`], for texts that are already here.
    pub fn read(
        aliases: &Arc<SourceFile>,
        csv: &Arc<SourceFile>,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Self {
        let aliases = read_toml(aliases, diagnostics, Aliases::read);
        let table = Table::read(csv, &aliases.stop_words, diagnostics);
        let served = served
            .iter()
            .map(|served| (served.domain.clone(), served.completeness));
        let mut directory = Self {
            served: served.collect(),
            plus_addressing,
            clock: Clock::system(),
            mailboxes: HashMap::with_capacity(table.entries.len()),
            organisations: HashMap::new(),
            names: HashMap::new(),
            entries: table.entries,
            aliases,
        };
        directory.index();
        check::check(&directory, csv, diagnostics);
        directory
    }

    /// The same directory with another idea of what day it is.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Whether the gateway takes mail for a domain. A domain below one that is served is not.
    pub fn serves(&self, domain: &Domain) -> bool {
        self.served.contains_key(domain)
    }

    /// Where an address leads today (UTC).
    pub fn resolve(&self, mailbox: &Mailbox) -> Resolution {
        self.resolve_on(mailbox, self.today())
    }

    /// Where an address leads on a day.
    pub fn resolve_on(&self, mailbox: &Mailbox, on: Date) -> Resolution {
        resolve::resolve(self, mailbox, on)
    }

    /// What is known of a mailbox, live or not, compared without ASCII case. Aliases are not
    /// followed: ask with what [`Directory::resolve`] found.
    pub fn entry(&self, mailbox: &Mailbox) -> Option<&Entry> {
        self.entry_of(&mailbox.folded())
    }

    /// Who answers for a list.
    pub fn list_owner(&self, list: &Mailbox) -> Option<&Mailbox> {
        self.aliases.lists.get(&list.folded())?.owner.as_ref()
    }

    /// All mailboxes, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn entry_of(&self, folded: &Mailbox) -> Option<&Entry> {
        self.mailboxes
            .get(folded)
            .map(|index| &self.entries[*index])
    }

    fn today(&self) -> Date {
        self.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date()
    }

    fn index(&mut self) {
        for (index, entry) in self.entries.iter().enumerate() {
            self.mailboxes.insert(entry.address.clone(), index);
            let Some(organisation) = &entry.organisation else {
                continue;
            };
            let mailboxes = self.organisations.entry(organisation.code).or_default();
            if mailboxes.is_empty() {
                let key = organisation.evidence.name_key.clone();
                self.names.entry(key).or_default().push(organisation.code);
            }
            mailboxes.push(index);
        }
        for redirect in self.aliases.redirects.values_mut() {
            // A name of ours has one form; what goes elsewhere keeps its case (RFC 5321 §2.4).
            if redirect
                .to
                .domain()
                .is_some_and(|domain| self.served.contains_key(domain))
            {
                redirect.to = redirect.to.folded();
            }
        }
    }
}
