//! What an account may use, asked before its data come: the rate at MAIL, the day's recipients at each RCPT.
//!
//! The replies are transient, and told apart: 4.4.5 (congestion) for the rate, with the seconds to wait, and 4.5.3 (too
//! many recipients) for the quota. The reply itself waits a little: most programs only slow down when they must.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use crate::accounts::Account;
use crate::accounts::meter::{Claim, Over, Taken};
use crate::mail::{Client, EnhancedStatusCode as Code, Reply};
use crate::policy::Policy;

use super::Parts;
use super::receive::try_later;

/// Begins a message of the client's account. `None` if the account is gone: the policy says so at the first recipient.
pub(super) fn begin(
    parts: &Parts,
    policy: &Policy,
    client: &Client,
    size: Option<u64>,
) -> Result<Option<Claim>, Reply> {
    let Some(account) = account_of(policy, client) else {
        return Ok(None);
    };
    if parts.accounts.is_shut(account.name()) {
        return Err(shut());
    }
    let limit = account.contract.message_octets;
    if let (Some(size), Some(limit)) = (size, limit)
        && size > limit
    {
        return Err(too_big(limit));
    }
    let claim = parts.accounts.meters().claim(account, parts.clock.now());
    claim.map(Some).map_err(|over| {
        info!(account = account.name(), %over, "an account must wait");
        wait(over)
    })
}

/// Takes one more recipient.
pub(super) async fn take_recipient(
    parts: &Parts,
    policy: &Arc<Policy>,
    client: &Client,
    claim: &mut Claim,
) -> Result<(), Reply> {
    for _ in 0..RESERVE_TRIES {
        let Some(account) = account_of(policy, client) else {
            return Ok(());
        };
        if parts.accounts.is_shut(account.name()) {
            return Err(shut());
        }
        match claim.take_recipient(&account.contract, parts.clock.now()) {
            Taken::Yes => return Ok(()),
            Taken::No(over) => return Err(wait(over)),
            Taken::ReserveFirst => reserve(parts, policy, account.name()).await?,
        }
    }
    Err(try_later())
}

/// Once in some hundred recipients: a synced write, off the threads that serve mail.
async fn reserve(parts: &Parts, policy: &Arc<Policy>, name: &str) -> Result<(), Reply> {
    let (desk, policy) = (Arc::clone(&parts.accounts), Arc::clone(policy));
    let (name, now) = (name.to_owned(), parts.clock.now());
    let task = tokio::task::spawn_blocking(move || match policy.accounts().get(&name) {
        Some(account) => desk.meters().reserve(account, now),
        None => Ok(()),
    });
    match task.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            error!(%error, "the recipients of the day cannot be counted: the client was told to try again");
            Err(try_later())
        }
        Err(_) => Err(try_later()),
    }
}

fn account_of<'p>(policy: &'p Policy, client: &Client) -> Option<&'p Account> {
    policy.accounts().get(client.account.as_deref()?)
}

/// RFC 5321 §4.2.2: 450 and 452 are tried again as they are.
fn wait(over: Over) -> Reply {
    match over {
        Over::Rate { limit, wait } => {
            let seconds = wait.as_secs().max(1);
            let text = format!(
                "more than {limit} messages in a minute: slow down, try again in {seconds} seconds"
            );
            Reply::new(450, Code::transient(4, 5), text)
        }
        Over::Quota { limit } => {
            let text = format!(
                "the {limit} recipients of today are used up: try again after midnight, universal time"
            );
            Reply::new(452, Code::transient(5, 3), text)
        }
    }
}

/// It was taken away while the client was connected.
fn shut() -> Reply {
    let text = "this account is disabled";
    Reply::new(550, Code::permanent(7, 1), text)
}

/// RFC 1870 §6.1.
pub(super) fn too_big(limit: u64) -> Reply {
    let text = format!("the contract of this account allows messages of {limit} octets");
    Reply::new(552, Code::permanent(3, 4), text)
}

/// What the reply to an account that must wait waits itself.
pub(super) const OVER_DELAY: Duration = Duration::from_secs(1);
/// Reservations in a row that others may use up before us.
const RESERVE_TRIES: usize = 8;
