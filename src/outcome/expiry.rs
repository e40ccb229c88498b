//! The warning that a secret expires, to whoever must see to it: a password that ends on a Sunday stops reminders.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::base::Reference;
use crate::mail::Mailbox;

use super::letter::Letter;
use super::notify::Notice;

/// Days before the end of a secret on which its owner is warned (`domain.md` §6.1).
pub const WARNED_DAYS: [i64; 5] = [1, 2, 5, 10, 18];

/// Returns which of the [`WARNED_DAYS`] has come, if one has and its warning was not given yet. `warned` is the last
/// that was given.
pub fn due_warning(now: Timestamp, ends_at: Timestamp, warned: Option<i64>) -> Option<i64> {
    let left_secs = ends_at.as_second() - now.as_second();
    let left_days = (left_secs + DAY_SECS - 1).div_euclid(DAY_SECS);
    let level = WARNED_DAYS
        .into_iter()
        .find(|days| left_secs > 0 && left_days <= *days)?;
    warned.is_none_or(|warned| level < warned).then_some(level)
}

/// A secret that expires.
#[derive(Clone, Copy, Debug)]
pub struct ExpiryNotice<'a> {
    /// Who is told.
    pub to: &'a Mailbox,
    /// Whose it is, in ASCII: `the secret of the account reminders.fa123.donotreply@nhs.net`.
    pub what: &'a str,
    /// The day on which it opens nothing any more.
    pub ends_on: Date,
    /// What to do, in ASCII.
    pub remedy: &'a str,
}

impl ExpiryNotice<'_> {
    /// Writes the notice.
    pub fn notice(&self, hostname: &str, now: Timestamp) -> Notice {
        let (what, ends_on) = (self.what, self.ends_on);
        let about = Reference::random();
        let letter = Letter {
            to: self.to,
            about: &about,
            message_id: None,
            action: "secret-expires",
            subject: &format!("A secret expires on {ends_on}"),
            reply_to: None,
        };
        let text = [
            format!("This is the mail gateway {hostname}."),
            format!(
                "On {ends_on} {what} expires. From then on its mail is not taken, and reminders do not go out."
            ),
            self.remedy.to_owned(),
            "You are told 18, 10, 5, 2 and 1 days before.".to_owned(),
        ];
        letter.notice(&text, hostname, now)
    }
}

const DAY_SECS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan as _;

    #[test]
    fn each_warning_is_given_once_and_a_late_round_gives_the_nearest_alone() {
        let end: Timestamp = "2026-12-31T12:00:00Z".parse().unwrap();
        let before = |hours: i64| end - hours.hours();
        let day = 24;
        for (hours, warned, due) in [
            (19 * day, None, None),
            (18 * day, None, Some(18)),
            (17 * day, Some(18), None),
            (10 * day, Some(18), Some(10)),
            (9 * day + 1, Some(18), Some(10)),
            (3 * day, None, Some(5)),
            (2 * day, Some(5), Some(2)),
            (day, Some(2), Some(1)),
            (1, Some(1), None),
            (0, None, None),
            (-5, None, None),
        ] {
            assert_eq!(
                due_warning(before(hours), end, warned),
                due,
                "{hours} {warned:?}"
            );
        }
    }

    #[test]
    fn the_notice_says_what_ends_and_what_to_do() {
        let notice = ExpiryNotice {
            to: &"owner@bumbleton.example".parse().unwrap(),
            what: "the secret of the account reminders@bumbleton.example",
            ends_on: "2026-12-31".parse().unwrap(),
            remedy: "Ask for another.",
        };
        let written = notice.notice("gate.example", "2026-12-13T12:00:00Z".parse().unwrap());
        let text = String::from_utf8(written.message.octets().to_vec()).unwrap();
        for words in [
            "2026-12-31",
            "reminders@bumbleton.example",
            "Ask for another.",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }
}
