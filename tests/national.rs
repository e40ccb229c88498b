//! The national files are imported for real while the gateway takes mail for old names. Skips with a
//! message when `../shared/data` is not there.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use support::{Client, Gateway, root, wait_for};

const MESSAGE: &[u8] =
    b"From: <gp@elsewhere.example>\r\nSubject: opening hours\r\n\r\nWhen do you open?\r\n";
/// A pharmacy of the national file that is in no shipped one: Askern Pharmacy, Doncaster.
const LEGACY: &str = "nhspharmacy.askern.askernpharmacyFDX64@nhs.net";

fn client(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.command("EHLO x");
    client
}

/// Whether the directory in force knows the old name.
fn is_known(gateway: &Gateway) -> bool {
    let mut client = client(gateway);
    client.command("MAIL FROM:<gp@elsewhere.example>");
    let reply = client.command(&format!("RCPT TO:<{LEGACY}>"));
    assert!(
        reply.starts_with("250 ") || reply.starts_with("550 5.1."),
        "{reply}"
    );
    reply.starts_with("250 ")
}

#[test]
fn the_national_files_come_into_force_while_mail_for_old_names_goes_on() {
    let data = root().join("../shared/data");
    let files =
        ["edispensary.csv", "epraccur.csv"].map(|file| data.join(file).display().to_string());
    if !data.exists() {
        eprintln!("skipped: ../shared/data is not beside this checkout");
        return;
    }
    let gateway = Gateway::start();
    assert!(!is_known(&gateway));
    let done = AtomicBool::new(false);

    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut client = client(&gateway);
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                let to = ["bumbleton.chemist@nhs.net"];
                let reply = client.submit("gp@elsewhere.example", &to, MESSAGE);
                assert!(reply.starts_with("250 "), "{reply}");
                sent += 1;
            }
            sent
        });
        let import = gateway.postern(&["directory", "import", &files[0], &files[1], "--json"]);
        let said = String::from_utf8_lossy(&import.stdout).into_owned();
        assert!(import.status.success(), "{said}");
        wait_for("the new directory", || is_known(&gateway).then_some(()));
        done.store(true, Ordering::Relaxed);
        sender.join().expect("every message is accepted")
    });

    assert!(sent > 0);
    gateway.wait_for_mail("pharmacy.fa001@nhs.net", sent);
    let reply = client(&gateway).submit("gp@elsewhere.example", &[LEGACY], MESSAGE);
    assert!(reply.starts_with("250 "), "{reply}");
    gateway.wait_for_mail("pharmacy.fdx64@nhs.net", 1);
}
