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
}

impl Whole {
    /// Takes all rows of a CSV file into the draft.
    pub(super) fn read(&mut self, walk: &mut Walk<'_>, draft: &mut Draft) {
        let header = super::draft::header(walk.file);
        let path = walk.file.path.display().to_string();
        if header.iter().any(|column| column == "because") {
            self.begin_redirects();
            walk.table(&redirects::SCHEMA, |found| {
                let cells = Cells::of(&redirects::SCHEMA, &found.row);
                self.redirect(cells, &format!("{path}:{}", found.line), draft)
            });
        } else {
            self.begin_mailboxes();
            walk.table(&table::SCHEMA, |found| {
                let cells = merged(found, draft)?;
                self.mailbox(cells, &format!("{path}:{}", found.line), draft)
            });
        }
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
        draft.check_redirect(&cells)?;
        let key = redirect_key(&cells);
        let seen = self.redirects.get_or_insert_default();
        if let Some(first) = seen.get(&key) {
            let reason = format!("{key} is at {first} already");
            return Err(Wrong::at("from", reason));
        }
        seen.insert(key, source.to_owned());
        draft.redirect(cells);
        Ok(())
    }

    /// Takes out what no file has named.
    pub(super) fn end(self, draft: &mut Draft) {
        if let Some(seen) = self.mailboxes {
            let keep = |key: &str| seen.contains_key(key) || self.spared.contains(key);
            draft.mailboxes.retain(keep);
        }
        if let Some(seen) = self.redirects {
            draft.redirects.retain(|key| seen.contains_key(key));
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
