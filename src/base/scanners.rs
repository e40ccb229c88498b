//! How the scanners of others are doing: what came of the questions to each, and since when one is away. By name, and
//! for the whole process, so that a changed policy does not make anybody forget.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// What came of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Came {
    /// An answer, and nothing was found.
    Answer,
    /// It found something.
    Found,
    /// No answer.
    Nothing,
}

/// How one scanner is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// Questions with an answer in which nothing was found.
    pub answered: i64,
    /// Questions by which something was found.
    pub found: i64,
    /// Questions without an answer.
    pub failed: i64,
    /// The first question without an answer since the last one with an answer; `None` if the last one had one.
    pub away_since: Option<Timestamp>,
    /// Whether its absence was told, and since when it had been away then.
    told: Option<Timestamp>,
}

/// What is to be told of a scanner, each once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// It is away for too long.
    Away {
        /// Since when.
        since: Timestamp,
    },
    /// It was, and answers again.
    Back {
        /// Since when it had been away.
        since: Timestamp,
    },
}

/// All scanners.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<String, Standing>>);

/// Those that this process asks.
pub static SCANNERS: Board = Board::new();

impl Board {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Counts a question that was put at this moment.
    pub fn count(&self, name: &str, came: Came, now: Timestamp) {
        let mut all = self.all();
        let standing = all.entry(name.to_owned()).or_default();
        match came {
            Came::Answer => standing.answered += 1,
            Came::Found => standing.found += 1,
            Came::Nothing => standing.failed += 1,
        }
        standing.away_since = match came {
            Came::Nothing => Some(standing.away_since.unwrap_or(now)),
            Came::Answer | Came::Found => None,
        };
    }

    /// What is to be told now of this scanner, whose absence is told after that time.
    pub fn news(&self, name: &str, after: Duration, now: Timestamp) -> Option<News> {
        let mut all = self.all();
        let standing = all.get_mut(name)?;
        match (standing.away_since, standing.told) {
            (Some(since), None) if now.duration_since(since).unsigned_abs() >= after => {
                standing.told = Some(since);
                Some(News::Away { since })
            }
            (None, Some(since)) => {
                standing.told = None;
                Some(News::Back { since })
            }
            _ => None,
        }
    }

    /// Forgets those that are asked no more.
    pub fn keep(&self, is_asked: impl Fn(&str) -> bool) {
        self.all().retain(|name, _| is_asked(name));
    }

    /// Those that are away, with the moment since when, for a page.
    pub fn away(&self) -> Vec<(String, Timestamp)> {
        let all = self.all();
        let away = all.iter();
        away.filter_map(|(name, one)| Some((name.clone(), one.away_since?)))
            .collect()
    }

    /// Adds them to the metrics (Prometheus' text format); nothing where nobody was asked.
    pub fn render(&self, out: &mut String) {
        let all = self.all();
        if all.is_empty() {
            return;
        }
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "# HELP {QUESTIONS} Questions to each external scanner, by what came of them.\n# TYPE {QUESTIONS} counter"
        );
        for (name, one) in all.iter() {
            for (result, number) in [
                ("answered", one.answered),
                ("found", one.found),
                ("failed", one.failed),
            ] {
                let _ = writeln!(
                    out,
                    "{QUESTIONS}{{scanner=\"{name}\",result=\"{result}\"}} {number}"
                );
            }
        }
        let _ = writeln!(
            out,
            "# HELP {AWAY} When a scanner that gives no answer first gave none (Unix time); 0 if it answers.\n# TYPE {AWAY} gauge"
        );
        for (name, one) in all.iter() {
            let since = one.away_since.map_or(0, Timestamp::as_second);
            let _ = writeln!(out, "{AWAY}{{scanner=\"{name}\"}} {since}");
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const QUESTIONS: &str = "postern_scanner_questions_total";
const AWAY: &str = "postern_scanner_away_since_seconds";

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    const AFTER: Duration = Duration::from_secs(60);

    #[test]
    fn an_absence_is_told_once_when_it_is_long_and_its_end_once_if_it_was_told() {
        let board = Board::new();
        let news = |now| board.news("clamav", AFTER, at(now));
        assert_eq!(news(0), None);
        board.count("clamav", Came::Nothing, at(10));
        assert_eq!(news(69), None);
        // A short one is not worth a word.
        board.count("clamav", Came::Answer, at(69));
        assert_eq!(news(80), None);
        board.count("clamav", Came::Nothing, at(100));
        board.count("clamav", Came::Nothing, at(150));
        assert_eq!(board.away(), [("clamav".to_owned(), at(100))]);
        assert_eq!(news(159), None);
        assert_eq!(news(160), Some(News::Away { since: at(100) }));
        assert_eq!(news(161), None);
        board.count("clamav", Came::Found, at(200));
        assert_eq!(news(201), Some(News::Back { since: at(100) }));
        assert_eq!(news(202), None);
        assert!(board.away().is_empty());
    }

    #[test]
    fn each_has_its_numbers_and_one_that_is_asked_no_more_has_none() {
        let board = Board::new();
        let text = || {
            let mut text = String::new();
            board.render(&mut text);
            text
        };
        assert_eq!(text(), "");
        for came in [Came::Answer, Came::Found, Came::Nothing, Came::Nothing] {
            board.count("clamav", came, at(7));
        }
        board.count("rspamd", Came::Answer, at(7));
        for line in [
            "postern_scanner_questions_total{scanner=\"clamav\",result=\"answered\"} 1\n",
            "postern_scanner_questions_total{scanner=\"clamav\",result=\"found\"} 1\n",
            "postern_scanner_questions_total{scanner=\"clamav\",result=\"failed\"} 2\n",
            "postern_scanner_away_since_seconds{scanner=\"clamav\"} 7\n",
            "postern_scanner_away_since_seconds{scanner=\"rspamd\"} 0\n",
        ] {
            assert!(text().contains(line), "{line}\n{}", text());
        }
        board.keep(|name| name == "rspamd");
        assert!(!text().contains("clamav"));
    }
}
