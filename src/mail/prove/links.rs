//! Links taken out of a text, as the strict reader sees it: they are all that is gone.
//!
//! Of a tag whole attributes go that hold an address, of a style sheet an address within `url(…)`; white
//! space comes instead. Of the words that are shown, addresses go, and `[link removed]` comes. All else, the text of
//! an anchor above all, is the same: the two texts come apart into the same pieces, of which those that nothing was
//! taken from are equal.

use std::ops::Range;

use super::text::{from_close, hidden, is_endless, tag_end};
use crate::mail::edit::Taken;

/// `old` without what was taken; `None` if that is anything but links.
pub(super) fn without(old: &str, taken: &[&Taken], is_html: bool) -> Option<String> {
    let new = replaced(old, taken)?;
    let is_good = match is_html {
        true => same_but_for(&whole(old), &whole(&new), taken, DEPTH_MAX),
        false => {
            let words = taken.iter().map(|one| (&old[one.at.clone()], &one.with));
            words
                .into_iter()
                .all(|(gone, with)| is_for_words(gone, with))
        }
    };
    is_good.then_some(new)
}

/// `None` unless they come in their order, within the text and between letters.
fn replaced(old: &str, taken: &[&Taken]) -> Option<String> {
    let mut out = String::with_capacity(old.len() + taken.len() * 16);
    let mut from = 0;
    for one in taken {
        out.push_str(old.get(from..one.at.start)?);
        out.push_str(&one.with);
        old.get(one.at.clone()).filter(|gone| !gone.is_empty())?;
        from = one.at.end;
    }
    out.push_str(old.get(from..)?);
    Some(out)
}

/// A stretch of a document, and where it lies in it.
#[derive(Clone)]
struct Stretch<'h> {
    text: &'h str,
    start: usize,
}

impl<'h> Stretch<'h> {
    fn part(&self, at: Range<usize>) -> Self {
        Self {
            start: self.start + at.start,
            text: &self.text[at],
        }
    }

    /// What is taken from it; `None` if something is taken from it and from what stands beside it.
    fn taken<'t>(&self, all: &'t [&'t Taken]) -> Option<&'t [&'t Taken]> {
        let end = self.start + self.text.len();
        let first = all.partition_point(|one| one.at.end <= self.start);
        let last = all.partition_point(|one| one.at.start < end);
        let own = &all[first..last.max(first)];
        let within = |one: &&Taken| self.start <= one.at.start && one.at.end <= end;
        own.iter().all(within).then_some(own)
    }
}

fn whole(text: &str) -> Stretch<'_> {
    Stretch { text, start: 0 }
}

/// What HTML is made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Words that are shown.
    Words,
    /// A tag, with its brackets.
    Tag,
    /// A comment with what it begins with: Outlook takes some for HTML.
    Comment,
    /// What a style sheet holds.
    Style,
    /// What a script holds.
    Script,
    /// What another element holds in one piece: HTML to who does not know the element.
    Raw,
    /// Markup without an end, and what it swallows.
    Open,
}

/// Whether two documents are the same but for links that were taken out.
fn same_but_for(old: &Stretch<'_>, new: &Stretch<'_>, taken: &[&Taken], depth: usize) -> bool {
    let (ones, others) = (pieces(old), pieces(new));
    ones.len() == others.len()
        && ones
            .iter()
            .zip(&others)
            .all(|((kind, one), (other_kind, other))| {
                kind == other_kind
                    && one.taken(taken).is_some_and(|own| match own.is_empty() {
                        true => one.text == other.text,
                        false => is_good(*kind, one, other, own, depth),
                    })
            })
}

