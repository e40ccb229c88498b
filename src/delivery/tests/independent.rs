//! Next hops that nobody here wrote: `mailin-embedded`, and where they are at hand Postfix's
//! `smtp-sink` and the strict sink of the conformance suite.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Keeper {
    envelope: Arc<Mutex<Vec<String>>>,
    octets: Arc<Mutex<Vec<u8>>>,
}

impl mailin_embedded::Handler for Keeper {
    fn mail(&mut self, _: std::net::IpAddr, _: &str, from: &str) -> mailin_embedded::Response {
        self.envelope.lock().unwrap().push(from.to_owned());
        mailin_embedded::response::OK
    }

    fn rcpt(&mut self, to: &str) -> mailin_embedded::Response {
        self.envelope.lock().unwrap().push(to.to_owned());
        match to.starts_with("no@") {
            true => mailin_embedded::response::NO_MAILBOX,
            false => mailin_embedded::response::OK,
        }
    }

    fn data(&mut self, octets: &[u8]) -> std::io::Result<()> {
        self.octets.lock().unwrap().extend_from_slice(octets);
        Ok(())
    }
}

fn route_to(port: u16) -> TakenRoute {
    route(Transport::SmartHost(SmartHost {
        next_hop: HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        },
        tls: TlsLevel::None,
        credentials: None,
    }))
}

#[tokio::test]
async fn mailin_takes_our_mail() {
    let keeper = Keeper::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = mailin_embedded::Server::new(keeper.clone());
    server.with_tcp_listener(listener);
    std::thread::spawn(move || drop(server.serve()));
    let deliveries = deliveries(&settings()).await;
    let to_two = envelope(&["yes@x.example", "no@x.example"]);

    let outcomes = attempt(&deliveries, &route_to(port), &to_two, MESSAGE).await;

    assert!(outcomes[0].starts_with("delivered"), "{outcomes:?}");
    assert!(outcomes[1].starts_with("permanent"), "{outcomes:?}");
    assert_eq!(*keeper.octets.lock().unwrap(), MESSAGE);
    assert_eq!(keeper.envelope.lock().unwrap()[0], "s@a.example");
}

/// Ends with the test.
struct Sink(Child);

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Postfix's sink with these options, or returns `None` where it is not installed.
async fn smtp_sink(options: &[&str]) -> Option<(Sink, u16)> {
    let path = std::path::Path::new("/usr/sbin/smtp-sink");
    if !path.exists() {
        return None;
    }
    let port = free_port();
    let mut command = Command::new(path);
    command
        .args(options)
        .arg(format!("127.0.0.1:{port}"))
        .arg("100");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let sink = Sink(child.unwrap());
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err()
    {
        assert!(
            std::time::Instant::now() < until,
            "smtp-sink does not listen"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some((sink, port))
}

#[tokio::test]
async fn postfix_takes_our_mail_pipelined_and_not() {
    for options in [
        &["-u", "nobody"][..],
        &["-u", "nobody", "-p"],
        &["-u", "nobody", "-e"],
    ] {
        let Some((_sink, port)) = smtp_sink(options).await else {
            return;
        };
        let deliveries = deliveries(&settings()).await;
        let large = [MESSAGE, &b".x\r\n".repeat(200_000)].concat();
        for message in [MESSAGE, &large, MESSAGE] {
            let outcomes = attempt(
                &deliveries,
                &route_to(port),
                &envelope(&["a@x.example", "b@x.example"]),
                message,
            )
            .await;
            assert!(
                outcomes.iter().all(|o| o.starts_with("delivered")),
                "{options:?} {outcomes:?}"
            );
        }
    }
}

#[tokio::test]
async fn postfix_takes_our_mail_over_lmtp() {
    let Some((_sink, port)) = smtp_sink(&["-u", "nobody", "-L"]).await else {
        return;
    };
    let route = route(Transport::Lmtp(Lmtp {
        endpoint: Endpoint::Tcp(HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        }),
        tls: TlsLevel::None,
    }));
    let deliveries = deliveries(&settings()).await;
    let to_two = envelope(&["a@x.example", "b@x.example"]);
    let outcomes = attempt(&deliveries, &route, &to_two, MESSAGE).await;
    assert!(
        outcomes.iter().all(|o| o.starts_with("delivered")),
        "{outcomes:?}"
    );
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// Serves until its input ends, then prints what we did wrong.
const STRICT_SINK: &str = r#"
import sys
sys.path.insert(0, sys.argv[1])
from harness.sink import Sink
sink = Sink(int(sys.argv[2]))
sink.g = {'ext': sys.argv[3:]}
sink.start()
print('ready', flush=True)
sys.stdin.read()
print(len(sink.msgs), sink.violations)
"#;

/// Sends four messages to a strict sink that offers this, and returns its verdict; `None` where it
/// is not at hand.
async fn verdict_of_strict_sink(offers: &[&str]) -> Option<String> {
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance");
    if !std::path::Path::new(suite).exists() {
        return None;
    }
    let port = free_port();
    let mut command = Command::new("python3");
    command.args(["-B", "-c", STRICT_SINK, suite, &port.to_string()]);
    command
        .args(offers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut sink = Sink(command.spawn().ok()?);
    let mut said = BufReader::new(sink.0.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();

    let deliveries = deliveries(&settings()).await;
    let mut wishes = envelope(&["a@x.example", "\"b c\"@x.example"]);
    wishes.env_id = crate::mail::EnvId::parse("QQ+2Bx");
    wishes.ret = Some(crate::mail::Ret::Full);
    wishes.smtputf8 = true;
    wishes.recipients[0].notify = crate::mail::Notify::parse("SUCCESS,DELAY");
    let large = [MESSAGE, &b"..x\r\n".repeat(50_000)].concat();
    for message in [MESSAGE, &large, b"A: b\r\n\r\nno end", MESSAGE] {
        let outcomes = attempt(&deliveries, &route_to(port), &wishes, message).await;
        assert!(
            outcomes.iter().all(|o| o.starts_with("delivered")),
            "{outcomes:?}"
        );
    }
    drop(sink.0.stdin.take());
    let mut verdict = String::new();
    said.read_to_string(&mut verdict).unwrap();
    Some(verdict.trim().to_owned())
}

#[tokio::test]
async fn a_strict_sink_finds_nothing_wrong_with_us() {
    for offers in [
        &[
            "PIPELINING",
            "SIZE 104857600",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
        ][..],
        &["PIPELINING", "8BITMIME"],
        &["CHUNKING", "DSN"],
        &["SIZE"],
        &[],
    ] {
        match verdict_of_strict_sink(offers).await {
            Some(verdict) => assert_eq!(verdict, "4 []", "{offers:?}"),
            None => return,
        }
    }
}
