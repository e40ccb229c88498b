//! Documents that are ZIP archives: those of Office's (ECMA-376) and OpenDocument.
//!
//! Every part that is XML is read, whatever its name, and what is embedded is a file of its own; pictures
//! and what programs note for themselves are not looked into. A document without any words is
//! `image-only`.

use crate::content::Form;
use crate::content::kind::Kind;
use crate::content::pivot;
use crate::content::sheet::{self, Words};
use crate::content::xml::{self, Style};
use crate::content::zip::{Directory, Entry};

use super::Reader;
use super::files::{File, detect};

impl Reader {
    /// Reads a document: its words stand where the document stands, embedded files at `/N`.
    pub(super) fn package(&mut self, directory: &Directory, octets: &[u8], path: &str) {
        let manifest = self.part_named(MANIFEST, directory, octets, path);
        if manifest.is_some_and(|manifest| is_encrypted(&manifest)) {
            self.unread(&format!("attachment:{path}"), "encrypted-document");
            return;
        }
        let words = self.part_named(SHARED_STRINGS, directory, octets, path);
        let mut words = words.map(|part| Words::read(&part)).unwrap_or_default();
        let (findings, texts) = (self.content.unreadable.len(), self.content.texts.len());
        self.said_of(directory, octets, path);
        let mut has_words = false;
        for (index, entry) in directory.entries.iter().enumerate() {
            if entry.is_folder() || entry.encrypted || is_named(entry, SHARED_STRINGS) {
                continue;
            }
            let within = format!("{path}/{}", index + 1);
            let Some(part) = self.unpack(entry, octets, &within) else {
                continue;
            };
            let name = entry.name.as_str();
            if SHEETS.iter().any(|it| name.starts_with(it)) && is_xml(name, &part) {
                has_words |= self.sheet(&part, &mut words, path);
            } else if let Some(definition) = definition_of(name).filter(|_| is_xml(name, &part)) {
                let definition = self.part_named(&definition, directory, octets, path);
                self.records(&part, &definition.unwrap_or_default(), path);
            } else if is_xml(name, &part) {
                has_words |= self.part(name, &part, path);
            } else {
                self.embedded(name, &part, &within);
            }
        }
        // Of words that no cell holds any more somebody may have thought that they are gone.
        self.keep(path, words.unused(), Form::Plain);
        let told = self.content.unreadable.len() > findings;
        let embedded = self.content.texts[texts..]
            .iter()
            .any(|piece| piece.place.contains(&format!(":{path}/")));
        if !has_words && !told && !embedded {
            self.unread(&format!("attachment:{path}"), "image-only");
        }
    }

    /// A part that has to be seen before the others.
    fn part_named(
        &mut self,
        name: &str,
        directory: &Directory,
        octets: &[u8],
        path: &str,
    ) -> Option<Vec<u8>> {
        let mut entries = directory.entries.iter();
        let entry = entries.find(|entry| is_named(entry, name) && !entry.encrypted)?;
        self.unpack(entry, octets, path)
    }

    fn sheet(&mut self, part: &[u8], words: &mut Words, path: &str) -> bool {
        let sheet = sheet::read(part, words, self.text_left());
        if sheet.is_cut {
            self.unread(&format!("attachment:{path}"), "too-large");
        } else if !sheet.clean {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
        let has_words = !sheet.text.trim().is_empty();
        self.keep(path, sheet.text, Form::Table);
        has_words
    }

    fn records(&mut self, part: &[u8], definition: &[u8], path: &str) {
        let records = pivot::read(part, &pivot::fields(definition), self.text_left());
        if records.is_cut {
            self.unread(&format!("attachment:{path}"), "too-large");
        } else if !records.clean {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
        self.keep(path, records.text, Form::Table);
    }

    /// Reads a part that is XML, and says whether words of the document itself are in it.
    fn part(&mut self, name: &str, part: &[u8], path: &str) -> bool {
        let is_about = ABOUT.iter().any(|about| name.contains(about));
        let style = if is_about {
            Style::Properties
        } else {
            Style::Page
        };
        let read = xml::to_text(part, style);
        if !read.clean {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
        let form = if read.is_table {
            Form::Table
        } else {
            Form::Plain
        };
        self.keep(path, read.text, form);
        for view in read.views {
            self.keep(path, view, Form::Again);
        }
        read.has_words && !is_about && !TEMPLATES.iter().any(|start| name.starts_with(start))
    }

    /// Reads what is no part of the document but lies in it.
    fn embedded(&mut self, name: &str, octets: &[u8], path: &str) {
        if name == "mimetype" && is_media_type(octets) {
            return; // every OpenDocument file has it: it would be taken for words of a scan
        }
        let mut detected = detect(octets);
        let is_own = !name.contains("embeddings/")
            && !name.starts_with("Object ")
            && !name.starts_with("xl/worksheets/")
            // Power Pivot's own copy of the tables, packed in its own way.
            && !name.starts_with("xl/model/");
        if detected.kind == Kind::Unknown && is_own {
            // Settings of printers, fonts, drawings.
            detected.unreadable = None;
        }
        self.file(&File { octets, name, path }, &detected);
    }
}

fn is_named(entry: &Entry, name: &str) -> bool {
    entry.name.eq_ignore_ascii_case(name)
}

fn is_xml(name: &str, part: &[u8]) -> bool {
    let ends = |end: &&str| name.to_ascii_lowercase().ends_with(end);
    xml::begins(part) || [".xml", ".rels", ".vml"].iter().any(ends)
}

/// The definition that records of a pivot table belong to, by their names.
fn definition_of(name: &str) -> Option<String> {
    let number = name.strip_prefix("xl/pivotCache/pivotCacheRecords")?;
    Some(format!("xl/pivotCache/pivotCacheDefinition{number}"))
}

/// Whether it says no more than what kind of document it is (OpenDocument 1.3 part 2 §3.3).
fn is_media_type(octets: &[u8]) -> bool {
    let allowed = |octet: &u8| octet.is_ascii_lowercase() || b"/.+-".contains(octet);
    octets.starts_with(b"application/") && octets.trim_ascii_end().iter().all(allowed)
}

/// Whether a manifest tells of encryption (OpenDocument 1.3 part 2 §4.4).
fn is_encrypted(manifest: &[u8]) -> bool {
    memchr::memmem::find(manifest, b"encryption-data").is_some()
}

/// What slides are made by: "Click to edit Master title style" stands in every presentation, also of scans.
const TEMPLATES: &[&str] = &[
    "ppt/slideMasters/",
    "ppt/slideLayouts/",
    "ppt/notesMasters/",
    "ppt/handoutMasters/",
];
const SHARED_STRINGS: &str = "xl/sharedStrings.xml";
/// Folders of parts that have the cells of a sheet, or what a sheet has beside them.
const SHEETS: &[&str] = &[
    "xl/worksheets/",
    "xl/chartsheets/",
    "xl/dialogsheets/",
    "xl/macrosheets/",
];
const MANIFEST: &str = "META-INF/manifest.xml";
/// Parts that tell about a document: who wrote it, how it looks, where its links lead.
const ABOUT: &[&str] = &[
    "docProps/",
    "customXml/",
    "_rels/",
    "META-INF/",
    "[Content_Types]",
    "meta.xml",
    "settings.xml",
    "styles.xml",
    "theme/",
    "manifest.rdf",
];
