//! `postern secure-domains`: takes a new accredited list over.
//!
//! An import says every bad row and what would change. It writes nothing with a bad row, and nothing that
//! takes too large a share of the domains out unless `--confirm` is given: a list that was cut off would
//! hold the mail of whoever is missing.

use std::io::Write;
use std::path::Path;

use jiff::civil::Date;
use serde_json::json;

use crate::config::replace;
use crate::config::text::read_text;
use crate::policy::Policy;
use crate::policy::secure_domains::accredited::{Difference, Prepared, Row, prepare};

use super::answer::{Answer, CommandError, json_line, printable};
use super::cli::SecureDomainsImport;

/// Prepares an import, says what it is, and writes it if nothing stands against it. The answer is no if
/// something does. Blocks: on the files.
pub fn import(
    asked: &SecureDomainsImport,
    policy: &Policy,
    today: Date,
    json: bool,
    out: &mut impl Write,
) -> Result<Answer, CommandError> {
    let Some(path) = policy.accredited_file() else {
        writeln!(
            out,
            "no file for the list is named: write accredited-domains = \"secure-domains.csv\" under [files] in postern.toml"
        )?;
        return Ok(Answer::No);
    };
    let in_force = read(path)?;
    let prepared = prepare(&in_force, &read(&asked.file)?, today);
    let limit = policy.secure_domains().import.confirm_over_percent;
    let outcome = outcome(&prepared, asked, limit);
    if outcome == Outcome::Written {
        if read(path)? != in_force {
            let error = std::io::Error::other("it has changed meanwhile: import again");
            return Err(CommandError::file(path, error));
        }
        replace(path, &prepared.text).map_err(|error| CommandError::file(path, error))?;
    }
    say(&prepared, outcome, path, json, out)?;
    let refused = matches!(outcome, Outcome::BadRows | Outcome::Unconfirmed);
    Ok(Answer::yes_if(!refused))
}

fn read(path: &Path) -> Result<String, CommandError> {
    read_text(path).map_err(|error| CommandError::file(path, error))
}

/// What comes of an import.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    BadRows,
    Unconfirmed,
    DryRun,
    NothingToDo,
    Written,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::BadRows => "bad-rows",
            Self::Unconfirmed => "unconfirmed",
            Self::DryRun => "dry-run",
            Self::NothingToDo => "nothing-to-do",
            Self::Written => "written",
        }
    }

    fn sentence(self, path: &Path) -> String {
        match self {
            Self::BadRows => "nothing was written: mend these rows first".to_owned(),
            Self::Unconfirmed => {
                "nothing was written: so many domains are taken out that it must be confirmed; \
                look at it with --dry-run, then say --confirm"
                    .to_owned()
            }
            Self::DryRun => "nothing was written: this was a dry run".to_owned(),
            Self::NothingToDo => "nothing to do: the list says this already".to_owned(),
            Self::Written => format!("written: {}", path.display()),
        }
    }
}

fn outcome(prepared: &Prepared, asked: &SecureDomainsImport, limit_percent: f64) -> Outcome {
    if !prepared.bad.is_empty() {
        Outcome::BadRows
    } else if prepared.shrinks_by_percent() > limit_percent && !asked.confirm {
        Outcome::Unconfirmed
    } else if asked.dry_run {
        Outcome::DryRun
    } else if prepared.differences.is_empty() {
        Outcome::NothingToDo
    } else {
        Outcome::Written
    }
}

fn say(
    prepared: &Prepared,
    outcome: Outcome,
    path: &Path,
    json: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let share = prepared.shrinks_by_percent();
    if json {
        for difference in &prepared.differences {
            json_line(&json!({ "difference": difference }), out)?;
        }
        return json_line(
            &json!({ "outcome": outcome.word(), "bad_rows": prepared.bad, "notes": prepared.notes,
                "before": prepared.before, "taken_out_percent": share }),
            out,
        );
    }
    for line in &prepared.bad {
        writeln!(out, "bad row: {}", printable(line))?;
    }
    for difference in &prepared.differences {
        writeln!(out, "  {}", printable(&line(difference)))?;
    }
    for note in &prepared.notes {
        writeln!(out, "{}", printable(note))?;
    }
    writeln!(
        out,
        "{} changes to {} domains, {share:.1} % taken out",
        prepared.differences.len(),
        prepared.before
    )?;
    writeln!(out, "{}", outcome.sentence(path))
}

fn line(difference: &Difference) -> String {
    let said = |row: &Row| format!("{} {} until {}", row.owner, row.ods_code, row.valid_until);
    match difference {
        Difference::Added { domain, row } => format!("+ {domain}  {}", said(row)),
        Difference::Removed { domain } => format!("- {domain}"),
        Difference::Changed { domain, was, row } => {
            format!("~ {domain}  {} → {}", said(was), said(row))
        }
    }
}
