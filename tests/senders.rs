//! Who strangers are: a running gateway, a name server on loopback that has what a test puts there, and clients
//! from anywhere, by way of the PROXY protocol.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/strangers.rs"]
mod strangers;
mod support;

use std::time::{Duration, Instant};

use base64::Engine as _;
use name_server::NameServer;
use strangers::{TO, client, gateway, message, results};
use support::{Gateway, wait_for};

fn send(gateway: &Gateway, address: &str, envelope: &str, author: &str) -> String {
    client(gateway, address).submit(envelope, &[TO], &message(author))
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
fn our_own_mail_leaves_without_what_only_the_gateway_may_say() {
    let dns = NameServer::start();
    let gateway = gateway(&dns, "", "");
    let forged =
        "X-Mailer: ours\r\nAuthentication-Results: gateway.bumbleton.example; dmarc=pass\r\n";
    let message = [forged.as_bytes(), &message(TO)].concat();
    let reply = client(&gateway, "127.0.0.1").submit(TO, &["friend@friend.example"], &message);
    assert!(reply.starts_with("250"), "{reply}");
    let mail = gateway.wait_for_mail("friend@friend.example", 1).remove(0);
    let mail = String::from_utf8_lossy(&mail).to_lowercase();
    assert!(mail.contains("x-mailer: ours"), "{mail}");
    assert!(!mail.contains("dmarc=pass"), "{mail}");
}

/// Another program writes in the file of senders, and is slow.
fn lock(gateway: &Gateway) -> rusqlite::Connection {
    let file = gateway.folder.path().join("data/senders.db");
    let db = rusqlite::Connection::open(file).unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    db
}

/// How many pairs of mailbox and address the file has.
fn remembered(gateway: &Gateway) -> i64 {
    let file = gateway.folder.path().join("data/senders.db");
    let Ok(db) = rusqlite::Connection::open(file) else {
        return 0;
    };
    let count = db.query_row("SELECT count(*) FROM correspondent", [], |row| row.get(0));
    count.unwrap_or(0)
}

#[test]
fn no_reply_waits_for_the_memory_of_senders_and_what_it_missed_is_written_later() {
    let dns = NameServer::start().with_txt("friend.example", "v=spf1 ip4:192.0.2.7 -all");
    let mut gateway = gateway(&dns, "", AWFUL);
    let write_to = |gateway: &Gateway, to: &str| {
        let reply = client(gateway, "127.0.0.1").submit(TO, &[to], &message(TO));
        assert!(reply.starts_with("250"), "{reply}");
    };
    write_to(&gateway, "first@friend.example");
    wait_for("the memory", || (remembered(&gateway) == 1).then_some(()));
    let other = lock(&gateway);
    let (author, begun) = ("friend@friend.example", Instant::now());
    write_to(&gateway, author);
    let took = begun.elapsed();
    // A write would have waited for two seconds, and then have been given up.
    assert!(took < Duration::from_secs(2), "{took:?}");
    // It is known all the same, and at once.
    let reply = send(&gateway, "192.0.2.7", author, author);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(remembered(&gateway), 1);
    other.execute_batch("ROLLBACK").unwrap();
    wait_for("the other memory", || {
        (remembered(&gateway) == 2).then_some(())
    });
    // What is still in the air when the end comes is written, and a file that cannot be had is not waited for for long.
    write_to(&gateway, "third@friend.example");
    assert!(gateway.terminate());
    assert_eq!(remembered(&gateway), 3);
    gateway.restart();
    let other = lock(&gateway);
    write_to(&gateway, "fourth@friend.example");
    assert!(gateway.terminate());
    drop(other);
    assert_eq!(remembered(&gateway), 3);
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

#[test]
fn lists_by_file_by_address_and_by_domain_are_asked_what_they_know() {
    let file = b"a file that others have seen \0\x01\x02";
    // sha256sum | xxd -r -p | base32, and printf bad@author.example | sha1sum
    let of_file = "2dfqsk5bu6n5omgggh5bfqssl4dtoqgkfz2pewijlpkmytyv2bkq";
    let of_author = "70299bef8eb11ffb7fdaed12353aee1ba4b6ef91";
    let dns = NameServer::start()
        .with_address(&format!("{of_file}._file.files.example"), "127.0.0.2")
        .with_address(&format!("{of_author}.authors.example"), "127.0.0.2")
        .with_address("evil.example.domains.example", "127.0.1.2")
        .with_address("phish.example.domains.example", "127.0.1.4")
        // A list that does not answer keeps nobody waiting for longer than lists are waited for.
        .silent_for("7.2.0.192.silent.example");
    let gateway = gateway(&dns, "", LISTS);
    let seen = base64::engine::general_purpose::STANDARD.encode(file);
    let message = |number: usize, author: &str, text: &str, attachment: &str| {
        let plain = String::from_utf8(message(author)).unwrap();
        let (header, _) = plain.split_once("\r\n\r\n").unwrap();
        let header = header.replace("a word", &format!("case {number}"));
        format!(
            "{header}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{text}\r\n\
             --b\r\nContent-Type: application/octet-stream; name=data.bin\r\n\
             Content-Disposition: attachment; filename=data.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n\
             {attachment}\r\n--b--\r\n"
        )
    };
    let (good, harmless) = ("good@author.example", "aGFybWxlc3M=");
    let link = "<a href=\"https://www.phish.example/x\">the bank</a>";
    let all = [
        "DNSL_FILE(1.5)",
        "DNSL_AUTHOR(1.25)",
        "DNSL_EVIL(0.5)",
        "DNSL_PHISH(0.75)",
    ];
    for (number, (author, text, attachment, symbols)) in [
        (good, "hello", harmless, &[][..]),
        (good, "hello", seen.as_str(), &all[..1]),
        ("bad@author.example", "hello", harmless, &all[1..2]),
        ("x@mail.evil.example", "hello", harmless, &all[2..3]),
        (good, link, harmless, &all[3..]),
        ("bad@author.example", link, &seen, &[all[0], all[1], all[3]]),
    ]
    .into_iter()
    .enumerate()
    {
        let message = message(number, author, text, attachment);
        let begun = Instant::now();
        let reply = client(&gateway, "192.0.2.7").submit("x@y.example", &[TO], message.as_bytes());
        assert!(reply.starts_with("250"), "{number}: {reply}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        let mail = gateway.wait_for_mail(TO, number + 1);
        let mut mail = mail.iter().map(|one| String::from_utf8_lossy(one));
        let subject = format!("Subject: case {number}\r\n");
        let mail = mail.find(|one| one.contains(&subject)).unwrap();
        for symbol in all {
            let is_wanted = symbols.contains(&symbol);
            assert_eq!(mail.contains(symbol), is_wanted, "{symbol} in\n{mail}");
        }
    }
}

const AWFUL: &str = "[[rule]]\nname = \"TEST_AWFUL\"\nweight = 30\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"word\"\ndescription = \"for the test\"\n";
/// One that gives any message from outside a score in the band.
const SUSPECT: &str = "[[rule]]\nname = \"TEST_SUSPECT\"\nweight = 6.0\nwhen = \"header-matches\"\nheader = \"Subject\"\n\
    pattern = \"word\"\ndescription = \"for the test\"\n";
const LIST: &str = "[[dns-list]]\nname = \"test\"\nzone = \"list.example\"\nkind = \"ip\"\n\
    codes = [{ answer = \"127.0.0.2\", symbol = \"DNSL_BAD\", weight = 30, description = \"for the test\" }]\n";
const LISTS: &str = "[[dns-list]]\nname = \"files\"\nzone = \"_file.files.example\"\nkind = \"file-hash\"\nhash = \"sha256\"\n\
    codes = [{ answer = \"127.0.0.2\", symbol = \"DNSL_FILE\", weight = 1.5, description = \"for the test\" }]\n\
    [[dns-list]]\nname = \"authors\"\nzone = \"authors.example\"\nkind = \"address-hash\"\n\
    codes = [{ answer = \"127.0.0.2\", symbol = \"DNSL_AUTHOR\", weight = 1.25, description = \"for the test\" }]\n\
    [[dns-list]]\nname = \"domains\"\nzone = \"domains.example\"\nkind = \"domain\"\n\
    codes = [\n{ answer = \"127.0.1.2\", symbol = \"DNSL_EVIL\", weight = 0.5, description = \"for the test\" },\n\
    { answer = \"127.0.1.4\", symbol = \"DNSL_PHISH\", weight = 0.75, description = \"for the test\" }]\n\
    [[dns-list]]\nname = \"silent\"\nzone = \"silent.example\"\nkind = \"ip\"\n\
    codes = [{ answer = \"127.0.0.2\", symbol = \"DNSL_SILENT\", weight = 9.0, description = \"for the test\" }]\n";
