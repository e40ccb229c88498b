//! Tables of text with a header row: which column stands where, and what a cell says.
//!
//! `directory.csv`, `redirects.csv` and the files of `directory import` are all read with this. A row
//! is handed out by the names of its columns; what is empty is as good as absent. Lines that begin
//! with `#` are comments.

use std::fmt;
use std::str::FromStr;

use csv::StringRecord;
use jiff::civil::Date;

use crate::config::text::without_mark;
use crate::mail::Mailbox;

use super::code::OdsCode;
use super::entry::Link;

/// A reader of such a table, at its header row. Cells are trimmed where they are asked for: to trim a
/// whole row is to copy it.
pub(super) fn reader(text: &str) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .flexible(true)
        .trim(csv::Trim::Headers)
        .from_reader(text.as_bytes())
}

/// The line of a record, from 1. Its position is before the comments and empty lines that precede it.
pub(super) fn line_of(text: &str, position: Option<&csv::Position>) -> usize {
    let Some(position) = position else {
        return 1;
    };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let line = usize::try_from(position.line()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    if !rest.starts_with(['#', '\r', '\n']) {
        return line; // nearly always, and not worth a walk to the end of the line
    }
    line + preamble(rest).lines().count()
}

/// The comments and empty lines that a text begins with, behind its byte order mark.
pub(super) fn preamble(text: &str) -> &str {
    let lines = without_mark(text);
    let skipped = lines
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('#') || line.trim_end_matches(['\r', '\n']).is_empty());
    let mark = text.len() - lines.len();
    &text[..mark + skipped.map(str::len).sum::<usize>()]
}

/// The columns that a table may have.
#[derive(Debug)]
pub(super) struct Schema {
    /// All of them.
    pub(super) columns: &'static [&'static str],
    /// How many of them, from the first on, must be there.
    pub(super) required: usize,
}

/// Which column stands where.
#[derive(Debug)]
pub(super) struct Columns {
    /// Few enough that a walk through them is faster than a hash.
    at: Vec<(&'static str, usize)>,
    count: usize,
}

impl Columns {
    /// Reads the header row.
    ///
    /// # Errors
    /// A sentence for each column that is unknown, twice or missing, and whether the rows can be read
    /// all the same.
    pub(super) fn read(header: &StringRecord, schema: &Schema) -> (Option<Self>, Vec<String>) {
        let mut at: Vec<(&'static str, usize)> = Vec::new();
        let mut wrong = Vec::new();
        for (index, name) in header.iter().enumerate() {
            match schema.columns.iter().find(|column| **column == name) {
                None => wrong.push(format!(
                    "unknown column {name:?}; there are: {}",
                    schema.columns.join(", ")
                )),
                Some(column) => match at.iter_mut().find(|(known, _)| known == column) {
                    Some(known) => {
                        known.1 = index;
                        wrong.push(format!("column {name:?} is there twice"));
                    }
                    None => at.push((*column, index)),
                },
            }
        }
        let required = &schema.columns[..schema.required];
        let missing = required
            .iter()
            .filter(|column| !at.iter().any(|(known, _)| known == *column));
        let missing: Vec<_> = missing
            .map(|column| format!("column {column:?} is missing"))
            .collect();
        let complete = missing.is_empty();
        wrong.extend(missing);
        let count = header.len();
        (complete.then_some(Self { at, count }), wrong)
    }

    /// All columns of a schema, in its order.
    pub(super) fn all(schema: &Schema) -> Self {
        let all = schema.columns.iter().enumerate();
        Self {
            at: all.map(|(index, column)| (*column, index)).collect(),
            count: schema.columns.len(),
        }
    }

    /// Whether the table has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.index(column).is_some()
    }

    /// The number of a column, from 1, as a spreadsheet counts.
    pub(super) fn number(&self, column: &str) -> Option<usize> {
        self.index(column).map(|index| index + 1)
    }

    fn index(&self, column: &str) -> Option<usize> {
        let found = self.at.iter().find(|(known, _)| *known == column);
        found.map(|(_, index)| *index)
    }

