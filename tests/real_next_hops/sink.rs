//! `smtp-sink` with each of its faults, and a message with three recipients: what comes of each of them, and that in
//! the end nothing is lost and nothing is there twice.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use super::authority::Authority;
use super::exchange::{all_come_to, by_mx};
use super::name_server::{NameServer, mx};
use super::next_hop::edit;
use super::support::{Gateway, wait_for};

/// What comes of the message, for each of its recipients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Comes {
    /// Taken: one copy.
    Delivered,
    /// Tried again; taken in one copy once the fault is mended.
    Deferred,
    /// Failed: a report.
    Failed,
}
use Comes::{Deferred, Delivered, Failed};

/// Name, what `smtp-sink` is told, what comes of it, and words of the trail.
type Case = (&'static str, &'static [&'static str], Comes, &'static str);

const CASES: &[Case] = &[
    ("well", &[], Delivered, "250 2.0.0 Ok"),
    ("old", &["-e"], Delivered, "250 2.0.0 Ok"),
    ("cisco", &["-P"], Delivered, "250 2.0.0 Ok"),
    ("single", &["-p"], Delivered, "250 2.0.0 Ok"),
    ("no8bit", &["-8"], Delivered, "250 2.0.0 Ok"),
    ("nodsn", &["-N"], Delivered, "250 2.0.0 Ok"),
    ("nocodes", &["-E"], Delivered, "250 "),
    ("slowdata", &["-w", "1"], Delivered, "250 2.0.0 Ok"),
    ("slowread", &["-H", "1"], Delivered, "250 2.0.0 Ok"),
    (
        "slowrcpt",
        &["-p", "-W", "RCPT:1"],
        Delivered,
        "250 2.0.0 Ok",
    ),
    ("slowend", &["-W", ".:1"], Delivered, "250 2.0.0 Ok"),
    ("window", &["-T", "100"], Delivered, "250 2.0.0 Ok"),
    // Somebody there who will not speak to us may do so tomorrow.
    (
        "f-connect",
        &["-f", "CONNECT"],
        Deferred,
        "500 5.3.0 Error: command failed",
    ),
    (
        "f-helo",
        &["-e", "-f", "HELO"],
        Deferred,
        "500 5.3.0 Error: command failed",
    ),
    // HELO is left.
    ("f-ehlo", &["-f", "EHLO"], Delivered, "250 2.0.0 Ok"),
    (
        "f-mail",
        &["-f", "MAIL"],
        Failed,
        "500 5.3.0 Error: command failed",
    ),
    (
        "f-rcpt",
        &["-f", "RCPT"],
        Failed,
        "500 5.3.0 Error: command failed",
    ),
    (
        "f-data",
        &["-f", "DATA"],
        Failed,
        "500 5.3.0 Error: command failed",
    ),
    (
        "f-end",
        &["-f", "."],
        Failed,
        "500 5.3.0 Error: command failed",
    ),
    ("f-quit", &["-f", "QUIT"], Delivered, "250 2.0.0 Ok"),
    (
        "words",
        &["-B", "554 5.7.1 not from you", "-f", "RCPT"],
        Failed,
        "554 5.7.1 not from you",
    ),
    ("abort", &["-A", "0"], Failed, "550 "),
    (
        "r-connect",
        &["-r", "CONNECT"],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "r-ehlo",
        &["-r", "EHLO"],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "r-mail",
        &["-r", "MAIL"],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "r-rcpt",
        &["-r", "RCPT"],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "r-data",
        &["-r", "DATA"],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "r-end",
        &["-r", "."],
        Deferred,
        "450 4.3.0 Error: command failed",
    ),
    (
        "full",
        &["-b", "452 4.2.2 mailbox full", "-r", "RCPT"],
        Deferred,
        "452 4.2.2 mailbox full",
    ),
    (
        "q-connect",
        &["-q", "CONNECT"],
        Deferred,
        "the connection was lost",
    ),
    (
        "q-ehlo",
        &["-q", "EHLO"],
        Deferred,
        "the connection was lost",
    ),
    (
        "q-mail",
        &["-q", "MAIL"],
        Deferred,
        "the connection was lost",
    ),
    (
        "q-rcpt",
        &["-q", "RCPT"],
        Deferred,
        "the connection was lost",
    ),
    (
        "q-data",
        &["-q", "DATA"],
        Deferred,
        "the connection was lost",
    ),
    // It may have had the message: the only one of them where a second copy could not be helped.
    ("q-end", &["-q", "."], Deferred, "the connection was lost"),
    ("q-quit", &["-q", "QUIT"], Delivered, "250 2.0.0 Ok"),
    (
        "c-connect",
        &["-Q", "CONNECT"],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "c-ehlo",
        &["-Q", "EHLO"],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "c-mail",
        &["-Q", "MAIL"],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "c-rcpt",
        &["-Q", "RCPT"],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "c-data",
        &["-Q", "DATA"],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "c-end",
        &["-Q", "."],
        Deferred,
        "421 4.0.0 Server closing connection",
    ),
    (
        "lmtp",
        &["-L"],
        Deferred,
        "500 5.5.1 Error: unknown command",
    ),
    // By a route of its own, which speaks LMTP: a reply for each recipient.
    (BY_LMTP, &["-L"], Delivered, "250 2.2.0 Ok"),
];

/// One of them, with a folder of what it took.
struct Sink {
    child: Child,
    folder: tempfile::TempDir,
}

impl Sink {
    fn start(address: &str, options: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sink")
            .tempdir_in("/tmp")
            .unwrap();
        // It writes as nobody.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let child = Command::new(PROGRAM)
            .args([
                "-u",
                "nobody",
                "-d",
                &format!("{}/m.", folder.path().display()),
            ])
            .args(options)
            .args([address, "100"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let sink = Self { child, folder };
        wait_for("smtp-sink to listen", || TcpStream::connect(address).ok());
        sink
    }

    /// For whom it took messages: each recipient as often as he was served.
    fn taken(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path()).unwrap().flatten();
        let texts =
            files.map(|file| String::from_utf8_lossy(&fs::read(file.path()).unwrap()).into_owned());
        // One that broke off has no text.
        let whole = texts.filter(|text| text.contains("Nine to five."));
        let mut to: Vec<String> = whole.flat_map(|text| recipients(&text)).collect();
        to.sort();
        to
    }
}

fn recipients(dump: &str) -> Vec<String> {
    let lines = dump
        .lines()
        .filter_map(|line| line.strip_prefix("X-Rcpt-Args: <"));
    lines
        .map(|rest| rest.split('>').next().unwrap().to_owned())
        .collect()
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROGRAM: &str = "/usr/sbin/smtp-sink";
const BY_LMTP: &str = "by-lmtp";

#[test]
fn a_message_with_three_recipients_comes_whole_through_every_fault_of_smtp_sink() {
    let addresses: Vec<String> = (1..=CASES.len())
        .map(|last| format!("127.26.2.{last}"))
        .collect();
    if !std::path::Path::new(PROGRAM).exists() {
        return eprintln!("skipped: {PROGRAM} is not installed");
    }
    if let Err(error) = TcpListener::bind((addresses[0].as_str(), 25)) {
        return eprintln!("skipped: port 25 of {}: {error}", addresses[0]);
    }
    let mut names = NameServer::start();
    let mut sinks = Vec::new();
    for ((name, options, ..), address) in CASES.iter().zip(&addresses) {
        let (domain, host) = (format!("{name}.example"), format!("mx.{name}.example"));
        names = names
            .with(&domain, mx(10, &host))
            .with_address(&host, address);
        sinks.push(Sink::start(&format!("{address}:25"), options));
    }
    let authority = Authority::new();
    let gateway = Gateway::start_with(|policies| {
        by_mx(policies, names.address, false, &authority);
        let at = CASES
            .iter()
            .position(|(name, ..)| *name == BY_LMTP)
            .unwrap();
        let home = "[[route]]\nname = \"home\"";
        let route = format!(
            "[[route]]\nname = \"lmtp\"\nrecipients = [\"{BY_LMTP}.example\"]\nlmtp = \"{}:25\"\n\n{home}",
            addresses[at]
        );
        edit(policies, "postern.toml", home, &route);
    });
    let three = |name: &str| ["a", "b", "c"].map(|local| format!("{local}@{name}.example"));
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    for (name, ..) in CASES {
        let message = format!("From: <{name}@nhs.net>\r\nSubject: hours\r\n\r\nNine to five.\r\n");
        let to = three(name);
        let to = to.each_ref().map(String::as_str);
        let reply = client.submit(&format!("{name}@nhs.net"), &to, message.as_bytes());
        assert!(reply.starts_with("250 "), "{name}: {reply}");
    }

    // Where 8 bits are not taken nothing is encoded anew: somebody may have signed it (RFC 6152 §3).
    let eight = "From: <eight@nhs.net>\r\nSubject: hours\r\n\r\nNine to five \u{e0} la carte.\r\n";
    let reply = client.submit("eight@nhs.net", &["eight@no8bit.example"], eight.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
    let eight = vec![
        "failed; status: 5.6.3",
        "the next hop takes no 8-bit messages",
    ];
    all_come_to(&gateway, &[("eight@no8bit.example".to_owned(), eight)]);

    let every = CASES.iter().flat_map(|(name, _, comes, words)| {
        let kind = match comes {
            Delivered => "delivered",
            Deferred => "deferred; status: 4.",
            Failed => "failed; status: 5.",
        };
        three(name).map(|to| (to, vec![kind, *words]))
    });
    all_come_to(&gateway, &every.collect::<Vec<_>>());
    for (name, ..) in CASES.iter().filter(|(_, _, comes, _)| *comes == Failed) {
        let reports = gateway.wait_for_mail(&format!("{name}@nhs.net"), 1);
        let report = String::from_utf8_lossy(&reports[0]).into_owned();
        for to in three(name) {
            let part = format!("Final-Recipient: rfc822; {to}");
            assert!(report.contains(&part), "{part} in {report}");
        }
    }
    // What waits has a time for its next attempt.
    let waits = gateway.postern(&["queue", "list", "--json"]);
    let waits = String::from_utf8(waits.stdout).unwrap();
    for (name, _, comes, _) in CASES {
        let there = waits.contains(&format!("@{name}.example\""));
        assert_eq!(there, *comes == Deferred, "{name}: {waits}");
    }
    // The faults are mended: each of them in turn gives way to one without.
    let mut mended = Vec::new();
    for (((name, _, comes, _), address), sink) in CASES.iter().zip(&addresses).zip(sinks) {
        if *comes != Deferred {
            let copies = if *comes == Delivered {
                three(name).to_vec()
            } else {
                Vec::new()
            };
            if *comes == Delivered {
                assert_eq!(sink.taken(), copies, "{name}");
            }
            continue;
        }
        drop(sink);
        mended.push((name, Sink::start(&format!("{address}:25"), &[])));
    }
    assert!(
        gateway
            .postern(&["queue", "retry", "--all"])
            .status
            .success()
    );
    let every = mended.iter().flat_map(|(name, _)| three(name));
    let every = every.map(|to| (to, vec!["delivered", "250 2.0.0 Ok"]));
    all_come_to(&gateway, &every.collect::<Vec<_>>());
    for (name, sink) in &mended {
        assert_eq!(sink.taken(), three(name).to_vec(), "{name}");
    }
}
