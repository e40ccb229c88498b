//! SIGTERM: nothing new comes in, what is in hand is finished, and what is not is in the queue.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use support::{Client, Gateway, wait_for};

/// A next hop that says when it has a message, and answers only when it is told to.
struct NextHop {
    port: u16,
    arrived: Receiver<()>,
    answer: Sender<&'static str>,
}

impl NextHop {
    /// Takes one message.
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (tell, arrived) = channel();
        let (answer, answers) = channel();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            let _ = converse(&stream, &tell, &answers);
        });
        Self {
            port,
            arrived,
            answer,
        }
    }

    fn wait_for_message(&self) {
        let arrived = self.arrived.recv_timeout(Duration::from_secs(60));
        arrived.expect("a message at the next hop");
    }
}

fn converse(
    mut stream: &TcpStream,
    tell: &Sender<()>,
    answers: &Receiver<&'static str>,
) -> std::io::Result<()> {
    stream.write_all(b"220 next.example\r\n")?;
    let mut in_data = false;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let reply = match line.as_str() {
            "." if in_data => {
                in_data = false;
                let _ = tell.send(());
                answers.recv().unwrap_or("421 4.3.0 the test is over\r\n")
            }
            _ if in_data => continue,
            "DATA" => {
                in_data = true;
                "354 go on\r\n"
            }
            "QUIT" => return stream.write_all(b"221 2.0.0 bye\r\n"),
            _ => "250 2.0.0 ok\r\n",
        };
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// A gateway whose mail goes to this next hop.
fn gateway(next: &NextHop) -> Gateway {
    let route = format!("smart-host = \"127.0.0.1:{}\"\ntls = \"none\"", next.port);
    Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = std::fs::read_to_string(&file).expect("postern.toml");
        let maildir = "maildir = \"../data/maildir\" ";
        assert!(text.contains(maildir));
        let text = text.replacen(maildir, &format!("{route} "), 1);
        std::fs::write(&file, text).expect("a changed file");
    })
}

const MESSAGE: &[u8] = b"From: <a@elsewhere.example>\r\nSubject: hello\r\n\r\ntext\r\n";

fn submit(client: &mut Client, to: &str) {
    let reply = client.submit("a@elsewhere.example", &[to], MESSAGE);
    assert!(reply.starts_with("250 "), "{reply}");
}

fn wait_until_it_drains(gateway: &Gateway) {
    wait_for("the drain", || {
        gateway.log().contains("SIGTERM: draining").then_some(())
    });
}

/// What `queue list --json` shows: a line for each delivery that is not yet done.
fn queue(gateway: &Gateway) -> Vec<String> {
    let listed = gateway.postern(&["queue", "list", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let text = String::from_utf8(listed.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_delivery_in_flight_settles_and_a_connection_is_not_taken() {
    let next = NextHop::start();
    let mut gateway = gateway(&next);
    let mut client = gateway.connect();
    client.command("EHLO x");
    submit(&mut client, "nurse@bumbleton.example");
    next.wait_for_message();

    gateway.signal("-TERM");
    wait_until_it_drains(&gateway);
    assert!(client.reply().starts_with("421 4.3.2 "));
    wait_for("the listener to close", || {
        TcpStream::connect(("127.0.0.1", gateway.relay)).err()
    });
    next.answer
        .send("250 2.0.0 kept\r\n")
        .expect("a next hop that waits");

    assert!(gateway.wait(), "the gateway did not end well");
    assert_eq!(queue(&gateway), Vec::<String>::new());
    let traced = gateway.postern(&["trace", "nurse@bumbleton.example", "--json"]);
    let traced = String::from_utf8_lossy(&traced.stdout).into_owned();
    assert!(traced.contains("\"delivered\""), "{traced}");
}

#[test]
fn a_message_that_comes_in_while_it_drains_waits_in_the_queue_for_the_next_start() {
    let next = NextHop::start();
    let mut gateway = gateway(&next);
    let mut first = gateway.connect();
    first.command("EHLO x");
    submit(&mut first, "first@bumbleton.example");
    next.wait_for_message();
    let mut second = gateway.connect();
    for command in [
        "EHLO x",
        "MAIL FROM:<a@elsewhere.example>",
        "RCPT TO:<second@bumbleton.example>",
        "DATA",
    ] {
        second.command(command);
    }

    gateway.signal("-TERM");
    wait_until_it_drains(&gateway);
    second.send(&support::stuffed(MESSAGE));
    assert!(second.reply().starts_with("250 "));
    next.answer
        .send("451 4.3.0 later\r\n")
        .expect("a next hop that waits");

    assert!(gateway.wait(), "the gateway did not end well");
    let waiting = queue(&gateway);
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    // Neither is leased: a start tomorrow need not wait for the end of anybody's lease.
    assert!(
        waiting.iter().all(|line| !line.contains("\"leased\"")),
        "{waiting:?}"
    );
}

#[test]
fn connections_on_which_nothing_happens_do_not_delay_the_end() {
    let next = NextHop::start();
    let mut gateway = gateway(&next);
    let mut client = gateway.connect();
    client.command("EHLO x");
    submit(&mut client, "nurse@bumbleton.example");
    next.wait_for_message();
    next.answer
        .send("250 2.0.0 kept\r\n")
        .expect("a next hop that waits");
    wait_for("the delivery", || queue(&gateway).is_empty().then_some(()));
    // Somebody who keeps the metrics' connection open, and one who never says a word.
    let mut metrics = TcpStream::connect(("127.0.0.1", gateway.metrics)).expect("a connection");
    metrics
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("a request");
    BufReader::new(&metrics)
        .read_line(&mut String::new())
        .expect("an answer");
    let _silent = TcpStream::connect(("127.0.0.1", gateway.metrics)).expect("a connection");
    // And two who never begin the TLS handshake.
    let _handshake = TcpStream::connect(("127.0.0.1", gateway.submissions)).expect("a connection");
    let mut starttls = gateway.connect();
    starttls.command("EHLO x");
    assert!(starttls.command("STARTTLS").starts_with("220 "));

    let began = Instant::now();
    assert!(gateway.terminate());

    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn whoever_asks_twice_does_not_wait_and_nothing_is_lost() {
    let next = NextHop::start();
    let mut gateway = gateway(&next);
    let mut client = gateway.connect();
    client.command("EHLO x");
    submit(&mut client, "nurse@bumbleton.example");
    next.wait_for_message();

    gateway.signal("-TERM");
    wait_until_it_drains(&gateway);
    gateway.signal("-TERM");

    assert!(gateway.wait(), "the gateway did not end well");
    assert!(gateway.log().contains("cut off"), "{}", gateway.log());
    assert_eq!(queue(&gateway).len(), 1);
}
