//! A name server for tests, by `hickory-server`: real questions over UDP and TCP on loopback, answered from
//! records that a test puts there, with names that fail and names that are never answered.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hickory_resolver::proto::op::{Metadata, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use postern::base::dns::{Dns, DnsSettings};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::Runtime;

/// A name server on a port of its own; it ends with the test.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Zone>,
    runtime: Option<Runtime>,
}

#[derive(Default)]
struct Zone {
    names: RwLock<HashMap<String, Known>>,
    questions: AtomicUsize,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) records: Vec<RData>,
    /// What there is no record for is answered with SERVFAIL.
    pub(crate) fails: bool,
    /// What there is no record for is not answered.
    pub(crate) is_silent: bool,
    /// What is said of it is said to be validated by DNSSEC.
    pub(crate) is_signed: bool,
}

impl NameServer {
    /// Starts one that knows nothing.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let zone = Arc::new(Zone::default());
        let handler = Handler(Arc::clone(&zone));
        let address = runtime.block_on(async {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = udp.local_addr().unwrap();
            let mut server = Server::new(handler);
            server.register_socket(udp);
            if let Ok(tcp) = TcpListener::bind(address).await {
                server.register_listener(tcp, Duration::from_secs(5), 65_535);
            }
            tokio::spawn(async move { server.block_until_done().await });
            address
        });
        Self {
            address,
            zone,
            runtime: Some(runtime),
        }
    }

    /// A resolver that asks this server, and waits for up to `timeout`.
    pub(crate) fn resolver(&self, timeout: Duration) -> Dns {
        Dns::new(&DnsSettings {
            servers: vec![self.address],
            timeout,
            validating: false,
            concurrent: 50,
        })
        .unwrap()
    }

    /// Forgets all names.
    pub(crate) fn clear(&self) {
        self.zone.names.write().unwrap().clear();
    }

    /// How many questions came.
    pub(crate) fn questions(&self) -> usize {
        self.zone.questions.load(Ordering::Relaxed)
    }

    /// Changes what is known of a name.
    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Known)) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        change(self.zone.names.write().unwrap().entry(name).or_default());
    }

    pub(crate) fn with(self, name: &str, data: RData) -> Self {
        self.change(name, |known| known.records.push(data));
        self
    }

    pub(crate) fn with_txt(self, name: &str, text: &str) -> Self {
        self.with(name, txt(&[text]))
    }

    pub(crate) fn with_address(self, name: &str, address: &str) -> Self {
        self.with(name, address_of(address))
    }

    /// The name of an address, forth and back.
    pub(crate) fn with_host(self, name: &str, address: &str) -> Self {
        let reverse = reverse(address.parse().unwrap());
        self.with_address(name, address).with(&reverse, ptr(name))
    }

    /// These names are said to be validated, also that something is not there.
    pub(crate) fn signed(self, names: &[&str]) -> Self {
        for name in names {
            self.change(name, |known| known.is_signed = true);
        }
        self
    }

    pub(crate) fn silent_for(self, name: &str) -> Self {
        self.change(name, |known| known.is_silent = true);
        self
    }

    pub(crate) fn failing_for(self, name: &str) -> Self {
        self.change(name, |known| known.fails = true);
        self
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Strings as they stand in a TXT record; long ones are cut as a zone file does.
pub(crate) fn txt(strings: &[&str]) -> RData {
    let mut octets: Vec<Vec<u8>> = strings
        .iter()
        .flat_map(|text| {
            octets(text)
                .chunks(255)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
        })
        .collect();
    if octets.is_empty() {
        octets.push(Vec::new()); // a record without a string is none
    }
    let refs: Vec<&[u8]> = octets.iter().map(Vec::as_slice).collect();
    RData::TXT(TXT::from_bytes(refs))
}

/// Characters up to U+00FF are octets, as the suites mean them.
fn octets(text: &str) -> Vec<u8> {
    match text.chars().map(|c| u8::try_from(u32::from(c))).collect() {
        Ok(octets) => octets,
        Err(_) => text.as_bytes().to_vec(),
    }
}

pub(crate) fn address_of(address: &str) -> RData {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

pub(crate) fn ptr(name: &str) -> RData {
    RData::PTR(PTR(absolute(name)))
}

pub(crate) fn cname(name: &str) -> RData {
    RData::CNAME(CNAME(absolute(name)))
}

pub(crate) fn mx(preference: u16, name: &str) -> RData {
    RData::MX(MX::new(preference, absolute(name)))
}

/// The name under which the name of an address stands.
pub(crate) fn reverse(address: IpAddr) -> String {
    Name::from(address).to_ascii()
}

fn absolute(name: &str) -> Name {
    let labels = name.trim_end_matches('.').split('.');
    let mut name =
        Name::from_labels(labels.filter(|one| !one.is_empty()).map(str::as_bytes)).unwrap();
    name.set_fqdn(true);
    name
}

struct Handler(Arc<Zone>);

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut to: R,
    ) -> ResponseInfo {
        self.0.questions.fetch_add(1, Ordering::Relaxed);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.recursion_available = true;
        let info = request.request_info().unwrap();
        let (asked, kind) = (
            info.query.original().name().clone(),
            info.query.query_type(),
        );
        let Some((code, records)) = self.answer(&asked, kind) else {
            return silence(&request.metadata);
        };
        metadata.response_code = code;
        metadata.authentic_data = self.is_signed(&asked);
        let soa = match records.is_empty() && code != ResponseCode::ServFail {
            true => vec![soa()],
            false => Vec::new(),
        };
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            records.iter(),
            [],
            soa.iter(),
            [],
        );
        match to.send_response(response).await {
            Ok(info) => info,
            Err(_) => silence(&request.metadata),
        }
    }
}

