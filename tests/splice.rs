//! Footers in generated messages: any structure, encoding and charset, judged by readers that nobody
//! here wrote: mail-parser and Python's email package.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/corpus.rs"]
mod corpus;
#[path = "support/trees.rs"]
mod trees;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::mail::mime::{self, Part, Structure};
use postern::mail::prove::{Unproved, prove};
use postern::mail::splice::{Footer, NotEdited, plan_footer};
use postern::mail::{Edit, Message, edit};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use trees::{assert_judged, message};

const FOOTERS: [Footer<'static>; 2] = [
    Footer {
        text: "\n-- \nBumbleton Ltd. Company no. 01234567.",
        html: "<p>Bumbleton Ltd.<br>Company no. 01234567.</p>",
        entity: "plain",
        signature_text: "",
        signature_html: "",
    },
    Footer {
        text: "Café Bumbleton – paid-up capital £100\nEdinburgh\n",
        html: "<hr>\n<p>Café Bumbleton – paid-up capital £100</p>",
        entity: "accents",
        signature_text: "",
        signature_html: "",
    },
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_edited_is_the_same_but_for_the_footer(before in message(), which in 0usize..2) {
        match footer_edits(&before, &FOOTERS[which]) {
            Ok(edits) => {
                assert_proved(&before, &edits, &FOOTERS[which]);
                let after = edit::apply(&before, &edits).unwrap();
                let proof = prove(&before, &after, &edits);
                let read_in_two_ways = match proof {
                    // A message directly in a message: `mail-parser` takes the inner one for the outer one's text.
                    Err(Unproved::ReadersDisagree) => true,
                    // RFC 2045 §6.7 rule 5: a soft line break is no end, and readers make of it what they like.
                    Err(Unproved::Text) => has(&before, b"=\r\n--") || has(&before, b"=\r\n\r\n--"),
                    _ => false,
                };
                let shown = String::from_utf8_lossy(before.octets());
                prop_assert!(proof.is_ok() || read_in_two_ways, "{:?}\n{}", proof, shown);
            }
            Err(reason) => prop_assert!(matches!(reason, NotEdited::NoTextLeaf | NotEdited::Ambiguous), "{}", reason),
        }
    }

    #[test]
    fn broken_messages_are_edited_with_proof_or_left_alone(
        whole in message(),
        from in any::<prop::sample::Index>(),
        length in 0usize..60,
        insert in prop::sample::select(vec!["", "\r\n", "--", "\r\n--b1=_end\r\n", ";", "\"", "=", "<!--"]),
    ) {
        let octets = whole.octets();
        let start = from.index(octets.len());
        let end = octets.len().min(start + length);
        let broken = [&octets[..start], insert.as_bytes(), &octets[end..]].concat();
        let broken = Message::new(with_crlf(&broken));
        if let Ok(edits) = footer_edits(&broken, &FOOTERS[1]) {
            assert_proved(&broken, &edits, &FOOTERS[1]);
        }
    }

    #[test]
    fn any_octets_are_edited_or_left_alone(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let message = Message::new(octets);
        if let Ok(edits) = footer_edits(&message, &FOOTERS[1]) {
            prop_assert!(edit::apply(&message, &edits).is_ok());
        }
    }
}

#[test]
fn pythons_reader_sees_the_same_message_and_the_footer() {
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    while cases.len() < CASES {
        let before = message().new_tree(&mut runner).unwrap().current();
        cases.extend(case(&before, &FOOTERS[cases.len() % 2]));
    }
    assert_judged("splice_judge.py", &cases);
}

fn has(message: &Message, what: &[u8]) -> bool {
    let octets = message.octets();
    octets.windows(what.len()).any(|window| window == what)
}

