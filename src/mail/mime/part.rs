//! One part: its place, its type, its encoding, and what is odd about it.

use std::borrow::Cow;
use std::ops::Range;

use super::charset::Charset;
use super::decode;
use super::words::decode_words;
use crate::mail::header::Header;

/// One part of a message; all ranges are octets of the message.
#[derive(Clone, Debug)]
pub struct Part {
    /// As IMAP numbers parts (RFC 3501 §6.4.5): empty for a multipart message itself, `1` for the
    /// only part of another. Parts of an attached message bear the number of that.
    pub number: String,
    /// How deep it lies; the message itself at 0.
    pub depth: usize,
    /// The index of the part that it lies in.
    pub parent: Option<usize>,
    /// The index of the outermost attached message that it lies in.
    pub within_message: Option<usize>,
    /// Which leaf of that attached message it is, from 1; `None` outside of one, and for
    /// multiparts and messages in it.
    pub entry: Option<usize>,
    /// `Content-Type`, or what holds in its absence (RFC 2045 §5.2, RFC 2046 §5.1.5).
    pub content_type: ContentType,
    /// `Content-Transfer-Encoding`.
    pub encoding: Encoding,
    /// `Content-Disposition`, if it has one.
    pub disposition: Option<Disposition>,
    /// Its fields, without the empty line after them.
    pub header: Range<usize>,
    /// What follows the empty line, without the line end that belongs to the next boundary.
    pub body: Range<usize>,
    /// Of a multipart: what stands before its first boundary. All of the body if there is none.
    pub preamble: Range<usize>,
    /// Of a multipart: what stands behind its close delimiter.
    pub epilogue: Range<usize>,
    /// Whether other parts lie in it.
    pub has_children: bool,
    /// What readers might take in different ways.
    pub oddities: Vec<Oddity>,
}

impl Part {
    /// Whether it is a multipart, with parts found in it or not.
    pub fn is_multipart(&self) -> bool {
        self.content_type.kind == "multipart"
    }

    /// Whether it is an attached message (or, at depth 0, a message that says to be one).
    pub fn is_message(&self) -> bool {
        self.content_type.kind == "message"
            && matches!(self.content_type.subtype.as_str(), "rfc822" | "global")
    }

    /// Whether no parts lie in it.
    pub fn is_leaf(&self) -> bool {
        !self.has_children
    }

    /// Whether its type is this one.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.content_type.kind == kind && self.content_type.subtype == subtype
    }

    /// Whether readers offer it for saving rather than show it: a disposition other than `inline`
    /// counts as `attachment` (RFC 2183 §2.8).
    pub fn is_attachment(&self) -> bool {
        self.disposition
            .as_ref()
            .is_some_and(|disposition| disposition.kind != "inline")
    }

    /// The name to save it under: `filename`, else `name`; RFC 2231 and, as seen in the wild,
    /// RFC 2047 decoded.
    pub fn filename(&self) -> Option<String> {
        let disposition = self.disposition.as_ref();
        disposition
            .and_then(|disposition| disposition.params.get("filename"))
            .or_else(|| self.content_type.params.get("name"))
            .map(|name| decode_words(name).into_owned())
    }

    /// All names that it bears, decoded: the one of [`Part::filename`] first. Readers choose
    /// differently between `filename` and `name`, and between the two ways to write them.
    pub fn names(&self) -> Vec<String> {
        let disposition = self.disposition.iter().map(|it| (&it.params, "filename"));
        let places = disposition.chain([(&self.content_type.params, "name")]);
        let mut names: Vec<String> = Vec::new();
        for (params, wanted) in places {
            for (_, value) in params.iter().filter(|(name, _)| *name == wanted) {
                let name = decode_words(value).into_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Its fields.
    pub fn fields<'m>(&self, message: &'m [u8]) -> Header<'m> {
        Header::parse(&message[self.header.clone()])
    }

    /// The octets of the body as they stand in the message.
    pub fn raw<'m>(&self, message: &'m [u8]) -> &'m [u8] {
        &message[self.body.clone()]
    }

    /// The body without its transfer encoding, as tolerant readers have it: what cannot be decoded
    /// stays or is skipped.
    pub fn decoded<'m>(&self, message: &'m [u8]) -> Cow<'m, [u8]> {
        let raw = self.raw(message);
        match self.encoding {
            Encoding::Base64 => Cow::Owned(decode::base64(raw).0),
            Encoding::QuotedPrintable => Cow::Owned(decode::quoted_printable(raw).0),
            _ => Cow::Borrowed(raw),
        }
    }

    /// The body as text, as tolerant readers show it. A charset that is absent or unknown is taken
    /// for UTF-8 if the octets are that, else for Windows-1252.
    ///
    /// Errs when the transfer encoding is none that anybody knows.
    pub fn text(&self, message: &[u8]) -> Result<String, Undecodable> {
        if let Encoding::Other(_) = self.encoding {
            return Err(Undecodable::TransferEncoding);
        }
        let label = self.content_type.params.get("charset");
        Ok(Charset::of(label).decode_lossy(&self.decoded(message)))
    }

    /// Whether something is odd about it.
    pub fn is_odd(&self, oddity: Oddity) -> bool {
        self.oddities.contains(&oddity)
    }

    /// A part without a place, a header or a body: what holds in the absence of everything.
    pub(super) fn unplaced() -> Self {
        Self {
            number: String::new(),
            depth: 0,
            parent: None,
            within_message: None,
            entry: None,
            content_type: ContentType::new("text", "plain"),
            encoding: Encoding::SevenBit,
            disposition: None,
            header: 0..0,
            body: 0..0,
            preamble: 0..0,
            epilogue: 0..0,
            has_children: false,
            oddities: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, oddity: Oddity) {
        if !self.is_odd(oddity) {
            self.oddities.push(oddity);
        }
    }
}

