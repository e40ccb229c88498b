//! Follows files; says when one has changed.
//!
//! Files are looked at every few seconds: that works on every file system, mounted ones included,
//! and with every editor's way of saving. A change is told once its content has stood still for two
//! looks, so that a half-written file is not taken. A file that was touched but says the same is not
//! a change. What to do about a change is the caller's affair: a bad file keeps the last good policy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, watch};

use crate::base::Shutdown;

/// Follows a set of files and folders until the shutdown.
#[derive(Debug)]
pub struct Watcher {
    followed: Arc<Mutex<Followed>>,
    asked: Arc<Notify>,
    changes: watch::Receiver<u64>,
}

impl Watcher {
    /// Starts to follow `paths`, looking every `every`. Begin before the files are read: what changes
    /// after this call is told. A path that is not there is followed as well; folders are followed
    /// with all that is below them, but for hidden files and editors' backups (`name~`).
    pub fn start(paths: Vec<PathBuf>, every: Duration, shutdown: &Shutdown) -> Self {
        let first = snapshot(&paths, &Snapshot::default());
        let anew = Snapshot::default();
        let followed = Arc::new(Mutex::new(Followed { paths, anew }));
        let asked = Arc::new(Notify::new());
        let (tell, changes) = watch::channel(0);
        let look = Look {
            followed: Arc::clone(&followed),
            asked: Arc::clone(&asked),
            every,
            first,
        };
        let end = shutdown.clone();
        shutdown.spawn(async move { look.on(&tell, &end).await });
        Self {
            followed,
            asked,
            changes,
        }
    }

    /// Follows these from now on, and no others: after a reload that names other files. What changes
    /// in a new one after this call is told: read it once more.
    pub async fn follow(&self, paths: Vec<PathBuf>) {
        let mut new = paths.clone();
        new.retain(|path| !lock(&self.followed).paths.contains(path));
        let anew = look(new, Snapshot::default()).await.unwrap_or_default();
        let mut followed = lock(&self.followed);
        followed.paths = paths;
        followed.anew.0.extend(anew.0);
    }

    /// Says "changed" at once, whether or not a file did: somebody asked for a reload (SIGHUP).
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Returns `true` when something has changed since the last call, `false` when the shutdown has
    /// begun. Several changes between two calls are one.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }
}

/// How often to look, unless a test is in a hurry.
pub const EVERY: Duration = Duration::from_secs(2);

/// What is followed, and how that looked which is followed for the first time: the task takes it out.
#[derive(Debug)]
struct Followed {
    paths: Vec<PathBuf>,
    anew: Snapshot,
}

/// The task's own part.
struct Look {
    followed: Arc<Mutex<Followed>>,
    asked: Arc<Notify>,
    every: Duration,
    first: Snapshot,
}

impl Look {
    async fn on(self, tell: &watch::Sender<u64>, end: &Shutdown) {
        let mut told = self.first.clone();
        let mut last = self.first.clone();
        loop {
            let asked = tokio::select! {
                () = end.begun() => return,
                () = self.asked.notified() => true,
                () = tokio::time::sleep(self.every) => false,
            };
            let (paths, anew) = {
                let mut followed = lock(&self.followed);
                (followed.paths.clone(), std::mem::take(&mut followed.anew))
            };
            told.follow(&paths, anew);
            let Some(now) = look(paths, last.clone()).await else {
                continue;
            };
            let settled = now.says_the_same_as(&last);
            if asked || (settled && !now.says_the_same_as(&told)) {
                told = now.clone();
                tell.send_modify(|count| *count += 1);
            }
            last = now;
        }
    }
}

/// Looks at every file on a thread that may wait for the disk. `None` if the runtime is ending.
async fn look(paths: Vec<PathBuf>, before: Snapshot) -> Option<Snapshot> {
    tokio::task::spawn_blocking(move || snapshot(&paths, &before))
        .await
        .ok()
}

/// What every file says, at one moment.
#[derive(Clone, Debug, Default)]
struct Snapshot(BTreeMap<PathBuf, Seen>);

impl Snapshot {
    fn says_the_same_as(&self, other: &Self) -> bool {
        let contents = |snapshot: &Self| -> Vec<(PathBuf, [u8; 32])> {
            let seen = snapshot.0.iter();
            seen.map(|(path, seen)| (path.clone(), seen.content))
                .collect()
        };
        contents(self) == contents(other)
    }

    /// Forgets what is no longer followed; what is followed anew counts as told as it was then.
    fn follow(&mut self, paths: &[PathBuf], anew: Self) {
        self.0
            .retain(|file, _| paths.iter().any(|path| file.starts_with(path)));
        self.0.extend(anew.0);
    }
}

/// One file as it was seen.
#[derive(Clone, Debug)]
struct Seen {
    octets: u64,
    modified: Option<SystemTime>,
    /// Whether the file was young when it was read: another write may bear the same time.
    young: bool,
    content: [u8; 32],
}

