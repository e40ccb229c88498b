//! Rich text as text (RTF 1.9.1): what a reader of it sees, and on lines behind it what is in its notes for
//! programs. One pass over the octets; groups are kept in a list and not by recursion.
//!
//! Words in the middle of which the format changes stay whole. Deleted and hidden text is taken as well.

use encoding_rs::{Encoding, WINDOWS_1252};

/// What is to be read in a document.
#[derive(Default)]
pub(super) struct Text {
    /// Its text in lines.
    pub(super) text: String,
    /// The octets of embedded files.
    pub(super) objects: Vec<Vec<u8>>,
    /// Whether it was read to its end.
    pub(super) clean: bool,
}

/// Returns what is to be read in a document.
pub(super) fn to_text(octets: &[u8]) -> Text {
    let mut reader = Reader {
        octets,
        at: 0,
        group: Group {
            place: Place::Page,
            skip: 1,
        },
        groups: Vec::new(),
        charset: WINDOWS_1252,
        pending: Vec::new(),
        left_out: 0,
        surrogate: None,
        page: String::new(),
        aside: String::new(),
        object: Vec::new(),
        text: Text::default(),
    };
    while reader.step() {}
    reader.finish()
}

/// Where the text of a group goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Page,
    /// Fields, properties, unknown destinations: behind the page.
    Aside,
    /// An embedded file in hexadecimal digits.
    Object,
    /// Fonts, colours, pictures.
    Nowhere,
}

#[derive(Clone, Copy)]
struct Group {
    place: Place,
    /// Characters that stand in for a Unicode one behind it (`\ucN`).
    skip: usize,
}

struct Reader<'r> {
    octets: &'r [u8],
    at: usize,
    group: Group,
    groups: Vec<Group>,
    charset: &'static Encoding,
    /// Octets of the charset of the document, not decoded yet.
    pending: Vec<u8>,
    /// Characters still to be left out behind a Unicode one.
    left_out: usize,
    /// The first half of a character beyond U+FFFF.
    surrogate: Option<u16>,
    page: String,
    aside: String,
    object: Vec<u8>,
    text: Text,
}

