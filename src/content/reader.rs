//! Reading: from the parts of a message to its [`Content`].

use std::borrow::Cow;
use std::cell::OnceCell;

use crate::mail::mime::{self, Encoding, Oddity, Part, Structure};
use crate::mail::{Header, Message};

use super::fields::{self, decoded_field};
use super::kind::{self, Detected, Kind};
use super::unpack::Budget;
use super::{Attachment, Content, Form, Limits, TextPiece, Unread, html, links, text, xml};

mod apart;
mod broken;
mod disguise;
mod files;
mod package;

/// Reads all that a reader of the message may see, within limits.
pub fn read(message: &Message, structure: &Structure, limits: &Limits) -> Content {
    let mut reader = Reader::new(limits);
    reader.header(&message.header());
    reader.parts(message.octets(), structure, None);
    reader.content
}

/// The content of a message whose parts could not be told apart: its octets as text, and `malformed`.
pub fn unparsed(message: &Message, limits: &Limits) -> Content {
    let mut reader = Reader::new(limits);
    reader.header(&message.header());
    reader.unread("body:1", "malformed");
    reader.take_text("body:1".into(), message.body_octets(), None, Form::Plain);
    let shown = links::of_text(&reader.content.texts[0].text, links::Flow::Fixed);
    reader.content.links.add("body:1", shown);
    reader.content
}

pub(super) use apart::open_here;

struct Reader {
    content: Content,
    /// Octets of text that may still be taken.
    text_left: usize,
    /// Messages, archives and documents that may still be opened within each other.
    depth: usize,
    /// What may still be unpacked.
    budget: Budget,
    /// Files that another process may still be started for, and such that it may still fail at.
    starts: usize,
    failures: usize,
}

impl Reader {
    fn new(limits: &Limits) -> Self {
        Self {
            content: Content::default(),
            text_left: limits.text_octets,
            depth: limits.depth,
            budget: Budget::new(limits.unpacked_octets, limits.ratio),
            starts: apart::STARTS_MAX,
            failures: apart::FAILURES_MAX,
        }
    }

    fn header(&mut self, header: &Header<'_>) {
        let mut subjects = header
            .all("Subject")
            .map(|field| decoded_field(&field.value()));
        self.content.subject = subjects.next().unwrap_or_default();
        for subject in subjects {
            self.push_header("subject".into(), subject);
        }
        for field in header.fields() {
            if let Some((name, text)) = fields::read(field) {
                self.push_header(format!("header:{name}"), text);
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
            } else if index > 0 {
                self.part_header(octets, part, within, leaves);
            }
            self.doubts(octets, part, within);
            if part.is_multipart() && part.is_leaf() {
                self.unopened(octets, part, within);
            } else if part.is_multipart() {
                self.around_parts(octets, part, within);
            }
            if part.is_leaf() && !part.is_multipart() {
                leaves += 1;
                let path = path_of(part, within, leaves);
                self.leaf(octets, part, &path, within.is_some());
            } else {
                // An attached message that was opened has a name too.
                let place = format!("filename:{}", path_of(part, within, leaves + 1));
                for name in part.names() {
                    self.push_header(place.clone(), name);
                }
            }
        }
    }

    /// Where readers may part ways, what is read here need not be what is shown there. Some take a
    /// line that is no field for the start of the body: what stands in such a header is read as text.
    fn doubts(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        let may_hide = |oddity: &Oddity| may_hide(*oddity, part, octets);
        if part.oddities.iter().any(may_hide) {
            self.unread(&place_of(part, within), "malformed");
        }
        if part.is_odd(Oddity::MalformedHeader) || part.is_odd(Oddity::UnfinishedHeader) {
            self.header_as_body(octets, part, within);
        }
    }

