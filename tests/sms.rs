//! Mail to numbers through a whole gateway: who may, what goes, what comes back, and what nobody gets to see.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/notify.rs"]
mod notify;
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};

use notify::{Fault, StandIn, TEMPLATE, api_key};
use support::{Gateway, free_port, wait_for};

const DOMAIN: &str = "sms.bumbleton.example";
const ACCOUNT: &str = "reminders.fa123.donotreply@nhs.net";

struct World {
    stand_in: StandIn,
    gateway: Gateway,
    secret: String,
    callbacks: u16,
}

impl World {
    /// A gateway that sends texts by way of the stand-in, and an account with this contract.
    fn start(contract: &str, sms: &str) -> Self {
        let (stand_in, callbacks) = (StandIn::start(), free_port());
        let url = stand_in.url();
        let gateway = Gateway::start_with(|policies| {
            let key = policies.join("notify.key");
            fs::write(&key, api_key()).unwrap();
            let token = policies.join("callback.token");
            fs::write(&token, "callback-token").unwrap();
            let main = policies.join("postern.toml");
            let text = fs::read_to_string(&main).unwrap();
            let more = format!(
                "\n[sms]\ndomain = \"{DOMAIN}\"\nquiet-hours = \"none\"\nretry = [\"1s\"]\n{sms}\n\
                 [sms.notify]\nurl = \"{url}\"\ntemplate = \"{TEMPLATE}\"\napi-key = {{ file = \"notify.key\" }}\n\
                 [sms.callbacks]\naddress = \"127.0.0.1:{callbacks}\"\ntoken = {{ file = \"callback.token\" }}\n"
            );
            fs::write(&main, text + &more).unwrap();
        });
        let added = gateway.postern(&["--json", "account", "add", ACCOUNT]);
        let added: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        let accounts = gateway.folder.path().join("policies/accounts.toml");
        let text = fs::read_to_string(&accounts).unwrap();
        fs::write(&accounts, format!("{text}{contract}\n")).unwrap();
        gateway.signal("-HUP");
        let world = Self {
            stand_in,
            secret: added["secret"].as_str().unwrap().to_owned(),
            gateway,
            callbacks,
        };
        wait_for("the account to be known", || {
            let said = world.send("gp@nhs.net", "Subject: x\r\n\r\nhello\r\n");
            said.status.success().then_some(())
        });
        world
    }

    /// Submits under the account with an SMTP client that nobody here wrote (lettre), over TLS.
    fn send(&self, to: &str, message: &str) -> Output {
        // Programs make the Message-ID of the number: nobody is to see it there either.
        let id = match to.split_once('@') {
            Some((number, DOMAIN)) => format!("m1-{number}"),
            _ => "m1".to_owned(),
        };
        self.send_as(&format!("{id}@b.example"), to, message)
    }

    /// The same under this `Message-ID`.
    fn send_as(&self, id: &str, to: &str, message: &str) -> Output {
        let file = self.gateway.folder.path().join("message.eml");
        let message = format!("From: <{ACCOUNT}>\r\nTo: <{to}>\r\nMessage-ID: <{id}>\r\n{message}");
        fs::write(&file, message).unwrap();
        Command::new(env!("CARGO_BIN_EXE_postern"))
            .args(["send", "--from", ACCOUNT, "--username", ACCOUNT])
            .args(to.split(' ').flat_map(|to| ["--to", to]))
            .args(["--tls", "starttls", "--file"])
            .arg(&file)
            .args([
                "--server",
                &format!("127.0.0.1:{}", self.gateway.submission),
            ])
            .arg("--ca")
            .arg(self.gateway.folder.path().join("certs/ca.pem"))
            .env("POSTERN_PASSWORD", &self.secret)
            .output()
            .unwrap()
    }

    /// Submits a text for a number; what the client was told.
    fn text(&self, number: &str, text: &str) -> String {
        let output = self.send(
            &format!("{number}@{DOMAIN}"),
            &format!("Subject: x\r\n\r\n{text}\r\n"),
        );
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }

