//! Quiet hours: no text wakes a patient. In the wall time of the United Kingdom.

use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// A stretch of the day, over midnight or not: `21:00-08:00`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quiet {
    from: Time,
    until: Time,
}

impl Quiet {
    /// When it ends, if it is quiet now.
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        let local = now.to_zoned(london());
        let time = local.time();
        let is_quiet = match self.from <= self.until {
            true => self.from <= time && time < self.until,
            false => self.from <= time || time < self.until,
        };
        if !is_quiet {
            return None;
        }
        let days = i32::from(time >= self.until);
        at(local.date(), days, self.until)
    }

    /// When the first text of the day after may go.
    pub fn tomorrow(quiet: Option<Self>, now: Timestamp) -> Option<Timestamp> {
        let morning = quiet.map_or(Time::midnight(), |quiet| quiet.until);
        at(today(now), 1, morning)
    }
}

/// The day in the United Kingdom.
pub(super) fn today(now: Timestamp) -> Date {
    now.to_zoned(london()).date()
}

/// A time that is skipped in spring is an hour later, one that comes twice in autumn is the first.
fn at(day: Date, days: i32, time: Time) -> Option<Timestamp> {
    let day = day.checked_add(days.days()).ok()?;
    let zoned = london().to_zoned(day.to_datetime(time)).ok()?;
    Some(zoned.timestamp())
}

/// The rule of the Summer Time Order 2002, which machines without a table of time zones have as well.
fn london() -> TimeZone {
    TimeZone::posix("GMT0BST,M3.5.0/1,M10.5.0").unwrap_or(TimeZone::UTC)
}

impl FromStr for Quiet {
    type Err = BadQuiet;

    fn from_str(text: &str) -> Result<Self, BadQuiet> {
        let (from, until) = text.split_once('-').ok_or(BadQuiet)?;
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_| BadQuiet);
        let quiet = Self {
            from: time(from)?,
            until: time(until)?,
        };
        (quiet.from != quiet.until).then_some(quiet).ok_or(BadQuiet)
    }
}

/// No quiet hours.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write two times of the day, as \"21:00-08:00\"")]
pub struct BadQuiet;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_are_those_of_the_wall_clock_summer_and_winter() {
        for (quiet, now, ends) in [
            ("21:00-08:00", "2026-01-10T20:59:59Z", None),
            (
                "21:00-08:00",
                "2026-01-10T21:00:00Z",
                Some("2026-01-11T08:00:00Z"),
            ),
            (
                "21:00-08:00",
                "2026-01-11T07:59:59Z",
                Some("2026-01-11T08:00:00Z"),
            ),
            ("21:00-08:00", "2026-01-11T08:00:00Z", None),
            // In summer 21:00 is 20:00 in universal time.
            (
                "21:00-08:00",
                "2026-07-10T20:00:00Z",
                Some("2026-07-11T07:00:00Z"),
            ),
            ("21:00-08:00", "2026-07-10T19:59:59Z", None),
            // The night in which the clocks go forward, 29 March, and that in which they go back, 25 October.
            (
                "21:00-08:00",
                "2026-03-28T23:00:00Z",
                Some("2026-03-29T07:00:00Z"),
            ),
            (
                "21:00-08:00",
                "2026-10-24T23:00:00Z",
                Some("2026-10-25T08:00:00Z"),
            ),
            // 01:30 does not exist on 29 March.
            (
                "21:00-01:30",
                "2026-03-28T23:00:00Z",
                Some("2026-03-29T01:30:00Z"),
            ),
            (
                "12:00-14:00",
                "2026-01-10T13:00:00Z",
                Some("2026-01-10T14:00:00Z"),
            ),
            ("12:00-14:00", "2026-01-10T14:00:00Z", None),
        ] {
            let quiet: Quiet = quiet.parse().unwrap();
            let ends = ends.map(|ends| ends.parse().unwrap());
            assert_eq!(quiet.ends(now.parse().unwrap()), ends, "{now}");
        }
    }

    #[test]
    fn the_day_after_begins_when_it_is_not_quiet_any_more() {
        let now = "2026-07-10T22:30:00Z".parse().unwrap();
        let quiet = "21:00-08:00".parse().ok();
        let expected: Timestamp = "2026-07-11T07:00:00Z".parse().unwrap();
        assert_eq!(Quiet::tomorrow(quiet, now), Some(expected));
        let midnight: Timestamp = "2026-07-10T23:00:00Z".parse().unwrap();
        assert_eq!(Quiet::tomorrow(None, now), Some(midnight));
    }

    #[test]
    fn two_times_of_the_day_make_quiet_hours() {
        for bad in ["", "21:00", "21-8", "25:00-08:00", "08:00-08:00", "a-b"] {
            assert!(bad.parse::<Quiet>().is_err(), "{bad}");
        }
    }
}
