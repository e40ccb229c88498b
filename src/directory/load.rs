//! How the table of mailboxes becomes an index: found, or built.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ScopedJoinHandle;

use crate::config::{Diagnostic, Diagnostics, SourceFile};

use super::Cache;
use super::agreement::StopWords;
use super::aliases::Aliases;
use super::index::{Builder, Index, Key, Made, Report, file, key_maker};
use super::sources::{Csv, Files, Texts};
use super::table::Table;

/// What the files gave.
pub(super) struct Loaded {
    pub(super) texts: Texts,
    pub(super) aliases: Aliases,
    pub(super) index: Index,
    /// Where the index is mapped from, and its key.
    pub(super) kept: Option<(PathBuf, Key)>,
}

/// Reads the files. `None` if one cannot be read; all are tried, so that all are reported.
pub(super) fn read(
    files: &Files,
    cache: Option<&Cache>,
    diagnostics: &Diagnostics,
) -> Option<Loaded> {
    // What is kept compiled has changed, or else this is the start: it will be needed whole.
    let whole = cache.is_none_or(|cache| cache.keep);
    let (mailboxes, rest) = mailboxes_and(&files.mailboxes, whole, diagnostics, || {
        let texts = Texts::load(files, diagnostics)?;
        let aliases = texts.read_aliases(diagnostics);
        Some((texts, aliases))
    });
    let Some((mut texts, aliases)) = rest else {
        let _ = mailboxes.file(diagnostics);
        return None;
    };
    texts.mailboxes = mailboxes;
    let (index, kept) = index(&texts.mailboxes, &aliases.stop_words, cache, diagnostics)?;
    Some(Loaded {
        texts,
        aliases,
        index,
        kept,
    })
}

/// Reads the table of mailboxes for its digest, and whole if that is needed, while something else is
/// done. What is wrong with the table is said after what is wrong elsewhere.
fn mailboxes_and<T>(
    path: &Path,
    whole: bool,
    diagnostics: &Diagnostics,
    other: impl FnOnce() -> T,
) -> (Csv, T) {
    let ((csv, said), other) = std::thread::scope(|scope| {
        let csv = scope.spawn(|| Csv::load(path, whole));
        let other = other();
        (joined(csv), other)
    });
    for diagnostic in said {
        diagnostics.push(diagnostic);
    }
    (csv, other)
}

/// The index of a table and, if it is mapped, from which folder and with which key. `None` if the
/// table cannot be read.
fn index(
    csv: &Csv,
    stop: &StopWords,
    cache: Option<&Cache>,
    diagnostics: &Diagnostics,
) -> Option<(Index, Option<(PathBuf, Key)>)> {
    let Some(cache) = cache else {
        return Some((build(csv, stop, diagnostics)?, None));
    };
    let key = csv.digest().map(|digest| key_maker(stop).finish(digest));
    if let Some(key) = key
        && let Some(index) = file::open(&cache.folder, &key)
    {
        say_again(&index, csv, diagnostics);
        return Some((index, Some((cache.folder.clone(), key))));
    }
    if !cache.keep {
        // The text may be newer than the digest, so it has no key.
        return Some((build(csv, stop, diagnostics)?, None));
    }
    let file = csv.file(diagnostics)?;
    let (made, may_be_kept) = compile(file, stop, &key.unwrap_or_default(), diagnostics);
    let key = key.filter(|_| may_be_kept);
    let kept = key.and_then(|key| Some((keep(made.as_ref()?, &key, cache)?, key)));
    Some(match kept {
        Some((index, key)) => (index, Some((cache.folder.clone(), key))),
        None => (in_memory(made, file, diagnostics), None),
    })
}

/// Does something on a thread of low priority, as are those that it starts. A thread of its own, for
/// priority cannot be taken back.
pub(super) fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        // Of this thread alone: so does Linux read it. If it fails, the priority stays as it is.
        let _ = rustix::process::setpriority_process(None, NICE);
        work()
    };
    std::thread::scope(|scope| joined(scope.spawn(work)))
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Builds an index in memory, and says what is wrong with the table. `None` if that cannot be read.
pub(super) fn build(csv: &Csv, stop: &StopWords, diagnostics: &Diagnostics) -> Option<Index> {
    let file = csv.file(diagnostics)?;
    let (made, _) = compile(file, stop, &Key::default(), diagnostics);
    Some(in_memory(made, file, diagnostics))
}

/// Makes an index, `None` if the table is too large for one; and says whether it may be found again: a
/// table with errors is not put in force.
fn compile(
    file: &Arc<SourceFile>,
    stop: &StopWords,
    key: &Key,
    diagnostics: &Diagnostics,
) -> (Option<Made>, bool) {
    let said = Diagnostics::default();
    let lines = memchr::memchr_iter(b'\n', file.text.as_bytes()).count();
    let mut builder = Builder::new(stop, lines);
    Table::read_each(file, &said, &mut |entry| builder.add(entry));
    let said = said.into_vec();
    let reports: Option<Vec<Report>> = said.iter().map(Report::of).collect();
    for diagnostic in said {
        diagnostics.push(diagnostic);
    }
    let may_be_kept = reports.is_some();
    let made = builder.finish(key, &reports.unwrap_or_default());
    (made, may_be_kept)
}

