//! Tables: what the first line says of the numbers below it.
//!
//! A telling word anywhere in the first line (`nhs_number`) speaks for all numbers of the table, as a heading
//! does. A short label that stands in every signature (`NHS`, `CHI`) speaks only where it is the whole title of a
//! column, and for that column alone: the telephone numbers beside it are none.

use super::detector::Piece;
use super::vocabulary::Vocabulary;

/// What the first line of a table says.
#[derive(Default)]
pub(super) struct Columns {
    /// The weight of words that speak for the whole table.
    whole: f64,
    /// What parts the cells.
    separator: u8,
    /// The columns whose title is a label, by their number from 0, and its weight.
    labelled: Vec<(usize, f64)>,
}

impl Columns {
    /// Reads the first line of a piece; nothing, if that is no table.
    pub(super) fn of(piece: &Piece<'_>, vocabulary: &Vocabulary) -> Self {
        if !piece.is_table {
            return Self::default();
        }
        let first_line = piece.text.lines().next().unwrap_or_default();
        let separator = separator_of(first_line);
        let titles = first_line.split(char::from(separator));
        let titles = titles.map(|title| title.trim_matches(|c: char| !c.is_alphanumeric()));
        let labelled = titles.enumerate();
        let labelled =
            labelled.filter_map(|(column, title)| Some((column, vocabulary.label_weight(title)?)));
        Self {
            whole: vocabulary.words_in(first_line).weight_for(),
            separator,
            labelled: labelled.collect(),
        }
    }

    /// What the titles add to a number at octet `at` of the text.
    pub(super) fn weight_of(&self, text: &str, at: usize) -> f64 {
        if self.whole > 0.0 || self.labelled.is_empty() {
            return self.whole;
        }
        let column = column_of(&text.as_bytes()[..at], self.separator);
        let mut labelled = self.labelled.iter();
        let titled = labelled.find(|(labelled, _)| Some(*labelled) == column);
        titled.map_or(0.0, |(_, weight)| *weight)
    }
}

/// The sign that stands most often in a line, of those that part cells.
fn separator_of(line: &str) -> u8 {
    let times = |sign: &u8| memchr::memchr_iter(*sign, line.as_bytes()).count();
    // Of equals the last counts: a comma.
    let found = b"|;\t,".iter().copied().max_by_key(times);
    found.unwrap_or(b',')
}

/// In which column the text ends. `None` if its line is too long to say.
fn column_of(text: &[u8], separator: u8) -> Option<usize> {
    let from = text.len().saturating_sub(LINE_OCTETS);
    let line = match memchr::memrchr(b'\n', &text[from..]) {
        Some(at) => &text[from + at + 1..],
        None if from == 0 => text,
        None => return None,
    };
    let mut quoted = false;
    let parts = line.iter().filter(|octet| {
        quoted ^= **octet == b'"';
        **octet == separator && !quoted
    });
    Some(parts.count())
}

/// How long the line of a table may be up to a number, in octets: a bound on time.
const LINE_OCTETS: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_knows_its_column_whatever_parts_the_cells() {
        for (text, separator, column) in [
            ("a,b,c\n1,2,", b',', Some(2)),
            ("a;b\n\"x;y\";", b';', Some(1)),
            ("a\tb", b'\t', Some(1)),
            ("", b',', Some(0)),
        ] {
            assert_eq!(
                separator_of(text.lines().next().unwrap_or_default()),
                separator
            );
            assert_eq!(column_of(text.as_bytes(), separator), column, "{text}");
        }
        assert_eq!(column_of(&[b'x'; LINE_OCTETS + 1], b','), None);
    }
}
