//! Secrets: named by file or environment variable, never printed.

use std::fmt;
use std::path::PathBuf;

/// A secret. `Debug` shows none of it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// A secret that is already here: for tests.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads it from where it is; one line end after it is not part of it.
    pub fn load(source: &SecretSource) -> Result<Self, SecretError> {
        let text = match source {
            SecretSource::File(path) => {
                std::fs::read_to_string(path).map_err(|error| SecretError::File {
                    path: path.clone(),
                    error,
                })?
            }
            SecretSource::Env(name) => {
                std::env::var(name).map_err(|_| SecretError::Env { name: name.clone() })?
            }
        };
        Ok(Self(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// In a file, alone.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

/// Why a secret could not be read. Holds none of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The variable is not set, or is not text.
    #[error("the environment variable {name} is not set")]
    Env {
        /// Which.
        name: String,
    },
}
