//! What was learnt of destinations, kept over a restart in `<data>/learnt.json`.
//!
//! Mail that found nobody waits for hours by its own schedule, and is called back when somebody is there again. That
//! somebody has to be called back must outlive a restart, which is what people do when something is wrong. After one, the
//! circuit of a next hop that was away is open and its next trial is due: one message finds out. What a next hop takes at
//! once holds as before. What is older than a day is forgotten.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::destination::{Board, Now, REMEMBERED_MAX};
use super::health::{Health, Memory};
use super::{Handle, Shared};

/// By the names of destinations.
type Memories = BTreeMap<String, Memory>;

impl Handle {
    /// Takes up what was learnt of destinations before the last stop, and from now on keeps it in this data folder.
    pub fn remember_in(&self, data: &Path) {
        let (shared, file) = (Arc::clone(&self.shared), data.join(FILE));
        match read(&file) {
            Ok(memories) => {
                let known = shared.board().take_up(memories, shared.now());
                if known > 0 {
                    info!(known, "what was learnt of destinations is taken up");
                }
            }
            Err(error) => warn!(%error, "what was learnt of destinations is lost"),
        }
        self.shared.shutdown.spawn(shared.keep(file));
    }
}

impl Shared {
    /// Writes it down when it has changed, and at the end.
    async fn keep(self: Arc<Self>, file: PathBuf) {
        let mut written = None;
        loop {
            let is_last = self.shutdown.has_begun();
            let memories = self.board().memories();
            if written.as_ref() != Some(&memories) {
                let (file, list) = (file.clone(), memories.clone());
                match tokio::task::spawn_blocking(move || write(&file, &list)).await {
                    Ok(Ok(())) => written = Some(memories),
                    Ok(Err(error)) => warn!(%error, "what was learnt of destinations is not kept"),
                    Err(_) => return,
                }
            }
            if is_last {
                return;
            }
            let pause = tokio::time::sleep(KEPT_EVERY);
            self.shutdown.unless_begun(pause).await;
        }
    }
}

impl Board {
    /// Adds what was known, where nothing newer is. Returns of how many destinations.
    fn take_up(&mut self, memories: Memories, now: Now) -> usize {
        for (name, memory) in memories.into_iter().take(REMEMBERED_MAX) {
            if let Some(health) = Health::remembered(memory, now.time) {
                self.health.entry(name).or_insert(health);
            }
        }
        self.health.len()
    }

    fn memories(&self) -> Memories {
        let health = self.health.iter();
        health
            .map(|(name, one)| (name.clone(), one.memory()))
            .collect()
    }
}

/// Nothing where nothing was kept.
fn read(file: &Path) -> io::Result<Memories> {
    match fs::read(file) {
        Ok(octets) => Ok(serde_json::from_slice(&octets)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memories::new()),
        Err(error) => Err(error),
    }
}

/// Puts a whole file in place of the one before, for its owner alone. What is lost with the machine costs some attempts.
fn write(file: &Path, memories: &Memories) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let octets = serde_json::to_vec(memories)?;
    options.open(&new)?.write_all(&octets)?;
    fs::rename(&new, file)
}

/// Its name in the data folder.
const FILE: &str = "learnt.json";
/// Between two looks.
const KEPT_EVERY: Duration = Duration::from_secs(5);
