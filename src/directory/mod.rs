//! Who lives here, and where every other name leads.
//!
//! A wrong alias sends a referral to the wrong pharmacy, so nothing here guesses. A [`Directory`]
//! is one immutable reading of `directory.csv` (mailboxes), `aliases.toml` (names that lead to them,
//! and the rules for old shapes) and `redirects.csv` (more such names, as an import writes them). [`Directory::resolve`] says of any address where it ends,
//! through which hops, and which line says so; the order is in `resolve`.

mod agreement;
mod aliases;
mod cells;
mod check;
pub mod code;
pub mod entry;
mod findings;
pub mod import;
mod index;
pub mod json;
mod led;
mod lint;
mod load;
mod names;
mod recognise;
mod redirects;
mod reports;
pub mod resolution;
mod resolve;
pub mod settings;
mod shape;
mod slip;
mod sources;
mod suggest;
mod table;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;

use crate::base::Clock;
use crate::config::{Diagnostics, SourceFile};
use crate::mail::{Domain, Mailbox};

pub use code::OdsCode;
pub use entry::{Completeness, Entry, Glance, Kind, Link, Organisation, Right, Served, Status};
pub use index::search::Found;
pub use json::answer;
pub use names::Name;
pub use resolution::{Because, End, Hop, Resolution, Source};
pub use settings::Settings;
pub use sources::{Files, Sources};

use aliases::Aliases;
use index::{Index, Key, QuickMap, Row, Sum, file};
use sources::Texts;

/// One reading of the directory's files. Look-ups block on nothing.
#[derive(Debug)]
pub struct Directory {
    served: QuickMap<Domain, Completeness>,
    plus_addressing: bool,
    clock: Clock,
    index: Index,
    digest: Option<Sum>,
    /// Where the index is mapped from, and its key.
    kept: Option<(PathBuf, Key)>,
    aliases: Aliases,
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
    /// Reads the files and reports everything that is wrong with them and between them. `None` if
    /// one cannot be read; with errors reported, the result is what was readable and must not be
    /// put in force.
    pub fn load(
        files: &Files,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        Self::load_cached(files, None, served, plus_addressing, diagnostics)
    }

    /// As [`Directory::load`]; a table that was compiled before is not compiled again. A table of
    /// 2,000,000 rows takes seconds: call it where blocking hurts nobody. For the gateway it is read
    /// on threads of low priority, so that mail is not kept waiting.
    pub fn load_cached(
        files: &Files,
        cache: Option<&Cache>,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let read = || {
            let said = Diagnostics::default();
            let read = load::read(files, cache, &said);
            let directory = read.map(|read| {
                let directory = Self {
                    digest: read.texts.mailboxes.digest().copied(),
                    kept: read.kept,
                    ..Self::new(read.index, read.aliases, served, plus_addressing)
                };
                check::check(&directory, &read.texts, &said);
                directory
            });
            (directory, said.into_vec())
        };
        let (directory, said) = match cache.is_some_and(|cache| cache.keep) {
            true => load::aside(read),
            false => read(),
        };
        for diagnostic in said {
            diagnostics.push(diagnostic);
        }
        directory
    }

    /// As [`Directory::load`], for texts that are already here and no `redirects.csv`.
    pub fn read(
        aliases: &Arc<SourceFile>,
        csv: &Arc<SourceFile>,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Self {
        let sources = Sources {
            aliases: Arc::clone(aliases),
            mailboxes: Arc::clone(csv),
            redirects: None,
        };
        Self::of(&sources, served, plus_addressing, diagnostics)
    }

    /// As [`Directory::load`], for texts that are already here.
    pub fn of(
        sources: &Sources,
        served: &[Served],
        plus_addressing: bool,
        diagnostics: &Diagnostics,
    ) -> Self {
        let texts = Texts::of(sources);
        let aliases = texts.read_aliases(diagnostics);
        let index = load::build(&texts.mailboxes, &aliases.stop_words, diagnostics);
        let index = index.unwrap_or_else(Index::empty); // it is there: the text is
        let directory = Self::new(index, aliases, served, plus_addressing);
        check::check(&directory, &texts, diagnostics);
        directory
    }

    fn new(index: Index, mut aliases: Aliases, served: &[Served], plus_addressing: bool) -> Self {
        let served = served
            .iter()
            .map(|served| (served.domain.clone(), served.completeness));
        let served: QuickMap<_, _> = served.collect();
        let is_ours = |domain: &Domain| served.contains_key(domain);
        aliases.redirects.fold_targets(is_ours);
        Self {
            served,
            plus_addressing,
            clock: Clock::system(),
            index,
            digest: None,
            kept: None,
            aliases,
        }
    }

    /// What the directory would be with other texts, under the same settings and clock.
    #[must_use]
    pub fn reread(&self, sources: &Sources, diagnostics: &Diagnostics) -> Self {
        let served = self.served.iter().map(|(domain, completeness)| Served {
            domain: domain.clone(),
            completeness: *completeness,
        });
        let served: Vec<_> = served.collect();
        Self::of(sources, &served, self.plus_addressing, diagnostics).with_clock(self.clock.clone())
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

    /// What is known of a mailbox, live or not, compared without ASCII case; may block on the disk.
    /// Aliases are not followed: ask with what [`Directory::resolve`] found.
    pub fn entry(&self, mailbox: &Mailbox) -> Option<Entry> {
        self.entry_of(&mailbox.folded())?.entry()
    }

    /// What decisions about mail hang on, of a mailbox as [`Directory::entry`] finds it; does not block.
    pub fn glance(&self, mailbox: &Mailbox) -> Option<Glance> {
        let row = self.entry_of(&mailbox.folded())?;
        Some(Glance {
            kind: row.kind(),
            organisation: row.ods_code(),
            accepts_patient_data: row.accepts_patient_data(),
            do_not_send: row.do_not_send(),
        })
    }

    /// Where mail for a mailbox that is not to be written to may go on a day: to the one shared mailbox of its
    /// organisation that takes mail. Words for a reply, never a redirect; none in the place of a person,
    /// whose organisation is nobody's business. Does not block.
    pub fn instead_of(&self, mailbox: &Mailbox, on: Date) -> Option<Mailbox> {
        let walk = resolve::Walk::new(self, on);
        suggest::instead_of(walk, &mailbox.folded())
    }

    /// SHA-256 of the `directory.csv` that was read, if it was read from its file.
    pub fn digest(&self) -> Option<&[u8; 32]> {
        self.digest.as_ref()
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
