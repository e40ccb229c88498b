//! Names that look like another one: by their letters, by a letter more or less, or with the other name in them.

use std::collections::HashMap;

use super::domain::{own_label, registered};

/// Names that people trust, ready to be compared with.
#[derive(Clone, Debug, Default)]
pub struct Known {
    names: Vec<String>,
    /// By what their registered part looks like.
    by_look: HashMap<String, usize>,
    /// By the whole name.
    by_name: HashMap<String, usize>,
    /// By what the whole name looks like.
    by_whole_look: HashMap<String, usize>,
    /// The most labels that one of them has.
    labels: usize,
}

/// How a name resembles a known one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resemblance {
    /// Other letters that look the same: `rnhs`, `b00ts`, Cyrillic.
    Letters,
    /// The known name stands in it: `nhs.uk.evil.example`, `nhs-uk.net`.
    Within,
    /// One letter more, less, other or swapped.
    OneOff,
}

impl Known {
    /// Takes in names in ASCII and lower case.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut known = Self::default();
        for name in names {
            let number = known.names.len();
            known
                .by_look
                .entry(look(registered(name)))
                .or_insert(number);
            known.by_whole_look.entry(look(name)).or_insert(number);
            known.by_name.entry(name.to_owned()).or_insert(number);
            known.labels = known.labels.max(name.split('.').count());
            known.names.push(name.to_owned());
        }
        known
    }

    /// The known name that a host looks like and is not; the host in ASCII and lower case. The known names
    /// themselves and what is below them look like nothing else.
    pub fn like(&self, host: &str) -> Option<(&str, Resemblance)> {
        if self.covers(host) {
            return None;
        }
        let shown = idna::domain_to_unicode(host).0;
        let found = self.by_letters(&shown);
        let found = found.or_else(|| self.within(&shown));
        found.or_else(|| self.one_off(&shown))
    }

    fn covers(&self, host: &str) -> bool {
        let mut rest = host;
        loop {
            if self.by_name.contains_key(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, parent)) => rest = parent,
                None => return false,
            }
        }
    }

    fn by_letters(&self, shown: &str) -> Option<(&str, Resemblance)> {
        let number = self.by_look.get(&look(registered(shown)))?;
        let name = self.names[*number].as_str();
        // A sister (`www.a.nhs.uk` and a known `b.a.nhs.uk`) is no look-alike.
        (registered(name) != registered(shown)).then_some((name, Resemblance::Letters))
    }

    /// `nhs.uk` in `nhs.uk.evil.example`, `nhs-uk.net` or `my-nhs-uk.net`, but not at the end of the name.
    fn within(&self, shown: &str) -> Option<(&str, Resemblance)> {
        let letters: Vec<String> = shown.split(['.', '-']).map(look).collect();
        let labels: Vec<&str> = letters.iter().map(String::as_str).collect();
        for from in 0..labels.len() {
            for count in 2..=self.labels.min(labels.len() - from) {
                if from + count == labels.len() {
                    break;
                }
                let name = labels[from..from + count].join(".");
                if let Some(number) = self.by_whole_look.get(&name) {
                    return Some((&self.names[*number], Resemblance::Within));
                }
            }
        }
        None
    }

    fn one_off(&self, shown: &str) -> Option<(&str, Resemblance)> {
        let own: Vec<char> = own_label(shown).chars().collect();
        if own.len() < ONE_OFF_LETTERS_MIN {
            return None;
        }
        let ending = &registered(shown)[own_label(shown).len()..];
        self.names.iter().find_map(|name| {
            let other = own_label(name);
            let long_enough =
                other.len() >= ONE_OFF_LETTERS_MIN && own.len().abs_diff(other.len()) <= 1;
            let same_ending = &registered(name)[other.len()..] == ending;
            (long_enough && same_ending && is_one_off(&own, other))
                .then_some((name.as_str(), Resemblance::OneOff))
        })
    }
}

/// Whether two words differ by one letter more, less, other, or by two that are swapped.
fn is_one_off(one: &[char], other: &str) -> bool {
    let other: Vec<char> = other.chars().collect();
    let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[same..], &other[same..]);
    match (one, other) {
        ([], []) => false,
        ([_, a @ ..], b) if a == b => true,
        (a, [_, b @ ..]) if a == b => true,
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([x, y, a @ ..], [z, w, b @ ..]) => x == w && y == z && a == b,
        _ => false,
    }
}

/// What a name looks like at a glance: letters that are taken for each other become one.
fn look(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            // Within what is shown, combining marks and what has no width are not seen.
            '\u{300}'..='\u{36F}' | '\u{200B}'..='\u{200D}' | '\u{AD}' => {}
            c => match LOOKS.binary_search_by_key(&c, |(from, _)| *from) {
                Ok(at) => out.push(LOOKS[at].1),
                Err(_) => out.push(c),
            },
        }
    }
    for (pair, letter) in [("rn", "m"), ("vv", "w"), ("cl", "d")] {
        if out.contains(pair) {
            out = out.replace(pair, letter);
        }
    }
    out
}

