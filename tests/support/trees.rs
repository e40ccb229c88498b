//! Messages that are generated: any structure, encoding and charset; and Python's reader, who judges what became of them.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::mail::Message;
use proptest::prelude::*;

/// Hands cases to Python's reader.
pub(crate) fn assert_judged(judge: &str, cases: &[String]) {
    let Ok(mut python) = Command::new("python3")
        .arg(format!("{}/tests/{judge}", env!("CARGO_MANIFEST_DIR")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: no python3");
        return;
    };
    let input = cases.concat();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{} judged\n", cases.len())
    );
}

/// What a message is made of.
#[derive(Clone, Debug)]
enum Node {
    Leaf {
        kind: &'static str,
        charset: Option<&'static str>,
        encoding: &'static str,
        text: String,
    },
    File(Vec<u8>),
    Attached(Box<Self>),
    Multi(&'static str, Vec<Self>),
}

/// Any message of words that are hard to edit.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    message_of(HARD)
}

/// Any message whose texts are made of these pieces.
pub(crate) fn message_of(pieces: &'static [&'static str]) -> impl Strategy<Value = Message> {
    node(pieces).prop_map(|node| {
        let header = b"From: a@b.example\r\nMIME-Version: 1.0\r\n";
        let mut octets = [header, &render(&node, &mut 0)[..]].concat();
        if !octets.ends_with(b"\r\n") {
            octets.extend(b"\r\n");
        }
        Message::new(octets)
    })
}

fn node(pieces: &'static [&'static str]) -> impl Strategy<Value = Node> {
    let file = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Node::File);
    prop_oneof![6 => leaf(pieces), 1 => file].prop_recursive(3, 12, 4, |inner| {
        let kind = prop::sample::select(vec!["mixed", "alternative", "related", "x-new"]);
        let children = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            6 => (kind, children).prop_map(|(kind, children)| Node::Multi(kind, children)),
            1 => inner.prop_map(|inner| Node::Attached(Box::new(inner))),
        ]
    })
}

fn leaf(pieces: &'static [&'static str]) -> impl Strategy<Value = Node> {
    let kind = prop::sample::select(vec!["text/plain", "text/html", "text/plain; format=flowed"]);
    let charset = prop::sample::select(vec![
        None,
        Some("us-ascii"),
        Some("utf-8"),
        Some("ISO-8859-1"),
        Some("\"windows-1252\""),
        Some("shift_jis"),
    ]);
    let encoding = prop::sample::select(vec!["7bit", "8bit", "quoted-printable", "base64"]);
    (kind, charset, encoding, text(pieces)).prop_map(|(kind, charset, encoding, text)| {
        let ascii = matches!(charset, None | Some("us-ascii" | "shift_jis")) || encoding == "7bit";
        let text = if ascii {
            text.replace(['é', '£'], "e")
        } else {
            text
        };
        Node::Leaf {
            kind,
            charset,
            encoding,
            text,
        }
    })
}

fn text(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(prop::sample::select(pieces), 0..12)
        .prop_map(|pieces| pieces.concat())
}

/// Words that are hard to edit.
const HARD: &[&str] = &[
    "Dear Mrs Jones,",
    "\r\n",
    "\r\n\r\n",
    "=3D",
    "café £5",
    "> quoted ",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    " ",
    "<b>",
    "</body></html>",
    "<!-- </body> -->",
    "<meta charset=iso-8859-1>",
    ".",
];

/// Writes a node as a header and a body; `serial` makes boundaries.
fn render(node: &Node, serial: &mut usize) -> Vec<u8> {
    match node {
        Node::Leaf {
            kind,
            charset,
            encoding,
            text,
        } => render_leaf(kind, *charset, encoding, text),
        Node::File(octets) => {
            let header = "Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n";
            [header.as_bytes(), &encoded(octets, "base64")].concat()
        }
        Node::Attached(inner) => [
            b"Content-Type: message/rfc822\r\n\r\n",
            &render(inner, serial)[..],
        ]
        .concat(),
        Node::Multi(kind, children) => {
            *serial += 1;
            let boundary = format!("b{serial}=_end");
            let header = format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"");
            let mut out = format!("{header}\r\n\r\npreamble\r\n").into_bytes();
            for child in children {
                out.extend(format!("--{boundary}\r\n").bytes());
                out.extend(render(child, serial));
                out.extend(b"\r\n");
            }
            out.extend(format!("--{boundary}--\r\nepilogue").bytes());
            out
        }
    }
}

fn render_leaf(kind: &str, charset: Option<&str>, encoding: &str, text: &str) -> Vec<u8> {
    let charset_param = charset
        .map(|charset| format!("; charset={charset}"))
        .unwrap_or_default();
    let header = format!(
        "Content-Type: {kind}{charset_param}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    let octets = match charset {
        Some("utf-8") => text.as_bytes().to_vec(),
        _ => text
            .chars()
            .map(|character| u8::try_from(character).unwrap())
            .collect(),
    };
    [header.as_bytes(), &encoded(&octets, encoding)].concat()
}

fn encoded(octets: &[u8], encoding: &str) -> Vec<u8> {
    match encoding {
        "base64" => {
            let digits = STANDARD.encode(octets);
            let lines: Vec<_> = digits.as_bytes().chunks(76).collect();
            lines.join(&b"\r\n"[..])
        }
        "quoted-printable" => quoted(octets),
        _ => octets.to_vec(),
    }
}

fn quoted(octets: &[u8]) -> Vec<u8> {
    let mut out = String::new();
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            b'\r' | b'\n' | b'!'..=b'<' | b'>'..=b'~' => out.push(char::from(*octet)),
            _ => out.push_str(&format!("={octet:02X}")),
        }
        if at % 20 == 19 && *octet != b'\r' {
            out.push_str("=\r\n");
        }
    }
    out.into_bytes()
}
