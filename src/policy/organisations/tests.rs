use std::path::Path;

use jiff::civil::{Date, date};

use super::*;
use crate::config::Severity;
use crate::config::testing::read_text;
use crate::policy::testing::directory_of;

fn read(text: &str) -> (Organisations, Vec<String>) {
    let (organisations, said) = read_text("organisations.toml", text, Organisations::read);
    let said = said.into_iter().map(|said| {
        let kind = match said.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        format!(
            "{kind} {}: {} | {}",
            said.id,
            said.message,
            said.help.unwrap_or_default()
        )
    });
    (organisations, said.collect())
}

/// The footer text of an entity with these lines.
fn footer(lines: &str) -> String {
    let (organisations, said) = read(&format!(
        "[[entity]]\nid = \"e\"\ndomains = [\"e.example\"]\n{lines}"
    ));
    assert_eq!(said, Vec::<String>::new());
    let mailbox = Mailbox::parse("x@e.example").unwrap();
    let entity = organisations.of(sender(&mailbox)).unwrap();
    let text = text_on(entity, date(2026, 11, 21), Audience::Outside);
    text.unwrap_or_default().trim().to_owned()
}

fn text_on(entity: &Entity, on: Date, audience: Audience) -> Option<String> {
    let footer = entity.footers(on)?.of(audience)?;
    Some(footer.text.clone())
}

fn diagnostics(lines: &str) -> Vec<String> {
    read(&format!("[[entity]]\nid = \"e\"\n{lines}")).1
}

fn sender(mailbox: &Mailbox) -> Sender<'_> {
    Sender {
        mailbox,
        organisation: None,
        account: None,
    }
}

const COMPANY: &str = "registered-in = \"England and Wales\"\nnumber = \"01234567\"\nregistered-office = \"1 High St\"\n";

#[test]
fn each_form_says_what_the_law_wants() {
    for (lines, expected) in [
        (
            format!("form = \"company\"\nname = \"A Ltd\"\n{COMPANY}"),
            "A Ltd. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.",
        ),
        (
            format!("form = \"cic\"\nname = \"A C.I.C.\"\n{COMPANY}"),
            "A C.I.C., a limited company. Registered in England and Wales no. 01234567. Registered office: 1 High St.",
        ),
        (
            "form = \"llp\"\nname = \"A LLP\"\nregistered-in = \"Scotland\"\nnumber = \"SO123456\"\nregistered-office = \"1 High St\"".into(),
            "A LLP, a limited liability partnership registered in Scotland (SO123456). Registered office: 1 High St. A list of members may be inspected at that office.",
        ),
        (
            "form = \"sole-trader\"\nname = \"Hive Pharmacy\"\npeople = [\"Ann Bee\"]\naddress = \"1 High St\"".into(),
            "Hive Pharmacy is the business name of Ann Bee. Address for service: 1 High St.",
        ),
        (
            "form = \"partnership\"\nname = \"Hive Pharmacy\"\npeople = [\"A\", \"B\", \"C\"]\naddress = \"1 High St\"".into(),
            "Hive Pharmacy is a partnership of A, B and C. Address for service: 1 High St.",
        ),
        (
            "form = \"large-partnership\"\nname = \"Hive Pharmacy\"\naddress = \"1 High St\"".into(),
            "Hive Pharmacy: a list of the partners' names may be inspected at our principal place of business, 1 High St.",
        ),
        (
            format!("form = \"charitable-company\"\nname = \"A\"\ncharity-number = \"123\"\n{COMPANY}"),
            "A is a registered charity in England and Wales (no. 123) and a company limited by guarantee registered in England and Wales (no. 01234567). Registered office: 1 High St.",
        ),
        (
            format!("form = \"company\"\nname = \"A Ltd\"\nstate = \"being-wound-up\"\n{COMPANY}"),
            "A Ltd – being wound up. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.",
        ),
        (
            format!("form = \"company\"\nname = \"A Ltd\"\nstate = \"in-administration\"\nadministrators = [\"B\", \"C\"]\n{COMPANY}"),
            "A Ltd (in administration). The affairs, business and property of the company are being managed by B and C, who act as agents without personal liability. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.",
        ),
        (
            format!("form = \"company\"\nname = \"A Ltd\"\nstate = \"in-moratorium\"\nmonitors = [\"B\"]\n{COMPANY}"),
            "A Ltd. A moratorium is in force. Monitor: B. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.",
        ),
        (
            format!("form = \"plc\"\nname = \"A plc\"\nstate = \"receiver-appointed\"\n{COMPANY}"),
            "A plc. A receiver or manager has been appointed. Registered in England and Wales. Company no. 01234567. Registered office: 1 High St.",
        ),
        ("form = \"nhs-body\"\nname = \"A Trust\"".into(), ""),
        // Companies Act 2006 s.1200(2): under one's own surname there is nothing to disclose.
        ("form = \"sole-trader\"\nname = \"A. Bee\"\npeople = [\"Ann Bee\"]".into(), ""),
        ("form = \"partnership\"\nname = \"Bee & Ant\"\npeople = [\"Ann Bee\", \"Bob Ant\"]".into(), ""),
    ] {
        assert_eq!(footer(&lines), expected);
    }
}

