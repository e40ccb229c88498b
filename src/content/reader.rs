//! Reading: from the parts of a message to its [`Content`].

use std::borrow::Cow;

use crate::mail::mime::{self, Encoding, Part, Structure};
use crate::mail::{Header, Message};

use super::kind::{self, Detected, Kind};
use super::{Attachment, Content, Form, Limits, TextPiece, Unread, html, text};

/// Reads all that a reader of the message may see, within limits.
pub fn read(message: &Message, structure: &Structure, limits: &Limits) -> Content {
    let mut reader = Reader {
        content: Content::default(),
        text_left: limits.text_octets,
        depth: limits.depth,
    };
    reader.header(&message.header());
    reader.parts(message.octets(), structure, None);
    reader.content
}

/// The content of a message whose parts could not be told apart: its octets as text, and `malformed`.
pub fn unparsed(message: &Message, limits: &Limits) -> Content {
    let mut reader = Reader {
        content: Content::default(),
        text_left: limits.text_octets,
        depth: limits.depth,
    };
    reader.header(&message.header());
    reader.unread("body:1", "malformed");
    reader.take_text("body:1".into(), message.body_octets(), None, Form::Plain);
    reader.content
}

struct Reader {
    content: Content,
    /// Octets of text that may still be taken.
    text_left: usize,
    /// Messages that may still be opened within each other.
    depth: usize,
}

impl Reader {
    fn header(&mut self, header: &Header<'_>) {
        let mut subjects = header
            .all("Subject")
            .map(|field| decoded_field(&field.value()));
        self.content.subject = subjects.next().unwrap_or_default();
        for subject in subjects {
            self.push_header("subject".into(), subject);
        }
        for field in header.fields() {
            let wanted = |name: &&str| field.is(name);
            if let Some(name) = READ_FIELDS.iter().copied().find(|name| wanted(name)) {
                self.push_header(format!("header:{name}"), decoded_field(&field.value()));
            }
        }
    }

    fn push_header(&mut self, place: String, text: String) {
        self.content.headers.push(TextPiece {
            place,
            text,
            form: Form::Plain,
        });
    }

    /// Reads the parts of a message. `within` is where the message lies, if it came as a file.
    fn parts(&mut self, octets: &[u8], structure: &Structure, within: Option<&str>) {
        let mut leaves = 0;
        for (index, part) in structure.parts.iter().enumerate() {
            let is_inner_message = index > 0
                && part
                    .parent
                    .is_some_and(|parent| structure.parts[parent].is_message());
            if is_inner_message || (index == 0 && within.is_some()) {
                self.inner_header(octets, part, within);
            }
            if part.is_multipart() {
                self.around_parts(octets, part, within);
            }
            if part.is_leaf() && !part.is_multipart() {
                leaves += 1;
                let path = path_of(part, within, leaves);
                self.leaf(octets, part, &path, within.is_some());
            } else if let Some(name) = part.filename() {
                // An attached message that was opened has a name too.
                let place = format!("filename:{}", path_of(part, within, leaves + 1));
                self.push_header(place, name);
            }
        }
    }

    /// The fields of an attached message stand where the message stands.
    fn inner_header(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        let place = format!("attachment:{}", within.unwrap_or(&part.number));
        for field in part.fields(octets).fields() {
            if field.is("Subject") || READ_FIELDS.iter().any(|name| field.is(name)) {
                self.push_header(place.clone(), decoded_field(&field.value()));
            }
        }
    }

    /// What stands before the first and behind the last part of a multipart.
    fn around_parts(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        for (range, name) in [(&part.preamble, "preamble"), (&part.epilogue, "epilogue")] {
            let around = &octets[range.clone()];
            if around.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let place = match (within, part.within_message) {
                (Some(within), _) => format!("attachment:{within}"),
                (None, Some(_)) => format!("attachment:{}", part.number),
                (None, None) if part.number.is_empty() => format!("body:{name}"),
                (None, None) => format!("body:{}", part.number),
            };
            self.take_text(place, around, None, Form::Plain);
        }
    }

