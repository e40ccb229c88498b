//! How many text messages a text takes (3GPP TS 23.038 §6.2.1, TS 23.040 §9.2.3.24; `domain.md` §6.5).
//!
//! A text is counted as it is sent, which is as GOV.UK Notify would make it: see [`sanitise`]. Where Notify divides by
//! the room of a segment, networks let no character straddle two of them and may need one more: this counts as the
//! networks do, so that nobody sends more than a contract allows. National shift tables are not used.

use unicode_normalization::UnicodeNormalization as _;

/// How the characters of a text travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alphabet {
    /// Seven bits each, some of them twice that.
    Gsm7,
    /// UTF-16.
    Ucs2,
}

impl Alphabet {
    /// What people call it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }

    /// Room in a single one and in each of several, in units.
    fn room(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }

    /// What a character takes, in units.
    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm7 if GSM_EXTENDED.contains(c) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => c.len_utf16(),
        }
    }
}

/// What a text takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measure {
    /// How it travels.
    pub alphabet: Alphabet,
    /// Characters, as people count them.
    pub characters: usize,
    /// Septets, or code units of UTF-16.
    pub units: usize,
    /// Messages that it takes; at least one.
    pub segments: usize,
}

/// Measures a text as it is. Empty text is one segment.
pub fn measure(text: &str) -> Measure {
    let alphabet = alphabet(text);
    let units = text.chars().map(|c| alphabet.units(c)).sum();
    let (single, _) = alphabet.room();
    let segments = match units <= single {
        true => 1,
        false => ends(text, alphabet).count(),
    };
    Measure {
        alphabet,
        characters: text.chars().count(),
        units,
        segments,
    }
}

/// The longest start of the text that fits into so many segments, cut between characters and, where that costs no
/// more than a few of them, between words.
pub fn cut(text: &str, segments: usize) -> &str {
    if measure(text).segments <= segments.max(1) {
        return text;
    }
    let mut kept = fitting(text, segments.max(1));
    // The start alone may be in a roomier alphabet than the whole was: what is cut off no longer counts.
    loop {
        let more = fitting_as(text, segments.max(1), alphabet(next_longer(text, kept)));
        if more.len() <= kept.len() || measure(more).segments > segments.max(1) {
            break;
        }
        kept = more;
    }
    let word = kept
        .rfind(char::is_whitespace)
        .map(|at| kept[..at].trim_end());
    match word {
        Some(word) if kept.len() - word.len() <= WORD_OCTETS && !word.is_empty() => word,
        _ => kept,
    }
}

/// The text with one more character than `kept` has.
fn next_longer<'t>(text: &'t str, kept: &str) -> &'t str {
    let rest = &text[kept.len()..];
    let next = rest.chars().next().map_or(0, char::len_utf8);
    &text[..kept.len() + next]
}

fn fitting(text: &str, segments: usize) -> &str {
    fitting_as(text, segments, alphabet(text))
}

fn fitting_as(text: &str, segments: usize, alphabet: Alphabet) -> &str {
    if segments == 1 {
        let (single, _) = alphabet.room();
        return &text[..end_of(text, 0, single, alphabet)];
    }
    let end = ends(text, alphabet).take(segments).last();
    &text[..end.unwrap_or(0)]
}

/// Where each segment of several ends, in octets.
fn ends(text: &str, alphabet: Alphabet) -> impl Iterator<Item = usize> + '_ {
    let (_, room) = alphabet.room();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= text.len() {
            return None;
        }
        start = end_of(text, start, room, alphabet);
        Some(start)
    })
}

/// Where a segment ends that begins at `start`: no character is split.
fn end_of(text: &str, start: usize, room: usize, alphabet: Alphabet) -> usize {
    let mut used = 0;
    for (at, c) in text[start..].char_indices() {
        used += alphabet.units(c);
        if used > room {
            return start + at;
        }
    }
    text.len()
}

fn alphabet(text: &str) -> Alphabet {
    match text.chars().all(is_gsm) {
        true => Alphabet::Gsm7,
        false => Alphabet::Ucs2,
    }
}

