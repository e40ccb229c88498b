//! Protective markings: words by which a sender says that a message is sensitive.
//!
//! In text: `OFFICIAL-SENSITIVE` with or without a descriptor, in any case and spacing, where a
//! marking stands (at the start of the subject or the text, or in brackets); `[O-S]`; and the old
//! `RESTRICTED` and `PROTECT`, in brackets alone, since they are plain words too. In the header:
//! `Sensitivity` (RFC 2156 §5.3.4), `X-Protective-Marking` and Microsoft's `msip_labels`, as far as
//! the policy lists their values. A word in the midst of a sentence is no marking.

use super::candidate::is_invisible;
use super::settings::MarkingSettings;
use super::subject::without_prefixes;

/// Returns the marking of a subject, in its canonical spelling.
pub fn in_subject(subject: &str) -> Option<&'static str> {
    at_start(behind_tags(subject)).or_else(|| in_brackets(subject))
}

/// What follows prefixes and words in brackets: `[secure]`, `Re: [Ticket-7]`. A marking in brackets is found by itself.
fn behind_tags(subject: &str) -> &str {
    let mut rest = without_prefixes(subject);
    while let Some(next) = without_tag(rest) {
        rest = without_prefixes(next);
    }
    rest
}

fn without_tag(text: &str) -> Option<&str> {
    let close = match text.chars().next()? {
        '[' => ']',
        '(' => ')',
        '{' => '}',
        _ => return None,
    };
    let (tag, rest) = text[1..].split_once(close)?;
    (!tag.trim().contains(char::is_whitespace)).then_some(rest)
}

/// Returns the marking of a text: before its first word, behind the banner of a gateway, or in brackets anywhere.
pub fn in_text(text: &str) -> Option<&'static str> {
    at_start(text)
        .or_else(|| after_banner(text).find_map(at_start))
        .or_else(|| in_brackets(text))
}

/// Whether a header field of this name says how sensitive its message is.
pub fn is_field(name: &str) -> bool {
    let names = ["Sensitivity", "X-Protective-Marking", "msip_labels"];
    names.iter().any(|field| name.eq_ignore_ascii_case(field))
}

/// Returns the marking in a header field, by the values that the policy lists: its canonical spelling, or
/// the value as the policy spells it.
pub fn in_field<'s>(settings: &'s MarkingSettings, name: &str, value: &str) -> Option<&'s str> {
    if name.eq_ignore_ascii_case("Sensitivity") {
        listed(&settings.sensitivity, value)
    } else if name.eq_ignore_ascii_case("X-Protective-Marking") {
        let levels = value.split([',', ';']);
        let named = levels.filter_map(|item| item.trim().split_once('='));
        let level = named.filter(|(key, _)| key.trim().eq_ignore_ascii_case("SEC"));
        listed(&settings.labels, value).or_else(|| {
            level
                .into_iter()
                .find_map(|(_, level)| listed(&settings.labels, level))
        })
    } else if name.eq_ignore_ascii_case("msip_labels") {
        // MSIP_Label_<GUID>_Enabled=true; MSIP_Label_<GUID>_Name=…; …
        let items = value
            .split(';')
            .filter_map(|item| item.trim().split_once('='));
        let mut names = items.filter(|(key, _)| key.trim().to_ascii_lowercase().ends_with("_name"));
        names.find_map(|(_, name)| listed(&settings.labels, name))
    } else {
        None
    }
}

/// The entry of a list that says the same, apart from case, spaces and signs.
fn listed<'s>(list: &'s [String], value: &str) -> Option<&'s str> {
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let wanted = letters(value);
    let found = list.iter().find(|entry| letters(entry) == wanted)?;
    Some(found.as_str())
}

/// A marking before the first word: behind decoration, or behind a word such as `Classification:`.
fn at_start(text: &str) -> Option<&'static str> {
    let start = undecorated(text);
    let start = LEADS
        .iter()
        .find_map(|lead| {
            let rest = start.get(lead.len()..)?;
            let said = start[..lead.len()].eq_ignore_ascii_case(lead);
            said.then(|| rest.trim_start().strip_prefix([':', '-', '=']))
                .flatten()
        })
        .map_or(start, undecorated);
    official_sensitive(start)?;
    Some(OFFICIAL_SENSITIVE)
}

/// What follows the line and the paragraph by which a gateway says that a message came from outside; nothing if the
/// text does not begin so. HTML has paragraphs in lines, plain text has them between empty ones.
fn after_banner(text: &str) -> impl Iterator<Item = &str> {
    let start = undecorated(text);
    let line_end = start.find('\n').unwrap_or(start.len());
    let read = start.floor_char_boundary(line_end.min(BANNER_OCTETS));
    let line = start[..read].to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let is_banner = BANNERS.iter().any(|begin| line.starts_with(begin))
        && says(&["outside", "external"])
        && says(&["mail", "message", "sender"]);
    let ends = ["\n", "\n\n", "\n\r\n"].into_iter();
    ends.filter(move |_| is_banner)
        .filter_map(move |end| start.split_once(end).map(|(_, rest)| rest))
}

