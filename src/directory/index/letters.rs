//! Letters and words as they are searched for: whatever case, accents and apostrophes they are written with.

/// Calls `each` with every word of a text: runs of letters and digits, in lower case, without
/// apostrophes and accents, and cut where they are too long to be searched for.
pub(super) fn each_word(text: &str, word: &mut String, mut each: impl FnMut(&str)) {
    word.clear();
    for c in text.chars() {
        match fold(c) {
            Some(c) if word.len() < WORD_MAX => word.push(c),
            Some(_) => {}
            None if matches!(c, '\'' | '\u{2019}') => {}
            None if word.is_empty() => {}
            None => {
                each(word);
                word.clear();
            }
        }
    }
    if !word.is_empty() {
        each(word);
    }
}

/// A letter or digit as it is searched for; `None` for what stands between words.
fn fold(c: char) -> Option<char> {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric().then(|| c.to_ascii_lowercase());
    }
    let c = c.to_lowercase().next().filter(|c| c.is_alphanumeric())?;
    let plain = ACCENTS.iter().find(|(_, with)| with.contains(c));
    Some(plain.map_or(c, |(plain, _)| *plain))
}

/// Longest word that is kept, in octets; a letter more may be three octets longer.
const WORD_MAX: usize = 40;
/// Letters that are searched for without their accents.
const ACCENTS: &[(char, &str)] = &[
    (
        'a',
        "\u{e0}\u{e1}\u{e2}\u{e3}\u{e4}\u{e5}\u{101}\u{103}\u{105}",
    ),
    ('c', "\u{e7}\u{107}\u{10d}"),
    ('d', "\u{10f}\u{111}\u{f0}"),
    ('e', "\u{e8}\u{e9}\u{ea}\u{eb}\u{113}\u{117}\u{119}\u{11b}"),
    ('g', "\u{11f}\u{123}"),
    ('i', "\u{ec}\u{ed}\u{ee}\u{ef}\u{12b}\u{131}"),
    ('l', "\u{13a}\u{142}"),
    ('n', "\u{f1}\u{144}\u{148}"),
    ('o', "\u{f2}\u{f3}\u{f4}\u{f5}\u{f6}\u{f8}\u{14d}\u{151}"),
    ('r', "\u{159}"),
    ('s', "\u{15b}\u{15f}\u{161}\u{219}"),
    ('t', "\u{163}\u{165}\u{21b}"),
    ('u', "\u{f9}\u{fa}\u{fb}\u{fc}\u{16b}\u{16f}\u{171}"),
    ('y', "\u{fd}\u{ff}"),
    ('z', "\u{17a}\u{17c}\u{17e}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        each_word(text, &mut String::new(), |word| all.push(word.to_owned()));
        all
    }

    #[test]
    fn words_are_runs_of_letters_and_digits_without_case_apostrophes_and_accents() {
        let text = "O'NEILL-Smith, Zo\u{eb} (SK7 5LD) \u{141}\u{f3}d\u{17a}";
        assert_eq!(
            words(text),
            ["oneill", "smith", "zoe", "sk7", "5ld", "lodz"]
        );
        assert!(words(" .'- ").is_empty());
        assert_eq!(words(&"x".repeat(99))[0].len(), WORD_MAX);
    }
}
