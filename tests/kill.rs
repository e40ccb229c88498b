//! `kill -9` under load: every message that got its 250 arrives.

#[path = "support/load.rs"]
mod load;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use load::{Acknowledged, send_until_it_breaks};
use support::{Gateway, wait_for};

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
