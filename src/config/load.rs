//! Reading a TOML file: its sections, and every diagnostic at once.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::located::{Place, SourceFile};
use super::section::{Section, TOP};
use super::text::read_text;

/// Reads a file and hands its outermost table to `read`, which takes out what it wants. Syntax
/// errors (all of them), a file that cannot be read, and keys that nobody wanted are reported to
/// `diagnostics`. Returns what `read` returned, or `None` if the file could not be read at all.
pub fn load_toml<T>(
    path: &Path,
    diagnostics: &Diagnostics,
    read: impl FnOnce(&Section<'_>) -> T,
) -> Option<T> {
    let file = read_source(path, diagnostics)?;
    Some(read_toml(&file, diagnostics, read))
}

/// As [`load_toml`], for a text that is already here.
pub fn read_toml<T>(
    file: &Arc<SourceFile>,
    diagnostics: &Diagnostics,
    read: impl FnOnce(&Section<'_>) -> T,
) -> T {
    let (table, errors): (Spanned<DeTable<'_>>, _) = DeTable::parse_recoverable(&file.text);
    for error in errors {
        let place = Place::new(file, error.span().unwrap_or(0..0));
        diagnostics.push(Diagnostic::error("syntax", error.message().to_owned()).at(&place, ""));
    }
    let section = Section::new(table.get_ref(), file, 0..0, TOP.to_owned(), diagnostics);
    let value = read(&section);
    section.finish();
    value
}

/// Reads the text of a file; a failure is reported.
pub fn read_source(path: &Path, diagnostics: &Diagnostics) -> Option<Arc<SourceFile>> {
    match read_text(path) {
        Ok(text) => Some(Arc::new(SourceFile {
            path: path.to_owned(),
            text,
        })),
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            diagnostics.push(Diagnostic::error("unreadable-file", message));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, read: impl FnOnce(&Section<'_>) -> T) -> (T, Vec<String>) {
        let file = Arc::new(SourceFile {
            path: "a.toml".into(),
            text: text.into(),
        });
        let diagnostics = Diagnostics::default();
        let value = read_toml(&file, &diagnostics, read);
        let said = diagnostics
            .into_vec()
            .into_iter()
            .map(|d| format!("{}: {} | {}", d.id, d.message, d.help.unwrap_or_default()));
        (value, said.collect())
    }

    #[test]
    fn one_pass_finds_every_error() {
        let text = "size = \"many\"\nretry = 5\nhots = \"x\"\n[limits]\nrecipients = 5\n";
        let (_, said) = read(text, |section| {
            assert!(section.octets("size").is_none());
            assert!(section.duration("retry").is_none());
            assert!(section.string("host").is_none());
            let limits = section.section("limits");
            assert!(limits.integer("recipients", 100..=1000).is_none());
            limits.finish();
        });
        assert_eq!(
            said,
            [
                "bad-size: `size` is not a size | write for example \"40 MiB\" or 65536",
                "wrong-type: `retry` must be text in quotes | ",
                "out-of-bounds: `recipients` is out of bounds | between 100 and 1000",
                "unknown-key: unknown key `hots` in this file | did you mean `host`?",
            ]
        );
    }

    #[test]
    fn values_remember_their_line() {
        let (source, said) = read("# a comment\n\nname = \"x\"\n", |section| {
            section.required_string("name").unwrap().source()
        });
        assert_eq!((source.as_str(), said.len()), ("a.toml:3", 0));
    }

    #[test]
    fn syntax_errors_are_reported_and_the_rest_is_read() {
        let (name, said) = read("name = \"x\"\nbroken = = 3\n", |section| {
            section
                .string("name")
                .map(super::super::Located::into_inner)
        });
        assert_eq!(name.as_deref(), Some("x"));
        assert!(said[0].starts_with("syntax:"), "{said:?}");
    }
    #[test]
    fn files_of_other_programs_are_read_or_told_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        let read = |octets: &[u8]| {
            std::fs::write(&path, octets).unwrap();
            let diagnostics = Diagnostics::default();
            let name = load_toml(&path, &diagnostics, |top| {
                top.string("name").map(super::super::Located::into_inner)
            });
            let said = diagnostics.into_vec().into_iter().map(|one| one.message);
            (name.flatten(), said.collect::<String>())
        };
        let (name, said) = read(b"\xef\xbb\xbfname = \"x\"\n");
        assert_eq!((name.as_deref(), said.as_str()), (Some("x"), ""));
        let (_, said) = read(b"\xff\xfen\0");
        assert!(said.contains("it is in UTF-16: save it as UTF-8"), "{said}");
    }
}
