//! Attachments: one patient's number in each format that is read, in files as the usual libraries write them
//! (`tests/attachments/make.py`, `make_hidden.py`), and files that cannot be read, each with its reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::content::{Content, Limits, read};
use postern::mail::{Message, mime};
use postern::policy::finding::Confidence;
use postern::policy::patient_data::Settings;
use postern::policy::stage::classify_patient_data::{Classification, ClassifyPatientData};

/// A message whose second part is a file of a name and type that tell nothing.
fn message(file: &[u8]) -> Message {
    let head = "From: a@b.example\r\nSubject: list\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
                --b\r\n\r\nsee below\r\n\
                --b\r\nContent-Type: application/octet-stream; name=file\r\n\
                Content-Transfer-Encoding: base64\r\n\r\n";
    let text = format!("{head}{}\r\n--b--\r\n", STANDARD.encode(file));
    Message::new(text.into_bytes())
}

fn content(file: &[u8], limits: &Limits) -> Content {
    let message = message(file);
    let structure = mime::parse(message.octets()).unwrap();
    read(&message, &structure, limits)
}

fn classify(file: &[u8]) -> Classification {
    let stage = ClassifyPatientData::new(Settings::default());
    let content = content(file, &Limits::default());
    stage.classify(&content, None).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/attachments")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

fn reasons(found: &Classification) -> Vec<(&str, &str)> {
    let unreadable = found.unreadable.iter();
    unreadable
        .map(|unread| (unread.place.as_str(), unread.because))
        .collect()
}

#[track_caller]
fn assert_found(name: &str, place: &str) {
    let found = classify(&file(name));
    let evidence: Vec<_> = found
        .patient_data
        .evidence
        .iter()
        .map(|evidence| (evidence.place.as_str(), evidence.confidence))
        .collect();
    assert!(
        evidence.contains(&(place, Confidence::High)),
        "{name}: {evidence:?}, unread {:?}",
        found.unreadable
    );
    assert_eq!(reasons(&found), [], "{name}");
}

#[test]
fn a_number_is_found_in_office_documents() {
    for name in [
        "runs.docx",
        "header.docx",
        "table.docx",
        "number.xlsx",
        "words.xlsx",
        "notes.pptx",
        "span.odt",
        "value.ods",
        "bold.rtf",
    ] {
        assert_found(name, "attachment:2");
    }
}

#[test]
fn a_number_is_found_in_pdf_as_it_is_drawn() {
    for name in [
        "plain.pdf",
        "subset.pdf",
        "restricted.pdf",
        "portfolio.pdf",
        "glyph-names.pdf",
        "logo.pdf",
        "background.pdf",
        "form.pdf",
        "empty-page.pdf",
    ] {
        assert_found(name, "attachment:2");
    }
    assert_found("portfolio.pdf", "attachment:2/1");
}

#[test]
fn a_number_is_found_where_a_reader_looks_twice() {
    for name in [
        "deleted-within.docx",
        "number-replaced.docx",
        "property.docx",
        "columns.xlsx",
        "link.xlsx",
        "field.pdf",
        "backwards.pdf",
        "bold-twice.pdf",
    ] {
        assert_found(name, "attachment:2");
    }
    assert_found("name.gz", "filename:2/1");
}

#[test]
fn a_number_is_found_in_what_holds_other_files() {
    for (name, place) in [
        ("text.gz", "attachment:2/1"),
        ("text.tar.gz", "attachment:2/1/1"),
        ("ustar.tar", "attachment:2/1"),
        ("gnu.tar", "attachment:2/1"),
        ("pax.tar", "attachment:2/1"),
        ("stored.zip", "attachment:2/1"),
        ("sheet.eml", "attachment:2/2"),
        ("message.zip", "attachment:2/1/2"),
        ("nested.zip", "attachment:2/3/1"),
    ] {
        assert_found(name, place);
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    for (name, place, because) in [
        ("aes.zip", "attachment:2", "encrypted-archive"),
        ("scan.docx", "attachment:2", "image-only"),
        ("scan.odt", "attachment:2", "image-only"),
        ("scan.pptx", "attachment:2", "image-only"),
        ("bomb.zip", "attachment:2", "too-large"),
        ("cut.zip", "attachment:2", "malformed"),
        ("damaged.zip", "attachment:2/1", "malformed"),
        ("bzip2.zip", "attachment:2/1", "unknown-format"),
        ("password.pdf", "attachment:2", "encrypted-document"),
        ("picture.pdf", "attachment:2", "image-only"),
        ("page-scanned.pdf", "attachment:2", "image-only"),
        ("page-stamped.pdf", "attachment:2", "image-only"),
        ("no-map.pdf", "attachment:2", "unknown-font"),
        ("glyph-numbers.pdf", "attachment:2", "unknown-font"),
        ("own-codes.pdf", "attachment:2", "unknown-font"),
        ("cut.pdf", "attachment:2", "malformed"),
        ("plain.7z", "attachment:2", "archive"),
        ("password.7z", "attachment:2", "encrypted-archive"),
        ("old.rar", "attachment:2", "archive"),
        ("password.docx", "attachment:2", "encrypted-document"),
        ("old.doc", "attachment:2", "legacy-office"),
        ("old.xls", "attachment:2", "legacy-office"),
        ("old.ppt", "attachment:2", "legacy-office"),
        ("outlook.msg", "attachment:2", "outlook-item"),
        ("winmail.dat", "attachment:2", "outlook-item"),
    ] {
        let found = classify(&file(name));
        assert!(
            reasons(&found).contains(&(place, because)),
            "{name}: {:?}",
            found.unreadable
        );
    }
}

#[test]
fn limits_hold_for_all_files_of_a_message_together() {
    let inner = file("nested.zip");
    let because = |limits: &Limits| {
        let unread = content(&inner, limits).unreadable;
        unread.first().map(|unread| unread.because)
    };
    let limits = Limits::default();
    assert_eq!(because(&limits), None);
    for limits in [
        Limits { depth: 2, ..limits },
        Limits {
            unpacked_octets: 50_000,
            ..limits
        },
        Limits {
            text_octets: 100,
            ..limits
        },
    ] {
        assert_eq!(because(&limits), Some("too-large"), "{limits:?}");
    }
}

/// Files that are cut off, or in which one octet is another, are read as far as it goes, or say why not.
#[test]
fn no_damage_goes_unnoticed_by_breaking_off() {
    let mut names: Vec<_> = fs::read_dir(folder()).unwrap().collect();
    names.retain(|name| !name.as_ref().unwrap().path().ends_with("bomb.zip"));
    let limits = Limits {
        unpacked_octets: 1 << 20,
        ..Limits::default()
    };
    let mut random = 1_u64;
    for name in names {
        let whole = fs::read(name.unwrap().path()).unwrap();
        for _ in 0..DAMAGES {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = usize::try_from(random >> 33).unwrap() % whole.len();
            content(&whole[..at], &limits);
            let mut turned = whole.clone();
            turned[at] ^= u8::try_from(random >> 56).unwrap() | 1;
            content(&turned, &limits);
        }
    }
}

/// Ways in which each file is damaged.
const DAMAGES: usize = 4;
