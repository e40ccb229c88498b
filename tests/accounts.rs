//! Application accounts through a whole gateway, with clients that nobody here wrote the protocol for: Python's smtplib
//! with SCRAM of its own, swaks, OpenSSL's program.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::programs::python_client;
use support::{Gateway, installed, wait_for};

const NAME: &str = "reminders.fa001.donotreply@nhs.net";
const TO: &str = "pharmacy.fa001@nhs.net";

/// A gateway with one account that has these keys, and the secret of the account.
fn gateway(keys: &str) -> (Gateway, String) {
    gateway_with(keys, |_| ())
}

/// The same, with a change to the policies.
fn gateway_with(keys: &str, change: impl Fn(&Path)) -> (Gateway, String) {
    let block = format!("\n[[account]]\nname = \"{NAME}\"\nsecret = \"stored\"\n{keys}\n");
    let gateway = Gateway::start_with(|policies: &Path| {
        change(policies);
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(&path, text + &block).expect("accounts.toml");
    });
    let secret = rotate(&gateway);
    (gateway, secret)
}

fn rotate(gateway: &Gateway) -> String {
    let rotated = gateway.postern(&["--json", "account", "rotate", NAME]);
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert!(rotated.status.success(), "{said}");
    let rotated: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    rotated["secret"].as_str().expect("a secret").to_owned()
}

fn script(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accounts");
    folder.join(name)
}

/// Runs the Python client; returns its lines.
fn client(gateway: &Gateway, args: &[&str], message: &str) -> Vec<String> {
    python_client(gateway.submission, args, message)
}

/// Submits as the account by PLAIN; returns the replies after the log-in.
fn submit(gateway: &Gateway, secret: &str, more: &[&str], message: &str) -> Vec<String> {
    let log_in = ["--mech", "PLAIN", "--user", NAME, "--secret", secret];
    let sender = ["--sender", NAME];
    let lines = client(gateway, &[&log_in, &sender[..], more].concat(), message);
    assert!(lines[1].starts_with("auth 235"), "{lines:?}");
    lines[2..].to_vec()
}

fn last(lines: &[String]) -> &str {
    lines.last().map_or("", String::as_str)
}

#[test]
fn every_mechanism_opens_the_account_and_a_wrong_secret_none() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("");
    for mech in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        let log_in = |secret: &str| {
            let args = ["--mech", mech, "--user", NAME, "--secret", secret];
            last(&client(&gateway, &args, "")).to_owned()
        };
        assert!(log_in(&secret).starts_with("auth 235"), "{mech}");
        assert!(log_in("wrong").starts_with("auth 535"), "{mech}");
    }
    let offers = &client(&gateway, &[], "")[0];
    assert_eq!(
        offers,
        "offers SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"
    );
    let nobody = [
        "--mech",
        "SCRAM-SHA-256",
        "--user",
        "nobody@nhs.net",
        "--secret",
        "x",
    ];
    assert!(last(&client(&gateway, &nobody, "")).starts_with("auth 535"));
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert_eq!(trail.matches("login-refused").count(), 4, "{trail}");
    assert!(!trail.contains("nobody@nhs.net") && !trail.contains(&secret));
}

