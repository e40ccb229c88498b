//! Where the gateway asks of accounts: who may log in, what each has used, who has failed too often.
//!
//! One for a process, over all reloads of `accounts.toml`: a reload must not forget who is locked out or what was
//! used.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::mail::scram::{ScramKeys, mac};

use super::meter::Meters;
use super::secret::SCRAM_ITERATIONS;
use super::store::{AccountsDbError, Store};
use super::token::{KeySource, Keys, TokenError};
use super::tries::{LOCK, Tries, account_key, client_key};
use super::verify::{AuthError, Verifier, parse_hash};
use super::{Account, AccountName, Accounts, fold};

/// The desk.
#[derive(Debug)]
pub struct Desk {
    store: Arc<Store>,
    meters: Arc<Meters>,
    verifier: Verifier,
    tries: Mutex<Tries>,
    /// Keys that were fetched, by their URL.
    fetched: RwLock<HashMap<String, Arc<Keys>>>,
    /// Whether a token came whose key is not here.
    wants_keys: AtomicBool,
    /// Accounts that are shut whatever the reading in force says.
    shut: RwLock<HashSet<String>>,
}

/// Somebody wants to be an account.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The name that he gives.
    pub username: &'a str,
    /// Where he is.
    pub client: IpAddr,
    /// When.
    pub now: Timestamp,
}

/// Why he is not, and what follows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// Why.
    pub error: AuthError,
    /// How long the reply waits.
    pub delay: Duration,
    /// The account of the name that was given, if there is one. A name that is none is not repeated anywhere: it may be
    /// a password in the wrong place.
    pub account: Option<String>,
    /// Who is locked out from now on: `account:NAME`, `client:ADDRESS`.
    pub locks: Vec<String>,
}

impl Desk {
    /// A desk over this store.
    pub fn new(store: Store) -> Self {
        let store = Arc::new(store);
        Self {
            meters: Meters::new(Arc::clone(&store)),
            store,
            verifier: Verifier::default(),
            tries: Mutex::default(),
            fetched: RwLock::default(),
            wants_keys: AtomicBool::new(false),
            shut: RwLock::default(),
        }
    }

    /// Shuts the accounts in force that a newer reading, which cannot be put in force for reasons of its own, disables or
    /// has not any more: who takes an account away must not wait for that. Of a reading that is not whole (it has
    /// errors) nobody is missing, and nobody is let in again. Returns their names, sorted.
    pub fn shut_by(&self, newer: &Accounts, is_whole: bool, in_force: &Accounts) -> Vec<String> {
        let is_shut = |account: &&Account| match newer.get(account.name()) {
            Some(newer) => newer.disabled,
            None => is_whole,
        };
        let all = in_force.all().into_iter().filter(|one| !one.disabled);
        let names = all.filter(is_shut).map(|one| one.name().to_owned());
        let names: Vec<String> = names.collect();
        let mut shut = self.shut.write().unwrap_or_else(PoisonError::into_inner);
        if is_whole {
            shut.clear();
        }
        shut.extend(names.iter().cloned());
        names
    }

    /// The newest reading is in force: it says itself who is shut.
    pub fn shut_nobody_else(&self) {
        let mut shut = self.shut.write().unwrap_or_else(PoisonError::into_inner);
        shut.clear();
    }

    /// Whether an account is shut whatever the reading in force says of it.
    pub fn is_shut(&self, account: &str) -> bool {
        let shut = self.shut.read().unwrap_or_else(PoisonError::into_inner);
        shut.contains(account)
    }

    /// Keeps the keys of an issuer that were fetched from this URL.
    pub fn put_keys(&self, url: &str, keys: Keys) {
        let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
        fetched.insert(url.to_owned(), Arc::new(keys));
    }

    /// Whether keys should be fetched anew: a token came whose key is not here. Asking takes the wish back.
    pub fn wants_keys(&self) -> bool {
        self.wants_keys.swap(false, Ordering::Relaxed)
    }