fn is_gsm(c: char) -> bool {
    GSM.contains(c) || GSM_EXTENDED.contains(c)
}

/// A text as it can be sent.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Sanitised {
    /// What is sent.
    pub text: String,
    /// Letters and digits of other scripts for which `?` stands in it: what is sent says something else.
    pub lost_letters: usize,
}

impl std::fmt::Debug for Sanitised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sanitised")
            .field("octets", &self.text.len())
            .field("lost_letters", &self.lost_letters)
            .finish()
    }
}

/// Makes of a text what Notify would make of it before it sends it: dashes and quotation marks plain, invisible
/// characters gone, other spaces a space; Welsh letters stay (and make it UCS-2); other letters lose their marks, and
/// what is left becomes `?`. Beyond that, signs that a dose may have are written out (`½`, `≤`), or count as lost.
pub fn sanitise(text: &str) -> Sanitised {
    let mut sanitised = Sanitised {
        text: String::with_capacity(text.len()),
        lost_letters: 0,
    };
    let mut was_sign = false;
    for c in text.nfc() {
        let at = sanitised.text.len();
        push(&mut sanitised, c);
        // Two and a half is not twenty-one halves, nor is 2① 21.
        let (before, added) = sanitised.text.split_at(at);
        let goes_on = before.ends_with(is_digit) && added.starts_with(is_digit);
        let is_sign = !is_decimal(c);
        was_sign = match added.is_empty() {
            true => was_sign,
            false => {
                if goes_on && (is_sign || was_sign) {
                    sanitised.text.insert(at, ' ');
                }
                is_sign
            }
        };
    }
    sanitised
}

fn push(to: &mut Sanitised, c: char) {
    let text = &mut to.text;
    match c {
        '\u{2013}' | '\u{2014}' | '\u{2010}'..='\u{2012}' | '\u{2212}' => text.push('-'),
        '\u{2044}' | '\u{2215}' | '\u{f7}' => text.push('/'),
        '\u{d7}' => text.push('x'),
        '\u{b7}' => text.push('.'),
        '\u{b1}' => text.push_str("+/-"),
        '\u{2264}' => text.push_str("<="),
        '\u{2265}' => text.push_str(">="),
        '`' | '\u{B4}' | '\u{2018}' | '\u{2019}' | '\u{2032}' => text.push('\''),
        '\u{201C}' | '\u{201D}' | '\u{2033}' => text.push('"'),
        '\u{2026}' => text.push_str("..."),
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' => text.push(' '),
        '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{AD}' | '\u{180E}' => {}
        // The rest of a pictogram: it is one `?`, not three.
        '\u{FE00}'..='\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}' => {}
        // Marks of direction round a name show nothing. One that turns round what follows makes other digits of them.
        '\u{61C}' | '\u{202A}'..='\u{202C}' | '\u{2066}'..='\u{2069}' => {}
        '\u{202D}' | '\u{202E}' => to.lost_letters += 1,
        '\u{B}' | '\u{85}' | '\u{2028}' | '\u{2029}' => text.push('\n'),
        '\r' => {}
        c if is_gsm(c) || WELSH.contains(c) => text.push(c),
        c if c.is_control() => {}
        c => push_without_marks(to, c),
    }
}

/// A letter without its marks; one character for several (`½`, `ﬁ`, `⑩`, `㎎`) with all of them or not at all: half of
/// it says something else, and a dose is the last place for that. A digit that is raised or lowered is none on the line.
fn push_without_marks(to: &mut Sanitised, c: char) {
    if let Some(base) = std::iter::once(c).nfd().next()
        && base.is_ascii_alphabetic()
    {
        to.text.push(base);
        return;
    }
    match in_full(c) {
        Some(full) if !is_raised_or_lowered(c) => {
            to.text.push_str(&full);
        }
        _ => {
            let says = std::iter::once(c).nfkd().any(char::is_alphanumeric);
            to.lost_letters += usize::from(says || matches!(c, NOT_EQUAL | UNDECODED));
            to.text.push('?');
        }
    }
}

