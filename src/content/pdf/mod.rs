//! PDF as text: what its pages show, what is written in its notes and forms, and the files in it.
//!
//! Objects, filters and decryption are `lopdf`'s (safe Rust throughout, nesting and unpacking bounded); the
//! text is ours, since a number has to stay whole that is drawn digit by digit. Forms (ISO 32000-1 §8.10)
//! are each read once and not where they are drawn, so that none can draw itself.

mod font;
mod notes;
mod page;
mod rows;
mod shown;
mod simple;

use std::collections::{BTreeMap, HashMap};

use lopdf::{Dictionary, Document, LoadOptions, Object, Stream};

use super::unpack::{Budget, Stopped};
use super::xml;
use font::Fonts;
use notes::FieldsLeft;
use page::Page;
use rows::{Fragment, Rows};
use shown::Shown;

/// What was read of a document.
#[derive(Default)]
pub(super) struct Pdf {
    /// Its text in lines.
    pub(super) text: String,
    /// Lines of its pages as they stand there, where they were drawn in another order.
    pub(super) rows: String,
    /// The octets of the files in it.
    pub(super) files: Vec<Vec<u8>>,
    /// Why not all of it was read (`design.md` §4.3).
    pub(super) because: Vec<&'static str>,
}

/// Reads a document, up to so many octets of text.
pub(super) fn read(octets: &[u8], budget: &mut Budget, octets_max: usize) -> Pdf {
    let document = match load(octets, budget) {
        Ok(document) => document,
        Err(because) => {
            return Pdf {
                because: vec![because],
                ..Pdf::default()
            };
        }
    };
    let mut reader = Reader {
        document: &document,
        fonts: Fonts::new(&document),
        budget,
        octets_max,
        pdf: Pdf::default(),
        pages: Vec::new(),
        forms: HashMap::new(),
        about: String::new(),
        fields_left: FieldsLeft {
            notes: FIELDS_MAX,
            octets: octets_max,
        },
    };
    let read = reader.pages().and_then(|()| reader.others());
    if let Err(stopped) = read {
        reader.pdf.because.push(stopped.word());
    }
    if is_cut_off(octets) {
        reader.pdf.because.push("malformed");
    }
    if reader.fonts.hide_text() {
        reader.pdf.because.push("unknown-font");
    }
    let shows_nothing = reader.pdf.text.trim().is_empty() && reader.pdf.files.is_empty();
    if shows_nothing || reader.has_pictures_of_words() {
        reader.pdf.because.push("image-only");
    }
    reader.notes();
    reader.pdf
}

/// Loads a document; one with a password for its owner alone opens without.
fn load(octets: &[u8], budget: &mut Budget) -> Result<Document, &'static str> {
    let start = memchr::memmem::find(octets, b"%PDF-").unwrap_or(0);
    let octets = &octets[start..];
    let packed = packed_objects(octets);
    if outside_streams(octets) > OUTSIDE_MAX || packed > PACKED_MAX {
        return Err("too-large");
    }
    budget.take(packed * PACKED_OCTETS).map_err(Stopped::word)?;
    let options = LoadOptions {
        max_decompressed_size: Some(budget.left().min(UNPACKED_MAX) / packed.max(1)),
        ..LoadOptions::default()
    };
    let is_encrypted = || memchr::memmem::find(octets, b"/Encrypt").is_some();
    match Document::load_mem_with_options(octets, options) {
        Ok(document) if document.is_encrypted() && document.encryption_state.is_none() => {
            Err("encrypted-document")
        }
        Ok(document) if document.objects.is_empty() && is_encrypted() => Err("encrypted-document"),
        Ok(document) if document.page_iter().next().is_none() => Err("malformed"),
        Ok(document) => {
            let octets = objects(&document) * OBJECT_OCTETS;
            budget.take(octets).map_err(Stopped::word)?;
            Ok(document)
        }
        Err(lopdf::Error::Decompress(_)) => Err("too-large"),
        Err(_) if is_encrypted() => Err("encrypted-document"),
        Err(_) => Err("malformed"),
    }
}