impl Handler {
    fn is_signed(&self, asked: &Name) -> bool {
        let names = self.0.names.read().unwrap();
        names.get(&key(asked)).is_some_and(|known| known.is_signed)
    }

    /// `None` is silence.
    fn answer(&self, asked: &Name, kind: RecordType) -> Option<(ResponseCode, Vec<Record>)> {
        let names = self.0.names.read().unwrap();
        let mut records = Vec::new();
        let (mut name, mut known) = (asked.clone(), None);
        for _ in 0..5 {
            let text = key(&name);
            known = names.get(&text);
            let Some(known) = known else { break };
            let found = known
                .records
                .iter()
                .filter(|data| data.record_type() == kind);
            records.extend(found.map(|data| Record::from_rdata(name.clone(), 300, data.clone())));
            let alias = known.records.iter().find_map(|data| match data {
                RData::CNAME(CNAME(to)) if kind != RecordType::CNAME => Some(to.clone()),
                _ => None,
            });
            let Some(to) = alias else { break };
            records.push(Record::from_rdata(
                name,
                300,
                RData::CNAME(CNAME(to.clone())),
            ));
            name = to;
        }
        let code = match known {
            Some(known) if records.is_empty() && known.is_silent => return None,
            Some(known) if records.is_empty() && known.fails => ResponseCode::ServFail,
            Some(_) => ResponseCode::NoError,
            None if records.is_empty() && !is_above(&names, asked) => ResponseCode::NXDomain,
            None => ResponseCode::NoError,
        };
        Some((code, records))
    }
}

/// Labels as they are, in lower case.
fn key(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(String::from_utf8_lossy).collect();
    labels.join(".").to_ascii_lowercase()
}

/// Whether a name stands above one that is known: then it exists, without records (RFC 8020).
fn is_above(names: &HashMap<String, Known>, asked: &Name) -> bool {
    let below = format!(".{}", key(asked));
    names.keys().any(|name| name.ends_with(&below))
}

fn soa() -> Record {
    let root = Name::root();
    let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, 60);
    Record::from_rdata(root, 60, RData::SOA(soa))
}

fn silence(asked: &Metadata) -> ResponseInfo {
    let mut metadata = Metadata::response_from_request(asked);
    metadata.response_code = ResponseCode::ServFail;
    ResponseInfo::from(hickory_resolver::proto::op::Header {
        metadata,
        counts: hickory_resolver::proto::op::HeaderCounts::default(),
    })
}
