use super::*;
use crate::mail::edit::{self, EditKind};
use crate::mail::mime::{self, Encoding};
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

const FOOTER: Footer<'static> = Footer {
    text: "\nBumbleton Ltd. Company no. 01234567.\n",
    html: "<p>Bumbleton Ltd. Company no. 01234567.</p>",
    entity: "bumbleton",
    signature_text: "",
    signature_html: "",
};

const POUND: Footer<'static> = Footer {
    text: "Café, paid-up capital £1",
    html: "<p>Café, paid-up capital £1</p>",
    entity: "cafe",
    signature_text: "",
    signature_html: "",
};

fn plan(message: &str, footer: &Footer<'_>) -> Result<Vec<Edit>, NotEdited> {
    let message = Message::new(message.replace('\n', "\r\n").into_bytes());
    let structure = mime::parse(message.octets()).unwrap();
    plan_footer(&message, &structure, footer)
}

/// The message with the footer in it, with LF for CRLF.
fn edited(message: &str, footer: &Footer<'_>) -> String {
    let edits = plan(message, footer).unwrap();
    let message = Message::new(message.replace('\n', "\r\n").into_bytes());
    let edited = edit::apply(&message, &edits).unwrap();
    let text = String::from_utf8(edited.octets().to_vec()).unwrap();
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    let structure = mime::parse(edited.octets()).unwrap();
    assert_eq!(
        plan_footer(&edited, &structure, footer),
        Err(NotEdited::AlreadyThere)
    );
    text.replace("\r\n", "\n")
}

fn reason(message: &str) -> NotEdited {
    plan(message, &FOOTER).unwrap_err()
}

#[test]
fn a_plain_message_gets_it_at_its_end() {
    for (body, expected) in [
        (
            "Dear all\n",
            "Dear all\n\nBumbleton Ltd. Company no. 01234567.\n",
        ),
        (
            "Dear all",
            "Dear all\n\nBumbleton Ltd. Company no. 01234567.\n",
        ),
        ("", "\nBumbleton Ltd. Company no. 01234567.\n"),
    ] {
        let header = "Subject: x\n\n";
        assert_eq!(
            edited(&format!("{header}{body}"), &FOOTER),
            format!("{header}{expected}")
        );
    }
}

#[test]
fn each_alternative_gets_it_and_nothing_else_does() {
    let message = "\
Content-Type: multipart/mixed; boundary=a

pre
--a
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain

one
--b
Content-Type: multipart/related; boundary=c

--c
Content-Type: text/html

<body>two</body>
--c
Content-Type: image/png

png
--c--
--b--
--a
Content-Type: text/plain

an attachment after the body
--a
Content-Type: message/rfc822

Subject: inner

three
--a--
";
    let expected = message
        .replace("one\n", "one\n\nBumbleton Ltd. Company no. 01234567.\n\n")
        .replace(
            "two</body>",
            "two\n<p>Bumbleton Ltd. Company no. 01234567.</p>\n</body>",
        );
    assert_eq!(edited(message, &FOOTER), expected);
    let edits = plan(message, &FOOTER).unwrap();
    let parts: Vec<_> = edits
        .iter()
        .map(|edit| edit.part.as_deref().unwrap())
        .collect();
    assert_eq!(parts, ["1.1", "1.2.1"]);
    assert!(edits.iter().all(|edit| edit.kind == EditKind::Footer));
    assert_eq!(edits[0].entity.as_deref(), Some("bumbleton"));
}

#[test]
fn one_alternative_that_has_it_leaves_it_to_the_other() {
    let message = "Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n> Bumbleton Ltd.\n> Company no.  01234567.\n--b\nContent-Type: text/html\n\n<p>x\n--b--\n";
    let edits = plan(message, &FOOTER).unwrap();
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].part.as_deref(), Some("2"));
}

