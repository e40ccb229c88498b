use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn parsed(message: &str) -> Structure {
    parse(message.replace('\n', "\r\n").as_bytes()).unwrap()
}

/// `number kind/subtype` of each part, with the entry in an attached message.
fn outline(message: &str) -> Vec<String> {
    let structure = parsed(message);
    let line = |part: &Part| {
        let entry = part.entry.map(|entry| format!("/{entry}"));
        let (kind, subtype) = (&part.content_type.kind, &part.content_type.subtype);
        format!(
            "{}{} {kind}/{subtype}",
            part.number,
            entry.unwrap_or_default()
        )
    };
    structure.parts.iter().map(line).collect()
}

fn bodies(message: &str) -> Vec<String> {
    let octets = message.replace('\n', "\r\n");
    let structure = parse(octets.as_bytes()).unwrap();
    let body = |part: &Part| octets[part.body.clone()].to_owned();
    structure.leaves().map(body).collect()
}

fn oddities(message: &str) -> Vec<Oddity> {
    let parts = parsed(message).parts;
    parts.into_iter().flat_map(|part| part.oddities).collect()
}

#[test]
fn parts_are_numbered_as_in_imap() {
    let message = "\
Content-Type: multipart/mixed; boundary=a

preamble
--a
Content-Type: multipart/alternative; boundary=b

--b

one
--b
Content-Type: text/html

two
--b--
--a
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=c

--c

three
--c
Content-Type: image/png

--c--
--a
Content-Type: application/pdf; name=x.pdf

four
--a--
epilogue
";
    assert_eq!(
        outline(message),
        [
            " multipart/mixed",
            "1 multipart/alternative",
            "1.1 text/plain",
            "1.2 text/html",
            "2 message/rfc822",
            "2 multipart/mixed",
            "2/1 text/plain",
            "2/2 image/png",
            "3 application/pdf",
        ]
    );
    assert_eq!(bodies(message), ["one", "two", "three", "", "four"]);
    assert_eq!(oddities(message), []);
    let structure = parsed(message);
    let octets = message.replace('\n', "\r\n");
    assert_eq!(&octets[structure.root().preamble.clone()], "preamble");
    assert_eq!(&octets[structure.root().epilogue.clone()], "epilogue\r\n");
    assert_eq!(structure.parts[6].within_message, Some(4));
    let children: Vec<_> = structure.children(0).map(|(at, _)| at).collect();
    assert_eq!(children, [1, 4, 8]);
}

#[test]
fn a_message_without_parts_is_part_1() {
    assert_eq!(outline("Subject: x\n\nhello\n"), ["1 text/plain"]);
    assert_eq!(bodies("Subject: x\n\nhello\n"), ["hello\r\n"]);
    assert_eq!(outline(""), ["1 text/plain"]);
    assert_eq!(
        outline("Content-Type: multipart/mixed\n\nx"),
        ["1 multipart/mixed"]
    );
}

#[test]
fn parts_of_a_digest_are_messages() {
    let message = "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: x\n\nhi\n--d\n\n\nhi\n--d--\n";
    assert_eq!(
        outline(message),
        [
            " multipart/digest",
            "1 message/rfc822",
            "1/1 text/plain",
            "2 message/rfc822",
            "2/1 text/plain"
        ]
    );
    assert_eq!(bodies(message), ["hi", "hi"]);
}

#[test]
fn an_outer_boundary_ends_what_is_inside() {
    let message = "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--a\n\ny\n--a--\n";
    assert_eq!(
        outline(message),
        [
            " multipart/mixed",
            "1 multipart/mixed",
            "1.1 text/plain",
            "2 text/plain"
        ]
    );
    assert_eq!(bodies(message), ["x", "y"]);
    assert_eq!(oddities(message), [Oddity::MissingClose]);
}

