//! Lessons become a model that is in force: for `postern learn`, and for the rounds of the server.

use std::collections::HashSet;
use std::path::Path;

use jiff::Timestamp;

use super::features::{FEATURES, Features};
use super::file::ModelError;
use super::fit::{count, fit};
use super::learned::Learned;
use super::lessons::{LessonError, Lessons, Organisation};
use super::model::{Learnt, Model};

/// Why no model was made. What is in force stays.
#[derive(Debug, thiserror::Error)]
pub enum TeachError {
    /// The lessons cannot be read.
    #[error(transparent)]
    Lessons(#[from] LessonError),
    /// The model cannot be written.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Makes the model of an organisation anew out of its lessons, on top of the models below it while they are few, and writes it into the
/// folder of models. `None` if there are too few lessons; then nothing is written. Blocks for seconds.
pub fn teach(
    lessons: &Lessons,
    learned: &Learned,
    models: &Path,
    organisation: &Organisation,
    now: Timestamp,
    step: impl FnMut(f64),
) -> Result<Option<Learnt>, TeachError> {
    let kept = lessons.all(organisation, now)?;
    let below = match count(&kept).is_plenty() {
        true => Vec::new(),
        false => learned.below(organisation),
    };
    let below: Vec<&Model> = below.iter().map(|model| &**model).collect();
    let Some(model) = fit(&kept, &below, step) else {
        return Ok(None);
    };
    model.save(&models.join(organisation.file()))?;
    Ok(Some(model.learnt()))
}

/// The model of an organisation's lessons alone, to be given away: without what few messages or few authors have in common,
/// and with rounded weights. `None` if there are too few lessons.
pub fn to_ship(
    lessons: &Lessons,
    organisation: &Organisation,
    now: Timestamp,
    step: impl FnMut(f64),
) -> Result<Option<Model>, TeachError> {
    let kept = lessons.all(organisation, now)?;
    let Some(mut model) = fit(&kept, &[], step) else {
        return Ok(None);
    };
    let mut seen: Vec<(u32, HashSet<u64>)> = vec![(0, HashSet::new()); FEATURES];
    for lesson in &kept {
        for feature in Features::unpack(&lesson.packed).iter() {
            let (messages, authors) = &mut seen[feature];
            *messages += 1;
            if authors.len() < AUTHORS_MIN {
                authors.insert(lesson.author);
            }
        }
    }
    for (weight, (messages, authors)) in model.weights.iter_mut().zip(&seen) {
        let is_common = *messages >= MESSAGES_MIN && authors.len() >= AUTHORS_MIN;
        *weight = match is_common {
            true => (*weight * GRAIN).round() / GRAIN,
            false => 0.0,
        };
    }
    Ok(Some(model))
}

/// A feature that is given away was in so many messages, of so many authors.
const MESSAGES_MIN: u32 = 5;
const AUTHORS_MIN: usize = 3;
/// Weights that are given away are multiples of one part in so many.
const GRAIN: f32 = 512.0;

/// Makes anew every model that is older than the last of its lessons. Returns whose.
pub fn catch_up(
    data: &Path,
    learned: &Learned,
    now: Timestamp,
) -> Result<Vec<Organisation>, TeachError> {
    let (Some(models), Some(lessons)) = (learned.folder(), Lessons::open_existing(data)?) else {
        return Ok(Vec::new());
    };
    let mut taught = Vec::new();
    // The gateway's own comes first: the others stand on it.
    for (organisation, last) in lessons.organisations()? {
        let file = std::fs::metadata(models.join(organisation.file()));
        let made = file.and_then(|file| file.modified()).ok();
        let made = made.and_then(|made| Timestamp::try_from(made).ok());
        if made.is_some_and(|made| made > last) {
            continue;
        }
        if teach(&lessons, learned, models, &organisation, now, |_| {})?.is_some() {
            learned.refresh();
            taught.push(organisation);
        }
    }
    Ok(taught)
}