    /// One record by the names of its columns.
    ///
    /// # Errors
    /// If it has more or fewer fields than the header, or the rows below it within one.
    pub(super) fn row<'r>(&'r self, record: &'r StringRecord) -> Result<Row<'r>, Wrong> {
        check_quotes(record, self.count)?;
        if record.len() == self.count {
            return Ok(Row {
                columns: self,
                record,
            });
        }
        let (has, count) = (record.len(), self.count);
        Err(Wrong::row(format!(
            "this row has {has} fields, the header has {count}"
        )))
    }
}

/// A cell that begins with a quotation mark ends with the next one, or with the file: where somebody has forgotten to
/// close it, it takes in the rows below, which nobody would miss. They are lines of it with the commas of a row.
///
/// # Errors
/// If a cell has such a line.
pub(super) fn check_quotes(record: &StringRecord, columns: usize) -> Result<(), Wrong> {
    if memchr::memchr2(b'\n', b'\r', record.as_slice().as_bytes()).is_none() {
        return Ok(()); // as nearly always
    }
    let is_row = |line: &str| line.matches(',').count() + 1 >= columns.max(2);
    let takes_in = |cell: &str| cell.split(['\n', '\r']).skip(1).any(is_row);
    match record.iter().any(takes_in) {
        true => Err(Wrong::row(
            "a quotation mark in this row is not closed, and takes in the rows below it".to_owned(),
        )),
        false => Ok(()),
    }
}

/// One row, by the names of its columns. What is empty is as good as absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'r> {
    columns: &'r Columns,
    record: &'r StringRecord,
}

