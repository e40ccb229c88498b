//! Disguises: one patient's number on its way to a private mailbox, in every form in which a reading
//! program would still show it, or might. None of them passes: what is not found is at least unreadable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::base::Clock;
use postern::config::{Diagnostics, load_toml};
use postern::mail::{Envelope, ForwardPath, MailTransaction, Message, Recipient, ReversePath};
use postern::policy::decide::Network;
use postern::policy::{Decision, Policy, Verdict, policy_test};

const NUMBER: &str = "The patient's NHS number is 450 557 7104.\r\n";

/// A message of these fields, and of these octets behind the empty line.
fn message(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let top = "From: bumbleton.headoffice@nhs.net\r\nMIME-Version: 1.0\r\n";
    [top.as_bytes(), fields.as_bytes(), b"\r\n", body.as_ref()].concat()
}

/// A text under base64, with what its `Content-Type` says.
fn text(kind: &str, octets: impl AsRef<[u8]>) -> Vec<u8> {
    let fields = format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n");
    message(&fields, STANDARD.encode(octets))
}

/// A multipart of these fields, whose only part hides the number under base64.
fn mixed(fields: &str) -> Vec<u8> {
    message(fields, hidden("b"))
}

fn hidden(boundary: &str) -> String {
    let number = STANDARD.encode(NUMBER);
    format!(
        "--{boundary}\r\nContent-Transfer-Encoding: base64\r\n\r\n{number}\r\n--{boundary}--\r\n"
    )
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn utf32(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| u32::from(c).to_le_bytes())
        .collect()
}

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

fn transaction(message: Vec<u8>, to: &[&str]) -> MailTransaction {
    let mut envelope = Envelope::new(ReversePath::parse("bumbleton.headoffice@nhs.net").unwrap());
    let paths = to.iter().map(|to| ForwardPath::parse(to).unwrap());
    envelope.recipients = paths.map(Recipient::new).collect();
    MailTransaction {
        client: policy_test::client("127.0.0.1".parse().unwrap(), None),
        envelope,
        message: Message::new(message),
        received_at: "2026-11-20T09:31:00Z".parse().unwrap(),
    }
}

async fn judge(policy: &Policy, message: Vec<u8>, to: &[&str]) -> Decision {
    policy.judge(&transaction(message, to), Network::Off).await
}

/// Asserts that none of these messages goes to a private mailbox.
async fn all_held(messages: Vec<(&str, Vec<u8>)>) {
    let policy = policy();
    for (name, message) in messages {
        let decision = judge(&policy, message, &["patient@example.com", "gp@nhs.net"]).await;
        assert_eq!(decision.recipients[0].verdict, Verdict::Hold, "{name}");
        let to_secure = &decision.recipients[1].verdict;
        assert!(to_secure.severity() < Verdict::Hold.severity(), "{name}");
    }
}

