//! The `[secure]` tag: how a sender asks for encryption, and how one tries to and fails.
//!
//! The tag itself counts anywhere in the decoded subject, in any case. A subject that seems to mean it
//! and does not have it would leave in clear, which is the main mistake that people make with it: such a
//! near miss is told apart, so that the message can be held. What counts as one is settled in
//! `design.md` §4.3; "Secure storage of medicines" does not.

use crate::policy::finding::SecureKeyword;

use super::candidate::is_invisible;
use super::subject::without_prefixes;

/// Returns what a subject says about encryption, given the tags of the policy.
pub fn examine(tags: &[String], subject: &str) -> SecureKeyword {
    let lower = subject.to_ascii_lowercase();
    if tags
        .iter()
        .any(|tag| lower.contains(&tag.to_ascii_lowercase()))
    {
        return SecureKeyword::Present;
    }
    let seen = as_seen(subject);
    // Before the look-alikes are read: `Re[3]:` is no `Re[e]:`.
    let visible: String = subject.chars().filter(|c| !is_invisible(*c)).collect();
    let start = &as_seen(without_prefixes(&visible));
    let is_near = tags.iter().filter_map(|tag| word_of(tag)).any(|word| {
        is_bracketed_typo(&seen, &word) || is_broken_tag(start, &word) || is_bare_word(start, &word)
    });
    if is_near {
        SecureKeyword::NearMiss
    } else {
        SecureKeyword::Absent
    }
}

/// The word within the brackets of a tag. A tag of another form has no near misses.
fn word_of(tag: &str) -> Option<String> {
    let inner = tag.trim().strip_prefix(OPENING)?.strip_suffix(CLOSING)?;
    Some(as_seen(inner.trim()))
}

/// A word in square brackets that is the one of the tag, or one letter off, anywhere in the subject.
fn is_bracketed_typo(seen: &str, word: &str) -> bool {
    let mut rest = seen;
    while let Some(open) = rest.find('[') {
        rest = &rest[open + 1..];
        // The nearest bracket closes: `[[secure]` is read from the inner one.
        let Some(close) = rest.find(['[', ']']) else {
            return false;
        };
        let inner = rest[..close].trim();
        let is_near = is_one_letter_off(inner, word) || inner.strip_suffix("ed") == Some(word);
        if rest[close..].starts_with(']') && is_near {
            return true;
        }
    }
    false
}

/// At the start: the word in brackets of any kind, spaced or not, of which one may be missing.
fn is_broken_tag(start: &str, word: &str) -> bool {
    let opened = start.trim_start_matches(OPENING);
    let has_open = opened.len() < start.len();
    let Some(rest) = opened.trim_start().strip_prefix(word) else {
        return false;
    };
    let has_close = rest.trim_start().starts_with(CLOSING);
    let whole_word = !rest.starts_with(char::is_alphanumeric);
    has_close || (has_open && whole_word && !rest.contains(CLOSING))
}

/// At the start: the word alone, or before a colon or a dash.
fn is_bare_word(start: &str, word: &str) -> bool {
    let Some(rest) = start.strip_prefix(word) else {
        return false;
    };
    let after = rest.trim_start();
    // A semicolon is a colon without the shift key.
    if after.starts_with([':', ';'])
        || after
            .trim_matches(|c: char| !c.is_alphanumeric())
            .is_empty()
    {
        return true;
    }
    // `Secure - x` and `Secure- x`, but not `Secure-by-design`.
    let dashed = after.trim_start_matches('-');
    let has_dash = dashed.len() < after.len();
    has_dash && (after.len() < rest.len() || !dashed.starts_with(char::is_alphanumeric))
}

/// At most one letter more, less or other, or two neighbours swapped.
fn is_one_letter_off(found: &str, word: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (found.chars().collect(), word.chars().collect());
    let same_start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[same_start..], &b[same_start..]);
    match (a, b) {
        ([], []) => true,
        ([x, y, a @ ..], [v, w, b @ ..]) if x == w && y == v && a == b => true,
        _ => {
            let (a1, b1) = (a.get(1..), b.get(1..));
            a1 == Some(b) || b1 == Some(a) || (a1.is_some() && a1 == b1)
        }
    }
}

/// The subject as the eye takes it: lower case, look-alikes as the letter that they look like, without
/// what nobody sees; any dash is `-`, any square bracket `[` or `]`.
fn as_seen(text: &str) -> String {
    let visible = text.chars().filter(|c| !is_invisible(*c) && !is_accent(*c));
    visible
        .flat_map(char::to_lowercase)
        .map(look_alike)
        .collect()
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}')
}

