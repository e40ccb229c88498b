//! Tokens in place of secrets, through a whole gateway: an issuer over HTTPS that Python serves, keys and signatures that
//! OpenSSL made, Python's smtplib as client.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::programs::{openssl, python_server, server_certificate};
use support::{Gateway, installed, wait_for};

const NAME: &str = "reminders.fa001.donotreply@nhs.net";
const ISSUER: &str = "https://issuer.example/tenant";

/// An issuer whose folder says what it serves. Ends with the test.
struct Issuer {
    folder: tempfile::TempDir,
    server: Option<Child>,
}

impl Issuer {
    /// One with a certificate for this machine, of its own signature; and its port.
    fn start() -> (Self, u16) {
        let folder = tempfile::tempdir().expect("a folder");
        let both = server_certificate(folder.path(), "tls", "DNS:localhost");
        let (server, port) = python_server("issuer.py", &[folder.path(), &both]);
        let issuer = Self {
            folder,
            server: Some(server),
        };
        (issuer, port)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn openssl(&self, args: &[&str]) -> Vec<u8> {
        openssl(self.folder.path(), args)
    }

    /// Makes a key; returns it as it is published.
    fn key(&self, id: &str) -> Value {
        let file = format!("{id}.key");
        self.openssl(&["genrsa", "-out", &file, "2048"]);
        let said = self.openssl(&["rsa", "-noout", "-modulus", "-in", &file]);
        let said = String::from_utf8(said).expect("digits");
        let digits = said.trim().strip_prefix("Modulus=").expect("a modulus");
        let pair = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits");
        let modulus: Vec<u8> = (0..digits.len()).step_by(2).map(pair).collect();
        json!({ "kty": "RSA", "use": "sig", "kid": id, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB" })
    }

    fn publish(&self, keys: &[&Value]) {
        let new = self.path("new.json");
        fs::write(&new, json!({ "keys": keys }).to_string()).expect("a file");
        fs::rename(new, self.path("keys.json")).expect("a file");
    }

    /// A token of the account, signed with a key.
    fn token(&self, id: &str) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let now = Timestamp::now().as_second();
        let header = json!({ "alg": "RS256", "kid": id, "typ": "JWT" });
        let claims = json!({ "iss": ISSUER, "aud": "api://postern", "azp": "app-1", "exp": now + 600, "nbf": now - 5 });
        let signed = format!("{}.{}", part(header), part(claims));
        fs::write(self.path("signed"), &signed).expect("a file");
        let key = format!("{id}.key");
        let signature = self.openssl(&["dgst", "-sha256", "-sign", &key, "signed"]);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn gateway(issuer: &Issuer, port: u16) -> Gateway {
    let block = format!(
        "\n[[account]]\nname = \"{NAME}\"\ntoken-subjects = [\"app-1\"]\n\
         [[issuer]]\nname = \"{ISSUER}\"\naudience = [\"api://postern\"]\nsubject-claim = \"azp\"\n\
         jwks-url = \"https://localhost:{port}/keys\"\n"
    );
    Gateway::start_with(|policies: &Path| {
        let path = policies.join("accounts.toml");
        let text = fs::read_to_string(&path).expect("accounts.toml");
        fs::write(&path, text + &block).expect("accounts.toml");
        let path = policies.join("postern.toml");
        let text = fs::read_to_string(&path).expect("postern.toml");
        let (before, ca) = ("[delivery]\n", issuer.path("tls.pem"));
        assert!(text.contains(before));
        let text = text.replace(before, &format!("{before}ca = \"{}\"\n", ca.display()));
        fs::write(&path, text).expect("postern.toml");
    })
}

/// The reply to a log-in with a token.
fn log_in(gateway: &Gateway, mech: &str, token: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/accounts/client.py");
    let output = Command::new("python3")
        .arg(script)
        .args(["--port", &gateway.submission.to_string()])
        .args(["--mech", mech, "--user", NAME, "--secret", token])
        .stdin(Stdio::null())
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn keys_come_from_the_issuer_change_with_it_and_stay_while_it_is_away() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let (mut issuer, port) = Issuer::start();
    let (one, two) = (issuer.key("one"), issuer.key("two"));
    issuer.publish(&[&one]);
    let mut gateway = gateway(&issuer, port);
    let by_one = issuer.token("one");
    let opens = |gateway: &Gateway, mech: &str, token: &str| {
        wait_for("the token to be taken", || {
            let said = log_in(gateway, mech, token);
            // Until the keys are here it hears to try again, and never that it is wrong.
            assert!(
                said.starts_with("auth 235") || said.starts_with("auth 454"),
                "{said}"
            );
            said.starts_with("auth 235").then_some(())
        });
    };
    opens(&gateway, "XOAUTH2", &by_one);
    opens(&gateway, "OAUTHBEARER", &by_one);

    // A new key, and the old one withdrawn: one try makes the gateway ask.
    issuer.publish(&[&two]);
    let by_two = issuer.token("two");
    assert!(log_in(&gateway, "XOAUTH2", &by_two).starts_with("auth 454"));
    opens(&gateway, "XOAUTH2", &by_two);
    assert!(log_in(&gateway, "XOAUTH2", &by_one).starts_with("auth 454"));

    // Away, and with nonsense: those before stay.
    fs::remove_file(issuer.path("keys.json")).expect("a file");
    assert!(log_in(&gateway, "XOAUTH2", &by_one).starts_with("auth 454"));
    wait_for("a fetch that fails", || {
        gateway.log().contains("cannot be fetched").then_some(())
    });
    issuer.stop();
    assert!(log_in(&gateway, "XOAUTH2", &by_two).starts_with("auth 235"));

    // A start without it: nothing is known, which is no reason to say that a token is wrong.
    assert!(gateway.terminate());
    gateway.restart();
    assert!(log_in(&gateway, "XOAUTH2", &by_two).starts_with("auth 454"));
}

#[test]
fn an_issuer_that_says_nothing_holds_up_nobody() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let (issuer, port) = Issuer::start();
    let one = issuer.key("one");
    issuer.publish(&[&one]);
    fs::write(issuer.path("slow"), "").expect("a file");
    let gateway = gateway(&issuer, port);
    wait_for("the issuer to be asked", || {
        issuer.path("asked").exists().then_some(())
    });
    let token = issuer.token("one");
    assert!(log_in(&gateway, "XOAUTH2", &token).starts_with("auth 454"));
    // The counters are written down meanwhile, and mail is taken.
    let mut client = gateway.connect();
    client.command("EHLO client.example");
    let from = "pharmacy.fa001@nhs.net";
    let message = format!("From: <{from}>\r\nSubject: x\r\n\r\nx\r\n");
    assert!(
        client
            .submit(from, &[from], message.as_bytes())
            .starts_with("250")
    );
    fs::remove_file(issuer.path("slow")).expect("a file");
    wait_for("the token to be taken", || {
        log_in(&gateway, "XOAUTH2", &token)
            .starts_with("auth 235")
            .then_some(())
    });
}
