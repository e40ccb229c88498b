//! What came of an attempt, and who is told: values only. The queue writes them down.

pub mod address_changed;
pub mod audit;
pub mod damaged;
pub mod digest;
pub mod expiry;
pub mod held;
mod letter;
pub mod letterhead;
pub mod notify;
pub mod released;
pub mod unread;

use std::fmt;

use jiff::Timestamp;

use crate::mail::{Class, EnhancedStatusCode, Reply, redact};

pub use letterhead::Letterhead;

/// What came of one attempt to deliver to one recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Done, try again, or give up.
    pub result: DeliveryResult,
    /// The next hop's own status, or ours where no next hop spoke.
    pub status: EnhancedStatusCode,
    /// The next hop's final reply, if there was one. Its text is the peer's: never trusted as markup.
    pub reply: Option<Reply>,
    /// In our words, when no next hop spoke: "connection timed out". Never content of a message.
    pub because: Option<String>,
    /// The name of the next hop that answered.
    pub next_hop: Option<String>,
    /// What protected the connection; `None` in clear or on a local delivery.
    pub tls: Option<TlsEvidence>,
    /// Whether it failed because the connection could not be protected as it had to be.
    pub no_secured_path: bool,
    /// Why it went less well protected than it might have, in our words; `None` if it did not.
    pub downgrade: Option<String>,
    /// Whether the next hop had the whole message and said nothing that counts: it may have taken it.
    pub in_doubt: bool,
    /// Whether the next hop was there and answered, and hung up on this message.
    pub broke_off: bool,
    /// Whether the reply came before any mail: to the connection itself, at the greeting, EHLO, STARTTLS or the log-in.
    pub before_mail: bool,
    /// Of a failure that may pass: what it asks for.
    pub after: After,
}

/// What an attempt that has failed for now asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum After {
    /// Another one, as the schedule of the route says.
    #[default]
    Schedule,
    /// Another one at this time: a text message in the morning.
    NotBefore(Timestamp),
    /// Somebody to decide: it is not known whether it was sent.
    Hold,
}

/// The three things that can follow an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryResult {
    /// The next hop has taken responsibility.
    Delivered {
        /// Whether it was told what the sender asked to be notified of (RFC 3461 §5.2.1). If not, and
        /// success was asked for, a "relayed" report is due from us (§5.2.2).
        dsn_passed_on: bool,
    },
    /// Try again later.
    Transient,
    /// Do not try again.
    Permanent,
}

impl Outcome {
    /// What a reply of a next hop amounts to. `dsn_passed_on` matters for a positive one alone.
    pub fn from_reply(reply: Reply, next_hop: impl Into<String>, dsn_passed_on: bool) -> Self {
        let result = match reply.status().class() {
            Class::Success => DeliveryResult::Delivered { dsn_passed_on },
            Class::Transient => DeliveryResult::Transient,
            Class::Permanent => DeliveryResult::Permanent,
        };
        let status = reply.status();
        Self {
            result,
            status,
            reply: Some(reply),
            because: None,
            next_hop: Some(next_hop.into()),
            tls: None,
            no_secured_path: false,
            after: After::Schedule,
            downgrade: None,
            in_doubt: false,
            broke_off: false,
            before_mail: false,
        }
    }

    /// A failure in which no next hop spoke: the class of `status` says whether to try again.
    pub fn without_reply(status: EnhancedStatusCode, because: impl Into<String>) -> Self {
        let result = match status.class() {
            Class::Permanent => DeliveryResult::Permanent,
            Class::Success | Class::Transient => DeliveryResult::Transient,
        };
        Self {
            result,
            status,
            reply: None,
            because: Some(because.into()),
            next_hop: None,
            tls: None,
            no_secured_path: false,
            after: After::Schedule,
            downgrade: None,
            in_doubt: false,
            broke_off: false,
            before_mail: false,
        }
    }