/// A marking right behind an opening bracket. Takes time in proportion to the text.
fn in_brackets(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some(open) = memchr::memchr3(b'[', b'(', b'{', rest.as_bytes()) {
        let close = match rest.as_bytes()[open] {
            b'[' => ']',
            b'(' => ')',
            _ => '}',
        };
        rest = &rest[open + 1..];
        let inner = rest.trim_start();
        if let Some(after) = official_sensitive(inner)
            && has_close(after, close)
        {
            return Some(OFFICIAL_SENSITIVE);
        }
        if close == ']' && is_short_form(inner) {
            return Some(OFFICIAL_SENSITIVE);
        }
        // In round brackets they are plain words as well: `(restricted)`.
        let shouted = |old: &str| inner.starts_with(&old.to_ascii_uppercase());
        let old = OLD
            .iter()
            .find(|old| is_old_form(inner, old, close) && (close == ']' || shouted(old)));
        if let Some(old) = old {
            return Some(old);
        }
    }
    None
}

fn undecorated(text: &str) -> &str {
    text.trim_start_matches(|c: char| {
        !c.is_alphanumeric() && !matches!(c, '"' | '\'' | '\u{2018}' | '\u{201c}')
    })
}

/// Returns what follows `OFFICIAL-SENSITIVE`, in any case and spacing, as a whole word.
fn official_sensitive(text: &str) -> Option<&str> {
    let rest = strip_word(text, "official")?;
    let gap = rest.trim_start_matches(|c: char| {
        c.is_whitespace()
            || is_invisible(c)
            || "-_:/.\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2212}".contains(c)
    });
    if rest.len() - gap.len() > GAP_OCTETS {
        return None;
    }
    let rest = strip_word(gap, "sensitive")?;
    let ends = !rest.starts_with(char::is_alphanumeric);
    ends.then_some(rest)
}

/// `O-S]`, with or without a descriptor.
fn is_short_form(inner: &str) -> bool {
    let dash = |text: &str| {
        Some(
            text.trim_start()
                .strip_prefix(['-', '\u{2010}', '\u{2011}', '\u{2013}'])?
                .trim_start()
                .len(),
        )
    };
    strip_word(inner, "o")
        .and_then(|rest| dash(rest).map(|left| &rest[rest.len() - left..]))
        .and_then(|rest| strip_word(rest, "s"))
        .is_some_and(|rest| is_descriptor(rest, ']'))
}

fn is_old_form(inner: &str, word: &str, close: char) -> bool {
    strip_word(inner, word).is_some_and(|rest| is_descriptor(rest, close))
}

/// Whether nothing or a descriptor (`: STAFF`, `- PERSONAL`) stands before the closing bracket.
fn is_descriptor(rest: &str, close: char) -> bool {
    let rest = rest.trim_start();
    rest.starts_with(close)
        || (rest.starts_with([':', '-', '\u{2013}', '/']) && has_close(rest, close))
}

/// Whether the bracket is closed soon, on the same line.
fn has_close(text: &str, close: char) -> bool {
    text.chars()
        .take(DESCRIPTOR_CHARS)
        .take_while(|c| *c != '\n')
        .any(|c| c == close)
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let start = text.get(..word.len())?;
    start
        .eq_ignore_ascii_case(word)
        .then(|| &text[word.len()..])
}

