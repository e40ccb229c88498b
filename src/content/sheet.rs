//! Sheets of Excel's: cells in rows, their words in a table beside them (ECMA-376 part 1 §18.3, §18.4).
//!
//! A cell that holds a word holds its number in the table, and a thousand cells may hold the same: what
//! comes out is bounded by the caller, not by what went in.

use quick_xml::events::{BytesStart, Event};

use super::xml;

/// The words that cells share, by their number.
#[derive(Default)]
pub(super) struct Words(Vec<Word>);

#[derive(Default)]
struct Word {
    text: String,
    is_used: bool,
}

impl Words {
    /// Reads `sharedStrings.xml`. How a word is read aloud follows behind it.
    pub(super) fn read(octets: &[u8]) -> Self {
        let source = xml::decoded(octets);
        let mut reader = xml::reader(&source);
        let mut words = Self::default();
        let mut word = Phonetic::default();
        while let Ok(event) = reader.read_event() {
            match event {
                Event::Start(tag) if tag.local_name().as_ref() == "si" => {
                    word = Phonetic::default();
                }
                Event::Start(tag) => word.start(tag.local_name().as_ref()),
                Event::End(tag) if tag.local_name().as_ref() == "si" => {
                    words.push(std::mem::take(&mut word).whole());
                }
                Event::End(tag) => word.end(tag.local_name().as_ref()),
                Event::Empty(tag) if tag.local_name().as_ref() == "si" => {
                    words.push(String::new());
                }
                Event::Text(text) => word.add(&text.into_inner()),
                Event::CData(text) => word.add(&text.into_inner()),
                Event::GeneralRef(entity) => word.add(&xml::resolved(&entity)),
                Event::Eof => break,
                _ => {}
            }
        }
        words
    }

    fn push(&mut self, text: String) {
        self.0.push(Word {
            text,
            is_used: false,
        });
    }

    fn get(&mut self, number: usize) -> Option<&str> {
        let word = self.0.get_mut(number)?;
        word.is_used = true;
        Some(&word.text)
    }

    /// The words that no cell has asked for, in lines.
    pub(super) fn unused(self) -> String {
        let unused = self.0.into_iter().filter(|word| !word.is_used);
        let unused: Vec<String> = unused.map(|word| word.text).collect();
        unused.join("\n")
    }
}

/// A text, and how it is read aloud: that stands in the middle of it (§18.4.6).
#[derive(Default)]
struct Phonetic {
    text: String,
    aloud: String,
    is_aloud: bool,
}

impl Phonetic {
    fn start(&mut self, name: &str) {
        self.is_aloud |= name == "rPh";
    }

    fn end(&mut self, name: &str) {
        self.is_aloud &= name != "rPh";
    }

    fn add(&mut self, text: &str) {
        if self.is_aloud {
            self.aloud.push_str(text);
        } else {
            self.text.push_str(text);
        }
    }

    fn whole(self) -> String {
        if self.aloud.is_empty() {
            self.text
        } else {
            format!("{} {}", self.text, self.aloud)
        }
    }
}

/// What is in a sheet.
#[derive(Default)]
pub(super) struct Sheet {
    /// Rows as lines, cells parted by tabs, each in its column; formulas behind the cells of their row.
    pub(super) text: String,
    /// Whether there was more than the limit allows.
    pub(super) is_cut: bool,
    /// Whether it was read to its end.
    pub(super) clean: bool,
}

/// Reads a sheet, up to so many octets of text.
pub(super) fn read(octets: &[u8], words: &mut Words, octets_max: usize) -> Sheet {
    let source = xml::decoded(octets);
    let mut reader = xml::reader(&source);
    let mut rows = Rows::default();
    let (mut is_cut, mut clean) = (false, false);
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => rows.start(&tag),
            Ok(Event::Empty(tag)) => {
                rows.start(&tag);
                rows.end(tag.local_name().as_ref(), words);
            }
            Ok(Event::End(tag)) => rows.end(tag.local_name().as_ref(), words),
            Ok(Event::Text(text)) => rows.cell.add(&text.into_inner()),
            Ok(Event::CData(text)) => rows.cell.add(&text.into_inner()),
            Ok(Event::GeneralRef(entity)) => rows.cell.add(&xml::resolved(&entity)),
            Ok(Event::Eof) => break clean = true,
            Ok(_) => {}
            Err(_) => break,
        }
        if rows.text.len() + rows.formulas.len() > octets_max {
            break is_cut = true;
        }
    }
    rows.end_row();
    Sheet {
        text: rows.text,
        is_cut,
        clean,
    }
}