/// A media type and its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentType {
    /// Before the slash, lower case: `text`.
    pub kind: String,
    /// After it, lower case: `plain`.
    pub subtype: String,
    /// The parameters.
    pub params: Params,
}

impl ContentType {
    pub(super) fn new(kind: &str, subtype: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            params: Params::default(),
        }
    }
}

/// `Content-Disposition` (RFC 2183).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disposition {
    /// `attachment`, `inline`, or another word, lower case.
    pub kind: String,
    /// The parameters.
    pub params: Params,
}

/// Parameters by name, decoded as RFC 2231 says. Content-bearing (file names): no `Debug` of values.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Params(pub(super) Vec<(String, String)>);

impl Params {
    /// The value of the parameter with this name (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(this, _)| this == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Names and values, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl std::fmt::Debug for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// How a body is written for the journey (RFC 2045 §6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// `7bit`, and the default.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// Another word; what it means is not known here.
    Other(String),
}

impl Encoding {
    /// Whether the octets of the body are the content itself.
    pub fn is_identity(&self) -> bool {
        matches!(self, Self::SevenBit | Self::EightBit | Self::Binary)
    }
}

/// A body that is no text to anybody.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Undecodable {
    /// Its transfer encoding is unknown.
    #[error("unknown transfer encoding")]
    TransferEncoding,
}

/// Something that two readers might take in two ways.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Oddity {
    /// A field that says what the part is stands there twice.
    DuplicateField,
    /// A parameter stands there twice.
    DuplicateParameter,
    /// A parameter that does not follow the grammar.
    MalformedParameter,
    /// A `Content-Type` that is no type: taken for text/plain.
    MalformedType,
    /// A line among the fields that is none.
    MalformedHeader,
    /// The header ends without an empty line.
    UnfinishedHeader,
    /// A multipart without a boundary, with one that RFC 2046 §5.1.1 does not allow, or with one in
    /// several pieces or on several lines.
    BadBoundary,
    /// Its boundary stands nowhere in it.
    BoundaryNotFound,
    /// Its close delimiter is missing.
    MissingClose,
    /// Its boundary comes again after the close delimiter.
    BoundaryAfterClose,
    /// Its boundary is that of a part around it.
    ReusedBoundary,
    /// A line, or the boundary of a part around it, that begins with its boundary and goes on.
    PrefixBoundary,
    /// A multipart or message under base64, quoted-printable or an unknown encoding: not opened.
    EncodedComposite,
}
