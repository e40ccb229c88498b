//! What a command answers, as an exit status and as tables that a terminal can show.

use std::io::{self, Write};
use std::process::ExitCode;

/// The answer of a command (`design.md` §4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Answer {
    /// Done, or yes: 0.
    Done,
    /// The answer is no: a check found errors, an address does not resolve: 1.
    No,
    /// Wrong usage: 2.
    Usage,
}

impl Answer {
    /// The worse of two: what several questions answered together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Usage, _) | (_, Self::Usage) => Self::Usage,
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Done, Self::Done) => Self::Done,
        }
    }

    /// [`Answer::Done`] if it is so, else [`Answer::No`].
    pub fn yes_if(so: bool) -> Self {
        if so { Self::Done } else { Self::No }
    }
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        Self::from(match answer {
            Answer::Done => 0,
            Answer::No => 1,
            Answer::Usage => 2,
        })
    }
}

/// Why a command could not answer at all. All of them end it with status 1 and a line on the
/// standard error stream.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The answer could not be written, or a file that was named could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A file that was named could not be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The certificates could not be made.
    #[error(transparent)]
    Certs(#[from] super::certs::CertsError),
    /// No key was made.
    #[error(transparent)]
    Dkim(#[from] super::dkim::DkimError),
    /// The account was not added.
    #[error(transparent)]
    AccountAdd(#[from] crate::accounts::AddError),
    /// The secret was not changed.
    #[error(transparent)]
    AccountRotate(#[from] crate::accounts::RotateError),
    /// The database of accounts could not be asked.
    #[error(transparent)]
    AccountsDb(#[from] crate::accounts::store::AccountsDbError),
    /// The secret that somebody chose could not be read.
    #[error(transparent)]
    Secret(#[from] crate::base::secret::SecretError),
    /// There is no such account, or it could not be disabled.
    #[error(transparent)]
    Account(#[from] crate::accounts::DisableError),
    /// No evidence was signed.
    #[error(transparent)]
    Evidence(#[from] super::evidence::EvidenceError),
    /// The queue could not do what was asked.
    #[error("{0}")]
    Queue(#[from] crate::queue::QueueError),
    /// The import was not written.
    #[error(transparent)]
    Import(#[from] crate::directory::import::WriteError),
    /// What is remembered of senders cannot be read or written.
    #[error("{0}")]
    Senders(#[from] crate::policy::senders::SenderStoreError),
    /// The list of those who want no text messages cannot be read or written.
    #[error("{0}")]
    Sms(String),
    /// No lesson was kept.
    #[error(transparent)]
    Lesson(#[from] crate::policy::spam::lessons::LessonError),
    /// No model was made.
    #[error(transparent)]
    Teach(#[from] crate::policy::spam::TeachError),
    /// The test message could not be sent.
    #[error(transparent)]
    Send(#[from] super::send::SendError),
}

impl CommandError {
    /// A file could not be read or written.
    pub fn file(path: &std::path::Path, error: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            error,
        }
    }

    /// Whether what was asked for is none of the things that can be asked for: wrong usage.
    pub fn is_usage(&self) -> bool {
        use super::send::SendError;
        use crate::accounts::AddError;
        matches!(
            self,
            Self::Send(SendError::Server(_)) | Self::AccountAdd(AddError::Bad { .. })
        )
    }
}

/// Rows under headings, each column as wide as its widest cell; the last one is not filled up.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: one cell for each heading. Cells are made safe to print.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes headings and rows; nothing at all if there are no rows.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let headings: Vec<String> = self
            .headings
            .iter()
            .map(|word| (*word).to_owned())
            .collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            writeln!(out, "{}", self.line(row).trim_end())?;
        }
        Ok(())
    }

    fn line(&self, row: &[String]) -> String {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(column, cell)| {
            let fill = self.width(column).saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(fill))
        });
        padded.collect::<Vec<_>>().join("  ")
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(self.headings.get(column).map_or(0, |word| word.len()))
    }
}

/// Text with every control character made visible: what a next hop said must not steer a terminal.
pub fn printable(text: &str) -> String {
    let dangerous = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    };
    let visible = text.chars().map(|c| match c {
        '\n' => "⏎".to_owned(),
        '\t' => " ".to_owned(),
        c if dangerous(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    });
    visible.collect()
}

/// Writes a value as one line of JSON.
pub fn json_line(value: &impl serde::Serialize, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headings() {
        let mut table = Table::new(&["reference", "to"]);
        table.row(["PX-1".into(), "a@b.example".into()]);
        table.row(["PX-7F3K2Q9A".into(), "é@c.example".into()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "reference    to\nPX-1         a@b.example\nPX-7F3K2Q9A  é@c.example\n"
        );
    }

    #[test]
    fn a_peer_cannot_steer_the_terminal() {
        assert_eq!(
            printable("550 \x1b[2Jgone\u{202e}\r\n"),
            "550 \\u{1b}[2Jgone\\u{202e}\\u{d}⏎"
        );
    }

    #[test]
    fn the_worse_of_two_answers_counts() {
        assert_eq!(Answer::Done.and(Answer::No), Answer::No);
        assert_eq!(Answer::Usage.and(Answer::No), Answer::Usage);
        assert_eq!(Answer::yes_if(true).and(Answer::Done), Answer::Done);
    }
}