    /// Posts something to the page for callbacks; the status.
    fn call_back(&self, path: &str, token: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.callbacks)).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    fn receipt(&self, reference: &str, status: &str) -> String {
        let body = format!(
            "{{\"id\":\"740e5834-3a29-46b4-9a6f-16142fde533a\",\"reference\":\"{reference}\",\"to\":\"447700900123\",\
             \"status\":\"{status}\",\"created_at\":\"2026-11-21T10:00:00Z\",\"completed_at\":null,\"sent_at\":null,\
             \"notification_type\":\"sms\",\"template_id\":\"{TEMPLATE}\",\"template_version\":1}}"
        );
        self.call_back("/receipt", "callback-token", &body)
    }

    fn queue(&self) -> String {
        let listed = self.gateway.postern(&["--json", "queue", "list"]);
        String::from_utf8(listed.stdout).unwrap()
    }

    /// Waits for the text with this place in the stand-in; its reference.
    fn wait_for_text(&self, nth: usize) -> String {
        wait_for("a text", || {
            self.stand_in
                .texts()
                .get(nth)
                .map(|one| one.reference.clone())
        })
    }

    fn wait_until_done(&self) {
        wait_for("an empty queue", || {
            (!self.queue().contains(DOMAIN)).then_some(())
        });
    }

    /// Nothing that anybody looks at has this in it; the database of the queue may, while the text is there.
    fn is_nowhere_to_be_seen(&self, what: &str) {
        let seen = |args: &[&str]| {
            let output = self.gateway.postern(args);
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
        };
        for (place, text) in [
            ("the log", self.gateway.log()),
            ("the queue", seen(&["--json", "queue", "list"])),
            ("the trail", seen(&["audit", "export"])),
            ("the trace", seen(&["trace", "m1@b.example"])),
        ] {
            assert!(!text.contains(what), "{place} has {what}: {text}");
        }
    }
}

#[test]
fn a_reminder_goes_out_as_a_text_and_nobody_sees_the_number() {
    let world = World::start("sms = {}", "");
    let said = world.text("07700+20900123", "x");
    assert!(said.contains("553 5.1.3"), "{said}");

    let said = world.text("07700900123", "It\u{2019}s ready.\r\n-- \r\nBumbleton");
    assert!(said.contains("250 2.0.0"), "{said}");
    let reference = world.wait_for_text(0);
    let text = &world.stand_in.texts()[0];
    assert_eq!(
        (text.phone_number.as_str(), text.body.as_str()),
        ("+447700900123", "Bumbleton: It's ready.")
    );
    assert!(
        said.contains(reference.split('.').next().unwrap()),
        "{said} {reference}"
    );

    wait_for("it to be with the provider", || {
        world.queue().contains("with the provider").then_some(())
    });
    assert!(
        world.queue().contains("number-ending-123."),
        "{}",
        world.queue()
    );
    assert_eq!(world.call_back("/receipt", "wrong", "{}"), "401");
    assert_eq!(world.receipt("PX-00000000.1", "delivered"), "404");
    assert_eq!(world.receipt(&reference, "delivered"), "200");
    world.wait_until_done();
    assert_eq!(world.receipt(&reference, "delivered"), "200", "told again");
    let trail = world.gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8(trail.stdout).unwrap();
    assert!(
        trail.contains("number-ending-123.") && trail.contains("sms: 1 of GSM-7"),
        "{trail}"
    );
    for hidden in [
        "7700900123",
        "7700 900",
        "ready",
        "callback-token",
        notify::SECRET,
    ] {
        world.is_nowhere_to_be_seen(hidden);
    }
    // Nor among those to whom the account has written.
    let written_to = wait_for("the recipient to be remembered", || {
        let db = rusqlite::Connection::open(world.gateway.folder.path().join("data/senders.db"));
        let address = "SELECT group_concat(address) FROM correspondent";
        let found = db
            .unwrap()
            .query_row(address, [], |row| row.get::<_, String>(0));
        found.ok().filter(|all| all.contains("sms."))
    });
    let (shown, number) = ("number-ending-123.", "7700900123");
    assert!(
        written_to.contains(shown) && !written_to.contains(number),
        "{written_to}"
    );
    assert!(world.gateway.postern(&["audit", "verify"]).status.success());
}

