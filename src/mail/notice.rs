//! Plain notices that the gateway itself writes: a few paragraphs for a person (RFC 3834).
//!
//! ASCII from end to end, like a report, whatever is in the addresses.

use jiff::Timestamp;

use super::address::Mailbox;
use super::message::Message;
use super::report::{LINE_MAX, NAME_MAX, PARAGRAPH_MAX, date, plain, to_field, wrap};

/// A notice to one person. Goes out under the null reverse path.
#[derive(Clone, Debug)]
pub struct PlainNotice<'a> {
    /// The name of the server that writes.
    pub hostname: &'a str,
    /// Who gets it.
    pub to: &'a Mailbox,
    /// Its own `Message-ID`, with angle brackets.
    pub message_id: &'a str,
    /// The `Message-ID` of the message that it answers.
    pub in_reply_to: Option<&'a str>,
    /// Where an answer goes, if somebody reads one.
    pub reply_to: Option<&'a Mailbox>,
    /// When it is written.
    pub date: Timestamp,
    /// Its subject.
    pub subject: &'a str,
    /// Paragraphs, wrapped here.
    pub text: &'a [String],
}

impl PlainNotice<'_> {
    /// Writes it, without a trace field.
    pub fn compose(&self) -> Message {
        let mut out = format!(
            "From: Mail Gateway <postmaster@{}>\r\n\
             To: {}\r\n\
             Subject: {}\r\n\
             Date: {}\r\n\
             Message-ID: {}\r\n",
            plain(self.hostname, NAME_MAX),
            to_field(self.to),
            plain(self.subject, LINE_MAX),
            date(self.date),
            plain(self.message_id, LINE_MAX),
        );
        if let Some(id) = self.in_reply_to {
            out.push_str(&format!("In-Reply-To: {}\r\n", plain(id.trim(), NAME_MAX)));
        }
        if let Some(address) = self.reply_to {
            out.push_str(&format!("Reply-To: {}\r\n", to_field(address)));
        }
        out.push_str(
            "Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n",
        );
        for paragraph in self.text {
            out.push_str("\r\n");
            wrap(&mut out, &plain(paragraph, PARAGRAPH_MAX), "");
        }
        Message::new(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_a_header_and_paragraphs_in_ascii_whatever_is_put_in() {
        let notice = PlainNotice {
            hostname: "gate.example",
            to: &Mailbox::parse("a@b.example").unwrap(),
            message_id: "<1@gate.example>",
            in_reply_to: Some("<m\r\nBcc: x@y.example>"),
            reply_to: Some(&Mailbox::parse("release@gate.example").unwrap()),
            date: "2026-11-21T10:00:00Z".parse().unwrap(),
            subject: "The address has changed",
            text: &["One ü.".to_owned(), "Two\r\n.\r\nthree.".to_owned()],
        };
        let message = notice.compose();
        let text = std::str::from_utf8(message.octets()).unwrap();
        assert!(text.is_ascii());
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!header.contains("\r\nBcc"), "{header}");
        assert!(header.contains("\r\nReply-To: <release@gate.example>\r\n"));
        assert!(header.contains("\r\nAuto-Submitted: auto-replied\r\n"));
        assert!(!body.contains("\r\n.\r\n"), "{body}");
        assert_eq!(body.split("\r\n\r\n").count(), 2, "{body}");
    }
}
