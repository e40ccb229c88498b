//! Contracts and secrets of applications.
//!
//! An application such as `reminders.fa123.donotreply@nhs.net` submits mail under an account: a
//! name, the hash of a secret, and what it may do. [`Accounts`] is one immutable reading of
//! `accounts.toml`; a reload makes another, and a session keeps the one it began with.

pub mod account;
pub mod add;
pub mod disable;
pub mod sms;
mod verify;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Diagnostic, Diagnostics, Section, SourceFile, read_source, read_toml};

pub use account::{Account, Declaration, Sender};
pub use add::{AddError, NewAccount, add};
pub use disable::{DisableError, disable};
pub use sms::{InTexts, PastLimit, SmsContract};
pub use verify::AuthError;

use verify::Verifier;

/// Every account of one reading of `accounts.toml`.
#[derive(Debug, Default)]
pub struct Accounts {
    /// By name, folded.
    accounts: HashMap<String, Account>,
    verifier: Verifier,
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
        let accounts = read_toml(file, diagnostics, read_accounts);
        Self {
            accounts,
            verifier: Verifier::default(),
        }
    }

    /// Returns the account that this user name and password belong to. The name is compared
    /// without ASCII case.
    ///
    /// Blocks for some tens of milliseconds on one core (Argon2id): call it under
    /// `spawn_blocking`. An unknown name costs the same as a wrong password. A log-in that
    /// succeeded before costs microseconds, so that a client that logs in for every message does
    /// not burn the processor.
    ///
    /// # Errors
    /// [`AuthError::Disabled`] is told only to someone with the right password.
    pub fn authenticate(&self, username: &str, password: &str) -> Result<AccountName, AuthError> {
        let name = fold(username);
        let account = self.accounts.get(&name);
        let hash = account.and_then(Account::secret_hash);
        let matches = self.verifier.matches(&name, hash, password)?;
        match account {
            Some(account) if matches && account.disabled => Err(AuthError::Disabled),
            Some(_) if matches => Ok(AccountName(name)),
            _ => Err(AuthError::Refused),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Accounts, Vec<String>) {
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
            let found = accounts.authenticate(name, "correct horse battery staple");
            assert_eq!(
                found.unwrap().as_str(),
                "reminders.fa123.donotreply@nhs.net"
            );
        }
    }

    #[test]
    fn a_wrong_password_is_refused_also_after_a_right_one() {
        let accounts = two_accounts();
        let name = "reminders.fa123.donotreply@nhs.net";
        accounts
            .authenticate(name, "correct horse battery staple")
            .unwrap();
        for password in [
            "",
            "correct horse battery stapl",
            "correct horse battery staple ",
        ] {
            assert_eq!(
                accounts.authenticate(name, password),
                Err(AuthError::Refused)
            );
        }
        let other = accounts.authenticate("nobody@nhs.net", "correct horse battery staple");
        assert_eq!(other, Err(AuthError::Refused));
    }

    #[test]
    fn that_an_account_is_disabled_is_told_to_its_owner_only() {
        let accounts = two_accounts();
        let right = accounts.authenticate("old@nhs.net", "correct horse battery staple");
        assert_eq!(right, Err(AuthError::Disabled));
        assert_eq!(
            accounts.authenticate("old@nhs.net", "x"),
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
        assert_eq!(
            accounts.authenticate("a@nhs.net", ""),
            Err(AuthError::Refused)
        );
    }

    #[test]
    fn nothing_of_a_secret_is_in_the_debug_form() {
        let accounts = two_accounts();
        let _ = accounts.authenticate(
            "reminders.fa123.donotreply@nhs.net",
            "correct horse battery staple",
        );
        let said = format!("{accounts:?}");
        assert!(
            !said.contains("argon2") && !said.contains("horse"),
            "{said}"
        );
    }
}