#[test]
fn what_the_law_wants_and_the_file_lacks_is_reported_with_its_instrument() {
    assert_eq!(
        diagnostics("form = \"company\"\nname = \"A Ltd\""),
        [
            "error missing-particular: `registered-in` is missing: the law wants the part of the United Kingdom where it is registered | the part of the United Kingdom where it is registered (SI 2015/17 reg 25)",
            "error missing-particular: `number` is missing: the law wants the registered number | the registered number (SI 2015/17 reg 25)",
            "error missing-particular: `registered-office` is missing: the law wants the address of the registered office | the address of the registered office (SI 2015/17 reg 25)",
        ]
    );
    assert!(
        diagnostics("form = \"sole-trader\"\nname = \"Ann Bee\"\npeople = [\"Ann Bee\"]")
            .is_empty()
    );
    assert_eq!(
        diagnostics("form = \"sole-trader\"\nname = \"Hive\"").len(),
        2
    );
    assert_eq!(diagnostics("name = \"x\"").len(), 1);
}

#[test]
fn numbers_and_names_are_held_against_their_shape() {
    let company = |number: &str, name: &str| {
        diagnostics(&format!(
            "form = \"company\"\nname = \"{name}\"\nregistered-in = \"England and Wales\"\nnumber = \"{number}\"\nregistered-office = \"x\""
        ))
    };
    assert_eq!(
        company("1234567", "A Ltd"),
        [
            "error bad-company-number: this is not a registered number | write it with zeros in front: \"01234567\""
        ]
    );
    for bad in ["sc123456", "SC12345", "0123456é", "é1", ""] {
        assert!(
            company(bad, "A Ltd")[0].contains("bad-company-number"),
            "{bad}"
        );
    }
    assert!(company("SC123456", "A Ltd")[0].starts_with("warning number-of-another-register"));
    assert!(company("01234567", "A")[0].starts_with("warning name-without-form"));
}

#[test]
fn a_footer_written_by_hand_must_say_it_too() {
    let given = |text: &str| {
        diagnostics(&format!(
            "form = \"company\"\nname = \"A Ltd\"\n{COMPANY}footer = {{ text = \"{text}\" }}"
        ))
    };
    assert_eq!(
        given("A Ltd, registered in England & Wales 01234567, England and Wales, 1 High\\nSt")
            .len(),
        0
    );
    let said = given("A Ltd");
    assert_eq!(said.len(), 3);
    assert!(said[1].starts_with(
        "warning footer-lacks-particular: this footer does not say the registered number"
    ));
}

