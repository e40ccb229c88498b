//! The mailboxes of `From` and `Sender`, where every reader finds the same ones (RFC 5322 §3.4, §3.6.2).
//!
//! Readers of mail differ: one cuts a name off at a NUL, one takes the first thing in angle brackets for the address, one
//! joins the halves of an address that another keeps apart. Whoever must know whose name a message bears cannot take
//! the word of one of them, so what leaves room for two readings is no list here. `policy::author` reads as a
//! tolerant reader does, for those questions where a guess is better than nothing.

use super::Mailbox;
use super::mime::decode_words;

/// Returns the mailboxes of a field body, folding and all, in order; `None` if it names none, or not beyond doubt.
///
/// Taken beside the grammar: dots and brackets in a bare name, and an address as a bare name, which counts as another
/// mailbox. Not taken: groups (§3.6.2 has none), source routes, control characters, encoded words that are part of
/// an address, and angle brackets inside names and comments, also encoded ones.
pub fn mailbox_list(raw_value: &[u8]) -> Option<Vec<Mailbox>> {
    let text = String::from_utf8_lossy(raw_value)
        .replace("\r\n", "")
        .replace('\n', "");
    let tokens = tokens(&text)?;
    let shown = decode_words(&text);
    let is_angle = |c: &char| matches!(c, '<' | '>');
    let angles = tokens
        .iter()
        .filter(|token| matches!(token, Token::Open | Token::Close));
    if shown.chars().any(|c| c.is_control() && c != '\t')
        || shown.chars().filter(is_angle).count() != angles.count()
    {
        return None;
    }
    let mut mailboxes = Vec::new();
    // Empty places between commas are obsolete and harmless (§4.4).
    for one in tokens
        .split(|token| *token == Token::Comma)
        .filter(|one| !one.is_empty())
    {
        read_one(one, &mut mailboxes)?;
    }
    (!mailboxes.is_empty()).then_some(mailboxes)
}

/// `name <a@b>`, `<a@b>` or `a@b`.
fn read_one(tokens: &[Token<'_>], mailboxes: &mut Vec<Mailbox>) -> Option<()> {
    let Some(open) = tokens.iter().position(|token| *token == Token::Open) else {
        mailboxes.push(addr_spec(tokens)?);
        return Some(());
    };
    let (name, rest) = tokens.split_at(open);
    let (close, address) = rest[1..].split_last()?;
    if *close != Token::Close {
        return None;
    }
    if name.contains(&Token::At) {
        mailboxes.push(addr_spec(name)?);
    } else if name.iter().any(|token| !token.may_name()) {
        return None;
    }
    mailboxes.push(addr_spec(address)?);
    Some(())
}

/// Words with dots between them, `@`, and atoms with dots between them or a literal (§3.4.1).
fn addr_spec(tokens: &[Token<'_>]) -> Option<Mailbox> {
    let at = tokens.iter().position(|token| *token == Token::At)?;
    let (local, domain) = (&tokens[..at], &tokens[at + 1..]);
    let is_local = matches!(local, [Token::Quoted(_)]) || is_dotted(local);
    let is_domain = matches!(domain, [Token::Bracketed(_)]) || is_dotted(domain);
    if !is_local || !is_domain {
        return None;
    }
    let text: String = tokens.iter().map(Token::text).collect();
    // A reader that decodes first sees another address.
    if text.contains("=?") {
        return None;
    }
    Mailbox::parse(&text).ok()
}

fn is_dotted(tokens: &[Token<'_>]) -> bool {
    let alternate = |(at, token): (usize, &Token<'_>)| match token {
        Token::Atom(_) => at % 2 == 0,
        Token::Dot => at % 2 == 1,
        _ => false,
    };
    tokens.len() % 2 == 1 && tokens.iter().enumerate().all(alternate)
}

#[derive(Debug, PartialEq)]
enum Token<'t> {
    Atom(&'t str),
    /// With its quotes.
    Quoted(&'t str),
    /// With its brackets.
    Bracketed(&'t str),
    Dot,
    At,
    Open,
    Close,
    Comma,
}

impl Token<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Atom(text) | Self::Quoted(text) | Self::Bracketed(text) => text,
            Self::Dot => ".",
            Self::At => "@",
            Self::Open => "<",
            Self::Close => ">",
            Self::Comma => ",",
        }
    }

    /// Whether it may stand in a bare name.
    fn may_name(&self) -> bool {
        match self {
            Self::Atom(_) | Self::Quoted(_) | Self::Dot => true,
            Self::Bracketed(text) => !text.contains('@'),
            Self::At | Self::Open | Self::Close | Self::Comma => false,
        }
    }
}

/// The tokens of an unfolded field body without white space and comments; `None` if something does not end, or can
/// be no part of a list of mailboxes (`:` and `;` of groups, a lone backslash).
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, token) = match c {
            ' ' | '\t' => (1, None),
            '(' => (comment(rest)?, None),
            '"' => {
                let end = closed(rest, b'"')?;
                (end, Some(Token::Quoted(&rest[..end])))
            }
            '[' => {
                let end = closed(rest, b']')?;
                (end, Some(Token::Bracketed(&rest[..end])))
            }
            '.' => (1, Some(Token::Dot)),
            '@' => (1, Some(Token::At)),
            '<' => (1, Some(Token::Open)),
            '>' => (1, Some(Token::Close)),
            ',' => (1, Some(Token::Comma)),
            c if is_special(c) || c.is_control() => return None,
            _ => {
                let ends = |c: char| is_special(c) || c.is_control() || c == ' ';
                let end = rest.find(ends).unwrap_or(rest.len());
                (end, Some(Token::Atom(&rest[..end])))
            }
        };
        tokens.extend(token);
        at += length;
    }
    Some(tokens)
}

