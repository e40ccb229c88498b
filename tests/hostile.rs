//! Files made to exhaust whoever opens them: each is said not to be readable, and no process of the gateway's
//! ever has more memory than `content::MEMORY_OCTETS`, however small the file is.
//!
//! What is measured is the most that any process had (`getrusage`), the program that the test starts and the
//! readers that it starts in turn.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use postern::content::MEMORY_OCTETS;
use serde_json::Value;

/// What `explain` says could not be read of a message with this file, and the most memory of a process.
fn explained(file: &[u8]) -> (Vec<String>, u64) {
    let message = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<u8> = STANDARD
        .encode(file)
        .into_bytes()
        .chunks(76)
        .flat_map(|line| [line, b"\r\n"].concat())
        .collect();
    let head = "From: a@nhs.net\r\nSubject: x\r\nContent-Type: application/octet-stream\r\n\
                Content-Transfer-Encoding: base64\r\n\r\n";
    message.as_file().write_all(head.as_bytes()).unwrap();
    message.as_file().write_all(&lines).unwrap();
    let run = Command::new("python3")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["-c", MEASURED, env!("CARGO_BIN_EXE_postern"), "explain"])
        .args(["--json", "--from", "bumbleton.headoffice@nhs.net"])
        .args(["--to", "someone@example.com"])
        .arg(message.path())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    let (kibi, json) = said.split_once('\n').unwrap();
    let json: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {said}"));
    let unreadable = json["message"]["unreadable"].as_array().unwrap();
    let because = unreadable
        .iter()
        .map(|one| one["because"].as_str().unwrap());
    let because: Vec<String> = because.map(str::to_owned).collect();
    let verdict = if because.is_empty() {
        "deliver"
    } else {
        "hold"
    };
    assert_eq!(json["recipients"][0]["verdict"], verdict, "{because:?}");
    (because, kibi.parse::<u64>().unwrap() * 1024)
}

/// Runs a program and writes the most memory that one of its processes had, in KiB, and what it said.
const MEASURED: &str = "import resource, subprocess, sys
said = subprocess.run(sys.argv[1:], capture_output=True).stdout.decode()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(said)";

#[track_caller]
fn assert_bounded(what: &str, file: &[u8], expected: Option<&str>) {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let (because, octets) = explained(file);
    eprintln!(
        "{what}: {} octets, {} MiB, {because:?}",
        file.len(),
        octets >> 20
    );
    assert_eq!(because.first().map(String::as_str), expected, "{what}");
    assert!(octets <= MEMORY_OCTETS, "{what}: {octets} octets");
}

/// A document of these objects, numbered from 3; 3 is the content of its only page.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.5\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n".to_vec();
    let page = "<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<</Font<</F 4 0 R>>>>>>";
    write!(
        out,
        "2 0 obj\n<</Type/Pages/Count 1/Kids[900000 0 R]>>\nendobj\n"
    )
    .unwrap();
    write!(out, "900000 0 obj\n{page}\nendobj\n").unwrap();
    for (number, object) in (3..).zip(objects) {
        writeln!(out, "{number} 0 obj").unwrap();
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    out.extend_from_slice(b"trailer\n<</Root 1 0 R>>\n%%EOF\n");
    out
}

fn stream(keys: &str, content: &[u8]) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(content).unwrap();
    let packed = packed.finish().unwrap();
    let head = format!(
        "<<{keys}/Filter/FlateDecode/Length {}>>\nstream\n",
        packed.len()
    );
    [head.as_bytes(), &packed, b"\nendstream"].concat()
}

fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, octets) in files {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(octets).unwrap();
        let packed = packed.finish().unwrap();
        let mut fields = b"\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
        for len in [packed.len(), octets.len()] {
            fields.extend(u32::try_from(len).unwrap().to_le_bytes());
        }
        fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        fields.extend([0; 2]);
        let at = u32::try_from(out.len()).unwrap().to_le_bytes();
        central.extend(
            [
                b"PK\x01\x02\x14\0",
                &fields[..],
                &[0; 10],
                &at,
                name.as_bytes(),
            ]
            .concat(),
        );
        out.extend([b"PK\x03\x04", &fields[..], name.as_bytes(), &packed].concat());
    }
    let (size, start) = (central.len(), out.len());
    out.extend(central);
    out.extend(b"PK\x05\x06\0\0\0\0\0\0\0\0");
    for number in [size, start] {
        out.extend(u32::try_from(number).unwrap().to_le_bytes());
    }
    out.extend([0; 2]);
    out
}

#[test]
fn documents_of_a_million_objects() {
    let numbers = [b"[".as_slice(), &b"1 ".repeat(2_500_000), b"]"].concat();
    assert_bounded(
        "an array of numbers",
        &pdf(&[stream("", b""), numbers]),
        Some("too-large"),
    );

    let names = b"<</A[/B/C]>>".repeat(300_000);
    let names = [b"[".as_slice(), &names, b"]"].concat();
    assert_bounded(
        "dictionaries",
        &pdf(&[stream("", b""), names]),
        Some("too-large"),
    );
}

#[test]
fn one_array_that_is_a_thousand_objects() {
    let count = 2_000;
    let index: String = (0..count).map(|at| format!("{} 0 ", at + 10)).collect();
    let objects = [index.as_bytes(), b"[", &b"1 ".repeat(100_000), b"]"].concat();
    let keys = format!("/Type/ObjStm/N {count}/First {}", index.len());
    let file = pdf(&[stream("", b""), stream(&keys, &objects)]);
    assert_bounded("packed objects that overlap", &file, Some("too-large"));
}

#[test]
fn pages_that_draw_more_than_there_is_memory() {
    let numbers = b"1 ".repeat(20_000_000);
    let drawn = [b"BT /F 9 Tf [".as_slice(), &numbers, b"] TJ ET"].concat();
    assert_bounded(
        "numbers to draw",
        &pdf(&[stream("", &drawn)]),
        Some("too-large"),
    );
}

#[test]
fn packed_files_of_gigabytes() {
    let words = b"<w:p><w:r><w:t>x</w:t></w:r></w:p>".repeat(600_000);
    let document = zip(&[
        ("[Content_Types].xml", b"<Types/>".to_vec()),
        ("word/document.xml", words),
    ]);
    assert_bounded("a document of paragraphs", &document, None);

    let words = [b"<sst>".as_slice(), &b"<si><t>x</t></si>".repeat(3_000_000)].concat();
    let sheet = zip(&[
        ("[Content_Types].xml", b"<Types/>".to_vec()),
        ("xl/sharedStrings.xml", words),
    ]);
    assert_bounded("a table of words", &sheet, Some("too-large"));

    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..1000 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    assert_bounded(
        "a gigabyte of spaces",
        &packed.finish().unwrap(),
        Some("too-large"),
    );
}

#[test]
fn rich_text_of_nothing_but_groups() {
    let groups = [b"{\\rtf1 ".as_slice(), &b"{".repeat(10 << 20)].concat();
    assert_bounded("groups", &groups, Some("too-large"));
    let units = [b"{\\rtf1 ".as_slice(), &b"\\u8364?".repeat(1 << 19), b"}"].concat();
    assert_bounded("characters by number", &units, None);
}
