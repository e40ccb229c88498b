//! The notice that a message is held: what its sender is told at once, without anything of the message.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::Notice;

/// A message that is held for some of its recipients.
#[derive(Clone, Copy, Debug)]
pub struct HeldNotice<'a> {
    /// The sender.
    pub to: &'a Mailbox,
    /// For whom it is held, and why.
    pub recipients: &'a [HeldFor],
    /// The tag that asks for encryption, where the subject nearly has it.
    pub tag: Option<&'a str>,
    /// Who decides about it.
    pub owner: &'a str,
    /// The reference of the message.
    pub about: &'a Reference,
    /// Its `Message-ID`.
    pub message_id: Option<&'a str>,
}

/// A recipient for whom a message is held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldFor {
    /// The address as the sender wrote it.
    pub address: String,
    /// Why, in one plain sentence without content.
    pub because: String,
    /// The smallest change that would have let it pass.
    pub would_pass_if: Option<String>,
}

impl HeldNotice<'_> {
    /// Writes the notice.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: self.message_id,
            action: "held",
            subject: "Your message is held and has not been delivered to everybody",
            reply_to: None,
        };
        letter.notice(&self.text(hostname), hostname, now)
    }

    fn text(&self, hostname: &str) -> Vec<String> {
        let mut text = vec![
            format!("This is the mail gateway {hostname}."),
            "Your message is held for the recipients below: they have not got it, and will not until somebody \
             has looked at it. Nothing more happens by itself. Recipients who are not named here are served."
                .to_owned(),
        ];
        for one in self.recipients.iter().take(SHOWN) {
            let mut line = format!("<{}>: {}.", ascii_address(&one.address), one.because);
            if let Some(change) = &one.would_pass_if {
                line.push_str(&format!(" It would have gone if {change}."));
            }
            text.push(line);
        }
        if self.recipients.len() > SHOWN {
            text.push(format!("And {} more.", self.recipients.len() - SHOWN));
        }
        if let Some(tag) = self.tag {
            text.push(format!(
                "The subject nearly asks for encryption. The tag is written exactly so, with its brackets: {tag}"
            ));
            text.push(format!(
                "To send the message encrypted, send it again with {tag} in the subject. If it was not meant, send \
                 it again without the word."
            ));
        }
        text.push(format!(
            "If the matter is urgent, reach the recipients in another way now. Held messages are decided about by \
             {}; please quote the reference {}.",
            self.owner, self.about
        ));
        text
    }
}

/// Recipients that a notice names.
const SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_reads_for_whom_why_and_how_the_tag_is_written() {
        let held = HeldFor {
            address: "patient@example.com".into(),
            because: "the subject nearly asks for encryption".into(),
            would_pass_if: Some("the subject has the exact tag [secure]".into()),
        };
        let notice = HeldNotice {
            to: &Mailbox::parse("gp@nhs.net").unwrap(),
            recipients: &[held],
            tag: Some("[secure]"),
            owner: "the information governance lead",
            about: &"PX-7F3K2Q9A".parse().unwrap(),
            message_id: Some("<m1@nhs.net>"),
        }
        .notice("gate.example", "2026-11-21T10:00:00Z".parse().unwrap());
        let text = String::from_utf8(notice.message.octets().to_vec()).unwrap();
        let text = text.replace("\r\n", " ");
        for part in [
            "To: <gp@nhs.net>",
            "In-Reply-To: <m1@nhs.net>",
            "<patient@example.com>: the subject nearly asks for encryption. It would have gone if the subject",
            "with its brackets: [secure]",
            "the information governance lead; please quote the reference PX-7F3K2Q9A.",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
