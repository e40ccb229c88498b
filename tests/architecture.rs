//! The ladder of modules, enforced.
//!
//! One crate does not keep its modules apart; this test does. Each row of [`LADDER`] is a row of the
//! design's table: who may import whom. Every path through `crate::` in `src` is held against it,
//! outside tests. A new top-level module is a design decision: it gets its row here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and what it may import besides itself.
const LADDER: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("base", &[]),
    ("config", &["base"]),
    ("smtp", &["mail"]),
    ("outcome", &["mail", "base"]),
    ("content", &["mail", "base"]),
    ("directory", &["mail", "base", "config"]),
    ("accounts", &["mail", "base", "config"]),
    ("queue", &["mail", "base", "config", "outcome"]),
    ("delivery", &["mail", "base", "config", "smtp", "outcome"]),
    (
        "policy",
        &["mail", "base", "config", "content", "directory", "accounts"],
    ),
    (
        "scheduler",
        &["mail", "base", "config", "queue", "delivery", "outcome"],
    ),
    (
        "ingress",
        &[
            "mail",
            "base",
            "config",
            "smtp",
            "accounts",
            "policy",
            "queue",
            "scheduler",
            "outcome",
        ],
    ),
    (
        "admin",
        &[
            "mail",
            "base",
            "config",
            "content",
            "directory",
            "accounts",
            "queue",
            "policy",
            "outcome",
        ],
    ),
    // Only what the settings of a module are made of: nothing here runs.
    (
        "settings",
        &[
            "mail",
            "base",
            "config",
            "directory",
            "accounts",
            "queue",
            "delivery",
            "policy",
            "ingress",
            "admin",
        ],
    ),
];

/// Modules that may import anything.
const TOP: &[&str] = &["server", "main"];

/// Pages of prose: no code, no imports.
const PROSE: &[&str] = &["manual", "lib"];

/// Lines of a file before its tests.
const LINES_MAX: usize = 600;