    /// The same without numbers of patients in the next hop's words: it may repeat what it refuses, also of a
    /// message in which nothing was found. Its code and enhanced code stay.
    #[must_use]
    pub fn redacted(self) -> Self {
        Self {
            reply: self.reply.map(redact::reply),
            ..self
        }
    }

    /// Whether what an attempt before this one left in doubt stays so: no next hop has said anything of the message.
    pub fn leaves_doubt(&self) -> bool {
        !self.in_doubt && (self.reply.is_none() || self.before_mail)
    }

    /// The next hop's words or ours, cut to what a list has room for. Of one in doubt they begin with [`IN_DOUBT`].
    pub fn short_text(&self) -> String {
        let text = match self.in_doubt {
            true => format!("{IN_DOUBT}{}", self.text()),
            false => self.text(),
        };
        text.chars().take(SHORT_TEXT).collect()
    }

    /// The next hop's words, or ours.
    pub fn text(&self) -> String {
        match (&self.reply, &self.because) {
            (Some(reply), _) => reply.to_string(),
            (None, Some(because)) => because.clone(),
            (None, None) => self.status.to_string(),
        }
    }
}

/// How the words begin that are kept of an attempt after which the next hop may have the message, and of those after it
/// that [leave it so](Outcome::leaves_doubt). What waits after such
/// a one is known by them: an early attempt would make a second copy likelier.
pub const IN_DOUBT: &str = "it may be there already: ";

/// Characters of a reply that are kept.
const SHORT_TEXT: usize = 300;

/// What protected the connection to the next hop, for the audit trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsEvidence {
    /// For example `TLSv1.3`.
    pub version: String,
    /// For example `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// SHA-256 of the server's certificate, in hexadecimal.
    pub certificate_sha256: String,
    /// The name that the certificate was held against.
    pub name: String,
    /// Who says that this is the name of the next hop.
    pub named_by: NamedBy,
    /// Whether it has shown who it is: its chain and name were verified, or its TLSA records match.
    pub verified: bool,
    /// By what it has shown so.
    pub authenticated: Authenticated,
}

/// By what a next hop has shown who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authenticated {
    /// Its certificate is the one that its TLSA records announce, and DNSSEC vouches for these (RFC 7672).
    Dane,
    /// An authority vouches for its name, and its domain's policy names it (RFC 8461).
    MtaSts,
    /// An authority vouches for its name.
    WebPki,
    /// By nothing: anyone may be there.
    None,
}

impl Authenticated {
    /// The word in the audit trail.
    pub fn word(self) -> &'static str {
        match self {
            Self::Dane => "dane",
            Self::MtaSts => "mta-sts",
            Self::WebPki => "web-pki",
            Self::None => "none",
        }
    }
}

/// Who says what the next hop is called. A certificate proves no more than this does: a forged answer of DNS
/// can name a host whose certificate is right (RFC 7672 §1.3.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// An administrator, in the route.
    Route,
    /// An MX record, or a lack of any; nobody has signed it for us.
    Dns,
    /// An MX record, or a lack of any, that DNSSEC vouches for.
    SignedDns,
    /// An MX record that agrees with the MTA-STS policy of the domain.
    Policy,
    /// An MX record, and the register of secure domains lists the name.
    Register,
}

impl NamedBy {
    fn words(self) -> &'static str {
        match self {
            Self::Route => "the route",
            Self::Dns => "DNS, unsigned",
            Self::SignedDns => "DNS, signed",
            Self::Policy => "DNS and MTA-STS",
            Self::Register => "DNS, and listed in the register",
        }
    }
}

impl fmt::Display for TlsEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verified = if self.verified {
            "verified"
        } else {
            "unverified"
        };
        write!(
            f,
            "{} {} {verified} for {} sha256:{} (named by {})",
            self.version,
            self.cipher,
            self.name,
            self.certificate_sha256,
            self.named_by.words()
        )
    }
}
