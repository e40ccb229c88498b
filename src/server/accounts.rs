//! What is done about accounts beside mail: counters written down, metrics set, owners warned of secrets that expire.

mod certificates;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tracing::{error, warn};

use crate::accounts::store::{AccountsDbError, Stored};
use crate::accounts::{Accounts, Desk, Store};
use crate::base::https::Https;
use crate::base::{Clock, Shutdown, metrics};
use crate::config::{Diagnostics, Severity};
use crate::delivery::{Router, Transport};
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;
use crate::outcome::Letterhead;
use crate::outcome::expiry::{ExpiryNotice, due_warning};
use crate::outcome::notify::{Notice, UnlessTold};
use crate::policy::Policy;
use crate::queue::{Accepted, Handoff, Queue, QueueError};
use crate::settings::Settings;

use super::ServeError;

/// Opens what lasts of accounts.
pub(super) async fn open(settings: &Settings) -> Result<Arc<Desk>, ServeError> {
    let data = settings.data.clone();
    let opened = tokio::task::spawn_blocking(move || Store::open(&data)).await;
    let store = match opened {
        Ok(store) => store.map_err(ServeError::Accounts)?,
        Err(error) => return Err(ServeError::Start(error.to_string())),
    };
    Ok(Arc::new(Desk::new(store)))
}

/// Shuts the accounts that `accounts.toml` takes away, although the files as a whole cannot be put in force.
pub(super) async fn shut_what_is_taken_away(desk: &Arc<Desk>, in_force: Arc<Policy>) {
    let desk = Arc::clone(desk);
    let read = tokio::task::spawn_blocking(move || {
        let diagnostics = Diagnostics::default();
        let newer = Accounts::load(in_force.accounts_file(), &diagnostics)?;
        let said = diagnostics.into_vec();
        let is_whole = said.iter().all(|one| one.severity != Severity::Error);
        Some(desk.shut_by(&newer, is_whole, in_force.accounts()))
    });
    for account in read.await.ok().flatten().unwrap_or_default() {
        warn!(
            account,
            "an account is shut as its file says, though the changed policy is not in force"
        );
    }
}

/// Writes the counters down for the last time.
pub(super) async fn close(desk: Arc<Desk>) {
    let closed = tokio::task::spawn_blocking(move || desk.meters().close()).await;
    if let Ok(Err(error)) = closed {
        error!(%error, "the counters of accounts could not be written: the day is counted on from what was reserved");
    }
}

/// Looks after accounts while the gateway runs.
pub(super) struct Bookkeeper {
    pub(super) desk: Arc<Desk>,
    pub(super) queue: Queue,
    pub(super) policies: watch::Receiver<Arc<Policy>>,
    pub(super) clock: Clock,
    pub(super) letterhead: Letterhead,
    pub(super) https: Https,
    pub(super) routes: watch::Receiver<Arc<Router>>,
}

impl Bookkeeper {
    /// Goes on until the shutdown begins.
    pub(super) async fn run(self, shutdown: Shutdown) {
        tokio::join!(self.keep_keys(&shutdown), self.go_round(&shutdown));
    }

