//! Patient data through a whole gateway: to next hops with certificates that are right and wrong, what
//! happens where no secured path can be had, who hears of a hold, and who is alarmed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/next_hop.rs"]
mod next_hop;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use authority::{Authority, Wrong};
use next_hop::{NextHop, Protection, edit, routes, secure_domain};
use support::{Client, Gateway, wait_for};

const PATIENT: &str = "From: <pharmacy.fa001@nhs.net>\r\nMessage-ID: <p1@nhs.net>\r\nSubject: prescription\r\n\r\n\
    NHS number: 450 557 7104, date of birth 12/03/1961.\r\n";

/// A secure domain for each next hop, with a route there and more lines in its entry.
fn destinations(policies: &Path, authority: &Authority, hops: &[(&str, &NextHop, &str)]) {
    let ways: Vec<_> = hops
        .iter()
        .map(|(domain, hop, _)| (*domain, *hop))
        .collect();
    routes(policies, authority, &ways);
    for (domain, _, more) in hops {
        secure_domain(policies, domain, more);
    }
}

fn send(gateway: &Gateway, from: &str, to: &[&str], message: &str) {
    let mut client: Client = gateway.connect();
    client.command("EHLO x");
    let reply = client.submit(from, to, message.as_bytes());
    assert!(reply.starts_with("250 "), "{reply}");
}

fn trace(gateway: &Gateway, about: &str) -> String {
    let said = gateway.postern(&["--json", "trace", about]);
    String::from_utf8(said.stdout).unwrap()
}

/// The text of the first message in a Maildir, folded lines joined.
fn mail(gateway: &Gateway, address: &str) -> String {
    let mail = gateway.wait_for_mail(address, 1);
    String::from_utf8(mail[0].clone())
        .unwrap()
        .replace("\r\n", " ")
}

#[test]
fn patient_data_goes_to_a_server_that_shows_who_it_is_and_to_no_other() {
    let authority = Authority::new();
    let tls = |wrong| Protection::Tls(authority.server(wrong));
    let all = [
        (
            "good.example",
            tls(Wrong::Nothing),
            "verified for 127.0.0.1 sha256:",
        ),
        ("name.example", tls(Wrong::Name), "is for another name"),
        ("expired.example", tls(Wrong::Expired), "has expired"),
        (
            "self.example",
            tls(Wrong::SelfSigned),
            "is from an authority that is not trusted",
        ),
        (
            "issuer.example",
            tls(Wrong::Issuer),
            "is from an authority that is not trusted",
        ),
        (
            "old.example",
            Protection::OldTls,
            "the TLS handshake failed",
        ),
        (
            "stripped.example",
            Protection::Stripped,
            "454 4.7.0 not now",
        ),
        (
            "clear.example",
            Protection::None,
            "TLS is needed and not offered",
        ),
    ]
    .map(|(domain, protection, why)| (domain, NextHop::start(&protection), why));
    let gateway = Gateway::start_with(|policies| {
        let hops = all.each_ref().map(|(domain, hop, _)| (*domain, hop, ""));
        destinations(policies, &authority, &hops);
    });
    let to = all.each_ref().map(|(domain, ..)| format!("gp@{domain}"));
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    send(&gateway, "pharmacy.fa001@nhs.net", &to, PATIENT);

    for ((domain, _, why), to) in all.iter().zip(&to) {
        wait_for(domain, || trace(&gateway, to).contains(why).then_some(()));
    }
    for (domain, hop, _) in &all {
        let taken = usize::from(*domain == "good.example");
        assert_eq!(hop.messages().len(), taken, "{domain}");
    }
    // The trail says what protected it: version, cipher, which certificate, for whom, and who says that it is he.
    let said = trace(&gateway, to[0]);
    let events = said.lines().map(|line| serde_json::from_str(line).unwrap());
    let delivered = events.filter(|event: &serde_json::Value| event["kind"] == "delivered");
    let delivered: Vec<serde_json::Value> = delivered.collect();
    assert_eq!(delivered.len(), 1, "{said}");
    let tls = delivered[0]["facts"]["tls"].as_str().unwrap();
    let words: Vec<&str> = tls.split(' ').collect();
    assert_eq!(words[0], "TLSv1.3");
    assert!(words[1].starts_with("TLS13_"), "{tls}");
    assert_eq!(words[2..5], ["verified", "for", "127.0.0.1"]);
    assert_eq!(words[5].len(), "sha256:".len() + 64, "{tls}");
    assert_eq!(words[6..].join(" "), "(named by the route)");

    // What is bound to nothing goes to any of them.
    let plain = "From: <pharmacy.fa001@nhs.net>\r\nSubject: opening hours\r\n\r\nNine to five.\r\n";
    send(&gateway, "pharmacy.fa001@nhs.net", &to[1..], plain);
    for (domain, hop, _) in &all[1..] {
        wait_for(domain, || (hop.messages().len() == 1).then_some(()));
    }
}

