//! What is in a message, and a password, appears nowhere but in the message: not in the log at its most
//! talkative, the metrics, a reply, the audit trail or what a command prints.

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/next_hop.rs"]
mod next_hop;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};

use authority::{Authority, Wrong};
use next_hop::{NextHop, Protection, routes};
use support::{Client, Gateway, wait_for};

/// Words that nobody says but the message itself or its sender's password.
const CANARIES: [&str; 8] = [
    "canarysubject",
    "canarybody",
    "canaryheader",
    "canaryfile",
    "canarypassword",
    "Y2FuYXJ5",         // "canary" in base64
    "NDUwNTU3NzEwNA",   // the number in base64
    "NDUwIDU1NyA3MTA0", // and grouped
];

/// Everything that was seen from outside, and where.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    fn add_output(&mut self, place: &str, output: &Output) -> String {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        self.add(place, said.clone());
        self.add(place, String::from_utf8_lossy(&output.stderr));
        said
    }

    fn assert_silent(&self, secret: &str) {
        let mut leaks = String::new();
        for (place, text) in &self.0 {
            let lower = text.to_lowercase();
            if alphanumeric(text).contains(NUMBER) {
                leaks += &format!("{NUMBER} in some grouping in {place}:\n{text}\n");
            }
            for canary in CANARIES.into_iter().chain([secret]) {
                if lower.contains(&canary.to_lowercase()) {
                    leaks += &format!("{canary} in {place}:\n{text}\n");
                }
            }
        }
        assert!(leaks.is_empty(), "{leaks}");
    }
}

/// The number that is planted.
const NUMBER: &str = "4505577104";

/// Letters and digits alone: however a number is grouped, folded or marked up with signs.
fn alphanumeric(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// A gateway that logs all there is, and believes the relay port's clients who they are.
fn talkative(policies: &Path) {
    let file = policies.join("postern.toml");
    let mut text = fs::read_to_string(&file).expect("postern.toml");
    for (from, to) in [
        ("level = \"info\"", "level = \"trace\""),
        ("proxy-protocol = false", "proxy-protocol = true"),
    ] {
        assert!(text.contains(from));
        text = text.replacen(from, to, 1);
    }
    fs::write(&file, text).expect("a changed file");
}

/// A connection to the relay port from that address.
fn connect(gateway: &Gateway, client: &str) -> Client {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.relay)).expect("a connection");
    let header = format!("PROXY TCP4 {client} 127.0.0.1 4711 25\r\n");
    stream.write_all(header.as_bytes()).expect("a header");
    Client::over(stream)
}

/// A message with patient data, a file of that name and whatever else is asked for.
fn message(subject: &str, file: &str, content: &str) -> Vec<u8> {
    format!(
        "From: <pharmacy.fa001@nhs.net>\r\nSubject: {subject} canarysubject\r\nX-Canary: canaryheader\r\n\
         Message-ID: <one@bumbleton.example>\r\nDate: Fri, 20 Nov 2026 09:30:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=part\r\n\r\n\
         --part\r\nContent-Type: text/plain\r\n\r\ncanarybody: the patient's NHS number is 450 557 7104.\r\n\
         --part\r\nContent-Type: application/octet-stream; name=\"{file}\"\r\n\
         Content-Disposition: attachment; filename=\"{file}\"\r\n\r\n{content}\r\n--part--\r\n"
    )
    .into_bytes()
}

const SENDER: &str = "pharmacy.fa001@nhs.net";
const OUTSIDE: &str = "patient@example.com";
const INSIDE: &str = "gp@nhs.net";

