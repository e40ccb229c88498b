//! A secret in the settings is never written in: they name the file or the variable that holds it.

use crate::base::secret::SecretSource;

use super::located::Located;
use super::section::Section;

impl Section<'_> {
    /// Reads the table as the name of a secret, `{ file = "…" }` or `{ env = "…" }`. `None` if it is not one of them alone,
    /// which is for the caller to report.
    pub fn secret_source(self) -> Option<Located<SecretSource>> {
        let (file, env) = (self.path("file"), self.string("env"));
        self.finish();
        match (file, env) {
            (Some(file), None) => Some(file.map(SecretSource::File)),
            (None, Some(env)) => Some(env.map(SecretSource::Env)),
            _ => None,
        }
    }
}
