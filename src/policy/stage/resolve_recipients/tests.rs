//! Where recipients lead, and what is said of it.

use super::*;
use crate::policy::combine::Tally;
use crate::policy::policy_test::client;
use crate::policy::testing::{World, directory_of};
use crate::policy::verdict::RecipientDecision;

fn rule(world: &World) -> ResolveRecipients {
    ResolveRecipients::new(
        Arc::clone(&world.directory),
        Arc::default(),
        vec!["127.0.0.0/8".parse().unwrap()],
        Mailbox::parse("reception@bumbleton.example").ok(),
    )
}

fn decided(world: &World) -> Vec<RecipientDecision> {
    let mut tally = Tally::new(world.recipients.clone());
    tally.take(world.ask(|case| rule(world).examine(case)));
    tally.decide()
}

/// What happens to each recipient: the word of the verdict, or the refusal.
fn fates(world: &World) -> Vec<String> {
    let fate = |decision: &RecipientDecision| match decision.verdict.refusal() {
        Some(refusal) => format!("{refusal:?}"),
        None => decision.recipient.forward_path.to_string(),
    };
    decided(world).iter().map(fate).collect()
}

#[test]
fn a_stranger_reaches_served_domains_alone() {
    let to = [
        "a.b@nhs.net",
        "a@other.example",
        "a@sub.nhs.net",
        "a@evilnhs.net",
        "a@[127.0.0.1]",
    ];
    let strangers = World::new("", "x@y.example", &to);
    let denied = "RelayingDenied";
    assert_eq!(
        fates(&strangers),
        ["a.b@nhs.net", denied, denied, denied, denied]
    );

    let own = World::new("", "x@y.example", &to).outbound(None);
    assert_eq!(fates(&own), to);
}

#[test]
fn a_route_inside_a_local_part_is_never_followed() {
    let to = [
        "a%other.example@nhs.net",
        "\"a@other.example\"@nhs.net",
        "other.example!a@nhs.net",
    ];
    assert_eq!(
        fates(&World::new("", "x@y.example", &to)),
        ["RelayingDenied"; 3]
    );
}

#[test]
fn quoted_names_and_odd_letters_are_names_like_others() {
    let to = [
        "\"a b\"@nhs.net",
        "\"()<>[]:;,\"@nhs.net",
        "#$&'*+-/=?^_`{|}~@nhs.net",
    ];
    assert_eq!(fates(&World::new("", "x@y.example", &to)), to);
}

#[test]
fn a_name_that_is_its_own_mailbox_keeps_its_case() {
    let world = World::new(
        "",
        "",
        &["Reception@BUMBLETON.example", "Nobody.Knows@nhs.net"],
    );
    assert_eq!(
        fates(&world),
        ["Reception@bumbleton.example", "Nobody.Knows@nhs.net"]
    );
    assert_eq!(decided(&world)[0].recipient.orcpt, None);
}

#[test]
fn a_name_that_leads_elsewhere_remembers_what_was_asked_for() {
    let decided = decided(&World::new("", "", &["Front@bumbleton.example"]));
    let recipient = &decided[0].recipient;
    assert_eq!(
        recipient.forward_path.to_string(),
        "reception@bumbleton.example"
    );
    assert_eq!(
        recipient.orcpt.as_ref().unwrap().to_string(),
        "rfc822;Front@bumbleton.example"
    );
    assert_eq!(decided[0].given.to_string(), "Front@bumbleton.example");
    assert_eq!(decided[0].path.len(), 1);
}

#[test]
fn each_member_of_a_list_gets_one_copy_even_if_it_is_named_as_well() {
    let to = ["all@bumbleton.example", "dispensary@bumbleton.example"];
    let decided = decided(&World::new("", "", &to));
    let copies: Vec<_> = decided
        .iter()
        .map(|d| (d.recipient.forward_path.to_string(), d.duplicate))
        .collect();
    let copy = |address: &str, duplicate| (address.to_owned(), duplicate);
    assert_eq!(
        copies,
        [
            copy("reception@bumbleton.example", false),
            copy("dispensary@bumbleton.example", false),
            copy("someone@outside.example", false),
            copy("dispensary@bumbleton.example", true),
        ]
    );
}

#[test]
fn who_is_not_there_is_refused_but_there_is_always_a_postmaster() {
    let to = [
        "nobody@bumbleton.example",
        "who@bumbleton.example",
        "postmaster",
        "Postmaster@bumbleton.example",
    ];
    let fates = fates(&World::new("", "", &to));
    assert_eq!(fates[0], "EmptyList");
    assert!(fates[1].starts_with("UnknownMailbox"), "{fates:?}");
    assert_eq!(
        fates[2..],
        [
            "reception@bumbleton.example",
            "Postmaster@bumbleton.example"
        ]
    );
}

#[test]
fn a_mailbox_that_is_not_to_be_written_to_is_refused_with_the_shared_one_beside_it() {
    const ROWS: &str = "address,kind,status,ods_code,organisation,street,town,do_not_send\n\
        pharmacy.fa001@nhs.net,pharmacy,active,FA001,Bumbleton,,,no\n\
        reminders.fa001.donotreply@nhs.net,application,active,FA001,,,,yes\n\
        jo.bell@nhs.net,personal,active,FA001,,,,yes\n\
        robot@nhs.net,application,active,,,,,yes\n\
        postmaster@nhs.net,shared,active,,,,,yes\n";
    let to = [
        "Reminders.FA001.donotreply@nhs.net",
        "jo.bell@nhs.net",
        "robot@nhs.net",
        "postmaster@nhs.net",
        "pharmacy.fa001@nhs.net",
    ];
    let world = World {
        directory: Arc::new(directory_of(ROWS, &["nhs.net"])),
        ..World::new("", "", &to)
    };
    assert_eq!(
        fates(&world),
        [
            "TakesNoMail { instead: Some(\"pharmacy.fa001@nhs.net\") }",
            "TakesNoMail { instead: None }",
            "TakesNoMail { instead: None }",
            "postmaster@nhs.net",
            "pharmacy.fa001@nhs.net",
        ]
    );
}

#[test]
fn a_list_leaves_out_those_who_are_not_to_be_written_to() {
    const ROWS: &str = "address,kind,status,ods_code,organisation,street,town,do_not_send\n\
        reception@bumbleton.example,shared,active,,,,,yes\n\
        dispensary@bumbleton.example,shared,active,,,,,no\n";
    let world = World {
        directory: Arc::new(directory_of(ROWS, &["bumbleton.example"])),
        ..World::new("", "", &["all@bumbleton.example"])
    };
    assert_eq!(
        fates(&world),
        ["dispensary@bumbleton.example", "someone@outside.example"]
    );
}

#[test]
fn mail_is_our_own_from_accounts_and_relay_networks() {
    let rule = rule(&World::new("", "", &[]));
    let way = |address: &str, account: Option<&str>| {
        rule.direction(&client(
            address.parse().unwrap(),
            account.map(str::to_owned),
        ))
    };
    assert_eq!(way("127.0.0.9", None), Direction::Outbound);
    assert_eq!(way("192.0.2.1", Some("x")), Direction::Outbound);
    assert_eq!(way("192.0.2.1", None), Direction::Inbound);
}
