//! The envelope of a message: who hears of failures, who gets it, and what the client asked of the
//! transport (RFC 5321 §3.3; delivery status notifications RFC 3461 §4; RFC 6152; RFC 6531;
//! RFC 8689).

use std::fmt;

use super::path::{ForwardPath, ReversePath};

/// Everything that `MAIL FROM` and the `RCPT TO`s said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Who hears of failures.
    pub reverse_path: ReversePath,
    /// Who gets it, in the order given.
    pub recipients: Vec<Recipient>,
    /// The sender's own name for this transaction (RFC 3461 §4.4).
    pub env_id: Option<EnvId>,
    /// How much of the message a failure report returns (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// What octets the message may hold (RFC 6152).
    pub body: BodyType,
    /// Whether addresses or header fields may be UTF-8 (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// Whether the message may only travel over verified TLS (RFC 8689 §2).
    pub require_tls: bool,
    /// How urgent it is, from -9 to 9 (RFC 6710 §2); `None` if nothing was said.
    pub mt_priority: Option<i8>,
}

impl Envelope {
    /// An envelope without recipients and without any wish.
    pub fn new(reverse_path: ReversePath) -> Self {
        Self {
            reverse_path,
            recipients: Vec::new(),
            env_id: None,
            ret: None,
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            mt_priority: None,
        }
    }
}

/// One recipient and what was asked for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recipient {
    /// Where the message goes.
    pub forward_path: ForwardPath,
    /// When the sender wants to hear; `None` is the default: on failure, and on delay if the
    /// server likes (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// The address that the sender first gave (RFC 3461 §4.2).
    pub orcpt: Option<Orcpt>,
}

impl Recipient {
    /// A recipient for whom nothing special was asked.
    pub fn new(forward_path: ForwardPath) -> Self {
        Self {
            forward_path,
            notify: None,
            orcpt: None,
        }
    }
}

/// When to notify the sender (RFC 3461 §4.1). `Display` and `parse` use the form of `NOTIFY=`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notify {
    /// Under no circumstances.
    Never,
    /// In the cases that are set; at least one is.
    On {
        /// When it was delivered.
        success: bool,
        /// When it could not be delivered.
        failure: bool,
        /// When it is late.
        delay: bool,
    },
}

impl Notify {
    /// Reads the value of `NOTIFY=`, in any case. `None` if it is malformed; `NEVER` stands alone.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("never") {
            return Some(Self::Never);
        }
        let (mut success, mut failure, mut delay) = (false, false, false);
        for word in text.split(',') {
            let flag = match word.to_ascii_uppercase().as_str() {
                "SUCCESS" => &mut success,
                "FAILURE" => &mut failure,
                "DELAY" => &mut delay,
                _ => return None,
            };
            *flag = true;
        }
        Some(Self::On {
            success,
            failure,
            delay,
        })
    }

    /// What was asked for by either of two requests for one mailbox.
    #[must_use]
    pub fn either(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        if one == other {
            return one;
        }
        let any = |asked: fn(Option<Self>) -> bool| asked(one) || asked(other);
        let success = any(Self::on_success);
        if !success && (one.is_none() || other.is_none()) {
            return None;
        }
        Some(Self::On {
            success,
            failure: any(Self::on_failure),
            delay: any(Self::on_delay),
        })
    }

    /// Whether a failure is to be reported.
    pub fn on_failure(this: Option<Self>) -> bool {
        matches!(this, None | Some(Self::On { failure: true, .. }))
    }

    /// Whether a delay is to be reported.
    pub fn on_delay(this: Option<Self>) -> bool {
        matches!(this, None | Some(Self::On { delay: true, .. }))
    }

    /// Whether a success is to be reported.
    pub fn on_success(this: Option<Self>) -> bool {
        matches!(this, Some(Self::On { success: true, .. }))
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::On {
            success,
            failure,
            delay,
        } = self
        else {
            return f.write_str("NEVER");
        };
        let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
        let asked: Vec<_> = words
            .iter()
            .filter(|(on, _)| **on)
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&asked.join(","))
    }
}

/// The original recipient: an address type and an address, decoded (RFC 3461 §4.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Orcpt {
    addr_type: String,
    address: String,
}

impl Orcpt {
    /// An original recipient of type `rfc822`, or `utf-8` if the address needs it (RFC 6533 §3).
    pub fn for_path(path: &ForwardPath) -> Self {
        let address = path.to_string();
        let addr_type = if address.is_ascii() {
            "rfc822"
        } else {
            "utf-8"
        };
        Self {
            addr_type: addr_type.to_owned(),
            address,
        }
    }

