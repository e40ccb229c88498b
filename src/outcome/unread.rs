//! The answer to a reply that nobody reads: where to turn to instead.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::{Notice, UnlessTold};

/// A reply to an address that nobody reads.
#[derive(Clone, Copy, Debug)]
pub struct UnreadNotice<'a> {
    /// Who wrote it.
    pub to: &'a Mailbox,
    /// To which address.
    pub address: &'a str,
    /// Where to turn to: the pharmacy's own words.
    pub contact: &'a str,
    /// The reference of the reply.
    pub about: &'a Reference,
    /// Its `Message-ID`.
    pub message_id: Option<&'a str>,
}

impl UnreadNotice<'_> {
    /// Writes the answer. One sender gets it once a week from one address (RFC 3834 §2).
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let address = ascii_address(self.address);
        let contact: String = self
            .contact
            .chars()
            .map(|c| {
                if c.is_ascii() && !c.is_control() {
                    c
                } else {
                    '?'
                }
            })
            .collect();
        let text = [
            format!(
                "You have answered a message from {address}. Nobody reads what is sent there, and your answer was not kept."
            ),
            format!("Please turn to: {contact}"),
            "If it is urgent, do not wait for an email: call 111, or 999 in an emergency."
                .to_owned(),
        ];
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: self.message_id,
            action: "unread",
            subject: "Nobody reads this address",
            reply_to: None,
        };
        let unless = UnlessTold {
            to: self.to.folded().to_string(),
            about: format!("unread {}", self.address),
            at_most_every: WEEK,
        };
        Notice {
            unless_told: Some(unless),
            ..letter.notice(&text, hostname, now)
        }
    }
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_says_where_to_turn_to_and_goes_out_once_a_week() {
        let notice = UnreadNotice {
            to: &"Patient@home.example".parse().unwrap(),
            address: "reminders@bumbleton.example",
            contact: "Bumbleton Pharmacy, 020 7946 0018",
            about: &"PX-7F3K2Q9A".parse().unwrap(),
            message_id: None,
        }
        .notice("gate.example", "2026-11-21T10:00:00Z".parse().unwrap());
        let text = String::from_utf8(notice.message.octets().to_vec()).unwrap();
        assert!(text.contains("Bumbleton Pharmacy, 020 7946 0018"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-"), "{text}");
        let unless = notice.unless_told.unwrap();
        assert_eq!(unless.about, "unread reminders@bumbleton.example");
        assert_eq!(unless.at_most_every, WEEK);
    }
}
