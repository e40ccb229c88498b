//! Delivery status notifications: compose them (RFC 3464, RFC 6522).
//!
//! A report is ASCII from end to end, with lines that every server takes, whatever is in the
//! addresses, in the next hop's words or in the message that is returned: what cannot be written
//! so is written otherwise (RFC 6533 §3) or left out. Nobody but us ends a line, a field or a part in it.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::address::Mailbox;
use super::envelope::{EnvId, Orcpt};
use super::message::Message;
use super::mime;
use super::path::ForwardPath;
use super::status::EnhancedStatusCode;

/// Whether a message says of itself that it is such a report (RFC 3464 §2; RFC 6533 §6 for addresses in UTF-8).
pub fn is_one(message: &Message) -> bool {
    let Ok(structure) = mime::parse(message.header_octets()) else {
        return false;
    };
    let root = structure.root();
    let kind = root.content_type.params.get("report-type");
    let is_of_delivery = |kind: &str| {
        ["delivery-status", "global-delivery-status"]
            .iter()
            .any(|one| kind.eq_ignore_ascii_case(one))
    };
    root.is("multipart", "report") && kind.is_some_and(is_of_delivery)
}

/// A report about one message, for its sender.
#[derive(Clone, Debug)]
pub struct DeliveryStatusNotification<'a> {
    /// The name of the server that reports.
    pub hostname: &'a str,
    /// The sender of the message: the report goes there, under the null reverse path.
    pub to: &'a Mailbox,
    /// The report's own `Message-ID`, with angle brackets.
    pub message_id: &'a str,
    /// When it is written.
    pub date: Timestamp,
    /// Its subject.
    pub subject: &'a str,
    /// What a person reads: paragraphs, wrapped here.
    pub text: &'a [String],
    /// The sender's name for the transaction (RFC 3464 §2.2.1).
    pub env_id: Option<&'a EnvId>,
    /// When the message arrived here (RFC 3464 §2.2.5).
    pub arrival_date: Timestamp,
    /// What became of it; not empty.
    pub recipients: Vec<RecipientStatus<'a>>,
    /// What is returned of the message.
    pub returned: Returned<'a>,
}

/// What became of a message for one recipient (RFC 3464 §2.3).
#[derive(Clone, Debug)]
pub struct RecipientStatus<'a> {
    /// Where it was to go.
    pub final_recipient: &'a ForwardPath,
    /// What the sender had asked for.
    pub original_recipient: Option<&'a Orcpt>,
    /// What happened.
    pub action: Action,
    /// Why.
    pub status: EnhancedStatusCode,
    /// The next hop that said so.
    pub remote_mta: Option<&'a str>,
    /// Its reply in one line, or our own words.
    pub diagnostic: Option<Diagnostic>,
    /// When it was last tried.
    pub last_attempt: Timestamp,
    /// Until when it will be tried (delays alone).
    pub will_retry_until: Option<Timestamp>,
}

/// What happened (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It was given up.
    Failed,
    /// It is late and will be tried again.
    Delayed,
    /// It is in the mailbox.
    Delivered,
    /// It went on to a server that does not report.
    Relayed,
}

impl Action {
    /// The word in the report.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }
}

/// Why in words (RFC 3464 §2.3.6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Diagnostic {
    /// The reply of an SMTP or LMTP server.
    Smtp(String),
    /// Our own words, where no server spoke.
    Ours(String),
}

