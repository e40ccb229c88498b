//! A message that was not received now: from a file, an attachment, the quarantine. Read as the gateway reads
//! mail, but that no file is opened.

use crate::content::{self, Content, Limits};
use crate::mail::mime::{self, Structure};
use crate::mail::{Header, Message};
use crate::policy::author::authors;

use super::look::Look;
use super::{Features, Mail};

/// A message and what can be read in it.
#[derive(Debug)]
pub struct Specimen {
    message: Message,
    structure: Option<Structure>,
    content: Content,
}

impl Specimen {
    /// Reads a message; of any octets something can be read. A line `From …` of an mbox is taken off.
    pub fn read(octets: Vec<u8>) -> Self {
        let message = Message::of_file(without_mbox_line(octets));
        // Depth 0: archives and documents are not opened.
        let limits = Limits {
            depth: 0,
            text_octets: TEXT_OCTETS,
            ..Limits::default()
        };
        let structure = mime::parse(message.octets()).ok();
        let content = match &structure {
            Some(structure) => content::read(&message, structure, &limits),
            None => content::unparsed(&message, &limits),
        };
        Self {
            message,
            structure,
            content,
        }
    }

    /// What is in it.
    pub fn features(&self) -> Features {
        self.ask(|mail| Features::of(&Look::new(*mail)))
    }

    /// The address of its author in lower case; empty if it has none.
    pub fn author(&self) -> String {
        let header = self.message.header();
        let mut authors = authors(&header, "From").into_iter();
        let mailbox = authors.find_map(|author| author.mailbox);
        mailbox.map_or_else(String::new, |mailbox| mailbox.to_string().to_lowercase())
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// What a reader sees.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Its parts, if they can be told apart.
    pub fn structure(&self) -> Option<&Structure> {
        self.structure.as_ref()
    }

    /// Asks something of it.
    pub fn ask<T>(&self, ask: impl FnOnce(&Mail<'_>) -> T) -> T {
        let header: Header<'_> = self.message.header();
        ask(&Mail {
            octets: self.message.octets(),
            header: &header,
            structure: self.structure.as_ref(),
            content: &self.content,
        })
    }
}

fn without_mbox_line(mut octets: Vec<u8>) -> Vec<u8> {
    if octets.starts_with(b"From ") {
        let end = memchr::memchr(b'\n', &octets).map_or(octets.len(), |end| end + 1);
        octets.drain(..end);
    }
    octets
}

/// Text that is decoded: rules and learner look at the first of it.
const TEXT_OCTETS: usize = 256 << 10;
