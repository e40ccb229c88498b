//! Log-ins: so many at once, off the threads that serve mail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::accounts::AuthError;
use crate::policy::Policy;
use crate::smtp::sasl::Credentials;
use crate::smtp::server::LoginError;

/// Checks a password on a thread of its own: it takes tens of milliseconds, on purpose.
pub(super) async fn log_in(
    logins: &Arc<Semaphore>,
    policy: Arc<Policy>,
    credentials: Credentials,
) -> Result<String, LoginError> {
    let permit = tokio::time::timeout(LOGIN_WAIT, Arc::clone(logins).acquire_owned());
    let Ok(Ok(permit)) = permit.await else {
        return Err(LoginError::Unavailable);
    };
    let checked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        policy
            .accounts()
            .authenticate(&credentials.username, &credentials.password)
    });
    match checked.await {
        Ok(Ok(name)) => Ok(name.into_string()),
        Ok(Err(AuthError::Refused | AuthError::Disabled)) => Err(LoginError::Refused),
        Ok(Err(_)) | Err(_) => Err(LoginError::Unavailable),
    }
}

/// How long a log-in may wait for others before it.
const LOGIN_WAIT: Duration = Duration::from_secs(30);
