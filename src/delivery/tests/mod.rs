//! Attempts against next hops that do as they are told, on real sockets.

mod assured;
mod independent;
mod limits;
mod next_hop;
mod over_tls;
mod pooling;
mod routing;
mod tokens;
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::base::dns::fake::FakeDns;
use crate::mail::{Recipient, ReversePath};
use crate::outcome::DeliveryResult;

use next_hop::NextHop;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.leading dot\r\n..two\r\nhello\r\n";

fn envelope(recipients: &[&str]) -> Envelope {
    let mut envelope = Envelope::new(ReversePath::parse("s@a.example").unwrap());
    let paths = recipients.iter().map(|r| ForwardPath::parse(r).unwrap());
    envelope.recipients = paths.map(Recipient::new).collect();
    envelope
}

/// Time-outs that a test can wait for where it must, and that nothing else meets.
fn settings() -> ConnectionSettings {
    ConnectionSettings {
        connect_timeout: Duration::from_secs(10),
        greeting_timeout: Duration::from_secs(10),
        command_timeout: Duration::from_secs(10),
        data_timeout: Duration::from_secs(10),
        ..ConnectionSettings::default()
    }
}

async fn deliveries(settings: &ConnectionSettings) -> Deliveries {
    deliveries_with(settings, &FakeDns::start().await)
}

fn deliveries_with(settings: &ConnectionSettings, dns: &FakeDns) -> Deliveries {
    let dns = dns.resolver(Duration::from_secs(5));
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    Deliveries::new(settings, dns, "gw.example", clock).unwrap()
}

fn route(transport: Transport) -> TakenRoute {
    let everyone = Takes::Recipients(vec![Pattern::Everyone]);
    taken(route::tests::route("test", everyone, transport))
}

/// The one route there is, by the first settings.
fn taken(route: Route) -> TakenRoute {
    let router = Router::new(vec![Arc::new(route)]);
    router.take(&somebody(), false).unwrap()
}

fn somebody() -> ForwardPath {
    ForwardPath::parse("a@x.example").unwrap()
}

fn smart_host(next_hop: &NextHop, tls: TlsLevel) -> TakenRoute {
    route(Transport::SmartHost(SmartHost {
        next_hop: next_hop.host_port(),
        tls,
        credentials: None,
    }))
}

/// One attempt in clear, for the outcomes in short.
async fn attempt(
    deliveries: &Deliveries,
    route: &TakenRoute,
    envelope: &Envelope,
    message: &[u8],
) -> Vec<String> {
    let message = Message::new(message.to_vec());
    let outcomes = deliveries
        .attempt(route, envelope, &message, TlsNeed::AsRoute)
        .await;
    outcomes.iter().map(in_short).collect()
}

fn in_short(outcome: &Outcome) -> String {
    let word = match outcome.result {
        DeliveryResult::Delivered {
            dsn_passed_on: true,
        } => "delivered with dsn",
        DeliveryResult::Delivered {
            dsn_passed_on: false,
        } => "delivered",
        DeliveryResult::Transient => "transient",
        DeliveryResult::Permanent => "permanent",
    };
    format!("{word} {}: {}", outcome.status, outcome.text())
}
