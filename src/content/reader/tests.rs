//! What is read of a message.

use super::super::tar;
use super::super::zip::tests::archive;
use super::*;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    unpacked_octets: 1 << 20,
    ratio: 200,
    text_octets: 1000,
    depth: 2,
};

fn content(octets: impl AsRef<[u8]>) -> Content {
    let message = Message::new(octets.as_ref().to_vec());
    let structure = mime::parse(message.octets()).unwrap();
    read(&message, &structure, &LIMITS)
}

/// A message with a text and one attachment.
fn with_file(kind: &str, name: &str, file: &[u8]) -> Content {
    let file = STANDARD.encode(file);
    content(format!(
        "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n\
         --b\r\nContent-Type: {kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{file}\r\n--b--\r\n"
    ))
}

fn texts(content: &Content) -> Vec<(&str, &str)> {
    let texts = content.texts.iter();
    texts
        .map(|piece| (piece.place.as_str(), piece.text.as_str()))
        .collect()
}

fn unread(content: &Content) -> Vec<(&str, &str)> {
    let unread = content.unreadable.iter();
    unread
        .map(|unread| (unread.place.as_str(), unread.because))
        .collect()
}

#[test]
fn a_file_is_read_by_what_it_is_and_not_by_what_it_says() {
    for (kind, name, file, expected) in [
        (
            "application/octet-stream",
            "a.bin",
            &b"caf\xc3\xa9"[..],
            "caf\u{e9}",
        ),
        ("image/png", "a.png", b"plain text", "plain text"),
        ("text/html", "a.txt", b"<html>a<br>b", "a\nb"),
        (
            "application/vnd.ms-excel",
            "a.csv",
            b"\xFF\xFEa\0,\0b\0",
            "a,b",
        ),
        ("text/plain", "a.txt", b"see %PDF-1.4", "see %PDF-1.4"),
        (
            "image/svg+xml",
            "a.svg",
            b"<svg><text>45<tspan>0</tspan></text></svg>",
            "<svg><text>45<tspan>0</tspan></text></svg>",
        ),
    ] {
        let content = with_file(kind, name, file);
        let texts = texts(&content);
        assert_eq!(
            texts[..2],
            [("body:1", "hello"), ("attachment:2", expected)]
        );
        let words = texts.get(2).map(|(_, text)| *text);
        assert_eq!(words, expected.starts_with("<svg").then_some("450"));
    }
    let table = with_file("text/csv", "a.dat", b"a,b");
    assert_eq!(table.texts[1].form, Form::Table);
}

#[test]
fn what_cannot_be_read_is_said() {
    for (file, because) in [
        (b"7z\xBC\xAF\x27\x1C\0\x04".to_vec(), "archive"),
        (archive(&["a.txt"], 1), "encrypted-archive"),
        (b"%PDF-1.4 /Encrypt 1 0 R".to_vec(), "encrypted-document"),
        (
            b"-----BEGIN PGP MESSAGE-----\n".to_vec(),
            "encrypted-document",
        ),
        (b"PK\x03\x04".to_vec(), "malformed"),
        (vec![b'x'; 4000], "too-large"),
        (
            [b"\0\x01".as_slice(), &archive(&["a"], 1)].concat(),
            "encrypted-archive",
        ),
    ] {
        let content = with_file("application/octet-stream", "a", &file);
        assert_eq!(unread(&content), [("attachment:2", because)]);
    }
    assert_eq!(
        unread(&with_file("image/png", "a", b"\x89PNG\r\n\x1a\n")),
        []
    );
    let enveloped = with_file(
        "application/pkcs7-mime; smime-type=enveloped-data",
        "smime.p7m",
        b"\x30\x80",
    );
    assert_eq!(unread(&enveloped), [("attachment:2", "encrypted-document")]);
}

#[test]
fn archives_show_the_names_in_them() {
    let content = with_file(
        "application/zip",
        "a.zip",
        &archive(&["b/c.txt", "d.exe"], 0),
    );
    assert_eq!(content.attachments[0].names, ["b/c.txt", "d.exe"]);
    assert_eq!(content.attachments[0].filename_place(), "filename:2");
}

#[test]
fn a_message_that_comes_as_a_file_is_opened_within_limits() {
    let eml = |inner: &str| {
        format!(
            "From: a@b.example\r\nSubject: inner\r\nContent-Type: application/octet-stream\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            STANDARD.encode(inner)
        )
    };
    let innermost = "From: a@b.example\r\nSubject: innermost\r\n\r\nNHS";
    let content = with_file("application/octet-stream", "a", eml(innermost).as_bytes());
    assert_eq!(
        texts(&content),
        [("body:1", "hello"), ("attachment:2/1/1", "NHS")]
    );
    let subjects = content
        .headers
        .iter()
        .filter(|piece| piece.text.starts_with("inner"));
    let places: Vec<_> = subjects.map(|piece| piece.place.as_str()).collect();
    assert_eq!(places, ["attachment:2", "attachment:2/1"]);

    let deeper = eml(&eml(innermost));
    let content = with_file("application/octet-stream", "a", deeper.as_bytes());
    assert_eq!(unread(&content), [("attachment:2/1/1", "too-large")]);
}

