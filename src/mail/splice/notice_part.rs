//! The footer as a part of its own, behind everything else, where it cannot go into the text.
//!
//! A mixture gets one more part. Any other message becomes the first part of a new mixture, with the fields that
//! say what it is; its body stays as it is, octet by octet.

use std::ops::Range;

use super::{Footer, NotEdited, body, encode};
use crate::mail::edit::{Edit, EditKind};
use crate::mail::header::HeaderField;
use crate::mail::message::Message;
use crate::mail::mime::{Part, Structure};

/// Returns the splices that put `footer` behind the message as a part of plain text. `structure` is that of
/// `message`.
pub fn plan_notice_part(
    message: &Message,
    structure: &Structure,
    footer: &Footer<'_>,
) -> Result<Vec<Edit>, NotEdited> {
    body::check_may_be_edited(message, structure)?;
    let root = structure.root();
    match root.is("multipart", "mixed") && root.has_children {
        true => one_more_part(message.octets(), root, footer).map(|edit| vec![edit]),
        false => new_mixture(message.octets(), root, footer),
    }
}

fn one_more_part(octets: &[u8], root: &Part, footer: &Footer<'_>) -> Result<Edit, NotEdited> {
    let boundary = root.content_type.params.get("boundary");
    let boundary = boundary.ok_or(NotEdited::Ambiguous)?.trim_end();
    let line_end = root.epilogue.start.saturating_sub(1);
    let close = memchr::memrchr(b'\n', &octets[..line_end]).map_or(0, |at| at + 1);
    let notice = format!("--{boundary}\r\n{}", part(footer));
    Ok(saying(footer, splice(footer, close..close, notice)))
}

/// The message as the first part of a mixture: the fields of its content move to the part.
fn new_mixture(octets: &[u8], root: &Part, footer: &Footer<'_>) -> Result<Vec<Edit>, NotEdited> {
    let boundary = unused_boundary(octets).ok_or(NotEdited::Ambiguous)?;
    let mut edits = Vec::new();
    let fields = root.fields(octets);
    let mut moved = String::new();
    let of_content = |field: &&HeaderField<'_>| is_of_content(field.name());
    for field in fields.fields().iter().filter(of_content) {
        let range = field.range();
        let raw = std::str::from_utf8(&octets[range.clone()]).map_err(|_| NotEdited::Ambiguous)?;
        moved.push_str(raw);
        edits.push(splice(footer, range, String::new()));
    }
    let version = match fields.first("MIME-Version") {
        Some(_) => "",
        None => "MIME-Version: 1.0\r\n",
    };
    let (header, start, end) = (root.header.end, root.body.start, root.body.end);
    let kind = format!("{version}Content-Type: multipart/mixed;\r\n boundary=\"{boundary}\"\r\n");
    let first = format!("--{boundary}\r\n{moved}\r\n");
    let notice = format!("\r\n--{boundary}\r\n{}--{boundary}--\r\n", part(footer));
    edits.push(splice(footer, header..header, kind));
    edits.push(splice(footer, start..start, first));
    edits.push(saying(footer, splice(footer, end..end, notice)));
    Ok(edits)
}

fn splice(footer: &Footer<'_>, at: Range<usize>, with: String) -> Edit {
    Edit {
        kind: EditKind::Footer,
        part: None,
        entity: Some(footer.entity.to_owned()),
        audience: None,
        at,
        with: with.into_bytes(),
        says: None,
        takes: Vec::new(),
    }
}

/// The one of the splices that has the footer's words.
fn saying(footer: &Footer<'_>, edit: Edit) -> Edit {
    Edit {
        says: Some(footer.text.to_owned()),
        ..edit
    }
}

/// The part, from its header to the line end before the next boundary.
fn part(footer: &Footer<'_>) -> String {
    let text: String = footer
        .text
        .lines()
        .flat_map(|line| [line, "\r\n"])
        .collect();
    let quoted = encode::quoted_printable(text.as_bytes(), "\r\n");
    let quoted = String::from_utf8_lossy(&quoted); // ASCII
    format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         Content-Disposition: inline\r\n\r\n{quoted}\r\n"
    )
}

/// Whether a field goes with the content that it describes (RFC 2045 §9).
fn is_of_content(name: &str) -> bool {
    let start = name.get(..8);
    start.is_some_and(|start| start.eq_ignore_ascii_case("content-"))
}

/// A boundary that stands nowhere in the message.
fn unused_boundary(octets: &[u8]) -> Option<String> {
    let candidates = (0..100).map(|number| format!("=_postern_{number}_{}", octets.len()));
    let mut unused =
        candidates.filter(|boundary| memchr::memmem::find(octets, boundary.as_bytes()).is_none());
    unused.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;
    use crate::mail::prove::prove_notice_part;
    use crate::mail::{Message, edit};

    const FOOTER: Footer<'static> = Footer {
        signature_text: "",
        signature_html: "",
        text: "\nCafé Ltd. Company no. 01234567.\n",
        html: "<p>x</p>",
        entity: "cafe",
    };

    fn with_notice(lines: &str) -> String {
        let message = Message::new(lines.replace('\n', "\r\n").into_bytes());
        let structure = mime::parse(message.octets()).unwrap();
        let edits = plan_notice_part(&message, &structure, &FOOTER).unwrap();
        let edited = edit::apply(&message, &edits).unwrap();
        let proof = prove_notice_part(&message, &edited, &edits);
        assert!(
            proof.is_ok(),
            "{proof:?}\n{}",
            String::from_utf8_lossy(edited.octets())
        );
        String::from_utf8(edited.octets().to_vec())
            .unwrap()
            .replace("\r\n", "\n")
    }

    const PART: &str = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\nContent-Disposition: inline\n\n\nCaf=C3=A9 Ltd. Company no. 01234567.\n\n";

    #[test]
    fn a_mixture_gets_one_more_part() {
        let mixed = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\n\nx\n--b\nContent-Type: image/png\n\ny\n";
        assert_eq!(
            with_notice(&format!("{mixed}--b--\nepilogue")),
            format!("{mixed}--b\n{PART}--b--\nepilogue")
        );
    }

    #[test]
    fn any_other_message_becomes_the_first_part_of_one() {
        let done = with_notice(
            "Subject: x\nContent-Type: text/html; charset=x-nobody\nX: y\nContent-Transfer-Encoding: 8bit\n\n<p>x",
        );
        let boundary = "=_postern_0_100";
        assert_eq!(
            done,
            format!(
                "Subject: x\nX: y\nMIME-Version: 1.0\nContent-Type: multipart/mixed;\n boundary=\"{boundary}\"\n\n\
                 --{boundary}\nContent-Type: text/html; charset=x-nobody\nContent-Transfer-Encoding: 8bit\n\n<p>x\n\
                 --{boundary}\n{PART}--{boundary}--\n"
            )
        );
        for lines in [
            "Subject: x\n\nhello\n",
            "MIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b--\n",
            "Subject: x\n\n",
        ] {
            with_notice(lines);
        }
    }
}
