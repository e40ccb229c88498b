//! Signatures: mail of our own leaves signed by its author's domain (DKIM), mail that is passed on leaves
//! sealed by the gateway's (ARC). Both come after all edits.
//!
//! Signed is outbound mail alone, and only with a key of the domain in `From` (or one above it), so that the
//! signature counts for DMARC (RFC 7489 §3.1.1); mail of others never gets ours. Every signature is read again by
//! `mail-auth` with the public half of the key before it leaves.

pub mod arc;
pub mod foreign;
pub mod headers;
pub mod key;
mod make;
mod published;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::mail::dkim::{Draft, FieldKind, Form, canonical::body_hash};
use crate::mail::{Domain, Message};

use super::author::authors;
use headers::Coverage;

pub use key::{Algorithm, Key, KeyError, Pair};
pub use make::generate;
pub use published::Published;

/// The keys, and what happens where they fail.
#[derive(Debug, Default)]
pub struct Signing {
    keys: Vec<Key>,
    on_failure: OnFailure,
    foreign: Foreign,
    seal: Option<Domain>,
    coverage: Coverage,
}

/// What happens to a message that could not be signed: a fault of ours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// It leaves without a signature. The same message would fail the same way when it is sent again: deferring
    /// it would lose a referral to days of tries, and where SPF is aligned DMARC passes all the same.
    #[default]
    Unsigned,
    /// The client is asked to try again: for domains whose unsigned mail is refused everywhere.
    Defer,
}

/// What happens to an edit that would break the signature of somebody else, or one made before us.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Foreign {
    /// It is made where the author's domain is our own, for we sign anew or vouch by SPF; elsewhere not.
    #[default]
    ByAuthor,
    /// It is made.
    Edit,
    /// It is not made.
    Leave,
}

/// What came of signing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Signed {
    /// Nothing is to be signed: no key for the author.
    NotOurs,
    /// These fields go on top, each verified.
    Fields {
        /// Whole fields with their line ends.
        fields: String,
        /// Who signed: `ward.example/s1`.
        by: Vec<String>,
        /// Keys whose signature did not verify, and was left out.
        failed: Vec<String>,
    },
    /// No signature verified. Holds the names of the keys.
    Failed(Vec<String>),
}

impl Signing {
    /// These keys, and everything else as it ships.
    pub fn with_keys(keys: Vec<Key>) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// These keys, one of which seals for this domain.
    #[cfg(test)]
    pub(crate) fn sealing(keys: Vec<Key>, domain: Domain) -> Self {
        Self {
            seal: Some(domain),
            ..Self::with_keys(keys)
        }
    }

    /// All keys, whether or not they sign today.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// What happens to a message that could not be signed.
    pub fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    /// Signs a message of our own with every key of its author's domain that is valid now. A message with
    /// several authors, or none, belongs to nobody: DMARC has no answer for it (RFC 7489 §6.6.1).
    pub fn sign(&self, message: &Message, now: Timestamp) -> Signed {
        let Some(author) = author_domain(message) else {
            return Signed::NotOurs;
        };
        let keys = self.keys_for(&author, now);
        if keys.is_empty() {
            return Signed::NotOurs;
        }
        let signed = self.coverage.names(&message.header());
        // Without a length there is always a hash.
        let hash = body_hash(message.body_octets(), Form::Simple, None).unwrap_or_default();
        let mut made: Vec<(&Key, String)> = Vec::new();
        let mut failed = Vec::new();
        for key in keys {
            let draft = Draft {
                kind: FieldKind::Dkim,
                algorithm: key.pair().algorithm().word(),
                domain: key.domain.as_str(),
                selector: key.selector.as_str(),
                seconds: now.as_second(),
                signed: &signed,
                body_hash: hash,
            };
            match key.pair().sign(&draft.to_sign(message)) {
                Ok(signature) => made.push((key, draft.field(&signature))),
                Err(_) => failed.push(name(key)),
            }
        }
        verified(message, made, failed)
    }

    /// The names of the keys that would sign a message: `ward.example/s1`.
    pub fn would_sign(&self, message: &Message, now: Timestamp) -> Vec<String> {
        let author = author_domain(message);
        let keys = author.map_or_else(Vec::new, |author| self.keys_for(&author, now));
        keys.into_iter().map(name).collect()
    }

    /// The keys that sign for a domain now: its own, else those of the nearest domain above it.
    fn keys_for(&self, author: &Domain, now: Timestamp) -> Vec<&Key> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let owns = |key: &&Key| *author == key.domain || author.is_below(&key.domain);
        let nearest = self
            .keys
            .iter()
            .filter(owns)
            .max_by_key(|key| key.domain.as_str().len());
        let Some(nearest) = nearest else {
            return Vec::new();
        };
        let of_nearest = self.keys.iter().filter(|key| key.domain == nearest.domain);
        of_nearest.filter(|key| key.signs_on(today)).collect()
    }

    /// Whether there are keys for this domain, valid now or not.
    fn has_key_for(&self, author: &Domain) -> bool {
        self.keys
            .iter()
            .any(|key| *author == key.domain || author.is_below(&key.domain))
    }
}

/// Keeps the signatures that hold.
fn verified(message: &Message, made: Vec<(&Key, String)>, mut failed: Vec<String>) -> Signed {
    let held = verify::hold(message, &made);
    let (mut fields, mut by) = (String::new(), Vec::new());
    for ((key, field), holds) in made.into_iter().zip(held) {
        if holds {
            fields.push_str(&field);
            by.push(name(key));
        } else {
            failed.push(name(key));
        }
    }
    if by.is_empty() {
        return Signed::Failed(failed);
    }
    Signed::Fields { fields, by, failed }
}

fn name(key: &Key) -> String {
    format!("{}/{}", key.domain, key.selector)
}

/// The domain of the one author. Two `From` fields or two addresses in one are nobody's.
pub(super) fn author_domain(message: &Message) -> Option<Domain> {
    let authors = authors(&message.header(), "From");
    match &authors[..] {
        [one] => one.mailbox.as_ref()?.domain().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
