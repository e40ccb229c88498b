//! HTML as far as a footer needs it: what is shown, and where the body ends.
//!
//! A scanner after the tokenizer of the HTML standard: comments, quoted attributes and the elements
//! whose content is no markup are known, so that a `</body>` in one of them is not taken for one.

use mail_parser::decoders::html::add_html_token;

/// What a scan of a document found.
pub(super) struct Scan {
    /// The text that is shown, with entities decoded and no care for white space.
    pub text: String,
    /// Where the last `</body` begins.
    pub body_end: Option<usize>,
    /// Where what is shown begins: behind the first `<body>`, else behind what stands before it.
    pub body_start: usize,
    /// Whether the end of the document lies in a comment, a tag or an element like `style`: nothing
    /// written there would be shown.
    pub swallowed: bool,
    /// Whether a `meta` element says which charset it is.
    pub names_charset: bool,
}

/// Scans a document or a piece of one.
pub(super) fn scan(html: &str) -> Scan {
    let mut found = Scan {
        text: String::with_capacity(html.len()),
        body_end: None,
        body_start: 0,
        swallowed: false,
        names_charset: false,
    };
    let mut at = 0;
    let mut in_body = false;
    while at < html.len() {
        let tag = memchr::memchr(b'<', &html.as_bytes()[at..]).map_or(html.len(), |lt| at + lt);
        push_text(&mut found.text, &html[at..tag]);
        in_body = in_body || !html[at..tag].trim().is_empty();
        if tag == html.len() {
            break;
        }
        match markup(html, tag, &mut found) {
            Some(end) => {
                at = end;
                // Once something is shown, whatever says that the body begins is too late.
                if !in_body {
                    let before = Before::of(&html.as_bytes()[tag..]);
                    if before != Before::Other {
                        found.body_start = end;
                        in_body = before == Before::Body;
                    }
                }
            }
            None => {
                found.swallowed = true;
                break;
            }
        }
    }
    found
}

/// What stands before the text of a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    /// `<body>`: the last of it.
    Body,
    /// `<!DOCTYPE>`, `<?xml>`, `<html>`, `</head>`.
    Head,
    Other,
}

impl Before {
    fn of(markup: &[u8]) -> Self {
        let begins = |words: &[&str]| {
            let rest = markup.strip_prefix(b"<").unwrap_or(markup);
            let name = tag_name(rest.strip_prefix(b"/").unwrap_or(rest));
            words
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
        };
        match markup {
            [b'<', b'/', ..] if begins(&["head"]) => Self::Head,
            [b'<', b'/', ..] => Self::Other,
            _ if begins(&["body"]) => Self::Body,
            _ if begins(&["!doctype", "?xml", "html"]) => Self::Head,
            _ => Self::Other,
        }
    }
}

/// Reads the markup that begins at `at` with `<`. Returns where it ends, or `None` if it does not.
fn markup(html: &str, at: usize, found: &mut Scan) -> Option<usize> {
    let rest = &html.as_bytes()[at..];
    match rest {
        [b'<', b'!', b'-', b'-', ..] => {
            // `<!-->` and `<!--->` end at once, so the end may overlap the start.
            let end = memchr::memmem::find(&rest[2..], b"-->")?;
            Some(at + 2 + end + 3)
        }
        [b'<', b'!' | b'?', ..] => Some(at + memchr::memchr(b'>', rest)? + 1),
        [b'<', b'/', letter, ..] if letter.is_ascii_alphabetic() => {
            if tag_name(&rest[2..]).eq_ignore_ascii_case(b"body") {
                found.body_end = Some(at);
            }
            tag_end(html.as_bytes(), at + 2)
        }
        [b'<', letter, ..] if letter.is_ascii_alphabetic() => {
            let name = tag_name(&rest[1..]);
            let end = tag_end(html.as_bytes(), at + 1)?;
            let tag = &html[at..end];
            if name.eq_ignore_ascii_case(b"meta") && tag.to_ascii_lowercase().contains("charset") {
                found.names_charset = true;
            }
            if name.eq_ignore_ascii_case(b"plaintext") {
                return None; // nothing ends it
            }
            if RAW
                .iter()
                .any(|raw| name.eq_ignore_ascii_case(raw.as_bytes()))
            {
                return raw_end(html.as_bytes(), end, name);
            }
            Some(end)
        }
        _ => {
            found.text.push('<');
            Some(at + 1)
        }
    }
}

fn tag_name(rest: &[u8]) -> &[u8] {
    let end = |octet: &u8| octet.is_ascii_whitespace() || matches!(octet, b'>' | b'/');
    &rest[..rest.iter().position(end).unwrap_or(rest.len())]
}

