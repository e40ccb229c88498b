//! The change file: what has happened to people and organisations, one a row, each from its day on.
//!
//! Its format is in `manual::directory_changes`. Changes are made in the order of their days. One
//! that was made before is passed over, so that a file may be imported twice. A day to come is
//! written into the tables as such: the directory changes on that day without another import.

use std::collections::HashMap;

use jiff::civil::Date;

use crate::directory::cells::{Row, Schema, Wrong};
use crate::directory::{Entry, Kind, Status, redirects};
use crate::mail::Mailbox;

use super::bad::Walk;
use super::draft::Draft;
use super::organisations;
use super::people;
use super::sheet::Cells;

/// One row of the file.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) what: What,
    /// From this day on.
    pub(super) date: Date,
    pub(super) cells: Cells,
    /// Of a joiner or a rename: the last name that later changes of the same file give him.
    pub(super) becomes: Option<String>,
    /// Its line, and the numbers of the columns are the file's.
    line: usize,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum What {
    /// A mailbox has another name.
    Rename,
    /// An organisation has another code.
    Code,
    /// An organisation has another owner, and so another code.
    Ownership,
    /// An organisation has become part of another.
    Consolidation,
    /// A person has left.
    Leaver,
    /// Someone or something is new.
    Joiner,
}

/// What has come of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Made,
    /// It had been made before.
    Known,
}

/// Makes all changes of a file.
pub(super) fn read(walk: &mut Walk<'_>, draft: &mut Draft) {
    let path = walk.file.path.display().to_string();
    let mut changes = Vec::new();
    let mut numbers = HashMap::new();
    walk.table(&SCHEMA, |found| {
        if numbers.is_empty() {
            let all = SCHEMA.columns.iter();
            numbers.extend(all.filter_map(|column| Some((*column, found.columns.number(column)?))));
        }
        changes.push(Change::read(&found.row, found.line)?);
        Ok(())
    });
    // Stable: those of one day are made in the order of the file.
    changes.sort_by_key(|change| change.date);
    follow_names(&mut changes);
    let mut known = 0;
    for change in &changes {
        match change.make(draft) {
            Ok(Outcome::Made) => {}
            Ok(Outcome::Known) => known += 1,
            Err(wrong) => {
                let number = wrong.column.and_then(|column| numbers.get(column).copied());
                walk.bad(change.line, &wrong, number);
            }
        }
    }
    let made = changes.len() - known;
    draft.notes.push(format!(
        "{path}: {made} changes, {known} of others were made before"
    ));
}

/// Tells each change what the name that it gives becomes later.
fn follow_names(changes: &mut [Change]) {
    let mut last: HashMap<String, String> = HashMap::new();
    for change in changes.iter_mut().rev() {
        let folded = |column: &'static str| change.address(column).map(|name| name.to_string());
        let (Ok(to), from) = (folded("to"), folded("from")) else {
            continue;
        };
        change.becomes = last.get(&to).cloned();
        if let (What::Rename, Ok(from)) = (change.what, from) {
            last.insert(from, change.becomes.clone().unwrap_or(to));
        }
    }
}

impl Change {
    fn read(row: &Row<'_>, line: usize) -> Result<Self, Wrong> {
        let what = row.required_word("change", WORDS)?;
        let date = row.date("date")?;
        let date = date.ok_or_else(|| Wrong::at("date", "is missing"))?;
        let (from, to) = NEEDED[what as usize];
        for (column, needed) in [("from", from), ("to", to)] {
            match needed {
                Needed::Address => row.address(column).map(|_| ())?,
                Needed::Code => {
                    let code = row.code(column)?;
                    code.ok_or_else(|| Wrong::at(column, "is missing"))?;
                }
                Needed::Nothing if row.optional(column).is_some() => {
                    return Err(Wrong::at(column, "must be empty for this change"));
                }
                Needed::Nothing => {}
            }
        }
        if from == Needed::Code {
            row.required("confirmed_by")?;
        }
        row.word("kind", Kind::WORDS)?;
        row.code("ods_code")?;
        Ok(Self {
            what,
            date,
            cells: Cells::of(&SCHEMA, row),
            becomes: None,
            line,
        })
    }

