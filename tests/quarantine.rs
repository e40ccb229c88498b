//! The quarantine as its users meet it: a digest, links that let one message go on once, and the commands.
//! The HTTP client is Python's, which nobody here wrote.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::{Timestamp, ToSpan};
use postern::admin::quarantine::Links;
use postern::queue::DeliveryId;
use support::{Gateway, free_port, installed, root, wait_for};

const GP: &str = "pharmacy.fa001@nhs.net";

/// All clients are strangers; digests are sent, of what came until seven minutes ago.
fn gateway(pages: u16) -> Gateway {
    Gateway::start_with(|policies| {
        let at = (Timestamp::now() - 7.minutes()).strftime("%H:%M");
        let digest = format!(
            "\n[quarantine.digest]\naddress = \"127.0.0.1:{pages}\"\nurl = \"http://127.0.0.1:{pages}\"\nat = \"{at}\"\n"
        );
        let strangers = (
            "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]",
            "relay-networks = [\"192.0.2.0/24\"]",
        );
        change(&policies.join("postern.toml"), &[strangers], &digest);
        // What a word more or less weighs is no matter here.
        let low = ("quarantine = 10.0", "quarantine = 5.0");
        change(&policies.join("scoring.toml"), &[low], "");
        let kept = ("verdict = \"refuse\"", "verdict = \"quarantine\"");
        change(&policies.join("links.toml"), &[kept], "");
        fs::remove_dir_all(policies.join("tests")).expect("the policy's own tests");
    })
}

fn change(file: &Path, changes: &[(&str, &str)], more: &str) {
    let mut text = fs::read_to_string(file).expect("a file");
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    fs::write(file, text + more).expect("a changed file");
}

fn submit(gateway: &Gateway, message: &str) {
    let mut client = gateway.connect();
    client.command("EHLO elsewhere.example");
    let said = client.submit("prize@elsewhere.example", &[GP], message.as_bytes());
    assert!(said.starts_with("250 2.6.0 "), "{said}");
}

fn spam() -> String {
    let text = fs::read_to_string(root().join("policies/tests/spam.eml")).expect("spam");
    text.replace('\n', "\r\n")
}

/// As if all that is there had come an hour ago, and no digest had been written.
fn an_hour_later(gateway: &mut Gateway) {
    assert!(gateway.terminate());
    let data = gateway.folder.path().join("data");
    let queue = rusqlite::Connection::open(data.join("queue.sqlite")).expect("the queue");
    queue
        .execute("UPDATE message SET received_at = received_at - 3600000", [])
        .expect("older messages");
    drop(queue);
    forget_digests(&data);
    gateway.restart();
}

fn forget_digests(data: &Path) {
    for name in [
        "quarantine.sqlite",
        "quarantine.sqlite-wal",
        "quarantine.sqlite-shm",
    ] {
        let _ = fs::remove_file(data.join(name));
    }
}

/// Status, header and body of an answer.
fn ask(method: &str, url: &str) -> (u16, String, String) {
    ask_with(method, url, "")
}

/// The same, with a form.
fn ask_with(method: &str, url: &str, form: &str) -> (u16, String, String) {
    let program = "import sys, urllib.request, urllib.error\n\
        r = urllib.request.Request(sys.argv[2], data=sys.argv[3].encode() or None, method=sys.argv[1])\n\
        try: a = urllib.request.urlopen(r, timeout=20)\n\
        except urllib.error.HTTPError as e: a = e\n\
        print(a.status); print(str(a.headers).strip().lower()); print('--'); print(a.read().decode())";
    let asked = Command::new("python3")
        .args(["-c", program, method, url, form])
        .output();
    let said = String::from_utf8(asked.expect("python3").stdout).expect("text");
    let (head, body) = said
        .split_once("\n--\n")
        .unwrap_or_else(|| panic!("{said}"));
    let (status, headers) = head.split_once('\n').expect("a status");
    (
        status.parse().expect("a number"),
        headers.to_owned(),
        body.to_owned(),
    )
}

