//! The composition root: builds every part, starts, reloads, drains, stops.

mod accounts;
mod learning;
mod letterhead;
mod quarantine;
mod rounds;
mod texts;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::accounts::Desk;
use crate::accounts::store::AccountsDbError;
use crate::admin;
use crate::admin::banner::{self, Started};
use crate::base::https::Https;
use crate::base::{Clock, PolicyVersion, Reference, Shutdown, metrics};
use crate::config::watch::{EVERY, Watcher};
use crate::config::{Diagnostic, Severity, render};
use crate::delivery::{Assurance, Deliveries, Exchangers, Listing, Router, Transport};
use crate::directory::Directory;
use crate::ingress::settings::{ListenerSettings, ListenerTls};
use crate::ingress::{self, IngressError};
use crate::mail::{ForwardPath, Mailbox, Service};
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::secure_domains::{ExchangerStanding, FallbackAction};
use crate::policy::{Hears, Policy};
use crate::queue::{Queue, QueueError};
use crate::scheduler::{Fallback, Holding, Rulings, Scheduler, Then};
use crate::settings::{self, Loaded, Settings};

pub use letterhead::letterhead;
pub use texts::opt_outs;

/// Why the gateway cannot run, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration has errors; they were printed.
    #[error("the configuration has errors: nothing was started")]
    Configuration,
    /// The queue cannot be opened.
    #[error("the queue in {folder} cannot be opened", folder = folder.display())]
    Queue {
        /// The data folder.
        folder: PathBuf,
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
                ..
            } => Some("stop the other gateway, or give this one a `data` folder of its own"),
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
    let ended = match started {
        Ok((reload, mut started)) => {
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
    .with_texts(texts.clone());
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
    let reload = Reload {
        config: config.to_owned(),
        queue: queue.clone(),
        clock: clock.clone(),
        policy,
        routes,
    };
    Ok((reload, started))
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

/// What the policy in force at the moment of an attempt says of secure domains.
fn rulings(policies: &watch::Receiver<Arc<Policy>>) -> Rulings {
    let (at_fallback, at_attempt, at_hold) = (policies.clone(), policies.clone(), policies.clone());
    Rulings {
        fallbacks: Arc::new(move |path| fallback(&at_fallback.borrow(), path)),
        is_secure: Arc::new(move |path, now| {
            let policy = at_attempt.borrow();
            path.domain()
                .is_some_and(|domain| policy.secure_domains().is_secure(domain, now))
        }),
        holdings: Arc::new(move |sender| holding(&at_hold.borrow(), sender)),
    }
}

/// What the register in force at the moment of an attempt says of the hosts that DNS names.
fn exchangers(policies: watch::Receiver<Arc<Policy>>) -> Exchangers {
    Arc::new(
        move |domain, host| match policies.borrow().secure_domains().exchanger(domain, host) {
            ExchangerStanding::Unlisted => Listing::None,
            ExchangerStanding::Listed => Listing::Listed,
            ExchangerStanding::Stranger => Listing::Stranger,
        },
    )
}

fn fallback(policy: &Policy, path: &ForwardPath) -> Fallback {
    let default = Fallback::default();
    let Some(domain) = path.domain() else {
        return default;
    };
    let said = policy.secure_domains().fallback(domain);
    Fallback {
        then: said.then.map_or(default.then, |then| match then {
            FallbackAction::Defer => Then::Defer,
            FallbackAction::Hold => Then::Hold,
            FallbackAction::Encrypt => Then::Encrypt,
            FallbackAction::Bounce => Then::Bounce,
        }),
        after: said.after.unwrap_or(default.after),
    }
}

/// Who hears of a hold, and who decides about it.
fn holding(policy: &Policy, sender: &Mailbox) -> Holding {
    let (to, program) = match policy.hears_of_hold(sender) {
        Hears::Sender(to) => (to, None),
        Hears::Owner { to, program } => (to, Some(program)),
    };
    Holding {
        owner: policy.holds().owner.clone(),
        to,
        program,
    }
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
        folder: settings.data.clone(),
        source,
    };
    let queue = Queue::open(&settings.data, clock.clone())
        .await
        .map_err(failed)?;
    queue.recover().await.map_err(failed)?;
    Ok(queue)
}

/// The signals that steer the gateway. Take them first of all: from then on one that comes early
/// waits its turn instead of ending the process.
pub struct Signals {
    end: EndSignals,
    hangup: Signal,
}

/// Those that ask for the end.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// None of them ends the process by itself any more.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn take() -> Result<Self, ServeError> {
        let take = |kind| signal(kind).map_err(ServeError::Signals);
        Ok(Self {
            end: EndSignals {
                terminate: take(SignalKind::terminate())?,
                interrupt: take(SignalKind::interrupt())?,
            },
            hangup: take(SignalKind::hangup())?,
        })
    }
}

impl EndSignals {
    /// Waits for the next one; returns its name.
    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
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

/// What is shown of a gateway that has started, with every path in full.
fn describe(
    config: &Path,
    settings: &Settings,
    listening: &[ingress::Listening],
    metrics: Option<SocketAddr>,
) -> Started {
    let listeners = listening.iter().map(|one| banner::Listener {
        name: one.name.clone(),
        address: one.address,
        description: one.description.clone(),
    });
    let routes = settings.delivery.routes.iter().map(|route| banner::Route {
        name: route.name.clone(),
        transport: match &route.transport {
            Transport::Maildir { folder } => format!("Maildir {}", in_full(folder)),
            other => other.to_string(),
        },
    });
    let certificates = settings.ingress.certificates.iter();
    Started {
        hostname: settings.hostname.to_string(),
        listeners: listeners.collect(),
        metrics,
        policy: in_full(config),
        warnings: 0,
        data: in_full(&settings.data),
        certificates: certificates
            .map(|pair| in_full(&pair.certificate))
            .collect(),
        routes: routes.collect(),
        first_message: first_message(settings, listening),
    }
}

/// A message to try things out, if it stays on this machine.
fn first_message(
    settings: &Settings,
    listening: &[ingress::Listening],
) -> Option<banner::FirstMessage> {
    let plain = |of: &ListenerSettings| {
        of.service == Service::Relay && of.tls != ListenerTls::Implicit && !of.proxy_protocol
    };
    let listeners = settings.ingress.listeners.iter().zip(listening);
    let (_, listener) = listeners.into_iter().find(|(of, _)| plain(of))?;
    let recipient = Mailbox::parse(banner::FIRST_RECIPIENT).ok()?;
    let router = Router::new(settings.delivery.routes.clone());
    let route = router.route(&ForwardPath::Mailbox(recipient.clone()), false)?;
    let Transport::Maildir { folder } = &route.transport else {
        return None;
    };
    let mut to = listener.address;
    if to.ip().is_unspecified() {
        to.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let place = format!("{}/{}/new", recipient.host(), recipient.local_part());
    Some(banner::FirstMessage {
        to,
        arrives_in: format!("{}/{place}", in_full(folder)),
    })
}

/// A path that means the same wherever it is read: without `..`, where that much of it exists.
fn in_full(path: &Path) -> String {
    let found = path.ancestors().find_map(|folder| {
        let rest = path.strip_prefix(folder).ok()?;
        Some(folder.canonicalize().ok()?.join(rest))
    });
    let whole = found.unwrap_or_else(|| path.to_owned());
    whole.display().to_string().trim_end_matches('/').to_owned()
}

/// How long a drain may take: longer than an attempt that is going well.
const DRAIN_MAX: Duration = Duration::from_secs(60);
