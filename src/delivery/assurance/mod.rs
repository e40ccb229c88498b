//! What a destination says of how mail to it must be protected, and what came of it: MTA-STS policies
//! (RFC 8461), found, kept and refreshed; sessions, counted for the daily report (RFC 8460).
//!
//! A policy that is known holds until its time is over or its domain says `none`: neither a name server that fails
//! nor a web server that is gone takes it back, for that is what somebody on the way would make them do
//! (RFC 8461 §3.3, §10.2).

mod db;
pub mod report;
pub(crate) mod sts;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls_pki_types::CertificateDer;
use tracing::{info, warn};

use crate::base::Clock;
use crate::base::dns::Dns;
use crate::base::metrics;
use crate::mail::Mailbox;

use super::https::{Asked, Https, HttpsError, Limits};
use super::tls::TlsSetupError;

use db::{Db, Kept, Tally};
use sts::{Mode, Policy, PolicyError};

/// What delivery does about policies of destinations: `[transport]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssuranceSettings {
    /// Whether MTA-STS policies are looked for and kept to.
    pub mta_sts: bool,
    /// Whether TLSA records are looked for and kept to, where the resolver validates.
    pub dane: bool,
    /// Whether a sender may waive both by `TLS-Required: No` (RFC 8689 §5). Never for mail that the policy binds.
    pub tls_required_no: bool,
    /// Whose reports go out, and who is asked about them; without it nothing is counted.
    pub report_from: Option<Mailbox>,
    /// Whether policies may be fetched from, and reports posted to, addresses of this machine and of the networks
    /// round it ([`is_internal`](crate::base::reach::is_internal)): their names are what strangers write into the DNS.
    pub internal_addresses: bool,
}

impl Default for AssuranceSettings {
    fn default() -> Self {
        Self {
            mta_sts: true,
            dane: true,
            tls_required_no: false,
            report_from: None,
            internal_addresses: false,
        }
    }
}

/// Why policies cannot be looked up at all.
#[derive(Debug, thiserror::Error)]
pub enum AssuranceError {
    /// The file of what is known cannot be used.
    #[error("what is known of destinations cannot be read or written: {0}")]
    Db(#[from] rusqlite::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The runtime is ending.
    #[error("the gateway is stopping")]
    Stopping,
}

/// Policies and sessions of this process.
pub struct Assurance {
    pub(super) settings: AssuranceSettings,
    dns: Dns,
    https: Https,
    clock: Clock,
    db: Arc<Db>,
    /// What is known of domains that mail went to.
    known: Mutex<HashMap<String, Memory>>,
    /// One fetch at a time for one domain, and for those that share its place.
    fetching: Vec<tokio::sync::Mutex<()>>,
    /// Sessions that are not on the disk yet.
    pending: Mutex<HashMap<Tally, i64>>,
    writing: AtomicBool,
}

/// What this process remembers of a domain.
#[derive(Clone, Default)]
struct Memory {
    /// Whether the disk was asked. Until then that there is no policy here says nothing: one that is kept holds, also
    /// where nobody can be asked for a newer one (RFC 8461 §5.1).
    is_read: bool,
    policy: Option<Arc<Known>>,
    /// When a policy was last asked for in vain.
    failed_at: Option<Timestamp>,
}

/// A policy that holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Known {
    pub(super) policy: Policy,
    pub(super) id: String,
    /// Its lines, for reports.
    pub(super) text: String,
    expires_at: Timestamp,
}

impl Known {
    fn read(kept: &Kept) -> Result<Self, PolicyError> {
        let policy = Policy::parse(&kept.text)?;
        let expires_at = kept.fetched_at.saturating_add(policy.max_age);
        Ok(Self {
            policy,
            id: kept.id.clone(),
            text: kept.text.clone(),
            expires_at: expires_at.unwrap_or(Timestamp::MAX),
        })
    }
}

/// Why no policy was fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Https(#[from] HttpsError),
    #[error("the server answers {0}")]
    Status(u16),
    #[error("what the server has is not text/plain")]
    MediaType,
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl FetchError {
    /// The result type of RFC 8460 §4.3.2.2.
    fn result_type(self) -> &'static str {
        match self {
            Self::Https(HttpsError::Certificate(_)) => "sts-webpki-invalid",
            Self::Policy(_) | Self::MediaType => "sts-policy-invalid",
            Self::Https(_) | Self::Status(_) => "sts-policy-fetch-error",
        }
    }
}

