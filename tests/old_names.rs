//! Mail by old names and by lists, through a whole gateway: who gets it, who hears of its failures, who is
//! told that a name is an old one.

mod support;

use support::{Client, Gateway};

const MESSAGE: &[u8] = b"From: <gp@nhs.net>\r\nMessage-ID: <m1@nhs.net>\r\nSubject: opening hours\r\n\r\nWhen do you open?\r\n";

/// Sends a message; returns the reply.
fn send(client: &mut Client, from: &str, to: &[&str], message: &[u8]) {
    let reply = client.submit(from, to, message);
    assert!(reply.starts_with("250 "), "{reply}");
}

fn client(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.command("EHLO x");
    client
}

fn text(mail: &[u8]) -> String {
    String::from_utf8(mail.to_vec()).expect("text")
}

#[test]
fn a_sender_is_told_of_the_new_address_once() {
    let gateway = Gateway::start();
    let mut client = client(&gateway);
    for _ in 0..3 {
        send(
            &mut client,
            "gp@nhs.net",
            &["Bumbleton.Chemist@nhs.net"],
            MESSAGE,
        );
    }
    gateway.wait_for_mail("pharmacy.fa001@nhs.net", 3);
    let told = gateway.wait_for_mail("gp@nhs.net", 1);
    let told = text(&told[0]);
    for part in [
        "Return-Path: <>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "In-Reply-To: <m1@nhs.net>\r\n",
        "bumbleton.chemist@nhs.net",
        "pharmacy.fa001@nhs.net",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("When do you open"), "{told}");

    // Programs, lists and reports are told nothing; what is delivered after them shows that nothing is left.
    let automatic = [b"Auto-Submitted: auto-generated\r\n".as_slice(), MESSAGE].concat();
    let listed = [b"List-Id: <gps.nhs.net>\r\n".as_slice(), MESSAGE].concat();
    send(
        &mut client,
        "robot@nhs.net",
        &["bumbleton.chemist@nhs.net"],
        &automatic,
    );
    send(
        &mut client,
        "gps@nhs.net",
        &["bumbleton.chemist@nhs.net"],
        &listed,
    );
    send(
        &mut client,
        "x.donotreply@nhs.net",
        &["bumbleton.chemist@nhs.net"],
        MESSAGE,
    );
    send(&mut client, "", &["bumbleton.chemist@nhs.net"], MESSAGE);
    // An alias is a name in use, not an old one.
    send(
        &mut client,
        "nurse@nhs.net",
        &["bumbleton.pharmacy@nhs.net"],
        MESSAGE,
    );
    gateway.wait_for_mail("pharmacy.fa001@nhs.net", 8);
    send(
        &mut client,
        "last@nhs.net",
        &["bumbleton.chemist@nhs.net"],
        MESSAGE,
    );
    gateway.wait_for_mail("last@nhs.net", 1);
    for nobody in ["robot", "gps", "x.donotreply", "nurse"] {
        let mail = gateway.mail_for(&format!("{nobody}@nhs.net"));
        assert!(
            mail.is_empty(),
            "{nobody}: {:?}",
            mail.iter().map(|m| text(m)).collect::<Vec<_>>()
        );
    }
    assert_eq!(gateway.mail_for("gp@nhs.net").len(), 1);

    let stats = gateway.postern(&["directory", "stats", "--json"]);
    let stats = String::from_utf8(stats.stdout).expect("text");
    let first: serde_json::Value =
        serde_json::from_str(stats.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["name"], "bumbleton.pharmacy@nhs.net");
    assert_eq!(first["uses"], 9);
    assert_eq!(first["because"], "alias");
    // The mailbox of the sender is in no directory, so its domain stands for its organisation.
    assert_eq!(first["used_by"][0], "nhs.net");
    let unused = gateway.postern(&["directory", "stats", "--unused"]);
    let unused = String::from_utf8(unused.stdout).expect("text");
    assert!(unused.contains("orders@bumbleton.example"), "{unused}");
    assert!(!unused.contains("bumbleton.chemist"), "{unused}");
}

