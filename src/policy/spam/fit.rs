//! From lessons to a model: a linear classifier with a margin (dual coordinate descent on the hinge loss).
//!
//! The problem is convex: the same lessons give the same model, in whatever order they came. And how much
//! a lesson can move the weights is bounded beforehand by its *pull*, so that nobody can swing the model: both kinds pull
//! alike however many there are of each; a lesson loses half of its pull in 180 days; all lessons of one author, of
//! one domain, or that one person handed in, together pull no more than so many single ones.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::features::{FEATURES, Features};
use super::lessons::{Kept, Verdict};
use super::model::{Learnt, Model};

/// One message as the classifier takes it.
struct Pupil<'l> {
    packed: &'l [u8],
    /// 1 for spam, -1 for ham.
    side: f32,
    /// Most that it may pull.
    pull: f32,
    /// What the models below say already.
    base: f32,
    features: usize,
}

/// Makes a model of lessons, on top of others. `None` if there are too few of one kind to say anything. `step` is
/// called now and then with the share of the work that is done, for progress bars.
pub fn fit(lessons: &[Kept], below: &[&Model], mut step: impl FnMut(f64)) -> Option<Model> {
    let learnt = count(lessons);
    if !learnt.is_enough() {
        return None;
    }
    let pulls = pulls(lessons);
    let pupils: Vec<Pupil<'_>> = lessons
        .iter()
        .zip(pulls)
        .map(|(lesson, pull)| {
            let features = Features::unpack(&lesson.packed);
            Pupil {
                packed: &lesson.packed,
                side: match lesson.verdict {
                    Verdict::Spam => 1.0,
                    Verdict::Ham => -1.0,
                },
                pull,
                base: below.iter().map(|model| model.sum(&features)).sum(),
                features: features.len(),
            }
        })
        .collect();
    let (slope, offset) = calibrate(&pupils, &mut step);
    let all: Vec<&Pupil<'_>> = pupils.iter().collect();
    let (weights, bias) = weigh(&all, |share| step(0.5 + share / 2.0));
    Some(Model {
        weights: weights.into(),
        bias,
        slope,
        offset,
        learnt,
        alone: below.is_empty(),
    })
}

/// How many lessons there are of each kind.
pub(super) fn count(lessons: &[Kept]) -> Learnt {
    let of = |verdict| {
        lessons
            .iter()
            .filter(|lesson| lesson.verdict == verdict)
            .count()
    };
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Learnt {
        spam: number(of(Verdict::Spam)),
        ham: number(of(Verdict::Ham)),
    }
}

/// How much each lesson may pull.
fn pulls(lessons: &[Kept]) -> Vec<f32> {
    let mut pulls: Vec<f64> = lessons.iter().map(|lesson| by_age(lesson.age)).collect();
    cap(&mut pulls, lessons, author_max(lessons), |lesson| {
        lesson.author
    });
    cap(&mut pulls, lessons, DOMAIN_MAX, |lesson| lesson.domain);
    cap(&mut pulls, lessons, PERSON_MAX, |lesson| lesson.by);
    let sum = |verdict| -> f64 {
        let of = pulls
            .iter()
            .zip(lessons)
            .filter(|(_, lesson)| lesson.verdict == verdict);
        of.map(|(pull, _)| *pull).sum()
    };
    let (spam, ham) = (sum(Verdict::Spam), sum(Verdict::Ham));
    let larger = spam.max(ham);
    let side = |verdict| match verdict {
        Verdict::Spam => (larger / spam.max(f64::MIN_POSITIVE)).min(BALANCE_MAX),
        Verdict::Ham => (larger / ham.max(f64::MIN_POSITIVE)).min(BALANCE_MAX),
    };
    let pull = |(pull, lesson): (&f64, &Kept)| (PULL * pull * side(lesson.verdict)) as f32;
    pulls.iter().zip(lessons).map(pull).collect()
}

/// What one author may pull: as so many single lessons, and where there are few authors, less.
fn author_max(lessons: &[Kept]) -> f64 {
    let authors: HashSet<u64> = lessons.iter().map(|lesson| lesson.author).collect();
    let authors = u32::try_from(authors.len()).unwrap_or(u32::MAX);
    (f64::from(authors) * AUTHOR_SHARE).clamp(1.0, AUTHOR_MAX)
}

fn by_age(age: Duration) -> f64 {
    0.5_f64.powf(age.as_secs_f64() / HALF_LIFE.as_secs_f64())
}

/// Brings what all lessons of one name pull on one side down to a limit. Nobody (0) has none.
fn cap(pulls: &mut [f64], lessons: &[Kept], most: f64, name: impl Fn(&Kept) -> u64) {
    let mut sums: HashMap<(u64, bool), f64> = HashMap::new();
    let key = |lesson: &Kept| (name(lesson), lesson.verdict == Verdict::Spam);
    for (pull, lesson) in pulls.iter().zip(lessons) {
        *sums.entry(key(lesson)).or_default() += pull;
    }
    for (pull, lesson) in pulls.iter_mut().zip(lessons) {
        let sum = sums.get(&key(lesson)).copied().unwrap_or_default();
        if name(lesson) != 0 && sum > most {
            *pull *= most / sum;
        }
    }
}

