//! Questions to a validating resolver on this machine, and whether it vouches for the answers.
//!
//! DANE is worth what the answers are worth that it stands on (RFC 7672 §2.1): they must have been validated by
//! DNSSEC, and nobody may have changed them since. A validating resolver (unbound, BIND, Knot, systemd-resolved) says
//! so by the AD bit (RFC 4035 §3.2.3, RFC 6840 §5.7); that the bit is its own is certain on the loopback interface
//! alone, so no other server is asked. What it finds to be bogus it answers with SERVFAIL: ask again later.
//!
//! Nothing is kept here: the resolver next door does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::{Dns, DnsError, Mx, absolute, exchanger_of, shuffle};

/// The servers that validate for us: on this machine, every one of them.
#[derive(Clone, Debug)]
pub(super) struct Validating {
    servers: Arc<[SocketAddr]>,
    timeout: Duration,
}

/// Whether an answer can be built upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// The resolver has validated all of it.
    Secure,
    /// It stems from a zone that is not signed, at least in part.
    Insecure,
}

impl Trust {
    /// The lesser of two: a chain is as good as its weakest link.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Secure, Self::Secure) => Self::Secure,
            _ => Self::Insecure,
        }
    }
}

/// The addresses of a host, and what is known of the way to them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckedHost {
    /// IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Whether addresses and aliases were validated, all of them.
    pub trust: Trust,
    /// The name at the end of the aliases; the host itself if it is none.
    pub canonical: String,
    /// Whether the host's own alias was validated, though where it leads was not (RFC 7672 §2.2.2).
    pub alias: Trust,
}

/// A record that says which certificate a server has (RFC 6698 §2.1), as it stands in the DNS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsaRecord {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

/// An answer.
struct Checked {
    records: Vec<Record>,
    trust: Trust,
    exists: bool,
}

impl Validating {
    /// Errs if one of them is not on this machine.
    pub(super) fn new(servers: Vec<SocketAddr>, timeout: Duration) -> Result<Self, DnsError> {
        if servers.is_empty() {
            return Err(DnsError::NoServers);
        }
        if servers.iter().any(|server| !server.ip().is_loopback()) {
            return Err(DnsError::NotHere);
        }
        Ok(Self {
            servers: servers.into(),
            timeout,
        })
    }

    /// Asks one server after the other, twice round.
    async fn ask(&self, name: &str, kind: RecordType) -> Result<Checked, DnsError> {
        let name = Name::from_ascii(absolute(name)).map_err(|_| DnsError::NoSuchName)?;
        let each = self.timeout / (2 * u32::try_from(self.servers.len()).unwrap_or(1)).max(1);
        let mut last = DnsError::Timeout;
        for server in self.servers.iter().chain(self.servers.iter()) {
            match tokio::time::timeout(each, exchange(*server, &name, kind)).await {
                Ok(Ok(answer)) => return checked(answer),
                Ok(Err(_)) => last = DnsError::Temporary,
                Err(_) => last = DnsError::Timeout,
            }
        }
        Err(last)
    }
}

impl Dns {
    /// Whether there is a resolver whose word on DNSSEC counts.
    pub fn validates(&self) -> bool {
        self.validating.is_some()
    }

    /// Whether it keeps its word: the root is signed, and it must say so.
    pub async fn probe(&self) -> Result<Trust, DnsError> {
        Ok(self.checked("", RecordType::SOA).await?.trust)
    }

    /// As [`Dns::mx`], and whether the answer was validated; that there are none, too.
    pub async fn checked_mx(&self, domain: &str) -> Result<(Vec<Mx>, Trust), DnsError> {
        let answer = self.checked(domain, RecordType::MX).await?;
        let mut exchangers: Vec<Mx> = answer.records.iter().filter_map(exchanger_of).collect();
        if exchangers.is_empty() {
            let itself = Mx {
                preference: 0,
                exchange: domain.to_owned(),
            };
            return match answer.exists {
                true => Ok((vec![itself], answer.trust)),
                false => Err(DnsError::NoSuchName),
            };
        }
        exchangers.retain(|mx| !mx.exchange.is_empty());
        if exchangers.is_empty() {
            return Err(DnsError::NullMx);
        }
        shuffle(&mut exchangers);
        exchangers.sort_by_key(|mx| mx.preference);
        Ok((exchangers, answer.trust))
    }

