//! Simple fonts: what each of the 256 codes of a font stands for, as far as the document says (ISO 32000-1
//! §9.6.6).
//!
//! A font that came with the document may draw any shape for any code. What nothing names, neither
//! `Encoding` with glyph names that everybody knows nor the font program itself, is unknown here: to read it by some
//! standard table would make words of it that nobody sees.

use lopdf::{Dictionary, Document, Encoding, Object, Stream};

/// What the codes of a font stand for; `None` where nobody here can tell.
pub(super) type Table = Vec<Option<String>>;

/// The table of a font, apart from its `ToUnicode`.
pub(super) fn table(font: &Dictionary, document: &Document) -> Table {
    let encoding = font.get_deref(b"Encoding", document).ok();
    let named = encoding.and_then(|encoding| encoding.as_name().ok());
    let listed = encoding.and_then(|encoding| encoding.as_dict().ok());
    let base = listed.and_then(|listed| {
        let base = listed.get_deref(b"BaseEncoding", document);
        base.and_then(Object::as_name).ok()
    });
    let mut table = match named.or(base) {
        Some(name) if KNOWN.contains(&name) => standard(name),
        _ => built_in(font, document),
    };
    let differences = listed.and_then(|listed| {
        let differences = listed.get_deref(b"Differences", document);
        differences.and_then(Object::as_array).ok()
    });
    put_differences(&mut table, differences.into_iter().flatten(), document);
    table
}

/// `[65 /A /B 48 /zero]`: codes, and the names of the glyphs from each on.
fn put_differences<'o>(
    table: &mut Table,
    differences: impl Iterator<Item = &'o Object>,
    document: &Document,
) {
    let mut code = 0;
    for object in differences.take(DIFFERENCES_MAX) {
        let object = document
            .dereference(object)
            .map_or(object, |(_, object)| object);
        match object {
            Object::Integer(from) => code = usize::try_from(*from).unwrap_or(table.len()),
            Object::Name(name) => {
                if let Some(cell) = table.get_mut(code) {
                    *cell = glyph(name);
                }
                code = code.saturating_add(1);
            }
            _ => {}
        }
    }
}

/// The table that a font has of itself: that of every program's fonts; of one that came with the document,
/// what its program says.
fn built_in(font: &Dictionary, document: &Document) -> Table {
    let is_drawn = font
        .get_deref(b"Subtype", document)
        .and_then(Object::as_name)
        .is_ok_and(|kind| kind == b"Type3");
    let descriptor = font.get_deref(b"FontDescriptor", document);
    let descriptor = descriptor.and_then(Object::as_dict).ok();
    let file = |key: &[u8]| {
        let file = descriptor?.get_deref(key, document);
        file.and_then(Object::as_stream).ok()
    };
    if let Some(program) = file(b"FontFile") {
        return of_type1(program);
    }
    let flags = descriptor.and_then(|it| it.get_deref(b"Flags", document).ok()?.as_i64().ok());
    let is_latin = flags.is_some_and(|flags| flags & NONSYMBOLIC != 0 && flags & SYMBOLIC == 0);
    let is_embedded = file(b"FontFile2").is_some() || file(b"FontFile3").is_some();
    if is_drawn || (is_embedded && !is_latin) {
        return vec![None; 256];
    }
    standard(b"StandardEncoding")
}

/// The table at the start of a Type 1 font program: `dup 49 /one put`, or the standard one.
fn of_type1(program: &Stream) -> Table {
    let mut table = vec![None; 256];
    let Ok(program) = program.get_plain_content_with_limit(PROGRAM_OCTETS_MAX) else {
        return table;
    };
    let end = memchr::memmem::find(&program, b"eexec").unwrap_or(program.len());
    let clear = String::from_utf8_lossy(&program[..end]);
    let Some((_, encoding)) = clear.split_once("/Encoding") else {
        return table;
    };
    if encoding.trim_start().starts_with("StandardEncoding") {
        return standard(b"StandardEncoding");
    }
    let words: Vec<&str> = encoding
        .split_ascii_whitespace()
        .take(DIFFERENCES_MAX * 4)
        .collect();
    for entry in words.windows(4) {
        let [b"dup", code, name, b"put"] =
            entry.iter().map(|it| it.as_bytes()).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        let code = std::str::from_utf8(code)
            .ok()
            .and_then(|it| it.parse::<usize>().ok());
        if let (Some(cell), Some(name)) = (
            code.and_then(|code| table.get_mut(code)),
            name.strip_prefix(b"/"),
        ) {
            *cell = glyph(name);
        }
    }
    table
}

