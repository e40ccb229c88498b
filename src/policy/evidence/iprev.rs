//! Whether a client has a name that leads back to it (RFC 8601 §2.7.3, §3).

use std::net::IpAddr;

use crate::base::dns::{Dns, DnsError};

/// The word for it: `permerror` if the client has no name.
pub(super) async fn check(dns: &Dns, client: IpAddr) -> &'static str {
    let client = client.to_canonical();
    let names = match dns.names(client).await {
        Ok(names) => names,
        Err(error) => return no_name(error),
    };
    let mut is_unsure = false;
    for name in names.iter().take(NAMES_MAX) {
        match dns.addresses_like(name, client).await {
            Ok(addresses) if addresses.contains(&client) => return "pass",
            Ok(_) => {}
            Err(error) => is_unsure |= error.may_pass(),
        }
    }
    if is_unsure { "temperror" } else { "fail" }
}

fn no_name(error: DnsError) -> &'static str {
    if error.may_pass() {
        "temperror"
    } else {
        "permerror"
    }
}

/// Names that are followed (RFC 8601 §3: an attacker chooses how many there are).
const NAMES_MAX: usize = 5;
