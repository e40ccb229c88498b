use super::*;
use crate::config::{Diagnostics, read_toml};
use crate::mail::{EditKind, edit};
use crate::policy::refusal::Refusal;
use crate::policy::stage::scan::ScanSettings;
use crate::policy::testing::{World, file};

const ENTITIES: &str = "
[[entity]]
id = \"bumbleton\"
form = \"nhs-body\"
name = \"Bumbleton\"
domains = [\"bumbleton.example\"]
";

fn stage(links: &str) -> LinkScan {
    let diagnostics = Diagnostics::default();
    let settings = read_toml(&file("links.toml", links), &diagnostics, ScanSettings::read).links;
    let organisations = read_toml(
        &file("organisations.toml", ENTITIES),
        &diagnostics,
        Organisations::read,
    );
    settings.check_entities(&organisations, &diagnostics);
    let register = "[[domain]]\npattern = \"secure.example\"\nowner = \"x\"\nreason = \"y\"\n";
    let register = read_toml(
        &file("secure-domains.toml", register),
        &diagnostics,
        |top| SecureDomains::read(top, "2026-11-21T10:00:00Z".parse().unwrap()),
    );
    let said: Vec<_> = diagnostics
        .into_vec()
        .into_iter()
        .map(|d| d.message)
        .collect();
    assert_eq!(said, Vec::<String>::new());
    LinkScan::new(settings, Arc::new(organisations), Arc::new(register))
}

fn world(body: &str) -> World {
    let to = ["reception@bumbleton.example", "a@elsewhere.example"];
    World::new(
        &format!("Content-Type: text/html\n\n{body}"),
        "x@y.example",
        &to,
    )
}

fn said(stage: &LinkScan, world: &World) -> Opinions {
    world.ask(|case| stage.examine(case))
}

#[test]
fn a_host_that_is_named_after_a_patient_is_not_shown() {
    let page = "<a href=\"http://xn--80ak6aa92e.4505577104.example/\">x</a> <a href=\"https://4505577104.example/\">nhs.uk</a>";
    let said = words(&said(&stage(""), &world(page))).join("\n");
    assert!(
        said.contains("**********.example") && !said.contains("4505577104"),
        "{said}"
    );
}

fn words(opinions: &Opinions) -> Vec<String> {
    let mut words = Vec::new();
    for finding in &opinions.findings {
        match finding {
            Finding::Links(links) => words.extend(links.iter().map(|link| {
                let (host, other) = (
                    link.host.as_deref().unwrap_or("-"),
                    link.instead_of.as_deref().unwrap_or("-"),
                );
                format!(
                    "{} {host} {other} {} {}",
                    link.kind.word(),
                    link.count,
                    link.does
                )
            })),
            Finding::Note(note) => words.push(note.clone()),
            Finding::LinkEdits(_) => {}
            other => panic!("{other:?}"),
        }
    }
    words
}

#[test]
fn what_is_odd_about_links_is_found() {
    let stage = stage("[links]\nown = [\"bumbleton.example\"]\nshorteners = [\"short.example\"]\n");
    for (body, found) in [
        (
            "<a href=https://www.nhs.uk>x</a><a href=https://secure.example>x</a>",
            vec![],
        ),
        ("<a href=https://www.bumbleton.example>x</a>", vec![]),
        (
            "<a href=https://evil.example>x</a><a href=//evil.example/2>",
            vec!["unapproved evil.example - 2 pass"],
        ),
        (
            "<img src=https://evil.example>",
            vec!["remote evil.example - 1 pass"],
        ),
        (
            "<a href=https://evil.example>www.nhs.uk</a>",
            vec![
                "other-host evil.example www.nhs.uk 1 pass",
                "unapproved evil.example - 1 pass",
            ],
        ),
        (
            "<a href=https://nhs.uk@evil.example>",
            vec![
                "user-info evil.example - 1 annotate",
                "unapproved evil.example - 1 pass",
            ],
        ),
        (
            "<a href=https://nhs-uk.net>",
            vec![
                "look-alike nhs-uk.net nhs.uk 1 annotate",
                "unapproved nhs-uk.net - 1 pass",
            ],
        ),
        (
            "<a href=https://bumb1eton.example>",
            vec![
                "look-alike bumb1eton.example bumbleton.example 1 annotate",
                "unapproved bumb1eton.example - 1 pass",
            ],
        ),
        (
            "<a href=https://\u{430}pple.example>",
            vec![
                "mixed-script xn--pple-43d.example - 1 annotate",
                "unapproved xn--pple-43d.example - 1 pass",
            ],
        ),
        (
            "<a href=https://short.example/x>",
            vec![
                "shortener short.example - 1 pass",
                "unapproved short.example - 1 pass",
            ],
        ),
        (
            "<a href=http://3232235777>",
            vec![
                "ip-address 192.168.1.1 - 1 annotate",
                "unapproved 192.168.1.1 - 1 pass",
            ],
        ),
        ("<a href=javascript:x>", vec!["script - - 1 annotate"]),
        ("<a href=search-ms:x>", vec!["program - - 1 annotate"]),
        (
            "<form action=//evil.example>",
            vec![
                "form evil.example - 1 pass",
                "unapproved evil.example - 1 pass",
            ],
        ),
    ] {
        let world = world(&body.replace('\u{430}', "&#1072;"));
        assert_eq!(words(&said(&stage, &world)), found, "{body}");
    }
}

#[test]
fn a_banner_says_what_is_odd_and_cannot_be_clicked() {
    let stage = stage("");
    let world = world("<html><body>Hello <a href=https://nhs-uk.net>x</a>");
    let opinions = said(&stage, &world);
    let edited = edit::apply(&world.transaction.message, &opinions.edits).unwrap();
    let text = String::from_utf8(edited.octets().to_vec()).unwrap();
    assert!(
        text.contains("- nhs-uk[.]net looks like nhs[.]uk and is not<br>"),
        "{text}"
    );
    assert!(
        text.ends_with("Hello <a href=https://nhs-uk.net>x</a>\r\n") || text.ends_with("x</a>"),
        "{text}"
    );
    assert_eq!(opinions.edits[0].kind, EditKind::Banner);
    assert!(opinions.per_recipient.is_empty());
}

#[test]
fn a_reply_that_quotes_the_banner_gets_no_second_one() {
    let stage = stage("");
    let first = World::new(
        "A: b\n\nhttp://nhs-uk.net\n",
        "x@y.example",
        &["reception@bumbleton.example"],
    );
    let opinions = said(&stage, &first);
    let edited = edit::apply(&first.transaction.message, &opinions.edits).unwrap();
    let text = String::from_utf8(edited.octets().to_vec())
        .unwrap()
        .replace("\r\n", "\n");
    let quoted: String = text["A: b\n\n".len()..]
        .lines()
        .map(|line| format!("> {line}\n"))
        .collect();
    let reply = |header: &str| {
        let reply = World::new(
            &format!("{header}A: b\n\nthanks\n{quoted}"),
            "x@y.example",
            &["reception@bumbleton.example"],
        );
        said(&stage, &reply).edits.len()
    };
    assert_eq!((reply("In-Reply-To: <1@y.example>\n"), reply("")), (0, 1));
}

#[test]
fn verdicts_are_those_of_the_direction_and_of_the_recipient_s_organisation() {
    let stage = stage(
        "[links.inbound]\nunapproved = \"quarantine\"\n[links.outbound]\nunapproved = \"refuse\"\n\
         [[links.organisation]]\nentity = \"bumbleton\"\napproved = [\"supplier.example\"]\n",
    );
    let inbound = world("<a href=https://supplier.example>");
    let opinions = said(&stage, &inbound);
    let asks: Vec<_> = opinions
        .per_recipient
        .iter()
        .map(|opinion| opinion.ask.clone())
        .collect();
    assert_eq!(asks, [Ask::Pass, Ask::Quarantine]);
    assert_eq!(opinions.per_recipient[1].rule, "links.toml:2");
    assert_eq!(
        opinions.per_recipient[1].because,
        "a link is odd: unapproved (body:1)"
    );
    let outbound = world("<a href=https://other.example>").outbound(None);
    assert_eq!(
        said(&stage, &outbound).per_recipient[0].ask,
        Ask::Refuse(Refusal::Link)
    );
}

#[test]
fn what_cannot_be_stripped_is_quarantined_or_passed_as_the_policy_says() {
    let strip = "[links.inbound]\nscript = \"strip\"\nunapproved = \"strip\"\n";
    let script = world("<script>location='https://evil.example'</script>");
    let opinions = said(&stage(strip), &script);
    assert!(opinions.edits.is_empty());
    assert_eq!(opinions.per_recipient[1].ask, Ask::Quarantine);
    let passed = said(
        &stage(&format!("[links]\ncannot-strip = \"pass\"\n{strip}")),
        &script,
    );
    assert!(passed.per_recipient.is_empty());
    assert_eq!(
        words(&passed)[0],
        "links: not taken out, its text cannot be decoded without doubt"
    );
    let plain = world("<a href=https://evil.example>x</a>");
    let opinions = said(&stage(strip), &plain);
    assert_eq!(
        (opinions.edits.len(), opinions.edits[0].kind),
        (1, EditKind::Links)
    );
}
