//! Numbers, texts and days as the sections of an index have them.
//!
//! Numbers are little-endian. Everything is read through the functions below, which answer `None`
//! where the octets do not reach: whatever a file holds, reading it cannot panic.

use jiff::civil::Date;

/// The number that begins at octet `at`.
pub(super) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    let octets = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(octets.try_into().ok()?))
}

/// The `N` numbers of record `index` in a row of records.
pub(super) fn record_at<const N: usize>(octets: &[u8], index: u32) -> Option<[u32; N]> {
    let start = (index as usize).checked_mul(N * 4)?;
    let octets = octets.get(start..start.checked_add(N * 4)?)?;
    let mut numbers = [0; N];
    for (number, octets) in numbers.iter_mut().zip(octets.chunks_exact(4)) {
        *number = u32::from_le_bytes(octets.try_into().ok()?);
    }
    Some(numbers)
}

/// Writes what [`record_at`] reads.
pub(super) fn push_record<const N: usize>(octets: &mut Vec<u8>, numbers: [u32; N]) {
    octets.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
}

/// The number with index `index` in a row of numbers.
pub(super) fn nth_u32(octets: &[u8], index: usize) -> Option<u32> {
    u32_at(octets, index.checked_mul(4)?)
}

/// Reads octets from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'o> {
    octets: &'o [u8],
}

impl<'o> Reader<'o> {
    /// From octet `at` on; nothing if they do not reach so far.
    pub(super) fn at(octets: &'o [u8], at: u32) -> Self {
        let octets = octets.get(at as usize..).unwrap_or_default();
        Self { octets }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.octets.is_empty()
    }

    /// A number of 7 bits an octet, the lowest first.
    pub(super) fn number(&mut self) -> Option<u32> {
        let mut number = 0_u64;
        for shift in (0..35).step_by(7) {
            let (first, rest) = self.octets.split_first()?;
            self.octets = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    /// A text after its length.
    pub(super) fn text(&mut self) -> Option<&'o str> {
        std::str::from_utf8(self.skip()?).ok()
    }

    /// The octets of a text that nobody asks for.
    pub(super) fn skip(&mut self) -> Option<&'o [u8]> {
        let length = self.number()? as usize;
        let (text, rest) = self.octets.split_at_checked(length)?;
        self.octets = rest;
        Some(text)
    }
}

/// Writes what [`Reader::number`] reads.
pub(super) fn push_number(octets: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        octets.push(number as u8 | 0x80);
        number >>= 7;
    }
    octets.push(number as u8);
}

/// Writes what [`Reader::text`] reads.
pub(super) fn push_text(octets: &mut Vec<u8>, text: &str) {
    // Longer than that is no text of a table: `Builder` refuses tables of 4 GiB.
    push_number(octets, u32::try_from(text.len()).unwrap_or(u32::MAX));
    octets.extend(text.as_bytes());
}

/// A day as a number that compares as days do; no day is 0.
pub(super) fn pack_date(date: Option<Date>) -> u32 {
    date.map_or(0, |date| {
        let year = u32::try_from(i32::from(date.year()) + YEARS).unwrap_or(0);
        year << 9 | (date.month().unsigned_abs() as u32) << 5 | date.day().unsigned_abs() as u32
    })
}

/// What [`pack_date`] was given.
pub(super) fn unpack_date(packed: u32) -> Option<Date> {
    if packed == 0 {
        return None; // the most frequent one; an error of `jiff` is not for nothing
    }
    let year = i32::try_from(packed >> 9).ok()? - YEARS;
    let (month, day) = (packed >> 5 & 0xf, packed & 0x1f);
    let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
    Date::new(i16::try_from(year).ok()?, month, day).ok()
}

/// Years are counted from here, so that none is below 1.
const YEARS: i32 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_compare_as_their_numbers() {
        let days = [
            "-009999-01-01",
            "1999-12-31",
            "2000-01-01",
            "2026-11-21",
            "9999-12-31",
        ];
        let days = days.map(|day| Some(day.parse::<Date>().unwrap()));
        let packed = days.map(pack_date);
        assert!(packed.is_sorted() && packed[0] > pack_date(None));
        assert_eq!(packed.map(unpack_date), days);
        assert_eq!(unpack_date(0), None);
    }

    proptest! {
        #[test]
        fn numbers_and_texts_are_read_as_they_were_written(number: u32, text in "\\PC{0,200}") {
            let mut octets = Vec::new();
            push_number(&mut octets, number);
            push_text(&mut octets, &text);
            let mut reader = Reader::at(&octets, 0);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.text(), Some(text.as_str()));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_octets_can_be_read(octets in prop::collection::vec(any::<u8>(), 0..200), at: u32) {
            let mut reader = Reader::at(&octets, at % 250);
            while reader.number().is_some() && reader.text().is_some() {}
            let _ = unpack_date(at);
        }
    }
}
