//! What `postern account show` says of the contract: all that stands in `accounts.toml`, or holds because nothing does.

use std::io::{self, Write};

use serde::Serialize;

use crate::accounts::{Account, ForeignFrom, InTexts, PastLimit, Replies, Sender, SmsContract};
use crate::base::certificate::KnownCertificate;

/// The contract of an account.
#[derive(Serialize)]
pub(super) struct ContractShown {
    /// `None`: those that it may send from.
    envelope_senders: Option<Vec<String>>,
    on_behalf_of: Vec<String>,
    foreign_from: &'static str,
    linked_mailbox: Option<String>,
    replies: &'static str,
    reply_contact: Option<String>,
    auto_submitted: bool,
    recipients: Vec<String>,
    rate_per_minute: u32,
    daily_recipients: u32,
    message_octets: Option<u64>,
    networks: Vec<String>,
    network_login: Vec<String>,
    token_subjects: Vec<String>,
    token_issuers: Vec<String>,
    certificates: Vec<String>,
    valid_from: Option<String>,
    valid_until: Option<String>,
    sms: Option<SmsShown>,
}

#[derive(Serialize)]
struct SmsShown {
    segments: usize,
    past_limit: &'static str,
    patient_data: &'static str,
}

impl ContractShown {
    /// Of this account.
    pub(super) fn of(account: &Account) -> Self {
        let contract = &account.contract;
        let (replies, reply_contact) = replies(&contract.replies);
        Self {
            envelope_senders: contract.envelope_senders.as_deref().map(senders),
            on_behalf_of: senders(&contract.on_behalf_of),
            foreign_from: match contract.foreign_from {
                ForeignFrom::Refuse => "refuse",
                ForeignFrom::Fix => "fix",
            },
            linked_mailbox: contract.linked_mailbox.as_ref().map(ToString::to_string),
            replies,
            reply_contact,
            auto_submitted: contract.is_automatic,
            recipients: texts(&contract.recipients),
            rate_per_minute: contract.rate_per_minute,
            daily_recipients: contract.daily_recipients,
            message_octets: contract.message_octets,
            networks: texts(&contract.networks),
            network_login: texts(&contract.pinned_to),
            token_subjects: contract.token_subjects.clone(),
            token_issuers: contract.token_issuers.clone(),
            certificates: contract.certificates.iter().map(certificate).collect(),
            valid_from: contract.valid_from.map(|date| date.to_string()),
            valid_until: contract.valid_until.map(|date| date.to_string()),
            sms: account.sms.map(SmsShown::of),
        }
    }

    /// Writes it for people.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.write_names(out)?;
        self.write_bounds(out)?;
        self.write_log_in(out)?;
        match &self.sms {
            Some(sms) => sms.write(out),
            None => writeln!(out, "texts          none"),
        }
    }

    fn write_names(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(senders) = &self.envelope_senders {
            writeln!(out, "reverse paths  {}", senders.join(" "))?;
        }
        if !self.on_behalf_of.is_empty() {
            writeln!(out, "on behalf of   {}", self.on_behalf_of.join(" "))?;
        }
        let foreign = match self.foreign_from {
            "fix" => "its own address takes their place",
            _ => "refused",
        };
        writeln!(out, "other From     {foreign}")?;
        if let Some(mailbox) = &self.linked_mailbox {
            writeln!(out, "linked with    {mailbox} (one of its ten accounts)")?;
        }
        let replies = match (self.replies, &self.reply_contact) {
            ("discard", _) => "thrown away, with a record".to_owned(),
            ("answer", Some(contact)) => format!("answered once a week: {contact}"),
            ("linked-mailbox", _) => "go to the linked mailbox".to_owned(),
            _ => "delivered".to_owned(),
        };
        writeln!(out, "replies        {replies}")?;
        let marked = match self.auto_submitted {
            true => "Auto-Submitted: auto-generated, where it is not marked",
            false => "as it comes",
        };
        writeln!(out, "marked         {marked}")
    }

    fn write_bounds(&self, out: &mut impl Write) -> io::Result<()> {
        let recipients = match &self.recipients[..] {
            [] => "anybody".to_owned(),
            words => words.join(" "),
        };
        writeln!(out, "may send to    {recipients}")?;
        let limit = |limit: u32| match limit {
            0 => "any number of".to_owned(),
            limit => limit.to_string(),
        };
        let (rate, daily) = (limit(self.rate_per_minute), limit(self.daily_recipients));
        writeln!(
            out,
            "limits         {rate} messages a minute, {daily} recipients a day"
        )?;
        if let Some(octets) = self.message_octets {
            writeln!(out, "largest        {octets} octets")?;
        }
        if self.valid_from.is_some() || self.valid_until.is_some() {
            let or_open = |date: &Option<String>| date.clone().unwrap_or_else(|| "…".to_owned());
            let (from, until) = (or_open(&self.valid_from), or_open(&self.valid_until));
            writeln!(out, "valid          {from} to {until}")?;
        }
        Ok(())
    }

    fn write_log_in(&self, out: &mut impl Write) -> io::Result<()> {
        for (name, all) in [
            ("clients       ", &self.networks),
            ("without secret", &self.network_login),
            ("tokens of     ", &self.token_subjects),
            ("made by       ", &self.token_issuers),
        ] {
            if !all.is_empty() {
                writeln!(out, "{name} {}", all.join(" "))?;
            }
        }
        let mut certificates = self.certificates.iter();
        certificates.try_for_each(|one| writeln!(out, "certificate    {one}"))
    }
}

