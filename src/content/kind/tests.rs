//! What a file is, by its octets.

use super::super::zip::tests::archive;
use super::*;
use proptest::prelude::*;

fn detected(octets: &[u8]) -> (Kind, Option<&'static str>) {
    let detected = detect(octets, || Cow::Borrowed(octets));
    (detected.kind, detected.unreadable)
}

#[test]
fn a_file_is_what_its_octets_say() {
    let iso = [vec![0; 0x8001], b"CD001".to_vec()].concat();
    let exe = [b"MZ\x90\0\x03\0\0\0".to_vec(), vec![0; 600]].concat();
    for (octets, kind) in [
        (&b"hello, world"[..], Kind::Text),
        ("caf\u{e9},9434765919\n".as_bytes(), Kind::Text),
        (b"\xFF\xFEa\0b\0", Kind::Text),
        (b"MZ is how this text begins", Kind::Text),
        (b"<!DOCTYPE HTML><p>", Kind::Html),
        (b"\xEF\xBB\xBF<html>", Kind::Html),
        (
            b"From: a@b.example\r\nSubject: x\r\n\r\nhello",
            Kind::Message,
        ),
        (b"Note: this\nis no mail: at all", Kind::Text),
        (b"#!/bin/sh\nrm", Kind::Script),
        (b"{\\rtf1 x}", Kind::RichText),
        (b"\x89PNG\r\n\x1a\n", Kind::Image),
        (b"\x7FELF\x02\x01\x01\0", Kind::Executable),
        (&exe, Kind::Executable),
        (&iso, Kind::DiskImage),
        (b"\x4C\x00\x00\x00\x01\x14\x02\x00", Kind::Shortcut),
        (b"\x1F\x8B\x08\0", Kind::Archive),
        (b"\0\x01\x02\x03", Kind::Unknown),
        (b"", Kind::Text),
    ] {
        assert_eq!(
            detected(octets).0,
            kind,
            "{:?}",
            &octets[..octets.len().min(30)]
        );
    }
}

#[test]
fn archives_and_documents_tell_what_they_hold_and_whether_they_are_locked() {
    let ole = |stream: &str| [OLE, &utf16(stream)].concat();
    let cms = |kind: &[u8], rest: &[u8]| {
        let start = b"\x30\x80\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07";
        [start.as_slice(), kind, b"\xA0\x80\x30\x80", rest].concat()
    };
    for (octets, expected) in [
        (archive(&["a.txt"], 0), (Kind::Archive, None)),
        (
            archive(&["a.txt"], 1),
            (Kind::Archive, Some("encrypted-archive")),
        ),
        (
            archive(&["[Content_Types].xml", "word/document.xml"], 0),
            (Kind::OfficeDocument, None),
        ),
        (
            archive(&["[Content_Types].xml", "word/vbaProject.bin"], 0),
            (Kind::MacroDocument, None),
        ),
        (
            archive(&["META-INF/MANIFEST.MF", "A.class"], 0),
            (Kind::Executable, None),
        ),
        (
            b"PK\x03\x04 cut off".to_vec(),
            (Kind::Archive, Some("malformed")),
        ),
        (
            ole("WordDocument"),
            (Kind::OfficeDocument, Some("legacy-office")),
        ),
        (
            ole("_VBA_PROJECT"),
            (Kind::MacroDocument, Some("legacy-office")),
        ),
        (
            ole("EncryptedPackage"),
            (Kind::OfficeDocument, Some("encrypted-document")),
        ),
        (
            ole("__substg1.0_0037001F"),
            (Kind::OutlookItem, Some("outlook-item")),
        ),
        (
            b"\x78\x9F\x3E\x22\x01\x00".to_vec(),
            (Kind::OutlookItem, Some("outlook-item")),
        ),
        (
            b"Rar!\x1A\x07\x01\x00".to_vec(),
            (Kind::Archive, Some("archive")),
        ),
        (
            b"7z\xBC\xAF\x27\x1C\0\x04".to_vec(),
            (Kind::Archive, Some("archive")),
        ),
        (b"%PDF-1.7\n1 0 obj".to_vec(), (Kind::Pdf, None)),
        (
            [b"\x89PNG\r\n\x1a\n".as_slice(), &archive(&["a.txt"], 0)].concat(),
            (Kind::Archive, None),
        ),
        (
            [b"\x89PNG\r\n\x1a\n".as_slice(), b"PK\x05\x06"].concat(),
            (Kind::Image, None),
        ),
        (
            cms(b"\x03", b""),
            (Kind::EncryptedMessage, Some("encrypted-document")),
        ),
        (
            cms(b"\x02", &[CMS_DATA, b"\xA0\x80"].concat()),
            (Kind::EncryptedMessage, Some("encrypted-document")),
        ),
        (
            cms(b"\x02", &[CMS_DATA, b"\xA0"].concat()[..CMS_DATA.len()]),
            (Kind::Signature, None),
        ),
        (
            cms(b"\x02", &[CMS_DATA, b"\0\0"].concat()),
            (Kind::Signature, None),
        ),
        (
            b"7z\xBC\xAF\x27\x1C\0\x04 \x06\xF1\x07\x01".to_vec(),
            (Kind::Archive, Some("encrypted-archive")),
        ),
        (
            b"-----BEGIN PGP MESSAGE-----\r\n".to_vec(),
            (Kind::EncryptedMessage, Some("encrypted-document")),
        ),
        (
            b"-----BEGIN PGP SIGNATURE-----\r\n".to_vec(),
            (Kind::Signature, None),
        ),
    ] {
        assert_eq!(detected(&octets), expected);
    }
}

#[test]
fn every_kind_has_its_word() {
    for (word, kind) in Kind::WORDS {
        assert_eq!(kind.word(), *word);
    }
}

proptest! {
    #[test]
    fn any_octets_are_of_some_kind(octets in proptest::collection::vec(any::<u8>(), 0..400), signature in 0usize..OWN.len()) {
        detected(&octets);
        detected(&[OWN[signature].1, &octets].concat());
        detected(&[OLE, &octets].concat());
        detected(&[b"%PDF-", &octets[..]].concat());
    }
}