/// The text of the digest, out of its encoding.
fn digest(gateway: &Gateway) -> String {
    let mail = gateway.wait_for_mail(GP, 1).remove(0);
    let message = mail_parser::MessageParser::new()
        .parse(&mail)
        .expect("a digest");
    message.body_text(0).expect("its text").into_owned()
}

fn links_in(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Get it:   http"));
    lines.map(|rest| format!("http{}", rest.trim())).collect()
}

fn listed(gateway: &Gateway, args: &[&str]) -> Vec<serde_json::Value> {
    let said = gateway.postern(&[&["--json", "quarantine", "list"], args].concat());
    let said = String::from_utf8(said.stdout).expect("text");
    said.lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect()
}

#[test]
fn the_owner_of_a_mailbox_lets_go_on_what_is_only_unwanted_once() {
    if !installed("python3") {
        return;
    }
    let pages = free_port();
    let mut gateway = gateway(pages);
    submit(&gateway, &spam());
    let with_number = spam().replace(
        "\r\n\r\n",
        "\r\n\r\nNHS number 450 557 7104 of the patient.\r\n",
    );
    submit(&gateway, &with_number);
    let program = fs::read_to_string(root().join("policies/tests/program.eml")).expect("a program");
    // Nobody outside speaks in the name of nhs.net.
    let program = program.replace("@nhs.net", "@elsewhere.example");
    submit(&gateway, &program.replace('\n', "\r\n"));
    an_hour_later(&mut gateway);

    let text = digest(&gateway);
    let links = links_in(&text);
    assert_eq!(links.len(), 1, "{text}");
    assert_eq!(
        text.matches("only by the administrators").count(),
        2,
        "{text}"
    );
    assert!(text.contains("(not shown)"), "{text}");
    assert!(!text.contains("450"), "{text}");
    let link = &links[0];

    // Whatever follows the link without pressing the button changes nothing.
    for method in ["GET", "HEAD", "GET"] {
        let (status, headers, body) = ask(method, link);
        assert_eq!(status, 200, "{method}");
        assert_eq!(body.contains("<form method=\"post\">"), method == "GET");
        for header in [
            "content-security-policy: default-src 'none'",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
        ] {
            assert!(headers.contains(header), "{header} in {headers}");
        }
    }
    for method in ["PUT", "DELETE", "OPTIONS"] {
        assert_eq!(ask(method, link).0, 405, "{method}");
    }
    assert_eq!(listed(&gateway, &[]).len(), 3);
    assert_eq!(gateway.mail_for(GP).len(), 1);

    let (status, _, body) = ask("POST", link);
    assert_eq!(status, 200, "{body}");
    let mail = gateway.wait_for_mail(GP, 2);
    let is_spam = |one: &Vec<u8>| one.ends_with(b"\r\n\r\nClick the link.\r\n");
    assert!(mail.iter().any(is_spam), "it is delivered as it was");
    let (status, _, body) = ask("POST", link);
    assert_eq!((status, body.contains("was used already")), (410, true));
    assert_eq!(ask("GET", link).0, 410);

    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8(trail.stdout).expect("text");
    assert!(
        trail.contains("by a link of the digest, from 127.0.0.1"),
        "{trail}"
    );
    let learn = gateway.folder.path().join("data/learn/ham");
    assert_eq!(
        fs::read_dir(learn).expect("what is to be learned").count(),
        1
    );
    let token = link.rsplit('/').next().expect("a token");
    assert!(
        !gateway.log().contains(token) && !trail.contains(token),
        "a link in the log"
    );
}