    fn leaf(&mut self, octets: &[u8], part: &Part, path: &str, is_file: bool) {
        let filename = part.filename();
        let attached =
            is_file || part.within_message.is_some() || part.is_attachment() || filename.is_some();
        let declared_text = part.content_type.kind == "text" || part.content_type.kind == "message";
        let head = self.head(octets, part);
        let detected = declared_kind(part, octets)
            .unwrap_or_else(|| kind::detect(&head, || part.decoded(octets)));
        let is_text = is_text(detected.kind, declared_text && kind::looks_like_text(&head));
        let place = if attached || !is_text {
            format!("attachment:{path}")
        } else {
            format!("body:{path}")
        };
        if attached || !is_text {
            self.content.attachments.push(Attachment {
                place: place.clone(),
                declared: format!("{}/{}", part.content_type.kind, part.content_type.subtype),
                kind: detected.kind,
                names: detected.names.clone(),
                encoded_octets: part.body.len(),
                filename: filename.clone(),
            });
        }
        if let Encoding::Other(_) = part.encoding {
            self.unread(&place, "unknown-format");
        }
        if is_message_file(&detected, part, filename.as_deref())
            && self.open_message(octets, part, path)
        {
            return;
        }
        if is_text {
            let form = form_of(part, detected.kind, filename.as_deref());
            self.part_text(place.clone(), octets, part, form);
        }
        if let Some(because) = detected.unreadable {
            self.unread(&place, because);
        }
    }

    /// The first octets of a part, decoded: enough to tell what it is.
    fn head<'m>(&self, octets: &'m [u8], part: &Part) -> Cow<'m, [u8]> {
        let raw = part.raw(octets);
        let cut = |factor: usize| &raw[..raw.len().min(kind::HEAD_OCTETS * factor)];
        match part.encoding {
            Encoding::Base64 => Cow::Owned(mime::base64(cut(2)).0),
            Encoding::QuotedPrintable => Cow::Owned(mime::quoted_printable(cut(3)).0),
            _ => Cow::Borrowed(cut(1)),
        }
    }

    fn part_text(&mut self, place: String, octets: &[u8], part: &Part, form: Form) {
        let raw = part.raw(octets);
        // No encoding that is in use makes a text more than three times as long.
        let cut = &raw[..raw.len().min(self.text_left.saturating_mul(3))];
        if cut.len() < raw.len() {
            self.unread(&place, "too-large");
        }
        let decoded = match part.encoding {
            Encoding::Base64 => Cow::Owned(mime::base64(cut).0),
            Encoding::QuotedPrintable => Cow::Owned(mime::quoted_printable(cut).0),
            _ => Cow::Borrowed(cut),
        };
        self.take_text(
            place,
            &decoded,
            part.content_type.params.get("charset"),
            form,
        );
    }

    /// Decodes and keeps a text, as far as the limit allows.
    fn take_text(&mut self, place: String, octets: &[u8], charset: Option<&str>, form: Form) {
        let within = &octets[..octets.len().min(self.text_left)];
        if within.len() < octets.len()
            && !self
                .content
                .unreadable
                .iter()
                .any(|unread| unread.place == place)
        {
            self.unread(&place, "too-large");
        }
        let mut text = text::decode(within, charset);
        if form == Form::Html {
            text = html::to_text(&text);
        }
        self.text_left = self.text_left.saturating_sub(within.len());
        if memchr::memmem::find(text.as_bytes(), PGP_MESSAGE).is_some() {
            self.unread(&place, "encrypted-document");
        }
        self.content.texts.push(TextPiece { place, text, form });
    }

    /// Opens a message that came as a file. False if it is too deep: then it is read as text.
    fn open_message(&mut self, octets: &[u8], part: &Part, path: &str) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.unread(&format!("attachment:{path}"), "too-large");
            return false;
        };
        let inner = part.decoded(octets);
        let Ok(structure) = mime::parse(&inner) else {
            self.unread(&format!("attachment:{path}"), "malformed");
            return false;
        };
        self.depth = depth;
        self.parts(&inner, &structure, Some(path));
        self.depth += 1;
        true
    }

    fn unread(&mut self, place: &str, because: &'static str) {
        let unread = Unread {
            place: place.to_owned(),
            because,
        };
        if !self.content.unreadable.contains(&unread) {
            self.content.unreadable.push(unread);
        }
    }
}

