//! Macro sheets of old workbooks (Excel 4.0, "XLM"): they run without any Visual Basic, so nothing else shows them.
//!
//! A workbook begins with a list of its sheets, each with its kind ([MS-XLS] 2.4.28, BoundSheet8). The list is looked
//! for by its first record and walked record by record; where the file has scattered it over its sectors
//! the walk ends early, and the rest is not seen.

use memchr::memmem;

/// Whether an old workbook has a macro sheet.
pub(super) fn has_macro_sheet(file: &[u8]) -> bool {
    memmem::find_iter(file, WORKBOOK).any(|at| names_macro_sheet(&file[at..]))
}

/// Walks the records of a workbook to the end of its first list.
fn names_macro_sheet(mut records: &[u8]) -> bool {
    for _ in 0..RECORDS_MAX {
        let Some((head, rest)) = records.split_first_chunk::<4>() else {
            return false;
        };
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let Some((record, rest)) = rest.split_at_checked(length) else {
            return false;
        };
        match kind {
            END => return false,
            BOUND_SHEET if record.get(5) == Some(&MACRO_SHEET) => return true,
            _ => records = rest,
        }
    }
    false
}

/// The first record of a workbook in BIFF8: BOF, 16 octets long, version 6.0, of the globals ([MS-XLS] 2.4.21).
const WORKBOOK: &[u8] = b"\x09\x08\x10\x00\x00\x06\x05\x00";
const BOUND_SHEET: u16 = 0x0085;
const END: u16 = 0x000A;
/// The kind of a sheet of macros.
const MACRO_SHEET: u8 = 1;
/// Records that are walked: fonts and formats stand before the sheets.
const RECORDS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u16, octets: &[u8]) -> Vec<u8> {
        let length = u16::try_from(octets.len()).unwrap();
        [&kind.to_le_bytes()[..], &length.to_le_bytes(), octets].concat()
    }

    fn workbook(sheet: u8) -> Vec<u8> {
        let begin = record(0x0809, &[&[0, 6, 5, 0][..], &[0; 12]].concat());
        let font = record(0x0031, &[0x85, 0, 8, 0, 0, 0, 0, 0, 0, 1]);
        let sheet = record(BOUND_SHEET, &[0, 0, 0, 0, 2, sheet, 1, 0, b'a']);
        [&b"before"[..], &begin, &font, &sheet, &record(END, b"")].concat()
    }

    #[test]
    fn a_macro_sheet_is_found_by_its_kind_and_nowhere_else() {
        assert!(has_macro_sheet(&workbook(MACRO_SHEET)));
        // A worksheet, a chart; octets within a font that look like a record.
        assert!(!has_macro_sheet(&workbook(0)) && !has_macro_sheet(&workbook(2)));
        let whole = workbook(MACRO_SHEET);
        assert!(!has_macro_sheet(&whole[..whole.len() - 10]));
        assert!(!has_macro_sheet(b""));
    }

    proptest! {
        #[test]
        fn any_octets_are_walked(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            has_macro_sheet(&[WORKBOOK, &octets].concat());
        }
    }
}
