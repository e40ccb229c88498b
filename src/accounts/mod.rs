//! Contracts and secrets of applications.
//!
//! An application such as `reminders.fa123.donotreply@nhs.net` submits mail under an account: a
//! name, the hash of a secret, and what it may do. [`Accounts`] is one immutable reading of
//! `accounts.toml`; a reload makes another, and a session keeps the one it began with. What lasts beside
//! the file (secrets, counters, locks) is in the [`Store`]; the [`Desk`] is where the gateway asks both.

pub mod account;
pub mod add;
pub mod certificate;
pub mod contract;
pub mod desk;
pub mod disable;
pub mod meter;
pub mod rotate;
pub mod secret;
pub mod sms;
pub mod store;
pub mod token;
mod tries;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::Clock;
use crate::base::certificate::{KnownCertificate, Presented};
use crate::config::{Diagnostic, Diagnostics, Section, SourceFile, read_source, read_toml};

pub use account::{Account, Declaration, Sender};
pub use add::{AddError, NewAccount, add};
pub use contract::{Contract, ForeignFrom, Replies};
pub use desk::{Attempt, Denied, Desk};
pub use disable::{DisableError, disable};
pub use rotate::{RotateError, Rotation, rotate};
pub use secret::Secrets;
pub use sms::{InTexts, PastLimit, SmsContract};
pub use store::Store;
pub use token::Issuer;
pub use tries::unlock;
pub use verify::AuthError;

/// Every account of one reading of `accounts.toml`.
#[derive(Debug, Default)]
pub struct Accounts {
    /// By name, folded.
    accounts: HashMap<String, Account>,
    /// What holds for secrets.
    secrets: Secrets,
    /// Whose tokens are taken.
    issuers: Vec<Issuer>,
}

