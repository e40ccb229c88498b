//! A table of a TOML file, read key by key; what nobody read is an unknown key.
//!
//! Each reader takes a key and says what it wants. A value of the wrong kind is reported and the
//! reader returns as if the key were absent, so that one pass finds every error of a file. The
//! module that owns the settings turns "absent" into its default.

mod units;
mod values;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::located::{Located, Place, SourceFile};
use super::suggest;

pub use units::duration_of;

/// One table, and what was read of it.
pub struct Section<'t> {
    table: Option<&'t DeTable<'t>>,
    place: Place,
    name: String,
    read: RefCell<BTreeSet<String>>,
    diagnostics: &'t Diagnostics,
}

impl<'t> Section<'t> {
    pub(super) fn new(
        table: &'t DeTable<'t>,
        file: &Arc<SourceFile>,
        span: std::ops::Range<usize>,
        name: String,
        diagnostics: &'t Diagnostics,
    ) -> Self {
        Self {
            table: Some(table),
            place: Place::new(file, span),
            name,
            read: RefCell::default(),
            diagnostics,
        }
    }

    /// Where the table stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the file has this table at all.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether a key is there, read or not.
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.get(key).is_some())
    }

    /// Where diagnostics go, for checks that span several keys.
    pub fn diagnostics(&self) -> &'t Diagnostics {
        self.diagnostics
    }

    /// A table below this one. An absent one reads as empty.
    pub fn section(&self, key: &str) -> Self {
        let name = self.child_name(key);
        let empty = || Section {
            table: None,
            place: self.place.clone(),
            name: name.clone(),
            read: RefCell::default(),
            diagnostics: self.diagnostics,
        };
        let Some((value, place)) = self.value(key) else {
            return empty();
        };
        match value.as_table() {
            Some(table) => Section::new(table, place.file(), place.span(), name, self.diagnostics),
            None => {
                let _: Option<()> = self.wrong_type(key, "a table", value, &place);
                empty()
            }
        }
    }

    /// The tables of an array: `[[key]]`.
    pub fn sections(&self, key: &str) -> Vec<Self> {
        let Some((value, place)) = self.value(key) else {
            return Vec::new();
        };
        let Some(array) = value.as_array() else {
            let _: Option<()> = self.wrong_type(key, "a list of tables ([[…]])", value, &place);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section::new(
                        table,
                        place.file(),
                        item.span(),
                        self.child_name(key),
                        self.diagnostics,
                    ));
                }
                None => {
                    let place = Place::new(place.file(), item.span());
                    let _: Option<()> = self.wrong_type(key, "a table", item.get_ref(), &place);
                }
            }
        }
        sections
    }

    /// The keys of this table in the order written, for tables whose keys are the user's own.
    pub fn keys(&self) -> Vec<Located<String>> {
        let Some(table) = self.table else {
            return Vec::new();
        };
        let mut keys: Vec<_> = table
            .iter()
            .map(|(key, _)| {
                Located::at(
                    key.get_ref().to_string(),
                    Place::new(self.place.file(), key.span()),
                )
            })
            .collect();
        keys.sort_by_key(|key| key.place().map(|place| place.span().start));
        keys
    }

    /// Reports every key that nobody read.
    pub fn finish(self) {
        let read = self.read.borrow();
        for key in self.keys() {
            if read.contains(key.as_str()) {
                continue;
            }
            let known = read.iter().map(String::as_str);
            let help = match suggest::nearest(&key, known) {
                Some(word) => format!("did you mean `{word}`?"),
                None if read.is_empty() => "nothing is expected here".to_owned(),
                None => format!(
                    "expected here: {}",
                    read.iter().cloned().collect::<Vec<_>>().join(", ")
                ),
            };
            self.report(
                "unknown-key",
                format!("unknown key `{}` in {}", key.as_str(), self.name),
                &key,
                help,
            );
        }
    }

    /// Reports something about a value of this section.
    pub fn report<T>(
        &self,
        id: &'static str,
        message: impl Into<String>,
        at: &Located<T>,
        help: String,
    ) {
        self.diagnostics.push(
            Diagnostic::error(id, message)
                .at_maybe(at.place(), "")
                .help(help),
        );
    }

    fn require(&self, key: &str) {
        if !self.has(key) {
            self.read.borrow_mut().insert(key.to_owned());
            self.diagnostics.push(
                Diagnostic::error(
                    "missing-key",
                    format!("`{key}` is missing in {}", self.name),
                )
                .at(&self.place, ""),
            );
        }
    }

    fn value(&self, key: &str) -> Option<(&'t DeValue<'t>, Place)> {
        self.read.borrow_mut().insert(key.to_owned());
        let item: &'t Spanned<DeValue<'t>> = self.table?.get(key)?;
        Some((item.get_ref(), Place::new(self.place.file(), item.span())))
    }

    fn child_name(&self, key: &str) -> String {
        if self.name == TOP {
            format!("[{key}]")
        } else {
            format!("{}.{key}]", self.name.trim_end_matches(']'))
        }
    }
}

/// The name of the outermost table in messages.
pub(super) const TOP: &str = "this file";