fn snapshot(paths: &[PathBuf], before: &Snapshot) -> Snapshot {
    let mut files = BTreeMap::new();
    for path in paths {
        add(path, DEPTH_MAX, before, &mut files);
    }
    Snapshot(files)
}

fn add(path: &Path, depth: usize, before: &Snapshot, files: &mut BTreeMap<PathBuf, Seen>) {
    let Ok(entry) = std::fs::metadata(path) else {
        return;
    };
    if entry.is_file() {
        let known = before.0.get(path);
        if let Some(seen) = see(path, &entry, known) {
            files.insert(path.to_owned(), seen);
        }
        return;
    }
    let Ok(folder) = std::fs::read_dir(path) else {
        return;
    };
    if depth == 0 {
        return;
    }
    for item in folder.flatten() {
        let name = item.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with('.') && !name.ends_with('~') {
            add(&item.path(), depth - 1, before, files);
        }
    }
}

/// Reads a file's content only if its size or time say that it may have changed.
fn see(path: &Path, entry: &std::fs::Metadata, known: Option<&Seen>) -> Option<Seen> {
    let modified = entry.modified().ok();
    if let Some(known) = known
        && !known.young
        && (known.octets, known.modified) == (entry.len(), modified)
    {
        return Some(known.clone());
    }
    let young = modified
        .and_then(|time| SystemTime::now().duration_since(time).ok())
        .is_none_or(|age| age < YOUNG);
    Some(Seen {
        octets: entry.len(),
        modified,
        young,
        content: hash(path)?,
    })
}

fn hash(path: &Path) -> Option<[u8; 32]> {
    use std::io::Read as _;

    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        match file.read(&mut block).ok()? {
            0 => return Some(hasher.finalize().into()),
            read => hasher.update(&block[..read]),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nobody panics while holding it; if somebody did, the list of paths is whole all the same.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Folders below a followed one that are looked into.
const DEPTH_MAX: usize = 8;
/// A time stamp this recent does not tell two writes apart (coarse file systems: 2 s on FAT).
const YOUNG: Duration = Duration::from_secs(4);
/// Read at a time while hashing, in octets.
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG: Duration = Duration::from_secs(60);

    fn watcher(paths: &[&Path]) -> (Watcher, Shutdown) {
        let shutdown = Shutdown::new();
        let paths = paths.iter().map(|path| path.to_path_buf()).collect();
        (Watcher::start(paths, EVERY, &shutdown), shutdown)
    }

    /// Whether a change is told within a minute of looks; the clock of the test is paused.
    async fn is_told(watcher: &mut Watcher) -> bool {
        tokio::time::timeout(LONG, watcher.changed()).await == Ok(true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "one").unwrap();
        let (mut watcher, _shutdown) = watcher(&[&path]);

        fs::write(&path, "two").unwrap();

        assert!(is_told(&mut watcher).await);
        assert!(!is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_touched_file_that_says_the_same_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "one").unwrap();
        let (mut watcher, _shutdown) = watcher(&[&path]);

        fs::write(&path, "one").unwrap();

        assert!(!is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_come_and_go_in_a_folder_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watcher, _shutdown) = watcher(&[folder.path()]);

        let path = folder.path().join("tests/new.toml");
        fs::create_dir(folder.path().join("tests")).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(is_told(&mut watcher).await);
        fs::write(folder.path().join(".swap"), "x").unwrap();
        assert!(!is_told(&mut watcher).await);
        fs::remove_file(&path).unwrap();
        assert!(is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_still_being_written_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(&path, "").unwrap();
        let (mut watcher, _shutdown) = watcher(&[&path]);

        // Between two looks, so that each finds another content.
        tokio::time::sleep(EVERY / 2).await;
        for part in 1..20 {
            fs::write(&path, "x".repeat(part)).unwrap();
            let told = tokio::time::timeout(EVERY, watcher.changed()).await;
            assert!(told.is_err(), "told after part {part}");
        }
        assert!(is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_is_asked_for_comes_at_once() {
        let (mut watcher, _shutdown) = watcher(&[]);
        watcher.ask();
        assert!(is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_followed_anew_counts_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "1").unwrap();
        fs::write(&new, "1").unwrap();
        let (mut watcher, _shutdown) = watcher(&[&old]);

        watcher.follow(vec![new.clone()]).await;
        assert!(!is_told(&mut watcher).await);
        fs::write(&new, "2").unwrap();
        assert!(is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_followed_anew_may_change_before_the_first_look() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("new");
        fs::write(&new, "1").unwrap();
        let (mut watcher, _shutdown) = watcher(&[]);

        watcher.follow(vec![new.clone()]).await;
        fs::write(&new, "2").unwrap();

        assert!(is_told(&mut watcher).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_shutdown_ends_it() {
        let (mut watcher, shutdown) = watcher(&[]);
        shutdown.begin();
        shutdown.finished().await;
        assert!(!watcher.changed().await);
    }
}