/// Whether what was taken from a piece may be.
fn is_good(
    kind: Kind,
    old: &Stretch<'_>,
    new: &Stretch<'_>,
    taken: &[&Taken],
    depth: usize,
) -> bool {
    let gone = |one: &Taken| &old.text[one.at.start - old.start..one.at.end - old.start];
    match kind {
        Kind::Words => taken.iter().all(|one| is_for_words(gone(one), &one.with)),
        Kind::Tag | Kind::Open => is_good_tag(old, new, taken),
        Kind::Style => taken.iter().all(|one| {
            let at = one.at.start - old.start..one.at.end - old.start;
            is_blank(&one.with) && is_in_url(old.text, at)
        }),
        Kind::Script => false,
        Kind::Comment | Kind::Raw => {
            let is_raw = kind == Kind::Raw;
            let is_html = is_raw || old.text.starts_with("<!--[if");
            let (Some(one), Some(other)) = (inside(old, is_raw), inside(new, is_raw)) else {
                return false;
            };
            is_html
                && depth > 0
                && one.taken(taken).is_some_and(|own| own.len() == taken.len())
                && same_but_for(&one, &other, taken, depth - 1)
        }
    }
}

/// What a comment holds, or all that stands in an element.
fn inside<'h>(stretch: &Stretch<'h>, is_raw: bool) -> Option<Stretch<'h>> {
    let length = stretch.text.len();
    match is_raw {
        true => Some(stretch.part(0..length)),
        false => {
            let end = length.checked_sub("-->".len())?;
            ("<!--".len() <= end).then(|| stretch.part("<!--".len()..end))
        }
    }
}

/// The pieces of a document. What is put in for a link begins none and ends none.
fn pieces<'h>(html: &Stretch<'h>) -> Vec<(Kind, Stretch<'h>)> {
    let mut found: Vec<(Kind, Range<usize>)> = Vec::new();
    let (text, mut at) = (html.text, 0);
    while at < text.len() {
        let rest = &text[at..];
        let markup = |rest: &str| {
            let next = rest.as_bytes().get(1);
            rest.starts_with('<')
                && next.is_some_and(|next| next.is_ascii_alphabetic() || b"/!?".contains(next))
        };
        if !markup(rest) {
            let end = match rest.starts_with('<') {
                true => 1,
                false => rest.find('<').unwrap_or(rest.len()),
            };
            match found.last_mut() {
                Some((Kind::Words, range)) if range.end == at => range.end = at + end,
                _ => found.push((Kind::Words, at..at + end)),
            }
            at += end;
            continue;
        }
        let (kind, length, inside) = markup_of(rest);
        found.push((kind, at..at + length));
        at += length;
        if let Some((kind, length)) = inside {
            found.push((kind, at..at + length));
            at += length;
        }
    }
    let stretch = |(kind, range)| (kind, html.part(range));
    found.into_iter().map(stretch).collect()
}

/// What the markup is that `html` begins with, how long it is, and what it holds in one piece.
fn markup_of(html: &str) -> (Kind, usize, Option<(Kind, usize)>) {
    let open = (Kind::Open, html.len(), None);
    if let Some(comment) = html.strip_prefix("<!--") {
        let end = match comment {
            comment if comment.starts_with('>') => Some(5),
            comment if comment.starts_with("->") => Some(6),
            comment => comment.find("-->").map(|at| at + 7),
        };
        return end.map_or(open, |end| (Kind::Comment, end, None));
    }
    let Some(end) = tag_end(html) else {
        return open;
    };
    let (tag, after) = html.split_at(end);
    if is_endless(tag) {
        return open;
    }
    let inside = hidden(tag).map(|name| {
        let length = after.len() - from_close(after, name).map_or(0, str::len);
        let kind = match name {
            "style" => Kind::Style,
            "script" => Kind::Script,
            _ => Kind::Raw,
        };
        (kind, length)
    });
    (Kind::Tag, end, inside)
}

/// Whether whole attributes went that hold addresses, and blanks came.
fn is_good_tag(old: &Stretch<'_>, new: &Stretch<'_>, taken: &[&Taken]) -> bool {
    let (mut covered, mut kept) = (0, Vec::new());
    for (name, at) in attributes(old.text) {
        let range = old.start + at.start..old.start + at.end;
        let goes = |one: &&&Taken| one.at.start <= range.start && range.end <= one.at.end;
        match taken.iter().find(goes) {
            Some(_) if !holds_address(name) => return false,
            Some(_) => covered += at.len(),
            None => kept.push(&old.text[at]),
        }
    }
    let gone = taken.iter().map(|one| {
        let text = &old.text[one.at.start - old.start..one.at.end - old.start];
        text.len()
    });
    // Blanks between two attributes may go with them; nothing else may.
    let blanks: usize = taken.iter().map(|one| blanks_between(old, &one.at)).sum();
    let left = attributes(new.text)
        .into_iter()
        .map(|(_, at)| &new.text[at]);
    taken.iter().all(|one| is_blank(&one.with))
        && gone.sum::<usize>() == covered + blanks
        && name_of(old.text) == name_of(new.text)
        && left.eq(kept)
}

