//! Certificates of clients through a whole gateway: OpenSSL makes them, and Python, OpenSSL's program and curl show them.

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::programs::{NO_AUTHORITY, certificate, openssl, python_client};
use support::{Gateway, installed, wait_for};

const NAME: &str = "reminders.fa001.donotreply@nhs.net";
const TO: &str = "pharmacy.fa001@nhs.net";

/// A folder of certificates; each file holds the key and the chain, as OpenSSL takes them.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&openssl(self.0.path(), args)).into_owned()
    }

    /// A key, and a certificate of its own signature or of `authority`'s; both in `NAME.both.pem`.
    fn make(&self, name: &str, days: u32, authority: Option<&str>) -> PathBuf {
        let Some(authority) = authority else {
            return certificate(self.0.path(), name, days, &[]);
        };
        let (by, key) = (format!("{authority}.pem"), format!("{authority}.key"));
        let of = format!("subjectAltName=DNS:{name}.bumbleton.example");
        let signed = [
            "-CA",
            &by,
            "-CAkey",
            &key,
            "-addext",
            &of,
            "-addext",
            NO_AUTHORITY,
        ];
        certificate(self.0.path(), name, days, &signed)
    }

    /// The sum that OpenSSL prints, with its colons.
    fn sum(&self, name: &str) -> String {
        let file = format!("{name}.pem");
        let said = self.openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", &file]);
        said.trim().rsplit_once('=').expect("a sum").1.to_owned()
    }

    /// The sum of the public key, as Postfix is told it too.
    fn key_sum(&self, name: &str) -> String {
        let (file, key) = (format!("{name}.pem"), format!("{name}.der"));
        let public = self.openssl(&["x509", "-noout", "-pubkey", "-in", &file]);
        fs::write(self.path("public.pem"), public).expect("a file");
        self.openssl(&[
            "pkey",
            "-pubin",
            "-in",
            "public.pem",
            "-outform",
            "DER",
            "-out",
            &key,
        ]);
        let said = self.openssl(&["dgst", "-sha256", &key]);
        said.trim().rsplit_once(' ').expect("a sum").1.to_owned()
    }
}

/// A gateway whose listeners ask for certificates, with one account that has these keys.
fn gateway(keys: &str, change: impl FnOnce(String) -> String) -> Gateway {
    let block = format!("\n[[account]]\nname = \"{NAME}\"\n{keys}\n");
    Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(&path, text + &block).expect("accounts.toml");
        let path = policies.join("postern.toml");
        let text = fs::read_to_string(&path).expect("postern.toml");
        let asking = text.replace(
            "[[listener]]\n",
            "[[listener]]\nclient-certificates = true\n",
        );
        fs::write(&path, change(asking)).expect("postern.toml");
    })
}

/// Runs the Python client; returns its lines.
fn client(port: u16, certificate: Option<&Path>, args: &[&str]) -> Vec<String> {
    let shown = certificate.map(|file| file.to_str().expect("a path"));
    let shown: Vec<&str> = shown
        .into_iter()
        .flat_map(|file| ["--cert", file])
        .collect();
    let message = format!("From: <{NAME}>\r\nSubject: x\r\n\r\nhello\r\n");
    python_client(port, &[&shown, args].concat(), &message)
}

fn external(user: &str) -> [&str; 6] {
    ["--mech", "EXTERNAL", "--sender", NAME, "--user", user]
}

#[test]
fn an_application_with_its_certificate_submits_without_a_secret() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let made = Certificates::new();
    let (own, other) = (made.make("own", 30, None), made.make("other", 30, None));
    let file = made.path("own.pem");
    let keys = format!("certificates = [{{ file = \"{}\" }}]", file.display());
    let gateway = gateway(&keys, |text| text);
    let (port, implicit) = (gateway.submission, gateway.submissions);
    for (port, more) in [
        (port, &["--to", TO][..]),
        (port, &["--to", TO, "--tls12"]),
        (implicit, &["--to", TO, "--implicit"]),
    ] {
        let lines = client(port, Some(&own), &[&external(""), more].concat());
        assert!(lines[0].starts_with("offers EXTERNAL "), "{lines:?}");
        assert!(lines[1].starts_with("auth 235"), "{lines:?}");
        let sent = lines.last().expect("a line");
        assert!(sent.starts_with("sent 250"), "{lines:?}");
    }
    let asked = ["--mech", "EXTERNAL-ASKED", "--user", NAME];
    assert!(client(port, Some(&own), &asked)[1].starts_with("auth 235"));
    let nobody = external("somebody.else@nhs.net");
    assert!(client(port, Some(&own), &nobody)[1].starts_with("auth 535"));
    // A certificate that nobody knows is as good as none: the rest goes on as ever.
    for shown in [Some(&*other), None] {
        let lines = client(port, shown, &external(NAME));
        assert!(!lines[0].contains("EXTERNAL"), "{lines:?}");
        assert!(lines[1].starts_with("auth 504"), "{lines:?}");
    }
    let mail = gateway.wait_for_mail(TO, 3).remove(0);
    let mail = String::from_utf8_lossy(&mail);
    assert!(mail.contains("with ESMTPSA"), "{mail}");
    // The counts are written every few seconds.
    let shown = wait_for("the counts", || {
        let shown = gateway.postern(&["--json", "account", "show", NAME]);
        let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
        (shown["days"][0]["accepted"] == 3).then_some(shown)
    });
    let sum = made.sum("own").replace(':', "").to_lowercase();
    assert_eq!(shown["certificates_seen"][0]["sha256"], sum);
}

