//! Times as people type them: RFC 3339, also cut short, which then stands for all of what it names.

use jiff::{SignedDuration, Timestamp};

/// The stretch of time that a text names, from and up to without: `2026-11-22` is a day, `2026-11-22T06` an hour,
/// `2026-11-22T06:59` a minute; a whole time is its second, and one with a fraction its millisecond, as events bear it.
/// An offset may follow each of them (`2026-11-22T06:59+01:00`); without one it is universal time. `None` if it is no
/// time.
pub(super) fn stretch(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (bare, offset) = apart(text)?;
    if !is_of_form(bare) {
        return None;
    }
    let length = match bare.len() {
        10 => SignedDuration::from_hours(24),
        13 => SignedDuration::from_hours(1),
        16 => SignedDuration::from_mins(1),
        19 => SignedDuration::from_secs(1),
        _ => SignedDuration::from_millis(1),
    };
    let rest = FORM.get(bare.len()..).unwrap_or_default();
    let start: Timestamp = format!("{bare}{rest}{offset}").parse().ok()?;
    let start = Timestamp::from_millisecond(start.as_millisecond()).ok()?;
    Some((start, start.checked_add(length).ok()?))
}

/// The same for the bounds of a longer stretch, where a whole time is that moment and no more.
pub(super) fn bounds(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (start, end) = stretch(text)?;
    let is_whole = end.duration_since(start) <= SignedDuration::from_secs(1);
    Some((start, if is_whole { start } else { end }))
}

/// What comes before the offset, and the offset, which may be left out. The signs within a date come earlier.
fn apart(text: &str) -> Option<(&str, &str)> {
    let time = text.get(DATE..)?;
    match time.find(['Z', 'z', '+', '-']) {
        Some(at) => Some(text.split_at(DATE + at)),
        None => Some((text, "Z")),
    }
}

/// Whether it is a date, or one with hour, minute, second and a fraction, as far as it goes.
fn is_of_form(bare: &str) -> bool {
    let fits = |(is, form): (char, char)| match form {
        '0' => is.is_ascii_digit(),
        'T' => matches!(is, 'T' | 't' | ' '),
        sign => is == sign,
    };
    let ends = match bare.get(FORM.len()..) {
        None => matches!(bare.len(), DATE | 13 | 16),
        Some(fraction) => fraction.is_empty() || fraction.starts_with(['.', ',']),
    };
    ends && bare.chars().zip(FORM.chars()).all(fits)
}

/// A whole time, without its offset.
const FORM: &str = "0000-00-00T00:00:00";
/// Octets of a date.
const DATE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::TraceQuery;
    use proptest::prelude::*;

    #[test]
    fn a_time_stands_for_all_of_what_it_names() {
        for (text, from, to) in [
            ("2026-11-22", "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (
                "2026-11-22T06",
                "2026-11-22T06:00:00Z",
                "2026-11-22T07:00:00Z",
            ),
            (
                "2026-11-22T06:59Z",
                "2026-11-22T06:59:00Z",
                "2026-11-22T07:00:00Z",
            ),
            (
                "2026-11-22 06:59:30",
                "2026-11-22T06:59:30Z",
                "2026-11-22T06:59:31Z",
            ),
            (
                "2026-11-22T07:59:30+01:00",
                "2026-11-22T06:59:30Z",
                "2026-11-22T06:59:31Z",
            ),
            (
                "2026-11-22T06:59:30.25Z",
                "2026-11-22T06:59:30.25Z",
                "2026-11-22T06:59:30.251Z",
            ),
            (
                "2026-11-22T07:59+01:00",
                "2026-11-22T06:59:00Z",
                "2026-11-22T07:00:00Z",
            ),
            (
                "2026-11-22T01-05:00",
                "2026-11-22T06:00:00Z",
                "2026-11-22T07:00:00Z",
            ),
            (
                "2026-11-22+01:00",
                "2026-11-21T23:00:00Z",
                "2026-11-22T23:00:00Z",
            ),
            (
                "2026-11-22T07:59:30.2501+01:00",
                "2026-11-22T06:59:30.25Z",
                "2026-11-22T06:59:30.251Z",
            ),
        ] {
            let expected = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(stretch(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "2026-13-01",
            "2026-11-22T24:61",
            "PX-7F3K2Q9A",
            "a@b.example",
            "2026-11",
            "2026-11-22T06:5",
            "2026-11-22T06.5",
            "20261122T06Z",
            "20261122T065930.250",
            "2026-11-22T06:59+",
            "2026-11-22é06",
        ] {
            assert_eq!(stretch(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_goes_from_the_start_of_one_to_the_end_of_the_other() {
        let query = TraceQuery::parse("2026-11-21..2026-11-22");
        let expected = |text: &str| Some(text.parse().unwrap());
        assert_eq!(query.from, expected("2026-11-21T00:00:00Z"));
        assert_eq!(query.to, expected("2026-11-23T00:00:00Z"));
        let query = TraceQuery::parse("..2026-11-22T06:00:00Z");
        assert_eq!(
            (query.from, query.to),
            (None, expected("2026-11-22T06:00:00Z"))
        );
        let query = TraceQuery::parse(" 2026-11-22T06 ");
        assert_eq!(query.from, expected("2026-11-22T06:00:00Z"));
        assert_eq!(
            (query.to, query.about),
            (expected("2026-11-22T07:00:00Z"), None)
        );
        assert_eq!(TraceQuery::parse("a..b").about.as_deref(), Some("a..b"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,30}") {
            stretch(&text);
        }
    }
}
