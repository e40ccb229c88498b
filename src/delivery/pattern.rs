//! Patterns of recipient domains: `*` everyone, `*.x` anything below x, `x` x alone.

use std::fmt;
use std::str::FromStr;

use crate::mail::{AddressError, Domain, ForwardPath};

/// Which recipients a route takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pattern {
    /// `*`: everyone, the bare postmaster and address literals too.
    Everyone,
    /// `*.x`: any domain below x, at any depth, and not x itself.
    Below(Domain),
    /// `x`: that domain alone.
    Exactly(Domain),
}

impl Pattern {
    /// Whether it takes a host of this name.
    pub(super) fn takes_host(&self, host: &str) -> bool {
        let domain = Domain::parse(host).ok();
        match (self, domain) {
            (Self::Everyone, _) => true,
            (Self::Below(parent), Some(domain)) => domain.is_below(parent),
            (Self::Exactly(wanted), Some(domain)) => domain == *wanted,
            (_, None) => false,
        }
    }

    /// Whether there may be a domain that both take.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everyone, _) | (_, Self::Everyone) => true,
            (Self::Exactly(one), Self::Exactly(other)) => one == other,
            (Self::Below(parent), Self::Exactly(domain))
            | (Self::Exactly(domain), Self::Below(parent)) => domain.is_below(parent),
            (Self::Below(one), Self::Below(other)) => {
                one == other || one.is_below(other) || other.is_below(one)
            }
        }
    }

    /// Whether it takes this recipient.
    pub fn takes(&self, path: &ForwardPath) -> bool {
        match (self, path.domain()) {
            (Self::Everyone, _) => true,
            (Self::Below(parent), Some(domain)) => domain.is_below(parent),
            (Self::Exactly(wanted), Some(domain)) => domain == wanted,
            (_, None) => false,
        }
    }
}

impl FromStr for Pattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match (text, text.strip_prefix("*.")) {
            ("*", _) => Ok(Self::Everyone),
            (_, Some(parent)) => Domain::parse(parent).map(Self::Below),
            (domain, None) => Domain::parse(domain).map(Self::Exactly),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Exactly(domain) => domain.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, recipient: &str) -> bool {
        let path = ForwardPath::parse(recipient).unwrap();
        pattern.parse::<Pattern>().unwrap().takes(&path)
    }

    #[test]
    fn a_star_and_a_dot_take_what_is_below_and_not_the_domain_itself() {
        assert!(takes("*.nhs.uk", "a@gp.x.nhs.uk"));
        assert!(!takes("*.nhs.uk", "a@nhs.uk"));
        assert!(!takes("*.nhs.uk", "a@evilnhs.uk"));
    }

    #[test]
    fn a_domain_takes_itself_in_any_case() {
        assert!(takes("NHS.net", "a@nhs.NET"));
        assert!(!takes("nhs.net", "a@x.nhs.net"));
    }

    #[test]
    fn a_star_takes_literals_and_the_bare_postmaster() {
        assert!(takes("*", "a@[192.0.2.1]") && takes("*", "Postmaster"));
        assert!(!takes("nhs.net", "Postmaster"));
    }

    #[test]
    fn patterns_meet_where_a_domain_may_be_of_both() {
        for (one, other, expected) in [
            ("*", "nhs.net", true),
            ("nhs.net", "NHS.net", true),
            ("nhs.net", "nhs.uk", false),
            ("*.nhs.uk", "gp.nhs.uk", true),
            ("*.nhs.uk", "nhs.uk", false),
            ("*.nhs.uk", "*.gp.nhs.uk", true),
            ("*.nhs.uk", "*.nhs.uk", true),
            ("*.nhs.uk", "*.nhs.net", false),
        ] {
            let parse = |text: &str| text.parse::<Pattern>().unwrap();
            assert_eq!(parse(one).meets(&parse(other)), expected, "{one} {other}");
            assert_eq!(parse(other).meets(&parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn other_stars_are_no_patterns() {
        for text in ["", "*x", "a.*", "**", "*.", "*.*"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }
}
