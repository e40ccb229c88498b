//! Candidates: where in a text ten digits stand that may be a patient identifier.
//!
//! One pass over the text, in linear time. Digits that only white space, one hyphen, dot or
//! underscore keeps apart form a *chain* of groups; a candidate is a run of groups of a chain with
//! ten digits in all, whose check digit is right. Never taken: ten digits out of a longer run.
//! Characters that nobody sees (soft hyphen, zero width) do not part digits; full-width and
//! mathematical digits, and those of the scripts of patients' languages, count as digits.

use std::ops::Range;

use super::identifier::{Identifier, Register};
use crate::content::next_octet;

/// Ten digits that pass the check, and how they stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Candidate {
    /// What they say.
    pub identifier: Identifier,
    /// The octet of the text where they start.
    pub start: usize,
    /// The octet after the last digit.
    pub end: usize,
    /// How they are grouped.
    pub shape: Shape,
    /// Whether more digits follow or precede at a hyphen or dot: a part number, a decimal.
    pub part_of_longer: bool,
    /// Whether a trunk zero or a country code stands before: `0 7700…`, `+44 7700…`.
    pub dialled: bool,
}

/// How ten digits are grouped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// In one.
    Unspaced,
    /// As identifiers are printed: 3-3-4 with equal separators, or 6-4 for CHI.
    Grouped,
    /// At the joints of 3-3-4, but unequally or only at one of them.
    Loose,
    /// In any other way: counts only right after a word that names the identifier.
    Odd,
}

/// All candidates of a text.
#[derive(Debug, Default)]
pub struct Candidates {
    /// In the order of the text.
    pub valid: Vec<Candidate>,
    /// Ten digits in one, in a range that is given out, with a wrong check digit. Where these
    /// outnumber the valid ones, the valid ones are chance.
    pub failed: usize,
    /// Ten digits grouped as identifiers are, with a wrong check digit.
    pub failed_grouped: usize,
    /// All digits of the text, those of numbers of any length.
    pub digits: usize,
}

impl Candidates {
    /// Finds them.
    pub fn of(text: &str) -> Self {
        let mut found = Self::default();
        let mut chain: Vec<Group> = Vec::new();
        let mut at = 0;
        while let Some(start) = next_digit(text, at) {
            let group = Group::read(text, start);
            at = group.end;
            found.digits += group.len;
            let gap = Gap::read(text, at);
            chain.push(group);
            match gap {
                Some((gap, next)) => {
                    if let Some(last) = chain.last_mut() {
                        last.gap = Some(gap);
                    }
                    at = next;
                }
                None => {
                    found.take_chain(text, &chain);
                    chain.clear();
                }
            }
        }
        found
    }

    fn take_chain(&mut self, text: &str, chain: &[Group]) {
        // Most chains are a date, a size or a time: no identifier has so few digits.
        if chain.iter().map(|group| group.len).sum::<usize>() < FEWEST_DIGITS {
            return;
        }
        let first = self.valid.len();
        let mut taken_to = 0;
        for from in 0..chain.len() {
            let Some(to) = ten_digits_from(chain, from) else {
                continue;
            };
            let shape = shape_of(&chain[from..to]);
            if from < taken_to || shape == Shape::Odd {
                continue;
            }
            let value = chain[from..to].iter().fold(0, Group::append);
            if let Some(identifier) = Identifier::read(value) {
                taken_to = to;
                let found = candidate(text, chain, from..to, identifier, shape);
                self.valid.push(found);
            } else if shape == Shape::Unspaced && is_live(value) {
                self.failed += 1;
            } else if shape == Shape::Grouped {
                self.failed_grouped += 1;
            }
        }
        if self.valid.len() == first {
            self.valid.extend(odd_candidate(text, chain));
        }
        if self.valid.len() == first {
            self.valid.extend(without_nought(text, chain));
        }
        loosen_in_table(&mut self.valid[first..], chain.len());
    }
}

/// The first ten digits of a chain in which nothing better was found.
fn odd_candidate(text: &str, chain: &[Group]) -> Option<Candidate> {
    let to = ten_digits_from(chain, 0)?;
    let identifier = Identifier::read(chain[..to].iter().fold(0, Group::append))?;
    let is_chi = identifier.register() == Register::Chi;
    let shape = match chain[..to] {
        // Not `100670.3527`: so accounts of other sorts are written.
        [date, rest] if is_chi && (date.len, rest.len) == (6, 4) && !date.is_before_dot() => {
            Shape::Grouped
        }
        _ => Shape::Odd,
    };
    Some(candidate(text, chain, 0..to, identifier, shape))
}

