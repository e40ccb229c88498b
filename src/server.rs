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

use crate::accounts::Desk;
use crate::accounts::store::AccountsDbError;
use crate::admin;
use crate::admin::banner::Started;
use crate::base::https::Https;
use crate::base::{Clock, PolicyVersion, Reference, Shutdown, metrics};
use crate::config::watch::{EVERY, Watcher};
use crate::config::{Diagnostic, Severity, render};
use crate::delivery::upstream::Upstream;
use crate::delivery::{Assurance, Deliveries, Router};
use crate::directory::Directory;
use crate::ingress::{self, IngressError};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::Policy;
use crate::queue::{Queue, QueueError, StoreError};
use crate::scheduler::Scheduler;
use crate::settings::{self, Loaded, Settings};

use describe::describe;
use rulings::{exchangers, rulings};

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
    let started = start(config, &settings, &queue, &desk, &clock, &shutdown).await;
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

/// Starts every part. What is running when one of them fails is for the caller to drain.
async fn start(
    config: &Path,
    settings: &Settings,
    queue: &Queue,
    desk: &Arc<Desk>,
    clock: &Clock,
    shutdown: &Shutdown,
) -> Result<(Reload, Started), ServeError> {
    let (policy, policies) = watch::channel(Arc::clone(&settings.policy));
    record_policy(queue, clock, settings.policy.version()).await;
    remove_older(Arc::clone(settings.policy.directory()));
    let router = Arc::new(Router::new(settings.delivery.routes.clone()));
    let (routes, router) = watch::channel(router);
    let text_key = texts::key(settings)?;
    let texts = texts::open(settings, text_key.as_ref(), clock)?;
    let roots = &settings.delivery.connections.extra_roots;
    let https = Https::new(roots, settings.dns.clone())
        .map_err(|error| ServeError::Start(error.to_string()))?;
    let deliveries = Deliveries::new(
        &settings.delivery.connections,
        settings.dns.clone(),
        settings.hostname.as_str(),
        clock.clone(),
    )
    .map_err(|error| ServeError::Start(error.to_string()))?
    .asking(exchangers(policies.clone()))
    .with_texts(texts.clone())
    .with_upstream(open_upstream(settings)?);
    let assurance = open_assurance(settings, clock)?;
    let deliveries = deliveries.with_assurance(Arc::clone(&assurance));
    let in_force = policies.clone();
    let letterhead = letterhead(
        &settings.hostname,
        move || Arc::clone(in_force.borrow().signing()),
        clock.clone(),
    );
    let scheduler = Scheduler::start(
        queue.clone(),
        router,
        deliveries,
        rulings(&policies),
        clock.clone(),
        shutdown.clone(),
        letterhead.clone(),
    );
    scheduler.show_in(&settings.data);
    texts::listen(
        settings,
        texts.as_ref(),
        (queue, &scheduler),
        clock,
        shutdown,
    )
    .await?;
    let metrics = start_metrics(&settings.admin, shutdown).await?;
    let parts = ingress::Parts {
        accounts: Arc::clone(desk),
        hostname: settings.hostname.clone(),
        letterhead: letterhead.clone(),
        data: settings.data.clone(),
        text_key,
        policies,
        queue: queue.clone(),
        scheduler,
        clock: clock.clone(),
        shutdown: shutdown.clone(),
    };
    let quarantine = quarantine::start(settings, &parts).await?;
    let listening = ingress::start(&settings.ingress, parts).await?;
    shutdown.spawn(quarantine.run(shutdown.clone()));
    let started = describe(config, settings, &listening, metrics);
    let bookkeeper = accounts::Bookkeeper {
        desk: Arc::clone(desk),
        queue: queue.clone(),
        policies: policy.subscribe(),
        clock: clock.clone(),
        letterhead: letterhead.clone(),
        https: https.clone(),
        routes: routes.subscribe(),
    };
    shutdown.spawn(bookkeeper.run(shutdown.clone()));
    let transport = transport::TransportRounds {
        wants_dane: settings.delivery.transport.dane && settings.delivery.asks_exchangers(),
        assurance,
        dns: settings.dns.clone(),
        queue: queue.clone(),
        clock: clock.clone(),
        letterhead: letterhead.clone(),
    };
    shutdown.spawn(transport.run(shutdown.clone()));
    let rounds = rounds::Rounds {
        queue: queue.clone(),
        policies: policy.subscribe(),
        clock: clock.clone(),
        dns: settings.dns.clone(),
        letterhead,
    };
    shutdown.spawn(rounds.run(shutdown.clone()));
    let learning = learning::Learning {
        policies: policy.subscribe(),
        data: settings.data.clone(),
        clock: clock.clone(),
    };
    shutdown.spawn(learning.run(shutdown.clone()));
    let scanners = scanners::Scanners {
        policies: policy.subscribe(),
        clock: clock.clone(),
    };
    shutdown.spawn(scanners.run(shutdown.clone()));
    let reload = Reload {
        config: config.to_owned(),
        queue: queue.clone(),
        clock: clock.clone(),
        policy,
        routes,
    };
    Ok((reload, started))
}

/// Opens the counts of what accounts at smart hosts have sent.
fn open_upstream(settings: &Settings) -> Result<Arc<Upstream>, ServeError> {
    let opened = Upstream::open(&settings.data);
    let opened = opened.map_err(|error| ServeError::Start(error.to_string()))?;
    Ok(Arc::new(opened))
}

/// What is known of destinations.
fn open_assurance(settings: &Settings, clock: &Clock) -> Result<Arc<Assurance>, ServeError> {
    let opened = Assurance::open(
        settings.delivery.transport.clone(),
        &settings.data,
        settings.dns.clone(),
        &settings.delivery.connections.extra_roots,
        clock.clone(),
    );
    opened
        .map(Arc::new)
        .map_err(|error| ServeError::Start(error.to_string()))
}

async fn start_metrics(
    settings: &admin::Settings,
    shutdown: &Shutdown,
) -> Result<Option<SocketAddr>, ServeError> {
    let started = admin::metrics::start(settings, shutdown).await;
    started.map_err(|source| match &settings.metrics {
        Some(address) => ServeError::Metrics {
            address: **address,
            source,
        },
        None => ServeError::Start(source.to_string()),
    })
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
            return None;
        };
        let version = settings.policy.version().clone();
        record_policy(&self.queue, &self.clock, &version).await;
        let directory = Arc::clone(settings.policy.directory());
        self.policy.send_replace(settings.policy);
        remove_older(directory);
        self.routes
            .send_replace(Arc::new(Router::new(settings.delivery.routes)));
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
