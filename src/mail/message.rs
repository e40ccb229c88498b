//! A message: octets as they came, shared, never copied to be looked at.
//!
//! The octets may lie in memory or in a mapped file (whoever receives a large message decides); the
//! type is the same. `Debug` shows sizes alone: content cannot reach a log by way of `{:?}`.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::header::Header;

/// A whole message: header, empty line, body (RFC 5322 §2.1). Cheap to clone.
#[derive(Clone, Eq, PartialEq)]
pub struct Message {
    octets: Bytes,
    /// Where the body starts: after the first empty line, or at the end if there is none.
    body: usize,
}

impl Message {
    /// Takes the octets of a message, without the SMTP transparency dots.
    pub fn new(octets: impl Into<Bytes>) -> Self {
        let octets = octets.into();
        let body = body_offset(&octets);
        Self { octets, body }
    }

    /// Takes a message out of a file. One whose lines all end as those of a text file do gets the
    /// line ends of mail; any other is taken as it is, mistakes included.
    pub fn of_file(octets: Vec<u8>) -> Self {
        if octets.contains(&b'\r') || !octets.contains(&b'\n') {
            return Self::new(octets);
        }
        let mut mail = Vec::with_capacity(octets.len() + octets.len() / 32);
        for octet in octets {
            if octet == b'\n' {
                mail.push(b'\r');
            }
            mail.push(octet);
        }
        Self::new(mail)
    }

    /// The same with whole fields, each ended by CRLF, before its first. A message that nobody else holds is
    /// not copied.
    #[must_use]
    pub fn with_fields_on_top(self, fields: &str) -> Self {
        let body = self.body + fields.len();
        let mut octets = Vec::from(self.octets);
        octets.reserve_exact(fields.len());
        octets.splice(0..0, fields.bytes());
        Self {
            octets: octets.into(),
            body,
        }
    }

    /// All of it.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The number of octets.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The header section, up to and without the empty line.
    pub fn header_octets(&self) -> &[u8] {
        let header = &self.octets[..self.body];
        match header {
            b"\r\n" => b"",
            _ if header.ends_with(b"\r\n\r\n") => &header[..header.len() - 2],
            _ => header,
        }
    }

    /// The fields of the header, in order, as views.
    pub fn header(&self) -> Header<'_> {
        Header::parse(self.header_octets())
    }

    /// The body.
    pub fn body_octets(&self) -> &[u8] {
        &self.octets[self.body..]
    }

    /// The header alone, as a message of its own: it keeps nothing of the octets of this one.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self {
            octets: Bytes::copy_from_slice(&self.octets[..self.body]),
            body: self.body,
        }
    }

    /// Where the body lies in the octets.
    pub fn body_range(&self) -> Range<usize> {
        self.body..self.octets.len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Message({} octets, body from {})",
            self.octets.len(),
            self.body
        )
    }
}

fn body_offset(octets: &[u8]) -> usize {
    if octets.starts_with(b"\r\n") {
        return 2;
    }
    memchr::memmem::find(octets, b"\r\n\r\n").map_or(octets.len(), |at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_alone_is_read_as_before() {
        for text in [
            "A: b\r\nC: d\r\n\r\nbody\r\n",
            "\r\nbody",
            "no body\r\n",
            "",
        ] {
            let message = Message::new(text.as_bytes().to_vec());
            let header = message.without_body();
            assert_eq!(header.header_octets(), message.header_octets(), "{text:?}");
            assert_eq!(header.body_octets(), b"", "{text:?}");
        }
    }

    #[test]
    fn a_text_file_gets_the_line_ends_of_mail_and_mail_stays_as_it_is() {
        let file = Message::of_file(b"Subject: x\n\nhello\n".to_vec());
        assert_eq!(file.body_octets(), b"hello\r\n");
        for kept in [&b"Subject: x\r\n\r\na\nb"[..], b"no line end", b""] {
            assert_eq!(Message::of_file(kept.to_vec()).octets(), kept);
        }
    }

    #[test]
    fn header_and_body_part_at_the_first_empty_line() {
        for (octets, header, body) in [
            (
                &b"A: b\r\nC: d\r\n\r\nhello\r\n\r\nmore"[..],
                &b"A: b\r\nC: d\r\n"[..],
                &b"hello\r\n\r\nmore"[..],
            ),
            (b"\r\nbody alone", b"", b"body alone"),
            (b"A: b\r\n", b"A: b\r\n", b""),
            (b"", b"", b""),
            (b"A: b\r\n\r\n", b"A: b\r\n", b""),
        ] {
            let message = Message::new(octets);
            assert_eq!(
                (message.header_octets(), message.body_octets()),
                (header, body)
            );
        }
    }

    #[test]
    fn fields_on_top_move_the_body_and_nothing_else() {
        for text in ["A: b\r\n\r\nhello", "\r\nbody", "A: b\r\n", ""] {
            let message = Message::new(text.as_bytes());
            let with = message.clone().with_fields_on_top("X: y\r\n");
            assert_eq!(with, Message::new(format!("X: y\r\n{text}")), "{text:?}");
            assert_eq!(with.body_octets(), message.body_octets());
        }
    }

    #[test]
    fn debug_shows_no_content() {
        let text = format!(
            "{:?}",
            Message::new(&b"Subject: Mrs Smith\r\n\r\nNHS 943 476 5919"[..])
        );
        assert_eq!(text, "Message(38 octets, body from 22)");
    }
}
