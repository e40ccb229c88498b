//! Conversations with a whole gateway, one subject each: `tests/dialogs/*.smtp`.
//!
//! The client is a stranger (no relay network is ours), `bumbleton.example` is served,
//! `foreign.example` is not.

#[path = "support/dialog.rs"]
mod dialog;
mod support;

use std::fs;

use dialog::{Ports, play};
use support::Gateway;

#[test]
fn every_conversation_goes_as_written() {
    let gateway = Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).expect("postern.toml");
        let strangers = text.replace(
            "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]",
            "relay-networks = [\"192.0.2.0/24\"]",
        );
        assert_ne!(
            text, strangers,
            "the shipped policy names its relay networks otherwise"
        );
        fs::write(&file, strangers).expect("a policy of strangers");
        // The policy's own tests are of mail from inside.
        fs::remove_dir_all(policies.join("tests")).expect("the policy's tests");
    });
    let ports = Ports {
        relay: gateway.relay,
        submission: gateway.submission,
        submissions: gateway.submissions,
    };

    let mut files: Vec<_> = fs::read_dir(support::root().join("tests/dialogs"))
        .expect("conversations")
        .map(|entry| entry.expect("a conversation").path())
        .collect();
    files.sort();
    assert!(files.len() >= 15, "conversations are missing");
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let script = fs::read_to_string(file).expect("a conversation");
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            play(&script, ports)
                .err()
                .map(|wrong| format!("{name}: {wrong}"))
        })
        .collect();

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