#[test]
fn it_must_say_what_the_law_wants_said_of_a_form_and_a_state_too() {
    let own = |form: &str, state: &str, text: &str| {
        let said = diagnostics(&format!(
            "form = \"{form}\"\nname = \"A CIC LLP Ltd\"\n{COMPANY}{state}\n\
             footer = {{ text = \"A CIC LLP Ltd, registered in England and Wales, 01234567, 1 High St. {text}\" }}"
        ));
        let said = said
            .into_iter()
            .filter(|said| said.contains("footer-lacks"));
        said.collect::<Vec<_>>()
    };
    let administrators = "state = \"in-administration\"\nadministrators = [\"B\"]";
    let monitors = "state = \"in-moratorium\"\nmonitors = [\"B\"]";
    for (form, state, without, with, instrument) in [
        ("cic", "", "", "A limited company.", "SI 2015/17 reg 25"),
        (
            "exempt-company",
            "",
            "",
            "A limited company.",
            "SI 2015/17 reg 25",
        ),
        (
            "llp",
            "",
            "",
            "A limited liability partnership.",
            "SI 2009/1804",
        ),
        (
            "company",
            "state = \"being-wound-up\"",
            "",
            "Being wound up.",
            "s.188",
        ),
        (
            "company",
            administrators,
            "B",
            "Its affairs are being managed by B.",
            "Sch B1 para 45",
        ),
        (
            "company",
            "state = \"receiver-appointed\"",
            "",
            "A receiver is appointed.",
            "s.39",
        ),
        (
            "company",
            monitors,
            "B",
            "A moratorium is in force. Monitor: B.",
            "s.A19",
        ),
    ] {
        let said = own(form, state, without);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(instrument), "{said:?}");
        assert_eq!(own(form, state, with), Vec::<String>::new());
    }
    let partners = "form = \"large-partnership\"\nname = \"Hive\"\naddress = \"1 High St\"\n";
    let partners = |text: &str| {
        diagnostics(&format!(
            "{partners}footer = {{ text = \"Hive, 1 High St. {text}\" }}"
        ))
    };
    assert_eq!(partners("").len(), 1);
    assert_eq!(
        partners("The list of partners may be inspected there.").len(),
        0
    );
}

#[test]
fn what_changes_on_a_day_counts_from_that_day_on() {
    let (organisations, said) = read(&format!(
        "[[entity]]\nid = \"e\"\ndomains = [\"e.example\"]\nform = \"company\"\nname = \"A Ltd\"\n\
         trading-name = \"Hive\"\n{COMPANY}\
         [[entity.change]]\nfrom = 2027-03-01\nstate = \"in-administration\"\nadministrators = [\"B\"]\n\
         [[entity.change]]\nfrom = 2027-01-01\nregistered-office = \"2 Low Rd\"\ntrading-name = \"\"\n"
    ));
    assert_eq!(said, Vec::<String>::new());
    let mailbox = Mailbox::parse("x@e.example").unwrap();
    let entity = organisations.of(sender(&mailbox)).unwrap();
    let on = |day| text_on(entity, day, Audience::Nhs).unwrap();
    let registered = "Registered in England and Wales. Company no. 01234567. Registered office:";
    assert_eq!(
        on(date(2026, 12, 31)),
        format!("\nHive is a trading name of A Ltd. {registered} 1 High St.\n")
    );
    assert_eq!(
        on(date(2027, 1, 1)),
        format!("\nA Ltd. {registered} 2 Low Rd.\n")
    );
    let later = on(date(2027, 3, 1));
    assert!(
        later.starts_with("\nA Ltd (in administration). The affairs"),
        "{later}"
    );
    assert!(later.ends_with("2 Low Rd.\n"), "{later}");
}

#[test]
fn each_change_is_held_against_the_law_and_has_a_day() {
    let company = format!("form = \"company\"\nname = \"A Ltd\"\n{COMPANY}");
    let said = diagnostics(&format!(
        "{company}[[entity.change]]\nfrom = 2027-01-01\nstate = \"in-administration\"\n"
    ));
    assert_eq!(
        said,
        [
            "error missing-particular: `administrators` is missing: the law wants the names of the administrators | the names of the administrators (Insolvency Act 1986 Sch B1 para 45)"
        ]
    );
    let undated = diagnostics(&format!("{company}[[entity.change]]\nnumber = \"\"\n"));
    assert_eq!(undated.len(), 1, "{undated:?}");
    let twice = "[[entity.change]]\nfrom = 2027-01-01\n";
    let twice = diagnostics(&format!("{company}{twice}{twice}"));
    assert!(twice[0].contains("two changes are of one day"), "{twice:?}");
}

