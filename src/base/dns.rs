//! Names to addresses, mail exchangers and texts: every query with a deadline and under a cap.
//!
//! The resolver caches; what is added here is that no query waits for longer than its deadline, no
//! more than so many are under way at once, and an answer is one of few things that a caller does
//! differently. Texts of sender authentication are asked for through [`Dns::resolver`] by the crate
//! that reads them; it holds a [`Dns::permit`] meanwhile.

mod verbatim;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{IntoName, RData, Record, RecordType};
use tokio::sync::{Semaphore, SemaphorePermit};

mod checked;

pub use checked::{CheckedHost, TlsaRecord, Trust};

use checked::Validating;

/// How to ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsSettings {
    /// The servers to ask; empty for those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// How long one question may take, waiting for its turn included.
    pub timeout: Duration,
    /// How many questions may be open at once.
    pub concurrent: usize,
    /// Whether the servers validate by DNSSEC and are believed to: all of them on this machine.
    pub validating: bool,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            concurrent: 200,
            validating: false,
        }
    }
}

/// A resolver with a cache, a deadline and a cap. Cheap to clone; clones share all three.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    turns: Arc<Semaphore>,
    timeout: Duration,
    validating: Option<Validating>,
}

impl Dns {
    /// Makes a resolver. Errs with [`DnsError::NoServers`] if none are named and
    /// `/etc/resolv.conf` names none that can be read, with [`DnsError::NotHere`] if they are said to validate and
    /// one of them is not on this machine.
    pub fn new(settings: &DnsSettings) -> Result<Self, DnsError> {
        let validating = match settings.validating {
            true => Some(Validating::new(servers(settings)?, settings.timeout)?),
            false => None,
        };
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|_| DnsError::NoServers)?
        } else {
            let servers = settings.servers.iter().map(name_server).collect();
            TokioResolver::builder_with_config(
                ResolverConfig::from_name_servers(servers),
                TokioRuntimeProvider::default(),
            )
        };
        tune(builder.options_mut(), settings.timeout);
        Ok(Self {
            resolver: builder.build().map_err(|_| DnsError::NoServers)?,
            turns: Arc::new(Semaphore::new(settings.concurrent.max(1))),
            timeout: settings.timeout,
            validating,
        })
    }

    /// The resolver itself, for crates that ask their own questions. Hold a [`Dns::permit`] and keep
    /// to [`Dns::timeout`] while using it.
    pub fn resolver(&self) -> &TokioResolver {
        &self.resolver
    }

    /// How long one question may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for one's turn. `None` is never returned in practice: the semaphore is never closed.
    pub async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// The mail exchangers of a domain, most preferred first, those of equal preference in random
    /// order (RFC 5321 §5.1). A domain that exists without MX records is its own exchanger.
    ///
    /// Errs with [`DnsError::NullMx`] if the domain says that it takes no mail (RFC 7505).
    pub async fn mx(&self, domain: &str) -> Result<Vec<Mx>, DnsError> {
        let answer = self.ask(absolute(domain), RecordType::MX).await;
        let mut exchangers = match answer {
            Ok(lookup) => exchangers_of(&lookup),
            Err(DnsError::NoRecords) => Vec::new(),
            Err(error) => return Err(error),
        };
        if exchangers.is_empty() {
            return Ok(vec![Mx {
                preference: 0,
                exchange: domain.to_owned(),
            }]);
        }
        // RFC 7505 §3: a null MX stands alone; beside others it names no host and is left out.
        exchangers.retain(|mx| !mx.exchange.is_empty());
        if exchangers.is_empty() {
            return Err(DnsError::NullMx);
        }
        shuffle(&mut exchangers);
        exchangers.sort_by_key(|mx| mx.preference);
        Ok(exchangers)
    }

    /// The addresses of a host, IPv4 first: not every network that has IPv6 addresses has a route.
    /// An address in text is its own answer.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = if host.contains('.') {
            absolute(host)
        } else {
            host.to_owned()
        };
        let (v4, v6) = tokio::join!(
            self.ask(name.clone(), RecordType::A),
            self.ask(name, RecordType::AAAA)
        );
        let found: Vec<IpAddr> = [&v4, &v6]
            .into_iter()
            .flatten()
            .flat_map(addresses_of)
            .collect();
        match (found.is_empty(), v4, v6) {
            (false, ..) => Ok(found),
            // One family failed for a reason that may pass: then "no address" is not known.
            (_, Err(error), _) if error.may_pass() => Err(error),
            (_, _, Err(error)) if error.may_pass() => Err(error),
            (_, Err(DnsError::NoSuchName), _) => Err(DnsError::NoSuchName),
            _ => Err(DnsError::NoRecords),
        }
    }

    /// The texts of a name, each in one piece.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError> {
        let answer = self.ask(absolute(name), RecordType::TXT).await?;
        let text = |record: &Record| match &record.data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        Ok(answer.answers().iter().filter_map(text).collect())
    }

    async fn ask(&self, name: impl IntoName, kind: RecordType) -> Result<Lookup, DnsError> {
        let question = async {
            let _turn = self.permit().await;
            self.resolver.lookup(name, kind).await
        };
        match tokio::time::timeout(self.timeout, question).await {
            Ok(answer) => answer.map_err(DnsError::from),
            Err(_) => Err(DnsError::Timeout),
        }
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dns(timeout {:?})", self.timeout)
    }
}

