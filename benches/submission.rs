//! Reminders through one account into the queue: TLS, a log-in for each connection, quota and rate on, an idempotency
//! key in every message, each 250 behind a synced commit. `cargo bench --bench submission [-- MESSAGES CONNECTIONS]`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use support::Gateway;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const NAME: &str = "reminders.fa001.donotreply@nhs.net";

fn main() {
    let numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let (messages, connections) = match numbers[..] {
        [messages, connections] => (messages, connections),
        [messages] => (messages, 50),
        _ => (20_000, 50),
    };
    let gateway = Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        let account = format!(
            "\n[[account]]\nname = \"{NAME}\"\nsecret = \"stored\"\nrate = 1000000\ndaily-recipients = 1000000\n"
        );
        fs::write(&path, text + &account).expect("accounts.toml");
    });
    let rotated = gateway.postern(&["--json", "account", "rotate", NAME]);
    let rotated: serde_json::Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    let secret = rotated["secret"].as_str().expect("a secret").to_owned();
    let config = tls(&gateway);

    let (next, started) = (AtomicUsize::new(0), Instant::now());
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections)
            .map(|_| {
                let (config, secret, next) = (Arc::clone(&config), &secret, &next);
                let port = gateway.submissions;
                scope.spawn(move || send(port, config, secret, next, messages))
            })
            .collect();
        let waits = workers
            .into_iter()
            .flat_map(|one| one.join().expect("a worker"));
        waits.collect()
    });
    let took = started.elapsed();
    waits.sort();
    let at = |share: usize| waits[(waits.len() * share / 100).min(waits.len() - 1)];
    println!(
        "{messages} reminders over {connections} connections in {took:.2?}: {:.0} a second; a reply after {:.2?} (median), {:.2?} (99 of 100)",
        messages as f64 / took.as_secs_f64(),
        at(50),
        at(99)
    );
    std::thread::sleep(Duration::from_secs(6));
    let shown = gateway.postern(&["account", "show", NAME]);
    println!("{}", String::from_utf8_lossy(&shown.stdout));
}

fn tls(gateway: &Gateway) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(gateway.folder.path().join("certs/ca.pem"));
    roots
        .add(authority.expect("the authority"))
        .expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// Sends until there is nothing left; returns how long each reply to a message took from its MAIL.
fn send(
    port: u16,
    config: Arc<ClientConfig>,
    secret: &str,
    next: &AtomicUsize,
    messages: usize,
) -> Vec<Duration> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a connection");
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("a socket");
    socket.set_nodelay(true).expect("no delay");
    let mut stream = BufReader::new(StreamOwned::new(connection, socket));
    let mut reply = move |send: &[u8], replies: usize, wanted: &str| {
        if !send.is_empty() {
            stream.get_mut().write_all(send).expect("octets go out");
            stream.get_mut().flush().expect("octets go out");
        }
        for _ in 0..replies {
            let mut line = String::from("---- ");
            while line.as_bytes()[3] == b'-' {
                line.clear();
                stream.read_line(&mut line).expect("a reply");
            }
            assert!(
                line.starts_with(wanted) || line.starts_with("354"),
                "{line}"
            );
        }
    };
    let coded = STANDARD.encode(format!("\0{NAME}\0{secret}"));
    reply(b"", 1, "220");
    reply(b"EHLO client.example\r\n", 1, "250");
    reply(format!("AUTH PLAIN {coded}\r\n").as_bytes(), 1, "235");
    let mut waits = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= messages {
            return waits;
        }
        let begun = Instant::now();
        let envelope = format!(
            "MAIL FROM:<{NAME}>\r\nRCPT TO:<pharmacy.fa{:03}@nhs.net>\r\nDATA\r\n",
            number % 1_000
        );
        reply(envelope.as_bytes(), 3, "250");
        let message = format!(
            "From: <{NAME}>\r\nSubject: Your order\r\nX-Postern-Idempotency-Key: order-{number}\r\n\r\n\
             Your order is ready to collect from today.\r\nBumbleton Pharmacy\r\n.\r\n"
        );
        reply(message.as_bytes(), 1, "250");
        waits.push(begun.elapsed());
    }
}