/// How many octets the quoted text has that `text` begins with, its ends included (§3.2.1, §3.2.4, §3.4.1).
fn closed(text: &str, end: u8) -> Option<usize> {
    let mut is_escaped = false;
    for (at, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            octet if octet == end => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// How many octets the comment has that `text` begins with, those inside it included (§3.2.2).
fn comment(text: &str) -> Option<usize> {
    let (mut depth, mut is_escaped) = (0usize, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// RFC 5322 §3.2.3.
fn is_special(c: char) -> bool {
    "()<>[]:;@\\,.\"".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &str) -> Option<Vec<String>> {
        let found = mailbox_list(value.as_bytes())?;
        Some(found.iter().map(Mailbox::to_string).collect())
    }

    #[test]
    fn what_people_write_is_read() {
        for (value, mailboxes) in [
            (" a@b.example\r\n", &["a@b.example"][..]),
            (" <a@b.example>", &["a@b.example"]),
            (" Shop & Co. <a@b.example>", &["a@b.example"]),
            (" Dr. J. O'Neill [Test] <a@b.example>", &["a@b.example"]),
            (" \"Shop, \\\"Ltd\\\"\" <a@b.example>", &["a@b.example"]),
            (" a@b.example (Shop (the (old) one))", &["a@b.example"]),
            (" Gr\u{fc}n\r\n\t<a@b.example>", &["a@b.example"]),
            (" =?utf-8?q?Gr=C3=BCn?= <a@b.example>", &["a@b.example"]),
            (
                " a@b.example, C <c@d.example>,",
                &["a@b.example", "c@d.example"],
            ),
            (
                " a@b.example <a@b.example>",
                &["a@b.example", "a@b.example"],
            ),
            (
                " boss@d.example <a@b.example>",
                &["boss@d.example", "a@b.example"],
            ),
            (" \"a b\"@b.example", &["\"a b\"@b.example"]),
            (" <a.b@[192.0.2.1]>", &["a.b@[192.0.2.1]"]),
            (" a . b @ c . example", &["a.b@c.example"]),
        ] {
            assert_eq!(read(value).unwrap_or_default(), mailboxes, "{value}");
        }
        assert!(
            mailbox_list(b" Gr\xfcn <a@b.example>").is_some(),
            "not UTF-8"
        );
    }

    #[test]
    fn what_two_readers_read_differently_is_no_list() {
        for value in [
            "",
            " ,",
            " Shop",
            " boss:;",
            " boss: a@b.example;",
            " a@b.example, boss:;",
            " a@b.example;",
            " boss@d.example\0 <a@b.example>",
            " \"boss@d.example\0\" <a@b.example>",
            " =?utf-8?b?Ym9zc0BuaHMubmV0AA==?= <a@b.example>",
            " =?utf-8?q?=3Cboss=40d.example=3E?= <a@b.example>",
            " \"<boss@d.example>\" <a@b.example>",
            " (<boss@d.example>) a@b.example",
            " <=?utf-8?q?boss=40d.example?=@b.example>",
            " <team boss@b.example>",
            " <team(x)boss@b.example>",
            " <a@b.example> <c@d.example>",
            " <a@b.example> Shop",
            " <@d.example:a@b.example>",
            " Shop, Ltd <a@b.example>",
            " Shop @ d.example Ltd <a@b.example>",
            " [boss@d.example] <a@b.example>",
            " \"Shop <a@b.example>",
            " (Shop <a@b.example>",
            " <a@b.example",
            " a@b.example>",
            " <<a@b.example>>",
            " a\\@b.example",
            " a@b.example\rc@d.example",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            mailbox_list(&octets);
        }

        #[test]
        fn any_line_is_read(text in "[ a<>()\\[\\]:;@\\\\,.\"é=?-]{0,40}") {
            mailbox_list(text.as_bytes());
        }

        #[test]
        fn a_mailbox_that_is_written_is_read_back(local in "[ -~]{1,20}", name in "[ -;=?-~é]{0,30}") {
            let Ok(local) = crate::mail::LocalPart::from_unquoted(&local) else { return Ok(()) };
            let written = format!("{local}@b.example");
            prop_assume!(!written.contains(['<', '>']) && !written.contains("=?") && !name.contains("=?"));
            let field = format!(" {} <{written}>\r\n", crate::mail::phrase(&name));
            prop_assert_eq!(read(&field), Some(vec![written]));
        }
    }
}
