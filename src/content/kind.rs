//! Kinds: what an attachment is, by its octets and never by its name.

use std::borrow::Cow;

use infer::MatcherType;
use memchr::memmem;

use super::macros;
use super::seek::next_octet;
use super::tar;
use super::text::unmarked_utf16;
use super::zip::Directory;

/// What a file is, as far as it matters to the policy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Text in some charset: plain, CSV, JSON, a calendar.
    Text,
    /// HTML.
    Html,
    /// A mail message.
    Message,
    /// PDF.
    Pdf,
    /// Rich text.
    RichText,
    /// A document of an office program without macros, old or new, or OpenDocument.
    OfficeDocument,
    /// One with macros in it.
    MacroDocument,
    /// A message, appointment or contact as Outlook stores them, or `winmail.dat`.
    OutlookItem,
    /// An archive: several files in one, or a compressed one.
    Archive,
    /// A picture.
    Image,
    /// Sound or video.
    Media,
    /// A program for some machine.
    Executable,
    /// Text that a machine runs.
    Script,
    /// A Windows shortcut.
    Shortcut,
    /// An image of a disk, which opens as a folder.
    DiskImage,
    /// A package that installs programs.
    Installer,
    /// Mail encrypted from end to end: S/MIME or PGP.
    EncryptedMessage,
    /// A signature or a key.
    Signature,
    /// None of these.
    Unknown,
}

impl Kind {
    /// All of them with their words, as policy files name them.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("text", Self::Text),
        ("html", Self::Html),
        ("message", Self::Message),
        ("pdf", Self::Pdf),
        ("rich-text", Self::RichText),
        ("office-document", Self::OfficeDocument),
        ("macro-document", Self::MacroDocument),
        ("outlook-item", Self::OutlookItem),
        ("archive", Self::Archive),
        ("image", Self::Image),
        ("media", Self::Media),
        ("executable", Self::Executable),
        ("script", Self::Script),
        ("shortcut", Self::Shortcut),
        ("disk-image", Self::DiskImage),
        ("installer", Self::Installer),
        ("encrypted-message", Self::EncryptedMessage),
        ("signature", Self::Signature),
        ("unknown", Self::Unknown),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        found.map_or("unknown", |(word, _)| word)
    }
}

/// What is known of a file without unpacking it.
pub(super) struct Detected {
    pub(super) kind: Kind,
    /// Names of the files in it, for ZIP archives.
    pub(super) names: Vec<String>,
    /// Why it cannot be read, if that is known already.
    pub(super) unreadable: Option<&'static str>,
    /// How it is looked into, if it is no text and there is a way.
    pub(super) opens: Option<Opens>,
}

/// A way to look into a file.
pub(super) enum Opens {
    /// A ZIP archive.
    Archive(Directory),
    /// A document that is a ZIP archive: of Office's or OpenDocument.
    Package(Directory),
    /// A tar archive.
    Tar,
    /// One compressed file.
    Gzip,
    /// PDF.
    Pdf,
    /// Rich text.
    RichText,
}

impl Detected {
    fn plain(kind: Kind) -> Self {
        let unreadable = match kind {
            Kind::Text | Kind::Html | Kind::Message | Kind::Script | Kind::RichText => None,
            Kind::Image | Kind::Media | Kind::Signature => None,
            Kind::EncryptedMessage => Some("encrypted-document"),
            // 7z, RAR, and all that packs but ZIP, gzip and tar.
            Kind::Archive => Some("archive"),
            // `winmail.dat`, and `.msg`.
            Kind::OutlookItem => Some("outlook-item"),
            _ => Some("unknown-format"),
        };
        Self {
            kind,
            names: Vec::new(),
            unreadable,
            opens: (kind == Kind::RichText).then_some(Opens::RichText),
        }
    }
}

