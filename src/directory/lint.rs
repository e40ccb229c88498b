//! `postern directory lint`: mailboxes that nobody looks after, and names that will lead astray.
//!
//! Nothing here keeps the directory from being used: each finding is a warning, with what mends it.
//! What does keep it from being used (loops, a name with two targets) is found by `check`, each time
//! the files are read. The numbers are NHSmail's (`domain.md` §8).

mod mailboxes;
mod names;

use jiff::civil::Date;

use crate::config::{Diagnostic, Diagnostics, Severity};

use super::Directory;
use super::entry::Entry;
use super::findings::Findings;
use super::sources::{Sources, Texts};

/// One look at a directory on one day.
struct Lint<'l> {
    directory: &'l Directory,
    texts: Texts,
    on: Date,
    findings: Findings<'l>,
}

impl Directory {
    /// What is worth knowing of the directory on a day. `sources` is what it was read from.
    pub fn lint_on(&self, sources: &Sources, on: Date) -> Vec<Diagnostic> {
        let diagnostics = Diagnostics::default();
        let lint = Lint {
            directory: self,
            texts: Texts::of(sources),
            on,
            findings: Findings::new(&diagnostics),
        };
        lint.mailboxes();
        lint.names();
        lint.findings.close();
        diagnostics.into_vec()
    }
}

impl Lint<'_> {
    /// Says something of a row of `directory.csv`.
    fn of_row(&self, id: &'static str, entry: &Entry, message: String, help: &str) {
        let place = || self.texts.row(entry.line);
        self.findings
            .push(Severity::Warning, id, message, place, help);
    }

    /// Says something of a line of `aliases.toml` or `redirects.csv`.
    fn of_line(&self, id: &'static str, line: usize, message: String, help: &str) {
        let place = || self.texts.place(&self.directory.aliases, line);
        self.findings
            .push(Severity::Warning, id, message, place, help);
    }
}

#[cfg(test)]
mod tests;
