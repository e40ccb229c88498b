//! Mail that waits while routes or policy change, through a whole gateway: it goes the new way, and never where the new
//! policy forbids it to go.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/next_hop.rs"]
mod next_hop;

use authority::Authority;
use next_hop::{NextHop, Protection, edit, routes};
use support::{Gateway, wait_for};

fn send(gateway: &Gateway, to: &str, marking: &str) {
    let mut client = gateway.connect();
    client.command("EHLO x");
    let message = format!(
        "From: <pharmacy.fa001@nhs.net>\r\nSubject: opening hours\r\n{marking}\r\nWe open at nine.\r\n"
    );
    let reply = client.submit("pharmacy.fa001@nhs.net", &[to], message.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
}

fn listed(gateway: &Gateway, domain: &str) -> String {
    let said = gateway.postern(&["--json", "queue", "list", "--domain", domain]);
    String::from_utf8(said.stdout).unwrap()
}

fn wait_for_deferral(gateway: &Gateway, domain: &str, number: usize) {
    wait_for("a deferral", || {
        let listed = listed(gateway, domain);
        (listed.matches("\"last_reply\":\"4").count() == number).then_some(())
    });
}

/// Changes a policy file and waits until that is in force.
fn change(gateway: &Gateway, file: &str, from: &str, to: &str) {
    let in_force = || {
        gateway
            .log()
            .matches("the changed policy is in force")
            .count()
    };
    let before = in_force();
    edit(&gateway.folder.path().join("policies"), file, from, to);
    gateway.signal("-HUP");
    wait_for("the changed policy", || (in_force() > before).then_some(()));
}

#[test]
fn what_waits_is_held_if_the_policy_in_force_forbids_it_and_the_rest_goes_on() {
    let (authority, hop) = (Authority::new(), NextHop::start(&Protection::None));
    hop.defer(true);
    let gateway = Gateway::start_with(|policies| {
        routes(policies, &authority, &[("out.example", &hop)]);
    });
    let marked = "X-Protective-Marking: Bumbleton Confidential\r\n";
    send(&gateway, "marked@out.example", marked);
    send(&gateway, "plain@out.example", "");
    wait_for_deferral(&gateway, "out.example", 2);

    let labels = "labels = [\"OFFICIAL-SENSITIVE\"";
    let more = "labels = [\"Bumbleton Confidential\", \"OFFICIAL-SENSITIVE\"";
    change(&gateway, "patient-data.toml", labels, more);
    // The next hop still puts off what an attempt brings that began before the change.
    wait_for("the hold", || {
        listed(&gateway, "out.example")
            .contains("\"state\":\"held\"")
            .then_some(())
    });
    hop.defer(false);

    wait_for("the message that may go", || {
        (hop.messages().len() == 1).then_some(())
    });
    let held = listed(&gateway, "out.example");
    assert!(held.contains("marked@out.example"), "{held}");
    assert!(
        held.contains("the policy has changed since it came"),
        "{held}"
    );
    assert_eq!(hop.messages().len(), 1);

    // Somebody decides, and is not asked again by the next policy.
    hop.defer(true);
    let released = gateway.postern(&["queue", "release", "--domain", "out.example"]);
    assert!(released.status.success());
    wait_for_deferral(&gateway, "out.example", 1);
    change(&gateway, "patient-data.toml", more, labels);
    change(&gateway, "patient-data.toml", labels, more);
    hop.defer(false);
    wait_for("what was let go on", || {
        (hop.messages().len() == 2).then_some(())
    });
}

#[test]
fn what_waits_goes_by_the_route_in_force() {
    let authority = Authority::new();
    let (before, after) = (
        NextHop::start(&Protection::None),
        NextHop::start(&Protection::None),
    );
    before.defer(true);
    let gateway = Gateway::start_with(|policies| {
        routes(policies, &authority, &[("out.example", &before)]);
    });
    send(&gateway, "a@out.example", "");
    wait_for_deferral(&gateway, "out.example", 1);
    let list = gateway.postern(&["queue", "list", "--by", "destination"]);
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.contains(&format!("smarthost 127.0.0.1:{}", before.port)),
        "{list}"
    );
    assert!(list.contains("its next attempt: 4"), "{list}");

    let port = |hop: &NextHop| format!("smart-host = \"127.0.0.1:{}\"", hop.port);
    change(&gateway, "postern.toml", &port(&before), &port(&after));

    wait_for("the message", || {
        (after.messages().len() == 1).then_some(())
    });
    assert_eq!(before.messages().len(), 0);
}
