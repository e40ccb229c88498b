//! The whole configuration: one section for each module, and every diagnostic of all files at once.

mod ends;
mod essentials;
mod exchangers;
mod routes;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::Clock;
use crate::base::dns::Dns;
use crate::config::{Diagnostic, Diagnostics, Located, Section, Severity, load_toml};
use crate::directory::Cache;
use crate::mail::Domain;
use crate::policy::settings::Files;
use crate::policy::{Policy, policy_test};
use crate::queue::{Queue, QueueError};
use crate::{admin, delivery, directory, ingress, queue};

pub use essentials::Essentials;

/// Everything that the files say, checked.
pub struct Settings {
    /// The name of this gateway.
    pub hostname: Domain,
    /// Where queue, audit trail and large messages lie, unless they lie in a database; and what else is kept.
    pub data: PathBuf,
    /// Where the queue lies.
    pub store: queue::Settings,
    /// How mail comes in.
    pub ingress: ingress::Settings,
    /// How mail goes onward.
    pub delivery: delivery::Settings,
    /// What happens to it.
    pub policy: Arc<Policy>,
    /// How the directory is looked after.
    pub directory: directory::Settings,
    /// Names to addresses.
    pub dns: Dns,
    /// Where the gateway is seen from outside, and how its log is written.
    pub admin: admin::Settings,
}

impl Settings {
    /// Opens the queue where these settings say that it lies. Everybody who opens it comes here.
    pub async fn open_queue(&self, clock: Clock) -> Result<Queue, QueueError> {
        Queue::open_by(&self.store, &self.data, self.hostname.as_str(), clock).await
    }

    /// Where the queue lies, for messages to people.
    pub fn queue_place(&self) -> String {
        match &self.store.postgres {
            Some(postgres) => postgres.place(),
            None => self.data.display().to_string(),
        }
    }
}

/// What reading the configuration gave.
pub struct Loaded {
    /// The settings, unless there was an error.
    pub settings: Option<Settings>,
    /// Everything that is to be said of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// How many policy tests ran.
    pub tests: usize,
    /// The files and folders that were read: those to follow.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Whether the files cannot be used.
    pub fn has_errors(&self) -> bool {
        any_error(&self.diagnostics)
    }
}

fn any_error<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> bool {
    diagnostics
        .into_iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// Whether the tests in the policy folder are run as part of loading.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PolicyTests {
    /// A failing one is an error.
    Run,
    /// For commands that only ask.
    Skip,
}

/// Reads the gateway's own file and all that it names. Never stops at the first error.
pub async fn load(path: &Path, clock: &Clock, tests: PolicyTests) -> Loaded {
    load_all(path, clock, tests, Compiled::Use).await
}

/// As [`load`], for a command that shows where names lead: a chain that does not end and a list without members keep a
/// policy from coming into force, and are what its answer is about.
pub async fn load_to_resolve(path: &Path, clock: &Clock) -> Loaded {
    let mut loaded = read_all(path, clock, PolicyTests::Skip, Compiled::Use).await;
    let shown = |one: &Diagnostic| SHOWN_BY_RESOLVE.contains(&one.id);
    if any_error(loaded.diagnostics.iter().filter(|one| !shown(one))) {
        loaded.settings = None;
    }
    loaded
}

/// Errors that a resolution ends in by itself: `loop`, or a list of nobody.
const SHOWN_BY_RESOLVE: &[&str] = &["alias-loop", "long-chain", "successor-loop", "empty-list"];

/// As [`load`], for the gateway itself: the tests run, and the compiled directory is kept for the
/// next start and for the commands.
pub async fn load_to_serve(path: &Path, clock: &Clock) -> Loaded {
    load_all(path, clock, PolicyTests::Run, Compiled::Keep).await
}

/// What becomes of a directory that was compiled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compiled {
    Use,
    Keep,
}

async fn load_all(path: &Path, clock: &Clock, tests: PolicyTests, compiled: Compiled) -> Loaded {
    let mut loaded = read_all(path, clock, tests, compiled).await;
    if loaded.has_errors() {
        loaded.settings = None;
    }
    loaded
}

