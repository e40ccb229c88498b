//! Checking a password, at the same cost whether or not there is such an account.
//!
//! Argon2id is slow and wants memory on purpose, so it is a way to exhaust this machine. Two things
//! bound it: only so many checks run at once, and a password that was right once is known again by
//! a fingerprint under a key that lives in this process alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

use crate::mail::scram::mac;

/// Why a log-in was not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthError {
    /// No such account, or not its password: which of the two is not said (RFC 4954 §6: 535).
    #[error("user name or password is wrong")]
    Refused,
    /// The secret is right, but the account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The secret is right, but not for a client at this address.
    #[error("the contract does not allow this client")]
    WrongNetwork,
    /// The secret is right, but the time of the account has not come, or is over.
    #[error("the account is not valid today")]
    NotValid,
    /// The client, or the account, had too many failures: nothing was checked (RFC 4954 §6: 454).
    #[error("locked after too many failures")]
    Locked,
    /// The database of accounts does not answer. Nothing is known about this one (RFC 4954 §6: 454).
    #[error("the database of accounts does not answer")]
    Unavailable,
    /// Too many others are being checked. Nothing is known about this one: try again later
    /// (RFC 4954 §6: 454).
    #[error("too many log-ins at once")]
    Busy,
}

/// Checks passwords, and remembers those that were right.
pub(super) struct Verifier {
    key: [u8; 32],
    /// Names of accounts to the fingerprints of secrets that opened them, the latest first: of each no more than can
    /// be live at once.
    known: Mutex<HashMap<String, Vec<[u8; 32]>>>,
    gate: Gate,
}

impl Verifier {
    /// Whether `password` is the one behind one of `hashes`. A wrong one costs the same work whether there are two
    /// hashes, one, or none.
    pub(super) fn matches(
        &self,
        name: &str,
        hashes: &[PasswordHash],
        password: &str,
    ) -> Result<bool, AuthError> {
        let known = lock(&self.known).get(name).cloned().unwrap_or_default();
        // Not in constant time, and need not be: nobody outside can choose or predict the digits.
        if hashes
            .iter()
            .any(|hash| known.contains(&self.fingerprint(hash, password)))
        {
            return Ok(true);
        }
        let _turn = self.gate.enter().ok_or(AuthError::Busy)?;
        for at in 0..hashes.len().max(LIVE_MAX) {
            let Some(hash) = hashes.get(at) else {
                if let Ok(decoy) = parse_hash(DECOY) {
                    let _ = Argon2::default().verify_password(password.as_bytes(), &decoy);
                }
                continue;
            };
            if is_behind(hash, password) {
                self.remember(name, self.fingerprint(hash, password));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn remember(&self, name: &str, fingerprint: [u8; 32]) {
        let mut known = lock(&self.known);
        let of_account = known.entry(name.to_owned()).or_default();
        of_account.insert(0, fingerprint);
        of_account.truncate(LIVE_MAX);
    }

    /// Good for this hash alone: a secret that is taken out of use is not known any more.
    fn fingerprint(&self, hash: &PasswordHash, password: &str) -> [u8; 32] {
        let text = hash.to_string();
        mac(
            &self.key,
            &[text.as_bytes(), b"\0", password.as_bytes()].concat(),
        )
    }
}

impl Default for Verifier {
    fn default() -> Self {
        let mut key = [0; 32];
        // The kernel's generator fails on no supported platform once it is seeded. If it ever did,
        // fingerprints would be plain digests: still in this process alone.
        let _ = getrandom::fill(&mut key);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            key,
            known: Mutex::default(),
            gate: Gate::new(cores, WAITING_MAX),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Lets so many in at once, and so many wait; others are turned away.
struct Gate {
    at_once: usize,
    all: usize,
    /// How many are inside, and how many are here at all.
    present: Mutex<(usize, usize)>,
    left: Condvar,
}

impl Gate {
    fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            at_once,
            all: at_once + waiting,
            present: Mutex::default(),
            left: Condvar::new(),
        }
    }

    /// Blocks until it is our turn; `None` if too many wait already.
    fn enter(&self) -> Option<Turn<'_>> {
        let mut present = lock(&self.present);
        if present.1 >= self.all {
            return None;
        }
        present.1 += 1;
        while present.0 >= self.at_once {
            present = self
                .left
                .wait(present)
                .unwrap_or_else(PoisonError::into_inner);
        }
        present.0 += 1;
        Some(Turn(self))
    }
}

/// Being inside the gate.
struct Turn<'g>(&'g Gate);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut present = lock(&self.0.present);
        present.0 -= 1;
        present.1 -= 1;
        self.0.left.notify_one();
    }
}

