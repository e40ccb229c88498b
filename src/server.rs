//! The composition root: builds every part, starts, reloads, drains, stops.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::base::{Clock, PolicyVersion, Reference, Shutdown, metrics};
use crate::config::watch::{EVERY, Watcher};
use crate::config::{Diagnostic, Severity, render};
use crate::delivery::{Deliveries, Router};
use crate::directory::Directory;
use crate::ingress;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::Policy;
use crate::queue::Queue;
use crate::scheduler::Scheduler;
use crate::settings::{self, Loaded, Settings};
use crate::{admin, queue};

/// Why the gateway cannot run, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration has errors; they were printed.
    #[error("the configuration has errors: nothing was started")]
    Configuration,
    /// The queue cannot be opened.
    #[error("the queue in {folder} cannot be opened: {source}", folder = folder.display())]
    Queue {
        /// The data folder.
        folder: PathBuf,
        /// Why.
        source: queue::QueueError,
    },
    /// A listener, the certificates or another part failed at the start.
    #[error("{0}")]
    Start(String),
}

/// Runs the gateway until SIGTERM or SIGINT, then drains it: no new connections, sessions in data
/// finish, deliveries in flight settle. `say` prints for the terminal.
pub async fn serve(config: &Path, loaded: Loaded, say: impl Fn(&str)) -> Result<(), ServeError> {
    let Loaded {
        settings, files, ..
    } = loaded;
    let settings = settings.ok_or(ServeError::Configuration)?;
    let clock = Clock::system();
    let shutdown = Shutdown::new();
    let queue = open_queue(&settings, &clock).await?;
    let (policy, policies) = watch::channel(Arc::clone(&settings.policy));
    record_policy(&queue, &clock, settings.policy.version()).await;
    remove_older(Arc::clone(settings.policy.directory()));

    let router = Router::new(settings.delivery.routes.clone());
    let (routes, router) = watch::channel(Arc::new(router));
    let hostname = settings.hostname.as_str();
    let deliveries = Deliveries::new(
        &settings.delivery.connections,
        settings.dns.clone(),
        hostname,
        clock.clone(),
    )
    .map_err(|error| ServeError::Start(error.to_string()))?;
    let scheduler = Scheduler::start(
        queue.clone(),
        router,
        deliveries,
        clock.clone(),
        shutdown.clone(),
        settings.hostname.clone(),
    );
    let metrics = admin::metrics::start(&settings.admin, &shutdown)
        .await
        .map_err(|error| ServeError::Start(error.to_string()))?;
    let parts = ingress::Parts {
        hostname: settings.hostname.clone(),
        data: settings.data.clone(),
        policies,
        queue: queue.clone(),
        scheduler,
        clock: clock.clone(),
        shutdown: shutdown.clone(),
    };
    let listening = ingress::start(&settings.ingress, parts)
        .await
        .map_err(|error| ServeError::Start(error.to_string()))?;
    say(&banner(config, &settings, &listening, metrics));

    let reload = Reload {
        config: config.to_owned(),
        queue: queue.clone(),
        clock,
        policy,
        routes,
    };
    shutdown.spawn(follow(reload, files, shutdown.clone()));
    wait_for_the_end().await;
    drain(&shutdown).await;
    queue.close().await;
    info!("stopped");
    Ok(())
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

/// Returns at the first SIGTERM or SIGINT.
async fn wait_for_the_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        error!("signals cannot be received: stop the process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => info!("SIGTERM: draining"),
        _ = interrupt.recv() => info!("SIGINT: draining"),
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
async fn follow(reload: Reload, mut followed: Vec<PathBuf>, shutdown: Shutdown) {
    let mut watcher = Watcher::start(followed.clone(), EVERY, &shutdown);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        error!("SIGHUP cannot be received; changed files are still followed");
        return;
    };
    loop {
        tokio::select! {
            changed = watcher.changed() => {
                if !changed {
                    return;
                }
                followed = match reload.run().await {
                    Reloaded::InForce { files } => files,
                    // What a broken file names is unknown: its repair may be in any file of before.
                    Reloaded::Refused { files } => union(followed, files),
                };
                watcher.follow(followed.clone());
            }
            _ = hangup.recv() => watcher.ask(),
        }
    }
}

impl Reload {
    /// Takes the changed files into force, or says why not and keeps the policy as it was.
    async fn run(&self) -> Reloaded {
        let Loaded {
            settings,
            diagnostics,
            files,
            ..
        } = settings::load_to_serve(&self.config, &self.clock).await;
        log_diagnostics(&diagnostics);
        let Some(settings) = settings else {
            metrics::POLICY_RELOADS_REFUSED.add(1);
            error!("the changed policy has errors: the one before stays in force");
            return Reloaded::Refused { files };
        };
        let version = settings.policy.version().clone();
        record_policy(&self.queue, &self.clock, &version).await;
        let directory = Arc::clone(settings.policy.directory());
        self.policy.send_replace(settings.policy);
        remove_older(directory);
        self.routes
            .send_replace(Arc::new(Router::new(settings.delivery.routes)));
        metrics::POLICY_RELOADS.add(1);
        info!(policy = %version, "the changed policy is in force (listeners and limits change with a restart)");
        Reloaded::InForce { files }
    }
}

/// Removes the compiled directories that are no longer in force. Who still uses one keeps it.
fn remove_older(directory: Arc<Directory>) {
    tokio::task::spawn_blocking(move || directory.remove_older());
}

/// What a reload came to, and the files it read.
enum Reloaded {
    InForce { files: Vec<PathBuf> },
    Refused { files: Vec<PathBuf> },
}

fn union(mut followed: Vec<PathBuf>, files: Vec<PathBuf>) -> Vec<PathBuf> {
    followed.extend(files);
    followed.sort();
    followed.dedup();
    followed
}

fn log_diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        match diagnostic.severity {
            Severity::Error => error!("{}", render::short(diagnostic)),
            Severity::Warning => warn!("{}", render::short(diagnostic)),
        }
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

/// What the terminal shows at the start.
fn banner(
    config: &Path,
    settings: &Settings,
    listening: &[ingress::Listening],
    metrics: Option<std::net::SocketAddr>,
) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "postern {} is running as {}\n\n",
        env!("CARGO_PKG_VERSION"),
        settings.hostname
    );
    // Writing to a String does not fail.
    for listener in listening {
        let _ = writeln!(
            text,
            "  {:<12} {:<22} {}",
            listener.name,
            listener.address.to_string(),
            listener.description
        );
    }
    if let Some(address) = metrics {
        let _ = writeln!(text, "  {:<12} http://{address}/metrics", "metrics");
    }
    let _ = writeln!(text, "  {:<12} {}", "policy", config.display());
    let _ = writeln!(text, "  {:<12} {}", "data", settings.data.display());
    for route in &settings.delivery.routes {
        let _ = writeln!(
            text,
            "  {:<12} {} → {}",
            "route", route.name, route.transport
        );
    }
    let port = listening
        .first()
        .map_or(2525, |listener| listener.address.port());
    let _ = write!(
        text,
        "\nSend a first message:\n\n{}",
        FIRST_MESSAGE.replace("PORT", &port.to_string())
    );
    text
}

const FIRST_MESSAGE: &str = "  python3 -c 'import smtplib; smtplib.SMTP(\"127.0.0.1\", PORT).sendmail(\n    \"me@bumbleton.example\", \"pharmacy.faq59@nhs.net\", \"Subject: hello\\r\\n\\r\\nA first message.\\r\\n\")'\n\nStop with Ctrl-C: what is in hand is finished first.\n";

/// How long a drain may take: longer than an attempt that is going well.
const DRAIN_MAX: Duration = Duration::from_secs(60);
