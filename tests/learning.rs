//! Learning, through whole programs: messages handed to `postern learn` or sent to the two addresses change what a
//! running gateway says of the next ones, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::Path;

use support::{Gateway, wait_for};

/// A message of a kind: whole sentences, some of them picked by a number.
fn message(number: usize, sentences: &[&str; 6], from: &str) -> String {
    let pick = |at: usize| sentences[(number * 5 + at * (number % 4 + 1)) % sentences.len()];
    format!(
        "From: {from}{number}@{from}.example\r\nTo: reception@bumbleton.example\r\nSubject: {}\r\n\
         Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{number}.{from}@{from}.example>\r\n\r\n{}\r\n{}\r\nNo. {number}\r\n",
        pick(0),
        pick(1),
        pick(2),
    )
}

fn spam(number: usize) -> String {
    message(number, &GARDEN, "gnomes")
}

fn ham(number: usize) -> String {
    message(number, &CLINIC, "surgery")
}

const GARDEN: [&str; 6] = [
    "Porcelain gnomes for every garden, painted by hand",
    "Our gnome catalogue has ninety new hats",
    "Gnomes with fishing rods have come in",
    "Put a porcelain gnome beside the pond",
    "The gnome of the month wears purple boots",
    "Garden gnomes make neighbours jealous",
];
const CLINIC: [&str; 6] = [
    "The vaccination clinic begins at nine",
    "Please change the rota for the dispensary",
    "The fridge was serviced and the log is signed",
    "Opening hours over the bank holiday",
    "Stock of the inhalers has come in",
    "Minutes of the pharmacists' meeting are ready",
];

fn write_all(folder: &Path, of: impl Fn(usize) -> String) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..30 {
        fs::write(folder.join(format!("{number}.eml")), of(number)).unwrap();
    }
}

/// A gateway to which this machine is a stranger.
fn among_strangers() -> Gateway {
    Gateway::start_with(|policies| {
        let file = policies.join("postern.toml");
        let text = fs::read_to_string(&file).unwrap();
        let ours = "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]";
        assert!(text.contains(ours));
        fs::write(
            &file,
            text.replace(ours, "relay-networks = [\"192.0.2.0/24\"]"),
        )
        .unwrap();
        // What is learnt well is kept back: here it is to be seen.
        let file = policies.join("scoring.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text
            .replace("quarantine = 10.0", "quarantine = 100.0")
            .replace("refuse = 20.0", "refuse = 200.0");
        fs::write(&file, text).unwrap();
        // They are about the shipped networks.
        fs::remove_dir_all(policies.join("tests")).unwrap();
    })
}

/// What the gateway wrote on a message that it has just taken.
fn status_of(gateway: &Gateway, message: &str) -> String {
    let before = gateway.mail_for("reception@bumbleton.example").len();
    let mut client = gateway.connect();
    client.command("EHLO mail.example");
    let reply = client.submit(
        "x@gnomes.example",
        &["reception@bumbleton.example"],
        message.as_bytes(),
    );
    assert!(reply.starts_with("250 "), "{reply}");
    let mails = gateway.wait_for_mail("reception@bumbleton.example", before + 1);
    let mut all: Vec<String> = mails
        .iter()
        .map(|mail| String::from_utf8_lossy(mail).into_owned())
        .collect();
    all.retain(|mail| mail.contains("X-Spam-Status"));
    let id = message
        .lines()
        .find(|line| line.starts_with("Message-ID"))
        .unwrap();
    all.into_iter()
        .rev()
        .find(|mail| mail.contains(id))
        .unwrap()
}

#[test]
fn what_was_learnt_is_in_force_without_a_restart() {
    let gateway = among_strangers();
    let folder = gateway.folder.path().join("mail");
    write_all(&folder.join("spam"), spam);
    write_all(&folder.join("ham"), ham);
    assert!(
        !status_of(&gateway, &spam(91)).contains("X-Spam-Flag: YES"),
        "nobody has learnt anything"
    );

    let learn = |what: &str| {
        gateway.postern(&["--json", "learn", what, folder.join(what).to_str().unwrap()])
    };
    assert_eq!(
        String::from_utf8_lossy(&learn("spam").stdout).trim(),
        "{\"learnt\":\"spam\",\"messages\":30,\"model\":null,\"new\":30,\"organisation\":null}"
    );
    assert_eq!(
        String::from_utf8_lossy(&learn("ham").stdout).trim(),
        "{\"learnt\":\"ham\",\"messages\":30,\"model\":{\"ham\":30,\"spam\":30},\"new\":30,\"organisation\":null}"
    );

    let mut number = 100;
    let marked = wait_for("the model to be in force", || {
        number += 1;
        let mail = status_of(&gateway, &spam(number));
        mail.contains("LEARNED_SPAM").then_some(mail)
    });
    assert!(marked.contains("X-Spam-Flag: YES"), "{marked}");
    let wanted = status_of(&gateway, &ham(900));
    assert!(
        wanted.contains("LEARNED_HAM(-") && !wanted.contains("X-Spam-Flag"),
        "{wanted}"
    );
}

#[test]
fn a_damaged_model_is_said_in_the_log_and_the_old_one_stays_in_force() {
    let gateway = among_strangers();
    let folder = gateway.folder.path().join("mail");
    write_all(&folder.join("spam"), spam);
    write_all(&folder.join("ham"), ham);
    for what in ["spam", "ham"] {
        gateway.postern(&["learn", what, folder.join(what).to_str().unwrap()]);
    }
    let mut number = 100;
    wait_for("the model to be in force", || {
        number += 1;
        status_of(&gateway, &spam(number))
            .contains("LEARNED_SPAM")
            .then_some(())
    });

    let model = gateway.folder.path().join("data/models/site.model");
    let mut octets = fs::read(&model).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&model, octets).unwrap();
    wait_for("the log to say so", || {
        gateway
            .log()
            .contains("its checksum does not agree")
            .then_some(())
    });
    assert!(status_of(&gateway, &spam(700)).contains("LEARNED_SPAM"));
}

