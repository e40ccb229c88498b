//! A gateway that runs takes changed files into force, and bad ones not.

#[path = "support/dialog.rs"]
#[allow(dead_code, reason = "of the player only its trust in anybody is used")]
mod dialog;
mod support;

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use support::{Gateway, wait_for};
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;

const OPEN: &str = "pharmacy.fa123@nhs.net,pharmacy,active";
const CLOSED: &str = "pharmacy.fa123@nhs.net,pharmacy,closed";

/// Changes a policy file in one place.
fn change(gateway: &Gateway, file: &str, from: &str, to: &str) {
    let path = policy(gateway, file);
    let text = fs::read_to_string(&path).expect("a policy file");
    assert!(text.contains(from), "{file} does not have {from}");
    fs::write(path, text.replacen(from, to, 1)).expect("a changed file");
}

fn policy(gateway: &Gateway, file: &str) -> PathBuf {
    gateway.folder.path().join("policies").join(file)
}

/// Whether the directory in force has the mailbox open.
fn is_open(gateway: &Gateway) -> bool {
    let mut client = gateway.connect();
    client.command("EHLO x");
    client.command("MAIL FROM:<a@elsewhere.example>");
    let reply = client.command("RCPT TO:<pharmacy.fa123@nhs.net>");
    assert!(
        reply.starts_with("250 ") || reply.starts_with("550 5."),
        "{reply}"
    );
    reply.starts_with("250 ")
}

fn wait_until_open(gateway: &Gateway, open: bool) {
    wait_for("the changed policy", || {
        (is_open(gateway) == open).then_some(())
    });
}

/// Waits until the log says so as often as this.
fn wait_for_log(gateway: &Gateway, text: &str, times: usize) {
    wait_for(text, || {
        (gateway.log().matches(text).count() >= times).then_some(())
    });
}

const REFUSED: &str = "the changed policy has errors: the one before stays in force";
const IN_FORCE: &str = "the changed policy is in force";

#[test]
fn a_changed_file_is_taken_by_itself_and_at_once_on_sighup() {
    let gateway = Gateway::start();
    assert!(is_open(&gateway));

    change(&gateway, "directory.csv", OPEN, CLOSED);
    wait_until_open(&gateway, false);

    change(&gateway, "directory.csv", CLOSED, OPEN);
    gateway.signal("-HUP");
    wait_until_open(&gateway, true);
}

#[test]
fn a_bad_file_keeps_the_old_policy_says_why_and_is_taken_once_repaired() {
    let gateway = Gateway::start();

    change(&gateway, "directory.csv", OPEN, CLOSED);
    change(
        &gateway,
        "aliases.toml",
        "[shapes]",
        "[shapes]\nlegcy = true",
    );
    gateway.signal("-HUP");
    wait_for_log(&gateway, REFUSED, 1);
    let log = gateway.log();
    assert!(
        log.contains("error[unknown-key]: unknown key `legcy` in [shapes]")
            && log.contains("aliases.toml:"),
        "{log}"
    );
    assert!(is_open(&gateway), "a part of a bad policy came into force");

    change(&gateway, "aliases.toml", "legcy = true", "");
    wait_until_open(&gateway, false);
}

#[test]
fn a_failing_policy_test_keeps_the_old_policy() {
    let gateway = Gateway::start();

    let (hold, refuse) = ("not-secure = \"hold\"", "not-secure = \"refuse\"");
    change(&gateway, "directory.csv", OPEN, CLOSED);
    change(&gateway, "secure-domains.toml", hold, refuse);
    gateway.signal("-HUP");
    wait_for_log(&gateway, REFUSED, 1);
    let log = gateway.log();
    let test = "an NHS number does not leave for a private mailbox";
    assert!(log.contains(test), "{log}");
    assert!(is_open(&gateway));

    change(&gateway, "secure-domains.toml", refuse, hold);
    wait_until_open(&gateway, false);
}

#[test]
fn the_repair_of_a_file_that_only_the_bad_policy_names_is_noticed() {
    let gateway = Gateway::start();
    let directory = fs::read_to_string(policy(&gateway, "directory.csv")).expect("a directory");

    let other = policy(&gateway, "other.csv");
    fs::write(&other, "no,directory\n").expect("a bad file");
    change(
        &gateway,
        "postern.toml",
        "\"directory.csv\"",
        "\"other.csv\"",
    );
    gateway.signal("-HUP");
    wait_for_log(&gateway, REFUSED, 1);

    fs::write(&other, directory.replacen(OPEN, CLOSED, 1)).expect("a repaired file");
    wait_until_open(&gateway, false);
}

#[test]
fn a_file_that_goes_missing_keeps_the_old_policy_and_is_taken_when_it_is_back() {
    let gateway = Gateway::start();
    let path = policy(&gateway, "links.toml");
    let links = fs::read(&path).expect("a file");

    change(&gateway, "directory.csv", OPEN, CLOSED);
    fs::remove_file(&path).expect("a file less");
    wait_for_log(&gateway, REFUSED, 1);
    assert!(gateway.log().contains("links.toml cannot be read"));
    assert!(is_open(&gateway));

    fs::write(&path, links).expect("the file again");
    wait_until_open(&gateway, false);
}

#[test]
fn many_hangups_end_with_the_newest_policy_and_its_warnings_are_only_counted() {
    let gateway = Gateway::start();
    for turn in 0..20 {
        let (from, to) = if turn % 2 == 0 {
            (OPEN, CLOSED)
        } else {
            (CLOSED, OPEN)
        };
        change(&gateway, "directory.csv", from, to);
        gateway.signal("-HUP");
    }
    change(&gateway, "directory.csv", OPEN, CLOSED);
    gateway.signal("-HUP");
    wait_until_open(&gateway, false);
    wait_for_log(&gateway, IN_FORCE, 1);
    let log = gateway.log();
    assert!(log.contains(" warnings="), "{log}");
    assert!(
        !log.contains("WARN postern::server") && !log.contains(REFUSED),
        "{log}"
    );
}

#[test]
fn a_replaced_certificate_is_served_to_new_connections_and_a_bad_one_is_not() {
    let gateway = Gateway::start();
    let first = served_certificate(&gateway);
    let certs = gateway.folder.path().join("certs");
    let new = gateway.folder.path().join("new");
    let made = gateway.postern(&["certs", "init", "--folder", &new.display().to_string()]);
    assert!(made.status.success());

    fs::write(certs.join("gateway.pem"), "half a certificate").expect("a bad file");
    wait_for_log(&gateway, "changed certificates cannot be used", 1);
    assert_eq!(served_certificate(&gateway), first);

    for file in ["gateway.key.pem", "gateway.pem"] {
        fs::copy(new.join(file), certs.join(file)).expect("a new file");
    }
    wait_for("the new certificate", || {
        (served_certificate(&gateway) != first).then_some(())
    });
}

/// The certificate that a new connection gets.
fn served_certificate(gateway: &Gateway) -> Vec<u8> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(dialog::config(), name).expect("a client");
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.submissions)).expect("a connection");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).expect("a handshake");
    }
    let chain = tls.peer_certificates().expect("certificates");
    chain.first().expect("a certificate").to_vec()
}