    fn make(&self, draft: &mut Draft) -> Result<Outcome, Wrong> {
        match self.what {
            What::Rename => people::rename(self, draft),
            What::Leaver => people::leave(self, draft),
            What::Joiner => people::join(self, draft),
            What::Code | What::Ownership => organisations::recode(self, draft),
            What::Consolidation => organisations::consolidate(self, draft),
        }
    }

    /// Whether it is so already, or will be.
    pub(super) fn has_come(&self, draft: &Draft) -> bool {
        self.date <= draft.today
    }

    /// An address that it names, folded.
    pub(super) fn address(&self, column: &'static str) -> Result<Mailbox, Wrong> {
        let address = self.cells.get(column).parse::<Mailbox>();
        let address = address.map_err(|error| Wrong::at(column, error))?;
        Ok(address.folded())
    }

    /// The cells of a redirect that it causes.
    pub(super) fn redirect(&self, from: &str, to: &str, because: &str) -> Cells {
        Cells::new(
            &redirects::SCHEMA,
            &[
                ("from", from),
                ("to", to),
                ("because", because),
                ("since", &self.date.to_string()),
                ("confirmed_by", self.cells.get("confirmed_by")),
                ("note", self.cells.get("note")),
            ],
        )
    }

    /// What it says besides, of those columns that it fills in.
    pub(super) fn says(&self, columns: &[&'static str]) -> Vec<(&'static str, &str)> {
        let all = columns
            .iter()
            .map(|column| (*column, self.cells.get(column)));
        all.filter(|(_, text)| !text.is_empty()).collect()
    }
}

/// A row that is shut from a day on: until then it is as live as it was.
pub(super) fn shut(cells: &Cells, status: Status, from: Date) -> Cells {
    cells.with(&[
        ("status", status.word()),
        ("status_date", &from.to_string()),
    ])
}

/// Whether a mailbox is in use on a day, as far as is known now.
pub(super) fn in_use(entry: &Entry, on: Date) -> bool {
    entry.is_live(on) && entry.is_live(Date::MAX)
}

/// What must stand in a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Needed {
    Address,
    Code,
    Nothing,
}

/// What must stand in `from` and `to`, in the order of [`What`].
const NEEDED: [(Needed, Needed); 6] = [
    (Needed::Address, Needed::Address),
    (Needed::Code, Needed::Code),
    (Needed::Code, Needed::Code),
    (Needed::Code, Needed::Code),
    (Needed::Address, Needed::Nothing),
    (Needed::Nothing, Needed::Address),
];

const WORDS: &[(&str, What)] = &[
    ("rename", What::Rename),
    ("code", What::Code),
    ("ownership", What::Ownership),
    ("consolidation", What::Consolidation),
    ("leaver", What::Leaver),
    ("joiner", What::Joiner),
];

/// The columns of a change file.
pub(super) const SCHEMA: Schema = Schema {
    columns: &[
        "change",
        "date",
        "from",
        "to",
        "confirmed_by",
        "kind",
        // From here to the owner: [`DESCRIPTION`].
        "ods_code",
        "organisation",
        "street",
        "town",
        "postcode",
        "display_name",
        "owner",
        "note",
    ],
    required: 4,
};

/// The columns that describe a mailbox.
pub(super) const DESCRIPTION: &[&str] = SCHEMA.columns.split_at(6).1.split_at(7).0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_goes_from_the_code_to_the_owner() {
        assert_eq!(DESCRIPTION.first(), Some(&"ods_code"));
        assert_eq!(DESCRIPTION.last(), Some(&"owner"));
    }
}