/// What is returned of the message (RFC 3461 §4.3, RFC 6522 §3).
#[derive(Clone, Copy, Debug)]
pub enum Returned<'a> {
    /// All of it, if it is ASCII with lines that may be sent and no longer than a mebibyte; its
    /// header otherwise.
    Full(&'a Message),
    /// Its header.
    Header(&'a Message),
    /// Its `Message-ID` alone: the rest is nobody's to repeat.
    MessageId(&'a str),
    /// Nothing.
    Nothing,
}

impl DeliveryStatusNotification<'_> {
    /// Writes the report, without a trace field.
    pub fn compose(&self) -> Message {
        let text = self.readable();
        let fields = self.status_fields();
        let returned = self.returned.part();
        let boundary = boundary(self.message_id, &[&text, &fields, &returned]);
        let mut out = self.header(&boundary);
        let parts = [
            ("text/plain; charset=us-ascii", &text),
            ("message/delivery-status", &fields),
            (self.returned.content_type(), &returned),
        ];
        for (content_type, content) in parts {
            if !content_type.is_empty() {
                // Writing to a String does not fail, here and below.
                let _ = write!(
                    out,
                    "--{boundary}\r\nContent-Type: {content_type}\r\n\r\n{content}\r\n"
                );
            }
        }
        let _ = write!(out, "--{boundary}--\r\n");
        Message::new(out)
    }

    fn header(&self, boundary: &str) -> String {
        format!(
            "From: Mail Delivery System <postmaster@{}>\r\n\
             To: {}\r\n\
             Subject: {}\r\n\
             Date: {}\r\n\
             Message-ID: {}\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \x20boundary=\"{boundary}\"\r\n\
             \r\n\
             This is a delivery status notification in MIME format.\r\n\
             \r\n",
            plain(self.hostname, NAME_MAX),
            to_field(self.to),
            plain(self.subject, LINE_MAX),
            date(self.date),
            plain(self.message_id, LINE_MAX),
        )
    }

    fn readable(&self) -> String {
        let mut out = String::new();
        for paragraph in self.text {
            wrap(&mut out, &plain(paragraph, PARAGRAPH_MAX), "");
            out.push_str("\r\n");
        }
        out
    }

    /// The fields of RFC 3464 §2.2 and, after an empty line for each, §2.3.
    fn status_fields(&self) -> String {
        let mut out = format!("Reporting-MTA: dns; {}\r\n", plain(self.hostname, NAME_MAX));
        if let Some(env_id) = self.env_id {
            let _ = write!(
                out,
                "Original-Envelope-Id: {}\r\n",
                plain(env_id.as_str(), LINE_MAX)
            );
        }
        let _ = write!(out, "Arrival-Date: {}\r\n", date(self.arrival_date));
        for recipient in &self.recipients {
            out.push_str("\r\n");
            recipient.write_fields(&mut out);
        }
        out
    }
}

impl RecipientStatus<'_> {
    fn write_fields(&self, out: &mut String) {
        if let Some(orcpt) = self.original_recipient {
            let address = typed_address(orcpt.addr_type(), orcpt.address());
            let _ = write!(out, "Original-Recipient: {address}\r\n");
        }
        let path = self.final_recipient.to_string();
        let _ = write!(
            out,
            "Final-Recipient: {}\r\n",
            typed_address("rfc822", &path)
        );
        let _ = write!(
            out,
            "Action: {}\r\nStatus: {}\r\n",
            self.action.word(),
            self.status
        );
        if let Some(name) = self.remote_mta {
            // A socket's path is no name of DNS (RFC 3464 §2.1.2).
            let kind = if name.starts_with('/') {
                "x-socket"
            } else {
                "dns"
            };
            let _ = write!(out, "Remote-MTA: {kind}; {}\r\n", plain(name, NAME_MAX));
        }
        match &self.diagnostic {
            Some(Diagnostic::Smtp(reply)) => write_folded(out, "Diagnostic-Code: smtp;", reply),
            Some(Diagnostic::Ours(words)) => {
                write_folded(out, "Diagnostic-Code: x-postern;", words);
            }
            None => {}
        }
        let _ = write!(out, "Last-Attempt-Date: {}\r\n", date(self.last_attempt));
        if let Some(until) = self.will_retry_until {
            let _ = write!(out, "Will-Retry-Until: {}\r\n", date(until));
        }
    }
}

impl Returned<'_> {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Full(message) if is_sendable(message) => "message/rfc822",
            Self::Full(_) | Self::Header(_) | Self::MessageId(_) => "text/rfc822-headers",
            Self::Nothing => "",
        }
    }

    fn part(&self) -> String {
        match self {
            Self::Full(message) if is_sendable(message) => {
                // ASCII, so nothing is lost.
                String::from_utf8_lossy(message.octets()).into_owned()
            }
            Self::Full(message) | Self::Header(message) => header_lines(message.header_octets()),
            Self::MessageId(id) => format!("Message-ID: {}\r\n", plain(id, LINE_MAX)),
            Self::Nothing => String::new(),
        }
    }
}

/// Returns an address as people and 7-bit fields can have it: what is not ASCII becomes
/// `\x{…}` (RFC 6533 §3).
pub fn ascii_address(address: &str) -> String {
    let ascii = address.is_ascii();
    let mut out = String::new();
    for c in address.chars().take(ADDRESS_MAX) {
        match c {
            ' '..='~' if ascii => out.push(c),
            '!'..='~' if !matches!(c, '+' | '\\' | '=') => out.push(c),
            _ if ascii => out.push('?'),
            c => {
                let _ = write!(out, "\\x{{{:02X}}}", u32::from(c));
            }
        }
    }
    out.truncate(ADDRESS_LINE_MAX);
    out
}