impl<'r> Row<'r> {
    pub(super) fn text(&self, column: &str) -> &'r str {
        let index = self.columns.index(column);
        index
            .and_then(|index| self.record.get(index))
            .map_or("", str::trim)
    }

    pub(super) fn optional(&self, column: &str) -> Option<&'r str> {
        Some(self.text(column)).filter(|text| !text.is_empty())
    }

    pub(super) fn required(&self, column: &'static str) -> Result<&'r str, Wrong> {
        self.optional(column)
            .ok_or_else(|| Wrong::at(column, "is missing"))
    }

    /// An address, folded.
    pub(super) fn address(&self, column: &'static str) -> Result<Mailbox, Wrong> {
        let address = self.required(column)?.parse::<Mailbox>();
        address
            .map(Mailbox::into_folded)
            .map_err(|error| Wrong::at(column, error))
    }

    pub(super) fn word<T: Copy>(
        &self,
        column: &'static str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Wrong> {
        let Some(text) = self.optional(column) else {
            return Ok(None);
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(Some(*value));
        }
        let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let reason = format!("{text:?} is none of {}", names.join(", "));
        Err(Wrong::at(column, reason))
    }

    pub(super) fn required_word<T: Copy>(
        &self,
        column: &'static str,
        words: &[(&str, T)],
    ) -> Result<T, Wrong> {
        self.word(column, words)?
            .ok_or_else(|| Wrong::at(column, "is missing"))
    }

    pub(super) fn yes_or_no(&self, column: &'static str) -> Result<Option<bool>, Wrong> {
        self.word(column, &[("yes", true), ("no", false)])
    }

    pub(super) fn date(&self, column: &'static str) -> Result<Option<Date>, Wrong> {
        self.read(column, |text| {
            format!("{text:?} is not a date such as 2026-11-21")
        })
    }

    pub(super) fn number(&self, column: &'static str) -> Result<Option<u32>, Wrong> {
        self.read(column, |text| format!("{text:?} is not a number"))
    }

    pub(super) fn code(&self, column: &'static str) -> Result<Option<OdsCode>, Wrong> {
        let Some(text) = self.optional(column) else {
            return Ok(None);
        };
        let code = text.parse().map(Some);
        code.map_err(|error| Wrong::at(column, error))
    }

    /// Linked accounts, between blanks.
    pub(super) fn links(&self, column: &'static str) -> Result<Vec<Link>, Wrong> {
        let words = self.text(column).split_ascii_whitespace();
        words
            .map(|word| {
                word.parse()
                    .map_err(|reason: String| Wrong::at(column, reason))
            })
            .collect()
    }

    fn read<T: FromStr>(
        &self,
        column: &'static str,
        reason: impl Fn(&str) -> String,
    ) -> Result<Option<T>, Wrong> {
        let Some(text) = self.optional(column) else {
            return Ok(None);
        };
        let value = text.parse().map(Some);
        value.map_err(|_| Wrong::at(column, reason(text)))
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wrong {
    /// In which column, if it is one's fault.
    pub(super) column: Option<&'static str>,
    /// A few words that begin after the column's name.
    pub(super) reason: String,
}

impl Wrong {
    /// Of one cell.
    pub(super) fn at(column: &'static str, reason: impl fmt::Display) -> Self {
        Self {
            column: Some(column),
            reason: reason.to_string(),
        }
    }

    /// Of the row as a whole.
    pub(super) fn row(reason: String) -> Self {
        Self {
            column: None,
            reason,
        }
    }

    /// How it is mended.
    pub(super) fn help(&self) -> &'static str {
        let helps = HELPS
            .iter()
            .find(|(column, _)| Some(*column) == self.column);
        helps.map_or("mend the row or take it out", |(_, help)| *help)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, "{column}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// What belongs into a column whose cell is wrong.
const HELPS: &[(&str, &str)] = &[
    ("address", "write it as pharmacy.fa001@nhs.net"),
    ("from", "write an address, or for a successor an ODS code"),
    ("to", "write an address, or for a successor an ODS code"),
    ("kind", "say whose mailbox it is, in one of these words"),
    ("status", "say what has become of it, in one of these words"),
    ("status_date", "write year, month and day: 2026-11-21"),
    ("since", "write year, month and day: 2026-11-21"),
    ("date", "write year, month and day: 2026-11-21"),
    ("last_verified", "write year, month and day: 2026-11-21"),
    ("ods_code", "write the organisation's code, such as FA001"),
    ("successor", "write the organisation's code, such as FA001"),
    (
        "linked",
        "write jo.bell@nhs.net:send-as, with blanks between several",
    ),
    ("approved_links", "write a number, or leave it empty"),
    (
        "confirmed_by",
        "say who has confirmed it: nobody follows a guess",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_row_is_below_the_comments_before_it() {
        let text = "# one\n\naddress,x\n# two\r\n\r\na,\"b\nc\"\nd,e\n";
        let mut reader = reader(text);
        let header = reader.headers().unwrap().clone();
        let mut lines = vec![line_of(text, header.position())];
        for record in reader.records() {
            lines.push(line_of(text, record.unwrap().position()));
        }
        assert_eq!(lines, [3, 6, 8]);
    }

    #[test]
    fn a_quotation_mark_that_takes_in_the_rows_below_is_found() {
        let wrong = |rows: &str| -> Vec<bool> {
            let text = format!("from,to,note\n{rows}");
            let mut reader = reader(&text);
            let header = reader.headers().unwrap().clone();
            let schema = Schema {
                columns: &["from", "to", "note"],
                required: 2,
            };
            let columns = Columns::read(&header, &schema).0.unwrap();
            let records = reader.records();
            records
                .map(|record| columns.row(&record.unwrap()).is_err())
                .collect()
        };
        assert_eq!(
            wrong("a,b,\"two\nlines, at most\"\nc,d,e\n"),
            [false, false]
        );
        assert_eq!(wrong("a,b,\"open\nc,d,e\n"), [true]);
        assert_eq!(
            wrong("a,b,\"open\r\nc,d,e\r\nf,g,\"h\"\r\ni,j,k\r\n"),
            [true, false]
        );
        assert_eq!(wrong("a,\"open,\nc,d,e\n"), [true]);
    }

    #[test]
    fn a_column_has_the_number_that_a_spreadsheet_gives_it() {
        let schema = Schema {
            columns: &["address", "kind", "note"],
            required: 2,
        };
        let header = StringRecord::from(vec!["kind", "address", "kind", "colour"]);
        let (columns, wrong) = Columns::read(&header, &schema);
        let columns = columns.unwrap();
        assert_eq!(columns.number("address"), Some(2));
        assert!(!columns.has("note"));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(Columns::read(&StringRecord::new(), &schema).0.is_none());
    }
}
