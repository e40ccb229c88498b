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
    /// What it says to who does not see all of it: without what was deleted, without what was inserted. Lines
    /// alone in which that is something else.
    pub(super) views: Vec<String>,
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
    let mut page = Page::new(style);
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
            Ok(Event::GeneralRef(entity)) => page.push(&resolved(&entity)),
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

struct Page {
    text: String,
    aside: String,
    /// Where the line begins that is read now.
    line: usize,
    is_table: bool,
    style: Style,
    /// Cells that are open, one in the other.
    cells: usize,
    /// The value of the cell that was opened last, and where its text begins.
    value: Option<(String, usize)>,
    /// What the next words of a property are called.
    label: Label,
    /// The document as it is now, and as it was before it was changed.
    views: [View; 2],
    /// Whether a run is open, and whether that is hidden.
    is_in_run: bool,
    is_run_hidden: bool,
    /// Whether formulas are open by which a shape is drawn (`<v:f>`, ECMA-376 part 4 §19.1.2.7): none of a chart's or a sheet's.
    is_in_formulas: bool,
}

/// What a property is called: by a name that it has been given, or by its element.
#[derive(Default)]
struct Label {
    text: String,
    is_given: bool,
}

impl Page {
    fn new(style: Style) -> Self {
        Self {
            text: String::new(),
            aside: String::new(),
            line: 0,
            is_table: false,
            style,
            cells: 0,
            value: None,
            label: Label::default(),
            views: [View::without(DELETED), View::without(INSERTED)],
            is_in_run: false,
            is_run_hidden: false,
            is_in_formulas: false,
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name();
        let name = name.as_ref();
        for view in &mut self.views {
            view.start(name);
        }
        match name {
            "tab" => self.push("\t"),
            "br" | "cr" | "line-break" => self.end_line(),
            "noBreakHyphen" => self.push("-"),
            // `<text:s text:c="3"/>`: so many spaces, of which one says as much.
            "s" if tag.name().as_ref() == "text:s" => self.push(" "),
            // What a pivot table was made of stands in the file, whether it shows it or not (ECMA-376 part 1 §18.10).
            "s" | "n" | "d" => {
                if let Some(value) = attribute(tag, "v") {
                    self.push(&value);
                    self.push("\t");
                }
            }
            "cacheField" => {
                self.end_line();
                self.push(&attribute(tag, "name").unwrap_or_default());
                self.end_line();
            }
            "definedName" => {
                self.push(&attribute(tag, "name").unwrap_or_default());
                self.push(": ");
            }
            "formulas" => self.is_in_formulas = true,
            "sym" => self.push_symbol(tag),
            "r" => (self.is_in_run, self.is_run_hidden) = (true, false),
            "vanish" if self.is_in_run => self.is_run_hidden = !is_off(tag),
            "spreadsheet" => self.is_table = true,
            "tc" | "table-cell" | "Cell" => {
                self.cells += 1;
                self.value = attribute(tag, "value").map(|value| (value, self.text.len()));
                for view in &mut self.views {
                    view.cell = view.line.len();
                }
            }
            _ => {}
        }
        for aside in asides(tag) {
            self.push_aside(&aside);
        }
        if self.style == Style::Properties {
            self.start_property(tag);
        }
    }

    /// A property is called by what names it: `name="NHS number"`, `<NHSNumber>`, `nhsNumber="…"`.
    fn start_property(&mut self, tag: &BytesStart<'_>) {
        if let Some(text) = attribute(tag, "name") {
            if digits(&text).len() >= LABEL_DIGITS {
                self.push_aside(&text);
            }
            self.label = Label {
                text,
                is_given: true,
            };
        } else if !self.label.is_given {
            self.label.text = tag.local_name().as_ref().to_owned();
        }
        for attribute in tag.attributes().with_checks(false).flatten() {
            let key = attribute.key.local_name();
            let is_namespace = attribute.key.as_ref().starts_with("xmlns");
            let is_read = key.as_ref() == "name" || is_aside(key.as_ref());
            if !is_namespace && !is_read && digits(&attribute.value).len() >= LABEL_DIGITS {
                let value = unescaped(&attribute.value);
                self.push_aside(&format!("{}: {value}", key.as_ref()));
            }
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" | "h" if self.cells > 0 => self.push_space(),
            "p" | "h" | "tr" | "row" | "Row" | "table-row" | "si" | "title" | "sheet"
            | "comment" | "threadedComment" | "cm" | "definedName" | "ser" => {
                self.end_line();
            }
            "tc" | "table-cell" | "Cell" => {
                self.cells = self.cells.saturating_sub(1);
                self.end_cell();
            }
            // Values of charts and of other books that this one has kept, and where they come from.
            "v" | "f" | "formatCode" if !self.is_in_formulas => self.push("\t"),
            "formulas" => self.is_in_formulas = false,
            "r" => (self.is_in_run, self.is_run_hidden) = (false, false),
            _ if self.style == Style::Properties => self.end_line(),
            _ => {}
        }
        self.label = Label::default();
        for view in &mut self.views {
            view.end(name);
        }
    }

    /// A cell that shows its number as `4.51E+09` has all of it in its value; what it shows goes aside.
    fn end_cell(&mut self) {
        if let Some((value, from)) = self.value.take() {
            let shown = self.text.get(from..).unwrap_or_default();
            if digits(shown) != digits(&value) {
                self.aside.push('\n');
                self.aside.push_str(shown);
                self.text.truncate(from);
                for view in &mut self.views {
                    view.line.truncate(view.line.floor_char_boundary(view.cell));
                }
                self.push(&value);
            }
        }
        self.push("\t");
    }

    /// Adds words; what only sets out the source of the document is none.
    fn words(&mut self, words: &str) {
        let is_layout = words.contains('\n') && words.trim().is_empty();
        if is_layout {
            return;
        }
        let label = std::mem::take(&mut self.label);
        let begins_line = self.text.is_empty() || self.text.ends_with('\n');
        if self.style == Style::Properties
            && begins_line
            && !label.text.is_empty()
            && words.contains(|c: char| c.is_ascii_digit())
        {
            self.push(&label.text);
            self.push(": ");
        }
        self.push(words);
    }

    /// `<w:sym w:font="Arial" w:char="F034"/>`: a character by its place in the font. Those of which all are pictures
    /// have no digits.
    fn push_symbol(&mut self, tag: &BytesStart<'_>) {
        let font = attribute(tag, "font").unwrap_or_default();
        let code = attribute(tag, "char").and_then(|code| u32::from_str_radix(&code, 16).ok());
        let symbol = code.and_then(|code| char::from_u32(code & 0xFF));
        let is_picture = font.to_ascii_lowercase().contains("dings");
        if let Some(symbol) = symbol.filter(|it| it.is_ascii_alphanumeric() && !is_picture) {
            self.push(symbol.encode_utf8(&mut [0; 4]));
        }
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        for view in &mut self.views {
            view.push(text, self.is_run_hidden);
        }
    }

    fn push_aside(&mut self, text: &str) {
        self.aside.push('\n');
        self.aside.push_str(text);
    }

    fn push_space(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
            self.push(" ");
        }
    }

