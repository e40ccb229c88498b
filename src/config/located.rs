//! Values that remember where they were written.
//!
//! A check made long after parsing can still point at the line. Two values are equal when they say
//! the same, wherever they stand: a mere reformat of a file is not a change.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;

/// A file that was read, with its text.
#[derive(Debug, Eq, PartialEq)]
pub struct SourceFile {
    /// The path as the user would write it.
    pub path: PathBuf,
    /// All of its text.
    pub text: String,
}

/// A place in a file: octets of its text.
#[derive(Clone, Eq, PartialEq)]
pub struct Place {
    file: Arc<SourceFile>,
    span: Range<usize>,
}

impl Place {
    /// The octets `span` of `file`, cut to what the file has.
    pub fn new(file: &Arc<SourceFile>, span: Range<usize>) -> Self {
        let end = span.end.min(file.text.len());
        Self {
            file: Arc::clone(file),
            span: span.start.min(end)..end,
        }
    }

    /// The whole of line `line` (from 1) of a file: for formats that know lines alone.
    pub fn line_of(file: &Arc<SourceFile>, line: usize) -> Self {
        let start = file
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        let length = file.text[start.min(file.text.len())..]
            .lines()
            .next()
            .map_or(0, str::len);
        Self::new(file, start..start + length)
    }

    /// The file.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The octets of the file's text.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.file.text.as_bytes()[..self.span.start]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        let before = &self.file.text[..self.span.start];
        before.rsplit('\n').next().unwrap_or(before).chars().count() + 1
    }
}

impl fmt::Display for Place {
    /// `policies/aliases.toml:12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.path.display(), self.line())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A value and where it was written.
#[derive(Clone)]
pub struct Located<T> {
    value: T,
    place: Option<Place>,
}

impl<T> Located<T> {
    /// A value that stands at `place`.
    pub fn at(value: T, place: Place) -> Self {
        Self {
            value,
            place: Some(place),
        }
    }

    /// A value that is written in no file: a default.
    pub fn built_in(value: T) -> Self {
        Self { value, place: None }
    }

    /// Where it stands; `None` for a default.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// `policies/aliases.toml:12`, or `built-in` for a default.
    pub fn source(&self) -> String {
        self.place
            .as_ref()
            .map_or_else(|| "built-in".to_owned(), Place::to_string)
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Located<U> {
        Located {
            value: change(self.value),
            place: self.place,
        }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl<T: fmt::Debug> fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_knows_its_line_and_column() {
        let file = Arc::new(SourceFile {
            path: "p/a.toml".into(),
            text: "one\ntwo = 2\nthree".into(),
        });
        let place = Place::new(&file, 10..11);
        assert_eq!(
            (place.to_string().as_str(), place.column()),
            ("p/a.toml:2", 7)
        );
        assert_eq!(Place::line_of(&file, 3).span(), 12..17);
        assert_eq!(Place::line_of(&file, 9).span(), 17..17);
    }
}
