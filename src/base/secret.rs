//! Secrets: named by file or environment variable, never printed.
//!
//! A policy file says where a secret is, not what it is. The value is read here, shown by no
//! `Debug`, overwritten when it is dropped, and repeated in no error.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A password, key or token. `Debug` prints `***`; the memory is overwritten on drop.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as a secret, exactly as it is.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Reads a secret from where it is kept. Line ends after it are taken off: every editor adds
    /// one. Blocks on the file.
    ///
    /// # Errors
    /// Names the file or the variable, never what is in it.
    pub fn load(source: &SecretSource) -> Result<Self, SecretError> {
        let text = match source {
            SecretSource::File(path) => read_file(path)?,
            SecretSource::Env(name) => read_variable(name)?,
        };
        let bare = text.trim_end_matches(['\r', '\n']);
        if bare.is_empty() {
            return Err(SecretError::Empty(source.clone()));
        }
        Ok(Self::new(bare.to_owned()))
    }

    /// The secret itself. Each call is a place that an auditor looks at.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a secret is kept: `{ file = "…" }` or `{ env = "…" }` in a policy file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// The content of a file.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is not there, or not for us to read.
    #[error("secret file {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The environment variable is not set.
    #[error("environment variable {0} is not set")]
    Unset(String),
    /// Nothing but line ends.
    #[error("the secret in {0} is empty")]
    Empty(SecretSource),
    /// Longer than a secret is: the wrong file, most likely.
    #[error("the secret in {0} is longer than {LENGTH_MAX} octets")]
    TooLong(SecretSource),
    /// Not UTF-8.
    #[error("the secret in {0} is not text")]
    NotText(SecretSource),
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let mut octets = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| file.take(LENGTH_MAX + 1).read_to_end(&mut octets))
        .map_err(|error| SecretError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
    let source = || SecretSource::File(path.to_owned());
    if octets.len() as u64 > LENGTH_MAX {
        return Err(SecretError::TooLong(source()));
    }
    match std::str::from_utf8(&octets) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(SecretError::NotText(source())),
    }
}

fn read_variable(name: &str) -> Result<Zeroizing<String>, SecretError> {
    match std::env::var(name) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(std::env::VarError::NotPresent) => Err(SecretError::Unset(name.to_owned())),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(SecretError::NotText(SecretSource::Env(name.to_owned())))
        }
    }
}

/// Longest secret read, in octets. A private key or a token of an issuer fits many times over.
const LENGTH_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upstream-password");
        std::fs::write(&path, content).unwrap();
        (folder, SecretSource::File(path))
    }

    #[test]
    fn a_secret_in_a_file_ends_before_its_line_end() {
        for content in ["s3cret word", "s3cret word\n", "s3cret word\r\n\n"] {
            let (_folder, source) = file(content.as_bytes());
            assert_eq!(Secret::load(&source).unwrap().expose(), "s3cret word");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("s3cret".to_owned());
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret)),
            "*** Some(\n    ***,\n)"
        );
    }

    #[test]
    fn errors_name_the_place_and_not_the_content() {
        let (folder, source) = file(b"\n\n");
        let said = Secret::load(&source).unwrap_err().to_string();
        assert!(said.contains("upstream-password"), "{said}");

        let (_folder, source) = file(b"s3cret\xff");
        let said = format!("{:?}", Secret::load(&source).unwrap_err());
        assert!(!said.contains("s3cret"), "{said}");

        let (_folder, source) = file(&[b'x'; 70_000]);
        assert!(matches!(
            Secret::load(&source),
            Err(SecretError::TooLong(_))
        ));

        let missing = SecretSource::File(folder.path().join("none"));
        let said = Secret::load(&missing).unwrap_err().to_string();
        assert!(said.contains("none cannot be read"), "{said}");

        let unset = SecretSource::Env("POSTERN_TEST_NO_SUCH_VARIABLE".into());
        let said = Secret::load(&unset).unwrap_err().to_string();
        assert_eq!(
            said,
            "environment variable POSTERN_TEST_NO_SUCH_VARIABLE is not set"
        );
    }

    #[test]
    fn a_secret_in_the_environment_is_read() {
        // Cargo sets this one for every test.
        let source = SecretSource::Env("CARGO_PKG_NAME".into());
        assert_eq!(Secret::load(&source).unwrap().expose(), "postern");
    }
}
