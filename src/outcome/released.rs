//! The notices that a sender has let go on what was held: to whoever decides about holds, who must know, and
//! to the sender, who sees that it was he, and not somebody else.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::Notice;

/// A message that its sender has let go on.
#[derive(Clone, Copy, Debug)]
pub struct ReleasedNotice<'a> {
    /// Who is told.
    pub to: &'a Mailbox,
    /// The sender.
    pub sender: &'a Mailbox,
    /// To whom it goes now, and whether by way of the encryption next hop.
    pub recipients: &'a [(String, bool)],
    /// Why, in his words.
    pub reason: &'a str,
    /// The reference of the message.
    pub about: &'a Reference,
}

impl ReleasedNotice<'_> {
    /// Writes the notice.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: None,
            action: "released",
            subject: "A held message was let go on by its sender",
            reply_to: None,
        };
        letter.notice(&self.text(hostname), hostname, now)
    }

    fn text(&self, hostname: &str) -> Vec<String> {
        let sender = ascii_address(&self.sender.to_string());
        let mut text = vec![
            format!("This is the mail gateway {hostname}."),
            format!(
                "The message {} of {sender} was held. An answer from this sender, with the code of the notice, has let \
                 it go on to the recipients below.",
                self.about
            ),
        ];
        for (recipient, is_encrypted) in self.recipients.iter().take(SHOWN) {
            let how = match is_encrypted {
                true => "by way of the encryption next hop",
                false => "as it is",
            };
            text.push(format!("<{}>: {how}.", ascii_address(recipient)));
        }
        if self.recipients.len() > SHOWN {
            text.push(format!("And {} more.", self.recipients.len() - SHOWN));
        }
        text.push(format!("The reason given: {}", self.reason));
        text.push(format!(
            "If this was not {sender}, tell the administrators of this gateway at once, and quote the reference {}.",
            self.about
        ));
        text
    }
}

/// Recipients that a notice names.
const SHOWN: usize = 20;
