//! The networks whose mail is our own, without a password.
//!
//! Who is in one of them sends to everybody, and patient data of his counts as ours. A network of
//! strangers is an open relay, so `check` says which ones are wider than any organisation's.

use crate::base::Network;
use crate::config::{Diagnostic, Located, Section};

/// Takes `relay-networks` out of `[policy]`.
pub(super) fn read(policy: &Section<'_>) -> Vec<Network> {
    let networks = policy.parse_list::<Network>("relay-networks");
    let networks = networks.unwrap_or_default();
    for network in networks.iter().filter(|network| is_wide(network)) {
        let message = format!(
            "anybody in `{}` may send to everybody, as one of our own",
            **network
        );
        let diagnostic = Diagnostic::warning("wide-relay-network", message)
            .at_maybe(network.place(), "")
            .help("list the networks of your own servers alone; others log in, or show a certificate (relay-certificates)");
        policy.diagnostics().push(diagnostic);
    }
    networks.into_iter().map(Located::into_inner).collect()
}

fn is_wide(network: &Network) -> bool {
    let least = if network.is_ipv4() {
        IPV4_BITS
    } else {
        IPV6_BITS
    };
    network.prefix_bits() < least && !is_nobodys_outside(network)
}

/// Whether nobody outside has an address of it.
fn is_nobodys_outside(network: &Network) -> bool {
    INSIDE.iter().any(|inside| {
        let inside = inside.parse::<Network>();
        inside.is_ok_and(|inside| network.is_within(&inside))
    })
}

/// Public networks of one organisation are no wider, in bits of their prefix: the large ones got a /16.
const IPV4_BITS: u8 = 16;
/// Registries give a provider of access a /29 without asking why (RIPE-738 §5.1.2).
const IPV6_BITS: u8 = 29;
/// Loopback, private, shared and link-local addresses (RFC 1122 §3.2.1.3, RFC 1918 §3, RFC 6598 §7, RFC 3927 §2.1,
/// RFC 4193 §3.1, RFC 4291 §2.5.6).
const INSIDE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_wide_if_it_is_more_than_an_organisation_has() {
        for (network, wide) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("25.0.0.0/8", true),
            ("155.230.0.0/15", true),
            ("8.0.0.0/5", true), // 10.0.0.0/8 is a part of it
            ("2000::/3", true),
            ("155.231.0.0/16", false),
            ("2001:db8::/32", false),
            ("127.0.0.0/8", false),
            ("10.0.0.0/8", false),
            ("172.16.0.0/12", false),
            ("fd00::/8", false),
        ] {
            assert_eq!(is_wide(&network.parse().unwrap()), wide, "{network}");
        }
    }
}
