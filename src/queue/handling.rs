//! How a message is to be handled while it waits: how urgent it is, and by which policy it was decided about.

use crate::base::PolicyVersion;
use crate::mail::Priority;

/// How a message is to be handled while it waits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Handling {
    /// Before which others it goes.
    pub priority: Priority,
    /// What its sender said of that (RFC 6710), for the next hop.
    pub mt_priority: Option<i8>,
    /// Which policy decided; `None`: none is asked again.
    pub policy: Option<PolicyMark>,
}

/// A version of the policy as a number: equal for equal versions.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PolicyMark(pub i64);

impl PolicyMark {
    /// The number of a version: FNV-1a over its octets, which differ in nearly all of them.
    pub fn of(version: &PolicyVersion) -> Self {
        let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
        for octet in version.to_string().bytes() {
            hash = (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3);
        }
        Self(i64::from_ne_bytes(hash.to_ne_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let mark = |text: &str| PolicyMark::of(&PolicyVersion(text.to_owned()));
        assert_eq!(mark("5f1c"), mark("5f1c"));
        assert_ne!(mark("5f1c"), mark("5f1d"));
    }
}
