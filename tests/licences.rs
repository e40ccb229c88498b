//! The licences of what we build on: every dependency's must be one that we may ship with.
//!
//! `deny.toml` says the same for those who have `cargo-deny`; this test needs nothing but cargo.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// Licences whose terms a program under Apache-2.0 can keep to.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "X11",
    "Zlib",
];

#[test]
fn every_dependency_has_a_licence_that_we_may_ship_with() {
    let packages = packages();
    assert!(
        packages.len() > 50,
        "cargo told of {} packages",
        packages.len()
    );
    let strays: Vec<String> = packages
        .into_iter()
        .filter(|(_, licence)| !may_ship(licence))
        .map(|(name, licence)| format!("{name}: {licence:?}"))
        .collect();
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

#[test]
fn deny_toml_allows_the_same_licences() {
    let text = std::fs::read_to_string("deny.toml").unwrap();
    let table: toml::Table = text.parse().unwrap();
    let said: BTreeSet<&str> = table["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|licence| licence.as_str())
        .collect();
    assert_eq!(said, ALLOWED.iter().copied().collect());
}

#[test]
fn an_expression_is_judged_by_all_of_its_terms() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR GPL-2.0) AND ISC",
    ] {
        assert!(may_ship(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0-only",
        "MIT AND AGPL-3.0",
        "(GPL-2.0 OR LGPL-3.0) AND MIT",
        "(MIT",
        "MIT ISC",
    ] {
        assert!(!may_ship(bad), "{bad}");
    }
}

/// Name with version, and licence expression, of everything that is built for this machine.
fn packages() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &host(),
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .map(|package| {
            let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
            (
                format!("{} {}", word("name"), word("version")),
                word("license"),
            )
        })
        .collect()
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.unwrap().to_owned()
}

/// Whether an SPDX expression leaves a way to keep to the list. The slash is an old form of `OR`.
fn may_ship(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(" WITH ", "\u{0}");
    let words: Vec<String> = spaced
        .split_whitespace()
        .map(|word| word.replace('\u{0}', " WITH "))
        .collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) == Some(true) && rest.is_empty()
}

fn any_of(words: &mut &[String]) -> Option<bool> {
    let mut allowed = all_of(words)?;
    while take(words, "OR") {
        allowed |= all_of(words)?;
    }
    Some(allowed)
}

fn all_of(words: &mut &[String]) -> Option<bool> {
    let mut allowed = term(words)?;
    while take(words, "AND") {
        allowed &= term(words)?;
    }
    Some(allowed)
}

fn term(words: &mut &[String]) -> Option<bool> {
    if take(words, "(") {
        let allowed = any_of(words)?;
        return take(words, ")").then_some(allowed);
    }
    let (licence, rest) = words.split_first()?;
    *words = rest;
    Some(ALLOWED.contains(&licence.as_str()))
}

fn take(words: &mut &[String], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}