/// The weights and the bias. Each pupil in turn is brought to its margin of 1, as far as it may pull.
fn weigh(pupils: &[&Pupil<'_>], mut step: impl FnMut(f64)) -> (Vec<f32>, f32) {
    let mut weights = vec![0.0_f32; FEATURES];
    let mut bias = 0.0_f32;
    let mut pulled = vec![0.0_f32; pupils.len()];
    let mut order: Vec<usize> = (0..pupils.len()).collect();
    let mut random = 88_172_645_463_325_252_u64;
    for round in 0..ROUNDS {
        shuffle(&mut order, &mut random);
        let mut moved = 0.0_f32;
        for &at in &order {
            let pupil = pupils[at];
            if pupil.features == 0 {
                continue;
            }
            let features = Features::unpack(pupil.packed);
            let sum = pupil.base + features.sum(&weights) + bias;
            let gradient = pupil.side * sum - 1.0;
            let now = (pulled[at] - gradient / (1.0 + BIAS * BIAS)).clamp(0.0, pupil.pull);
            let change = now - pulled[at];
            if change == 0.0 {
                continue;
            }
            moved = moved.max(change.abs());
            pulled[at] = now;
            for (of, each) in features.views() {
                let each = change * pupil.side * each;
                for feature in of {
                    // Every number is below FEATURES.
                    weights[*feature as usize] += each;
                }
            }
            bias += change * pupil.side * BIAS * BIAS;
        }
        step(f64::from(round + 1) / f64::from(ROUNDS));
        if moved < SETTLED {
            break;
        }
    }
    (weights, bias)
}

/// The same order for the same lessons, every time.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for at in (1..order.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let with = *random % (at as u64 + 1);
        // Not larger than `at`.
        order.swap(at, usize::try_from(with).unwrap_or(at));
    }
}

