//! What of a mail is said in a text message: the words of its author, without signature and quoted mail.

use crate::mail::Message;
use crate::mail::mime::{Part, Structure};

use super::{html, text};

/// Why nobody can say in a text message what a mail says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unsaid {
    /// The bodies are longer than any text: half of them may say something else.
    TooLong,
    /// A page has more links than are told below a text.
    TooManyLinks,
    /// Words are in a part of a form that is not read here: a calendar, enriched text.
    UnknownForm,
}

/// The text of the bodies in their order, and what a page shows where there is no plain text for it; signature, quoted
/// mail and the white space around it cut. Empty if nothing is left.
///
/// Not what is looked through for patient data: that has what a page hides as well, its comments and style sheets, and
/// every further reading of a text.
///
/// # Errors
/// Not all that a reader of the mail sees can be said.
pub fn short_text(message: &Message, structure: &Structure) -> Result<String, Unsaid> {
    let mut said: Vec<String> = Vec::new();
    let mut room = OCTETS_MAX;
    for choice in choices(message, structure) {
        let plain = choice.bodies("plain", &mut room)?;
        let words = own_words(&plain.join("\n"));
        let words = if words.is_empty() {
            let pages = choice.bodies("html", &mut room)?;
            let shown: Vec<String> = pages
                .iter()
                .map(|page| html::shown(page).ok_or(Unsaid::TooManyLinks))
                .collect::<Result<_, _>>()?;
            own_words(&shown.join("\n"))
        } else {
            words
        };
        if words.is_empty() && choice.parts.iter().any(|part| !is_read(part)) {
            return Err(Unsaid::UnknownForm);
        }
        said.push(words);
    }
    said.retain(|words| !words.is_empty());
    Ok(said.join("\n"))
}

/// Bodies of which a reader sees one: those of a `multipart/alternative`, or a single one.
struct Choice<'m> {
    octets: &'m [u8],
    /// The outermost part that they are alternatives in.
    within: Option<usize>,
    parts: Vec<&'m Part>,
}

impl Choice<'_> {
    /// The bodies of one form, as long as there is room for them.
    fn bodies(&self, subtype: &str, room: &mut usize) -> Result<Vec<String>, Unsaid> {
        let parts = self.parts.iter().filter(|part| part.is("text", subtype));
        let bodies = parts.map(|part| {
            let octets = part.decoded(self.octets);
            *room = room.checked_sub(octets.len()).ok_or(Unsaid::TooLong)?;
            let body = text::decode(&octets, part.content_type.params.get("charset"));
            Ok(match subtype {
                "plain" => joined(&body, part),
                _ => body,
            })
        });
        bodies.collect()
    }
}

/// The bodies of a message, those apart that stand for each other. What stands around the parts of a multipart no reader
/// shows.
fn choices<'m>(message: &'m Message, structure: &'m Structure) -> Vec<Choice<'m>> {
    let is_body = |part: &&Part| {
        part.is_leaf()
            && part.content_type.kind == "text"
            && !part.is_attachment()
            && part.filename().is_none()
    };
    let mut choices: Vec<Choice<'m>> = Vec::new();
    for part in structure.own_parts().filter(is_body) {
        let within = alternative_of(structure, part);
        match choices.last_mut() {
            Some(last) if within.is_some() && last.within == within => last.parts.push(part),
            _ => choices.push(Choice {
                octets: message.octets(),
                within,
                parts: vec![part],
            }),
        }
    }
    choices
}

/// The outermost `multipart/alternative` that a part lies in.
fn alternative_of(structure: &Structure, part: &Part) -> Option<usize> {
    let mut found = None;
    let mut parent = part.parent;
    while let Some(index) = parent {
        let above = structure.parts.get(index)?;
        if above.is("multipart", "alternative") {
            found = Some(index);
        }
        parent = above.parent;
    }
    found
}

fn is_read(part: &Part) -> bool {
    part.is("text", "plain") || part.is("text", "html")
}

/// A plain text whose lines are put together as its reader sees them, if they flow (RFC 3676 §4.1, §4.4).
fn joined(body: &str, part: &Part) -> String {
    let says = |name: &str, word: &str| {
        let value = part.content_type.params.get(name);
        value.is_some_and(|value| value.eq_ignore_ascii_case(word))
    };
    if !says("format", "flowed") {
        return body.to_owned();
    }
    let deletes_space = says("delsp", "yes");
    let mut text = String::with_capacity(body.len());
    // Whether the line goes on in the next one, and how deep it is quoted.
    let (mut flows, mut last_depth) = (false, 0);
    for line in body.lines() {
        let words = line.trim_start_matches('>');
        let depth = line.len() - words.len();
        let words = words.strip_prefix(' ').unwrap_or(words);
        if !flows || depth != last_depth || words == SIGNATURE {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&line[..depth]);
            // A reader shows it apart: `>24` would be a number.
            text.push_str(if depth > 0 { " " } else { "" });
        }
        flows = words.ends_with(' ') && words != SIGNATURE;
        last_depth = depth;
        match words.strip_suffix(' ') {
            Some(words) if flows && deletes_space => text.push_str(words),
            _ => text.push_str(words),
        }
    }
    text
}

