//! Sites by patterns: `x` is x alone, `*.x` anything below x.

use std::collections::HashSet;
use std::str::FromStr;

use crate::mail::Domain;

/// A list of patterns.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sites {
    names: HashSet<String>,
    below: HashSet<String>,
}

/// One pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    name: String,
    below: bool,
}

/// Why a pattern is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SiteError {
    /// Not a host name.
    #[error(
        "a site is a host name such as \"nhs.uk\", or \"*.nhs.uk\" for all below it, without https:// and path"
    )]
    NoName,
    /// All of a top-level domain.
    #[error(
        "this would approve everything below a top-level domain, which anybody can register in"
    )]
    TooWide,
}

impl FromStr for Site {
    type Err = SiteError;

    fn from_str(text: &str) -> Result<Self, SiteError> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let domain = Domain::parse(name).map_err(|_| SiteError::NoName)?;
        let name = idna::domain_to_ascii(domain.as_str()).map_err(|_| SiteError::NoName)?;
        if below && (!name.contains('.') || WIDE.contains(&name.as_str())) {
            return Err(SiteError::TooWide);
        }
        Ok(Self { name, below })
    }
}

impl Sites {
    /// Adds one.
    pub fn add(&mut self, site: Site) {
        match site.below {
            true => self.below.insert(site.name),
            false => self.names.insert(site.name),
        };
    }

    /// Whether a host, in ASCII and lower case, is one of them.
    pub fn has(&self, host: &str) -> bool {
        if self.names.contains(host) {
            return true;
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            if self.below.contains(parent) {
                return true;
            }
            rest = parent;
        }
        false
    }

    /// Whether a host or something above it is one of them.
    pub fn covers(&self, host: &str) -> bool {
        let mut rest = host;
        loop {
            if self.names.contains(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return self.has(host),
            }
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.below.is_empty()
    }

    /// All names in them, without stars; each perhaps twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().chain(&self.below).map(String::as_str)
    }
}

/// Domains below which anybody can register, and that look as if it were not so.
const WIDE: &[&str] = &[
    "co.uk", "org.uk", "me.uk", "ltd.uk", "plc.uk", "net.uk", "uk.com", "gb.net",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_secure_domains_do() {
        let mut sites = Sites::default();
        for site in ["nhs.uk", "*.gov.uk"] {
            sites.add(site.parse().unwrap());
        }
        assert!(sites.has("nhs.uk") && sites.has("a.b.gov.uk"));
        assert!(!sites.has("www.nhs.uk") && !sites.has("gov.uk") && !sites.has("xnhs.uk"));
        assert!(sites.covers("www.nhs.uk") && !sites.covers("nhs.uk.example"));
        assert_eq!("*.uk".parse::<Site>(), Err(SiteError::TooWide));
        assert_eq!("*.co.uk".parse::<Site>(), Err(SiteError::TooWide));
        assert_eq!("https://nhs.uk".parse::<Site>(), Err(SiteError::NoName));
        assert_eq!("NHS.uk".parse::<Site>(), "nhs.uk".parse());
    }
}
