//! Paths: the addresses of an envelope.
//!
//! A message has two sets of addresses. Those in its header are for people; those in its envelope
//! decide where it goes and who hears about a failure. This module holds the second kind, as
//! `MAIL FROM` and `RCPT TO` carry them (RFC 5321 §4.1.1.2, §4.1.1.3). Source routes are read and
//! ignored (RFC 5321 §3.6.1, appendix C).

use std::fmt;

use super::address::{AddressError, Domain, Host, Mailbox};

/// Where notifications about a message go (RFC 5321 §3.3).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ReversePath {
    /// `<>`: the message is itself a notification and must never cause another
    /// (RFC 5321 §4.5.5).
    Null,
    /// The mailbox to notify.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads what stands between the angle brackets; empty is the null path.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        Mailbox::parse(without_source_route(text)?).map(Self::Mailbox)
    }

    /// Returns the mailbox that may be told of a failure, if there is one.
    pub fn notifiable(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The domain of the sender, if it has one.
    pub fn domain(&self) -> Option<&Domain> {
        self.notifiable().and_then(Mailbox::domain)
    }
}

impl fmt::Display for ReversePath {
    /// Without angle brackets; the null path is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Where a message goes (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: whoever runs this gateway (RFC 5321 §4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Reads what stands between the angle brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.eq_ignore_ascii_case("postmaster") {
            return Ok(Self::Postmaster);
        }
        Mailbox::parse(without_source_route(text)?).map(Self::Mailbox)
    }

    /// The mailbox, unless it is the bare postmaster.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// The domain it goes to, if it has one.
    pub fn domain(&self) -> Option<&Domain> {
        self.mailbox().and_then(Mailbox::domain)
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("Postmaster"),
            Self::Mailbox(mailbox) => mailbox.fmt(f),
        }
    }
}

/// Takes `@a.example,@b.example:` off the front. Each hop must be a domain, so that junk before a
/// colon is refused and not quietly dropped.
fn without_source_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, mailbox) = text.split_once(':').ok_or(AddressError::Shape)?;
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').ok_or(AddressError::Shape)?;
        Host::parse(domain)?;
    }
    Ok(mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_routes_are_read_and_ignored() {
        let path = ForwardPath::parse("@a.example,@b.example:user@c.example").unwrap();
        assert_eq!(path.to_string(), "user@c.example");
        assert!(ForwardPath::parse("@a b:user@c.example").is_err());
        assert!(ReversePath::parse("@a.example:").is_err());
    }

    #[test]
    fn the_null_path_and_the_bare_postmaster_are_paths() {
        assert_eq!(ReversePath::parse(""), Ok(ReversePath::Null));
        assert_eq!(
            ForwardPath::parse("PostMaster"),
            Ok(ForwardPath::Postmaster)
        );
        assert!(ForwardPath::parse("").is_err());
        assert!(ReversePath::parse("root").is_err());
    }
}
