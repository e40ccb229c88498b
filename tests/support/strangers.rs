//! A gateway that strangers from anywhere write to: it asks a name server of the test, and is told of addresses by way of
//! the PROXY protocol.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::name_server::NameServer;
use crate::support::{Client, Gateway};

/// Whom they write to.
pub(crate) const TO: &str = "reception@bumbleton.example";

/// A gateway that asks this name server, with these lines in `senders.toml`, and `scoring` after `scoring.toml`.
pub(crate) fn gateway(dns: &NameServer, senders: &str, scoring: &str) -> Gateway {
    gateway_with(dns, senders, scoring, |_| ())
}

/// The same, after `more` has had its way with the policy folder.
pub(crate) fn gateway_with(
    dns: &NameServer,
    senders: &str,
    scoring: &str,
    more: impl FnOnce(&Path),
) -> Gateway {
    let server = format!("servers = [\"{}\"]\ntimeout = \"1s\"", dns.address);
    Gateway::start_with(|policies| {
        change(&policies.join("postern.toml"), |text| {
            text.replace(
                "timeout = \"5s\"\nconcurrent",
                &format!("{server}\nconcurrent"),
            )
            .replacen("proxy-protocol = false", "proxy-protocol = true", 1)
        });
        fs::write(policies.join("senders.toml"), senders).unwrap();
        change(&policies.join("scoring.toml"), |text| {
            format!("{text}\n{scoring}")
        });
        more(policies);
    })
}

/// Writes a file anew.
pub(crate) fn change(file: &Path, how: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap();
    let changed = how(text.clone());
    fs::write(file, changed).unwrap();
}

/// A client at this address that has said HELO.
pub(crate) fn client(gateway: &Gateway, address: &str) -> Client {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.relay)).unwrap();
    let header = format!("PROXY TCP4 {address} 127.0.0.1 4711 25\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    let mut client = Client::over(stream);
    client.command("EHLO mx.client.example");
    client
}

/// A short message of this author.
pub(crate) fn message(from: &str) -> Vec<u8> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let date = jiff::fmt::rfc2822::to_string(&now).unwrap();
    format!(
        "From: {from}\r\nTo: {TO}\r\nSubject: a word\r\nDate: {date}\r\n\
         Message-ID: <1@client.example>\r\n\r\nhello\r\n"
    )
    .into_bytes()
}

/// All that lies in the mailbox once so many messages do, unfolded. The order of files made in one second is not that of
/// arrival: whichever was not seen is found by the caller.
pub(crate) fn results(gateway: &Gateway, number: usize) -> String {
    let mail = gateway.wait_for_mail(TO, number);
    let newest = mail
        .iter()
        .map(|one| String::from_utf8_lossy(one).into_owned());
    newest
        .collect::<Vec<_>>()
        .join("\n=====\n")
        .replace("\r\n\t", " ")
}