#[test]
fn without_a_secured_path_it_is_held_diverted_or_bounced_as_the_destination_says() {
    let authority = Authority::new();
    let bad = NextHop::start(&Protection::Tls(authority.server(Wrong::Name)));
    let gateway = Gateway::start_with(|policies| {
        let now =
            |then: &str| format!("no-secure-path = \"{then}\"\nno-secure-path-after = \"0s\"");
        let (hold, encrypt, bounce) = (now("hold"), now("encrypt"), now("bounce"));
        let hops = [
            ("hold.example", &bad, hold.as_str()),
            ("encrypt.example", &bad, encrypt.as_str()),
            ("bounce.example", &bad, bounce.as_str()),
        ];
        destinations(policies, &authority, &hops);
    });
    send(&gateway, "one@nhs.net", &["gp@hold.example"], PATIENT);
    send(&gateway, "two@nhs.net", &["gp@encrypt.example"], PATIENT);
    send(&gateway, "three@nhs.net", &["gp@bounce.example"], PATIENT);

    let told = mail(&gateway, "one@nhs.net");
    assert!(
        told.contains("is held") && told.contains("for another name"),
        "{told}"
    );
    assert!(
        !told.contains("450 557") && !told.contains("prescription"),
        "{told}"
    );
    assert!(
        told.contains("decided about by the information governance lead"),
        "{told}"
    );
    let held = gateway.postern(&["--json", "queue", "list", "--state", "held"]);
    assert!(
        String::from_utf8(held.stdout)
            .unwrap()
            .contains("gp@hold.example")
    );

    let encrypted = gateway
        .folder
        .path()
        .join("data/maildir/encrypted/encrypt.example/gp/new");
    wait_for("the encryption next hop", || {
        let mut files = fs::read_dir(&encrypted).ok()?;
        files.next().map(drop)
    });
    assert!(trace(&gateway, "gp@encrypt.example").contains("\"diverted\":\"encryption\""));

    let back = mail(&gateway, "three@nhs.net");
    assert!(
        back.contains("Status: 5.7.5") && !back.contains("450 557"),
        "{back}"
    );
    assert!(gateway.log().contains("ALARM"), "{}", gateway.log());
    assert!(bad.messages().is_empty());
}

