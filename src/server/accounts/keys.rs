//! The keys of issuers that are fetched by URL: every hour, and soon after a token came whose key is not here.

use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use crate::accounts::token::{KeySource, Keys};
use crate::base::Shutdown;
use crate::base::https::Url;

use super::{Bookkeeper, EVERY, KEYS_AGAIN, KEYS_EVERY};

impl Bookkeeper {
    /// Keeps the keys fresh until the shutdown begins. Apart from the rest: an issuer that is slow holds up nobody else.
    pub(super) async fn keep_keys(&self, shutdown: &Shutdown) {
        let mut fetched_at: Option<Timestamp> = None;
        let mut is_wanted = false;
        while !shutdown.has_begun() {
            // A wish outlasts the wait that keeps strangers from making us ask all the time.
            is_wanted |= self.desk.wants_keys();
            let now = self.clock.now();
            let pause = if is_wanted { KEYS_AGAIN } else { KEYS_EVERY };
            if fetched_at.is_none_or(|last| now >= last + pause) {
                fetched_at = Some(now);
                tokio::select! {
                    all_came = self.fetch_keys() => is_wanted = !all_came,
                    () = shutdown.begun() => {}
                }
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.begun() => {}
            }
        }
    }

    /// Fetches the keys of the issuers; returns whether all of them came. Those before stay where an issuer does not
    /// answer.
    async fn fetch_keys(&self) -> bool {
        let policy = Arc::clone(&self.policies.borrow());
        let mut all_came = true;
        for issuer in policy.accounts().issuers() {
            let KeySource::Url(url) = &issuer.keys else {
                continue;
            };
            let Ok(at) = url.parse::<Url>() else {
                continue;
            };
            let answer = self.https.get(&at).await;
            let keys = match &answer {
                Ok(answer) if answer.status == 200 => Keys::parse(&answer.body),
                _ => None,
            };
            match keys {
                Some(keys) => self.desk.put_keys(url, keys),
                None => {
                    all_came = false;
                    warn!(
                        url,
                        ?answer,
                        "the keys of an issuer cannot be fetched: those before stay"
                    );
                }
            }
        }
        all_came
    }
}