#[test]
fn messages_attached_to_mail_for_the_two_addresses_are_learnt() {
    let mut gateway = Gateway::start_with(|policies| {
        let file = policies.join("scoring.toml");
        let text = fs::read_to_string(&file).unwrap();
        let text = text
            .replace("# spam-address", "spam-address")
            .replace("# ham-address", "ham-address");
        fs::write(&file, text).unwrap();
    });
    let hand_in = |gateway: &Gateway, to: &str, messages: &[String]| {
        let mut mail = "From: jo@bumbleton.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned();
        for message in messages {
            mail += &format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{message}\r\n");
        }
        mail += "--b--\r\n";
        let mut client = gateway.connect();
        client.command("EHLO x");
        client.submit("jo@bumbleton.example", &[to], mail.as_bytes())
    };
    let (spam_address, ham_address) = (
        "spam@gateway.bumbleton.example",
        "not-spam@gateway.bumbleton.example",
    );

    let empty = hand_in(&gateway, spam_address, &[]);
    assert!(
        empty.starts_with("550 5.6.0 attach the messages"),
        "{empty}"
    );
    let all: Vec<String> = (0..30).map(spam).collect();
    let reply = hand_in(&gateway, spam_address, &all);
    assert!(reply.starts_with("250 2.0.0 30 learnt as spam"), "{reply}");
    let all: Vec<String> = (0..30).map(ham).collect();
    let reply = hand_in(&gateway, ham_address, &all);
    assert!(reply.starts_with("250 2.0.0 30 learnt as ham"), "{reply}");

    // Lessons are kept over a crash, and become a model in the first round after it.
    gateway.kill();
    gateway.restart();
    let message = gateway.folder.path().join("one.eml");
    fs::write(&message, spam(500)).unwrap();
    let explained = wait_for("a model", || {
        let asked = [
            "--json",
            "explain",
            "--client",
            "192.0.2.1",
            "--from",
            "x@gnomes.example",
            "--to",
            "reception@bumbleton.example",
        ];
        let asked: Vec<&str> = asked
            .into_iter()
            .chain([message.to_str().unwrap()])
            .collect();
        let answer = String::from_utf8(gateway.postern(&asked).stdout).unwrap();
        answer.contains("LEARNED_SPAM").then_some(answer)
    });
    assert!(explained.contains("what was learnt here"), "{explained}");
}
