//! What the DNS has of a key: never asked while mail waits.

use crate::base::dns::{Dns, DnsError};

use super::Key;

/// What the DNS has of one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Published {
    /// Its public half.
    Yes,
    /// Nothing.
    Missing,
    /// Something else, or more than one record.
    Differs,
    /// Could not be asked.
    Unknown(DnsError),
}

impl Published {
    /// Asks.
    pub async fn ask(key: &Key, dns: &Dns) -> Self {
        match dns.txt(&key.record_name()).await {
            Ok(records) => match &records[..] {
                [] => Self::Missing,
                // RFC 6376 §3.6.2.2: with several records nobody knows which one a verifier takes.
                [one] if key.pair().is_published_in(one) => Self::Yes,
                _ => Self::Differs,
            },
            Err(DnsError::NoSuchName | DnsError::NoRecords) => Self::Missing,
            Err(error) => Self::Unknown(error),
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "published",
            Self::Missing => "missing",
            Self::Differs => "differs",
            Self::Unknown(_) => "unknown",
        }
    }
}