#[test]
fn each_kind_of_recipient_may_have_a_footer_of_its_own() {
    let (organisations, said) = read(&format!(
        "[audiences]\ninternal = [\"*.group.example\"]\n\
         [[entity]]\nid = \"e\"\ndomains = [\"e.example\"]\nform = \"company\"\nname = \"A Ltd\"\n{COMPANY}\
         [entity.footer.internal]\nnone = true\n\
         [entity.footer.nhs]\ntext = \"\\nA Ltd, England and Wales, 01234567, 1 High St\\nNHSmail\\n\"\n"
    ));
    assert_eq!(said, Vec::<String>::new());
    let mailbox = Mailbox::parse("x@e.example").unwrap();
    let entity = organisations.of(sender(&mailbox)).unwrap();
    let footers = entity.footers(date(2026, 11, 21)).unwrap();
    assert!(footers.tell_apart());
    assert_eq!(footers.of(Audience::Internal), None);
    assert!(footers.of(Audience::Nhs).unwrap().text.contains("NHSmail"));
    assert!(
        footers
            .of(Audience::Outside)
            .unwrap()
            .text
            .starts_with("\nA Ltd. Registered")
    );
    for (recipient, audience) in [
        ("x@e.example", Audience::Internal),
        ("x@a.group.example", Audience::Internal),
        ("x@group.example", Audience::Outside),
        ("x@nhs.net", Audience::Nhs),
        ("x@trust.nhs.uk", Audience::Nhs),
        ("x@nhs.net.example", Audience::Outside),
    ] {
        let recipient = Mailbox::parse(recipient).unwrap();
        assert_eq!(
            organisations.audience(&recipient, None),
            audience,
            "{recipient}"
        );
    }
}

#[test]
fn outside_of_the_house_no_recipient_goes_without_particulars_unsaid() {
    let of = |lines: &str| {
        diagnostics(&format!(
            "form = \"company\"\nname = \"A Ltd\"\n{COMPANY}{lines}"
        ))
    };
    assert_eq!(
        of("[entity.footer.internal]\ntext = \"Hello\"\n"),
        Vec::<String>::new()
    );
    let none = of("[entity.footer.outside]\nnone = true\n");
    assert_eq!(
        none,
        [
            "warning footer-lacks-particular: mail to `outside` goes without the particulars that the law wants | take `none` out"
        ]
    );
    assert_eq!(of("[entity.footer.nhs]\ntext = \"Hello\"\n").len(), 4);
}

#[test]
fn a_signature_says_what_the_directory_knows() {
    let (organisations, said) = read(
        "[signature]\ntext = \"\"\"\n\n{display-name}\n{organisation}, {street}\n{town} {postcode}\nA {ods-code} {address}\n\"\"\"\n\
         [[entity]]\nid = \"e\"\nform = \"nhs-body\"\nname = \"x\"\ndomains = [\"e.example\"]\n\
         [[entity]]\nid = \"own\"\nform = \"nhs-body\"\nname = \"x\"\ndomains = [\"own.example\"]\n\
         [entity.signature]\ntext = \"{display-name}\"\nhtml = \"<b>{display-name}</b><style>p {margin: 0}</style>\"\n",
    );
    assert_eq!(said, Vec::<String>::new());
    let of = |sender_address: &str, row: &str| {
        let mailbox = Mailbox::parse(sender_address).unwrap();
        let entity = organisations.of(sender(&mailbox)).unwrap();
        let columns = "address,kind,status,ods_code,organisation,street,town,postcode,display_name";
        let domain = sender_address.split_once('@').unwrap().1;
        let directory = directory_of(&format!("{columns}\n{row}\n"), &[domain]);
        let entry = directory.entry(&mailbox).unwrap();
        organisations.signature(entity).unwrap().of(&entry)
    };
    let known = of(
        "x@e.example",
        "x@e.example,pharmacy,active,FA001,Bee & Sons,1 High St,Bumbleton,BU1 1AA,\"Bee, Ann <b>\"",
    );
    assert_eq!(
        known.text,
        "\nBee, Ann <b>\nBee & Sons, 1 High St\nBumbleton BU1 1AA\nA FA001 x@e.example\n"
    );
    assert!(
        known.html.contains("Bee, Ann &lt;b&gt;<br>"),
        "{}",
        known.html
    );
    let own = of(
        "x@own.example",
        "x@own.example,shared,active,,,,,,Ann & Bee",
    );
    assert_eq!(own.text, "Ann & Bee\n");
    assert_eq!(
        own.html,
        "<b>Ann &amp; Bee</b><style>p {margin: 0}</style>\n"
    );
}

