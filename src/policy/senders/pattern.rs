//! What a line about senders or mailboxes may name: an address, a domain, all below a domain, a network, an
//! organisation.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::base::Network;
use crate::directory::Directory;
use crate::mail::{Domain, Mailbox};

/// Whom a line is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::policy) enum SenderPattern {
    /// One address; local parts are compared without case.
    Mailbox(Mailbox),
    /// A domain alone.
    Domain(Domain),
    /// Everything below a domain: `*.x.example`.
    Below(Domain),
    /// The network that the client is in.
    Network(Network),
}

impl SenderPattern {
    /// Whether an address is meant; of a network none is.
    pub(in crate::policy) fn is(&self, mailbox: &Mailbox) -> bool {
        match self {
            Self::Mailbox(one) => *one == mailbox.folded(),
            Self::Domain(domain) => mailbox.domain() == Some(domain),
            Self::Below(domain) => mailbox.domain().is_some_and(|one| one.is_below(domain)),
            Self::Network(_) => false,
        }
    }

    /// Whether a client is meant.
    pub(in crate::policy) fn has(&self, client: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(client.to_canonical()))
    }
}

impl FromStr for SenderPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.contains('@') {
            let mailbox = Mailbox::parse(text).map_err(|_| BadPattern)?;
            return Ok(Self::Mailbox(mailbox.folded()));
        }
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        match text.strip_prefix("*.") {
            Some(domain) => Domain::parse(domain).map(Self::Below),
            None => Domain::parse(text).map(Self::Domain),
        }
        .map_err(|_| BadPattern)
    }
}

/// Whose mail a line is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RecipientPattern {
    /// Everybody's: `all`.
    All,
    /// That of one mailbox.
    Mailbox(Mailbox),
    /// That of a domain.
    Domain(Domain),
    /// That of an organisation, by its ODS code.
    Organisation(String),
}

impl RecipientPattern {
    /// Whether a mailbox is meant.
    pub(super) fn is(&self, mailbox: &Mailbox, directory: &Directory) -> bool {
        match self {
            Self::All => true,
            Self::Mailbox(one) => *one == mailbox.folded(),
            Self::Domain(domain) => mailbox.domain() == Some(domain),
            Self::Organisation(code) => {
                let found = directory.entry(mailbox).and_then(|entry| entry.ods_code());
                found.is_some_and(|found| found.to_string().eq_ignore_ascii_case(code))
            }
        }
    }
}

impl FromStr for RecipientPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text == "all" {
            return Ok(Self::All);
        }
        if text.contains('@') {
            let mailbox = Mailbox::parse(text).map_err(|_| BadPattern)?;
            return Ok(Self::Mailbox(mailbox.folded()));
        }
        if text.contains('.') {
            return Domain::parse(text)
                .map(Self::Domain)
                .map_err(|_| BadPattern);
        }
        let is_code =
            (3..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        match is_code {
            true => Ok(Self::Organisation(text.to_ascii_uppercase())),
            false => Err(BadPattern),
        }
    }
}

/// The text names nobody.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::policy) struct BadPattern;

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an address, a domain, `*.domain`, a network, an ODS code or `all`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_an_address_a_domain_or_a_network() {
        let mailbox = |text| Mailbox::parse(text).unwrap();
        for (pattern, address, meant) in [
            ("Gp@x.example", "gp@X.example", true),
            ("gp@x.example", "nurse@x.example", false),
            ("x.example", "gp@x.example", true),
            ("x.example", "gp@sub.x.example", false),
            ("*.x.example", "gp@sub.x.example", true),
            ("*.x.example", "gp@x.example", false),
            ("192.0.2.0/24", "gp@x.example", false),
        ] {
            let pattern: SenderPattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.is(&mailbox(address)),
                meant,
                "{pattern:?} {address}"
            );
        }
        let network: SenderPattern = "192.0.2.0/24".parse().unwrap();
        assert!(network.has("192.0.2.9".parse().unwrap()));
        assert!(!network.has("198.51.100.1".parse().unwrap()));
        assert_eq!("not one".parse::<SenderPattern>(), Err(BadPattern));
        assert_eq!("everybody".parse::<RecipientPattern>(), Err(BadPattern));
        let code = RecipientPattern::Organisation("FA123".into());
        assert_eq!("fa123".parse(), Ok(code));
    }
}