/// Sends messages that come to every end, and returns what was said to them.
fn send_messages(gateway: &Gateway) -> Vec<String> {
    let table = "number,name\r\n450 557 7104,canarybody";
    let messages = [
        (INSIDE, message("Query", "canaryfile.csv", table)),
        (OUTSIDE, message("Query", "canaryfile.csv", table)),
        (OUTSIDE, message("[secure] Query", "canaryfile.txt", table)),
        (
            OUTSIDE,
            message(
                "{secure} Query",
                "canaryfile.zip",
                "PK\x03\x04broken canarybody",
            ),
        ),
        (INSIDE, message("Tool", "canaryfile.exe", "MZ canarybody")),
        (INSIDE, message("Half \rof it", "canaryfile.txt", table)),
    ];
    let mut client = connect(gateway, "127.0.0.1");
    let mut said = vec![client.command("EHLO x")];
    for (to, message) in &messages {
        said.push(client.submit(SENDER, &[to], message));
    }
    let spam = b"From: \"helpdesk@nhs.net\" <prize@elsewhere.example>\r\nReply-To: winner@another.example\r\n\
        Subject: CANARYSUBJECT YOU HAVE WON A PRIZE CLAIM IT NOW\r\nPrecedence: bulk\r\n\r\ncanarybody\r\n";
    let mut stranger = connect(gateway, "192.0.2.55");
    stranger.command("EHLO x");
    said.push(stranger.submit("prize@elsewhere.example", &[SENDER], spam));
    // A client that does not read the refusal of its DATA says the message as commands.
    said.push(client.command("DATA"));
    for line in [
        "Subject: canarysubject",
        "canarybody",
        "the NHS number 450 557 7104",
        "RCPT TO:<canarybody",
        "MAIL FROM:<a@b.example> CANARYBODY=4505577104",
    ] {
        said.push(client.command(line));
    }
    // And one that leaves in the middle.
    let mut leaving = connect(gateway, "127.0.0.1");
    for command in [
        "EHLO x",
        "MAIL FROM:<pharmacy.fa001@nhs.net>",
        "RCPT TO:<gp@nhs.net>",
        "DATA",
    ] {
        said.push(leaving.command(command));
    }
    leaving.send(b"Subject: canarysubject\r\n\r\ncanarybody");
    said
}

/// Logs in with passwords right and wrong, in clear and over TLS. Returns the right one.
fn log_in(gateway: &Gateway, seen: &mut Seen) -> String {
    let mut clear = Client::connect(gateway.submission);
    for command in [
        "EHLO x",
        "AUTH PLAIN AGNhbmFyeQBjYW5hcnlwYXNzd29yZA==",
        "AUTH LOGIN",
        "canarypassword",
        "AUTH PLAIN canarypassword=",
    ] {
        seen.add(
            format!("the reply to {}", &command[..4]),
            clear.command(command),
        );
    }
    let body = gateway.folder.path().join("to-send.eml");
    let sent = message("Sent", "canaryfile.csv", "canarybody");
    fs::write(&body, sent).expect("a file");
    let added = gateway.postern(&["account", "add", SENDER, "--json"]);
    let added: serde_json::Value = serde_json::from_slice(&added.stdout).expect("JSON");
    let secret = added["secret"].as_str().expect("a secret").to_owned();
    gateway.signal("-HUP");
    let mut send = |tls, password: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_postern"))
            .args([
                "send",
                "--from",
                SENDER,
                "--to",
                INSIDE,
                "--username",
                SENDER,
            ])
            .args(["--tls", tls, "--file"])
            .arg(&body)
            .args(["--server", &format!("127.0.0.1:{}", gateway.submission)])
            .arg("--ca")
            .arg(gateway.folder.path().join("certs/ca.pem"))
            .env("POSTERN_PASSWORD", password)
            .output()
            .expect("postern runs");
        seen.add_output("send", &output);
        output.status.success()
    };
    assert!(!send("starttls", "canarypassword") && !send("none", "canarypassword"));
    wait_for("the account", || send("starttls", &secret).then_some(()));
    secret
}

