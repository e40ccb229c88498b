//! Certificates in the files of the policy: `[{ file = … }, { sha256 = … }, { key-sha256 = … }, { authority = …, name = … }]`.
//!
//! A list, because a new one must be good beside the old one for as long as the change takes.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::certificate::{Authority, Certificate, Fingerprint, KnownCertificate, Presented};
use crate::config::{Diagnostic, Located, Section};

use super::store::SeenCertificate;
use super::{Account, AccountName, Accounts, Attempt, Denied, Desk, fold};

impl Desk {
    /// Returns the account that the certificate of a client opens (RFC 4422 appendix A). The name that the client gives
    /// beside it may be empty; otherwise it must be the account's. Blocks for the database, the first time in a day for a
    /// synced write.
    pub fn log_in_with_certificate(
        &self,
        accounts: &Accounts,
        attempt: Attempt<'_>,
        shown: Option<&Presented>,
    ) -> Result<AccountName, Box<Denied>> {
        self.check_locks(accounts, attempt)?;
        let given = fold(attempt.username);
        let all = shown.map(|shown| accounts.of_certificate(shown, attempt.now));
        let mut opened = all.unwrap_or_default();
        opened.retain(|(account, _)| given.is_empty() || given == account.name());
        // Of two accounts the client must say which one it wants to be.
        let (Some(shown), [(account, known)]) = (shown, &opened[..]) else {
            return self.conclude(accounts, attempt, false);
        };
        let attempt = Attempt {
            username: account.name(),
            ..attempt
        };
        self.check_locks(accounts, attempt)?;
        let opened = self.conclude(accounts, attempt, true)?;
        let sha256 = shown.leaf.sha256.to_string();
        let (store, since) = (self.store(), attempt.now - NOTED_EVERY);
        let is_noted = store.knows_certificate(account.name(), &sha256, since);
        if !is_noted.unwrap_or(true) {
            // Only so that somebody can be warned of its end: no reason to refuse.
            let _ = store.note_certificate(&SeenCertificate {
                account: account.name().to_owned(),
                known_as: known.to_string(),
                sha256,
                ends_at: shown.leaf.ends_at,
                seen_at: attempt.now,
            });
        }
        Ok(opened)
    }
}

/// Takes a list of certificates out of a section; what is wrong is reported. Blocks for the files.
pub fn read_list(section: &Section<'_>, key: &str) -> Vec<KnownCertificate> {
    let entries = section.sections(key).into_iter();
    entries.filter_map(read).collect()
}

fn read(entry: Section<'_>) -> Option<KnownCertificate> {
    let file = entry.path("file");
    let sum = entry.parse::<Fingerprint>("sha256");
    let key = entry.parse::<Fingerprint>("key-sha256");
    let authority = entry.path("authority");
    let name = entry.string("name");
    let unusable = |at: &Located<std::path::PathBuf>, why: String| {
        let message = format!("{} cannot be used as a certificate", at.display());
        entry.report("certificate", message, at, why);
    };
    let ways = ["file", "sha256", "key-sha256", "authority"];
    let ways = ways.iter().filter(|way| entry.has(way)).count();
    let known = match (file, sum, key, authority, name) {
        _ if ways != 1 => {
            say_how(&entry);
            None
        }
        (Some(file), ..) => match Certificate::read(&file) {
            Ok(read) => Some(KnownCertificate::Itself {
                sha256: read.sha256,
                read: Some((file.into_inner(), read.ends_at)),
            }),
            Err(error) => {
                unusable(&file, error.to_string());
                None
            }
        },
        (_, Some(sum), ..) => Some(KnownCertificate::Itself {
            sha256: sum.into_inner(),
            read: None,
        }),
        (_, _, Some(key), ..) => Some(KnownCertificate::Key(key.into_inner())),
        (.., Some(file), Some(name)) => match Authority::read(file.as_path().to_owned()) {
            Ok(authority) => Some(KnownCertificate::Named {
                authority,
                name: name.to_ascii_lowercase(),
            }),
            Err(error) => {
                unusable(&file, error.to_string());
                None
            }
        },
        (.., Some(_), None) => {
            say_how(&entry);
            None
        }
        // A sum that is none was reported where it was read.
        _ => None,
    };
    entry.finish();
    known
}

fn say_how(entry: &Section<'_>) {
    let wrong = Diagnostic::error("certificate", "it is not clear which certificate is meant");
    let help = "write one of { file = \"…\" }, { sha256 = \"…\" }, { key-sha256 = \"…\" }, { authority = \"…\", name = \"…\" }";
    let wrong = wrong.at(entry.place(), "").help(help);
    entry.diagnostics().push(wrong);
}