/// The canonical spelling of the marking in use.
pub const OFFICIAL_SENSITIVE: &str = "OFFICIAL-SENSITIVE";
/// Markings of before 2014.
const OLD: &[&str] = &["RESTRICTED", "PROTECT"];
/// What may introduce a marking at the start of a text.
const LEADS: &[&str] = &[
    "classification",
    "security classification",
    "protective marking",
    "marking",
    "sensitivity",
    "handling",
    "government",
];
/// How the banner begins by which a gateway says that a message came from outside.
const BANNERS: &[&str] = &[
    "caution",
    "external",
    "warning",
    "attention",
    "this email",
    "this e-mail",
    "this message",
];
/// How much of its first line is read, in octets.
const BANNER_OCTETS: usize = 400;
/// Between the two words of a marking, in octets.
const GAP_OCTETS: usize = 12;
/// The longest descriptor within brackets, in characters.
const DESCRIPTOR_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_marking_is_known_in_all_its_spellings() {
        for subject in [
            "OFFICIAL-SENSITIVE",
            "OFFICIAL SENSITIVE: Mrs Smith",
            "Official - Sensitive",
            "official\u{2013}sensitive referral",
            "OFFICIALSENSITIVE x",
            "Official_Sensitive",
            "OFFICIAL:Sensitive",
            "Re: FW: OFFICIAL-SENSITIVE: PERSONAL - x",
            "[External] OFFICIAL-SENSITIVE x",
            "[secure] OFFICIAL-SENSITIVE: x",
            "Re: [Secure] Re: [T-7](x) Official Sensitive x",
            "( secure ) OFFICIAL-SENSITIVE x",
            "[OFFICIAL-SENSITIVE] x",
            "Referral [OFFICIAL-SENSITIVE: PERSONAL]",
            "Referral (Official Sensitive)",
            "*** OFFICIAL-SENSITIVE *** x",
            "[O-S] x",
            "Referral [o - s]",
            "[O-S: PERSONAL] x",
            "Protective marking: OFFICIAL-SENSITIVE",
        ] {
            assert_eq!(in_subject(subject), Some(OFFICIAL_SENSITIVE), "{subject}");
        }
        assert_eq!(in_subject("x [RESTRICTED]"), Some("RESTRICTED"));
        assert_eq!(in_subject("x (RESTRICTED)"), Some("RESTRICTED"));
        assert_eq!(in_subject("x [restricted]"), Some("RESTRICTED"));
        assert_eq!(in_subject("[Protect - Personal] x"), Some("PROTECT"));
        assert_eq!(
            in_text("\r\n  OFFICIAL SENSITIVE\r\n\r\nDear all"),
            Some(OFFICIAL_SENSITIVE)
        );
        assert_eq!(
            in_text("Dear all, [OFFICIAL-SENSITIVE] follows"),
            Some(OFFICIAL_SENSITIVE)
        );
    }

    #[test]
    fn the_marking_stands_behind_the_banner_of_a_gateway() {
        let caution = "CAUTION: This email originated from outside of the organisation.";
        for text in [
            &format!("{caution}\tDo not click.\t\n\u{a0}\nOFFICIAL-SENSITIVE\nDear all"),
            &format!("{caution}\r\nDo not click\r\nlinks.\r\n\r\nOfficial Sensitive\r\n"),
            "[EXTERNAL EMAIL]\n\nClassification: OFFICIAL-SENSITIVE\n",
            "** Warning: external sender **\nOFFICIAL-SENSITIVE",
        ] {
            assert_eq!(in_text(text), Some(OFFICIAL_SENSITIVE), "{text}");
        }
        for text in [
            "Dear all\n\nOFFICIAL-SENSITIVE is a marking",
            "CAUTION: wet floor\n\nOFFICIAL-SENSITIVE is a marking",
            &format!("{caution}\n\nDear all\n\nOFFICIAL-SENSITIVE is a marking"),
            &format!("{caution} The OFFICIAL-SENSITIVE policy"),
        ] {
            assert_eq!(in_text(text), None, "{text}");
        }
    }

    #[test]
    fn words_that_mark_nothing_are_left_alone() {
        for subject in [
            "The OFFICIAL-SENSITIVE policy",
            "Official sensitivity training",
            "Officially sensitive matters",
            "OFFICIAL",
            "NOT PROTECTIVELY MARKED",
            "RESTRICTED access on Monday",
            "Protect yourself",
            "[restricted area] key",
            "[protected] x",
            "O-S mapping",
            "Access by the yard (restricted) on Monday",
            "do not crush (protect) from light",
            "[OS] update",
            "[secure] The OFFICIAL-SENSITIVE policy",
            "[not one word] OFFICIAL-SENSITIVE policy",
            "[secure OFFICIAL",
            "[o-saki] x",
            "\"OFFICIAL-SENSITIVE\" explained",
            "x [OFFICIAL-SENSITIVE never closed",
        ] {
            assert_eq!(in_subject(subject), None, "{subject}");
        }
    }

    #[test]
    fn header_fields_count_as_the_policy_lists_them() {
        let settings = MarkingSettings {
            sensitivity: vec!["Company-Confidential".into()],
            labels: vec!["OFFICIAL-SENSITIVE".into(), "Patient Data".into()],
        };
        let label = "MSIP_Label_1f_Enabled=true; MSIP_Label_1f_SetDate=2026-01-01T00:00:00Z; MSIP_Label_1f_Name=Patient data; MSIP_Label_1f_ContentBits=0;";
        let australian = "VER=2024.1, NS=gov.au, SEC=OFFICIAL:Sensitive, ORIGIN=a@b.example";
        for (name, value, expected) in [
            (
                "sensitivity",
                "company-confidential",
                Some("Company-Confidential"),
            ),
            ("Sensitivity", "Personal", None),
            ("msip_labels", label, Some("Patient Data")),
            ("msip_labels", "MSIP_Label_1f_Name=Public", None),
            (
                "X-Protective-Marking",
                "Official Sensitive",
                Some("OFFICIAL-SENSITIVE"),
            ),
            (
                "X-Protective-Marking",
                australian,
                Some("OFFICIAL-SENSITIVE"),
            ),
            ("X-Protective-Marking", "SEC=OFFICIAL", None),
            ("Comments", "OFFICIAL-SENSITIVE", None),
        ] {
            assert_eq!(
                in_field(&settings, name, value),
                expected,
                "{name}: {value}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\PC\\[\\](){}<>OoSs:\\- ]*") {
            in_subject(&text);
            in_text(&text);
        }
    }
}