#[tokio::test]
async fn no_transfer_encoding_hides_a_number() {
    let encoded = |fields: &str| message(fields, STANDARD.encode(NUMBER));
    all_held(vec![
        ("plain", message("", NUMBER)),
        ("base64", text("text/plain", NUMBER)),
        (
            "quoted word",
            encoded("Content-Transfer-Encoding: \"base64\"\r\n"),
        ),
        (
            "unknown word",
            encoded("Content-Transfer-Encoding: x-base64\r\n"),
        ),
        (
            "twice",
            encoded("Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n"),
        ),
        (
            "in clear",
            message("Content-Transfer-Encoding: base64\r\n", NUMBER),
        ),
        (
            "uuencode",
            message("", "see\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n"),
        ),
        (
            "yEnc",
            message("", "=ybegin line=128 size=3 name=a\r\nabc\r\n"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_charset_hides_a_number() {
    let ebcdic = [0xD5, 0xC8, 0xE2, 0x40, 0xF4, 0xF5, 0xF0, 0xF5, 0xF5, 0xF7];
    let latin = NUMBER.replace(' ', "\u{a0}");
    let latin: Vec<u8> = latin.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let arabic = NUMBER.replace(
        "450 557 7104",
        "\u{664}\u{665}\u{660} \u{665}\u{665}\u{667} \u{667}\u{661}\u{660}\u{664}",
    );
    all_held(vec![
        (
            "UTF-16",
            text("text/plain; charset=utf-16le", utf16(NUMBER)),
        ),
        (
            "UTF-16 as UTF-8",
            text("text/plain; charset=utf-8", utf16(NUMBER)),
        ),
        (
            "UTF-32",
            text("text/plain; charset=utf-32le", utf32(NUMBER)),
        ),
        (
            "controls",
            text("text/plain", NUMBER.replace("0 5", "0\u{1} 5")),
        ),
        ("EBCDIC", text("text/plain; charset=ibm037", ebcdic)),
        ("HZ", text("text/plain; charset=hz-gb-2312", "~{#4#5#0~}")),
        (
            "Latin-1 as UTF-8",
            text("text/plain; charset=utf-8", &latin),
        ),
        ("Latin-1 subject", {
            let mut octets = message("", "x");
            let subject = [b"Subject: ".as_slice(), &latin].concat();
            octets.splice(0..0, subject);
            octets
        }),
        ("Arabic digits", text("text/plain; charset=utf-8", arabic)),
        (
            "ISO-8859-15",
            text(
                "text/plain; charset=iso-8859-15",
                [b"\xA4 ", &latin[..]].concat(),
            ),
        ),
        (
            "windows-1252",
            text(
                "text/plain; charset=windows-1252",
                [b"\x93", &latin[..]].concat(),
            ),
        ),
        (
            "UTF-7",
            text(
                "text/plain; charset=utf-7",
                "NHS no +ADQANQAw- +ADUANQA3- +ADcAMQAwADQ-",
            ),
        ),
        (
            "thin spaces",
            text(
                "text/plain; charset=utf-8",
                NUMBER.replace("0 5", "0\u{2009}5"),
            ),
        ),
        (
            "full-width digits",
            text(
                "text/plain; charset=utf-8",
                NUMBER.replace("450", "\u{ff14}\u{ff15}\u{ff10}"),
            ),
        ),
        (
            "an encoded word in any field",
            message(
                "To: =?utf-8?Q?NHS_number_450_557?= =?iso-8859-1?Q?_7104?= <a@b.example>\r\n",
                "x",
            ),
        ),
        (
            "soft line breaks",
            message(
                "Content-Transfer-Encoding: quoted-printable\r\n",
                NUMBER.replace("0 5", "0=\r\n 5"),
            ),
        ),
        (
            "a picture that says it is text",
            text(
                "text/plain",
                [b"\xFF\xD8\xFF\x01 ", NUMBER.as_bytes()].concat(),
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_structure_hides_a_number() {
    let multipart = "Content-Type: multipart/mixed; boundary=b\r\n";
    let within = |body: String| message(multipart, body);
    let small = format!(
        "Content-Transfer-Encoding: base64\r\n\r\n{}",
        STANDARD.encode(NUMBER)
    );
    all_held(vec![
        ("whole", mixed(multipart)),
        (
            "no boundary",
            message("Content-Type: multipart/mixed\r\n", NUMBER),
        ),
        (
            "another boundary",
            mixed("Content-Type: multipart/mixed; boundary=c\r\n"),
        ),
        (
            "a text in the place of parts",
            message("Content-Type: multipart/mixed; boundary=c\r\n", NUMBER),
        ),
        (
            "two boundaries",
            mixed("Content-Type: multipart/mixed; boundary=a; boundary=b\r\n"),
        ),
        (
            "two types",
            mixed(&format!("Content-Type: text/plain\r\n{multipart}")),
        ),
        (
            "half a type",
            mixed("Content-Type: multipart; boundary=b\r\n"),
        ),
        (
            "behind the end",
            within(format!("--b\r\n\r\nx\r\n--b--\r\n{}", hidden("b"))),
        ),
        (
            "boundary that goes on",
            within(format!("--b\r\n\r\nx\r\n{}--b--\r\n", hidden("bc"))),
        ),
        (
            "encoded multipart",
            text("multipart/mixed; boundary=b", hidden("b")),
        ),
        ("encoded message", text("message/rfc822", &small)),
        (
            "message without fields",
            text("application/octet-stream; name=a.eml", &small),
        ),
        (
            "part of a message",
            message(
                "Content-Type: message/partial; id=a; number=2\r\n",
                "NDUwIDU1\r\n",
            ),
        ),
        (
            "no empty line",
            within(format!("--b\r\n\r\nx\r\n--b\r\n{NUMBER}--b--\r\n")),
        ),
        (
            "in a header of a part",
            within(format!("--b\r\nNote: {NUMBER}--b--\r\n")),
        ),
        (
            "in a broken header",
            message(&format!("hello\r\n{NUMBER}"), "x"),
        ),
        (
            "no empty line before HTML",
            message(
                "Content-Type: text/html\r\n<p>NHS <b>no</b> 4<b>5</b>0 55<i>7</i> 7104</p>",
                "",
            ),
        ),
        (
            "no empty line before HTML, and fields behind it",
            message(
                "Content-Type: text/html\r\nto <p>NHS <b>no</b> 4<b>5</b>0 55<i>7</i> 7104</p>\r\nX-A: b\r\n",
                "x",
            ),
        ),
        (
            "no empty line before base64",
            message(
                &format!(
                    "Content-Transfer-Encoding: base64\r\n{}\r\n",
                    STANDARD.encode(NUMBER)
                ),
                "",
            ),
        ),
        (
            "no empty line before base64 of HTML",
            message(
                &format!(
                    "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n{}\r\n",
                    STANDARD.encode("NHS no <b>4</b>50 55<i>7</i> 7104")
                ),
                "",
            ),
        ),
        (
            "no empty line before base64 of what is no text",
            message(
                &format!(
                    "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n{}\r\n",
                    STANDARD.encode(b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x10\x11\x12")
                ),
                "",
            ),
        ),
        (
            "no empty line before quoted-printable",
            message(
                "Content-Transfer-Encoding: quoted-printable\r\nNHS=20no: 450=\r\n=20557=207104\r\n",
                "",
            ),
        ),
        (
            "no empty line in an HTML part",
            within(
                "--b\r\nContent-Type: text/html\r\nNHS <b>no</b> 4<b>5</b>0 55<i>7</i> 7104\r\n--b--\r\n"
                    .to_owned(),
            ),
        ),
        (
            "a type with a comma behind it",
            message(
                "Content-Type: message/rfc822, charset=us-ascii\r\n",
                format!("From: a@b.example\r\nTo: c@d.example\r\nSubject: x\r\n{small}"),
            ),
        ),
        (
            "signed and wrapped",
            text("application/pkcs7-mime; smime-type=signed-data", "0\u{1}x"),
        ),
        (
            "as a key",
            message("Content-Type: application/pgp-keys\r\n", NUMBER),
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_no_reader_takes_in_another_way_hides_nothing() {
    for fields in [
        "Content-Type: multipart/report; report-type=delivery-status; boundary=q\r\n",
        "Content-Type: multipart/mixed\r\n",
        "Content-Type: text/html; charset=\"iso-8859-1\"; charset=\"iso-8859-1\"\r\n",
    ] {
        let to = ["patient@example.com"];
        let decision = judge(&policy(), message(fields, "x\r\n"), &to).await;
        let verdict = &decision.recipients[0].verdict;
        assert_eq!(*verdict, Verdict::Deliver, "{fields}");
    }
}

/// An archive of one empty file, `x`, of which this is said.
fn zip_saying(comment: &str) -> Vec<u8> {
    let length = u16::try_from(comment.len()).unwrap().to_le_bytes();
    let zeros = |count| vec![0_u8; count];
    [
        b"PK\x03\x04\x14\0".to_vec(),
        zeros(20),
        b"\x01\0\0\0x".to_vec(),
        b"PK\x01\x02\x14\0\x14\0".to_vec(),
        zeros(20),
        b"\x01\0".to_vec(),
        zeros(16),
        b"x".to_vec(),
        b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2f\0\0\0\x1f\0\0\0".to_vec(),
        length.to_vec(),
        comment.as_bytes().to_vec(),
    ]
    .concat()
}

#[tokio::test]
async fn no_file_hides_a_number() {
    let picture = b"\x89PNG\r\n\x1a\n".to_vec();
    let sealed = b"\x30\x80\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x03\xA0\x80\x30\x80";
    all_held(vec![
        ("a comment on an archive", text("application/zip", zip_saying(NUMBER))),
        (
            "an archive behind a picture",
            text("image/png", [picture, zip_saying(NUMBER)].concat()),
        ),
        ("sealed, without its type", text("application/octet-stream; name=smime.p7m", sealed)),
        (
            "JSON",
            text("application/json", r#"{"nhs_number": "\u0034\u0035\u0030 557 7104"}"#),
        ),
        (
            "a contact",
            text(
                "text/vcard",
                "BEGIN:VCARD\r\nNOTE;ENCODING=QUOTED-PRINTABLE:NHS=20no=20450=20=35=\r\n57=207104\r\nEND:VCARD\r\n",
            ),
        ),
        (
            "enriched text",
            text("text/enriched", "NHS no 4<bold>50</bold> 5<italic>57</italic> 7104"),
        ),
        (
            "a column",
            text("text/csv", "name,NHS\r\nAda,4505577104\r\n"),
        ),
        (
            "circles",
            text(
                "text/plain; charset=utf-8",
                "NHS no \u{2463}\u{2464}\u{24ea} \u{2464}\u{2464}\u{2466} \u{2466}\u{2460}\u{24ea}\u{2463}",
            ),
        ),
        (
            "keys",
            text(
                "text/plain; charset=utf-8",
                format!("NHS no {}", "4505577104".chars().map(|c| format!("{c}\u{fe0f}\u{20e3}")).collect::<String>()),
            ),
        ),
        ("odd signs", text("text/plain", "NHS no: 450~557~7104")),
        ("two labels", text("text/plain", "NHS number / telephone: 450 557 7104 / 01632 960123")),
    ])
    .await;
}

#[tokio::test]
async fn no_html_hides_a_number() {
    let html = |body: &str| message("Content-Type: text/html\r\n", body);
    all_held(vec![
        ("markup", html("NHS number <b>4</b>50 55<i>7</i> 7&#49;04")),
        (
            "a style",
            html("<style>p:after { content: 'NHS number 450 557 7104' }</style>"),
        ),
        (
            "a style in a title",
            html("<title><style></title>NHS number 450 557 7104"),
        ),
        (
            "a title",
            html("<title>NHS number 450 557 7104</title><p>x</p>"),
        ),
        (
            "a title before the marking",
            html("<html><head><title>Letter</title></head><body><p>OFFICIAL-SENSITIVE</p>"),
        ),
        (
            "a marking in the title",
            html("<title>OFFICIAL-SENSITIVE letter</title><body><p>x</p>"),
        ),
        (
            "a title within it",
            html("NHS number 450 <title>x</title>557 7104"),
        ),
        (
            "a table of Outlook",
            html(
                "<table><tr><td><p class=MsoNormal>Name<o:p></o:p></p></td>\
                 <td><p class=MsoNormal>NHS<o:p></o:p></p></td></tr>\
                 <tr><td><p class=MsoNormal>A Smith</p></td>\
                 <td><p class=MsoNormal>4505577104</p></td></tr></table>",
            ),
        ),
        (
            "a banner before the marking",
            html(
                "<table><tr><td><b>CAUTION:</b> This email originated from outside of the organisation. \
                 Do not click links.</td></tr></table><p>&nbsp;</p><p>OFFICIAL-SENSITIVE</p><p>Dear all",
            ),
        ),
        ("CDATA", html("<![CDATA[NHS number 450 557 7104]]>")),
        (
            "hidden text within it",
            html("NHS no 450 <span style=\"display:none\">1</span>557 <i hidden>2</i>7104"),
        ),
        (
            "text hidden by class",
            html("<style>.x{visibility:hidden}</style>NHS no 450 5<b class=x>9</b>57 7104"),
        ),
        (
            "a link",
            html("<a href=\"mailto:a@b.example?subject=NHS%20no%20450%20557%207104\">write</a>"),
        ),
        (
            "data",
            html("<object data=\"data:text/html;base64,TkhTIG5vIDxiPjQ1MDwvYj4gNTU3IDcxMDQ=\"></object>"),
        ),
        (
            "text that looks like it",
            message("", "<html>\r\n<NHS number 450 557 7104>\r\n"),
        ),
        (
            "a table",
            html(
                "<tr><td>NHS number</td><td>Phone</td></tr><tr><td>4505577104</td><td>x</td></tr>",
            ),
        ),
        (
            "a table in plain text",
            message(
                "",
                "NHS number    Telephone\r\n450 557 7104  07700 900123\r\n",
            ),
        ),
    ])
    .await;
}

#[tokio::test]
async fn no_second_name_of_a_file_hides_a_number() {
    let file = |fields: &str| {
        let body = format!("--b\r\n\r\nx\r\n--b\r\n{fields}\r\n\r\n\u{1}\r\n--b--\r\n");
        message("Content-Type: multipart/mixed; boundary=b\r\n", body)
    };
    all_held(vec![
        (
            "name",
            file("Content-Type: image/png; name=\"NHS no 450 557 7104\"\r\nContent-Disposition: attachment; filename=a.png"),
        ),
        (
            "plain filename",
            file("Content-Type: image/png\r\nContent-Disposition: attachment; filename=\"NHS no 450 557 7104\"; filename*=utf-8''a.png"),
        ),
        (
            "in parts, RFC 2231",
            file("Content-Type: image/png\r\nContent-Disposition: attachment; filename*0*=utf-8''NHS%20no%20450; filename*1*=%20557%207; filename*2=104.png"),
        ),
        (
            "encoded words",
            file("Content-Type: image/png; name=\"=?utf-8?Q?NHS_no_450_?=\r\n =?utf-8?Q?557_7104?=\""),
        ),
    ])
    .await;
}