    /// Reads the value of `ORCPT=`: a type, a semicolon and an address in xtext. `None` if it is
    /// malformed or longer than 500 octets.
    pub fn parse(text: &str) -> Option<Self> {
        let (addr_type, coded) = text.split_once(';')?;
        let typed = !addr_type.is_empty()
            && addr_type
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !typed || coded.is_empty() || text.len() > ORCPT_MAX {
            return None;
        }
        Some(Self {
            addr_type: addr_type.to_owned(),
            address: xtext_decode(coded)?,
        })
    }

    /// The type, for example `rfc822`.
    pub fn addr_type(&self) -> &str {
        &self.addr_type
    }

    /// The address, decoded.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl fmt::Display for Orcpt {
    /// The value of `ORCPT=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.addr_type, xtext_encode(&self.address))
    }
}

/// The sender's identifier of the envelope, decoded (RFC 3461 §4.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnvId(String);

impl EnvId {
    /// Reads the value of `ENVID=`: xtext of printable ASCII, 1 to 100 octets as sent. `None` if it
    /// is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > ENVID_MAX {
            return None;
        }
        let decoded = xtext_decode(text)?;
        decoded
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b))
            .then_some(Self(decoded))
    }

    /// The identifier, decoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvId {
    /// The value of `ENVID=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&xtext_encode(&self.0))
    }
}

/// How much of the message a failure report returns (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

impl Ret {
    /// Reads the value of `RET=`, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_uppercase().as_str() {
            "FULL" => Some(Self::Full),
            "HDRS" => Some(Self::Headers),
            _ => None,
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// What octets the client says the message holds (RFC 6152).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyType {
    /// ASCII alone: also what saying nothing means.
    SevenBit,
    /// Any octet but bare CR, bare LF and, by intention, NUL.
    EightBitMime,
}

/// Decodes xtext (RFC 3461 §4): `+` and two upper-case hexadecimal digits, for ASCII alone: what is more
/// could only go on as UTF-8, to a next hop that nobody asked for it. `None` if it is malformed or not UTF-8.
fn xtext_decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        octets.push(match b {
            b'+' => match (upper_hex(bytes.next()?)?, upper_hex(bytes.next()?)?) {
                (high @ 0..8, low) => (high << 4) | low,
                _ => return None,
            },
            b'=' => return None,
            b'!'..=b'~' | 0x80.. => b,
            _ => return None,
        });
    }
    let decoded = String::from_utf8(octets).ok()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Encodes xtext; what is not ASCII goes out as it is, for SMTPUTF8 alone (RFC 6533 §3).
fn xtext_encode(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '+' | '=' => coded.push_str(&format!("+{:02X}", u32::from(c))),
            '!'..='~' => coded.push(c),
            c if c.is_ascii() => coded.push_str(&format!("+{:02X}", u32::from(c))),
            c => coded.push(c),
        }
    }
    coded
}

/// Longest `ENVID`, in octets as sent (RFC 3461 §4.4).
const ENVID_MAX: usize = 100;
/// Longest `ORCPT`, in octets as sent (RFC 3461 §4.2).
const ORCPT_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn never_stands_alone() {
        assert_eq!(Notify::parse("never"), Some(Notify::Never));
        assert_eq!(Notify::parse("NEVER,FAILURE"), None);
        assert_eq!(
            Notify::parse("success,DELAY").unwrap().to_string(),
            "SUCCESS,DELAY"
        );
        assert!(Notify::parse("").is_none() && Notify::parse("MAYBE").is_none());
    }

    #[test]
    fn xtext_is_decoded_once_and_strictly() {
        assert_eq!(EnvId::parse("QQ314159+2Bx").unwrap().as_str(), "QQ314159+x");
        for bad in ["a+ZZb", "a+2bx", "", "a+2", "a=b", "+0A"] {
            assert!(EnvId::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(
            Orcpt::parse("rfc822;a+2Bb@c.example").unwrap().address(),
            "a+b@c.example"
        );
        for bad in [
            "noaddresstype",
            ";a",
            "rfc822;",
            "rfc822;a+ZZ@b",
            "rfc822;a+C3+B6@b",
        ] {
            assert!(Orcpt::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_back(text in "[ -~]{1,30}") {
            let id = EnvId(text.clone());
            prop_assert_eq!(EnvId::parse(&id.to_string()), Some(id));
            let orcpt = Orcpt { addr_type: "rfc822".to_owned(), address: text };
            prop_assert_eq!(Orcpt::parse(&orcpt.to_string()), Some(orcpt));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = (EnvId::parse(&text), Orcpt::parse(&text), Notify::parse(&text), Ret::parse(&text));
        }
    }
}
