//! A network of addresses, as files write it: `192.0.2.0/24`, `2001:db8::/32`, `127.0.0.1`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that share a prefix. An IPv4 address that came in its IPv6 form
/// (`::ffff:192.0.2.1`) belongs to the IPv4 networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = u128::from(ours.to_bits() ^ theirs.to_bits());
                shares_prefix(differ, 32, self.prefix_bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                shares_prefix(ours.to_bits() ^ theirs.to_bits(), 128, self.prefix_bits)
            }
            _ => false,
        }
    }

    /// Whether all of its addresses are in another network.
    pub fn is_within(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.prefix_bits >= other.prefix_bits
            && other.contains(self.address)
    }

    /// Whether its addresses are those of IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// How many bits of their addresses all in it share: 0 in a network of everybody.
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => width,
            Some(bits) => bits.parse().map_err(|_| BadNetwork)?,
        };
        if prefix_bits > width {
            return Err(BadNetwork);
        }
        Ok(Self {
            address,
            prefix_bits,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// Not a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a network looks like 192.0.2.0/24 or 2001:db8::/32")]
pub struct BadNetwork;

/// Whether two addresses of `width` bits, whose exclusive or is `differ`, share their first `bits`.
fn shares_prefix(differ: u128, width: u8, bits: u8) -> bool {
    bits == 0 || differ >> (width - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(network: &str, address: &str) -> bool {
        network
            .parse::<Network>()
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_is_what_shares_its_prefix() {
        assert!(is_in("127.0.0.0/8", "127.0.5.9") && !is_in("127.0.0.0/8", "128.0.0.1"));
        assert!(is_in("192.0.2.7", "192.0.2.7") && !is_in("192.0.2.7", "192.0.2.6"));
        assert!(is_in("2001:db8::/32", "2001:db8:1::1") && !is_in("2001:db8::/32", "2001:db9::"));
        assert!(is_in("0.0.0.0/0", "203.0.113.9") && !is_in("0.0.0.0/0", "2001:db8::1"));
        assert!(is_in("192.0.2.0/24", "::ffff:192.0.2.9"));
    }

    #[test]
    fn a_network_is_within_what_has_all_of_its_addresses() {
        for (one, other, is) in [
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/7", "10.0.0.0/8", false),
            ("11.0.0.0/16", "10.0.0.0/8", false),
            ("::1", "0.0.0.0/0", false),
            ("::ffff:10.0.0.1", "10.0.0.0/8", false),
            ("fd00::/8", "fc00::/7", true),
        ] {
            let network = |text: &str| text.parse::<Network>().unwrap();
            assert_eq!(network(one).is_within(&network(other)), is, "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "",
            "192.0.2.0/33",
            "192.0.2/24",
            "x",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/-1",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
        }
    }
}