/// White space in a stretch of a tag that is in no attribute.
fn blanks_between(tag: &Stretch<'_>, range: &Range<usize>) -> usize {
    let mut at = range.start - tag.start;
    let end = range.end - tag.start;
    let mut blanks = 0;
    for (_, attribute) in attributes(tag.text) {
        if attribute.end <= at || attribute.start >= end {
            continue;
        }
        let between = &tag.text[at..attribute.start.max(at)];
        blanks += if is_blank(between) { between.len() } else { 0 };
        at = attribute.end.min(end);
    }
    let rest = &tag.text[at..end];
    blanks + if is_blank(rest) { rest.len() } else { 0 }
}

fn name_of(tag: &str) -> &str {
    let end = |c: char| c.is_ascii_whitespace() || c == '>' || c == '/' && !tag.starts_with("</");
    &tag[..tag.find(end).unwrap_or(tag.len())]
}

/// The attributes of a tag, by name, with their values.
fn attributes(tag: &str) -> Vec<(&str, Range<usize>)> {
    let octets = tag.as_bytes();
    let end = octets.len() - usize::from(tag.ends_with('>'));
    let past = |mut at: usize, is: &dyn Fn(u8) -> bool| {
        while at < end && is(octets[at]) {
            at += 1;
        }
        at
    };
    let blank = |octet: u8| octet.is_ascii_whitespace();
    let mut found = Vec::new();
    let mut at = name_of(tag).len();
    loop {
        let start = past(at, &|octet| blank(octet) || octet == b'/');
        if start >= end {
            return found;
        }
        let name_end = past(start + 1, &|octet| {
            !blank(octet) && !b"/=>".contains(&octet)
        });
        let equals = past(name_end, &blank);
        at = name_end;
        if octets.get(equals) == Some(&b'=') && equals < end {
            let value = past(equals + 1, &blank);
            at = match octets.get(value) {
                Some(quote @ (b'"' | b'\'')) if value < end => {
                    (past(value + 1, &|octet| octet != *quote) + 1).min(end)
                }
                _ => past(value, &|octet| !blank(octet) && octet != b'>'),
            };
        }
        match (tag.get(start..name_end), tag.get(start..at)) {
            (Some(name), Some(_)) => found.push((name, start..at)),
            _ => return found,
        }
    }
}

fn holds_address(name: &str) -> bool {
    ADDRESSES.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Whether a stretch of a style sheet is what stands within `url(…)` or behind `@import`.
fn is_in_url(css: &str, at: Range<usize>) -> bool {
    let edge = |c: char| c.is_ascii_whitespace() || c == '"' || c == '\'';
    let before = css[..at.start].trim_end_matches(edge).as_bytes();
    let ends = |word: &[u8]| {
        let from = before.len().checked_sub(word.len());
        from.is_some_and(|from| before[from..].eq_ignore_ascii_case(word))
    };
    let after = css[at.end..].trim_start_matches(edge);
    let gone = &css[at];
    (ends(b"url(") && after.starts_with(')') && !gone.contains(')'))
        || ends(b"@import") && !gone.contains(['"', '\'', ';', '{'])
}

/// Whether words that are gone are an address, and what stands there says so. An address may go on in the next line.
fn is_for_words(gone: &str, with: &str) -> bool {
    let bare: String = with.chars().filter(|c| *c != ' ').collect();
    let in_lines = gone.lines().all(|line| {
        let line = line
            .trim_start_matches(['>', ' ', '\t'])
            .trim_end_matches([' ', '\t']);
        !line.contains(char::is_whitespace)
    });
    bare == "[linkremoved]"
        && in_lines
        && gone.contains(['.', ':', '&', '\\'])
        && gone.len() <= ADDRESS_OCTETS_MAX
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_whitespace())
}

