//! One account: its name, the hash of its secret, and what it may do.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::PasswordHash;

use crate::config::{Diagnostic, Located, Place, Section};
use crate::mail::{AddressError, Domain, Mailbox};

use super::contract::Contract;
use super::sms::SmsContract;
use super::{fold, verify};

/// An application that may submit mail, and under which contract.
pub struct Account {
    /// Lower case: the user name of AUTH.
    pub(super) name: String,
    /// Whether log-in is refused for now.
    pub disabled: bool,
    /// Who answers for it: a person or a role.
    pub owner: Option<String>,
    /// Where he is told of mail of the account that is held: nobody reads the account's own.
    pub owner_address: Option<Mailbox>,
    /// Whose names it may send under.
    pub may_send_from: Vec<Sender>,
    /// What it says of the patient data in its mail.
    pub patient_data: Declaration,
    /// What it may send as text messages; `None`: nothing.
    pub sms: Option<SmsContract>,
    /// To whom, how much, from where and when.
    pub contract: Contract,
    secret_hash: Option<PasswordHash>,
    place: Option<Place>,
}

impl Account {
    /// The name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may use this mailbox as reverse path or author. Compared without ASCII case.
    pub fn may_send_as(&self, mailbox: &Mailbox) -> bool {
        is_among(&self.may_send_from, mailbox)
    }

    /// Whether it may use this mailbox as reverse path.
    pub fn may_bounce_to(&self, mailbox: &Mailbox) -> bool {
        match &self.contract.envelope_senders {
            Some(senders) => is_among(senders, mailbox),
            None => self.may_send_as(mailbox),
        }
    }

    /// Whether it may put this mailbox into `From` while `Sender` bears its own name.
    pub fn may_send_on_behalf_of(&self, mailbox: &Mailbox) -> bool {
        is_among(&self.contract.on_behalf_of, mailbox)
    }

    /// Its own address, if its name is one: what stands in `From` or `Sender` where nothing does.
    pub fn address(&self) -> Option<Mailbox> {
        Mailbox::parse(&self.name).ok()
    }

    /// Where it is written; the rule that a refusal names.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn secret_hash(&self) -> Option<&PasswordHash> {
        self.secret_hash.as_ref()
    }

    /// Reads one `[[account]]`. What is wrong is reported; `None` if it has no usable name.
    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let name = section.required::<Name>("name");
        let place = name.as_ref().and_then(|name| name.place().cloned());
        let patient_data = read_declaration(&section);
        let contract = Contract::read(&section, patient_data);
        let account = name.map(|name| Self {
            contract,
            secret_hash: read_hash(&section),
            may_send_from: read_senders(&section, &name),
            owner_address: read_owner_address(&section),
            owner: section.string("owner").map(Located::into_inner),
            patient_data,
            sms: SmsContract::read(&section, patient_data),
            disabled: flag(&section, "disabled"),
            place,
            name: name.into_inner().0,
        });
        if let Some(account) = &account {
            account.warn_without_secret(&section);
            section.finish();
        }
        account
    }

    fn warn_without_secret(&self, section: &Section<'_>) {
        let is_stored = section.word("secret", &[("stored", ())]).is_some();
        let is_pinned = !self.contract.pinned_to.is_empty();
        let takes_tokens = !self.contract.token_subjects.is_empty();
        let is_certified = !self.contract.certificates.is_empty();
        let has_secret =
            is_stored || is_pinned || takes_tokens || is_certified || section.has("secret-hash");
        if !self.disabled && !has_secret {
            let message = "this account has no secret, so nobody can log in to it";
            section.diagnostics().push(
                Diagnostic::warning("no-secret", message)
                    .at_maybe(self.place(), "")
                    .help("`postern account rotate NAME` makes one; then write secret = \"stored\", or say `disabled = true`"),
            );
        }
    }
}

impl fmt::Debug for Account {
    /// Without the hash: it is what a thief would take away to guess at.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("disabled", &self.disabled)
            .field("may_send_from", &self.may_send_from)
            .finish_non_exhaustive()
    }
}

/// What an application says of the patient data in its mail (its contract).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Declaration {
    /// All its mail is patient data, whatever is found in it.
    Always,
    /// What is found counts.
    #[default]
    ByContent,
    /// It sends none. What is found all the same is held for everybody: the contract is broken.
    Never,
}

impl Declaration {
    /// The words for them, in the file and on the command line.
    pub const WORDS: [(&str, Self); 3] = [
        ("always", Self::Always),
        ("by-content", Self::ByContent),
        ("never", Self::Never),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::ByContent => "by-content",
            Self::Never => "never",
        }
    }
}

