//! A case for the tests of the stages, put together in a line or two.

use std::net::IpAddr;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::config::{Diagnostics, SourceFile};
use crate::content;
use crate::directory::{Completeness, Directory, Served};
use crate::mail::mime;
use crate::mail::{
    Domain, Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath,
};

use super::case::{Case, ResolvedRecipient};
use super::finding::Findings;
use super::patient_data;
use super::policy_test::client;
use super::secure_domains::SecureDomains;
use super::verdict::Direction;

/// Everything that a case borrows.
pub(crate) struct World {
    pub(crate) transaction: MailTransaction,
    pub(crate) findings: Findings,
    pub(crate) recipients: Vec<ResolvedRecipient>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) accounts: Accounts,
    pub(crate) direction: Direction,
}

impl World {
    /// A message from an account or a stranger at 192.0.2.1 to these recipients, as they came.
    pub(crate) fn new(message: &str, from: &str, to: &[&str]) -> Self {
        let mut envelope = Envelope::new(ReversePath::parse(from).unwrap());
        envelope.recipients = to
            .iter()
            .map(|to| Recipient::new(ForwardPath::parse(to).unwrap()))
            .collect();
        let unresolved = envelope.recipients.iter().enumerate();
        Self {
            recipients: unresolved
                .map(|(of, r)| ResolvedRecipient::unresolved(of, r))
                .collect(),
            transaction: MailTransaction {
                client: client("192.0.2.1".parse::<IpAddr>().unwrap(), None),
                envelope,
                message: Message::new(message.replace('\n', "\r\n").into_bytes()),
                received_at: "2026-11-21T10:00:00Z".parse().unwrap(),
            },
            findings: Findings::default(),
            directory: Arc::new(directory()),
            accounts: accounts(),
            direction: Direction::Inbound,
        }
    }

    /// From our own side.
    pub(crate) fn outbound(mut self, account: Option<&str>) -> Self {
        self.transaction.client.account = account.map(str::to_owned);
        self.direction = Direction::Outbound;
        self
    }

    /// Marks the recipients that a register lists.
    pub(crate) fn with_register(mut self, register: &SecureDomains) -> Self {
        for recipient in &mut self.recipients {
            recipient.secure = recipient
                .domain()
                .is_some_and(|domain| register.is_secure(domain, self.transaction.received_at));
        }
        self
    }

    /// Asks something of the case.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&Case<'_>) -> T) -> T {
        let message = &self.transaction.message;
        let structure = mime::parse(message.octets());
        let limits = patient_data::Settings::default().limits;
        let content = match &structure {
            Ok(structure) => content::read(message, structure, &limits),
            Err(_) => content::unparsed(message, &limits),
        };
        ask(&Case {
            transaction: &self.transaction,
            direction: self.direction,
            header: &message.header(),
            structure: structure.as_ref().map_err(|error| *error),
            content: &content,
            recipients: &self.recipients,
            findings: &self.findings,
            now: self.transaction.received_at,
            account: self
                .transaction
                .client
                .account
                .as_ref()
                .and_then(|name| self.accounts.get(name)),
            accounts: &self.accounts,
            directory: &self.directory,
            hostname: "gateway.bumbleton.example",
            network_allowed: false,
        })
    }
}

/// nhs.net with a partial directory, bumbleton.example with a complete one.
fn directory() -> Directory {
    directory_of(MAILBOXES, &["nhs.net", "bumbleton.example"])
}

/// These mailboxes in these domains, of which but nhs.net each is complete.
pub(crate) fn directory_of(mailboxes: &str, domains: &[&str]) -> Directory {
    let served = |domain: &str, completeness| Served {
        domain: Domain::parse(domain).unwrap(),
        completeness,
    };
    let served: Vec<Served> = domains
        .iter()
        .map(|domain| match *domain {
            "nhs.net" => served(domain, Completeness::Partial),
            _ => served(domain, Completeness::Complete),
        })
        .collect();
    Directory::read(
        &file("aliases.toml", ALIASES),
        &file("directory.csv", mailboxes),
        &served,
        false,
        &Diagnostics::default(),
    )
}

fn accounts() -> Accounts {
    let text = "[[account]]\nname = \"reminders@bumbleton.example\"\n\
                may-send-from = [\"reminders@bumbleton.example\", \"@shop.bumbleton.example\"]\n\
                [[account]]\nname = \"rota@bumbleton.example\"\npatient-data = \"never\"\n";
    Accounts::read(&file("accounts.toml", text), &Diagnostics::default())
}

pub(crate) fn file(path: &str, text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile {
        path: path.into(),
        text: text.to_owned(),
    })
}

const MAILBOXES: &str = "address,kind,status,ods_code,organisation,street,town,accepts_patient_data\n\
    reception@bumbleton.example,shared,active,,Bumbleton,,,yes\n\
    dispensary@bumbleton.example,shared,active,,Bumbleton,,,yes\n\
    marketing@bumbleton.example,shared,active,,Bumbleton,,,no\n";

const ALIASES: &str = "
[[alias]]
from = \"front@bumbleton.example\"
to = \"reception@bumbleton.example\"
[[list]]
name = \"all@bumbleton.example\"
members = [\"reception@bumbleton.example\", \"dispensary@bumbleton.example\", \"someone@outside.example\"]
[[list]]
name = \"nobody@bumbleton.example\"
members = []
";
