//! `postern directory`: imports and exports mailboxes, and says what is wrong with them.
//!
//! An import says every bad row, what would change and what it wrote. It writes nothing with a bad row
//! unless `--partial` is given, nothing that the gateway would refuse to load, and nothing that takes
//! too large a share of the addresses from their owners unless `--confirm` is given.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use serde_json::json;

use crate::base::private;
use crate::config::render::{Colour, Format, render};
use crate::config::{Diagnostic, Diagnostics, Severity, SourceFile};
use crate::directory::import::{self, Difference, Options, Prepared};
use crate::directory::{Directory, Files, Settings, Sources};

use super::answer::{Answer, CommandError, json_line, printable};
use super::cli::{DirectoryExport, DirectoryImport, ExportFormat, ImportFormat};

/// What the commands work on.
pub struct Desk<'d> {
    /// The directory in force.
    pub directory: &'d Directory,
    /// Its files.
    pub files: &'d Files,
    /// How it is looked after.
    pub settings: Settings,
    /// Today (UTC).
    pub today: Date,
    /// Whether answers are JSON.
    pub json: bool,
}

/// Prepares an import, says what it is, and writes it if nothing stands against it. The answer is no
/// if something does. Blocks: on the files.
pub fn import(
    asked: &DirectoryImport,
    desk: &Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let sources = sources(desk)?;
    let files = read(&asked.files)?;
    let bar = progress(&files);
    let prepared = import::prepare(
        &sources,
        &files,
        &Options {
            format: asked.format.map(format),
            today: desk.today,
            domain: asked.domain.clone(),
            progress: &|octets| bar.inc(octets),
        },
    );
    bar.finish_and_clear();
    say(&prepared, asked.dry_run, desk.json, out)?;
    let refusal = refusal(&prepared, asked, desk, &sources, out)?;
    let written = match refusal {
        None if !asked.dry_run && !prepared.is_empty() => {
            import::write(&prepared, desk.files, &sources)?
        }
        _ => Vec::new(),
    };
    sum_up(&prepared, refusal, &written, asked.dry_run, desk.json, out)?;
    Ok(Answer::yes_if(refusal.is_none()))
}

/// Why an import is not written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Refusal {
    BadRows,
    WouldNotLoad,
    Unconfirmed,
}

