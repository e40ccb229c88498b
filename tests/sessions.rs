//! What a session is held to beside its conversation: time-outs, limits, the end.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use support::{Client, Gateway, wait_for};

/// A gateway whose `[limits]` are changed: each pair is a line and what stands there instead.
fn gateway(changes: &'static [(&str, &str)]) -> Gateway {
    Gateway::start_with(move |policies| change(policies, changes))
}

fn change(policies: &Path, changes: &[(&str, &str)]) {
    let file = policies.join("postern.toml");
    let mut text = fs::read_to_string(&file).expect("postern.toml");
    for (from, to) in changes {
        assert!(
            text.contains(from),
            "the shipped policy does not have {from}"
        );
        text = text.replacen(from, to, 1);
    }
    fs::write(&file, text).expect("a changed policy");
}

/// A connection and nothing else: no greeting is read.
fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time-out");
    stream
}

/// Everything that comes until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is an end like another.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn who_talks_before_the_greeting_is_turned_away() {
    let gateway = gateway(&[("greeting-delay = \"0s\"", "greeting-delay = \"2s\"")]);
    let mut early = connect(gateway.relay);
    early.write_all(b"EHLO bot.example\r\n").expect("octets");
    assert!(rest(early).starts_with("554 5.5.1 "));

    let mut patient = gateway.connect();
    assert!(patient.command("NOOP").starts_with("250 "));
}

#[test]
fn who_says_nothing_hears_421() {
    let gateway = gateway(&[("command-timeout = \"5m\"", "command-timeout = \"1s\"")]);
    let said = rest(connect(gateway.relay));
    assert!(said.contains("\r\n421 4.4.2 "), "{said}");
}

#[test]
fn who_stops_in_the_middle_of_a_message_hears_421() {
    let gateway = gateway(&[("data-timeout = \"3m\"", "data-timeout = \"1s\"")]);
    let mut client = gateway.connect();
    for command in [
        "EHLO x",
        "MAIL FROM:<a@bumbleton.example>",
        "RCPT TO:<nurse@bumbleton.example>",
        "DATA",
    ] {
        client.command(command);
    }
    client.send(b"Subject: half a message\r\n");
    assert!(client.reply().starts_with("421 4.4.2 "));
}

#[test]
fn one_client_gets_so_many_connections_and_then_421() {
    let gateway = gateway(&[("connections-per-client = 200", "connections-per-client = 2")]);
    let held = gateway.connect();
    // The connection that asked whether the gateway is up may still be counted.
    let second = wait_for("a second place", || {
        let mut client = connect(gateway.relay);
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).ok()?;
        (&greeting == b"220").then_some(client)
    });
    assert!(rest(connect(gateway.relay)).starts_with("421 4.7.0 "));

    drop(second);
    wait_for("a place", || {
        let mut client = connect(gateway.relay);
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).ok()?;
        (&greeting == b"220").then_some(())
    });
    drop(held);
}

#[test]
fn a_message_that_does_not_fit_in_memory_goes_by_the_disk_and_arrives_whole() {
    let gateway = gateway(&[(
        "message-in-memory = \"1 MiB\"",
        "message-in-memory = \"16 KiB\"",
    )]);
    let mut message =
        b"From: <a@bumbleton.example>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nSubject: large\r\n\r\n"
            .to_vec();
    for number in 0..50_000 {
        message.extend_from_slice(format!("line {number}\r\n..\r\n").as_bytes());
    }
    let mut client = gateway.connect();
    client.command("EHLO x");
    let reply = client.submit(
        "a@elsewhere.example",
        &["nurse@bumbleton.example"],
        &message,
    );
    assert!(reply.starts_with("250 "), "{reply}");
    let arrived = gateway
        .wait_for_mail("nurse@bumbleton.example", 1)
        .remove(0);
    let body = arrived
        .windows(6)
        .position(|octets| octets == b"line 0")
        .expect("a body");
    let sent = message
        .windows(6)
        .position(|octets| octets == b"line 0")
        .expect("a body");
    assert!(arrived[body..].starts_with(&message[sent..]));
}

