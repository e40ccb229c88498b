//! What Postfix says of mail, recipient by recipient, what comes of that, and that what it takes is what was sent.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::authority::{Authority, Wrong};
use super::exchange::{FROM, all_come_to, by_mx};
use super::name_server::{NameServer, mx};
use super::next_hop::secure_domain;
use super::postfix::{Postfix, Service};
use super::support::{Gateway, installed, stuffed, wait_for};

/// An exchanger, by the first label of its domain, and what is different there.
const EXCHANGERS: &[(&str, &[&str])] = &[
    ("whole", &[]),
    ("dotted", &["smtpd_discard_ehlo_keywords=chunking"]),
    ("small", &["message_size_limit=20000"]),
    (
        "unsaid",
        &[
            "message_size_limit=20000",
            "smtpd_discard_ehlo_keywords=size",
        ],
    ),
    ("mixed", &["smtpd_recipient_restrictions=$mixed_recipients"]),
    (
        "strict",
        &[
            "smtpd_hard_error_limit=2",
            "smtpd_recipient_restrictions=$mixed_recipients",
        ],
    ),
    ("reject", &["cleanup_service_name=cleanup-reject"]),
    ("hold", &["cleanup_service_name=cleanup-hold"]),
    ("end", &["smtpd_end_of_data_restrictions=$later_at_the_end"]),
    ("nodsn", &["smtpd_discard_ehlo_keywords=dsn"]),
    ("requires", &[]),
];

const MAIN: &str = "mixed_recipients = check_recipient_access regexp:FOLDER/recipients
later_at_the_end = check_client_access static:{451 4.3.0 come back later}
";
const MASTER: &str = "cleanup-reject unix n - n - 0 cleanup
  -o header_checks=regexp:FOLDER/reject
cleanup-hold unix n - n - 0 cleanup
  -o header_checks=regexp:FOLDER/hold
";

/// One message: for whom at which exchanger, how long, and what comes of each.
struct Case {
    at: &'static str,
    octets: usize,
    to: &'static [(&'static str, &'static [&'static str])],
}

const TAKEN: &[&str] = &["delivered; status: 2.0.0", "250 2.0.0 Ok: ", " queued as "];
const REFUSED: &[&str] = &["failed; status: 5.1.1", "550 5.1.1 <no", "no such person"];

const CASES: &[Case] = &[
    Case {
        at: "whole",
        octets: 100_000,
        to: &[("gp", TAKEN)],
    },
    // By what it says of itself before (RFC 1870), and by its word afterwards.
    Case {
        at: "small",
        octets: 10_000,
        to: &[("short", TAKEN)],
    },
    Case {
        at: "small",
        octets: 30_000,
        to: &[(
            "gp",
            &[
                "failed; status: 5.3.4",
                "the message is larger than the next hop takes",
            ],
        )],
    },
    Case {
        at: "unsaid",
        octets: 30_000,
        to: &[("gp", &["failed; status: 5.3.4", "552 5.3.4"])],
    },
    Case {
        at: "mixed",
        octets: 0,
        to: &[
            ("gp", TAKEN),
            ("no", REFUSED),
            (
                "later",
                &["deferred; status: 4.2.1", "450 4.2.1 <later", "not now"],
            ),
            ("desk", TAKEN),
        ],
    },
    // Nobody is left: what goes out with its envelope, and what waits until somebody will have it (RFC 2920 §3.1).
    Case {
        at: "mixed",
        octets: 0,
        to: &[("nobody", REFUSED)],
    },
    Case {
        at: "mixed",
        octets: 200_000,
        to: &[("nobody.large", REFUSED), ("no.large", REFUSED)],
    },
    Case {
        at: "mixed",
        octets: 0,
        to: &[("afterwards", TAKEN)],
    },
    // After two errors it hangs up with 421: whoever was not answered is tried again, and then he is alone.
    Case {
        at: "strict",
        octets: 0,
        to: &[("no1", REFUSED), ("no2", REFUSED), ("gp", TAKEN)],
    },
    Case {
        at: "reject",
        octets: 0,
        to: &[("gp", &["failed; status: 5.7.1", "550 5.7.1 not here"])],
    },
    Case {
        at: "hold",
        octets: 0,
        to: &[("gp", TAKEN)],
    },
    Case {
        at: "end",
        octets: 0,
        to: &[(
            "gp",
            &["deferred; status: 4.3.0", "451 4.3.0", "come back later"],
        )],
    },
];

