//! Text of strangers as it may be shown: nothing in it steers a terminal, turns letters round or can be clicked on.

/// A text with everything taken out or made visible that is no letter: control characters and escapes, marks that
/// turn the direction, characters that nobody sees. Line ends and tabs stay.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if is_unseen(c) => {}
            c if c.is_control() || turns(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The same in one line of at most `max` characters.
pub fn line(text: &str, max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = harmless(&words.join(" "));
    if line.chars().count() <= max {
        return line;
    }
    let start: String = line.chars().take(max.saturating_sub(1)).collect();
    format!("{start}…")
}

/// A text in which no program finds a link: `hxxp://a[.]example`, `mailto[:]`, `www[.]a.example`.
pub fn defanged(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for word in text.split_inclusive(char::is_whitespace) {
        out.push_str(&defanged_word(word));
    }
    out
}

fn defanged_word(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let is_link = word.contains("://")
        || SCHEMES.iter().any(|scheme| lower.contains(scheme))
        || has_domain(&lower);
    if !is_link {
        return word.to_owned();
    }
    let mut out = String::with_capacity(word.len() + 8);
    let mut rest = word;
    // ASCII alone is looked for, so the octets of both spellings stand in the same places.
    while let Some(at) = rest.to_ascii_lowercase().find("http") {
        out.push_str(&defanged_marks(&rest[..at]));
        out.push_str("hxxp");
        rest = &rest[at + 4..];
    }
    out.push_str(&defanged_marks(rest));
    out
}

fn defanged_marks(text: &str) -> String {
    text.replace('.', "[.]").replace(':', "[:]")
}

/// Whether a dot stands between letters: what programs take for a domain.
fn has_domain(word: &str) -> bool {
    word.match_indices('.').any(|(at, _)| {
        let before = word[..at].chars().next_back();
        let after: String = word[at + 1..].chars().take(2).collect();
        before.is_some_and(char::is_alphanumeric)
            && after.chars().count() == 2
            && after.chars().all(char::is_alphabetic)
    })
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{00AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

fn turns(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// What links begin with that have no `//`.
const SCHEMES: [&str; 5] = ["mailto:", "tel:", "javascript:", "data:", "file:"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_steers_a_terminal_or_turns_letters_round() {
        let text = "a\u{1b}[2J\u{7}b\r\n\tc\u{202e}fdp\u{200b}\u{9b}31m";
        assert_eq!(
            harmless(text),
            "a\\u{1b}[2J\\u{7}b\n\tc\\u{202e}fdp\\u{9b}31m"
        );
        assert_eq!(line(" a\r\n b \t c ", 10), "a b c");
        assert_eq!(line("abcdef", 4), "abc…");
    }

    #[test]
    fn links_are_shown_and_cannot_be_followed() {
        for (text, shown) in [
            (
                "see https://a.example/x?y=1.",
                "see hxxps[:]//a[.]example/x?y=1[.]",
            ),
            ("HTTP://A.example", "hxxp[:]//A[.]example"),
            ("www.a.example", "www[.]a[.]example"),
            ("<mailto:a@b>", "<mailto[:]a@b>"),
            ("write to a@b.example now", "write to a@b[.]example now"),
            (
                "At 10:30 it was 3.5 mg. Then",
                "At 10:30 it was 3.5 mg. Then",
            ),
        ] {
            assert_eq!(defanged(text), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_shown_harmless(text in "\\PC{0,60}|[\\x00-\\xff]{0,60}|(http|www|[.:/a-z ]){0,30}") {
            let shown = defanged(&harmless(&text));
            prop_assert!(!shown.contains("://"));
            prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(line(&text, 20).chars().count() <= 20);
        }
    }
}
