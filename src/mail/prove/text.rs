//! The text of a leaf as the strict reader has it, and whether one text is another with additions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

use super::reader::Node;

/// The text of a leaf, if it says without doubt what it is.
pub(super) fn of_leaf(node: &Node, octets: &[u8]) -> Option<String> {
    let raw = &octets[node.body.clone()];
    let charset = match node.param("charset") {
        Some(label) => std::str::from_utf8(label).ok()?.to_ascii_lowercase(),
        None => "us-ascii".to_owned(),
    };
    match node.encoding.as_str() {
        "7bit" | "8bit" | "binary" => in_charset(&charset, raw),
        "base64" => in_charset(&charset, &base64(raw)?),
        "quoted-printable" => in_charset(&charset, &quoted_printable(raw)?),
        _ => None,
    }
}

fn in_charset(label: &str, octets: &[u8]) -> Option<String> {
    if matches!(label, "us-ascii" | "ascii") {
        return octets
            .is_ascii()
            .then(|| octets.iter().copied().map(char::from).collect());
    }
    let (encoding, octets) = match (label, octets) {
        // RFC 2781 §4.3: what it begins with says which of the two it is.
        ("utf-16", [0xFE, 0xFF, ..]) => (UTF_16BE, &octets[2..]),
        ("utf-16", [0xFF, 0xFE, ..]) => (UTF_16LE, &octets[2..]),
        ("utf-16", _) => return None,
        _ => (Encoding::for_label(label.as_bytes())?, octets),
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(octets)?;
    Some(text.into_owned())
}

/// RFC 2045 §6.8: whole groups, padding at the end alone, white space between the digits.
fn base64(raw: &[u8]) -> Option<Vec<u8>> {
    let mut digits = Vec::with_capacity(raw.len());
    digits.extend(raw.iter().filter(|octet| !b" \t\r\n".contains(octet)));
    STANDARD.decode(digits).ok()
}

/// RFC 2045 §6.7, to the letter but for the length of lines.
fn quoted_printable(raw: &[u8]) -> Option<Vec<u8>> {
    if !raw.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(raw.len());
    for line in raw.split_inclusive(|octet| *octet == b'\n') {
        let (text, end) = match line.strip_suffix(b"\r\n") {
            Some(text) => (text, &b"\r\n"[..]),
            None => (line, &b""[..]),
        };
        let text = text.trim_ascii_end(); // rule 3: white space at the end came on the way
        let (text, end) = match text.strip_suffix(b"=") {
            Some(text) => (text, &b""[..]),
            None => (text, end),
        };
        let mut rest = text;
        while let Some(at) = memchr::memchr(b'=', rest) {
            let digit = |at: usize| char::from(*rest.get(at)?).to_digit(16);
            let (high, low) = (digit(at + 1)?, digit(at + 2)?);
            out.extend_from_slice(&rest[..at]);
            out.push(u8::try_from(high * 16 + low).ok()?);
            rest = &rest[at + 3..];
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(end);
    }
    Some(out)
}

/// Whether `new` is `old` with each of `said` put in somewhere, in this order, and nothing else. What is put
/// in may bring white space of its own, and character references for letters.
pub(super) fn is_with(old: &str, new: &str, said: &[&str]) -> bool {
    let Some((first, others)) = said.split_first() else {
        return old == new;
    };
    if new.len() < old.len() {
        return false;
    }
    let same = alike(old.as_bytes(), new.as_bytes());
    // The footer may begin as what it stands before does: some places to try, the last one first.
    let places = (same.saturating_sub(PLACES)..=same).rev();
    for at in places.filter(|at| old.is_char_boundary(*at) && new.is_char_boundary(*at)) {
        let Some(length) = said_at(&new[at..], first) else {
            continue;
        };
        let end = at + length;
        let blanks = new[end..]
            .bytes()
            .take_while(u8::is_ascii_whitespace)
            .take(BLANKS);
        let ends = 0..=blanks.count();
        if ends
            .into_iter()
            .any(|more| is_with(&old[at..], &new[end + more..], others))
        {
            return true;
        }
    }
    false
}

/// How much of `text` says `said`, from its start, white space and character references apart.
fn said_at(text: &str, said: &str) -> Option<usize> {
    let mut rest = text;
    for wanted in said.chars().filter(|character| !character.is_whitespace()) {
        rest = rest.trim_start();
        rest = match rest.strip_prefix(wanted) {
            Some(after) => after,
            None => {
                let reference = rest.strip_prefix("&#")?;
                let (digits, after) = reference.split_once(';')?;
                let number = digits.parse().ok().and_then(char::from_u32);
                (number == Some(wanted)).then_some(after)?
            }
        };
    }
    Some(text.len() - rest.len())
}

/// How often `said` stands in a text, by letters and digits alone. For HTML, both as they are shown.
pub(super) fn times_in(text: &str, said: &str, is_html: bool) -> usize {
    let (text, said) = match is_html {
        true => (bones(&shown(text)), bones(&shown(said))),
        false => (bones(text), bones(said)),
    };
    match said.is_empty() {
        true => 0,
        false => text.matches(said.as_str()).count(),
    }
}

/// Letters and digits alone, without case.
fn bones(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((octet, after)) = rest.split_first() {
        if octet.is_ascii() {
            if octet.is_ascii_alphanumeric() {
                out.push(octet.to_ascii_lowercase());
            }
            rest = after;
            continue;
        }
        let at = text.len() - rest.len();
        let Some(letter) = text[at..].chars().next() else {
            break;
        };
        if letter.is_alphanumeric() {
            out.extend(letter.to_lowercase().collect::<String>().into_bytes());
        }
        rest = &rest[letter.len_utf8()..];
    }
    String::from_utf8(out).unwrap_or_default() // whole letters alone went in
}

/// How many octets two texts begin with alike.
fn alike(one: &[u8], other: &[u8]) -> usize {
    let pieces = one.chunks(PIECE).zip(other.chunks(PIECE));
    let whole = pieces.take_while(|(one, other)| one == other).count() * PIECE;
    let from = whole.min(one.len()).min(other.len());
    let rest = one[from..].iter().zip(&other[from..]);
    from + rest.take_while(|(one, other)| one == other).count()
}

/// The text of HTML between its tags. What stands in comments, `style` and `script` is not shown;
/// a piece of markup that never ends swallows the rest.
pub(super) fn shown(html: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(html.len()), html);
    while let Some(at) = rest.find('<') {
        references(&rest[..at], &mut out);
        rest = &rest[at..];
        let is_markup =
            rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
        if !is_markup {
            out.push('<');
            rest = &rest[1..];
            continue;
        }
        match after_markup(rest) {
            Some(after) => rest = after,
            None => return out,
        }
    }
    references(rest, &mut out);
    out
}

/// What follows the tag, comment or hidden element that `html` begins with.
fn after_markup(html: &str) -> Option<&str> {
    if let Some(comment) = html.strip_prefix("<!--") {
        if let Some(after) = comment
            .strip_prefix('>')
            .or_else(|| comment.strip_prefix("->"))
        {
            return Some(after);
        }
        return comment.split_once("-->").map(|(_, after)| after);
    }
    let (tag, after) = html.split_at(tag_end(html)?);
    if is_endless(tag) {
        return None;
    }
    match hidden(tag) {
        Some(hidden) => from_close(after, hidden),
        None => Some(after),
    }
}

/// Whether nothing ends what begins with this tag.
pub(super) fn is_endless(tag: &str) -> bool {
    let plain = tag.get(..10);
    plain.is_some_and(|start| start.eq_ignore_ascii_case("<plaintext"))
}

/// Where the tag ends that `html` begins with; a `>` within quotes does not end it.
pub(super) fn tag_end(html: &str) -> Option<usize> {
    let (mut quote, mut equals) = (None, false);
    for (at, octet) in html.bytes().enumerate() {
        match (quote, octet) {
            (Some(mark), octet) if octet == mark => quote = None,
            (Some(_), _) => {}
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') if equals => quote = Some(octet),
            _ => {}
        }
        equals = octet == b'=' || equals && octet.is_ascii_whitespace();
    }
    None
}

/// The element that a tag begins, if its content is hidden or no markup.
pub(super) fn hidden(tag: &str) -> Option<&'static str> {
    let elements = [
        "style", "script", "title", "textarea", "xmp", "iframe", "noembed", "noframes",
    ];
    elements.into_iter().find(|hidden| {
        let named = tag
            .get(1..=hidden.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(hidden));
        let ends = tag.as_bytes().get(1 + hidden.len());
        named && ends.is_some_and(|octet| octet.is_ascii_whitespace() || b"/>".contains(octet))
    })
}