fn in_memory(made: Option<Made>, file: &SourceFile, diagnostics: &Diagnostics) -> Index {
    made.and_then(Index::from_memory).unwrap_or_else(|| {
        let message = format!("{} has more than an index can hold", file.path.display());
        diagnostics.push(Diagnostic::error("too-large", message));
        Index::empty()
    })
}

/// Puts an index into a file and maps it. Where that fails, it stays in memory.
fn keep(made: &Made, key: &Key, cache: &Cache) -> Option<Index> {
    let folder = &cache.folder;
    match file::write(folder, key, made) {
        Ok(sum) => file::open_written(folder, key, &sum),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the index of the directory cannot be kept");
            None
        }
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

/// The priority of a thread that mail does not wait for, as `nice` counts.
const NICE: i32 = 10;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Diagnostics;
    use crate::directory::{Cache, Completeness, Directory, Files, Served};

    const CSV: &str = "address,kind,status,ods_code,organisation,street,town,display_name,postcode,mobile\n\
        pharmacy.fa001@nhs.net,pharmacy,active,FA001,Aldermans Pharmacy,1 Hill,Palmers Green,,N13 4PJ,\n\
        pharmacy.fa002@nhs.net,pharmacy,closed,FA002,Aldermans Pharmacy,,Luton,,LU1 1AA,\n\
        jo.bell@nhs.net,personal,active,FA001,Aldermans,,,\"BELL, Jo\",,07700 900123\n";

    fn load(folder: &Path, keep: bool) -> (Directory, Vec<String>) {
        let files = Files {
            aliases: folder.join("aliases.toml"),
            mailboxes: folder.join("directory.csv"),
            redirects: None,
        };
        let cache = Cache {
            folder: folder.join("index"),
            keep,
        };
        let served = [Served {
            domain: "nhs.net".parse().unwrap(),
            completeness: Completeness::Complete,
        }];
        let said = Diagnostics::default();
        let directory = Directory::load_cached(&files, Some(&cache), &served, false, &said);
        let said = said.into_vec().into_iter();
        let said = said.map(|one| format!("{} {}", one.labels[0].place, one.message));
        (directory.unwrap(), said.collect())
    }

    fn indexes(folder: &Path) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(folder.join("index"))
            .into_iter()
            .flatten();
        files.map(|file| file.unwrap().path()).collect()
    }

    #[test]
    fn an_index_is_kept_used_again_rebuilt_when_broken_and_removed_when_older() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("aliases.toml"), "").unwrap();
        std::fs::write(folder.join("directory.csv"), CSV).unwrap();
        let (in_memory, said) = load(folder, false);
        assert!(indexes(folder).is_empty() && said.len() == 1, "{said:?}");
        assert_eq!(load(folder, true).1, said);
        let kept = indexes(folder);
        let (mapped, again) = load(folder, false);
        assert_eq!((kept.len(), &again), (1, &said));
        let all = |directory: &Directory| format!("{:?}", directory.entries().collect::<Vec<_>>());
        assert_eq!(all(&mapped), all(&in_memory));

        let mut octets = std::fs::read(&kept[0]).unwrap();
        let middle = octets.len() / 2;
        octets[middle] ^= 1;
        std::fs::remove_file(&kept[0]).unwrap(); // one that is mapped is not written to
        std::fs::write(&kept[0], octets).unwrap();
        assert_eq!(load(folder, true).1, said);
        assert_eq!(all(&load(folder, false).0), all(&in_memory));

        let more = format!("{CSV}pharmacy.fa003@nhs.net,pharmacy,active,FA003,New,,,,,\n");
        std::fs::write(folder.join("directory.csv"), more).unwrap();
        let (changed, _) = load(folder, true);
        assert_eq!((changed.len(), indexes(folder).len()), (4, 2));
        changed.remove_older();
        assert_eq!(indexes(folder).len(), 1);
        assert_eq!(
            all(&mapped),
            all(&in_memory),
            "who has the older one keeps it"
        );
    }

    #[test]
    fn people_and_places_are_found_by_parts_and_with_slips() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("aliases.toml"), "").unwrap();
        std::fs::write(folder.path().join("directory.csv"), CSV).unwrap();
        let (directory, _) = load(folder.path(), false);
        let (first, second, jo) = ("pharmacy.fa001", "pharmacy.fa002", "jo.bell");
        for (query, expected) in [
            ("fa001", vec![first, jo]),
            ("PHARMACY.FA002@nhs.net", vec![second]),
            ("jo.bell@nhs", vec![jo]),
            ("bell, jo", vec![jo]),
            ("alder green", vec![first, jo]),
            ("aldermnas luton", vec![second]),
            ("lu1 1aa", vec![second]),
            ("LU11AA", vec![second]),
            ("derman", vec![first, jo, second]),
            ("bell luton", vec![]),
            ("900123", vec![]),
            ("07700", vec![]),
            ("", vec![]),
        ] {
            let found = directory.search(query, 9).into_iter();
            let found: Vec<_> = found
                .map(|one| one.entry.address.local_part().as_str().to_owned())
                .collect();
            assert_eq!(found, expected, "{query}");
        }
        assert_eq!(directory.search("aldermans", 1).len(), 1);
        assert!(directory.search("aldermans", 0).is_empty());
    }
}