    /// Returns the account that a token opens. The name that the client gives beside it, if it gives one, must be the
    /// account's.
    pub fn log_in_with_token(
        &self,
        accounts: &Accounts,
        attempt: Attempt<'_>,
        token: &str,
    ) -> Result<AccountName, Box<Denied>> {
        self.check_locks(accounts, attempt)?;
        let subject = self.subject_of(accounts, token, attempt.now)?;
        let account = subject
            .and_then(|(issuer, subject)| accounts.of_subject(issuer, &subject, attempt.now));
        let given = attempt.username;
        let account = account.filter(|account| given.is_empty() || fold(given) == account.name());
        let username = account.map_or(given, Account::name);
        let attempt = Attempt {
            username,
            ..attempt
        };
        self.check_locks(accounts, attempt)?;
        self.conclude(accounts, attempt, account.is_some())
    }

    /// Whose a token is, and for whom; `None` if no issuer made it for us. Errs if a key is missing that may come.
    fn subject_of<'a>(
        &self,
        accounts: &'a Accounts,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<(&'a str, String)>, Box<Denied>> {
        let mut is_waiting = false;
        for issuer in accounts.issuers() {
            let checked = match &issuer.keys {
                KeySource::File(keys) => issuer.check(token, keys, now),
                KeySource::Url(url) => {
                    let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
                    let keys = fetched.get(url).map(Arc::clone).unwrap_or_default();
                    drop(fetched);
                    let checked = issuer.check(token, &keys, now);
                    is_waiting |= checked == Err(TokenError::UnknownKey);
                    checked
                }
            };
            if let Ok(subject) = checked {
                return Ok(Some((&issuer.name, subject)));
            }
        }
        if is_waiting {
            self.wants_keys.store(true, Ordering::Relaxed);
            return Err(unavailable());
        }
        Ok(None)
    }

    /// What lasts.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What each account has used.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Returns the account that this name and password belong to. The name is compared without ASCII case.
    ///
    /// Blocks for some tens of milliseconds on one core (Argon2id): call it under `spawn_blocking`. An unknown name
    /// costs the same as a wrong password. A log-in that succeeded before costs microseconds, so that a client that
    /// logs in for every message does not burn the processor; so does one of somebody who is locked out.
    ///
    /// # Errors
    /// What is wrong with the account itself is told only to someone with the right password.
    pub fn log_in(
        &self,
        accounts: &Accounts,
        attempt: Attempt<'_>,
        password: &str,
    ) -> Result<AccountName, Box<Denied>> {
        self.check_locks(accounts, attempt)?;
        let name = fold(attempt.username);
        let account = accounts.get(&name);
        let hashes = account.map(|account| self.hashes(account, attempt.now));
        let hashes = hashes.transpose().map_err(|_| unavailable())?;
        let matches = self
            .verifier
            .matches(&name, &hashes.unwrap_or_default(), password)
            .map_err(deny)?;
        self.conclude(accounts, attempt, matches)
    }

    /// Whether somebody may try at all. The answer of every mechanism begins with it.
    ///
    /// # Errors
    /// The client is locked out; or the account is, and the client never used it.
    pub fn check_locks(
        &self,
        accounts: &Accounts,
        attempt: Attempt<'_>,
    ) -> Result<(), Box<Denied>> {
        let client = client_key(attempt.client);
        let locked = |who: &str| self.store.locked_until(who, attempt.now);
        let mut is_locked = locked(&client).map_err(|_| unavailable())?.is_some();
        if let Some(account) = accounts.get(attempt.username)
            && !is_locked
        {
            let of_account = locked(&account_key(account.name())).map_err(|_| unavailable())?;
            let since = attempt.now - KNOWN_FOR;
            let knows = || self.store.knows_client(account.name(), &client, since);
            is_locked = of_account.is_some() && !knows().map_err(|_| unavailable())?;
        }
        match is_locked {
            true => Err(Box::new(Denied {
                delay: LOCKED_DELAY,
                account: known_name(accounts, attempt.username),
                ..denied(AuthError::Locked)
            })),
            false => Ok(()),
        }
    }

    /// Ends an attempt of any mechanism: `is_proved` says whether the secret was shown.
    pub fn conclude(
        &self,
        accounts: &Accounts,
        attempt: Attempt<'_>,
        is_proved: bool,
    ) -> Result<AccountName, Box<Denied>> {
        let client = client_key(attempt.client);
        let account = accounts.get(attempt.username);
        let Some(account) = account.filter(|_| is_proved) else {
            return Err(self.fail(accounts, attempt, &client));
        };
        let shut = self.is_shut(account.name()).then_some(AuthError::Disabled);
        if let Some(error) = shut.or_else(|| unusable(account, attempt)) {
            return Err(Box::new(Denied {
                account: Some(account.name().to_owned()),
                delay: LOCKED_DELAY,
                ..denied(error)
            }));
        }
        self.tries().succeed(&client);
        let since = attempt.now - NOTED_EVERY;
        let is_noted = self.store.knows_client(account.name(), &client, since);
        if !is_noted.unwrap_or(true) {
            // Only for the day on which somebody tries the account with wrong secrets: no reason to refuse.
            let _ = self.store.note_client(account.name(), &client, attempt.now);
        }
        Ok(AccountName(account.name().to_owned()))
    }

    fn fail(&self, accounts: &Accounts, attempt: Attempt<'_>, client: &str) -> Box<Denied> {
        let account = known_name(accounts, attempt.username);
        let account_key = account.as_deref().map(account_key);
        let penalty = self
            .tries()
            .fail(client, account_key.as_deref(), attempt.now);
        for who in &penalty.locks {
            let until = attempt.now + LOCK;
            // A lock that cannot be written is not there; the failures are counted anew.
            let _ = self.store.put_lock(who, attempt.now, until);
        }
        Box::new(Denied {
            error: AuthError::Refused,
            delay: penalty.delay,
            account,
            locks: penalty.locks,
        })
    }

    /// The SCRAM keys of an account: of each live secret that has some, all with one salt. Somebody without an account,
    /// and an account without keys, get keys that nothing proves, the same each time (who has an account is nobody's
    /// business). Not empty.
    pub fn scram_keys(
        &self,
        accounts: &Accounts,
        username: &str,
        now: Timestamp,
    ) -> Result<Vec<ScramKeys>, AccountsDbError> {
        let name = fold(username);
        if let Some(account) = accounts.get(&name) {
            let live = self.store.live_secrets(account.name(), now)?;
            let mut keys: Vec<_> = live.into_iter().filter_map(|secret| secret.scram).collect();
            if let Some(first) = keys.first().cloned() {
                keys.retain(|one| (&one.salt, one.iterations) == (&first.salt, first.iterations));
                return Ok(keys);
            }
        }
        let sum = |word: &[u8]| mac(self.store.seed(), &[word, name.as_bytes()].concat());
        Ok(vec![ScramKeys {
            iterations: SCRAM_ITERATIONS,
            salt: sum(b"salt ")[..16].to_vec(),
            stored_key: sum(b"stored "),
            server_key: sum(b"server "),
        }])
    }

    /// The hashes that open an account at this moment.
    fn hashes(
        &self,
        account: &Account,
        now: Timestamp,
    ) -> Result<Vec<argon2::password_hash::phc::PasswordHash>, AccountsDbError> {
        let live = self.store.live_secrets(account.name(), now)?;
        let stored = live
            .iter()
            .filter_map(|secret| parse_hash(&secret.hash).ok());
        let mut hashes: Vec<_> = stored.collect();
        if let Some(of_file) = account.secret_hash() {
            let ends = self.store.file_secret_ends(&of_file.to_string())?;
            if ends.is_none_or(|ends| now < ends) {
                hashes.push(of_file.clone());
            }
        }
        Ok(hashes)
    }

    /// Counts are whole at every moment.
    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A log-in from this machine at this moment.
    #[cfg(test)]
    pub(crate) fn log_in_now(
        &self,
        accounts: &Accounts,
        username: &str,
        password: &str,
    ) -> Result<AccountName, AuthError> {
        let attempt = Attempt {
            username,
            client: IpAddr::from([127, 0, 0, 1]),
            now: Timestamp::now(),
        };
        self.log_in(accounts, attempt, password)
            .map_err(|denied| denied.error)
    }
}