#[test]
fn the_header_that_a_report_returns_is_read_as_one() {
    let header =
        b"From: a@b.example\r\nSubject: =?utf-8?B?TkhTIDQ1MCA1NTc=?=\r\n =?utf-8?B?IDcxMDQ=?=\r\n";
    let content = with_file("text/rfc822-headers", "", header);
    let subject = content
        .headers
        .iter()
        .any(|it| it.text == "NHS 450 557 7104");
    assert!(subject, "the subject is decoded");
}

#[test]
fn text_beyond_the_limit_is_not_kept() {
    let content = content(format!("Subject: x\r\n\r\n{}", "x".repeat(5000)));
    assert_eq!(content.texts[0].text.len(), 1000);
    assert_eq!(unread(&content), [("body:1", "too-large")]);
}

#[test]
fn the_second_subject_and_a_message_without_parts_are_read_too() {
    let content = content("Subject: a\r\nSubject: =?utf-8?Q?b?=\r\n\r\nx");
    assert_eq!(content.subject, "a");
    assert_eq!(
        (
            content.headers[0].place.as_str(),
            content.headers[0].text.as_str()
        ),
        ("subject", "b")
    );

    let content = unparsed(&Message::new(&b"Subject: a\r\n\r\nNHS"[..]), &LIMITS);
    assert_eq!(
        (texts(&content), unread(&content)),
        (vec![("body:1", "NHS")], vec![("body:1", "malformed")])
    );
}

#[test]
fn nothing_that_was_read_is_printed() {
    let content = with_file("text/plain", "mrs-smith.txt", b"450 557 7104");
    let shown = format!("{content:?}");
    assert!(
        !shown.contains("smith") && !shown.contains("557"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        content(&octets);
    }

    #[test]
    fn any_file_is_read(kind in "(text/plain|text/html|message/rfc822|application/zip|multipart/mixed)", file in proptest::collection::vec(any::<u8>(), 0..300)) {
        with_file(&kind, "a", &file);
    }
}

#[test]
fn folders_and_comments_of_a_tar_are_kept_as_far_as_the_limit_allows() {
    let folders = |count: usize| -> Vec<u8> {
        let folder = |nth: usize| tar::tests::entry(&format!("folder {nth:03}/"), b'5', b"");
        (0..count).flat_map(folder).collect()
    };
    let read = |count| with_file("application/x-tar", "a.tar", &folders(count));
    let few = read(9);
    assert_eq!(unread(&few), []);
    assert_eq!(
        few.headers
            .iter()
            .filter(|it| it.place == "filename:2")
            .count(),
        9
    );
    let many = read(1000);
    assert_eq!(unread(&many), [("attachment:2", "too-large")]);
    assert!(many.headers.len() < 100);
}

/// An archive of one file, stored.
fn archive_of(name: &str, file: &[u8]) -> Vec<u8> {
    let mut octets = archive(&["[Content_Types].xml", name], 0);
    let length = u32::try_from(file.len()).unwrap().to_le_bytes();
    let at = memchr::memmem::find(&octets, b"PK\x01\x02").unwrap();
    let central = octets.len() - 22 - name.len() - 46;
    octets[central + 20..central + 24].copy_from_slice(&length);
    octets[central + 24..central + 28].copy_from_slice(&length);
    let end = octets.len() - 6;
    let start = u32::try_from(at + file.len()).unwrap().to_le_bytes();
    octets[end..end + 4].copy_from_slice(&start);
    octets.splice(at..at, file.iter().copied());
    octets
}

#[test]
fn records_of_a_pivot_table_that_are_no_xml_are_not_read_as_such() {
    let read =
        |name, records: &[u8]| with_file("application/zip", "a.xlsx", &archive_of(name, records));
    let binary = read(
        "xl/pivotCache/pivotCacheRecords1.bin",
        b"\x21\x05<\x81\x00\x00<<&\xff",
    );
    let because: Vec<_> = unread(&binary)
        .into_iter()
        .map(|(_, because)| because)
        .collect();
    assert!(!because.contains(&"malformed"), "{because:?}");
    let records = b"<pivotCacheRecords><r><s v=\"450\"/><n v=\"557\"/></r></pivotCacheRecords>";
    let records = read("xl/pivotCache/pivotCacheRecords1.xml", records);
    assert!(
        texts(&records)
            .iter()
            .any(|(_, text)| text.contains("450\t557")),
        "{:?}",
        texts(&records)
    );
}
