//! Tables: what the line of titles says of the numbers below it.
//!
//! A telling word anywhere in the titles (`nhs_number`) speaks for all numbers of the table, as a heading does. A short label that stands in every signature (`NHS`, `CHI`) speaks only where it is the whole title
//! of a column, and for that column alone: the telephone numbers beside it are none. In other texts, tables of mail
//! and documents have tabs between their cells: there a title counts that stands over the number.

use super::detector::Piece;
use super::vocabulary::Vocabulary;

/// What the titles of a table say.
pub(super) struct Columns<'v> {
    vocabulary: &'v Vocabulary,
    /// Whether there is a word in the text that could be a title.
    has_words: bool,
    /// The weight of words that speak for the whole table.
    whole: f64,
    /// What parts the cells.
    separator: u8,
    /// The columns whose title is a label, by their number from 0, and its weight.
    labelled: Vec<(usize, f64)>,
}

impl<'v> Columns<'v> {
    /// Reads the titles of a piece, if it is a table. `has_words` says whether any word of the vocabulary that
    /// could be a title stands in the piece.
    pub(super) fn of(piece: &Piece<'_>, vocabulary: &'v Vocabulary, has_words: bool) -> Self {
        let mut columns = Self {
            vocabulary,
            has_words,
            whole: 0.0,
            separator: b'\t',
            labelled: Vec::new(),
        };
        if piece.is_table {
            columns.read_titles(piece.text);
        }
        columns
    }

    fn read_titles(&mut self, text: &str) {
        let titles = titles_in(text);
        self.separator = separator_of(titles);
        self.whole = self.vocabulary.words_in(titles).weight_for();
        let titles = titles.split(char::from(self.separator)).enumerate();
        let labelled =
            titles.filter_map(|(column, title)| Some((column, self.title_weight(title)?)));
        self.labelled = labelled.collect();
    }

    fn title_weight(&self, title: &str) -> Option<f64> {
        let title = title.trim_matches(|c: char| !c.is_alphanumeric());
        self.vocabulary.label_weight(title)
    }

    /// What the titles add to a number at octet `at` of the text. `looks_up` says whether to look for a title over it.
    pub(super) fn weight_of(&self, text: &str, at: usize, looks_up: bool) -> f64 {
        if self.whole > 0.0 {
            return self.whole;
        }
        let column = || column_of(&text.as_bytes()[..at], self.separator);
        let titled = match self.labelled.is_empty() {
            true => None,
            false => column().and_then(|column| self.labelled.iter().find(|it| it.0 == column)),
        };
        match titled {
            Some((_, weight)) => *weight,
            None if looks_up && self.has_words => self.title_above(text, at).unwrap_or(0.0),
            None => 0.0,
        }
    }

    /// The weight of a title over the cell that begins with the number at `at`: in one of the lines above that have
    /// cells too.
    fn title_above(&self, text: &str, at: usize) -> Option<f64> {
        let from = text.ceil_char_boundary(at.saturating_sub(ABOVE_OCTETS));
        let mut lines = text[from..at].rsplit('\n');
        let own = lines.next()?;
        let before = own.rsplit('\t').next().unwrap_or_default();
        let has_cells = own.contains('\t') || {
            let rest = text[at..].bytes().take(LINE_OCTETS);
            rest.take_while(|octet| *octet != b'\n')
                .any(|it| it == b'\t')
        };
        if !has_cells || before.contains(char::is_alphanumeric) {
            return None;
        }
        let column = own.bytes().filter(|octet| *octet == b'\t').count();
        let above = lines.take_while(|line| line.contains('\t'));
        let mut titles = above.filter_map(|line| line.split('\t').nth(column));
        titles.find_map(|title| self.title_weight(title))
    }
}

/// Where the titles of a table stand: in the first of its upper lines with two cells that are filled in (a workbook has
/// the name of the list above them), or else in the first that says anything.
fn titles_in(text: &str) -> &str {
    let filled = |line: &&str| {
        let cells = line.split(char::from(separator_of(line)));
        cells
            .filter(|cell| cell.contains(char::is_alphanumeric))
            .count()
    };
    let upper = &text[..text.floor_char_boundary(TITLES_WITHIN)];
    let says = |line: &&str| filled(line) > 0;
    let titles = upper.lines().find(|line| filled(line) > 1);
    titles
        .or_else(|| upper.lines().find(says))
        .unwrap_or_default()
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
/// How far above a number its title may stand, in octets: a bound on time.
const ABOVE_OCTETS: usize = 4096;
/// How far down a table its titles are looked for, in octets.
const TITLES_WITHIN: usize = 4096;

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