/// Characters that are taken for an ASCII letter, in their order; from UTS #39 `confusables`, as far as a
/// domain name may have them, and accents. Of ASCII, digits for letters.
const LOOKS: &[(char, char)] = &[
    ('0', 'o'),
    ('1', 'l'),
    ('5', 's'),
    ('i', 'l'),
    ('\u{DF}', 'b'),
    ('\u{E0}', 'a'),
    ('\u{E1}', 'a'),
    ('\u{E2}', 'a'),
    ('\u{E3}', 'a'),
    ('\u{E4}', 'a'),
    ('\u{E5}', 'a'),
    ('\u{E7}', 'c'),
    ('\u{E8}', 'e'),
    ('\u{E9}', 'e'),
    ('\u{EA}', 'e'),
    ('\u{EB}', 'e'),
    ('\u{EC}', 'l'),
    ('\u{ED}', 'l'),
    ('\u{EE}', 'l'),
    ('\u{EF}', 'l'),
    ('\u{F1}', 'n'),
    ('\u{F2}', 'o'),
    ('\u{F3}', 'o'),
    ('\u{F4}', 'o'),
    ('\u{F5}', 'o'),
    ('\u{F6}', 'o'),
    ('\u{F8}', 'o'),
    ('\u{F9}', 'u'),
    ('\u{FA}', 'u'),
    ('\u{FB}', 'u'),
    ('\u{FC}', 'u'),
    ('\u{FD}', 'y'),
    ('\u{FE}', 'p'),
    ('\u{FF}', 'y'),
    ('\u{101}', 'a'),
    ('\u{103}', 'a'),
    ('\u{105}', 'a'),
    ('\u{107}', 'c'),
    ('\u{10B}', 'c'),
    ('\u{10D}', 'c'),
    ('\u{10F}', 'd'),
    ('\u{111}', 'd'),
    ('\u{113}', 'e'),
    ('\u{117}', 'e'),
    ('\u{119}', 'e'),
    ('\u{11B}', 'e'),
    ('\u{11F}', 'g'),
    ('\u{121}', 'g'),
    ('\u{127}', 'h'),
    ('\u{12B}', 'l'),
    ('\u{12F}', 'l'),
    ('\u{131}', 'l'),
    ('\u{137}', 'k'),
    ('\u{13A}', 'l'),
    ('\u{13C}', 'l'),
    ('\u{13E}', 'l'),
    ('\u{142}', 'l'),
    ('\u{144}', 'n'),
    ('\u{146}', 'n'),
    ('\u{148}', 'n'),
    ('\u{14D}', 'o'),
    ('\u{151}', 'o'),
    ('\u{155}', 'r'),
    ('\u{159}', 'r'),
    ('\u{15B}', 's'),
    ('\u{15F}', 's'),
    ('\u{161}', 's'),
    ('\u{163}', 't'),
    ('\u{165}', 't'),
    ('\u{16B}', 'u'),
    ('\u{16F}', 'u'),
    ('\u{171}', 'u'),
    ('\u{173}', 'u'),
    ('\u{175}', 'w'),
    ('\u{177}', 'y'),
    ('\u{17A}', 'z'),
    ('\u{17C}', 'z'),
    ('\u{17E}', 'z'),
    ('\u{180}', 'b'),
    ('\u{192}', 'f'),
    ('\u{1A1}', 'o'),
    ('\u{1B0}', 'u'),
    ('\u{1CE}', 'a'),
    ('\u{1D0}', 'l'),
    ('\u{1D2}', 'o'),
    ('\u{1D4}', 'u'),
    ('\u{219}', 's'),
    ('\u{21B}', 't'),
    ('\u{251}', 'a'),
    ('\u{261}', 'g'),
    ('\u{269}', 'l'),
    ('\u{26A}', 'l'),
    ('\u{28B}', 'u'),
    ('\u{28F}', 'y'),
    ('\u{3B1}', 'a'),
    ('\u{3B3}', 'y'),
    ('\u{3B5}', 'e'),
    ('\u{3B7}', 'n'),
    ('\u{3B9}', 'l'),
    ('\u{3BA}', 'k'),
    ('\u{3BD}', 'v'),
    ('\u{3BF}', 'o'),
    ('\u{3C1}', 'p'),
    ('\u{3C3}', 'o'),
    ('\u{3C4}', 't'),
    ('\u{3C5}', 'u'),
    ('\u{3C7}', 'x'),
    ('\u{3C9}', 'w'),
    ('\u{430}', 'a'),
    ('\u{432}', 'b'),
    ('\u{433}', 'r'),
    ('\u{435}', 'e'),
    ('\u{43A}', 'k'),
    ('\u{43C}', 'm'),
    ('\u{43D}', 'h'),
    ('\u{43E}', 'o'),
    ('\u{43F}', 'n'),
    ('\u{440}', 'p'),
    ('\u{441}', 'c'),
    ('\u{442}', 't'),
    ('\u{443}', 'y'),
    ('\u{445}', 'x'),
    ('\u{448}', 'w'),
    ('\u{44A}', 'b'),
    ('\u{44C}', 'b'),
    ('\u{451}', 'e'),
    ('\u{454}', 'e'),
    ('\u{455}', 's'),
    ('\u{456}', 'l'),
    ('\u{457}', 'l'),
    ('\u{458}', 'j'),
    ('\u{45B}', 'h'),
    ('\u{461}', 'w'),
    ('\u{475}', 'v'),
    ('\u{491}', 'r'),
    ('\u{49B}', 'k'),
    ('\u{4AF}', 'y'),
    ('\u{4BB}', 'h'),
    ('\u{4CF}', 'l'),
    ('\u{501}', 'd'),
    ('\u{51B}', 'q'),
    ('\u{51D}', 'w'),
    ('\u{561}', 'w'),
    ('\u{563}', 'q'),
    ('\u{570}', 'h'),
    ('\u{578}', 'n'),
    ('\u{57D}', 'u'),
    ('\u{581}', 'g'),
    ('\u{584}', 'f'),
    ('\u{585}', 'o'),
    ('\u{1D00}', 'a'),
    ('\u{1D04}', 'c'),
    ('\u{1D0F}', 'o'),
    ('\u{1D1C}', 'u'),
    ('\u{1D20}', 'v'),
    ('\u{1D21}', 'w'),
    ('\u{1D22}', 'z'),
    ('\u{1E01}', 'a'),
    ('\u{1E05}', 'b'),
    ('\u{1E0D}', 'd'),
    ('\u{1E25}', 'h'),
    ('\u{1E33}', 'k'),
    ('\u{1E37}', 'l'),
    ('\u{1E43}', 'm'),
    ('\u{1E47}', 'n'),
    ('\u{1E5B}', 'r'),
    ('\u{1E63}', 's'),
    ('\u{1E6D}', 't'),
    ('\u{1E93}', 'z'),
    ('\u{1EA1}', 'a'),
    ('\u{1EB9}', 'e'),
    ('\u{1ECB}', 'l'),
    ('\u{1ECD}', 'o'),
    ('\u{1EE5}', 'u'),
];

