//! Writing the directory out, as [`super::prepare`] reads it.
//!
//! Hidden columns are left out unless they are asked for. `aliases.toml` is the administrator's own
//! file and in its own form already: nothing of it is written here.

use std::fmt::Write as _;

use jiff::civil::Date;

use crate::directory::sources::Sources;
use crate::directory::{redirects, table};

use super::draft::Draft;
use super::sheet::push_row;
use super::tables::TABLES;

/// All mailboxes as `directory.csv`.
pub fn csv(sources: &Sources, with_hidden: bool) -> String {
    let draft = draft(sources);
    let columns: Vec<_> = table::COLUMNS
        .iter()
        .filter(|column| with_hidden || !is_hidden(column))
        .collect();
    let mut text = String::new();
    push_row(&mut text, columns.iter().map(|column| **column));
    for cells in draft.mailboxes.rows() {
        push_row(&mut text, columns.iter().map(|column| cells.get(column)));
    }
    text
}

/// All redirects of `redirects.csv`.
pub fn redirects_csv(sources: &Sources) -> String {
    let mut text = String::new();
    push_row(&mut text, redirects::SCHEMA.columns.iter().copied());
    for cells in draft(sources).redirects.rows() {
        let row = redirects::SCHEMA
            .columns
            .iter()
            .map(|column| cells.get(column));
        push_row(&mut text, row);
    }
    text
}

/// Mailboxes and redirects as TOML.
pub fn toml(sources: &Sources, with_hidden: bool) -> String {
    let mut text = String::new();
    let draft = draft(sources);
    for cells in draft.mailboxes.rows() {
        push_table(&mut text, "mailbox");
        for column in table::COLUMNS {
            let cell = cells.get(column);
            if !cell.is_empty() && (with_hidden || !is_hidden(column)) {
                push_key(&mut text, column, &value(column, cell));
            }
        }
    }
    for cells in draft.redirects.rows() {
        let because = cells.get("because");
        let Some((table, _, date)) = TABLES.iter().find(|(_, word, _)| *word == because) else {
            continue;
        };
        push_table(&mut text, table);
        for (column, key) in [
            ("from", "from"),
            ("to", "to"),
            ("since", date),
            ("confirmed_by", "confirmed-by"),
            ("note", "note"),
        ] {
            let cell = cells.get(column);
            if !cell.is_empty() {
                push_key(&mut text, key, &value(column, cell));
            }
        }
    }
    text
}

fn draft(sources: &Sources) -> Draft {
    // The day says nothing here, and a row that cannot be read is nobody's.
    Draft::read(sources, Date::MAX, &mut Vec::new())
}

fn is_hidden(column: &str) -> bool {
    column == "mobile"
}

fn push_table(text: &mut String, name: &str) {
    let start = if text.is_empty() { "" } else { "\n" };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{start}[[{name}]]");
}

fn push_key(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

/// A cell as TOML: dates, flags and numbers are such, and linked accounts a list.
fn value(column: &str, cell: &str) -> String {
    let quoted = |text: &str| ::toml::Value::String(text.to_owned()).to_string();
    match column {
        // In the one form that TOML knows; the rows have been read, so that they are dates and numbers.
        "status_date" | "last_verified" | "since" => cell
            .parse::<Date>()
            .map_or_else(|_| quoted(cell), |date| date.to_string()),
        "approved_links" => cell
            .parse::<u32>()
            .map_or_else(|_| quoted(cell), |number| number.to_string()),
        "accepts_patient_data" | "do_not_send" => (cell == "yes").to_string(),
        "linked" => {
            let words: Vec<_> = cell.split_ascii_whitespace().map(quoted).collect();
            format!("[{}]", words.join(", "))
        }
        _ => quoted(cell),
    }
}
