//! What the reading program draws or tells by itself: notes, fields, titles, links, what is said of the document.

use std::collections::HashSet;
use std::ops::Range;

use lopdf::{Dictionary, Document, Object, Stream, decode_text_string};

/// Notes of a document.
pub(super) struct Notes<'d> {
    /// In lines.
    pub(super) text: String,
    /// Those that are streams.
    pub(super) streams: Vec<&'d Stream>,
    /// Whether there are more than were taken.
    pub(super) is_cut: bool,
    document: &'d Document,
    octets_max: usize,
    /// Octets of strings that may still be looked at: many keys may name one and the same.
    left: usize,
    /// Where the streams lie in memory.
    taken: HashSet<usize>,
}

/// Takes the notes out of all objects of a document, up to so many octets.
pub(super) fn of(document: &Document, octets_max: usize) -> Notes<'_> {
    let mut notes = Notes {
        text: String::new(),
        streams: Vec::new(),
        is_cut: false,
        document,
        octets_max,
        left: octets_max,
        taken: HashSet::new(),
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
        let mut values = Vec::new();
        for (key, value) in dictionary.iter() {
            if !NOTES.contains(&key.as_slice()) {
                continue;
            }
            if let Ok((_, Object::Stream(stream))) = self.document.dereference(value)
                && STREAMS.contains(&key.as_slice())
            {
                if self.taken.insert(std::ptr::from_ref(stream).addr()) {
                    self.streams.push(stream);
                }
            } else if key == b"V" {
                values = self.strings(value);
            } else {
                for text in self.strings(value) {
                    self.add(&text);
                }
            }
        }
        values.retain(|value| !value.is_empty());
        if values.is_empty() || self.is_full() {
            return;
        }
        let label = label_of(self.document, dictionary, &mut self.left);
        let label = label.map_or_else(String::new, |label| format!("{label}: "));
        for value in values {
            if self.is_full() {
                return;
            }
            self.add(&format!("{label}{value}"));
        }
    }

    fn is_full(&mut self) -> bool {
        self.is_cut |= self.left == 0 || self.text.len() >= self.octets_max;
        self.is_cut
    }

    fn strings(&mut self, value: &Object) -> Vec<String> {
        if self.is_full() {
            return Vec::new();
        }
        strings(self.document, value, usize::MAX, &mut self.left)
    }

    /// What is said of the document, each by its name (ISO 32000-1 §14.3.3): programs add names of their own.
    fn information(&mut self) {
        let information = self.document.trailer.get_deref(b"Info", self.document);
        let Ok(information) = information.and_then(Object::as_dict) else {
            return;
        };
        for (key, value) in information.iter() {
            for text in self.strings(value) {
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

/// What may still be looked at of the fields of a document: many places may show one and the same.
pub(super) struct FieldsLeft {
    /// Notes.
    pub(super) notes: usize,
    /// Octets of what they hold.
    pub(super) octets: usize,
}

/// The fields on a page that hold a text, among so many notes as are left to look at.
pub(super) fn fields(document: &Document, page: &Dictionary, left: &mut FieldsLeft) -> Vec<Field> {
    let annotations = page.get_deref(b"Annots", document);
    let annotations = annotations.and_then(Object::as_array).ok();
    let all = annotations.map_or(&[][..], Vec::as_slice);
    let looked_at = &all[..all.len().min(left.notes)];
    left.notes -= looked_at.len();
    let mut fields = Vec::new();
    for annotation in looked_at {
        if left.octets == 0 {
            break;
        }
        let annotation = document.dereference(annotation);
        if let Ok((_, Object::Dictionary(annotation))) = annotation {
            fields.extend(field(document, annotation, &mut left.octets));
        }
    }
    fields
}

fn field(document: &Document, annotation: &Dictionary, left: &mut usize) -> Option<Field> {
    let parent = || annotation.get_deref(b"Parent", document)?.as_dict();
    let value = annotation
        .get_deref(b"V", document)
        .or_else(|_| parent()?.get_deref(b"V", document))
        .ok()?;
    let value = strings(document, value, 1, left).pop()?;
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
fn label_of(document: &Document, dictionary: &Dictionary, left: &mut usize) -> Option<String> {
    [&b"TU"[..], b"T"].into_iter().find_map(|key| {
        let label = dictionary.get_deref(key, document).ok()?;
        strings(document, label, 1, left).pop()
    })
}

/// The strings of a value: itself, or those in it, no more than so many. What was looked at goes off `left`, and
/// nothing is looked at any more once that is used up.
fn strings(document: &Document, value: &Object, most: usize, left: &mut usize) -> Vec<String> {
    let value = document.dereference(value).map_or(value, |(_, it)| it);
    let mut found = Vec::new();
    for value in one_or_all(value) {
        *left = left.saturating_sub(1);
        for value in one_or_all(value) {
            if *left == 0 || found.len() == most {
                return found;
            }
            let string = value.as_str().unwrap_or_default();
            *left = left.saturating_sub(string.len() + 1);
            if matches!(value, Object::String(..)) {
                found.extend(decode_text_string(value));
            }
        }
    }
    found
}

fn one_or_all(value: &Object) -> &[Object] {
    match value {
        Object::Array(values) => values,
        one => std::slice::from_ref(one),
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
