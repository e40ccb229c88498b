//! Who strangers are: a running gateway, a name server on loopback that has what a test puts there, and clients
//! from anywhere, by way of the PROXY protocol.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/name_server.rs"]
mod name_server;
mod support;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use name_server::NameServer;
use support::{Client, Gateway, wait_for};

/// A gateway that asks this name server, with these lines in `senders.toml`, and `scoring` after `scoring.toml`.
fn gateway(dns: &NameServer, senders: &str, scoring: &str) -> Gateway {
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
    })
}

fn change(file: &Path, how: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).unwrap();
    let changed = how(text.clone());
    fs::write(file, changed).unwrap();
}

/// A client at this address that has said HELO.
fn client(gateway: &Gateway, address: &str) -> Client {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.relay)).unwrap();
    let header = format!("PROXY TCP4 {address} 127.0.0.1 4711 25\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    let mut client = Client::over(stream);
    client.command("EHLO mx.client.example");
    client
}

fn message(from: &str) -> Vec<u8> {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let date = jiff::fmt::rfc2822::to_string(&now).unwrap();
    format!(
        "From: {from}\r\nTo: reception@bumbleton.example\r\nSubject: a word\r\nDate: {date}\r\n\
         Message-ID: <1@client.example>\r\n\r\nhello\r\n"
    )
    .into_bytes()
}

fn send(gateway: &Gateway, address: &str, envelope: &str, author: &str) -> String {
    client(gateway, address).submit(envelope, &[TO], &message(author))
}

/// The results on the newest message, unfolded.
fn results(gateway: &Gateway, number: usize) -> String {
    let mail = gateway.wait_for_mail(TO, number);
    let newest = mail
        .iter()
        .map(|one| String::from_utf8_lossy(one).into_owned());
    // The order of files made in one second is not that of arrival: whichever was not seen is found by the caller.
    newest
        .collect::<Vec<_>>()
        .join("\n=====\n")
        .replace("\r\n\t", " ")
}

#[test]
fn spf_comes_out_as_the_domain_says_and_stands_on_the_mail() {
    let dns = NameServer::start()
        .with_host("mx.client.example", "192.0.2.7")
        .with_txt("pass.example", "v=spf1 ip4:192.0.2.0/24 -all")
        .with_txt("fail.example", "v=spf1 -all")
        .with_txt("softfail.example", "v=spf1 ~all")
        .with_txt("permerror.example", "v=spf1 what:x -all")
        .silent_for("temperror.example");
    let gateway = gateway(&dns, "", "");
    let wanted = ["pass", "fail", "softfail", "permerror", "temperror", "none"];
    for (number, word) in wanted.iter().enumerate() {
        let sender = format!("{word}@{word}.example");
        let reply = send(&gateway, "192.0.2.7", &sender, &sender);
        assert!(reply.starts_with("250"), "{word}: {reply}");
        let found = results(&gateway, number + 1);
        let wanted = format!("spf={word} smtp.mailfrom={sender};");
        assert!(found.contains(&wanted), "{wanted} not in\n{found}");
    }
    let found = results(&gateway, wanted.len());
    assert!(
        found.contains("iprev=pass policy.iprev=192.0.2.7"),
        "{found}"
    );
    assert!(
        found.contains("spf=none smtp.helo=mx.client.example;"),
        "{found}"
    );
}

#[test]
fn what_the_author_asks_for_by_dmarc_is_done() {
    let mut dns = NameServer::start();
    for policy in ["reject", "quarantine", "none"] {
        dns = dns
            .with_txt(&format!("{policy}.example"), "v=spf1 ip4:198.51.100.1 -all")
            .with_txt(
                &format!("_dmarc.{policy}.example"),
                &format!("v=DMARC1; p={policy}; sp=none"),
            );
    }
    dns = dns
        .with_txt("_dmarc.test.example", "v=DMARC1; p=reject; t=y")
        .with_txt("_dmarc.sample.example", "v=DMARC1; p=reject; pct=0");
    let gateway = gateway(&dns, "", "");
    for (domain, reply) in [
        (
            "reject.example",
            "550 5.7.1 the sender's DMARC policy refuses this message",
        ),
        ("quarantine.example", "250 2.6.0"),
        ("none.example", "250 2.0.0"),
        ("sub.reject.example", "250 2.0.0"),
        ("test.example", "250 2.6.0"),
        ("sample.example", "250 2.6.0"),
    ] {
        let author = format!("boss@{domain}");
        let said = send(&gateway, "192.0.2.7", "x@other.example", &author);
        assert!(said.starts_with(reply), "{domain}: {said}");
    }
}

#[test]
fn nobody_outside_speaks_in_our_name_but_those_who_can_show_it() {
    let dns = NameServer::start()
        .with_txt("nhs.net", "v=spf1 ip4:192.0.2.7 -all")
        .with_txt("lists.example", "v=spf1 ip4:192.0.2.8 -all")
        .silent_for("bumbleton.example")
        .silent_for("_dmarc.bumbleton.example");
    let exception = "[[own-domains.except]]\nsender = \"lists.example\"\nreason = \"a list\"\n";
    let gateway = gateway(&dns, exception, "");
    for (client, envelope, author, reply) in [
        ("192.0.2.7", "gp@nhs.net", "gp@nhs.net", "250"),
        (
            "192.0.2.9",
            "gp@nhs.net",
            "gp@nhs.net",
            "550 5.7.1 mail in the name of this domain",
        ),
        (
            "192.0.2.9",
            "x@other.example",
            "gp@nhs.net",
            "550 5.7.1 mail in the name of this domain",
        ),
        (
            "192.0.2.9",
            "gp@nhs.net",
            "x@other.example",
            "550 5.7.1 mail in the name of this domain",
        ),
        ("192.0.2.8", "bounce@lists.example", "gp@nhs.net", "250"),
        (
            "192.0.2.9",
            "bounce@lists.example",
            "gp@nhs.net",
            "550 5.7.1",
        ),
        (
            "192.0.2.9",
            "x@bumbleton.example",
            "x@bumbleton.example",
            "451 4.4.3",
        ),
    ] {
        let said = send(&gateway, client, envelope, author);
        assert!(
            said.starts_with(reply),
            "{client} {envelope} {author}: {said}"
        );
    }
}

