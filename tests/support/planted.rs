//! Any mail with a patient's number planted somewhere in it, with evidence that it is one, and any recipients.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::mail::ForwardPath;
use proptest::prelude::*;
use proptest::sample::select;

/// A message, whom it is for, and whether its subject has the tag.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) octets: Vec<u8>,
    pub(crate) to: Vec<String>,
    pub(crate) asks_for_encryption: bool,
}

impl Mail {
    /// For people who look for what went wrong.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.octets).into_owned()
    }

    /// The mailboxes that it is for, each once, as a server takes them.
    pub(crate) fn mailboxes(&self) -> BTreeSet<String> {
        let paths = self.to.iter().map(|to| ForwardPath::parse(to).unwrap());
        paths.map(|path| path.to_string()).collect()
    }
}

/// The secure domains that recipients are at, as routes name them.
pub(crate) const SECURE: [&str; 5] = [
    "nhs.net",
    "bumbleton.example",
    "*.gov.uk",
    "*.police.uk",
    "*.secure.nhs.uk",
];

/// Whether the shipped register covers a domain: written down here a second time, in another way.
pub(crate) fn is_secure(domain: &str) -> bool {
    let below = [".gov.uk", ".police.uk", ".secure.nhs.uk"];
    matches!(domain, "nhs.net" | "bumbleton.example")
        || below.iter().any(|end| domain.ends_with(end))
}

fn recipient() -> impl Strategy<Value = String> {
    let local = "[a-z]{1,8}";
    let secure = select(vec![
        "nhs.net",
        "NHS.net",
        "nhs.net.",
        "bumbleton.example",
        "leeds.gov.uk",
        "met.police.uk",
        "x.secure.nhs.uk",
    ]);
    let alike = select(vec![
        "nhs.n\u{435}t",
        "nhs.net.evil.example",
        "evilnhs.net",
        "mail.nhs.net",
        "gov.uk",
        "police.uk",
        "secure.nhs.uk",
        "leeds.nhs.uk",
        "gov.uk.example",
        "nhs-net.example",
        "[192.0.2.1]",
        "xn--nhs-5cd.net",
    ]);
    prop_oneof![
        3 => (local, secure).prop_map(|(local, domain)| format!("{local}@{domain}")),
        2 => (local, alike).prop_map(|(local, domain)| format!("{local}@{domain}")),
        2 => (local, "[a-z]{1,10}\\.(com|org|net|example|co\\.uk|nhs\\.uk)")
            .prop_map(|(local, domain)| format!("{local}@{domain}")),
        1 => select(vec!["\"a b\"@nhs.net", "\"nhs.net\"@example.com", "a+nhs.net@example.com"])
            .prop_map(str::to_owned),
    ]
}

/// A number that is given out in England, in the three digits, three digits, four digits that people read.
fn number() -> impl Strategy<Value = [String; 3]> {
    (select(vec![4u32, 6, 7]), 0..100_000_000u32).prop_filter_map(
        "no check digit",
        |(first, rest)| {
            let nine = format!("{first}{rest:08}");
            let weights = (2..=10u32).rev();
            let sum: u32 = nine
                .bytes()
                .zip(weights)
                .map(|(digit, weight)| u32::from(digit - b'0') * weight)
                .sum();
            let check = match 11 - sum % 11 {
                11 => 0,
                10 => return None,
                check => check,
            };
            let ten = format!("{nine}{check}");
            Some([
                ten[..3].to_owned(),
                ten[3..6].to_owned(),
                ten[6..].to_owned(),
            ])
        },
    )
}

/// A sentence that says whose number it is. `between` groups it.
fn sentence(between: Vec<&'static str>) -> impl Strategy<Value = String> {
    let words = select(vec![
        ("The patient's NHS number is ", "."),
        ("NHS No: ", ""),
        ("nhs number ", " as discussed"),
        ("NHS Number - ", ", DOB 12/03/1961"),
        (
            "Re: Mrs Ada Jones, date of birth 14 March 1951, NHS no. ",
            ", for review",
        ),
        ("Patient ID ", " (see the letter)"),
    ]);
    (words, number(), select(between)).prop_map(|((before, after), number, between)| {
        format!("{before}{}{after}", number.join(between))
    })
}

