//! Whatever the message and whoever its recipients: patient data goes to nobody outside the register of secure
//! domains, neither at once nor after a crash, a release, or a change of the register; and no recipient is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/next_hop.rs"]
mod next_hop;
#[path = "support/planted.rs"]
mod planted;

use std::collections::BTreeMap;
use std::path::Path;

use authority::{Authority, Wrong};
use next_hop::{NextHop, Protection, edit, routes, secure_domain};
use planted::{Mail, is_secure, mail};
use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::mail::{Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath};
use postern::policy::decide::Network;
use postern::policy::{Fate, FinalReply, Policy, policy_test};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use support::{Gateway, wait_for};

const SENDER: &str = "pharmacy.fa001@nhs.net";
const PATIENT: &str =
    "From: <pharmacy.fa001@nhs.net>\r\nSubject: prescription\r\n\r\nNHS number 450 557 7104\r\n";

fn policy() -> Policy {
    let diagnostics = Diagnostics::default();
    let clock = Clock::fixed("2026-11-21T10:00:00Z".parse().unwrap());
    let policy = load_toml(Path::new("policies/postern.toml"), &diagnostics, |top| {
        for key in top.keys() {
            top.section(&key); // not ours: counted as read
        }
        Policy::load(top, "gateway.bumbleton.example", None, clock, None)
    });
    policy.flatten().unwrap()
}

