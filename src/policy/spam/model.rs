//! What was learnt: a weight for each hashed feature, and how sure a sum of weights makes us.
//!
//! A model stands on its own or on top of another one, whose sum is added to its own: an organisation's on
//! that of the gateway, that on the one that ships. It holds weights and counts, no words and no addresses.

use super::features::{FEATURES, Features};

/// Weights, and their calibration. Immutable: learning makes a new one.
#[derive(Clone, PartialEq)]
pub struct Model {
    /// One for each feature, most of them 0.
    pub(super) weights: Box<[f32]>,
    /// Added to every sum.
    pub(super) bias: f32,
    /// From the sum to the logarithm of the odds: `slope * sum + offset`.
    pub(super) slope: f32,
    /// See `slope`.
    pub(super) offset: f32,
    /// Messages that it was made of.
    pub(super) learnt: Learnt,
    /// Whether it was made without those below it, and stands without them.
    pub(super) alone: bool,
}

/// How many messages a model was made of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Learnt {
    /// Spam.
    pub spam: u32,
    /// Not spam.
    pub ham: u32,
}

impl Learnt {
    /// Whether there is enough of both to say anything.
    pub fn is_enough(self) -> bool {
        self.spam >= LEARNT_MIN && self.ham >= LEARNT_MIN
    }

    /// Whether there is so much that what was learnt elsewhere would only be in the way.
    pub fn is_plenty(self) -> bool {
        self.spam >= PLENTY && self.ham >= PLENTY
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({:?})", self.learnt)
    }
}

impl Model {
    /// One that says nothing.
    pub fn empty() -> Self {
        Self {
            weights: vec![0.0; FEATURES].into(),
            bias: 0.0,
            slope: 1.0,
            offset: 0.0,
            learnt: Learnt::default(),
            alone: false,
        }
    }

    /// The messages that it was made of.
    pub fn learnt(&self) -> Learnt {
        self.learnt
    }

    /// The sum of the weights of a message: above 0 for spam. Always finite.
    pub fn sum(&self, features: &Features) -> f32 {
        features.sum(&self.weights) + self.bias
    }

    /// The logarithm of the odds that a message of this sum is spam; finite, from -20 to 20.
    pub fn log_odds(&self, sum: f32) -> f64 {
        let odds = f64::from(self.slope) * f64::from(sum) + f64::from(self.offset);
        odds.clamp(-ODDS_MAX, ODDS_MAX)
    }
}

/// Messages of each kind below which a model does not speak.
pub const LEARNT_MIN: u32 = 20;
/// Messages of each kind from which on a model stands alone.
const PLENTY: u32 = 300;
/// Nothing is surer than this, e to the 20th.
const ODDS_MAX: f64 = 20.0;
