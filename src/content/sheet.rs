//! Sheets of Excel's: cells in rows, their words in a table beside them (ECMA-376 part 1 §18.3, §18.4).
//!
//! A cell that holds a word holds its number in the table, and a thousand cells may hold the same: what
//! comes out is bounded by the caller, not by what went in.

use quick_xml::events::{BytesStart, Event};

use super::xml;

/// The words that cells share, by their number.
#[derive(Default)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// Reads `sharedStrings.xml`.
    pub(super) fn read(octets: &[u8]) -> Self {
        let source = xml::decoded(octets);
        let mut reader = xml::reader(&source);
        let mut words = Self::default();
        let mut word = String::new();
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if tag.local_name().as_ref() == "si" => word.clear(),
                Event::End(tag) if tag.local_name().as_ref() == "si" => {
                    words.0.push(std::mem::take(&mut word));
                }
                Event::Empty(tag) if tag.local_name().as_ref() == "si" => {
                    words.0.push(String::new());
                }
                Event::Text(text) => word.push_str(&text.into_inner()),
                Event::CData(text) => word.push_str(&text.into_inner()),
                Event::GeneralRef(entity) => word.push_str(&xml::resolved(&entity)),
                Event::Eof => break,
                _ => {}
            }
        }
        words
    }
}

/// What is in a sheet.
#[derive(Default)]
pub(super) struct Sheet {
    /// Rows as lines, cells parted by tabs.
    pub(super) text: String,
    /// Whether there was more than the limit allows.
    pub(super) is_cut: bool,
    /// Whether it was read to its end.
    pub(super) clean: bool,
}

/// Reads a sheet, up to so many octets of text.
pub(super) fn read(octets: &[u8], words: &Words, octets_max: usize) -> Sheet {
    let source = xml::decoded(octets);
    let mut reader = xml::reader(&source);
    let mut sheet = Sheet::default();
    let mut cell = Cell::default();
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => cell.start(&tag),
            Ok(Event::End(tag)) => match tag.local_name().as_ref() {
                "c" => {
                    sheet.text.push_str(&cell.shown(words));
                    sheet.text.push('\t');
                    cell = Cell::default();
                }
                "row" => sheet.text.push('\n'),
                _ if cell.is_open => {}
                // Headers and footers, and what is said beside the cells.
                _ => {
                    sheet.text.push_str(&std::mem::take(&mut cell.text));
                    sheet.text.push('\n');
                }
            },
            Ok(Event::Text(text)) => cell.add(&text.into_inner()),
            Ok(Event::CData(text)) => cell.add(&text.into_inner()),
            Ok(Event::GeneralRef(entity)) => cell.add(&xml::resolved(&entity)),
            Ok(Event::Eof) => break sheet.clean = true,
            Ok(_) => {}
            Err(_) => break,
        }
        if sheet.text.len() > octets_max {
            sheet.is_cut = true;
            break;
        }
    }
    sheet
}

#[derive(Default)]
struct Cell {
    is_open: bool,
    is_shared: bool,
    is_formula: bool,
    formula: String,
    text: String,
}

impl Cell {
    fn start(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "c" => {
                *self = Self {
                    is_open: true,
                    is_shared: xml::attribute(tag, "t").as_deref() == Some("s"),
                    ..Self::default()
                }
            }
            "f" => self.is_formula = true,
            "v" | "is" => self.is_formula = false,
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        if self.is_formula {
            self.formula.push_str(text);
        } else if !(text.contains('\n') && text.trim().is_empty()) {
            self.text.push_str(text);
        }
    }

    /// What a reader sees, and a formula that says so itself: `="450 557 7104"`.
    fn shown(&self, words: &Words) -> String {
        let shared = || words.0.get(self.text.trim().parse::<usize>().ok()?);
        let mut shown = match self.is_shared.then(shared).flatten() {
            Some(word) => word.clone(),
            None => whole_number(&self.text).unwrap_or_else(|| self.text.clone()),
        };
        if !self.formula.is_empty() {
            shown.push('\t');
            shown.push_str(&self.formula);
        }
        shown
    }
}

/// `4.505577104E9` as the ten digits that it is.
fn whole_number(text: &str) -> Option<String> {
    if !text.contains(['e', 'E', '.']) {
        return None;
    }
    let number: f64 = text.trim().parse().ok()?;
    let is_whole = number.fract() == 0.0 && (0.0..WHOLE_MAX).contains(&number);
    is_whole.then(|| format!("{number:.0}"))
}

/// Whole numbers below this one are exact.
const WHOLE_MAX: f64 = 1e15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &str =
        "<sst><si><t>NHS</t></si><si><r><t>450 557</t></r><r><t> 7104</t></r></si><si/></sst>";

    fn sheet(cells: &str) -> String {
        let words = Words::read(WORDS.as_bytes());
        read(cells.as_bytes(), &words, 1000).text
    }

    #[test]
    fn cells_show_numbers_and_words() {
        for (cells, text) in [
            (
                "<row r=\"1\"><c t=\"s\"><v>0</v></c><c r=\"B1\"><v>4505577104</v></c></row>",
                "NHS\t4505577104\t\n",
            ),
            ("<c t=\"s\"><v>1</v></c>", "450 557 7104\t"),
            ("<c t=\"s\"><v>7</v></c>", "7\t"),
            ("<c><v>4.505577104E9</v></c>", "4505577104\t"),
            ("<c><v>0.5</v></c>", "0.5\t"),
            ("<c t=\"inlineStr\"><is><t>a&amp;b</t></is></c>", "a&b\t"),
            (
                "<c t=\"str\"><f>\"9\"&amp;A1</f><v>94</v></c>",
                "94\t\"9\"&A1\t",
            ),
        ] {
            assert_eq!(sheet(cells), text, "{cells}");
        }
        assert!(sheet("<oddHeader>NHS 943</oddHeader>").contains("NHS 943\n"));
    }

    #[test]
    fn a_word_that_comes_again_and_again_is_bounded() {
        let words = Words(vec!["x".repeat(100)]);
        let cells = "<c t=\"s\"><v>0</v></c>".repeat(1000);
        let sheet = read(cells.as_bytes(), &words, 500);
        assert!(sheet.is_cut && sheet.text.len() < 700);
    }

    proptest! {
        #[test]
        fn anything_like_a_sheet_is_read(xml in "(<|>|</|c| t=|\"|s|row|v|f|is|1|9|E|é|&|;){0,40}") {
            sheet(&xml);
            Words::read(xml.as_bytes());
        }
    }
}
