//! A plain notice about a message, ready for the queue: what all of them share.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::notice::PlainNotice;

use super::notify::Notice;

/// A notice to one person about one message. Its text says nothing of what is in the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter<'a> {
    /// Who gets it.
    pub(super) to: &'a Mailbox,
    /// The reference of the message.
    pub(super) about: &'a Reference,
    /// The `Message-ID` of the message.
    pub(super) message_id: Option<&'a str>,
    /// What the audit trail calls it: `held`.
    pub(super) action: &'static str,
    /// Its subject.
    pub(super) subject: &'a str,
    /// Where an answer goes; nobody reads one that goes back to the gateway itself.
    pub(super) reply_to: Option<&'a Mailbox>,
}

impl Letter<'_> {
    /// Writes it, with these paragraphs.
    pub(super) fn notice(self, text: &[String], hostname: &str, now: Timestamp) -> Notice {
        Notice::write(
            self.to,
            self.about,
            self.action,
            hostname,
            now,
            |message_id| {
                let notice = PlainNotice {
                    hostname,
                    to: self.to,
                    message_id,
                    in_reply_to: self.message_id,
                    reply_to: self.reply_to,
                    date: now,
                    subject: self.subject,
                    text,
                };
                notice.compose()
            },
        )
    }
}
