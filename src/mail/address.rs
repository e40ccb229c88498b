//! Addresses: a local part at a domain or at an address literal.
//!
//! Parsing happens once, here: a value of these types is well formed, and no other module takes
//! an address as a `&str` and trusts it. A [`LocalPart`] keeps its case and its meaning (quotes and
//! backslashes are a way of writing, not part of the name); a [`Domain`] is kept in the one form in
//! which domains are compared: lower case, A-labels, no trailing dot (RFC 5321 §2.3.5, §2.4,
//! RFC 5890). `Display` writes the form for the wire.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A mailbox: `local-part@domain` (RFC 5321 §4.1.2).
#[derive(Clone, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
pub struct Mailbox {
    local_part: LocalPart,
    host: Host,
}

impl Mailbox {
    /// Puts a mailbox together from its parts.
    pub fn new(local_part: LocalPart, host: Host) -> Self {
        Self { local_part, host }
    }

    /// Reads `local@domain`, without angle brackets, source route or white space around it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, host) = split_at_host(text)?;
        Ok(Self {
            local_part: LocalPart::parse(local)?,
            host: Host::parse(host)?,
        })
    }

    /// The part before the `@`, unquoted.
    pub fn local_part(&self) -> &LocalPart {
        &self.local_part
    }

    /// The part after the `@`.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The domain, unless the mailbox is at an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match &self.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }

    /// Whether it can be written without SMTPUTF8 (RFC 6531 §3.3).
    pub fn is_ascii(&self) -> bool {
        self.local_part.0.is_ascii()
    }

    /// The same mailbox with the ASCII letters of its local part in lower case: the form in which
    /// directories compare it (NHSmail is not case-sensitive; RFC 5321 §2.4 lets the host decide).
    pub fn folded(&self) -> Self {
        Self {
            local_part: LocalPart(self.local_part.0.to_ascii_lowercase()),
            host: self.host.clone(),
        }
    }

    /// As [`Mailbox::folded`], of one that is not needed otherwise.
    #[must_use]
    pub fn into_folded(mut self) -> Self {
        self.local_part.0.make_ascii_lowercase();
        self
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local_part, self.host)
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Where a mailbox is: a domain, or the address of a machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal such as `[192.0.2.1]` (RFC 5321 §4.1.3).
    Literal(AddressLiteral),
}

impl Host {
    /// Reads a domain or an address literal.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('[') {
            AddressLiteral::parse(text).map(Self::Literal)
        } else {
            Domain::parse(text).map(Self::Domain)
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(literal) => literal.fmt(f),
        }
    }
}

/// The name before the `@`: its meaning, unquoted, case kept (RFC 5321 §2.4, §4.1.2).
#[derive(Clone, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
pub struct LocalPart(String);

impl LocalPart {
    /// Reads a Dot-string or a Quoted-string; UTF-8 is taken as RFC 6531 §3.3 allows it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let meaning = match text.strip_prefix('"') {
            Some(rest) => unquote(rest)?,
            None if is_dot_string(text) => text.to_owned(),
            None => return Err(AddressError::LocalPart),
        };
        if meaning.len() > LOCAL_PART_MAX {
            return Err(AddressError::LocalPartTooLong);
        }
        Ok(Self(meaning))
    }

    /// Takes a name that is unquoted already, as [`LocalPart::as_str`] gives it.
    pub fn from_unquoted(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(AddressError::LocalPart);
        }
        if text.len() > LOCAL_PART_MAX {
            return Err(AddressError::LocalPartTooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// The unquoted name. Not fit for the wire: use `Display` there.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.0) {
            return f.write_str(&self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

/// A domain name in its one comparable form: lower case, A-labels, no trailing dot. Many addresses
/// are at one domain, so a copy is only another handle of it.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Reads a domain as RFC 5321 §4.1.2 writes it; one trailing dot is taken off, U-labels become
    /// A-labels (RFC 5891 §5). A name that is all digits and dots is an address without its
    /// brackets, and refused.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let name: Cow<'_, str> = if !text.is_ascii() {
            let name = idna::domain_to_ascii_strict(text).map_err(|_| AddressError::Domain)?;
            name.into()
        } else if text.bytes().any(|b| b.is_ascii_uppercase()) {
            text.to_ascii_lowercase().into()
        } else {
            text.into()
        };
        let shaped = !name.is_empty() && name.len() <= DOMAIN_MAX && name.split('.').all(is_label);
        let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if !shaped || numeric {
            return Err(AddressError::Domain);
        }
        Ok(Self(name.into()))
    }

    /// The name in lower-case A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a domain strictly below `parent`.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(&*parent.0)
            .is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// The address of a machine in place of a domain (RFC 5321 §4.1.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Ord, PartialOrd)]
pub struct AddressLiteral(IpAddr);

impl AddressLiteral {
    /// Reads `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .ok_or(AddressError::Literal)?;
        let tagged = inner
            .get(..5)
            .is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let address = if tagged {
            inner[5..].parse::<Ipv6Addr>().map(IpAddr::V6)
        } else {
            inner.parse::<Ipv4Addr>().map(IpAddr::V4)
        };
        address.map(Self).map_err(|_| AddressError::Literal)
    }

    /// The address itself.
    pub fn ip(&self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for AddressLiteral {
    fn from(ip: IpAddr) -> Self {
        Self(ip)
    }
}

impl fmt::Display for AddressLiteral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => write!(f, "[{v4}]"),
            IpAddr::V6(v6) => write!(f, "[IPv6:{v6}]"),
        }
    }
}