/// `2`, `1.2`, `2/1` for the first leaf of the message that is part 2.
fn path_of(part: &Part, within: Option<&str>, leaf: usize) -> String {
    match (within, part.entry) {
        (Some(within), _) => format!("{within}/{leaf}"),
        (None, Some(entry)) => format!("{}/{entry}", part.number),
        (None, None) => part.number.clone(),
    }
}

fn decoded_field(value: &str) -> String {
    mime::decode_words(value).into_owned()
}

/// What the type of a part says that its octets do not: encryption from end to end, and signatures.
fn declared_kind(part: &Part, octets: &[u8]) -> Option<Detected> {
    if part.content_type.kind != "application" {
        return None;
    }
    let (kind, unreadable) = match part.content_type.subtype.as_str() {
        "pkcs7-mime" | "x-pkcs7-mime" => match part.content_type.params.get("smime-type") {
            Some("signed-data" | "certs-only") => (Kind::Signature, Some("unknown-format")),
            _ => (Kind::EncryptedMessage, Some("encrypted-document")),
        },
        "pkcs7-signature" | "x-pkcs7-signature" | "pgp-signature" | "pgp-keys" => {
            (Kind::Signature, None)
        }
        // The part beside it is the one that is encrypted, and shows it by its octets.
        "pgp-encrypted" if part.raw(octets).len() < PGP_VERSION_OCTETS => (Kind::Signature, None),
        _ => return None,
    };
    Some(Detected {
        kind,
        names: Vec::new(),
        unreadable,
    })
}

/// Whether a part is to be read as text: what is text, and what says so and could be, even if it begins
/// as something else does. Rich text keeps its words in one piece mostly.
fn is_text(kind: Kind, declared: bool) -> bool {
    declared
        || matches!(
            kind,
            Kind::Text | Kind::Html | Kind::Script | Kind::Message | Kind::RichText
        )
}

fn is_message_file(detected: &Detected, part: &Part, filename: Option<&str>) -> bool {
    let named = filename.is_some_and(|name| {
        [".eml", ".mht", ".mhtml"]
            .iter()
            .any(|end| name.to_ascii_lowercase().ends_with(end))
    });
    let declared_text = part.content_type.kind == "text";
    detected.kind == Kind::Message && (part.is_message() || named || !declared_text)
}

fn form_of(part: &Part, kind: Kind, filename: Option<&str>) -> Form {
    let subtype = part.content_type.subtype.as_str();
    let name = filename.unwrap_or_default().to_ascii_lowercase();
    if kind == Kind::Html
        || (part.content_type.kind == "text" && matches!(subtype, "html" | "xhtml"))
    {
        Form::Html
    } else if matches!(
        subtype,
        "csv" | "comma-separated-values" | "tab-separated-values"
    ) || name.ends_with(".csv")
        || name.ends_with(".tsv")
    {
        Form::Table
    } else {
        Form::Plain
    }
}

/// Fields in which people, or programs for them, write; the others are for machines, full of numbers.
const READ_FIELDS: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Comments",
    "Keywords",
    "Organization",
    "Thread-Topic",
    "Sensitivity",
    "X-Protective-Marking",
    "msip_labels",
    "X-Subject",
    "X-Comment",
    "Content-Description",
    "Summary",
];
/// How a message encrypted with PGP begins within a text (RFC 9580 §6.2).
const PGP_MESSAGE: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// The longest part that says no more than the version of PGP, in octets (RFC 3156 §4).
const PGP_VERSION_OCTETS: usize = 200;