/// All that was read, settings with errors too.
async fn read_all(path: &Path, clock: &Clock, tests: PolicyTests, compiled: Compiled) -> Loaded {
    let diagnostics = Diagnostics::default();
    let read = |top: &Section<'_>| read(top, path, clock, compiled);
    let settings = load_toml(path, &diagnostics, read).flatten();
    let (mut all, mut ran) = (diagnostics.into_vec(), 0);
    // What a policy with errors decides says nothing.
    if let Some(settings) = &settings
        && tests == PolicyTests::Run
        && !any_error(&all)
    {
        let run = policy_test::run(&settings.policy).await;
        ran = run.tests;
        all.extend(run.diagnostics);
    }
    Loaded {
        settings,
        diagnostics: all.into_iter().map(with_help).collect(),
        tests: ran,
        files: files(path),
    }
}

/// The gateway's own file and those that it names: also where one of them cannot be used, for
/// its repair is what is waited for.
fn files(path: &Path) -> Vec<PathBuf> {
    let named = load_toml(path, &Diagnostics::default(), Files::named);
    std::iter::once(path.to_owned())
        .chain(named.unwrap_or_default())
        .collect()
}

/// A file that cannot be read was named by somebody: says where.
fn with_help(diagnostic: Diagnostic) -> Diagnostic {
    if diagnostic.id != "unreadable-file" || !diagnostic.labels.is_empty() {
        return diagnostic;
    }
    diagnostic.help(
        "`--config FILE` names the gateway's own file, policies/postern.toml if it is left out; that file names the others under [files]",
    )
}

fn read(top: &Section<'_>, path: &Path, clock: &Clock, compiled: Compiled) -> Option<Settings> {
    let hostname = top.required::<Domain>("hostname").map(Located::into_inner);
    let data = data_folder(top, path);
    let store = queue::Settings::read(top);
    let ingress = ingress::Settings::read(top);
    let delivery = delivery::Settings::read(top);
    let admin = admin::Settings::read(top);
    let directory = directory::Settings::read(top);
    let dns = Dns::new(&crate::policy::settings::read_dns(top)).map_err(|error| {
        top.diagnostics()
            .push(Diagnostic::error("dns", error.to_string()).at(top.section("dns").place(), ""));
    });
    if let Ok(dns) = &dns
        && !dns.validates()
        && delivery.transport.dane
        && delivery.asks_exchangers()
    {
        say_without_dane(top);
    }
    let name = hostname.as_ref().map_or("invalid", Domain::as_str);
    let cache = Cache {
        folder: data.join("directory"),
        keep: compiled == Compiled::Keep,
    };
    let dns_of_policy = dns.as_ref().ok().cloned();
    let policy = Policy::load(top, name, dns_of_policy, clock.clone(), Some(&cache));
    if let Some(policy) = &policy {
        exchangers::check(&delivery.routes, policy.secure_domains(), top.diagnostics());
        routes::check(&delivery.routes, policy, top);
        ends::check(path, policy.accounts_file(), clock.now(), top.diagnostics());
    }
    Some(Settings {
        hostname: hostname?,
        data,
        store,
        ingress,
        delivery,
        policy: Arc::new(policy?),
        dns: dns.ok()?,
        admin,
        directory,
    })
}

/// What `data` says, or the folder beside that of the gateway's own file.
fn data_folder(top: &Section<'_>, path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("."));
    top.path("data")
        .map_or_else(|| folder.join("../data"), Located::into_inner)
}

/// A route to exchangers promises less than it could: said where it can be put right.
fn say_without_dane(top: &Section<'_>) {
    let diagnostic = Diagnostic::warning(
        "no-dnssec",
        "DANE is not used: no resolver that validates by DNSSEC is set up",
    )
    .at(top.section("dns").place(), "")
    .help("run one on this machine and write validating = true under [dns]; or dane = false under [transport]");
    top.diagnostics().push(diagnostic);
}