/// Finds the `>` of a tag; one inside a quoted attribute value does not count.
fn tag_end(html: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut before_value) = (from, false);
    while let Some(octet) = html.get(at) {
        match octet {
            b'>' => return Some(at + 1),
            b'"' | b'\'' if before_value => {
                at += 1 + memchr::memchr(*octet, &html[at + 1..])?;
                before_value = false;
            }
            b'=' => before_value = true,
            octet if octet.is_ascii_whitespace() => {}
            _ => before_value = false,
        }
        at += 1;
    }
    None
}

/// Finds the end tag of an element whose content is no markup; returns where that begins.
fn raw_end(html: &[u8], from: usize, name: &[u8]) -> Option<usize> {
    let ends_here = |at: &usize| {
        let rest = &html[at + 2..];
        tag_name(rest).eq_ignore_ascii_case(name)
    };
    memchr::memmem::find_iter(&html[from..], b"</")
        .map(|at| from + at)
        .find(ends_here)
}

/// Elements whose content is not shown as text, or is no markup.
const RAW: [&str; 8] = [
    "script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes",
];

/// Adds text with its entities decoded.
fn push_text(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let entity = &rest[at..];
        match entity_len(entity) {
            Some(length) => add_html_token(out, &entity.as_bytes()[..length], false),
            None => out.push('&'),
        }
        rest = &entity[entity_len(entity).unwrap_or(1)..];
    }
    out.push_str(rest);
}

/// The length of the entity at the start, with its semicolon.
fn entity_len(text: &str) -> Option<usize> {
    let name = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'#';
    let length = text.as_bytes()[1..]
        .iter()
        .take(32)
        .take_while(|octet| name(octet))
        .count();
    (length > 0 && text.as_bytes().get(1 + length) == Some(&b';')).then_some(length + 2)
}

/// Writes the characters that `holds` refuses as character references.
pub(super) fn with_references(html: &str, holds: impl Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(html.len() + 16);
    let mut buffer = [0; 4];
    for character in html.chars() {
        if character.is_ascii() || holds(character.encode_utf8(&mut buffer)) {
            out.push(character);
        } else {
            out.push_str(&format!("&#{};", u32::from(character)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_end_of_the_body_that_is_markup_counts() {
        for (html, end) in [
            ("<body>x</body></html>", Some(7)),
            ("x</BODY >", Some(1)),
            ("</body>a</body>", Some(8)),
            ("</body><!-- </body> -->", Some(0)),
            ("</body><style></body></style>", Some(0)),
            ("</body><a title=\"</body>\">", Some(0)),
            ("</bodyx>", None),
            ("no markup", None),
        ] {
            assert_eq!(scan(html).body_end, end, "{html}");
            assert!(!scan(html).swallowed, "{html}");
        }
    }

    #[test]
    fn what_is_shown_begins_behind_the_head() {
        for (html, start) in [
            ("<html><head><title>t</title></head><body class=x>a", "a"),
            ("<!DOCTYPE html>\n<html>\n<p>a", "\n<p>a"),
            ("<html><head></head><p>a", "<p>a"),
            ("<p>a", "<p>a"),
            ("<!--[if mso]><body><![endif]--><html>a", "a"),
            ("<html>a<body>b", "a<body>b"),
            ("<body>a</body><body>b", "a</body><body>b"),
        ] {
            assert_eq!(&html[scan(html).body_start..], start, "{html}");
        }
    }

    #[test]
    fn a_document_that_ends_in_a_comment_or_tag_swallows_what_follows() {
        for html in ["x<!-- y", "x<a href=\"y", "x<style>y", "x<title", "<p a='>"] {
            assert!(scan(html).swallowed, "{html}");
        }
        for html in ["x < y", "x<!-->y", "x<p don't>y", "x<!--->y"] {
            assert!(!scan(html).swallowed, "{html}");
        }
    }

    #[test]
    fn text_is_what_is_shown() {
        for (html, text) in [
            ("<p>Caf&eacute;&nbsp;&#163;&amp;</p>", "Café\u{a0}£&"),
            ("a<!-- b --><style>c</style>d<script>'<p>'</script>", "ad"),
            ("1 < 2 & 3 &nosuch; &", "1 < 2 & 3 &nosuch; &"),
        ] {
            assert_eq!(scan(html).text, text, "{html}");
        }
        assert!(scan("<meta http-equiv=x content='text/html; charset=x'>").names_charset);
    }

    proptest! {
        #[test]
        fn any_text_can_be_scanned(html in "([<>!/&;#'\" =-]|<!--|-->|</body|style|é|x|&#1;){0,60}") {
            let found = scan(&html);
            prop_assert!(found.body_end.unwrap_or(0) <= html.len());
        }
    }
}
