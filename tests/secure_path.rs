//! Patient data through a whole gateway: to next hops with certificates that are right and wrong, what
//! happens where no secured path can be had, who hears of a hold, and who is alarmed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use support::{Client, Gateway, wait_for};

const PATIENT: &str = "From: <pharmacy.fa001@nhs.net>\r\nMessage-ID: <p1@nhs.net>\r\nSubject: prescription\r\n\r\n\
    NHS number: 450 557 7104, date of birth 12/03/1961.\r\n";

/// What is wrong with the certificate of a next hop.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Certificate {
    Good,
    WrongName,
    Expired,
    SelfSigned,
}

/// A next hop that offers STARTTLS with a certificate, and keeps what it gets.
struct NextHop {
    port: u16,
    messages: Arc<Mutex<Vec<String>>>,
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "trusted");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn config(&self, which: Certificate) -> Arc<ServerConfig> {
        let name = match which {
            Certificate::WrongName => "other.example",
            _ => "127.0.0.1",
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if which == Certificate::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match which {
            Certificate::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.0),
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap().der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    fn next_hop(&self, which: Certificate) -> NextHop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (config, messages) = (self.config(which), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&messages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, kept) = (Arc::clone(&config), Arc::clone(&kept));
                std::thread::spawn(move || {
                    let mut clear = BufReader::new(stream.try_clone().unwrap());
                    let mut write = stream.try_clone().unwrap();
                    write.write_all(b"220 next.example ESMTP\r\n").ok();
                    if talk(&mut clear, &mut write, &kept, true) {
                        let tls = ServerConnection::new(config).unwrap();
                        let mut tls = Shared(Arc::new(Mutex::new(StreamOwned::new(tls, stream))));
                        let mut read = BufReader::new(tls.clone());
                        talk(&mut read, &mut tls, &kept, false);
                    }
                });
            }
        });
        NextHop { port, messages }
    }
}

/// One TLS stream for reading and writing in turn.
#[derive(Clone)]
struct Shared(Arc<Mutex<StreamOwned<ServerConnection, std::net::TcpStream>>>);

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().read(into)
    }
}

impl Write for Shared {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.lock().unwrap().flush()
    }
}

/// Serves until the client leaves, or asks for TLS: then `true`.
fn talk(
    read: &mut impl BufRead,
    write: &mut impl Write,
    kept: &Mutex<Vec<String>>,
    starttls: bool,
) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        if read.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        let word = line.split_whitespace().next().unwrap_or("").to_uppercase();
        let reply: &[u8] = match word.as_str() {
            "EHLO" if starttls => b"250-next.example\r\n250 STARTTLS\r\n",
            "EHLO" => b"250 next.example\r\n",
            "STARTTLS" => {
                write.write_all(b"220 go\r\n").ok();
                return true;
            }
            "DATA" => {
                write.write_all(b"354 go\r\n").ok();
                let mut message = String::new();
                while !message.ends_with("\r\n.\r\n")
                    && read.read_line(&mut message).unwrap_or(0) > 0
                {}
                kept.lock().unwrap().push(message);
                b"250 2.0.0 taken\r\n"
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        if write.write_all(reply).and_then(|()| write.flush()).is_err() {
            return false;
        }
    }
}

