//! What is found wrong in a directory of any size: of each kind the first few, the others counted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::config::{Diagnostic, Diagnostics, Place, Severity};

/// Collects diagnostics, few of each kind.
#[derive(Debug)]
pub(super) struct Findings<'f> {
    diagnostics: &'f Diagnostics,
    kinds: RefCell<BTreeMap<&'static str, KindOf>>,
}

impl<'f> Findings<'f> {
    pub(super) fn new(diagnostics: &'f Diagnostics) -> Self {
        Self {
            diagnostics,
            kinds: RefCell::default(),
        }
    }

    /// Adds one of a kind. Its place is looked for only if it is shown.
    pub(super) fn push(
        &self,
        severity: Severity,
        id: &'static str,
        message: String,
        place: impl FnOnce() -> Option<Place>,
        help: &str,
    ) {
        let mut kinds = self.kinds.borrow_mut();
        let kind = kinds.entry(id).or_insert(KindOf {
            severity,
            count: 0,
            first: None,
        });
        kind.count += 1;
        if kind.count > FEW {
            return;
        }
        let place = place();
        let diagnostic = Diagnostic {
            severity,
            ..Diagnostic::warning(id, message)
        };
        self.diagnostics
            .push(diagnostic.at_maybe(place.as_ref(), "").help(help));
        kind.first = kind.first.take().or(place);
    }

    /// Says how many more there are of each kind.
    pub(super) fn close(self) {
        for (id, kind) in self.kinds.into_inner() {
            if kind.count > FEW {
                let message = format!("there are {} more of these: {id}", kind.count - FEW);
                let summary = Diagnostic {
                    severity: kind.severity,
                    ..Diagnostic::warning(id, message)
                };
                self.diagnostics
                    .push(summary.at_maybe(kind.first.as_ref(), "the first"));
            }
        }
    }
}

/// How many there are of a kind.
#[derive(Debug)]
struct KindOf {
    severity: Severity,
    count: usize,
    first: Option<Place>,
}

/// Of each kind, how many are shown.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_kind_the_first_are_shown_and_the_others_counted() {
        let diagnostics = Diagnostics::default();
        let findings = Findings::new(&diagnostics);
        for number in 0..1_000 {
            let message = format!("number {number}");
            findings.push(Severity::Warning, "stale", message, || None, "look at it");
        }
        findings.push(
            Severity::Error,
            "loop",
            "a loop".to_owned(),
            || None,
            "cut it",
        );
        findings.close();
        let said = diagnostics.into_vec();
        assert_eq!(said.len(), FEW + 2);
        assert_eq!(said[FEW + 1].message, "there are 992 more of these: stale");
    }
}
