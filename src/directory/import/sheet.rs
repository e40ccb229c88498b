//! A table as it is written: rows of text with the comments that stand before them.
//!
//! An import changes `directory.csv` and `redirects.csv` row by row and leaves the rest as it was:
//! comments, order and the columns that an administrator has chosen.

use std::collections::HashMap;

use csv::StringRecord;

use crate::directory::cells::{Columns, Row, Schema, Wrong, preamble};

/// All of a table.
#[derive(Debug)]
pub(super) struct Sheet {
    schema: &'static Schema,
    /// What stands before the header row.
    head: String,
    /// The columns of the file, in its order.
    columns: Vec<&'static str>,
    lines: Vec<Line>,
    /// Where the row of a key is.
    at: HashMap<String, usize>,
    /// What stands after the last row.
    tail: String,
    /// Of each key that was touched, what its row was at first.
    first: HashMap<String, Option<Cells>>,
}

/// One row.
#[derive(Debug)]
struct Line {
    /// The comments and empty lines before it.
    before: String,
    /// `None` once it has been taken out.
    cells: Option<Cells>,
}

/// The cells of a row, one for each column of the schema, empty where the file has no such column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Cells {
    columns: &'static [&'static str],
    record: StringRecord,
}

impl Cells {
    /// A row with these cells, the others empty.
    pub(super) fn new(schema: &Schema, cells: &[(&str, &str)]) -> Self {
        let cell = |column: &&str| cells.iter().find(|(name, _)| name == column);
        let all = schema.columns.iter().map(cell);
        Self {
            columns: schema.columns,
            record: all.map(|cell| cell.map_or("", |(_, text)| *text)).collect(),
        }
    }

    /// The cells of a row that was read.
    pub(super) fn of(schema: &Schema, row: &Row<'_>) -> Self {
        Self {
            columns: schema.columns,
            record: schema
                .columns
                .iter()
                .map(|column| row.text(column))
                .collect(),
        }
    }

    /// The same as a row, to be read like one of a file. `columns` are all those of the schema.
    ///
    /// # Errors
    /// If they are others.
    pub(super) fn row<'r>(&'r self, columns: &'r Columns) -> Result<Row<'r>, Wrong> {
        columns.row(&self.record)
    }

    /// What stands in a column.
    pub(super) fn get(&self, column: &str) -> &str {
        let index = self.columns.iter().position(|name| *name == column);
        index.and_then(|index| self.record.get(index)).unwrap_or("")
    }

    /// The same row with other texts in some columns.
    #[must_use]
    pub(super) fn with(&self, cells: &[(&str, &str)]) -> Self {
        let cell = |(column, old)| {
            let new = cells.iter().find(|(name, _)| *name == column);
            new.map_or(old, |(_, text)| *text)
        };
        let all = self.columns.iter().copied().zip(&self.record);
        Self {
            columns: self.columns,
            record: all.map(cell).collect(),
        }
    }

    /// The columns in which another row differs, with what stands there before and after.
    pub(super) fn differences(&self, other: &Self) -> Vec<(&'static str, String, String)> {
        let all = self
            .columns
            .iter()
            .zip(self.record.iter().zip(&other.record));
        let different = all.filter(|(_, (old, new))| old != new);
        different
            .map(|(column, (old, new))| (*column, old.to_owned(), new.to_owned()))
            .collect()
    }
}

impl Sheet {
    /// A table without rows, whose columns are the schema's first `columns`.
    pub(super) fn new(schema: &'static Schema, text: &str, header: &StringRecord) -> Self {
        let known = |name: &str| {
            schema
                .columns
                .iter()
                .copied()
                .find(|column| *column == name)
        };
        let mut columns: Vec<_> = header.iter().filter_map(known).collect();
        if columns.is_empty() {
            columns = schema.columns[..schema.required].to_vec();
        }
        Self {
            schema,
            head: preamble(text).to_owned(),
            columns,
            lines: Vec::new(),
            at: HashMap::new(),
            tail: String::new(),
            first: HashMap::new(),
        }
    }

    /// Adds a row of the file itself: this is no change.
    pub(super) fn push_read(&mut self, key: String, cells: Cells, before: &str) {
        self.at.insert(key, self.lines.len());
        self.lines.push(Line {
            before: before.to_owned(),
            cells: Some(cells),
        });
    }

    /// What stands after the last row.
    pub(super) fn set_tail(&mut self, tail: &str) {
        tail.clone_into(&mut self.tail);
    }

    /// The row of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Cells> {
        self.lines[*self.at.get(key)?].cells.as_ref()
    }

    /// Puts a row in the place of the one with its key, or at the end.
    pub(super) fn put(&mut self, key: &str, cells: Cells) {
        if self.get(key) == Some(&cells) {
            return;
        }
        self.remember(key);
        match self.at.get(key) {
            Some(index) => self.lines[*index].cells = Some(cells),
            None => self.push_read(key.to_owned(), cells, ""),
        }
    }

    /// Takes a row out; comments before it stay.
    pub(super) fn remove(&mut self, key: &str) {
        if self.get(key).is_some() {
            self.remember(key);
            self.lines[self.at[key]].cells = None;
        }
    }

    /// Takes out every row whose key is not to be kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let others: Vec<_> = self.at.keys().filter(|key| !keep(key)).cloned().collect();
        for key in others {
            self.remove(&key);
        }
    }

    /// The rows, in the order of the file.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Cells> {
        self.lines.iter().filter_map(|line| line.cells.as_ref())
    }

    /// What was changed: of each key the row before and the row now, in the order of the keys.
    pub(super) fn changes(&self) -> Vec<(&str, Option<&Cells>, Option<&Cells>)> {
        let touched = self.first.iter();
        let all = touched.map(|(key, old)| (key.as_str(), old.as_ref(), self.get(key)));
        let mut changed: Vec<_> = all.filter(|(_, old, new)| old != new).collect();
        changed.sort_unstable_by_key(|(key, _, _)| *key);
        changed
    }

    /// The whole table as it is written.
    pub(super) fn text(&self) -> String {
        let mut columns = self.columns.clone();
        for column in self.schema.columns {
            let used = || self.rows().any(|cells| !cells.get(column).is_empty());
            if !columns.contains(column) && used() {
                columns.push(column);
            }
        }
        let mut text = self.head.clone();
        push_row(&mut text, columns.iter().copied());
        for line in &self.lines {
            text.push_str(&line.before);
            if let Some(cells) = &line.cells {
                push_row(&mut text, columns.iter().map(|column| cells.get(column)));
            }
        }
        text.push_str(&self.tail);
        text
    }

    fn remember(&mut self, key: &str) {
        if !self.first.contains_key(key) {
            let cells = self.get(key).cloned();
            self.first.insert(key.to_owned(), cells);
        }
    }
}

/// Adds a row of comma-separated values (RFC 4180). What the reader would take for a comment, an end
/// or a quote is quoted.
pub(super) fn push_row<'c>(text: &mut String, cells: impl Iterator<Item = &'c str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            text.push(',');
        }
        let plain = !cell.starts_with('#') && !cell.contains(['"', ',', '\r', '\n']);
        if plain {
            text.push_str(cell);
        } else {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        }
    }
    text.push('\n');
}
