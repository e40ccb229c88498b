//! Log-ins: so many at once, off the threads that serve mail; each failure on record and paid for in time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::{error, info, warn};

use crate::accounts::{AccountName, Attempt, AuthError, Denied, Desk};
use crate::base::certificate::Presented;
use crate::base::{Reference, metrics};
use crate::mail::CertificateChain;
use crate::mail::scram::ScramKeys;
use crate::outcome::audit::{AuditEvent, AuditKind};
use crate::policy::Policy;
use crate::smtp::sasl::{Bearer, Credentials};
use crate::smtp::server::LoginError;

use super::Parts;

/// What a client shows.
pub(super) enum Shown {
    /// A password.
    Password(Credentials),
    /// A token.
    Token(Bearer),
    /// The certificate of its connection.
    Certificate {
        /// The account that it names; may be empty.
        username: String,
        /// The certificate and those behind it.
        chain: Option<CertificateChain>,
    },
    /// Nothing yet: it is about to begin an exchange.
    Name(String),
    /// An exchange that has shown whether it knows the secret.
    Judged {
        /// The account.
        username: String,
        /// Whether it does.
        is_proved: bool,
    },
}

/// What a log-in comes to.
pub(super) struct Verdict<T> {
    /// For the session.
    pub(super) result: Result<T, LoginError>,
    /// How long the reply waits.
    pub(super) delay: Duration,
}

/// Checks what a client shows.
pub(super) async fn log_in(
    parts: &Parts,
    logins: &Arc<Semaphore>,
    client: IpAddr,
    shown: Shown,
) -> Verdict<String> {
    let verdict = asked(
        parts,
        logins,
        client,
        shown,
        |desk, policy, attempt, shown| {
            let accounts = policy.accounts();
            match shown {
                Shown::Password(one) => desk.log_in(accounts, attempt, &one.password),
                Shown::Judged { is_proved, .. } => desk
                    .check_locks(accounts, attempt)
                    .and_then(|()| desk.conclude(accounts, attempt, *is_proved)),
                Shown::Token(one) => desk.log_in_with_token(accounts, attempt, &one.token),
                Shown::Certificate { chain, .. } => {
                    let shown = chain.as_ref().map(CertificateChain::certificates);
                    let shown = shown.and_then(Presented::read);
                    desk.log_in_with_certificate(accounts, attempt, shown.as_ref())
                }
                Shown::Name(_) => desk.conclude(accounts, attempt, false),
            }
            .map(AccountName::into_string)
        },
    );
    let verdict = verdict.await;
    match verdict.result {
        Ok(_) => metrics::LOGINS.add(1),
        Err(_) => metrics::LOGINS_REFUSED.add(1),
    }
    verdict
}

/// Finds the SCRAM keys of an account.
pub(super) async fn scram_keys(
    parts: &Parts,
    logins: &Arc<Semaphore>,
    client: IpAddr,
    username: String,
) -> Verdict<Vec<ScramKeys>> {
    let shown = Shown::Name(username);
    let verdict = asked(parts, logins, client, shown, |desk, policy, attempt, _| {
        desk.check_locks(policy.accounts(), attempt)?;
        let keys = desk.scram_keys(policy.accounts(), attempt.username, attempt.now);
        keys.map_err(|error| {
            error!(%error, "SCRAM keys cannot be read");
            Box::new(Denied {
                error: AuthError::Unavailable,
                delay: Duration::ZERO,
                account: None,
                locks: Vec::new(),
            })
        })
    });
    verdict.await
}

/// Asks the desk on a thread of its own: Argon2id takes tens of milliseconds, on purpose.
async fn asked<T: Send + 'static>(
    parts: &Parts,
    logins: &Arc<Semaphore>,
    client: IpAddr,
    shown: Shown,
    ask: impl FnOnce(&Desk, &Policy, Attempt<'_>, &Shown) -> Result<T, Box<Denied>> + Send + 'static,
) -> Verdict<T> {
    let unavailable = || Verdict {
        result: Err(LoginError::Unavailable),
        delay: Duration::ZERO,
    };
    let permit = tokio::time::timeout(LOGIN_WAIT, Arc::clone(logins).acquire_owned());
    let Ok(Ok(permit)) = permit.await else {
        return unavailable();
    };
    let (desk, policy) = (
        Arc::clone(&parts.accounts),
        Arc::clone(&parts.policies.borrow()),
    );
    let now = parts.clock.now();
    let task = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let username = match &shown {
            Shown::Password(one) => one.username.as_str(),
            Shown::Token(one) => one.username.as_deref().unwrap_or_default(),
            Shown::Name(username)
            | Shown::Judged { username, .. }
            | Shown::Certificate { username, .. } => username,
        };
        let attempt = Attempt {
            username,
            client,
            now,
        };
        ask(&desk, &policy, attempt, &shown)
    });
    match task.await {
        Ok(Ok(found)) => Verdict {
            result: Ok(found),
            delay: Duration::ZERO,
        },
        Ok(Err(denied)) => deny(parts, client, &denied),
        Err(_) => unavailable(),
    }
}

/// Puts it on record. Not waited for: a stranger who guesses must not make others wait behind his guesses; he himself
/// waits for the delay, so he cannot fill the trail.
fn deny<T>(parts: &Parts, client: IpAddr, denied: &Denied) -> Verdict<T> {
    let because = denied.error.to_string();
    let account = denied.account.as_deref().unwrap_or("-");
    info!(%client, account, because, "log-in refused");
    let event = |kind| {
        let event = AuditEvent::new(parts.clock.now(), Reference::random(), kind, "");
        event
            .fact("client", client.to_canonical().to_string())
            .fact("account", account)
    };
    let mut events = vec![event(AuditKind::LoginRefused).fact("because", because)];
    for who in &denied.locks {
        warn!(who, "locked out after too many failed log-ins");
        events.push(event(AuditKind::LoginRefused).fact("locked", who));
    }
    // Of somebody who is locked out the lock is on record: what he tries meanwhile must not fill the trail.
    if denied.error != AuthError::Locked {
        let queue = parts.queue.clone();
        parts.shutdown.spawn(async move {
            if let Err(error) = queue.record(events).await {
                error!(%error, "a refused log-in is missing in the audit trail");
            }
        });
    }
    let result = match denied.error {
        AuthError::Busy | AuthError::Locked | AuthError::Unavailable => LoginError::Unavailable,
        AuthError::Refused
        | AuthError::Disabled
        | AuthError::WrongNetwork
        | AuthError::NotValid => LoginError::Refused,
    };
    Verdict {
        result: Err(result),
        delay: denied.delay,
    }
}

/// How long a log-in may wait for others before it.
const LOGIN_WAIT: Duration = Duration::from_secs(30);