#[test]
fn the_text_form_counts_in_html_and_the_other_way_round() {
    let other = Footer {
        html: "<b>Other</b>",
        ..FOOTER
    };
    let html = "Content-Type: text/html\n\n<blockquote>Bumbleton&nbsp;Ltd.<br>Company no. 0<!-- x -->1234567.</blockquote>";
    assert_eq!(plan(html, &other), Err(NotEdited::AlreadyThere));
    let hidden = "Content-Type: text/html\n\n<!-- Bumbleton Ltd. Company no. 01234567. --><p>x";
    assert!(plan(hidden, &FOOTER).is_ok());
    let part_of_it = "Subject: x\n\nBumbleton Ltd. Company no.\n";
    assert!(plan(part_of_it, &FOOTER).is_ok());
}

#[test]
fn quoted_printable_stays_so() {
    let header =
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n";
    for (body, expected) in [
        ("a=\nb\n", "a=\nb\nCaf=C3=A9, paid-up capital =C2=A31\n"),
        ("a", "a\nCaf=C3=A9, paid-up capital =C2=A31\n"),
        ("a=", "a=\n\nCaf=C3=A9, paid-up capital =C2=A31\n"),
        ("a=0D=0A", "a=0D=0A=\nCaf=C3=A9, paid-up capital =C2=A31\n"),
        ("a\n  ", "a\nCaf=C3=A9, paid-up capital =C2=A31\n  "),
        ("a  ", "a\nCaf=C3=A9, paid-up capital =C2=A31\n  "),
    ] {
        assert_eq!(
            edited(&format!("{header}{body}"), &POUND),
            format!("{header}{expected}")
        );
    }
    let html =
        "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n";
    assert_eq!(
        edited(&format!("{html}<p>x </bo=\ndy>"), &POUND),
        format!("{html}<p>x =\n\n<p>Caf=C3=A9, paid-up capital =C2=A31</p>\n</bo=\ndy>")
    );
}

#[test]
fn base64_is_written_anew_from_its_line_on() {
    let header = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n";
    let message = format!("{header}SGVs\nbG8=\n");
    assert_eq!(
        edited(&message, &POUND),
        format!("{header}SGVs\nbG8NCkNhZsOpLCBwYWlkLXVwIGNhcGl0YWwgwqMxDQo=\n")
    );
    let two = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\n--b--\n";
    let done = edited(two, &FOOTER);
    assert!(done.ends_with("=\n--b--\n"), "{done}");
}

#[test]
fn the_charset_of_the_part_is_kept_if_it_holds_the_footer() {
    let message = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\r\n";
    let message = Message::new(&message[..]);
    let structure = mime::parse(message.octets()).unwrap();
    let edits = plan_footer(&message, &structure, &POUND).unwrap();
    assert_eq!(edits.len(), 1);
    assert_eq!(edits[0].with, b"Caf\xe9, paid-up capital \xa31\r\n");
}

#[test]
fn a_charset_that_cannot_hold_it_gives_way_to_utf8_in_that_leaf_alone() {
    for (before, after) in [
        (
            "Subject: x\n\nHi\n",
            "Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nHi\nCaf=C3=A9, paid-up capital =C2=A31\n",
        ),
        (
            "Content-Type: text/plain;\n charset=\"us-ascii\"; format=flowed\nX: y\nContent-Transfer-Encoding: 7bit\n\nHi\n",
            "Content-Type: text/plain;\n charset=utf-8; format=flowed\nX: y\nContent-Transfer-Encoding: quoted-printable\n\nHi\nCaf=C3=A9, paid-up capital =C2=A31\n",
        ),
        (
            "Content-Type: text/html\nContent-Transfer-Encoding: 8bit\n\nHi\n",
            "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHi\n<p>Café, paid-up capital £1</p>\n",
        ),
        (
            "Content-Type: text/plain; charset=utf-8\n\nHi\n",
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nHi\nCaf=C3=A9, paid-up capital =C2=A31\n",
        ),
    ] {
        assert_eq!(edited(before, &POUND), after);
    }
}

#[test]
fn html_that_names_its_charset_gets_character_references() {
    let message =
        "Content-Type: text/html; charset=us-ascii\n\n<meta charset=us-ascii><p>Hi</body>\n";
    assert_eq!(
        edited(message, &POUND),
        message.replace("Hi", "Hi\n<p>Caf&#233;, paid-up capital &#163;1</p>\n")
    );
}