impl Assurance {
    /// Opens `transport.db` in the data folder. Asks nobody.
    pub fn open(
        settings: AssuranceSettings,
        data: &Path,
        dns: Dns,
        roots: &[CertificateDer<'static>],
        clock: Clock,
    ) -> Result<Self, AssuranceError> {
        Self::open_with(settings, data, dns, roots, clock, LIMITS)
    }

    pub(super) fn open_with(
        settings: AssuranceSettings,
        data: &Path,
        dns: Dns,
        roots: &[CertificateDer<'static>],
        clock: Clock,
        limits: Limits,
    ) -> Result<Self, AssuranceError> {
        let may_ask_internal = settings.internal_addresses;
        Ok(Self {
            settings,
            https: Https::new(dns.clone(), roots, limits, may_ask_internal)?,
            dns,
            clock,
            db: Arc::new(Db::open(&data.join(FILE))?),
            known: Mutex::default(),
            fetching: std::iter::repeat_with(tokio::sync::Mutex::default)
                .take(FETCHES)
                .collect(),
            pending: Mutex::default(),
            writing: AtomicBool::new(false),
        })
    }

    /// The MTA-STS policy that mail for a domain must keep to now; `None` if there is none, or it says `none`.
    ///
    /// Errs if what is on the disk cannot be read: then it is not known that there is none.
    pub(super) async fn policy(
        self: &Arc<Self>,
        domain: &str,
    ) -> Result<Option<Arc<Known>>, AssuranceError> {
        if !self.settings.mta_sts {
            return Ok(None);
        }
        let known = self.known(domain).await?;
        let record = self.dns.txt(&format!("_mta-sts.{domain}")).await;
        let id = record.ok().and_then(|texts| sts::id_of(&texts));
        let current = match id {
            Some(id) if known.as_ref().is_none_or(|known| known.id != id) => {
                self.look(domain, &id).await?.or(known)
            }
            _ => known,
        };
        Ok(current.filter(|known| known.policy.mode != Mode::None))
    }

    /// What is remembered, or else on the disk, and not over.
    async fn known(&self, domain: &str) -> Result<Option<Arc<Known>>, AssuranceError> {
        let now = self.clock.now();
        let remembered = self.memory().get(domain).cloned();
        let policy = match remembered.filter(|memory| memory.is_read) {
            Some(memory) => memory.policy,
            None => {
                let of = domain.to_owned();
                let kept = self.on_disk(move |db| db.policy(&of)).await?;
                // One that is damaged is as good as none: it is fetched anew.
                let mut policy = kept.and_then(|kept| Known::read(&kept).ok()).map(Arc::new);
                self.remember(domain, |memory| match memory.is_read {
                    // Somebody has fetched a newer one meanwhile.
                    true => policy.clone_from(&memory.policy),
                    false => {
                        memory.is_read = true;
                        memory.policy.clone_from(&policy);
                    }
                });
                policy
            }
        };
        Ok(policy.filter(|known| now < known.expires_at))
    }

    /// Fetches the policy that a record speaks of, unless that failed lately. `None` if there is none to be had.
    async fn look(
        self: &Arc<Self>,
        domain: &str,
        id: &str,
    ) -> Result<Option<Arc<Known>>, AssuranceError> {
        let _turn = self.turn(domain).await;
        // Whoever waited finds what the other one found.
        let memory = self.memory().get(domain).cloned().unwrap_or_default();
        if let Some(known) = memory.policy.filter(|known| known.id == id) {
            return Ok(Some(known));
        }
        let again = memory.failed_at.map(|at| at + FETCH_AGAIN);
        if again.is_some_and(|again| self.clock.now() < again) {
            return Ok(None);
        }
        self.fetch_and_keep(domain, id).await
    }

    async fn fetch_and_keep(
        self: &Arc<Self>,
        domain: &str,
        id: &str,
    ) -> Result<Option<Arc<Known>>, AssuranceError> {
        let now = self.clock.now();
        let text = match self.fetch(domain).await {
            Ok(text) => text,
            Err(error) => {
                warn!(domain, %error, "the MTA-STS policy of a domain cannot be had");
                metrics::STS_FETCHES_FAILED.add(1);
                self.remember(domain, |memory| memory.failed_at = Some(now));
                self.count(report::Session::of_fetch(
                    domain,
                    error.result_type(),
                    error.to_string(),
                ));
                return Ok(None);
            }
        };
        let kept = Kept {
            domain: domain.to_owned(),
            id: id.to_owned(),
            text,
            fetched_at: now,
        };
        let Ok(known) = Known::read(&kept).map(Arc::new) else {
            return Ok(None);
        };
        info!(
            domain,
            mode = known.policy.mode.word(),
            id,
            "an MTA-STS policy is kept"
        );
        metrics::STS_FETCHES.add(1);
        // Before it counts: after a restart it must not be weaker than before.
        self.on_disk(move |db| db.keep(&kept)).await?;
        self.remember(domain, |memory| {
            *memory = Memory {
                is_read: true,
                policy: Some(Arc::clone(&known)),
                failed_at: None,
            };
        });
        Ok(Some(known))
    }

    /// RFC 8461 §3.3: over HTTPS, from the one place, without following anybody.
    async fn fetch(&self, domain: &str) -> Result<String, FetchError> {
        let host = format!("mta-sts.{domain}");
        let asked = Asked {
            host: &host,
            port: None,
            path: "/.well-known/mta-sts.txt",
            post: None,
        };
        let answer = self.https.ask(&asked).await?;
        if answer.status != 200 {
            return Err(FetchError::Status(answer.status));
        }
        if answer.media_type != "text/plain" {
            return Err(FetchError::MediaType);
        }
        let text = String::from_utf8(answer.body).map_err(|_| PolicyError::Line)?;
        Policy::parse(&text)?;
        Ok(text)
    }

    /// Fetches the policies anew that are a day old, and forgets those whose time is over (RFC 8461 §5.1, §10.2).
    pub async fn refresh(self: &Arc<Self>) -> Result<(), AssuranceError> {
        if !self.settings.mta_sts {
            return Ok(());
        }
        let now = self.clock.now();
        let old = now - REFRESH_AFTER;
        let old = self.on_disk(move |db| db.policies_before(old, REFRESHED_AT_ONCE));
        for kept in old.await? {
            let domain = kept.domain.clone();
            let record = self.dns.txt(&format!("_mta-sts.{domain}")).await;
            let id = record.ok().and_then(|texts| sts::id_of(&texts));
            let id = id.unwrap_or_else(|| kept.id.clone());
            let turn = self.turn(&domain).await;
            let fetched = self.fetch_and_keep(&domain, &id).await?;
            drop(turn);
            let over = Known::read(&kept).map_or(true, |known| known.expires_at <= now);
            if fetched.is_none() && over {
                self.memory().remove(&domain);
                self.on_disk(move |db| db.forget(&domain)).await?;
            }
        }
        Ok(())
    }

    async fn turn(&self, domain: &str) -> tokio::sync::MutexGuard<'_, ()> {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        domain.hash(&mut hasher);
        let place = hasher.finish() % self.fetching.len() as u64;
        self.fetching[usize::try_from(place).unwrap_or(0)]
            .lock()
            .await
    }

    /// Counts a session for the report of its day, if its domain wants one.
    pub(super) fn count(self: &Arc<Self>, session: report::Session) {
        if self.settings.report_from.is_none() {
            return;
        }
        let (this, day) = (Arc::clone(self), self.today());
        tokio::spawn(async move {
            // Where that cannot be found out now it is when the report is due.
            let wanted = this.destinations(&session.domain).await;
            if wanted.is_ok_and(|destinations| destinations.is_empty()) {
                return;
            }
            let tally = session.tally(day);
            let mut pending = this.pending();
            if pending.len() < PENDING_MAX || pending.contains_key(&tally) {
                *pending.entry(tally).or_default() += 1;
            }
            drop(pending);
            this.write();
        });
    }

    /// Writes what is pending: all that came meanwhile goes in one transaction.
    fn write(self: &Arc<Self>) {
        if self.writing.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            loop {
                let taken: Vec<(Tally, i64)> = this.pending().drain().collect();
                if taken.is_empty() {
                    this.writing.store(false, Ordering::SeqCst);
                    // Something that came between the two is not left behind.
                    if this.pending().is_empty() || this.writing.swap(true, Ordering::SeqCst) {
                        return;
                    }
                    continue;
                }
                if let Err(error) = this.db.count(&taken) {
                    warn!(%error, "sessions for TLS reports could not be written");
                }
            }
        });
    }

    fn today(&self) -> jiff::civil::Date {
        self.clock.now().to_zoned(TimeZone::UTC).date()
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Db) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, AssuranceError> {
        let db = Arc::clone(&self.db);
        let done = tokio::task::spawn_blocking(move || job(&db)).await;
        Ok(done.map_err(|_| AssuranceError::Stopping)??)
    }

    fn remember(&self, domain: &str, change: impl FnOnce(&mut Memory)) {
        let mut known = self.memory();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(domain) {
            // The disk has them all.
            known.clear();
        }
        change(known.entry(domain.to_owned()).or_default());
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Tally, i64>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Assurance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Assurance({:?})", self.settings)
    }
}

/// In the data folder.
const FILE: &str = "transport.db";
/// RFC 8461 §3.3 suggests a minute and 64 KiB; mail waits meanwhile, so half of that.
const LIMITS: Limits = Limits {
    timeout: Duration::from_secs(30),
    body_octets: 64 * 1_024,
    port: 443,
};
/// After a fetch that failed (RFC 8461 §3.3: five minutes at least).
const FETCH_AGAIN: Duration = Duration::from_secs(5 * 60);
/// Policies are fetched again when they are so old (RFC 8461 §10.2: daily).
const REFRESH_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// In one round.
const REFRESHED_AT_ONCE: u32 = 1_000;
/// Fetches at once.
const FETCHES: usize = 64;
/// Domains in memory.
const REMEMBERED_MAX: usize = 10_000;
/// Kinds of sessions that wait for the disk; what is beyond is not counted.
const PENDING_MAX: usize = 10_000;

#[cfg(test)]
pub(super) mod tests;