/// What stands from the end tag of a hidden element on. Takes time in proportion to what it passes over.
pub(super) fn from_close<'h>(html: &'h str, name: &str) -> Option<&'h str> {
    let closes = memchr::memmem::find_iter(html.as_bytes(), b"</");
    let named = |at: &usize| {
        let tag = html.as_bytes().get(at + 2..at + 2 + name.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes()))
    };
    let mut closes = closes.filter(named);
    closes.next().map(|at| &html[at..])
}

/// Adds text with its numeric references resolved; named ones are letters of both sides.
fn references(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find("&#") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let number = rest[2..].split_once(';').and_then(|(digits, after)| {
            let character = digits.parse().ok().and_then(char::from_u32)?;
            Some((character, after))
        });
        match number {
            Some((character, after)) => {
                out.push(character);
                rest = after;
            }
            None => {
                out.push_str("&#");
                rest = &rest[2..];
            }
        }
    }
    out.push_str(rest);
}

/// Octets that are compared at once.
const PIECE: usize = 256;
/// How far back an addition may have begun from where two texts part.
const PLACES: usize = 64;
/// How much white space an addition may bring after itself.
const BLANKS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addition_is_found_wherever_it_stands() {
        for (old, new, said) in [
            ("a\r\n", "a\r\n\r\nB\r\n", "\nB\n"),
            ("<p>a</body>", "<p>a\r\n<p>B</p>\r\n</body>", "<p>B</p>"),
            ("a\r\n", "a\r\n\r\n B C\r\n", "B C"),
            ("a", "&#163;1a", "£1"),
            ("", "B\r\n", "B"),
            ("BBBB", "BBBB\r\nBB", "BB"),
            ("é", "éé", "é"),
        ] {
            assert!(is_with(old, new, &[said]), "{new}");
        }
        assert!(is_with("a b", "X a\nY b", &["X", "Y"]));
    }

    #[test]
    fn anything_else_is_no_addition() {
        for (old, new, said) in [
            ("a", "a", "B"),
            ("ab", "aB", "B"),
            ("ab", "B", "B"),
            ("a", "aC", "B"),
            ("a  b", "a b B", "B"),
            ("a", "aBB", "B"),
            ("a", "&#164;1a", "£1"),
        ] {
            assert!(!is_with(old, new, &[said]), "{new}");
        }
        assert!(!is_with("a", "Y X a", &["X", "Y"]));
        assert!(is_with("a", "a", &[]) && !is_with("a", "ab", &[]));
    }

    #[test]
    fn what_is_not_shown_does_not_count() {
        for (html, times) in [
            ("<p>Foo <b>Ltd</b>", 1),
            ("Foo Ltd<br>foo&#32;ltd", 2),
            ("<!-- Foo Ltd -->", 0),
            ("<style>Foo Ltd</style>Foo Ltd", 1),
            ("<a title='Foo Ltd'>", 0),
            ("<a title='>'>Foo Ltd", 1),
            ("a < b Foo Ltd", 1),
            ("<p don't>Foo Ltd", 1),
            ("<!-- open Foo Ltd", 0),
            ("<!-->Foo Ltd", 1),
            // The name of this element is `title)x<`: found by tests/fuzz.rs.
            ("<title)x</title>Foo Ltd", 1),
            ("<titles>Foo Ltd", 1),
            ("<title\n>Foo Ltd</title>", 0),
        ] {
            assert_eq!(times_in(html, "<i>Foo Ltd</i>", true), times, "{html}");
        }
        assert_eq!(times_in("> Foo\r\n> Ltd.", "Foo Ltd", false), 1);
        assert_eq!(times_in("Foo", "--", false), 0);
    }

    #[test]
    fn encodings_are_read_to_the_letter() {
        assert_eq!(
            quoted_printable(b"a=3D=\r\nb \r\n=C3=A9"),
            Some("a=b\r\né".into())
        );
        for raw in [&b"a=3"[..], b"a=zz", b"\xe9"] {
            assert_eq!(quoted_printable(raw), None);
        }
        assert_eq!(base64(b"SGVs\r\nbG8=\r\n"), Some(b"Hello".to_vec()));
        for raw in [&b"SGVsbG8"[..], b"SGVs*", b"SGVsbG8=SGVs"] {
            assert_eq!(base64(raw), None);
        }
        assert_eq!(in_charset("utf-16", b"\xfe\xff\0a"), Some("a".into()));
        assert_eq!(in_charset("utf-16", b"\0a"), None);
        assert_eq!(in_charset("us-ascii", b"\xa3"), None);
    }
}
