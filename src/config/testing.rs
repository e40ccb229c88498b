//! What the tests of settings share.

use std::sync::Arc;

use super::{Diagnostic, Diagnostics, Section, SourceFile, read_toml};

/// What `read` makes of a text that stands in a file of this name, and what is said of it.
pub(crate) fn read_text<T>(
    path: &str,
    text: &str,
    read: impl FnOnce(&Section<'_>) -> T,
) -> (T, Vec<Diagnostic>) {
    let file = Arc::new(SourceFile {
        path: path.into(),
        text: text.to_owned(),
    });
    let diagnostics = Diagnostics::default();
    let value = read_toml(&file, &diagnostics, read);
    (value, diagnostics.into_vec())
}
