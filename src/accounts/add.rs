//! Adding an account: a new block at the end of `accounts.toml`, and a secret in the store that is shown once.
//!
//! The file is the administrator's, so nothing in it is rewritten. The new text is read back as a
//! whole before it takes the place of the old one, in one rename: at any moment the file is either
//! the old one or the new one. The secret is kept first: without the block it opens nothing.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::base::secret::Secret;
use crate::config::{Diagnostic, Diagnostics, Severity, SourceFile, replace};
use crate::mail::Mailbox;

use super::account::{Declaration, Name, Sender};
use super::{Accounts, RotateError, Rotation, Store, rotate};

/// What a new account is to be.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The user name; best the address it sends from.
    pub name: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Addresses, or domains as `@bumbleton.example`, that it may send from; empty for its own
    /// name.
    pub may_send_from: Vec<String>,
    /// Where he is told of its mail that is held.
    pub owner_address: Option<Mailbox>,
    /// What it says of the patient data in its mail.
    pub patient_data: Declaration,
}

/// Appends an account to the file at `path` and returns its secret, which is kept nowhere but hashed in the store.
/// Blocks: on the file, on Argon2id, and while another process adds an account.
///
/// # Errors
/// The file is unchanged then.
pub fn add(
    path: &Path,
    store: &Store,
    new: &NewAccount,
    rotation: Rotation,
    now: Timestamp,
) -> Result<Secret, AddError> {
    let path = fs::canonicalize(path).map_err(|error| AddError::io(path, error))?;
    let lock = lock_current(&path).map_err(|error| AddError::io(&path, error))?;
    let old = fs::read_to_string(&path).map_err(|error| AddError::io(&path, error))?;
    let before = read_back(&path, &old)?;
    if before.get(&new.name).is_some() {
        return Err(AddError::Exists(new.name.clone()));
    }
    let at_line_start = old.ends_with('\n') || old.is_empty();
    let text = format!("{old}{}", block(new, at_line_start)?);
    let after = read_back(&path, &text)?;
    if after.get(&new.name).is_none() {
        return Err(AddError::Broken(Vec::new()));
    }
    // Of an account of the same name that was there once nothing stays good.
    let rotation = Rotation {
        overlap: Some(Duration::ZERO),
        ..rotation
    };
    let secret = rotate(store, &after, &new.name, rotation, now)?;
    replace(&path, &text).map_err(|error| AddError::io(&path, error))?;
    drop(lock);
    Ok(secret)
}

/// Why no account was added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is one of this name already. Its secret is changed by other means.
    #[error("there is an account {0} already")]
    Exists(String),
    /// The name or an address is not one.
    #[error("{what} is not {wanted}")]
    Bad {
        /// What was given.
        what: String,
        /// What it should have been.
        wanted: &'static str,
    },
    /// The file has errors, or would have with the new block; they come first.
    #[error("the file has errors: put them right first (`postern check` shows them)")]
    Broken(Vec<Diagnostic>),
    /// The file cannot be read or replaced.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no secret for it.
    #[error(transparent)]
    Secret(#[from] RotateError),
}

impl AddError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            error,
        }
    }
}

