//! Fuzz targets of the splice engine and of both readers: real mail and mail made to be difficult, changed at
//! random. `FUZZ_SECONDS=300 FUZZ_SEED=7 cargo test --test fuzz` runs each target for so long; without
//! them two seconds each, from the same seed every time.
//!
//! They are tests and no `fuzz/` folder: the house has five top-level folders, and these run wherever the tests
//! run. A message that fails is written to a file, whose name is told.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "support/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use corpus::{collect, with_crlf};
use postern::mail::mime;
use postern::mail::prove::{Unproved, prove};
use postern::mail::splice::{Footer, plan_footer};
use postern::mail::{Edit, EditKind, Message, edit};
use postern::policy::spam::look::Look;
use postern::policy::spam::patterns::{Pattern, Patterns, Place};
use postern::policy::spam::signs::Sign;
use postern::policy::spam::{Features, Specimen};

const FOOTERS: [Footer<'static>; 2] = [
    Footer {
        signature_text: "",
        signature_html: "",
        text: "\n-- \nBumbleton Ltd. Company no. 01234567.",
        html: "<p>Bumbleton Ltd.<br>Company no. 01234567.</p>",
        entity: "plain",
    },
    Footer {
        signature_text: "",
        signature_html: "",
        text: "Café Bumbleton – paid-up capital £100\nEdinburgh\n",
        html: "<hr>\n<p>Café Bumbleton – paid-up capital £100</p>",
        entity: "accents",
    },
];

/// Whatever the engine edits is proved, or cannot be read without doubt: it is never found to be wrong.
#[test]
fn splice_does_nothing_that_the_proof_finds_wrong() {
    run("splice", |message, random| {
        let Ok(structure) = mime::parse(message.octets()) else {
            return "limits";
        };
        let footer = &FOOTERS[random.below(2)];
        let edits = match plan_footer(message, &structure, footer) {
            Ok(edits) => edits,
            Err(reason) => return reason.word(),
        };
        let after = edit::apply(message, &edits).unwrap();
        match prove(message, &after, &edits) {
            Ok(_) => "proved",
            Err(
                reason @ (Unproved::Unreadable(_)
                | Unproved::ReadersDisagree
                | Unproved::Undecodable
                | Unproved::OtherReader),
            ) => reason.word(),
            Err(reason) => panic!("{}", reason.word()),
        }
    });
}

/// An edit at random is proved only if it adds to text what it says, and leaves the other parts alone.
#[test]
fn readers_prove_no_edit_that_changes_another_part() {
    run("prove", |message, random| {
        let octets = message.octets();
        let (one, other) = (
            random.below(octets.len() + 1),
            random.below(octets.len() + 1),
        );
        let (start, end) = match random.below(3) {
            0 => (one.min(other), one.max(other).min(one.min(other) + 8)),
            _ => (one, one),
        };
        let with = TOKENS[random.below(TOKENS.len())];
        let edit = Edit {
            audience: None,
            kind: [EditKind::Footer, EditKind::Mark, EditKind::Trace][random.below(3)],
            part: None,
            entity: None,
            at: start..end,
            with: with.as_bytes().to_vec(),
            says: (random.below(4) > 0).then(|| with.to_owned()),
            takes: Vec::new(),
        };
        let edits = [edit];
        let after = edit::apply(message, &edits).unwrap();
        let proof = match prove(message, &after, &edits) {
            Ok(proof) => proof,
            Err(reason) => return reason.word(),
        };
        if proof.parts == 0 {
            assert_eq!(message.body_octets(), after.body_octets());
            return "header proved";
        }
        let (old, new) = (
            mime::parse(octets).unwrap(),
            mime::parse(after.octets()).unwrap(),
        );
        let leaves = old.leaves().zip(new.leaves());
        let differ = leaves.filter(|(old, new)| old.raw(octets) != new.raw(after.octets()));
        assert!(old.parts.len() == new.parts.len() && differ.count() <= proof.edited);
        "proved"
    });
}

/// The structure of any octets lies within them.
#[test]
fn structure_lies_within_the_octets() {
    run("structure", |message, _| {
        let octets = message.octets();
        let Ok(structure) = mime::parse(octets) else {
            return "limits";
        };
        for part in &structure.parts {
            assert!(part.header.end <= part.body.start && part.body.end <= octets.len());
            let _ = (
                part.text(octets),
                part.filename(),
                part.decoded(octets).len(),
            );
        }
        "read"
    });
}