fn is_among(senders: &[Sender], mailbox: &Mailbox) -> bool {
    let folded = mailbox.folded();
    senders.iter().any(|sender| match sender {
        Sender::Mailbox(own) => *own == folded,
        Sender::Domain(domain) => folded.domain() == Some(domain),
    })
}

/// A name that an account may send under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sender {
    /// This mailbox alone; folded.
    Mailbox(Mailbox),
    /// Every mailbox of this domain, none below it: `"@bumbleton.example"`.
    Domain(Domain),
}

impl FromStr for Sender {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Self::Domain),
            None => Mailbox::parse(text).map(|mailbox| Self::Mailbox(mailbox.folded())),
        }
    }
}

/// The name of an account as the file writes it.
pub(super) struct Name(pub(super) String);

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let printable = |c: char| !c.is_whitespace() && !c.is_control();
        let shaped = (1..=NAME_MAX).contains(&text.len()) && text.chars().all(printable);
        shaped.then(|| Self(fold(text))).ok_or(BadName)
    }
}

/// Not the name of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a name has 1 to {NAME_MAX} characters and no spaces; best is the address it sends from")]
pub struct BadName;

fn flag(section: &Section<'_>, key: &str) -> bool {
    section.flag(key).is_some_and(Located::into_inner)
}

/// `patient-data`, or as it was written once: `declares-patient-data = true` for always.
fn read_declaration(section: &Section<'_>) -> Declaration {
    let old = section.flag("declares-patient-data");
    match (section.word("patient-data", &Declaration::WORDS), old) {
        (Some(word), Some(old)) => {
            let help = "take `declares-patient-data` out".to_owned();
            section.report("twice", "`patient-data` says it already", &old, help);
            word.into_inner()
        }
        (Some(word), None) => word.into_inner(),
        (None, Some(old)) if *old => Declaration::Always,
        (None, _) => Declaration::ByContent,
    }
}

/// What the file says, or else the owner himself if he is an address.
fn read_owner_address(section: &Section<'_>) -> Option<Mailbox> {
    if section.has("owner-address") {
        return section.parse("owner-address").map(Located::into_inner);
    }
    Mailbox::parse(&section.string("owner")?).ok()
}

fn read_hash(section: &Section<'_>) -> Option<PasswordHash> {
    let text = section.string("secret-hash")?;
    match verify::parse_hash(&text) {
        Ok(hash) => Some(hash),
        Err(why) => {
            // The message must not repeat the value: it may be a password typed by mistake.
            section.report(
                "bad-hash",
                "`secret-hash` is not an Argon2id hash",
                &text,
                why.into(),
            );
            None
        }
    }
}

/// Absent, an account may send as itself: NHSmail's own rule for application accounts.
fn read_senders(section: &Section<'_>, name: &Located<Name>) -> Vec<Sender> {
    if let Some(senders) = section.parse_list::<Sender>("may-send-from") {
        return senders.into_iter().map(Located::into_inner).collect();
    }
    let itself = Mailbox::parse(&name.0).map(Sender::Mailbox);
    if itself.is_err() && !section.has("may-send-from") {
        section.report(
            "no-sender",
            "this account may send from no address",
            name,
            "its name is no address, so list some: may-send-from = [\"a@b.example\"]".into(),
        );
    }
    itself.into_iter().collect()
}

/// Longest name, in octets: an address at its longest (RFC 5321 §4.5.3.1.3).
const NAME_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    fn account(senders: &[&str]) -> Account {
        Account {
            name: "a@nhs.net".into(),
            disabled: false,
            owner: None,
            owner_address: None,
            may_send_from: senders.iter().map(|text| text.parse().unwrap()).collect(),
            patient_data: Declaration::ByContent,
            sms: None,
            contract: Contract::default(),
            secret_hash: None,
            place: None,
        }
    }

    #[test]
    fn an_account_sends_under_the_names_it_has_and_no_other() {
        let account = account(&["Pharmacy.FA001@nhs.net", "@bumbleton.example"]);
        for (mailbox, may) in [
            ("pharmacy.fa001@NHS.NET", true),
            ("PHARMACY.fa001@nhs.net.", true),
            ("pharmacy.fa002@nhs.net", false),
            ("anyone@bumbleton.example", true),
            ("anyone@shop.bumbleton.example", false),
            ("anyone@evilbumbleton.example", false),
            ("a@nhs.net", false),
        ] {
            let parsed = Mailbox::parse(mailbox).unwrap();
            assert_eq!(account.may_send_as(&parsed), may, "{mailbox}");
        }
    }
}
