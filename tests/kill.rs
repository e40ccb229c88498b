//! `kill -9` under load: every message that got its 250 arrives.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use support::{Client, Gateway, stuffed, wait_for};

/// Recipients whose message got its 250.
type Acknowledged = Arc<Mutex<BTreeSet<String>>>;

#[test]
fn every_message_that_got_250_arrives_although_the_gateway_is_killed_under_load() {
    let mut gateway = Gateway::start();
    let acknowledged = Acknowledged::default();
    for round in 0..4 {
        let stop = Arc::new(AtomicBool::new(false));
        let before = acknowledged.lock().expect("no panic").len();
        let senders: Vec<_> = (0..6)
            .map(|sender| {
                let (port, stop, acknowledged) =
                    (gateway.relay, Arc::clone(&stop), Arc::clone(&acknowledged));
                thread::spawn(move || {
                    send_until_it_breaks(port, &format!("r{round}s{sender}"), &stop, &acknowledged)
                })
            })
            .collect();
        wait_for("some messages to be accepted", || {
            (acknowledged.lock().expect("no panic").len() >= before + 100).then_some(())
        });
        gateway.kill();
        stop.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().expect("a sender ends");
        }
        gateway.restart();
    }
    let acknowledged = acknowledged.lock().expect("no panic").clone();
    assert!(acknowledged.len() >= 400);
    let mut missing = acknowledged;
    wait_for("every acknowledged message to arrive", || {
        missing.retain(|recipient| gateway.mail_for(&format!("{recipient}@nhs.net")).is_empty());
        missing.is_empty().then_some(())
    });
    let verified = gateway.postern(&["audit", "verify"]);
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
}

/// Sends messages of mixed sizes, each to a recipient of its own, and notes those with a 250.
fn send_until_it_breaks(
    port: u16,
    name: &str,
    stop: &AtomicBool,
    acknowledged: &Acknowledged,
) -> Option<()> {
    let mut client = Client::connect(port);
    client.send(b"EHLO load.elsewhere.example\r\n");
    client.try_reply()?;
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let recipient = format!("{name}m{number}");
        let size = if number % 10 == 0 { 400_000 } else { 2_000 };
        let body = "a line of the load\r\n".repeat(size / 20);
        let message = format!("From: <a@elsewhere.example>\r\nSubject: {recipient}\r\n\r\n{body}");
        let commands =
            format!("MAIL FROM:<a@elsewhere.example>\r\nRCPT TO:<{recipient}@nhs.net>\r\nDATA\r\n");
        client.try_send(commands.as_bytes())?;
        for _ in 0..3 {
            client.try_reply()?;
        }
        client.try_send(&stuffed(message.as_bytes()))?;
        if client.try_reply()?.starts_with("250") {
            acknowledged.lock().expect("no panic").insert(recipient);
        }
    }
    Some(())
}
