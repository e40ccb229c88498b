//! How what was learnt counts, and how it is learnt (`[learned]` of `scoring.toml`).

use std::path::PathBuf;

use crate::config::{Located, Section};
use crate::mail::{ForwardPath, Mailbox};

use super::learned::{Answer, By};
use super::lessons::Verdict;

/// `[learned]`, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The model that ships; `None`: none.
    pub model: Option<PathBuf>,
    /// Points of the score for each unit of the logarithm of the odds.
    points: f64,
    /// Points at most, either way.
    most: f64,
    /// How much surer, as a logarithm of the odds, what was learnt here must be that something is spam.
    caution: f64,
    /// The share of the points that the model that ships has, which knows no mail of this place.
    shipped_share: f64,
    /// As `caution`, for the model that ships.
    shipped_caution: f64,
    /// As `most`, for the model that ships.
    shipped_most: f64,
    /// Where people send what is spam.
    pub spam_address: Option<Mailbox>,
    /// Where they send what is not.
    pub ham_address: Option<Mailbox>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            points: POINTS,
            most: MOST,
            caution: CAUTION,
            shipped_share: SHIPPED_SHARE,
            shipped_caution: SHIPPED_CAUTION,
            shipped_most: SHIPPED_MOST,
            spam_address: None,
            ham_address: None,
        }
    }
}

impl Settings {
    /// Takes `[learned]` out of the outermost section.
    pub fn read(top: &Section<'_>) -> Self {
        let section = top.section("learned");
        let number = |key, otherwise, most| {
            let number = section.number(key);
            let bad = number
                .as_ref()
                .filter(|number| !(0.0..=most).contains(&***number));
            if let Some(bad) = bad {
                let help = format!("from 0 to {most}");
                section.report("out-of-bounds", "this is out of bounds", bad, help);
            }
            number.map_or(otherwise, Located::into_inner)
        };
        let settings = Self {
            model: section.path("model").map(Located::into_inner),
            points: number("points", POINTS, 100.0),
            most: number("most", MOST, 1_000.0),
            caution: number("caution", CAUTION, 20.0),
            shipped_share: number("shipped-share", SHIPPED_SHARE, 1.0),
            shipped_caution: number("shipped-caution", SHIPPED_CAUTION, 20.0),
            shipped_most: number("shipped-most", SHIPPED_MOST, 1_000.0),
            spam_address: section.parse("spam-address").map(Located::into_inner),
            ham_address: section.parse("ham-address").map(Located::into_inner),
        };
        section.finish();
        settings
    }

    /// The points that an answer is worth.
    pub fn points(&self, answer: Answer) -> f64 {
        let (share, caution, most) = match answer.by {
            By::Shipped => (self.shipped_share, self.shipped_caution, self.shipped_most),
            By::Site | By::Organisation => (1.0, self.caution, self.most),
        };
        let points = (answer.log_odds - caution) * self.points * share;
        (points.clamp(-most, most) * 100.0).round() / 100.0 + 0.0
    }

    /// What mail for this address says of what is attached to it.
    pub fn verdict_of(&self, path: &ForwardPath) -> Option<Verdict> {
        let mailbox = path.mailbox()?.folded();
        let is = |address: &Option<Mailbox>| {
            address.as_ref().map(Mailbox::folded).as_ref() == Some(&mailbox)
        };
        if is(&self.spam_address) {
            Some(Verdict::Spam)
        } else if is(&self.ham_address) {
            Some(Verdict::Ham)
        } else {
            None
        }
    }
}

const POINTS: f64 = 2.4;
const MOST: f64 = 18.0;
const CAUTION: f64 = 3.0;
const SHIPPED_SHARE: f64 = 0.35;
const SHIPPED_CAUTION: f64 = 1.0;
const SHIPPED_MOST: f64 = 4.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_elsewhere_counts_little_and_what_was_learnt_here_must_be_sure() {
        let settings = Settings::default();
        let points = |log_odds, by| settings.points(Answer { log_odds, by });
        assert_eq!(points(2.0, By::Shipped), 0.84);
        assert_eq!(points(4.0, By::Site), 2.4);
        assert_eq!(points(0.0, By::Site), -7.2);
        assert_eq!(points(20.0, By::Organisation), 18.0);
        assert_eq!(points(20.0, By::Shipped), 4.5);
        assert_eq!(points(-20.0, By::Shipped), -4.5);
    }
}
