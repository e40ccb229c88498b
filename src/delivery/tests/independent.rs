//! Next hops that nobody here wrote: `mailin-embedded`, and Postfix's `smtp-sink` where installed.

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

fn route_to(port: u16) -> Arc<Route> {
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
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
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