/// A part in UTF-16, as base64, with LF for CRLF around it.
fn utf16(label: &str, units: impl Iterator<Item = [u8; 2]>) -> String {
    use ::base64::Engine as _;
    let octets: Vec<u8> = units.flatten().collect();
    let digits = ::base64::engine::general_purpose::STANDARD.encode(octets);
    format!(
        "Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: base64\n\n{digits}\n"
    )
}

#[test]
fn utf16_becomes_utf8_if_it_says_which_of_the_two_it_is() {
    let expected = |message: &str| {
        let done = edited(message, &POUND);
        assert!(
            done.starts_with("Content-Type: text/plain; charset=utf-8\n"),
            "{done}"
        );
        let message = Message::new(done.replace('\n', "\r\n").into_bytes());
        mime::parse(message.octets())
            .unwrap()
            .root()
            .text(message.octets())
            .unwrap()
    };
    let text = "Grüße\r\n";
    let all = "Grüße\r\nCafé, paid-up capital £1\r\n";
    let marked = || "\u{feff}".encode_utf16().chain(text.encode_utf16());
    assert_eq!(
        expected(&utf16("utf-16", marked().map(u16::to_be_bytes))),
        all
    );
    assert_eq!(
        expected(&utf16("UTF-16", marked().map(u16::to_le_bytes))),
        all
    );
    assert_eq!(
        expected(&utf16(
            "utf-16be",
            text.encode_utf16().map(u16::to_be_bytes)
        )),
        all
    );
    assert_eq!(
        expected(&utf16(
            "utf-16le",
            text.encode_utf16().map(u16::to_le_bytes)
        )),
        all
    );
    let unmarked = utf16("utf-16", text.encode_utf16().map(u16::to_le_bytes));
    assert_eq!(reason(&unmarked), NotEdited::Undecodable);
}

#[test]
fn a_charset_with_states_is_left_for_utf8() {
    let header =
        "Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: 7bit\n\n";
    // It ends in the state of two octets for each letter.
    for body in ["\u{1b}$B$3$s\u{1b}(B\n", "\u{1b}$B$3$s"] {
        let done = edited(&format!("{header}{body}"), &FOOTER);
        assert!(
            done.contains("charset=utf-8") && done.contains("quoted-printable"),
            "{done}"
        );
        assert!(done.contains("=E3=81=93=E3=82=93"), "{done}");
    }
}

#[test]
fn a_field_of_mime_that_is_added_to_plain_old_mail_brings_the_version() {
    let long = "Bumbleton ".repeat(120);
    let footer = Footer {
        text: &long,
        ..FOOTER
    };
    let done = edited("Subject: x\n\nHi\n", &footer);
    assert!(
        done.starts_with(
            "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n"
        ),
        "{done}"
    );
    let done = edited("Subject: x\nMime-version: 1.0\n\nHi\n", &footer);
    assert!(
        done.starts_with("Subject: x\nMime-version: 1.0\nContent-Transfer-Encoding"),
        "{done}"
    );
}

#[test]
fn it_stands_before_the_end_of_the_body_that_counts() {
    for (html, expected) in [
        (
            "<body>a</body><body>b</body>",
            "<body>a</body><body>b\n{}\n</body>",
        ),
        (
            "<body>a<!-- </body> --></BODY >",
            "<body>a<!-- </body> -->\n{}\n</BODY >",
        ),
        (
            "<body>a</body><!--[if mso]></body><![endif]-->",
            "<body>a\n{}\n</body><!--[if mso]></body><![endif]-->",
        ),
        (
            "<body>a<script>'</body>'</script></body>",
            "<body>a<script>'</body>'</script>\n{}\n</body>",
        ),
        ("<body>a</body></html>\n", "<body>a\n{}\n</body></html>\n"),
        ("<p>a\n", "<p>a\n{}\n"),
    ] {
        let header = "Content-Type: text/html\n\n";
        assert_eq!(
            edited(&format!("{header}{html}"), &FOOTER),
            format!("{header}{}", expected.replace("{}", FOOTER.html))
        );
    }
    for html in [
        "<plaintext>a",
        "a<textarea>b",
        "<title>a",
        "<p title=\"",
        "<!-- a",
    ] {
        assert_eq!(
            reason(&format!("Content-Type: text/html\n\n{html}")),
            NotEdited::Ambiguous,
            "{html}"
        );
    }
}

