//! The work of one message, for a count of instructions: its DATA is decoded, the whole shipped policy decides,
//! the queue takes it, durable, and settles it as delivered.
//!
//! `benches/instructions.sh` runs it under callgrind and compares with `benches/instructions.txt`. Instructions
//! and not seconds: the same program with the same mail counts the same on a busy machine.
//!
//! `instructions OCTETS MESSAGES`; alone it does a hundred of 10 KB and says nothing.

#[path = "../tests/support/accepted.rs"]
mod support;

use std::path::Path;

use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::mail::{
    Envelope, ForwardPath, MailTransaction, Message, Recipient as Addressee, ReversePath,
};
use postern::policy::decide::Network;
use postern::policy::{Policy, policy_test};
use postern::queue::{Handoff, LEASE, Queue};
use postern::smtp::data::{Decoder, Progress};
use support::{accepted_with, delivered};

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let octets = numbers.next().unwrap_or(10 << 10);
    let messages = numbers.next().unwrap_or(100);
    // One thread, so that nothing depends on which of them is awake. The queue's writer is another.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(run(octets, messages));
}

async fn run(octets: usize, messages: usize) {
    let folder = tempfile::tempdir_in(".").expect("a folder on this disk");
    let queue = Queue::open(folder.path(), Clock::system())
        .await
        .expect("a queue");
    let policy = shipped();
    let data = data(octets);
    for _ in 0..messages {
        let transaction = transaction(decoded(&data));
        let decision = policy.judge(&transaction, Network::Off).await;
        assert_eq!(decision.recipients.len(), 1);
        let text = String::from_utf8_lossy(transaction.message.octets()).into_owned();
        let accepted = accepted_with(&[TO], text);
        let handoff = Handoff::LeaseUntil(Clock::system().now() + LEASE);
        let lease = queue.accept(accepted, handoff).await;
        let lease = lease.expect("accepted").expect("leased");
        let settled = queue.settle(vec![delivered(lease.deliveries[0].id)], vec![]);
        settled.await.expect("settled");
    }
    queue.close().await;
}

/// As it comes from the client, in pieces as large as the gateway reads.
fn decoded(data: &[u8]) -> Vec<u8> {
    let (mut decoder, mut message) = (Decoder::new(), Vec::new());
    for piece in data.chunks(PIECE) {
        let progress = decoder.decode(piece, |run| message.extend_from_slice(run));
        if let Progress::End(_) = progress {
            break;
        }
    }
    assert!(decoder.fault().is_none());
    message
}

fn transaction(message: Vec<u8>) -> MailTransaction {
    let mut envelope = Envelope::new(ReversePath::parse(FROM).expect("an address"));
    let to = ForwardPath::parse(TO).expect("an address");
    envelope.recipients = vec![Addressee::new(to)];
    MailTransaction {
        client: policy_test::client("127.0.0.1".parse().expect("an address"), None),
        envelope,
        message: Message::new(message),
        received_at: support::start(),
    }
}

/// A letter in text and HTML, as it stands behind `DATA`.
fn data(octets: usize) -> Vec<u8> {
    let text =
        "The order of 14 November came in full; two boxes were short-dated (batch 45012).\r\n";
    let html = "<p style=\"margin:0\"><span>Two boxes were&nbsp;short-dated: see 020 7946 0958.</span></p>\r\n";
    let (texts, htmls) = (octets / 3 / text.len() + 1, octets * 2 / 3 / html.len() + 1);
    format!(
        "From: Head office <{FROM}>\r\nTo: {TO}\r\nSubject: Stock on hand\r\n\
         Date: Fri, 20 Nov 2026 09:31:00 +0000\r\nMessage-ID: <1@nhs.net>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative; boundary=\"=_a\"\r\n\r\n--=_a\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n--=_a\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<html><body>{}</body></html>\r\n--=_a--\r\n.\r\n",
        text.repeat(texts),
        html.repeat(htmls)
    )
    .into_bytes()
}

fn shipped() -> Policy {
    let diagnostics = Diagnostics::default();
    let policy = load_toml(Path::new("policies/postern.toml"), &diagnostics, |top| {
        for key in top.keys() {
            top.section(&key); // read by other modules
        }
        let hostname = "gateway.bumbleton.example";
        Policy::load(top, hostname, None, Clock::system(), None)
    });
    policy.flatten().expect("the shipped policy loads")
}

const FROM: &str = "bumbleton.headoffice@nhs.net";
const TO: &str = "pharmacy.fa001@nhs.net";
const PIECE: usize = 8 << 10;