/// What is wrong with an account whose secret was shown.
fn unusable(account: &Account, attempt: Attempt<'_>) -> Option<AuthError> {
    if account.disabled {
        return Some(AuthError::Disabled);
    }
    if !account.contract.allows_client(attempt.client) {
        return Some(AuthError::WrongNetwork);
    }
    (!account.contract.is_valid(attempt.now)).then_some(AuthError::NotValid)
}

fn known_name(accounts: &Accounts, username: &str) -> Option<String> {
    Some(accounts.get(username)?.name().to_owned())
}

fn denied(error: AuthError) -> Denied {
    Denied {
        error,
        delay: Duration::ZERO,
        account: None,
        locks: Vec::new(),
    }
}

fn deny(error: AuthError) -> Box<Denied> {
    Box::new(denied(error))
}

fn unavailable() -> Box<Denied> {
    deny(AuthError::Unavailable)
}

/// A client that used an account within so much time is let in while it is locked for others.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A client is noted once in so much time.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the reply to somebody who is locked out waits.
const LOCKED_DELAY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::testing::read;
    use crate::accounts::{Rotation, rotate};
    use jiff::ToSpan as _;

    fn at(minutes: i64) -> Timestamp {
        let start: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        start + minutes.minutes()
    }

    fn accounts(keys: &str) -> Accounts {
        let text = format!("[[account]]\nname = \"a@nhs.net\"\nsecret = \"stored\"\n{keys}");
        read(&text).0
    }

    fn attempt(client: &str, minutes: i64) -> Attempt<'static> {
        Attempt {
            username: "A@nhs.net",
            client: client.parse().unwrap(),
            now: at(minutes),
        }
    }

    fn with_secret(accounts: &Accounts) -> (Desk, String) {
        let desk = Desk::new(Store::in_memory().unwrap());
        let secret = rotate(
            desk.store(),
            accounts,
            "a@nhs.net",
            Rotation::default(),
            at(0),
        );
        (desk, secret.unwrap().expose().to_owned())
    }

    fn tried(
        desk: &Desk,
        accounts: &Accounts,
        who: Attempt<'_>,
        secret: &str,
    ) -> Option<AuthError> {
        let tried = desk.log_in(accounts, who, secret);
        tried.err().map(|denied| denied.error)
    }

    #[test]
    fn a_client_that_fails_too_often_is_locked_out_for_a_while_even_with_the_secret() {
        let accounts = accounts("");
        let (desk, secret) = with_secret(&accounts);
        for _ in 0..10 {
            let client = attempt("192.0.2.1", 1);
            assert_eq!(
                tried(&desk, &accounts, client, "x"),
                Some(AuthError::Refused)
            );
        }
        let locked = tried(&desk, &accounts, attempt("192.0.2.1", 2), &secret);
        assert_eq!(locked, Some(AuthError::Locked));
        assert_eq!(
            tried(&desk, &accounts, attempt("192.0.2.2", 2), &secret),
            None
        );
        assert_eq!(
            tried(&desk, &accounts, attempt("192.0.2.1", 17), &secret),
            None
        );
    }

    #[test]
    fn an_account_that_many_try_stays_open_for_the_clients_that_it_knows() {
        let accounts = accounts("");
        let (desk, secret) = with_secret(&accounts);
        assert_eq!(
            tried(&desk, &accounts, attempt("192.0.2.1", 1), &secret),
            None
        );
        for n in 0..50 {
            let client = format!("198.51.100.{n}");
            tried(&desk, &accounts, attempt(&client, 2), "x");
        }
        let stranger = tried(&desk, &accounts, attempt("203.0.113.1", 3), &secret);
        assert_eq!(stranger, Some(AuthError::Locked));
        assert_eq!(
            tried(&desk, &accounts, attempt("192.0.2.1", 3), &secret),
            None
        );
        assert!(desk.store().unlock("account:a@nhs.net", at(3)).unwrap());
        assert_eq!(
            tried(&desk, &accounts, attempt("203.0.113.1", 3), &secret),
            None
        );
    }

    #[test]
    fn the_contract_says_from_where_and_when() {
        let accounts = accounts("networks = [\"192.0.2.0/24\"]\nvalid-until = 2026-11-21\n");
        let (desk, secret) = with_secret(&accounts);
        let tried = |client, minutes| tried(&desk, &accounts, attempt(client, minutes), &secret);
        assert_eq!(tried("192.0.2.1", 1), None);
        assert_eq!(tried("198.51.100.1", 1), Some(AuthError::WrongNetwork));
        assert_eq!(tried("192.0.2.1", 24 * 60), Some(AuthError::NotValid));
    }

    #[test]
    fn an_account_that_is_taken_away_is_shut_whatever_is_in_force() {
        let in_force = accounts("");
        let (desk, secret) = with_secret(&in_force);
        let tried = |desk: &Desk| tried(desk, &in_force, attempt("192.0.2.1", 1), &secret);
        let gone = read("").0;
        for (newer, is_whole, shut) in [
            (&accounts("disabled = true\n"), true, true),
            (&accounts(""), true, false),
            (&gone, false, false),
            (&gone, true, true),
            // Nobody is let in again by a file that cannot be read.
            (&accounts(""), false, true),
        ] {
            desk.shut_by(newer, is_whole, &in_force);
            assert_eq!(tried(&desk), shut.then_some(AuthError::Disabled));
            assert_eq!(desk.is_shut("a@nhs.net"), shut);
        }
        desk.shut_nobody_else();
        assert_eq!(tried(&desk), None);
    }

    #[test]
    fn both_secrets_open_the_account_while_they_overlap() {
        let accounts = accounts("");
        let (desk, old) = with_secret(&accounts);
        let new = rotate(
            desk.store(),
            &accounts,
            "a@nhs.net",
            Rotation::default(),
            at(60),
        );
        let new = new.unwrap().expose().to_owned();
        let tried =
            |secret: &str, minutes| tried(&desk, &accounts, attempt("192.0.2.1", minutes), secret);
        assert_eq!((tried(&old, 61), tried(&new, 61)), (None, None));
        let after = 8 * 24 * 60;
        assert_eq!(tried(&old, after), Some(AuthError::Refused));
        assert_eq!(tried(&new, after), None);
        assert_eq!(tried(&new, 366 * 24 * 60), Some(AuthError::Refused));
    }

    #[test]
    fn who_has_no_account_gets_the_same_salt_each_time_and_proves_nothing() {
        let accounts = accounts("");
        let (desk, _) = with_secret(&accounts);
        let keys = |name: &str| desk.scram_keys(&accounts, name, at(1)).unwrap();
        assert_eq!(keys("nobody@nhs.net"), keys("NOBODY@nhs.net"));
        assert_ne!(keys("nobody@nhs.net"), keys("somebody@nhs.net"));
        let shape = |name: &str| (keys(name)[0].iterations, keys(name)[0].salt.len());
        assert_eq!(shape("nobody@nhs.net"), shape("a@nhs.net"));
    }
}
