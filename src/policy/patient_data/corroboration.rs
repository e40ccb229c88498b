//! Corroboration: what else stands near a number that only stands beside a person.
//!
//! A date of birth, a National Insurance number, a name with a title and a postcode are no evidence of their own:
//! invoices have names and postcodes too. Near ten digits that pass the check they add a little, by the
//! weights of `[corroboration]`, so that a bare number beside a birth date restricts and one beside a postcode
//! does not. Looked for within a window round a candidate, never over the whole text.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

/// `[corroboration]`: what signs of a person near a number add.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CorroborationSettings {
    /// How far from the number they may stand, in octets.
    pub window: usize,
    /// A date with four digits of a year in which a patient may be born.
    pub birth_date: f64,
    /// The first year that counts as too late for a birth date: newer dates stand in every mail.
    pub born_before: u32,
    /// A National Insurance number.
    pub nino: f64,
    /// A name: a title and a capital letter, or `SMITH, John`.
    pub name: f64,
    /// A postcode.
    pub postcode: f64,
}

/// What the signs near a number add in all, and their words of evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corroboration {
    /// The sum of their weights.
    pub weight: f64,
    /// `birth-date`, `nino`, `name`, `postcode`.
    pub because: Vec<&'static str>,
}

impl CorroborationSettings {
    /// Looks round the number at `number`.
    pub fn near(&self, text: &str, number: &Range<usize>) -> Corroboration {
        let before =
            &text[text.ceil_char_boundary(number.start.saturating_sub(self.window))..number.start];
        let end = text.floor_char_boundary(text.len().min(number.end.saturating_add(self.window)));
        let after = &text[number.end..end.max(number.end)];
        let either = |found: &dyn Fn(&str) -> bool| found(before) || found(after);
        let mut all = Corroboration::default();
        let signs = [
            (
                "birth-date",
                self.birth_date,
                either(&|text| self.has_birth_date(text)),
            ),
            ("nino", self.nino, either(&has_nino)),
            ("name", self.name, either(&has_name)),
            (
                "postcode",
                self.postcode,
                either(&|text| POSTCODE.is_match(text)),
            ),
        ];
        for (word, weight, is_there) in signs {
            if weight > 0.0 && is_there {
                all.weight += weight;
                all.because.push(word);
            }
        }
        all
    }

    fn has_birth_date(&self, text: &str) -> bool {
        DATE.captures_iter(text).any(|found| {
            let years = found.iter().skip(1).flatten();
            let mut years = years.filter_map(|year| year.as_str().parse::<u32>().ok());
            years.any(|year| (BORN_FROM..self.born_before).contains(&year))
        })
    }
}

/// Two letters, six digits, one letter, but none of the prefixes that are never given out (HMRC, NIM39110).
fn has_nino(text: &str) -> bool {
    let issued = |prefix: &str| {
        !NINO_UNUSED
            .iter()
            .any(|unused| prefix.eq_ignore_ascii_case(unused))
    };
    NINO.captures_iter(text)
        .any(|found| found.get(1).is_some_and(|prefix| issued(prefix.as_str())))
}

/// A salutation names whom the mail is for, not whom it is about.
fn has_name(text: &str) -> bool {
    NAME.captures_iter(text).any(|found| found.get(1).is_none())
}

/// `14/03/1951`, `14.3.1951`, `14 March 1951`, `14-Mar-1951`, `1951-03-14`: the year is a group.
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(?i)(?:\b|_)(?:[0-3]?\d[/._-][01]?\d[/._-]((?:19|20)\d\d)|((?:19|20)\d\d)[_-][01]\d[_-][0-3]\d|[0-3]?\d(?:st|nd|rd|th)?[ -](?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}[ _-]((?:19|20)\d\d))(?:\b|_)",
    )
});

static NINO: LazyLock<Regex> = LazyLock::new(|| {
    compiled(r"(?i)\b([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]) ?\d\d ?\d\d ?\d\d ?[A-D]\b")
});

static NAME: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r"(Dear\s+)?\b(?:(?:Mr|Mrs|Ms|Miss|Mx|Master|Baby)\.?\s+[A-Z][A-Za-z'-]|[A-Z][A-Z'-]+, ?[A-Z][a-z])",
    )
});

/// An outward code and an inward code (Royal Mail, Programmer's Guide: `A9 9AA` to `AA9A 9AA`).
static POSTCODE: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"));

#[expect(
    clippy::unwrap_used,
    reason = "the patterns of this file: every one is used in its tests"
)]
fn compiled(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().unwrap()
}

/// Prefixes of National Insurance numbers that are never given out.
const NINO_UNUSED: &[&str] = &["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"];
/// The first year in which somebody may be born who is alive.
const BORN_FROM: u32 = 1905;

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: CorroborationSettings = CorroborationSettings {
        window: 60,
        birth_date: 0.2,
        born_before: 2020,
        nino: 0.2,
        name: 0.1,
        postcode: 0.05,
    };

    fn near(text: &str) -> Vec<&'static str> {
        let at = text.find("4505577104").unwrap();
        SETTINGS.near(text, &(at..at + 10)).because
    }

    #[test]
    fn signs_of_a_person_are_seen_on_either_side() {
        for (text, signs) in [
            ("14/03/1951 4505577104", &["birth-date"][..]),
            ("4505577104, 1.3.1951", &["birth-date"]),
            ("4505577104 1951-03-14", &["birth-date"]),
            ("born 14th March 1951: 4505577104", &["birth-date"]),
            ("4505577104 14-Mar-1951", &["birth-date"]),
            ("SMITH_John_4505577104_14-03-1951.pdf", &["birth-date"]),
            ("1951_03_14_4505577104.pdf", &["birth-date"]),
            ("AB123456C 4505577104", &["nino"]),
            ("4505577104 ab 12 34 56 c", &["nino"]),
            ("Mrs O'Neill 4505577104", &["name"]),
            ("SMITH, Ada  4505577104", &["name"]),
            ("4505577104 BX1 2AB", &["postcode"]),
            (
                "Mr Ash, 14/03/1951, W1A 1AA, 4505577104",
                &["birth-date", "name", "postcode"],
            ),
        ] {
            assert_eq!(near(text), signs, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_sign_is_none() {
        for text in [
            "20/11/2026 4505577104",
            "4505577104 due 01/12/2024",
            "1851-03-14 4505577104",
            "GB123456C 4505577104",
            "AB123456E 4505577104",
            "Dear Mrs Ash 4505577104",
            "the Mr 4505577104",
            "4505577104 FA001",
            "\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}4505577104\u{20ac}\u{20ac}\u{20ac}",
            "4505577104",
        ] {
            assert_eq!(near(text), [""; 0], "{text}");
        }
        let far = format!("14/03/1951{}4505577104", "\u{20ac}".repeat(21));
        assert_eq!(near(&far), [""; 0]);
    }
}
