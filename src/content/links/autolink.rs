//! Plain text in which mail programs see links: what Outlook, Gmail and Apple Mail make clickable, taken together.
//!
//! Addresses with a scheme, names that begin with `www.`, bare names under a top-level domain that exists, shares
//! (`\\server\…`); in angle brackets also over several lines (RFC 3986 appendix C), in flowed text with `DelSp`
//! over soft line ends (RFC 3676 §4.2). What stands behind an address as punctuation is none of it.

use std::borrow::Cow;
use std::ops::Range;

use super::domain::is_top_level;
use super::{URL_OCTETS_MAX, start_of};
use crate::content::next_octet;

/// How the lines of a text go together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Flow {
    /// A line end is one.
    #[default]
    Fixed,
    /// `format=flowed; delsp=yes`: a space and a line end together are nothing.
    Joined,
}

impl Flow {
    /// By the parameters of a part (RFC 3676 §4.1).
    pub fn of<'p>(parameter: impl Fn(&str) -> Option<&'p str>) -> Self {
        let says = |name: &str, word: &str| {
            parameter(name).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        match says("format", "flowed") && says("delsp", "yes") {
            true => Self::Joined,
            false => Self::Fixed,
        }
    }
}

/// An address in a text.
pub(super) struct Found<'t> {
    /// Where, in octets.
    pub at: Range<usize>,
    /// With a scheme: `http://` is added where there was none.
    pub written: Cow<'t, str>,
}

/// Hands each address to `take`, until that says false.
pub(super) fn each<'t>(text: &'t str, flow: Flow, take: &mut dyn FnMut(Found<'t>) -> bool) {
    let mut at = 0;
    while let Some(start) = next_start(text, at, flow) {
        let rest = &text[start..];
        if let Some(inner) = rest.strip_prefix('<')
            && let Some(found) = over_lines(inner, start + 1)
            && !take(found)
        {
            return;
        }
        let word = Word::read(text, start, flow);
        if !word.addresses(take) {
            return;
        }
        at = word.behind(text);
    }
}

/// Where the next word begins in which an address may be, or a bracket stands: what has no sign of one is not looked
/// at letter by letter.
fn next_start(text: &str, at: usize, flow: Flow) -> Option<usize> {
    if flow == Flow::Joined {
        return (at < text.len()).then_some(at); // the sign may stand on the next line
    }
    let octets = text.as_bytes();
    let sign = next_octet(octets, at, |octet| (octet == b'<') | is_sign(octet))?;
    let separates = |octet: &u8| SEPARATORS.get(usize::from(*octet)) == Some(&true);
    let before = octets[at..sign].iter().rposition(separates);
    Some(match octets[sign] {
        b'<' => sign,
        _ => before.map_or(at, |before| at + before + 1),
    })
}

/// An octet that every address has: of a dot, a slash, or a character beyond ASCII.
fn is_sign(octet: u8) -> bool {
    (octet == b'.') | (octet == b'/') | (octet == b'\\') | (octet >= 0x80)
}

/// What stands between white space, quotes and angle brackets.
struct Word<'t> {
    at: Range<usize>,
    text: Cow<'t, str>,
}

impl<'t> Word<'t> {
    /// Reads from `start` up to the next separator; nothing, if one stands there.
    fn read(text: &'t str, start: usize, flow: Flow) -> Self {
        let mut end = end_of_word(text, start);
        let mut joined: Option<String> = None;
        while flow == Flow::Joined
            && end > start
            && let Some(next) = soft_line_end(&text[end..])
        {
            let from = end + next;
            let to = end_of_word(text, from);
            let joined = joined.get_or_insert_with(|| text[start..end].to_owned());
            joined.push_str(&text[from..to]);
            end = to;
        }
        Self {
            at: start..end,
            text: joined.map_or_else(|| Cow::Borrowed(&text[start..end]), Cow::Owned),
        }
    }

    /// Where to go on: behind the separator, but at a bracket that ends a word, for an address may begin there.
    fn behind(&self, text: &str) -> usize {
        let end = self.at.end;
        match text[end..].chars().next() {
            Some('<') if end > self.at.start => end,
            separator => end + separator.map_or(0, char::len_utf8),
        }
    }

