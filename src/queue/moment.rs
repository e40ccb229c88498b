//! Times as people type them: RFC 3339, also cut short, which then stands for all of what it names.

use jiff::{SignedDuration, Timestamp};

/// The stretch of time that a text names, from and up to without: `2026-11-22` is a day, `2026-11-22T06` an hour,
/// `2026-11-22T06:59` a minute, of universal time where it does not say another; a whole time is its second, and one
/// with a fraction its millisecond, as events bear it. `None` if it is no time.
pub(super) fn stretch(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (start, length) = match cut_short(text) {
        Some(known) => known,
        None if text.contains('.') => (text.parse().ok()?, SignedDuration::from_millis(1)),
        None => (text.parse().ok()?, SignedDuration::from_secs(1)),
    };
    Some((start, start.checked_add(length).ok()?))
}

/// The same for the bounds of a longer stretch, where a whole time is that moment and no more.
pub(super) fn bounds(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (start, end) = stretch(text)?;
    let is_whole = end.duration_since(start) <= SignedDuration::from_secs(1);
    Some((start, if is_whole { start } else { end }))
}

fn cut_short(text: &str) -> Option<(Timestamp, SignedDuration)> {
    let bare = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let length = match bare.len() {
        10 => SignedDuration::from_hours(24),
        13 => SignedDuration::from_hours(1),
        16 => SignedDuration::from_mins(1),
        19 => SignedDuration::from_secs(1),
        _ => return None,
    };
    let rest = "0000-00-00T00:00:00Z".get(bare.len()..)?;
    let start = format!("{bare}{rest}").parse().ok()?;
    Some((start, length))
}

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
