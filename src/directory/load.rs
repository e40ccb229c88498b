//! How the table of mailboxes becomes an index: found, or built.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, SourceFile};

use super::Cache;
use super::agreement::StopWords;
use super::index::{Builder, Index, Key, Report, file, key_maker};
use super::sources::Csv;
use super::table::Table;

/// The index of a table and, if it is mapped, from which folder and with which key. `None` if the
/// table cannot be read.
pub(super) fn index(
    csv: &Csv,
    stop: &StopWords,
    cache: Option<&Cache>,
    diagnostics: &Diagnostics,
) -> Option<(Index, Option<(PathBuf, Key)>)> {
    let Some(cache) = cache else {
        return Some((build(csv.file(diagnostics)?, stop, diagnostics).0, None));
    };
    if let Ok(key) = file::key_of(key_maker(stop), &csv.path)
        && let Some(index) = file::open(&cache.folder, &key)
    {
        say_again(&index, csv, diagnostics);
        return Some((index, Some((cache.folder.clone(), key))));
    }
    let (index, key) = build(csv.file(diagnostics)?, stop, diagnostics);
    let Some(key) = key.filter(|_| cache.keep) else {
        return Some((index, None));
    };
    Some(keep(index, key, cache))
}

/// Builds an index in memory, and says what is wrong with the table. The key is there if the index
/// may be found again: a table with errors is not put in force.
pub(super) fn build(
    file: &Arc<SourceFile>,
    stop: &StopWords,
    diagnostics: &Diagnostics,
) -> (Index, Option<Key>) {
    let mut key = key_maker(stop);
    key.add(file.text.as_bytes());
    let key = key.finish();
    let (mut builder, said) = (Builder::new(stop), Diagnostics::default());
    Table::read_each(file, &said, &mut |entry| builder.add(entry));
    let said = said.into_vec();
    let reports: Option<Vec<Report>> = said.iter().map(Report::of).collect();
    for diagnostic in said {
        diagnostics.push(diagnostic);
    }
    let may_be_kept = reports.is_some();
    let octets = builder.finish(&key, &reports.unwrap_or_default());
    if let Some(index) = octets.and_then(Index::from_memory) {
        return (index, may_be_kept.then_some(key));
    }
    let message = format!("{} has more than an index can hold", file.path.display());
    diagnostics.push(Diagnostic::error("too-large", message));
    (Index::empty(), None)
}

/// Puts an index into a file and maps it. Where that fails, it stays in memory.
fn keep(index: Index, key: Key, cache: &Cache) -> (Index, Option<(PathBuf, Key)>) {
    let folder = &cache.folder;
    if let Err(error) = file::write(folder, &key, index.octets()) {
        tracing::warn!(folder = %folder.display(), %error, "the index of the directory cannot be kept");
        return (index, None);
    }
    match file::open(folder, &key) {
        Some(mapped) => (mapped, Some((folder.clone(), key))),
        None => (index, None),
    }
}

fn say_again(index: &Index, csv: &Csv, diagnostics: &Diagnostics) {
    let reports = index.reports();
    if reports.is_empty() {
        return;
    }
    if let Some(file) = csv.file(diagnostics) {
        for report in reports {
            diagnostics.push(report.diagnostic(file));
        }
    }
}