#[test]
fn forged_old_and_other_links_do_nothing() {
    if !installed("python3") {
        return;
    }
    let pages = free_port();
    let gateway = gateway(pages);
    submit(&gateway, &spam());
    submit(
        &gateway,
        &spam().replace(
            "\r\n\r\n",
            "\r\n\r\nNHS number 450 557 7104 of the patient.\r\n",
        ),
    );
    let kept = wait_for("two messages", || {
        Some(listed(&gateway, &[])).filter(|all| all.len() == 2)
    });
    let (unwanted, with_number) = match kept[0]["patient_data"] == true {
        true => (&kept[1], &kept[0]),
        false => (&kept[0], &kept[1]),
    };
    assert_eq!(
        (
            &unwanted["owner_may_release"],
            &with_number["owner_may_release"]
        ),
        (&true.into(), &false.into())
    );

    let links = Links::open(&gateway.folder.path().join("data")).expect("the key");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let foreign = Links::open(elsewhere.path()).expect("another key");
    let of = |links: &Links, one: &serde_json::Value, to: &str, hours: i64| {
        let delivery = DeliveryId(one["delivery"].as_i64().expect("a number"));
        let reference = one["reference"].as_str().expect("a reference");
        let until = Timestamp::now() + hours.hours();
        format!(
            "http://127.0.0.1:{pages}/q/{}",
            links.make(delivery, reference, to, until)
        )
    };

    for (link, status) in [
        (of(&foreign, unwanted, GP, 1), 404),
        (of(&links, unwanted, GP, -1), 410),
        (of(&links, unwanted, "other@nhs.net", 1), 410),
        (of(&links, with_number, GP, 1), 403),
        (format!("http://127.0.0.1:{pages}/q/AAAA"), 404),
        (format!("http://127.0.0.1:{pages}/"), 404),
    ] {
        for method in ["GET", "POST"] {
            let (said, headers, _) = ask(method, &link);
            assert_eq!(said, status, "{method} {link}");
            assert!(headers.contains("no-store"), "{headers}");
        }
    }
    assert_eq!(listed(&gateway, &[]).len(), 2);
    // The very link that a digest would have had.
    assert_eq!(ask("POST", &of(&links, unwanted, GP, 1)).0, 200);
    assert_eq!(listed(&gateway, &[]).len(), 1);
}

#[test]
fn the_owner_of_a_mailbox_may_let_the_sender_through_with_the_message() {
    if !installed("python3") {
        return;
    }
    let pages = free_port();
    let gateway = gateway(pages);
    submit(&gateway, &spam());
    let kept = listed(&gateway, &[]).remove(0);
    let links = Links::open(&gateway.folder.path().join("data")).expect("the key");
    let delivery = DeliveryId(kept["delivery"].as_i64().expect("a number"));
    let reference = kept["reference"].as_str().expect("a reference");
    let until = Timestamp::now() + 1.hours();
    let link = format!(
        "http://127.0.0.1:{pages}/q/{}",
        links.make(delivery, reference, GP, until)
    );

    let (_, _, page) = ask("GET", &link);
    assert!(page.contains("name=\"sender\" value=\"yes\""), "{page}");
    let (status, _, _) = ask_with("POST", &link, &"x".repeat(100_000));
    assert_eq!(status, 413);
    assert_eq!(listed(&gateway, &[]).len(), 1);
    let (status, _, page) = ask_with("POST", &link, "sender=yes");
    assert_eq!(status, 200);
    assert!(page.contains("Mail of this sender"), "{page}");

    let allowed = gateway.postern(&["quarantine", "allowed", "list", "--json"]);
    let allowed: serde_json::Value = serde_json::from_slice(&allowed.stdout).expect("one object");
    assert_eq!(
        (&allowed["mailbox"], &allowed["sender"]),
        (&GP.into(), &"prize@elsewhere.example".into())
    );
    let by = allowed["by"].as_str().expect("a text");
    assert!(by.starts_with("the owner of "), "{by}");
}