/// All that may happen to octets on the way: dots, empty lines, trailing blanks, 8-bit and control octets, lines as
/// long as they may be.
fn odd() -> Vec<u8> {
    let mut message = b"From: <ward@nhs.net>\r\nSubject: octets\r\nMessage-ID: <odd@nhs.net>\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Folded: a\r\n\t b \r\n\r\n\
        .\r\n..\r\n.a dot\r\n. \r\nblanks \t\r\n \r\n\r\n\r\nFrom nobody\r\n>From nobody\r\n\x01\x7f\x0c\r\n\xc3\xa9 \xc2\xa3\r\n"
        .to_vec();
    message.extend(std::iter::repeat_n(b'x', 998));
    message.extend_from_slice(b"\r\n.");
    message.extend(std::iter::repeat_n(b'.', 997));
    message.extend_from_slice(b"\r\nthe last line\r\n\r\n");
    message
}

/// The names of the fields before the message, as it was sent, in what lies in a mailbox; `None` if it is not there
/// octet for octet.
fn added(lies: &[u8], sent: &[u8]) -> Option<BTreeSet<String>> {
    let sent = String::from_utf8_lossy(sent).replace("\r\n", "\n");
    let lies = String::from_utf8_lossy(lies);
    let before = lies.strip_suffix(&sent)?;
    let fields = before.lines().filter(|line| !line.starts_with([' ', '\t']));
    Some(
        fields
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect(),
    )
}

struct Running {
    postfix: Postfix,
    gateway: Gateway,
    _names: NameServer,
}

fn start() -> Option<Running> {
    let authority = Authority::new();
    let (mut services, mut names): (Vec<Service>, _) = (Vec::new(), NameServer::start());
    let mut files = vec![
        (
            "recipients",
            "/^no/ 550 5.1.1 no such person\n/^later/ 450 4.2.1 not now\n".to_owned(),
        ),
        ("reject", "/^Subject:/ REJECT not here\n".to_owned()),
        ("hold", "/^Subject:/ HOLD\n".to_owned()),
    ];
    let mut hosts = Vec::new();
    for ((name, options), last) in EXCHANGERS.iter().zip(1..) {
        let (domain, address) = (format!("{name}.example"), format!("127.26.4.{last}"));
        let host = format!("mx.{domain}");
        let mut with = vec!["smtpd_tls_chain_files=FOLDER/pem".to_owned()];
        with.extend(options.iter().map(|option| (*option).to_owned()));
        services.push((format!("{address}:25"), with));
        names = names
            .with(&domain, mx(10, &host))
            .with_address(&host, &address);
        hosts.push(host);
    }
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    files.push(("pem", authority.pem_for(&hosts, Wrong::Nothing)));
    let postfix = Postfix::start(&services, MAIN, MASTER, &files)?;
    let gateway = Gateway::start_with(|policies| {
        by_mx(policies, names.address, false, &authority);
        secure_domain(
            policies,
            "requires.example",
            "mx = [\"mx.requires.example\"]",
        );
    });
    Some(Running {
        postfix,
        gateway,
        _names: names,
    })
}

#[test]
fn what_postfix_says_of_each_recipient_is_what_comes_of_him_and_what_it_takes_is_what_was_sent() {
    // One Postfix for all: they share its addresses.
    let Some(running) = start() else { return };
    std::thread::scope(|scope| {
        for part in [answers, reports, requires_tls] {
            let running = &running;
            scope.spawn(move || part(running));
        }
    });
}

fn answers(running: &Running) {
    let (postfix, gateway) = (&running.postfix, &running.gateway);
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    // Every message has a sender of its own, so that reports can be told apart.
    for (case, nth) in CASES.iter().zip(0..) {
        let to: Vec<String> = case
            .to
            .iter()
            .map(|(local, _)| format!("{local}@{}.example", case.at))
            .collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let message = [odd(), b"0123456789\r\n".repeat(case.octets / 12)].concat();
        let reply = client.submit(&format!("s{nth}@nhs.net"), &to, &message);
        assert!(reply.starts_with("250 "), "{}: {reply}", case.at);
    }
    for at in ["whole", "dotted"] {
        let reply = client.submit(FROM, &[&format!("odd@{at}.example")], &odd());
        assert!(reply.starts_with("250 "), "{at}: {reply}");
    }
    // BINARYMIME is not offered, so that nothing ever comes in that could not be sent on.
    assert!(!client.command("EHLO ward.example").contains("BINARYMIME"));
    let reply = client.command("MAIL FROM:<ward@nhs.net> BODY=BINARYMIME");
    assert!(
        reply.starts_with("504 ") || reply.starts_with("555 "),
        "{reply}"
    );

    let every = CASES.iter().flat_map(|case| {
        let to = |local: &str| format!("{local}@{}.example", case.at);
        case.to
            .iter()
            .map(move |(local, words)| (to(local), words.to_vec()))
    });
    all_come_to(gateway, &every.collect::<Vec<_>>());
    for (case, nth) in CASES.iter().zip(0..) {
        let mut failed = 0;
        for (local, words) in case.to {
            let to = format!("{local}@{}.example", case.at);
            failed += usize::from(words[0].starts_with("failed"));
            if words == &TAKEN && case.at != "hold" {
                let lies = wait_for(&to, || postfix.mail_for(&to).pop());
                let message = [odd(), b"0123456789\r\n".repeat(case.octets / 12)].concat();
                assert!(
                    added(&lies, &message).is_some(),
                    "{to}: {}",
                    String::from_utf8_lossy(&lies)
                );
                assert_eq!(postfix.mail_for(&to).len(), 1, "{to}");
            } else {
                assert!(postfix.mail_for(&to).is_empty(), "{to}");
            }
        }
        if failed > 0 {
            let report = gateway.wait_for_mail(&format!("s{nth}@nhs.net"), 1);
            let reports = report.iter().map(|one| {
                String::from_utf8_lossy(one)
                    .matches("\r\nAction: failed")
                    .count()
            });
            assert_eq!(reports.sum::<usize>(), failed, "{}", case.at);
        }
    }
    assert_eq!(postfix.queued("hold"), 1);
    for at in ["whole", "dotted"] {
        let to = format!("odd@{at}.example");
        let lies = wait_for(&to, || postfix.mail_for(&to).pop());
        let added = added(&lies, &odd())
            .unwrap_or_else(|| panic!("{at}: {}", String::from_utf8_lossy(&lies)));
        let trace = [
            "Authentication-Results",
            "Delivered-To",
            "Received",
            "Return-Path",
            "X-Original-To",
        ];
        let others = added.iter().filter(|name| !trace.contains(&name.as_str()));
        assert_eq!(others.count(), 0, "{added:?}");
    }
    // In a chunk where that is offered, with dots where not: Postfix counts commands when a connection ends.
    wait_for("both forms", || {
        let log = postfix.log();
        (log.contains(" bdat=") && log.contains(" data=")).then_some(())
    });
}