/// A mail exchanger of a domain (RFC 5321 §5.1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mx {
    /// Lower ones are tried first.
    pub preference: u16,
    /// The host, without its trailing dot.
    pub exchange: String,
}

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist: for good.
    #[error("no such name")]
    NoSuchName,
    /// The name exists and has no such records: for good.
    #[error("no such records")]
    NoRecords,
    /// The domain says that it takes no mail (RFC 7505): for good.
    #[error("the domain takes no mail")]
    NullMx,
    /// The servers failed, or refused: ask again later.
    #[error("the name servers failed")]
    Temporary,
    /// No answer in time: ask again later.
    #[error("the name servers did not answer in time")]
    Timeout,
    /// No server to ask is configured.
    #[error("no name servers are configured")]
    NoServers,
    /// A server that is said to validate is not on this machine.
    #[error(
        "answers of a name server elsewhere can be changed on their way here: run a validating resolver on this machine"
    )]
    NotHere,
}

impl DnsError {
    /// Whether the same question may be answered later.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Temporary | Self::Timeout | Self::NoServers)
    }
}

impl From<NetError> for DnsError {
    fn from(error: NetError) -> Self {
        match error {
            error if error.is_nx_domain() => Self::NoSuchName,
            error if error.is_no_records_found() => Self::NoRecords,
            // A name that cannot be put into a question does not exist.
            NetError::Proto(_) => Self::NoSuchName,
            NetError::Timeout => Self::Timeout,
            _ => Self::Temporary,
        }
    }
}

/// The servers that are asked, by address.
fn servers(settings: &DnsSettings) -> Result<Vec<SocketAddr>, DnsError> {
    if !settings.servers.is_empty() {
        return Ok(settings.servers.clone());
    }
    let (config, _) =
        hickory_resolver::system_conf::read_system_conf().map_err(|_| DnsError::NoServers)?;
    let named = config.name_servers().iter();
    Ok(named
        .map(|server| SocketAddr::new(server.ip, DNS_PORT))
        .collect())
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// Spreads the retries over our own deadline, and lets the cap alone bound the questions.
fn tune(options: &mut ResolverOpts, timeout: Duration) {
    options.attempts = 2;
    options.timeout = timeout / 2;
    options.cache_size = CACHED_ANSWERS;
}

/// With a trailing dot, so that no search list is tried.
fn absolute(name: &str) -> String {
    if name.ends_with('.') {
        name.to_owned()
    } else {
        format!("{name}.")
    }
}

fn exchangers_of(lookup: &Lookup) -> Vec<Mx> {
    lookup.answers().iter().filter_map(exchanger_of).collect()
}

fn exchanger_of(record: &Record) -> Option<Mx> {
    let RData::MX(mx) = &record.data else {
        return None;
    };
    let exchange = mx.exchange.to_ascii();
    Some(Mx {
        preference: mx.preference,
        exchange: exchange.trim_end_matches('.').to_ascii_lowercase(),
    })
}

fn addresses_of(lookup: &Lookup) -> Vec<IpAddr> {
    let records = lookup.answers().iter();
    records.filter_map(|record| record.data.ip_addr()).collect()
}

/// Fisher and Yates'. A failing random generator leaves the order as the server gave it, which it
/// turns round as well.
fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let mut random = [0; 8];
        if getrandom::fill(&mut random).is_err() {
            return;
        }
        let choices = u64::try_from(last + 1).unwrap_or(u64::MAX);
        let chosen = usize::try_from(u64::from_le_bytes(random) % choices).unwrap_or(last);
        items.swap(last, chosen);
    }
}

