//! Links through a running gateway: taken out or warned of, with everything else as it came.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use support::corpus::{collect, with_crlf};
use support::{Gateway, wait_for};

const MESSAGE: &str = "From: helpdesk@elsewhere.example\r\nSubject: Your mailbox\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
<html><body><p>Your mailbox is full: <a href=3D\"https://login.nhs-uk.net/x?id=\r\n=3Dsecret-path\">www.nhs.uk</a>, \
and <a href=3D\"https://www.nhs.uk/\">caf=C3=A9</a></p></body></html>\r\n--b\r\n\
Content-Type: application/octet-stream\r\n\r\nhttps://login.nhs-uk.net in a file\r\n--b--\r\n";

fn gateway(outbound: &str) -> Gateway {
    Gateway::start_with(|policies| {
        let path = policies.join("links.toml");
        let text = fs::read_to_string(&path).expect("links.toml");
        let text = text.replace(
            "[links.outbound]\n",
            &format!("[links.outbound]\n{outbound}\n"),
        );
        fs::write(path, text).expect("a copy of links.toml");
    })
}

fn arrived(outbound: &str) -> (String, Gateway) {
    let gateway = gateway(outbound);
    let mut client = gateway.connect();
    assert!(
        client
            .command("EHLO client.elsewhere.example")
            .starts_with("250")
    );
    let message = MESSAGE.replace("id=\r\n=3D", "id=3D");
    let reply = client.submit("x@elsewhere.example", &["gp@nhs.net"], message.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let mail = gateway.wait_for_mail("gp@nhs.net", 1).remove(0);
    // Long lines are broken anew where words were put in.
    let mail = String::from_utf8(mail).expect("text").replace("=\r\n", "");
    (mail, gateway)
}

#[test]
fn a_link_is_taken_out_its_text_kept_and_the_audit_trail_names_its_host_alone() {
    // The attached file names the host as well, in octets that are no text of the message.
    let (mail, gateway) = arrived("look-alike = \"strip\"\nother-host = \"annotate\"");
    assert!(!mail.contains("secret-path"), "{mail}");
    assert!(
        mail.contains("www.nhs.uk</a>, and <a href=3D\"https://www.nhs.uk/\">caf=C3=A9</a>"),
        "{mail}"
    );
    assert!(
        mail.contains("login[.]nhs-uk[.]net is where a link goes that shows www"),
        "{mail}"
    );
    assert!(
        mail.ends_with("\r\n\r\nhttps://login.nhs-uk.net in a file\r\n--b--\r\n"),
        "{mail}"
    );
    let trail = gateway.postern(&["audit", "export"]);
    let trail = String::from_utf8_lossy(&trail.stdout).into_owned();
    assert!(
        trail.contains("look-alike login.nhs-uk.net: strip"),
        "{trail}"
    );
    assert!(!trail.contains("secret-path"), "{trail}");
}

#[test]
fn mail_of_our_own_leaves_byte_for_byte_as_shipped() {
    let (mail, _gateway) = arrived("");
    assert!(
        mail.ends_with(&MESSAGE.replace("id=\r\n=3D", "id=3D")),
        "{mail}"
    );
}

/// Of an entity that has a footer.
const SENDER: &str = "bumbleton.headoffice@nhs.net";

fn sent(gateway: &Gateway, to: &str, message: &[u8]) -> String {
    let mut client = gateway.connect();
    assert!(
        client
            .command("EHLO client.bumbleton.example")
            .starts_with("250")
    );
    client.submit(SENDER, &[to], message)
}

fn trail(gateway: &Gateway) -> String {
    String::from_utf8(gateway.postern(&["audit", "export"]).stdout).expect("text")
}

#[test]
fn footer_banner_and_removal_go_into_the_same_leaves_each_once_in_each_alternative() {
    let gateway = gateway("look-alike = \"strip\"\nother-host = \"annotate\"");
    for encoding in ["7bit", "quoted-printable"] {
        let html = match encoding {
            "7bit" => "<a href=\"https://nhs-uk.net/x\">www.nhs.uk</a>",
            _ => "<a href=3D\"https://nhs-uk.net/x\">www.nhs.uk</a>",
        };
        let message = format!(
            "From: {SENDER}\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n\
             --b\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nSee https://nhs-uk.net/x for more.\r\n\
             --b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n<html><body><p>See {html}.</body></html>\r\n--b--\r\n"
        );
        let to = format!("{encoding}@nhs.net");
        let reply = sent(&gateway, &to, message.as_bytes());
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let mail = gateway.wait_for_mail(&to, 1).remove(0);
        let mail = String::from_utf8(mail).expect("text").replace("=\r\n", "");
        let times = |words: &str| mail.matches(words).count();
        assert_eq!(times("CAUTION"), 2, "{mail}");
        assert_eq!(times("Company no. 01234567"), 2, "{mail}");
        assert_eq!(times("nhs-uk.net"), 0, "{mail}");
        assert!(
            mail.contains("See [link removed] for more.") && mail.contains(">www.nhs.uk</a>"),
            "{mail}"
        );
    }
    assert!(trail(&gateway).contains("links 1"), "{}", trail(&gateway));
}

/// A message that the splice engine would edit, and that the strict reader does not read.
const UNREADABLE: &[u8] =
    b"From: bumbleton.headoffice@nhs.net\r\nSubject: stock\r\nContent-Type: text/plain;; charset=utf-8\r\n\r\nHello https://nhs-uk.net/x\r\n";

#[test]
fn a_removal_that_cannot_be_proved_never_lets_the_link_through() {
    let gateway = gateway("look-alike = \"strip\"");
    let reply = sent(&gateway, "a1@nhs.net", UNREADABLE);
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 1 of 1"),
        "{reply}"
    );
    let listed = gateway.postern(&["quarantine", "list", "--json"]);
    let listed = String::from_utf8(listed.stdout).expect("text");
    assert!(
        listed.contains("links.toml:") || listed.contains("built-in"),
        "{listed}"
    );
    assert!(
        listed.contains("with proof that nothing else changes"),
        "{listed}"
    );
    assert!(gateway.mail_for("a1@nhs.net").is_empty());
    let trail = trail(&gateway);
    assert!(trail.contains("edit: not made"), "{trail}");
}

