//! What is on a page besides text: whether a reader sees words there that are a picture.
//!
//! Each page is judged by itself: one that was scanned may lie behind one that was typed. A page with no text at all but
//! something drawn, and one that is covered by a picture and says no more than a stamp or a page number, is
//! taken for a scan. A logo, a photograph in a letter and an empty page are none.

use std::collections::HashMap;

/// How much of what one page or form shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Characters of text.
    pub(super) characters: usize,
    /// Pictures in the content itself.
    pub(super) pictures: usize,
    /// What the largest picture covers, in square points.
    pub(super) covered: f64,
    /// Curves: text that was turned into its outlines is made of them.
    pub(super) curves: usize,
    /// Pictures and forms by name, and what the unit square covers there.
    pub(super) drawn: Vec<(Vec<u8>, f64)>,
    /// Forms that are drawn, by a number of the document's own.
    pub(super) forms: Vec<usize>,
}

impl Shown {
    /// Takes in a picture that covers so much.
    pub(super) fn picture(&mut self, area: f64) {
        self.pictures += 1;
        self.covered = self.covered.max(area);
    }

    /// With all that the forms show which it draws, each once.
    fn with_forms(&self, forms: &HashMap<usize, Self>) -> Self {
        let mut all = self.clone();
        let mut left = self.forms.clone();
        let mut seen = Vec::new();
        while let Some(form) = left.pop() {
            let Some(shown) = forms.get(&form).filter(|_| !seen.contains(&form)) else {
                continue;
            };
            if seen.len() == FORMS_MAX {
                break;
            }
            seen.push(form);
            all.characters += shown.characters;
            all.pictures += shown.pictures;
            all.curves += shown.curves;
            left.extend(&shown.forms);
        }
        all
    }

    /// Whether a page of this size, in square points, is a picture of words.
    pub(super) fn is_picture(&self, forms: &HashMap<usize, Self>, page: f64) -> bool {
        let all = self.with_forms(forms);
        let is_covered = all.covered >= page * COVERED && all.characters < STAMP_CHARACTERS;
        let has_shapes = all.pictures > 0 || all.curves >= OUTLINES_MIN;
        is_covered || (all.characters == 0 && has_shapes)
    }
}

/// The part of a page from which on a picture covers it.
const COVERED: f64 = 0.5;
/// Characters of a stamp, a page number, the line that a scanner writes.
const STAMP_CHARACTERS: usize = 100;
/// Curves from which on they may be letters.
const OUTLINES_MIN: usize = 200;
/// Forms of one page that are looked at.
const FORMS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: f64 = 595.0 * 842.0;

    #[test]
    fn a_scan_is_told_from_a_letter_with_a_picture() {
        let shown = |characters, pictures, part: f64, curves| Shown {
            characters,
            pictures,
            covered: PAGE * part,
            curves,
            ..Shown::default()
        };
        for (shown, expected) in [
            (shown(0, 1, 1.0, 0), true),
            (shown(0, 1, 0.1, 0), true),
            (shown(20, 1, 0.9, 0), true),
            (shown(0, 0, 0.0, 5000), true),
            (shown(0, 0, 0.0, 0), false),
            (shown(0, 0, 0.0, 20), false),
            (shown(20, 1, 0.1, 0), false),
            (shown(2000, 1, 1.0, 0), false),
            (shown(20, 0, 0.0, 5000), false),
        ] {
            assert_eq!(
                shown.is_picture(&HashMap::new(), PAGE),
                expected,
                "{shown:?}"
            );
        }
    }

    #[test]
    fn forms_show_what_they_show_wherever_they_are_drawn() {
        let draws = |forms: &[usize]| Shown {
            forms: forms.to_vec(),
            pictures: 1,
            ..Shown::default()
        };
        let text = Shown {
            characters: 500,
            ..Shown::default()
        };
        let forms = HashMap::from([(1, draws(&[1, 2])), (2, text), (3, draws(&[3]))]);
        assert!(!draws(&[1]).is_picture(&forms, PAGE));
        assert!(draws(&[3]).is_picture(&forms, PAGE));
        assert!(draws(&[9]).is_picture(&forms, PAGE));
    }
}