/// The rows of a sheet as they are read.
#[derive(Default)]
struct Rows {
    text: String,
    /// What the cells of the row say of how they came about.
    formulas: String,
    /// Cells of the row so far.
    cells: usize,
    cell: Cell,
}

impl Rows {
    fn start(&mut self, tag: &BytesStart<'_>) {
        match tag.local_name().as_ref() {
            "c" => {
                let column = xml::attribute(tag, "r").and_then(|place| column_of(&place));
                for _ in self.cells..column.unwrap_or(0).min(COLUMNS_MAX) {
                    self.text.push('\t');
                    self.cells += 1;
                }
                self.cell = Cell {
                    is_open: true,
                    is_shared: xml::attribute(tag, "t").as_deref() == Some("s"),
                    ..Cell::default()
                };
            }
            "f" => self.cell.is_formula = true,
            "v" | "is" => self.cell.is_formula = false,
            name => self.cell.text.start(name),
        }
        if self.cell.is_open {
            return;
        }
        // Links, what is asked for and warned of on entry, scenarios.
        for aside in xml::asides(tag) {
            self.formulas.push_str(&aside);
            self.formulas.push('\n');
        }
    }

    fn end(&mut self, name: &str, words: &mut Words) {
        match name {
            "c" => {
                let cell = std::mem::take(&mut self.cell);
                if !cell.formula.is_empty() {
                    self.formulas.push_str(&cell.formula);
                    self.formulas.push('\t');
                }
                self.text.push_str(&cell.shown(words));
                self.text.push('\t');
                self.cells += 1;
            }
            "row" => self.end_row(),
            _ if self.cell.is_open => self.cell.text.end(name),
            // Headers and footers, and what is said beside the cells.
            _ => {
                let text = std::mem::take(&mut self.cell).text.whole();
                if text.is_empty() && self.formulas.is_empty() {
                    return;
                }
                let plain = without_codes(&text);
                if plain != text {
                    self.text.push_str(&plain);
                    self.text.push('\n');
                }
                self.text.push_str(&text);
                self.end_row();
            }
        }
    }

    fn end_row(&mut self) {
        self.text.push_str(&self.formulas);
        self.text.push('\n');
        self.formulas.clear();
        self.cells = 0;
    }
}

#[derive(Default)]
struct Cell {
    is_open: bool,
    is_shared: bool,
    is_formula: bool,
    /// What it is made of: `"9"&A1`.
    formula: String,
    text: Phonetic,
}

impl Cell {
    fn add(&mut self, text: &str) {
        if self.is_formula {
            self.formula.push_str(text);
        } else if !(text.contains('\n') && text.trim().is_empty()) {
            self.text.add(text);
        }
    }

    /// What a reader sees.
    fn shown(self, words: &mut Words) -> String {
        let text = self.text.whole();
        let shared = || words.get(text.trim().parse().ok()?).map(str::to_owned);
        match self.is_shared.then(shared).flatten() {
            Some(word) => word,
            None => whole_number(&text).unwrap_or(text),
        }
    }
}

/// The number of a column from 0: `C7` is in the third.
fn column_of(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic).take(3);
    let number = letters.fold(0, |number, letter| {
        number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1
    });
    number.checked_sub(1)
}

