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
        return Some((build(csv.file(diagnostics)?, stop, diagnostics), None));
    };
    if let Ok(key) = file::key_of(key_maker(stop), &csv.path)
        && let Some(index) = file::open(&cache.folder, &key)
    {
        say_again(&index, csv, diagnostics);
        return Some((index, Some((cache.folder.clone(), key))));
    }
    let file = csv.file(diagnostics)?;
    let (octets, key) = compile(file, stop, diagnostics);
    let kept = key.filter(|_| cache.keep);
    let kept = kept.and_then(|key| Some((keep(&octets, &key, cache)?, key)));
    Some(match kept {
        Some((index, key)) => (index, Some((cache.folder.clone(), key))),
        None => (in_memory(octets, file, diagnostics), None),
    })
}

/// Builds an index in memory, and says what is wrong with the table.
pub(super) fn build(file: &Arc<SourceFile>, stop: &StopWords, diagnostics: &Diagnostics) -> Index {
    let (octets, _) = compile(file, stop, diagnostics);
    in_memory(octets, file, diagnostics)
}

/// The octets of an index, none if the table is too large for one. The key is there if they may be
/// found again: a table with errors is not put in force.
fn compile(
    file: &Arc<SourceFile>,
    stop: &StopWords,
    diagnostics: &Diagnostics,
) -> (Vec<u8>, Option<Key>) {
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
    (octets.unwrap_or_default(), may_be_kept.then_some(key))
}

fn in_memory(octets: Vec<u8>, file: &SourceFile, diagnostics: &Diagnostics) -> Index {
    Index::from_memory(octets).unwrap_or_else(|| {
        let message = format!("{} has more than an index can hold", file.path.display());
        diagnostics.push(Diagnostic::error("too-large", message));
        Index::empty()
    })
}

/// Puts an index into a file and maps it. Where that fails, it stays in memory.
fn keep(octets: &[u8], key: &Key, cache: &Cache) -> Option<Index> {
    let folder = &cache.folder;
    if let Err(error) = file::write(folder, key, octets) {
        tracing::warn!(folder = %folder.display(), %error, "the index of the directory cannot be kept");
        return None;
    }
    file::open_written(folder, key, octets)
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
