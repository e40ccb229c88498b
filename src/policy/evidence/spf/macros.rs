//! Macros of SPF (RFC 7208 §7): parsed with the record, expanded for a client and a sender.

use super::record::BadRecord;

/// A text with macros in it, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MacroString(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(String),
    Expand {
        /// In lower case.
        letter: u8,
        /// It was a capital: what is not of an URL is escaped (§7.3).
        is_escaped: bool,
        /// How many parts are kept, from the right; 0 is all.
        parts: usize,
        is_reversed: bool,
        delimiters: Vec<u8>,
    },
}

/// What the letters stand for.
pub(super) trait Values {
    /// The value of a letter; none that is not known here.
    fn value(&self, letter: u8) -> String;
}

impl MacroString {
    /// Any text of the grammar, without the letters that are for explanations alone.
    pub(super) fn parse(text: &str) -> Result<Self, BadRecord> {
        Self::read(text, b"sloidphv", Spaces::Forbidden)
    }

    /// The text of an explanation, in which three more letters and spaces may stand (§6.2, §7.2).
    pub(super) fn explanation(text: &str) -> Result<Self, BadRecord> {
        Self::read(text, b"sloidphvcrt", Spaces::Allowed)
    }

    /// One that names a domain: it ends in a macro, or in a label of a top-level domain with a dot before it
    /// (§7.1 `domain-end`).
    pub(super) fn domain_spec(text: &str) -> Result<Self, BadRecord> {
        let parsed = Self::parse(text)?;
        let Some(Piece::Literal(last)) = parsed.0.last() else {
            return match parsed.0.is_empty() {
                true => Err(BadRecord),
                false => Ok(parsed),
            };
        };
        // An escape such as `%%` is an expansion by the grammar, and may end it.
        if ["%%", "%_", "%-"].iter().any(|end| text.ends_with(end)) {
            return Ok(parsed);
        }
        let name = last.strip_suffix('.').unwrap_or(last);
        let label = name.rsplit_once('.').map(|(_, label)| label);
        match label.is_some_and(is_top_label) {
            true => Ok(parsed),
            false => Err(BadRecord),
        }
    }

    fn read(text: &str, letters: &[u8], spaces: Spaces) -> Result<Self, BadRecord> {
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(c) = rest.chars().next() {
            let is_text = c.is_ascii_graphic() || (c == ' ' && spaces == Spaces::Allowed);
            if !is_text {
                return Err(BadRecord);
            }
            rest = &rest[1..];
            if c != '%' {
                literal.push(c);
                continue;
            }
            let (kind, after) = (rest.as_bytes().first(), rest.get(1..).unwrap_or_default());
            match kind {
                Some(b'%') => literal.push('%'),
                Some(b'_') => literal.push(' '),
                Some(b'-') => literal.push_str("%20"),
                Some(b'{') => {
                    let (inner, after) = after.split_once('}').ok_or(BadRecord)?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(expand(inner, letters)?);
                    rest = after;
                    continue;
                }
                _ => return Err(BadRecord),
            }
            rest = after;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// Whether the validated name of the client is wanted, which costs questions.
    pub(super) fn needs_name(&self) -> bool {
        let asks = |piece: &Piece| matches!(piece, Piece::Expand { letter: b'p', .. });
        self.0.iter().any(asks)
    }

    /// The text with all macros expanded.
    pub(super) fn expand(&self, values: &impl Values) -> String {
        let expanded = self.0.iter().map(|piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Expand {
                letter,
                is_escaped,
                parts,
                is_reversed,
                delimiters,
            } => {
                let value = values.value(*letter);
                let text = transformed(&value, *parts, *is_reversed, delimiters);
                match is_escaped {
                    true => escaped(&text),
                    false => text,
                }
            }
        });
        expanded.collect()
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Spaces {
    Allowed,
    Forbidden,
}

/// What stands in the braces: letter, figures, `r`, delimiters.
fn expand(inner: &str, letters: &[u8]) -> Result<Piece, BadRecord> {
    let (&first, rest) = inner.as_bytes().split_first().ok_or(BadRecord)?;
    let letter = first.to_ascii_lowercase();
    if !letters.contains(&letter) {
        return Err(BadRecord);
    }
    let figures = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (figures, rest) = rest.split_at(figures);
    let parts = match figures {
        [] => 0,
        // Only as many as there are can be kept: a number that is too large keeps all.
        some => std::str::from_utf8(some)
            .map_err(|_| BadRecord)?
            .parse()
            .unwrap_or(usize::MAX),
    };
    if !figures.is_empty() && parts == 0 {
        return Err(BadRecord);
    }
    let (is_reversed, delimiters) = match rest.split_first() {
        Some((b'r' | b'R', rest)) => (true, rest),
        _ => (false, rest),
    };
    if !delimiters.iter().all(|b| DELIMITERS.contains(b)) {
        return Err(BadRecord);
    }
    Ok(Piece::Expand {
        letter,
        is_escaped: first.is_ascii_uppercase(),
        parts,
        is_reversed,
        delimiters: match delimiters {
            [] => b".".to_vec(),
            some => some.to_vec(),
        },
    })
}

fn transformed(value: &str, parts: usize, is_reversed: bool, delimiters: &[u8]) -> String {
    let is_delimiter = |c: char| u8::try_from(c).is_ok_and(|b| delimiters.contains(&b));
    let mut all: Vec<&str> = value.split(is_delimiter).collect();
    if is_reversed {
        all.reverse();
    }
    let kept = match parts {
        0 => all.len(),
        parts => parts.min(all.len()),
    };
    all[all.len() - kept..].join(".")
}

/// What is not unreserved in an URL is escaped (RFC 3986 §2.3).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push_str(&format!("%{octet:02X}"));
        }
    }
    out
}

/// Letters, figures and inner hyphens, and not figures alone (§7.1 `toplabel`).
fn is_top_label(label: &str) -> bool {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !label.is_empty()
        && label.bytes().all(harmless)
        && !label.bytes().all(|b| b.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// §7.1 `delimiter`.
const DELIMITERS: &[u8] = b".-+,/_=";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Example;

    impl Values for Example {
        fn value(&self, letter: u8) -> String {
            match letter {
                b's' => "strong-bad@email.example.com",
                b'o' | b'd' => "email.example.com",
                b'l' => "strong-bad",
                b'i' => "192.0.2.3",
                b'v' => "in-addr",
                _ => "unknown",
            }
            .to_owned()
        }
    }

    #[test]
    fn the_examples_of_the_rfc_come_out() {
        // §7.4.
        for (text, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{S}", "strong-bad%40email.example.com"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                "3.2.0.192.in-addr._spf.example.com",
            ),
            ("%%%_%-", "% %20"),
        ] {
            let parsed = MacroString::parse(text).unwrap();
            assert_eq!(parsed.expand(&Example), expanded, "{text}");
        }
    }

    #[test]
    fn a_domain_ends_in_a_macro_or_in_a_label() {
        for (text, good) in [
            ("x.example", true),
            ("x.example.", true),
            ("%{d}", true),
            ("x.%{d}", true),
            ("abc.123", false),
            ("example", false),
            ("x.-a", false),
            ("", false),
            ("%{d", false),
            ("%{d0}", false),
            ("%{z}", false),
            ("%{c}", false),
            ("%a", false),
            ("x y.example", false),
        ] {
            assert_eq!(MacroString::domain_spec(text).is_ok(), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_expanded(text in "[%{}a-z0-9.-]{0,30}|\\PC{0,20}") {
            if let Ok(parsed) = MacroString::explanation(&text) {
                parsed.expand(&Example);
            }
        }
    }
}
