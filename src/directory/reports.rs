//! What is wrong with a table of text: the first rows one by one, the others counted.

use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Place, Severity, SourceFile};

use super::cells::Wrong;

/// What is wrong with a table; so much of it as anyone would read.
#[derive(Debug)]
pub(super) struct Reports<'r> {
    file: &'r Arc<SourceFile>,
    diagnostics: &'r Diagnostics,
    count: usize,
    worst: Severity,
}

impl<'r> Reports<'r> {
    pub(super) fn new(file: &'r Arc<SourceFile>, diagnostics: &'r Diagnostics) -> Self {
        Self {
            file,
            diagnostics,
            count: 0,
            worst: Severity::Warning,
        }
    }

    /// Reports what keeps a table from being used.
    pub(super) fn error(&mut self, line: usize, message: String) {
        self.push(line, Diagnostic::error("bad-row", message));
    }

    /// Reports a bad row.
    pub(super) fn wrong(&mut self, line: usize, wrong: &Wrong) {
        let diagnostic = Diagnostic::error("bad-row", wrong.to_string());
        self.push(line, diagnostic.help(wrong.help()));
    }

    /// Reports what can hardly be meant.
    pub(super) fn warning(&mut self, line: usize, message: String) {
        self.push(line, Diagnostic::warning("odd-row", message));
    }

    fn push(&mut self, line: usize, diagnostic: Diagnostic) {
        self.count += 1;
        self.worst = self.worst.max(diagnostic.severity);
        if self.count <= REPORTS_MAX {
            self.diagnostics
                .push(diagnostic.at(&Place::line_of(self.file, line), ""));
        }
    }

    /// Says how many more there were.
    pub(super) fn close(&self) {
        if self.count > REPORTS_MAX {
            let message = format!(
                "{}: {} more rows are bad or odd",
                self.file.path.display(),
                self.count - REPORTS_MAX
            );
            let summary = Diagnostic::warning("bad-rows", message);
            self.diagnostics.push(Diagnostic {
                severity: self.worst,
                ..summary
            });
        }
    }
}

/// Rows reported one by one; the others are counted.
pub(super) const REPORTS_MAX: usize = 200;