    fn end_line(&mut self) {
        self.end_views();
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.line = self.text.len();
    }

    fn end_views(&mut self) {
        let line = self.text.get(self.line..).unwrap_or_default();
        for view in &mut self.views {
            view.end_line(line);
        }
    }

    fn into_text(mut self, clean: bool) -> Text {
        self.end_views();
        let has_words = !self.text.trim().is_empty();
        self.text.push_str(&self.aside);
        let views = self.views.map(|view| view.text).into_iter();
        Text {
            has_words,
            text: self.text,
            is_table: self.is_table,
            clean,
            views: views.filter(|view| !view.trim().is_empty()).collect(),
        }
    }
}

/// A document as somebody sees it from whom something is left out that stands in its lines.
struct View {
    /// The elements of changes that are left out.
    leaves_out: &'static [&'static str],
    /// The line that is read now, and the one before it.
    line: String,
    last: String,
    /// Lines that are not as they stand in the document, each below the one before it: that may be its heading.
    text: String,
    /// Where its cell begins.
    cell: usize,
    /// Elements that are open and left out.
    out: usize,
    /// Lines that go on behind what stands apart in them: a note, a box.
    interrupted: Vec<String>,
}

impl View {
    fn without(leaves_out: &'static [&'static str]) -> Self {
        Self {
            leaves_out,
            line: String::new(),
            last: String::new(),
            text: String::new(),
            cell: 0,
            out: 0,
            interrupted: Vec::new(),
        }
    }

    fn is_out(&self, name: &str) -> bool {
        self.leaves_out.contains(&name) || UNSEEN.contains(&name)
    }

    fn start(&mut self, name: &str) {
        if self.is_out(name) {
            self.out += 1;
        } else if BOXES.contains(&name) {
            self.interrupted.push(std::mem::take(&mut self.line));
        }
    }

    fn end(&mut self, name: &str) {
        if self.is_out(name) {
            self.out = self.out.saturating_sub(1);
        } else if BOXES.contains(&name)
            && let Some(line) = self.interrupted.pop()
        {
            self.line = line;
        }
    }

    fn push(&mut self, text: &str, is_hidden: bool) {
        if self.out == 0 && !is_hidden {
            self.line.push_str(text);
        }
    }

    /// Ends the line, which stands so in the document.
    fn end_line(&mut self, stands: &str) {
        if self.out > 0 || self.line.is_empty() {
            return;
        }
        let line = std::mem::take(&mut self.line);
        if line != stands {
            for part in [&self.last, &line] {
                self.text.push_str(part);
                self.text.push('\n');
            }
        }
        self.last = line;
    }
}

