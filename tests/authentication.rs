//! Signatures and seals on mail of strangers, at a running gateway with a name server of the test: made by dkimpy, which nobody
//! here wrote, for the `python3` in the path or the one that POSTERN_TEST_PYTHON names (`pip install dkimpy pynacl
//! authres`). Without it DKIM is signed by `mail-auth`, and the tests of ARC say that they are skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/strangers.rs"]
mod strangers;
mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mail_auth::common::crypto::{RsaKey, Sha256};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use name_server::NameServer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use strangers::{TO, change, client, gateway, gateway_with, message, results};
use support::programs::dkim_key;
use support::{Gateway, root};

/// A key of a domain, and its record.
struct Key {
    domain: &'static str,
    file: PathBuf,
    name: String,
    record: String,
    _folder: tempfile::TempDir,
}

impl Key {
    /// One that administrators make with our own command.
    fn of(domain: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        let (name, record) = dkim_key(domain, SELECTOR, "rsa", &file);
        Self {
            domain,
            file,
            name,
            record,
            _folder: folder,
        }
    }

    /// The message with a DKIM signature on top.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.by_dkimpy("dkim", message).unwrap_or_else(|| {
            let key = PrivateKeyDer::from_pem_file(&self.file).unwrap();
            let key = RsaKey::<Sha256>::from_key_der(key).unwrap();
            let signature = DkimSigner::from_key(key)
                .domain(self.domain)
                .selector(SELECTOR)
                .headers(["From", "To", "Subject", "Date", "Message-ID"])
                .sign(message)
                .unwrap();
            [signature.to_header().as_bytes(), message].concat()
        })
    }

    /// The message with a set of ARC on top, which says what its newest results of this domain say; `None` if nobody
    /// can make one.
    fn seal(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.by_dkimpy("arc", message)
    }

    fn by_dkimpy(&self, what: &str, message: &[u8]) -> Option<Vec<u8>> {
        let python = std::env::var("POSTERN_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut signer = Command::new(python)
            .arg(root().join("tests/signed_mail.py"))
            .args([what, self.domain, SELECTOR])
            .arg(&self.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        // It may have ended without reading.
        let _ = signer.stdin.take().unwrap().write_all(message);
        let signed = signer.wait_with_output().unwrap();
        if signed.stdout.starts_with(b"no dkimpy") {
            eprintln!("skipped: dkimpy or authres is not installed");
            return None;
        }
        assert!(signed.status.success());
        Some(signed.stdout)
    }
}

trait With {
    fn with_key(self, key: &Key) -> Self;
}

impl With for NameServer {
    fn with_key(self, key: &Key) -> Self {
        self.with_txt(&key.name, &key.record)
    }
}

fn altered(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message).replace("\r\n\r\nhello", "\r\n\r\nhullo");
    text.into_bytes()
}

/// From an address and a reverse path for which nothing vouches.
fn submit(gateway: &Gateway, message: &[u8]) -> String {
    client(gateway, "192.0.2.7").submit("bounce@elsewhere.example", &[TO], message)
}

fn with_policies() -> NameServer {
    let mut dns = NameServer::start();
    for policy in ["reject", "quarantine", "none"] {
        let record = format!("v=DMARC1; p={policy}");
        dns = dns.with_txt(&format!("_dmarc.{policy}.example"), &record);
    }
    dns
}

#[test]
fn a_signature_vouches_for_its_author_and_a_broken_one_leads_to_what_the_author_asks_for() {
    let keys = [
        Key::of("reject.example"),
        Key::of("quarantine.example"),
        Key::of("none.example"),
    ];
    let mut dns = with_policies();
    for key in &keys {
        dns = dns.with_key(key);
    }
    let gateway = gateway(&dns, "", "");
    let refused = "550 5.7.1 the sender's DMARC policy refuses this message";
    let mut arrived = 0;
    for (key, when_broken) in keys.iter().zip([refused, "250 2.6.0", "250 2.0.0"]) {
        let domain = key.domain;
        let signed = key.sign(&message(&format!("boss@{domain}")));
        let said = submit(&gateway, &signed);
        assert!(said.starts_with("250 2.0.0"), "{domain}: {said}");
        arrived += 1;
        let found = results(&gateway, arrived);
        for wanted in [
            format!("dkim=pass header.d={domain}"),
            format!("dmarc=pass header.from={domain}"),
        ] {
            assert!(found.contains(&wanted), "{wanted} not in\n{found}");
        }
        let said = submit(&gateway, &altered(&signed));
        assert!(said.starts_with(when_broken), "{domain}: {said}");
    }
    let found = results(&gateway, arrived + 1);
    for wanted in ["dkim=fail", "dmarc=fail", "policy.dmarc=none"] {
        assert!(found.contains(wanted), "{wanted} not in\n{found}");
    }
    // Of a domain above the author's, and of one that is none of his.
    let reject = &keys[0];
    let below = reject.sign(&message("boss@branch.reject.example"));
    let said = submit(&gateway, &below);
    assert!(said.starts_with("250 2.0.0"), "{said}");
    let foreign = keys[2].sign(&message("boss@reject.example"));
    let said = submit(&gateway, &foreign);
    assert!(said.starts_with(refused), "{said}");
}

