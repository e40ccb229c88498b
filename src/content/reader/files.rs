//! Files within files: what archives, documents and compressed files hold, each by its own octets.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::content::apart;
use crate::content::kind::{self, Detected, Kind, Opens};
use crate::content::unpack::{self, Stopped};
use crate::content::zip::{Directory, Entry};
use crate::content::{Attachment, Form, TextPiece};
use crate::content::{links, pdf, rtf, tar};

use super::{Reader, disguise, is_message_name, is_table_name};

/// A file within another one.
#[derive(Clone, Copy)]
pub(super) struct File<'f> {
    pub(super) octets: &'f [u8],
    pub(super) name: &'f str,
    /// Where it lies: `2/1`.
    pub(super) path: &'f str,
}

impl Reader {
    /// Looks into what is no text by itself, in another process if there is one.
    pub(super) fn open(&mut self, opens: &Opens, octets: &[u8], path: &str, name: Option<&str>) {
        let name = name.unwrap_or_default();
        if apart::is_on() {
            self.have_opened(octets, path, name);
        } else {
            self.open_itself(opens, octets, path, name);
        }
    }

    /// Looks into it here. Whatever breaks off in there makes it `malformed`.
    pub(super) fn open_itself(&mut self, opens: &Opens, octets: &[u8], path: &str, name: &str) {
        let depth = self.depth;
        let opened = catch_unwind(AssertUnwindSafe(|| {
            self.look_into(opens, octets, path, name);
        }));
        self.depth = depth;
        if opened.is_err() {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
    }

    fn look_into(&mut self, opens: &Opens, octets: &[u8], path: &str, name: &str) {
        if !self.descend(path) {
            return;
        }
        match opens {
            Opens::Archive(directory) => self.archive(directory, octets, path),
            Opens::Package(directory) => self.package(directory, octets, path),
            Opens::Tar => self.tar(octets, path),
            Opens::Gzip => self.gzip(octets, path, name),
            Opens::RichText => self.rich_text(octets, path),
            Opens::Pdf => self.pdf(octets, path),
        }
    }

    fn archive(&mut self, directory: &Directory, octets: &[u8], path: &str) {
        self.said_of(directory, octets, path);
        for (index, entry) in directory.entries.iter().enumerate() {
            let path = format!("{path}/{}", index + 1);
            // What is encrypted is said of the archive.
            if entry.is_folder() || entry.encrypted {
                continue;
            }
            let Some(file) = self.unpack(entry, octets, &path) else {
                continue;
            };
            self.listed(&File {
                octets: &file,
                name: entry.file_name(),
                path: &path,
            });
        }
    }

    /// Keeps what an archive says of itself and of its entries.
    pub(super) fn said_of(&mut self, directory: &Directory, octets: &[u8], path: &str) {
        let said = directory.said(octets, self.text_left);
        if !said.whole {
            self.unread(&format!("attachment:{path}"), "too-large");
        }
        self.keep(path, said.text, Form::Plain);
    }

    fn tar(&mut self, octets: &[u8], path: &str) {
        let files = tar::read(octets);
        self.name(path, files.said);
        if !files.clean {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
        for (index, entry) in files.entries.iter().enumerate() {
            if self.budget.take_file().is_err() {
                self.unread(&format!("attachment:{path}"), "too-large");
                return;
            }
            let name = entry.name.rsplit('/').next().unwrap_or_default();
            self.listed(&File {
                octets: entry.octets,
                name,
                path: &format!("{path}/{}", index + 1),
            });
        }
    }

    /// Keeps further names of a file, and what is said of it where its name stands, as far as the limit allows.
    fn name(&mut self, path: &str, names: impl IntoIterator<Item = String>) {
        for name in names {
            // Each is a piece of its own, however short.
            let Some(left) = self.text_left.checked_sub(name.len() + NAME_OCTETS) else {
                self.unread(&format!("attachment:{path}"), "too-large");
                return;
            };
            self.text_left = left;
            self.push_header(format!("filename:{path}"), name);
        }
    }

    /// The octets of an entry; why there are none is said.
    pub(super) fn unpack(&mut self, entry: &Entry, archive: &[u8], path: &str) -> Option<Vec<u8>> {
        let unpacked = self
            .budget
            .take_file()
            .and_then(|()| entry.unpack(archive, &mut self.budget));
        self.unpacked(unpacked, path)
    }

    fn unpacked(&mut self, unpacked: Result<Vec<u8>, Stopped>, path: &str) -> Option<Vec<u8>> {
        match unpacked {
            Ok(octets) => Some(octets),
            // Of many files beyond the limits the first says enough.
            Err(Stopped::TooLarge) => {
                let outer = path.split('/').next().unwrap_or(path);
                self.unread(&format!("attachment:{outer}"), "too-large");
                None
            }
            Err(stopped) => {
                self.unread(&format!("attachment:{path}"), stopped.word());
                None
            }
        }
    }

    fn gzip(&mut self, octets: &[u8], path: &str, name: &str) {
        let path = format!("{path}/1");
        let unpacked = unpack::gunzip(octets, &mut self.budget);
        self.name(&path, unpacked.said);
        let Some(file) = self.unpacked(unpacked.octets, &path) else {
            return;
        };
        self.listed(&File {
            octets: &file,
            name: name.strip_suffix(".gz").unwrap_or(name),
            path: &path,
        });
    }

    fn pdf(&mut self, octets: &[u8], path: &str) {
        let read = pdf::read(octets, &mut self.budget, self.text_left);
        for because in read.because {
            self.unread(&format!("attachment:{path}"), because);
        }
        self.keep(path, read.text, Form::Plain);
        self.keep(path, read.rows, Form::Again);
        self.embedded_files(&read.files, path);
    }

    fn rich_text(&mut self, octets: &[u8], path: &str) {
        let read = rtf::to_text(octets);
        if !read.clean {
            self.unread(&format!("attachment:{path}"), "malformed");
        }
        if read.text.trim().is_empty() {
            self.unread(&format!("attachment:{path}"), "image-only");
        }
        self.keep(path, read.text, Form::Plain);
        self.embedded_files(&read.objects, path);
    }

    /// Files within a document, which have no names of their own here.
    fn embedded_files(&mut self, files: &[Vec<u8>], path: &str) {
        for (index, octets) in files.iter().enumerate() {
            let path = &format!("{path}/{}", index + 1);
            let detected = detect(octets);
            let file = File {
                octets,
                name: "",
                path,
            };
            self.file(&file, &detected);
        }
    }

    /// Reads a file, and lists it as an attachment.
    fn listed(&mut self, file: &File<'_>) {
        let detected = detect(file.octets);
        self.content.attachments.push(Attachment {
            place: format!("attachment:{}", file.path),
            filename: Some(file.name.to_owned()).filter(|name| !name.is_empty()),
            also_named: Vec::new(),
            declared: String::new(),
            kind: detected.kind,
            names: detected.names.clone(),
            encoded_octets: file.octets.len(),
        });
        self.file(file, &detected);
    }

    /// Reads a file by what it is.
    pub(super) fn file(&mut self, file: &File<'_>, detected: &Detected) {
        let place = format!("attachment:{}", file.path);
        let is_message = match detected.kind {
            Kind::Message => true,
            Kind::Text => is_message_name(Some(file.name)),
            _ => false,
        };
        let opened = is_message && self.open_message(file.octets, file.path);
        if opened && detected.kind == Kind::Message {
            return;
        }
        let is_text = match detected.kind {
            Kind::Text | Kind::Html | Kind::Script | Kind::Message => true,
            Kind::Signature => kind::looks_like_text(file.octets),
            _ => false,
        };
        if is_text {
            let form = form_of(detected.kind, file.name);
            self.take_text(place.clone(), file.octets, None, form);
        }
        if let Some(because) = detected.unreadable {
            self.unread(&place, because);
        }
        if let Some(opens) = &detected.opens {
            self.open(opens, file.octets, file.path, Some(file.name));
        }
    }

    /// Keeps a text that was taken out of a document, as far as the limit allows.
    pub(super) fn keep(&mut self, path: &str, mut text: String, form: Form) {
        let place = format!("attachment:{path}");
        if text.len() > self.text_left {
            text.truncate(text.floor_char_boundary(self.text_left));
            self.unread(&place, "too-large");
        }
        self.text_left -= text.len();
        if text.trim().is_empty() {
            return;
        }
        self.content.links.add(&place, links::of_document(&text));
        let addresses = disguise::addresses(&text);
        self.content.texts.push(TextPiece {
            place: place.clone(),
            text,
            form,
        });
        if let Some(addresses) = addresses {
            self.another_reading(&place, addresses, Form::Plain);
        }
    }

    /// Octets of text that may still be taken.
    pub(super) fn text_left(&self) -> usize {
        self.text_left
    }
}

/// What a file is.
pub(super) fn detect(octets: &[u8]) -> Detected {
    let head = &octets[..octets.len().min(kind::HEAD_OCTETS)];
    kind::detect(head, || Cow::Borrowed(octets))
}

fn form_of(kind: Kind, name: &str) -> Form {
    match kind {
        Kind::Html => Form::Html,
        _ if is_table_name(&name.to_ascii_lowercase()) => Form::Table,
        _ => Form::Plain,
    }
}

/// What a name takes of the octets of text beside its own.
const NAME_OCTETS: usize = 8;
