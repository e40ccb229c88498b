//! `postern directory find` and `show`, asked as an administrator asks.

mod support;

use std::fs;
use std::process::Command;

use serde_json::Value;
use support::{copy, root};

/// A copy of the shipped policy whose first mailbox has a mobile number.
fn policies() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&root().join("policies"), folder.path());
    let file = folder.path().join("directory.csv");
    let text = fs::read_to_string(&file).expect("a table");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let header = lines
        .iter()
        .position(|line| line.starts_with("address,"))
        .expect("a header");
    if !lines[header].contains("mobile") {
        for line in lines
            .iter_mut()
            .skip(header)
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            line.push(',');
        }
        lines[header].push_str("mobile");
    }
    lines[header + 1].push_str(MOBILE);
    fs::write(file, lines.join("\n")).expect("a table with a number");
    folder
}

const MOBILE: &str = "07700900123";

/// Asks; returns the lines of the answer and whether it was yes.
fn ask(policies: &tempfile::TempDir, question: &[&str]) -> (Vec<String>, bool) {
    let config = policies.path().join("postern.toml");
    let answer = Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(config)
        .arg("directory")
        .args(question)
        .output()
        .expect("an answer");
    let text = String::from_utf8(answer.stdout).expect("text");
    assert!(!text.contains(&MOBILE[5..]), "{text}");
    assert!(
        answer.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    (
        text.lines().map(str::to_owned).collect(),
        answer.status.success(),
    )
}

/// The addresses that a search finds.
fn found(policies: &tempfile::TempDir, words: &[&str]) -> Vec<String> {
    let question: Vec<&str> = ["find", "--json"].iter().chain(words).copied().collect();
    let (lines, yes) = ask(policies, &question);
    assert_eq!(yes, !lines.is_empty());
    let address = |line: &String| {
        let object: Value = serde_json::from_str(line).expect("JSON");
        object["address"].as_str().expect("an address").to_owned()
    };
    lines.iter().map(address).collect()
}

#[test]
fn mailboxes_are_found_by_parts_and_with_slips() {
    let policies = policies();
    for words in [
        &["fa001"][..],
        &["pharmacy.fa001@nhs.net"],
        &["Market", "Place"],
        &["bumbelton", "market"],
        &["bumb", "markt"],
    ] {
        let found = found(&policies, words);
        assert_eq!(
            found.first().map(String::as_str),
            Some("pharmacy.fa001@nhs.net"),
            "{words:?}: {found:?}"
        );
    }
    assert_eq!(found(&policies, &["zzyzx"]), Vec::<String>::new());
    assert!(found(&policies, &[MOBILE]).is_empty());
    assert_eq!(found(&policies, &["bumbleton", "--limit", "2"]).len(), 2);
}

#[test]
fn people_get_a_table_and_programs_get_json() {
    let policies = policies();
    let (table, _) = ask(&policies, &["find", "fa001"]);
    assert!(table[0].starts_with("address  "), "{table:?}");
    assert!(table[1].starts_with("pharmacy.fa001@nhs.net"), "{table:?}");
    let (nobody, yes) = ask(&policies, &["find", "zzyzx"]);
    assert_eq!((nobody[0].as_str(), yes), ("nobody", false));
}

#[test]
fn a_mailbox_is_shown_by_its_address_an_old_one_or_its_code() {
    let policies = policies();
    for of in [
        "pharmacy.fa001@nhs.net",
        "bumbleton.chemist@nhs.net",
        "fa001",
    ] {
        let (lines, yes) = ask(&policies, &["show", of, "--json"]);
        assert!(yes);
        let object: Value = serde_json::from_str(&lines[0]).expect("JSON");
        assert_eq!(object["address"], "pharmacy.fa001@nhs.net", "{of}");
        assert_eq!(object["live"], true);
        let names = object["names"].as_array().expect("names");
        assert!(
            names
                .iter()
                .any(|name| name["name"] == "bumbleton.chemist@nhs.net")
        );
        assert_eq!(object["lists"][0], "bumbleton.branches@nhs.net");
    }
    let (lines, yes) = ask(&policies, &["show", "bumbleton.chemist@nhs.net"]);
    assert!(yes);
    assert!(lines[1].contains("(renamed, "), "{lines:?}");
    for nobody in ["nobody.at.all@bumbleton.example", "FZZ99", "x y"] {
        let (lines, yes) = ask(&policies, &["show", nobody]);
        assert!(!yes && !lines.is_empty(), "{nobody}: {lines:?}");
    }
}