#[test]
fn what_is_too_big_is_refused_and_the_session_goes_on() {
    let gateway = gateway(&[("message-size = \"40 MiB\"", "message-size = \"64 KiB\"")]);
    let mut client = gateway.connect();
    client.command("EHLO x");
    let big = b"a line of some octets\r\n".repeat(5_000);
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], &big);
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let small = b"Subject: small\r\n\r\ntext\r\n";
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], small);
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn a_header_beyond_its_limit_is_refused_and_the_session_goes_on() {
    let gateway = gateway(&[("header-size = \"1 MiB\"", "header-size = \"64 KiB\"")]);
    let mut client = gateway.connect();
    client.command("EHLO x");
    let fields = b"a:\r\n".repeat(20_000);
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], &fields);
    assert!(reply.starts_with("552 5.3.4 "), "{reply}");
    let body = [b"Subject: small\r\n\r\n", &fields[..]].concat();
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], &body);
    assert!(reply.starts_with("250 "), "{reply}");
}

#[test]
fn a_trusted_proxy_says_who_the_client_is_and_nobody_else_may() {
    let proxied = gateway(&[("proxy-protocol = false", "proxy-protocol = true")]);
    // Not `gateway.connect()`: no greeting comes before the header.
    let mut stream = connect(proxied.relay);
    stream
        .write_all(b"PROXY TCP4 192.0.2.77 192.0.2.2 4711 25\r\n")
        .expect("a header");
    let mut client = Client::over(stream);
    client.command("EHLO client.example");
    let message = b"Subject: proxied\r\n\r\ntext\r\n";
    let reply = client.submit("a@elsewhere.example", &["nurse@bumbleton.example"], message);
    assert!(reply.starts_with("250 "), "{reply}");
    let arrived = proxied
        .wait_for_mail("nurse@bumbleton.example", 1)
        .remove(0);
    assert!(String::from_utf8_lossy(&arrived).contains("([192.0.2.77])"));

    let mut liar = connect(proxied.relay);
    liar.write_all(b"EHLO client.example\r\n").expect("octets");
    assert_eq!(rest(liar), "");

    // Whoever talks too early is turned away without a wait for it, too: here both come in one piece.
    let mut early = connect(proxied.relay);
    early
        .write_all(b"PROXY TCP4 192.0.2.77 192.0.2.2 4711 25\r\nEHLO bot.example\r\n")
        .expect("octets");
    assert!(rest(early).starts_with("554 5.5.1 "));
    drop(proxied);

    let untrusted = gateway(&[
        ("proxy-protocol = false", "proxy-protocol = true"),
        (
            "trusted = [\"127.0.0.0/8\", \"::1/128\"]",
            "trusted = [\"192.0.2.1\"]",
        ),
    ]);
    assert_eq!(rest(connect(untrusted.relay)), "");
}

#[test]
fn a_session_between_commands_is_told_of_the_end_and_one_in_data_finishes() {
    let mut gateway = Gateway::start();
    let mut waiting = gateway.connect();
    waiting.command("EHLO x");
    let mut sending = gateway.connect();
    for command in [
        "EHLO x",
        "MAIL FROM:<a@elsewhere.example>",
        "RCPT TO:<nurse@bumbleton.example>",
        "DATA",
    ] {
        sending.command(command);
    }
    sending.send(b"Subject: in the middle\r\n");

    let stopping = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| gateway.terminate());
        assert!(waiting.reply().starts_with("421 4.3.2 "));
        sending.send(b"\r\ntext\r\n.\r\n");
        assert!(sending.reply().starts_with("250 "));
        stopped.join().expect("an end")
    });
    assert!(stopping, "the gateway did not end well");
}