/// How many objects a document has, those within others too.
fn objects(document: &Document) -> usize {
    let mut left: Vec<&Object> = document.objects.values().collect();
    let mut count = 0;
    while let Some(object) = left.pop() {
        count += 1;
        match object {
            Object::Array(objects) => left.extend(objects),
            Object::Dictionary(dictionary) => left.extend(dictionary.iter().map(|(_, of)| of)),
            Object::Stream(stream) => left.extend(stream.dict.iter().map(|(_, of)| of)),
            _ => {}
        }
    }
    count
}

/// Whether the end is missing; what could be found of the objects before it is read.
fn is_cut_off(octets: &[u8]) -> bool {
    let tail = &octets[octets.len().saturating_sub(TAIL_OCTETS)..];
    memchr::memmem::find(tail, b"%%EOF").is_none()
}

/// Streams in which objects are packed, all of which are unpacked on loading: those that say so, and
/// names that hide what they say (`/Obj#53tm`).
fn packed_objects(octets: &[u8]) -> usize {
    let plain = memchr::memmem::find_iter(octets, b"ObjStm").count();
    let hidden = memchr::memchr_iter(b'#', octets).filter(|at| {
        let from = at.saturating_sub(NAME_OCTETS);
        let name = octets[from..*at].rsplit(|octet| *octet == b'/').next();
        octets[from..*at].contains(&b'/')
            && name.is_some_and(|name| b"ObjStm".starts_with(name))
            && octets.get(at + 1..at + 3).is_some_and(is_letter_of_it)
    });
    plain + hidden.count()
}

fn is_letter_of_it(digits: &[u8]) -> bool {
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    u8::from_str_radix(digits, 16).is_ok_and(|letter| b"ObjStm".contains(&letter))
}

/// Octets that are not in streams: each becomes an object that takes many more.
fn outside_streams(octets: &[u8]) -> usize {
    let mut inside = 0;
    let mut at = 0;
    while let Some(start) = memchr::memmem::find(&octets[at..], b"stream") {
        let start = at + start;
        let end = memchr::memmem::find(&octets[start..], b"endstream");
        let end = end.map_or(octets.len(), |end| start + end + b"endstream".len());
        inside += end - start;
        at = end;
    }
    octets.len() - inside
}

struct Reader<'d, 'b> {
    document: &'d Document,
    fonts: Fonts<'d>,
    budget: &'b mut Budget,
    octets_max: usize,
    pdf: Pdf,
    /// What each page shows, and its size in square points.
    pages: Vec<(Shown, f64)>,
    /// What each form shows, by where it lies in memory.
    forms: HashMap<usize, Shown>,
    /// What is said of the document.
    about: String,
    /// Notes and fields that are still looked at in their places.
    fields_left: FieldsLeft,
}