/// What stands for a character in the basic table, nothing of it left out; `None` if that cannot be.
fn in_full(c: char) -> Option<String> {
    let plain = std::iter::once(c).nfkd().map(|c| match c {
        '\u{2044}' => '/',
        c => c,
    });
    let full: String = plain.collect();
    let fits = full.chars().all(|c| matches!(c, ' '..='~') && is_gsm(c));
    fits.then_some(full)
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

/// Whether a character is a digit of a longer number (`Nd`) where it stands for one: also one of full width, or in the
/// letters of mathematics; not `①`.
fn is_decimal(c: char) -> bool {
    is_digit(c)
        || matches!(c, '\u{ff10}'..='\u{ff19}' | '\u{1d7ce}'..='\u{1d7ff}' | '\u{1fbf0}'..='\u{1fbf9}')
}

/// Exponents and indices: `10⁹` is not 109.
fn is_raised_or_lowered(c: char) -> bool {
    matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}'..='\u{209c}')
}

/// The basic table (TS 23.038 §6.2.1), without the escape.
const GSM: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table (§6.2.1.1): an escape and a septet each.
const GSM_EXTENDED: &str = "^{}\\[~]|€\u{c}";
/// Letters of Welsh that the basic table has not (notifications-utils, `WELSH_NON_GSM_CHARACTERS`).
const WELSH: &str = "àèìòùẁỳÀÈÌÒÙẀỲáéíóúẃýÁÉÍÓÚẂÝäëïöüẅÿÄËÏÖÜẄŸâêîôûŵŷÂÊÎÔÛŴŶ";
/// Without its stroke it would say the opposite.
const NOT_EQUAL: char = '\u{2260}';
/// What stands for octets that are no text.
const UNDECODED: char = char::REPLACEMENT_CHARACTER;
/// What is given up at most so that a cut falls between words, in octets.
const WORD_OCTETS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(text: &str) -> usize {
        measure(&sanitise(text).text).segments
    }

    #[test]
    fn the_vectors_of_notify() {
        for (part, times, expected) in [
            ("à", 160, 1),
            ("à", 161, 2),
            ("à", 306, 2),
            ("à", 307, 3),
            ("à", 612, 4),
            ("à", 918, 6),
            ("à", 919, 7),
            ("ÿ", 70, 1),
            ("ÿ", 71, 2),
            ("ÿ", 134, 2),
            ("ÿ", 135, 3),
            ("ÿ", 268, 4),
            ("🚀", 160, 1),
            ("^", 80, 1),
            ("^", 81, 2),
        ] {
            assert_eq!(segments(&part.repeat(times)), expected, "{part} {times}");
        }
        for (start, times, end, expected) in [
            ("à", 70, "ÿ", 2),
            ("a", 158, "|", 1),
            ("a", 159, "|", 2),
            ("a", 304, "[", 2),
            ("a", 304, "[]", 3),
        ] {
            let text = start.repeat(times) + end;
            assert_eq!(segments(&text), expected, "{start} {times} {end}");
        }
    }

    #[test]
    fn a_pair_straddles_no_boundary() {
        // By division it would be 306 / 153 = 2; the bracket moves into the second, and the last letter out of it.
        let text = "a".repeat(152) + "[" + &"a".repeat(152);
        assert_eq!((measure(&text).units, measure(&text).segments), (306, 3));
    }

    #[test]
    fn a_text_is_made_fit_as_notify_does_it() {
        for (text, sent, lost) in [
            (
                "10–12 — “now” or ‘never’…",
                "10-12 - \"now\" or 'never'...",
                0,
            ),
            ("a\u{200b}b\u{a0}c\td\r\n", "ab c d\n", 0),
            ("Caffi'r Tŷ, ŵyth", "Caffi'r Tŷ, ŵyth", 0),
            ("Łukasz Šimić", "?ukasz Simic", 1),
            ("e\u{301} o\u{302}", "é ô", 0),
            ("👍🏽 ok", "? ok", 0),
            ("ہفتہ", "????", 4),
            ("ﬁne №5 ™", "fine No5 TM", 0),
            ("５ ｍｇ", "5 mg", 0),
        ] {
            let sanitised = sanitise(text);
            assert_eq!(
                (sanitised.text.as_str(), sanitised.lost_letters),
                (sent, lost),
                "{text}"
            );
        }
    }

    #[test]
    fn no_dose_becomes_another_one() {
        for (text, sent, lost) in [
            ("9\u{b}10\u{2028}11", "9\n10\n11", 0),
            ("\u{2068}Ann\u{2069}", "Ann", 0),
            ("\u{202e}01\u{202c}", "01", 1),
            ("take ½ tablet", "take 1/2 tablet", 0),
            ("take 2½ tablets or ¾", "take 2 1/2 tablets or 3/4", 0),
            ("1⁄2 or 1∕2", "1/2 or 1/2", 0),
            ("take 2①, 5 mg 1⑩", "take 2 1, 5 mg 1 10", 0),
            (
                "①0 ml, ①② ml, 2\u{200b}①\u{200b}3",
                "1 0 ml, 1 2 ml, 2 1 3",
                0,
            ),
            ("1２３ ｍｇ, 𝟏𝟎", "123 mg, 10", 0),
            ("⑩ ml, 5㎎", "10 ml, 5mg", 0),
            ("at −5, ±1", "at -5, +/-1", 0),
            (
                "0·5 mg, 2 × 5 ml, ≤ 4, ≥ 2",
                "0.5 mg, 2 x 5 ml, <= 4, >= 2",
                0,
            ),
            ("10⁹ H₂O x²", "10? H?O x?", 3),
            ("dose ≠ 5", "dose ? 5", 1),
            ("5㎍", "5?", 1),
            ("\u{fffd}9.90", "?9.90", 1),
        ] {
            let sanitised = sanitise(text);
            let shown = (sanitised.text.as_str(), sanitised.lost_letters);
            assert_eq!(shown, (sent, lost), "{text}");
        }
    }

    #[test]
    fn a_cut_falls_between_words_if_it_can() {
        let text = "one two three ".repeat(20);
        let kept = cut(&text, 1);
        assert!(
            kept.len() <= 160 && text[kept.len()..].starts_with(' '),
            "{kept}"
        );
        assert!(kept.len() > 140, "{kept}");
        assert_eq!(cut("short", 1), "short");
    }

    proptest! {
        #[test]
        fn what_is_cut_fits_and_is_a_start_of_the_text(
            text in "[a-z \\[€ÿŵ🚀\n]{0,700}", limit in 1usize..5)
        {
            let kept = cut(&text, limit);
            prop_assert!(text.starts_with(kept));
            prop_assert!(measure(kept).segments <= limit);
            if measure(&text).segments <= limit {
                prop_assert_eq!(kept, text.as_str());
            }
        }

        #[test]
        fn segments_hold_no_more_than_they_have_room_for_and_split_no_character(text in "[a\\[€ÿ🚀]{0,500}") {
            let whole = measure(&text);
            let (single, room) = whole.alphabet.room();
            if whole.units > single {
                let mut start = 0;
                for end in ends(&text, whole.alphabet) {
                    // An index inside a character would panic.
                    let part = &text[start..end];
                    let units: usize = part.chars().map(|c| whole.alphabet.units(c)).sum();
                    prop_assert!(units > 0 && units <= room);
                    if whole.alphabet == Alphabet::Ucs2 {
                        prop_assert_eq!(units, part.encode_utf16().count());
                    }
                    start = end;
                }
                prop_assert_eq!(start, text.len());
            }
        }

        #[test]
        fn what_was_made_fit_stays_as_it_is(text in "\\PC{0,100}") {
            let once = sanitise(&text).text;
            let again = sanitise(&once).text;
            prop_assert_eq!(&again, &once);
            prop_assert!(once.chars().all(|c| is_gsm(c) || WELSH.contains(c)));
        }
    }
}
