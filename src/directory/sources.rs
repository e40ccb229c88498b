//! The files that a directory is read from.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::{Diagnostic, Diagnostics, Place, SourceFile, read_source, read_toml};

use super::aliases::Aliases;
use super::index::{self, Sum};
use super::redirects;

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
}

/// The texts as far as they had to be read.
#[derive(Debug)]
pub(super) struct Texts {
    aliases: Arc<SourceFile>,
    pub(super) mailboxes: Csv,
    redirects: Option<Arc<SourceFile>>,
}

impl Texts {
    pub(super) fn of(sources: &Sources) -> Self {
        Self {
            aliases: Arc::clone(&sources.aliases),
            mailboxes: Csv::of(&sources.mailboxes),
            redirects: sources.redirects.clone(),
        }
    }

    /// As [`Sources::load`], but for the table of mailboxes.
    pub(super) fn load(files: &Files, diagnostics: &Diagnostics) -> Option<Self> {
        let aliases = read_source(&files.aliases, diagnostics);
        let redirects = files.redirects.as_ref();
        let redirects = redirects.map(|path| read_source(path, diagnostics));
        Some(Self {
            aliases: aliases?,
            mailboxes: Csv::new(&files.mailboxes),
            redirects: match redirects {
                Some(redirects) => Some(redirects?),
                None => None,
            },
        })
    }

    pub(super) fn read_aliases(&self, diagnostics: &Diagnostics) -> Aliases {
        let mut aliases = read_toml(&self.aliases, diagnostics, Aliases::read);
        if let Some(file) = &self.redirects {
            redirects::read(&mut aliases, file, diagnostics);
        }
        aliases
    }

    /// The place of a line that [`Aliases`] counts: of `redirects.csv`, if it is past the other file.
    pub(super) fn place(&self, aliases: &Aliases, line: usize) -> Option<Place> {
        match (aliases.lines.appended_line(line), &self.redirects) {
            (Some(line), Some(file)) => Some(Place::line_of(file, line)),
            _ if line > 0 => Some(Place::line_of(&self.aliases, line)),
            _ => None,
        }
    }

    /// The place of a row of `directory.csv`; none if that has been taken away meanwhile.
    pub(super) fn row(&self, line: usize) -> Option<Place> {
        let file = self.mailboxes.file(&Diagnostics::default())?;
        Some(Place::line_of(file, line))
    }
}

/// `directory.csv`, which is read only if it has to be.
#[derive(Debug)]
pub(super) struct Csv {
    pub(super) path: PathBuf,
    file: OnceCell<Option<Arc<SourceFile>>>,
    digest: OnceCell<Option<Sum>>,
}

impl Csv {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: OnceCell::new(),
            digest: OnceCell::new(),
        }
    }

    /// Reads the file for its digest and, if it is needed whole, for its text; what is wrong with it
    /// is said then, or else when the text is asked for.
    pub(super) fn load(path: &Path, whole: bool) -> (Self, Vec<Diagnostic>) {
        let (csv, diagnostics) = (Self::new(path), Diagnostics::default());
        if whole {
            csv.file(&diagnostics);
        }
        csv.digest();
        (csv, diagnostics.into_vec())
    }

    pub(super) fn of(file: &Arc<SourceFile>) -> Self {
        Self {
            file: OnceCell::from(Some(Arc::clone(file))),
            ..Self::new(&file.path)
        }
    }

    /// SHA-256 of the text if that is here, else of the file, which is read once and not kept; of what
    /// was there when it was first asked for. `None` if that cannot be read.
    pub(super) fn digest(&self) -> Option<&Sum> {
        let read = || match self.file.get() {
            Some(file) => Some(Sha256::digest(file.as_ref()?.text.as_bytes()).into()),
            None => index::file::digest(&self.path).ok(),
        };
        self.digest.get_or_init(read).as_ref()
    }

    /// Its text; a failure is reported, once.
    pub(super) fn file(&self, diagnostics: &Diagnostics) -> Option<&Arc<SourceFile>> {
        let read = || read_source(&self.path, diagnostics);
        self.file.get_or_init(read).as_ref()
    }
}