#[test]
fn a_forged_sender_is_told_nothing() {
    let gateway = Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = std::fs::read_to_string(&file).expect("postern.toml");
        let networks = text
            .lines()
            .find(|line| line.starts_with("relay-networks"))
            .expect("networks");
        let text = text.replace(networks, "relay-networks = [\"192.0.2.0/24\"]");
        std::fs::write(&file, text).expect("a changed file");
        // Else the forgery would not get so far.
        let file = policies.join("senders.toml");
        let text = std::fs::read_to_string(&file).expect("senders.toml");
        let open = text.replace("from-outside = \"refuse\"", "from-outside = \"off\"");
        std::fs::write(&file, open).expect("a changed file");
        // They are of the shipped networks.
        std::fs::remove_dir_all(policies.join("tests")).expect("no policy tests");
    });
    let mut client = client(&gateway);
    for from in ["victim@nhs.net", "victim@elsewhere.example"] {
        send(&mut client, from, &["bumbleton.chemist@nhs.net"], MESSAGE);
    }
    gateway.wait_for_mail("pharmacy.fa001@nhs.net", 2);
    assert!(gateway.mail_for("victim@nhs.net").is_empty());
    assert!(gateway.mail_for("victim@elsewhere.example").is_empty());
}

#[test]
fn errors_of_a_list_go_to_its_owner_and_those_of_others_to_the_sender() {
    let gateway = Gateway::start();
    let mut client = client(&gateway);
    let to = [
        "bumbleton.branches@nhs.net",
        "nurse@nhs.net",
        "pharmacy.fa003@nhs.net",
    ];
    send(&mut client, "gp@nhs.net", &to, MESSAGE);
    for (mailbox, return_path) in [
        ("pharmacy.fa001@nhs.net", "bumbleton.headoffice@nhs.net"),
        // The sender wrote to this one by name as well: he is to hear.
        ("pharmacy.fa003@nhs.net", "gp@nhs.net"),
        ("pharmacy.fa123@nhs.net", "bumbleton.headoffice@nhs.net"),
        ("nurse@nhs.net", "gp@nhs.net"),
    ] {
        let mail = gateway.wait_for_mail(mailbox, 1);
        assert_eq!(mail.len(), 1, "{mailbox}");
        let mail = text(&mail[0]);
        assert!(
            mail.starts_with(&format!("Return-Path: <{return_path}>\r\n")),
            "{mail}"
        );
    }
    // To the list alone, by a report: nobody hears of the failures of a report.
    send(&mut client, "", &to[..1], MESSAGE);
    let mail = gateway.wait_for_mail("pharmacy.fa123@nhs.net", 2);
    assert!(
        mail.iter()
            .any(|mail| text(mail).starts_with("Return-Path: <>\r\n"))
    );
}

#[test]
fn whoever_asked_to_hear_of_success_hears_that_the_list_has_it() {
    let gateway = Gateway::start();
    let mut client = client(&gateway);
    for (command, code) in [
        ("MAIL FROM:<gp@nhs.net> ENVID=e1", "250"),
        (
            "RCPT TO:<bumbleton.branches@nhs.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;branches@old.example",
            "250",
        ),
        ("DATA", "354"),
    ] {
        let reply = client.command(command);
        assert!(reply.starts_with(code), "{reply}");
    }
    client.send(&support::stuffed(MESSAGE));
    assert!(client.reply().starts_with("250 "));
    gateway.wait_for_mail("pharmacy.fa123@nhs.net", 1);
    let report = text(&gateway.wait_for_mail("gp@nhs.net", 1)[0]);
    for part in [
        "Original-Envelope-Id: e1\r\n",
        "Original-Recipient: rfc822; branches@old.example\r\n",
        "Final-Recipient: rfc822; bumbleton.branches@nhs.net\r\n",
        "Action: delivered\r\n",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    // The members are the list's business: nobody reports of each of them.
    assert_eq!(gateway.mail_for("gp@nhs.net").len(), 1);
    assert!(gateway.mail_for("bumbleton.headoffice@nhs.net").is_empty());
}
