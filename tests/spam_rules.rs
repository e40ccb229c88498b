//! `check --corpus FOLDER --spam`: which rules never speak, and which always speak together.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::process::Command;

use support::{copy, root};

const RULES: &str = "\n[[rule]]\nname = \"TEST_TWIN_A\"\nweight = 1\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"lottery\"\ndescription = \"for the test\"\n\
    [[rule]]\nname = \"TEST_TWIN_B\"\nweight = 1\nwhen = \"header-matches\"\nheader = \"X-Kind\"\n\
    pattern = \"prize\"\ndescription = \"for the test\"\n\
    [[rule]]\nname = \"TEST_SILENT\"\nweight = 1\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"nobody writes this\"\ndescription = \"for the test\"\n";

/// Twelve spam, of which so many are of the kind that both twins know; and one ham.
fn said(both: usize, json: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let policies = folder.path().join("policies");
    copy(&root().join("policies"), &policies);
    let scoring = policies.join("scoring.toml");
    let text = fs::read_to_string(&scoring).unwrap();
    fs::write(&scoring, text + RULES).unwrap();
    let corpus = folder.path().join("corpus");
    for kind in ["spam", "ham"] {
        fs::create_dir_all(corpus.join(kind)).unwrap();
    }
    let write = |name: &str, subject: &str, kind: &str| {
        let text = format!("From: x@y.example\nSubject: {subject}\nX-Kind: {kind}\n\nhello\n");
        fs::write(corpus.join(name), text).unwrap();
    };
    for number in 0..12 {
        let kind = if number < both { "prize" } else { "other" };
        write(&format!("spam/{number}"), "the lottery", kind);
    }
    write("ham/1", "stock on hand", "letter");
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    command.args(json.then_some("--json"));
    command.arg("--config").arg(policies.join("postern.toml"));
    command.args(["check", "--spam", "--corpus"]).arg(&corpus);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn rules_that_always_speak_together_and_rules_that_never_speak_are_named() {
    let text = said(12, false);
    let twins = "rules that spoke on the same 12 messages and no other: TEST_TWIN_A, TEST_TWIN_B\n";
    assert!(text.contains(twins), "{text}");
    let silent = text
        .lines()
        .find(|line| line.starts_with("rules that never spoke: "));
    assert!(silent.unwrap().contains("TEST_SILENT"), "{text}");
    assert!(!silent.unwrap().contains("TEST_TWIN"), "{text}");

    let figures: serde_json::Value = serde_json::from_str(&said(12, true)).unwrap();
    let pairs = figures["inseparable"].as_array().unwrap();
    assert!(
        pairs.contains(&serde_json::json!(["TEST_TWIN_A", "TEST_TWIN_B", 12])),
        "{figures}"
    );
    // Once apart is not always together.
    assert!(!said(11, false).contains("TEST_TWIN_A, TEST_TWIN_B"));
}
