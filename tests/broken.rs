//! Broken policy files, and what is said of each.
//!
//! Each file in `tests/broken/` changes the shipped policies in one or a few places, as a slip of the
//! pen would, and says which diagnostics `postern check` must give for it: no fewer, no more, each at
//! the very text that is wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;

/// A case: edits to the shipped policies, and what is said then.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What this is about, in a sentence.
    about: String,
    edit: Vec<Edit>,
    expect: Vec<Expected>,
}

/// One change: `replace` stands in `file` exactly once and becomes `with`. Without `replace`, `with`
/// goes to the end of the file; without `with` either, the file is taken away.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    replace: Option<String>,
    with: Option<String>,
}

/// One diagnostic. `at` is what stands at its place in the changed file.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(default, deny_unknown_fields)]
struct Expected {
    severity: String,
    id: String,
    file: String,
    at: String,
    message: String,
    help: String,
}

#[test]
fn every_broken_policy_is_told_in_full_and_at_the_right_place() {
    let as_shipped = said_of(&shipped());
    let mut failures = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 12, "{} cases", cases.len());
    for path in cases {
        let case: Case = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = broken(&case);
        let expected = &case.expect;
        let mut said = said_of(&folder.path().join("policies"));
        said.retain(|one| !as_shipped.contains(one));
        let differs = said.len() != expected.len()
            || !said
                .iter()
                .zip(expected)
                .all(|(said, expected)| says(said, expected));
        if differs {
            let about = &case.about;
            failures.push(format!("{}\n# {about}\n{}", path.display(), written(&said)));
        }
    }
    assert!(
        failures.is_empty(),
        "what is said of these differs:\n\n{}",
        failures.join("\n")
    );
}

#[test]
fn the_shipped_policies_have_no_errors() {
    let output = check(&shipped(), "human");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn people_see_the_line_the_caret_and_help() {
    let path = root().join("tests/broken/unknown_key.toml");
    let case: Case = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let folder = broken(&case);

    let output = check(&folder.path().join("policies"), "human");

    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "error[unknown-key]",
        "policies/postern.toml:",
        "conections = 12000",
        "help: did you mean `connections`?",
    ] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    assert!(
        text.ends_with("run\n") && text.contains("cannot be used: 1 error"),
        "{text}"
    );
    assert!(
        !text.contains('\x1b'),
        "escape sequences in a pipe:\n{text}"
    );
}

#[test]
fn a_folder_without_a_policy_is_an_error_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let output = check(folder.path(), "short");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("error[unreadable-file]:"), "{text}");
}

#[test]
fn an_alias_that_leads_back_to_itself_is_shown_by_resolve_all_the_same() {
    let path = root().join("tests/broken/alias_loop.toml");
    let mut case: Case = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let with = case.edit[0].with.as_mut().unwrap();
    with.push_str(
        "[[list]]\nname = \"nobody@bumbleton.example\"\nowner = \"gp@nhs.net\"\nmembers = []\n",
    );
    let addresses = [
        "round@bumbleton.example",
        "nobody@bumbleton.example",
        "pharmacy.fa001@nhs.net",
    ];

    let (answer, status) = resolved(&case, &addresses);

    let outcomes: Vec<_> = answer.iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(
        (outcomes, status),
        (
            vec!["loop".into(), "list".into(), "mailbox".into()],
            Some(1)
        )
    );
    assert_eq!(answer[0]["path"][0]["because"], "alias", "{answer:?}");
    assert_eq!(answer[1]["members"], serde_json::json!([]));

    case.edit[0].with = Some("[[alias]]\nfrom = \"a@nhs.net\"\n".to_owned());
    let (answer, status) = resolved(&case, &addresses);
    assert_eq!(
        (answer, status),
        (Vec::new(), Some(1)),
        "all other errors keep it from answering"
    );
}

/// What `postern resolve --json` says on its standard output, and its exit status.
fn resolved(case: &Case, addresses: &[&str]) -> (Vec<Value>, Option<i32>) {
    let folder = broken(case);
    let output = Command::new(env!("CARGO_BIN_EXE_postern"))
        .current_dir(folder.path())
        .args(["--json", "resolve"])
        .args(addresses)
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    (lines.collect(), output.status.code())
}

/// Whether a diagnostic is the one expected. What is not said of it in the case is left open.
fn says(said: &Expected, expected: &Expected) -> bool {
    let same = |said: &str, expected: &str| expected.is_empty() || said == expected;
    let severity = if expected.severity.is_empty() {
        "error"
    } else {
        &expected.severity
    };
    said.severity == severity
        && said.id == expected.id
        && same(&said.file, &expected.file)
        && said.at.starts_with(&expected.at)
        && same(&said.message, &expected.message)
        && same(&said.help, &expected.help)
}

/// The shipped policies in a temporary folder, with the edits of a case.
fn broken(case: &Case) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    copy(&shipped(), &policies);
    for edit in &case.edit {
        let path = policies.join(&edit.file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        match (&edit.replace, &edit.with) {
            (Some(old), new) => {
                let found = text.matches(old.as_str()).count();
                assert_eq!(
                    found, 1,
                    "{}: {old:?} stands {found} times in {}",
                    case.about, edit.file
                );
                let new = new.as_deref().unwrap_or_default();
                fs::write(&path, text.replacen(old.as_str(), new, 1)).unwrap();
            }
            (None, Some(more)) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let text = if text.is_empty() { text } else { text + "\n" };
                fs::write(&path, text + more).unwrap();
            }
            (None, None) => fs::remove_file(&path).unwrap(),
        }
    }
    folder
}

/// What `check --format json` says of a policy folder; paths without the folder.
fn said_of(policies: &Path) -> Vec<Expected> {
    let output = check(policies, "json");
    let text = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Expected> = text.lines().map(|line| said(line, policies)).collect();
    let errors = said.iter().any(|one| one.severity == "error");
    let status = output.status.code();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        status,
        Some(i32::from(errors)),
        "exit status; it said:\n{text}{stderr}"
    );
    said
}

fn said(line: &str, policies: &Path) -> Expected {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    let word = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let prefix = format!("{}/", policies.display());
    Expected {
        severity: word("severity"),
        id: word("id"),
        at: text_at(&object).unwrap_or_default(),
        file: word("file").replace(&prefix, ""),
        message: word("message").replace(&prefix, ""),
        help: word("help").replace(&prefix, ""),
    }
}

/// The rest of the line at the place of a diagnostic.
fn text_at(object: &Value) -> Option<String> {
    let text = fs::read_to_string(object["file"].as_str()?).ok()?;
    let number = |key: &str| usize::try_from(object[key].as_u64().unwrap_or(1) - 1).unwrap();
    let line = text.lines().nth(number("line")).unwrap_or_default();
    Some(line.chars().skip(number("column")).collect())
}

/// What was said, as a case would write it.
fn written(said: &[Expected]) -> String {
    let mut text = String::new();
    for one in said {
        text.push_str("\n[[expect]]\n");
        let words = [
            ("severity", &one.severity),
            ("id", &one.id),
            ("file", &one.file),
            ("at", &one.at),
            ("message", &one.message),
            ("help", &one.help),
        ];
        for (key, value) in words {
            if !value.is_empty() && (key, value.as_str()) != ("severity", "error") {
                text.push_str(&format!("{key} = {}\n", toml::Value::from(value.as_str())));
            }
        }
    }
    text
}

fn check(policies: &Path, format: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("check")
        .arg(policies)
        .args(["--format", format])
        .current_dir(root())
        .output()
        .unwrap()
}

fn cases() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(root().join("tests/broken")).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn shipped() -> PathBuf {
    root().join("policies")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
