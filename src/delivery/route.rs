//! A route: what it takes, where it goes, how well protected, and how often it is tried.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::Secret;
use crate::mail::{Domain, ForwardPath, Host};
use crate::smtp::client::LoginMechanism;

use super::pattern::Pattern;
use super::shaping::{Limits, Shaping};
use super::token::TokenSource;
use super::upstream::UpstreamLimits;

/// One way onward.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The administrator's name for it.
    pub name: String,
    /// What it takes.
    pub takes: Takes,
    /// How mail goes.
    pub transport: Transport,
    /// Connections at once to one destination.
    pub connections: usize,
    /// Messages a minute to one destination; 0 is no limit.
    pub rate_per_minute: u32,
    /// Whether messages go by BDAT where the next hop offers CHUNKING (RFC 3030): not to one that gets it wrong.
    pub chunking: bool,
    /// Whether a message may go this way while its client waits.
    pub straight_through: bool,
    /// When it is tried again.
    pub schedule: RetrySchedule,
    /// Limits besides connections and rate.
    pub shaping: Shaping,
}

impl Route {
    /// The limits of a recipient's destination.
    pub fn limits(&self, path: &ForwardPath) -> Limits {
        let own = (self.connections, self.rate_per_minute);
        self.shaping.limits(own, self.named_host(), path)
    }

    /// The one host that an administrator named, whom limits are meant for then.
    pub(super) fn named_host(&self) -> Option<&str> {
        match &self.transport {
            Transport::SmartHost(smart_host) => Some(&smart_host.next_hop.host),
            Transport::Lmtp(Lmtp {
                endpoint: Endpoint::Tcp(next_hop),
                ..
            }) => Some(&next_hop.host),
            _ => None,
        }
    }

    /// Returns what deliveries are grouped and counted by: those of one key may share a connection.
    pub fn destination(&self, path: &ForwardPath) -> String {
        match &self.transport {
            Transport::SmartHost(smart_host) => format!("smarthost {}", smart_host.next_hop),
            Transport::Lmtp(lmtp) => format!("lmtp {}", lmtp.endpoint),
            Transport::Maildir { .. } => "maildir".to_owned(),
            Transport::Sms => "sms".to_owned(),
            Transport::Mx { .. } => match path.mailbox().map(|mailbox| mailbox.host()) {
                Some(Host::Domain(domain)) => format!("mx {domain}"),
                Some(Host::Literal(literal)) => format!("mx {literal}"),
                None => "mx postmaster".to_owned(),
            },
        }
    }

    /// How well protected a message with this need goes: as the route says, or better.
    pub fn tls_level(&self, need: TlsNeed) -> TlsLevel {
        let stays = match need {
            TlsNeed::AsRoute | TlsNeed::OwnReport => true,
            TlsNeed::Verified => self.is_local(),
            TlsNeed::Encryption => self.is_local() || self.is_loopback(),
        };
        match &self.transport {
            _ if !stays => TlsLevel::Verified,
            Transport::SmartHost(smart_host) => smart_host.tls,
            Transport::Mx { tls, .. } => *tls,
            Transport::Lmtp(lmtp) => lmtp.tls,
            Transport::Maildir { .. } => TlsLevel::None,
            // As the settings have it: https, or a service on this machine.
            Transport::Sms => TlsLevel::Verified,
        }
    }

    /// Whether mail by this route never leaves the machine: no TLS is needed on it.
    pub fn is_local(&self) -> bool {
        match &self.transport {
            Transport::Maildir { .. } => true,
            Transport::Lmtp(lmtp) => lmtp.endpoint.is_local(),
            Transport::SmartHost(_) | Transport::Mx { .. } | Transport::Sms => false,
        }
    }

    /// Whether the route's smart host listens at a loopback address, given in figures: what it is told nobody else
    /// hears, though it may tell others.
    fn is_loopback(&self) -> bool {
        matches!(&self.transport, Transport::SmartHost(smart_host) if smart_host.next_hop.is_loopback())
    }
}

/// What a route takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Takes {
    /// What the policy wants encrypted.
    Encryption,
    /// Recipients that one of these matches.
    Recipients(Vec<Pattern>),
    /// The numbers of telephones at this domain, and nothing else.
    Numbers(Domain),
}

/// How mail goes onward.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// To one named server, for it to pass on.
    SmartHost(SmartHost),
    /// To the mail exchangers of the recipient's domain (RFC 5321 §5).
    Mx {
        /// How well protected.
        tls: TlsLevel,
        /// 25, but in tests.
        port: u16,
    },
    /// To a local delivery agent, which answers for each recipient (RFC 2033).
    Lmtp(Lmtp),
    /// Into files: `{folder}/DOMAIN/LOCAL-PART`.
    Maildir {
        /// Where they lie.
        folder: PathBuf,
    },
    /// As text messages, through the provider of `[sms]`.
    Sms,
}