/// Numbers of nine digits that are Scottish ones without their first nought: so workbooks write who was born on one of
/// the first nine days of a month. They count only under a title, or behind a word, that names them.
fn without_nought(text: &str, chain: &[Group]) -> Vec<Candidate> {
    let nines = chain.iter().enumerate().filter(|(_, group)| group.len == 9);
    let read = nines.filter_map(|(at, group)| {
        let identifier = Identifier::read(group.value)?;
        let is_chi = identifier.register() == Register::Chi;
        is_chi.then(|| candidate(text, chain, at..at + 1, identifier, Shape::Odd))
    });
    read.collect()
}

/// In a table of figures three neighbouring cells of 3, 3 and 4 digits are no printed number.
fn loosen_in_table(candidates: &mut [Candidate], groups: usize) {
    if groups <= candidates.len() * 3 + TABLE_CELLS {
        return;
    }
    for candidate in candidates {
        if candidate.shape == Shape::Grouped {
            candidate.shape = Shape::Loose;
        }
    }
}

fn candidate(
    text: &str,
    chain: &[Group],
    groups: Range<usize>,
    identifier: Identifier,
    shape: Shape,
) -> Candidate {
    let before = groups.start.checked_sub(1).map(|before| &chain[before]);
    let last = &chain[groups.end - 1];
    let start = chain[groups.start].start;
    let tight = |group: &Group| group.gap.is_some_and(|gap| gap.tight);
    Candidate {
        identifier,
        start,
        end: last.end,
        shape,
        part_of_longer: before.is_some_and(tight)
            || (tight(last) && !is_as_float(last, &chain[groups.end..])),
        dialled: is_dialled(
            text,
            before.filter(|_| !is_behind_float(chain, groups.start)),
            start,
        ),
    }
}

/// Whether what stands before is the `.0` of another number, in the line above.
fn is_behind_float(chain: &[Group], start: usize) -> bool {
    let above = start.checked_sub(2).map(|above| &chain[above..start]);
    above.is_some_and(|above| is_as_float(&above[0], &above[1..]))
}

/// Whether a number ends in `.0`, and no further: so programs write a whole number out of a column with gaps in it.
fn is_as_float(last: &Group, rest: &[Group]) -> bool {
    let Some(nought) = rest.first() else {
        return false;
    };
    let ends = !nought.gap.is_some_and(|gap| gap.tight);
    last.is_before_dot() && (nought.len, nought.value) == (1, 0) && ends
}

/// Whether what stands before makes it a telephone number: `+`, `+44`, `0044`, `44`, `0`, `(0)`.
fn is_dialled(text: &str, before: Option<&Group>, start: usize) -> bool {
    let prefix = &text[..start];
    if prefix.ends_with('+') || prefix.trim_end().ends_with("(0)") {
        return true;
    }
    before.is_some_and(|group| {
        let plus = text[..group.start].ends_with('+');
        plus || matches!((group.len, group.value), (1, 0) | (2, 44) | (4, 44))
    })
}

fn is_live(value: u64) -> bool {
    matches!(value / 1_000_000_000, 4 | 6 | 7)
}

/// Digits without anything visible between them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Group {
    start: usize,
    end: usize,
    /// Their number, in digits.
    len: usize,
    /// Their value, if there are no more than ten.
    value: u64,
    /// What keeps them from the next group of the chain.
    gap: Option<Gap>,
}

impl Group {
    fn read(text: &str, start: usize) -> Self {
        Self::read_plain(text.as_bytes(), start).unwrap_or_else(|| Self::read_any(text, start))
    }

    /// Digits of ASCII up to white space or something else of ASCII that is seen, as nearly all are; `None` for others.
    fn read_plain(octets: &[u8], start: usize) -> Option<Self> {
        let digits = octets[start..].iter().take_while(|o| o.is_ascii_digit());
        let (len, value) = digits.fold((0, 0u64), |(len, value), octet| {
            let digit = u64::from(octet - b'0');
            (len + 1, value.wrapping_mul(10).wrapping_add(digit))
        });
        let end = start + len;
        let ends = match octets.get(end) {
            Some(octet) => matches!(octet, b' '..=b'~' | b'\t' | b'\r' | b'\n'),
            None => true,
        };
        (len > 0 && ends).then_some(Self {
            start,
            end,
            len,
            value,
            gap: None,
        })
    }