/// Everything that can be asked about the mail. Returns the questions that nothing was said to.
fn ask(gateway: &Gateway, replies: &[String], seen: &mut Seen) -> Vec<String> {
    let file = gateway
        .folder
        .path()
        .join("message.eml")
        .display()
        .to_string();
    fs::write(
        &file,
        message("Query", "canaryfile.zip", "PK\x03\x04broken 450 557 7104"),
    )
    .expect("a file");
    let mut questions: Vec<Vec<String>> = [
        "check",
        "queue list",
        "quarantine list",
        "trace patient@example.com",
        "trace gp@nhs.net",
        "trace <one@bumbleton.example>",
        "audit export",
        "audit verify",
        "account list",
    ]
    .iter()
    .map(|words| words.split(' ').map(str::to_owned).collect())
    .collect();
    questions.push(
        [
            "explain", "--from", SENDER, "--to", OUTSIDE, "--to", INSIDE, &file,
        ]
        .map(str::to_owned)
        .into(),
    );
    for reply in replies {
        if let Some(start) = reply.find("PX-") {
            let reference: String = reply[start..]
                .chars()
                .take_while(|c| !c.is_whitespace())
                .collect();
            for command in ["explain", "trace"] {
                questions.push(vec![command.to_owned(), reference.clone()]);
            }
        }
    }
    for kind in ["queue", "quarantine"] {
        let listed = gateway.postern(&[kind, "list", "--json"]);
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let reference = row["reference"].as_str().expect("a reference").to_owned();
            questions.push(vec![kind.to_owned(), "show".to_owned(), reference]);
        }
    }
    let mut unanswered = Vec::new();
    for question in questions {
        for json in [None, Some("--json")] {
            let words: Vec<&str> = question.iter().map(String::as_str).chain(json).collect();
            let said = seen.add_output(&words.join(" "), &gateway.postern(&words));
            if said.is_empty() {
                unanswered.push(words.join(" "));
            }
        }
    }
    unanswered
}

fn metrics(gateway: &Gateway) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.metrics)).expect("a connection");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn what_is_in_a_message_and_a_password_are_seen_nowhere_from_outside() {
    let mut gateway = Gateway::start_with(talkative);
    let mut seen = Seen::default();

    let replies = send_messages(&gateway);
    let secret = log_in(&gateway, &mut seen);
    gateway.wait_for_mail(INSIDE, 1);
    wait_for("held mail", || {
        let listed = gateway.postern(&["queue", "list", "--json"]);
        (!listed.stdout.is_empty()).then_some(())
    });
    let unanswered = ask(&gateway, &replies, &mut seen);
    assert_eq!(unanswered, Vec::<String>::new());
    seen.add("the metrics", metrics(&gateway));
    assert!(gateway.terminate());
    let log = gateway.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "{log}");
    seen.add("the log", log);
    seen.add("the banner", gateway.banner());
    for reply in replies {
        seen.add("a reply", reply);
    }

    seen.assert_silent(&secret);
}

/// Messages with the number in every place, each with evidence that it is one but the last two.
fn planted() -> Vec<String> {
    let with = |fields: &str, body: &str| {
        let id = match fields.contains("Message-ID") {
            true => "",
            false => "Message-ID: <one@bumbleton.example>\r\n",
        };
        format!("From: <{SENDER}>\r\nMIME-Version: 1.0\r\n{id}{fields}\r\n{body}\r\n")
    };
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n";
    vec![
        with("Subject: canarysubject NHS number 450 557 7104\r\n", "x"),
        with("Subject: =?utf-8?B?TkhTIG51bWJlciA0NTA1NTc3MTA0?=\r\n", "x"),
        with("Subject: NHS number 450\r\n 557\r\n 7104\r\n", "x"),
        with(
            "Comments: canaryheader patient 4505577104, NHS number\r\n",
            "x",
        ),
        with(
            "Content-Type: text/html\r\n",
            "<p>canarybody NHS number <b>450</b>&nbsp;557 71<i>04</i>",
        ),
        with(
            "Content-Type: image/png; name=\"canaryfile NHS no 450-557-7104.png\"\r\n",
            "x",
        ),
        with(
            "Content-Type: text/csv; name=a.csv\r\nContent-Transfer-Encoding: base64\r\n",
            "bmhzIG51bWJlcixuYW1lDQo0NTAgNTU3IDcxMDQsY2FuYXJ5Ym9keQ0K",
        ),
        with(
            "Message-ID: <nhs.4505577104@ward.example>\r\n",
            "NHS number 450 557 7104",
        ),
        with(
            "To: \"NHS number 450 557 7104\" <someone@example.com>\r\n",
            "x",
        ),
        // Malformed: no boundary, no end, no header of its own.
        with(
            "Content-Type: multipart/mixed\r\n",
            "--b\r\n\r\nNHS number 450 557 7104",
        ),
        with(mixed, "--b\r\nNHS number 450 557 7104\r\n\r\nx"),
        "NHS number 450 557 7104\r\n".to_owned(),
        // Too little evidence to restrict anything, but evidence.
        with("Subject: 4505577104\r\n", "x"),
        with("Subject: about canarysubject\r\n", "4505577104"),
    ]
}

