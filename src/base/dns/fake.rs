//! A name server of a few records, for tests.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, MX, SOA, TXT};
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
        })
        .unwrap()
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
    for data in wanted(query.query_type()) {
        let record = Record::from_rdata(query.name().clone(), 60, (*data).clone());
        reply.add_answer(record);
    }
    reply.metadata.response_code = match (zone.failing.contains(&name), known.is_empty()) {
        (true, _) => ResponseCode::ServFail,
        (false, true) => ResponseCode::NXDomain,
        (false, false) => ResponseCode::NoError,
    };
    if reply.answers.is_empty() {
        let root = Name::root();
        let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, 60);
        reply.add_authority(Record::from_rdata(root, 60, RData::SOA(soa)));
    }
    reply.add_query(query);
    Some(reply.to_vec().unwrap())
}