    async fn go_round(&self, shutdown: &Shutdown) {
        let mut looked_at: Option<Timestamp> = None;
        while !shutdown.has_begun() {
            let now = self.clock.now();
            self.write_down(now).await;
            if looked_at.is_none_or(|last| now >= last + SECRETS_EVERY) {
                looked_at = Some(now);
                if let Err(error) = self.warn_of_expiry(now).await {
                    error!(%error, "secrets that expire could not be looked at");
                }
                self.warn_of_upstream(now).await;
                self.warn_of_certificates(now).await;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    async fn write_down(&self, now: Timestamp) {
        let days = self.desk.meters().today(now);
        let shown = days.into_iter().map(|(account, day)| {
            let results = [
                ("accepted", day.accepted),
                ("repeated", day.repeated),
                ("refused", day.refused),
                ("over-rate", day.over_rate),
                ("over-quota", day.over_quota),
                ("recipients", day.recipients),
            ];
            (account, results.to_vec())
        });
        metrics::set_accounts(shown.collect());
        let desk = Arc::clone(&self.desk);
        let written = tokio::task::spawn_blocking(move || desk.meters().flush()).await;
        if let Ok(Err(error)) = written {
            error!(%error, "the counters of accounts could not be written");
        }
    }

    async fn warn_of_expiry(&self, now: Timestamp) -> Result<(), AccountsDbError> {
        for (secret, days) in self.expiring(now).await? {
            let policy = Arc::clone(&self.policies.borrow());
            let Some(account) = policy.accounts().get(&secret.account) else {
                continue;
            };
            let owner = account.owner_address.as_ref();
            match owner.or(policy.holds().owner_address.as_ref()) {
                Some(to) if self.send_warning(to, &secret, now).await => {}
                Some(_) => continue,
                None => {
                    let (account, ends_at) = (&secret.account, secret.ends_at);
                    warn!(account, %ends_at, "a secret expires, and there is no address of its owner to say so");
                }
            }
            // After the warning is in the queue: one that is sent twice is better than none.
            self.desk.store().warned(secret.id, days)?;
        }
        Ok(())
    }

    /// Warns of passwords for smart hosts whose end somebody has written down. Each warning is given once: the queue
    /// remembers whom it told of what.
    async fn warn_of_upstream(&self, now: Timestamp) {
        let (router, policy) = (
            Arc::clone(&self.routes.borrow()),
            Arc::clone(&self.policies.borrow()),
        );
        for route in router.routes() {
            let Transport::SmartHost(smart_host) = &route.transport else {
                continue;
            };
            let expires = smart_host.credentials.as_ref().and_then(|one| one.expires);
            let Some((ends_on, ends_at)) = expires.and_then(|day| Some((day, start_of(day)?)))
            else {
                continue;
            };
            let Some(days) = due_warning(now, ends_at, None) else {
                continue;
            };
            let name = ascii_address(&route.name);
            warn!(route = name, %ends_on, "a password for a smart host expires");
            let Some(to) = policy.holds().owner_address.as_ref() else {
                continue;
            };
            let notice = ExpiryNotice {
                to,
                what: &format!("the password that the route {name} shows to its smart host"),
                ends_on,
                remedy: "Put a new one where the route reads it, and write its end into password-expires.",
            };
            let about = format!("route {name} expires {ends_on}, {days} days");
            if let Err(error) = self.tell_once(&notice, about, now).await {
                error!(%error, "nobody could be warned that a password for a smart host expires");
            }
        }
    }

    /// Puts a warning into the queue, unless it was given before.
    async fn tell_once(
        &self,
        notice: &ExpiryNotice<'_>,
        about: String,
        now: Timestamp,
    ) -> Result<(), QueueError> {
        let unless = UnlessTold {
            to: notice.to.folded().to_string(),
            about,
            at_most_every: ONCE,
        };
        let notice = Notice {
            unless_told: Some(unless),
            ..notice.notice(self.letterhead.hostname(), now)
        };
        let accepted = Accepted::notice(notice, &self.letterhead);
        self.queue.accept(accepted, Handoff::None).await.map(drop)
    }

    /// The newest secret of each account, where a warning is due.
    async fn expiring(&self, now: Timestamp) -> Result<Vec<(Stored, i64)>, AccountsDbError> {
        let desk = Arc::clone(&self.desk);
        let all = tokio::task::spawn_blocking(move || desk.store().secrets(None)).await;
        let mut secrets = all.unwrap_or_else(|_| Ok(Vec::new()))?;
        // They come newest first within an account: those before the newest end because there is a newer one.
        secrets.dedup_by(|later, first| later.account == first.account);
        let due = secrets.into_iter().filter_map(|secret| {
            let days = due_warning(now, secret.ends_at, secret.warned)?;
            Some((secret, days))
        });
        Ok(due.collect())
    }

    /// Whether it is in the queue.
    async fn send_warning(&self, to: &Mailbox, secret: &Stored, now: Timestamp) -> bool {
        let account = ascii_address(&secret.account);
        let notice = ExpiryNotice {
            to,
            what: &format!("the secret of the account {account}"),
            ends_on: secret.ends_at.to_zoned(TimeZone::UTC).date(),
            remedy: &format!(
                "Ask the administrators of this gateway for another (postern account rotate {account}). The one that \
                 is in use stays good for some days beside it."
            ),
        };
        let notice = notice.notice(self.letterhead.hostname(), now);
        let accepted = Accepted::notice(notice, &self.letterhead);
        match self.queue.accept(accepted, Handoff::None).await {
            Ok(_) => true,
            Err(error) => {
                error!(%error, account, "the owner could not be warned that a secret expires");
                false
            }
        }
    }
}

/// The first moment of a day, in universal time.
fn start_of(day: Date) -> Option<Timestamp> {
    let start = day.to_zoned(TimeZone::UTC).ok()?;
    Some(start.timestamp())
}

/// A warning is not repeated while it is of any use.
const ONCE: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// Between two times that counters are written down.
const EVERY: Duration = Duration::from_secs(5);
/// Between two times that the keys of issuers are fetched.
const KEYS_EVERY: Duration = Duration::from_secs(60 * 60);
/// The same when a token came whose key is not here, or an issuer did not answer: a stranger can make any number of
/// those.
const KEYS_AGAIN: Duration = Duration::from_secs(20);
/// Between two looks at secrets.
const SECRETS_EVERY: Duration = Duration::from_secs(60 * 60);