/// Reports are asked for where they are offered, and made here where they are not.
fn reports(running: &Running) {
    let (postfix, gateway) = (&running.postfix, &running.gateway);
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    for (to, from) in [
        ("dsn@whole.example", "told@elsewhere.example"),
        ("gp@nodsn.example", "relayed@nhs.net"),
    ] {
        let commands = [
            format!("MAIL FROM:<{from}> RET=HDRS ENVID=ward+2B17"),
            format!("RCPT TO:<{to}> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@whole.example"),
        ];
        for command in commands {
            let reply = client.command(&command);
            assert!(reply.starts_with("250 "), "{command}: {reply}");
        }
        client.command("DATA");
        client.send(&stuffed(&odd()));
        let reply = client.reply();
        assert!(reply.starts_with("250 "), "{reply}");
    }
    // Postfix was asked, and tells the sender itself that it was delivered.
    all_come_to(gateway, &[("dsn@whole.example".to_owned(), TAKEN.to_vec())]);
    let report = wait_for("the report of Postfix", || {
        postfix.mail_for("told@elsewhere.example").pop()
    });
    let report = String::from_utf8_lossy(&report).into_owned();
    for part in [
        "Original-Envelope-Id: ward+17",
        "Original-Recipient: rfc822;old@whole.example",
        "Action: delivered",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    // Nobody will: so the gateway says how far it came.
    let report = gateway.wait_for_mail("relayed@nhs.net", 1);
    let report = String::from_utf8_lossy(&report[0]).into_owned();
    for part in [
        "Original-Envelope-Id: ward+17",
        "Action: relayed",
        "Final-Recipient: rfc822; gp@nodsn.example",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
}

/// A client with TLS, which a message with REQUIRETLS must come by (RFC 8689 §4.1).
const REQUIRING: &str = "
import smtplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
client = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), 'ward.example', timeout=30)
client.starttls(context=context)
client.ehlo('ward.example')
assert client.has_extn('requiretls'), client.esmtp_features
client.sendmail('requires@nhs.net', ['gp@requires.example'], sys.stdin.buffer.read(), ['REQUIRETLS'])
";

/// What requires TLS all the way goes to no exchanger that does not promise it.
fn requires_tls(running: &Running) {
    if !installed("python3") {
        return;
    }
    let (postfix, gateway) = (&running.postfix, &running.gateway);
    let mut client = Command::new("python3")
        .args(["-c", REQUIRING, &gateway.relay.to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let message = b"From: <ward@nhs.net>\r\nSubject: hours\r\n\r\nNine to five.\r\n";
    client.stdin.take().unwrap().write_all(message).unwrap();
    assert!(client.wait().unwrap().success());
    // Postfix 3.7 has right certificates and no REQUIRETLS (RFC 8689 §4.2.1, §5).
    let words = vec!["failed; status: 5.7.30", "does not support REQUIRETLS"];
    all_come_to(gateway, &[("gp@requires.example".to_owned(), words)]);
    let report = gateway.wait_for_mail("requires@nhs.net", 1);
    assert!(String::from_utf8_lossy(&report[0]).contains("Status: 5.7.30"));
    assert!(postfix.mail_for("gp@requires.example").is_empty());
}
