//! The text of XML documents: words of office documents as they stand on the page.
//!
//! Elements of one paragraph run together, so that a number that is split into runs is whole; paragraphs and
//! rows end a line, cells are parted by a tab. One pass, no recursion, and no entities but those of
//! XML itself: a document that declares its own is not [`Text::clean`].

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::text;

/// What is to be read in a document.
#[derive(Default)]
pub(super) struct Text {
    /// Its text in lines.
    pub(super) text: String,
    /// Whether a row is the first thing in it: a sheet of cells.
    pub(super) is_table: bool,
    /// Whether there are words on the page, not in descriptions alone.
    pub(super) has_words: bool,
    /// Whether it was read to its end, and says all that a reader of it may see.
    pub(super) clean: bool,
}

/// How the elements of a document stand to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// Runs of one page.
    Page,
    /// Properties, each for itself.
    Properties,
}

/// Returns what is to be read in a document, and on lines behind it what is in descriptions, links and
/// fields.
pub(super) fn to_text(octets: &[u8], style: Style) -> Text {
    let source = decoded(octets);
    let mut page = Page {
        ends_lines: style == Style::Properties,
        ..Page::default()
    };
    let mut reader = reader(&source);
    let clean = loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => page.start(&tag),
            Ok(Event::Empty(tag)) => {
                page.start(&tag);
                page.end(tag.local_name().as_ref());
            }
            Ok(Event::End(tag)) => page.end(tag.local_name().as_ref()),
            Ok(Event::Text(text)) => page.words(&text.into_inner()),
            Ok(Event::CData(text)) => page.words(&text.into_inner()),
            Ok(Event::GeneralRef(entity)) => page.text.push_str(&resolved(&entity)),
            Ok(Event::DocType(declared)) if declared.contains("<!ENTITY") => break false,
            Ok(Event::Eof) => break true,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    page.into_text(clean)
}

/// Whether a file says at its start that it is XML.
pub(super) fn begins(octets: &[u8]) -> bool {
    let start = octets.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(octets);
    let start = start.trim_ascii_start();
    start.starts_with(b"<?xml") || start.starts_with(b"<svg")
}

/// A reader that takes what is not quite XML as the reading programs would.
pub(super) fn reader(source: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(source);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    reader
}

/// The document as text, by its mark, its look, or the encoding that it declares (XML §4.3.3).
pub(super) fn decoded(octets: &[u8]) -> String {
    let head = &octets[..octets.len().min(DECLARATION_OCTETS)];
    let head = String::from_utf8_lossy(head);
    let label = head.split_once("encoding=").and_then(|(_, rest)| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    text::decode(
        octets,
        label.or_else(|| text::unmarked_utf16(octets).or(Some("utf-8"))),
    )
}

/// What an entity stands for: itself, if that is nothing.
pub(super) fn resolved(entity: &BytesRef<'_>) -> String {
    if let Ok(Some(c)) = entity.resolve_char_ref() {
        return c.to_string();
    }
    match resolve_xml_entity(entity) {
        Some(text) => text.to_owned(),
        None => format!("&{};", &**entity),
    }
}

/// The value of an attribute by its local name.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = tag.attributes();
    attributes
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)
        .map(|attribute| unescaped(&attribute.value))
}

fn unescaped(value: &str) -> String {
    match quick_xml::escape::unescape(value) {
        Ok(text) => text.into_owned(),
        Err(_) => value.to_owned(),
    }
}

#[derive(Default)]
struct Page {
    text: String,
    aside: String,
    is_table: bool,
    /// Whether every element ends a line.
    ends_lines: bool,
    /// Cells that are open, one in the other.
    cells: usize,
    /// The value of the cell that was opened last, and where its text begins.
    value: Option<(String, usize)>,
}

impl Page {
    fn start(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        let name = name.as_ref();
        match name {
            "tab" => self.text.push('\t'),
            "br" | "cr" | "line-break" => self.end_line(),
            "noBreakHyphen" => self.text.push('-'),
            // `<text:s text:c="3"/>`: so many spaces, of which one says as much.
            "s" if tag.name().as_ref() == "text:s" => self.text.push(' '),
            // What a pivot table was made of stands in the file, whether it shows it or not (ECMA-376 part 1 §18.10).
            "s" | "n" | "d" => {
                if let Some(value) = attribute(tag, "v") {
                    self.text.push_str(&value);
                    self.text.push('\t');
                }
            }
            "cacheField" => {
                self.end_line();
                self.text
                    .push_str(&attribute(tag, "name").unwrap_or_default());
                self.text.push('\n');
            }
            "spreadsheet" => self.is_table = true,
            "tc" | "table-cell" | "Cell" => {
                self.cells += 1;
                self.value = attribute(tag, "value").map(|value| (value, self.text.len()));
            }
            _ => {}
        }
        for attribute in tag.attributes().with_checks(false).flatten() {
            let key = attribute.key.local_name();
            let names_sheet = matches!((name, key.as_ref()), ("sheet" | "table", "name"));
            if names_sheet || ASIDE.contains(&key.as_ref()) {
                self.aside.push('\n');
                self.aside.push_str(&unescaped(&attribute.value));
            }
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" if self.cells > 0 => self.push_space(),
            "p" | "h" | "tr" | "row" | "Row" | "table-row" | "si" | "title" | "sheet" => {
                self.end_line();
            }
            "tc" | "table-cell" | "Cell" => {
                self.cells = self.cells.saturating_sub(1);
                self.end_cell();
            }
            _ if self.ends_lines => self.end_line(),
            _ => {}
        }
    }

