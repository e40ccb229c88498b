//! The notice that an address has changed: what a sender is told who still uses an old name.

use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;

use super::letter::Letter;
use super::notify::Notice;

/// An address that has changed, and the message that came by the old one.
#[derive(Clone, Copy, Debug)]
pub struct AddressChanged<'a> {
    /// The sender.
    pub to: &'a Mailbox,
    /// The name that was written to.
    pub old: &'a Mailbox,
    /// The mailbox that it leads to.
    pub new: &'a Mailbox,
    /// The reference of the message.
    pub about: &'a Reference,
    /// Its `Message-ID`.
    pub message_id: Option<&'a str>,
}

impl AddressChanged<'_> {
    /// Writes the notice. It says what to change, and nothing of the message.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let old = ascii_address(&self.old.to_string());
        let new = ascii_address(&self.new.to_string());
        let text = [
            format!("This is the mail gateway {hostname}."),
            format!(
                "Your message to {old} is on its way. That address is an old one, and leads to {new} now."
            ),
            format!(
                "Please write to {new} from now on, and change it in your address book and in the programs that send \
                 for you. The old address may be switched off one day, and mail for it will come back then."
            ),
            format!(
                "You do not have to send the message again. If you ask for help with this, please quote the reference {}.",
                self.about
            ),
        ];
        let letter = Letter {
            to: self.to,
            about: self.about,
            message_id: self.message_id,
            action: "address-changed",
            subject: "An address that you use has changed",
            reply_to: None,
        };
        letter.notice(&text, hostname, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_reads_what_to_change_and_what_to_quote() {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        let notice = AddressChanged {
            to: &mailbox("gp@nhs.net"),
            old: &mailbox("nhspharmacy.bowesroad.nrpatelchemistfpq44@nhs.net"),
            new: &mailbox("pharmacy.fpq44@nhs.net"),
            about: &"PX-7F3K2Q9A".parse().unwrap(),
            message_id: Some("<m1@nhs.net>"),
        }
        .notice("gate.example", "2026-11-21T10:00:00Z".parse().unwrap());
        let text = String::from_utf8(notice.message.octets().to_vec()).unwrap();
        for part in [
            "To: <gp@nhs.net>\r\n",
            "In-Reply-To: <m1@nhs.net>\r\n",
            "nhspharmacy.bowesroad.nrpatelchemistfpq44@nhs.net",
            "pharmacy.fpq44@nhs.net",
            "PX-7F3K2Q9A",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(notice.event.recipient.as_deref(), Some("gp@nhs.net"));
    }
}