#[test]
fn a_text_does_not_go_as_mail_when_its_section_is_taken_out() {
    let world = World::start("sms = {}", "");
    let main = world.gateway.folder.path().join("policies/postern.toml");
    let text = fs::read_to_string(&main).unwrap();
    let (before, _) = text.split_once("\n[sms]\n").unwrap();
    fs::write(&main, before).unwrap();
    world.gateway.signal("-HUP");
    wait_for("the policy without texts", || {
        let said = world.text("07700900124", "hello");
        said.contains("550 5.3.3 text messages are not sent here any more")
            .then_some(())
    });
    // Nor that of a client without a contract.
    let mut client = world.gateway.connect();
    client.command("EHLO x.example");
    client.command("MAIL FROM:<a@bumbleton.example>");
    let said = client.command(&format!("RCPT TO:<07700900124@{DOMAIN}>"));
    assert!(said.starts_with("550 5.3.3"), "{said}");
    world.is_nowhere_to_be_seen("7700900124");
}

#[test]
fn contracts_are_kept_at_rcpt_and_at_data() {
    let world = World::start("sms = { segments = 2 }", "");
    for (to, text, reply) in [
        ("0770090012", "x", "553 5.1.3"),
        ("reception", "x", "553 5.1.3"),
        ("07700900123", &*"a".repeat(307), "552 5.3.4"),
        (
            "07700900123",
            "NHS number: 450 557 7104, date of birth 12/03/1961.",
            "550 5.7.1",
        ),
        ("07700900123", "-- \r\nme", "550 5.6.0"),
    ] {
        let said = world.text(to, text);
        assert!(said.contains(reply), "{to} {text}: {said}");
    }
    assert!(
        world
            .text("07700900123", &"a".repeat(307))
            .contains("3 segments"),
        "the count is in the reply"
    );
    // Another network of our own has no contract.
    let mut client = world.gateway.connect();
    client.command("EHLO x.example");
    client.command("MAIL FROM:<a@bumbleton.example>");
    let said = client.command(&format!("RCPT TO:<07700900123@{DOMAIN}>"));
    assert!(said.starts_with("550 5.7.1"), "{said}");
    assert_eq!(world.stand_in.inside().requests, 0);
    for hidden in ["7700900123", "450 557"] {
        world.is_nowhere_to_be_seen(hidden);
    }
}

#[test]
fn what_does_not_arrive_is_reported_with_the_last_three_digits() {
    let world = World::start("sms = {}", "");
    assert!(world.text("07700900002", "It is ready.").contains("250"));
    let report = world.gateway.wait_for_mail(ACCOUNT, 1).remove(0);
    let report = String::from_utf8(report).unwrap();
    assert!(
        report.contains("Final-Recipient: rfc822; number-ending-002."),
        "{report}"
    );
    assert!(
        report.contains("Status: 5.1.1") && report.contains("<m1-0*002@b.example>"),
        "{report}"
    );
    for hidden in ["7700900002", "It is ready", "Original-Recipient"] {
        assert!(!report.contains(hidden), "{hidden}: {report}");
    }
    world.is_nowhere_to_be_seen("7700900002");
    assert_eq!(world.stand_in.inside().requests, 1);
}

#[test]
fn after_kill_9_between_answer_and_settlement_the_provider_is_asked_and_nothing_is_sent_twice() {
    let mut world = World::start("sms = {}", "on-unknown = \"resend\"");
    world.stand_in.fail_next(Fault::TakenWithoutAnswer);
    assert!(world.text("07700900123", "It is ready.").contains("250"));
    let reference = world.wait_for_text(0);
    world.gateway.kill();
    world.stand_in.becomes(&reference, "delivered");
    world.gateway.restart();
    world.wait_until_done();
    let inside = world.stand_in.inside();
    assert_eq!(
        (inside.requests, inside.searches, inside.notifications.len()),
        (1, 1, 1)
    );
}

#[test]
fn a_number_that_is_named_twice_gets_one_text_and_mail_goes_beside_it() {
    let world = World::start("sms = {}", "");
    let to = format!("07700900123@{DOMAIN} +447700900123@{DOMAIN} 07700900124@{DOMAIN} gp@nhs.net");
    let said = world.send(&to, "Subject: x\r\n\r\nIt is ready.\r\n");
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
    world.wait_for_text(1);
    let (first, second) = (
        world.stand_in.texts()[0].clone(),
        world.stand_in.texts()[1].clone(),
    );
    assert_ne!(first.phone_number, second.phone_number);
    for one in [first, second] {
        assert_eq!(world.receipt(&one.reference, "delivered"), "200");
    }
    world.wait_until_done();
    assert_eq!(world.stand_in.inside().requests, 2);
    let mail = world.gateway.wait_for_mail("gp@nhs.net", 2);
    assert!(
        mail.iter()
            .all(|one| !String::from_utf8_lossy(one).contains("X-Postern-SMS"))
    );
}

