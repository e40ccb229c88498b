//! What the reading program draws or tells by itself: notes, fields, titles, links, what is said of the document.

use std::ops::Range;

use lopdf::{Dictionary, Document, Object, Stream, decode_text_string};

/// Notes of a document.
pub(super) struct Notes<'d> {
    /// In lines.
    pub(super) text: String,
    /// Those that are streams.
    pub(super) streams: Vec<&'d Stream>,
    document: &'d Document,
    octets_max: usize,
}

/// Takes the notes out of all objects of a document, up to so many octets.
pub(super) fn of(document: &Document, octets_max: usize) -> Notes<'_> {
    let mut notes = Notes {
        text: String::new(),
        streams: Vec::new(),
        document,
        octets_max,
    };
    let mut left: Vec<&Object> = document.objects.values().collect();
    left.extend(document.trailer.iter().map(|(_, value)| value));
    while let Some(object) = left.pop() {
        let dictionary = match object {
            Object::Array(objects) => {
                left.extend(objects);
                continue;
            }
            Object::Dictionary(dictionary) => dictionary,
            Object::Stream(stream) => &stream.dict,
            _ => continue,
        };
        notes.dictionary(dictionary);
        let within = dictionary.iter().map(|(_, value)| value);
        left.extend(within.filter(|it| matches!(it, Object::Array(_) | Object::Dictionary(_))));
    }
    notes.information();
    notes
}

impl<'d> Notes<'d> {
    /// Adds a text on a line of its own.
    pub(super) fn add(&mut self, text: &str) {
        if !text.is_empty() && self.text.len() < self.octets_max {
            self.text.push('\n');
            self.text.push_str(text);
        }
    }

    fn dictionary(&mut self, dictionary: &'d Dictionary) {
        // The contents of a signature are none.
        if dictionary.has(b"ByteRange") {
            return;
        }
        for (key, value) in dictionary.iter() {
            if !NOTES.contains(&key.as_slice()) {
                continue;
            }
            if let Ok((_, Object::Stream(stream))) = self.document.dereference(value)
                && STREAMS.contains(&key.as_slice())
            {
                self.streams.push(stream);
                continue;
            }
            for text in strings(self.document, value) {
                match label_of(self.document, dictionary).filter(|_| key == b"V") {
                    Some(label) => self.add(&format!("{label}: {text}")),
                    None => self.add(&text),
                }
            }
        }
    }

    /// What is said of the document, each by its name (ISO 32000-1 §14.3.3): programs add names of their own.
    fn information(&mut self) {
        let information = self.document.trailer.get_deref(b"Info", self.document);
        let Ok(information) = information.and_then(Object::as_dict) else {
            return;
        };
        for (key, value) in information.iter() {
            for text in strings(self.document, value) {
                let key = String::from_utf8_lossy(key);
                self.add(&format!("{key}: {text}"));
            }
        }
    }
}

/// What a field of a form holds, and where that is shown.
pub(super) struct Field {
    pub(super) value: String,
    pub(super) x: Range<f64>,
    pub(super) y: f64,
    pub(super) size: f64,
}

/// The fields on a page that hold a text, among so many notes as are left to look at.
pub(super) fn fields(document: &Document, page: &Dictionary, left: &mut usize) -> Vec<Field> {
    let annotations = page.get_deref(b"Annots", document);
    let annotations = annotations.and_then(Object::as_array).ok();
    let all = annotations.map_or(&[][..], Vec::as_slice);
    let looked_at = &all[..all.len().min(*left)];
    *left -= looked_at.len();
    looked_at
        .iter()
        .filter_map(|it| field(document, document.dereference(it).ok()?.1.as_dict().ok()?))
        .collect()
}

fn field(document: &Document, annotation: &Dictionary) -> Option<Field> {
    let parent = || annotation.get_deref(b"Parent", document)?.as_dict();
    let value = annotation
        .get_deref(b"V", document)
        .or_else(|_| parent()?.get_deref(b"V", document))
        .ok()?;
    let value = strings(document, value).into_iter().next()?;
    let sides = annotation.get_deref(b"Rect", document).ok()?.as_array();
    let sides: Vec<f64> = sides
        .ok()?
        .iter()
        .filter_map(|side| document.dereference(side).ok()?.1.as_float().ok())
        .map(f64::from)
        .collect();
    let [x0, y0, x1, y1] = sides[..] else {
        return None;
    };
    let size = (y1 - y0).abs().min(LETTERS);
    Some(Field {
        value: value.lines().collect::<Vec<_>>().join(" "),
        x: x0.min(x1)..x0.max(x1),
        // The foot of letters that stand in the middle.
        y: (y0 + y1) / 2.0 - size * 0.35,
        size,
    })
}

/// What a field is called: as its reader is told, or by its name.
fn label_of(document: &Document, dictionary: &Dictionary) -> Option<String> {
    [&b"TU"[..], b"T"].into_iter().find_map(|key| {
        let label = dictionary.get_deref(key, document).ok()?;
        decode_text_string(label).ok()
    })
}

/// The strings of a value: itself, or those in it.
fn strings(document: &Document, value: &Object) -> Vec<String> {
    let value = document.dereference(value).map_or(value, |(_, it)| it);
    match value {
        Object::String(..) => decode_text_string(value).into_iter().collect(),
        Object::Array(values) => {
            let values = values.iter().flat_map(|value| match value {
                Object::Array(pair) => pair.iter().collect(),
                one => vec![one],
            });
            let strings = values.filter(|value| matches!(value, Object::String(..)));
            strings
                .filter_map(|it| decode_text_string(it).ok())
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Keys whose strings a reader may come to see.
const NOTES: &[&[u8]] = &[
    b"Contents",
    b"V",
    b"DV",
    b"RC",
    b"TU",
    b"Title",
    b"Subject",
    b"Subj",
    b"Author",
    b"Keywords",
    b"URI",
    b"ActualText",
    b"Alt",
    b"Desc",
    b"CA",
    b"T",
    b"Opt",
    b"UF",
    b"F",
    b"JS",
];
/// Keys whose text may be a stream.
const STREAMS: &[&[u8]] = &[b"RC", b"JS", b"V"];
/// The size of letters in a field with room for more, in points.
const LETTERS: f64 = 12.0;
