//! The composition root: builds every part, starts, reloads, drains, stops.

mod accounts;
mod describe;
mod learning;
mod letterhead;
mod quarantine;
mod rounds;
mod rulings;
mod scanners;
mod senders;
mod signals;
mod start;
mod texts;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::accounts::store::AccountsDbError;
use crate::admin::banner::Started;
use crate::base::{Clock, PolicyVersion, Reference, Shutdown, metrics};
use crate::config::watch::{EVERY, Watcher};
use crate::config::{Diagnostic, Severity, render};
use crate::delivery::Router;
use crate::directory::Directory;
use crate::ingress::IngressError;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::Policy;
use crate::queue::{Queue, QueueError, StoreError};
use crate::settings::{self, Loaded, Settings};

pub use letterhead::letterhead;
pub use rulings::ways;
pub use signals::Signals;
pub use texts::opt_outs;

/// Why the gateway cannot run, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration has errors; they were printed.
    #[error("the configuration has errors: nothing was started")]
    Configuration,
    /// The queue cannot be opened.
    #[error("the queue in {place} cannot be opened")]
    Queue {
        /// The data folder, or the database.
        place: String,
        /// Why.
        source: QueueError,
    },
    /// The database of accounts cannot be opened.
    #[error("the database of accounts cannot be opened")]
    Accounts(#[source] AccountsDbError),
    /// The metrics cannot be shown.
    #[error("metrics cannot be shown on {address}")]
    Metrics {
        /// The address that the file says.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Mail cannot come in.
    #[error(transparent)]
    Ingress(#[from] IngressError),
    /// Another part failed at the start.
    #[error("{0}")]
    Start(String),
    /// The signals that steer it cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
}

impl ServeError {
    /// What an administrator can do about it.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Queue {
                source: QueueError::Served,
                place,
            } if place.starts_with("PostgreSQL") => {
                Some("stop the other gateway, or give this one a `hostname` of its own")
            }
            Self::Queue {
                source: QueueError::Served,
                ..
            } => Some("stop the other gateway, or give this one a `data` folder of its own"),
            Self::Queue {
                source: QueueError::Store(StoreError::Postgres { .. } | StoreError::Unsafe(_)),
                ..
            } => Some(
                "[store] in the gateway's own file names the database; its log, and pg_hba.conf, say what it thinks of us",
            ),
            Self::Queue {
                source: QueueError::Store(StoreError::Version { .. }),
                ..
            } => Some(
                "a newer program has been here: start that one, or put back the copy of the data from before it",
            ),
            Self::Queue {
                source: QueueError::Store(StoreError::Missing { .. }),
                ..
            } => Some(
                "put it back; without it the -wal, the -shm and the files in spool/ are to be moved away for a queue that begins anew",
            ),
            Self::Queue {
                source: QueueError::Store(StoreError::Rescued { .. }),
                ..
            } => Some(
                "rename it to queue.sqlite, and remove the -wal and -shm there; if a database lies there that others made since, keep that one elsewhere, it may have mail too; or move the copy out of the folder, if nothing in it is wanted",
            ),
            Self::Queue { .. } => Some(
                "the user that runs the gateway must be able to write there; `data` in the gateway's own file names the folder",
            ),
            Self::Metrics { source, .. } | Self::Ingress(IngressError::Bind { source, .. }) => {
                address_help(source)
            }
            Self::Ingress(IngressError::Certificate(_)) => Some(
                "[[tls.certificate]] in the gateway's own file names the files, which its user must be able to read; `postern certs init` makes certificates to try things out",
            ),
            _ => None,
        }
    }
}

fn address_help(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::AddrInUse => Some(
            "another program, a second gateway perhaps, listens there: stop it, or change the address in the gateway's own file",
        ),
        io::ErrorKind::AddrNotAvailable => {
            Some("this machine has no such address: change it in the gateway's own file")
        }
        io::ErrorKind::PermissionDenied => Some(
            "ports below 1024 need a right of their own (CAP_NET_BIND_SERVICE): grant it, or change the address in the gateway's own file",
        ),
        _ => None,
    }
}

/// Runs the gateway until SIGTERM or SIGINT, then drains it: no new connections, sessions in data
/// finish, deliveries in flight settle. `say` gets what the terminal shows once it has started.
pub async fn serve(
    config: &Path,
    loaded: Loaded,
    signals: Signals,
    say: impl FnOnce(&Started),
) -> Result<(), ServeError> {
    let Loaded {
        settings,
        files,
        diagnostics,
        ..
    } = loaded;
    let settings = settings.ok_or(ServeError::Configuration)?;
    let shutdown = Shutdown::new();
    let watcher = Watcher::start(files.clone(), EVERY, &shutdown);
    let clock = Clock::system();
    let queue = open_queue(&settings, &clock).await?;
    let desk = accounts::open(&settings).await?;

    let Signals { mut end, hangup } = signals;
    let started = start::start(config, &settings, &queue, &desk, &clock, &shutdown).await;
    let mut in_force = None;
    let ended = match started {
        Ok((reload, mut started)) => {
            in_force = Some(reload.policy.subscribe());
            started.warnings = diagnostics.len();
            say(&started);
            shutdown.spawn(follow(reload, watcher, files, hangup));
            // Not inside the macro: what a log line holds is not evaluated where the level is too low.
            let name = end.wait().await;
            info!("{name}: draining");
            Ok(())
        }
        Err(error) => Err(error),
    };
    // Also where the start failed half-way: deliveries may be in flight.
    tokio::select! {
        () = drain(&shutdown) => (),
        name = end.wait() => warn!("{name} again: what is not finished is cut off"),
    }
    if let Some(policies) = &in_force {
        senders::flush(policies).await;
    }
    accounts::close(desk).await;
    queue.close().await;
    info!("stopped");
    ended
}

