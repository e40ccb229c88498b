//! What is wrong with a file, as data: rendering is somebody else's work.

use std::cell::RefCell;

use super::located::Place;

/// One thing to say about a configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// A stable word for this kind of finding, such as `unknown-key`.
    pub id: &'static str,
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// One terse sentence, without a full stop.
    pub message: String,
    /// Where; the first is the primary one.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            id,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(id: &'static str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(id, message)
        }
    }

    /// Points at a place, with a word on it; the first label is the primary one.
    #[must_use]
    pub fn at(mut self, place: &Place, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            place: place.clone(),
            text: text.into(),
        });
        self
    }

    /// Points at a place if there is one.
    #[must_use]
    pub fn at_maybe(self, place: Option<&Place>, text: impl Into<String>) -> Self {
        match place {
            Some(place) => self.at(place, text),
            None => self,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Worth knowing; the configuration is used.
    Warning,
    /// The configuration is not used.
    Error,
}

/// A place in a file and a word on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// Why here; may be empty.
    pub text: String,
}

/// Collects diagnostics while files are read and checked, so that all arrive at once.
#[derive(Debug, Default)]
pub struct Diagnostics(RefCell<Vec<Diagnostic>>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.0
            .borrow()
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All of them, in the order found.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}
