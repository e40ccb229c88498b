//! The gateway's own paper: its name, and the keys in force for its domain.

use std::sync::Arc;

use tracing::error;

use crate::base::{Clock, metrics};
use crate::outcome::Letterhead;
use crate::policy::signing::{Signed, Signing};

/// Reports and notices in this name, signed with the keys of its domain if there are any. One that cannot be
/// signed goes out as it is: whoever waits for it must hear of it.
pub fn letterhead(
    hostname: impl std::fmt::Display,
    signing: impl Fn() -> Arc<Signing> + Send + Sync + 'static,
    clock: Clock,
) -> Letterhead {
    Letterhead::new(hostname).signing(move |message| match signing().sign(&message, clock.now()) {
        Signed::Fields { fields, by, .. } => {
            metrics::SIGNATURES.add(i64::try_from(by.len()).unwrap_or(1));
            message.with_fields_on_top(&fields)
        }
        Signed::NotOurs => message,
        Signed::Failed(keys) => {
            metrics::SIGNATURES_FAILED.add(i64::try_from(keys.len()).unwrap_or(1));
            metrics::UNSIGNED.add(1);
            error!(
                keys = keys.join(", "),
                "a report could not be signed: it goes out without"
            );
            message
        }
    })
}