/// One certificate must not open two accounts: whose mail it was could not be told.
pub(super) fn check_shared(accounts: &HashMap<String, Account>, top: &Section<'_>) {
    let mut owners: HashMap<String, Vec<&Account>> = HashMap::new();
    for account in accounts.values() {
        for one in &account.contract.certificates {
            owners.entry(one.to_string()).or_default().push(account);
        }
    }
    let mut shared: Vec<_> = owners
        .into_iter()
        .filter(|(_, all)| all.len() > 1)
        .collect();
    shared.sort_by(|a, b| a.0.cmp(&b.0));
    for (certificate, mut all) in shared {
        all.sort_by(|a, b| a.name().cmp(b.name()));
        let names: Vec<&str> = all.iter().map(|account| account.name()).collect();
        let message = format!("a certificate is written down twice: {certificate}");
        top.diagnostics().push(
            Diagnostic::error("certificate", message)
                .at_maybe(all[0].place(), "")
                .help(format!("in the blocks of {}", names.join(", "))),
        );
    }
}

/// A certificate is noted once in so much time.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::accounts::testing::{account, read};
    use crate::accounts::{AuthError, Store};

    #[test]
    fn a_certificate_opens_its_account_and_no_other() {
        let made = rcgen::generate_simple_self_signed(["app.example".to_owned()]).unwrap();
        let shown = Presented::read(&[made.cert.der().to_vec()]).unwrap();
        let (sha256, key) = (shown.leaf.sha256, shown.leaf.key_sha256);
        let (accounts, said) = read(&format!(
            "[[account]]\nname = \"a@nhs.net\"\ncertificates = [{{ sha256 = \"{sha256}\" }}]\n\
             [[account]]\nname = \"b@nhs.net\"\nsecret = \"stored\"\n\
             [[account]]\nname = \"c@nhs.net\"\ncertificates = [{{ key-sha256 = \"{key}\" }}]\n\
             networks = [\"192.0.2.0/24\"]\n"
        ));
        assert_eq!(said, [""; 0]);
        let desk = Desk::new(Store::in_memory().unwrap());
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let log_in = |username: &str, shown: Option<&Presented>| {
            let attempt = Attempt {
                username,
                client: [127, 0, 0, 1].into(),
                now,
            };
            let said = desk.log_in_with_certificate(&accounts, attempt, shown);
            said.map(AccountName::into_string)
                .map_err(|denied| denied.error)
        };
        assert_eq!(log_in("A@nhs.net", Some(&shown)), Ok("a@nhs.net".into()));
        for (name, shown, error) in [
            // It could be either.
            ("", Some(&shown), AuthError::Refused),
            ("b@nhs.net", Some(&shown), AuthError::Refused),
            ("nobody@nhs.net", Some(&shown), AuthError::Refused),
            ("a@nhs.net", None, AuthError::Refused),
            ("c@nhs.net", Some(&shown), AuthError::WrongNetwork),
        ] {
            assert_eq!(log_in(name, shown), Err(error), "{name}");
        }
        let noted = desk.store().certificates("a@nhs.net").unwrap();
        assert_eq!(noted[0].known_as, format!("sha256 {sha256}"));
        assert_eq!(desk.store().certificates("c@nhs.net").unwrap(), []);
    }

    fn file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["app.example".to_owned()]).unwrap();
        std::fs::write(file.path(), made.cert.pem()).unwrap();
        file
    }

    #[test]
    fn certificates_are_written_down_in_four_ways() {
        let (file, sum) = (file(), "ab".repeat(32));
        let path = file.path().display();
        let account = account(&format!(
            "certificates = [{{ file = \"{path}\" }}, {{ sha256 = \"{sum}\" }}, {{ key-sha256 = \"{sum}\" }},\n\
             {{ authority = \"{path}\", name = \"App.example\" }}]"
        ));
        let known = &account.contract.certificates;
        let shown: Vec<String> = known.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown[1..],
            [
                format!("sha256 {sum}"),
                format!("key-sha256 {sum}"),
                format!("app.example by {path}")
            ]
        );
        assert!(known[0].ends_at().is_some() && known[1].ends_at().is_none());
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let said = |certificates: &str| {
            let text = format!(
                "[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\ncertificates = [{certificates}]\n"
            );
            read(&text).1
        };
        let unclear = "certificate: it is not clear which certificate is meant";
        let sum = "ab".repeat(32);
        for (written, expected) in [
            ("{}".to_owned(), unclear),
            (
                format!("{{ sha256 = \"{sum}\", key-sha256 = \"{sum}\" }}"),
                unclear,
            ),
            ("{ authority = \"/nowhere.pem\" }".to_owned(), unclear),
            (
                "{ file = \"/nowhere.pem\" }".to_owned(),
                "certificate: /nowhere.pem cannot be used as a certificate",
            ),
            (
                "{ authority = \"/nowhere.pem\", name = \"x\" }".to_owned(),
                "certificate: /nowhere.pem cannot be used as a certificate",
            ),
            (
                format!("{{ sha256 = \"{sum}\" }}, {{ sha256 = \"{sum}\" }}"),
                &format!("certificate: a certificate is written down twice: sha256 {sum}"),
            ),
        ] {
            assert_eq!(said(&written), [expected], "{written}");
        }
        assert_eq!(said("{ sha256 = \"ab\" }").len(), 1);
        let file = file();
        std::fs::write(file.path(), "no PEM").unwrap();
        let written = format!("{{ file = \"{}\" }}", file.path().display());
        assert_eq!(said(&written).len(), 1);
    }
}
