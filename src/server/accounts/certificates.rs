//! Warnings of certificates that end: those of accounts to their owners, those of relay hosts to whoever answers for
//! what is held.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{error, warn};

use crate::accounts::Account;
use crate::base::certificate::KnownCertificate;
use crate::mail::Mailbox;
use crate::mail::report::ascii_address;
use crate::outcome::expiry::{ExpiryNotice, due_warning};
use crate::policy::Policy;

use super::Bookkeeper;

impl Bookkeeper {
    /// Warns of the certificate of each account that ends last, and of every relay host's. One that ends while another
    /// is good beside it is a rotation, not a danger.
    pub(super) async fn warn_of_certificates(&self, now: Timestamp) {
        let policy = Arc::clone(&self.policies.borrow());
        for account in policy.accounts().all() {
            let Some(ends_at) = self.last_end(account).await else {
                continue;
            };
            let name = ascii_address(account.name());
            let owner = account.owner_address.as_ref();
            let what = format!("the certificate of the account {name}");
            let to = owner.or(policy.holds().owner_address.as_ref());
            self.warn_of_end(to, &what, ends_at, REMEDY, now).await;
        }
        self.warn_of_relays(&policy, now).await;
    }

    async fn warn_of_relays(&self, policy: &Policy, now: Timestamp) {
        for known in policy.relay_certificates().known() {
            let KnownCertificate::Itself {
                read: Some((file, ends_at)),
                ..
            } = known
            else {
                continue;
            };
            let file = file.file_name().unwrap_or_default().to_string_lossy();
            let file: String = file.chars().filter(char::is_ascii_graphic).collect();
            let what = format!("the certificate {file} of a relay host");
            let to = policy.holds().owner_address.as_ref();
            self.warn_of_end(to, &what, *ends_at, RELAY_REMEDY, now)
                .await;
        }
    }

    /// When the last of an account's certificates ends; `None` if it has none, or none of them is known to end: they
    /// were never shown.
    async fn last_end(&self, account: &Account) -> Option<Timestamp> {
        let known = &account.contract.certificates;
        if known.is_empty() {
            return None;
        }
        let (desk, name) = (Arc::clone(&self.desk), account.name().to_owned());
        let seen = tokio::task::spawn_blocking(move || desk.store().certificates(&name)).await;
        let seen = match seen {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                error!(%error, "certificates that end could not be looked at");
                return None;
            }
            Err(_) => return None,
        };
        let labels: Vec<String> = known.iter().map(ToString::to_string).collect();
        let shown = seen
            .into_iter()
            .filter(|one| labels.contains(&one.known_as));
        let shown = shown.map(|one| one.ends_at);
        let written = known.iter().filter_map(KnownCertificate::ends_at);
        written.chain(shown).max()
    }

    /// Tells somebody of an end, if a warning is due and was not given.
    async fn warn_of_end(
        &self,
        to: Option<&Mailbox>,
        what: &str,
        ends_at: Timestamp,
        remedy: &str,
        now: Timestamp,
    ) {
        let Some(days) = due_warning(now, ends_at, None) else {
            return;
        };
        let ends_on = ends_at.to_zoned(TimeZone::UTC).date();
        warn!(what, %ends_on, "a certificate ends");
        let Some(to) = to else {
            return;
        };
        let notice = ExpiryNotice {
            to,
            what,
            ends_on,
            remedy,
        };
        let about = format!("{what} {ends_on}, {days} days");
        if let Err(error) = self.tell_once(&notice, about, now).await {
            error!(%error, what, "nobody could be warned that a certificate ends");
        }
    }
}

const REMEDY: &str = "Have another made for it, and the administrators of this gateway write it into `certificates` of \
                      the account, beside this one. Both are good then, for as long as the change takes.";
const RELAY_REMEDY: &str =
    "Have another made, and write it into relay-certificates beside this one.";
