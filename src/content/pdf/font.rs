//! Fonts: which characters the codes of a string stand for, and how wide they are (ISO 32000-1 §9.6–9.10).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::simple::{self, Table};

/// The fonts of a document, each read once.
pub(super) struct Fonts<'d> {
    document: &'d Document,
    read: HashMap<*const Dictionary, Rc<Font<'d>>>,
}

/// How strings in one font are read.
pub(super) struct Font<'d> {
    /// By code: of a simple font, by `ToUnicode` where that says anything, else by its table.
    simple: Table,
    /// Of a font of two octets a character, by `ToUnicode`.
    unicode: Option<Encoding<'static>>,
    /// By `Encoding`.
    encoding: Option<Encoding<'d>>,
    /// Two octets a character.
    is_wide: bool,
    /// In thousandths of the size of the font.
    widths: BTreeMap<u32, f64>,
    width: Option<f64>,
    /// What was shown of it and is unknown.
    unknown: RefCell<Unknown>,
}

/// Characters of a font of which nobody here can tell what they look like.
#[derive(Default)]
struct Unknown {
    shown: usize,
    /// Different ones, the first few.
    codes: BTreeSet<u32>,
}

impl<'d> Fonts<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            read: HashMap::new(),
        }
    }

    /// Whether one of them showed text that nobody here can read.
    pub(super) fn hide_text(&self) -> bool {
        self.read.values().any(|font| font.hides_text())
    }

    /// How many were read.
    pub(super) fn count(&self) -> usize {
        self.read.len()
    }

    pub(super) fn of(&mut self, font: &'d Dictionary) -> Rc<Font<'d>> {
        let document = self.document;
        let read = self.read.entry(std::ptr::from_ref(font));
        Rc::clone(read.or_insert_with(|| Rc::new(Font::read(font, document))))
    }
}

impl<'d> Font<'d> {
    fn read(font: &'d Dictionary, document: &'d Document) -> Self {
        let name = |key: &[u8]| font.get_deref(key, document).and_then(Object::as_name);
        let is_wide = name(b"Subtype").is_ok_and(|kind| kind == b"Type0");
        let is_identity = name(b"Encoding").is_ok_and(|name| name.starts_with(b"Identity"));
        let unicode = unicode(font, document);
        let encoding = font.get_font_encoding_with_limit(document, MAP_OCTETS_MAX);
        let encoding = encoding.ok().filter(|_| is_wide && !is_identity);
        let mut read = Self {
            simple: match is_wide {
                true => Table::new(),
                false => simple_table(font, document, unicode.as_ref()),
            },
            unicode: unicode.filter(|_| is_wide),
            encoding,
            is_wide,
            widths: BTreeMap::new(),
            width: None,
            unknown: RefCell::default(),
        };
        if is_wide {
            read.wide_widths(font, document);
        } else {
            read.simple_widths(font, document);
        }
        read
    }

    fn simple_widths(&mut self, font: &Dictionary, document: &Document) {
        let first = font
            .get_deref(b"FirstChar", document)
            .and_then(Object::as_i64);
        let widths = font
            .get_deref(b"Widths", document)
            .and_then(Object::as_array);
        let first = u32::try_from(first.unwrap_or(0)).unwrap_or(0);
        for (width, code) in widths.into_iter().flatten().zip(first..).take(WIDTHS_MAX) {
            self.put(code, width, document);
        }
        let base = font
            .get_deref(b"BaseFont", document)
            .and_then(Object::as_name);
        if base.is_ok_and(|name| name.starts_with(b"Courier")) {
            self.width = Some(600.0);
        }
    }

    /// `W`: `first [w w w]` or `first last w` (§9.7.4.3).
    fn wide_widths(&mut self, font: &Dictionary, document: &Document) {
        let children = font
            .get_deref(b"DescendantFonts", document)
            .and_then(Object::as_array);
        let child = children.ok().and_then(|children| children.first());
        let child = child.and_then(|child| document.dereference(child).ok());
        let Some(child) = child.and_then(|(_, child)| child.as_dict().ok()) else {
            return;
        };
        let usual = child.get_deref(b"DW", document).and_then(Object::as_float);
        self.width = Some(usual.map_or(1000.0, f64::from));
        let widths = child.get_deref(b"W", document).and_then(Object::as_array);
        let mut widths = widths.into_iter().flatten();
        while let Some(first) = widths.next() {
            let first = first
                .as_i64()
                .ok()
                .and_then(|first| u32::try_from(first).ok());
            let (Some(first), Some(next)) = (first, widths.next()) else {
                return;
            };
            let next = document.dereference(next).map_or(next, |(_, next)| next);
            if let Ok(list) = next.as_array() {
                for (width, code) in list.iter().zip(first..) {
                    self.put(code, width, document);
                }
            } else if let (Ok(last), Some(width)) = (next.as_i64(), widths.next()) {
                let last = u32::try_from(last).unwrap_or(0);
                for code in (first..=last).take(WIDTHS_MAX) {
                    self.put(code, width, document);
                }
            }
        }
    }