#[test]
fn flowed_text_does_not_swallow_it() {
    let header = "Content-Type: text/plain; format=flowed\n\n";
    let footer = Footer {
        text: "-- \n  Bumbleton \nFrom here",
        ..FOOTER
    };
    assert_eq!(
        edited(&format!("{header}goes \n"), &footer),
        format!("{header}goes \n\n-- \n   Bumbleton\n From here\n")
    );
    let delsp = "Content-Type: text/plain; Format=\"Flowed\"; DelSp=yes\n\n";
    for (body, between) in [
        ("goes \n", "\n"),
        ("goes on \n> and on \n", "\n"),
        ("stops\n", ""),
        ("Regards\n\n-- \nA\n", ""),
        ("Regards\n\n-- \n", ""),
    ] {
        assert_eq!(
            edited(&format!("{delsp}{body}"), &footer),
            format!("{delsp}{body}{between}-- \n   Bumbleton\n From here\n")
        );
    }
}

#[test]
fn long_lines_are_written_in_quoted_printable() {
    let long = "Bumbleton ".repeat(120);
    let footer = Footer {
        text: &long,
        ..FOOTER
    };
    let done = edited("Subject: x\n\nHi\n", &footer);
    assert!(
        done.starts_with(
            "Subject: x\nMIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\nHi\nBumbleton"
        )
    );
    assert!(done.lines().all(|line| line.len() <= 76));
}

#[test]
fn what_must_be_left_alone_is_left_alone_and_says_why() {
    let mixed =
        |parts: &str| format!("Content-Type: multipart/mixed; boundary=a\n\n--a\n{parts}\n--a--\n");
    for (message, expected) in [
        (
            "Auto-Submitted: auto-replied (vacation)\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Precedence: bulk\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Auto-Submitted: auto-notified\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Auto-Submitted: auto-generated\nPrecedence: auto_reply\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\nIn-Reply-To: <a@b.example>\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Auto-Submitted: auto-replied\nX-Auto-Response-Suppress: All\n\nx".to_owned(),
            NotEdited::AutomaticReply,
        ),
        (
            "Content-Type: multipart/report; boundary=a\n\n--a\n\nx\n--a--\n".to_owned(),
            NotEdited::Report,
        ),
        (
            // One alternative has text that is not its body: it would be shown without the footer.
            "Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: multipart/related; boundary=b\n\n\
             --b\nContent-Type: application/pdf\n\nx\n--b\n\nx\n--b--\n--a\n\nx\n--a--\n"
                .to_owned(),
            NotEdited::Ambiguous,
        ),
        (
            "Content-Type: multipart/signed; boundary=a\n\n--a\n\nx\n--a--\n".to_owned(),
            NotEdited::Signed,
        ),
        (
            "Content-Type: multipart/encrypted; boundary=a\n\n--a\n\nx\n--a--\n".to_owned(),
            NotEdited::Encrypted,
        ),
        (
            "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nx".to_owned(),
            NotEdited::Encrypted,
        ),
        (
            "Content-Type: application/x-pkcs7-mime; smime-type=signed-data\n\nx".to_owned(),
            NotEdited::Signed,
        ),
        (
            "Content-Type: application/octet-stream; name=smime.p7m\n\nx".to_owned(),
            NotEdited::Encrypted,
        ),
        (
            "X: y\n\nx\n-----BEGIN PGP MESSAGE-----\n".to_owned(),
            NotEdited::Encrypted,
        ),
        (
            "X: y\n\n-----BEGIN PGP SIGNED MESSAGE-----\n".to_owned(),
            NotEdited::Signed,
        ),
        (
            mixed("\nx\n--a\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR"),
            NotEdited::Invitation,
        ),
        (mixed("Content-Type: image/png\n\nx"), NotEdited::NoTextLeaf),
        (
            mixed("Content-Disposition: attachment\n\nx"),
            NotEdited::NoTextLeaf,
        ),
        (
            mixed("Content-Type: message/rfc822\n\nX: y\n\nx"),
            NotEdited::NoTextLeaf,
        ),
        ("X: y\n\ncaf\u{e9}".to_owned(), NotEdited::Undecodable),
        (
            "Content-Transfer-Encoding: base64\n\nSGVs*bG8=".to_owned(),
            NotEdited::Undecodable,
        ),
        (
            "Content-Type: text/plain; charset=x-nobody\n\nx".to_owned(),
            NotEdited::Undecodable,
        ),
        (
            "Content-Type: text/plain\nContent-Type: text/html\n\nx".to_owned(),
            NotEdited::Ambiguous,
        ),
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx".to_owned(),
            NotEdited::Ambiguous,
        ),
        (mixed("\nx --a y"), NotEdited::Ambiguous),
        (
            "Content-Type: text/html\n\n<!-- never closed".to_owned(),
            NotEdited::Ambiguous,
        ),
    ] {
        assert_eq!(reason(&message), expected, "{message}");
    }
    let empty = Footer {
        text: "--",
        ..FOOTER
    };
    assert_eq!(plan("X: y\n\nx", &empty), Err(NotEdited::EmptyFooter));
}

