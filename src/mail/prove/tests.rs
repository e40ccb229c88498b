use super::*;
use crate::mail::edit::{self, EditKind};
use crate::mail::mime;
use crate::mail::splice::{Footer, plan_footer};

const FOOTER: Footer<'static> = Footer {
    signature_text: "",
    signature_html: "",
    text: "\n-- \nBumbleton Ltd. Company no. 01234567. £1 paid up.",
    html: "<p>Bumbleton Ltd.<br>Company no. 01234567. £1 paid up.</p>",
    entity: "bumbleton",
};

fn message(lines: &str) -> Message {
    Message::new(lines.replace('\n', "\r\n").into_bytes())
}

fn footer_edits(message: &Message) -> Vec<Edit> {
    let structure = mime::parse(message.octets()).unwrap();
    plan_footer(message, &structure, &FOOTER).unwrap()
}

fn proved(before: &Message, edits: &[Edit]) -> Result<Proof, Unproved> {
    prove(before, &edit::apply(before, edits).unwrap(), edits)
}

/// A message of each shape, and how many leaves of it are added to.
const SHAPES: &[(&str, &str, usize)] = &[
    ("plain", "Subject: x\n\nDear all\n", 1),
    ("empty", "Subject: x\n\n", 1),
    ("no line end", "Subject: x\n\nDear all", 1),
    (
        "utf-8, 8bit",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ncafé\n",
        1,
    ),
    (
        "quoted-printable",
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9 =\nx\n",
        1,
    ),
    (
        "base64",
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPHA+SGVsbG88L3A+PC9ib2R5Pg==\n",
        1,
    ),
    (
        "us-ascii that cannot hold it",
        "Content-Type: text/plain; charset=us-ascii; format=flowed\nX: y\n\ngoes on \n",
        1,
    ),
    (
        "latin-9",
        "Content-Type: text/plain; charset=iso-8859-15\nContent-Transfer-Encoding: quoted-printable\n\n=A4\n",
        1,
    ),
    (
        "html",
        "Content-Type: text/html; charset=us-ascii\n\n<html><meta charset=us-ascii><body>x</body><!-- </body> --></html>\n",
        1,
    ),
    (
        "alternative",
        "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n",
        2,
    ),
    (
        "mixed",
        "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\nx\n--b\nContent-Type: application/pdf; name=\"a\n b.pdf\"\nContent-Disposition: attachment; filename=a b.pdf\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\nepilogue\n",
        1,
    ),
    (
        "related in alternative in mixed",
        "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: multipart/related; boundary=c; type=\"text/html\"\n\n--c\nContent-Type: text/html\n\n<img src=cid:1>\n--c\nContent-Type: image/png\nContent-ID: <1>\nContent-Transfer-Encoding: base64\n\nAAAA\n--c--\n--b--\n--a\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=q\n\n--q\n\none\n--q\n\ntwo\n--q--\n--a--\n",
        2,
    ),
    (
        "inline disposition",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: inline\n\nx\n--b\nContent-Disposition: attachment\n\ny\n--b--\n",
        1,
    ),
];

#[test]
fn what_the_splice_engine_does_is_proved_for_every_shape() {
    for (name, lines, edited) in SHAPES {
        let before = message(lines);
        let mut edits = footer_edits(&before);
        edits.insert(
            0,
            Edit::prepend_fields(EditKind::Trace, "Received: by x;\r\n\ty\r\n"),
        );
        let proof = proved(&before, &edits).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(proof.edited, *edited, "{name}");
    }
}

