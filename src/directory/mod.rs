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
mod index;
pub mod json;
mod load;
mod recognise;
pub mod resolution;
mod resolve;
mod shape;
mod suggest;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;

use crate::base::Clock;
use crate::config::{Diagnostics, SourceFile, read_source, read_toml};
use crate::mail::{Domain, Mailbox};

pub use code::OdsCode;
pub use entry::{Completeness, Entry, Kind, Link, Organisation, Right, Served, Status};
pub use index::search::Found;
pub use json::answer;
pub use resolution::{Because, End, Hop, Resolution};

use agreement::StopWords;
use aliases::Aliases;
use index::{Index, Key, Row, file};
use load::Csv;

/// One reading of the directory's files. Look-ups block on nothing.
#[derive(Debug)]
pub struct Directory {
    served: HashMap<Domain, Completeness>,
    plus_addressing: bool,
    clock: Clock,
    index: Index,
    /// Where the index is mapped from, and its key.
    kept: Option<(PathBuf, Key)>,
    aliases: Aliases,
}

/// The files of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'s> {
    /// `aliases.toml`.
    pub aliases: &'s Path,
    /// `directory.csv`.
    pub csv: &'s Path,
    /// Where the compiled index is looked for; without it, one is built in memory.
    pub cache: Option<&'s Cache>,
}

/// A folder for compiled indexes: `<data>/directory`. They can be removed at any time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    /// The folder.
    pub folder: PathBuf,
    /// Whether an index that is not there is written. One process does, the gateway.
    pub keep: bool,
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
        let sources = Sources {
            aliases,
            csv,
            cache: None,
        };
        Self::load_from(&sources, served, plus_addressing, diagnostics)
    }

    /// As [`Directory::load`]; a table that was compiled before is not compiled again. A table of
    /// 2,000,000 rows takes seconds: call it where blocking hurts nobody.
    pub fn load_from(
        sources: &Sources<'_>,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let aliases = read_source(sources.aliases, diagnostics);
        let aliases = aliases.map(|aliases| read_toml(&aliases, diagnostics, Aliases::read));
        let csv = Csv::new(sources.csv);
        // The table is read even if the aliases were not, so that both are reported.
        let stop = StopWords::default();
        let stop = aliases
            .as_ref()
            .map_or(&stop, |aliases| &aliases.stop_words);
        let (index, kept) = load::index(&csv, stop, sources.cache, diagnostics)?;
        let directory = Self::new(index, kept, aliases?, served, plus_addressing);
        check::check(&directory, &csv, diagnostics);
        Some(directory)
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
        let index = load::build(csv, &aliases.stop_words, diagnostics).0;
        let directory = Self::new(index, None, aliases, served, plus_addressing);
        check::check(&directory, &Csv::of(csv), diagnostics);
        directory
    }

    fn new(
        index: Index,
        kept: Option<(PathBuf, Key)>,
        mut aliases: Aliases,
        served: &[Served],
        plus_addressing: bool,
    ) -> Self {
        let served = served
            .iter()
            .map(|served| (served.domain.clone(), served.completeness));
        let served: HashMap<_, _> = served.collect();
        for redirect in aliases.redirects.values_mut() {
            // A name of ours has one form; what goes elsewhere keeps its case (RFC 5321 §2.4).
            let domain = redirect.to.domain();
            if domain.is_some_and(|domain| served.contains_key(domain)) {
                redirect.to = redirect.to.folded();
            }
        }
        Self {
            served,
            plus_addressing,
            clock: Clock::system(),
            index,
            kept,
            aliases,
        }
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
    pub fn entry(&self, mailbox: &Mailbox) -> Option<Entry> {
        self.entry_of(&mailbox.folded())?.entry()
    }

    /// The mailboxes of an organisation, in the order of the file, personal ones last.
    pub fn mailboxes(&self, code: OdsCode) -> impl Iterator<Item = Entry> {
        let organisation = self.index.organisation(code).into_iter();
        let rows = organisation.flat_map(|organisation| organisation.mailboxes(true));
        rows.filter_map(Row::entry)
    }

    /// The mailboxes nearest to what someone types: parts of a name, an address, an ODS code, a
    /// street, a town, a postcode, an organisation, with slips. At most `limit`, nearest first, the
    /// live and the shared ones before the others. What an [`Entry`] does not have is not found.
    pub fn search(&self, query: &str, limit: usize) -> Vec<Found> {
        index::search::search(&self.index, query, limit, self.today())
    }

    /// Who answers for a list.
    pub fn list_owner(&self, list: &Mailbox) -> Option<&Mailbox> {
        self.aliases.lists.get(&list.folded())?.owner.as_ref()
    }

    /// All mailboxes, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        self.index.rows().filter_map(Row::entry)
    }

    /// How many mailboxes there are.
    pub fn len(&self) -> usize {
        self.index.len() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes the compiled indexes of other readings, once this one is in force.
    pub fn remove_older(&self) {
        if let Some((folder, key)) = &self.kept {
            file::remove_others(folder, key);
        }
    }

    fn entry_of(&self, folded: &Mailbox) -> Option<Row<'_>> {
        self.index.find(folded)
    }

    fn today(&self) -> Date {
        self.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date()
    }
}