impl Reader<'_> {
    /// Reads one sign; false at the end of the document.
    fn step(&mut self) -> bool {
        let Some(octet) = self.octets.get(self.at).copied() else {
            return false;
        };
        self.at += 1;
        match octet {
            b'{' => self.open(),
            b'}' => return self.close(),
            b'\\' => self.control(),
            b'\r' | b'\n' => {}
            _ => self.octet(octet),
        }
        true
    }

    fn open(&mut self) {
        self.flush();
        self.groups.push(self.group);
        if self.group.place == Place::Object {
            self.end_object();
        }
    }

    /// False where the outermost group ends: what follows is no part of the document.
    fn close(&mut self) -> bool {
        self.flush();
        self.left_out = 0;
        if self.group.place == Place::Object {
            self.end_object();
        }
        if self.group.place == Place::Aside {
            end_line(&mut self.aside);
        }
        let Some(outer) = self.groups.pop() else {
            return false;
        };
        self.group = outer;
        self.text.clean = self.groups.is_empty();
        !self.text.clean
    }

    /// What follows a backslash.
    fn control(&mut self) {
        let Some(sign) = self.octets.get(self.at).copied() else {
            return;
        };
        if sign.is_ascii_alphabetic() {
            return self.word();
        }
        self.at += 1;
        match sign {
            b'\'' => self.hexadecimal(),
            b'\\' | b'{' | b'}' => self.octet(sign),
            b'~' => self.push('\u{a0}'),
            b'_' => self.push('-'),
            b'\r' | b'\n' => self.push('\n'),
            // An unknown destination may be left out by readers, and is read all the same.
            b'*' => self.go(Place::Aside),
            _ => {}
        }
    }

    fn hexadecimal(&mut self) {
        let digits = self.octets.get(self.at..self.at + 2).unwrap_or_default();
        let octet = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(octet) = octet {
            self.at += 2;
            self.octet(octet);
        }
    }

    /// A control word with its number, and the one space that ends it.
    fn word(&mut self) {
        let rest = &self.octets[self.at..];
        let count = |from: &[u8], is: fn(&u8) -> bool| from.iter().take_while(|o| is(o)).count();
        let name_len = count(rest, u8::is_ascii_alphabetic);
        let (name, rest) = rest.split_at(name_len);
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = count(&rest[sign..], u8::is_ascii_digit);
        let number_len = if digits > 0 { sign + digits } else { 0 };
        let number = std::str::from_utf8(&rest[..number_len]).ok();
        let number = number.and_then(|number| number.parse::<i32>().ok());
        let space = usize::from(rest.get(number_len) == Some(&b' '));
        self.at += name_len + number_len + space;
        self.obey(name, number);
    }

    fn obey(&mut self, name: &[u8], number: Option<i32>) {
        let count = usize::try_from(number.unwrap_or(0)).unwrap_or(0);
        match name {
            b"par" | b"line" | b"row" | b"sect" | b"page" | b"nestrow" => self.push('\n'),
            b"tab" | b"cell" | b"nestcell" => self.push('\t'),
            b"u" => self.unicode(number.unwrap_or(0)),
            b"uc" => self.group.skip = count.min(SKIP_MAX),
            b"bin" => self.at = self.at.saturating_add(count).min(self.octets.len()),
            b"ansicpg" => self.charset = charset_of(count),
            b"mac" => self.charset = encoding_rs::MACINTOSH,
            b"endash" | b"emdash" => self.push('-'),
            b"emspace" | b"enspace" | b"qmspace" => self.push(' '),
            b"objdata" => self.go(Place::Object),
            _ if NOWHERE.contains(&name) => self.go(Place::Nowhere),
            _ if PAGE.contains(&name) => self.go(Place::Page),
            _ if ASIDE.contains(&name) => self.go(Place::Aside),
            _ => {}
        }
    }

    fn unicode(&mut self, number: i32) {
        self.flush();
        // Negative above 32767 (`\u-10179`).
        let unit = u16::try_from(number.rem_euclid(0x1_0000)).unwrap_or(0);
        let units = self.surrogate.take().into_iter().chain([unit]);
        match char::decode_utf16(units).last() {
            Some(Ok(c)) => self.push(c),
            _ if (0xD800..0xDC00).contains(&unit) => self.surrogate = Some(unit),
            _ => self.push(char::REPLACEMENT_CHARACTER),
        }
        self.left_out = self.group.skip;
    }

    /// An octet of text.
    fn octet(&mut self, octet: u8) {
        if self.left_out > 0 {
            self.left_out -= 1;
        } else if self.group.place == Place::Object {
            self.object.push(octet);
        } else if self.group.place != Place::Nowhere {
            self.pending.push(octet);
        }
    }

    fn push(&mut self, c: char) {
        self.flush();
        match self.group.place {
            Place::Page => self.page.push(c),
            Place::Aside => self.aside.push(c),
            Place::Object | Place::Nowhere => {}
        }
    }

    /// Decodes what has come together.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (text, _) = self.charset.decode_without_bom_handling(&self.pending);
        match self.group.place {
            Place::Aside => self.aside.push_str(&text),
            _ => self.page.push_str(&text),
        }
        self.pending.clear();
    }

    fn go(&mut self, place: Place) {
        self.flush();
        self.group.place = place;
    }

    /// Takes out what is embedded: a file behind the header of its container.
    fn end_object(&mut self) {
        let digits = std::mem::take(&mut self.object);
        let digits: Vec<u8> = digits.iter().filter_map(|octet| digit(*octet)).collect();
        let object: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        let start = FILES
            .iter()
            .filter_map(|file| memchr::memmem::find(&object, file));
        if let Some(start) = start.min() {
            self.text.objects.push(object[start..].to_vec());
        } else if !object.is_empty() {
            self.text.objects.push(object);
        }
    }

    fn finish(mut self) -> Text {
        self.flush();
        self.end_object();
        // Plain text behind the document is shown by nobody who reads rich text, but by others.
        let behind = self.octets.get(self.at..).unwrap_or_default();
        end_line(&mut self.page);
        self.page.push_str(&self.aside);
        end_line(&mut self.page);
        self.page.push_str(&String::from_utf8_lossy(behind));
        self.text.text = self.page.replace('\0', "");
        self.text
    }
}

fn end_line(text: &mut String) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
}

fn digit(octet: u8) -> Option<u8> {
    let value = char::from(octet).to_digit(16)?;
    u8::try_from(value).ok()
}