/// Ways to spoil a good edit, each with the reason that finds it out.
#[test]
fn a_spoiled_edit_is_not_proved() {
    let before = message(SHAPES[11].1);
    let edits = footer_edits(&before);
    let after = edit::apply(&before, &edits).unwrap();
    let text = String::from_utf8(after.octets().to_vec()).unwrap();
    let one = |at: &str, with: &str, says: &str| {
        let start = String::from_utf8(before.octets().to_vec())
            .unwrap()
            .find(at)
            .unwrap();
        Edit {
            at: start..start,
            with: with.as_bytes().to_vec(),
            says: Some(says.to_owned()),
            ..edits[0].clone()
        }
    };
    let cut = |from: &str| Message::new(text.replacen(from, "", 1).into_bytes());
    assert_eq!(
        prove(&before, &cut("AAAA"), &edits),
        Err(Unproved::NotSpliced)
    );
    for (spoiled, reason) in [
        (
            vec![one("<img", "<p>F</p>", "<p>F</p>")],
            Unproved::Alternative,
        ),
        (vec![one("<img", "<!-- F -->", "F")], Unproved::Text),
        (vec![one("<img", "<!--F-->", "<!--F-->")], Unproved::NotOnce),
        (vec![one("<img", "F F", "F")], Unproved::Text),
        (vec![one("AAAA", "F", "F")], Unproved::Misplaced),
        (vec![one("--c--", "F", "F")], Unproved::Misplaced),
        (
            vec![one("Subject: inner", "F: x\r\n", "F")],
            Unproved::Misplaced,
        ),
        (vec![one("<img", "F\r\n--c\r\n\r\nx", "F")], Unproved::Tree),
        (vec![one("<img", "\u{e9}", "\u{e9}")], Unproved::Text),
    ] {
        assert_eq!(proved(&before, &spoiled), Err(reason), "{:?}", spoiled[0]);
    }
    let plain = message("Subject: x\n\nDear all\n");
    let mut edits = footer_edits(&plain);
    let last = edits.last_mut().unwrap();
    last.says = Some("Another Ltd".to_owned());
    assert_eq!(proved(&plain, &edits), Err(Unproved::Text));
    edits.last_mut().unwrap().says = None;
    assert_eq!(proved(&plain, &edits), Err(Unproved::Text));
}

#[test]
fn header_fields_change_only_as_their_kind_of_edit_may() {
    let before = message(
        "Received: a\nAuthentication-Results: forged\nSubject: x\nX-Spam-Flag: NO\n\nbody --\n--\n",
    );
    let text = String::from_utf8(before.octets().to_vec()).unwrap();
    let place = |of: &str| text.find(of).unwrap()..text.find(of).unwrap() + of.len();
    let mark = |with: &str| Edit {
        says: Some("[O-S]".to_owned()),
        at: place("x\r\nX-Spam").start..place("x\r\nX-Spam").start,
        with: with.as_bytes().to_vec(),
        ..Edit::prepend_fields(EditKind::Mark, "")
    };
    let top = |kind, field: &str| Edit::prepend_fields(kind, field);
    for (edits, good) in [
        (vec![top(EditKind::Trace, "Received: b\r\n")], true),
        (
            vec![
                Edit::removal(place("Authentication-Results: forged\r\n")),
                top(EditKind::Trace, "Authentication-Results: own\r\n"),
            ],
            true,
        ),
        (vec![Edit::removal(place("X-Spam-Flag: NO\r\n"))], true),
        (
            vec![
                top(EditKind::Mark, "Sensitivity: Private\r\n"),
                mark("[O-S] "),
            ],
            true,
        ),
        (vec![mark("[O-S]\r\n ")], true),
        (vec![Edit::removal(place("Subject: x\r\n"))], false),
        (vec![Edit::removal(place("Received: a\r\n"))], false),
        (vec![top(EditKind::Trace, "Bcc: b\r\n")], false),
        (vec![top(EditKind::Mark, "Received: b\r\n")], false),
        (vec![top(EditKind::Mark, "Subject: y\r\n")], false),
        (vec![mark("[O-S] urgent ")], false),
        (vec![mark("[O-S]\r\nBcc: ")], false),
        (vec![mark("[O-S]\r\n\r\n")], false),
        (vec![Edit::removal(place("body"))], false),
    ] {
        assert_eq!(proved(&before, &edits).is_ok(), good, "{edits:?}");
    }
}

