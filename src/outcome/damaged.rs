//! The notice that a message cannot be read back from the queue: to whoever looks after the gateway, for its client was
//! told that it was taken.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::Notice;

/// A message that is held because it cannot be read back.
#[derive(Clone, Copy, Debug)]
pub struct DamagedNotice<'a> {
    /// Who is told.
    pub to: &'a Mailbox,
    /// The reference of the message.
    pub about: &'a Reference,
    /// Its `Message-ID`.
    pub message_id: Option<&'a str>,
    /// Its reverse path; empty for the null path.
    pub sender: &'a str,
    /// To whom it was to go.
    pub recipients: &'a [String],
    /// What was found: a file, a row, an error of the database.
    pub what: &'a str,
}

impl DamagedNotice<'_> {
    /// Writes the notice.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: self.message_id,
            action: "damaged",
            subject: "A message cannot be read back from the queue, and is held",
            reply_to: None,
        };
        letter.notice(&self.text(hostname), hostname, now)
    }

    fn text(&self, hostname: &str) -> Vec<String> {
        let about = self.about;
        let sender = match self.sender {
            "" => "without a sender, or whose sender is lost too,".to_owned(),
            sender => format!("of {}", ascii_address(sender)),
        };
        let held = match self.recipients {
            [] => "It is tried no more, and whom it was for is lost with it.",
            _ => "It is held for the recipients below.",
        };
        let mut text = vec![
            format!("This is the mail gateway {hostname}."),
            format!(
                "The message {about} {sender} was taken and lies in the queue, but cannot be read back. {held} \
                 Its sender believes that it is on its way: he has not been told."
            ),
        ];
        let shown = self.recipients.iter().take(SHOWN);
        text.extend(shown.map(|one| format!("<{}>", ascii_address(one))));
        if self.recipients.len() > SHOWN {
            text.push(format!("And {} more.", self.recipients.len() - SHOWN));
        }
        text.push(format!("What was found: {}", printable(self.what)));
        text.push(format!(
            "If what is lost can be put back from a copy, do that, and let the message go on: postern queue release {about}"
        ));
        text.push(format!(
            "If not, give it up, and its sender is told to send it again: postern queue fail {about} --reason \"...\""
        ));
        text.push(
            "A file or a row that was there does not go by itself: look after the disk, and for who removes files there."
                .to_owned(),
        );
        text
    }
}

fn printable(text: &str) -> String {
    let plain = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().map(plain).collect()
}

/// Recipients that a notice names.
const SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_lost_and_what_can_be_done() {
        let recipients: Vec<String> = (0..22).map(|i| format!("r{i}@ward.example")).collect();
        let notice = DamagedNotice {
            to: &"owner@nhs.net".parse().unwrap(),
            about: &"PX-7F3K2Q9A".parse().unwrap(),
            message_id: Some("<1@nhs.net>"),
            sender: "a@nhs.net",
            recipients: &recipients,
            what: "/data/spool/X.eml: no such file",
        };
        let written = notice.notice("gate.example", "2026-12-13T12:00:00Z".parse().unwrap());
        assert_eq!(written.event.facts["action"], "damaged");
        let text = String::from_utf8(written.message.octets().to_vec()).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "PX-7F3K2Q9A of a@nhs.net",
            "<r19@ward.example>",
            "And 2 more.",
            "/data/spool/X.eml: no such file",
            "queue release PX-7F3K2Q9A",
            "queue fail PX-7F3K2Q9A",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("<r20@ward.example>"));
    }
}