/// Answers kept: about 300 octets each.
const CACHED_ANSWERS: u64 = 10_000;
/// Where the servers of `/etc/resolv.conf` listen.
const DNS_PORT: u16 = 53;

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use super::fake::FakeDns;
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn mx(preference: u16, exchange: &str) -> Mx {
        Mx {
            preference,
            exchange: exchange.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_text_in_several_strings_is_one() {
        let long = "x".repeat(300);
        let server = FakeDns::start().await.with_txt("a.example", &long);
        let dns = server.resolver(SOON);
        assert_eq!(dns.txt("a.example").await, Ok(vec![long]));
        assert_eq!(dns.txt("b.example").await, Err(DnsError::NoSuchName));
    }

    #[tokio::test]
    async fn exchangers_come_in_the_order_of_their_preference() {
        let server = FakeDns::start().await;
        let server = server.with_mx("a.example", 20, "second.example.").with_mx(
            "a.example",
            10,
            "First.example.",
        );
        let found = server.resolver(SOON).mx("a.example").await.unwrap();
        assert_eq!(found, [mx(10, "first.example"), mx(20, "second.example")]);
    }

    #[tokio::test]
    async fn a_domain_without_exchangers_is_its_own() {
        let server = FakeDns::start()
            .await
            .with_address("a.example", "192.0.2.1");
        let found = server.resolver(SOON).mx("a.example").await.unwrap();
        assert_eq!(found, [mx(0, "a.example")]);
    }

    #[tokio::test]
    async fn a_domain_can_say_that_it_takes_no_mail() {
        let server = FakeDns::start().await.with_mx("a.example", 0, ".");
        let found = server.resolver(SOON).mx("a.example").await;
        assert_eq!(found, Err(DnsError::NullMx));
    }

    #[tokio::test]
    async fn a_name_that_is_not_there_and_a_server_that_fails_are_told_apart() {
        let server = FakeDns::start().await.failing_for("broken.example");
        let dns = server.resolver(SOON);
        assert_eq!(dns.mx("none.example").await, Err(DnsError::NoSuchName));
        assert_eq!(dns.mx("broken.example").await, Err(DnsError::Temporary));
        assert_eq!(
            dns.addresses("none.example").await,
            Err(DnsError::NoSuchName)
        );
        assert!(DnsError::Temporary.may_pass() && !DnsError::NoSuchName.may_pass());
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_longer_than_allowed() {
        let server = FakeDns::start().await.silent_for("slow.example");
        let dns = server.resolver(Duration::from_millis(200));
        let before = std::time::Instant::now();
        assert_eq!(dns.mx("slow.example").await, Err(DnsError::Timeout));
        assert!(before.elapsed() < SOON);
    }

    #[tokio::test]
    async fn ipv4_comes_before_ipv6_and_an_address_is_its_own_answer() {
        let server = FakeDns::start().await;
        let server = server
            .with_address("a.example", "2001:db8::1")
            .with_address("a.example", "192.0.2.1")
            .with_mx("mail-only.example", 1, "a.example.");
        let dns = server.resolver(SOON);
        let text = |found: Vec<IpAddr>| found.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(dns.addresses("a.example").await.unwrap()),
            ["192.0.2.1", "2001:db8::1"]
        );
        assert_eq!(text(dns.addresses("::1").await.unwrap()), ["::1"]);
        assert_eq!(
            dns.addresses("mail-only.example").await,
            Err(DnsError::NoRecords)
        );
    }

    #[tokio::test]
    async fn an_answer_is_kept() {
        let server = FakeDns::start().await.with_mx("a.example", 1, "b.example.");
        let dns = server.resolver(SOON);
        dns.mx("a.example").await.unwrap();
        dns.mx("a.example").await.unwrap();
        assert_eq!(server.questions(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_a_name_does_not_exist() {
        let server = FakeDns::start().await;
        let long = format!("{}.example", "a".repeat(64));
        assert_eq!(
            server.resolver(SOON).mx(&long).await,
            Err(DnsError::NoSuchName)
        );
    }
}