    /// As [`Dns::addresses`], with what RFC 7672 §2.2.2 wants to know of them.
    pub async fn checked_addresses(&self, host: &str) -> Result<CheckedHost, DnsError> {
        let (v4, v6) = tokio::join!(
            self.checked(host, RecordType::A),
            self.checked(host, RecordType::AAAA)
        );
        let (v4, v6) = (v4?, v6?);
        let records = || v4.records.iter().chain(&v6.records);
        let addresses: Vec<IpAddr> = records().filter_map(|one| one.data.ip_addr()).collect();
        if addresses.is_empty() {
            return Err(match v4.exists || v6.exists {
                true => DnsError::NoRecords,
                false => DnsError::NoSuchName,
            });
        }
        let trust = v4.trust.and(v6.trust);
        let canonical = canonical(host, records());
        let alias = match trust {
            Trust::Insecure if canonical != host => {
                self.checked(host, RecordType::CNAME).await?.trust
            }
            _ => trust,
        };
        Ok(CheckedHost {
            addresses,
            trust,
            canonical,
            alias,
        })
    }

    /// The TLSA records of a name, if they were validated; none if the answer was not, for then it says nothing.
    pub async fn tlsa(&self, name: &str) -> Result<Vec<TlsaRecord>, DnsError> {
        let answer = self.checked(name, RecordType::TLSA).await?;
        if answer.trust == Trust::Insecure {
            return Ok(Vec::new());
        }
        let record = |record: &Record| match &record.data {
            RData::TLSA(tlsa) => Some(TlsaRecord {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        };
        Ok(answer.records.iter().filter_map(record).collect())
    }

    async fn checked(&self, name: &str, kind: RecordType) -> Result<Checked, DnsError> {
        let validating = self.validating.as_ref().ok_or(DnsError::NoServers)?;
        let question = async {
            let _turn = self.permit().await;
            validating.ask(name, kind).await
        };
        let answer = tokio::time::timeout(self.timeout, question).await;
        answer.unwrap_or(Err(DnsError::Timeout))
    }
}

/// The name at the end of the aliases.
fn canonical<'r>(host: &str, records: impl Iterator<Item = &'r Record>) -> String {
    let aliases: Vec<(String, String)> = records
        .filter_map(|record| match &record.data {
            RData::CNAME(target) => Some((plain(&record.name), plain(&target.0))),
            _ => None,
        })
        .collect();
    let mut name = host.trim_end_matches('.').to_ascii_lowercase();
    // No longer than the list: a loop ends as well.
    for _ in &aliases {
        match aliases.iter().find(|(from, _)| *from == name) {
            Some((_, to)) => name.clone_from(to),
            None => break,
        }
    }
    name
}

fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    text.trim_end_matches('.').to_ascii_lowercase()
}

fn checked(answer: Message) -> Result<Checked, DnsError> {
    let exists = match answer.metadata.response_code {
        ResponseCode::NoError => true,
        ResponseCode::NXDomain => false,
        // A bogus answer is one of these: whoever made it is not believed that there is nothing.
        _ => return Err(DnsError::Temporary),
    };
    Ok(Checked {
        trust: match answer.metadata.authentic_data {
            true => Trust::Secure,
            false => Trust::Insecure,
        },
        records: answer.answers,
        exists,
    })
}

/// One question and its answer: by UDP, and by TCP if that is too small.
async fn exchange(server: SocketAddr, name: &Name, kind: RecordType) -> std::io::Result<Message> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let mut question = Message::new(
        u16::from_ne_bytes(random),
        MessageType::Query,
        OpCode::Query,
    );
    question.metadata.recursion_desired = true;
    // RFC 6840 §5.7: we understand AD, and do not want the signatures themselves.
    question.metadata.authentic_data = true;
    question.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_OCTETS);
    question.set_edns(edns);
    let octets = question.to_vec().map_err(std::io::Error::other)?;
    let local = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(&octets).await?;
    let mut buffer = vec![0; usize::from(UDP_OCTETS)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Some(answer) = answer_to(&question, &buffer[..length]) else {
            continue;
        };
        return match answer.metadata.truncation {
            true => exchange_by_tcp(server, &question, &octets).await,
            false => Ok(answer),
        };
    }
}

