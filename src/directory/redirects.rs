//! Reading `redirects.csv`: names that lead elsewhere, one a row, as `directory import` writes them.
//!
//! It says the same as `[[alias]]`, `[[rename]]` and `[[successor]]` in `aliases.toml`, in a form that
//! holds a million of them. A name that both files give is an error.

use std::sync::Arc;

use csv::StringRecord;

use crate::config::{Diagnostic, Diagnostics, Place, SourceFile};
use crate::mail::Mailbox;

use super::aliases::{Aliases, Successor, Then};
use super::cells::{self, Columns, Row, Schema, Wrong};
use super::code::OdsCode;
use super::led::Reason;
use super::reports::Reports;
use super::resolution::Because;

/// Adds the rows of the file to what `aliases.toml` has given.
pub(super) fn read(aliases: &mut Aliases, file: &Arc<SourceFile>, diagnostics: &Diagnostics) {
    let before = aliases.lines.append(file);
    let mut reader = cells::reader(&file.text);
    let mut reading = Reading {
        aliases,
        before,
        file,
        diagnostics,
        reports: Reports::new(file, diagnostics),
    };
    let header = reader.headers().cloned().unwrap_or_default();
    let line = cells::line_of(&file.text, header.position());
    let (columns, wrong) = Columns::read(&header, &SCHEMA);
    for message in wrong {
        reading.reports.error(line, message);
    }
    if let Some(columns) = columns {
        for record in reader.records() {
            reading.take(&columns, record);
        }
    }
    reading.reports.close();
}

/// The file as far as it has been read.
struct Reading<'r> {
    aliases: &'r mut Aliases,
    /// How many lines come before this file's first one.
    before: usize,
    file: &'r Arc<SourceFile>,
    diagnostics: &'r Diagnostics,
    reports: Reports<'r>,
}

impl Reading<'_> {
    fn take(&mut self, columns: &Columns, record: Result<StringRecord, csv::Error>) {
        let text = &self.file.text;
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = cells::line_of(text, error.position());
                let message = format!("this row cannot be read: {error}");
                return self.reports.error(line, message);
            }
        };
        let line = cells::line_of(text, record.position());
        let row = columns.row(&record);
        if let Err(wrong) = row.and_then(|row| self.row(&row, line)) {
            self.reports.wrong(line, &wrong);
        }
    }

    fn row(&mut self, row: &Row<'_>, line: usize) -> Result<(), Wrong> {
        match row.required_word("because", BECAUSE)? {
            Because::Successor => self.successor(row, line),
            because => self.redirect(row, because, line),
        }
    }

    fn redirect(&mut self, row: &Row<'_>, because: Because, line: usize) -> Result<(), Wrong> {
        let (from, to, reason) = read_redirect(row, because, self.before + line)?;
        if let Some(list) = self.aliases.lists.get(&from) {
            self.twice(&from.to_string(), line, list.place.clone());
            return Ok(());
        }
        if let Err(first) = self.aliases.redirects.add(&from, &to, reason, None) {
            let first = first.place().cloned().or_else(|| {
                let line = first.line().checked_sub(self.before)?;
                Some(Place::line_of(self.file, line))
            });
            self.twice(&from.to_string(), line, first);
        }
        Ok(())
    }

    fn successor(&mut self, row: &Row<'_>, line: usize) -> Result<(), Wrong> {
        let (from, successor) = read_successor(row, self.before + line)?;
        let known = self.aliases.successors.entry(from).or_default();
        if let Some(same) = known.iter().find(|same| same.to == successor.to) {
            let first = same.place.clone();
            self.twice(&from.to_string(), line, first);
        } else {
            known.push(successor);
        }
        Ok(())
    }

    fn twice(&mut self, name: &str, line: usize, first: Option<Place>) {
        self.diagnostics.push(
            Diagnostic::error("two-targets", format!("{name} is given twice"))
                .at(&Place::line_of(self.file, line), "again here")
                .at_maybe(first.as_ref(), "first here")
                .help("a name leads to one place: take one of them out"),
        );
    }
}

fn read_redirect(
    row: &Row<'_>,
    because: Because,
    line: usize,
) -> Result<(Mailbox, Mailbox, Reason), Wrong> {
    let from = row.address("from")?;
    let to = row.required("to")?.parse();
    let to = to.map_err(|error| Wrong::at("to", error))?;
    let since = row.date("since")?;
    let reason = Reason {
        because,
        since,
        line,
    };
    Ok((from, to, reason))
}