#[test]
fn modules_import_only_what_stands_below_them() {
    let mut strays = Vec::new();
    for file in sources() {
        let Some((_, allowed)) = LADDER.iter().find(|(module, _)| *module == file.module) else {
            continue;
        };
        for (line, import) in imports(&file.code) {
            if import != file.module && !allowed.contains(&import.as_str()) {
                strays.push(format!(
                    "{}:{line}: {} imports {import}",
                    file.path, file.module
                ));
            }
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn the_table_of_contents_lists_every_module_and_no_other() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect();
    let mut known: BTreeSet<&str> = LADDER.iter().map(|(module, _)| *module).collect();
    known.insert("manual");
    let undecided: Vec<_> = declared
        .difference(&known)
        .filter(|module| !TOP.contains(module))
        .collect();
    // The parts above the ladder may as well be modules of the program alone.
    let missing: Vec<_> = known
        .difference(&declared)
        .filter(|module| **module != "settings")
        .collect();
    assert!(
        undecided.is_empty(),
        "modules without a row in the ladder: {undecided:?}"
    );
    assert!(
        missing.is_empty(),
        "rows of the ladder without a module: {missing:?}"
    );
}

/// They panic where nobody reads (a full disk, a closed pipe): `base::tell`, or an output that may fail.
#[test]
fn no_code_prints_by_a_macro_that_panics() {
    let mut strays = Vec::new();
    for file in sources() {
        for (line, text) in file.code.lines().enumerate() {
            let text = text.trim_start();
            let prints = ["eprintln!", "println!", "eprint!", "print!", "dbg!"];
            if !text.starts_with("//") && prints.iter().any(|word| text.contains(word)) {
                strays.push(format!("{}:{}", file.path, line + 1));
            }
        }
    }
    assert_eq!(strays, [""; 0]);
}

#[test]
fn every_file_belongs_to_a_module_of_the_table() {
    let strays: Vec<String> = sources()
        .into_iter()
        .filter(|file| {
            let module = file.module.as_str();
            !TOP.contains(&module)
                && !PROSE.contains(&module)
                && !LADDER.iter().any(|(known, _)| *known == module)
        })
        .map(|file| file.path)
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|file| (file.code.lines().count(), file.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines before its tests"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn every_file_begins_with_its_one_idea() {
    let without: Vec<String> = sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| file.path)
        .collect();
    assert!(without.is_empty(), "no `//!` header: {without:?}");
}

#[test]
fn nothing_is_left_to_do() {
    let marks = ["todo!(", "unimplemented!(", "dbg!("];
    let mut found = Vec::new();
    for file in sources() {
        let text = without_comments_and_strings(&file.text);
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::mail::{Mailbox, Host};\n\
                use crate::{base::Clock, queue::{self, Lease}, policy as rules};\n\
                pub(crate) fn f(c: crate::config::Section) {}\n\
                // use crate::ingress::X;\n\
                let text = \"crate::delivery\";\n\
                let raw = r#\"crate::server \"quoted\"\"#; let c = '\"'; let d: &'a str = crate::smtp::X;\n";
    let found: BTreeSet<String> = imports(&without_comments_and_strings(code))
        .into_iter()
        .map(|(_, module)| module)
        .collect();
    let wanted = ["base", "config", "mail", "policy", "queue", "smtp"];
    assert_eq!(
        found,
        wanted.iter().map(|module| (*module).to_owned()).collect()
    );
}

#[test]
fn tests_may_import_anything() {
    let text = "use crate::mail::X;\n#[cfg(test)]\nmod tests {\n    use crate::server::Y;\n}\n\
                use crate::base::Z;\n";
    let code = without_tests(&without_comments_and_strings(text));
    assert_eq!(
        imports(&code),
        [(1, "mail".to_owned()), (6, "base".to_owned())]
    );
}

/// A file of `src`.
struct Source {
    path: String,
    /// The top-level module it belongs to; `lib` and `main` for those two.
    module: String,
    text: String,
    /// The text without comments, strings and tests; its lines keep their numbers.
    code: String,
}

/// The files of `src`, without those that are tests as a whole.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join("src"), &mut paths);
    paths.sort();
    let tests: Vec<PathBuf> = paths.iter().flat_map(|path| test_modules(path)).collect();
    paths.retain(|path| !tests.iter().any(|module| is_of(path, module)));
    paths.iter().map(|path| source(path)).collect()
}

/// The modules that a file declares under `#[cfg(test)]`, as paths without `.rs`.
fn test_modules(path: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(path).unwrap();
    let folder = match path.file_stem().unwrap().to_str().unwrap() {
        "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
        _ => path.with_extension(""),
    };
    let after = text.split("#[cfg(test)]").skip(1);
    after
        .filter_map(|rest| {
            let (words, _) = rest
                .split_once(['{', ';'])
                .filter(|(words, _)| rest[words.len()..].starts_with(';'))?;
            let (_, name) = words.rsplit_once("mod ")?;
            Some(folder.join(name.trim()))
        })
        .collect()
}

/// Whether a file is a module's own, or lies in the module's folder.
fn is_of(path: &Path, module: &Path) -> bool {
    path.with_extension("") == module || path.starts_with(module)
}

fn source(path: &Path) -> Source {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let first = inside
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy();
    let text = fs::read_to_string(path).unwrap();
    Source {
        path: format!("src/{}", inside.display()),
        module: first.trim_end_matches(".rs").to_owned(),
        code: without_tests(&without_comments_and_strings(&text)),
        text,
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Asked for a second time, the policy may have been loaded anew: one would judge a message, another edit or sign it.
#[test]
fn a_message_is_judged_edited_and_signed_by_one_policy() {
    let files = fs::read_dir(root().join("src/ingress")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let asking: Vec<String> = paths
        .filter(|path| path.is_file())
        .filter(|path| {
            fs::read_to_string(path)
                .unwrap()
                .contains("policies.borrow")
        })
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut asking = asking;
    asking.sort();
    // A log-in comes before the transaction.
    assert_eq!(asking, ["connection.rs", "login.rs"]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The top-level modules that a text names through `crate::`, with their lines.
fn imports(code: &str) -> Vec<(usize, String)> {
    let names = paths(code).into_iter();
    names
        .map(|(line, path)| (line, path.split("::").next().unwrap_or_default().to_owned()))
        .collect()
}

/// Every path that follows `crate::`, a group taken apart one level deep.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(|path| (line, path))),
            None => found.push((line, path_of(rest))),
        }
    }
    found
}

/// The members of a group, up to the brace that closes it.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(path_of(group[start..at].trim()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// The path at the start of a text, with the group that may end it.
fn path_of(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    match end {
        Some(end) if text[end..].starts_with('{') => {
            let close = text[end..].find(';').map_or(text.len(), |at| end + at);
            text[..close].to_owned()
        }
        Some(end) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

/// Blanks out everything under `#[cfg(test)]`; lines keep their numbers, the end is cut.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = end_of_item(item);
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out.push_str(rest);
    out.truncate(out.trim_end().len());
    out
}

/// Where an item ends: at its closing brace, or at a semicolon before any brace.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

/// Blanks out comments, strings and character literals; lines keep their numbers.
fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = skipped(rest, out.chars().next_back());
        if skip == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push(' ');
            out.extend(rest[..skip].chars().filter(|c| *c == '\n'));
            rest = &rest[skip..];
        }
    }
    out
}

/// How many octets at the start of `rest` are a comment or a literal.
fn skipped(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if let Some(comment) = rest.strip_prefix("/*") {
        return comment.find("*/").map_or(rest.len(), |at| at + 4);
    }
    if let Some(string) = rest.strip_prefix('"') {
        return 1 + end_of_string(string);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && let Some(length) = raw_string(rest) {
        return length;
    }
    if let Some(literal) = rest.strip_prefix('\'') {
        return character(literal).map_or(0, |length| length + 1);
    }
    0
}

/// Octets up to and with the closing quote.
fn end_of_string(string: &str) -> usize {
    let mut escaped = false;
    for (at, c) in string.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    string.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = inside
        .find(&close)
        .map_or(inside.len(), |at| at + close.len());
    Some(rest.len() - inside.len() + length)
}

/// The length of a character literal after its first quote; `None` for a lifetime.
fn character(literal: &str) -> Option<usize> {
    let mut chars = literal.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        return literal[2..].find('\'').map(|at| at + 3);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}
