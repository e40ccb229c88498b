//! Real mail through a running gateway: what was not edited arrives byte for byte.
//!
//! Skips with a message when `../shared/corpora` or Python (which unpacks it) is not there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use support::corpus::{collect, with_crlf};
use support::{Client, Gateway, installed, root, wait_for};

#[test]
fn the_torture_collection_passes_byte_for_byte_or_is_refused() {
    run("torture-dev.tar.xz", 1);
}

#[test]
fn every_seventh_message_of_the_development_mail_passes_byte_for_byte() {
    run("dev.tar.xz", 7);
}

/// Sends every `step`-th message of an archive to a recipient of its own and compares what arrives.
fn run(archive: &str, step: usize) {
    let archive = root().join("../shared/corpora").join(archive);
    if !archive.exists() {
        eprintln!("skipped: {} is not beside this checkout", archive.display());
        return;
    }
    if !installed("python3") {
        return;
    }
    let unpacked = tempfile::tempdir().expect("a temporary folder");
    let script = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
    let done = Command::new("python3")
        .args(["-c", script])
        .arg(&archive)
        .arg(unpacked.path())
        .status();
    assert!(done.expect("python runs").success());
    let mut files = Vec::new();
    collect(unpacked.path(), &mut files);
    files.sort();

    let gateway = Gateway::start();
    let mut client = gateway.connect();
    assert!(
        client
            .command("EHLO client.elsewhere.example")
            .starts_with("250")
    );
    let (mut sent, mut refused) = (BTreeMap::new(), 0);
    for (number, file) in files.iter().step_by(step).enumerate() {
        let message = with_crlf(&fs::read(file).expect("a message"));
        let recipient = format!("m{number}@nhs.net");
        let reply = submit(&gateway, &mut client, &recipient, &message);
        if reply.starts_with("250") {
            sent.insert(recipient, message);
        } else {
            assert!(reply.starts_with('5'), "{}: {reply}", file.display());
            refused += 1;
        }
    }
    println!("{} messages accepted, {refused} refused", sent.len());
    assert!(sent.len() > refused, "more refused than passed");

    let mut waiting = sent;
    wait_for("all of them to arrive", || {
        waiting.retain(|recipient, message| {
            let Some(arrived) = gateway.mail_for(recipient).pop() else {
                return true;
            };
            assert!(
                arrived.ends_with(message),
                "{recipient}: the message was changed"
            );
            false
        });
        waiting.is_empty().then_some(())
    });
}

fn submit(gateway: &Gateway, client: &mut Client, recipient: &str, message: &[u8]) -> String {
    let reply = client.submit("someone@nhs.net", &[recipient], message);
    if reply.starts_with("421") {
        *client = gateway.connect();
        client.command("EHLO client.elsewhere.example");
        return client.submit("someone@nhs.net", &[recipient], message);
    }
    reply
}
