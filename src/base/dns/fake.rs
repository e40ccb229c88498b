//! A name server of a few records, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, SOA, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::{Dns, DnsSettings};

/// A name server on a port of its own; it ends with the test.
pub(crate) struct FakeDns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    records: Vec<(String, RData)>,
    failing: Vec<String>,
    silent: Vec<String>,
    signed: Vec<String>,
    uncached: bool,
    questions: usize,
}

impl FakeDns {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        tokio::spawn(serve(socket, Arc::clone(&zone)));
        Self { address, zone }
    }

    /// A resolver that asks this server, and waits for up to `timeout`.
    pub(crate) fn resolver(&self, timeout: Duration) -> Dns {
        Dns::new(&DnsSettings {
            servers: vec![self.address],
            timeout,
            concurrent: 10,
            validating: false,
        })
        .unwrap()
    }

    /// A resolver that takes this server's word for what is signed.
    pub(crate) fn validating(&self) -> Dns {
        Dns::new(&DnsSettings {
            servers: vec![self.address],
            timeout: Duration::from_secs(5),
            concurrent: 10,
            validating: true,
        })
        .unwrap()
    }

    /// Answers about these names, also that there is nothing, are said to be validated.
    pub(crate) fn signed(self, names: &[&str]) -> Self {
        let names = names.iter().map(|name| format!("{name}."));
        self.zone.lock().unwrap().signed.extend(names);
        self
    }

    pub(crate) fn with_alias(self, name: &str, target: &str) -> Self {
        let target = Name::from_ascii(target).unwrap();
        self.with(name, RData::CNAME(CNAME(target)))
    }

    pub(crate) fn with_tlsa(self, name: &str, numbers: (u8, u8, u8), data: &[u8]) -> Self {
        let (usage, selector, matching) = numbers;
        let tlsa = TLSA::new(
            usage.into(),
            selector.into(),
            matching.into(),
            data.to_vec(),
        );
        self.with(name, RData::TLSA(tlsa))
    }

    /// Nobody may keep its answers: what is changed is seen at once.
    pub(crate) fn uncached(self) -> Self {
        self.zone.lock().unwrap().uncached = true;
        self
    }

    /// From now on the name has this text alone, or nothing at all.
    pub(crate) fn set_txt(&self, name: &str, text: Option<&str>) {
        let name = format!("{name}.");
        let mut zone = self.zone.lock().unwrap();
        zone.records.retain(|(owner, _)| *owner != name);
        let text = text.map(|text| RData::TXT(TXT::new(vec![text.to_owned()])));
        zone.records.extend(text.map(|text| (name, text)));
    }

    pub(crate) fn with_mx(self, domain: &str, preference: u16, exchange: &str) -> Self {
        let exchange = Name::from_ascii(exchange).unwrap();
        self.with(domain, RData::MX(MX::new(preference, exchange)))
    }

    pub(crate) fn with_address(self, host: &str, address: &str) -> Self {
        let data = match address.parse().unwrap() {
            IpAddr::V4(v4) => RData::A(A(v4)),
            IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
        };
        self.with(host, data)
    }

    /// A text, in strings as a zone file has them.
    pub(crate) fn with_txt(self, name: &str, text: &str) -> Self {
        let strings = text.as_bytes().chunks(255);
        let strings = strings.map(|part| String::from_utf8_lossy(part).into_owned());
        self.with(name, RData::TXT(TXT::new(strings.collect())))
    }

    /// Questions about this name are answered with SERVFAIL.
    pub(crate) fn failing_for(self, name: &str) -> Self {
        self.zone.lock().unwrap().failing.push(format!("{name}."));
        self
    }

    /// Questions about this name are not answered.
    pub(crate) fn silent_for(self, name: &str) -> Self {
        self.zone.lock().unwrap().silent.push(format!("{name}."));
        self
    }

    pub(crate) fn questions(&self) -> usize {
        self.zone.lock().unwrap().questions
    }

    fn with(self, name: &str, data: RData) -> Self {
        let record = (format!("{name}."), data);
        self.zone.lock().unwrap().records.push(record);
        self
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut octets = [0; 1_500];
    while let Ok((length, client)) = socket.recv_from(&mut octets).await {
        let question = Message::from_vec(&octets[..length]).unwrap();
        let answer = answer(&mut zone.lock().unwrap(), &question);
        if let Some(answer) = answer {
            socket.send_to(&answer, client).await.unwrap();
        }
    }
}

fn answer(zone: &mut Zone, question: &Message) -> Option<Vec<u8>> {
    zone.questions += 1;
    let query = question.queries[0].clone();
    let name = query.name().to_ascii().to_ascii_lowercase();
    if zone.silent.contains(&name) {
        return None;
    }
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.message_type = MessageType::Response;
    reply.metadata.recursion_available = true;
    reply.metadata.recursion_desired = true;
    let known: Vec<&RData> = zone
        .records
        .iter()
        .filter(|(owner, _)| *owner == name)
        .map(|(_, data)| data)
        .collect();
    let wanted = |kind: RecordType| known.iter().filter(move |data| data.record_type() == kind);
    if query.query_type() != RecordType::CNAME {
        for data in wanted(RecordType::CNAME) {
            reply.add_answer(Record::from_rdata(
                query.name().clone(),
                60,
                (*data).clone(),
            ));
        }
    }
    reply.metadata.authentic_data = zone.signed.contains(&name);
    let ttl = if zone.uncached { 0 } else { 60 };
    for data in wanted(query.query_type()) {
        let record = Record::from_rdata(query.name().clone(), ttl, (*data).clone());
        reply.add_answer(record);
    }
    reply.metadata.response_code = match (zone.failing.contains(&name), known.is_empty()) {
        (true, _) => ResponseCode::ServFail,
        (false, true) => ResponseCode::NXDomain,
        (false, false) => ResponseCode::NoError,
    };
    if reply.answers.is_empty() {
        let root = Name::root();
        let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, ttl);
        reply.add_authority(Record::from_rdata(root, ttl, RData::SOA(soa)));
    }
    reply.add_query(query);
    Some(reply.to_vec().unwrap())
}
