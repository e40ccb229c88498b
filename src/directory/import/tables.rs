//! Postern's own tables in TOML: `[[mailbox]]`, with the columns of `directory.csv` as keys, and
//! `[[alias]]`, `[[rename]]` and `[[successor]]` as in `aliases.toml`.
//!
//! A file is the whole of what it has a table of: one without `[[mailbox]]` leaves the mailboxes alone.

use std::sync::Arc;

use crate::config::{Diagnostics, Section, SourceFile, read_toml};
use crate::directory::aliases::Lines;
use crate::directory::cells::Wrong;
use crate::directory::{redirects, table};

use super::bad::{BadRow, Walk};
use super::draft::Draft;
use super::postern::Whole;
use super::sheet::Cells;

/// Takes all tables of a file into the draft.
pub(super) fn read(walk: &mut Walk<'_>, whole: &mut Whole, draft: &mut Draft) {
    let file = Arc::clone(walk.file);
    let diagnostics = Diagnostics::default();
    let lines = Lines::of(&file);
    let path = file.path.display().to_string();
    let (before, mut known) = (walk.bad.len(), 0);
    read_toml(&file, &diagnostics, |top| {
        for section in top.sections("mailbox") {
            whole.begin_mailboxes();
            let line = lines.line(Some(section.place()));
            let source = format!("{path}:{line}");
            let taken = mailbox(&section).map(|cells| whole.mailbox(cells, &source, draft));
            if let Some(Err(wrong)) = taken {
                known += 1;
                walk.bad(line, &wrong, None);
            }
            section.finish();
        }
        for (table, because, date) in TABLES {
            for section in top.sections(table) {
                whole.begin_redirects();
                let line = lines.line(Some(section.place()));
                let source = format!("{path}:{line}");
                let taken = redirect(&section, because, date).map(|cells| {
                    let cells = cells?;
                    whole.redirect(cells, &source, draft)
                });
                if let Some(Err(wrong)) = taken {
                    walk.bad(line, &wrong, None);
                }
                section.finish();
            }
        }
    });
    for diagnostic in diagnostics.into_vec() {
        let place = diagnostic.labels.first().map(|label| &label.place);
        walk.bad.push(BadRow {
            file: path.clone(),
            line: lines.line(place).max(1),
            column: None,
            field: None,
            reason: diagnostic.message,
            help: "mend the key or take it out",
        });
    }
    whole.note_bad(walk.bad.len() - before, known);
    (walk.progress)(length(&file));
}

fn length(file: &SourceFile) -> u64 {
    u64::try_from(file.text.len()).unwrap_or(u64::MAX)
}

/// The cells of a `[[mailbox]]`: text, but for dates, yes and no, the number and the linked accounts.
/// `None` if one of them cannot be read: that is reported, and the mailbox is not taken without it.
fn mailbox(section: &Section<'_>) -> Option<Cells> {
    let mut cells: Vec<(&str, String)> = Vec::new();
    let mut whole = true;
    for column in table::COLUMNS {
        let text = match *column {
            "status_date" | "last_verified" => section.date(column).map(|date| date.to_string()),
            "accepts_patient_data" | "do_not_send" => {
                let flag = section.flag(column);
                flag.map(|flag| if *flag { "yes" } else { "no" }.to_owned())
            }
            "approved_links" => {
                let number = section.integer(column, 0..=i64::from(u32::MAX));
                number.map(|number| number.to_string())
            }
            "linked" => section.strings(column).map(|words| {
                let words: Vec<_> = words.iter().map(|word| word.as_str()).collect();
                words.join(" ")
            }),
            _ => section.string(column).map(|text| text.trim().to_owned()),
        };
        match text {
            Some(text) => cells.push((column, text)),
            None => whole &= !section.has(column),
        }
    }
    let cells: Vec<_> = cells
        .iter()
        .map(|(column, text)| (*column, text.as_str()))
        .collect();
    whole.then(|| Cells::new(&table::SCHEMA, &cells))
}

/// The cells of a redirect; `None` as above. One that tells instead of forwarding belongs into
/// `aliases.toml`.
fn redirect(section: &Section<'_>, because: &str, date: &str) -> Option<Result<Cells, Wrong>> {
    let text = |key: &str| {
        section
            .string(key)
            .map_or_else(String::new, |text| text.to_string())
    };
    let (from, to, note) = (text("from"), text("to"), text("note"));
    let since = section.date(date);
    if since.is_none() && section.has(date) {
        return None;
    }
    let since = since.map_or_else(String::new, |date| date.to_string());
    let mut confirmed = String::new();
    if because == "successor" {
        confirmed = text("confirmed-by");
        if section
            .string("then")
            .is_some_and(|then| *then != "forward")
        {
            let reason = "a successor that is only told of stands in aliases.toml";
            return Some(Err(Wrong::row(reason.to_owned())));
        }
    }
    let cells = [
        ("from", from.as_str()),
        ("to", &to),
        ("because", because),
        ("since", &since),
        ("confirmed_by", &confirmed),
        ("note", &note),
    ];
    Some(Ok(Cells::new(&redirects::SCHEMA, &cells)))
}

/// The tables of redirects: their name, why they lead elsewhere, and what their date is called.
pub(super) const TABLES: [(&str, &str, &str); 3] = [
    ("alias", "alias", "since"),
    ("rename", "renamed", "date"),
    ("successor", "successor", "date"),
];