    /// A cell that shows its number as `4.51E+09` has all of it in its value; what it shows goes aside.
    fn end_cell(&mut self) {
        if let Some((value, from)) = self.value.take() {
            let digits =
                |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
            let shown = self.text.get(from..).unwrap_or_default();
            if digits(shown) != digits(&value) {
                self.aside.push('\n');
                self.aside.push_str(shown);
                self.text.truncate(from);
                self.text.push_str(&value);
            }
        }
        self.text.push('\t');
    }

    /// Adds words; what only sets out the source of the document is none.
    fn words(&mut self, words: &str) {
        let is_layout = words.contains('\n') && words.trim().is_empty();
        if !is_layout {
            self.text.push_str(words);
        }
    }

    fn push_space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
            self.text.push(' ');
        }
    }

    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn into_text(mut self, clean: bool) -> Text {
        let has_words = !self.text.trim().is_empty();
        self.text.push_str(&self.aside);
        Text {
            has_words,
            text: self.text,
            is_table: self.is_table,
            clean,
        }
    }
}

/// Attributes whose value a reader may come to see: descriptions of pictures, fields, links.
const ASIDE: &[&str] = &[
    "descr",
    "title",
    "alt",
    "instr",
    "tooltip",
    "display",
    "href",
    "string-value",
    "prompt",
    "author",
    "text",
    "string",
    "Target",
];
/// Octets in which the declaration of a document stands.
const DECLARATION_OCTETS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(xml: &str) -> String {
        to_text(xml.as_bytes(), Style::Page).text
    }

    #[test]
    fn paragraphs_are_lines_and_runs_are_none() {
        for (xml, expected) in [
            (
                "<w:p><w:r><w:t>450 </w:t></w:r><w:proofErr/><w:r><w:t>557</w:t></w:r></w:p>\n  <w:p>a</w:p>",
                "450 557\na\n",
            ),
            ("<a:p>1</a:p><a:p>2</a:p>", "1\n2\n"),
            (
                "<w:tr><w:tc><w:p>a</w:p></w:tc><w:tc>b</w:tc></w:tr>",
                "a \tb\t\n",
            ),
            (
                "<text:p>1<text:s text:c=\"2\"/>2<text:line-break/>3</text:p>",
                "1 2\n3\n",
            ),
            ("<p>a&amp;b&#x41;&unknown;</p>", "a&bA&unknown;\n"),
            (
                "<Row><Cell><Data>NHS</Data></Cell><Cell><Data>4</Data></Cell></Row>",
                "NHS\t4\t\n",
            ),
            (
                "<cacheField name=\"NHS no\"><sharedItems><n v=\"4505577104\"/><s v=\"a\"/></sharedItems></cacheField>",
                "NHS no\n4505577104\ta\t",
            ),
            ("<p><![CDATA[<943>]]></p>", "<943>\n"),
            ("<p>x</p><d descr=\"NHS &lt; 943\"/>", "x\n\nNHS < 943"),
        ] {
            assert_eq!(text(xml), expected, "{xml}");
        }
        let properties = to_text(b"<a>450</a><b>557</b>", Style::Properties);
        assert_eq!(properties.text, "450\n557\n");
    }

    #[test]
    fn a_cell_tells_the_value_that_it_does_not_show() {
        let cell = |shown: &str| {
            text(&format!(
                "<table:table-cell office:value=\"4505577104\"><text:p>{shown}</text:p></table:table-cell>"
            ))
        };
        assert_eq!(cell("450 557 7104"), "450 557 7104 \t");
        assert_eq!(cell("4.51E+09"), "4505577104\t\n4.51E+09 ");
    }

    #[test]
    fn charsets_are_read_and_own_entities_are_not() {
        let utf16: Vec<u8> = "<?xml version=\"1.0\"?><p>943</p>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(to_text(&utf16, Style::Page).text, "943\n");
        let latin = b"<?xml version='1.0' encoding='iso-8859-1'?><p>caf\xe9</p>";
        assert_eq!(to_text(latin, Style::Page).text, "caf\u{e9}\n");
        let own = to_text(b"<!DOCTYPE p [<!ENTITY n \"943\">]><p>&n;</p>", Style::Page);
        assert!(!own.clean);
        assert!(!to_text(b"<p>943</p", Style::Page).clean);
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            to_text(&octets, Style::Page);
        }

        #[test]
        fn anything_like_xml_is_read(xml in "(<|>|&|/|!|\\[|CDATA|\\]|--|\\?|p|tc| a=|\"|'|;|#x|1|é|\n){0,40}") {
            to_text(xml.as_bytes(), Style::Page);
        }
    }
}