impl Refusal {
    fn word(self) -> &'static str {
        match self {
            Self::BadRows => "bad-rows",
            Self::WouldNotLoad => "would-not-load",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

fn refusal(
    prepared: &Prepared,
    asked: &DirectoryImport,
    desk: &Desk<'_>,
    sources: &Sources,
    out: &mut impl Write,
) -> io::Result<Option<Refusal>> {
    if !prepared.bad.is_empty() && !asked.partial {
        return Ok(Some(Refusal::BadRows));
    }
    let problems = prepared.problems(desk.directory, sources);
    if !problems.is_empty() {
        let format = match desk.json {
            true => Format::Json,
            false => Format::Human(Colour::of(&io::stdout())),
        };
        render(&problems, format, out)?;
        return Ok(Some(Refusal::WouldNotLoad));
    }
    let over = prepared.counts.share_percent() > desk.settings.confirm_over_percent;
    Ok((over && !asked.confirm).then_some(Refusal::Unconfirmed))
}

/// Bad rows and notes; and for a dry run every difference.
fn say(prepared: &Prepared, differences: bool, json: bool, out: &mut impl Write) -> io::Result<()> {
    for row in &prepared.bad {
        if json {
            json_line(&json!({ "bad_row": row }), out)?;
        } else {
            writeln!(out, "bad row: {}", printable(&row.sentence()))?;
            writeln!(out, "    {}", row.help)?;
        }
    }
    if differences {
        let shown = if json { usize::MAX } else { DIFFERENCES_SHOWN };
        for difference in prepared.differences.iter().take(shown) {
            match json {
                true => json_line(&json!({ "difference": difference }), out)?,
                false => write_difference(difference, out)?,
            }
        }
        let more = prepared.differences.len().saturating_sub(shown);
        if more > 0 {
            writeln!(out, "  … and {more} more; --json shows them all")?;
        }
    }
    if !json {
        for note in &prepared.notes {
            writeln!(out, "{}", printable(note))?;
        }
    }
    Ok(())
}

fn write_difference(difference: &Difference, out: &mut impl Write) -> io::Result<()> {
    let line = match difference {
        Difference::Added { address, what } => format!("+ {address}  {what}"),
        Difference::Removed { address } => format!("- {address}"),
        Difference::Changed { address, cells } => {
            let cells = cells.iter();
            let cells = cells.map(|cell| {
                let text = |text: &str| {
                    if text.is_empty() {
                        "(empty)".to_owned()
                    } else {
                        text.to_owned()
                    }
                };
                format!("{}: {} → {}", cell.column, text(&cell.old), text(&cell.new))
            });
            format!("~ {address}  {}", cells.collect::<Vec<_>>().join("; "))
        }
        Difference::Redirected {
            from,
            to,
            because,
            since,
        } => {
            let since = if since.is_empty() {
                String::new()
            } else {
                format!(" since {since}")
            };
            format!("> {from} → {to}  {because}{since}")
        }
        Difference::Unredirected { from, to } => format!("x {from} → {to} no more"),
    };
    writeln!(out, "  {}", printable(&line))
}

fn sum_up(
    prepared: &Prepared,
    refusal: Option<Refusal>,
    written: &[String],
    dry_run: bool,
    json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let counts = &prepared.counts;
    let share = counts.share_percent();
    if json {
        let outcome = match refusal {
            Some(refusal) => refusal.word(),
            None if dry_run => "dry-run",
            None if written.is_empty() => "nothing-to-do",
            None => "written",
        };
        return json_line(
            &json!({ "outcome": outcome, "bad_rows": prepared.bad.len(), "counts": counts,
                "share_percent": share, "notes": prepared.notes, "written": written }),
            out,
        );
    }
    writeln!(
        out,
        "{} mailboxes added, {} changed, {} taken out; {} names redirected, {} no more; \
         {} of {} addresses in use lost ({share:.1} %)",
        counts.added,
        counts.changed,
        counts.removed,
        counts.redirected,
        counts.unredirected,
        counts.lost,
        counts.before,
    )?;
    let sentence = match refusal {
        Some(Refusal::BadRows) => format!(
            "nothing was written: {} rows are bad; mend them, or take the others with --partial",
            prepared.bad.len()
        ),
        Some(Refusal::WouldNotLoad) => {
            "nothing was written: the gateway would not load this".to_owned()
        }
        Some(Refusal::Unconfirmed) => {
            "nothing was written: so many addresses are lost that it must be confirmed; \
             look at it with --dry-run, then say --confirm"
                .to_owned()
        }
        None if dry_run => "nothing was written: this was a dry run".to_owned(),
        None if written.is_empty() => "nothing to do: the directory says this already".to_owned(),
        None => format!("written: {}", written.join(", ")),
    };
    writeln!(out, "{sentence}")
}

/// Writes the mailboxes or the redirects out: to `out`, or into a new file for its owner alone.
pub fn export(
    asked: &DirectoryExport,
    desk: &Desk<'_>,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let sources = sources(desk)?;
    let text = match asked.format {
        ExportFormat::Toml => import::toml(&sources, asked.hidden),
        ExportFormat::Csv if asked.redirects => import::redirects_csv(&sources),
        ExportFormat::Csv => import::csv(&sources, asked.hidden),
    };
    let Some(path) = &asked.out else {
        out.write_all(text.as_bytes())?;
        return Ok(Answer::Done);
    };
    let write = || {
        let mut file = private::make_new(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| CommandError::file(path, error))?;
    if desk.json {
        json_line(&json!({ "written": path }), out)?;
    } else {
        writeln!(out, "written: {}", path.display())?;
    }
    Ok(Answer::Done)
}

/// Writes what is wrong with the directory, and a line that sums it up for people. The answer is no if
/// something keeps it from being used.
pub fn lint(
    diagnostics: &[Diagnostic],
    format: Format,
    out: &mut impl Write,
) -> io::Result<Answer> {
    render(diagnostics, format, out)?;
    let of = |severity| {
        let same = diagnostics.iter().filter(|one| one.severity == severity);
        same.count()
    };
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    if format != Format::Json {
        writeln!(
            out,
            "the directory has {errors} errors and {warnings} warnings"
        )?;
    }
    Ok(Answer::yes_if(errors == 0))
}

/// The texts in force. They were read a moment ago; one that is gone now is told of as any file is.
fn sources(desk: &Desk<'_>) -> Result<Sources, CommandError> {
    let diagnostics = Diagnostics::default();
    Sources::load(desk.files, &diagnostics).ok_or_else(|| {
        let said = diagnostics.into_vec();
        let said: Vec<_> = said.into_iter().map(|one| one.message).collect();
        CommandError::Io(io::Error::other(said.join("; ")))
    })
}

fn read(paths: &[std::path::PathBuf]) -> Result<Vec<Arc<SourceFile>>, CommandError> {
    let read = |path: &std::path::PathBuf| {
        import::read_file(Path::new(path)).map_err(|error| CommandError::file(path, error))
    };
    paths.iter().map(read).collect()
}

fn format(asked: ImportFormat) -> import::Format {
    match asked {
        ImportFormat::Postern => import::Format::Postern,
        ImportFormat::OdsPharmacy => import::Format::OdsPharmacy,
        ImportFormat::OdsPractice => import::Format::OdsPractice,
        ImportFormat::Changes => import::Format::Changes,
    }
}

/// How far the files are read, on the standard error stream; nothing if that is no terminal.
fn progress(files: &[Arc<SourceFile>]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let octets: usize = files.iter().map(|file| file.text.len()).sum();
    let bar = ProgressBar::new(u64::try_from(octets).unwrap_or(u64::MAX));
    if let Ok(style) =
        ProgressStyle::with_template("importing {wide_bar} {bytes}/{total_bytes} {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

/// Differences that people are shown.
const DIFFERENCES_SHOWN: usize = 40;
