//! What of a mail is said in a text message: the words of its author, without signature and quoted mail.

use super::{Content, Form};

/// The text of the plain bodies, or that of the HTML where there is no plain one; signature, quoted mail and the
/// white space around it cut. Empty if nothing is left.
pub fn short_text(content: &Content) -> String {
    let plain = bodies(content, Form::Plain);
    match own_words(&plain) {
        words if words.is_empty() => own_words(&bodies(content, Form::Html)),
        words => words,
    }
}

/// The bodies of one form, one below the other. What stands around the parts of a multipart no reader shows.
fn bodies(content: &Content, form: Form) -> String {
    let bodies = content.texts.iter().filter(|piece| {
        let path = piece.place.strip_prefix("body:");
        piece.form == form
            && path.is_some_and(|path| path.starts_with(|c: char| c.is_ascii_digit()))
    });
    let texts: Vec<&str> = bodies.map(|piece| piece.text.trim()).collect();
    texts.join("\n")
}

/// The lines of the author: up to the signature (RFC 3676 §4.3) or the mail that is quoted below, without quoted
/// lines (§4.5).
fn own_words(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if is_signature(line) || begins_quoted_mail(&lines[at..]) {
            break;
        }
        let is_blank_again = line.is_empty() && kept.last().is_none_or(|last| last.is_empty());
        if !line.starts_with('>') && !is_blank_again {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

/// Trailing space is gone by now: `-- ` is `--`.
fn is_signature(line: &str) -> bool {
    line == "--"
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
    if first.starts_with("From:") && (field(lines.get(1), "Sent:") || field(lines.get(1), "Date:"))
    {
        return true;
    }
    let below = lines.iter().skip(1).find(|line| !line.is_empty());
    first.starts_with("On ")
        && first.ends_with("wrote:")
        && below.is_some_and(|line| line.starts_with('>'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Limits, read};
    use crate::mail::{Message, mime};

    fn said(message: &str) -> String {
        let message = Message::new(message.replace('\n', "\r\n").into_bytes());
        let structure = mime::parse(message.octets()).unwrap();
        short_text(&read(&message, &structure, &Limits::default()))
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
    fn a_text_that_is_attached_is_no_words_of_the_author() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nwords\n--b\n\
                       Content-Disposition: attachment; filename=a.txt\n\nletter\n--b--\n";
        assert_eq!(said(message), "words");
    }
}