/// Why a text is no address. The words are fit for a client: they hold nothing of the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// No `@`, or nothing on one side of it.
    #[error("an address has a local part, an @ and a domain")]
    Shape,
    /// Neither a Dot-string nor a Quoted-string.
    #[error("the local part is malformed")]
    LocalPart,
    /// Over 64 octets (RFC 5321 §4.5.3.1.1).
    #[error("the local part is longer than 64 octets")]
    LocalPartTooLong,
    /// Not a domain name.
    #[error("the domain is malformed")]
    Domain,
    /// Not an IPv4 or IPv6 address literal.
    #[error("the address literal is malformed")]
    Literal,
}

/// Splits at the `@` in front of the host; one inside quotes does not count.
pub(super) fn split_at_host(text: &str) -> Result<(&str, &str), AddressError> {
    let at = if text.starts_with('"') {
        let end = end_of_quotes(text).ok_or(AddressError::LocalPart)?;
        if text.as_bytes().get(end + 1) != Some(&b'@') {
            return Err(AddressError::LocalPart);
        }
        end + 1
    } else {
        text.find('@').ok_or(AddressError::Shape)?
    };
    let (local, host) = (&text[..at], &text[at + 1..]);
    if local.is_empty() || host.is_empty() {
        return Err(AddressError::Shape);
    }
    Ok((local, host))
}

/// Returns the index of the quote that closes the one at index 0.
pub(super) fn end_of_quotes(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i),
            _ => {}
        }
    }
    None
}

/// Reads what stands after an opening quote (RFC 5321 §4.1.2, qtextSMTP and quoted-pairSMTP).
fn unquote(rest: &str) -> Result<String, AddressError> {
    let inner = rest.strip_suffix('"').ok_or(AddressError::LocalPart)?;
    let mut meaning = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => chars.next().ok_or(AddressError::LocalPart)?,
            '"' => return Err(AddressError::LocalPart),
            c => c,
        };
        if c.is_control() {
            return Err(AddressError::LocalPart);
        }
        meaning.push(c);
    }
    if meaning.is_empty() {
        return Err(AddressError::LocalPart);
    }
    Ok(meaning)
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty()
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3, widened by RFC 6531 §3.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

/// A sub-domain: letters, digits and inner hyphens, at most 63 octets (RFC 1035 §2.3.4).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Longest local part, in octets (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_MAX: usize = 64;
/// Longest domain, in octets of its text form (RFC 1035 §2.3.4: 255 with length octets).
const DOMAIN_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_meaning_of_a_quoted_local_part_is_kept() {
        for (written, meaning, wire) in [
            (
                "\"john doe\"@a.example",
                "john doe",
                "\"john doe\"@a.example",
            ),
            ("\"john\"@a.example", "john", "john@a.example"),
            (
                "\"a\\\"b\\\\c\"@a.example",
                "a\"b\\c",
                "\"a\\\"b\\\\c\"@a.example",
            ),
            ("\".a..b.\"@a.example", ".a..b.", "\".a..b.\"@a.example"),
            ("\"u@f\"@a.example", "u@f", "\"u@f\"@a.example"),
        ] {
            let mailbox = Mailbox::parse(written).unwrap();
            assert_eq!(mailbox.local_part().as_str(), meaning);
            assert_eq!(mailbox.to_string(), wire);
            let again = LocalPart::from_unquoted(meaning);
            assert_eq!(again.as_ref(), Ok(mailbox.local_part()));
        }
    }

    #[test]
    fn domains_are_compared_in_one_form() {
        let a = Domain::parse("B\u{fc}cher.Example.").unwrap();
        let b = Domain::parse("xn--bcher-kva.example").unwrap();
        assert_eq!(a, b);
        assert!(
            Domain::parse("a.b.example")
                .unwrap()
                .is_below(&Domain::parse("b.example").unwrap())
        );
        assert!(
            !Domain::parse("evilb.example")
                .unwrap()
                .is_below(&Domain::parse("b.example").unwrap())
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a@@b",
            "a@b@c",
            "a b@c",
            "\"a@b",
            "a\"b\"@c",
            "\"a\"b@c",
            "a\\@b",
            "a@.b",
            "a@b..",
            "a@-b",
            "a@b-",
            "a@b_c",
            "a@*",
            "a@1.2.3.4",
            "a@[1.2.3]",
            "a@[]",
            "a@[IPv6:zz::1]",
            "a@[1.2.3.4",
            "\"\"@b",
            ".a@b",
            "a.@b",
            "a..b@b",
            "\"\u{1}\"@b",
            "\u{7f}@b",
            "a@b c",
        ] {
            assert!(Mailbox::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_is_printed_parses_back(text in "\\PC{0,80}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                prop_assert_eq!(Mailbox::parse(&mailbox.to_string()).unwrap(), mailbox);
            }
        }

        #[test]
        fn any_quoted_name_survives(name in "[ -~]{1,40}") {
            let written = format!("\"{}\"@a.example", name.replace('\\', "\\\\").replace('"', "\\\""));
            let mailbox = Mailbox::parse(&written).unwrap();
            prop_assert_eq!(mailbox.local_part().as_str(), name.as_str());
            prop_assert_eq!(Mailbox::parse(&mailbox.to_string()).unwrap(), mailbox);
        }
    }
}
