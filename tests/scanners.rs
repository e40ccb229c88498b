//! External scanners, the real ones: ClamAV's daemon with a database of one signature, and rspamd. A test whose
//! program is not installed says so and passes; `.ci/run` installs both.

#[path = "support/scanners.rs"]
mod scanners;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use scanners::{Clamd, EICAR, Rspamd};
use support::{Gateway, wait_for};

/// All clients are strangers, and these scanners are asked.
fn gateway(scanners: &str) -> Gateway {
    Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).expect("postern.toml").replace(
            "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]",
            "relay-networks = [\"192.0.2.0/24\"]",
        );
        fs::write(&file, text).expect("a policy of strangers");
        fs::remove_dir_all(policies.join("tests")).expect("the policy's own tests");
        append(&policies.join("links.toml"), scanners);
    })
}

fn append(file: &Path, more: &str) {
    let text = fs::read_to_string(file).expect("a file");
    fs::write(file, text + more).expect("a longer file");
}

fn clamav(address: &str, more: &str) -> String {
    format!("\n[[scanner]]\nname = \"clamav\"\ntype = \"clamd\"\naddress = \"{address}\"\n{more}\n")
}

fn message(subject: &str, text: &str) -> Vec<u8> {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S +0000");
    format!(
        "From: Jane <jane@elsewhere.example>\r\nTo: gp@nhs.net\r\nSubject: {subject}\r\nDate: {date}\r\n\
         Message-ID: <{subject}@elsewhere.example>\r\n\r\n{text}\r\n"
    )
    .into_bytes()
}

fn submit(gateway: &Gateway, message: &[u8]) -> String {
    let mut client = gateway.connect();
    client.command("EHLO elsewhere.example");
    client.submit("jane@elsewhere.example", &["gp@nhs.net"], message)
}

/// Everything that the audit trail says.
fn trail(gateway: &Gateway) -> String {
    let exported = gateway.postern(&["audit", "export"]);
    String::from_utf8(exported.stdout).expect("text")
}

#[test]
fn what_clamd_names_is_refused_in_clear_and_in_an_attachment() {
    let Some(clamd) = Clamd::start() else { return };
    for address in [clamd.address(), clamd.socket()] {
        let gateway = gateway(&clamav(&address, ""));

        let refused = submit(&gateway, &message("one", EICAR));
        let good = submit(&gateway, &message("two", "Nothing to see here."));

        assert!(
            refused.starts_with("550 5.7.1 malware was found"),
            "{refused}"
        );
        assert!(refused.contains("see PX-"), "{refused}");
        assert!(good.starts_with("250 "), "{good}");
        assert_eq!(gateway.wait_for_mail("gp@nhs.net", 1).len(), 1);
        let trail = trail(&gateway);
        assert!(trail.contains("clamav found Eicar-Test"), "{trail}");
        assert!(!trail.contains("X5O!P"), "content in the trail");
        assert!(!gateway.log().contains("X5O!P"), "content in the log");
    }
}

#[test]
fn malware_may_be_kept_apart_instead_and_never_reaches_anybody() {
    let Some(clamd) = Clamd::start() else { return };
    let gateway = gateway(&clamav(&clamd.address(), "malware = \"quarantine\""));

    let kept = submit(&gateway, &message("one", EICAR));

    assert!(kept.starts_with("250 2.6.0 accepted, kept back"), "{kept}");
    let listed = gateway.postern(&["quarantine", "list"]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert!(listed.contains("clamav found Eicar-Test"), "{listed}");
    assert!(gateway.mail_for("gp@nhs.net").is_empty());
}

#[test]
fn a_daemon_that_goes_away_means_what_the_file_says() {
    let Some(clamd) = Clamd::start() else { return };
    let address = clamd.address();
    let [defer, pass, keep] = ["defer", "pass", "quarantine"]
        .map(|word| gateway(&clamav(&address, &format!("unavailable = \"{word}\""))));
    assert!(submit(&defer, &message("before", "hello")).starts_with("250 "));
    drop(clamd);

    let deferred = submit(&defer, &message("one", "hello"));
    let passed = submit(&pass, &message("one", "hello"));
    let kept = submit(&keep, &message("one", "hello"));

    assert!(deferred.starts_with("451 4.3.0 "), "{deferred}");
    assert!(passed.starts_with("250 2.0.0 "), "{passed}");
    assert!(trail(&pass).contains("scan: clamav was not asked: nobody listens there"));
    assert!(kept.starts_with("250 2.6.0 "), "{kept}");
}

/// A page of the gateway's own.
fn page(gateway: &Gateway, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.metrics)).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text
}

#[test]
fn a_daemon_that_goes_away_is_seen_and_so_is_its_return() {
    let Some(clamd) = Clamd::start() else { return };
    let (address, port) = (clamd.address(), clamd.port());
    let gateway = gateway(&clamav(&address, "alarm-after = \"1s\""));
    assert!(submit(&gateway, &message("one", "hello")).starts_with("250 "));
    assert!(submit(&gateway, &message("two", EICAR)).starts_with("550 "));
    let health = page(&gateway, "/health");
    assert!(health.ends_with("\r\n\r\nok\n"), "{health}");

    drop(clamd);
    assert!(submit(&gateway, &message("three", "hello")).starts_with("451 "));
    assert!(submit(&gateway, &message("four", "hello")).starts_with("451 "));
    wait_for("the alarm", || {
        gateway
            .log()
            .contains("ALARM: a scanner gives no answer")
            .then_some(())
    });
    let health = page(&gateway, "/health");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    assert!(
        health.contains("ok\nscanner clamav gives no answer since 20"),
        "{health}"
    );
    let metrics = page(&gateway, "/metrics");
    for line in [
        "postern_scanner_questions_total{scanner=\"clamav\",result=\"answered\"} 1\n",
        "postern_scanner_questions_total{scanner=\"clamav\",result=\"found\"} 1\n",
        "postern_scanner_questions_total{scanner=\"clamav\",result=\"failed\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("postern_scanner_away_since_seconds{scanner=\"clamav\"} 0\n"));

    let _clamd = Clamd::start_at(port).expect("it started before");
    assert!(submit(&gateway, &message("five", "hello")).starts_with("250 "));
    wait_for("the end of the alarm", || {
        gateway
            .log()
            .contains("ALARM over: a scanner answers again")
            .then_some(())
    });
    let log = gateway.log();
    assert_eq!(
        log.matches("ALARM: a scanner gives no answer").count(),
        1,
        "{log}"
    );
    assert!(page(&gateway, "/health").ends_with("\r\n\r\nok\n"));
    assert!(
        page(&gateway, "/metrics")
            .contains("postern_scanner_away_since_seconds{scanner=\"clamav\"} 0\n")
    );
}

#[test]
fn the_score_of_rspamd_is_a_symbol_of_ours() {
    let Some(rspamd) = Rspamd::start() else {
        return;
    };
    let gateway = gateway(&format!(
        "\n[[scanner]]\nname = \"rspamd\"\ntype = \"rspamd\"\naddress = \"{}\"\nunavailable = \"defer\"\n",
        rspamd.address()
    ));
    // The word of the generic test for unsolicited bulk mail, which every filter knows.
    let gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

    let said = submit(&gateway, &message("one", gtube));

    assert!(said.starts_with("250 "), "{said}");
    let mail = wait_for("the mail", || gateway.mail_for("gp@nhs.net").pop());
    let mail = String::from_utf8_lossy(&mail);
    assert!(mail.contains("RSPAMD(6)"), "{mail}");
}