/// The lines of the author: up to the signature (RFC 3676 §4.3) or the mail that is quoted below, without quoted
/// lines (§4.5).
fn own_words(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut kept: Vec<&str> = Vec::new();
    let mut is_in_quote = false;
    for ((at, line), whole) in lines.iter().enumerate().zip(text.lines()) {
        if whole == SIGNATURE || begins_quoted_mail(&lines[at..]) {
            break;
        }
        // A quote stands apart. In the middle of a sentence it is a sign: `> 38 degrees`.
        let before = at.checked_sub(1).map_or("", |before| lines[before]);
        let begins = before.is_empty() || before.ends_with(':');
        is_in_quote = is_quoted(line) && (is_in_quote || begins);
        let is_blank_again = line.is_empty() && kept.last().is_none_or(|last| last.is_empty());
        if !is_in_quote && !is_blank_again {
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
            "Ring 111 if your temperature is\n> 38 or you feel worse",
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
                "<p>Take <span style=\"text-decoration:line-through\">10</span> 5 mg</p>",
                "Take 5 mg",
            ),
            (
                "<style>.k { visibility: hidden }</style><div class=k>not <b style=\"visibility:visible\">at <i>9</i> \
                 <b style=\"display:none\">or</b></b> 10</div><div style=\"display:none\">x <b \
                 style=\"visibility:visible\">y</b></div> sharp",
                "at 9\nsharp",
            ),
            (
                "<div style=\"visibility:hidden\">not <div style=\"display:block\">at</div> <b \
                 style=\"display:inline; visibility:inherit\">9</b> <i style=\"visibility:initial\">now</i></div>",
                "now",
            ),
            (
                "<p hidden>x<p>Come at 10:30<div style=\"visibility:hidden\">y<p style=\"visibility:visible\">or 11<p>z</div>",
                "Come at 10:30\nor 11",
            ),
            (
                "<ol start=2><li>a<li value=7>b<ul><li>c</ul><li>d</ol><q>e</q><template>f</template>",
                "2. a\n7. b\nc\n8. d\n\"e\"",
            ),
            (
                "<a href=\"tel:+442079460000\">Ring us</a> on 020 7946 0000, <a href=\"tel:111\">or</a> \
                 <a href=\"MAILTO:a@b.example?subject=x\">write</a>",
                "Ring us on 020 7946 0000, or write\n111\na@b.example",
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
        assert!(said(format!("{head}{half}{half}--b--")).is_ok());
        assert_eq!(
            said(format!("{head}{half}--b\r\n\r\nb\r\n{half}--b--")),
            Err(Unsaid::TooLong)
        );
        let picture = format!(
            "Content-Type: text/html\r\n\r\n<p>hello</p><img src=\"data:{}\">",
            "A".repeat(OCTETS_MAX)
        );
        assert_eq!(said(picture), Err(Unsaid::TooLong));
        let page = |links: usize| {
            let links: String = (0..links)
                .map(|nth| format!("<a href=https://a.example/{nth}>x</a>"))
                .collect();
            said(format!("Content-Type: text/html\r\n\r\n{links}{links}"))
        };
        assert_eq!(page(20).unwrap().matches("https:").count(), 20);
        assert_eq!(page(21), Err(Unsaid::TooManyLinks));
        // A long run of empty lines and a page of links end at all.
        assert!(said(format!("\r\n{}", "\r\n".repeat(OCTETS_MAX / 2))).is_ok());
    }

    #[test]
    fn all_bodies_are_said_and_one_of_those_that_stand_for_each_other() {
        let mixed = |parts: &[(&str, &str)]| {
            let parts: String = parts
                .iter()
                .map(|(kind, words)| format!("--b\nContent-Type: text/{kind}\n\n{words}\n"))
                .collect();
            format!("Content-Type: multipart/mixed; boundary=b\n\n{parts}--b--\n")
        };
        let both = mixed(&[
            ("plain", "Come at 9\n\n-- \nus"),
            ("html", "<p>with <b>this</b>"),
            ("plain", "bye"),
        ]);
        assert_eq!(said(&both), "Come at 9\nwith this\nbye");
        let unknown = mixed(&[("plain", "Come at 9"), ("enriched", "<bold>or not</bold>")]);
        let message = Message::new(unknown.replace('\n', "\r\n").into_bytes());
        let structure = mime::parse(message.octets()).unwrap();
        assert_eq!(short_text(&message, &structure), Err(Unsaid::UnknownForm));
        let alternative = mixed(&[
            ("plain", "Come at 9"),
            ("html", "<p>x"),
            ("calendar", "BEGIN:"),
        ]);
        assert_eq!(
            said(&alternative.replace("/mixed", "/alternative")),
            "Come at 9"
        );
    }

    #[test]
    fn lines_that_flow_are_put_together() {
        let flowed = |params: &str, body: &str| {
            said(&format!(
                "Content-Type: text/plain; format=flowed{params}\n\n{body}\n"
            ))
        };
        assert_eq!(
            flowed(
                "",
                "Your appoint\nment is \nat 9 \n\n  >38 \nor so\n-- \nus"
            ),
            "Your appoint\nment is at 9\n >38 or so"
        );
        assert_eq!(
            flowed(
                "; DelSp=yes",
                "Your appoint \nment is  \nat 9\n\n> said \n> he\n"
            ),
            "Your appointment is at 9"
        );
    }

    #[test]
    fn quoted_lines_that_flow_are_quoted_whatever_they_begin_with() {
        let head = "Content-Type: text/plain; format=flowed\n\n";
        assert_eq!(
            said(&format!(
                "{head}Yes, come.\n\n> 24 Nov: may \n> I come?\n>\n>> 10:30\n"
            )),
            "Yes, come."
        );
    }

    #[test]
    fn a_text_that_is_attached_is_no_words_of_the_author() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n--b\n\
                       Content-Disposition: attachment; filename=a.txt\n\nletter\n--b--\n";
        assert_eq!(said(message), "words");
    }
}
