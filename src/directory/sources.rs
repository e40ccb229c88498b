//! The files that a directory is read from.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Place, SourceFile, read_source};

use super::aliases::Aliases;

/// Where the files are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files {
    /// `aliases.toml`.
    pub aliases: PathBuf,
    /// `directory.csv`.
    pub mailboxes: PathBuf,
    /// `redirects.csv`, if the settings name one.
    pub redirects: Option<PathBuf>,
}

impl Files {
    /// Whether a diagnostic is about one of these files.
    pub fn are_meant_by(&self, diagnostic: &Diagnostic) -> bool {
        let label = diagnostic.labels.first();
        label.is_some_and(|label| {
            let path = &label.place.file().path;
            let mut files = [&self.aliases, &self.mailboxes]
                .into_iter()
                .chain(&self.redirects);
            files.any(|file| file == path)
        })
    }
}

/// The texts of the files.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `aliases.toml`.
    pub aliases: Arc<SourceFile>,
    /// `directory.csv`.
    pub mailboxes: Arc<SourceFile>,
    /// `redirects.csv`.
    pub redirects: Option<Arc<SourceFile>>,
}

impl Sources {
    /// Reads the files; `None` if one cannot be read. All are tried, so that all are reported.
    pub fn load(files: &Files, diagnostics: &Diagnostics) -> Option<Self> {
        let aliases = read_source(&files.aliases, diagnostics);
        let mailboxes = read_source(&files.mailboxes, diagnostics);
        let redirects = files.redirects.as_ref();
        let redirects = redirects.map(|path| read_source(path, diagnostics));
        Some(Self {
            aliases: aliases?,
            mailboxes: mailboxes?,
            redirects: match redirects {
                Some(redirects) => Some(redirects?),
                None => None,
            },
        })
    }

    /// The place of a line that [`Aliases`] counts: of `redirects.csv`, if it is past the other file.
    pub(super) fn place(&self, aliases: &Aliases, line: usize) -> Option<Place> {
        match (aliases.lines.appended_line(line), &self.redirects) {
            (Some(line), Some(file)) => Some(Place::line_of(file, line)),
            _ if line > 0 => Some(Place::line_of(&self.aliases, line)),
            _ => None,
        }
    }

    /// The place of a row of `directory.csv`.
    pub(super) fn row(&self, line: usize) -> Place {
        Place::line_of(&self.mailboxes, line)
    }
}
