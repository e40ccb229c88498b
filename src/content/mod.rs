//! What a reader of a message sees: decoded text, HTML as text, file names, what attachments are.
//!
//! The octets of a message say nothing to a rule about patient data: a number may be base64, be split by
//! markup, or stand in the subject as an encoded word. [`read`] takes all of it out once, within
//! limits, and says where each piece stands ([`TextPiece::place`], `design.md` §4.3). What cannot be
//! read is said as well: it is for the policy to decide what that means. Nothing here judges.
//!
//! Files that have to be opened (documents, archives) are opened in a process of their own, which the kernel
//! holds to so much memory and time (`apart` says why); there each stands behind `catch_unwind` too, so
//! that a panic makes one file `malformed` and not its neighbours. Within it nothing is written in C, nothing
//! recurses but by the depth of [`Limits`], and every octet that comes out of packed data is counted before
//! it is kept ([`Limits::unpacked_octets`]). Work is bounded by octets first and by the clock last, so that
//! a message is read the same way every time, and by `explain` as by the gateway.

mod apart;
mod fields;
pub mod html;
pub mod kind;
pub mod links;
mod macros;
mod pdf;
mod pivot;
mod reader;
mod rtf;
mod seek;
mod sheet;
mod short;
mod tar;
mod text;
mod unpack;
mod xml;
mod zip;

pub use apart::{
    CPU_SECS, MEMORY_OCTETS, READERS_MAX, UNAVAILABLE, WORD as APART_WORD, open_apart,
    serve as serve_apart,
};
pub use kind::Kind;
pub use links::Links;
pub use reader::{read, unparsed};
pub use seek::next_octet;
pub use short::{Unsaid, short_text};

use std::fmt;

/// All that a reader of a message may see.
#[derive(Clone, Default)]
pub struct Content {
    /// The decoded subject; of several, the first.
    pub subject: String,
    /// Decoded fields of the header in which people write: `header:From`; further subjects.
    pub headers: Vec<TextPiece>,
    /// Text of bodies and of attachments, in the order of the message.
    pub texts: Vec<TextPiece>,
    /// All leaves that are no text of the message itself, and texts that are attached.
    pub attachments: Vec<Attachment>,
    /// What could not be looked into, and why (`design.md` §4.3).
    pub unreadable: Vec<Unread>,
    /// Where the links in texts and pages lead.
    pub links: Links,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("subject_octets", &self.subject.len())
            .field("headers", &self.headers)
            .field("texts", &self.texts)
            .field("attachments", &self.attachments)
            .field("unreadable", &self.unreadable)
            .field("links", &self.links.found.len())
            .finish()
    }
}

/// A decoded text and where it stands.
#[derive(Clone, Eq, PartialEq)]
pub struct TextPiece {
    /// `body:1.2`, `attachment:2`, `attachment:2/1`, `header:From`, `subject`.
    pub place: String,
    /// What it says.
    pub text: String,
    /// What it was made of.
    pub form: Form,
}

impl fmt::Debug for TextPiece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TextPiece({} {:?}, {} octets)",
            self.place,
            self.form,
            self.text.len()
        )
    }
}

/// What a text was made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Text as it stands.
    Plain,
    /// The text of HTML, lines and cells kept apart.
    Html,
    /// Lines of cells with the names of the columns in the first: CSV.
    Table,
    /// What was read already, read in another way: with its escapes, without what it hides.
    Again,
}

/// A file that comes with a message, or a leaf that is no text.
#[derive(Clone, Eq, PartialEq)]
pub struct Attachment {
    /// `attachment:2`, `attachment:2/1`.
    pub place: String,
    /// The name to save it under, decoded.
    pub filename: Option<String>,
    /// The other names that it bears: readers choose differently between `filename` and `name`.
    pub also_named: Vec<String>,
    /// What the sender says that it is: `application/pdf`.
    pub declared: String,
    /// What it is.
    pub kind: Kind,
    /// The names of the files in it, if it is a ZIP archive.
    pub names: Vec<String>,
    /// Its size as encoded, in octets.
    pub encoded_octets: usize,
}

impl Attachment {
    /// Where its name stands: `filename:2`.
    pub fn filename_place(&self) -> String {
        let path = self.place.split_once(':').map_or("", |(_, path)| path);
        format!("filename:{path}")
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            declared,
            kind,
            names,
            encoded_octets,
            ..
        } = self;
        let names = names.len();
        write!(
            f,
            "Attachment({place} {declared} {kind:?}, {names} names, {encoded_octets} octets)"
        )
    }
}

/// Something that could not be looked into.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unread {
    /// As [`TextPiece::place`].
    pub place: String,
    /// One of [`Unread::WORDS`].
    pub because: &'static str,
}

impl Unread {
    /// All reasons, in the words of `design.md` §4.3; and [`UNAVAILABLE`], which is none of the file's own.
    pub const WORDS: &'static [&'static str] = &[
        "encrypted-archive",
        "encrypted-document",
        "image-only",
        "unknown-font",
        "too-large",
        "malformed",
        "legacy-office",
        "outlook-item",
        "archive",
        "unknown-format",
        UNAVAILABLE,
    ];

    /// The reason as `design.md` §4.3 has it: those that are told apart since are kinds of one of its own.
    pub fn broadly(because: &'static str) -> &'static str {
        match because {
            "unknown-font" => "image-only",
            "legacy-office" | "outlook-item" | "archive" => "unknown-format",
            other => other,
        }
    }

    /// The reason of this word.
    pub fn word(word: &str) -> Option<&'static str> {
        Self::WORDS.iter().copied().find(|known| *known == word)
    }
}

/// How far a message is looked into. What lies beyond is `too-large`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Decoded text of one message, in octets.
    pub text_octets: usize,
    /// Messages, archives and documents within each other.
    pub depth: usize,
    /// What all archives and documents of one message may unpack to, in octets.
    pub unpacked_octets: usize,
    /// How many times its packed size a file of more than 4 MiB may have.
    pub ratio: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text_octets: 16 << 20,
            depth: 8,
            unpacked_octets: 64 << 20,
            ratio: 200,
        }
    }
}