/// Detects what a file is. `head` are its first octets ([`HEAD_OCTETS`] of them suffice); `whole` is asked
/// only where the end or the middle has to be seen.
pub(super) fn detect<'f>(head: &[u8], whole: impl Fn() -> Cow<'f, [u8]>) -> Detected {
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return detect_zip(&whole());
    }
    if head.starts_with(OLE) {
        return detect_ole(&whole());
    }
    if is_pdf(head) {
        return Detected {
            unreadable: None,
            opens: Some(Opens::Pdf),
            ..Detected::plain(Kind::Pdf)
        };
    }
    if head.starts_with(b"7z\xBC\xAF\x27\x1C") {
        return detect_7z(&whole());
    }
    if head.starts_with(b"\x1F\x8B") {
        return Detected {
            unreadable: None,
            opens: Some(Opens::Gzip),
            ..Detected::plain(Kind::Archive)
        };
    }
    if tar::begins(head) {
        return Detected {
            unreadable: None,
            opens: Some(Opens::Tar),
            ..Detected::plain(Kind::Archive)
        };
    }
    match kind_of(head) {
        // Programs that open archives look for the end, whatever stands before: a picture too.
        Kind::Unknown | Kind::Image | Kind::Media if ends_in_archive(&whole()) => {
            detect_zip(&whole())
        }
        kind => Detected::plain(kind),
    }
}

fn ends_in_archive(file: &[u8]) -> bool {
    let tail = &file[file.len().saturating_sub(ARCHIVE_TAIL)..];
    memmem::rfind(tail, b"PK\x05\x06").is_some()
        && Directory::read(file).is_some_and(|it| !it.entries.is_empty())
}

/// What a message in the syntax of S/MIME is (RFC 5652 §3): `.p7m` also where its type says nothing. Of what is
/// signed, the text may be wrapped up in the signature; what stands apart from its text is a signature.
fn kind_of_cms(head: &[u8]) -> Option<Kind> {
    let head = head.get(..CMS_WITHIN).unwrap_or(head);
    if head.first() != Some(&0x30) {
        return None;
    }
    let has = |octets: &[u8]| memmem::find(head, octets);
    if CMS_SEALED
        .iter()
        .any(|kind| has(kind).is_some_and(|at| at <= CMS_TYPE_WITHIN))
    {
        return Some(Kind::EncryptedMessage);
    }
    has(CMS_SIGNED).filter(|at| *at <= CMS_TYPE_WITHIN)?;
    let data = has(CMS_DATA)?;
    match head.get(data + CMS_DATA.len()) {
        Some(0xA0) => Some(Kind::EncryptedMessage),
        _ => Some(Kind::Signature),
    }
}

fn kind_of(head: &[u8]) -> Kind {
    let own = OWN
        .iter()
        .find(|(at, octets, _)| head.get(*at..).is_some_and(|from| from.starts_with(octets)));
    if let Some((.., kind)) = own {
        return *kind;
    }
    if let Some(kind) = kind_of_cms(head) {
        return kind;
    }
    if looks_like_text(head) {
        return kind_of_text(head);
    }
    if unmarked_utf16(head).is_some() {
        return Kind::Text;
    }
    let Some(found) = infer::get(head) else {
        return Kind::Unknown;
    };
    match (found.matcher_type(), found.mime_type()) {
        (_, "application/x-x509-ca-cert") => Kind::Signature,
        (
            _,
            "application/vnd.debian.binary-package"
            | "application/x-rpm"
            | "application/x-google-chrome-extension",
        ) => Kind::Installer,
        (_, "application/x-shockwave-flash") => Kind::Executable,
        (_, "application/x-qemu-disk") => Kind::DiskImage,
        (MatcherType::App, _) => Kind::Executable,
        (MatcherType::Image, _) => Kind::Image,
        (MatcherType::Audio | MatcherType::Video, _) => Kind::Media,
        (MatcherType::Archive, _) => Kind::Archive,
        _ => Kind::Unknown,
    }
}