/// The charset of a code page of Windows'.
fn charset_of(page: usize) -> &'static Encoding {
    let label = match page {
        65001 => "utf-8".to_owned(),
        932 => "shift_jis".to_owned(),
        936 => "gbk".to_owned(),
        949 => "euc-kr".to_owned(),
        950 => "big5".to_owned(),
        10000 => "macintosh".to_owned(),
        page => format!("windows-{page}"),
    };
    Encoding::for_label(label.as_bytes()).unwrap_or(WINDOWS_1252)
}

/// Destinations that hold no words.
const NOWHERE: &[&[u8]] = &[
    b"fonttbl",
    b"colortbl",
    b"stylesheet",
    b"pict",
    b"listtable",
    b"listoverridetable",
    b"rsidtbl",
    b"themedata",
    b"colorschememapping",
    b"latentstyles",
    b"datastore",
    b"generator",
    b"blipuid",
    b"panose",
    b"falt",
    b"objclass",
    b"xmlnstbl",
    b"pgptbl",
    b"mmathPr",
    b"wgrffmtfilter",
];
/// Destinations whose text is on the page, within such as are not.
const PAGE: &[&[u8]] = &[
    b"fldrslt",
    b"shptxt",
    b"footnote",
    b"header",
    b"headerl",
    b"headerr",
    b"headerf",
    b"footer",
    b"footerl",
    b"footerr",
    b"footerf",
    b"annotation",
    b"result",
];
/// Destinations whose text a reader may come to see.
const ASIDE: &[&[u8]] = &[
    b"info",
    b"title",
    b"subject",
    b"author",
    b"keywords",
    b"comment",
    b"doccomm",
    b"fldinst",
];
/// How files begin that are embedded: ZIP, PDF, old Office, rich text.
const FILES: &[&[u8]] = &[
    b"PK\x03\x04",
    b"%PDF-",
    b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1",
    b"{\\rtf",
];
/// More characters than this stand in for none.
const SKIP_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(rtf: &str) -> String {
        to_text(rtf.as_bytes()).text
    }

    #[test]
    fn a_reader_sees_text_in_lines() {
        for (rtf, expected) in [
            ("{\\rtf1\\ansi hello\\par world}", "hello\nworld\n"),
            (
                "{\\rtf1 {\\fonttbl{\\f0 Arial;}}450 {\\b 557} 71\\b0 04}",
                "450 557 7104\n",
            ),
            ("{\\rtf1 450\\~557\\_7104}", "450\u{a0}557-7104\n"),
            ("{\\rtf1\\ansicpg1251 \\'cf\\u1087?x}", "\u{41f}\u{43f}x\n"),
            ("{\\rtf1\\uc0\\u52\\u53}", "45\n"),
            ("{\\rtf1 \\u-10179?\\u-8704?}", "\u{1f600}\n"),
            ("{\\rtf1 a\\cell b\\row}", "a\tb\n"),
            ("{\\rtf1 4\r\n50}", "450\n"),
            ("{\\rtf1 x{\\*\\unknown NHS 943}y}", "xy\nNHS 943\n"),
            (
                "{\\rtf1 {\\field{\\*\\fldinst HYPERLINK x}{\\fldrslt 943}}}",
                "943\nHYPERLINK x\n",
            ),
            ("{\\rtf1 {\\pict\\bin4 }}}}}x}", "x\n"),
            ("{\\rtf1 \\v hidden}", "hidden\n"),
            ("{\\rtf1 a} behind", "a\n behind"),
        ] {
            assert_eq!(text(rtf), expected, "{rtf}");
            assert!(to_text(rtf.as_bytes()).clean, "{rtf}");
        }
        assert!(!to_text(b"{\\rtf1 cut {\\b off").clean);
    }

    #[test]
    fn embedded_files_are_taken_out() {
        let rtf = "{\\rtf1 x{\\object{\\*\\objdata 0102\n504b0304 41}}}";
        assert_eq!(to_text(rtf.as_bytes()).objects, [b"PK\x03\x04A"]);
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            to_text(&octets);
        }

        #[test]
        fn anything_like_rich_text_is_read(rtf in "(\\{|\\}|\\\\|\\\\u|\\\\'|\\\\bin|\\\\uc|-|[0-9a-f]|objdata|pict|\\*| |é){0,40}") {
            to_text(rtf.as_bytes());
            to_text(format!("{{\\rtf1{rtf}").as_bytes());
        }
    }
}