const OTHER_WORDS: &[&str] = &[
    "",
    "Dear colleague,\r\n\r\n",
    "Please find below.\r\n",
    "Ward 7 opens at nine.\r\n",
    "Gr\u{fc}\u{df}e \u{2014} na\u{ef}ve\r\n",
];

/// How the octets of a leaf are carried.
#[derive(Clone, Copy, Debug)]
enum Carried {
    Utf8,
    Utf8Base64,
    Utf8Quoted,
    Latin1,
    Utf16Base64,
    Windows1252Quoted,
}

fn carried() -> impl Strategy<Value = Carried> {
    use Carried::*;
    select(vec![
        Utf8,
        Utf8Base64,
        Utf8Quoted,
        Latin1,
        Utf16Base64,
        Windows1252Quoted,
    ])
}

impl Carried {
    /// The charset, the transfer encoding and the octets.
    fn carry(self, text: &str) -> (&'static str, &'static str, Vec<u8>) {
        let latin: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect();
        match self {
            Self::Utf8 => ("utf-8", "8bit", text.into()),
            Self::Utf8Base64 => ("UTF-8", "base64", base64(text.as_bytes())),
            Self::Utf8Quoted => ("\"utf-8\"", "quoted-printable", quoted(text.as_bytes())),
            Self::Latin1 => ("iso-8859-1", "8bit", latin),
            Self::Utf16Base64 => {
                let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
                ("utf-16be", "BASE64", base64(&octets))
            }
            Self::Windows1252Quoted => ("windows-1252", "Quoted-Printable", quoted(&latin)),
        }
    }
}

fn base64(octets: &[u8]) -> Vec<u8> {
    let whole = STANDARD.encode(octets);
    let lines = whole.as_bytes().chunks(76);
    lines.flat_map(|line| [line, b"\r\n"].concat()).collect()
}

/// Every fifth octet as it must not be but may be, and lines of 40.
fn quoted(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut column = 0;
    for (at, octet) in octets.iter().enumerate() {
        if octets[at..].starts_with(b"\r\n")
            || (*octet == b'\n' && at > 0 && octets[at - 1] == b'\r')
        {
            out.push(*octet);
            column = 0;
            continue;
        }
        if column > 40 {
            out.extend(b"=\r\n");
            column = 0;
        }
        match octet {
            b'!'..=b'~' if *octet != b'=' && at % 5 != 0 => out.push(*octet),
            _ => out.extend(format!("={octet:02X}").bytes()),
        }
        column += 1;
    }
    out
}

/// What a leaf is to its readers.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Html,
    HtmlSplit,
    TextFile,
    Csv,
    Nameless,
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::*;
    select(vec![Plain, Html, HtmlSplit, TextFile, Csv, Nameless])
}

