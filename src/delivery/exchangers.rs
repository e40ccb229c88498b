//! Which of the mail exchangers that DNS names may have what is bound to verified TLS.
//!
//! A certificate proves that a host is the one that DNS named; a forged MX record names another host (RFC 7672
//! §1.3.2). Where somebody has listed the exchangers of a domain, only those are tried.

use std::sync::Arc;

use crate::mail::{Domain, EnhancedStatusCode};
use crate::outcome::{NamedBy, Outcome};

/// What is known of a host as mail exchanger of a domain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listing {
    /// Nothing: DNS alone says who takes the mail of the domain.
    None,
    /// It is listed.
    Listed,
    /// Others are listed, and it is not.
    Stranger,
}

/// Asks what is known of a host, by its name, as mail exchanger of a domain.
pub type Exchangers = Arc<dyn Fn(&Domain, &str) -> Listing + Send + Sync>;

/// Of the hosts that DNS names for a domain, those that may be tried, each with who says so. Errs if there were
/// some and none is left: there is no secured path then, and it may be put right.
pub(super) fn allowed(
    exchangers: &Exchangers,
    domain: &Domain,
    hosts: Vec<String>,
) -> Result<Vec<(String, NamedBy)>, Box<Outcome>> {
    let (mut allowed, mut stranger) = (Vec::new(), None);
    for host in hosts {
        match exchangers(domain, &host) {
            Listing::None => allowed.push((host, NamedBy::Dns)),
            Listing::Listed => allowed.push((host, NamedBy::Register)),
            Listing::Stranger => stranger = stranger.or(Some(host)),
        }
    }
    match stranger {
        Some(host) if allowed.is_empty() => Err(Box::new(Outcome {
            no_secured_path: true,
            ..Outcome::without_reply(
                EnhancedStatusCode::transient(7, 5),
                format!(
                    "DNS names {} as mail exchanger, and the register of secure domains does not",
                    host.trim_end_matches('.')
                ),
            )
        })),
        _ => Ok(allowed),
    }
}
