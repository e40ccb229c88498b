//! A new secret for an account: made here or chosen, kept hashed, while the one before it stays good for a while.

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use crate::base::secret::Secret;
use crate::mail::scram::ScramKeys;

use super::secret::{SCRAM_ITERATIONS, generate};
use super::store::{AccountsDbError, NewSecret, Store};
use super::{Account, Accounts, verify};

/// How a secret is to be changed.
#[derive(Clone, Debug, Default)]
pub struct Rotation {
    /// What somebody chose; `None`: one is made.
    pub chosen: Option<Secret>,
    /// How long the one before it stays good; `None` as the file says.
    pub overlap: Option<Duration>,
    /// Whether a chosen one is for SCRAM as well. One that is made always is.
    pub scram: bool,
}

/// Gives an account a new secret and returns it. It is kept nowhere but hashed. Blocks: on Argon2id and the store.
///
/// SCRAM needs keys beside the Argon2id hash that a thief of the database could try passwords against a thousand times
/// cheaper. That is no matter for the 160 bits of a secret that is made here, so those have them; a chosen one has them
/// only if that is asked for.
///
/// # Errors
/// Nothing has changed then.
pub fn rotate(
    store: &Store,
    accounts: &Accounts,
    name: &str,
    rotation: Rotation,
    now: Timestamp,
) -> Result<Secret, RotateError> {
    let account = accounts
        .get(name)
        .ok_or_else(|| RotateError::Unknown(name.to_owned()))?;
    let settings = accounts.secrets();
    let wants_scram = rotation.scram || rotation.chosen.is_none();
    let secret = match rotation.chosen {
        Some(chosen) => {
            let mut before = store.last_secrets(account.name())?;
            before.extend(account.secret_hash().map(ToString::to_string));
            let objections = settings.objections(chosen.expose(), account.name(), &before)?;
            if !objections.is_empty() {
                return Err(RotateError::Objections(objections));
            }
            chosen
        }
        None => generate().ok_or(RotateError::Random)?,
    };
    let hash = verify::hash(secret.expose()).map_err(|_| RotateError::Random)?;
    let scram = match wants_scram {
        true => scram_keys(store, account, secret.expose(), now)?,
        false => None,
    };
    let others_until = now + rotation.overlap.unwrap_or(settings.overlap);
    store.put_secret(&NewSecret {
        account: account.name(),
        hash: &hash,
        scram: scram.as_ref(),
        made_at: now,
        ends_at: now + settings.expire_after,
        others_until,
    })?;
    if let Some(of_file) = account.secret_hash() {
        store.end_file_secret(&of_file.to_string(), others_until)?;
    }
    Ok(secret)
}

/// With the salt of the secret before it, if that is live: a client is told one salt, and may have either secret.
fn scram_keys(
    store: &Store,
    account: &Account,
    secret: &str,
    now: Timestamp,
) -> Result<Option<ScramKeys>, RotateError> {
    let live = store.live_secrets(account.name(), now)?;
    let before = live.into_iter().find_map(|secret| secret.scram);
    let (salt, iterations) = match before {
        Some(keys) => (keys.salt, keys.iterations),
        None => {
            let mut salt = vec![0; 16];
            getrandom::fill(&mut salt).map_err(|_| RotateError::Random)?;
            (salt, SCRAM_ITERATIONS)
        }
    };
    Ok(ScramKeys::derive(secret, salt, iterations))
}

/// Why a secret was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// There is no account of this name.
    #[error("there is no account {0}")]
    Unknown(String),
    /// The secret is not what a secret must be.
    #[error("this secret is not taken: {}", .0.join("; "))]
    Objections(Vec<&'static str>),
    /// The list of breached passwords cannot be read.
    #[error("the list of breached passwords cannot be read: {0}")]
    Breached(#[from] io::Error),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] AccountsDbError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::testing::read;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn chosen(text: &str) -> Rotation {
        Rotation {
            chosen: Some(Secret::new(text.to_owned())),
            ..Rotation::default()
        }
    }

    #[test]
    fn a_secret_that_is_made_is_for_scram_and_a_chosen_one_only_if_asked() {
        let (accounts, _) = read("[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n");
        let store = Store::in_memory().unwrap();
        rotate(&store, &accounts, "a@nhs.net", Rotation::default(), now()).unwrap();
        let first = "vR7#tunes-Goblet.94kQ";
        rotate(&store, &accounts, "a@nhs.net", chosen(first), now()).unwrap();
        let asked = Rotation {
            scram: true,
            ..chosen("Xk9-vTq2.Lm7+wRb4_Zp8")
        };
        rotate(&store, &accounts, "A@nhs.net", asked, now()).unwrap();
        let has_scram: Vec<bool> = store
            .secrets(Some("a@nhs.net"))
            .unwrap()
            .iter()
            .map(|secret| secret.has_scram)
            .collect();
        assert_eq!(has_scram, [true, false, true]);
        let again = rotate(&store, &accounts, "a@nhs.net", chosen(first), now());
        assert!(matches!(again, Err(RotateError::Objections(said)) if said.len() == 1));
    }

    #[test]
    fn secrets_that_overlap_have_one_salt() {
        let (accounts, _) = read("[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n");
        let store = Store::in_memory().unwrap();
        for _ in 0..2 {
            rotate(&store, &accounts, "a@nhs.net", Rotation::default(), now()).unwrap();
        }
        let live = store.live_secrets("a@nhs.net", now()).unwrap();
        let keys: Vec<_> = live.into_iter().filter_map(|secret| secret.scram).collect();
        assert_eq!(keys[0].salt, keys[1].salt);
        assert_ne!(keys[0].stored_key, keys[1].stored_key);
    }

    #[test]
    fn a_secret_of_the_file_ends_with_the_overlap() {
        let hash = verify::hash("once in the file").unwrap();
        let text = format!("[[account]]\nname = \"a@nhs.net\"\nsecret-hash = \"{hash}\"\n");
        let (accounts, _) = read(&text);
        let store = Store::in_memory().unwrap();
        assert_eq!(store.file_secret_ends(&hash).unwrap(), None);
        rotate(&store, &accounts, "a@nhs.net", Rotation::default(), now()).unwrap();
        let ends = store.file_secret_ends(&hash).unwrap();
        assert_eq!(ends, Some("2026-11-28T10:00:00Z".parse().unwrap()));
    }
}
