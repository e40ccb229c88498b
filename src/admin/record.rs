//! What an administrator has done goes on record, but he does not wait for that without end: his answer may hold a secret
//! that is good already and is shown this once.

use std::future::Future;
use std::time::Duration;

use crate::outcome::audit::AuditEvent;
use crate::queue::{Queue, QueueError};

/// Why what was done is not on record.
#[derive(Debug, thiserror::Error)]
pub enum Unrecorded {
    /// The audit trail does not take it.
    #[error("it is done, but it is not in the audit trail")]
    NotTaken(#[source] QueueError),
    /// It says nothing. What was under way may be there all the same.
    #[error(
        "it is done, but it is not in the audit trail, which did not answer within {} seconds",
        ANSWER_MAX.as_secs()
    )]
    Silent,
    /// The administrator pressed Ctrl-C meanwhile. What was under way may be there all the same.
    #[error("it is done, but it is not in the audit trail: that was interrupted")]
    Interrupted,
}

/// Opens the queue and puts on record what was done. Waits no longer than until Ctrl-C, which does not end the process
/// then, and ten seconds at most.
///
/// # Errors
/// It is not on record; whoever asked for it is to hear what was done, and then this.
pub async fn record(
    queue: impl Future<Output = Result<Queue, QueueError>>,
    events: Vec<AuditEvent>,
) -> Result<(), Unrecorded> {
    let recorded = async { queue.await?.record(events).await };
    tokio::select! {
        // In this order: the signal is ours before anything is waited for.
        biased;
        () = interrupted() => Err(Unrecorded::Interrupted),
        recorded = tokio::time::timeout(ANSWER_MAX, recorded) => match recorded {
            Ok(recorded) => recorded.map_err(Unrecorded::NotTaken),
            Err(_) => Err(Unrecorded::Silent),
        },
    }
}

/// Never, if the system does not hand the signal over: it ends the process then.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A database that is well answers in a fraction of a second.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trail_that_does_not_answer_is_not_waited_for_without_end() {
        let silent = record(std::future::pending(), Vec::new()).await;
        let said = silent.unwrap_err().to_string();
        assert!(said.ends_with("did not answer within 10 seconds"), "{said}");
    }
}
