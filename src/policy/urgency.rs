//! Which mail goes before which: `[[urgency]]` of the gateway's own file.
//!
//! The first section whose conditions all hold gives the class. Where none does, the number counts that an
//! authenticated client gave with the message (RFC 6710), and without one the class is normal. A class decides about
//! the order where something has to wait, and about nothing else.

use crate::config::{Diagnostic, Located, Section};
use crate::mail::{ForwardPath, Header, MailTransaction, Mailbox, Priority};

use super::senders::SenderPattern;

/// All sections, in their order.
#[derive(Clone, Debug, Default)]
pub struct Urgency {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    class: Priority,
    accounts: Vec<String>,
    from: Vec<SenderPattern>,
    to: Vec<SenderPattern>,
    /// A field, and what stands in it in any case.
    fields: Vec<(String, Option<String>)>,
    /// What stands in the subject, in small letters.
    subject: Vec<String>,
}

impl Urgency {
    /// Takes `[[urgency]]` out of the outermost section.
    pub fn read(top: &Section<'_>) -> Self {
        let mut rules = Vec::new();
        for section in top.sections("urgency") {
            rules.extend(Rule::read(&section));
            section.finish();
        }
        Self { rules }
    }

    /// The class of a message. `subject` is decoded.
    pub(super) fn class(
        &self,
        transaction: &MailTransaction,
        header: &Header<'_>,
        subject: &str,
    ) -> Priority {
        if let Some(rule) = self
            .rules
            .iter()
            .find(|rule| rule.holds(transaction, header, subject))
        {
            return rule.class;
        }
        match transaction.envelope.mt_priority {
            Some(URGENT_FROM..) => Priority::Urgent,
            Some(..=BULK_TO) => Priority::Bulk,
            _ => Priority::Normal,
        }
    }
}

impl Rule {
    fn read(section: &Section<'_>) -> Option<Self> {
        let words = Priority::ALL.map(|class| (class.word(), class));
        let class = section.word("class", &words);
        let strings = |key| {
            let list = section.strings(key).unwrap_or_default();
            list.into_iter()
                .map(Located::into_inner)
                .collect::<Vec<_>>()
        };
        let patterns = |key| {
            let list = section.parse_list::<SenderPattern>(key).unwrap_or_default();
            list.into_iter()
                .map(Located::into_inner)
                .collect::<Vec<_>>()
        };
        let rule = Self {
            class: class.as_deref().copied().unwrap_or_default(),
            accounts: strings("accounts"),
            from: patterns("from"),
            to: patterns("to"),
            fields: strings("header").iter().map(|text| field(text)).collect(),
            subject: strings("subject")
                .iter()
                .map(|s| s.to_lowercase())
                .collect(),
        };
        let complain = |message: &str, help: &str| {
            section.diagnostics().push(
                Diagnostic::error("bad-urgency", message)
                    .at(section.place(), "")
                    .help(help),
            );
        };
        if class.is_none() && !section.has("class") {
            complain(
                "`class` is missing",
                "write class = \"urgent\", \"normal\" or \"bulk\"",
            );
            return None;
        }
        if rule.is_unconditional() {
            complain(
                "this section would be about all mail",
                "write a condition: accounts, from, to, header, subject",
            );
            return None;
        }
        class.map(|_| rule)
    }

    fn is_unconditional(&self) -> bool {
        self.accounts.is_empty()
            && self.from.is_empty()
            && self.to.is_empty()
            && self.fields.is_empty()
            && self.subject.is_empty()
    }

    /// Whether all its conditions hold; of several values of a condition one is enough.
    fn holds(&self, transaction: &MailTransaction, header: &Header<'_>, subject: &str) -> bool {
        let (client, envelope) = (&transaction.client, &transaction.envelope);
        let sender = envelope.reverse_path.notifiable();
        let among = |patterns: &[SenderPattern], mailbox: Option<&Mailbox>| {
            let is = |pattern: &SenderPattern| mailbox.is_some_and(|one| pattern.is(one));
            patterns.iter().any(is)
        };
        let account = || {
            let name = client.account.as_ref();
            name.is_some_and(|name| self.accounts.contains(name))
        };
        let from = || {
            let from_there = |one: &SenderPattern| one.has(client.address.ip());
            among(&self.from, sender) || self.from.iter().any(from_there)
        };
        let to = || {
            let mut paths = envelope.recipients.iter().map(|one| &one.forward_path);
            paths.any(|path: &ForwardPath| among(&self.to, path.mailbox()))
        };
        let field = || {
            let mut fields = self.fields.iter();
            fields.any(|(name, wanted)| {
                header.all(name).any(|field| match wanted {
                    Some(wanted) => field.value().to_lowercase().contains(wanted),
                    None => true,
                })
            })
        };
        let in_subject = || {
            let subject = subject.to_lowercase();
            self.subject.iter().any(|word| subject.contains(word))
        };
        (self.accounts.is_empty() || account())
            && (self.from.is_empty() || from())
            && (self.to.is_empty() || to())
            && (self.fields.is_empty() || field())
            && (self.subject.is_empty() || in_subject())
    }
}