/// Refused by a next hop that repeats what it refuses; taken by two; kept here.
const ENDS: [&str; 4] = ["a@echo.gov.uk", "b@met.police.uk", INSIDE, OUTSIDE];

fn held(gateway: &Gateway) -> Vec<String> {
    let listed = gateway.postern(&["queue", "list", "--state", "held", "--json"]);
    let text = String::from_utf8(listed.stdout).expect("JSON");
    let rows = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    rows.map(|row: serde_json::Value| row["reference"].as_str().expect("a reference").to_owned())
        .collect()
}

#[test]
fn evidence_is_shown_nowhere_whatever_becomes_of_the_message() {
    let authority = Authority::new();
    let tls = Protection::Tls(authority.server(Wrong::Nothing));
    let taking = NextHop::start(&tls);
    let echo = "550-5.7.1 this has NHS number 450 557\r\n550 5.7.1 7104 in it, or 4505577104\r\n";
    let refusing = NextHop::answering(&tls, echo);
    let mut gateway = Gateway::start_with(|policies| {
        talkative(policies);
        let hops = [
            ("echo.gov.uk", &refusing),
            ("met.police.uk", &taking),
            ("low.example", &refusing),
        ];
        routes(policies, &authority, &hops);
    });
    let mut seen = Seen::default();
    let mut client = connect(&gateway, "127.0.0.1");
    client.command("EHLO x");
    let mut replies = Vec::new();
    let messages = planted();
    let unsure = messages.len() - 2;
    for (at, message) in messages.iter().enumerate() {
        let to: &[&str] = if at < unsure {
            &ENDS
        } else {
            &["d@low.example"]
        };
        let reply = client.submit(SENDER, to, message.as_bytes());
        assert!(reply.starts_with("250"), "{reply}");
        replies.push(reply);
    }
    // Reports of what was refused by the next hop, notices of what is held.
    let told = gateway.wait_for_mail(SENDER, messages.len() + unsure);
    wait_for("what is taken", || {
        (taking.messages().len() == unsure).then_some(())
    });
    let waiting = held(&gateway);
    assert_eq!(waiting.len(), unsure);
    ask(&gateway, &replies, &mut seen);
    for (at, reference) in waiting.iter().enumerate() {
        let order = if at % 2 == 0 { "release" } else { "fail" };
        let said = gateway.postern(&["queue", order, reference, "--reason", "a person said so"]);
        assert!(said.status.success());
        seen.add_output(order, &said);
    }
    let failed = waiting.len() / 2;
    gateway.wait_for_mail(SENDER, told.len() + failed);
    gateway.wait_for_mail(OUTSIDE, waiting.len() - failed);
    ask(&gateway, &replies, &mut seen);
    for mail in gateway.mail_for(SENDER) {
        seen.add("a report or notice", String::from_utf8_lossy(&mail));
    }
    seen.add("the metrics", metrics(&gateway));
    assert!(gateway.terminate());
    seen.add("the log", gateway.log());
    for reply in replies {
        seen.add("a reply", reply);
    }

    seen.assert_silent("no password here");
}