impl SmsShown {
    fn of(sms: SmsContract) -> Self {
        Self {
            segments: sms.segments,
            past_limit: match sms.past_limit {
                PastLimit::Refuse => "refuse",
                PastLimit::Cut => "cut",
            },
            patient_data: match sms.patient_data {
                InTexts::Refuse => "refuse",
                InTexts::Hold => "hold",
                InTexts::RefuseFound => "refuse-found",
            },
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let segments = match self.segments {
            1 => "1 segment".to_owned(),
            segments => format!("{segments} segments"),
        };
        let past = match self.past_limit {
            "cut" => "cut",
            _ => "refused",
        };
        let patient_data = match self.patient_data {
            "hold" => "held",
            "refuse-found" => "refused where it is found",
            _ => "refused",
        };
        writeln!(
            out,
            "texts          {segments} at most, longer ones are {past}; patient data is {patient_data}"
        )
    }
}

fn replies(replies: &Replies) -> (&'static str, Option<String>) {
    match replies {
        Replies::Deliver => ("deliver", None),
        Replies::Discard => ("discard", None),
        Replies::Answer { contact } => ("answer", Some(contact.clone())),
        Replies::LinkedMailbox => ("linked-mailbox", None),
    }
}

/// By what it is known; of one that is in a file also which, and until when it is good.
fn certificate(known: &KnownCertificate) -> String {
    match known {
        KnownCertificate::Itself {
            read: Some((file, ends_at)),
            ..
        } => format!("{known} of {}, good until {ends_at}", file.display()),
        _ => known.to_string(),
    }
}

/// As the file writes them.
pub(super) fn senders(all: &[Sender]) -> Vec<String> {
    let written = all.iter().map(|sender| match sender {
        Sender::Mailbox(mailbox) => mailbox.to_string(),
        Sender::Domain(domain) => format!("@{domain}"),
    });
    written.collect()
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Accounts, Contract};
    use crate::config::{Diagnostics, SourceFile};

    fn shown(keys: &str) -> (serde_json::Value, String) {
        let file = SourceFile {
            path: "accounts.toml".into(),
            text: format!("[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n{keys}"),
        };
        let diagnostics = Diagnostics::default();
        let accounts = Accounts::read(&file.into(), &diagnostics);
        assert!(diagnostics.into_vec().is_empty());
        let shown = ContractShown::of(accounts.get("a@nhs.net").unwrap());
        let mut out = Vec::new();
        shown.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        (serde_json::to_value(&shown).unwrap(), text)
    }

    #[test]
    fn everything_that_a_contract_says_is_shown() {
        let sum = "ab".repeat(32);
        let (json, text) = shown(&format!(
            "envelope-senders = [\"bounces@bumbleton.example\"]\non-behalf-of = [\"@bumbleton.example\"]\n\
             foreign-from = \"fix\"\nlinked-mailbox = \"pharmacy@nhs.net\"\nreplies = \"answer\"\n\
             reply-contact = \"020 7946 0018\"\nauto-submitted = false\nrecipients = [\"secure\", \"@lab.example\"]\n\
             rate = 7\ndaily-recipients = 0\nmessage-octets = \"1 MiB\"\nnetworks = [\"192.0.2.0/24\"]\n\
             network-login = [\"192.0.2.7\"]\npatient-data = \"never\"\ntoken-subjects = [\"app-1\"]\n\
             certificates = [{{ key-sha256 = \"{sum}\" }}]\nvalid-until = 2027-10-31\n\
             sms = {{ segments = 2, past-limit = \"cut\", patient-data = \"hold\" }}\n"
        ));
        for words in [
            "reverse paths  bounces@bumbleton.example\n",
            "on behalf of   @bumbleton.example\n",
            "other From     its own address takes their place\n",
            "linked with    pharmacy@nhs.net (one of its ten accounts)\n",
            "replies        answered once a week: 020 7946 0018\n",
            "marked         as it comes\n",
            "may send to    secure @lab.example\n",
            "limits         7 messages a minute, any number of recipients a day\n",
            "largest        1048576 octets\n",
            "valid          … to 2027-10-31\n",
            "clients        192.0.2.0/24\n",
            "without secret 192.0.2.7/32\n",
            "tokens of      app-1\n",
            "texts          2 segments at most, longer ones are cut; patient data is held\n",
        ] {
            assert!(text.contains(words), "{words}{text}");
        }
        assert!(text.contains(&format!("certificate    key-sha256 {sum}\n")));
        assert_eq!(json["sms"]["past_limit"], "cut");
        assert_eq!(json["certificates"][0], format!("key-sha256 {sum}"));
        assert_eq!(json["network_login"][0], "192.0.2.7/32");
    }

    #[test]
    fn what_holds_because_nothing_is_written_is_shown_as_well() {
        let (json, text) = shown("");
        for words in [
            "other From     refused\n",
            "replies        delivered\n",
            "marked         Auto-Submitted: auto-generated, where it is not marked\n",
            "limits         30 messages a minute, 10000 recipients a day\n",
            "texts          none\n",
        ] {
            assert!(text.contains(words), "{words}{text}");
        }
        assert!(json["sms"].is_null());
    }

    /// A part of the contract that nobody shows is one that nobody checks.
    #[test]
    fn no_part_of_a_contract_is_forgotten() {
        let Contract {
            envelope_senders: _,
            on_behalf_of: _,
            linked_mailbox: _,
            recipients: _,
            rate_per_minute: _,
            daily_recipients: _,
            message_octets: _,
            networks: _,
            pinned_to: _,
            token_subjects: _,
            token_issuers: _,
            certificates: _,
            valid_from: _,
            valid_until: _,
            is_automatic: _,
            foreign_from: _,
            replies: _,
        } = Contract::default();
        // One for each above, and sms and reply_contact.
        assert_eq!(shown("").0.as_object().unwrap().len(), 19);
    }
}