    fn read_any(text: &str, start: usize) -> Self {
        let (mut len, mut value, mut end) = (0, 0u64, start);
        // A circled digit behind others is the mark of a footnote.
        let circled = text[start..].starts_with(is_circled);
        for (at, c) in text[start..].char_indices() {
            if let Some(digit) = digit_of(c).filter(|_| is_circled(c) == circled) {
                value = value.wrapping_mul(10).wrapping_add(digit);
                len += 1;
                end = start + at + c.len_utf8();
            } else if !is_invisible(c) {
                break;
            }
        }
        Self {
            start,
            end,
            len,
            value,
            gap: None,
        }
    }

    fn is_before_dot(&self) -> bool {
        self.gap.is_some_and(|gap| gap.mark == Separator::Dot)
    }

    fn append(value: u64, group: &Self) -> u64 {
        let shift = u32::try_from(group.len).unwrap_or(u32::MAX);
        value
            .wrapping_mul(10u64.wrapping_pow(shift))
            .wrapping_add(group.value)
    }
}

/// What keeps two groups of a chain apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Gap {
    mark: Separator,
    /// A mark without white space round it.
    tight: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Separator {
    Space,
    Hyphen,
    Dot,
    Underscore,
}

impl Gap {
    /// Reads what follows a group; `None` if no digit follows. The second is where that digit is.
    fn read(text: &str, from: usize) -> Option<(Self, usize)> {
        match text.as_bytes().get(from) {
            // Something of ASCII that is seen and keeps no digits together.
            Some(b'!'..=b',' | b'/' | b':'..=b'^' | b'`'..=b'~') => None,
            _ => Self::read_any(text, from),
        }
    }

    fn read_any(text: &str, from: usize) -> Option<(Self, usize)> {
        let (mut spaces, mut mark, mut after_line) = (0, None, false);
        for (at, c) in text[from..].char_indices() {
            if digit_of(c).is_some() {
                let tight = spaces == 0 && matches!(mark, Some(Separator::Hyphen | Separator::Dot));
                let mark = mark.unwrap_or(Separator::Space);
                return Some((Self { mark, tight }, from + at));
            }
            match separator_of(c) {
                Some(Separator::Space) => {
                    spaces += 1;
                    after_line |= c == '\n';
                }
                // The marks of a quoted reply.
                None if c == '>' && after_line => {}
                None if is_invisible(c) => {}
                None => return None,
                Some(_) if mark.is_some() => return None,
                other => mark = other,
            }
            if spaces > GAP_SPACES {
                return None;
            }
        }
        None
    }
}

/// Where the groups from `from` on have ten digits in all: the index after the last of them.
fn ten_digits_from(chain: &[Group], from: usize) -> Option<usize> {
    let mut digits = 0;
    for (at, group) in chain.iter().enumerate().skip(from) {
        digits += group.len;
        match digits {
            0..10 => {}
            10 => return Some(at + 1),
            _ => return None,
        }
    }
    None
}

fn shape_of(groups: &[Group]) -> Shape {
    match groups {
        [_] => Shape::Unspaced,
        [a, b, c] if (a.len, b.len, c.len) == (3, 3, 4) => {
            if a.gap.map(|gap| gap.mark) == b.gap.map(|gap| gap.mark) {
                Shape::Grouped
            } else {
                Shape::Loose
            }
        }
        [a, b] if (a.len, b.len) == (3, 7) => Shape::Loose,
        _ => Shape::Odd,
    }
}

/// Returns the octet of the next digit.
fn next_digit(text: &str, from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = next_octet(text.as_bytes(), from, may_begin_digit)?;
        let c = text[at..].chars().next()?;
        if digit_of(c).is_some() {
            return Some(at);
        }
        from = at + c.len_utf8();
    }
}

/// Digits of ASCII, and all that those beyond start with in UTF-8 (U+0660 is D9 A0, the others come after it): never the
/// middle of a character. Two comparisons, for this is asked of every octet of every text.
fn may_begin_digit(octet: u8) -> bool {
    (octet.wrapping_sub(b'0') <= 9) | (octet >= 0xD9)
}