/// Opens and locks the file that `path` names now. While we waited for the lock, another process
/// may have put a new file in its place: then that one is the one to lock.
pub(super) fn lock_current(path: &Path) -> io::Result<File> {
    loop {
        let file = File::open(path)?;
        file.lock()?;
        let (ours, named) = (file.metadata()?, fs::metadata(path)?);
        if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

/// Reads a text as `accounts.toml`; errors in it are an error here, warnings are not.
fn read_back(path: &Path, text: &str) -> Result<Accounts, AddError> {
    match read_text(path, text) {
        (accounts, errors) if errors.is_empty() => Ok(accounts),
        (_, errors) => Err(AddError::Broken(errors)),
    }
}

/// What can be read of a text as `accounts.toml`, and the errors in it.
pub(super) fn read_text(path: &Path, text: &str) -> (Accounts, Vec<Diagnostic>) {
    let file = Arc::new(SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    let diagnostics = Diagnostics::default();
    let accounts = Accounts::read(&file, &diagnostics);
    let mut errors = diagnostics.into_vec();
    errors.retain(|diagnostic| diagnostic.severity == Severity::Error);
    (accounts, errors)
}

/// Writes the block, each line with what it means: the file is its own reference.
fn block(new: &NewAccount, at_line_start: bool) -> Result<String, AddError> {
    let name = new.name.parse::<Name>().map_err(|_| AddError::Bad {
        what: format!("{:?}", new.name),
        wanted: "the name of an account: 1 to 254 characters without spaces",
    })?;
    for sender in &new.may_send_from {
        sender.parse::<Sender>().map_err(|_| AddError::Bad {
            what: format!("{sender:?}"),
            wanted: "an address, or a domain as @bumbleton.example",
        })?;
    }
    let mut senders = new.may_send_from.clone();
    if senders.is_empty() {
        senders.push(name.0.clone());
    }
    let start = if at_line_start { "\n" } else { "\n\n" };
    let owner = new
        .owner
        .as_ref()
        .map(|owner| format!("owner = {}\n", quoted(owner)));
    let address = new
        .owner_address
        .as_ref()
        .map(|address| format!("owner-address = {}\n", quoted(&address.to_string())));
    let senders: Vec<String> = senders.iter().map(|sender| quoted(sender)).collect();
    Ok(format!(
        "{start}[[account]]\n\
         name = {}\n\
         {}{}\
         secret = \"stored\" # shown once; `postern account rotate` makes another\n\
         may-send-from = [{}]\n\
         patient-data = {}\n\
         disabled = false\n",
        quoted(&name.0),
        owner.unwrap_or_default(),
        address.unwrap_or_default(),
        senders.join(", "),
        quoted(new.patient_data.word()),
    ))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{AuthError, Desk};
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn new(name: &str) -> NewAccount {
        NewAccount {
            name: name.into(),
            owner: Some("Superintendent \"pharmacist\" \\ Bumbleton".into()),
            ..NewAccount::default()
        }
    }

    fn store() -> Store {
        Store::in_memory().unwrap()
    }

    fn add(path: &Path, store: &Store, new: &NewAccount) -> Result<Secret, AddError> {
        super::add(path, store, new, Rotation::default(), Timestamp::now())
    }

    fn load(path: &Path) -> Accounts {
        let diagnostics = Diagnostics::default();
        let accounts = Accounts::load(path, &diagnostics).unwrap();
        assert_eq!(diagnostics.into_vec(), []);
        accounts
    }

    #[test]
    fn an_account_that_was_added_can_log_in_and_the_rest_of_the_file_is_as_it_was() {
        let (_folder, path) = file("# ours, by hand");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();

        let store = store();
        let secret = add(&path, &store, &new("Reminders.FA123.donotreply@nhs.net")).unwrap();

        let accounts = load(&path);
        let desk = Desk::new(store);
        let name = "reminders.fa123.donotreply@nhs.net";
        let name = desk.log_in_now(&accounts, name, secret.expose());
        let account = accounts.get(name.unwrap().as_str()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(account.owner.as_deref(), new("").owner.as_deref());
        assert!(account.may_send_as(&"reminders.fa123.donotreply@nhs.net".parse().unwrap()));
        assert!(
            text.starts_with("# ours, by hand\n\n[[account]]\n"),
            "{text}"
        );
        assert!(!text.contains(secret.expose()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_is_given_once() {
        let (_folder, path) = file("");
        add(&path, &store(), &new("a@nhs.net")).unwrap();
        let before = fs::read_to_string(&path).unwrap();

        let again = add(&path, &store(), &new("A@NHS.net"));

        assert!(matches!(again, Err(AddError::Exists(_))), "{again:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn nothing_is_added_to_a_file_with_errors_nor_under_a_bad_name() {
        let (_folder, path) = file("[[acount]]\nname = \"x\"\n");
        assert!(matches!(
            add(&path, &store(), &new("a@nhs.net")),
            Err(AddError::Broken(_))
        ));
        let (_folder, path) = file("account = []\n");
        assert!(matches!(
            add(&path, &store(), &new("a@nhs.net")),
            Err(AddError::Broken(_))
        ));
        let (_folder, path) = file("");
        assert!(matches!(
            add(&path, &store(), &new("a b")),
            Err(AddError::Bad { .. })
        ));
        let elsewhere = NewAccount {
            may_send_from: vec!["nhs.net".into()],
            ..new("a@nhs.net")
        };
        assert!(matches!(
            add(&path, &store(), &elsewhere),
            Err(AddError::Bad { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn accounts_added_at_the_same_time_are_all_there() {
        let (_folder, path) = file("");
        let names: Vec<String> = (0..4).map(|n| format!("app{n}@nhs.net")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| add(&path, &store(), &new(name)).unwrap());
            }
        });
        assert_eq!(load(&path).all().len(), 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn what_is_added_is_read_back_and_logs_in(name in "[!-~\u{e9}]{1,40}", owner in "\\PC{0,40}") {
            let (_folder, path) = file("");
            let account = NewAccount {
                name: name.clone(),
                owner: Some(owner.clone()),
                may_send_from: vec!["@bumbleton.example".into()],
                owner_address: Mailbox::parse("owner@bumbleton.example").ok(),
                patient_data: Declaration::Never,
            };
            let store = store();
            let secret = add(&path, &store, &account).unwrap();
            let accounts = load(&path);
            let desk = Desk::new(store);
            prop_assert!(desk.log_in_now(&accounts, &name, secret.expose()).is_ok());
            prop_assert_eq!(desk.log_in_now(&accounts, &name, "no"), Err(AuthError::Refused));
            let read = accounts.get(&name).unwrap();
            prop_assert_eq!(read.owner.as_deref(), Some(owner.as_str()));
            prop_assert_eq!(read.patient_data, Declaration::Never);
            prop_assert_eq!(&read.owner_address, &account.owner_address);
        }
    }
}