#[test]
fn a_field_that_is_none_is_reported() {
    let said = diagnostics(
        "form = \"nhs-body\"\nname = \"x\"\n[entity.signature]\ntext = \"{phone} {town}\"\n",
    );
    assert_eq!(
        said,
        [
            "error unknown-field: there is no field `{phone}` | one of: display-name, address, organisation, ods-code, street, town, postcode"
        ]
    );
}

#[test]
fn html_is_made_from_the_text_with_its_markup_escaped() {
    let (organisations, _) = read(
        "[[entity]]\nid = \"e\"\nform = \"nhs-body\"\nname = \"x\"\ndomains = [\"e.example\"]\nfooter = { text = \"\\nA & B <c>\\nline\\n\\nnext\\n\" }",
    );
    let mailbox = Mailbox::parse("x@e.example").unwrap();
    let entity = organisations.of(sender(&mailbox)).unwrap();
    let footers = entity.footers(date(2026, 11, 21)).unwrap();
    let footer = footers.of(Audience::Outside).unwrap();
    assert_eq!(
        footer.html,
        "<p>A &amp; B &lt;c&gt;<br>\nline</p>\n<p>next</p>"
    );
}

#[test]
fn the_entity_is_found_by_sender_then_directory_then_account_then_domain() {
    let entity = |id: &str, lines: &str| {
        format!("[[entity]]\nid = \"{id}\"\nform = \"nhs-body\"\nname = \"x\"\n{lines}\n")
    };
    let (organisations, said) = read(
        &[
            entity("sender", "senders = [\"Boss@b.example\"]"),
            entity("code", "ods-codes = [\"FA001\"]"),
            entity("account", "accounts = [\"App\"]"),
            entity("domain", "domains = [\"b.example\"]"),
            entity("below", "domains = [\"*.b.example\"]"),
        ]
        .concat(),
    );
    assert_eq!(said, Vec::<String>::new());
    let code = OdsCode::parse("FA001").ok();
    for (address, organisation, account, expected) in [
        ("boss@b.example", code, Some("app"), Some("sender")),
        ("x@b.example", code, Some("app"), Some("code")),
        ("x@b.example", None, Some("app"), Some("account")),
        ("x@b.example", None, Some("other"), Some("domain")),
        ("x@c.d.b.example", None, None, Some("below")),
        ("x@example", None, None, None),
    ] {
        let mailbox = Mailbox::parse(address).unwrap();
        let found = organisations.of(Sender {
            mailbox: &mailbox,
            organisation,
            account,
        });
        assert_eq!(
            found.map(|entity| entity.id.as_str()),
            expected,
            "{address}"
        );
    }
}

#[test]
fn one_sender_cannot_belong_to_two() {
    let entity = |id: &str| {
        format!(
            "[[entity]]\nid = \"{id}\"\nform = \"nhs-body\"\nname = \"x\"\ndomains = [\"b.example\"]\n"
        )
    };
    let said = read(&format!("{}{}{}", entity("a"), entity("b"), entity("b"))).1;
    assert!(said[0].starts_with("error two-entities"), "{said:?}");
    assert!(
        said[1].starts_with("error twice: there are two entity `b`"),
        "{said:?}"
    );
}

#[test]
fn the_shipped_file_is_right() {
    let diagnostics = Diagnostics::default();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/organisations.toml");
    let organisations = Organisations::load(&path, &diagnostics).unwrap();
    assert_eq!(diagnostics.into_vec(), []);
    let mailbox = Mailbox::parse("orders@bumbleton.example").unwrap();
    let entity = organisations.of(sender(&mailbox)).unwrap();
    assert_eq!(entity.id, "bumbleton-pharmacies");
    assert_eq!(
        text_on(entity, date(2026, 11, 21), Audience::Outside).unwrap(),
        "\nBumbleton Pharmacies Ltd. Registered in England and Wales. Company no. 01234567. Registered office: 1 Market Place, Bumbleton BU1 1AA.\n"
    );
}
