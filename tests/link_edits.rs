//! Banners and links taken out, in generated messages: any structure, encoding and charset, judged by the proof and by
//! Python's email package.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/corpus.rs"]
mod corpus;
#[path = "support/trees.rs"]
mod trees;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern::content::{self, Limits, links::Link};
use postern::mail::mime::{self, Structure};
use postern::mail::prove::{Unproved, prove};
use postern::mail::splice::{Banner, Footer, plan_footer};
use postern::mail::{Edit, EditKind, Message, edit};
use postern::policy::links::{Wanted, Written, write};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use trees::{assert_judged, message_of};

const BANNER: Banner<'static> = Banner {
    text: "CAUTION: links in here lead elsewhere.\n- evil[.]example is not ours\n",
    html: "<div>CAUTION: links in here lead elsewhere.<br>\n- evil[.]example is not ours</div>",
    once: true,
};
const FOOTER: Footer<'static> = Footer {
    text: "\n-- \nBumbleton Ltd. Company no. 01234567.",
    html: "<p>Bumbleton Ltd.<br>Company no. 01234567.</p>",
    entity: "plain",
    signature_text: "",
    signature_html: "",
};
const PIECES: &[&str] = &[
    "Dear Mrs Jones, ",
    "\r\n",
    " https://evil.example/x?a=b&c=d ",
    " www.evil.example, ",
    "café £5 ",
    "=3D ",
    "<b>",
    "<a href=\"https://evil.example/a?b=c&amp;d\" class=x>here</a> ",
    "<a title='>' href=//evil.example>there</a> ",
    "<a href=https://www.nhs.uk>www.nhs.uk</a> ",
    "<img src='https://evil.example/p.png'> ",
    "<p style=\"background:url(//evil.example/q)\">",
    "<!--[if mso]><a href=https://evil.example>x</a><![endif]--> ",
    "<body class=x>",
    "</body></html>",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ",
];

fn is_evil(link: &Link) -> bool {
    let host = link.target.host.as_ref().map(ToString::to_string);
    host.is_some_and(|host| host.ends_with("evil.example"))
}

/// The edits of a message with a banner, with its evil links taken out, or with both.
fn written(message: &Message, strip: bool, banner: bool) -> Written {
    let structure = parse(message);
    let links = content::read(message, &structure, &Limits::default()).links;
    let wanted = Wanted {
        strip: strip.then_some(&is_evil as &dyn Fn(&Link) -> bool),
        banner: banner.then_some(BANNER),
        links: &links,
    };
    write(message, &structure, &wanted)
}

fn parse(message: &Message) -> Structure {
    mime::parse(message.octets()).unwrap()
}

fn has(message: &Message, what: &[u8]) -> bool {
    memchr::memmem::find(message.octets(), what).is_some()
}