impl<'d> Reader<'d, '_> {
    fn pages(&mut self) -> Result<(), Stopped> {
        for (index, page) in self.document.page_iter().enumerate() {
            if index == PAGES_MAX {
                return Err(Stopped::TooLarge);
            }
            let fonts = self.document.get_page_fonts(page).unwrap_or_default();
            let contents = self.document.get_page_contents(page);
            let is_there = |id| self.document.get_object(id).is_ok();
            if !contents.into_iter().all(is_there) {
                return Err(Stopped::Malformed);
            }
            let left = self.budget.left();
            let content = self.document.get_page_content_with_limit(page, left);
            let content = content.map_err(|_| Stopped::TooLarge)?;
            let from = self.pdf.text.len();
            let (mut shown, rows) = self.content(&content, fonts)?;
            let named = self.document.get_object(page).and_then(Object::as_dict);
            if let Ok(named) = named {
                self.set_out(rows, from, named);
                self.resolve(&mut shown, self.inherited(named, b"Resources"));
                self.pages.push((shown, self.area(named)));
            }
        }
        Ok(())
    }

    /// Reads a page once more as it stands there, with what its fields hold, where that is something else.
    fn set_out(&mut self, mut rows: Rows, from: usize, page: &'d Dictionary) {
        let fields = notes::fields(self.document, page, &mut self.fields_left);
        if fields.is_empty() && rows.are_in_order() {
            return;
        }
        let mut text = self.pdf.text.get(from..).unwrap_or_default().to_owned();
        for field in fields {
            let at = text.len() + 1;
            text.push('\n');
            text.push_str(&field.value);
            rows.add(Fragment {
                x: field.x,
                y: field.y,
                size: field.size,
                text: at..text.len(),
            });
        }
        let left = self.octets_max.saturating_sub(self.pdf.rows.len());
        let lines = rows.not_in(&text);
        self.pdf
            .rows
            .push_str(&lines[..lines.floor_char_boundary(left)]);
    }

    fn has_pictures_of_words(&self) -> bool {
        let mut pages = self.pages.iter();
        pages.any(|(shown, area)| shown.is_picture(&self.forms, *area))
    }

    /// What a page says or the nodes above it (§7.7.3.4).
    fn inherited(&self, page: &'d Dictionary, key: &[u8]) -> Option<&'d Object> {
        let mut node = page;
        for _ in 0..NODES_MAX {
            if let Ok(found) = node.get_deref(key, self.document) {
                return Some(found);
            }
            let parent = node.get_deref(b"Parent", self.document);
            node = parent.and_then(Object::as_dict).ok()?;
        }
        None
    }

    /// The size of a page in square points; A4 if it says none.
    fn area(&self, page: &'d Dictionary) -> f64 {
        let sides = self
            .inherited(page, b"MediaBox")
            .and_then(|it| it.as_array().ok());
        let side = |at: usize| {
            let side = self.document.dereference(sides?.get(at)?).ok()?.1;
            side.as_float().ok().map(f64::from)
        };
        let area = || Some((side(2)? - side(0)?) * (side(3)? - side(1)?));
        area().map_or(A4, f64::abs)
    }

    /// Tells pictures from forms among what is drawn by name.
    fn resolve(&self, shown: &mut Shown, resources: Option<&'d Object>) {
        let resources = resources.and_then(|it| it.as_dict().ok());
        let named = resources.and_then(|it| it.get_deref(b"XObject", self.document).ok());
        let Some(named) = named.and_then(|it| it.as_dict().ok()) else {
            return;
        };
        for (name, area) in std::mem::take(&mut shown.drawn) {
            let drawn = named.get_deref(&name, self.document);
            let Ok(drawn) = drawn.and_then(Object::as_stream) else {
                continue;
            };
            let kind = drawn.dict.get_deref(b"Subtype", self.document);
            match kind.and_then(Object::as_name) {
                Ok(b"Image") => shown.picture(area),
                Ok(b"Form") => shown.forms.push(std::ptr::from_ref(drawn).addr()),
                _ => {}
            }
        }
    }

    /// Forms, which pages and fields draw, and embedded files.
    fn others(&mut self) -> Result<(), Stopped> {
        let document = self.document;
        let streams = document
            .objects
            .values()
            .filter_map(|object| object.as_stream().ok());
        for stream in streams {
            let is = |key: &[u8], name: &[u8]| {
                let value = stream
                    .dict
                    .get_deref(key, document)
                    .and_then(Object::as_name);
                value.is_ok_and(|value| value == name)
            };
            if is(b"Subtype", b"Form") {
                let content = self.unpacked(stream)?;
                let fonts = fonts_of(&stream.dict, document);
                let (mut shown, _) = self.content(&content, fonts)?;
                let resources = stream.dict.get_deref(b"Resources", document);
                self.resolve(&mut shown, resources.ok());
                self.forms.insert(std::ptr::from_ref(stream).addr(), shown);
            } else if is(b"Type", b"EmbeddedFile") {
                let file = self.unpacked(stream)?;
                self.pdf.files.push(file);
            } else if is(b"Type", b"Metadata") {
                let about = self.unpacked(stream)?;
                let about = xml::to_text(&about, xml::Style::Properties).text;
                self.about.push_str(&about);
                self.about.push('\n');
            }
        }
        Ok(())
    }

    fn unpacked(&mut self, stream: &Stream) -> Result<Vec<u8>, Stopped> {
        self.budget.take_file()?;
        let unpacked = if stream.dict.has(b"Filter") {
            stream.decompressed_content_with_limit(self.budget.left())
        } else {
            Ok(stream.content.clone())
        };
        let unpacked = unpacked.map_err(|error| match error {
            lopdf::Error::Decompress(_) => Stopped::TooLarge,
            _ => Stopped::Malformed,
        })?;
        self.budget.take(unpacked.len())?;
        Ok(unpacked)
    }

    /// Reads what draws a page or a form.
    fn content(
        &mut self,
        content: &[u8],
        named: BTreeMap<Vec<u8>, &'d Dictionary>,
    ) -> Result<(Shown, Rows), Stopped> {
        self.budget.take(content.len())?;
        let fonts = self.fonts.count();
        let mut page = Page::new(&mut self.fonts, named);
        let whole = page.draw(content, self.octets_max.saturating_sub(self.pdf.text.len()));
        let shown = std::mem::take(&mut page.shown);
        let rows = std::mem::take(&mut page.rows);
        self.pdf.text.push_str(&page.text);
        self.pdf.text.push('\n');
        self.budget
            .take((self.fonts.count() - fonts) * FONT_OCTETS)?;
        whole.map(|()| (shown, rows))
    }

    /// Texts that the reading program draws or tells: notes, fields, titles, links, and what the document is.
    fn notes(&mut self) {
        let left = self.octets_max.saturating_sub(self.pdf.text.len());
        let mut notes = notes::of(self.document, left);
        for stream in std::mem::take(&mut notes.streams) {
            match self.unpacked(stream) {
                Ok(text) if xml::begins(&text) => {
                    notes.add(&xml::to_text(&text, xml::Style::Page).text);
                }
                Ok(text) => notes.add(&String::from_utf8_lossy(&text)),
                Err(stopped) => self.pdf.because.push(stopped.word()),
            }
        }
        notes.add(&self.about);
        let because = Stopped::TooLarge.word();
        if notes.is_cut && !self.pdf.because.contains(&because) {
            self.pdf.because.push(because);
        }
        self.pdf.text.push_str(&notes.text);
    }
}