    fn addresses(&self, take: &mut dyn FnMut(Found<'t>) -> bool) -> bool {
        let octets = self.text.as_bytes();
        if octets.len() < 4 || next_octet(octets, 0, is_sign).is_none() {
            return true;
        }
        let mut any = false;
        for at in with_scheme(&self.text) {
            any = true;
            if !self.hand(at, "", take) {
                return false;
            }
        }
        any || self.without_scheme(take)
    }

    fn without_scheme(&self, take: &mut dyn FnMut(Found<'t>) -> bool) -> bool {
        let start = self
            .text
            .find(|c| !is_opening(c))
            .unwrap_or(self.text.len());
        let end = trimmed_end(&self.text, start);
        let word = &self.text[start..end];
        if is_share(word) {
            return self.hand(start..end, "file:", take);
        }
        let before_slash = word.split(['/', '?', '#', '\\']).next().unwrap_or_default();
        let is_www = starts_with_ignoring_case(word, "www.") && before_slash.len() > 5;
        if before_slash.contains('@') || !(is_www || is_bare_name(before_slash, word)) {
            return true;
        }
        self.hand(start..end, "http://", take)
    }

    fn hand(
        &self,
        at: Range<usize>,
        scheme: &str,
        take: &mut dyn FnMut(Found<'t>) -> bool,
    ) -> bool {
        let written = match (&self.text, scheme) {
            (Cow::Borrowed(text), "") => Cow::Borrowed(start_of(&text[at.clone()], URL_OCTETS_MAX)),
            (text, scheme) => Cow::Owned(format!(
                "{scheme}{}",
                start_of(&text[at.clone()], URL_OCTETS_MAX)
            )),
        };
        let at = match &self.text {
            Cow::Borrowed(_) => self.at.start + at.start..self.at.start + at.end,
            Cow::Owned(_) => self.at.clone(), // over lines: all of it
        };
        take(Found { at, written })
    }
}

/// The host that a text shows to whoever reads it, if it is an address or begins with one.
pub(super) fn shown_address(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    let mut first = None;
    each(text, Flow::Fixed, &mut |found| {
        if text[..found.at.start].chars().all(is_opening) {
            first = Some(found.written);
        }
        false
    });
    first
}

/// Whether this is `\\server\share`, and not what programs write with backslashes.
fn is_share(word: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let parts = word
        .strip_prefix("\\\\")
        .and_then(|rest| rest.split_once('\\'));
    parts.is_some_and(|(server, share)| {
        server.len() > 1 && server.chars().all(name) && share.starts_with(name)
    })
}

/// Whether a name would be a link by itself: `example.com`, `example.com:80`.
pub(super) fn is_bare_name(host: &str, word: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut labels = name.rsplit(is_dot);
    let Some(last) = labels
        .next()
        .filter(|_| port.bytes().all(|b| b.is_ascii_digit()))
    else {
        return false;
    };
    let mut before = 0;
    for label in labels {
        before += 1;
        let letter = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        if label.is_empty() || !label.chars().all(letter) || before > LABELS_MAX {
            return false;
        }
    }
    if before == 0 || last.is_empty() {
        return false;
    }
    // "It is late.In the morning": the start of a sentence, not of a site.
    let is_sentence = word.len() == host.len()
        && last.starts_with(|c: char| c.is_ascii_uppercase())
        && last[1..].bytes().all(|b| b.is_ascii_lowercase())
        && !["Com", "Org", "Net", "Uk"].contains(&last);
    let last = last.to_lowercase();
    let exists = match last.is_ascii() {
        true => is_top_level(&last),
        false => idna::domain_to_ascii(&last).is_ok_and(|last| is_top_level(&last)),
    };
    exists && !is_sentence
}

/// The addresses with a scheme in a word: the first, and others if punctuation sets them apart.
fn with_scheme(word: &str) -> Vec<Range<usize>> {
    let octets = word.as_bytes();
    let mut starts: Vec<usize> = Vec::new();
    for colon in memchr::memchr_iter(b':', octets) {
        if !matches!(
            octets.get(colon + 1..colon + 3),
            Some([b'/' | b'\\', b'/' | b'\\'])
        ) {
            continue;
        }
        let before = &octets[..colon];
        let scheme = SCHEMES.iter().find(|scheme| {
            let tail = before.len().checked_sub(scheme.len());
            tail.is_some_and(|tail| before[tail..].eq_ignore_ascii_case(scheme.as_bytes()))
        });
        let Some(start) = scheme.map(|scheme| colon - scheme.len()) else {
            continue;
        };
        let apart = start == 0
            || matches!(
                octets[start - 1],
                b',' | b';' | b'|' | b'(' | b')' | b'[' | b']'
            );
        if starts.is_empty() || apart {
            starts.push(start);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([word.len()]);
    let pairs = starts.iter().zip(ends);
    pairs
        .map(|(start, end)| *start..trimmed_end(&word[..end], *start))
        .collect()
}

/// `<https://a.example/long` and the rest on the next lines, up to `>`.
fn over_lines(inner: &str, start: usize) -> Option<Found<'static>> {
    let begins = |prefix: &&str| starts_with_ignoring_case(inner, prefix);
    if !["http:", "https:", "ftp:", "file:", "www.", "url:"]
        .iter()
        .any(begins)
    {
        return None;
    }
    let inner = start_of(inner, URL_OCTETS_MAX);
    let end = memchr::memchr2(b'>', b'<', inner.as_bytes())?;
    // What is not closed is read as the word that it is: the next line is somebody's words.
    let inner = inner[..=end].strip_suffix('>')?;
    memchr::memchr(b'\n', inner.as_bytes())?;
    let joined: String = inner.split_ascii_whitespace().collect();
    let address = match starts_with_ignoring_case(&joined, "url:") {
        true => &joined[4..],
        false => &joined,
    };
    let written = match starts_with_ignoring_case(address, "www.") {
        true => format!("http://{address}"),
        false => address.to_owned(),
    };
    Some(Found {
        at: start..start + end,
        written: Cow::Owned(written),
    })
}

fn end_of_word(text: &str, start: usize) -> usize {
    let octets = text.as_bytes();
    let mut at = start;
    while let Some(octet) = octets.get(at) {
        if let Some(separates) = SEPARATORS.get(usize::from(*octet)) {
            if *separates {
                return at;
            }
            at += 1;
            continue;
        }
        match text[at..].chars().next() {
            Some(c) if !is_separator(c) => at += c.len_utf8(),
            _ => return at,
        }
    }
    at
}

/// The length of a space, a line end and what quotes the next line, if they stand here.
fn soft_line_end(text: &str) -> Option<usize> {
    let rest = text
        .strip_prefix(" \r\n")
        .or_else(|| text.strip_prefix(" \n"))?;
    let line = rest.trim_start_matches('>');
    let line = line.strip_prefix(' ').unwrap_or(line);
    Some(text.len() - line.len())
}

/// Where an address ends that runs up to the end of `word`: before punctuation, and before brackets that
/// were opened before it.
fn trimmed_end(word: &str, start: usize) -> usize {
    let mut end = word.len();
    let opened = |open: char| memchr_count(open, &word.as_bytes()[start..]);
    let mut open_round = opened('(') as isize - opened(')') as isize;
    let mut open_square = opened('[') as isize - opened(']') as isize;
    while let Some(last) = word[start..end].chars().next_back() {
        match last {
            ')' if open_round < 0 => open_round += 1,
            ']' if open_square < 0 => open_square += 1,
            '}' | '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '"' | '*' | '_' | '~' | '|' => {}
            '\u{2018}'..='\u{201F}' | '\u{2026}' | '\u{BB}' => {}
            _ => break,
        }
        end -= last.len_utf8();
    }
    end
}

fn memchr_count(of: char, octets: &[u8]) -> usize {
    octets
        .iter()
        .filter(|octet| char::from(**octet) == of)
        .count()
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '`')
}

/// [`is_separator`] for ASCII.
const SEPARATORS: [bool; 128] = {
    let mut table = [false; 128];
    let mut octet = 0;
    while octet < 128 {
        table[octet] = octet <= 0x20 || matches!(octet, 0x7F | 0x22 | 0x3C | 0x3E | 0x60);
        octet += 1;
    }
    table
};

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '(' | '[' | '{' | '\'' | '*' | '_' | '~' | '|' | '-' | '=' | ':' | ',' | ';' | '\u{2018}'
            ..='\u{201F}' | '\u{AB}'
    )
}

/// What IDNA takes for the dot between labels (UTS #46).
fn is_dot(c: char) -> bool {
    matches!(c, '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}')
}

pub(super) fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    let octets = text.as_bytes().get(..start.len());
    octets.is_some_and(|octets| octets.eq_ignore_ascii_case(start.as_bytes()))
}

