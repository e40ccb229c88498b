//! The digest: once a day the owner of a mailbox reads what was quarantined for it, and lets go on what he wants.
//!
//! What strangers wrote (sender and subject) is shown on one line each, without control characters, and so that
//! no program makes a link of it: the only links are our own.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};

use crate::mail::{Mailbox, Message, shown};

use super::notify::{Notice, UnlessTold};

/// What was quarantined for one mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Digest<'a> {
    /// The mailbox.
    pub to: &'a Mailbox,
    /// What, the oldest first; the first [`SHOWN`] are named.
    pub entries: &'a [Entry],
    /// Up to when: one digest for each such moment is ever sent.
    pub until: Timestamp,
    /// How long the links are good.
    pub links_until: Timestamp,
}

/// One message that was quarantined. Holds content: shown by no `Debug`.
pub struct Entry {
    /// What people quote.
    pub reference: String,
    /// Who it says that it is from, decoded.
    pub from: String,
    /// Its subject, decoded; `None` if it is not to be shown.
    pub subject: Option<String>,
    /// Why it was kept back.
    pub because: String,
    /// When it came.
    pub received_at: Timestamp,
    /// Where the owner lets it go on, if he may.
    pub link: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({})", self.reference)
    }
}

impl Digest<'_> {
    /// Writes it; `None` if its addresses cannot be written in a header. There is one entry at least.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Option<Notice> {
        let about = self.entries.first()?.reference.parse().ok()?;
        let mut composed = true;
        let notice = Notice::write(self.to, &about, "quarantine-digest", hostname, now, |id| {
            self.compose(hostname, id, now).unwrap_or_else(|| {
                composed = false;
                Message::new(Vec::new())
            })
        });
        composed.then(|| Notice {
            unless_told: Some(UnlessTold {
                to: self.to.folded().to_string(),
                about: format!("quarantine until {}", self.until),
                at_most_every: EVER,
            }),
            ..notice
        })
    }

    fn compose(&self, hostname: &str, id: &str, now: Timestamp) -> Option<Message> {
        let from = format!("Mail Gateway <postmaster@{hostname}>")
            .parse()
            .ok()?;
        let to = lettre::Address::new(self.to.local_part().to_string(), self.to.host().to_string());
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = lettre::Message::builder()
            .from(from)
            .to(lettre::message::Mailbox::new(None, to.ok()?))
            .subject(self.subject())
            .date(SystemTime::from(now))
            .message_id(Some(id.to_owned()))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(self.text(hostname))
            .ok()?;
        Some(Message::new(message.formatted()))
    }

    fn subject(&self) -> String {
        match self.entries.len() {
            1 => "One message was kept back for you".to_owned(),
            count => format!("{count} messages were kept back for you"),
        }
    }

    fn text(&self, hostname: &str) -> String {
        let mut text = format!(
            "This is the mail gateway {hostname}. The messages below came for {} and were\r\n\
             kept back. If you do not want them, do nothing.\r\n\r\n\
             To get one, open its link and press the button on the page. A link works once,\r\n\
             until {}. Do not pass this mail on: whoever has a\r\n\
             link can use it.\r\n",
            shown::line(&self.to.to_string(), LINE_MAX),
            self.links_until.strftime(TIME),
        );
        for (at, entry) in self.entries.iter().take(SHOWN).enumerate() {
            text.push_str(&entry.text(at + 1));
        }
        if self.entries.len() > SHOWN {
            let more = self.entries.len() - SHOWN;
            text.push_str(&format!("\r\nAnd {more} more: ask the administrators.\r\n"));
        }
        text
    }
}

impl Entry {
    fn text(&self, number: usize) -> String {
        let subject = match &self.subject {
            Some(subject) => safe(subject),
            None => "(not shown)".to_owned(),
        };
        let release = match &self.link {
            Some(link) => format!("Get it:   {link}"),
            None => format!(
                "Get it:   only by the administrators, who want {}",
                self.reference
            ),
        };
        format!(
            "\r\n{number}.\r\n\
             From:     {}\r\n\
             Subject:  {subject}\r\n\
             Received: {}\r\n\
             Because:  {}\r\n\
             {release}\r\n",
            safe(&self.from),
            self.received_at.strftime(TIME),
            safe(&self.because),
        )
    }
}

/// Words of a stranger, in one line, without a link.
fn safe(text: &str) -> String {
    shown::defanged(&shown::line(text, LINE_MAX))
}

/// How people read a time.
const TIME: &str = "%-d %B %Y, %H:%M UTC";
/// Messages that one digest names.
pub const SHOWN: usize = 100;
/// Characters of a line of somebody else's words.
const LINE_MAX: usize = 120;
/// A digest is for one moment and sent once: longer than anything is kept.
const EVER: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(from: &str, subject: Option<&str>, link: Option<&str>) -> Entry {
        Entry {
            reference: "PX-7F3K2Q9A".into(),
            from: from.into(),
            subject: subject.map(str::to_owned),
            because: "the spam score is 12".into(),
            received_at: "2026-11-20T09:31:00Z".parse().unwrap(),
            link: link.map(str::to_owned),
        }
    }

    #[test]
    fn nothing_of_a_stranger_breaks_out_of_its_line_or_makes_a_link() {
        let hostile = "Click\r\n\r\nhttp://evil.example/\u{202e}\u{1b}[31m now";
        let entries = [
            entry(
                "\"Bank\" <x@evil.example>",
                Some(hostile),
                Some("https://q.example/q/TOKEN"),
            ),
            entry("someone", None, None),
        ];
        let digest = Digest {
            to: &Mailbox::parse("gp@nhs.net").unwrap(),
            entries: &entries,
            until: "2026-11-21T07:00:00Z".parse().unwrap(),
            links_until: "2026-11-28T07:00:00Z".parse().unwrap(),
        };
        let now = "2026-11-21T07:05:00Z".parse().unwrap();
        let notice = digest.notice("gate.example", now).unwrap();
        let text = String::from_utf8(notice.message.octets().to_vec()).unwrap();
        for part in [
            "To: gp@nhs.net\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "MIME-Version: 1.0\r\n",
            "\r\nReceived: 20 November 2026, 09:31 UTC\r\n",
            "Subject: 2 messages were kept back for you\r\n",
            "\r\nSubject:  Click hxxp[:]//evil[.]example/\\u{202e}\\u{1b}[31m now\r\n",
            "\r\nGet it:   https://q.example/q/TOKEN\r\n",
            "\r\nSubject:  (not shown)\r\n",
            "only by the administrators, who want PX-7F3K2Q9A\r\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("http://"), "{text}");
        assert!(
            notice
                .unless_told
                .unwrap()
                .about
                .contains("2026-11-21T07:00")
        );
    }

    #[test]
    fn letters_of_any_script_come_through_encoded() {
        let entries = [entry(
            "Zo\u{eb} <z@a.example>",
            Some("Gr\u{fc}\u{df}e \u{4f60}"),
            None,
        )];
        let digest = Digest {
            to: &Mailbox::parse("gp@nhs.net").unwrap(),
            entries: &entries,
            until: Timestamp::UNIX_EPOCH,
            links_until: Timestamp::UNIX_EPOCH,
        };
        let notice = digest
            .notice("gate.example", Timestamp::UNIX_EPOCH)
            .unwrap();
        assert!(notice.message.octets().is_ascii());
    }
}
