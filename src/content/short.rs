//! What of a mail is said in a text message: the words of its author, without signature and quoted mail.

use crate::mail::Message;
use crate::mail::mime::{Part, Structure};

use super::{html, text};

/// The text of the plain bodies, or what the HTML shows where there is no plain one; signature, quoted mail and the
/// white space around it cut. Empty if nothing is left; `None` if the bodies are longer than any text: half of them may
/// say something else.
///
/// Not what is looked through for patient data: that has what a page hides as well, its comments and style sheets, and
/// every further reading of a text.
pub fn short_text(message: &Message, structure: &Structure) -> Option<String> {
    let plain = bodies(message, structure, "plain")?;
    match own_words(&plain.join("\n")) {
        words if words.is_empty() => {
            let pages = bodies(message, structure, "html")?.into_iter();
            let shown: Vec<String> = pages.map(|page| html::shown(&page)).collect();
            Some(own_words(&shown.join("\n")))
        }
        words => Some(words),
    }
}

/// The bodies of one form; `None` if they are too long together. What stands around the parts of a multipart no reader
/// shows.
fn bodies(message: &Message, structure: &Structure, subtype: &str) -> Option<Vec<String>> {
    let is_body = |part: &&Part| {
        part.is_leaf()
            && part.is("text", subtype)
            && !part.is_attachment()
            && part.filename().is_none()
    };
    let mut room = OCTETS_MAX;
    let bodies = structure.own_parts().filter(is_body);
    bodies
        .map(|part| {
            let octets = part.decoded(message.octets());
            room = room.checked_sub(octets.len())?;
            Some(text::decode(
                &octets,
                part.content_type.params.get("charset"),
            ))
        })
        .collect()
}

