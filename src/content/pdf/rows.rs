//! The text of a page as it stands there: from top to bottom and from left to right.
//!
//! Programs draw in any order, draw bold letters twice, and write what somebody filled in a form behind all else. What
//! was drawn in the order of reading says the same both ways, and is not said again.

use std::collections::HashSet;
use std::ops::Range;

use super::page::{COLUMN, LINE, SPACE};

/// The texts of a page with their places.
#[derive(Default)]
pub(super) struct Rows(Vec<Fragment>);

/// One string that was drawn, in a line that runs to the right.
pub(super) struct Fragment {
    /// Where it begins and ends, in points.
    pub(super) x: Range<f64>,
    /// How high its line is.
    pub(super) y: f64,
    /// The size of its letters.
    pub(super) size: f64,
    /// Where it is in the text of the page.
    pub(super) text: Range<usize>,
}

impl Rows {
    /// Adds what was drawn.
    pub(super) fn add(&mut self, fragment: Fragment) {
        let Fragment { x, y, size, text } = &fragment;
        let places = [x.start, x.end, *y, *size];
        if !text.is_empty() && *size > 0.0 && places.iter().all(|it| it.is_finite()) {
            self.0.push(fragment);
        }
    }

    /// Whether all was drawn from top to bottom and from left to right: then the text has it so.
    pub(super) fn are_in_order(&self) -> bool {
        self.0.windows(2).all(|pair| {
            let (before, next) = (&pair[0], &pair[1]);
            let down = (before.y - next.y) / before.size;
            let is_beside = next.x.start - before.x.start >= AGAIN * before.size;
            down > LINE || (down >= -LINE && is_beside)
        })
    }

    /// The lines that are not in the text in this way, each below the one over it: that may be its heading.
    pub(super) fn not_in(mut self, text: &str) -> String {
        let known: HashSet<&str> = text.lines().map(str::trim).collect();
        let (mut read, mut last, mut was_new) = (String::new(), String::new(), false);
        for line in self.lines(text) {
            let line = line.trim();
            let is_new = !line.is_empty() && !known.contains(line);
            let over = Some(last.as_str()).filter(|_| is_new && !was_new);
            for part in over.into_iter().chain(is_new.then_some(line)) {
                read.push_str(part);
                read.push('\n');
            }
            line.clone_into(&mut last);
            was_new = is_new;
        }
        read
    }

    fn lines(&mut self, text: &str) -> Vec<String> {
        self.0.sort_by(|a, b| b.y.total_cmp(&a.y));
        let mut lines = Vec::new();
        let mut rest = self.0.as_mut_slice();
        while let Some(first) = rest.first() {
            let lowest = first.y - LINE * first.size;
            let end = rest.iter().position(|it| it.y < lowest);
            let (line, below) = rest.split_at_mut(end.unwrap_or(rest.len()));
            line.sort_by(|a, b| a.x.start.total_cmp(&b.x.start));
            lines.push(joined(line, text));
            rest = below;
        }
        lines
    }
}

/// The words of one line, without what was drawn once more in the same place.
fn joined(line: &[Fragment], text: &str) -> String {
    let mut read = String::new();
    let mut last: Option<&Fragment> = None;
    for fragment in line {
        let words = text.get(fragment.text.clone()).unwrap_or_default();
        if let Some(last) = last {
            let is_again = (fragment.x.start - last.x.start).abs() < AGAIN * last.size
                && text.get(last.text.clone()) == Some(words);
            if is_again {
                continue;
            }
            let gap = (fragment.x.start - last.x.end) / last.size;
            let is_parted = read.ends_with([' ', '\t']) || words.starts_with([' ', '\t']);
            if gap > COLUMN {
                read.push('\t');
            } else if gap > SPACE && !is_parted {
                read.push(' ');
            }
        }
        read.push_str(words);
        last = Some(fragment);
    }
    read
}

/// How far a letter may stand beside itself that is drawn twice, in sizes of the font.
const AGAIN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is on a page, of strings with their places; a letter is 5 points wide.
    fn read(drawn: &[(f64, f64, &str)]) -> String {
        let (mut rows, mut text) = (Rows::default(), String::new());
        for (x, y, words) in drawn {
            let from = text.len();
            text.push_str(words);
            let width = 5.0 * f64::from(u32::try_from(words.len()).unwrap());
            rows.add(Fragment {
                x: *x..x + width,
                y: *y,
                size: 10.0,
                text: from..text.len(),
            });
            text.push('\n');
        }
        rows.not_in(&text)
    }

    #[test]
    fn a_page_is_read_from_the_left_and_from_above() {
        assert_eq!(read(&[(0.0, 90.0, "NHS no"), (0.0, 80.0, "450")]), "");
        for (drawn, text) in [
            (
                &[
                    (40.0, 90.0, "450"),
                    (0.0, 90.0, "NHS no"),
                    (0.0, 99.0, "List"),
                ][..],
                "List\nNHS no 450\n",
            ),
            (
                &[
                    (0.0, 90.0, "450 "),
                    (0.0, 9.0, "below"),
                    (20.0, 91.0, "557"),
                    (90.0, 90.0, "x"),
                ],
                "450 557\tx\n",
            ),
            (
                &[
                    (0.0, 90.0, "450"),
                    (0.3, 90.0, "450"),
                    (17.0, 90.0, "557"),
                    (17.3, 90.0, "557"),
                ],
                "450 557\n",
            ),
        ] {
            assert_eq!(read(drawn).trim_start(), text);
        }
    }

    proptest! {
        #[test]
        fn any_places_are_read(drawn in proptest::collection::vec((any::<f64>(), any::<f64>(), "[a-é ]{0,3}"), 0..9)) {
            let drawn: Vec<(f64, f64, &str)> = drawn.iter().map(|(x, y, words)| (*x, *y, words.as_str())).collect();
            read(&drawn);
        }
    }
}
