//! A client under load, which a gateway that dies leaves in the middle of a message.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Client, stuffed};

/// Recipients whose message got its 250.
pub(crate) type Acknowledged = Arc<Mutex<BTreeSet<String>>>;

/// Sends messages of mixed sizes, each to a recipient of its own, and notes those with a 250.
pub(crate) fn send_until_it_breaks(
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
