//! The notice that a message is held: what its sender is told at once, without anything of the message.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::{Notice, UnlessTold};

/// A message that is held for some of its recipients.
#[derive(Clone, Copy, Debug)]
pub struct HeldNotice<'a> {
    /// Who is told.
    pub to: &'a Mailbox,
    /// The program that sent it, if somebody else is told in its place.
    pub program: Option<&'a Mailbox>,
    /// For whom it is held, and why.
    pub recipients: &'a [HeldFor],
    /// The tag that asks for encryption, where the subject nearly has it.
    pub tag: Option<&'a str>,
    /// Who decides about it.
    pub owner: &'a str,
    /// How the sender may let it go on for those of whom that is said.
    pub offer: Option<Offer<'a>>,
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
    /// How the sender may let it go on himself.
    pub release: Option<Release>,
}

/// How a sender may let a message go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Release {
    /// To the encryption next hop.
    Encrypted,
    /// As it is.
    AsItIs,
}

/// How a sender lets go on what he may.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Where his answer goes.
    pub address: &'a Mailbox,
    /// What the subject of his answer must have: `[PX-7F3K2Q9A/…]`.
    pub tag: &'a str,
    /// Until when.
    pub until: Timestamp,
}

impl HeldNotice<'_> {
    /// Writes the notice.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let plain = match self.program {
            None => "Your message is held and has not been delivered to everybody",
            Some(_) => "A message of a program that you answer for is held",
        };
        let subject = match self.offer {
            None => plain.to_owned(),
            Some(offer) => format!("Your message is held {}", offer.tag),
        };
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: self.message_id,
            action: "held",
            subject: &subject,
            reply_to: self.offer.map(|offer| offer.address),
        };
        let notice = letter.notice(&self.text(hostname), hostname, now);
        Notice {
            // A program that goes wrong sends by the thousand.
            unless_told: self.program.map(|program| UnlessTold {
                to: self.to.folded().to_string(),
                about: format!("held {}", program.folded()),
                at_most_every: OWNER_TOLD_EVERY,
            }),
            ..notice
        }
    }

    fn text(&self, hostname: &str) -> Vec<String> {
        let message = match self.program {
            None => "Your message".to_owned(),
            Some(program) => format!("A message from {}", ascii_address(&program.to_string())),
        };
        let mut text = vec![
            format!("This is the mail gateway {hostname}."),
            format!(
                "{message} is held for the recipients below: they have not got it, and will not until somebody \
                 has looked at it. Nothing more happens by itself. Recipients who are not named here are served."
            ),
        ];
        if self.program.is_some() {
            text.push(
                "You are told because a program sent it, and you answer for the program, or for what is held. More \
                 of its messages may be held: you are told of one in an hour at most, and `postern queue list \
                 --state held` shows all."
                    .to_owned(),
            );
        }
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
        if let Some(offer) = self.offer {
            text.extend(self.how_to_release(offer));
        }
        text.push(format!(
            "If the matter is urgent, reach the recipients in another way now. Held messages are decided about by \
             {}; please quote the reference {}.",
            self.owner, self.about
        ));
        text
    }
}

impl HeldNotice<'_> {
    /// What the sender does to let it go on. The word `Reason:` begins no line of it, for the notice is quoted in
    /// the answer.
    fn how_to_release(&self, offer: Offer<'_>) -> Vec<String> {
        let named = |how| {
            let those = self
                .recipients
                .iter()
                .filter(|one| one.release == Some(how));
            let names = those.map(|one| format!("<{}>", ascii_address(&one.address)));
            names.take(SHOWN).collect::<Vec<_>>().join(", ")
        };
        let mut text = vec![format!(
            "You may let it go on yourself until {}, once, for the recipients named here:",
            offer.until.strftime("%A, %-d %B %Y, %H:%M UTC")
        )];
        for (how, words) in [
            (Release::Encrypted, "encrypted"),
            (
                Release::AsItIs,
                "as it is, for everybody on its way to read",
            ),
        ] {
            let names = named(how);
            if !names.is_empty() {
                text.push(format!("{words}: {names}."));
            }
        }
        text.push(format!(
            "Make sure that these are the right people first. Then reply to this notice, to {} alone and with its subject \
             as it is, and write one line that begins with the word \"Reason:\" and says why. The reason is kept; \
             write nothing about a patient in it. Do not pass this notice on: whoever has it can answer for you.",
            offer.address
        ));
        text
    }
}

/// How often whoever answers for a program is told that mail of it is held.
const OWNER_TOLD_EVERY: Duration = Duration::from_secs(60 * 60);
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
            release: None,
        };
        let notice = HeldNotice {
            to: &Mailbox::parse("gp@nhs.net").unwrap(),
            program: None,
            recipients: &[held],
            tag: Some("[secure]"),
            owner: "the information governance lead",
            offer: None,
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