/// A secure domain for each next hop, with a route there and more lines in its entry.
fn destinations(policies: &Path, authority: &Authority, hops: &[(&str, &NextHop, &str)]) {
    fs::write(policies.join("ca.pem"), authority.0.pem()).unwrap();
    let mut routes = String::new();
    let mut entries = String::new();
    for (domain, hop, more) in hops {
        routes.push_str(&format!(
            "[[route]]\nname = \"{domain}\"\nrecipients = [\"{domain}\"]\nsmart-host = \"127.0.0.1:{}\"\n\
             tls = \"opportunistic\"\nretry = [\"1s\"]\n",
            hop.port
        ));
        entries.push_str(&format!(
            "[[domain]]\npattern = \"{domain}\"\nowner = \"test\"\nreason = \"test\"\n{more}\n"
        ));
    }
    edit(
        policies,
        "postern.toml",
        "[[route]]\n",
        &format!("{routes}\n[[route]]\n"),
    );
    edit(
        policies,
        "postern.toml",
        "[delivery]\n",
        "[delivery]\nca = \"ca.pem\"\n",
    );
    let file = policies.join("secure-domains.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(file, format!("{text}\n{entries}")).unwrap();
}

fn edit(policies: &Path, file: &str, from: &str, to: &str) {
    let file = policies.join(file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn send(gateway: &Gateway, from: &str, to: &[&str], message: &str) {
    let mut client: Client = gateway.connect();
    client.command("EHLO x");
    let reply = client.submit(from, to, message.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
}

fn trace(gateway: &Gateway, about: &str) -> String {
    let said = gateway.postern(&["--json", "trace", about]);
    String::from_utf8(said.stdout).unwrap()
}

/// The text of the first message in a Maildir, folded lines joined.
fn mail(gateway: &Gateway, address: &str) -> String {
    let mail = gateway.wait_for_mail(address, 1);
    String::from_utf8(mail[0].clone())
        .unwrap()
        .replace("\r\n", " ")
}

#[test]
fn patient_data_goes_to_a_server_that_shows_who_it_is_and_to_no_other() {
    let authority = Authority::new();
    let all = [
        ("good.example", authority.next_hop(Certificate::Good)),
        ("name.example", authority.next_hop(Certificate::WrongName)),
        ("expired.example", authority.next_hop(Certificate::Expired)),
        ("self.example", authority.next_hop(Certificate::SelfSigned)),
    ];
    let gateway = Gateway::start_with(|policies| {
        let hops = all.each_ref().map(|(domain, hop)| (*domain, hop, ""));
        destinations(policies, &authority, &hops);
    });
    let to = all.each_ref().map(|(domain, _)| format!("gp@{domain}"));
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    send(&gateway, "pharmacy.fa001@nhs.net", &to, PATIENT);

    let good = &all[0].1;
    wait_for("the good one", || {
        (!good.messages.lock().unwrap().is_empty()).then_some(())
    });
    for (at, why) in [
        (1, "is for another name"),
        (2, "has expired"),
        (3, "is from an authority that is not trusted"),
    ] {
        wait_for(why, || trace(&gateway, to[at]).contains(why).then_some(()));
        assert!(all[at].1.messages.lock().unwrap().is_empty(), "{}", to[at]);
    }
    // The trail says what protected it: version, cipher, for whom it was verified, which certificate.
    let said = wait_for("the event", || {
        let said = trace(&gateway, to[0]);
        said.contains("\"delivered\"").then_some(said)
    });
    assert!(said.contains("TLSv1.3 TLS13_"), "{said}");
    assert!(said.contains("verified for 127.0.0.1 sha256:"), "{said}");

    // What is bound to nothing goes to any of them.
    let plain = "From: <pharmacy.fa001@nhs.net>\r\nSubject: opening hours\r\n\r\nNine to five.\r\n";
    send(&gateway, "pharmacy.fa001@nhs.net", &[to[3]], plain);
    let other = &all[3].1;
    wait_for("the plain one", || {
        (other.messages.lock().unwrap().len() == 1).then_some(())
    });
}

#[test]
fn without_a_secured_path_it_is_held_diverted_or_bounced_as_the_destination_says() {
    let authority = Authority::new();
    let bad = authority.next_hop(Certificate::WrongName);
    let gateway = Gateway::start_with(|policies| {
        let now =
            |then: &str| format!("no-secure-path = \"{then}\"\nno-secure-path-after = \"0s\"");
        let (hold, encrypt, bounce) = (now("hold"), now("encrypt"), now("bounce"));
        let hops = [
            ("hold.example", &bad, hold.as_str()),
            ("encrypt.example", &bad, encrypt.as_str()),
            ("bounce.example", &bad, bounce.as_str()),
        ];
        destinations(policies, &authority, &hops);
    });
    send(&gateway, "one@nhs.net", &["gp@hold.example"], PATIENT);
    send(&gateway, "two@nhs.net", &["gp@encrypt.example"], PATIENT);
    send(&gateway, "three@nhs.net", &["gp@bounce.example"], PATIENT);

    let told = mail(&gateway, "one@nhs.net");
    assert!(
        told.contains("is held") && told.contains("for another name"),
        "{told}"
    );
    assert!(
        !told.contains("450 557") && !told.contains("prescription"),
        "{told}"
    );
    assert!(
        told.contains("decided about by the information governance lead"),
        "{told}"
    );
    let held = gateway.postern(&["--json", "queue", "list", "--state", "held"]);
    assert!(
        String::from_utf8(held.stdout)
            .unwrap()
            .contains("gp@hold.example")
    );

    let encrypted = gateway
        .folder
        .path()
        .join("data/maildir/encrypted/encrypt.example/gp/new");
    wait_for("the encryption next hop", || {
        let mut files = fs::read_dir(&encrypted).ok()?;
        files.next().map(drop)
    });
    assert!(trace(&gateway, "gp@encrypt.example").contains("\"diverted\":\"encryption\""));

    let back = mail(&gateway, "three@nhs.net");
    assert!(
        back.contains("Status: 5.7.5") && !back.contains("450 557"),
        "{back}"
    );
    assert!(gateway.log().contains("ALARM"), "{}", gateway.log());
    assert!(bad.messages.lock().unwrap().is_empty());
}

/// Files in the Maildir of the encryption next hop.
fn encrypted_for(gateway: &Gateway, domain: &str, local: &str) -> usize {
    let folder = gateway.folder.path().join("data/maildir/encrypted");
    let folder = folder.join(domain).join(local).join("new");
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn of_mixed_recipients_each_gets_what_is_his_and_nobody_a_second_copy() {
    let authority = Authority::new();
    let good = authority.next_hop(Certificate::Good);
    let bad = authority.next_hop(Certificate::WrongName);
    let mut gateway = Gateway::start_with(|policies| {
        let hops = [("good.example", &good, ""), ("bad.example", &bad, "")];
        destinations(policies, &authority, &hops);
    });
    let tagged = PATIENT.replace("Subject: ", "Subject: [secure] ");
    let mut client = gateway.connect();
    client.command("EHLO x");
    assert!(client.command("MAIL FROM:<one@nhs.net>").starts_with("250"));
    for (to, reply) in [
        ("gp@good.example", "250"),
        ("gp@bad.example", "250"),
        ("pharmacy.fkw41@nhs.net", "550"), // closed: said at once, and the others go on
        ("bumbleton.headoffice@nhs.net", "250"),
        ("patient@example.com", "250"),
        ("patient@EXAMPLE.com", "250"),
        ("patient@example.com", "250"),
    ] {
        let said = client.command(&format!("RCPT TO:<{to}>"));
        assert!(said.starts_with(reply), "{to}: {said}");
    }
    assert!(client.command("DATA").starts_with("354"));
    client.send(&support::stuffed(tagged.as_bytes()));
    let reply = client.reply();
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 1 of "),
        "{reply}"
    );

    let deferred = |gateway: &Gateway| {
        trace(gateway, "gp@bad.example")
            .matches("\"deferred\"")
            .count()
    };
    let all_is_as_it_should_be = |gateway: &Gateway| {
        // The secure one over TLS, also while the other one cannot be had; not once in clear.
        assert_eq!(good.messages.lock().unwrap().len(), 1);
        assert!(trace(gateway, "gp@good.example").contains("TLSv1.3 TLS13_"));
        assert!(bad.messages.lock().unwrap().is_empty());
        assert_eq!(
            encrypted_for(gateway, "good.example", "gp")
                + encrypted_for(gateway, "bad.example", "gp"),
            0
        );
        // The one elsewhere encrypted and not otherwise, in one copy however often it is named.
        assert_eq!(encrypted_for(gateway, "example.com", "patient"), 1);
        assert!(gateway.mail_for("patient@example.com").is_empty());
        // The held one is held, and the sender knows of it and of no other.
        assert!(gateway.mail_for("bumbleton.headoffice@nhs.net").is_empty());
        let list = gateway.postern(&["--json", "queue", "list"]);
        let list = String::from_utf8(list.stdout).unwrap();
        let left: Vec<&str> = ["good.example", "bad.example", "headoffice", "example.com"]
            .into_iter()
            .filter(|part| {
                list.contains(&format!("{part}\"")) || list.contains(&format!("{part}@"))
            })
            .collect();
        assert_eq!(left, ["bad.example", "headoffice"], "{list}");
    };
    wait_for("two attempts", || (deferred(&gateway) >= 2).then_some(()));
    let told = mail(&gateway, "one@nhs.net");
    assert!(told.contains("<bumbleton.headoffice@nhs.net>"), "{told}");
    for other in ["good.example", "bad.example", "example.com", "450 557"] {
        assert!(!told.contains(other), "{other} in {told}");
    }
    all_is_as_it_should_be(&gateway);

    // A crash, and the attempts that follow it, send nothing again.
    gateway.kill();
    let before = deferred(&gateway);
    gateway.restart();
    wait_for("another attempt", || {
        (deferred(&gateway) > before).then_some(())
    });
    all_is_as_it_should_be(&gateway);
    assert_eq!(gateway.mail_for("one@nhs.net").len(), 1);
}

#[test]
fn a_refusal_in_mixed_company_comes_back_as_a_report_and_one_for_all_as_a_reply() {
    let authority = Authority::new();
    let good = authority.next_hop(Certificate::Good);
    let gateway = Gateway::start_with(|policies| {
        destinations(policies, &authority, &[("good.example", &good, "")]);
        edit(
            policies,
            "secure-domains.toml",
            "not-secure = \"hold\"",
            "not-secure = \"refuse\"",
        );
        // The shipped tests say that it is held.
        fs::remove_file(policies.join("tests/decision-table.toml")).unwrap();
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let to = ["jo@example.com", "gp@good.example", "jim@example.com"];
    let reply = client.submit("one@nhs.net", &to, PATIENT.as_bytes());
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 2 of 3"),
        "{reply}"
    );
    wait_for("the secure one", || {
        (good.messages.lock().unwrap().len() == 1).then_some(())
    });
    let report = mail(&gateway, "one@nhs.net");
    for part in [
        "Final-Recipient: rfc822; jo@example.com",
        "Final-Recipient: rfc822; jim@example.com",
        "5.7.1 patient data may not go to example.com",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(
        !report.contains("good.example")
            && !report.contains("450 557")
            && !report.contains("prescription"),
        "{report}"
    );

    // All refused: the client keeps it, so that nothing of it is anywhere when it tries again.
    for _ in 0..2 {
        let reply = client.submit(
            "two@nhs.net",
            &["jo@example.com", "jim@example.com"],
            PATIENT.as_bytes(),
        );
        assert!(
            reply.starts_with("550 5.7.1 patient data may not go to example.com"),
            "{reply}"
        );
    }
    // One that may have it is served once, however often the client is refused for the others.
    let reply = client.submit("three@nhs.net", &["gp@good.example"], PATIENT.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    wait_for("the next one", || {
        (good.messages.lock().unwrap().len() == 2).then_some(())
    });
    assert!(
        gateway.mail_for("two@nhs.net").is_empty() && gateway.mail_for("jo@example.com").is_empty()
    );
    assert_eq!(gateway.mail_for("one@nhs.net").len(), 1);
}

#[test]
fn a_sender_hears_of_a_hold_and_a_program_does_not() {
    let mut gateway = Gateway::start();
    send(&gateway, "one@nhs.net", &["patient@example.com"], PATIENT);
    let told = mail(&gateway, "one@nhs.net");
    for part in [
        "Return-Path: <>",
        "<patient@example.com>",
        "information governance lead",
        "PX-",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for content in ["450 557", "prescription", "03/1961"] {
        assert!(!told.contains(content), "{content} in {told}");
    }
    let near = "From: <two@nhs.net>\r\nSubject: secure: blister packs for Jo\r\n\r\nHello.\r\n";
    send(&gateway, "two@nhs.net", &["patient@example.com"], near);
    let told = mail(&gateway, "two@nhs.net");
    assert!(told.contains("with its brackets: [secure]"), "{told}");
    assert!(!told.contains("blister"), "{told}");

    let automatic = format!("Auto-Submitted: auto-generated\r\n{PATIENT}");
    send(
        &gateway,
        "robot@nhs.net",
        &["patient@example.com"],
        &automatic,
    );
    send(
        &gateway,
        "x.donotreply@nhs.net",
        &["patient@example.com"],
        PATIENT,
    );
    send(&gateway, "last@nhs.net", &["patient@example.com"], PATIENT);
    mail(&gateway, "last@nhs.net");
    assert!(gateway.mail_for("robot@nhs.net").is_empty());
    assert!(gateway.mail_for("x.donotreply@nhs.net").is_empty());
    // Of the program, the owner of what is held hears in its place; of a second message within the hour he
    // does not hear again.
    let again = PATIENT.replace("<p1@", "<p2@");
    send(
        &gateway,
        "x.donotreply@nhs.net",
        &["patient@example.com"],
        &again,
    );
    let told = gateway
        .wait_for_mail("bumbleton.headoffice@nhs.net", 2)
        .concat();
    let told = String::from_utf8(told).unwrap().replace("\r\n", " ");
    for part in [
        "A message from x.donotreply@nhs.net is held",
        "you answer for the program",
        "<patient@example.com>",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(
        !told.contains("450 557") && !told.contains("prescription"),
        "{told}"
    );
    send(&gateway, "later@nhs.net", &["patient@example.com"], PATIENT);
    mail(&gateway, "later@nhs.net");
    let to_owner = gateway.mail_for("bumbleton.headoffice@nhs.net");
    let of = |program: &str| {
        let about = |mail: &&Vec<u8>| String::from_utf8_lossy(mail).contains(program);
        to_owner.iter().filter(about).count()
    };
    assert_eq!(
        (
            of("x.donotreply@nhs.net"),
            of("robot@nhs.net"),
            to_owner.len()
        ),
        (1, 1, 2)
    );

    // Whom nobody looks after alarms, and fails when its time is over; an order needs no reason of ours.
    assert!(trace(&gateway, "one@nhs.net").contains("\"owner\":\"the information governance lead"));
    let policies = gateway.config().parent().unwrap().to_owned();
    edit(
        &policies,
        "postern.toml",
        "alarm-after = \"4h\"",
        "alarm-after = \"1s\"",
    );
    edit(
        &policies,
        "postern.toml",
        "fail-after = \"0s\"",
        "fail-after = \"2s\"",
    );
    std::thread::sleep(std::time::Duration::from_secs(2));
    gateway.terminate();
    gateway.restart();
    wait_for("the alarm", || {
        gateway.log().contains("held for too long").then_some(())
    });
    gateway.wait_for_mail("one@nhs.net", 2);
    assert!(trace(&gateway, "one@nhs.net").contains("nobody decided about it in time"));
}

#[test]
fn the_owner_of_a_program_hears_that_its_mail_is_held_wherever_it_is_held() {
    let authority = Authority::new();
    let bad = authority.next_hop(Certificate::WrongName);
    let gateway = Gateway::start_with(|policies| {
        let now = "no-secure-path = \"hold\"\nno-secure-path-after = \"0s\"";
        destinations(policies, &authority, &[("hold.example", &bad, now)]);
        let file = policies.join("accounts.toml");
        let text = fs::read_to_string(&file).unwrap();
        let account = |name: &str, more: &str| {
            format!("[[account]]\nname = \"{name}.donotreply@nhs.net\"\ndisabled = true\n{more}\n")
        };
        let accounts = account("one", "owner-address = \"owner.one@nhs.net\"")
            + &account("two", "owner = \"owner.two@nhs.net\"")
            + &account("three", "owner = \"the front desk\"");
        fs::write(file, text + &accounts).unwrap();
        let file = policies.join("directory.csv");
        let text = fs::read_to_string(&file).unwrap();
        let header = text.lines().find(|line| !line.starts_with('#')).unwrap();
        let columns = header.split(',').map(|column| match column {
            "address" => "four.donotreply@nhs.net",
            "kind" => "application",
            "status" => "active",
            "owner" => "owner.four@nhs.net",
            _ => "",
        });
        let row = columns.collect::<Vec<_>>().join(",");
        fs::write(file, format!("{text}{row}\n")).unwrap();
    });
    // By the policy, before it is promised.
    for (program, owner) in [
        ("one.donotreply@nhs.net", "owner.one@nhs.net"),
        ("two.donotreply@nhs.net", "owner.two@nhs.net"),
        ("three.donotreply@nhs.net", "bumbleton.headoffice@nhs.net"),
        ("four.donotreply@nhs.net", "owner.four@nhs.net"),
    ] {
        send(&gateway, program, &["patient@example.com"], PATIENT);
        let told = mail(&gateway, owner);
        assert!(
            told.contains(program) && !told.contains("450 557"),
            "{told}"
        );
    }
    // By the scheduler, for want of a secured path.
    send(
        &gateway,
        "five.donotreply@nhs.net",
        &["gp@hold.example"],
        PATIENT,
    );
    let told = gateway
        .wait_for_mail("bumbleton.headoffice@nhs.net", 2)
        .concat();
    let told = String::from_utf8(told).unwrap().replace("\r\n", " ");
    assert!(
        told.contains("five.donotreply@nhs.net is held") && told.contains("for another name"),
        "{told}"
    );
    assert!(gateway.mail_for("five.donotreply@nhs.net").is_empty());
}

#[test]
fn a_lapsing_entry_is_said_in_the_log_and_the_metrics() {
    let gateway = Gateway::start_with(|policies| {
        let day = |days: i64| {
            let now = jiff::Timestamp::now()
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date();
            now.saturating_add(jiff::Span::new().days(days))
        };
        let rows = format!(
            "soon.nhs.uk,Soon,,,{}\nlate.nhs.uk,Late,,,{}\n",
            day(10),
            day(-3)
        );
        let file = policies.join("secure-domains.csv");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{text}{rows}")).unwrap();
    });
    let log = wait_for("the warning", || {
        let log = gateway.log();
        log.contains("has lapsed").then_some(log)
    });
    assert!(
        log.contains("soon.nhs.uk") && log.contains("a secure domain lapses"),
        "{log}"
    );
    let metrics = wait_for("the gauges", || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", gateway.metrics)).ok()?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    });
    for line in ["{state=\"lapsing\"} 1", "{state=\"lapsed\"} 1"] {
        assert!(
            metrics.contains(&format!("postern_secure_domains{line}")),
            "{metrics}"
        );
    }
    let said = gateway.postern(&["check", "--format", "short"]);
    let said = String::from_utf8(said.stdout).unwrap();
    for line in ["`soon.nhs.uk` lapses on", "`late.nhs.uk` lapsed on"] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn a_new_accredited_list_takes_the_place_of_the_old_one_and_of_nothing_else() {
    let gateway = Gateway::start();
    let policies = gateway.config().parent().unwrap().to_owned();
    let (list, in_force) = (
        gateway.folder.path().join("list.csv"),
        policies.join("secure-domains.csv"),
    );
    let file = list.to_str().unwrap();
    let import = |more: &[&str]| {
        let output =
            gateway.postern(&[&["--json", "secure-domains", "import", file], more].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (
            output.status.code(),
            last["outcome"].as_str().unwrap().to_owned(),
        )
    };
    let by_hand = fs::read_to_string(policies.join("secure-domains.toml")).unwrap();
    let before = fs::read_to_string(&in_force).unwrap();
    fs::write(
        &list,
        "Domain,Organisation,Expiry date\na.nhs.uk,A,31/03/2099\nb.nhs.uk,B,31/03/2099\n",
    )
    .unwrap();
    assert_eq!(import(&["--dry-run"]), (Some(0), "dry-run".into()));
    assert_eq!(fs::read_to_string(&in_force).unwrap(), before);
    assert_eq!(import(&[]), (Some(0), "written".into()));
    let after = fs::read_to_string(&in_force).unwrap();
    assert!(
        after.starts_with("# ")
            && after.ends_with("a.nhs.uk,A,,,2099-03-31\nb.nhs.uk,B,,,2099-03-31\n"),
        "{after}"
    );

    fs::write(
        &list,
        "Domain,Organisation,Expiry date\na.nhs.uk,A,31/03/2099\n",
    )
    .unwrap();
    assert_eq!(import(&[]), (Some(1), "unconfirmed".into()));
    assert_eq!(fs::read_to_string(&in_force).unwrap(), after);
    assert_eq!(import(&["--confirm"]), (Some(0), "written".into()));
    fs::write(&list, "Domain\n*.nhs.uk\n").unwrap();
    assert_eq!(import(&["--confirm"]), (Some(1), "bad-rows".into()));
    assert_eq!(
        fs::read_to_string(policies.join("secure-domains.toml")).unwrap(),
        by_hand
    );
    assert!(gateway.postern(&["check"]).status.success());
}