#[test]
fn what_looks_alike_and_is_not_is_edited() {
    for message in [
        "Auto-Submitted: no\n\nx",
        "Auto-Submitted: auto-generated\n\nx",
        "Auto-Submitted: auto-generated\nX-Auto-Response-Suppress: All\n\nx",
        "Auto-Submitted: auto-generated\nIn-Reply-To: <a@b.example>\n\nx",
        "X-Auto-Response-Suppress: OOF\nIn-Reply-To: <a@b.example>\n\nx",
        "Auto-Submitted: Auto-Generated; owner=x\nPrecedence: bulk\n\nx",
        "Precedence: bulk\nList-Id: <a.b>\n\nx",
        "X: y\n\n> -----BEGIN PGP MESSAGE-----\n",
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a\nContent-Type: text/calendar\nContent-Disposition: attachment\n\nx\n--a--\n",
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a\nContent-Type: message/rfc822\n\nContent-Type: multipart/signed; boundary=c\n\nx\n--a--\n",
    ] {
        assert!(plan(message, &FOOTER).is_ok(), "{message}");
    }
}

const BANNER: Banner<'static> = Banner {
    text: "CAUTION: look twice",
    html: "<div>CAUTION: look twice</div>",
    once: true,
};

/// The message with the banner in it, with LF for CRLF.
fn with_banner(message: &str) -> String {
    let message = Message::new(message.replace('\n', "\r\n").into_bytes());
    let structure = mime::parse(message.octets()).unwrap();
    let edits = plan_banner(&message, &structure, &BANNER).unwrap();
    assert!(edits.iter().all(|edit| edit.kind == EditKind::Banner));
    let edited = edit::apply(&message, &edits).unwrap();
    let structure = mime::parse(edited.octets()).unwrap();
    let again = plan_banner(&edited, &structure, &BANNER);
    assert_eq!(again, Err(NotEdited::AlreadyThere));
    String::from_utf8(edited.octets().to_vec())
        .unwrap()
        .replace("\r\n", "\n")
}

#[test]
fn a_banner_stands_at_the_start() {
    for (message, expected) in [
        ("A: b\n\nhello\n", "A: b\n\nCAUTION: look twice\n\nhello\n"),
        ("A: b\n\n", "A: b\n\nCAUTION: look twice\n\n"),
        (
            "Content-Type: text/html\n\n<html><body>hello",
            "Content-Type: text/html\n\n<html><body>\n<div>CAUTION: look twice</div>\nhello",
        ),
        (
            "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<body =\nclass=3Dx>hello =\nyou",
            "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<body =\nclass=3Dx>\n<div>CAUTION: look twice</div>\nhello =\nyou",
        ),
        (
            "Content-Transfer-Encoding: base64\n\naGVsbG8K\n",
            "Content-Transfer-Encoding: base64\n\nQ0FVVElPTjogbG9vayB0d2ljZQ0KDQpo\nZWxsbwo=\n",
        ),
    ] {
        let edited = with_banner(message);
        if message.contains("base64") {
            assert!(edited.ends_with("\naGVsbG8K\n"), "{edited}");
        } else {
            assert_eq!(edited, expected);
        }
    }
}