#[test]
fn a_bound_exchange_is_refused_on_another_connection() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let (gateway, secret) = gateway("");
    let plus = |how: &str| {
        let port = gateway.submission.to_string();
        let output = Command::new("python3")
            .arg(script("plus.py"))
            .args([&port, NAME, &secret, how])
            .output()
            .expect("python runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(plus("as-it-is").contains("auth 235"));
    assert!(plus("tampered").contains("auth 501"));
}

#[test]
fn swaks_submits_by_plain_and_by_login() {
    if !installed("swaks") {
        return;
    }
    let (gateway, secret) = gateway("");
    for mech in ["PLAIN", "LOGIN"] {
        let server = format!("127.0.0.1:{}", gateway.submission);
        let sent = Command::new("swaks")
            .args(["--server", &server, "--tls", "--auth", mech])
            .args(["--auth-user", NAME, "--auth-password", &secret])
            .args(["--from", NAME, "--to", TO, "--body", mech])
            .output()
            .expect("swaks runs");
        let said = String::from_utf8_lossy(&sent.stdout);
        assert!(sent.status.success(), "{said}");
    }
    gateway.wait_for_mail(TO, 2);
}

#[test]
fn curl_submits_by_each_mechanism_that_it_knows() {
    if !installed("curl") {
        return;
    }
    let (gateway, secret) = gateway("");
    let file = gateway.folder.path().join("message.eml");
    fs::write(
        &file,
        format!("From: <{NAME}>\r\nSubject: curl\r\n\r\nhello\r\n"),
    )
    .expect("a file");
    for mech in ["PLAIN", "LOGIN"] {
        let sent = Command::new("curl")
            .args(["--silent", "--show-error", "--ssl-reqd", "--insecure"])
            .args([
                "--url",
                &format!("smtp://127.0.0.1:{}/client.example", gateway.submission),
            ])
            .args(["--login-options", &format!("AUTH={mech}")])
            .args(["--user", &format!("{NAME}:{secret}")])
            .args(["--mail-from", NAME, "--mail-rcpt", TO, "--upload-file"])
            .arg(&file)
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&sent.stderr);
        assert!(sent.status.success(), "{mech}: {said}");
    }
    gateway.wait_for_mail(TO, 2);
}

#[test]
fn an_account_over_its_rate_or_quota_must_wait_and_a_crash_forgets_nothing_of_the_day() {
    if !installed("python3") {
        return;
    }
    let (mut gateway, secret) = gateway("rate = 4\ndaily-recipients = 6");
    let message = format!("From: <{NAME}>\r\nSubject: x\r\n\r\nhello\r\n");
    let two = ["--to", TO, "--to", "pharmacy.faq59@nhs.net"];
    let lines = submit(
        &gateway,
        &secret,
        &[&two[..], &["--times", "4"]].concat(),
        &message,
    );
    let sent = lines
        .iter()
        .filter(|line| line.starts_with("sent 250"))
        .count();
    assert_eq!(sent, 3, "{lines:?}");
    assert!(last(&lines).starts_with("mail 452 4.5.3"), "{lines:?}");

    gateway.kill();
    gateway.restart();
    let lines = submit(&gateway, &secret, &["--to", TO], &message);
    assert!(last(&lines).starts_with("mail 452 4.5.3"), "{lines:?}");
    wait_for("what is left to be nothing", || {
        let shown = gateway.postern(&["--json", "account", "show", NAME]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        (shown["recipients_left"] == 0).then_some(())
    });
}

#[test]
fn an_account_over_its_rate_is_told_how_long_to_wait() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("rate = 2");
    let message = format!("From: <{NAME}>\r\nSubject: x\r\n\r\nhello\r\n");
    let lines = submit(&gateway, &secret, &["--to", TO, "--times", "3"], &message);
    assert!(last(&lines).starts_with("mail 450 4.4.5"), "{lines:?}");
    assert!(last(&lines).contains("try again in "), "{lines:?}");
    assert_eq!(gateway.wait_for_mail(TO, 2).len(), 2);
    let shown = || {
        let shown = gateway.postern(&["--json", "account", "show", NAME]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        (shown["days"][0]["over_rate"] == 1).then_some(shown)
    };
    let shown = wait_for("the counts", shown);
    assert_eq!(shown["days"][0]["accepted"], 2, "{shown}");
}

#[test]
fn what_a_submitted_message_lacks_is_put_in_and_the_rest_stays() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("on-behalf-of = [\"pharmacy.fa001@nhs.net\"]");
    let rest = "Subject: x\r\n\r\nhello\r\n";
    submit(&gateway, &secret, &["--to", TO], rest);
    let behalf = format!("From: Ward <{TO}>\r\n{rest}");
    submit(&gateway, &secret, &["--to", TO], &behalf);
    let foreign = format!("From: <somebody@nhs.net>\r\n{rest}");
    let lines = submit(&gateway, &secret, &["--to", TO], &foreign);
    assert!(last(&lines).starts_with("sent 550 5.7.1"), "{lines:?}");

    let mail = gateway.wait_for_mail(TO, 2);
    let texts: Vec<_> = mail
        .iter()
        .map(|one| String::from_utf8_lossy(one))
        .collect();
    let of = |needle: &str| texts.iter().find(|text| text.contains(needle)).expect("it");
    let bare = of(&format!("From: <{NAME}>\r\n"));
    for field in [
        "\nDate: ",
        "\nMessage-ID: <PX-",
        "\nAuto-Submitted: auto-generated\r\n",
    ] {
        assert!(bare.contains(field), "{bare}");
    }
    assert!(bare.contains(rest), "{bare}");
    let on_behalf = of("From: Ward");
    assert!(
        on_behalf.contains(&format!("\nSender: <{NAME}>\r\n")),
        "{on_behalf}"
    );
}