impl fmt::Display for Transport {
    /// For people: the banner, logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmartHost(smart_host) => write!(f, "smart host {}", smart_host.next_hop),
            Self::Mx { .. } => f.write_str("mail exchangers of the domain"),
            Self::Lmtp(lmtp) => write!(f, "LMTP {}", lmtp.endpoint),
            Self::Maildir { folder } => write!(f, "Maildir {}", folder.display()),
            Self::Sms => f.write_str("text messages"),
        }
    }
}

/// A server that takes all mail of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct SmartHost {
    /// Its name and port.
    pub next_hop: HostPort,
    /// How well protected.
    pub tls: TlsLevel,
    /// How to log in there; given under TLS alone.
    pub credentials: Option<Credentials>,
}

/// A local delivery agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Lmtp {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// How well protected; a socket in the file system needs nothing.
    pub tls: TlsLevel,
}

/// Where a local delivery agent listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// At a host.
    Tcp(HostPort),
    /// At a socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Whether what goes there stays on the machine: a socket, or a loopback address in figures.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(next_hop) => next_hop.is_loopback(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(next_hop) => next_hop.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A host, by name or address, and a port: `send.nhs.net:587`, `[2001:db8::1]:25`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPort {
    /// The name, or the address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Whether the host is a loopback address in figures: a name can come to mean anything.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, BadHostPort> {
        let (host, port) = text.rsplit_once(':').ok_or(BadHostPort)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6
                .parse::<std::net::Ipv6Addr>()
                .ok()
                .map(|ip| ip.to_string()),
            None if host.parse::<std::net::Ipv4Addr>().is_ok() => Some(host.to_owned()),
            None => Domain::parse(host).ok().map(|d| d.to_string()),
        };
        match (host, port) {
            (Some(host), Some(port)) => Ok(Self { host, port }),
            _ => Err(BadHostPort),
        }
    }
}

/// Not a host and a port.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write a host and a port: \"send.nhs.net:587\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"")]
pub struct BadHostPort;

/// How to log in at a smart host. `Debug` shows no password.
#[derive(Clone, Debug, PartialEq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// What is shown.
    pub shown: Shown,
    /// How it is shown.
    pub mechanism: LoginMechanism,
    /// The day on which it ends, if somebody has written that down: he is warned before.
    pub expires: Option<jiff::civil::Date>,
    /// What the account may send; kept by waiting.
    pub limits: UpstreamLimits,
}

/// What is shown at a smart host.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A password.
    Password(Secret),
    /// A token that is asked for elsewhere.
    Token(TokenSource),
}

impl Credentials {
    /// A user name and a password, shown as the server likes.
    pub fn password(username: impl Into<String>, password: Secret) -> Self {
        Self {
            username: username.into(),
            shown: Shown::Password(password),
            mechanism: LoginMechanism::Any,
            expires: None,
            limits: UpstreamLimits::default(),
        }
    }
}

/// How well a connection must be protected. Later ones want more.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum TlsLevel {
    /// In clear.
    None,
    /// Under TLS if the next hop can, whoever it is.
    Opportunistic,
    /// Under TLS, whoever it is.
    Required,
    /// Under TLS, with a certificate of that name from an authority that we trust.
    Verified,
}

impl TlsLevel {
    /// Every level by its word in the configuration and in explanations.
    pub const WORDS: [(&str, Self); 4] = [
        (Self::None.word(), Self::None),
        (Self::Opportunistic.word(), Self::Opportunistic),
        (Self::Required.word(), Self::Required),
        (Self::Verified.word(), Self::Verified),
    ];

    /// The level's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::Verified => "verified",
        }
    }
}

/// What one message wants of the connection, whatever its route says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TlsNeed {
    /// What the route says.
    AsRoute,
    /// The same, for what the gateway itself wrote: of that a report of TLS goes whatever its destination says of TLS
    /// (RFC 8460 §3). Nobody else's mail has this need, whatever its header says.
    OwnReport,
    /// Verified TLS, or a route that never leaves the machine.
    Verified,
    /// For the encryption next hop: verified TLS, or a service on this machine. What it encrypts must not be
    /// read on the way to it.
    Encryption,
}

/// When a delivery is tried again, when its sender hears that it is late, when it is given up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetrySchedule {
    /// How long to wait after the first failure, the second, and so on; the last repeats. Not empty.
    pub delays: Vec<Duration>,
    /// Age at which the sender hears of the delay.
    pub warn_after: Duration,
    /// Age at which it has failed.
    pub give_up_after: Duration,
}

