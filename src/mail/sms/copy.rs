//! A text message as it lies in the queue: a small message of our own, sealed.
//!
//! It holds the number and the very text that was judged, and nothing else of the mail that it was made of: what
//! goes out is what the policy saw, and a report can quote nothing that it should not. The seal, an HMAC under the
//! key of this gateway, keeps a mail that merely looks like one from being sent as one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mail::Message;

use super::MobileNumber;

/// A text for a number. `Debug` shows neither.
#[derive(Clone, Eq, PartialEq)]
pub struct TextMessage {
    /// Whom it goes to.
    pub to: MobileNumber,
    /// What providers are told to call it: of this one text, the same at every attempt, and nobody's data.
    pub reference: String,
    /// The account that sends it; one line without control characters.
    pub account: String,
    /// What it says.
    pub text: String,
}

impl TextMessage {
    /// What the seal is made for (`base::HashKey`).
    pub const PURPOSE: &'static str = "text message";

    /// Writes it for the queue. `seal` hashes with the key of the gateway.
    pub fn compose(&self, message_id: Option<&str>, seal: impl Fn(&[u8]) -> [u8; 32]) -> Message {
        let mut octets = String::new();
        if let Some(id) = message_id.filter(|id| !id.contains(['\r', '\n'])) {
            octets.push_str(&format!("Message-ID: {id}\r\n"));
        }
        let fields = [
            (TO, self.to.digits()),
            (REFERENCE, self.reference.as_str()),
            (ACCOUNT, self.account.as_str()),
            (SEAL, &hex(&seal(&self.sealed()))),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "base64"),
        ];
        for (name, value) in fields {
            octets.push_str(&format!("{name}: {value}\r\n"));
        }
        octets.push_str("\r\n");
        let coded = STANDARD.encode(&self.text);
        for line in coded.as_bytes().chunks(LINE_OCTETS) {
            octets.push_str(&String::from_utf8_lossy(line));
            octets.push_str("\r\n");
        }
        Message::new(octets.into_bytes())
    }

    /// Reads one back; `None` if it is none, or not one that this gateway has sealed.
    pub fn read(message: &Message, seal: impl Fn(&[u8]) -> [u8; 32]) -> Option<Self> {
        let header = message.header();
        let field = |name| {
            header
                .first(name)
                .map(|field| field.value().trim().to_owned())
        };
        let body = message.body_octets().iter();
        let coded: Vec<u8> = body.copied().filter(|o| !o.is_ascii_whitespace()).collect();
        let text = STANDARD.decode(coded).ok()?;
        let read = Self {
            to: MobileNumber::parse(&field(TO)?).ok()?,
            reference: field(REFERENCE)?,
            account: field(ACCOUNT)?,
            text: String::from_utf8(text).ok()?,
        };
        (field(SEAL)? == hex(&seal(&read.sealed()))).then_some(read)
    }

    /// What the seal is over: every value with its length before it.
    fn sealed(&self) -> Vec<u8> {
        let values = [self.to.digits(), &self.reference, &self.account, &self.text];
        let mut sealed = Vec::new();
        for value in values {
            sealed.extend_from_slice(&(value.len() as u64).to_be_bytes());
            sealed.extend_from_slice(value.as_bytes());
        }
        sealed
    }
}

impl fmt::Debug for TextMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextMessage")
            .field("to", &self.to)
            .field("reference", &self.reference)
            .field("octets", &self.text.len())
            .finish_non_exhaustive()
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

const TO: &str = "X-Postern-SMS-To";
const REFERENCE: &str = "X-Postern-SMS-Reference";
const ACCOUNT: &str = "X-Postern-SMS-Account";
const SEAL: &str = "X-Postern-SMS-Seal";
/// Octets of base64 in a line (RFC 2045 §6.8).
const LINE_OCTETS: usize = 76;

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash good enough for a test.
    fn seal(octets: &[u8]) -> [u8; 32] {
        let mut sum = [7u8; 32];
        for (at, octet) in octets.iter().enumerate() {
            sum[at % 32] = sum[at % 32].wrapping_mul(31).wrapping_add(*octet);
        }
        sum
    }

    fn text() -> TextMessage {
        TextMessage {
            to: MobileNumber::parse("07700900003").unwrap(),
            reference: "PX-7F3K2Q9A.K2M4".into(),
            account: "reminders.fa123.donotreply@nhs.net".into(),
            text: "Your prescription is ready — £9.90\nTŷ Gwyn ".repeat(5),
        }
    }

    #[test]
    fn a_text_comes_out_of_the_queue_as_it_went_in() {
        let message = text().compose(Some("<m1@b.example>"), seal);
        assert_eq!(TextMessage::read(&message, seal), Some(text()));
        assert!(message.octets().is_ascii());
        let longest = message
            .octets()
            .split(|o| *o == b'\n')
            .map(<[u8]>::len)
            .max();
        assert!(longest.unwrap() <= 100);
    }

    #[test]
    fn a_mail_that_looks_like_one_is_none() {
        let message = text().compose(None, seal);
        assert_eq!(TextMessage::read(&message, |_| [0; 32]), None);
        let forged = String::from_utf8(message.octets().to_vec()).unwrap();
        let forged = forged.replace("447700900003", "447700900004");
        assert_eq!(
            TextMessage::read(&Message::new(forged.into_bytes()), seal),
            None
        );
        let plain = Message::new(&b"Subject: x\r\n\r\nhello\r\n"[..]);
        assert_eq!(TextMessage::read(&plain, seal), None);
    }

    #[test]
    fn nobody_who_prints_one_reads_it() {
        let shown = format!("{:?}", text());
        assert!(
            !shown.contains("900") && !shown.contains("prescription"),
            "{shown}"
        );
    }
}