/// What is said in the attributes of an element, apart from its text: descriptions, names, where links lead.
pub(super) fn asides(tag: &BytesStart<'_>) -> Vec<String> {
    let name = tag.local_name();
    let named = NAMED.iter().find(|(element, _)| *element == name.as_ref());
    let mut said = Vec::new();
    for attribute in tag.attributes().with_checks(false).flatten() {
        let key = attribute.key.local_name();
        let key = key.as_ref();
        if is_aside(key) || named.is_some_and(|(_, wanted)| *wanted == key) {
            said.push(unescaped(&attribute.value));
        }
    }
    // `<w:docVar w:name="NHS number" w:val="…"/>`
    if let ("docVar" | "tag", Some(name), Some(value)) =
        (name.as_ref(), attribute(tag, "name"), attribute(tag, "val"))
    {
        said.push(format!("{name}: {value}"));
    }
    said
}

fn is_aside(key: &str) -> bool {
    ASIDE.contains(&key)
}

/// Whether a switch says that it is off (ECMA-376 part 1 §22.9.2.7).
fn is_off(tag: &BytesStart<'_>) -> bool {
    attribute(tag, "val").is_some_and(|value| ["0", "false", "off"].contains(&value.as_str()))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
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
    "promptTitle",
    "error",
    "errorTitle",
    "author",
    "text",
    "string",
    "Target",
    "comment",
    "description",
    "command",
    "displayName",
    "displayText",
    "formula",
];
/// Attributes that say something at some elements alone.
const NAMED: &[(&str, &str)] = &[
    ("sheet", "name"),
    ("table", "name"),
    ("tableColumn", "name"),
    ("queryTable", "name"),
    ("scenario", "name"),
    ("cNvPr", "name"),
    ("docPr", "name"),
    ("cSld", "name"),
    ("bookmarkStart", "name"),
    ("sheetName", "val"),
    ("inputCells", "val"),
    ("default", "val"),
    ("item", "val"),
    ("alias", "val"),
    ("listItem", "value"),
    ("slicerCacheDefinition", "sourceName"),
    ("i", "n"),
];
/// Changes (ECMA-376 part 1 §17.13.5).
const DELETED: &[&str] = &["del", "moveFrom"];
const INSERTED: &[&str] = &["ins", "moveTo"];
/// What nobody sees in the line where it stands: codes of fields, how a word is read aloud, what is there for programs
/// that cannot show what stands before it.
const UNSEEN: &[&str] = &["instrText", "delInstrText", "rt", "Fallback"];
/// What stands in the middle of a line, and is shown elsewhere.
const BOXES: &[&str] = &["txbxContent", "note", "annotation"];
/// Digits from which on a value may be a number of a patient's.
const LABEL_DIGITS: usize = 10;
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
    }

    #[test]
    fn a_property_is_called_by_its_name() {
        let text = |xml: &str| to_text(xml.as_bytes(), Style::Properties).text;
        for (xml, expected) in [
            ("<title>a</title><b>557</b>", "a\nb: 557\n"),
            (
                "<property name=\"NHS number\"><vt:lpwstr>4505577104</vt:lpwstr></property><x>1</x>",
                "NHS number: 4505577104\nx: 1\n",
            ),
            ("<p>450 <s>557</s> 7104</p>", "p: 450 557\n 7104\n"),
            (
                "<property name=\"NHS 450 557 7104\"><vt:lpwstr>x</vt:lpwstr></property>",
                "x\n\nNHS 450 557 7104",
            ),
            (
                "<patient xmlns=\"urn:1234567890\" nhsNumber=\"4505577104\" id=\"12\"/>",
                "\nnhsNumber: 4505577104",
            ),
            (
                "<docVar name=\"NHS no\" val=\"450 557\"/>",
                "\nNHS no: 450 557",
            ),
        ] {
            assert_eq!(text(xml), expected, "{xml}");
        }
    }

    #[test]
    fn a_line_is_read_as_it_is_now_and_as_it_was() {
        let views = |xml: &str| to_text(xml.as_bytes(), Style::Page).views;
        let now = |xml: &str| views(xml).first().cloned().unwrap_or_default();
        let run = |text: &str| format!("<w:r><w:t>{text}</w:t></w:r>");
        let (first, last) = (run("450 "), run("557 7104"));
        for between in [
            format!("<w:del>{}</w:del>", run("9")),
            "<w:r><w:instrText>PAGE 12</w:instrText></w:r>".to_owned(),
            "<w:r><w:rPr><w:vanish/></w:rPr><w:t>9</w:t></w:r>".to_owned(),
            format!("<w:r><v:textbox><w:txbxContent><w:p>{}</w:p></w:txbxContent></v:textbox></w:r>", run("9")),
            "<mc:AlternateContent><mc:Choice/><mc:Fallback><w:r><w:t>9</w:t></w:r></mc:Fallback></mc:AlternateContent>"
                .to_owned(),
            "<text:note><text:note-body><text:p>9</text:p></text:note-body></text:note>".to_owned(),
        ] {
            let xml = format!("<w:p>NHS</w:p><w:p>{first}{between}{last}</w:p>");
            let now = now(&xml);
            assert!(now.contains("NHS\n450 557 7104\n") || now.contains("9\n450 557 7104\n"), "{now} of {xml}");
        }
        let changed = "<w:p>450 557 <w:del>7104</w:del><w:ins>9999</w:ins></w:p>";
        assert_eq!(views(changed), ["\n450 557 9999\n", "\n450 557 7104\n"]);
        for same in [
            "<w:p><w:r><w:rPr><w:ins/><w:vanish w:val=\"0\"/></w:rPr><w:t>a</w:t></w:r></w:p>",
            "<w:p><w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr><w:r><w:t>a\n  b</w:t></w:r><w:br/>c</w:p>",
            "<table:table-cell office:value=\"45\"><text:p>4.5E1</text:p></table:table-cell>",
        ] {
            assert_eq!(views(same), [] as [&str; 0], "{same}");
        }
    }

    #[test]
    fn what_draws_a_shape_parts_no_number_and_values_of_a_chart_are_parted() {
        let formulas = "<v:f eqn=\"if lineDrawn pixelLineWidth 0\"/>".repeat(12);
        let picture = format!(
            "<w:pict><v:shapetype id=\"t75\"><v:formulas>{formulas}</v:formulas></v:shapetype></w:pict>"
        );
        let xml = format!(
            "<w:p><w:r><w:t>450 557 </w:t></w:r><w:r>{picture}</w:r><w:r><w:t>7104</w:t></w:r></w:p>"
        );
        assert_eq!(text(&xml), "450 557 7104\n");
        let chart = "<c:ser><c:f>A1</c:f><c:v>450</c:v><c:v>557</c:v></c:ser>";
        assert_eq!(text(chart), "A1\t450\t557\t\n");
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