    /// A multipart in which no parts were found: under an encoding, as some readers take it (RFC 2045
    /// §6.4 forbids it), or as the text that it is.
    fn unopened(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        let body = part.decoded(octets);
        if part.is_odd(Oddity::EncodedComposite) {
            let fields = part.fields(octets);
            let kind = fields.first("Content-Type");
            let kind = kind.map_or(&b""[..], |field| field.raw_value().trim_ascii());
            let whole = [b"Content-Type: ", kind, b"\r\n\r\n", &body].concat();
            if self.open_message(&whole, &path_of(part, within, 1)) {
                return;
            }
        }
        self.take_text(place_of(part, within), &body, None, Form::Plain);
    }

    /// The fields of an attached message stand where the message stands; those that may mark it, with their names.
    fn inner_header(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        let place = format!("attachment:{}", within.unwrap_or(&part.number));
        for field in part.fields(octets).fields() {
            if field.is("Subject") {
                self.push_header(place.clone(), decoded_field(&field.value()));
            } else if let Some((name, text)) = fields::read(field) {
                let text = match fields::may_mark(&name) {
                    true => format!("{name}: {text}"),
                    false => text,
                };
                self.push_header(place.clone(), text);
            }
        }
    }

    /// What the fields of a part say of it to people: `Content-Description`; and the name that some programs save it
    /// under that has no other (RFC 2557 §4.2).
    fn part_header(&mut self, octets: &[u8], part: &Part, within: Option<&str>, leaves: usize) {
        let path = path_of(part, within, leaves + 1);
        let is_file = part.is_attachment() || part.filename().is_some();
        let place = match is_file {
            true => format!("attachment:{path}"),
            false => place_of(part, within),
        };
        for field in part.fields(octets).fields() {
            if field.is("Content-Location") {
                let name = decoded_field(&field.value());
                self.push_header(format!("filename:{path}"), name);
            } else if let Some((_, text)) = fields::read(field) {
                self.push_header(place.clone(), text);
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
            let is_top = within.is_none() && part.number.is_empty();
            let place = if is_top {
                format!("body:{name}")
            } else {
                place_of(part, within)
            };
            self.take_text(place, around, None, Form::Plain);
        }
    }

    fn leaf(&mut self, octets: &[u8], part: &Part, path: &str, is_file: bool) {
        let filename = part.filename();
        let head = self.head(octets, part);
        let whole = OnceCell::new();
        let whole = || &**whole.get_or_init(|| part.decoded(octets));
        let detected = declared_kind(part, octets)
            .unwrap_or_else(|| kind::detect(&head, || Cow::Borrowed(whole())));
        let is_text = is_text(part, &detected, &head);
        let attached =
            is_file || part.within_message.is_some() || part.is_attachment() || filename.is_some();
        let place = if attached || !is_text {
            self.attachment(format!("attachment:{path}"), part, &detected)
        } else {
            format!("body:{path}")
        };
        if matches!(part.encoding, Encoding::Other(_)) || part.is("message", "partial") {
            self.unread(&place, "malformed");
        }
        let is_message = is_message_file(&detected, part, filename.as_deref());
        let opened = is_message && self.open_message(whole(), path);
        if opened && detected.kind == Kind::Message && !part.is_odd(Oddity::MalformedType) {
            return;
        }
        if is_text {
            let form = form_of(part, detected.kind, filename.as_deref());
            self.part_text(place.clone(), octets, part, form);
        }
        match detected.unreadable {
            // It says that it is text, and nothing says otherwise.
            Some(_) if is_text && detected.kind == Kind::Unknown => {}
            Some(because) => self.unread(&place, because),
            None => {}
        }
        if let Some(opens) = &detected.opens {
            self.open(opens, whole(), path, filename.as_deref());
        }
    }

    /// Lists a part as an attachment, and returns its place.
    fn attachment(&mut self, place: String, part: &Part, detected: &Detected) -> String {
        self.content.attachments.push(Attachment {
            place: place.clone(),
            filename: part.filename(),
            also_named: part.names().into_iter().skip(1).collect(),
            declared: format!("{}/{}", part.content_type.kind, part.content_type.subtype),
            kind: detected.kind,
            names: detected.names.clone(),
            encoded_octets: part.body.len(),
        });
        place
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
        let (decoded, clean) = match part.encoding {
            Encoding::Base64 => owned(mime::base64(cut)),
            Encoding::QuotedPrintable => owned(mime::quoted_printable(cut)),
            _ => (Cow::Borrowed(cut), true),
        };
        let charset = part.content_type.params.get("charset");
        if part.encoding == Encoding::Base64 && !clean {
            // What is no base64 is shown as it stands by some readers.
            self.take_text(place.clone(), cut, None, Form::Plain);
        }
        if form == Form::Html && part.is("text", "plain") {
            // Shown as it stands, whatever it looks like.
            self.take_text(place.clone(), &decoded, charset, Form::Plain);
            let shown = self
                .content
                .texts
                .last()
                .map(|piece| links::of_text(&piece.text, flow_of(part)));
            self.content.links.add(&place, shown.unwrap_or_default());
        }
        let first = self.content.texts.len();
        self.take_text(place.clone(), &decoded, charset, form);
        // A file of text is opened by a program in which nothing can be clicked.
        let is_shown = part.content_type.kind == "text" && !part.is_attachment();
        if form == Form::Plain && is_shown {
            let links = links::of_text(&self.content.texts[first].text, flow_of(part));
            self.content.links.add(&place, links);
        }
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
        if !text::is_certain(within, charset) || text::holds_encoded_file(within) {
            self.unread(&place, "malformed");
        }
        let mut text = text::decode(within, charset);
        let (mut in_sight, mut titles) = (None, None);
        if form == Form::Html {
            self.content.links.add(&place, links::of_html(&text));
            let read = html::read(&text);
            (text, in_sight, titles) = (read.text, read.in_sight, read.titles);
        }
        self.text_left = self.text_left.saturating_sub(within.len());
        if memchr::memmem::find(text.as_bytes(), PGP_MESSAGE).is_some() {
            self.unread(&place, "encrypted-document");
        }
        let path = place
            .split_once(':')
            .map_or("", |(_, path)| path)
            .to_owned();
        let readings: Vec<String> = disguise::readings(&text).chain(in_sight).collect();
        self.content.texts.push(TextPiece {
            place: place.clone(),
            text,
            form,
        });
        for reading in readings {
            self.another_reading(&place, reading, form);
        }
        if let Some(text) = titles {
            self.keep_text(&place, text, form);
        }
        if form == Form::Plain && xml::begins(within) {
            // Office documents come as one file of XML too, and pictures with words in them.
            let read = xml::to_text(within, xml::Style::Page);
            self.keep(&path, read.text, form);
            for view in read.views {
                self.keep(&path, view, Form::Again);
            }
        }
    }

    /// Opens a message that came as a file. False if it is too deep: then it is read as text.
    fn open_message(&mut self, inner: &[u8], path: &str) -> bool {
        if !self.descend(path) {
            return false;
        }
        let Ok(structure) = mime::parse(inner) else {
            self.depth += 1;
            self.unread(&format!("attachment:{path}"), "malformed");
            return false;
        };
        self.parts(inner, &structure, Some(path));
        self.depth += 1;
        true
    }

    /// Goes one level down, if that is allowed; what lies there is `too-large` otherwise.
    fn descend(&mut self, path: &str) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else {
            self.unread(&format!("attachment:{path}"), "too-large");
            return false;
        };
        self.depth = depth;
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

/// `body:1.2`, `attachment:2` for a part of an attached message.
fn place_of(part: &Part, within: Option<&str>) -> String {
    let number = match part.number.as_str() {
        "" => "1",
        number => number,
    };
    match (within, part.within_message) {
        (Some(within), _) => format!("attachment:{within}"),
        (None, Some(_)) => format!("attachment:{number}"),
        (None, None) => format!("body:{number}"),
    }
}

/// Whether a reader that takes this in another way may show what nobody here has read.
fn may_hide(oddity: Oddity, part: &Part, octets: &[u8]) -> bool {
    match oddity {
        Oddity::DuplicateField
        | Oddity::BoundaryAfterClose
        | Oddity::ReusedBoundary
        | Oddity::PrefixBoundary => true,
        // A message has neither a boundary nor a charset of its own.
        Oddity::DuplicateParameter => !part.is_message(),
        // An attached message under base64 (RFC 2046 §5.2.1 forbids it, and programs write it) is opened.
        Oddity::EncodedComposite => {
            !part.is_message() || matches!(part.encoding, Encoding::Other(_))
        }
        // `multipart; boundary=x`, but not the `text` of old programs.
        Oddity::MalformedType => part.content_type.params.get("boundary").is_some(),
        // Where nothing could be a boundary, nobody finds a part.
        Oddity::BadBoundary | Oddity::BoundaryNotFound => {
            part.is_leaf() && memchr::memmem::find(&octets[part.body.clone()], b"--").is_some()
        }
        Oddity::MalformedParameter
        | Oddity::MalformedHeader
        | Oddity::UnfinishedHeader
        | Oddity::MissingClose => false,
    }
}

/// How the lines of a part go together.
fn flow_of(part: &Part) -> links::Flow {
    links::Flow::of(|name| part.content_type.params.get(name))
}

fn owned((octets, clean): (Vec<u8>, bool)) -> (Cow<'static, [u8]>, bool) {
    (Cow::Owned(octets), clean)
}

/// What the type of a part says that its octets do not: encryption from end to end, and signatures.
fn declared_kind(part: &Part, octets: &[u8]) -> Option<Detected> {
    if part.content_type.kind != "application" {
        return None;
    }
    let (kind, unreadable) = match part.content_type.subtype.as_str() {
        "pkcs7-mime" | "x-pkcs7-mime" => match part.content_type.params.get("smime-type") {
            Some("certs-only") => (Kind::Signature, Some("unknown-format")),
            // `signed-data` too: its text is wrapped up in the signature, and nobody here unwraps it.
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
        opens: None,
    })
}

/// Whether a part is to be read as text: what is text, and what says so, even if it begins as something
/// else does: that is how it is shown.
fn is_text(part: &Part, detected: &Detected, head: &[u8]) -> bool {
    let declared = matches!(part.content_type.kind.as_str(), "text" | "message");
    match detected.kind {
        Kind::Text | Kind::Html | Kind::Script | Kind::Message => true,
        Kind::Signature => declared || kind::looks_like_text(head),
        _ => declared,
    }
}

fn is_message_file(detected: &Detected, part: &Part, filename: Option<&str>) -> bool {
    let named = is_message_name(filename);
    // `message/rfc822,` is no type, but no text either.
    let declared_text = part.content_type.kind == "text" && !part.is_odd(Oddity::MalformedType);
    let may_be = matches!(detected.kind, Kind::Message | Kind::Text);
    part.is_message()
        || part.is("text", "rfc822-headers")
        || (may_be && named)
        || (detected.kind == Kind::Message && !declared_text)
}

fn is_message_name(filename: Option<&str>) -> bool {
    let name = filename.unwrap_or_default().to_ascii_lowercase();
    [".eml", ".mht", ".mhtml"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn form_of(part: &Part, kind: Kind, filename: Option<&str>) -> Form {
    let subtype = part.content_type.subtype.as_str();
    let name = filename.unwrap_or_default().to_ascii_lowercase();
    if kind == Kind::Html
        || (part.content_type.kind == "text"
            && matches!(subtype, "html" | "xhtml" | "enriched" | "richtext"))
    {
        Form::Html
    } else if matches!(
        subtype,
        "csv" | "comma-separated-values" | "tab-separated-values"
    ) || is_table_name(&name)
    {
        Form::Table
    } else {
        Form::Plain
    }
}

fn is_table_name(name: &str) -> bool {
    // Programs call a table of text `.xls`, so that a click opens it in Excel.
    [".csv", ".tsv", ".xls"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// How a message encrypted with PGP begins within a text (RFC 9580 §6.2).
const PGP_MESSAGE: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// The longest part that says no more than the version of PGP, in octets (RFC 3156 §4).
const PGP_VERSION_OCTETS: usize = 200;

#[cfg(test)]
mod tests;