fn transaction(mail: &Mail) -> MailTransaction {
    let mut envelope = Envelope::new(ReversePath::parse(SENDER).unwrap());
    let paths = mail.to.iter().map(|to| ForwardPath::parse(to).unwrap());
    envelope.recipients = paths.map(Recipient::new).collect();
    envelope.smtputf8 = true;
    MailTransaction {
        client: policy_test::client("127.0.0.1".parse().unwrap(), None),
        envelope,
        message: Message::new(mail.octets.clone()),
        received_at: "2026-11-20T09:31:00Z".parse().unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_recipient_outside_the_register_gets_a_message_in_which_patient_data_is(mail in mail()) {
        thread_local! {
            static POLICY: (Policy, tokio::runtime::Runtime) =
                (policy(), tokio::runtime::Builder::new_current_thread().build().unwrap());
        }
        let decision = POLICY.with(|(policy, runtime)| {
            runtime.block_on(policy.judge(&transaction(&mail), Network::Off))
        });
        prop_assert!(decision.findings.patient_data.found, "{}", mail.shown());
        let FinalReply::Accepted(_) = decision.reply() else {
            return Ok(()); // nobody gets it, and the client keeps it
        };
        for (recipient, fate) in decision.fates() {
            let path = &recipient.recipient.forward_path;
            let domain = path.domain().map(|domain| domain.as_str().to_owned());
            let may = domain.as_deref().is_some_and(is_secure);
            let right = match fate {
                Fate::DeliverVerifiedTls => may,
                Fate::Encrypt => !may && mail.asks_for_encryption,
                Fate::Hold | Fate::Fail(_) => !may,
                Fate::Deliver | Fate::Quarantine => false,
            };
            prop_assert!(right, "{path} gets {fate:?}: {}", mail.shown());
        }
        let answered = |given: &str| {
            let path = ForwardPath::parse(given).unwrap();
            decision.recipients.iter().any(|one| one.given == path)
        };
        prop_assert!(mail.to.iter().all(|to| answered(to)), "somebody is forgotten");
    }
}

/// A gateway with a next hop over TLS for secure domains and one in clear for all others.
struct World {
    gateway: Gateway,
    secure: NextHop,
    others: NextHop,
}

impl World {
    fn start(change: impl FnOnce(&Path)) -> Self {
        let authority = Authority::new();
        let secure = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
        let others = NextHop::start(&Protection::None);
        let gateway = Gateway::start_with(|policies| {
            let patterns = planted::SECURE.map(|pattern| (pattern, &secure));
            let hops: Vec<_> = patterns.into_iter().chain([("*", &others)]).collect();
            routes(policies, &authority, &hops);
            change(policies);
        });
        Self {
            gateway,
            secure,
            others,
        }
    }

    /// Says the reply to each recipient, and the one after the data if there was any.
    fn send(&self, from: &str, to: &[String], message: &[u8]) -> (Vec<String>, Option<String>) {
        let mut client = self.gateway.connect();
        client.command("EHLO x");
        client.command(&format!("MAIL FROM:<{from}> BODY=8BITMIME SMTPUTF8"));
        let asked = to
            .iter()
            .map(|to| client.command(&format!("RCPT TO:<{to}>")));
        let asked: Vec<String> = asked.collect();
        if !client.command("DATA").starts_with("354") {
            return (asked, None);
        }
        client.send(&support::stuffed(message));
        (asked, Some(client.reply()))
    }

    fn queue(&self, state: &str) -> Vec<serde_json::Value> {
        let listed = self.gateway.postern(&[
            "--json", "queue", "list", "--state", state, "--limit", "10000",
        ]);
        let text = String::from_utf8(listed.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn wait_until_nothing_is_due(&self) {
        wait_for("an empty queue", || {
            (self.queue("due").is_empty() && self.queue("leased").is_empty()).then_some(())
        });
    }

    fn release(&self, kind: &str) {
        let listed = self.gateway.postern(&["--json", kind, "list"]);
        for line in String::from_utf8(listed.stdout).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let reference = row["reference"].as_str().unwrap();
            let args = [kind, "release", reference, "--reason", "it may go"];
            assert!(self.gateway.postern(&args).status.success());
        }
    }
}

#[test]
fn any_mail_through_a_gateway_reaches_secure_recipients_and_is_kept_for_all_others() {
    let world = World::start(|_| ());
    let mut runner = TestRunner::deterministic();
    let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..60 {
        let mail = mail().new_tree(&mut runner).unwrap().current();
        let (asked, reply) = world.send(SENDER, &mail.to, &mail.octets);
        let taken = asked.iter().filter(|reply| reply.starts_with("250"));
        assert_eq!(taken.count(), mail.to.len(), "{asked:?}");
        assert!(
            reply.as_ref().is_some_and(|reply| reply.starts_with("250")),
            "{reply:?} {}",
            mail.shown()
        );
        for to in mail.mailboxes() {
            let domain = to.rsplit_once('@').unwrap().1.to_owned();
            let end = match (is_secure(&domain), mail.asks_for_encryption) {
                (true, _) => "secure",
                (false, true) => "encrypted",
                (false, false) => "held",
            };
            *expected.entry(end).or_default() += 1;
        }
    }
    world.wait_until_nothing_is_due();

    let secure = world.secure.recipients();
    let patients: Vec<_> = secure.iter().filter(|to| *to != SENDER).collect();
    let encrypted = files_below(&world.gateway.folder.path().join("data/maildir/encrypted"));
    let found = BTreeMap::from([
        ("secure", patients.len()),
        ("encrypted", encrypted),
        ("held", world.queue("held").len()),
    ]);
    assert_eq!(found, expected);
    assert_eq!(world.others.recipients(), Vec::<String>::new());
}

fn files_below(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| match path.is_dir() {
            true => files_below(&path),
            false => 1,
        })
        .sum()
}

#[test]
fn what_was_to_be_encrypted_is_released_to_the_encryption_next_hop_alone() {
    let world = World::start(|policies| {
        edit(
            policies,
            "links.toml",
            "verdict = \"refuse\"",
            "verdict = \"quarantine\"",
        );
        // They say that programs are refused.
        std::fs::remove_dir_all(policies.join("tests")).unwrap();
        std::fs::create_dir(policies.join("tests")).unwrap();
    });
    let secure = PATIENT.replace("Subject: ", "Subject: [secure] ");
    let program = "From: <pharmacy.fa001@nhs.net>\r\nSubject: [secure] x\r\n\
        Content-Type: text/plain; name=\"a.exe\"\r\n\r\nNHS number 450 557 7104\r\n";
    // The sender may not send it: held. A program: quarantined.
    let to = ["patient@example.com".to_owned()];
    world.send("a@shop.example", &to, secure.as_bytes());
    world.send(SENDER, &to, program.as_bytes());

    world.release("queue");
    world.release("quarantine");
    world.wait_until_nothing_is_due();

    let encrypted = world.gateway.folder.path().join("data/maildir/encrypted");
    wait_for("both", || (files_below(&encrypted) == 2).then_some(()));
    assert!(!world.others.recipients().contains(&to[0]));
}

#[test]
fn whoever_releases_what_is_quarantined_reads_that_it_would_be_held() {
    let world = World::start(|policies| {
        edit(
            policies,
            "links.toml",
            "verdict = \"refuse\"",
            "verdict = \"quarantine\"",
        );
        std::fs::remove_dir_all(policies.join("tests")).unwrap();
        std::fs::create_dir(policies.join("tests")).unwrap();
    });
    let program = "From: <pharmacy.fa001@nhs.net>\r\nSubject: x\r\nContent-Type: text/plain; name=\"a.exe\"\r\n\r\n\
        NHS number 450 557 7104\r\n";
    world.send(
        SENDER,
        &["patient@example.com".to_owned()],
        program.as_bytes(),
    );
    let listed = world.gateway.postern(&["--json", "quarantine", "list"]);
    let row: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let because = row["because"].as_str().unwrap();
    assert!(
        because.contains("extension exe")
            && because.contains("would be held: patient data was found"),
        "{because}"
    );
}

#[test]
fn what_waits_while_its_domain_is_taken_off_the_register_is_held_also_after_a_crash() {
    let authority = Authority::new();
    let hop = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
    hop.defer(true);
    let mut gateway = Gateway::start_with(|policies| {
        routes(
            policies,
            &authority,
            &[("one.example", &hop), ("two.example", &hop)],
        );
        let yesterday_and_today = "valid-until = 2099-12-31";
        secure_domain(policies, "one.example", "");
        secure_domain(policies, "two.example", yesterday_and_today);
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let to = [
        "a@one.example",
        "b@two.example",
        "patient@example.com",
        "c@nhs.net",
    ];
    let reply = client.submit(SENDER, &to, PATIENT.as_bytes());
    assert!(reply.starts_with("250"), "{reply}");
    let deferrals = |gateway: &Gateway| {
        let said = gateway
            .postern(&["--json", "trace", "a@one.example"])
            .stdout;
        String::from_utf8(said)
            .unwrap()
            .matches("\"deferred\"")
            .count()
    };
    wait_for("an attempt", || (deferrals(&gateway) > 0).then_some(()));

    gateway.kill();
    let policies = gateway.config().parent().unwrap().to_owned();
    edit(
        &policies,
        "secure-domains.toml",
        "pattern = \"one.example\"",
        "pattern = \"three.example\"",
    );
    edit(
        &policies,
        "secure-domains.toml",
        "valid-until = 2099-12-31",
        "valid-until = 2026-01-01",
    );
    gateway.restart();
    hop.defer(false);

    wait_for("two more holds", || {
        let held = gateway
            .postern(&["--json", "queue", "list", "--state", "held"])
            .stdout;
        (String::from_utf8(held).unwrap().lines().count() == 3).then_some(())
    });
    assert_eq!(hop.recipients(), Vec::<String>::new());
    assert_eq!(
        gateway.mail_for("c@nhs.net").len(),
        1,
        "once, crash or no crash"
    );
    assert!(gateway.log().contains("ALARM"), "{}", gateway.log());
    let notices = gateway.wait_for_mail(SENDER, 2);
    let told = notices.iter().any(|notice| {
        let text = String::from_utf8_lossy(notice).replace("\r\n", " ");
        text.contains("<a@one.example>") && text.contains("any more")
    });
    assert!(told);
}
