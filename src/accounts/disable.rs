//! Disabling an account: one word in its block of `accounts.toml`, the rest as it was.
//!
//! As with adding, the new text is read back as a whole before it takes the place of the old one. Errors that are in the
//! file already, about something else, do not keep an account from being shut: the gateway that runs shuts it also by a
//! file with errors.

use std::fs;
use std::path::Path;

use crate::config::{Diagnostic, replace};

use super::add::{AddError, lock_current, read_text};
use super::{Account, Accounts};

/// Disables the account of this name, in any case. Returns whether it was enabled before. Blocks: on
/// the file, and while another process changes it.
///
/// # Errors
/// The file is unchanged then.
pub fn disable(path: &Path, name: &str) -> Result<bool, DisableError> {
    let io = |error| AddError::io(path, error);
    let path = fs::canonicalize(path).map_err(io)?;
    let lock = lock_current(&path).map_err(io)?;
    let old = fs::read_to_string(&path).map_err(io)?;
    let (before, errors) = read_text(&path, &old);
    let account = match before.get(name) {
        Some(account) => account,
        None if errors.is_empty() => return Err(DisableError::Unknown(name.to_owned())),
        None => return Err(AddError::Broken(errors).into()),
    };
    if account.disabled {
        return Ok(false);
    }
    let new = with_flag(&old, account).ok_or_else(|| by_hand(account))?;
    let (after, left) = read_text(&path, &new);
    if !are_the_same(&errors, &left) || !differ_in_the_flag_alone(&before, &after, account.name()) {
        return Err(by_hand(account));
    }
    replace(&path, &new).map_err(io)?;
    drop(lock);
    Ok(true)
}

/// Why no account was disabled.
#[derive(Debug, thiserror::Error)]
pub enum DisableError {
    /// There is none of this name.
    #[error("there is no account {0}")]
    Unknown(String),
    /// The file is written in a way that this program does not edit.
    #[error("the file is written in a way of its own: add `disabled = true` to the account at {0}")]
    ByHand(String),
    /// The file has errors and no such account that could be read, or it cannot be read or replaced.
    #[error(transparent)]
    File(#[from] AddError),
}

fn by_hand(account: &Account) -> DisableError {
    DisableError::ByHand(account.place().map(ToString::to_string).unwrap_or_default())
}

/// The text with `disabled = true` in the block of the account: in the place of what its `disabled`
/// says, or else in a line below its name. `None` if it has no such block.
fn with_flag(text: &str, account: &Account) -> Option<String> {
    let name_at = account.place()?.span().start;
    let start = text[..name_at].rfind("[[account]]")?;
    let end = text[name_at..]
        .find("\n[")
        .map_or(text.len(), |at| name_at + at + 1);
    let block = &text[start..end];
    let said = block.split_inclusive('\n').find(|line| {
        let key = line.split('=').next().unwrap_or_default();
        key.trim() == "disabled"
    });
    let changed = match said {
        Some(line) => block.replacen(line, &line.replacen("false", "true", 1), 1),
        None => {
            let name_ends = text[name_at..]
                .find('\n')
                .map(|at| name_at + at + 1 - start);
            let (head, tail) = block.split_at(name_ends.unwrap_or(block.len()));
            let line_end = if head.ends_with('\n') { "" } else { "\n" };
            format!("{head}{line_end}disabled = true\n{tail}")
        }
    };
    Some(format!("{}{changed}{}", &text[..start], &text[end..]))
}

/// Whether the same is wrong as before, wherever it stands now.
fn are_the_same(before: &[Diagnostic], after: &[Diagnostic]) -> bool {
    let said = |one: &Diagnostic| (one.id, one.message.clone());
    before.iter().map(said).eq(after.iter().map(said))
}

fn differ_in_the_flag_alone(before: &Accounts, after: &Accounts, name: &str) -> bool {
    let (old, new) = (before.all(), after.all());
    let same = |old: &Account, new: &Account| {
        old.name() == new.name()
            && old.may_send_from == new.may_send_from
            && old.owner == new.owner
            && old.patient_data == new.patient_data
            && old.owner_address == new.owner_address
            && old.contract == new.contract
            && old.secret_hash() == new.secret_hash()
            && new.disabled == (old.disabled || old.name() == name)
    };
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disabled(text: &str, name: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.toml");
        fs::write(&path, text).unwrap();
        match disable(&path, name) {
            Ok(_) => Ok(fs::read_to_string(&path).unwrap()),
            Err(error) => {
                assert_eq!(fs::read_to_string(&path).unwrap(), text);
                Err(error.to_string())
            }
        }
    }

    #[test]
    fn one_account_is_disabled_and_nothing_else_changes() {
        let text = "# ours\n[[account]]\nname = \"a@nhs.net\" # first\nmay-send-from = [\"@nhs.net\"]\n\n\
                    [[account]]\nname = \"b@nhs.net\"\ndisabled = false # for now\n";
        assert_eq!(
            disabled(text, "A@nhs.net").unwrap(),
            text.replace("# first\n", "# first\ndisabled = true\n")
        );
        assert_eq!(
            disabled(text, "b@nhs.net").unwrap(),
            text.replace("disabled = false", "disabled = true")
        );
    }

    #[test]
    fn a_file_without_a_last_line_end_will_do() {
        let text = "[[account]]\nname = \"a@nhs.net\"";
        let wanted = format!("{text}\ndisabled = true\n");
        assert_eq!(disabled(text, "a@nhs.net").unwrap(), wanted);
    }

    #[test]
    fn errors_elsewhere_in_the_file_keep_no_account_open() {
        for wrong in [
            "[[account]]\nname = \"c@nhs.net\"\nrate = \"many\"\n",
            "[[acount]]\nname = \"c@nhs.net\"\n",
            "[[account]]\nname = = \"c@nhs.net\"\n",
        ] {
            let text = format!("[[account]]\nname = \"a@nhs.net\"\ndisabled = false\n{wrong}");
            let wanted = text.replace("false", "true");
            assert_eq!(disabled(&text, "a@nhs.net").unwrap(), wanted);
            let gone = disabled(&text, "b@nhs.net").unwrap_err();
            assert!(gone.contains("has errors"), "{gone}");
        }
    }

    #[test]
    fn what_cannot_be_edited_safely_is_left_to_people() {
        let said = disabled("account = [{ name = \"a@nhs.net\" }]\n", "a@nhs.net").unwrap_err();
        assert!(said.contains("add `disabled = true`"), "{said}");
        let unknown = disabled("", "a@nhs.net").unwrap_err();
        assert_eq!(unknown, "there is no account a@nhs.net");
    }
}
