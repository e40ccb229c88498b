//! What there was to be said of a table, kept beside it: an index that is found again says the same.

use std::sync::Arc;

use crate::config::{Diagnostic, Place, Severity, SourceFile};

use super::numbers::{Reader, push_number, push_text};

/// One warning of the table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::directory) struct Report {
    id: &'static str,
    message: String,
    help: Option<String>,
    /// Octets of the table, as it was.
    span: Option<(u32, u32)>,
}

impl Report {
    /// `None` for what is not kept: errors, and what the table does not say.
    pub(in crate::directory) fn of(diagnostic: &Diagnostic) -> Option<Self> {
        let id = known(diagnostic.id)?;
        if diagnostic.severity == Severity::Error {
            return None;
        }
        let span = diagnostic.labels.first().map(|label| label.place.span());
        Some(Self {
            id,
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            span: match span {
                Some(span) => Some((span.start.try_into().ok()?, span.end.try_into().ok()?)),
                None => None,
            },
        })
    }

    /// Says it again, of the same table.
    pub(in crate::directory) fn diagnostic(self, file: &Arc<SourceFile>) -> Diagnostic {
        let place = |(start, end)| Place::new(file, start as usize..end as usize);
        Diagnostic {
            help: self.help,
            ..Diagnostic::warning(self.id, self.message).at_maybe(self.span.map(place).as_ref(), "")
        }
    }

    pub(super) fn push(&self, octets: &mut Vec<u8>) {
        push_text(octets, self.id);
        push_text(octets, &self.message);
        push_text(octets, self.help.as_deref().unwrap_or(""));
        push_number(octets, u32::from(self.span.is_some()));
        let (start, end) = self.span.unwrap_or_default();
        push_number(octets, start);
        push_number(octets, end);
    }

    /// `None` if these are no reports.
    pub(super) fn read_all(octets: &[u8]) -> Option<Vec<Self>> {
        let mut reader = Reader::at(octets, 0);
        let mut reports = Vec::new();
        while !reader.is_at_end() {
            let (id, message) = (known(reader.text()?)?, reader.text()?.to_owned());
            let help = Some(reader.text()?.to_owned()).filter(|help| !help.is_empty());
            let is_placed = reader.number()? == 1;
            let span = (reader.number()?, reader.number()?);
            reports.push(Self {
                id,
                message,
                help,
                span: is_placed.then_some(span),
            });
        }
        Some(reports)
    }
}

fn known(id: &str) -> Option<&'static str> {
    IDS.iter().find(|known| **known == id).copied()
}

/// The warnings of a table.
const IDS: &[&str] = &["odd-row", "bad-rows"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_said_again_as_they_were() {
        let file = Arc::new(SourceFile {
            path: "directory.csv".into(),
            text: "a\nbcd\n".into(),
        });
        let odd = Diagnostic::warning("odd-row", "a name").at(&Place::line_of(&file, 2), "");
        let all = [odd.help("mend it"), Diagnostic::warning("bad-rows", "more")];
        let mut octets = Vec::new();
        for diagnostic in &all {
            Report::of(diagnostic).unwrap().push(&mut octets);
        }
        let read = Report::read_all(&octets).unwrap().into_iter();
        let said: Vec<_> = read.map(|report| report.diagnostic(&file)).collect();
        assert_eq!(said, all);
        assert!(Report::of(&Diagnostic::error("bad-row", "x")).is_none());
        assert!(Report::read_all(&octets[1..]).is_none());
    }
}