/// The fields that the gateway puts in, and the mark that it is no answer, do not take the particulars of the company
/// from a reminder.
#[test]
fn a_reminder_bears_the_footer_of_the_company_that_sends_it() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway_with("foreign-from = \"fix\"", |policies| {
        let path = policies.join("organisations.toml");
        let text = fs::read_to_string(&path).expect("organisations.toml");
        let accounts = "accounts = [\"";
        let text = text.replacen(accounts, &format!("{accounts}{NAME}\", \""), 1);
        fs::write(&path, text).expect("organisations.toml");
    });
    for fields in [
        String::new(),
        format!("From: <{NAME}>\r\nAuto-Submitted: auto-generated\r\n"),
        format!("From: <{NAME}>\r\nX-Postern-Idempotency-Key: appointment-8\r\n"),
        "From: somebody@nhs.net\r\n".to_owned(),
    ] {
        let message = format!("{fields}Subject: x\r\n\r\nhello\r\n");
        submit(&gateway, &secret, &["--to", TO], &message);
    }
    for one in gateway.wait_for_mail(TO, 4) {
        let text = String::from_utf8_lossy(&one);
        assert!(
            text.contains("hello\r\n\r\nBumbleton Pharmacies Ltd."),
            "{text}"
        );
        let marks = text.matches("Auto-Submitted: auto-generated\r\n");
        let authors = text.matches("\nFrom: ");
        assert_eq!((marks.count(), authors.count()), (1, 1), "{text}");
        assert!(text.contains(&format!("\nFrom: <{NAME}>\r\n")), "{text}");
    }
}

#[test]
fn a_reminder_that_is_repeated_is_sent_once_also_after_a_crash() {
    if !installed("python3") {
        return;
    }
    let (mut gateway, secret) = gateway("");
    let message = format!(
        "From: <{NAME}>\r\nSubject: x\r\nX-Postern-Idempotency-Key: appointment-7\r\n\r\nhello\r\n"
    );
    let first = submit(&gateway, &secret, &["--to", TO], &message);
    let first = last(&first).to_owned();
    assert!(first.starts_with("sent 250 "), "{first}");
    let reference = first.split_whitespace().find(|word| word.contains("PX-"));
    let reference = reference
        .expect("a reference")
        .trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let again = |gateway: &Gateway, to: &str| {
        let lines = submit(gateway, &secret, &["--to", to], &message);
        last(&lines).to_owned()
    };
    let repeated = again(&gateway, TO);
    assert!(
        repeated.starts_with("sent 250 ") && repeated.contains(reference),
        "{first} {repeated}"
    );
    gateway.kill();
    gateway.restart();
    let repeated = again(&gateway, TO);
    assert!(
        repeated.starts_with("sent 250 ") && repeated.contains(reference),
        "{first} {repeated}"
    );
    let other = again(&gateway, "pharmacy.faq59@nhs.net");
    assert!(
        other.starts_with("sent 554 ") && other.contains(reference),
        "{other}"
    );

    submit(
        &gateway,
        &secret,
        &["--to", TO],
        &format!("From: <{NAME}>\r\nSubject: last\r\n\r\nx\r\n"),
    );
    let mail = gateway.wait_for_mail(TO, 2);
    assert_eq!(mail.len(), 2);
    let text = mail
        .iter()
        .map(|one| String::from_utf8_lossy(one).into_owned())
        .collect::<String>();
    assert!(!text.contains("Idempotency"), "{text}");
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert_eq!(trail.matches("\"kind\":\"repeated\"").count(), 2, "{trail}");
    assert!(!trail.contains("appointment-7"));
}

