//! What is known of domain names: which end in a top-level domain that exists, and which part of them was bought.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Whether a top-level domain exists; in ASCII, lower case. From the list of IANA as of February 2023: a newer one
/// is no bare link yet (with `www.` or a scheme before it, any name is one).
pub fn is_top_level(label: &str) -> bool {
    TOP_LEVEL.contains(label)
}

/// The part of a name that somebody registered: `bbc.co.uk` of `www.bbc.co.uk`. Two names with the same one
/// belong to one owner. By rule of thumb and not by the public suffix list: a country with a word such as `co`,
/// `org` or `nhs` below it has one label more.
pub fn registered(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else {
        return name;
    };
    let is_suffix = name.len() - top == 3 && SUFFIXES.contains(&&name[second + 1..top]);
    if is_suffix {
        let third = dots.next();
        return third.map_or(name, |third| &name[third + 1..]);
    }
    &name[second + 1..]
}

/// The registered part without what anybody may register below: `bbc` of `www.bbc.co.uk`.
pub fn own_label(name: &str) -> &str {
    let registered = registered(name);
    registered.split('.').next().unwrap_or(registered)
}

static TOP_LEVEL: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("tlds.txt").lines().collect());

/// Labels below a country that are no owner's name.
const SUFFIXES: &[&str] = &[
    "ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "ltd", "me", "mil", "net", "nhs", "nom",
    "or", "org", "plc", "police", "sch",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_name_is_found() {
        for (name, registered_part, own) in [
            ("www.bbc.co.uk", "bbc.co.uk", "bbc"),
            ("bumbleton.example", "bumbleton.example", "bumbleton"),
            ("a.b.example.com", "example.com", "example"),
            ("england.nhs.uk", "england.nhs.uk", "england"),
            ("nhs.uk", "nhs.uk", "nhs"),
            ("nhs.uk.evil.example", "evil.example", "evil"),
            ("localhost", "localhost", "localhost"),
        ] {
            assert_eq!((registered(name), own_label(name)), (registered_part, own));
        }
        assert!(is_top_level("uk") && is_top_level("xn--p1ai") && !is_top_level("txt"));
    }
}
