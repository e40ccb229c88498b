//! A gateway that sends mail for everybody but its own people to the exchangers of their domains, on loopback
//! addresses at port 25, and what its trail says of that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::authority::Authority;
use super::next_hop::{edit, secure_domain};
use crate::support::{Gateway, wait_for};

/// Who sends: mail of this domain is kept by the gateway, so that reports can be read.
pub(crate) const FROM: &str = "ward@nhs.net";

/// May go to anybody.
pub(crate) const HOURS: &str = "From: <ward@nhs.net>\r\nMessage-ID: <hours@nhs.net>\r\nSubject: opening hours\r\n\r\nNine to five.\r\n";

/// Patient data: bound to verified TLS for a secure domain.
pub(crate) const PATIENT: &str = "From: <ward@nhs.net>\r\nMessage-ID: <patient@nhs.net>\r\nSubject: prescription\r\n\r\nNHS number: 450 557 7104, date of birth 12/03/1961.\r\n";

/// Mail goes by MX as this name server has it, under TLS if it can be had, and is tried again every second.
pub(crate) fn by_mx(policies: &Path, names: SocketAddr, validating: bool, authority: &Authority) {
    std::fs::write(policies.join("ca.pem"), authority.pem()).unwrap();
    let home =
        "[[route]]\nname = \"home\"\nrecipients = [\"nhs.net\"]\nmaildir = \"../data/maildir\"\n\n";
    let before = "[[route]]\nname = \"everything\"";
    let servers = format!("servers = [\"{names}\"]\nvalidating = {validating}\n#");
    for (from, to) in [
        ("# servers = ", servers.as_str()),
        (
            "maildir = \"../data/maildir\" ",
            "mx = true\ntls = \"opportunistic\"\n#",
        ),
        ("retry = [\"15m\",", "retry = [\"1s\"]\n# ["),
        ("[delivery]\n", "[delivery]\nca = \"ca.pem\"\n"),
        (before, &format!("{home}{before}")),
    ] {
        edit(policies, "postern.toml", from, to);
    }
}

/// Mail with patient data for this domain is bound to verified TLS, to the exchangers that DNS names.
pub(crate) fn bound(policies: &Path, domain: &str) {
    secure_domain(policies, domain, "");
}

/// Hands a message over, in as many transactions as there are recipients.
pub(crate) fn send_each(gateway: &Gateway, to: &[String], message: &str) {
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    for to in to {
        let reply = client.submit(FROM, &[to], message.as_bytes());
        assert!(reply.starts_with("250 "), "{to}: {reply}");
    }
}

/// All events of the trail.
pub(crate) fn trail(gateway: &Gateway) -> Vec<Value> {
    let output = gateway.postern(&["audit", "export"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.map(|mut line: Value| line["event"].take()).collect()
}

/// What an event says: its kind, and those of its facts that are there.
pub(crate) fn in_short(event: &Value) -> String {
    let fact = |name| event["facts"][name].as_str();
    let mut said = vec![event["kind"].as_str().unwrap().to_owned()];
    for name in ["status", "reply", "tls", "authenticated", "downgrade"] {
        said.extend(fact(name).map(|value| format!("{name}: {value}")));
    }
    said.join("; ")
}

/// What attempts for a recipient came to, the oldest first.
fn attempts(trail: &[Value], to: &str) -> Vec<String> {
    let kinds = ["delivered", "deferred", "failed", "held"];
    let ends = |event: &&Value| kinds.iter().any(|kind| event["kind"] == *kind);
    let for_him = trail.iter().filter(|event| event["recipient"] == to);
    for_him.filter(ends).map(in_short).collect()
}

/// Waits until for each of these recipients an attempt came to something with all of his words in it.
pub(crate) fn all_come_to(gateway: &Gateway, of: &[(String, Vec<&str>)]) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let trail = trail(gateway);
        let missing = of.iter().find(|(to, words)| {
            let attempts = attempts(&trail, to);
            let right = |said: &String| words.iter().all(|word| said.contains(word));
            !attempts.iter().any(right)
        });
        let Some((to, words)) = missing else { return };
        assert!(
            Instant::now() < end,
            "{to} never came to {words:?}, but to {:#?}",
            attempts(&trail, to)
        );
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Waits until so many attempts for this recipient came to this.
pub(crate) fn attempts_come_to(gateway: &Gateway, to: &str, kind: &str, count: usize) {
    wait_for(&format!("{to} {kind}, {count} time(s)"), || {
        let attempts = attempts(&trail(gateway), to);
        let of_kind = attempts.iter().filter(|said| said.starts_with(kind));
        (of_kind.count() >= count).then_some(())
    });
}