/// What a sum means: a model of four fifths of the lessons is asked about the last fifth, which it has not
/// seen, and a logistic curve is laid through the answers.
fn calibrate(pupils: &[Pupil<'_>], step: &mut impl FnMut(f64)) -> (f32, f32) {
    // Lessons come in the order of their hashes: every fifth is any fifth.
    let part = |held: bool| {
        let of = pupils.iter().enumerate();
        of.filter(move |(at, _)| (at % 5 == 0) == held)
            .map(|(_, pupil)| pupil)
    };
    let taught: Vec<&Pupil<'_>> = part(false).collect();
    let (weights, bias) = weigh(&taught, |share| step(share / 2.0));
    let answers: Vec<(f64, f64, f64)> = part(true)
        .map(|pupil| {
            let sum = pupil.base + Features::unpack(pupil.packed).sum(&weights) + bias;
            (f64::from(sum), f64::from(pupil.side), f64::from(pupil.pull))
        })
        .collect();
    curve(&answers)
}

/// Slope and offset of the logistic curve: by gradient steps, each class as heavy as the other, with a little pull
/// towards a slope of [`SLOPE`], so that answers without a mistake do not make it steeper for ever.
fn curve(answers: &[(f64, f64, f64)]) -> (f32, f32) {
    let total = |side: f64| -> f64 {
        let of = answers.iter().filter(|answer| answer.1 == side);
        of.map(|answer| answer.2)
            .sum::<f64>()
            .max(f64::MIN_POSITIVE)
    };
    let (spam, ham) = (total(1.0), total(-1.0));
    let (mut slope, mut offset) = (SLOPE, 0.0);
    for _ in 0..CURVE_STEPS {
        let (mut by_slope, mut by_offset) = (PRIOR * (SLOPE - slope), -PRIOR * offset);
        for (sum, side, pull) in answers {
            let share = pull / if *side > 0.0 { spam } else { ham };
            let wrong = 1.0 / (1.0 + (side * (slope * sum + offset)).exp());
            by_slope += share * side * wrong * sum;
            by_offset += share * side * wrong;
        }
        slope = (slope + CURVE_STEP * by_slope).clamp(SLOPE / 4.0, SLOPE * 4.0);
        offset = (offset + CURVE_STEP * by_offset).clamp(-SLOPE, SLOPE);
    }
    (slope as f32, offset as f32)
}

/// A lesson weighs half after this.
const HALF_LIFE: Duration = Duration::from_secs(180 * 86_400);
/// Most that one lesson may pull, as a number by which features of the length 1 are multiplied.
const PULL: f64 = 3.0;
/// The same for one author, as a share of the number of authors.
const AUTHOR_SHARE: f64 = 1.0 / 40.0;
/// Lessons of one author, of one domain, and of one person who hands them in, as so many single ones.
const AUTHOR_MAX: f64 = 10.0;
const DOMAIN_MAX: f64 = 150.0;
const PERSON_MAX: f64 = 100.0;
/// The rarer kind counts so many times at most.
const BALANCE_MAX: f64 = 10.0;
/// How far the bias moves with a lesson.
const BIAS: f32 = 0.3;
const ROUNDS: u32 = 20;
/// Weights that move less than this have settled.
const SETTLED: f32 = 1e-3;
/// Where the curve starts: a margin of 1 is e to the 5th.
const SLOPE: f64 = 5.0;
const PRIOR: f64 = 0.001;
const CURVE_STEPS: usize = 400;
const CURVE_STEP: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lesson(features: &[u32], verdict: Verdict, author: u64) -> Kept {
        Kept {
            packed: Features::new(features.to_vec()).pack(),
            verdict,
            author,
            domain: author / 1_000,
            by: 0,
            age: Duration::ZERO,
        }
    }

    /// 40 messages of each kind: spam has feature 10, ham 20, each some of its own.
    fn lessons() -> Vec<Kept> {
        let of = |number: u32, kind: u32, verdict| {
            lesson(
                &[kind, 1_000 + number, 2_000 + number % 7],
                verdict,
                u64::from(number) * 1_000 + 7,
            )
        };
        (0..40)
            .flat_map(|n| [of(n, 10, Verdict::Spam), of(100 + n, 20, Verdict::Ham)])
            .collect()
    }

    fn sum(model: &Model, features: &[u32]) -> f32 {
        model.sum(&Features::new(features.to_vec()))
    }

    #[test]
    fn what_was_learnt_is_told_apart_and_too_little_says_nothing() {
        let model = fit(&lessons(), &[], |_| {}).unwrap();
        let (spam, ham) = (sum(&model, &[10, 5_000]), sum(&model, &[20, 5_000]));
        assert!(spam > 0.3 && ham < -0.3, "{spam} {ham}");
        assert!(model.log_odds(spam) > 1.0 && model.log_odds(ham) < -1.0);
        assert!(fit(&lessons()[..30], &[], |_| {}).is_none());
    }

    #[test]
    fn one_sender_cannot_swing_the_model() {
        let honest = fit(&lessons(), &[], |_| {}).unwrap();
        let mut poisoned = lessons();
        // A thousand messages of one author, said to be ham, that look like spam.
        poisoned.extend((0..1_000).map(|n| lesson(&[10, 70_000 + n], Verdict::Ham, 99)));
        let swung = fit(&poisoned, &[], |_| {}).unwrap();
        assert!(sum(&honest, &[10, 5_000]) > 0.3);
        assert!(sum(&swung, &[10, 5_000]) > 0.0, "still spam");
    }

    #[test]
    fn of_old_lessons_little_is_left() {
        let old = lessons;
        let mut lessons = lessons();
        // The other way round, four years ago, from other authors.
        for (at, lesson) in (0_u64..).zip(old()) {
            lessons.push(Kept {
                verdict: match lesson.verdict {
                    Verdict::Spam => Verdict::Ham,
                    Verdict::Ham => Verdict::Spam,
                },
                author: 5_000_000 + at,
                age: HALF_LIFE * 8,
                ..lesson
            });
        }
        let model = fit(&lessons, &[], |_| {}).unwrap();
        assert!(sum(&model, &[10, 5_000]) > 0.2 && sum(&model, &[20, 5_000]) < -0.2);
    }

    #[test]
    fn a_model_on_top_of_another_learns_what_that_one_gets_wrong() {
        let below = fit(&lessons(), &[], |_| {}).unwrap();
        let other: Vec<Kept> = (0..40)
            .flat_map(|n: u32| {
                let of = |kind: u32, verdict, at: u32| {
                    lesson(&[kind, 3_000 + at], verdict, u64::from(at) * 1_000)
                };
                [of(30, Verdict::Spam, n), of(40, Verdict::Ham, n + 100)]
            })
            .collect();
        let above = fit(&other, &[&below], |_| {}).unwrap();
        let both = |features: &[u32]| sum(&below, features) + sum(&above, features);
        assert!(both(&[30, 9]) > 0.3 && both(&[40, 9]) < -0.3);
        assert!(both(&[10, 9]) > 0.0, "and forgets nothing");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn the_order_of_the_lessons_makes_no_difference_that_counts(swaps in proptest::collection::vec((0usize..80, 0usize..80), 0..60)) {
            let mut other = lessons();
            for (one, two) in swaps {
                other.swap(one, two);
            }
            let (model, other) = (fit(&lessons(), &[], |_| {}).unwrap(), fit(&other, &[], |_| {}).unwrap());
            for features in [[10, 5_000], [20, 5_000], [10, 1_003]] {
                prop_assert!((sum(&model, &features) - sum(&other, &features)).abs() < 0.05);
            }
        }
    }
}
