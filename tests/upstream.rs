//! The limits of an account at a smart host, through a whole gateway: what is over them waits, says so, and is not
//! forgotten by a restart. The smart host is Python's.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use support::programs::{python_server, server_certificate};
use support::{Gateway, installed, wait_for};

const FROM: &str = "pharmacy.fa001@bumbleton.example";
const SECRET: &str = "correct horse battery staple";

/// Ends with the test.
struct SmartHost {
    folder: tempfile::TempDir,
    server: Child,
    port: u16,
}

impl SmartHost {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let both = server_certificate(folder.path(), "host", "IP:127.0.0.1");
        let given = [folder.path(), &both, Path::new(SECRET)];
        let (server, port) = python_server("smart_host.py", &given);
        Self {
            folder,
            server,
            port,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whom it took mail for.
    fn taken(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("taken")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for SmartHost {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn gateway(host: &SmartHost, limits: &str) -> Gateway {
    let route = format!(
        "[[route]]\nname = \"upstream\"\nrecipients = [\"upstream.example\"]\nsmart-host = \"127.0.0.1:{}\"\n\
         username = \"reminders\"\npassword = {{ file = \"upstream\" }}\naccount-limits = {limits}\n\n",
        host.port
    );
    Gateway::start_with(|policies: &Path| {
        fs::write(policies.join("upstream"), SECRET).expect("a password");
        let path = policies.join("postern.toml");
        let text = fs::read_to_string(&path).expect("postern.toml");
        let (first, before) = ("[[route]]\nname = \"encryption\"", "[delivery]\n");
        assert!(text.contains(first) && text.contains(before));
        let text = text.replacen(first, &format!("{route}{first}"), 1);
        let ca = host.path("host.pem");
        let text = text.replace(before, &format!("{before}ca = \"{}\"\n", ca.display()));
        fs::write(&path, text).expect("postern.toml");
    })
}

fn submit(gateway: &Gateway, to: &[&str]) {
    let mut client = gateway.connect();
    client.command("EHLO client.example");
    let message = format!("From: <{FROM}>\r\nSubject: x\r\n\r\nhello\r\n");
    let said = client.submit(FROM, to, message.as_bytes());
    assert!(said.starts_with("250"), "{said}");
}

/// Waits until the queue says of so many deliveries that they wait for their account.
fn wait_for_waiting(gateway: &Gateway, count: usize, because: &str) {
    wait_for("mail that waits for its account", || {
        let listed = gateway.postern(&["--json", "queue", "list"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        (listed.matches(because).count() == count).then_some(())
    });
}

#[test]
fn recipients_over_the_day_of_an_account_wait_also_after_a_crash() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let host = SmartHost::start();
    let mut gateway = gateway(&host, "{ recipients-per-day = 3 }");
    let over = "as many recipients in 24 hours";
    submit(&gateway, &["a@upstream.example", "b@upstream.example"]);
    wait_for("the first two", || (host.taken().len() == 2).then_some(()));
    submit(&gateway, &["c@upstream.example", "d@upstream.example"]);
    wait_for("a third", || (host.taken().len() == 3).then_some(()));
    wait_for_waiting(&gateway, 1, over);

    gateway.kill();
    gateway.restart();
    submit(&gateway, &["e@upstream.example"]);
    wait_for_waiting(&gateway, 2, over);
    // Mail of other routes is not held up.
    submit(&gateway, &["pharmacy.fa001@nhs.net"]);
    gateway.wait_for_mail("pharmacy.fa001@nhs.net", 1);
    let mut taken = host.taken();
    taken.sort();
    assert_eq!(taken[..2], ["a@upstream.example", "b@upstream.example"]);
    assert_eq!(taken.len(), 3);
}

#[test]
fn messages_over_the_minute_of_an_account_wait_also_after_a_restart() {
    if !installed("python3") || !installed("openssl") {
        return;
    }
    let host = SmartHost::start();
    let mut gateway = gateway(&host, "{ messages-per-minute = 1 }");
    submit(&gateway, &["a@upstream.example"]);
    wait_for("the first", || (host.taken().len() == 1).then_some(()));
    assert!(gateway.terminate());
    gateway.restart();
    submit(&gateway, &["b@upstream.example"]);
    wait_for_waiting(&gateway, 1, "as many messages in a minute");
    assert_eq!(host.taken().len(), 1);
    // It goes by itself when its minute has come.
    wait_for("the second", || (host.taken().len() == 2).then_some(()));
}