#[test]
fn a_digest_is_sent_once_whatever_happens_in_between() {
    let mut gateway = gateway(free_port());
    submit(&gateway, &spam());
    an_hour_later(&mut gateway);
    assert_eq!(gateway.wait_for_mail(GP, 1).len(), 1);

    // It ends before it has written down that the digests were sent.
    assert!(gateway.terminate());
    let data = gateway.folder.path().join("data");
    forget_digests(&data);
    gateway.restart();
    wait_for("the round to end", || {
        let state = rusqlite::Connection::open(data.join("quarantine.sqlite")).ok()?;
        state
            .query_row("SELECT until FROM digest", [], |row| row.get::<_, i64>(0))
            .ok()
    });
    assert!(gateway.terminate());
    assert_eq!(gateway.mail_for(GP).len(), 1);
}

#[test]
fn what_is_too_old_goes_and_what_may_be_clinical_stays() {
    let mut gateway = Gateway::start_with(|policies| {
        let strangers = (
            "relay-networks = [\"127.0.0.0/8\", \"::1/128\"]",
            "relay-networks = [\"192.0.2.0/24\"]",
        );
        let expire = ("expire-after = \"30d\"", "expire-after = \"30m\"");
        change(&policies.join("postern.toml"), &[strangers, expire], "");
        fs::remove_dir_all(policies.join("tests")).expect("the policy's own tests");
    });
    submit(&gateway, &spam());
    submit(
        &gateway,
        &spam().replace(
            "\r\n\r\n",
            "\r\n\r\nNHS number 450 557 7104 of the patient.\r\n",
        ),
    );
    assert_eq!(listed(&gateway, &[]).len(), 2);

    an_hour_later(&mut gateway);

    let left = wait_for("one to go", || {
        Some(listed(&gateway, &[])).filter(|all| all.len() == 1)
    });
    assert_eq!(left[0]["patient_data"], true);
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8(trail.stdout).expect("text");
    assert!(
        trail.contains("\"kind\":\"deleted\"") && trail.contains("\"by\":\"postern\""),
        "{trail}"
    );
}

#[test]
fn administrators_search_look_and_let_go_on() {
    let gateway = gateway(free_port());
    let hostile = spam().replace(
        "Subject: ",
        "Subject: Tested \u{1b}[2J https://evil.example/ ",
    );
    submit(&gateway, &hostile);
    submit(&gateway, &spam());
    let found = |args: &[&str]| listed(&gateway, args).len();
    assert_eq!(found(&[]), 2);
    assert_eq!(found(&["--subject", "TESTED"]), 1);
    assert_eq!(found(&["--subject", "nothing of the kind"]), 0);
    assert_eq!(found(&["--from", "PRIZE@"]), 2);
    assert_eq!(found(&["--from", "nobody@"]), 0);
    assert_eq!(found(&["--to", "fa001", "--because", "spam score"]), 2);
    assert_eq!(found(&["--because", "malware"]), 0);
    assert_eq!(found(&["--until", "2020-01-01T00:00:00Z"]), 0);
    assert_eq!(
        found(&["--since", "2020-01-01T00:00:00Z", "--limit", "1"]),
        1
    );

    let one = listed(&gateway, &["--subject", "tested"]).remove(0);
    let reference = one["reference"].as_str().expect("a reference").to_owned();
    let shown = gateway.postern(&["quarantine", "show", "--message", &reference]);
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        !shown.contains('\u{1b}') && !shown.contains("https://"),
        "{shown:?}"
    );
    assert!(shown.contains("hxxps[:]//evil[.]example/"), "{shown}");

    let released = gateway.postern(&["quarantine", "release", &reference]);
    assert!(released.status.success());
    let mail = gateway.wait_for_mail(GP, 1).remove(0);
    assert!(
        String::from_utf8_lossy(&mail).contains("Tested \u{1b}[2J"),
        "delivered as it was"
    );
    let learn = gateway.folder.path().join("data/learn/ham");
    assert_eq!(
        fs::read_dir(learn).expect("what is to be learned").count(),
        1
    );
}
