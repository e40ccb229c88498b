use super::*;
use crate::content;
use crate::mail::{edit, mime};
use crate::policy::Limits;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

fn is_evil(link: &Link) -> bool {
    let host = link.target.host.as_ref().map(ToString::to_string);
    link.way != Way::Shown && host.is_some_and(|host| host.ends_with("evil.example"))
}

fn found(message: &Message) -> Links {
    let structure = mime::parse(message.octets()).unwrap();
    content::read(message, &structure, &Limits::default()).links
}

fn strip(message: &Message) -> Result<Message, NotEdited> {
    let structure = mime::parse(message.octets()).unwrap();
    let links = found(message);
    let wanted = Wanted {
        strip: Some(&is_evil),
        banner: None,
        links: &links,
    };
    let written = write(message, &structure, &wanted);
    match written.not_stripped {
        Some(reason) => Err(reason),
        None => Ok(edit::apply(message, &written.edits).unwrap()),
    }
}

fn stripped(kind: &str, body: &str) -> Result<String, NotEdited> {
    let head = format!("Content-Type: {kind}; charset=utf-8\r\n\r\n");
    let message = Message::new(format!("{head}{body}").into_bytes());
    let text = String::from_utf8(strip(&message)?.octets().to_vec()).unwrap();
    Ok(text.strip_prefix(&head).unwrap().to_owned())
}

#[test]
fn links_go_and_their_text_stays() {
    for (body, after) in [
        (
            "<p>a <a href=\"https://evil.example/x\" class=b>our site</a> c",
            "<p>a <a   class=b>our site</a> c",
        ),
        (
            "<a href=https://evil.example>https://evil.example</a>",
            "<a  >[link removed]</a>",
        ),
        (
            "<a href=https://evil.example>www.nhs.uk</a>",
            "<a  >www.nhs.uk</a>",
        ),
        ("<b>see http&#58;//evil.example!", "<b>see [link removed]!"),
        (
            "<a href=https://good.example>x</a>http://evil.example",
            "<a href=https://good.example>x</a>[link removed]",
        ),
        ("<p style=\"background:url(//evil.example)\">x", "<p  >x"),
        (
            "<style>a { b: url('//evil.example/c') }</style>x",
            "<style>a { b: url(' ') }</style>x",
        ),
    ] {
        assert_eq!(stripped("text/html", body).unwrap(), after, "{body}");
    }
    assert_eq!(
        stripped(
            "text/plain",
            "see https://evil.example/x, or\r\n<https://evil.exa\r\nmple>"
        )
        .unwrap(),
        "see [link removed], or\r\n<[link removed]>"
    );
}

#[test]
fn what_cannot_be_taken_out_exactly_stays() {
    let script = "<script>location='https://evil.example'</script>";
    assert_eq!(stripped("text/html", script), Err(NotEdited::Undecodable));
    let attached = "--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment\r\n\r\n<a href=//evil.example>\r\n--b--\r\n";
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let message = Message::new(format!("{head}{attached}").into_bytes());
    assert_eq!(strip(&message), Err(NotEdited::NoTextLeaf));
    let signed = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nhttp://evil.example\r\n--b--\r\n";
    assert_eq!(
        strip(&Message::new(signed.as_bytes().to_vec())),
        Err(NotEdited::Signed)
    );
}

/// A body of pieces with and without links.
fn body() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "hello ",
        "caf\u{e9} ",
        "<a href=\"https://evil.example/a?b=c&amp;d\">here</a> ",
        "<a href=//good.example>",
        "</a>",
        "https://evil.example/x ",
        "www.evil.example, ",
        "<img src='https://evil.example/p.png'> ",
        "\r\n",
        "<b>",
        "http&#58;//evil.example ",
        "<a href=http://user@evil.example>http://evil.example</a> ",
        "x=3D ",
        "<form action=https://evil.example>",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ",
        "<a href=\"https://evil.example\"href='https://sub.evil.example'>",
        "<!--[if mso]>",
        "<![endif]-->",
        "'",
        "<",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn message_of(kind: &str, encoding: &str, body: &str) -> Message {
    let encoded = match encoding {
        "base64" => {
            let digits = STANDARD.encode(body);
            let lines: Vec<&str> = digits
                .as_bytes()
                .chunks(76)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            lines.join("\r\n")
        }
        "quoted-printable" => {
            let coded: Vec<String> = body
                .split("\r\n")
                .map(|line| {
                    let coded: Vec<String> = line
                        .bytes()
                        .map(|octet| match octet {
                            b'=' | 128.. => format!("={octet:02X}"),
                            octet => char::from(octet).to_string(),
                        })
                        .collect();
                    let lines: Vec<String> = coded.chunks(24).map(<[String]>::concat).collect();
                    lines.join("=\r\n").replace(" \r\n", "=20\r\n")
                })
                .collect();
            coded.join("\r\n")
        }
        _ => body.to_owned(),
    };
    Message::new(format!(
        "Content-Type: multipart/mixed; boundary=zz\r\n\r\npreamble\r\n--zz\r\nContent-Type: {kind}; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n{encoded}\r\n--zz\r\nContent-Type: application/pdf\r\n\r\nhttp://evil\r\n--zz--\r\n"
    ).into_bytes())
}

proptest! {
    #[test]
    fn what_is_stripped_is_gone_and_the_rest_is_as_it_was(
        body in body(),
        kind in prop::sample::select(vec!["text/plain", "text/html"]),
        encoding in prop::sample::select(vec!["8bit", "quoted-printable", "base64"]),
    ) {
        let message = message_of(kind, encoding, &body);
        let Ok(after) = strip(&message) else {
            // The pieces may make up what is refused, but never without a link in them.
            prop_assert!(found(&message).found.iter().any(is_evil));
            return Ok(());
        };
        prop_assert!(!found(&after).found.iter().any(is_evil));
        let (before, later) = (mime::parse(message.octets()).unwrap(), mime::parse(after.octets()).unwrap());
        prop_assert_eq!(before.parts.len(), later.parts.len());
        prop_assert_eq!(before.parts[2].raw(message.octets()), later.parts[2].raw(after.octets()));
        prop_assert_eq!(&message.octets()[..before.parts[1].body.start], &after.octets()[..later.parts[1].body.start]);
        let words = |message: &Message, part: &Part| {
            let text = part.text(message.octets()).unwrap_or_default();
            ["hello", "here", "caf\u{e9}", "aaaa"].map(|word| text.matches(word).count())
        };
        prop_assert_eq!(words(&message, &before.parts[1]), words(&after, &later.parts[1]));
        if !found(&message).found.iter().any(is_evil) {
            prop_assert_eq!(message.octets(), after.octets());
        }
    }
}
