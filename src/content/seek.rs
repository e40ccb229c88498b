//! Looking for the next octet of some kind, many at a time.

/// Returns the place of the first octet at or behind `from` for which `is` holds.
///
/// A block of octets is judged as a whole first, without a branch for each and of a length that the compiler knows, so
/// that the processor does sixteen or more at once. That pays where most blocks have none, as with digits in a letter;
/// `is` should be a few comparisons.
pub fn next_octet(octets: &[u8], from: usize, is: impl Fn(u8) -> bool) -> Option<usize> {
    let (blocks, _) = octets.get(from..)?.as_chunks::<BLOCK>();
    let is_in = |block: &[u8; BLOCK]| {
        block
            .iter()
            .fold(0, |any, octet| any | u8::from(is(*octet)))
    };
    let clear = blocks.iter().take_while(|block| is_in(block) == 0).count();
    let from = from + clear * BLOCK;
    let found = octets[from..].iter().position(|octet| is(*octet));
    found.map(|found| from + found)
}

/// Octets that are judged together: two registers of every processor of 64 bits.
const BLOCK: usize = 32;

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