#[test]
fn what_two_readers_may_take_in_two_ways_is_noted() {
    for (message, oddity) in [
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n",
            Oddity::MissingClose,
        ),
        (
            "Content-Type: multipart/mixed; boundary=a\n\nx\n",
            Oddity::BoundaryNotFound,
        ),
        ("Content-Type: multipart/mixed\n\nx\n", Oddity::BadBoundary),
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--ab\n--a--\n",
            Oddity::PrefixBoundary,
        ),
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a--\n--a\n\ny\n",
            Oddity::BoundaryAfterClose,
        ),
        (
            "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\n--a--\n--a--\n",
            Oddity::ReusedBoundary,
        ),
        (
            "Content-Type: text/plain\nContent-Type: text/html\n\nx",
            Oddity::DuplicateField,
        ),
        ("Content-Type: text\n\nx", Oddity::MalformedType),
        (
            "Content-Type: text/plain; charset=a; charset=b\n\nx",
            Oddity::DuplicateParameter,
        ),
        ("Subject: x\nnonsense\n\nx", Oddity::MalformedHeader),
        ("Subject: x\n", Oddity::UnfinishedHeader),
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nx",
            Oddity::EncodedComposite,
        ),
    ] {
        assert!(
            oddities(message).contains(&oddity),
            "{oddity:?} in {message}"
        );
    }
}

#[test]
fn lines_may_end_in_lf_alone() {
    let structure =
        parse(b"Content-Type: multipart/mixed; boundary=a\n\n--a \n\nx\n--a--").unwrap();
    let leaf = structure.leaves().next().unwrap();
    assert_eq!(leaf.body.len(), 1);
}

#[test]
fn file_names_are_decoded_as_seen_in_the_wild() {
    for (field, name) in [
        (
            "Content-Disposition: attachment; filename=\"a b.txt\"",
            "a b.txt",
        ),
        (
            "Content-Disposition: attachment; filename*=utf-8''caf%C3%A9",
            "café",
        ),
        (
            "Content-Disposition: attachment; filename=\"=?utf-8?B?Y2Fmw6k=?=\"",
            "café",
        ),
        ("Content-Type: image/png; name=x.png", "x.png"),
    ] {
        let structure = parsed(&format!("{field}\n\nx"));
        assert_eq!(structure.root().filename().as_deref(), Some(name));
    }
}

#[test]
fn bodies_are_decoded_to_text() {
    for (header, body, text) in [
        ("Content-Transfer-Encoding: base64", "SGk=", "Hi"),
        (
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable",
            "=A3",
            "£",
        ),
        ("X: y", "£", "£"),
    ] {
        let octets = format!("{header}\n\n{body}");
        let structure = parse(octets.as_bytes()).unwrap();
        assert_eq!(
            structure.root().text(octets.as_bytes()).as_deref(),
            Ok(text)
        );
    }
    let unknown = b"Content-Transfer-Encoding: x-uuencode\n\nx";
    let structure = parse(unknown).unwrap();
    assert_eq!(
        structure.root().text(unknown),
        Err(Undecodable::TransferEncoding)
    );
}

#[test]
fn depth_and_number_of_parts_are_bounded() {
    let nested = "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX + 1);
    assert_eq!(parse(nested.as_bytes()).unwrap_err(), MimeError::TooDeep);
    assert!(parse(&nested.as_bytes()["Content-Type: message/rfc822\n\n".len()..]).is_ok());
    let many = format!(
        "Content-Type: multipart/mixed; boundary=a\n\n{}",
        "--a\n\n".repeat(PARTS_MAX)
    );
    assert_eq!(parse(many.as_bytes()).unwrap_err(), MimeError::TooManyParts);
}

fn assert_nested(octets: &[u8], structure: &Structure) {
    for part in &structure.parts {
        assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
        assert!(part.body.start <= part.body.end && part.body.end <= octets.len());
        for inner in [&part.preamble, &part.epilogue] {
            assert!(
                inner.start <= inner.end
                    && part.body.start <= inner.start
                    && inner.end <= part.body.end
            );
        }
        if let Some(parent) = part.parent {
            let parent = &structure.parts[parent];
            assert!(parent.body.start <= part.header.start && part.body.end <= parent.body.end);
        }
    }
    for (at, part) in structure.parts.iter().enumerate() {
        let mut end = part.body.start;
        for (_, child) in structure.children(at) {
            assert!(child.header.start >= end);
            end = child.body.end;
        }
    }
    for leaf in structure.leaves() {
        let _ = (leaf.decoded(octets), leaf.text(octets), leaf.filename());
    }
}