/// Real mail of all kinds, and mail made to be difficult: what is edited is proved, and judged by
/// Python; what is not has a reason.
#[test]
fn mail_of_the_corpora_is_edited_with_proof_or_left_alone() {
    let mut outcomes = BTreeMap::new();
    let mut cases = Vec::new();
    for (at, file) in corpus_files().iter().enumerate() {
        let message = Message::new(with_crlf(&std::fs::read(file).unwrap()));
        let footer = &FOOTERS[at % 2];
        let Ok(structure) = mime::parse(message.octets()) else {
            continue;
        };
        let outcome = match plan_footer(&message, &structure, footer) {
            Ok(edits) => {
                assert_proved(&message, &edits, footer);
                cases.extend(case(&message, footer));
                match prove(&message, &edit::apply(&message, &edits).unwrap(), &edits) {
                    Ok(_) => "edited, proved",
                    Err(reason) => {
                        eprintln!("{}: {}", file.display(), reason.word());
                        reason.word()
                    }
                }
            }
            Err(reason) => reason.word(),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    eprintln!("{outcomes:#?}");
    for cases in cases.chunks(1000) {
        assert_judged("splice_judge.py", cases);
    }
}

const CASES: usize = 400;

/// One line for the judge, if the message is edited: before and after.
fn case(before: &Message, footer: &Footer<'_>) -> Option<String> {
    let edits = footer_edits(before, footer).ok()?;
    let after = edit::apply(before, &edits).unwrap();
    let case = serde_json::json!({
        "before": STANDARD.encode(before.octets()),
        "after": STANDARD.encode(after.octets()),
        "touched": edited_parts(&parse(before), &edits),
        "proved": prove(before, &after, &edits).is_ok(),
        "text": footer.text,
        "html": footer.html,
    });
    Some(format!("{case}\n"))
}

/// Mail of the corpora unpacked beside the project, or nothing if they are not there.
fn corpus_files() -> Vec<PathBuf> {
    let (mut files, mut plenty) = (Vec::new(), Vec::new());
    corpus::collect(Path::new("/work/corpora/torture-dev"), &mut files);
    corpus::collect(Path::new("/work/corpora/dev"), &mut plenty);
    files.extend(plenty.into_iter().step_by(5));
    let is_mail = |file: &PathBuf| {
        file.extension()
            .is_some_and(|kind| kind == "eml" || kind == "msg")
    };
    files.retain(is_mail);
    if files.is_empty() {
        eprintln!("skipped: no corpora in /work/corpora");
    }
    files
}

/// Mail as it comes over SMTP: without the envelope line of an mbox file.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let is_envelope = |line: &&[u8]| line.starts_with(b"From ") || line.starts_with(b">From ");
    let first = octets.split_inclusive(|octet| *octet == b'\n').next();
    corpus::with_crlf(&octets[first.filter(is_envelope).map_or(0, <[u8]>::len)..])
}

fn parse(message: &Message) -> Structure {
    mime::parse(message.octets()).unwrap()
}

fn footer_edits(message: &Message, footer: &Footer<'_>) -> Result<Vec<Edit>, NotEdited> {
    plan_footer(message, &parse(message), footer)
}

/// The indices of the parts that were edited.
fn edited_parts(structure: &Structure, edits: &[Edit]) -> Vec<usize> {
    let numbers: Vec<_> = edits
        .iter()
        .filter_map(|edit| edit.part.as_deref())
        .collect();
    let is_edited =
        |part: &Part| part.within_message.is_none() && numbers.contains(&part.number.as_str());
    let parts = structure.parts.iter().enumerate();
    parts
        .filter(|(_, part)| is_edited(part))
        .map(|(at, _)| at)
        .collect()
}

/// Text or HTML without white space, of which a footer may add some, and without references.
fn squeezed(text: &str) -> String {
    let text = text
        .replace("&#233;", "é")
        .replace("&#163;", "£")
        .replace("&#8211;", "–");
    text.split_whitespace().collect()
}

fn assert_proved(before: &Message, edits: &[Edit], footer: &Footer<'_>) {
    let old = parse(before);
    let touched = edited_parts(&old, edits);
    assert_within_leaves(&old, &touched, edits);
    let after = edit::apply(before, edits).unwrap();
    let new = parse(&after);
    assert_eq!(old.parts.len(), new.parts.len());
    for (at, (one, other)) in old.parts.iter().zip(&new.parts).enumerate() {
        assert_eq!(other.oddities, one.oddities);
        assert_eq!((&one.number, one.depth), (&other.number, other.depth));
        if touched.contains(&at) {
            let footer = if one.is("text", "html") {
                footer.html
            } else {
                footer.text
            };
            let one = squeezed(&one.text(before.octets()).unwrap());
            let other = squeezed(&other.text(after.octets()).unwrap());
            assert_eq!(other.len(), one.len() + squeezed(footer).len());
            assert_eq!(other.replacen(&squeezed(footer), "", 1), one);
        } else if one.is_leaf() {
            assert_eq!(one.header.len(), other.header.len());
            assert_eq!(one.raw(before.octets()), other.raw(after.octets()));
        }
    }
    assert_eq!(footer_edits(&after, footer), Err(NotEdited::AlreadyThere));
    if let (Some(one), Some(other)) = (parts_of_mail_parser(before), parts_of_mail_parser(&after)) {
        assert_eq!(one, other);
    }
    assert!(longest_line(&after) <= longest_line(before).max(Some(999)));
}

fn assert_within_leaves(structure: &Structure, touched: &[usize], edits: &[Edit]) {
    for edit in edits {
        let within = |at: &usize| {
            let part = &structure.parts[*at];
            part.header.start <= edit.at.start && edit.at.end <= part.body.end
        };
        assert!(
            touched.iter().any(within),
            "{edit:?} lies outside of its leaf"
        );
    }
}

/// How many parts mail-parser sees; `None` where it gets lost in messages in multiparts and trips over
/// a debug assertion of its own.
fn parts_of_mail_parser(message: &Message) -> Option<usize> {
    let octets = message.octets().to_vec();
    let count = move || {
        mail_parser::MessageParser::default()
            .parse(&octets[..])
            .map(|parsed| parsed.parts.len())
    };
    std::panic::catch_unwind(count).ok().flatten()
}

fn longest_line(message: &Message) -> Option<usize> {
    message
        .octets()
        .split(|octet| *octet == b'\n')
        .map(<[u8]>::len)
        .max()
}