fn look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' | 'á' | 'à' | 'ä' | 'â' => 'a',
        'с' | 'ϲ' | 'ç' | 'ć' | 'ċ' | 'ƈ' => 'c',
        'е' | 'ε' | 'є' | 'ё' | 'é' | 'è' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | '3' | '€' => {
            'e'
        }
        'і' | 'ι' | 'ı' | '1' | 'ł' => 'i',
        'п' | 'ո' | 'ñ' => 'n',
        'о' | 'ο' | 'օ' | '0' | 'ö' | 'ó' | 'ò' => 'o',
        'р' | 'ρ' => 'p',
        'г' | 'ř' => 'r',
        'ѕ' | 'ꜱ' | 'ş' | 'š' | 'ś' | '5' | '$' => 's',
        'т' | 'τ' => 't',
        'υ' | 'ս' | 'ц' | 'ü' | 'ú' | 'ù' | 'û' | 'µ' | 'μ' => 'u',
        'у' | 'γ' | 'ү' => 'y',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' | '\u{FF0D}' => '-',
        '\u{FF3B}' | '【' | '〔' | '⟦' | '〚' => '[',
        '\u{FF3D}' | '】' | '〕' | '⟧' | '〛' => ']',
        '\u{FF1A}' | '\u{FE55}' | '\u{A789}' => ':',
        // Full-width forms (U+FF01…U+FF5E) lie as ASCII does.
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        c if c.is_whitespace() => ' ',
        c => c,
    }
}

/// Brackets that people put round the word.
const OPENING: [char; 6] = ['[', '(', '{', '<', '«', '‹'];
/// Their counterparts.
const CLOSING: [char; 6] = [']', ')', '}', '>', '»', '›'];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(subject: &str) -> &'static str {
        let tags = ["[secure]".to_owned(), "[encrypt]".to_owned()];
        examine(&tags, subject).word()
    }

    #[test]
    fn the_tag_counts_anywhere_and_in_any_case() {
        for subject in [
            "[secure] results",
            "Re: [SECURE] results",
            "results [Secure]",
            "x[encrypt]y",
            "[[secure]]",
        ] {
            assert_eq!(word(subject), "present", "{subject}");
        }
    }

    #[test]
    fn a_tag_that_was_meant_is_a_near_miss() {
        for subject in [
            "(secure) results",
            "{Secure} results",
            "<secure> results",
            "[ secure ] results",
            "[secure results",
            "secure] results",
            "[secure) results",
            "(secure results",
            "Re: Fwd: (secure) results",
            "Re[3]: (secure) results",
            "RE (10): Secure: results",
            "ATB: secure: results",
            "secure: results",
            "SECURE - results",
            "Secure\u{2013} results",
            "Secure -results",
            "re: secure: results",
            "secure",
            "Secure.",
            "encrypt: results",
            "[secre] results",
            "[seccure] results",
            "[secrue] results",
            "results [secured]",
            "results [sevure]",
            "[ecnrypt] results",
            "[ѕесurе] results",
            "[sécure] results",
            "[s3cure] results",
            "［secure］ results",
            "[sec\u{200b}ure] results",
            "[secure\u{a0}] results",
            "[se cure] results",
            "[[secrue] results",
        ] {
            assert_eq!(word(subject), "near-miss", "{subject}");
        }
    }

    #[test]
    fn plain_use_of_the_word_is_none() {
        for subject in [
            "Secure storage of medicines",
            "Secure-by-design workshop",
            "secured loan",
            "Is this secure?",
            "How secure: a study",
            "security update",
            "[security] update",
            "[secure storage] rota",
            "meeting (secure) room",
            "encryption keys",
            "Re: results",
            "",
            "[",
            "[sure] thing",
            "(secured) loan",
        ] {
            assert_eq!(word(subject), "absent", "{subject}");
        }
    }

    #[test]
    fn tags_are_the_policy_s_own() {
        let tags = ["[send secure]".to_owned(), "##private##".to_owned()];
        assert_eq!(examine(&tags, "x [SEND SECURE]").word(), "present");
        assert_eq!(examine(&tags, "x ##Private##").word(), "present");
        assert_eq!(examine(&tags, "(send secure) x").word(), "near-miss");
        assert_eq!(examine(&tags, "[secure] x").word(), "absent");
    }

    proptest! {
        #[test]
        fn any_subject_is_read(subject in "[\\PC\\[\\](){}secur:\\- ]*") {
            word(&subject);
        }

        #[test]
        fn the_tag_is_present_whatever_stands_round_it(before in "\\PC*", after in "\\PC*") {
            prop_assert_eq!(word(&format!("{before}[Secure]{after}")), "present");
        }
    }
}