fn kind_of_text(head: &[u8]) -> Kind {
    let start = head
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(head)
        .trim_ascii_start();
    let begins = |text: &[u8]| {
        start
            .get(..text.len())
            .is_some_and(|it| it.eq_ignore_ascii_case(text))
    };
    if begins(b"#!") || begins(b"@echo off") || begins(b"<?php") || begins(b"<job") {
        Kind::Script
    } else if HTML.iter().any(|tag| begins(tag)) {
        Kind::Html
    } else if begins(b"-----BEGIN PGP MESSAGE-----") {
        Kind::EncryptedMessage
    } else if begins(b"-----BEGIN ") {
        Kind::Signature
    } else if looks_like_message(start) {
        Kind::Message
    } else {
        Kind::Text
    }
}

/// Whether no octet is one that texts do not have. UTF-16 is text if it says so by its first octets.
pub(super) fn looks_like_text(head: &[u8]) -> bool {
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return true;
    }
    let control = |octet: u8| {
        (octet <= 8)
            | (octet.wrapping_sub(14) <= 26 - 14)
            | (octet.wrapping_sub(28) <= 31 - 28)
            | (octet == 127)
    };
    next_octet(head, 0, control).is_none()
}

/// Whether it begins with fields of mail, two of those that all mail has among them.
fn looks_like_message(start: &[u8]) -> bool {
    let mut known = 0;
    for line in start.split(|octet| *octet == b'\n').take(MESSAGE_LINES) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            return false;
        };
        let name = &line[..colon];
        if name.is_empty() || !name.iter().all(|octet| (b'!'..=b'~').contains(octet)) {
            return false;
        }
        known += usize::from(
            MAIL_FIELDS
                .iter()
                .any(|field| name.eq_ignore_ascii_case(field.as_bytes())),
        );
    }
    known >= 2
}

fn detect_zip(archive: &[u8]) -> Detected {
    let Some(directory) = Directory::read(archive) else {
        return Detected {
            unreadable: Some("malformed"),
            ..Detected::plain(Kind::Archive)
        };
    };
    let is_office = directory.has("[Content_Types].xml") || directory.has("mimetype");
    let has_macros = ["vbaProject.bin", "vbaProjectSignature.bin", "xlmMacro.xml"]
        .iter()
        .any(|name| directory.has_file(name))
        || (is_office && (directory.has_folder("Basic") || directory.has_folder("xl/macrosheets")));
    let kind = if has_macros {
        Kind::MacroDocument
    } else if directory.has("META-INF/MANIFEST.MF") && !is_office {
        Kind::Executable
    } else if directory.has("AndroidManifest.xml") || directory.has("AppxManifest.xml") {
        Kind::Installer
    } else if is_office {
        Kind::OfficeDocument
    } else {
        Kind::Archive
    };
    let unreadable = if directory.encrypted {
        Some("encrypted-archive")
    } else {
        directory.hides.then_some("malformed")
    };
    Detected {
        kind,
        unreadable,
        // The files of an office document are its own affair.
        names: match kind {
            Kind::Archive => directory.names().map(str::to_owned).collect(),
            _ => Vec::new(),
        },
        opens: Some(if is_office {
            Opens::Package(directory)
        } else {
            Opens::Archive(directory)
        }),
    }
}

/// Compound files: old office documents, Outlook items, installers; also new documents with a password.
fn detect_ole(file: &[u8]) -> Detected {
    let has = |name: &str| memmem::find(file, &utf16(name)).is_some();
    let kind = if has("_VBA_PROJECT") || macros::has_macro_sheet(file) {
        Kind::MacroDocument
    } else if has("__substg1.0_") {
        Kind::OutlookItem
    } else if [
        "WordDocument",
        "Workbook",
        "Book",
        "PowerPoint Document",
        "EncryptedPackage",
    ]
    .iter()
    .any(|stream| has(stream))
    {
        Kind::OfficeDocument
    } else {
        Kind::Installer
    };
    let encrypted = has("EncryptedPackage") || has("EncryptedSummary");
    let plain = Detected::plain(kind);
    Detected {
        unreadable: match kind {
            _ if encrypted => Some("encrypted-document"),
            Kind::OfficeDocument | Kind::MacroDocument => Some("legacy-office"),
            _ => plain.unreadable,
        },
        ..plain
    }
}