/// Attributes that may hold an address (HTML §4, SVG, Outlook).
const ADDRESSES: &[&str] = &[
    "href",
    "xlink:href",
    "src",
    "srcset",
    "imagesrcset",
    "srcdoc",
    "action",
    "formaction",
    "background",
    "poster",
    "lowsrc",
    "dynsrc",
    "data",
    "ping",
    "style",
    "content",
];
/// Longest address that goes, in octets.
const ADDRESS_OCTETS_MAX: usize = 64 << 10;
/// Documents within each other: in comments and in elements.
const DEPTH_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without the first place of each of `gone`, if that is proved.
    fn gone(old: &str, gone: &[(&str, &str)], is_html: bool) -> Option<String> {
        let taken: Vec<Taken> = gone
            .iter()
            .map(|(gone, with)| {
                let at = old.find(gone).unwrap();
                Taken {
                    at: at..at + gone.len(),
                    with: (*with).to_owned(),
                }
            })
            .collect();
        without(old, &taken.iter().collect::<Vec<_>>(), is_html)
    }

    #[test]
    fn links_may_go() {
        for (old, one, with) in [
            (
                "<p><a href=\"//e.example\" class=b>x</a>",
                "href=\"//e.example\"",
                " ",
            ),
            (
                "<a class='>' href=//e.example>x</a>",
                "href=//e.example",
                "",
            ),
            ("<a href=x href='y'>z</a>", "href=x href='y'", " "),
            ("<!--[if mso]><a href=x>y</a><![endif]-->z", "href=x", " "),
            (
                "<style>a{b:url( '//e.example' )}</style>z",
                "//e.example",
                " ",
            ),
            (
                "<p>see http&#58;//e.example!",
                "http&#58;//e.example",
                "[link removed  ]",
            ),
            ("<noframes><a href=x>y</a></noframes>", "href=x", " "),
            ("<p a=\u{e9} style='b:url(x)'>", "style='b:url(x)'", " "),
            ("<body><a href=x", "href=x", " "),
            ("a < b <img src=x>", "src=x", " "),
        ] {
            let new = gone(old, &[(one, with)], true);
            assert_eq!(new, Some(old.replacen(one, with, 1)), "{old}");
        }
        let text = "see <https://e.exa\r\n> mple/x>, or";
        assert!(
            gone(
                text,
                &[("https://e.exa\r\n> mple/x", "[link removed]")],
                false
            )
            .is_some()
        );
    }

    #[test]
    fn nothing_else_may_go() {
        for (old, one, with) in [
            ("<a href=x>text</a>", "text", "[link removed]"),
            ("<a href=x>te.xt</a>", "te.xt", ""),
            ("<a href=x>text</a>", "href=x>text</a>", " "),
            ("<a href=x>text</a>", "a href=x", " "),
            ("<a class=b href=x>text</a>", "class=b", " "),
            ("<a class=b href=x>text</a>", "b href=x", " "),
            ("<a href='x y'>text</a>", "x y", " "),
            ("<a href=x title='>'>text</a>", "href=x title='>'", " "),
            ("<a href=x>text</a>", "href=x", " title=y"),
            ("<a href=x>text</a>", "href=x", "><script>"),
            ("<p>a dose of 2.5 mg", "dose of 2.5", "[link removed]"),
            ("<p>see www.e.example", "www.e.example", "[removed]"),
            ("<!-- <a href=x> -->text", "href=x", " "),
            ("<script>go('//e.example')</script>", "//e.example", " "),
            ("<style>a{b:c.d}</style>", "c.d", " "),
            ("<style>a{b:url(x)}</style>text", "x)}</style>text", " "),
            ("<p>a</p>", "<p>", " "),
        ] {
            assert_eq!(gone(old, &[(one, with)], true), None, "{old} {one}");
        }
        assert_eq!(
            gone("two words.", &[("two words.", "[link removed]")], false),
            None
        );
        let twice = [
            ("www.e.example", "[link removed]"),
            ("e.example", "[link removed]"),
        ];
        assert_eq!(gone("see www.e.example", &twice, false), None);
        assert_eq!(gone("x", &[("", "[link removed]")], false), None);
    }
}