/// The lines of the author: up to the signature (RFC 3676 §4.3) or the mail that is quoted below, without quoted
/// lines (§4.5).
fn own_words(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut kept: Vec<&str> = Vec::new();
    for ((at, line), whole) in lines.iter().enumerate().zip(text.lines()) {
        if whole == SIGNATURE || begins_quoted_mail(&lines[at..]) {
            break;
        }
        let is_blank_again = line.is_empty() && kept.last().is_none_or(|last| last.is_empty());
        if !is_quoted(line) && !is_blank_again {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

/// A line of mail that is quoted. `>38` is a number.
fn is_quoted(line: &str) -> bool {
    let quoted = line.strip_prefix('>');
    quoted.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The line over a mail that is quoted whole: `-----Original Message-----`, the fields of Outlook, or
/// `On … wrote:` with quoted lines below it.
fn begins_quoted_mail(lines: &[&str]) -> bool {
    let first = lines.first().map_or("", |line| line.trim());
    let words = first.trim_matches(|c: char| c == '-' || c == '_' || c.is_whitespace());
    let ruled = first.starts_with("--") || first.starts_with("__");
    if ruled
        && ["Original Message", "Forwarded message"]
            .iter()
            .any(|one| words.eq_ignore_ascii_case(one))
    {
        return true;
    }
    let field = |line: Option<&&str>, name: &str| {
        line.is_some_and(|line| line.trim_start().starts_with(name))
    };
    // `From` and `Date` may as well be those of an appointment.
    let named = |name| {
        lines
            .iter()
            .take(FIELDS_MAX)
            .any(|line| field(Some(line), name))
    };
    let is_dated = field(lines.get(1), "Date:") && named("To:") && named("Subject:");
    if first.starts_with("From:") && (field(lines.get(1), "Sent:") || is_dated) {
        return true;
    }
    let mut below = lines.iter().skip(1);
    // Looked for last: it may be far, and every line is asked.
    first.starts_with("On ")
        && first.ends_with("wrote:")
        && below
            .find(|line| !line.is_empty())
            .is_some_and(|line| line.starts_with('>'))
}

/// The line over a signature. Without its space it may as well part one thing from another.
const SIGNATURE: &str = "-- ";
/// Fields over a mail that is quoted.
const FIELDS_MAX: usize = 6;
/// Octets of all bodies of a form: a text has some hundred.
const OCTETS_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime;

    fn said(message: &str) -> String {
        let message = Message::new(message.replace('\n', "\r\n").into_bytes());
        let structure = mime::parse(message.octets()).unwrap();
        short_text(&message, &structure).unwrap()
    }

    #[test]
    fn a_text_is_what_its_author_wrote() {
        let words = "Your repeat is ready.\nSee you soon";
        for below in [
            "",
            "\n\n-- \nBumbleton Pharmacies Ltd",
            "\n\n> an earlier line\n> and another",
            "\n\nOn 1 May, A wrote:\n> hello",
            "\n\n-----Original Message-----\nFrom: x",
            "\n________________________________\n\nFrom: x\nSent: 1 May",
        ] {
            let shown = said(&format!("Subject: x\n\n\n{words}{below}\n"));
            assert!(
                shown.starts_with(words) && !shown.contains("hello"),
                "{below}: {shown}"
            );
            assert!(
                !shown.contains("earlier") && !shown.contains("Ltd") && !shown.contains("Sent")
            );
        }
        assert_eq!(
            said("\nOn Monday the nurse wrote:\nbring the form\n"),
            "On Monday the nurse wrote:\nbring the form"
        );
        assert_eq!(said("\na   \n\n\n\nb\n"), "a\n\nb");
    }

    #[test]
    fn the_plain_part_speaks_and_html_where_it_says_nothing() {
        let both = |plain: &str| {
            format!(
                "Content-Type: multipart/alternative; boundary=b\n\npreamble\n--b\n\n{plain}\n--b\n\
                 Content-Type: text/html\n\n<p>from <b>HTML</b></p>\n--b--\nepilogue\n"
            )
        };
        assert_eq!(said(&both("from plain")), "from plain");
        assert_eq!(said(&both("  ")), "from HTML");
        assert_eq!(
            said("Content-Type: text/html\n\n<p>x</p><p>-- </p><p>y</p>"),
            "x"
        );
        assert_eq!(said("Subject: x\n\n"), "");
    }

    #[test]
    fn what_only_looks_like_a_signature_or_quoted_mail_is_said() {
        for words in [
            "Your appointment:\nFrom: 10:30\nDate: 24 November\nWith: Dr Hart",
            "Bumbleton Surgery\n--\nYour appointment is on 24 November",
            "Ring 111 if your temperature is\n>38 or you feel worse",
            r"Come in.\nBring C:\new and \u0041",
        ] {
            assert_eq!(said(&format!("\n{words}\n")), words);
        }
        let forwarded = "\nsee below\n\nFrom: a\nDate: b\nTo: c\nSubject: d\n\nhello\n";
        assert_eq!(said(forwarded), "see below");
        assert_eq!(said("\nhello\n-- \n"), "hello");
    }

    #[test]
    fn of_a_page_is_said_what_it_shows() {
        let page = |html: &str| said(&format!("Content-Type: text/html\n\n{html}\n"));
        for (html, shown) in [
            (
                "<html><head><title>t</title><style>p { color: red }</style></head><body><!-- 9:00 -->\
                 <p>Visit <script>x = 1</script>10:30</p><img alt=\"logo\" src=\"https://a.example/x\"></body></html>",
                "Visit 10:30",
            ),
            (
                "<p>Take <span style=\"display:none\">no </span>tablets</p>",
                "Take tablets",
            ),
            (
                "<div style=\"display:none\">preheader</div><p>hello</p>",
                "hello",
            ),
            (
                "<p>Take <del>10</del> 5 mg, <s>twice</s> once</p>",
                "Take 5 mg, once",
            ),
            (
                "<p>10<sup>9</sup> on the 1<sup>st</sup></p>",
                "10^9 on the 1st",
            ),
            (
                "<p>10<sup><span>9</span></sup>, 2<sup>&#51;</sup>, 10<sup> <b>-6</b></sup> 5<sup></sup>8</p>",
                "10^9, 2^3, 10 ^-6 58",
            ),
            (
                "<style>@media (max-width:480px) { .desktop { display:none } } .pre { display:none }</style>\
                 <p class=pre>preheader</p><div style=\"font-size:0\"><p style=\"font-size:13px\">Come at \
                 <span class=desktop>10:30</span></p></div><a style=\"mso-hide:all\">Confirm</a>",
                "Come at 10:30\nConfirm",
            ),
            (
                // A paragraph ends where the next block begins, or the one around it ends (HTML §13.2.6.4.7).
                "<p hidden>preheader<p>Come<div><p style=\"display:none\">x</div>at <p hidden>y</p>10:30<p hidden>z<br>z",
                "Come\nat 10:30",
            ),
            (
                "<p><a href=\"https://a.example/?a=1&amp;b=2\">Confirm</a> or <a href=\"#x\">not</a></p>\
                 <a href=\"https://b.example/\">https://b.example/</a><!-- <a href=\"https://c.example/\">c</a> -->",
                "Confirm or not\nhttps://b.example/\nhttps://a.example/?a=1&b=2",
            ),
        ] {
            assert_eq!(page(html), shown, "{html}");
        }
    }

    #[test]
    fn half_a_letter_is_not_said_nor_are_links_without_end() {
        let said = |octets: String| {
            let message = Message::new(octets.into_bytes());
            let structure = mime::parse(message.octets()).unwrap();
            short_text(&message, &structure)
        };
        let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
        let half = format!("--b\r\n\r\n{}\r\n", "a".repeat(OCTETS_MAX / 2));
        assert!(said(format!("{head}{half}{half}--b--")).is_some());
        assert_eq!(
            said(format!("{head}{half}--b\r\n\r\nb\r\n{half}--b--")),
            None
        );
        let picture = format!(
            "Content-Type: text/html\r\n\r\n<p>hello</p><img src=\"data:{}\">",
            "A".repeat(OCTETS_MAX)
        );
        assert_eq!(said(picture), None);
        let links: String = (0..30)
            .map(|nth| format!("<a href=https://a.example/{nth}>x</a>"))
            .collect();
        let page = said(format!("Content-Type: text/html\r\n\r\n{links}")).unwrap();
        assert_eq!(page.matches("https:").count(), 20);
        // A long run of empty lines and a page of links end at all.
        assert!(said(format!("\r\n{}", "\r\n".repeat(OCTETS_MAX / 2))).is_some());
    }

    #[test]
    fn a_text_that_is_attached_is_no_words_of_the_author() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n--b\n\
                       Content-Disposition: attachment; filename=a.txt\n\nletter\n--b--\n";
        assert_eq!(said(message), "words");
    }
}