/// Shorter names have too many neighbours that mean no harm.
const ONE_OFF_LETTERS_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn like(host: &str) -> Option<(String, Resemblance)> {
        let known = Known::new([
            "nhs.uk",
            "nhs.net",
            "bumbleton.co.uk",
            "boots.com",
            "gov.uk",
            "modern.com",
        ]);
        let host = idna::domain_to_ascii(host).unwrap();
        known.like(&host).map(|(name, how)| (name.to_owned(), how))
    }

    #[test]
    fn names_that_look_like_a_known_one_are_told() {
        use Resemblance::{Letters, OneOff, Within};
        for (host, known, how) in [
            ("b00ts.com", "boots.com", Letters),
            ("modem.com", "modern.com", Letters),
            ("www.bo\u{43e}ts.com", "boots.com", Letters),
            ("bumb1eton.co.uk", "bumbleton.co.uk", Letters),
            ("bümbleton.co.uk", "bumbleton.co.uk", Letters),
            ("nhs-uk.net", "nhs.uk", Within),
            ("nhs.uk.evil.example", "nhs.uk", Within),
            ("login.nhs.net.evil.example", "nhs.net", Within),
            ("my-nhs-uk.example", "nhs.uk", Within),
            ("www-bumbleton-co-uk.com", "bumbleton.co.uk", Within),
            ("bumbletom.co.uk", "bumbleton.co.uk", OneOff),
            ("bumbeton.co.uk", "bumbleton.co.uk", OneOff),
            ("www.bmubleton.co.uk", "bumbleton.co.uk", OneOff),
            ("bumbletons.co.uk", "bumbleton.co.uk", OneOff),
        ] {
            assert_eq!(like(host), Some((known.to_owned(), how)), "{host}");
        }
    }

    #[test]
    fn names_of_their_own_look_like_nothing() {
        for host in [
            "nhs.uk",
            "www.nhs.uk",
            "a.bumbleton.co.uk",
            "england.nhs.uk",
            "boots.ie",
            "books.com",
            "nhs.example",
            "tumbleweed.co.uk",
            "bbc.co.uk",
            "uk",
            "",
        ] {
            assert_eq!(like(host), None, "{host}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(LOOKS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
