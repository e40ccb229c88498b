//! The models in force: the one that ships, the gateway's own on top of it, and one for an organisation on top
//! of both.
//!
//! Files are read whole and then take the place of what was in force, between two messages. One that cannot be
//! used leaves the old one where it is, and [`Learned::refresh`] says so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::features::Features;
use super::file::ModelError;
use super::lessons::Organisation;
use super::model::Model;

/// What was learnt, and where it is kept.
#[derive(Debug)]
pub struct Learned {
    shipped: Option<Arc<Model>>,
    /// The folder of the models that were made here; `None` where nothing is kept.
    folder: Option<PathBuf>,
    own: RwLock<HashMap<Organisation, Own>>,
}

/// A model that was made here.
#[derive(Clone, Debug)]
struct Own {
    model: Arc<Model>,
    /// When its file was written.
    of: SystemTime,
}

/// What the models say of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The logarithm of the odds that it is spam; finite.
    pub log_odds: f64,
    /// Whose model had the last word.
    pub by: By,
}

/// Whose model it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The one that ships: made of old mail from elsewhere.
    Shipped,
    /// The gateway's own.
    Site,
    /// The organisation's.
    Organisation,
}

impl Learned {
    /// The model that ships, if one is named, and those of a folder. Errs if the first cannot be used.
    pub fn load(shipped: Option<&Path>, folder: Option<PathBuf>) -> Result<Self, ModelError> {
        let learned = Self {
            shipped: shipped.map(Model::load).transpose()?.map(Arc::new),
            folder,
            own: RwLock::default(),
        };
        learned.refresh();
        Ok(learned)
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self {
            shipped: None,
            folder: None,
            own: RwLock::default(),
        }
    }

    /// The folder of the models that were made here.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Takes models whose files are new, and forgets those whose files are gone. Returns the files that cannot be
    /// used, and why: what was in force instead of them stays. Blocks.
    pub fn refresh(&self) -> Vec<(PathBuf, ModelError)> {
        let Some(folder) = &self.folder else {
            return Vec::new();
        };
        let mut failed = Vec::new();
        let known = self.own();
        let mut found = HashMap::new();
        for (organisation, path, of) in files(folder) {
            let old = known.get(&organisation);
            if let Some(old) = old.filter(|old| old.of == of) {
                found.insert(organisation, old.clone());
                continue;
            }
            match Model::load(&path) {
                Ok(model) => {
                    let model = Arc::new(model);
                    found.insert(organisation, Own { model, of });
                }
                Err(error) => {
                    found.extend(old.cloned().map(|old| (organisation, old)));
                    failed.push((path, error));
                }
            }
        }
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = found;
        failed
    }

    fn own(&self) -> HashMap<Organisation, Own> {
        self.own
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The models that one of an organisation stands on while its lessons are few, lowest first.
    pub fn below(&self, organisation: &Organisation) -> Vec<Arc<Model>> {
        let mut below: Vec<Arc<Model>> = self.shipped.iter().cloned().collect();
        if *organisation != Organisation::ALL {
            below.extend(self.model(&Organisation::ALL));
        }
        let stands = below.iter().rposition(|model| model.alone).unwrap_or(0);
        below.drain(..stands);
        below
    }

    fn model(&self, organisation: &Organisation) -> Option<Arc<Model>> {
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        own.get(organisation).map(|own| Arc::clone(&own.model))
    }

    /// What the model that ships says by itself.
    pub fn ask_shipped(&self, features: &Features) -> Option<Answer> {
        let model = self.shipped.as_ref()?;
        Some(Answer {
            log_odds: model.log_odds(model.sum(features)),
            by: By::Shipped,
        })
    }

    /// What they say; `None` if there is no model at all. The calibration is that of the uppermost.
    pub fn ask(&self, organisation: &Organisation, features: &Features) -> Option<Answer> {
        let mut models: Vec<(By, Arc<Model>)> = Vec::with_capacity(3);
        models.extend(
            self.shipped
                .iter()
                .map(|model| (By::Shipped, Arc::clone(model))),
        );
        models.extend(
            self.model(&Organisation::ALL)
                .map(|model| (By::Site, model)),
        );
        if *organisation != Organisation::ALL {
            models.extend(
                self.model(organisation)
                    .map(|model| (By::Organisation, model)),
            );
        }
        let stands = models
            .iter()
            .rposition(|(_, model)| model.alone)
            .unwrap_or(0);
        let models = &models[stands..];
        let (by, uppermost) = models.last()?;
        let sum: f32 = models.iter().map(|(_, model)| model.sum(features)).sum();
        Some(Answer {
            log_odds: uppermost.log_odds(sum),
            by: *by,
        })
    }
}

/// The models of a folder: whose, where and when they were written. No folder, no models.
fn files(folder: &Path) -> Vec<(Organisation, PathBuf, SystemTime)> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let model = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_suffix(".model")?;
        let organisation = match name {
            "site" => Organisation::ALL,
            _ => Organisation::of(name.strip_prefix("organisation-")?)?,
        };
        let of = entry.metadata().ok()?.modified().ok()?;
        Some((organisation, entry.path(), of))
    };
    let mut found: Vec<_> = entries.flatten().filter_map(model).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.truncate(MODELS_MAX);
    found
}

/// The folder of the models that were made here, below the data folder.
pub const MODELS: &str = "models";
/// Each takes 2 MiB.
const MODELS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(weight: f32, folder: &Path, organisation: &Organisation) {
        let model = Model {
            bias: weight,
            ..Model::empty()
        };
        model.save(&folder.join(organisation.file())).unwrap();
    }

    #[test]
    fn an_organisation_stands_on_the_gateway_and_a_damaged_file_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let pharmacy = Organisation::of("FA001").unwrap();
        saying(1.0, folder.path(), &Organisation::ALL);
        saying(0.5, folder.path(), &pharmacy);
        let learned = Learned::load(None, Some(folder.path().to_owned())).unwrap();
        let ask = |whose: &Organisation| learned.ask(whose, &Features::default()).unwrap();
        assert_eq!(
            (ask(&Organisation::ALL).log_odds, ask(&Organisation::ALL).by),
            (1.0, By::Site)
        );
        assert_eq!(
            (ask(&pharmacy).log_odds, ask(&pharmacy).by),
            (1.5, By::Organisation)
        );
        assert_eq!(ask(&Organisation::of("FA002").unwrap()).by, By::Site);

        std::fs::write(
            folder.path().join("site.model"),
            "postern-spam-model 2\ncut",
        )
        .unwrap();
        let failed = learned.refresh();
        assert_eq!(failed.len(), 1);
        assert_eq!(
            failed[0].1.to_string(),
            "the model is damaged: its checksum does not agree"
        );
        assert_eq!(
            ask(&Organisation::ALL).log_odds,
            1.0,
            "the old one is in force"
        );

        saying(-3.0, folder.path(), &Organisation::ALL);
        assert!(learned.refresh().is_empty());
        assert_eq!(ask(&Organisation::ALL).log_odds, -3.0);
    }

    #[test]
    fn without_a_model_nothing_is_said_and_a_shipped_one_that_is_none_is_an_error() {
        assert_eq!(
            Learned::nothing().ask(&Organisation::ALL, &Features::default()),
            None
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spam-model.bin");
        std::fs::write(&path, "hello\n").unwrap();
        assert!(matches!(
            Learned::load(Some(&path), None),
            Err(ModelError::Foreign)
        ));
    }
}
