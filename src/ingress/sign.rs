//! The last change before the queue: our own mail is signed, mail that is passed on is sealed.
//!
//! What is signed is what leaves: no octet changes after this but the fields put on top here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::error;

use crate::base::metrics;
use crate::mail::Message;
use crate::policy::signing::arc::Sealed;
use crate::policy::signing::{OnFailure, Signed};
use crate::policy::{Decision, Direction, Policy};

use super::Parts;

/// Returns the message as it leaves, and what is to be remembered of its signatures; `None` if it could not be
/// signed and the policy would rather have the client try again.
///
/// `policy` is the one that decided: it may have been loaded anew since.
pub(super) async fn sign(
    parts: &Parts,
    policy: &Policy,
    decision: &Decision,
    message: Message,
) -> Option<(Message, Vec<String>)> {
    let signing = Arc::clone(policy.signing());
    if signing.keys().is_empty() {
        return Some((message, Vec::new()));
    }
    if decision.direction == Direction::Inbound {
        return seal(parts, policy, decision, message).await;
    }
    let now = parts.clock.now();
    let on_failure = signing.on_failure();
    let (message, signed) = apart(message, move |message| {
        // What a library makes of a strange message must not cost the session.
        let signed = catch_unwind(AssertUnwindSafe(|| signing.sign(&message, now)));
        let signed = signed.unwrap_or_else(|_| Signed::Failed(vec!["every key".to_owned()]));
        match &signed {
            Signed::Fields { fields, .. } => (message.with_fields_on_top(fields), signed),
            _ => (message, signed),
        }
    })
    .await?;
    let notes = account_for(&signed, decision);
    let is_deferred = matches!(signed, Signed::Failed(_)) && on_failure == OnFailure::Defer;
    (!is_deferred).then_some((message, notes))
}

/// Seals mail from outside that goes on to a domain that is not ours: by an alias, a list, a forward. The copies for
/// our own recipients are the same octets.
async fn seal(
    parts: &Parts,
    policy: &Policy,
    decision: &Decision,
    message: Message,
) -> Option<(Message, Vec<String>)> {
    if !policy.passes_on(decision) {
        return Some((message, Vec::new()));
    }
    let signing = Arc::clone(policy.signing());
    let (hostname, results) = (
        parts.hostname.clone(),
        decision.findings.authentication.clone(),
    );
    let now = parts.clock.now();
    let (message, sealed) = apart(message, move |message| {
        let sealed = catch_unwind(AssertUnwindSafe(|| {
            signing.seal(&message, hostname.as_str(), &results, now)
        }));
        let sealed = sealed.unwrap_or_else(|_| Sealed::Failed("the key".to_owned()));
        match &sealed {
            Sealed::Fields { fields, .. } => (message.with_fields_on_top(fields), sealed),
            _ => (message, sealed),
        }
    })
    .await?;
    let note = match sealed {
        Sealed::Off => None,
        Sealed::Not(because) => Some(format!("arc: not sealed, {because}")),
        Sealed::Fields { note, .. } => {
            metrics::SEALS.add(1);
            Some(note)
        }
        Sealed::Failed(key) => {
            metrics::SEALS_FAILED.add(1);
            error!(reference = %decision.reference, key, "a seal of ours does not verify: it is not sent");
            Some(format!(
                "arc: not sealed, the seal of {key} does not verify"
            ))
        }
    };
    Some((message, note.into_iter().collect()))
}

/// A large message is hashed on a thread that may take its time.
async fn apart<T: Send + 'static>(
    message: Message,
    work: impl FnOnce(Message) -> T + Send + 'static,
) -> Option<T> {
    if message.len() <= INLINE_OCTETS_MAX {
        return Some(work(message));
    }
    tokio::task::spawn_blocking(move || work(message))
        .await
        .ok()
}

/// Counts it, tells the operator of what failed, and returns what the audit trail has of it.
fn account_for(signed: &Signed, decision: &Decision) -> Vec<String> {
    let reference = &decision.reference;
    let failed_note = |failed: &[String]| {
        metrics::SIGNATURES_FAILED.add(i64::try_from(failed.len()).unwrap_or(1));
        let keys = failed.join(", ");
        error!(%reference, keys, "a signature of ours does not verify: it is not sent");
        format!("signing: the signature of {keys} does not verify, left out")
    };
    match signed {
        Signed::NotOurs => Vec::new(),
        Signed::Fields { by, failed, .. } => {
            metrics::SIGNATURES.add(i64::try_from(by.len()).unwrap_or(1));
            let mut notes = vec![format!("signing: signed by {}", by.join(", "))];
            notes.extend((!failed.is_empty()).then(|| failed_note(failed)));
            notes
        }
        Signed::Failed(failed) => {
            metrics::UNSIGNED.add(1);
            vec![failed_note(failed)]
        }
    }
}

/// Messages up to this are signed on the spot: that takes about as long as the policy did.
const INLINE_OCTETS_MAX: usize = 256 << 10;