/// Whether it is no fault that this is not proved: no reader that nobody doubts reads it.
fn is_in_doubt(message: &Message, proof: Unproved) -> bool {
    match proof {
        Unproved::ReadersDisagree => true,
        // RFC 2045 §6.7 rule 5: a soft line break is no end, and readers make of it what they like.
        Unproved::Text => has(message, b"=\r\n--") || has(message, b"=\r\n\r\n--"),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_done_about_links_is_proved(before in message_of(PIECES), strip: bool, banner: bool, footer: bool) {
        let mut edits = written(&before, strip, banner).edits;
        if footer && let Ok(more) = plan_footer(&before, &parse(&before), &FOOTER) {
            edits.extend(more);
        }
        let Ok(after) = edit::apply(&before, &edits) else {
            // What wants the same octets is left out by the policy (`policy::combine`).
            prop_assert!(footer && (strip || banner));
            return Ok(());
        };
        let shown = String::from_utf8_lossy(before.octets());
        match prove(&before, &after, &edits) {
            Ok(_) => {}
            Err(reason) => prop_assert!(is_in_doubt(&before, reason), "{reason:?} {edits:?}\n{shown}"),
        }
        if edits.iter().any(|edit| edit.kind == EditKind::Links) {
            let left = content::read(&after, &parse(&after), &Limits::default()).links;
            prop_assert!(!left.found.iter().any(is_evil), "{shown}");
        }
        let is_wide = |line: &[u8]| line.len() > 999;
        prop_assert!(!after.octets().split(|octet| *octet == b'\n').any(is_wide));
    }

    #[test]
    fn more_than_was_said_is_not_proved(
        before in message_of(PIECES),
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(vec!["", " ", "x", "[link removed]", "<", "\r\n"]),
        length in 0usize..6,
    ) {
        let edits = written(&before, true, true).edits;
        prop_assume!(!edits.is_empty());
        let after = edit::apply(&before, &edits).unwrap();
        let start = at.index(after.len());
        let end = after.len().min(start + length);
        let octets = after.octets();
        let spoiled = [&octets[..start], with.as_bytes(), &octets[end..]].concat();
        prop_assume!(spoiled != octets[..]);
        prop_assert_eq!(prove(&before, &Message::new(spoiled), &edits), Err(Unproved::NotSpliced));
    }

    /// The splice itself takes more than it says.
    #[test]
    fn a_splice_that_takes_more_is_not_proved(before in message_of(PIECES), which in any::<prop::sample::Index>()) {
        let mut edits = written(&before, true, false).edits;
        prop_assume!(!edits.is_empty());
        let which = which.index(edits.len());
        edits[which].at.end += 1;
        let extra = before.octets().get(edits[which].at.end - 1).copied().unwrap_or(b' ');
        let Ok(after) = edit::apply(&before, &edits) else { return Ok(()) };
        // White space between the digits of an encoding says nothing.
        prop_assert!(prove(&before, &after, &edits).is_err() || b"\r\n =".contains(&extra));
    }
}

/// One line for the judge, if something is done and proved.
fn case(before: &Message, strip: bool, banner: bool) -> Option<String> {
    let edits = written(before, strip, banner).edits;
    if edits.is_empty() {
        return None;
    }
    let after = edit::apply(before, &edits).unwrap();
    prove(before, &after, &edits).ok()?;
    let with_banner = |edit: &Edit| edit.says.is_some();
    let case = serde_json::json!({
        "before": STANDARD.encode(before.octets()),
        "after": STANDARD.encode(after.octets()),
        "parts": edits.iter().filter_map(|edit| edit.part.as_deref()).collect::<Vec<_>>(),
        "with_banner": edits.iter().filter(|edit| with_banner(edit)).filter_map(|edit| edit.part.as_deref()).collect::<Vec<_>>(),
        "banner": "CAUTION: links in here lead elsewhere. - evil[.]example is not ours",
    });
    Some(format!("{case}\n"))
}

#[test]
fn pythons_reader_sees_the_same_words_without_the_links() {
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    while cases.len() < 400 {
        let before = message_of(PIECES).new_tree(&mut runner).unwrap().current();
        let turn = cases.len() % 3;
        cases.extend(case(&before, turn != 0, turn != 1));
    }
    assert_judged("links_judge.py", &cases);
}

/// Mail made to be difficult, each link of it to be taken out and a banner put in.
#[test]
fn the_torture_collection_is_edited_with_proof_or_left_alone() {
    let mut files = Vec::new();
    corpus::collect(Path::new("/work/corpora/torture-dev"), &mut files);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        let before = Message::new(corpus::with_crlf(&std::fs::read(&file).unwrap()));
        let Ok(structure) = mime::parse(before.octets()) else {
            continue;
        };
        let links = content::read(&before, &structure, &Limits::default()).links;
        let all = |_: &Link| true;
        let wanted = Wanted {
            strip: (!links.found.is_empty()).then_some(&all as &dyn Fn(&Link) -> bool),
            banner: Some(BANNER),
            links: &links,
        };
        let written = write(&before, &structure, &wanted);
        let after = edit::apply(&before, &written.edits).unwrap();
        let proof = match prove(&before, &after, &written.edits) {
            _ if written.edits.is_empty() => "nothing done",
            Ok(_) => "proved",
            Err(reason) => {
                eprintln!("{}: {}", file.display(), reason.word());
                reason.word()
            }
        };
        let strip = match (written.not_stripped, links.found.is_empty()) {
            (_, true) => "no links",
            (Some(reason), _) => reason.word(),
            (None, _) => "links out",
        };
        let banner = written
            .not_annotated
            .map_or("banner", |reason| reason.word());
        *outcomes
            .entry(format!("{strip}; {banner}; {proof}"))
            .or_default() += 1;
    }
    eprintln!("{outcomes:#?}");
}
