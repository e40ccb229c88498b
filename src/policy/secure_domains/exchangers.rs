//! The mail exchangers of a secure domain, as an entry of the register lists them (`mx`).
//!
//! An MX record is not signed for us: whoever forges one names a host of his own, and its certificate for its own
//! name is right (RFC 7672 §1.3.2). What an administrator has listed, no answer of DNS changes.

use std::fmt;
use std::str::FromStr;

use crate::mail::{AddressError, Domain};

/// One name in `mx`: `mx1.x` is that host, `*.x` any host below x.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchanger {
    name: Domain,
    below: bool,
}

impl Exchanger {
    /// Whether a host that an MX record names is one of them.
    pub fn is(&self, host: &Domain) -> bool {
        match self.below {
            true => host.is_below(&self.name),
            false => *host == self.name,
        }
    }

    /// Whether anybody can have a host below it.
    pub(super) fn is_too_wide(&self) -> bool {
        self.below && super::entry::is_everybodys(&self.name)
    }

    /// Whether it takes hosts of many organisations, since a provider of mailboxes or of filters has them
    /// all there: a forged record names another customer's.
    pub(super) fn is_shared(&self) -> bool {
        let is_about = |shared: &str| {
            let shared = Domain::parse(shared);
            shared.is_ok_and(|shared| shared == self.name || shared.is_below(&self.name))
        };
        let above = self.name.as_str().split_once('.');
        let above = above.map_or("", |(_, above)| above);
        let is_one = |shared: &&str| is_about(shared) || above == *shared;
        let is_shared = SHARED.iter().any(is_one) || is_about(CISCO) || self.is_region_of_cisco();
        self.below && !self.is_too_wide() && is_shared
    }

    /// Whether it is below Cisco's name, and no label of it has the form of a customer's number. Some customers have a
    /// name there instead (`acme.iphmx.com`), which looks like a region: they are taken for one, and what comes of that
    /// is the advice to list their hosts one by one.
    fn is_region_of_cisco(&self) -> bool {
        let of_customer = |label: &str| {
            let number = label.strip_prefix("hc").unwrap_or_default();
            number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('-')
        };
        let name = self.name.as_str();
        let inside = name.strip_suffix(CISCO).and_then(|it| it.strip_suffix('.'));
        inside.is_some_and(|inside| !inside.split('.').any(of_customer))
    }
}

impl fmt::Display for Exchanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*." } else { "" };
        write!(f, "{star}{}", self.name)
    }
}

impl FromStr for Exchanger {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let below = text.strip_prefix("*.");
        Ok(Self {
            name: Domain::parse(below.unwrap_or(text))?,
            below: below.is_some(),
        })
    }
}

/// What the register says of a host that an MX record names for a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangerStanding {
    /// No exchangers are listed for the domain.
    Unlisted,
    /// It is one of those that are.
    Listed,
    /// It is none of those that are: patient data does not go there.
    Stranger,
}

/// Where providers have the mail exchangers of all their customers: right below these names, or one label
/// further down (`x-v1.mx.microsoft`, `eu.mimecast.com`).
const SHARED: [&str; 11] = [
    "mail.protection.outlook.com",
    "mx.microsoft",
    "l.google.com",
    "googlemail.com",
    "mimecast.com",
    "pphosted.com",
    "ppe-hosted.com",
    "messagelabs.com",
    "barracudanetworks.com",
    "mailcontrol.com",
    "amazonaws.com",
];

/// Where each customer has a name of his own, mostly a number, and his exchangers below it: `hc1234-56.iphmx.com`, or in
/// a region `hc1234-56.eu.iphmx.com`.
const CISCO: &str = "iphmx.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchanger_is_a_host_or_any_below_a_name_and_not_the_name_itself() {
        for (listed, host, is) in [
            ("mx1.nhs.net", "MX1.nhs.net.", true),
            ("mx1.nhs.net", "mx2.nhs.net", false),
            ("mx1.nhs.net", "a.mx1.nhs.net", false),
            ("*.mail.nhs.net", "mx1.a.mail.nhs.net", true),
            ("*.mail.nhs.net", "mail.nhs.net", false),
            ("*.mail.nhs.net", "mx.evilmail.nhs.net", false),
            ("*.mail.nhs.net", "mx.mail.nhs.net.evil.example", false),
        ] {
            let listed: Exchanger = listed.parse().unwrap();
            assert_eq!(listed.is(&Domain::parse(host).unwrap()), is, "{host}");
        }
        for none in ["", "*", "*.", "a b", "mx.*"] {
            assert!(none.parse::<Exchanger>().is_err(), "{none}");
        }
        for (text, shared) in [
            ("*.mail.protection.outlook.com", true),
            ("*.protection.outlook.com", true),
            ("*.outlook.com", true),
            ("*.Mail.Protection.Outlook.com", true),
            ("*.r-v1.mx.microsoft", true),
            ("*.eu.mimecast.com", true),
            ("*.iphmx.com", true),
            ("*.hc1234-56.iphmx.com", false), // one customer's
            ("*.eu.iphmx.com", true),         // a region
            ("*.c3s2.iphmx.com", true),
            ("*.acme.iphmx.com", true), // one customer's, by name
            ("*.hc1234-56.eu.iphmx.com", false),
            ("*.esa1.hc1234-56.eu.iphmx.com", false),
            ("nhs-net.mail.protection.outlook.com", false),
            ("*.mail.nhs.net", false),
            ("*.tlook.com", false),
            ("*.com", false), // too wide
        ] {
            assert_eq!(
                text.parse::<Exchanger>().unwrap().is_shared(),
                shared,
                "{text}"
            );
        }
        for (text, wide) in [
            ("*.uk", true),
            ("*.co.uk", true),
            ("mx.uk", false),
            ("*.x.uk", false),
        ] {
            assert_eq!(
                text.parse::<Exchanger>().unwrap().is_too_wide(),
                wide,
                "{text}"
            );
        }
    }
}