/// A header or footer without the codes of its letters, and with its three parts on lines (§18.3.1.46):
/// `&L&"Arial,Bold"450 &12557`.
fn without_codes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, code)) = rest.split_once('&') {
        plain.push_str(before);
        let is_digit = |c: char| c.is_ascii_digit();
        rest = match code.chars().next() {
            Some('"') => code[1..].split_once('"').map_or("", |(_, after)| after),
            Some('0'..='9') => code.trim_start_matches(is_digit),
            // A colour: of the theme, with how much lighter it is, or red, green and blue.
            Some('K') => code.get(COLOUR_OCTETS..).unwrap_or_default(),
            Some('L' | 'C' | 'R') => {
                plain.push('\n');
                &code[1..]
            }
            Some(c) if c.is_ascii_alphabetic() => &code[1..],
            Some('&') => {
                plain.push('&');
                &code[1..]
            }
            _ => code,
        };
    }
    plain + rest
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

/// Columns that are left empty before a cell: titles stand further left.
const COLUMNS_MAX: usize = 100;
/// `K01+000` and `KFF0000`.
const COLOUR_OCTETS: usize = 7;
/// Whole numbers below this one are exact.
const WHOLE_MAX: f64 = 1e15;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &str =
        "<sst><si><t>NHS</t></si><si><r><t>450 557</t></r><r><t> 7104</t></r></si><si/></sst>";

    fn sheet(cells: &str) -> String {
        let mut words = Words::read(WORDS.as_bytes());
        let text = read(cells.as_bytes(), &mut words, 1000).text;
        text.trim_end_matches('\n').to_owned()
    }

    #[test]
    fn cells_show_numbers_and_words() {
        for (cells, text) in [
            (
                "<row r=\"1\"><c t=\"s\"><v>0</v></c><c r=\"B1\"><v>4505577104</v></c></row>",
                "NHS\t4505577104\t",
            ),
            ("<c t=\"s\"><v>1</v></c>", "450 557 7104\t"),
            ("<c t=\"s\"><v>7</v></c>", "7\t"),
            ("<c><v>4.505577104E9</v></c>", "4505577104\t"),
            ("<c><v>0.5</v></c>", "0.5\t"),
            ("<c t=\"inlineStr\"><is><t>a&amp;b</t></is></c>", "a&b\t"),
            (
                "<c t=\"inlineStr\"><is><t>450</t><rPh sb=\"0\"><t>9</t></rPh><r><t> 557</t></r></is></c>",
                "450 557 9\t",
            ),
            (
                "<row><c t=\"str\"><f>\"9\"&amp;A1</f><v>94</v></c><c><v>1</v></c></row>",
                "94\t1\t\"9\"&A1\t",
            ),
            (
                "<row><c r=\"B2\" s=\"1\"/><c r=\"D2\"><v>1</v></c></row><row><c r=\"a3\"><v>2</v></c></row>",
                "\t\t\t1\t\n2\t",
            ),
        ] {
            assert_eq!(sheet(cells), text, "{cells}");
        }
        assert!(sheet("<oddHeader>NHS 943</oddHeader>").contains("NHS 943"));
        let codes = "&amp;LNHS &amp;\"Arial,Bold\"450 &amp;12557&amp;K01+000 &amp;Bx&amp;&amp;y&amp;Rz&amp;";
        let plain = "\nNHS 450  x&y\nz";
        let header = sheet(&format!("<oddHeader>{codes}</oddHeader>"));
        assert!(header.contains(plain), "{header}");
        let asks =
            "<dataValidation promptTitle=\"NHS no\" prompt=\"450\"/><hyperlink tooltip=\"557\"/>";
        assert!(sheet(asks).contains("NHS no\n450\n") && sheet(asks).contains("557"));
    }

    #[test]
    fn a_word_that_no_cell_holds_is_told_apart() {
        let mut words = Words::read(WORDS.as_bytes());
        read(b"<c t=\"s\"><v>0</v></c>", &mut words, 100);
        assert_eq!(words.unused(), "450 557 7104\n");
    }

    #[test]
    fn a_word_that_comes_again_and_again_is_bounded() {
        let mut words = Words::default();
        words.push("x".repeat(100));
        let cells = "<c t=\"s\"><v>0</v></c>".repeat(1000);
        let sheet = read(cells.as_bytes(), &mut words, 500);
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