#[test]
fn openssl_and_curl_log_in_by_a_sum_a_key_and_a_name_that_an_authority_signed() {
    if !installed("openssl") || !installed("curl") {
        return;
    }
    let made = Certificates::new();
    made.make("authority", 30, None);
    let of_authority = made.make("app", 30, Some("authority"));
    let (by_sum, by_key) = (made.make("sum", 30, None), made.make("key", 30, None));
    let imposter = made.make("imposter", 30, Some("authority"));
    let keys = format!(
        "certificates = [{{ sha256 = \"{}\" }}, {{ key-sha256 = \"{}\" }},\n\
         {{ authority = \"{}\", name = \"app.bumbleton.example\" }}]",
        made.sum("sum"),
        made.key_sum("key"),
        made.path("authority.pem").display()
    );
    let gateway = gateway(&keys, |text| text);
    let message = made.path("message.eml");
    let text = format!("From: <{NAME}>\r\nSubject: curl\r\n\r\nhello\r\n");
    fs::write(&message, text).expect("a file");
    for (certificate, may) in [
        (&by_sum, true),
        (&by_key, true),
        (&of_authority, true),
        (&imposter, false),
    ] {
        let said = s_client(gateway.submission, certificate);
        let expected = if may { "235 2.7.0" } else { "504 5.5.4" };
        assert!(said.contains(expected), "{certificate:?} {said}");
        let sent = Command::new("curl")
            .args(["--silent", "--show-error", "--ssl-reqd", "--insecure"])
            .args([
                "--url",
                &format!("smtp://127.0.0.1:{}/x.example", gateway.submission),
            ])
            .args([
                "--login-options",
                "AUTH=EXTERNAL",
                "--user",
                &format!("{NAME}:"),
            ])
            .args(["--mail-from", NAME, "--mail-rcpt", TO, "--upload-file"])
            .arg(&message)
            .arg("--cert")
            .arg(certificate)
            .output()
            .expect("curl runs");
        let said = String::from_utf8_lossy(&sent.stderr);
        assert_eq!(sent.status.success(), may, "{certificate:?} {said}");
    }
    gateway.wait_for_mail(TO, 3);
}

/// A dialogue over OpenSSL's own client.
fn s_client(port: u16, certificate: &Path) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(["-starttls", "smtp", "-crlf", "-quiet", "-cert"])
        .arg(certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    let mut input = child.stdin.take().expect("its input");
    input
        .write_all(b"EHLO x.example\nAUTH EXTERNAL =\nQUIT\n")
        .expect("commands");
    let output = child.wait_with_output().expect("its end");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn mail_of_a_relay_host_is_our_own_by_its_certificate() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let made = Certificates::new();
    let (relay, other) = (made.make("relay", 30, None), made.make("other", 30, None));
    let listed = format!(
        "relay-networks = []\nrelay-certificates = [{{ file = \"{}\" }}]",
        made.path("relay.pem").display()
    );
    let networks = "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]";
    let gateway = gateway("disabled = true", |text| {
        assert!(text.contains(networks));
        // The policy tests that ship speak as this machine, which is nobody here.
        let text = text.replace("\ntests = \"tests\"\n", "\ntests = \"certs\"\n");
        text.replace(networks, &listed)
    });
    let out = [
        "--sender",
        "x@bumbleton.example",
        "--to",
        "y@elsewhere.example",
    ];
    for (certificate, expected) in [
        (Some(&*relay), "rcpt 250"),
        (Some(&*other), "rcpt 550 5.7.1"),
        (None, "rcpt 550 5.7.1"),
    ] {
        let lines = client(gateway.relay, certificate, &out);
        assert!(lines[2].starts_with(expected), "{lines:?}");
    }
    // Between servers a certificate is enough; where users submit it is not.
    let lines = client(gateway.submission, Some(&relay), &out);
    assert!(lines[1].starts_with("mail 530"), "{lines:?}");
    gateway.wait_for_mail("y@elsewhere.example", 1);
}