/// The fonts that a form names.
fn fonts_of<'d>(form: &'d Dictionary, document: &'d Document) -> BTreeMap<Vec<u8>, &'d Dictionary> {
    let resources = form
        .get_deref(b"Resources", document)
        .and_then(Object::as_dict);
    let fonts = resources.and_then(|resources| resources.get_deref(b"Font", document)?.as_dict());
    let Ok(fonts) = fonts else {
        return BTreeMap::new();
    };
    let named = fonts.iter().filter_map(|(name, _)| {
        let font = fonts.get_deref(name, document).and_then(Object::as_dict);
        Some((name.clone(), font.ok()?))
    });
    named.collect()
}

/// Pages that are read.
const PAGES_MAX: usize = 10_000;
/// Notes and fields that are looked at in their places.
const FIELDS_MAX: usize = 100_000;
/// Nodes above a page that are asked for what it inherits.
const NODES_MAX: usize = 64;
/// The size of A4 in square points.
const A4: f64 = 595.0 * 842.0;
/// What a document may have outside its streams, and what packed objects may unpack to, in octets.
const OUTSIDE_MAX: usize = 8 << 20;
const UNPACKED_MAX: usize = 16 << 20;
/// Streams of packed objects.
const PACKED_MAX: usize = 4_000;
/// What a stream of packed objects, an object and a font cost of what may be unpacked, in octets: they are
/// unpacked by `lopdf`, which does not tell how much it was.
const PACKED_OCTETS: usize = 8 << 10;
const OBJECT_OCTETS: usize = 8;
const FONT_OCTETS: usize = 32 << 10;
/// Where the last line of a document is looked for, in octets from the end.
const TAIL_OCTETS: usize = 4096;
/// Octets of a name that are looked at.
const NAME_OCTETS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A document of one page, with a font of every program's and this content and more objects.
    fn document(content: &str, more: &str) -> Vec<u8> {
        let objects = [
            "1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n".to_owned(),
            "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n".to_owned(),
            "3 0 obj\n<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>\nendobj\n"
                .to_owned(),
            stream(4, "", content),
            "5 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>\nendobj\n"
                .to_owned(),
            more.to_owned(),
        ];
        let body = objects.concat();
        format!("%PDF-1.4\n{body}trailer\n<< /Root 1 0 R /Size 9 >>\n%%EOF\n").into_bytes()
    }

    fn stream(number: u32, keys: &str, content: &str) -> String {
        let length = content.len();
        format!(
            "{number} 0 obj\n<< {keys} /Length {length} >>\nstream\n{content}\nendstream\nendobj\n"
        )
    }

    fn read_all(octets: &[u8]) -> Pdf {
        read(octets, &mut Budget::new(1 << 20, 200), 1 << 20)
    }

    fn text(content: &str) -> String {
        let read = read_all(&document(content, ""));
        assert_eq!(read.because, [] as [&str; 0], "{content}");
        read.text.trim().to_owned()
    }

    #[test]
    fn text_is_read_as_it_stands_on_the_page() {
        for (content, expected) in [
            (
                "BT /F 10 Tf 0 700 Td (NHS) Tj 0 -12 Td (450) Tj ET",
                "NHS\n450",
            ),
            ("BT /F 10 Tf (45) Tj (0 557) Tj ET", "450 557"),
            ("BT /F 10 Tf [(4) -50 (50) -300 (557)] TJ ET", "450 557"),
            (
                "BT /F 10 Tf (450) Tj ET BT /F 10 Tf 16.3 0 Td (557) Tj ET",
                "450557",
            ),
            (
                "BT /F 10 Tf 1 0 0 1 0 0 Tm (4) Tj 1 0 0 1 5.4 0 Tm (5) Tj 1 0 0 1 10.8 0 Tm (0) Tj ET",
                "450",
            ),
            (
                "q 2 0 0 2 9 9 cm BT /F 10 Tf (4) Tj ET Q BT /F 20 Tf 1 0 0 1 20 9 Tm (5) Tj ET",
                "45",
            ),
            (
                "BT /F 10 Tf 0 1 -1 0 0 0 Tm (4) Tj 0 1 -1 0 0 5.4 Tm (5) Tj ET",
                "45",
            ),
            (
                "BT /F 10 Tf 12 TL (a) Tj T* (b) Tj (c) ' 1 2 (d) \" ET",
                "a\nb\nc\nd",
            ),
            ("BT /F 10 Tf <343530> Tj ET", "450"),
            ("BT (no font) Tj ET", "no font"),
        ] {
            assert_eq!(text(content), expected, "{content}");
        }
    }

    #[test]
    fn forms_and_notes_are_read_too() {
        let form = stream(
            6,
            "/Type /XObject /Subtype /Form /Resources << /Font << /F 5 0 R >> >>",
            "BT /F 9 Tf (in a form) Tj ET /Self Do",
        );
        let note = "7 0 obj\n<< /Type /Annot /Subtype /Text /Contents (in a note) >>\nendobj\n";
        let read = read_all(&document("BT /F 9 Tf (x) Tj ET", &format!("{form}{note}")));
        assert!(read.text.contains("in a form") && read.text.contains("in a note"));
        assert_eq!(read.because, [] as [&str; 0]);
    }

    #[test]
    fn what_is_said_of_a_document_and_what_its_fields_hold_is_read() {
        let said = |more: &str| read_all(&document("BT /F 9 Tf (x) Tj ET", more)).text;
        for (object, text) in [
            ("<< /Type /Annot /Subj (a) /T (b) >>", "\na"),
            ("<< /FT /Tx /T (NHS no) /V (450) >>", "NHS no: 450"),
            (
                "<< /FT /Ch /TU (NHS no) /V [(450) (557)] /Opt [[(1) (one)]] >>",
                "NHS no: 557",
            ),
            ("<< /FT /Ch /Opt [[(1) (one)] (two)] >>", "one\ntwo"),
            ("<< /Contents 8 0 R >>\nendobj\n8 0 obj\n(450)", "\n450"),
            ("<< /Type /Filespec /UF (list.csv) >>", "list.csv"),
            ("<< /S /JavaScript /JS (x = 450) >>", "x = 450"),
        ] {
            let read = said(&format!("7 0 obj\n{object}\nendobj\n"));
            assert!(read.contains(text), "{object}: {read}");
        }
        let packet = "<x:xmpmeta><rdf:Description pdf:Keywords=\"no 4505577104\"/><dc:title>of 450</dc:title></x:xmpmeta>";
        let read = said(&stream(7, "/Type /Metadata /Subtype /XML", packet));
        assert!(read.contains("Keywords: no 4505577104") && read.contains("title: of 450"));
        let rich = "<?xml version=\"1.0\"?><body><p>NHS <b>450</b> 557</p></body>";
        let rich = stream(8, "", rich);
        let read = said(&format!(
            "7 0 obj\n<< /Type /Annot /RC 8 0 R >>\nendobj\n{rich}"
        ));
        assert!(read.contains("NHS 450 557"), "{read}");
        let info = document(
            "BT /F 9 Tf (x) Tj ET",
            "7 0 obj\n<< /NHS#20no (450) >>\nendobj\n",
        );
        let info = String::from_utf8(info)
            .unwrap()
            .replace("/Root 1 0 R", "/Root 1 0 R /Info 7 0 R");
        assert!(read_all(info.as_bytes()).text.contains("NHS no: 450"));
    }

    #[test]
    fn what_many_keys_share_is_taken_no_more_often_than_there_is_room_for() {
        let long = "4505577104 ".repeat(2000);
        let page = |more: &str, notes: &str| {
            let page = document("BT /F 9 Tf (x) Tj ET", more);
            let page = String::from_utf8(page).unwrap();
            page.replace("/Parent 2 0 R", &format!("/Parent 2 0 R /Annots [{notes}]"))
        };
        let shown = |page: String| {
            let read = read(page.as_bytes(), &mut Budget::new(1 << 24, 200), 100_000);
            assert!(read.rows.len() < 200_000 && read.text.len() < 200_000);
            read
        };
        // One widget on the page, over and over.
        let widget = format!("7 0 obj\n<< /V ({long}) /Rect [100 698 200 712] >>\nendobj\n");
        shown(page(&widget, &"7 0 R ".repeat(50_000)));
        // One label for many values that there is no room for, and one value of many names.
        let values = "(4505577104)".repeat(20_000);
        let labelled = format!("7 0 obj\n<< /T ({long}) /V [{values}] >>\nendobj\n");
        shown(page(&labelled, ""));
        let named = format!("7 0 obj\n[{}]\nendobj\n", "1 ".repeat(20_000));
        let many = "<< /Opt 7 0 R >>".repeat(20_000);
        let read = shown(page(&format!("{named}8 0 obj\n[{many}]\nendobj\n"), ""));
        assert_eq!(read.because, ["too-large"]);
        // One script of many actions.
        let script = stream(7, "", "x = 450");
        let many = "<< /JS 7 0 R >>".repeat(1000);
        let read = shown(page(&format!("{script}8 0 obj\n[{many}]\nendobj\n"), ""));
        assert_eq!(read.text.matches("x = 450").count(), 1);
        assert_eq!(read.because, [] as [&str; 0]);
    }

    #[test]
    fn what_is_in_a_field_stands_in_its_line() {
        let field = "7 0 obj\n<< /Subtype /Widget /FT /Tx /V (4505577104) /Rect [100 698 200 712] >>\nendobj\n";
        let content = "BT /F 10 Tf 9 700 Td (NHS number) Tj 0 -300 Td (below) Tj ET";
        let page = String::from_utf8(document(content, field)).unwrap();
        let page = page.replace("/Parent 2 0 R", "/Parent 2 0 R /Annots [7 0 R]");
        let read = read_all(page.as_bytes());
        assert!(
            read.rows.contains("NHS number\t4505577104\n"),
            "{}",
            read.rows
        );
    }

    #[test]
    fn what_shows_no_text_that_can_be_read_is_an_image() {
        assert_eq!(
            read_all(&document("0 0 1 1 re f", "")).because,
            ["image-only"]
        );
        let wide = "6 0 obj\n<< /Type /Font /Subtype /Type0 /Encoding /Identity-H >>\nendobj\n";
        let glyphs = document(
            "BT /F 9 Tf (text) Tj /G 9 Tf <00010002000300040005000600070008000900100011> Tj ET",
            wide,
        );
        let glyphs = String::from_utf8(glyphs).unwrap();
        let glyphs = glyphs.replace("/F 5 0 R", "/F 5 0 R /G 6 0 R");
        assert_eq!(read_all(glyphs.as_bytes()).because, ["unknown-font"]);
    }

    #[test]
    fn what_unpacks_beyond_the_budget_is_too_large() {
        let read_within = |octets| {
            let long = format!("BT /F 9 Tf ({}) Tj ET", "x".repeat(5000));
            read(&document(&long, ""), &mut Budget::new(octets, 10), 1000).because
        };
        assert_eq!(read_within(100), ["too-large"]);
        assert_eq!(read_within(1000), ["too-large", "image-only"]);
        assert_eq!(read_within(100_000), ["too-large"]);
        let cells = "6 0 obj\n[".to_owned() + &"1 ".repeat(200_000) + "]\nendobj\n";
        assert_eq!(read_all(&document("", &cells)).because, ["too-large"]);
        let many = "/ObjStm ".repeat(PACKED_MAX + 1);
        assert_eq!(read_all(&document("", &many)).because, ["too-large"]);
        assert_eq!(
            packed_objects(b"/Obj#53tm /#4FbjStm /O#62 /Other#20 #53"),
            3
        );
    }

    #[test]
    fn nesting_does_not_break_off() {
        for open in ["[", "<<", "<</A", "("] {
            let deep = open.repeat(100_000);
            read_all(&document(&deep, &format!("8 0 obj\n{deep}\nendobj\n")));
        }
    }

    proptest! {
        #[test]
        fn any_content_is_drawn(content in "(BT|ET|Tj|TJ|Tf|/F|Td|Tm|\\(4\\)|<34>|\\[|\\]|<<|>>|-?[0-9]{1,3}|1e9|q|Q|cm| |\n){0,60}") {
            read_all(&document(&content, ""));
        }

        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..700) {
            read_all(&octets);
            let mut whole = document("BT /F 9 Tf (450) Tj ET", "");
            let at = at.min(whole.len() - 1);
            for (from, to) in octets.iter().take(9).zip(at..whole.len()) {
                whole[to] = *from;
            }
            read_all(&whole);
        }
    }
}