#[test]
fn a_name_server_that_never_answers_holds_no_session_up() {
    let dns = NameServer::start();
    for name in ["quiet.example", "_dmarc.quiet.example", "mx.client.example"] {
        dns.change(name, |known| known.is_silent = true);
    }
    let passing = gateway(&dns, "", "");
    let begun = Instant::now();
    let said = send(&passing, "192.0.2.7", "x@quiet.example", "x@quiet.example");
    assert!(said.starts_with("250"), "{said}");
    // Two methods one after the other, each of two time-outs, and room for a slow machine.
    assert!(begun.elapsed() < Duration::from_secs(20));
    let deferring = gateway(&dns, "[authentication]\nwhen-dns-fails = \"defer\"\n", "");
    let said = send(
        &deferring,
        "192.0.2.7",
        "x@quiet.example",
        "x@quiet.example",
    );
    assert!(said.starts_with("451 4.4.3"), "{said}");
}

#[test]
fn a_stranger_comes_again_and_is_let_in() {
    let dns = NameServer::start();
    let senders =
        "[greylisting]\nfrom = 0.1\nbelow = 10.0\ndelay = \"2s\"\nretry-within = \"1h\"\n";
    let gateway = gateway(&dns, senders, SUSPECT);
    let again = || {
        send(
            &gateway,
            "192.0.2.7",
            "x@stranger.example",
            "x@stranger.example",
        )
    };
    let first = again();
    assert!(first.starts_with("451 4.7.1 greylisted"), "{first}");
    let reply = wait_for("the delay to be over", || {
        let reply = again();
        (!reply.starts_with("451")).then_some(reply)
    });
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(gateway.wait_for_mail(TO, 1).len(), 1);
    // From the same network, at once.
    let reply = send(
        &gateway,
        "192.0.2.99",
        "x@stranger.example",
        "x@stranger.example",
    );
    assert!(reply.starts_with("250"), "{reply}");
    // Another sender is a stranger.
    let reply = send(
        &gateway,
        "192.0.2.7",
        "y@stranger.example",
        "y@stranger.example",
    );
    assert!(reply.starts_with("451 4.7.1"), "{reply}");
}

#[test]
fn whoever_was_written_to_is_no_stranger_if_it_is_he() {
    let dns = NameServer::start().with_txt("friend.example", "v=spf1 ip4:192.0.2.7 -all");
    let gateway = gateway(&dns, "", AWFUL);
    let author = "friend@friend.example";
    assert!(
        send(&gateway, "192.0.2.7", author, author)
            .starts_with("550 5.7.1 this message looks like spam")
    );
    let mut ours = client(&gateway, "127.0.0.1");
    let reply = ours.submit(TO, &[author], &message(TO));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(send(&gateway, "192.0.2.7", author, author).starts_with("250"));
    // Not proven, another mailbox: as before.
    assert!(send(&gateway, "192.0.2.9", author, author).starts_with("550"));
    let other = client(&gateway, "192.0.2.7").submit(author, &["nurse@nhs.net"], &message(author));
    assert!(other.starts_with("550"), "{other}");
}

#[test]
fn lists_of_the_dns_and_of_people_count() {
    let dns = NameServer::start()
        .with_address("9.2.0.192.list.example", "127.0.0.2")
        .with_address("8.2.0.192.list.example", "127.255.255.254")
        .with_txt("wanted.example", "v=spf1 ip4:192.0.2.9 -all");
    let senders = "[[allow]]\nsender = \"wanted.example\"\nfor = [\"bumbleton.example\"]\nreason = \"r\"\n\
                   [[block]]\nsender = \"*.prize.example\"\nthen = \"refuse\"\nreason = \"r\"\n";
    let gateway = gateway(&dns, senders, LIST);
    for (client, author, reply) in [
        (
            "192.0.2.9",
            "x@y.example",
            "550 5.7.1 this message looks like spam",
        ),
        ("192.0.2.8", "x@y.example", "250"),
        ("192.0.2.9", "x@wanted.example", "250"),
        (
            "192.0.2.8",
            "x@a.prize.example",
            "550 5.7.1 mail of this sender is not wanted here",
        ),
    ] {
        let said = send(&gateway, client, author, author);
        assert!(said.starts_with(reply), "{client} {author}: {said}");
    }
    let mail = results(&gateway, 2);
    assert!(
        mail.contains("DNSL_BAD(30)") && mail.contains("SENDER_ALLOWED(0)"),
        "{mail}"
    );
}

const TO: &str = "reception@bumbleton.example";
const AWFUL: &str = "[[rule]]\nname = \"TEST_AWFUL\"\nweight = 30\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"word\"\ndescription = \"for the test\"\n";
/// One that gives any message from outside a score in the band.
const SUSPECT: &str = "[[rule]]\nname = \"TEST_SUSPECT\"\nweight = 6.0\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"word\"\ndescription = \"for the test\"\n";
const LIST: &str = "[[dns-list]]\nname = \"test\"\nzone = \"list.example\"\nkind = \"ip\"\n\
    codes = [{ answer = \"127.0.0.2\", symbol = \"DNSL_BAD\", weight = 30, description = \"for the test\" }]\n";