/// Whether `password` is the one behind this hash. Tens of milliseconds on one core.
pub(super) fn is_behind(hash: &PasswordHash, password: &str) -> bool {
    Argon2::default()
        .verify_password(password.as_bytes(), hash)
        .is_ok()
}

/// Makes the hash of a new secret, as a PHC text with its salt and costs.
pub(super) fn hash(secret: &str) -> Result<String, argon2::password_hash::Error> {
    let hash: PasswordHash = Argon2::default().hash_password(secret.as_bytes())?;
    Ok(hash.to_string())
}

/// Reads a PHC text. The error says what is wrong, not what is there.
pub(super) fn parse_hash(text: &str) -> Result<PasswordHash, &'static str> {
    let hash = PasswordHash::new(text)
        .map_err(|_| "make one with `postern account add`; it begins with $argon2id$")?;
    if hash.algorithm.as_str() != "argon2id" {
        return Err("only Argon2id is taken: make one with `postern account add`");
    }
    let params = argon2::Params::try_from(&hash).map_err(|_| "its costs cannot be read")?;
    let complete = hash.salt.is_some() && hash.hash.is_some();
    if !complete {
        return Err("its salt or its end is missing");
    }
    if params.m_cost() > MEMORY_MAX_KIB || params.t_cost() > PASSES_MAX || params.p_cost() > 16 {
        return Err("its costs are so high that one log-in could exhaust this machine");
    }
    Ok(hash)
}

/// A lock is only ever held for a look-up, which does not panic: a poisoned one is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checked against when there is no such account: the same costs as every hash made here.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YWxsIHRoZSBzYW1lIHdvcms$\
                     AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// Secrets of one account that can be live at once.
pub(super) const LIVE_MAX: usize = 2;
/// How many wait for their turn before others are turned away. Each holds a blocking thread.
const WAITING_MAX: usize = 64;
/// Highest memory cost taken, in KiB.
const MEMORY_MAX_KIB: u32 = 256 * 1024;
/// Highest number of passes taken.
const PASSES_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoy_costs_what_a_hash_made_here_costs() {
        let costs = |text: &str| argon2::Params::try_from(&parse_hash(text).unwrap()).unwrap();
        let (decoy, made) = (costs(DECOY), costs(&hash("x").unwrap()));
        assert_eq!(
            (decoy.m_cost(), decoy.t_cost(), decoy.p_cost()),
            (made.m_cost(), made.t_cost(), made.p_cost())
        );
    }

    #[test]
    fn hashes_of_other_kinds_and_ruinous_costs_are_not_taken() {
        let good = hash("x").unwrap();
        assert!(parse_hash(&good).is_ok());
        for bad in [
            "hunter2".to_owned(),
            good.replace("argon2id", "argon2i"),
            good.replace("m=19456", "m=4194304"),
            good.replace("t=2", "t=4000000"),
            "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
        ] {
            assert!(parse_hash(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_right_password_is_known_again_without_the_work_while_its_hash_is_there() {
        let verifier = Verifier::default();
        let (one, two) = (hash("s3cret").unwrap(), hash("s3cret").unwrap());
        let (one, two) = ([parse_hash(&one).unwrap()], [parse_hash(&two).unwrap()]);
        assert_eq!(verifier.matches("a", &one, "s3cret"), Ok(true));

        // With nobody let in, only what is known can be answered.
        let shut = Verifier {
            gate: Gate::new(0, 0),
            ..verifier
        };
        assert_eq!(shut.matches("a", &one, "s3cret"), Ok(true));
        for (name, hashes, password) in [
            ("a", &one[..], "S3cret"),
            ("b", &one, "s3cret"),
            ("a", &[], "s3cret"),
            ("a", &two, "s3cret"),
        ] {
            let asked = shut.matches(name, hashes, password);
            assert_eq!(asked, Err(AuthError::Busy), "{name} {password}");
        }
    }

    #[test]
    fn the_gate_lets_so_many_in_and_no_more_wait_than_may() {
        let gate = Gate::new(1, 0);
        let first = gate.enter();
        assert!(first.is_some() && gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }
}
