//! `postern directory import` and `export`: other people's tables, and Postern's own.
//!
//! An import is prepared in memory and checked whole before anything is written: [`prepare`] reads the
//! files into a draft of both tables, [`Prepared::problems`] reads the draft as the gateway would, and
//! [`write()`] puts it in the place of the old tables. Nothing of a file with a bad row is taken, unless
//! the administrator says so.

mod bad;
mod changes;
mod difference;
mod draft;
mod export;
mod ods;
mod organisations;
mod people;
mod postern;
mod sheet;
mod tables;
mod write;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;

use crate::config::text::{NotUtf8, is_utf16, without_mark};
use crate::config::{Diagnostic, Diagnostics, Severity, SourceFile};
use crate::mail::Domain;

use super::Directory;
use super::sources::Sources;

pub use bad::BadRow;
pub use difference::{CellChange, Counts, Difference};
pub use export::{csv, redirects_csv, toml};
pub use write::{WriteError, write};

use bad::Walk;
use draft::Draft;
use postern::Whole;

/// What a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Postern's own tables, in CSV or TOML.
    Postern,
    /// `edispensary.csv` of the Organisation Data Service.
    OdsPharmacy,
    /// `epraccur.csv` of the Organisation Data Service.
    OdsPractice,
    /// A change file: see `manual::directory_changes`.
    Changes,
}

/// How files are read.
pub struct Options<'o> {
    /// What the files are; `None` to look at each.
    pub format: Option<Format>,
    /// The day of the import (UTC).
    pub today: Date,
    /// Where the mailboxes of organisations are that a national file names.
    pub domain: Domain,
    /// Called with the number of octets that were read since the last call.
    pub progress: &'o dyn Fn(u64),
}

/// An import before it is written.
#[derive(Debug)]
pub struct Prepared {
    /// Rows that cannot be taken, file by file, each in the order of its lines.
    pub bad: Vec<BadRow>,
    /// Sentences for the administrator.
    pub notes: Vec<String>,
    /// What would change.
    pub differences: Vec<Difference>,
    /// How much that is.
    pub counts: Counts,
    /// `directory.csv` as it would be, if it changes.
    mailboxes: Option<String>,
    /// `redirects.csv` as it would be, if it changes.
    redirects: Option<String>,
}

/// Reads files, in the order given, into a draft of the directory.
pub fn prepare(current: &Sources, files: &[Arc<SourceFile>], options: &Options<'_>) -> Prepared {
    let mut bad = Vec::new();
    let mut draft = Draft::read(current, options.today, &mut bad);
    let before = draft.counts();
    let mut whole = Whole::default();
    for file in files {
        let first = bad.len();
        let mut walk = Walk {
            file,
            bad: &mut bad,
            progress: options.progress,
        };
        match options.format.unwrap_or_else(|| format_of(file)) {
            Format::Postern if is_toml(file) => tables::read(&mut walk, &mut whole, &mut draft),
            Format::Postern => whole.read(&mut walk, &mut draft),
            Format::OdsPharmacy => {
                ods::read(ods::File::Pharmacy, &options.domain, &mut walk, &mut draft);
            }
            Format::OdsPractice => {
                ods::read(ods::File::Practice, &options.domain, &mut walk, &mut draft);
            }
            Format::Changes => changes::read(&mut walk, &mut draft),
        }
        bad[first..].sort_by_key(|row| row.line);
    }
    whole.end(&mut draft);
    let (differences, counts) = difference::of(&draft, before.0 + before.1);
    let changed = |sheet: &sheet::Sheet| (!sheet.changes().is_empty()).then(|| sheet.text());
    Prepared {
        bad,
        notes: std::mem::take(&mut draft.notes),
        differences,
        counts,
        mailboxes: changed(&draft.mailboxes),
        redirects: changed(&draft.redirects),
    }
}

impl Prepared {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.mailboxes.is_none() && self.redirects.is_none()
    }

    /// The texts as they would be.
    pub fn sources(&self, current: &Sources) -> Sources {
        let text = |old: &Arc<SourceFile>, new: &Option<String>| match new {
            Some(text) => Arc::new(SourceFile {
                path: old.path.clone(),
                text: text.clone(),
            }),
            None => Arc::clone(old),
        };
        let redirects = current.redirects.as_ref();
        Sources {
            aliases: Arc::clone(&current.aliases),
            mailboxes: text(&current.mailboxes, &self.mailboxes),
            redirects: redirects.map(|file| text(file, &self.redirects)),
        }
    }

    /// Reads the draft as the gateway would, and returns the errors for which it would refuse it.
    pub fn problems(&self, directory: &Directory, current: &Sources) -> Vec<Diagnostic> {
        let diagnostics = Diagnostics::default();
        // What it says while it is read is all that is wanted of it.
        let _ = directory.reread(&self.sources(current), &diagnostics);
        let mut errors = diagnostics.into_vec();
        errors.retain(|one| one.severity == Severity::Error);
        errors
    }
}

/// Reads a file to import. What is no UTF-8 is read as Windows-1252, as spreadsheets write it.
///
/// # Errors
/// If it cannot be read; also if it is UTF-16.
pub fn read_file(path: &Path) -> std::io::Result<Arc<SourceFile>> {
    let octets = std::fs::read(path)?;
    if is_utf16(&octets) {
        return Err(NotUtf8::Utf16.into());
    }
    let text = match std::str::from_utf8(&octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            encoding_rs::WINDOWS_1252
                .decode_without_bom_handling(&octets)
                .0
        }
    };
    let text = without_mark(&text).to_owned();
    Ok(Arc::new(SourceFile {
        path: path.to_owned(),
        text,
    }))
}

/// What a file is, by its first row: a header of ours, or 27 columns without one.
fn format_of(file: &SourceFile) -> Format {
    if is_toml(file) {
        return Format::Postern;
    }
    let header = draft::header(file);
    let has = |column: &str| header.iter().any(|name| name == column);
    if has("change") {
        Format::Changes
    } else if header.len() == ods::COLUMNS && ods::is_of_pharmacies(&header) {
        Format::OdsPharmacy
    } else if header.len() == ods::COLUMNS {
        Format::OdsPractice
    } else {
        Format::Postern
    }
}

fn is_toml(file: &SourceFile) -> bool {
    file.path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("toml"))
}
