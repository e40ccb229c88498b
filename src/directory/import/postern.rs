//! Postern's own tables: `directory.csv` and `redirects.csv`, as `directory export` writes them.
//!
//! Such a file is the whole table: what it does not have is taken out. Several files of mailboxes are
//! one table together. A column that the file does not have stays as it is.

use std::collections::{HashMap, HashSet};

use crate::directory::cells::{Schema, Wrong};
use crate::directory::{redirects, table};

use super::bad::{Found, Walk};
use super::draft::{Draft, redirect_key};
use super::sheet::Cells;

/// What the files have had so far: the rest is taken out in the end.
#[derive(Debug, Default)]
pub(super) struct Whole {
    /// Of each address, the file and line; `None` if no file of mailboxes was read.
    mailboxes: Option<HashMap<String, String>>,
    /// The same of redirects.
    redirects: Option<HashMap<String, String>>,
    /// Addresses of rows that were bad, but for their address: what is there of them stays.
    spared: HashSet<String>,
    /// The same of redirects, by their keys.
    spared_redirects: HashSet<String>,
    /// Whether there were bad rows that may be anybody's: then nobody is missing.
    is_unsure: bool,
}

impl Whole {
    /// Takes all rows of a CSV file into the draft.
    pub(super) fn read(&mut self, walk: &mut Walk<'_>, draft: &mut Draft) {
        let header = super::draft::header(walk.file);
        let path = walk.file.path.display().to_string();
        let (before, mut known) = (walk.bad.len(), 0);
        if header.iter().any(|column| column == "because") {
            self.begin_redirects();
            walk.table(&redirects::SCHEMA, |found| {
                let cells = Cells::of(&redirects::SCHEMA, &found.row);
                let taken = self.redirect(cells, &format!("{path}:{}", found.line), draft);
                taken.inspect_err(|_| known += 1)
            });
        } else {
            self.begin_mailboxes();
            walk.table(&table::SCHEMA, |found| {
                let cells = merged(found, draft)?;
                let taken = self.mailbox(cells, &format!("{path}:{}", found.line), draft);
                taken.inspect_err(|_| known += 1)
            });
        }
        self.note_bad(walk.bad.len() - before, known);
    }

    /// A file has had so many bad rows, of which so many are known by their name.
    pub(super) fn note_bad(&mut self, bad: usize, known: usize) {
        self.is_unsure |= bad > known;
    }

    /// From now on, mailboxes that nobody names are taken out.
    pub(super) fn begin_mailboxes(&mut self) {
        self.mailboxes.get_or_insert_default();
    }

    /// From now on, redirects that nobody names are taken out.
    pub(super) fn begin_redirects(&mut self) {
        self.redirects.get_or_insert_default();
    }

    /// Takes one mailbox.
    ///
    /// # Errors
    /// If the row is not a good one, or its address was there before.
    pub(super) fn mailbox(
        &mut self,
        cells: Cells,
        source: &str,
        draft: &mut Draft,
    ) -> Result<(), Wrong> {
        let address = cells.get("address").to_ascii_lowercase();
        self.spared.insert(address.clone());
        let entry = draft.entry(&cells)?;
        let address = entry.address.to_string();
        let seen = self.mailboxes.get_or_insert_default();
        if let Some(first) = seen.get(&address) {
            let reason = format!("{address} is at {first} already");
            return Err(Wrong::at("address", reason));
        }
        seen.insert(address, source.to_owned());
        draft.put(cells)
    }

    /// Takes one redirect.
    ///
    /// # Errors
    /// If the row is not a good one, or its name was there before.
    pub(super) fn redirect(
        &mut self,
        cells: Cells,
        source: &str,
        draft: &mut Draft,
    ) -> Result<(), Wrong> {
        let key = redirect_key(&cells);
        self.spared_redirects.insert(key.clone());
        draft.check_redirect(&cells)?;
        let seen = self.redirects.get_or_insert_default();
        if let Some(first) = seen.get(&key) {
            let reason = format!("{key} is at {first} already");
            return Err(Wrong::at("from", reason));
        }
        seen.insert(key, source.to_owned());
        draft.redirect(cells);
        Ok(())
    }

    /// Takes out what no file has named; nothing where a row that cannot be read may be of it.
    pub(super) fn end(self, draft: &mut Draft) {
        if self.is_unsure {
            let note = "nothing is taken out: of some bad rows it cannot be told whose they are";
            draft.notes.push(note.to_owned());
            return;
        }
        if let Some(seen) = self.mailboxes {
            let keep = |key: &str| seen.contains_key(key) || self.spared.contains(key);
            draft.mailboxes.retain(keep);
        }
        if let Some(seen) = self.redirects {
            let keep = |key: &str| seen.contains_key(key) || self.spared_redirects.contains(key);
            draft.redirects.retain(keep);
        }
    }
}

/// A row, with what the directory has in the columns that the file does not.
fn merged(found: &Found<'_>, draft: &Draft) -> Result<Cells, Wrong> {
    let address = found.row.address("address")?.to_string();
    let cells = Cells::of(&table::SCHEMA, &found.row).with(&[("address", &address)]);
    let Some(old) = draft.mailboxes.get(&address) else {
        return Ok(cells);
    };
    let absent = |schema: &'static Schema| {
        let columns = schema.columns.iter();
        columns.filter(|column| !found.columns.has(column))
    };
    let kept: Vec<_> = absent(&table::SCHEMA)
        .map(|column| (*column, old.get(column)))
        .collect();
    Ok(cells.with(&kept))
}
