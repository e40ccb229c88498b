//! Which addresses are of this machine or of the network round it, and so not of the Internet.
//!
//! Where a stranger's DNS says whom we ask over HTTPS, an address in here would make the gateway ask machines that the
//! stranger cannot reach himself (server-side request forgery).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is loopback, private (RFC 1918), shared (RFC 6598), link-local (RFC 3927, RFC 4291 §2.5.6),
/// unique local (RFC 4193), unspecified or of a group; also where IPv6 wraps such an IPv4 address (mapped, NAT64 of RFC
/// 6052, 6to4).
pub fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_internal_v4(v4),
        IpAddr::V6(v6) => is_internal_v6(v6),
    }
}

fn is_internal_v4(v4: Ipv4Addr) -> bool {
    let [first, second, third, _] = v4.octets();
    first == 0
        || v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || (first == 100 && second & 0xc0 == 64) // 100.64.0.0/10
        || (first, second, third) == (192, 0, 0) // IETF protocol assignments (RFC 6890)
        || (first == 198 && second & 0xfe == 18) // benchmarks (RFC 2544)
        || first >= 224 // groups, reserved, broadcast
}

fn is_internal_v6(v6: Ipv6Addr) -> bool {
    let words = v6.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_internal_v4(Ipv4Addr::new(a, b, c, d))
    };
    match words {
        // Unspecified, loopback, and IPv4 written in IPv6, mapped or (deprecated) compatible.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        // NAT64, the well-known prefix and the local one (RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x64, 0xff9b, 1, ..] => true,
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => embedded(high, low),
        // Unique local, link-local and the site-local of old, groups.
        [first, ..] => {
            first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || first & 0xffc0 == 0xfec0
                || first & 0xff00 == 0xff00
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_cannot_reach_is_internal_however_it_is_written() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:a00:1::",
            "2002:7f00:1::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_internal(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_internet_is_not() {
        for text in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!is_internal(text.parse().unwrap()), "{text}");
        }
    }
}