#[test]
fn a_client_that_fails_too_often_is_locked_out_until_it_is_let_in_again() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("");
    let log_in = |secret: &str| {
        let args = ["--mech", "PLAIN", "--user", NAME, "--secret", secret];
        last(&client(&gateway, &args, "")).to_owned()
    };
    // At once: each waits for its own delay.
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert!(log_in("wrong").starts_with("auth 535")));
        }
    });
    assert!(log_in(&secret).starts_with("auth 454 4.7.0"));
    let unlocked = gateway.postern(&["account", "unlock", "127.0.0.1"]);
    assert!(String::from_utf8_lossy(&unlocked.stdout).contains("may try again"));
    assert!(log_in(&secret).starts_with("auth 235"));
}

#[test]
fn both_secrets_are_good_for_a_while_after_a_rotation() {
    if !installed("python3") {
        return;
    }
    let (gateway, old) = gateway("");
    let new = rotate(&gateway);
    for mech in ["PLAIN", "SCRAM-SHA-256"] {
        for secret in [&old, &new] {
            let args = ["--mech", mech, "--user", NAME, "--secret", secret];
            let lines = client(&gateway, &args, "");
            assert!(last(&lines).starts_with("auth 235"), "{mech} {lines:?}");
        }
    }
}

#[test]
fn an_account_is_disabled_also_while_the_policy_cannot_be_reloaded() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("");
    let log_in = || {
        let args = ["--mech", "PLAIN", "--user", NAME, "--secret", &secret];
        last(&client(&gateway, &args, "")).to_owned()
    };
    assert!(log_in().starts_with("auth 235"));
    let failing = "[[test]]\nname = \"fails\"\nmessage = \"plain.eml\"\nfrom = \"pharmacy.fa001@nhs.net\"\n\
                   to = { \"gp@nhs.net\" = \"hold\" }\n";
    let tests = gateway.folder.path().join("policies/tests");
    fs::write(tests.join("failing.toml"), failing).expect("a test that fails");
    let disabled = gateway.postern(&["account", "disable", NAME]);
    assert!(disabled.status.success());
    wait_for("the account to be shut", || {
        gateway
            .log()
            .contains("an account is shut as its file says")
            .then_some(())
    });
    assert!(log_in().starts_with("auth 535"), "{}", log_in());
    fs::remove_file(tests.join("failing.toml")).expect("it gone");
    let accounts = gateway.folder.path().join("policies/accounts.toml");
    let text = fs::read_to_string(&accounts).expect("accounts.toml");
    fs::write(&accounts, text.replace("disabled = true\n", "")).expect("accounts.toml");
    wait_for("the account to be open again", || {
        log_in().starts_with("auth 235").then_some(())
    });
}