async fn exchange_by_tcp(
    server: SocketAddr,
    question: &Message,
    octets: &[u8],
) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(octets.len()).map_err(std::io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes()[..], octets].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    answer_to(question, &buffer).ok_or_else(|| std::io::Error::other("not an answer"))
}

/// The answer in these octets, if they are one to this question.
fn answer_to(question: &Message, octets: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(octets).ok()?;
    let same = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    same.then_some(answer)
}

/// What fits into a datagram everywhere (the DNS flag day of 2020).
const UDP_OCTETS: u16 = 1_232;

#[cfg(test)]
mod tests {
    use super::super::fake::FakeDns;
    use super::*;

    #[tokio::test]
    async fn an_answer_says_whether_it_was_validated() {
        let server = FakeDns::start().await;
        let server = server
            .with_mx("signed.example", 10, "mx.signed.example.")
            .with_mx("plain.example", 10, "mx.plain.example.")
            .with_address("signed-host.example", "192.0.2.1")
            .failing_for("bogus.example")
            .signed(&["signed.example", "signed-host.example", "gone.example"]);
        let dns = server.validating();
        assert!(dns.validates());
        let trust = |domain: &'static str| {
            let dns = dns.clone();
            async move { dns.checked_mx(domain).await.map(|(_, trust)| trust) }
        };
        assert_eq!(trust("signed.example").await, Ok(Trust::Secure));
        assert_eq!(trust("plain.example").await, Ok(Trust::Insecure));
        assert_eq!(trust("signed-host.example").await, Ok(Trust::Secure));
        assert_eq!(trust("bogus.example").await, Err(DnsError::Temporary));
        assert_eq!(trust("gone.example").await, Err(DnsError::NoSuchName));
    }

    #[tokio::test]
    async fn a_chain_of_aliases_is_followed_and_is_as_good_as_its_weakest_link() {
        let server = FakeDns::start().await;
        let server = server
            .with_alias("mx.example", "a.hosting.example.")
            .with_address("mx.example", "192.0.2.1")
            .with_alias("loop.example", "loop.example.")
            .with_address("loop.example", "192.0.2.2")
            .with_address("direct.example", "192.0.2.3")
            .signed(&["direct.example"]);
        let dns = server.validating();
        let host = dns.checked_addresses("mx.example").await.unwrap();
        assert_eq!(
            (host.canonical.as_str(), host.trust, host.alias),
            ("a.hosting.example", Trust::Insecure, Trust::Insecure)
        );
        let host = dns.checked_addresses("direct.example").await.unwrap();
        assert_eq!(
            (host.canonical.as_str(), host.trust),
            ("direct.example", Trust::Secure)
        );
        // One that goes round in a circle ends as well.
        let host = dns.checked_addresses("loop.example").await.unwrap();
        assert_eq!(host.canonical, "loop.example");
    }

    #[tokio::test]
    async fn records_that_nobody_vouches_for_say_nothing() {
        let server = FakeDns::start().await;
        let server = server
            .with_tlsa("_25._tcp.a.example", (3, 1, 1), &[7; 32])
            .with_tlsa("_25._tcp.b.example", (3, 1, 1), &[7; 32])
            .signed(&["_25._tcp.a.example"]);
        let dns = server.validating();
        let record = TlsaRecord {
            usage: 3,
            selector: 1,
            matching: 1,
            data: vec![7; 32],
        };
        assert_eq!(dns.tlsa("_25._tcp.a.example").await, Ok(vec![record]));
        assert_eq!(dns.tlsa("_25._tcp.b.example").await, Ok(Vec::new()));
        assert_eq!(dns.tlsa("_25._tcp.c.example").await, Ok(Vec::new()));
    }

    #[test]
    fn a_resolver_elsewhere_is_not_believed() {
        let servers = |text: &str| vec![text.parse().unwrap()];
        let timeout = Duration::from_secs(1);
        assert!(Validating::new(servers("127.0.0.1:53"), timeout).is_ok());
        assert!(Validating::new(servers("[::1]:53"), timeout).is_ok());
        assert_eq!(
            Validating::new(servers("192.0.2.1:53"), timeout).map(drop),
            Err(DnsError::NotHere)
        );
        assert_eq!(
            Validating::new(Vec::new(), timeout).map(drop),
            Err(DnsError::NoServers)
        );
    }
}
