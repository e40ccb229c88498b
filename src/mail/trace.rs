//! The trace of a message: `Received`, and loops that it shows (RFC 5321 §4.4, §6.3).

use jiff::Timestamp;

use super::address::{AddressLiteral, Host};
use super::envelope::Envelope;
use super::header::Header;
use super::transaction::Client;

/// Returns the `Received` field for a message that `hostname` takes in, folded and ended by CRLF.
/// `for` is written where there is a single recipient: with more it would give away the others.
pub fn received_field(
    client: &Client,
    hostname: &str,
    reference: &str,
    envelope: &Envelope,
    at: Timestamp,
) -> Vec<u8> {
    let literal = AddressLiteral::from(client.address.ip().to_canonical());
    // What a client calls itself goes in only if it is a name: nothing else may stand there.
    let from = match client.helo.as_deref().map(Host::parse) {
        Some(Ok(host)) => host.to_string(),
        Some(Err(_)) | None => literal.to_string(),
    };
    let mut field = format!(
        "Received: from {from} ({literal})\r\n\tby {hostname} with {}",
        client.protocol(envelope.smtputf8)
    );
    if let Some(tls) = &client.tls {
        field.push_str(&format!(" ({} {})", tls.version, tls.cipher));
    }
    field.push_str(&format!("\r\n\tid {reference}"));
    if let [only] = envelope.recipients.as_slice()
        && let Some(mailbox) = only.forward_path.mailbox()
        && (mailbox.is_ascii() || envelope.smtputf8)
    {
        field.push_str(&format!("\r\n\tfor <{mailbox}>"));
    }
    field.push_str(&format!(";\r\n\t{}\r\n", date(at)));
    field.into_bytes()
}

/// A date as header fields write it (RFC 5322 §3.3), in UTC.
pub fn date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// How many servers say that they had the message.
pub fn received_count(header: &Header<'_>) -> usize {
    header.all("Received").count()
}

/// How often `hostname` itself says that it had the message.
pub fn own_received_count(header: &Header<'_>, hostname: &str) -> usize {
    header
        .all("Received")
        .filter(|field| is_by(&field.value(), hostname))
        .count()
}

/// Whether the `by` clause of a `Received` names the host. A client may call itself `by` as well, so that
/// not only the first such word counts.
fn is_by(value: &str, hostname: &str) -> bool {
    let mut words = value.split_ascii_whitespace().peekable();
    while let Some(word) = words.next() {
        let name = words.peek().map(|name| name.trim_end_matches(';'));
        let named = name.is_some_and(|name| name.eq_ignore_ascii_case(hostname));
        if named && word.eq_ignore_ascii_case("by") {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{ForwardPath, Recipient, ReversePath, Service};

    fn client(helo: &str) -> Client {
        Client {
            address: "192.0.2.7:4711".parse().unwrap(),
            local: "192.0.2.1:25".parse().unwrap(),
            helo: Some(helo.to_owned()),
            esmtp: true,
            tls: None,
            account: None,
            service: Service::Relay,
        }
    }

    fn received(helo: &str, recipients: &[&str]) -> String {
        let mut envelope = Envelope::new(ReversePath::Null);
        for recipient in recipients {
            envelope
                .recipients
                .push(Recipient::new(ForwardPath::parse(recipient).unwrap()));
        }
        let at = "2026-11-21T10:00:00Z".parse().unwrap();
        String::from_utf8(received_field(
            &client(helo),
            "gw.example",
            "PX-7F3K2Q9A",
            &envelope,
            at,
        ))
        .unwrap()
    }

    #[test]
    fn received_has_the_clauses_of_the_rfc() {
        assert_eq!(
            received("mail.client.example", &["a@b.example"]),
            "Received: from mail.client.example ([192.0.2.7])\r\n\tby gw.example with ESMTP\r\n\tid PX-7F3K2Q9A\r\n\tfor <a@b.example>;\r\n\tSat, 21 Nov 2026 10:00:00 +0000\r\n"
        );
        assert!(!received("a.example", &["a@b.example", "c@b.example"]).contains("for"));
    }

    #[test]
    fn what_is_no_name_is_not_put_into_the_trace() {
        for helo in ["evil) (x", "a b", "x\"y", "<script>", "a;b"] {
            assert!(
                received(helo, &[]).starts_with("Received: from [192.0.2.7] ([192.0.2.7])\r\n"),
                "{helo}"
            );
        }
        assert!(
            received("[192.0.2.9]", &[]).starts_with("Received: from [192.0.2.9] ([192.0.2.7])")
        );
    }

    #[test]
    fn ones_own_trace_is_recognised() {
        let octets =
            b"Received: from a by GW.example with SMTP; x\r\nReceived: from gw.example by b; y\r\nReceived: from by ([192.0.2.1])\r\n\tby gw.example; z\r\n";
        let header = Header::parse(octets);
        assert_eq!(
            (
                received_count(&header),
                own_received_count(&header, "gw.example")
            ),
            (3, 2)
        );
    }
}