impl RetrySchedule {
    /// Returns how long to wait before the next attempt, or `None` when it is time to give up.
    ///
    /// `failures` counts the attempts made so far; `age` runs from acceptance of the message, or from its release where it
    /// waited for a person.
    /// Past the end of the list its last delay repeats (RFC 5321 §4.5.4.1).
    pub fn next_delay(&self, failures: u32, age: Duration) -> Option<Duration> {
        if age >= self.give_up_after {
            return None;
        }
        let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        let delay = self.delays.get(index).or(self.delays.last()).copied();
        Some(delay.unwrap_or(DEFAULT_DELAY))
    }
}

impl Default for RetrySchedule {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            delays: [15, 30, 60, 120, 240].map(minutes).to_vec(),
            warn_after: minutes(4 * 60),
            give_up_after: minutes(5 * 24 * 60),
        }
    }
}

/// For a schedule without delays, which settings never make (RFC 5321 §4.5.4.1).
const DEFAULT_DELAY: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A route with no limits to speak of.
    pub(in crate::delivery) fn route(name: &str, takes: Takes, transport: Transport) -> Route {
        Route {
            name: name.to_owned(),
            takes,
            transport,
            connections: 20,
            rate_per_minute: 0,
            chunking: true,
            straight_through: true,
            schedule: RetrySchedule::default(),
            shaping: Shaping::default(),
        }
    }

    pub(in crate::delivery) fn to(pattern: &str) -> Takes {
        Takes::Recipients(vec![pattern.parse().unwrap()])
    }

    pub(in crate::delivery) fn mx() -> Transport {
        Transport::Mx {
            tls: TlsLevel::Opportunistic,
            port: 25,
        }
    }

    #[test]
    fn mail_exchangers_are_a_destination_for_each_domain() {
        let path = ForwardPath::parse("a@Example.com").unwrap();
        assert_eq!(
            route("r", to("*"), mx()).destination(&path),
            "mx example.com"
        );
    }

    #[test]
    fn what_is_to_be_encrypted_goes_by_verified_tls_or_stays_on_the_machine() {
        let smart_host = |next_hop: &str| {
            Transport::SmartHost(SmartHost {
                next_hop: next_hop.parse().unwrap(),
                tls: TlsLevel::Opportunistic,
                credentials: None,
            })
        };
        let lmtp = |endpoint| {
            Transport::Lmtp(Lmtp {
                endpoint,
                tls: TlsLevel::None,
            })
        };
        let folder = PathBuf::from("mail");
        for (transport, [as_route, verified, encryption]) in [
            (mx(), ["opportunistic", "verified", "verified"]),
            (
                smart_host("encrypt.example:25"),
                ["opportunistic", "verified", "verified"],
            ),
            (
                smart_host("localhost:25"),
                ["opportunistic", "verified", "verified"],
            ),
            (
                smart_host("127.0.0.1:25"),
                ["opportunistic", "verified", "opportunistic"],
            ),
            (
                smart_host("[::1]:25"),
                ["opportunistic", "verified", "opportunistic"],
            ),
            (
                lmtp(Endpoint::Tcp("192.0.2.1:24".parse().unwrap())),
                ["none", "verified", "verified"],
            ),
            (lmtp(Endpoint::Unix(folder.clone())), ["none"; 3]),
            (Transport::Maildir { folder }, ["none"; 3]),
        ] {
            let route = route("encryption", Takes::Encryption, transport);
            let level = |need| route.tls_level(need).word();
            assert_eq!(
                [TlsNeed::AsRoute, TlsNeed::Verified, TlsNeed::Encryption].map(level),
                [as_route, verified, encryption],
                "{:?}",
                route.transport
            );
        }
    }

    #[test]
    fn hosts_and_ports_parse_back() {
        for text in [
            "send.nhs.net:587",
            "192.0.2.1:25",
            "[2001:db8::1]:25",
            "localhost:2525",
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "nhs.net",
            ":25",
            "a b:25",
            "x:0",
            "x:99999",
            "2001:db8::1:25x",
            "[x]:25",
        ] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_delay_repeats_until_the_age_is_too_great() {
        let schedule = RetrySchedule::default();
        let minutes = |n: u64| Duration::from_secs(n * 60);
        assert_eq!(schedule.next_delay(1, minutes(0)), Some(minutes(15)));
        assert_eq!(schedule.next_delay(99, minutes(600)), Some(minutes(240)));
        assert_eq!(schedule.next_delay(2, minutes(5 * 24 * 60)), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let credentials = Credentials::password("u", Secret::new("hunter2".to_owned()));
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