/// Lines that make structure, in any order.
fn mail_like() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=a\r\n"),
        Just("Content-Type: multipart/digest; boundary=\"b\"\r\n"),
        Just("Content-Type: multipart/alternative; boundary=ab\n"),
        Just("Content-Type: message/rfc822\r\n"),
        Just("Content-Type: text/html; charset=utf-8; x*0*=utf-8''%zz\r\n"),
        Just("Content-Transfer-Encoding: base64\r\n"),
        Just("Content-Disposition: attachment; filename=\"=?utf-8?q?=zz?=\"\r\n"),
        Just("\r\n"),
        Just("\n"),
        Just("--a\r\n"),
        Just("--a--\r\n"),
        Just("--b\r\n"),
        Just("--ab\n"),
        Just("--ab--"),
        Just("=C3=\r\n"),
        Just("text (\"; \r"),
    ];
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_octets_have_a_structure(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_nested(&octets, &parse(&octets).unwrap());
    }

    #[test]
    fn any_order_of_mail_lines_has_a_structure(octets in mail_like()) {
        assert_nested(&octets, &parse(&octets).unwrap());
    }
}

#[test]
fn real_mail_and_its_mutations_have_the_structure_that_mail_parser_sees() {
    let mut compared = 0;
    let mut disagreements = Vec::new();
    for file in corpus_files() {
        let octets = std::fs::read(&file).unwrap();
        let Ok(structure) = parse(&octets) else {
            continue;
        };
        assert_nested(&octets, &structure);
        for cut in [octets.len() / 3, octets.len() / 2] {
            let mutated = [&octets[cut..], &octets[..cut]].concat();
            assert_nested(&mutated, &parse(&mutated).unwrap());
        }
        if structure.parts.iter().any(|part| !part.oddities.is_empty()) {
            continue;
        }
        compared += 1;
        if outline_of(&structure) != outline_of_mail_parser(&octets) {
            disagreements.push(file);
        }
    }
    eprintln!(
        "{compared} compared, {} disagree: {disagreements:#?}",
        disagreements.len()
    );
    assert!(disagreements.len() * 100 <= compared, "{disagreements:#?}");
}

/// Kinds of the leaves, down to attached messages.
fn outline_of(structure: &Structure) -> Vec<String> {
    let own = structure
        .own_parts()
        .filter(|part| part.is_leaf() || part.is_message());
    own.map(|part| format!("{}/{}", part.content_type.kind, part.content_type.subtype))
        .collect()
}

fn outline_of_mail_parser(octets: &[u8]) -> Vec<String> {
    use mail_parser::{MimeHeaders as _, PartType};
    let Some(message) = mail_parser::MessageParser::default().parse(octets) else {
        return Vec::new();
    };
    let leaves = message
        .parts
        .iter()
        .filter(|part| !matches!(part.body, PartType::Multipart(_)));
    leaves
        .map(|part| match (part.content_type(), &part.body) {
            (_, PartType::Message(_)) => "message/rfc822".to_owned(),
            (Some(kind), _) => format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default())
                .to_ascii_lowercase(),
            (None, _) => "text/plain".to_owned(),
        })
        .collect()
}

/// The mail of the corpora unpacked beside the project, or nothing if they are not there.
fn corpus_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["/work/corpora/torture-dev", "/work/corpora/dev"] {
        collect(Path::new(folder), &mut files);
    }
    if files.is_empty() {
        eprintln!("skipped: no corpora in /work/corpora");
    }
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|kind| kind == "eml" || kind == "msg")
        {
            files.push(path);
        }
    }
}

/// Found by tests/fuzz.rs: a form feed ended a token and was no white space, so that the same octet was read for
/// ever, and memory with it.
#[test]
fn a_field_with_a_form_feed_comes_to_its_end() {
    for value in [
        "text/plain; \x0c",
        "text/plain;\x0ccharset=utf-8",
        "\x0c",
        "text/plain; a\x0c=b; c=d",
        "a/b; c=\x0c\x0bd",
    ] {
        let octets = format!("Content-Type: {value}\r\nContent-Disposition: {value}\r\n\r\nx");
        assert_eq!(parse(octets.as_bytes()).unwrap().parts.len(), 1);
    }
}