#[test]
fn a_number_in_the_message_id_is_hidden_where_mail_goes_beside_the_text() {
    let world = World::start("sms = {}", "");
    let message = "Subject: x\r\n\r\nIt is ready.\r\n";
    let id = "m1-07700900123@b.example";
    let said = world.send_as(id, &format!("gp@nhs.net 07700900123@{DOMAIN}"), message);
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stdout)
    );
    let reference = world.wait_for_text(0);
    assert_eq!(world.receipt(&reference, "delivered"), "200");
    world.wait_until_done();
    let mail = world.gateway.wait_for_mail("gp@nhs.net", 2);
    let has_id = |one: &Vec<u8>| String::from_utf8_lossy(one).contains(id);
    assert!(mail.iter().any(has_id), "mail keeps its own");
    let trail = world.gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8(trail.stdout).unwrap();
    assert!(trail.contains("m1-0*123@b.example"), "{trail}");
    world.is_nowhere_to_be_seen("7700900123");
}

#[test]
fn names_lead_to_numbers_in_one_form_and_to_nothing_else() {
    let world = World::start("sms = {}", "");
    let aliases = world.gateway.folder.path().join("policies/aliases.toml");
    let text = fs::read_to_string(&aliases).unwrap();
    let more = format!(
        "[[list]]\nname = \"on.call@nhs.net\"\nmembers = [\"07700900123@{DOMAIN}\", \"+447700900123@{DOMAIN}\"]\n\
         [[alias]]\nfrom = \"nobody.on.call@nhs.net\"\nto = \"nonsense@{DOMAIN}\"\n"
    );
    fs::write(&aliases, text + &more).unwrap();
    world.gateway.signal("-HUP");
    let message = "Subject: x\r\n\r\nPlease call.\r\n";
    wait_for("the name to be refused, for it is no number", || {
        let said = world.send("nobody.on.call@nhs.net", message);
        let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        said.contains("553 5.1.3").then_some(())
    });
    let texts = world.stand_in.inside().requests;
    assert!(world.send("on.call@nhs.net", message).status.success());
    let reference = world.wait_for_text(0);
    wait_for("one delivery to wait for its receipt", || {
        let queue = world.queue();
        let waiting = queue
            .lines()
            .filter(|line| line.contains("number-ending-123."));
        (waiting.count() == 1 && queue.contains("with the provider")).then_some(())
    });
    assert_eq!(world.stand_in.inside().requests, texts + 1);
    assert_eq!(world.receipt(&reference, "delivered"), "200");
    world.wait_until_done();
    world.is_nowhere_to_be_seen("7700900123");
}

#[test]
fn a_text_that_is_held_does_not_go_to_what_encrypts_mail() {
    let world = World::start("sms = { patient-data = \"hold\" }", "");
    let said = world.text("07700900123", "NHS number: 450 557 7104, come in.");
    assert!(said.contains("250"), "{said}");
    let listed = world.queue();
    let listed: serde_json::Value =
        serde_json::from_str(listed.lines().find(|line| line.contains(DOMAIN)).unwrap()).unwrap();
    let reference = listed["reference"].as_str().unwrap();
    let release = |more: &[&str]| {
        let order = ["queue", "release", reference, "--reason", "agreed"];
        let released = world.gateway.postern(&[&order, more].concat());
        let said = String::from_utf8(released.stdout).unwrap();
        (released.status.code().unwrap(), said)
    };
    let (status, said) = release(&["--encrypted"]);
    assert!(
        status == 1 && said.contains("0 deliveries changed"),
        "{said}"
    );
    assert!(
        world.queue().contains("\"state\":\"held\""),
        "{}",
        world.queue()
    );
    let encrypted = world.gateway.folder.path().join("data/maildir/encrypted");
    assert!(!encrypted.join(DOMAIN).exists());
    assert_eq!(release(&[]).0, 0);
    world.wait_for_text(0);
}

