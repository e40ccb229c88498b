//! Independent clients and a whole gateway: what a user's programs see.

mod support;

use std::process::Command;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use support::{Gateway, installed, wait_for};

const PYTHON: &str = r#"
import smtplib, sys
from email.message import EmailMessage
m = EmailMessage()
m["From"], m["To"], m["Subject"] = "sender@elsewhere.example", "pharmacy.fa001@nhs.net", "Opening hours"
m["Date"], m["Message-ID"] = "Sat, 21 Nov 2026 10:00:00 +0000", "<python-1@elsewhere.example>"
m.set_content("Open at nine.\n.\n..two dots\ncaf\u00e9\n")
m.add_attachment(bytes(range(256)), maintype="application", subtype="x-test", filename="all.bin")
m.set_boundary("both-times-the-same")
with smtplib.SMTP("127.0.0.1", int(sys.argv[1])) as s:
    s.send_message(m)
sys.stdout.buffer.write(m.as_bytes(policy=m.policy.clone(linesep="\r\n")))
"#;

#[test]
fn what_python_sends_arrives_byte_for_byte() {
    if !installed("python3") {
        return;
    }
    let gateway = Gateway::start();
    let sent = Command::new("python3")
        .args(["-c", PYTHON, &gateway.relay.to_string()])
        .output()
        .expect("python runs");
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let arrived = gateway.wait_for_mail("pharmacy.fa001@nhs.net", 1).remove(0);
    assert!(
        arrived.ends_with(&sent.stdout),
        "{}",
        String::from_utf8_lossy(&arrived)
    );
}

#[test]
fn what_swaks_sends_arrives() {
    if !installed("swaks") {
        return;
    }
    let gateway = Gateway::start();
    let server = format!("127.0.0.1:{}", gateway.relay);
    let sent = Command::new("swaks")
        .args([
            "--server",
            &server,
            "--from",
            "a@elsewhere.example",
            "--to",
            "pharmacy.fa001@nhs.net",
        ])
        .args(["--body", "from swaks", "--tls-optional"])
        .output()
        .expect("swaks runs");
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stdout)
    );
    let arrived = gateway.wait_for_mail("pharmacy.fa001@nhs.net", 1).remove(0);
    assert!(String::from_utf8_lossy(&arrived).contains("from swaks"));
}

#[test]
fn an_account_submits_over_tls_and_a_wrong_password_does_not() {
    let gateway = Gateway::start();
    let added = gateway.postern(&[
        "account",
        "add",
        "reminders.fa001.donotreply@nhs.net",
        "--json",
    ]);
    assert!(
        added.status.success(),
        "{}",
        String::from_utf8_lossy(&added.stderr)
    );
    let added: serde_json::Value = serde_json::from_slice(&added.stdout).expect("JSON");
    let secret = added["secret"].as_str().expect("a secret").to_owned();
    let authority = std::fs::read(gateway.folder.path().join("certs/ca.pem"))
        .expect("the development authority");
    let tls = TlsParameters::builder("localhost".to_owned())
        .add_root_certificate(Certificate::from_pem(&authority).expect("a certificate"))
        .build()
        .expect("parameters");
    let message = Message::builder()
        .from(
            "reminders.fa001.donotreply@nhs.net"
                .parse()
                .expect("an address"),
        )
        .to("pharmacy.fa001@nhs.net".parse().expect("an address"))
        .subject("Collection")
        .body("Your order is ready.\r\n".to_owned())
        .expect("a message");
    let send = |port, tls, secret: String| {
        SmtpTransport::builder_dangerous("127.0.0.1")
            .port(port)
            .tls(tls)
            .credentials(Credentials::new(
                "reminders.fa001.donotreply@nhs.net".to_owned(),
                secret,
            ))
            .build()
            .send(&message)
    };

    wait_for("the new account to be known", || {
        send(
            gateway.submission,
            Tls::Required(tls.clone()),
            secret.clone(),
        )
        .ok()
    });
    send(
        gateway.submissions,
        Tls::Wrapper(tls.clone()),
        secret.clone(),
    )
    .expect("implicit TLS");
    let refused = send(gateway.submission, Tls::Required(tls), "wrong".to_owned())
        .expect_err("a wrong password");
    assert!(refused.to_string().contains("535"), "{refused}");

    let arrived = gateway.wait_for_mail("pharmacy.fa001@nhs.net", 2).remove(0);
    let text = String::from_utf8_lossy(&arrived);
    assert!(text.contains("with ESMTPSA"), "{text}");
    assert!(text.contains("Your order is ready."), "{text}");
}
