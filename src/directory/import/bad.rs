//! Rows that cannot be taken, and the walk through a table that finds them all.

use std::sync::Arc;

use csv::StringRecord;
use serde::Serialize;

use crate::config::SourceFile;
use crate::directory::cells::{self, Columns, Row, Schema, Wrong, preamble};

/// A row of an imported file that is not as it must be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct BadRow {
    /// The file, as the user wrote it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The number of the column, from 1 as a spreadsheet counts; `None` for the row as a whole.
    pub column: Option<usize>,
    /// What the column is called.
    pub field: Option<&'static str>,
    /// Why it cannot be taken.
    pub reason: String,
    /// How it is mended.
    pub help: &'static str,
}

impl BadRow {
    /// `changes.csv:12:3: date: "soon" is not a date such as 2026-11-21`.
    pub fn sentence(&self) -> String {
        let column = self.column.map(|column| format!("{column}:"));
        let field = self.field.map(|field| format!("{field}: "));
        let (column, field) = (column.unwrap_or_default(), field.unwrap_or_default());
        format!(
            "{}:{}:{column} {field}{}",
            self.file, self.line, self.reason
        )
    }
}

/// One file as it is gone through: what was bad of it, and how far the walk is.
pub(super) struct Walk<'w> {
    pub(super) file: &'w Arc<SourceFile>,
    pub(super) bad: &'w mut Vec<BadRow>,
    /// Called with the octets that were read since the last call.
    pub(super) progress: &'w dyn Fn(u64),
}

impl Walk<'_> {
    /// Adds a bad row. `number` says which column one is.
    pub(super) fn bad(&mut self, line: usize, wrong: &Wrong, number: Option<usize>) {
        self.bad.push(BadRow {
            file: self.file.path.display().to_string(),
            line,
            column: number,
            field: wrong.column,
            reason: wrong.reason.clone(),
            help: wrong.help(),
        });
    }

    /// Hands out each row of a table with a header; what it finds wrong is added to the bad ones.
    /// Returns where in the text the last row ends.
    pub(super) fn table(
        &mut self,
        schema: &Schema,
        mut each: impl FnMut(&Found<'_>) -> Result<(), Wrong>,
    ) -> usize {
        let file = Arc::clone(self.file);
        let mut reader = cells::reader(&file.text);
        let header = reader.headers().cloned().unwrap_or_default();
        let line = cells::line_of(&file.text, header.position());
        let (columns, wrong) = Columns::read(&header, schema);
        for reason in wrong {
            self.bad(line, &Wrong::row(reason), None);
        }
        let Some(columns) = columns else {
            return file.text.len();
        };
        let each = |record: &_, line, before: &_| {
            each(&Found {
                row: columns.row(record)?,
                columns: &columns,
                line,
                before,
            })
        };
        self.records(reader, each, |column| columns.number(column))
    }

    /// Hands out each record with its line and what stands before it; returns where the last one ends.
    pub(super) fn records(
        &mut self,
        mut reader: csv::Reader<&[u8]>,
        mut each: impl FnMut(&StringRecord, usize, &str) -> Result<(), Wrong>,
        number: impl Fn(&str) -> Option<usize>,
    ) -> usize {
        let file = Arc::clone(self.file);
        let mut record = StringRecord::new();
        let (mut count, mut told) = (0_usize, 0);
        let end = loop {
            let position = reader.position().clone();
            let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
            match reader.read_record(&mut record) {
                Ok(false) => break start,
                Ok(true) => {
                    let before = preamble(file.text.get(start..).unwrap_or_default());
                    let line = cells::line_of(&file.text, Some(&position));
                    if let Err(wrong) = each(&record, line, before) {
                        let number = wrong.column.and_then(&number);
                        self.bad(line, &wrong, number);
                    }
                }
                Err(error) => {
                    let line = cells::line_of(&file.text, Some(&position));
                    let reason = format!("this row cannot be read: {error}");
                    self.bad(line, &Wrong::row(reason), None);
                }
            }
            count += 1;
            if count.is_multiple_of(TELL_EVERY) {
                (self.progress)(octets(start - told));
                told = start;
            }
        };
        (self.progress)(octets(file.text.len().saturating_sub(told)));
        end
    }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A row where it was found.
pub(super) struct Found<'f> {
    pub(super) row: Row<'f>,
    pub(super) columns: &'f Columns,
    pub(super) line: usize,
    /// The comments and empty lines before it.
    pub(super) before: &'f str,
}

/// Rows between two reports of progress.
const TELL_EVERY: usize = 1_000;
