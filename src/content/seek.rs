//! Looking for the next octet of some kind, many at a time.

/// Returns the place of the first octet at or behind `from` for which `is` holds.
///
/// A block of octets is judged as a whole first, without a branch for each, so that the processor does sixteen at
/// once. That pays where most blocks have none, as with digits in a letter; `is` should be a few comparisons.
pub fn next_octet(octets: &[u8], from: usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    let rest = octets.get(from..)?;
    let mut at = from;
    for block in rest.chunks(BLOCK) {
        if block.iter().fold(false, |any, octet| any | is(*octet)) {
            return block
                .iter()
                .position(|octet| is(*octet))
                .map(|found| at + found);
        }
        at += block.len();
    }
    None
}

/// Octets that are judged together: what fits into a register of every processor of 64 bits.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_first(octets in proptest::collection::vec(any::<u8>(), 0..400), from in 0usize..420, limit in 0u8..8) {
            let is = |octet: u8| octet < limit;
            let plain = (from..octets.len()).find(|at| is(octets[*at]));
            prop_assert_eq!(next_octet(&octets, from, is), plain);
        }
    }
}