/// `Name` or `Name: what stands in it`.
fn field(text: &str) -> (String, Option<String>) {
    match text.split_once(':') {
        Some((name, wanted)) => (
            name.trim().to_owned(),
            Some(wanted.trim().to_lowercase()).filter(|wanted| !wanted.is_empty()),
        ),
        None => (text.trim().to_owned(), None),
    }
}

/// From this number on a message is urgent (RFC 6710 leaves the steps to the receiver).
const URGENT_FROM: i8 = 3;
/// Up to this number it is bulk.
const BULK_TO: i8 = -3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;
    use crate::mail::{Client, Envelope, Message, Recipient, ReversePath, Service};

    fn read(text: &str) -> (Urgency, Vec<String>) {
        let (urgency, said) = read_text("policies/postern.toml", text, Urgency::read);
        let said = said.into_iter().map(|d| d.message);
        (urgency, said.collect())
    }

    const RULES: &str = r#"
        [[urgency]]
        class = "urgent"
        subject = ["[Referral]", "2WW"]
        from = ["*.nhs.uk", "nhs.net"]
        [[urgency]]
        class = "bulk"
        header = ["List-Unsubscribe", "Precedence: bulk"]
        [[urgency]]
        class = "bulk"
        accounts = ["newsletter"]
    "#;

    fn class(from: &str, header: &str, account: Option<&str>, number: Option<i8>) -> Priority {
        let mut envelope = Envelope::new(ReversePath::parse(from).unwrap());
        envelope.recipients = vec![Recipient::new(ForwardPath::parse("x@y.example").unwrap())];
        envelope.mt_priority = number;
        let transaction = MailTransaction {
            client: Client {
                address: "192.0.2.1:4711".parse().unwrap(),
                local: "192.0.2.2:25".parse().unwrap(),
                helo: None,
                esmtp: true,
                tls: None,
                account: account.map(str::to_owned),
                service: Service::Submission,
            },
            envelope,
            message: Message::new(format!("{header}\r\n\r\nx\r\n")),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let header = transaction.message.header();
        let subject = header
            .first("Subject")
            .map(|field| field.value().into_owned());
        read(RULES)
            .0
            .class(&transaction, &header, &subject.unwrap_or_default())
    }

    #[test]
    fn the_first_section_whose_conditions_hold_gives_the_class() {
        let referral = "Subject: [referral] a knee";
        assert_eq!(class("gp@nhs.net", referral, None, None), Priority::Urgent);
        assert_eq!(class("gp@x.nhs.uk", referral, None, None), Priority::Urgent);
        assert_eq!(class("a@b.example", referral, None, None), Priority::Normal);
        let list = "Subject: news\r\nList-Unsubscribe: <https://x.example>";
        assert_eq!(class("a@b.example", list, None, Some(9)), Priority::Bulk);
        let bulk = "Precedence: BULK";
        assert_eq!(class("a@b.example", bulk, None, None), Priority::Bulk);
        let plain = "Subject: x";
        let by = |account, number| class("a@b.example", plain, account, number);
        assert_eq!(by(Some("newsletter"), None), Priority::Bulk);
        assert_eq!(by(Some("other"), Some(4)), Priority::Urgent);
        assert_eq!(by(Some("other"), Some(-4)), Priority::Bulk);
        assert_eq!(by(Some("other"), Some(1)), Priority::Normal);
    }

    #[test]
    fn a_section_without_class_or_condition_is_an_error() {
        let (_, said) = read("[[urgency]]\nclass = \"bulk\"\n[[urgency]]\nto = [\"a.example\"]\n");
        assert_eq!(
            said,
            ["this section would be about all mail", "`class` is missing"]
        );
    }
}