/// Schemes that are clickable in plain text.
const SCHEMES: &[&str] = &["https", "http", "ftps", "ftp", "file"];
/// More labels than these are no name (RFC 1035 §2.3.4).
const LABELS_MAX: usize = 126;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, flow: Flow) -> Vec<(String, String)> {
        let mut all = Vec::new();
        each(text, flow, &mut |found| {
            all.push((text[found.at].to_owned(), found.written.into_owned()));
            true
        });
        all
    }

    #[test]
    fn what_programs_make_clickable_is_found() {
        for (text, written) in [
            ("see https://a.example/b?c=d.", "https://a.example/b?c=d"),
            ("(http://a.example/b_(c))", "http://a.example/b_(c)"),
            ("(see http://a.example/b)", "http://a.example/b"),
            ("[text](http://a.example)", "http://a.example"),
            ("<HTTP://A.example>", "HTTP://A.example"),
            ("URL:http://a.example,", "http://a.example"),
            ("\u{201c}http://a.example\u{201d}", "http://a.example"),
            ("www.a.example/b", "http://www.a.example/b"),
            ("WWW.a.example!", "http://WWW.a.example"),
            ("bare evil.com/x here", "http://evil.com/x"),
            ("bare evil.co.uk.", "http://evil.co.uk"),
            ("evil\u{3002}com", "http://evil\u{3002}com"),
            ("пример.рф", "http://пример.рф"),
            ("\\\\server\\share", "file:\\\\server\\share"),
            ("http:\\\\evil.example\\x", "http:\\\\evil.example\\x"),
            ("http://a@b.example/", "http://a@b.example/"),
            // Brackets that nothing closes hold no words of the next line.
            ("<http://a.example/b \r\nhello <i>", "http://a.example/b"),
        ] {
            let found = found(text, Flow::Fixed);
            let words: Vec<&str> = found.iter().map(|(_, written)| written.as_str()).collect();
            assert_eq!(words, [written], "{text}");
        }
        let two = found("http://a.example,http://b.example", Flow::Fixed);
        assert_eq!((two.len(), two[1].1.as_str()), (2, "http://b.example"));
    }

    #[test]
    fn what_nobody_can_click_is_none() {
        for text in [
            "late.In",
            "file.txt",
            "a@evil.com",
            "1.5",
            "e.g.",
            "x://y",
            "..com",
            "version 2.0.1",
            "http:/a",
            "www.",
            "https",
            "and/or",
            "a.b.c",
            "\\\\begin",
            "\\\\n\\n",
        ] {
            assert_eq!(found(text, Flow::Fixed), [], "{text}");
        }
    }

    #[test]
    fn addresses_go_on_over_lines_as_their_readers_think() {
        let flowed = "see https://evil.exa \r\n> mple/b now";
        let all = found(flowed, Flow::Joined);
        assert_eq!(all[0].1, "https://evil.example/b");
        assert_eq!(all[0].0, "https://evil.exa \r\n> mple/b");
        assert_eq!(found(flowed, Flow::Fixed)[0].1, "https://evil.exa");
        let bracketed = "<http://evil.exa\r\nmple/b>";
        let all = found(bracketed, Flow::Fixed);
        assert_eq!(all[0].1, "http://evil.example/b");
        assert_eq!(all[1].1, "http://evil.exa");
        for behind_a_word in [
            "here<http://evil.exa\r\nmple/b>",
            "a.b<http://evil.exa\r\nmple/b>",
        ] {
            let all = found(behind_a_word, Flow::Fixed);
            assert_eq!(all[0].1, "http://evil.example/b");
        }
    }

    #[test]
    fn the_table_of_separators_is_right() {
        for octet in 0..128_u8 {
            let expected = is_separator(char::from(octet));
            assert_eq!(SEPARATORS[usize::from(octet)], expected, "{octet}");
        }
    }

    #[test]
    fn a_text_shows_an_address_if_it_begins_with_one() {
        assert_eq!(
            shown_address(" (www.nhs.uk)").as_deref(),
            Some("http://www.nhs.uk")
        );
        assert_eq!(shown_address("see www.nhs.uk"), None);
        assert_eq!(shown_address("Click here"), None);
    }

    proptest! {
        #[test]
        fn words_that_are_passed_over_have_no_address(text in "([a-z]{1,3}| |\n|<|>|\"|\u{a0}|é|[./\\\\]|http://|www[.]|[.]com){0,40}") {
            let mut each_word = Vec::new();
            let mut at = 0;
            while at < text.len() {
                if let Some(found) = text[at..].strip_prefix('<').and_then(|inner| over_lines(inner, at + 1)) {
                    each_word.push((text[found.at].to_owned(), found.written.into_owned()));
                }
                let word = Word::read(&text, at, Flow::Fixed);
                word.addresses(&mut |found| {
                    each_word.push((text[found.at].to_owned(), found.written.into_owned()));
                    true
                });
                at = word.behind(&text);
            }
            prop_assert_eq!(found(&text, Flow::Fixed), each_word);
        }
    }
}