#[test]
fn a_banner_that_cannot_be_proved_is_left_out_and_noted() {
    let gateway = gateway("look-alike = \"annotate\"");
    let reply = sent(&gateway, "a1@nhs.net", UNREADABLE);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let mail = gateway.wait_for_mail("a1@nhs.net", 1).remove(0);
    assert!(mail.ends_with(UNREADABLE));
    assert!(
        trail(&gateway).contains("edit: not made"),
        "{}",
        trail(&gateway)
    );
}

#[test]
fn links_in_attached_pages_and_documents_are_found_and_never_taken_out() {
    let attached = "From: x@elsewhere.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nSee the page.\r\n--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=page.html\r\n\r\n\
        <a href=\"https://nhs-uk.net/x\">x</a>\r\n--b\r\nContent-Type: application/rtf\r\nContent-Disposition: attachment; filename=a.rtf\r\n\r\n\
        {\\rtf1 see https://bad.nhs-uk.net/y now}\r\n--b--\r\n";
    let gateway = gateway("look-alike = \"strip\"");
    let reply = sent(&gateway, "a1@nhs.net", attached.as_bytes());
    assert!(
        reply.starts_with("250 2.6.0 accepted, kept back for 1 of 1"),
        "{reply}"
    );
    let trail = trail(&gateway);
    for host in [
        "look-alike nhs-uk.net: strip",
        "look-alike bad.nhs-uk.net: strip",
    ] {
        assert!(trail.contains(host), "{trail}");
    }
    assert!(
        trail.contains("links: not taken out, it has no text to add to"),
        "{trail}"
    );
}

/// All difficult mail there is, with links that are not approved taken out, a banner and a footer: nothing is lost, and
/// what is left alone is the same octets. Prints what became of it.
#[test]
fn nothing_of_the_torture_collection_is_lost_with_links_banners_and_footers_on() {
    let mut files = Vec::new();
    collect(Path::new("/work/corpora/torture-dev"), &mut files);
    if files.is_empty() {
        eprintln!("skipped: no corpora in /work/corpora");
        return;
    }
    files.sort();
    let gateway = gateway(
        "unapproved = \"strip\"\nremote = \"annotate\"\nip-address = \"annotate\"\nother-host = \"annotate\"\nlook-alike = \"annotate\"",
    );
    let mut client = gateway.connect();
    let (mut waiting, mut refused) = (BTreeMap::new(), 0);
    for (number, file) in files.iter().enumerate() {
        let message = with_crlf(&fs::read(file).expect("a message"));
        let to = format!("m{number}@nhs.net");
        if number == 0 {
            client.command("EHLO client.bumbleton.example");
        }
        let reply = client.submit(SENDER, &[&to], &message);
        if reply.starts_with("421") {
            client = gateway.connect();
            client.command("EHLO client.bumbleton.example");
        }
        match reply.starts_with("250") {
            true => drop(waiting.insert(to, message)),
            false => refused += 1,
        }
    }
    let fates = fates(&gateway);
    assert_eq!(
        fates.len(),
        waiting.len(),
        "each has a verdict in the audit trail"
    );
    let mut table: BTreeMap<String, usize> = BTreeMap::new();
    wait_for("all that is not kept back to arrive", || {
        waiting.retain(|to, message| {
            let (verdict, kinds) = &fates[to.as_str()];
            if !verdict.starts_with("deliver") {
                *table.entry(verdict.clone()).or_default() += 1;
                return false;
            }
            let Some(arrived) = gateway.mail_for(to).pop() else {
                return true;
            };
            if kinds.is_empty() {
                assert!(
                    arrived.ends_with(&message[message.len() / 2..]),
                    "{to}: changed without an edit"
                );
            }
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            *table
                .entry(format!("{verdict}: {}", kinds.join(" + ")))
                .or_default() += 1;
            false
        });
        waiting.is_empty().then_some(())
    });
    println!("{table:#?}, {refused} refused, of {}", files.len());
}

/// By recipient: the verdict, and the kinds of edits of the body.
fn fates(gateway: &Gateway) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let (mut edits, mut found) = (BTreeMap::new(), BTreeMap::new());
    for line in trail(gateway).lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let event = &line["event"];
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let reference = text(&event["reference"]);
        match event["kind"].as_str() {
            Some("received") => {
                let words = text(&event["facts"]["edits"]);
                let kinds = words.split(", ").filter_map(|one| one.split(' ').next());
                let of_body = ["links", "banner", "footer"];
                let kinds = kinds
                    .filter(|kind| of_body.contains(kind))
                    .map(ToOwned::to_owned);
                edits.insert(reference, kinds.collect::<BTreeSet<String>>());
            }
            Some("decided") => {
                let verdict = text(&event["facts"]["verdict"]);
                found.insert(
                    text(&event["recipient"]),
                    (verdict, edits[&reference].clone()),
                );
            }
            _ => {}
        }
    }
    found
}