/// Whether the version line of a PDF is there; a text may speak of it.
fn is_pdf(head: &[u8]) -> bool {
    match memmem::find(&head[..head.len().min(PDF_WITHIN)], b"%PDF-") {
        Some(0) => true,
        Some(_) => !looks_like_text(head) || memmem::find(head, b" obj").is_some(),
        None => false,
    }
}

fn detect_7z(file: &[u8]) -> Detected {
    // The method id of AES in the header at the end.
    let tail = &file[file.len().saturating_sub(SEVEN_ZIP_TAIL)..];
    let encrypted = memmem::find(tail, b"\x06\xF1\x07\x01").is_some();
    Detected {
        unreadable: Some(if encrypted {
            "encrypted-archive"
        } else {
            "archive"
        }),
        ..Detected::plain(Kind::Archive)
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Octets of a file that tell what it is: those of a disk image stand furthest in.
pub(super) const HEAD_OCTETS: usize = 0x8001 + 5;

const OLE: &[u8] = b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1";
/// Where the version line of a PDF has to begin.
const PDF_WITHIN: usize = 1024;
/// The end of a 7z file in which its header is looked for, in octets.
const SEVEN_ZIP_TAIL: usize = 4096;
/// Where the end record of a ZIP archive stands, with the longest comment, in octets from the end.
const ARCHIVE_TAIL: usize = 22 + 65_535;
/// Where in a message of S/MIME its types stand, in octets.
const CMS_WITHIN: usize = 128;
const CMS_TYPE_WITHIN: usize = 8;
/// Types of a message of S/MIME (RFC 5652 §4, §6, §8; RFC 5083 §2): enveloped, encrypted, both at once, compressed.
const CMS_SEALED: &[&[u8]] = &[
    b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x03",
    b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x06",
    b"\x06\x0B\x2A\x86\x48\x86\xF7\x0D\x01\x09\x10\x01\x17",
    b"\x06\x0B\x2A\x86\x48\x86\xF7\x0D\x01\x09\x10\x01\x09",
];
const CMS_SIGNED: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02";
const CMS_DATA: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x01";
/// Lines that are looked at to tell a message.
const MESSAGE_LINES: usize = 100;

/// Signatures: where, which octets, what it is.
const OWN: &[(usize, &[u8], Kind)] = &[
    (0, b"{\\rtf", Kind::RichText),
    (0, b"\x4C\x00\x00\x00\x01\x14\x02\x00", Kind::Shortcut),
    (0, b"\x78\x9F\x3E\x22", Kind::OutlookItem),
    (0, b"\x7FELF", Kind::Executable),
    (0, b"\xFE\xED\xFA\xCE", Kind::Executable),
    (0, b"\xFE\xED\xFA\xCF", Kind::Executable),
    (0, b"\xCE\xFA\xED\xFE", Kind::Executable),
    (0, b"\xCF\xFA\xED\xFE", Kind::Executable),
    (0, b"\xCA\xFE\xBA\xBE", Kind::Executable),
    (0, b"\0asm", Kind::Executable),
    (0, b"ITSF\x03\0\0\0", Kind::Executable),
    (0, b"MSCF\0\0\0\0", Kind::Archive),
    (0, b"Rar!\x1A\x07", Kind::Archive),
    (0, b"\x1F\x8B", Kind::Archive),
    (4, b"1AY&SY", Kind::Archive),
    (0, b"\xFD7zXZ\0", Kind::Archive),
    (0, b"vhdxfile", Kind::DiskImage),
    (0, b"conectix\0\0\0", Kind::DiskImage),
    (0x8001, b"CD001", Kind::DiskImage),
    // OneNote, which runs what is embedded in it.
    (0, b"\xE4\x52\x5C\x7B\x8C\xD8\xA7\x4D", Kind::MacroDocument),
];

/// How HTML begins.
const HTML: &[&[u8]] = &[
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<style",
    b"<table",
    b"<div",
    b"<meta",
    b"<p>",
    b"<iframe",
    b"<title",
];

/// Fields of which mail has at least two.
const MAIL_FIELDS: &[&str] = &[
    "Received",
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Return-Path",
    "Delivered-To",
];

#[cfg(test)]
mod tests;