/// A leaf that says this: its fields and its octets.
fn leaf(kind: Kind, carried: Carried, text: &str) -> Vec<u8> {
    let (content_type, text) = match kind {
        Kind::Plain => ("text/plain", text.to_owned()),
        Kind::Nameless => ("TEXT/plain; format=flowed", text.to_owned()),
        Kind::Html => (
            "text/html",
            format!("<html><body><p>{text}</p></body></html>"),
        ),
        Kind::HtmlSplit => ("text/html", format!("<div>{}</div>", split(text))),
        Kind::TextFile => ("text/plain; name=\"letter.txt\"", text.to_owned()),
        Kind::Csv => (
            "text/csv; name=\"list.csv\"",
            format!("about,note\r\n1,\"{text}\"\r\n"),
        ),
    };
    let (charset, encoding, octets) = carried.carry(&text);
    let fields = format!(
        "Content-Type: {content_type}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    [fields.as_bytes(), &octets].concat()
}

/// Markup and entities within what is read as one.
fn split(text: &str) -> String {
    let part = |(at, c): (usize, char)| match (c, at % 3) {
        ('0'..='9', 0) => format!("<b>{c}</b>"),
        ('0'..='9', 1) => format!("&#{};", u32::from(c)),
        (c, _) => c.to_string(),
    };
    text.chars().enumerate().map(part).collect()
}

/// A part with the planted leaf somewhere in it: within multiparts, attached messages, beside other leaves.
fn tree(planted: Vec<u8>) -> BoxedStrategy<Vec<u8>> {
    let subtype = select(vec![
        "mixed",
        "alternative",
        "related",
        "parallel",
        "x-unknown",
    ]);
    let layer = (
        subtype,
        any::<bool>(),
        0..3usize,
        0..3usize,
        carried(),
        select(OTHER_WORDS.to_vec()),
    );
    proptest::collection::vec(layer, 0..4)
        .prop_map(move |layers| {
            let mut part = planted.clone();
            for (depth, (subtype, in_message, before, after, carried, words)) in layers.into_iter().enumerate() {
                let other = || leaf(Kind::Plain, carried, words);
                let mut parts: Vec<Vec<u8>> = (0..before).map(|_| other()).collect();
                parts.push(part);
                parts.extend((0..after).map(|_| other()));
                part = multipart(subtype, &format!("=_{depth}_b"), &parts);
                if in_message {
                    let top = b"Content-Type: message/rfc822\r\n\r\nSubject: forwarded\r\nMIME-Version: 1.0\r\n";
                    part = [&top[..], &part].concat();
                }
            }
            part
        })
        .boxed()
}

fn multipart(subtype: &str, boundary: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out =
        format!("Content-Type: multipart/{subtype}; boundary=\"{boundary}\"\r\n\r\n").into_bytes();
    for part in parts {
        out.extend(format!("--{boundary}\r\n").bytes());
        out.extend(part);
        out.extend(b"\r\n");
    }
    out.extend(format!("--{boundary}--\r\n").bytes());
    out
}

/// A subject that says this, in one of the ways of writing it.
fn subject(words: &str, way: usize) -> String {
    let encoded = |text: &str| format!("=?utf-8?B?{}?=", STANDARD.encode(text));
    match way {
        0 => words.to_owned(),
        1 => encoded(words),
        2 => {
            let middle = words.len() / 2;
            let middle = (middle..).find(|at| words.is_char_boundary(*at)).unwrap();
            format!(
                "{}\r\n {}",
                encoded(&words[..middle]),
                encoded(&words[middle..])
            )
        }
        _ => words.replacen(' ', "\r\n ", 3),
    }
}

/// Where the number is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Subject,
    SecondSubject,
    Comments,
    Leaf,
    FileName,
}

/// Any mail.
pub(crate) fn mail() -> impl Strategy<Value = Mail> {
    let place = prop_oneof![
        2 => Just(Place::Subject), 1 => Just(Place::SecondSubject), 1 => Just(Place::Comments),
        6 => Just(Place::Leaf), 1 => Just(Place::FileName),
    ];
    let to = proptest::collection::vec(recipient(), 1..6);
    let grouped = sentence(vec!["", " ", "-", "\u{a0}"]);
    let in_ascii = sentence(vec!["", " ", "-"]);
    let words = (
        grouped,
        in_ascii,
        select(OTHER_WORDS.to_vec()),
        select(OTHER_WORDS.to_vec()),
    );
    let tagged = prop_oneof![4 => Just(false), 1 => Just(true)];
    (place, to, words, (kind(), carried()), 0..4usize, tagged)
        .prop_flat_map(|(place, to, (grouped, in_ascii, before, after), (kind, carried), way, tagged)| {
            let text = match place {
                Place::Leaf => format!("{before}{grouped}\r\n{after}"),
                _ => format!("{before}Nothing here.\r\n{after}"),
            };
            let planted = match place {
                Place::FileName => format!(
                    "Content-Type: image/png; name=\"{in_ascii}.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n"
                )
                .into_bytes(),
                _ => leaf(kind, carried, &text),
            };
            let tag = if tagged { "[secure] " } else { "" };
            let mut fields = String::from("From: <pharmacy.fa001@nhs.net>\r\nMIME-Version: 1.0\r\n");
            let said = match place {
                Place::Subject => format!("{tag}{in_ascii}"),
                _ => format!("{tag}Query"),
            };
            fields += &format!("Subject: {}\r\n", subject(&said, way));
            match place {
                Place::SecondSubject => fields += &format!("Subject: {}\r\n", subject(&in_ascii, way)),
                Place::Comments => fields += &format!("Comments: {}\r\n", subject(&in_ascii, way)),
                _ => {}
            }
            (tree(planted), Just(to), Just(fields), Just(tagged))
        })
        .prop_map(|(tree, to, fields, asks_for_encryption)| Mail {
            octets: [fields.as_bytes(), &tree].concat(),
            to,
            asks_for_encryption,
        })
}
