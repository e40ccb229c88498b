//! Straight through, seen from both ends: what the client hears, what the next hop gets, what the trail says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/hop.rs"]
mod hop;
#[path = "support/next_hop.rs"]
mod next_hop;

use std::time::{Duration, Instant};

use authority::{Authority, Wrong};
use hop::{Hop, straight_to};
use next_hop::{NextHop, Protection, edit, routes, secure_domain};
use serde_json::Value;
use support::{Client, Gateway, stuffed, wait_for};

const FROM: &str = "ward@bumbleton.example";
const MESSAGE: &[u8] = b"From: <ward@bumbleton.example>\r\nSubject: hello\r\n\r\n.text\r\n";

fn gateway(hop: &Hop, wait: &str) -> Gateway {
    Gateway::start_with(|policies| straight_to(hop, wait, policies))
}

fn client(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.command("EHLO ward.example");
    client
}

fn reference_of(reply: &str) -> String {
    let word = reply
        .split_whitespace()
        .find(|word| word.starts_with("PX-"));
    word.unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// The events of a reference: kind, and what they say of going straight.
fn traced(gateway: &Gateway, command: &str, about: &str) -> Vec<(String, String)> {
    let output = gateway.postern(&["--json", command, about]);
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            word(&event["kind"]),
            word(&event["facts"]["straight-through"]),
        )
    });
    events.collect()
}