#[test]
fn what_a_submitted_message_lacks_is_put_in_beside_its_footer() {
    let before = message("X-Postern-Idempotency-Key: 7\nFrom: a@b.example\nSubject: x\n\nhello\n");
    let bare = message("Subject: x\n\nhello\n");
    let text = String::from_utf8(before.octets().to_vec()).unwrap();
    let without =
        |of: &str| Edit::removal(text.find(of).unwrap()..text.find(of).unwrap() + of.len());
    let top = |fields: &str| Edit::prepend_fields(EditKind::Trace, fields);
    let own = "From: <own@b.example>\r\n";
    let automatic = "Auto-Submitted: auto-generated\r\n";
    for (message, edits, good) in [
        (
            &before,
            vec![top(automatic), without("X-Postern-Idempotency-Key: 7\r\n")],
            true,
        ),
        (&before, vec![top("Sender: <own@b.example>\r\n")], true),
        (
            &before,
            vec![top(own), without("From: a@b.example\r\n")],
            true,
        ),
        (
            &bare,
            vec![top(&format!(
                "Date: x\r\nMessage-ID: <x@y>\r\n{own}{automatic}"
            ))],
            true,
        ),
        // A second author, none at all, and a field that nobody puts in.
        (&before, vec![top(own)], false),
        (&before, vec![without("From: a@b.example\r\n")], false),
        (&before, vec![top("Reply-To: <x@y>\r\n")], false),
    ] {
        let header_alone = proved(message, &edits).is_ok();
        let with_footer = proved(message, &[edits.clone(), footer_edits(message)].concat());
        assert_eq!(
            (header_alone, with_footer.is_ok()),
            (good, good),
            "{edits:?} {with_footer:?}"
        );
    }
}

#[test]
fn what_readers_take_in_two_ways_is_not_provable() {
    // mail-parser finds a boundary in the midst of a line.
    let before =
        message("Content-Type: multipart/mixed; boundary=bb\n\n--bb\n\nx --bb y\n--bb--\n");
    let at = before.len() - 10;
    let edit = Edit {
        part: Some("1".into()),
        at: at..at,
        with: b"F".to_vec(),
        says: Some("F".into()),
        ..Edit::prepend_fields(EditKind::Footer, "")
    };
    assert_eq!(proved(&before, &[edit]), Err(Unproved::ReadersDisagree));
}

#[test]
fn a_large_attachment_is_left_out_of_what_the_other_reader_is_given() {
    let line = format!("{}\n", "QUJD".repeat(19));
    let file = line.repeat(2_000);
    let before = message(&format!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n{file}\n--b--\n"
    ));
    let tree = reader::read(before.octets()).unwrap();
    let nodes = tree.all();
    let cuts = outside::cuts(before.octets(), &nodes, |index| index == 1);
    assert!(outside::without(before.octets(), &cuts).len() < 1_000);
    let edits = footer_edits(&before);
    assert_eq!(
        proved(&before, &edits),
        Ok(Proof {
            parts: 3,
            edited: 1
        })
    );
}

/// Were each field held against each edit, this would not end today.
#[test]
fn a_header_full_of_forged_fields_is_gone_over_once() {
    const FIELD: &[u8] = b"X-Spam-:\r\n";
    const FIELDS: usize = 400_000;
    let old = FIELD.repeat(FIELDS);
    let removal = |index: usize| Edit::removal(index * FIELD.len()..(index + 1) * FIELD.len());
    let mut edits: Vec<_> = (0..FIELDS).map(removal).collect();
    assert_eq!(header::of_message(&old, b"", &edits), Ok(()));
    // One that no edit names stays.
    edits.swap_remove(FIELDS / 2);
    assert_eq!(header::of_message(&old, FIELD, &edits), Ok(()));
    assert_eq!(header::of_message(&old, b"", &edits), Err(Unproved::Header));
}