/// `rfc822; a@b.example`, or type `utf-8` if the address needs it.
fn typed_address(addr_type: &str, address: &str) -> String {
    let addr_type = if address.is_ascii() {
        addr_type
    } else {
        "utf-8"
    };
    format!("{}; {}", plain(addr_type, NAME_MAX), ascii_address(address))
}

/// An address that is not ASCII cannot stand in a 7-bit header: an empty group bears its name.
pub(super) fn to_field(to: &Mailbox) -> String {
    match to.is_ascii() {
        true => format!("<{to}>"),
        false => format!(
            "\"{}\":;",
            ascii_address(&to.to_string()).replace(['\\', '"'], "")
        ),
    }
}

/// RFC 5322 §3.3, in universal time.
pub(super) fn date(at: Timestamp) -> String {
    // Fails for years outside 0 to 9999 alone, which no clock here shows.
    jiff::fmt::rfc2822::to_string(&at.to_zoned(TimeZone::UTC)).unwrap_or_default()
}

/// Printable ASCII in one line: everything else becomes `?` or a space, runs of spaces become one.
pub(super) fn plain(text: &str, max: usize) -> String {
    let mut out = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() || out.len() >= max {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let printable = |c: char| if ('!'..='~').contains(&c) { c } else { '?' };
        out.extend(word.chars().take(WORD_MAX).map(printable));
    }
    out.truncate(max);
    out
}

/// One field whose body may be long: folded at spaces (RFC 5322 §2.2.3).
fn write_folded(out: &mut String, name: &str, body: &str) {
    let mut lines = String::new();
    wrap(
        &mut lines,
        &format!("{name} {}", plain(body, PARAGRAPH_MAX)),
        " ",
    );
    out.push_str(&lines);
}

/// Breaks lines at spaces; `indent` starts every line but the first. A word longer than a line
/// stands alone in one.
pub(super) fn wrap(out: &mut String, text: &str, indent: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > WRAP_AT {
            out.push_str("\r\n");
            out.push_str(indent);
            column = indent.len();
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push_str("\r\n");
}

/// The lines of a header as a report can have them: ASCII, cut at the longest line that may be sent.
fn header_lines(header: &[u8]) -> String {
    let mut out = String::with_capacity(header.len().min(HEADER_MAX));
    for line in header.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || out.len() + line.len() > HEADER_MAX {
            continue;
        }
        let printable = |b: &u8| match b {
            b' '..=b'~' | b'\t' => char::from(*b),
            _ => '?',
        };
        out.extend(line.iter().take(LINE_MAX).map(printable));
        out.push_str("\r\n");
    }
    out
}

/// Whether the message may be returned as it is.
fn is_sendable(message: &Message) -> bool {
    let octets = message.octets();
    octets.len() <= RETURN_MAX
        && octets.is_ascii()
        && !octets.contains(&0)
        && octets.split(|b| *b == b'\n').all(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.len() <= LINE_MAX && !line.contains(&b'\r')
        })
}

/// A boundary that occurs in none of the parts (RFC 2046 §5.1.1).
fn boundary(message_id: &str, parts: &[&String]) -> String {
    let seed: String = message_id
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(40)
        .collect();
    let mut boundary = format!("=_{seed}");
    while parts.iter().any(|part| part.contains(&boundary)) {
        // The parts are finite, so this ends: each round the boundary is longer.
        boundary.push('_');
    }
    boundary
}

/// Longest line, in octets without its end (RFC 5322 §2.1.1).
pub(super) const LINE_MAX: usize = 990;
/// Longest word kept, so that no line is longer than may be sent.
const WORD_MAX: usize = 900;
/// Longest domain (RFC 1035 §2.3.4), with some room for a port or a literal.
pub(super) const NAME_MAX: usize = 300;
/// Longest address, in characters: an ORCPT has 500 at most, a mailbox fewer.
const ADDRESS_MAX: usize = 500;
/// Longest address as it is written, in octets.
const ADDRESS_LINE_MAX: usize = 900;
/// Longest paragraph or diagnostic, in octets.
pub(super) const PARAGRAPH_MAX: usize = 4_000;
/// Largest message that is returned whole, in octets.
const RETURN_MAX: usize = 1 << 20;
/// Largest header that is returned, in octets.
const HEADER_MAX: usize = 128 << 10;
/// Width of readable lines and of folded fields.
const WRAP_AT: usize = 76;

#[cfg(test)]
mod tests;