/// Files in the Maildir of the encryption next hop.
fn encrypted_for(gateway: &Gateway, domain: &str, local: &str) -> usize {
    let folder = gateway.folder.path().join("data/maildir/encrypted");
    let folder = folder.join(domain).join(local).join("new");
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn of_mixed_recipients_each_gets_what_is_his_and_nobody_a_second_copy() {
    let authority = Authority::new();
    let good = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
    let bad = NextHop::start(&Protection::Tls(authority.server(Wrong::Name)));
    let mut gateway = Gateway::start_with(|policies| {
        let hops = [("good.example", &good, ""), ("bad.example", &bad, "")];
        destinations(policies, &authority, &hops);
    });
    let tagged = PATIENT.replace("Subject: ", "Subject: [secure] ");
    let mut client = gateway.connect();
    client.command("EHLO x");
    assert!(client.command("MAIL FROM:<one@nhs.net>").starts_with("250"));
    for (to, reply) in [
        ("gp@good.example", "250"),
        ("gp@bad.example", "250"),
        ("pharmacy.fkw41@nhs.net", "550"), // closed: said at once, and the others go on
        ("bumbleton.headoffice@nhs.net", "250"),
        ("patient@example.com", "250"),
        ("patient@EXAMPLE.com", "250"),
        ("patient@example.com", "250"),
    ] {
        let said = client.command(&format!("RCPT TO:<{to}>"));
        assert!(said.starts_with(reply), "{to}: {said}");
    }
    assert!(client.command("DATA").starts_with("354"));
    client.send(&support::stuffed(tagged.as_bytes()));
    let reply = client.reply();
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 1 of "),
        "{reply}"
    );

    let deferred = |gateway: &Gateway| {
        trace(gateway, "gp@bad.example")
            .matches("\"deferred\"")
            .count()
    };
    let all_is_as_it_should_be = |gateway: &Gateway| {
        // The secure one over TLS, also while the other one cannot be had; not once in clear.
        assert_eq!(good.messages().len(), 1);
        assert!(trace(gateway, "gp@good.example").contains("TLSv1.3 TLS13_"));
        assert!(bad.messages().is_empty());
        assert_eq!(
            encrypted_for(gateway, "good.example", "gp")
                + encrypted_for(gateway, "bad.example", "gp"),
            0
        );
        // The one elsewhere encrypted and not otherwise, in one copy however often it is named.
        assert_eq!(encrypted_for(gateway, "example.com", "patient"), 1);
        assert!(gateway.mail_for("patient@example.com").is_empty());
        // The held one is held, and the sender knows of it and of no other.
        assert!(gateway.mail_for("bumbleton.headoffice@nhs.net").is_empty());
        let list = gateway.postern(&["--json", "queue", "list"]);
        let list = String::from_utf8(list.stdout).unwrap();
        let left: Vec<&str> = ["good.example", "bad.example", "headoffice", "example.com"]
            .into_iter()
            .filter(|part| {
                list.contains(&format!("{part}\"")) || list.contains(&format!("{part}@"))
            })
            .collect();
        assert_eq!(left, ["bad.example", "headoffice"], "{list}");
    };
    wait_for("two attempts", || (deferred(&gateway) >= 2).then_some(()));
    let told = mail(&gateway, "one@nhs.net");
    assert!(told.contains("<bumbleton.headoffice@nhs.net>"), "{told}");
    for other in ["good.example", "bad.example", "example.com", "450 557"] {
        assert!(!told.contains(other), "{other} in {told}");
    }
    all_is_as_it_should_be(&gateway);

    // A crash, and the attempts that follow it, send nothing again.
    gateway.kill();
    let before = deferred(&gateway);
    gateway.restart();
    wait_for("another attempt", || {
        (deferred(&gateway) > before).then_some(())
    });
    all_is_as_it_should_be(&gateway);
    assert_eq!(gateway.mail_for("one@nhs.net").len(), 1);
}