fn list(gateway: &Gateway, of: &str) -> Vec<Value> {
    let output = gateway.postern(&[of, "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn until_the_queue_is_empty(gateway: &Gateway) {
    wait_for("an empty queue", || {
        list(gateway, "queue").is_empty().then_some(())
    });
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(kind, word)| ((*kind).to_owned(), (*word).to_owned()))
        .collect()
}

#[test]
fn what_the_next_hop_says_of_the_whole_message_is_what_the_client_hears() {
    let hop = Hop::start();
    let gateway = gateway(&hop, "20s");
    let mut client = client(&gateway);

    let to = ["a@nhs.net", "b@nhs.net"];
    let reply = client.submit(FROM, &to, MESSAGE);
    let reference = reference_of(&reply);
    assert_eq!(
        reply,
        format!("250 2.6.0 sent on: {reference} (kept as 1)\r\n")
    );
    // All of it is true already: nothing is left to be done.
    assert_eq!(list(&gateway, "queue").len(), 0);
    let copies = hop.copies();
    assert_eq!(copies.len(), 1);
    assert_eq!((&copies[0].reference, &*copies[0].from), (&reference, FROM));
    assert_eq!(copies[0].to, to);
    let expected = [
        ("received", "yes"),
        ("decided", "yes"),
        ("decided", "yes"),
        ("delivered", "yes"),
        ("delivered", "yes"),
    ];
    assert_eq!(traced(&gateway, "trace", &reference), pairs(&expected));
    assert_eq!(
        traced(&gateway, "explain", &reference),
        pairs(&expected[1..3])
    );

    for (to, said) in [
        (
            "unknown@nhs.net",
            "550 5.1.1 the next hop: no such user: see ",
        ),
        (
            "refused@nhs.net",
            "554 5.7.1 the next hop: not wanted: see ",
        ),
    ] {
        let reply = client.submit(FROM, &[to], MESSAGE);
        assert!(reply.starts_with(said), "{reply}");
        let reference = reference_of(&reply);
        assert_eq!(
            traced(&gateway, "trace", &reference),
            pairs(&[("refused", "yes")])
        );
        assert_eq!(
            traced(&gateway, "explain", &reference),
            pairs(&[("refused", "yes")])
        );
    }
    // No copy, nothing kept, no report: the client has the message, and makes the bounce.
    assert_eq!(hop.copies().len(), 1);
    assert_eq!(list(&gateway, "queue").len(), 0);
    assert!(gateway.postern(&["audit", "verify"]).status.success());
}

#[test]
fn what_is_deferred_broken_off_or_slow_goes_into_the_queue_and_gets_its_250() {
    let hop = Hop::start();
    let gateway = gateway(&hop, "20s");
    let mut client = client(&gateway);
    let deferred = "no: the next hop deferred it, or broke off";

    for to in ["later@nhs.net", "deferred@nhs.net"] {
        let reply = client.submit(FROM, &[to], MESSAGE);
        assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
        until_the_queue_is_empty(&gateway);
        let expected = [
            ("received", deferred),
            ("decided", deferred),
            ("deferred", ""),
            ("delivered", ""),
        ];
        assert_eq!(
            traced(&gateway, "trace", &reference_of(&reply)),
            pairs(&expected)
        );
        assert_eq!(hop.copies_for(to).len(), 1);
    }

    // The next hop has it, and nobody knows: the one duplicate that cannot be avoided.
    let reply = client.submit(FROM, &["broken@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    until_the_queue_is_empty(&gateway);
    let copies = hop.copies_for("broken@nhs.net");
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0].reference, copies[1].reference);
    drop(gateway);

    // A slow one is not sent twice: the attempt that is under way becomes that of the queue.
    let gateway = self::gateway(&hop, "1s");
    let mut client = self::client(&gateway);
    let begun = Instant::now();
    let reply = client.submit(FROM, &["slow@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    assert!(begun.elapsed() >= Duration::from_millis(900));
    let leased = list(&gateway, "queue");
    assert_eq!(
        (leased.len(), leased[0]["state"].as_str()),
        (1, Some("leased"))
    );
    // Its destination rests: the next one does not wait for it.
    let reply = client.submit(FROM, &["next@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    hop.release();
    until_the_queue_is_empty(&gateway);
    assert_eq!(hop.copies_for("slow@nhs.net").len(), 1);
    assert_eq!(hop.copies_for("next@nhs.net").len(), 1);
}

#[test]
fn of_two_minds_is_250_with_a_report_or_the_quarantine_and_no_second_copy() {
    let hop = Hop::start();
    let gateway = gateway(&hop, "20s");
    let mut client = client(&gateway);

    let reply = client.submit(FROM, &["a@nhs.net", "unknown@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    until_the_queue_is_empty(&gateway);
    wait_for("the report", || {
        (!hop.copies_for(FROM).is_empty()).then_some(())
    });
    assert_eq!(hop.copies_for(FROM)[0].from, "");
    assert_eq!(hop.copies_for("a@nhs.net").len(), 1);

    // A report of ours that fails for one: nobody is to be told.
    let reply = client.submit("", &["b@nhs.net", "unknown2@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    until_the_queue_is_empty(&gateway);
    let kept = list(&gateway, "quarantine");
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["recipient"], "unknown2@nhs.net");
    assert_eq!(hop.copies_for("b@nhs.net").len(), 1);
}

#[test]
fn a_client_that_hangs_up_early_loses_nothing() {
    let hop = Hop::start();
    let gateway = gateway(&hop, "1s");
    for to in ["gone@nhs.net", "slow@nhs.net"] {
        let mut client = client(&gateway);
        client.command(&format!("MAIL FROM:<{FROM}>"));
        client.command(&format!("RCPT TO:<{to}>"));
        client.command("DATA");
        client.send(&stuffed(MESSAGE));
        drop(client);
        wait_for("the copy", || (hop.copies_for(to).len() == 1).then_some(()));
        hop.release();
        wait_for("its end in the trail", || {
            let events = traced(&gateway, "trace", to);
            events
                .iter()
                .any(|(kind, _)| kind == "delivered")
                .then_some(())
        });
        until_the_queue_is_empty(&gateway);
        assert_eq!(hop.copies_for(to).len(), 1);
    }
}

#[test]
fn what_is_held_asks_for_a_report_or_goes_several_ways_goes_by_the_queue() {
    let hop = Hop::start();
    let other = Hop::start();
    let gateway = Gateway::start_with(|policies| {
        straight_to(&hop, "20s", policies);
        let file = policies.join("postern.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let before = "[[route]]\nname = \"everything\"";
        let route = format!(
            "[[route]]\nname = \"other\"\nrecipients = [\"other.nhs.uk\"]\nsmart-host = \"127.0.0.1:{}\"\n\
             tls = \"none\"\nstraight-through = false\n\n",
            other.port
        );
        assert!(text.contains(before));
        std::fs::write(&file, text.replacen(before, &format!("{route}{before}"), 1)).unwrap();
    });
    let mut client = client(&gateway);
    let two_ways: &[&str] = &["a@nhs.net", "b@other.nhs.uk"];
    for to in [two_ways, &["c@other.nhs.uk"]] {
        let reply = client.submit(FROM, to, MESSAGE);
        assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
        let events = traced(&gateway, "trace", &reference_of(&reply));
        assert!(events.iter().all(|(_, word)| word.is_empty()), "{events:?}");
    }
    client.command(&format!("MAIL FROM:<{FROM}>"));
    client.command("RCPT TO:<d@nhs.net> NOTIFY=SUCCESS");
    client.command("DATA");
    client.send(&stuffed(MESSAGE));
    let reply = client.reply();
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    let patient =
        b"From: <ward@bumbleton.example>\r\nSubject: x\r\n\r\nNHS number: 450 557 7104\r\n";
    let reply = client.submit(FROM, &["e@example.com"], patient);
    assert!(!reply.contains("sent on"), "{reply}");
    wait_for("the rest to arrive", || {
        let arrived = |to| hop.copies_for(to).len() + other.copies_for(to).len() == 1;
        ["a@nhs.net", "b@other.nhs.uk", "c@other.nhs.uk", "d@nhs.net"]
            .into_iter()
            .all(arrived)
            .then_some(())
    });
}

/// What binds mail to a verified path binds it here too, and no number of a patient comes back in a reply.
#[test]
fn patient_data_goes_straight_over_a_verified_path_or_waits_for_one() {
    let authority = Authority::new();
    let tls = |wrong| Protection::Tls(authority.server(wrong));
    let good = NextHop::start(&tls(Wrong::Nothing));
    let bad = NextHop::start(&tls(Wrong::Name));
    let telling = "550 5.7.1 not about 450 557 7104\r\n";
    let telling = NextHop::answering(&tls(Wrong::Nothing), telling);
    let hops = [
        ("good.example", &good),
        ("bad.example", &bad),
        ("telling.example", &telling),
    ];
    let gateway = Gateway::start_with(|policies| {
        routes(policies, &authority, &hops);
        for (domain, _) in hops {
            secure_domain(policies, domain, "");
        }
        let straight = "straight-through = true ";
        edit(
            policies,
            "postern.toml",
            "straight-through = false ",
            straight,
        );
        let longer = "straight-through-wait = \"20s\"";
        edit(
            policies,
            "postern.toml",
            "straight-through-wait = \"5s\"",
            longer,
        );
    });
    let mut client = client(&gateway);
    let patient = b"From: <pharmacy.fa001@nhs.net>\r\nSubject: prescription\r\n\r\nNHS number: 450 557 7104\r\n";
    let mut submit = |to| client.submit("pharmacy.fa001@nhs.net", &[to], patient);

    let reply = submit("gp@good.example");
    assert!(reply.starts_with("250 2.0.0 sent on: PX-"), "{reply}");
    let output = gateway.postern(&["--json", "trace", "gp@good.example"]);
    let trail = String::from_utf8(output.stdout).unwrap();
    assert!(trail.contains("\"authenticated\":\"web-pki\""), "{trail}");
    assert!(trail.contains("deliver-verified-tls"), "{trail}");

    let reply = submit("gp@bad.example");
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    assert_eq!(list(&gateway, "queue").len(), 1);

    let reply = submit("gp@telling.example");
    assert!(
        reply.starts_with("550 5.7.1 the next hop: not about *** *** ****: see PX-"),
        "{reply}"
    );
    let output = gateway.postern(&["--json", "trace", "gp@telling.example"]);
    let trail = String::from_utf8(output.stdout).unwrap();
    assert!(trail.contains("not about *** *** ****"), "{trail}");
    for said in [trail, gateway.log()] {
        assert!(!said.contains("7104"), "{said}");
    }
    assert_eq!((good.messages().len(), bad.messages().len()), (1, 0));
}

/// There is never a third copy for want of a record.
#[test]
fn what_cannot_be_recorded_is_451_and_nothing_goes_straight_until_the_queue_has_taken_mail() {
    let hop = Hop::start();
    let gateway = gateway(&hop, "20s");
    let mut client = client(&gateway);
    client.command(&format!("MAIL FROM:<{FROM}>"));
    client.command("RCPT TO:<slow@nhs.net>");
    client.command("DATA");
    client.send(&stuffed(MESSAGE));
    wait_for("the copy", || (hop.copies().len() == 1).then_some(()));

    // The next hop has it and has not said so. From now on the audit trail takes nothing.
    let trail = rusqlite::Connection::open(gateway.folder.path().join("data/queue.sqlite"));
    let trail = trail.unwrap();
    trail.busy_timeout(Duration::from_secs(20)).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END";
    trail.execute_batch(full).unwrap();
    hop.release();
    let later = "451 4.3.0 the message cannot be taken now, try again later\r\n";
    assert_eq!(client.reply(), later);
    let again = |client: &mut Client| client.submit(FROM, &["slow@nhs.net"], MESSAGE);
    assert_eq!(again(&mut client), later);
    assert_eq!(hop.copies().len(), 1, "neither straight nor by the queue");

    trail.execute_batch("DROP TRIGGER full").unwrap();
    let reply = again(&mut client);
    assert!(reply.starts_with("250 2.0.0 accepted: PX-"), "{reply}");
    until_the_queue_is_empty(&gateway);
    assert_eq!(hop.copies().len(), 2);
    let events = traced(&gateway, "trace", &reference_of(&reply));
    assert!(events.iter().all(|(_, word)| word.is_empty()), "{events:?}");

    let reply = client.submit(FROM, &["after@nhs.net"], MESSAGE);
    assert!(reply.starts_with("250 2.6.0 sent on: PX-"), "{reply}");
    assert!(gateway.postern(&["audit", "verify"]).status.success());
}