#[test]
fn automatic_replies_get_a_banner_and_signed_mail_none() {
    assert!(with_banner("Auto-Submitted: auto-replied\n\nhello\n").contains("CAUTION"));
    let signed = "Content-Type: multipart/signed; boundary=x\n\n--x--\n".replace('\n', "\r\n");
    let signed = Message::new(signed.into_bytes());
    let structure = mime::parse(signed.octets()).unwrap();
    let planned = plan_banner(&signed, &structure, &BANNER);
    assert_eq!(planned, Err(NotEdited::Signed));
}

/// Writes a body as a program might: `width` is where it breaks its lines.
fn encoded(text: &str, encoding: &Encoding, width: usize) -> Vec<u8> {
    match encoding {
        Encoding::Base64 => {
            let digits = STANDARD.encode(text);
            let lines: Vec<&str> = digits
                .as_bytes()
                .chunks(width)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            format!("{}\r\n", lines.join("\r\n")).into_bytes()
        }
        Encoding::QuotedPrintable => encode::quoted_printable(text.as_bytes(), "\r\n"),
        _ => text.as_bytes().to_vec(),
    }
}

proptest! {
    #[test]
    fn what_is_changed_is_changed_alone(
        text in "([a-z =é.<>]|\r\n|[ -~]{70}){0,120}",
        which in prop::sample::select(vec![Encoding::EightBit, Encoding::QuotedPrintable, Encoding::Base64]),
        width in prop::sample::select(vec![76usize, 60, 22, 4]),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, "([a-z ]{0,12}|a b\r\n)"), 0..8),
    ) {
        let word = match which { Encoding::EightBit => "8bit", Encoding::Base64 => "base64", _ => "quoted-printable" };
        let header = format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {word}\r\n\r\n");
        let body = encoded(&text, &which, width);
        let message = Message::new([header.as_bytes(), &body].concat());
        let structure = mime::parse(message.octets()).unwrap();
        let leaf = Leaf::read(&message, structure.root()).unwrap();
        let mut changes: Vec<TextChange> = Vec::new();
        let mut wanted = String::new();
        let mut from = 0;
        let mut starts: Vec<_> = cuts.iter().map(|(at, length, with)| (leaf.text().floor_char_boundary(at.index(leaf.text().len() + 1)), *length, with)).collect();
        starts.sort();
        for (at, length, with) in starts {
            let at = at.max(from);
            let end = leaf.text().floor_char_boundary((at + length).min(leaf.text().len()));
            let with = format!("[{with}]");
            wanted.push_str(&leaf.text()[from..at]);
            wanted.push_str(&with);
            from = end;
            changes.push(TextChange { kind: EditKind::Links, at: at..end, with, pad: 1, says: None });
        }
        wanted.push_str(&leaf.text()[from..]);
        let edits = leaf.changed(&changes).unwrap();
        let edited = edit::apply(&message, &edits).unwrap();
        prop_assert!(edited.octets().starts_with(header.as_bytes()));
        let structure = mime::parse(edited.octets()).unwrap();
        let read = Leaf::read(&edited, structure.root()).unwrap();
        let spaceless = |text: &str| text.replace(' ', "");
        if which == Encoding::Base64 {
            prop_assert_eq!(spaceless(read.text()), spaceless(&wanted));
        } else {
            prop_assert_eq!(read.text().trim_end(), wanted.trim_end());
        }
        if which != Encoding::EightBit {
            for line in edited.octets().split(|octet| *octet == b'\n') {
                prop_assert!(line.trim_ascii_end().len() <= 76, "{}", String::from_utf8_lossy(line));
            }
        }
    }
}