impl Accounts {
    /// Reads `accounts.toml`, and reports all that is wrong with it. `None` if the file cannot be
    /// read; with errors reported, the result is what was readable and must not be put in force.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        let file = read_source(path, diagnostics)?;
        Some(Self::read(&file, diagnostics))
    }

    /// As [`Accounts::load`], for a text that is already here.
    pub fn read(file: &Arc<SourceFile>, diagnostics: &Diagnostics) -> Self {
        read_toml(file, diagnostics, |top| {
            let secrets = Secrets::read(top);
            let accounts = read_accounts(top);
            check_linked(&accounts, top);
            certificate::check_shared(&accounts, top);
            let issuers = top.sections("issuer").into_iter();
            let issuers: Vec<Issuer> = issuers.filter_map(Issuer::read).collect();
            let today = Clock::system().now().to_zoned(TimeZone::UTC).date();
            token::check_subjects(&accounts, &issuers, today, top);
            Self {
                accounts,
                secrets,
                issuers,
            }
        })
    }

    /// Whose tokens are taken.
    pub fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The account that tokens of this issuer for this subject open at this moment; or would, if it were not disabled
    /// or out of its days.
    pub fn of_subject(&self, issuer: &str, subject: &str, now: Timestamp) -> Option<&Account> {
        let all = self.all().into_iter();
        let all = all.filter(|account| token::opens(&self.issuers, account, issuer, subject));
        all.min_by_key(|account| account.disabled || !account.contract.is_valid(now))
    }

    /// The accounts that a certificate opens at this moment, each with what says so, in the order of their names.
    pub fn of_certificate(
        &self,
        shown: &Presented,
        now: Timestamp,
    ) -> Vec<(&Account, &KnownCertificate)> {
        let opened = |account: &'_ Account| {
            let mut known = account.contract.certificates.iter();
            known.position(|one| one.matches(shown, now))
        };
        let all = self.all().into_iter();
        let found = all.filter_map(|account| {
            let at = opened(account)?;
            Some((account, account.contract.certificates.get(at)?))
        });
        found.collect()
    }

    /// What holds for secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The account that a client at this address is without a word, if there is one.
    pub fn pinned_to(&self, client: IpAddr) -> Option<&Account> {
        let mut all = self.accounts.values();
        all.find(|account| !account.disabled && account.contract.is_pinned(client))
    }

    /// The account of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&Account> {
        self.accounts.get(&fold(name))
    }

    /// All accounts, in the order of their names.
    pub fn all(&self) -> Vec<&Account> {
        let mut all: Vec<_> = self.accounts.values().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// A shared mailbox has ten linked accounts at most, and each of these counts as one (`domain.md` §6.1).
fn check_linked(accounts: &HashMap<String, Account>, top: &Section<'_>) {
    let mut linked: HashMap<String, usize> = HashMap::new();
    for account in accounts.values() {
        if let Some(mailbox) = &account.contract.linked_mailbox {
            *linked.entry(mailbox.folded().to_string()).or_default() += 1;
        }
    }
    let mut over: Vec<_> = linked
        .into_iter()
        .filter(|(_, count)| *count > LINKED_MAX)
        .collect();
    over.sort();
    for (mailbox, count) in over {
        let message = format!("{mailbox} has {count} application accounts alone");
        top.diagnostics().push(
            Diagnostic::warning("linked-accounts", message)
                .at(top.place(), "")
                .help("a shared mailbox has ten linked accounts at most, people's among them"),
        );
    }
}

/// The name of an account that has proved to be itself: lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AccountName(String);

impl AccountName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The form in which names of accounts are compared.
fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn read_accounts(top: &Section<'_>) -> HashMap<String, Account> {
    let mut accounts: HashMap<String, Account> = HashMap::new();
    for section in top.sections("account") {
        let place = section.place().clone();
        let Some(account) = Account::read(section) else {
            continue;
        };
        if let Some(first) = accounts.get(account.name()) {
            top.diagnostics().push(
                Diagnostic::error("duplicate-account", "there are two accounts of this name")
                    .at(&place, "again here")
                    .at_maybe(first.place(), "first here"),
            );
            continue;
        }
        accounts.insert(account.name().to_owned(), account);
    }
    accounts
}

/// Linked accounts of a shared mailbox.
const LINKED_MAX: usize = 10;

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Accounts of a text, and what is said of it.
    pub(crate) fn read(text: &str) -> (Accounts, Vec<String>) {
        let file = Arc::new(SourceFile {
            path: "accounts.toml".into(),
            text: text.into(),
        });
        let diagnostics = Diagnostics::default();
        let accounts = Accounts::read(&file, &diagnostics);
        let said = diagnostics.into_vec().into_iter();
        (
            accounts,
            said.map(|d| format!("{}: {}", d.id, d.message)).collect(),
        )
    }

    /// One account with these keys.
    pub(crate) fn account(keys: &str) -> Account {
        let (mut accounts, said) = read(&format!(
            "[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n{keys}"
        ));
        assert_eq!(said, [""; 0]);
        accounts.accounts.remove("a@nhs.net").unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::read;
    use super::*;
    use crate::config::Severity;

    /// A log-in with a desk of its own.
    fn log_in(accounts: &Accounts, name: &str, password: &str) -> Result<AccountName, AuthError> {
        desk().log_in_now(accounts, name, password)
    }

    fn desk() -> Desk {
        Desk::new(Store::in_memory().unwrap())
    }

    fn issuer(name: &str, audience: &str) -> String {
        format!(
            "[[issuer]]\nname = \"{name}\"\naudience = [\"{audience}\"]\njwks-url = \"https://{name}/\"\n"
        )
    }

    fn two_accounts() -> Accounts {
        let hash = verify::hash("correct horse battery staple").unwrap();
        let (accounts, said) = read(&format!(
            "[[account]]\nname = \"Reminders.FA123.donotreply@nhs.net\"\nsecret-hash = \"{hash}\"\n\
             [[account]]\nname = \"old@nhs.net\"\nsecret-hash = \"{hash}\"\ndisabled = true\n"
        ));
        assert_eq!(said, [""; 0]);
        accounts
    }

    #[test]
    fn the_right_password_opens_the_account_in_any_case_of_its_name() {
        let accounts = two_accounts();
        for name in [
            "reminders.fa123.donotreply@nhs.net",
            "REMINDERS.FA123.DONOTREPLY@NHS.NET",
        ] {
            let found = log_in(&accounts, name, "correct horse battery staple");
            assert_eq!(
                found.unwrap().as_str(),
                "reminders.fa123.donotreply@nhs.net"
            );
        }
    }

    #[test]
    fn a_token_opens_the_account_of_its_issuer_alone() {
        let account = |name: &str, keys: &str| {
            format!("[[account]]\nname = \"{name}\"\ntoken-subjects = [\"app-1\"]\n{keys}\n")
        };
        let (one, two) = (issuer("one", "postern"), issuer("two", "postern"));
        let (of_one, of_two) = ("token-issuers = [\"one\"]", "token-issuers = [\"two\"]");
        for (parts, wrong) in [
            (vec![account("a@nhs.net", ""), one.clone()], ""),
            (
                vec![account("a@nhs.net", ""), one.clone(), two.clone()],
                "issuer: no token opens this account: each issuer could make one",
            ),
            (
                vec![account("a@nhs.net", of_two), one.clone()],
                "issuer: there is no issuer \"two\"",
            ),
            (
                vec![
                    account("a@nhs.net", ""),
                    account("b@nhs.net", of_one),
                    one.clone(),
                ],
                "issuer: a subject of tokens is written down twice: app-1",
            ),
        ] {
            assert_eq!(read(&parts.concat()).1.concat(), wrong);
        }
        let both = [
            account("a@nhs.net", of_one),
            account("b@nhs.net", of_two),
            one,
            two,
        ]
        .concat();
        let (accounts, said) = read(&both);
        assert_eq!(said, [""; 0]);
        let now = Clock::system().now();
        let opened = |issuer: &str| accounts.of_subject(issuer, "app-1", now).map(Account::name);
        assert_eq!(
            (opened("one"), opened("two")),
            (Some("a@nhs.net"), Some("b@nhs.net"))
        );
        assert_eq!(opened("three"), None);
    }

    #[test]
    fn what_ran_before_token_issuers_runs_on_and_takes_no_token_of_two_minds() {
        let account = |name: &str, keys: &str| {
            format!(
                "[[account]]\nname = \"{name}@nhs.net\"\nsecret = \"stored\"\ntoken-subjects = [\"app-1\"]\n{keys}\n"
            )
        };
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let (one, two) = (issuer("one", "postern"), issuer("two", "postern"));
        let same = issuer("one", "api://postern");
        let (ended, later) = ("valid-until = 2020-01-31", "valid-from = 2099-02-01");
        let until = "valid-until = 2099-01-31";
        let unclear = "issuer: no token opens this account: each issuer could make one";
        let twice = "issuer: a subject of tokens is written down twice: app-1";
        for (issuers, a, b, wrong, opened) in [
            (vec![&one, &two], "", "disabled = true", unclear, None),
            (
                vec![&one, &two],
                "disabled = true",
                "token-issuers = [\"one\"]",
                "",
                Some("b@nhs.net"),
            ),
            (
                vec![&one, &same],
                "",
                "disabled = true",
                "",
                Some("a@nhs.net"),
            ),
            (vec![&one], "disabled = true", "", "", Some("b@nhs.net")),
            (vec![&one], ended, "", "", Some("b@nhs.net")),
            (vec![&one], later, until, "", Some("b@nhs.net")),
            (vec![&one], until, later, "", Some("a@nhs.net")),
            (vec![&one], "disabled = true", ended, "", Some("a@nhs.net")),
            (vec![&one], until, "", twice, Some("a@nhs.net")),
        ] {
            let mut text = account("a", a) + &account("b", b);
            text.extend(issuers.into_iter().map(String::as_str));
            let (accounts, said) = read(&text);
            assert_eq!(said.concat(), wrong, "{text}");
            let found = accounts.of_subject("one", "app-1", now);
            assert_eq!(found.map(Account::name), opened, "{text}");
        }
    }

    #[test]
    fn an_account_that_does_not_say_whose_its_subjects_are_stops_no_gateway() {
        let text = "[[account]]\nname = \"a@nhs.net\"\ntoken-subjects = [\"app-1\"]\n".to_owned();
        let file = Arc::new(SourceFile {
            path: "accounts.toml".into(),
            text: text + &issuer("one", "a") + &issuer("two", "a"),
        });
        let diagnostics = Diagnostics::default();
        Accounts::read(&file, &diagnostics);
        let said = diagnostics.into_vec();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].severity, Severity::Warning);
    }

    #[test]
    fn a_wrong_password_is_refused_also_after_a_right_one() {
        let accounts = two_accounts();
        let name = "reminders.fa123.donotreply@nhs.net";
        let desk = desk();
        desk.log_in_now(&accounts, name, "correct horse battery staple")
            .unwrap();
        for password in [
            "",
            "correct horse battery stapl",
            "correct horse battery staple ",
        ] {
            assert_eq!(
                desk.log_in_now(&accounts, name, password),
                Err(AuthError::Refused)
            );
        }
        let other = desk.log_in_now(&accounts, "nobody@nhs.net", "correct horse battery staple");
        assert_eq!(other, Err(AuthError::Refused));
    }

    #[test]
    fn that_an_account_is_disabled_is_told_to_its_owner_only() {
        let accounts = two_accounts();
        let right = log_in(&accounts, "old@nhs.net", "correct horse battery staple");
        assert_eq!(right, Err(AuthError::Disabled));
        assert_eq!(
            log_in(&accounts, "old@nhs.net", "x"),
            Err(AuthError::Refused)
        );
    }

    #[test]
    fn one_pass_reports_every_error_of_the_file() {
        let (accounts, said) = read(
            "[[account]]\nname = \"a b\"\n\
             [[account]]\nname = \"a@nhs.net\"\nsecret-hash = \"hunter2\"\n\
             [[account]]\nname = \"b@nhs.net\"\nsecret-hsh = \"x\"\ndisabled = true\n\
             [[account]]\nname = \"B@nhs.net\"\ndisabled = true\n\
             [[account]]\nname = \"c\"\ndisabled = true\n\
             [[account]]\nname = \"d@nhs.net\"\nmay-send-from = [\"@nhs\\u0000\", \"x\"]\n",
        );
        assert_eq!(
            said,
            [
                "bad-value: `name` cannot be read",
                "bad-hash: `secret-hash` is not an Argon2id hash",
                "unknown-key: unknown key `secret-hsh` in [account]",
                "duplicate-account: there are two accounts of this name",
                "no-sender: this account may send from no address",
                "bad-value: `may-send-from` cannot be read",
                "bad-value: `may-send-from` cannot be read",
                "no-secret: this account has no secret, so nobody can log in to it",
            ]
        );
        assert!(accounts.get("A@NHS.net").is_some());
    }

    #[test]
    fn an_account_without_a_secret_lets_nobody_in() {
        let (accounts, _) = read("[[account]]\nname = \"a@nhs.net\"\n");
        assert_eq!(log_in(&accounts, "a@nhs.net", ""), Err(AuthError::Refused));
    }

    #[test]
    fn nothing_of_a_secret_is_in_the_debug_form() {
        let accounts = two_accounts();
        let said = format!("{accounts:?}");
        assert!(
            !said.contains("argon2") && !said.contains("horse"),
            "{said}"
        );
    }
}