#[test]
fn a_refusal_in_mixed_company_comes_back_as_a_report_and_one_for_all_as_a_reply() {
    let authority = Authority::new();
    let good = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
    let gateway = Gateway::start_with(|policies| {
        destinations(policies, &authority, &[("good.example", &good, "")]);
        edit(
            policies,
            "secure-domains.toml",
            "not-secure = \"hold\"",
            "not-secure = \"refuse\"",
        );
        // The shipped tests say that it is held.
        fs::remove_file(policies.join("tests/decision-table.toml")).unwrap();
    });
    let mut client = gateway.connect();
    client.command("EHLO x");
    let to = ["jo@example.com", "gp@good.example", "jim@example.com"];
    let reply = client.submit("one@nhs.net", &to, PATIENT.as_bytes());
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 2 of 3"),
        "{reply}"
    );
    wait_for("the secure one", || {
        (good.messages().len() == 1).then_some(())
    });
    let report = mail(&gateway, "one@nhs.net");
    for part in [
        "Final-Recipient: rfc822; jo@example.com",
        "Final-Recipient: rfc822; jim@example.com",
        "5.7.1 patient data may not go to example.com",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    assert!(
        !report.contains("good.example")
            && !report.contains("450 557")
            && !report.contains("prescription"),
        "{report}"
    );

    // All refused: the client keeps it, so that nothing of it is anywhere when it tries again.
    for _ in 0..2 {
        let reply = client.submit(
            "two@nhs.net",
            &["jo@example.com", "jim@example.com"],
            PATIENT.as_bytes(),
        );
        assert!(
            reply.starts_with("550 5.7.1 patient data may not go to example.com"),
            "{reply}"
        );
    }
    // One that may have it is served once, however often the client is refused for the others.
    let reply = client.submit("three@nhs.net", &["gp@good.example"], PATIENT.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    wait_for("the next one", || {
        (good.messages().len() == 2).then_some(())
    });
    assert!(
        gateway.mail_for("two@nhs.net").is_empty() && gateway.mail_for("jo@example.com").is_empty()
    );
    assert_eq!(gateway.mail_for("one@nhs.net").len(), 1);
}

#[test]
fn a_sender_hears_of_a_hold_and_a_program_does_not() {
    let mut gateway = Gateway::start();
    send(&gateway, "one@nhs.net", &["patient@example.com"], PATIENT);
    let told = mail(&gateway, "one@nhs.net");
    for part in [
        "Return-Path: <>",
        "<patient@example.com>",
        "information governance lead",
        "PX-",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    for content in ["450 557", "prescription", "03/1961"] {
        assert!(!told.contains(content), "{content} in {told}");
    }
    let near = "From: <two@nhs.net>\r\nSubject: secure: blister packs for Jo\r\n\r\nHello.\r\n";
    send(&gateway, "two@nhs.net", &["patient@example.com"], near);
    let told = mail(&gateway, "two@nhs.net");
    assert!(told.contains("with its brackets: [secure]"), "{told}");
    assert!(!told.contains("blister"), "{told}");

    let automatic = format!("Auto-Submitted: auto-generated\r\n{PATIENT}");
    send(
        &gateway,
        "robot@nhs.net",
        &["patient@example.com"],
        &automatic,
    );
    send(
        &gateway,
        "x.donotreply@nhs.net",
        &["patient@example.com"],
        PATIENT,
    );
    send(&gateway, "last@nhs.net", &["patient@example.com"], PATIENT);
    mail(&gateway, "last@nhs.net");
    assert!(gateway.mail_for("robot@nhs.net").is_empty());
    assert!(gateway.mail_for("x.donotreply@nhs.net").is_empty());
    // Of the program, the owner of what is held hears in its place; of a second message within the hour he
    // does not hear again.
    let again = PATIENT.replace("<p1@", "<p2@");
    send(
        &gateway,
        "x.donotreply@nhs.net",
        &["patient@example.com"],
        &again,
    );
    let told = gateway
        .wait_for_mail("bumbleton.headoffice@nhs.net", 2)
        .concat();
    let told = String::from_utf8(told).unwrap().replace("\r\n", " ");
    for part in [
        "A message from x.donotreply@nhs.net is held",
        "you answer for the program",
        "<patient@example.com>",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(
        !told.contains("450 557") && !told.contains("prescription"),
        "{told}"
    );
    send(&gateway, "later@nhs.net", &["patient@example.com"], PATIENT);
    mail(&gateway, "later@nhs.net");
    let to_owner = gateway.mail_for("bumbleton.headoffice@nhs.net");
    let of = |program: &str| {
        let about = |mail: &&Vec<u8>| String::from_utf8_lossy(mail).contains(program);
        to_owner.iter().filter(about).count()
    };
    assert_eq!(
        (
            of("x.donotreply@nhs.net"),
            of("robot@nhs.net"),
            to_owner.len()
        ),
        (1, 1, 2)
    );

    // Whom nobody looks after alarms, and fails when its time is over; an order needs no reason of ours.
    assert!(trace(&gateway, "one@nhs.net").contains("\"owner\":\"the information governance lead"));
    let policies = gateway.config().parent().unwrap().to_owned();
    edit(
        &policies,
        "postern.toml",
        "alarm-after = \"4h\"",
        "alarm-after = \"1s\"",
    );
    edit(
        &policies,
        "postern.toml",
        "fail-after = \"0s\"",
        "fail-after = \"2s\"",
    );
    std::thread::sleep(std::time::Duration::from_secs(2));
    gateway.terminate();
    gateway.restart();
    wait_for("the alarm", || {
        gateway.log().contains("held for too long").then_some(())
    });
    gateway.wait_for_mail("one@nhs.net", 2);
    assert!(trace(&gateway, "one@nhs.net").contains("nobody decided about it in time"));
}

#[test]
fn the_owner_of_a_program_hears_that_its_mail_is_held_wherever_it_is_held() {
    let authority = Authority::new();
    let bad = NextHop::start(&Protection::Tls(authority.server(Wrong::Name)));
    let gateway = Gateway::start_with(|policies| {
        let now = "no-secure-path = \"hold\"\nno-secure-path-after = \"0s\"";
        destinations(policies, &authority, &[("hold.example", &bad, now)]);
        let file = policies.join("accounts.toml");
        let text = fs::read_to_string(&file).unwrap();
        let account = |name: &str, more: &str| {
            format!("[[account]]\nname = \"{name}.donotreply@nhs.net\"\ndisabled = true\n{more}\n")
        };
        let accounts = account("one", "owner-address = \"owner.one@nhs.net\"")
            + &account("two", "owner = \"owner.two@nhs.net\"")
            + &account("three", "owner = \"the front desk\"");
        fs::write(file, text + &accounts).unwrap();
        let file = policies.join("directory.csv");
        let text = fs::read_to_string(&file).unwrap();
        let header = text.lines().find(|line| !line.starts_with('#')).unwrap();
        let columns = header.split(',').map(|column| match column {
            "address" => "four.donotreply@nhs.net",
            "kind" => "application",
            "status" => "active",
            "owner" => "owner.four@nhs.net",
            _ => "",
        });
        let row = columns.collect::<Vec<_>>().join(",");
        fs::write(file, format!("{text}{row}\n")).unwrap();
    });
    // By the policy, before it is promised.
    for (program, owner) in [
        ("one.donotreply@nhs.net", "owner.one@nhs.net"),
        ("two.donotreply@nhs.net", "owner.two@nhs.net"),
        ("three.donotreply@nhs.net", "bumbleton.headoffice@nhs.net"),
        ("four.donotreply@nhs.net", "owner.four@nhs.net"),
    ] {
        send(&gateway, program, &["patient@example.com"], PATIENT);
        let told = mail(&gateway, owner);
        assert!(
            told.contains(program) && !told.contains("450 557"),
            "{told}"
        );
    }
    // By the scheduler, for want of a secured path.
    send(
        &gateway,
        "five.donotreply@nhs.net",
        &["gp@hold.example"],
        PATIENT,
    );
    let told = gateway
        .wait_for_mail("bumbleton.headoffice@nhs.net", 2)
        .concat();
    let told = String::from_utf8(told).unwrap().replace("\r\n", " ");
    assert!(
        told.contains("five.donotreply@nhs.net is held") && told.contains("for another name"),
        "{told}"
    );
    assert!(gateway.mail_for("five.donotreply@nhs.net").is_empty());
}

#[test]
fn a_lapsing_entry_is_said_in_the_log_and_the_metrics() {
    let gateway = Gateway::start_with(|policies| {
        let day = |days: i64| {
            let now = jiff::Timestamp::now()
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date();
            now.saturating_add(jiff::Span::new().days(days))
        };
        let rows = format!(
            "soon.nhs.uk,Soon,,,{}\nlate.nhs.uk,Late,,,{}\n",
            day(10),
            day(-3)
        );
        let file = policies.join("secure-domains.csv");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{text}{rows}")).unwrap();
    });
    let log = wait_for("the warning", || {
        let log = gateway.log();
        log.contains("has lapsed").then_some(log)
    });
    assert!(
        log.contains("soon.nhs.uk") && log.contains("a secure domain lapses"),
        "{log}"
    );
    let metrics = wait_for("the gauges", || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", gateway.metrics)).ok()?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    });
    for line in ["{state=\"lapsing\"} 1", "{state=\"lapsed\"} 1"] {
        assert!(
            metrics.contains(&format!("postern_secure_domains{line}")),
            "{metrics}"
        );
    }
    let said = gateway.postern(&["check", "--format", "short"]);
    let said = String::from_utf8(said.stdout).unwrap();
    for line in ["`soon.nhs.uk` lapses on", "`late.nhs.uk` lapsed on"] {
        assert!(said.contains(line), "{line} in {said}");
    }
}

#[test]
fn a_new_accredited_list_takes_the_place_of_the_old_one_and_of_nothing_else() {
    let gateway = Gateway::start();
    let policies = gateway.config().parent().unwrap().to_owned();
    let (list, in_force) = (
        gateway.folder.path().join("list.csv"),
        policies.join("secure-domains.csv"),
    );
    let file = list.to_str().unwrap();
    let import = |more: &[&str]| {
        let output =
            gateway.postern(&[&["--json", "secure-domains", "import", file], more].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (
            output.status.code(),
            last["outcome"].as_str().unwrap().to_owned(),
        )
    };
    let by_hand = fs::read_to_string(policies.join("secure-domains.toml")).unwrap();
    let before = fs::read_to_string(&in_force).unwrap();
    fs::write(
        &list,
        "Domain,Organisation,Expiry date\na.nhs.uk,A,31/03/2099\nb.nhs.uk,B,31/03/2099\n",
    )
    .unwrap();
    assert_eq!(import(&["--dry-run"]), (Some(0), "dry-run".into()));
    assert_eq!(fs::read_to_string(&in_force).unwrap(), before);
    assert_eq!(import(&[]), (Some(0), "written".into()));
    let after = fs::read_to_string(&in_force).unwrap();
    assert!(
        after.starts_with("# ")
            && after.ends_with("a.nhs.uk,A,,,2099-03-31\nb.nhs.uk,B,,,2099-03-31\n"),
        "{after}"
    );

    fs::write(
        &list,
        "Domain,Organisation,Expiry date\na.nhs.uk,A,31/03/2099\n",
    )
    .unwrap();
    assert_eq!(import(&[]), (Some(1), "unconfirmed".into()));
    assert_eq!(fs::read_to_string(&in_force).unwrap(), after);
    assert_eq!(import(&["--confirm"]), (Some(0), "written".into()));
    fs::write(&list, "Domain\n*.nhs.uk\n").unwrap();
    assert_eq!(import(&["--confirm"]), (Some(1), "bad-rows".into()));
    assert_eq!(
        fs::read_to_string(policies.join("secure-domains.toml")).unwrap(),
        by_hand
    );
    assert!(gateway.postern(&["check"]).status.success());
}

#[test]
fn what_is_to_be_encrypted_goes_to_an_encryption_next_hop_that_shows_who_it_is() {
    let authority = Authority::new();
    let hop = NextHop::start(&Protection::Tls(authority.server(Wrong::Nothing)));
    let gateway = |host: &str| {
        Gateway::start_with(|policies| {
            destinations(policies, &authority, &[]);
            // Its route asks for no more than TLS if there is some: the verdict asks for more.
            let route = format!(
                "smart-host = \"{host}:{}\"\ntls = \"opportunistic\"",
                hop.port
            );
            let folder = "maildir = \"../data/maildir/encrypted\"";
            edit(policies, "postern.toml", folder, &route);
            let now = "no-secure-path-after = \"0s\"";
            edit(
                policies,
                "secure-domains.toml",
                "no-secure-path-after = \"4h\"",
                now,
            );
        })
    };
    let secret = PATIENT.replace("Subject: ", "Subject: [secure] ");

    // By this name it has no certificate, and it could be any machine.
    let elsewhere = gateway("localhost");
    send(
        &elsewhere,
        "one@nhs.net",
        &["patient@elsewhere.example"],
        &secret,
    );
    let told = mail(&elsewhere, "one@nhs.net");
    assert!(told.contains("is held"), "{told}");
    assert!(elsewhere.log().contains("ALARM"), "{}", elsewhere.log());
    let said = trace(&elsewhere, "patient@elsewhere.example");
    assert!(said.contains("is for another name"), "{said}");
    assert!(hop.messages().is_empty());

    let there = gateway("127.0.0.1");
    send(
        &there,
        "one@nhs.net",
        &["patient@elsewhere.example"],
        &secret,
    );
    wait_for("the encryption next hop", || {
        (hop.messages().len() == 1).then_some(())
    });
}