/// What rules and learner look at in any message is bounded, finite, and the same every time.
#[test]
fn any_message_can_be_scored() {
    let expressions = [
        (Place::Text, r"\b(free|offer)\b.*!"),
        (Place::Html, r"<[a-z]+[^>]*style"),
        (Place::Link, r"^https?://[^/]*\d"),
        (Place::Charset, "^koi8|^gb"),
        (Place::Name, "help ?desk"),
    ];
    let expressions = expressions.map(|(place, text)| Pattern {
        place,
        text: text.to_owned(),
        traces_at_most: None,
    });
    let patterns = Patterns::new(expressions.iter().enumerate()).unwrap();
    run("spam", |message, _| {
        let specimen = Specimen::read(message.octets().to_vec());
        let features = specimen.features();
        assert_eq!(Features::unpack(&features.pack()), features);
        assert!(features.len() < 20_000);
        specimen.ask(|mail| {
            let look = Look::new(*mail);
            let spoke = Sign::ALL.iter().filter(|sign| sign.holds(&look)).count();
            match spoke + patterns.hits(&look).len() {
                0 => "silent",
                _ => "spoke",
            }
        })
    });
}

/// Runs a target on changed seeds until its time is over, and tells what came of it.
fn run(target: &str, check: impl Fn(&Message, &mut Random) -> &'static str) {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse::<u64>().unwrap())
    };
    let mut random = Random(number("FUZZ_SEED", 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let end = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 2));
    let seeds = seeds();
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    while Instant::now() < end {
        let message = Message::new(changed(&seeds, &mut random));
        let keep = Keep {
            target,
            message: &message,
        };
        *outcomes.entry(check(&message, &mut random)).or_default() += 1;
        drop(keep);
    }
    println!(
        "{target}: {} cases, {outcomes:?}",
        outcomes.values().sum::<u64>()
    );
}

/// Writes a message down if the check of it breaks off.
struct Keep<'m> {
    target: &'m str,
    message: &'m Message,
}

impl Drop for Keep<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = std::env::temp_dir().join(format!("postern-fuzz-{}.eml", self.target));
            let _ = std::fs::write(&file, self.message.octets());
            eprintln!("the message is in {}", file.display());
        }
    }
}

/// A seed with some changes.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut octets = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(5) {
        let at = random.below(octets.len() + 1);
        let end = (at + random.below(40)).min(octets.len());
        match random.below(6) {
            0 => drop(octets.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
            1 => drop(octets.splice(at..end, TOKENS[random.below(TOKENS.len())].bytes())),
            2 => drop(octets.drain(at..end)),
            3 => {
                let piece = octets[at..end].to_vec();
                let to = random.below(octets.len() + 1);
                drop(octets.splice(to..to, piece));
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                octets.truncate(at);
                octets.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet = u8::try_from(random.below(256)).unwrap();
                }
            }
        }
    }
    octets
}

/// Pieces that mean something to one of the readers.
const TOKENS: &[&str] = &[
    "",
    "x",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "--",
    "--b\r\n",
    "--b--\r\n",
    "\r\n--b",
    "=",
    "=3D",
    "=\r\n",
    ";",
    "\"",
    "(",
    ")",
    "\\",
    "<!--",
    "-->",
    "</body>",
    "<style>",
    "&#163;",
    "\u{e9}",
    "-- \r\n",
    "> ",
    "Content-Type: text/html; charset=utf-16\r\n",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "Content-Type: multipart/alternative; boundary=\"bb\"\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Content-Transfer-Encoding: quoted-printable\r\n",
    "Content-Disposition: attachment\r\n",
    "; charset=iso-2022-jp",
    "; format=flowed; delsp=yes",
    "Subject: x\r\n",
    "Received: x\r\n",
    "Sensitivity: x\r\n",
    "AAAA",
    "\u{1b}$B",
];

/// Mail of the corpora unpacked beside the project, and some that is always there.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "Subject: x\n\nDear all\n",
        "Content-Type: text/html; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n<p>caf=E9</body>\n",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=\"bb\"\n\n--bb\n\nx\n--bb\nContent-Type: text/html\n\n<p>x\n--bb--\n--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n",
        "Content-Type: multipart/alternative; boundary=q\n\n--q\nContent-Type: text/plain; charset=utf-8; format=flowed\nContent-Transfer-Encoding: base64\n\nSGVsbG8g\n--q\nContent-Type: multipart/related; boundary=r\n\n--r\nContent-Type: text/html; charset=windows-1252\n\n<html><body>x</body></html>\n--r\nContent-Type: image/png\nContent-Disposition: inline\n\nx\n--r--\n--q--\n",
    ]
    .map(|seed| seed.replace('\n', "\r\n").into_bytes())
    .to_vec();
    let mut files = Vec::new();
    collect(Path::new("/work/corpora/torture-dev"), &mut files);
    files.sort();
    for file in files {
        let octets = std::fs::read(file).unwrap();
        if octets.len() < 20_000 {
            seeds.push(with_crlf(&octets));
        }
    }
    seeds
}

/// xorshift64*: the same cases from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % limit
    }
}