fn read_successor(row: &Row<'_>, line: usize) -> Result<(OdsCode, Successor), Wrong> {
    let missing = |column| Wrong::at(column, "is missing");
    let from = row.code("from")?.ok_or_else(|| missing("from"))?;
    let successor = Successor {
        to: row.code("to")?.ok_or_else(|| missing("to"))?,
        since: row.date("since")?.ok_or_else(|| missing("since"))?,
        then: Then::Forward,
        place: None,
        line,
    };
    // A successor that nobody has confirmed is a guess, and mail does not follow guesses.
    row.required("confirmed_by")?;
    Ok((from, successor))
}

/// Whether a row says what it must; the columns are all those of the schema.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(row: &Row<'_>) -> Result<(), Wrong> {
    match row.required_word("because", BECAUSE)? {
        Because::Successor => read_successor(row, 0).map(|_| ()),
        because => read_redirect(row, because, 0).map(|_| ()),
    }
}

/// The columns, in the order in which they are written.
pub(super) const SCHEMA: Schema = Schema {
    columns: &["from", "to", "because", "since", "confirmed_by", "note"],
    required: 3,
};

/// Why a row leads elsewhere.
pub(super) const BECAUSE: &[(&str, Because)] = &[
    ("alias", Because::Alias),
    ("renamed", Because::Renamed),
    ("successor", Because::Successor),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_toml;

    fn file(path: &str, text: &str) -> Arc<SourceFile> {
        Arc::new(SourceFile {
            path: path.into(),
            text: text.to_owned(),
        })
    }

    fn read_both(toml: &str, rows: &str) -> (Aliases, Vec<String>) {
        let diagnostics = Diagnostics::default();
        let mut aliases = read_toml(&file("aliases.toml", toml), &diagnostics, Aliases::read);
        let text = format!("# redirects\nfrom,to,because,since,confirmed_by,note\n{rows}");
        read(&mut aliases, &file("redirects.csv", &text), &diagnostics);
        let said = diagnostics.into_vec().into_iter().map(|one| {
            let places: Vec<_> = one.labels.iter().map(|l| l.place.to_string()).collect();
            format!("{} {} {}", one.id, places.join(" "), one.message)
        });
        (aliases, said.collect())
    }

    #[test]
    fn rows_mean_what_the_tables_of_the_aliases_mean() {
        let (aliases, said) = read_both(
            "# one line\n",
            "Old.Name@nhs.net,new.name@nhs.net,renamed,2026-01-31,,\n\
             FA009,FA003,successor,2024-07-01,the office,\n",
        );
        assert!(said.is_empty(), "{said:?}");
        let redirect = aliases.redirects.get(&"old.name@nhs.net".parse().unwrap());
        let redirect = redirect.unwrap();
        assert_eq!(redirect.because(), Because::Renamed);
        assert_eq!(
            aliases.source(redirect.line()).to_string(),
            "redirects.csv:3"
        );
        let code: OdsCode = "FA009".parse().unwrap();
        assert_eq!(
            aliases
                .source(aliases.successors[&code][0].line)
                .to_string(),
            "redirects.csv:4"
        );
        assert_eq!(aliases.source(1).to_string(), "aliases.toml:1");
    }

    #[test]
    fn a_name_leads_to_one_place_in_both_files_together() {
        let (_, said) = read_both(
            "[[alias]]\nfrom = \"a@nhs.net\"\nto = \"b@nhs.net\"\n\
             [[list]]\nname = \"l@nhs.net\"\nmembers = [\"b@nhs.net\"]\n",
            "A@nhs.net,c@nhs.net,alias,,,\nl@nhs.net,c@nhs.net,alias,,,\n\
             d@nhs.net,b@nhs.net,alias,,,\nd@nhs.net,c@nhs.net,alias,,,\n",
        );
        assert_eq!(
            said,
            [
                "two-targets redirects.csv:3 aliases.toml:2 a@nhs.net is given twice",
                "two-targets redirects.csv:4 aliases.toml:5 l@nhs.net is given twice",
                "two-targets redirects.csv:6 redirects.csv:5 d@nhs.net is given twice",
            ]
        );
    }

    #[test]
    fn bad_rows_are_all_reported() {
        let (_, said) = read_both(
            "",
            "a@nhs.net,b@nhs.net,because,,,\na@nhs.net,b,alias,,,\n\
             FA009,FA003,successor,2024-07-01,,\nFA009,FA003,successor,,office,\nx\n",
        );
        assert_eq!(said.len(), 5, "{said:?}");
        assert!(said[2].ends_with("redirects.csv:5 confirmed_by: is missing"));
    }
}