async fn open_queue(settings: &Settings, clock: &Clock) -> Result<Queue, ServeError> {
    let failed = |source| ServeError::Queue {
        place: settings.queue_place(),
        source,
    };
    let queue = settings.open_queue(clock.clone()).await.map_err(failed)?;
    queue.recover().await.map_err(failed)?;
    Ok(queue)
}

async fn drain(shutdown: &Shutdown) {
    shutdown.begin();
    if tokio::time::timeout(DRAIN_MAX, shutdown.finished())
        .await
        .is_err()
    {
        warn!(
            seconds = DRAIN_MAX.as_secs(),
            "not everything ended in time; what is left is in the queue"
        );
    }
}

/// What a reload needs and changes.
struct Reload {
    config: PathBuf,
    queue: Queue,
    clock: Clock,
    policy: watch::Sender<Arc<Policy>>,
    routes: watch::Sender<Arc<Router>>,
    accounts: Arc<crate::accounts::Desk>,
}

/// Loads the policy anew whenever a file changes or SIGHUP comes.
async fn follow(
    reload: Reload,
    mut watcher: Watcher,
    mut followed: Vec<PathBuf>,
    mut hangup: Signal,
) {
    loop {
        tokio::select! {
            changed = watcher.changed() => {
                if !changed {
                    return;
                }
                while let Some(others) = reload.run(&followed).await {
                    // What they say now was read before they were followed: once more.
                    followed.clone_from(&others);
                    watcher.follow(others).await;
                }
            }
            _ = hangup.recv() => watcher.ask(),
        }
    }
}

impl Reload {
    /// Takes the changed files into force, or says why not and keeps the policy as it was. Does
    /// neither if the files name others than those that are followed: these must be followed first.
    async fn run(&self, followed: &[PathBuf]) -> Option<Vec<PathBuf>> {
        let Loaded {
            settings,
            diagnostics,
            files,
            ..
        } = self.load().await?;
        if files.iter().any(|file| !followed.contains(file)) {
            // The repair of a broken file may be in one that was named before.
            return Some(union(followed, files));
        }
        let Some(settings) = settings else {
            metrics::POLICY_RELOADS_REFUSED.add(1);
            log_errors(&diagnostics);
            error!("the changed policy has errors: the one before stays in force");
            let in_force = Arc::clone(&self.policy.borrow());
            accounts::shut_what_is_taken_away(&self.accounts, in_force).await;
            return None;
        };
        let version = settings.policy.version().clone();
        record_policy(&self.queue, &self.clock, &version).await;
        let directory = Arc::clone(settings.policy.directory());
        settings.policy.sms().follow(self.policy.borrow().sms());
        self.policy.send_replace(settings.policy);
        self.accounts.shut_nobody_else();
        remove_older(directory);
        // After the policy: whoever has these routes asks no other for the exchangers that may have patient data.
        self.routes.send_modify(|router| {
            *router = Arc::new(router.replaced_by(settings.delivery.routes));
        });
        metrics::POLICY_RELOADS.add(1);
        info!(policy = %version, warnings = diagnostics.len(), "the changed policy is in force (listeners and limits change with a restart)");
        None
    }

    /// Reads the files off the threads that serve mail: a large directory takes seconds. `None` if
    /// the runtime is ending.
    async fn load(&self) -> Option<Loaded> {
        let (config, clock) = (self.config.clone(), self.clock.clone());
        let here = tokio::runtime::Handle::current();
        let load = move || here.block_on(settings::load_to_serve(&config, &clock));
        tokio::task::spawn_blocking(load).await.ok()
    }
}

/// Removes the compiled directories that are no longer in force. Who still uses one keeps it.
fn remove_older(directory: Arc<Directory>) {
    tokio::task::spawn_blocking(move || directory.remove_older());
}

fn union(followed: &[PathBuf], files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut all = followed.to_vec();
    all.extend(files);
    all.sort();
    all.dedup();
    all
}

/// Warnings are for `postern check`: at each change again they would bury what is new.
fn log_errors(diagnostics: &[Diagnostic]) {
    let errors = diagnostics
        .iter()
        .filter(|one| one.severity == Severity::Error);
    for diagnostic in errors {
        error!("{}", render::short(diagnostic));
    }
}

async fn record_policy(queue: &Queue, clock: &Clock, version: &PolicyVersion) {
    let mut event = AuditEvent::new(
        clock.now(),
        Reference::random(),
        AuditKind::PolicyLoaded,
        "",
    );
    event.policy = Some(version.clone());
    if let Err(error) = queue.record(vec![event]).await {
        error!(%error, "the audit trail does not take the change of policy");
    }
}

/// How long a drain may take: longer than an attempt that is going well.
const DRAIN_MAX: Duration = Duration::from_secs(60);