/// A table that every program knows. A space is one also where the table has none (§D.2, note 6).
fn standard(name: &[u8]) -> Table {
    let font = font_with(Object::Name(name.to_vec()));
    let document = Document::new();
    let encoding = font.get_font_encoding_with_limit(&document, 0).ok();
    (0..=u8::MAX)
        .map(|code| {
            let text = encoding.as_ref()?.bytes_to_string(&[code]).ok()?;
            match (text.is_empty(), code) {
                (false, _) => Some(text),
                (true, 0..=32 | 160) => Some(" ".to_owned()),
                (true, 173) => Some("-".to_owned()),
                (true, _) => None,
            }
        })
        .collect()
}

/// The character of a glyph by its name (Adobe Glyph List): `one`, `one.tnum`, `uni0031`, `u1F600`.
fn glyph(name: &[u8]) -> Option<String> {
    let name = name.split(|octet| *octet == b'.').next()?;
    if name.is_empty() {
        // `.notdef`: nothing is drawn.
        return Some(String::new());
    }
    let hexadecimal = std::str::from_utf8(name).ok().and_then(|name| {
        let digits = name
            .strip_prefix("uni")
            .or_else(|| name.strip_prefix('u'))?;
        let is_number = (4..=6).contains(&digits.len());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
        char::from_u32(number)
    });
    if let Some(character) = hexadecimal {
        return Some(character.to_string());
    }
    // The list itself is in `lopdf`, which takes a table of differences for the standard one if it
    // knows a name in it not.
    let listed = vec![Object::Integer(65), Object::Name(name.to_vec())];
    let mut differences = Dictionary::new();
    differences.set("Differences", Object::Array(listed));
    let font = font_with(Object::Dictionary(differences));
    match font.get_font_encoding_with_limit(&Document::new(), 0) {
        Ok(encoding @ Encoding::Differences(_)) => encoding.bytes_to_string(b"A").ok(),
        _ => None,
    }
}

fn font_with(encoding: Object) -> Dictionary {
    let mut font = Dictionary::new();
    font.set("Type", Object::Name(b"Font".to_vec()));
    font.set("Encoding", encoding);
    font
}

/// Tables that every program knows (§D.1).
const KNOWN: &[&[u8]] = &[
    b"StandardEncoding",
    b"WinAnsiEncoding",
    b"MacRomanEncoding",
    b"MacExpertEncoding",
    b"PDFDocEncoding",
];
/// Entries of a table of differences that are looked at.
const DIFFERENCES_MAX: usize = 1024;
/// A font program that is looked into, in octets.
const PROGRAM_OCTETS_MAX: usize = 4 << 20;
/// Flags of a font (§9.8.2).
const SYMBOLIC: i64 = 1 << 2;
const NONSYMBOLIC: i64 = 1 << 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(table: &Table, codes: &[u8]) -> Vec<Option<String>> {
        codes
            .iter()
            .map(|code| table[usize::from(*code)].clone())
            .collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn glyphs_are_known_by_their_names() {
        for (name, character) in [
            ("one", Some("1")),
            ("one.tnum", Some("1")),
            ("uni0034", Some("4")),
            ("u1F600", Some("\u{1f600}")),
            (".notdef", Some("")),
            ("g12", None),
            ("C0001", None),
            ("glyph034", None),
            ("a7", None),
        ] {
            assert_eq!(glyph(name.as_bytes()).as_deref(), character, "{name}");
        }
    }

    #[test]
    fn a_table_is_the_standard_one_but_for_its_differences() {
        let mut differences = Dictionary::new();
        differences.set("BaseEncoding", Object::Name(b"WinAnsiEncoding".to_vec()));
        let list = ["seven", "g3"].map(|name| Object::Name(name.as_bytes().to_vec()));
        let list = [vec![Object::Integer(1)], list.to_vec()].concat();
        differences.set("Differences", Object::Array(list));
        let font = font_with(Object::Dictionary(differences));
        let table = table(&font, &Document::new());
        assert_eq!(shown(&table, &[1, 2, 52]), [some("7"), None, some("4")]);
    }

    #[test]
    fn a_font_of_the_document_s_own_is_read_by_its_program_alone() {
        let program = |text: &str| Stream::new(Dictionary::new(), text.as_bytes().to_vec());
        let own = program("/Encoding 256 array dup 1 /four put dup 2 /x99 put readonly def eexec");
        assert_eq!(shown(&of_type1(&own), &[1, 2, 52]), [some("4"), None, None]);
        let standard = program("/Encoding StandardEncoding def eexec");
        assert_eq!(shown(&of_type1(&standard), &[52]), [some("4")]);
        assert_eq!(shown(&of_type1(&program("")), &[52]), [None]);

        let mut drawn = Dictionary::new();
        drawn.set("Subtype", Object::Name(b"Type3".to_vec()));
        assert_eq!(shown(&table(&drawn, &Document::new()), &[52]), [None]);
        assert_eq!(
            shown(&table(&Dictionary::new(), &Document::new()), &[52]),
            [some("4")]
        );
    }
}