    fn put(&mut self, code: u32, width: &Object, document: &Document) {
        let width = document
            .dereference(width)
            .map_or(width, |(_, width)| width);
        if let (Ok(width), true) = (width.as_float(), self.widths.len() < WIDTHS_MAX) {
            self.widths.insert(code, f64::from(width));
        }
    }

    /// The characters of a string; U+FFFD for each of which nobody can tell what it is.
    pub(super) fn text(&self, string: &[u8]) -> String {
        if !self.is_wide {
            return string.iter().map(|code| self.of_code(*code)).collect();
        }
        let by = |encoding: &Option<Encoding<'_>>| encoding.as_ref()?.bytes_to_string(string).ok();
        let Some(text) = by(&self.unicode).or_else(|| by(&self.encoding)) else {
            for code in string.chunks(2) {
                self.is_unknown(number_of(code));
            }
            return char::REPLACEMENT_CHARACTER.to_string();
        };
        let codes = string.chunks(2).map(number_of);
        for (character, code) in text.chars().zip(codes.chain(std::iter::repeat(0))) {
            if says_nothing(character) {
                self.is_unknown(code);
            }
        }
        text.replace('\0', "\u{fffd}")
    }

    fn of_code(&self, code: u8) -> &str {
        if let Some(Some(text)) = self.simple.get(usize::from(code)) {
            return text;
        }
        self.is_unknown(u32::from(code));
        "\u{fffd}"
    }

    fn is_unknown(&self, code: u32) {
        let mut unknown = self.unknown.borrow_mut();
        unknown.shown += 1;
        if unknown.codes.len() < UNKNOWN_CODES {
            unknown.codes.insert(code);
        }
    }

    /// Whether so much of it was shown and is unknown that a number could be among it. A bullet, and a space
    /// that the map leaves out, are none.
    fn hides_text(&self) -> bool {
        let unknown = self.unknown.borrow();
        unknown.shown >= UNKNOWN_MIN && unknown.codes.len() >= UNKNOWN_CODES
    }

    /// The widths of the characters of a string, in thousandths, and whether each is a space.
    pub(super) fn widths(&self, string: &[u8]) -> impl Iterator<Item = (f64, bool)> {
        let octets = if self.is_wide { 2 } else { 1 };
        string.chunks(octets).map(move |code| {
            let value = number_of(code);
            let width = self.widths.get(&value).copied().or(self.width);
            (
                width.unwrap_or_else(|| usual_width(value)),
                !self.is_wide && value == 32,
            )
        })
    }
}

/// The table of a simple font, and over it what `ToUnicode` says.
fn simple_table(
    font: &Dictionary,
    document: &Document,
    unicode: Option<&Encoding<'static>>,
) -> Table {
    let mut table = simple::table(font, document);
    for (code, cell) in (0..=u8::MAX).zip(&mut table) {
        let text = unicode.and_then(|map| map.bytes_to_string(&[code]).ok());
        if let Some(text) = text.filter(|text| !text.is_empty() && !text.contains(says_nothing)) {
            *cell = Some(text);
        }
    }
    table
}

/// Whether a character of a map is no character: none of these is on any page.
fn says_nothing(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{fffd}' | '\u{e000}'..='\u{f8ff}')
}

fn number_of(code: &[u8]) -> u32 {
    code.iter()
        .fold(0, |value, octet| value << 8 | u32::from(*octet))
}

/// The map of a font to Unicode, if it has one (§9.10.3).
fn unicode(font: &Dictionary, document: &Document) -> Option<Encoding<'static>> {
    font.get(b"ToUnicode").ok()?;
    let mut without = font.clone();
    without.remove(b"Encoding");
    match without.get_font_encoding_with_limit(document, MAP_OCTETS_MAX) {
        Ok(Encoding::UnicodeMapEncoding(map)) => Some(Encoding::UnicodeMapEncoding(map)),
        _ => None,
    }
}

/// About how wide a character is in the fonts that every program has (§9.6.2.2).
fn usual_width(code: u32) -> f64 {
    match u8::try_from(code).unwrap_or(b'x') {
        b' ' | b'.' | b',' | b':' | b';' | b'\'' | b'i' | b'j' | b'l' | b'!' | b'|' => 260.0,
        b'f' | b't' | b'r' | b'(' | b')' | b'-' | b'[' | b']' | b'I' => 320.0,
        b'm' | b'w' | b'M' | b'W' | b'@' | b'%' => 850.0,
        b'A'..=b'Z' => 690.0,
        _ => 540.0,
    }
}

/// The most that a map to Unicode may unpack to, in octets.
const MAP_OCTETS_MAX: usize = 512 << 10;
/// Widths that are kept of one font.
const WIDTHS_MAX: usize = 0x1_0000;
/// From so many unknown characters of a font on, and so many different ones, a number could be among them: ten
/// digits, of which at least three differ.
const UNKNOWN_MIN: usize = 10;
const UNKNOWN_CODES: usize = 3;