pub(super) fn digit_of(c: char) -> Option<u64> {
    let value = match c {
        '0'..='9' => u32::from(c) - u32::from('0'),
        // Of scripts that letters to patients are written in: Arabic, Urdu, Hindi, Bengali, Punjabi,
        // Gujarati.
        '\u{0660}'..='\u{0669}' => u32::from(c) - 0x0660,
        '\u{06F0}'..='\u{06F9}' => u32::from(c) - 0x06F0,
        '\u{0966}'..='\u{096F}' => u32::from(c) - 0x0966,
        '\u{09E6}'..='\u{09EF}' => u32::from(c) - 0x09E6,
        '\u{0A66}'..='\u{0A6F}' => u32::from(c) - 0x0A66,
        '\u{0AE6}'..='\u{0AEF}' => u32::from(c) - 0x0AE6,
        '\u{FF10}'..='\u{FF19}' => u32::from(c) - 0xFF10,
        // In circles, white or black, and of the segments of a display.
        '\u{2460}'..='\u{2468}' => u32::from(c) - 0x245F,
        '\u{2776}'..='\u{277E}' => u32::from(c) - 0x2775,
        '\u{2780}'..='\u{2788}' => u32::from(c) - 0x277F,
        '\u{278A}'..='\u{2792}' => u32::from(c) - 0x2789,
        '\u{24EA}' | '\u{24FF}' | '\u{1F10B}' | '\u{1F10C}' => 0,
        '\u{1FBF0}'..='\u{1FBF9}' => u32::from(c) - 0x1FBF0,
        '\u{1D7CE}'..='\u{1D7FF}' => (u32::from(c) - 0x1D7CE) % 10,
        _ => return None,
    };
    Some(u64::from(value))
}

/// Whether it is a digit in a circle.
fn is_circled(c: char) -> bool {
    matches!(c, '\u{2460}'..='\u{24FF}' | '\u{2776}'..='\u{2793}' | '\u{1F10B}' | '\u{1F10C}')
}

fn separator_of(c: char) -> Option<Separator> {
    Some(match c {
        '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE63}' | '\u{FF0D}' => Separator::Hyphen,
        '.' | '\u{00B7}' | '\u{2022}' | '\u{2024}' | '\u{FF0E}' => Separator::Dot,
        '_' => Separator::Underscore,
        // What is left of a no-break space of another charset than the label says.
        '\u{FFFD}' => Separator::Space,
        c if c.is_whitespace() => Separator::Space,
        _ => return None,
    })
}

/// Whether a reader sees nothing of it, or no more than the key on which a digit stands (U+20E3).
pub(super) fn is_invisible(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c, '\u{20E3}' | '\u{00AD}' | '\u{034F}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}')
}