#[test]
fn a_secret_is_shown_although_the_database_does_not_answer_and_somebody_loses_patience() {
    let (gateway, old) = gateway("");
    let database = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = database.local_addr().expect("its address").port();
    let policies = gateway.folder.path().join("policies");
    let text = fs::read_to_string(policies.join("postern.toml")).expect("postern.toml");
    let store = format!("host=127.0.0.1 port={port} user=postern dbname=postern");
    let other = policies.join("fleet.toml");
    fs::write(
        &other,
        format!("{text}\n[store]\npostgresql = \"{store}\"\n"),
    )
    .expect("fleet.toml");
    let rotating = Command::new(env!("CARGO_BIN_EXE_postern"))
        .arg("--config")
        .arg(&other)
        .args(["--json", "account", "rotate", NAME])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postern runs");
    // It has come as far as to the trail.
    let _asked = database.accept().expect("a connection");
    let pid = rotating.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill").success());
    let rotated = rotating.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert_eq!(rotated.status.code(), Some(1), "{said}");
    assert!(said.contains("not in the audit trail"), "{said}");
    let rotated: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    assert_ne!(rotated["secret"].as_str().expect("a secret"), old);
}

#[test]
fn an_account_is_shut_and_its_secret_changed_also_where_a_policy_file_does_not_parse() {
    if !installed("python3") {
        return;
    }
    let (gateway, secret) = gateway("");
    let log_in = |secret: &str| {
        let args = ["--mech", "PLAIN", "--user", NAME, "--secret", secret];
        last(&client(&gateway, &args, "")).to_owned()
    };
    let policies = gateway.folder.path().join("policies");
    let links = policies.join("links.toml");
    let whole = fs::read_to_string(&links).expect("links.toml");
    fs::write(&links, "not = = toml\n").expect("links.toml");
    let rotated = gateway.postern(&["--json", "account", "rotate", NAME, "--overlap", "0s"]);
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert!(
        rotated.status.success() && said.contains("links.toml"),
        "{said}"
    );
    let rotated: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
    let newer = rotated["secret"].as_str().expect("a secret");
    assert!(log_in(&secret).starts_with("auth 535"));
    assert!(log_in(newer).starts_with("auth 235"));
    let added = gateway.postern(&["account", "add", "b@nhs.net"]);
    assert_eq!(added.status.code(), Some(1));

    // Now nothing is left of the gateway's own file but what its parser can save.
    let main = policies.join("postern.toml");
    let text = fs::read_to_string(&main).expect("postern.toml");
    fs::write(&main, format!("broken = = 1\n{text}")).expect("postern.toml");
    let rotated = gateway.postern(&["account", "rotate", NAME]);
    assert_eq!(rotated.status.code(), Some(1));
    let disabled = gateway.postern(&["account", "disable", NAME]);
    let said = String::from_utf8_lossy(&disabled.stderr).into_owned();
    assert!(disabled.status.success(), "{said}");
    assert!(
        said.contains("warning: ") && said.contains("audit trail"),
        "{said}"
    );
    wait_for("the account to be shut", || {
        log_in(newer).starts_with("auth 535").then_some(())
    });
    fs::write(&main, text).expect("postern.toml");
    let again = gateway.postern(&["account", "disable", "nobody@nhs.net"]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        again.status.code() == Some(1) && said.contains("no account nobody"),
        "{said}"
    );
    fs::write(&links, whole).expect("links.toml");
    let trail = gateway.postern(&["--json", "audit", "export"]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert_eq!(trail.matches("secret changed").count(), 2, "{trail}");
}

#[test]
fn the_contract_says_to_whom_and_a_pinned_device_needs_no_secret() {
    if !installed("python3") {
        return;
    }
    let keys =
        "patient-data = \"never\"\nnetwork-login = [\"127.0.0.1\"]\nrecipients = [\"served\"]";
    let (gateway, _) = gateway(keys);
    let message = format!("From: <{NAME}>\r\nSubject: x\r\n\r\nhello\r\n");
    let to = [
        "--clear",
        "--sender",
        NAME,
        "--to",
        TO,
        "--to",
        "somebody@elsewhere.example",
    ];
    let lines = client(&gateway, &to, &message);
    assert!(lines[2].starts_with("rcpt 250"), "{lines:?}");
    assert!(lines[3].starts_with("rcpt 550 5.7.1"), "{lines:?}");
    assert!(last(&lines).starts_with("sent 250"), "{lines:?}");
    gateway.wait_for_mail(TO, 1);
}