#[test]
fn what_the_author_asks_for_is_done_only_as_far_as_the_policy_says() {
    let key = Key::of("reject.example");
    let dns = with_policies().with_key(&key);
    let gateway = gateway_with(&dns, "", "", |policies| {
        change(&policies.join("scoring.toml"), |text| {
            text.replacen("reject = \"refuse\"", "reject = \"score\"", 1)
        });
    });
    let broken = altered(&key.sign(&message("boss@reject.example")));
    let said = submit(&gateway, &broken);
    assert!(said.starts_with("250 2.0.0"), "{said}");
    let found = results(&gateway, 1);
    for wanted in ["dmarc=fail", "policy.dmarc=reject", "DMARC_FAIL("] {
        assert!(found.contains(wanted), "{wanted} not in\n{found}");
    }
}

#[test]
fn a_key_that_the_dns_does_not_tell_is_no_forgery_and_holds_nobody_up() {
    let key = Key::of("reject.example");
    let dns = with_policies().silent_for(key.name.trim_end_matches('.'));
    let signed = key.sign(&message("boss@reject.example"));
    let passing = gateway(&dns, "", "");
    let begun = Instant::now();
    let said = submit(&passing, &signed);
    assert!(said.starts_with("250 2.0.0"), "{said}");
    // Two methods one after the other, each of two time-outs, and room for a slow machine.
    assert!(begun.elapsed() < Duration::from_secs(20));
    let found = results(&passing, 1);
    for wanted in ["dkim=temperror", "dmarc=temperror"] {
        assert!(found.contains(wanted), "{wanted} not in\n{found}");
    }
    let deferring = gateway(&dns, "[authentication]\nwhen-dns-fails = \"defer\"\n", "");
    let said = submit(&deferring, &signed);
    assert!(said.starts_with("451 4.4.3"), "{said}");
}

/// A list breaks the signature of an author whose domain asks for refusal, and seals what it found before.
#[test]
fn a_sealer_who_is_trusted_rescues_what_a_list_broke_and_nobody_else_does() {
    let (author, list) = (Key::of("reject.example"), Key::of("lists.example"));
    let dns = with_policies().with_key(&author).with_key(&list);
    let sealed = |found: &str| {
        let signed = author.sign(&message("boss@reject.example"));
        let mut changed =
            format!("Authentication-Results: lists.example; {found}\r\n").into_bytes();
        changed.extend(altered(&signed));
        list.seal(&changed)
    };
    let Some(good) = sealed("dmarc=pass header.from=reject.example") else {
        return;
    };
    let failed = sealed("dmarc=fail header.from=reject.example").unwrap();
    let other = sealed("dmarc=pass header.from=other.example").unwrap();
    let refused = "550 5.7.1 the sender's DMARC policy refuses this message";
    let trusting = gateway(&dns, TRUSTING, "");

    let said = submit(&trusting, &good);
    assert!(said.starts_with("250 2.0.0"), "{said}");
    let found = results(&trusting, 1);
    for wanted in ["dmarc=fail", "arc=pass header.d=lists.example"] {
        assert!(found.contains(wanted), "{wanted} not in\n{found}");
    }
    assert!(!found.contains("DMARC_FAIL("), "{found}");
    // It did not find him proven, found another one, or somebody changed it after the seal.
    let changed = String::from_utf8_lossy(&good).replace("hullo", "hallo");
    for message in [&failed, &other, &changed.into_bytes()] {
        let said = submit(&trusting, message);
        assert!(said.starts_with(refused), "{said}");
    }
    let trusting_nobody = gateway(&dns, "", "");
    let said = submit(&trusting_nobody, &good);
    assert!(said.starts_with(refused), "{said}");
    let others = "[authentication]\ntrusted-sealers = [\"reject.example\"]\n";
    let said = submit(&gateway(&dns, others, ""), &good);
    assert!(said.starts_with(refused), "{said}");
    // Whether the seals are those of the trusted sealer is not known: what he rescues must not be lost by that.
    dns.change(list.name.trim_end_matches('.'), |known| {
        known.records.clear();
        known.is_silent = true;
    });
    let unsure = gateway(&dns, TRUSTING, "");
    let said = submit(&unsure, &good);
    assert!(said.starts_with("451 4.4.3"), "{said}");
}

const TRUSTING: &str = "[authentication]\ntrusted-sealers = [\"lists.example\"]\n";

const SELECTOR: &str = "s1";