/// Digits of the shortest number that is looked at: a Scottish one without its first nought.
const FEWEST_DIGITS: usize = 9;
/// White space between two groups of one number, in characters: a line end and an indent.
const GAP_SPACES: usize = 6;
/// Further groups in a chain, over those of the numbers found, from which on it is a table.
const TABLE_CELLS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shapes(text: &str) -> Vec<Shape> {
        Candidates::of(text)
            .valid
            .iter()
            .map(|found| found.shape)
            .collect()
    }

    #[test]
    fn a_number_is_found_however_it_is_split() {
        use Shape::{Grouped, Loose, Odd, Unspaced};
        for (text, shape) in [
            ("9434765919", Unspaced),
            ("943 476 5919", Grouped),
            ("943-476-5919", Grouped),
            ("943.476.5919", Grouped),
            ("943\u{a0}476\u{a0}5919", Grouped),
            ("943\u{2009}476\u{202f}5919", Grouped),
            ("943\u{2013}476\u{2013}5919", Grouped),
            ("943 - 476 - 5919", Grouped),
            ("943\t476\t5919", Grouped),
            ("943  476  5919", Grouped),
            ("943 476\r\n5919", Grouped),
            ("> 943 476\r\n> 5919", Grouped),
            ("943\u{ad}476\u{200b}5919", Unspaced),
            ("９４３ ４７６ ５９１９", Grouped),
            ("９４３４７６５９１９", Unspaced),
            ("𝟗𝟒𝟑𝟒𝟕𝟔𝟓𝟗𝟏𝟗", Unspaced),
            ("943-476 5919", Loose),
            ("943 4765919", Loose),
            ("060723 0002", Grouped),
            ("060723.0002", Odd),
            ("9434 765 919", Odd),
            ("9 4 3 4 7 6 5 9 1 9", Odd),
            ("Smith_943_476_5919.pdf", Grouped),
            ("no.9434765919.", Unspaced),
            ("943\u{fffd}476\u{fffd}5919", Grouped),
            ("943\u{1}476\u{7f}5919", Unspaced),
            (
                "\u{2468}\u{2463}\u{2462}\u{2463}\u{2466}\u{2465}\u{2464}\u{2468}\u{2460}\u{2468}",
                Unspaced,
            ),
            (
                "\u{277e}\u{2779}\u{2778} \u{2779}\u{277c}\u{277b} \u{277a}\u{277e}\u{2776}\u{277e}",
                Grouped,
            ),
            (
                "9\u{fe0f}\u{20e3}4\u{fe0f}\u{20e3}3\u{fe0f}\u{20e3} 476 5919",
                Grouped,
            ),
            ("943 476 5919\u{2460} see note", Grouped),
            ("\u{2460} 943 476 5919", Grouped),
        ] {
            assert_eq!(shapes(text), [shape], "{text}");
        }
    }

    #[test]
    fn digits_of_the_scripts_of_patients_are_digits() {
        for zero in [
            '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}',
        ] {
            let own = |c: char| c.to_digit(10).and_then(|n| char::from_u32(zero as u32 + n));
            let text: String = "943 476 5919"
                .chars()
                .map(|c| own(c).unwrap_or(c))
                .collect();
            assert_eq!(shapes(&text), [Shape::Grouped], "{text}");
        }
    }

    #[test]
    fn ten_digits_of_a_longer_run_are_no_candidate() {
        for text in [
            "94347659190",
            "09434765919",
            "943476591",
            "1943 476 5919",
            "943 476 59190",
            "943,476,5919",
            "943/476/5919",
            "943 (476) 5919",
            "943--476--5919",
            "943 476        5919",
            "4010232138",
        ] {
            assert_eq!(shapes(text), [], "{text}");
        }
    }

    #[test]
    fn numbers_in_a_row_are_each_found() {
        let text = "943 476 5919 450 557 7104\n4010232137\n4505577104";
        assert_eq!(Candidates::of(text).valid.len(), 4);
        assert_eq!(Candidates::of("4010232138, 4010232139").failed, 2);
        let cells = Candidates::of("401 023 2138\n450 557 7105\n450 557 7104");
        assert_eq!((cells.valid.len(), cells.failed_grouped), (1, 2));
    }

    #[test]
    fn what_stands_round_it_is_noticed() {
        let only = |text| Candidates::of(text).valid[0];
        assert!(only("12-401-023-2137").part_of_longer);
        assert!(only("4010232137.50").part_of_longer);
        assert!(only("4010232137.0.1").part_of_longer);
        assert!(!only("4010232137.0").part_of_longer);
        let column = Candidates::of("4010232137.0\n4505577104.0\n").valid;
        assert!(column.len() == 2 && column.iter().all(|one| !one.dialled));
        assert!(!only("ward 12 401 023 2137").part_of_longer);
        for dialled in [
            "+44 4010232137",
            "0044 4010232137",
            "+4010232137",
            "(0)4010232137",
            "+44 (0) 401 023 2137",
            "0 4010232137",
        ] {
            assert!(only(dialled).dialled, "{dialled}");
        }
        assert!(!only("ward 12: 4010232137").dialled);
    }

    #[test]
    fn a_scottish_number_that_lost_its_nought_needs_a_word_that_names_it() {
        let found = Candidates::of("607230002\t1").valid;
        assert_eq!((found.len(), found[0].shape), (1, Shape::Odd));
        assert_eq!(found[0].identifier.redacted(), "060 *** **02");
        assert!(shapes("505577104 607230003 994730002").is_empty());
    }

    #[test]
    fn three_cells_of_a_table_are_not_a_printed_number() {
        assert_eq!(shapes("1 2 3 4 5 6 7 8 401 023 2137 11 12"), [Shape::Loose]);
    }

    #[test]
    fn no_digit_is_passed_over() {
        for digit in ('\0'..=char::MAX).filter(|c| digit_of(*c).is_some()) {
            let first = digit.encode_utf8(&mut [0; 4]).as_bytes()[0];
            assert!(may_begin_digit(first), "{digit}");
        }
        assert!((0x80..0xC0).all(|octet| !may_begin_digit(octet)));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*") {
            for found in Candidates::of(&text).valid {
                prop_assert!(text.is_char_boundary(found.start) && text.is_char_boundary(found.end));
            }
        }

        #[test]
        fn texts_of_digits_and_separators_are_read(text in "[0-9 .\\-_０-９\u{200b}\n>]{0,80}") {
            Candidates::of(&text);
        }

        #[test]
        fn the_short_ways_come_to_what_the_long_ones_do(text in "[0-9][0-9 -~./\\-_:>x０①\u{200b}\t\n\u{7}]{0,20}") {
            prop_assert_eq!(Group::read(&text, 0), Group::read_any(&text, 0));
            prop_assert_eq!(Gap::read(&text, 1), Gap::read_any(&text, 1));
        }
    }
}
