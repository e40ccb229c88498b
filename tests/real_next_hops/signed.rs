//! DANE (RFC 7672) with a zone that is really signed, by `ldns-signzone`, a resolver that really validates, `unbound`
//! with our key as its trust anchor, and Postfix as exchanger with certificates that nobody else vouches for.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::authority::{Authority, Wrong};
use super::exchange::{HOURS, all_come_to, by_mx, send_each};
use super::postfix::{Postfix, Service};
use super::program::Program;
use super::support::{Gateway, free_port, installed, wait_for};

/// What the TLSA records of a domain announce, and what comes of mail for it.
type Case = (&'static str, Announces, &'static [&'static str]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Announces {
    /// The key that is shown.
    This,
    /// Another one, alone.
    Another,
    /// The one before and the one that is shown (RFC 7671 §8.1).
    Both,
}

const DANE: &[&str] = &[
    "delivered",
    " verified for ",
    "named by DNS, signed",
    "authenticated: dane",
];
const NO_MATCH: &[&str] = &[
    "deferred; status: 4.7.5",
    "is not the one that its TLSA records announce",
];

const CASES: &[Case] = &[
    ("right", Announces::This, DANE),
    ("wrong", Announces::Another, NO_MATCH),
    ("rolled", Announces::Both, DANE),
    // The new key is shown, and the record is still of the old one: until that is put right.
    ("stale", Announces::Another, NO_MATCH),
    // The record would be right, and its signature is not: it is as good as kept from us (RFC 7672 §2.1.1).
    (
        "bogus",
        Announces::This,
        &[
            "deferred; status: 4.7.5",
            "the TLSA records of the next hop mx.bogus.example",
        ],
    ),
    // Nobody vouches for the record: it counts for nothing, right or wrong.
    (
        "insecure",
        Announces::Another,
        &[
            "delivered",
            " unverified for ",
            "named by DNS, unsigned",
            "authenticated: none",
        ],
    ),
];

/// The resolver, and the zones that it serves itself with.
struct Unbound {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Unbound {
    /// Signs the zone and starts the resolver at this port.
    fn start(port: u16, zone: &str, insecure: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let key = ldns(path, &["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "."]);
        fs::write(path.join("root.zone"), zone).unwrap();
        fs::write(path.join("insecure.zone"), insecure).unwrap();
        ldns(
            path,
            &[
                "ldns-signzone",
                "-o",
                ".",
                "-f",
                "signed.zone",
                "root.zone",
                key.trim(),
            ],
        );
        let signed = fs::read_to_string(path.join("signed.zone")).unwrap();
        fs::write(path.join("signed.zone"), spoilt(&signed)).unwrap();
        let settings = format!(
            "server:\n interface: 127.0.0.1@{port}\n directory: \"{path}\"\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n \
             pidfile: \"\"\n use-syslog: no\n logfile: \"{path}/unbound.log\"\n val-log-level: 2\n module-config: \"validator iterator\"\n \
             trust-anchor-file: \"{path}/{key}.key\"\n do-not-query-localhost: no\nremote-control:\n control-enable: no\n{}{}",
            served(".", "signed.zone"),
            served("insecure.example.", "insecure.zone"),
            path = path.display(),
            key = key.trim(),
        );
        fs::write(path.join("unbound.conf"), settings).unwrap();
        let said = fs::File::create(path.join("said.txt")).unwrap();
        let child = Command::new("/usr/sbin/unbound")
            .arg("-c")
            .arg(path.join("unbound.conf"))
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        let mut unbound = Self {
            child,
            folder,
            port,
        };
        wait_for("unbound to answer", || {
            let ended = unbound.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended at once: {}", unbound.log());
            unbound.answers()
        });
        unbound
    }

    /// Whether it answers a question for the root.
    fn answers(&self) -> Option<()> {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        let limit = std::time::Duration::from_millis(200);
        socket.set_read_timeout(Some(limit)).ok()?;
        // RFC 1035 §4.1: recursion desired, one question, for the SOA of the root.
        let question = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1];
        socket.send_to(&question, ("127.0.0.1", self.port)).ok()?;
        socket.recv(&mut [0; 512]).ok().map(drop)
    }

    fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("said.txt") + &read("unbound.log")
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("unbound said:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ldns(folder: &Path, command: &[&str]) -> String {
    let mut run = Command::new(command[0]);
    let output = run
        .args(&command[1..])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn served(zone: &str, file: &str) -> String {
    format!(
        "auth-zone:\n name: \"{zone}\"\n zonefile: \"{file}\"\n for-downstream: no\n for-upstream: yes\n fallback-enabled: no\n"
    )
}

/// The signed zone, with a signature that does not fit over the TLSA record of the exchanger of bogus.example.
fn spoilt(signed: &str) -> String {
    let (mut zone, mut spoilt) = (String::new(), false);
    for line in signed.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let of_it = line.starts_with("_25._tcp.mx.bogus.example.");
        let is_it = of_it && fields.get(3..5) == Some(&["RRSIG", "TLSA"]);
        let signature = fields.last().copied().unwrap_or_default();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        match is_it {
            true => zone += &line.replace(signature, &format!("{other}{}", &signature[1..])),
            false => zone += line,
        }
        zone.push('\n');
        spoilt |= is_it;
    }
    assert!(spoilt, "{signed}");
    zone
}

/// DANE-EE(3) SPKI(1) SHA2-256(1), for the key of this certificate.
fn record(host: &str, pem: &str) -> String {
    let key = KeyPair::from_pem(pem).unwrap().subject_public_key_info();
    let digest: String = Sha256::digest(key)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("_25._tcp.{host}. TLSA 3 1 1 {digest}\n")
}

/// The zones: all that is signed, and what stands in insecure.example.
fn zones(shown: &[String], another: &str, mended: bool) -> (String, String) {
    let start = |zone: &str| {
        format!("$ORIGIN {zone}\n$TTL 1\n@ SOA ns.host. admin.host. 1 60 60 600 1\n@ NS ns.host.\n")
    };
    let mut signed = start(".") + "ns.host. A 127.0.0.1\ninsecure.example. NS ns.host.\n";
    let mut insecure = start("insecure.example.");
    for (((name, announces, _), pem), last) in CASES.iter().zip(shown).zip(1..) {
        let host = format!("mx.{name}.example");
        let zone = if *name == "insecure" {
            &mut insecure
        } else {
            &mut signed
        };
        let _ = writeln!(
            zone,
            "{name}.example. MX 10 {host}.\n{host}. A 127.26.5.{last}"
        );
        let announces = if mended && *name == "stale" {
            Announces::Both
        } else {
            *announces
        };
        if announces != Announces::Another {
            *zone += &record(&host, pem);
        }
        if announces != Announces::This {
            *zone += &record(&host, another);
        }
    }
    (signed, insecure)
}

#[test]
fn records_in_a_signed_zone_decide_and_a_signature_that_does_not_fit_keeps_mail_here() {
    for program in ["/usr/sbin/unbound", "/usr/bin/ldns-signzone"] {
        if !Path::new(program).exists() {
            return eprintln!("skipped: {program} is not installed");
        }
    }
    let authority = Authority::new();
    let new = || authority.pem_for(&["another.example"], Wrong::SelfSigned);
    let (shown, another): (Vec<String>, _) = (CASES.iter().map(|_| new()).collect(), new());
    let (mut services, mut files): (Vec<Service>, Vec<_>) = (Vec::new(), Vec::new());
    for (((name, ..), pem), last) in CASES.iter().zip(&shown).zip(1..) {
        files.push((*name, pem.clone()));
        let options = vec![format!("smtpd_tls_chain_files=FOLDER/{name}")];
        services.push((format!("127.26.5.{last}:25"), options));
    }
    let Some(postfix) = Postfix::start(&services, "", "", &files) else {
        return;
    };
    let (signed, insecure) = zones(&shown, &another, false);
    let port = free_port();
    let unbound = Unbound::start(port, &signed, &insecure);
    let gateway = Gateway::start_with(|policies| {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        by_mx(policies, address, true, &authority);
    });
    let to: Vec<String> = CASES
        .iter()
        .map(|(name, ..)| format!("gp@{name}.example"))
        .collect();
    send_each(&gateway, &to, HOURS);
    let expected = CASES
        .iter()
        .zip(&to)
        .map(|((_, _, words), to)| (to.clone(), words.to_vec()));
    all_come_to(&gateway, &expected.collect::<Vec<_>>());
    for ((_, _, words), to) in CASES.iter().zip(&to) {
        match words[0] {
            "delivered" => drop(wait_for(to, || postfix.mail_for(to).pop())),
            _ => assert!(postfix.mail_for(to).is_empty(), "{to}"),
        }
    }
    assert!(
        unbound.log().contains("_25._tcp.mx.bogus.example"),
        "{}",
        unbound.log()
    );

    // The record is put right: what waited goes.
    drop(unbound);
    let (signed, insecure) = zones(&shown, &another, true);
    let _unbound = Unbound::start(port, &signed, &insecure);
    all_come_to(&gateway, &[("gp@stale.example".to_owned(), DANE.to_vec())]);
    assert_eq!(
        wait_for("it", || postfix
            .mail_for("gp@stale.example")
            .pop()
            .map(|_| 1)),
        1
    );
    for to in ["gp@wrong.example", "gp@bogus.example"] {
        assert!(postfix.mail_for(to).is_empty(), "{to}");
    }
}

/// A key that was changed is held against the records that are published now, also where the server would go on with a
/// session from before: what was shown then is no answer to them.
#[test]
fn a_known_session_is_no_reason_to_look_at_a_certificate_of_yesterday() {
    for program in ["/usr/sbin/unbound", "/usr/bin/ldns-signzone"] {
        if !Path::new(program).exists() {
            return eprintln!("skipped: {program} is not installed");
        }
    }
    if !installed("python3") {
        return;
    }
    let address = "127.26.5.100";
    if let Err(error) = TcpListener::bind((address, 25)) {
        return eprintln!("skipped: port 25 of {address}: {error}");
    }
    let authority = Authority::new();
    let new = || authority.pem_for(&["another.example"], Wrong::SelfSigned);
    let (before, after) = (new(), new());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("before"), &before).unwrap();
    fs::write(folder.path().join("after"), &after).unwrap();
    let hop = json!([{
        "name": "rolls", "address": address, "port": 25, "does": "changes its certificate", "pem": "before", "next": "after"
    }]);
    fs::write(folder.path().join("hops.json"), hop.to_string()).unwrap();
    let hop = Program::start("openssl_next_hop.py", folder);
    let zone = |pem: &str| {
        format!(
            "$ORIGIN .\n$TTL 1\n@ SOA ns.host. admin.host. 1 60 60 600 1\n@ NS ns.host.\nns.host. A 127.0.0.1\n\
                 rolls.example. MX 10 mx.rolls.example.\nmx.rolls.example. A {address}\n"
        ) + &record("mx.rolls.example", pem)
            + &record("mx.bogus.example", pem)
    };
    let port = free_port();
    let unbound = Unbound::start(port, &zone(&before), EMPTY);
    let gateway = Gateway::start_with(|policies| {
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        by_mx(policies, address, true, &authority);
    });
    send_each(&gateway, &["first@rolls.example".to_owned()], HOURS);
    all_come_to(
        &gateway,
        &[("first@rolls.example".to_owned(), DANE.to_vec())],
    );
    drop(unbound);
    let _unbound = Unbound::start(port, &zone(&after), EMPTY);
    send_each(&gateway, &["second@rolls.example".to_owned()], HOURS);
    all_come_to(
        &gateway,
        &[("second@rolls.example".to_owned(), DANE.to_vec())],
    );
    let taken = hop.file("taken.jsonl");
    assert_eq!(taken.matches("\"tls\": \"TLSv1.2\"").count(), 2, "{taken}");
    assert_eq!(taken.matches("\"reused\": false").count(), 2, "{taken}");
}

const EMPTY: &str =
    "$ORIGIN insecure.example.\n$TTL 1\n@ SOA ns.host. admin.host. 1 60 60 600 1\n@ NS ns.host.\n";