#[test]
fn who_says_stop_gets_no_more_and_a_command_puts_it_right() {
    let world = World::start("sms = {}", "");
    let stop = |from: &str, message: &str| {
        let body = format!(
            "{{\"id\":\"x\",\"source_number\":\"{from}\",\"destination_number\":\"07500000000\",\
             \"message\":\"{message}\",\"date_received\":\"2026-11-21T10:00:00Z\"}}"
        );
        world.call_back("/inbound", "callback-token", &body)
    };
    assert_eq!(stop("447700900123", "thank you"), "200");
    assert_eq!(stop("447700900124", "Stop"), "200");
    let list = |args: &[&str]| {
        let output = world.gateway.postern(&[&["sms", "opt-out"], args].concat());
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (_, shown) = list(&["list"]);
    assert!(
        shown.contains("number-ending-124.") && shown.contains("reply") && !shown.contains("-123."),
        "{shown}"
    );
    assert_eq!(list(&["list", "07700 900124"]).0, 0);
    assert_eq!(list(&["list", "07700 900123"]).0, 1);

    assert!(world.text("07700900124", "It is ready.").contains("250"));
    let report = String::from_utf8(world.gateway.wait_for_mail(ACCOUNT, 1).remove(0)).unwrap();
    assert!(report.contains("wants no text messages"), "{report}");
    assert_eq!(world.stand_in.inside().requests, 0);

    assert_eq!(list(&["remove", "07700900124"]).0, 0);
    let file = world.gateway.folder.path().join("numbers.txt");
    fs::write(&file, "# wants none\n07700900125\n").unwrap();
    assert_eq!(list(&["add", "--file", file.to_str().unwrap()]).0, 0);
    assert_eq!(list(&["add", "07700"]).0, 2);
    assert!(world.text("07700900124", "It is ready.").contains("250"));
    world.wait_for_text(0);
    for hidden in ["7700900124", "7700900125"] {
        world.is_nowhere_to_be_seen(hidden);
    }
    let trail = String::from_utf8(world.gateway.postern(&["audit", "export"]).stdout).unwrap();
    assert!(
        trail.contains("sms-opt-out") && trail.contains("…125"),
        "{trail}"
    );
}

#[test]
fn what_nobody_can_say_is_held_with_a_notice_and_goes_when_it_is_let_go() {
    let world = World::start("sms = {}", "timeout = \"1s\"");
    world.stand_in.fail_next(Fault::NoAnswer);
    assert!(world.text("07700900123", "It is ready.").contains("250"));
    wait_for("it to be held", || {
        world.queue().contains("\"state\":\"held\"").then_some(())
    });
    assert!(
        world.gateway.log().contains("ALARM"),
        "{}",
        world.gateway.log()
    );
    let listed = world.queue();
    let listed: serde_json::Value =
        serde_json::from_str(listed.lines().find(|line| line.contains(DOMAIN)).unwrap()).unwrap();
    let released = world.gateway.postern(&[
        "queue",
        "release",
        listed["reference"].as_str().unwrap(),
        "--reason",
        "asked the patient",
    ]);
    assert!(
        released.status.success(),
        "{}",
        String::from_utf8_lossy(&released.stderr)
    );
    world.wait_for_text(0);
    assert_eq!(world.stand_in.inside().requests, 2);
}

#[test]
fn a_text_that_is_held_for_what_it_says_goes_when_it_is_let_go() {
    let world = World::start("sms = { patient-data = \"hold\" }", "");
    let text = "NHS number: 450 557 7104, date of birth 12/03/1961.";
    assert!(world.text("07700900123", text).contains("250 2.6.0"));
    let listed = world.queue();
    let held = listed
        .lines()
        .find(|line| line.contains("number-ending-123."));
    let held: serde_json::Value = serde_json::from_str(held.unwrap()).unwrap();
    assert_eq!(held["state"], "held");
    world.is_nowhere_to_be_seen("7700900123");
    let reference = held["reference"].as_str().unwrap();
    let released = world.gateway.postern(&[
        "queue",
        "release",
        reference,
        "--reason",
        "the patient asked for it",
    ]);
    assert!(released.status.success());
    world.wait_for_text(0);
    assert!(world.stand_in.texts()[0].body.ends_with(text));
    world.is_nowhere_to_be_seen("450 557");
}
