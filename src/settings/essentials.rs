//! What the commands about accounts want of a configuration that cannot be put in force.
//!
//! An account whose secret is out must be shut at once, whatever is wrong with the other files.

use std::path::{Path, PathBuf};

use crate::base::Clock;
use crate::config::{Diagnostics, Located, Section, load_toml};
use crate::mail::Domain;
use crate::policy::settings::Files;
use crate::queue::{self, Queue, QueueError};

/// Where accounts and the audit trail lie.
pub struct Essentials {
    /// `accounts.toml`.
    pub accounts: PathBuf,
    /// Where the secrets are, and the queue unless it lies in a database.
    pub data: PathBuf,
    /// Whether the gateway's own file says all this without an error: else it may be that another place is meant.
    pub is_sure: bool,
    hostname: Option<Domain>,
    store: queue::Settings,
}

impl Essentials {
    /// Takes them out of the gateway's own file; `None` if it cannot be read. What is wrong with it is for
    /// [`load`](super::load) to say.
    pub fn read(path: &Path) -> Option<Self> {
        load_toml(path, &Diagnostics::default(), |top| Self::of(top, path))
    }

    fn of(top: &Section<'_>, path: &Path) -> Self {
        let hostname = top.required::<Domain>("hostname").map(Located::into_inner);
        let data = super::data_folder(top, path);
        let store = queue::Settings::read(top);
        let accounts = Files::read(top).accounts;
        Self {
            accounts,
            data,
            // The keys of others, which nobody here asks for, are counted as unknown after this.
            is_sure: !top.diagnostics().has_errors(),
            hostname,
            store,
        }
    }

    /// Opens the queue for the audit trail.
    pub async fn open_queue(&self, clock: Clock) -> Result<Queue, QueueError> {
        let hostname = self.hostname.as_ref().map_or("invalid", Domain::as_str);
        Queue::open_by(&self.store, &self.data, hostname, clock).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn essentials(text: &str) -> Essentials {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        std::fs::write(&path, text).unwrap();
        Essentials::read(&path).unwrap()
    }

    #[test]
    fn what_others_wrote_wrong_makes_nothing_unsure() {
        let text = "hostname = \"gateway.example\"\ndata = \"/var/mail\"\n[files]\naccounts = \"/etc/apps.toml\"\n";
        for (broken, is_sure) in [
            ("", true),
            ("[polcy]\nx = 1\n", true),
            ("[policy]\nserves = 7\n", true),
            ("acounts = \"x\"\n", false),
            ("[store]\npostgresql = \"nonsense\"\n", false),
            ("[policy]\nserves = = 7\n", false),
        ] {
            let found = essentials(&format!("{text}{broken}"));
            assert_eq!(found.is_sure, is_sure, "{broken}");
            assert_eq!(found.accounts, Path::new("/etc/apps.toml"));
            assert_eq!(found.data, Path::new("/var/mail"));
        }
        assert!(!essentials("").is_sure);
    }
}
