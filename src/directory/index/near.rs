//! Words that are nearly another one, as an automaton that an `fst` can be searched with.

use fst::Automaton;

/// Words that have at most so many slips: a letter more, less or other, or two swapped.
///
/// All states of the automaton that counts slips are bits of a few numbers (Wu and Manber,
/// "Fast text searching: allowing errors", 1992), so it costs nothing to make one.
#[derive(Clone, Debug)]
pub(super) struct Near {
    /// Of each octet, at which places of the pattern it stands.
    stands: Box<[u64; 256]>,
    /// Its last bit is the whole pattern.
    all: u64,
    slips: usize,
    open: Open,
}

/// Where a word may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Open {
    /// Nowhere: it is the pattern.
    Closed,
    /// After the pattern.
    End,
    /// Before it and after it.
    Both,
}

/// How far each number of slips has come; bit `i` says that `i` octets of the pattern are there.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    reached: [u64; SLIPS_MAX + 1],
    /// The same one octet ago, where the next octet may finish a swap.
    swaps: [u64; SLIPS_MAX],
    /// The pattern was there, and the rest does not matter.
    done: bool,
}

impl Near {
    /// `None` for a pattern that is empty or longer than a word can be.
    pub(super) fn new(pattern: &str, slips: usize, open: Open) -> Option<Self> {
        if pattern.is_empty() || pattern.len() > PATTERN_MAX {
            return None;
        }
        let mut stands = Box::new([0; 256]);
        for (at, octet) in pattern.bytes().enumerate() {
            stands[usize::from(octet)] |= 1 << at;
        }
        Some(Self {
            stands,
            all: (2 << pattern.len()) - 1,
            slips: slips.min(SLIPS_MAX),
            open,
        })
    }

    fn is_there(&self, reached: &[u64]) -> bool {
        let last = self.all ^ (self.all >> 1);
        reached.iter().any(|reached| reached & last != 0)
    }
}

impl Automaton for Near {
    type State = State;

    fn start(&self) -> State {
        // To have come `i` far without reading anything takes `i` slips.
        let reached = std::array::from_fn(|slips| ((2 << slips) - 1) & self.all);
        State {
            reached,
            swaps: [0; SLIPS_MAX],
            done: false,
        }
    }

    fn is_match(&self, state: &State) -> bool {
        state.done || self.is_there(&state.reached[..=self.slips])
    }

    fn can_match(&self, state: &State) -> bool {
        state.done
            || state.reached[..=self.slips]
                .iter()
                .any(|reached| *reached != 0)
    }

    fn will_always_match(&self, state: &State) -> bool {
        state.done
    }

    fn accept(&self, state: &State, octet: u8) -> State {
        if state.done || self.open != Open::Closed && self.is_match(state) {
            return State {
                done: true,
                ..*state
            };
        }
        let stands = self.stands[usize::from(octet)];
        let before = &state.reached;
        let mut next = State {
            reached: [(before[0] & stands) << 1; SLIPS_MAX + 1],
            swaps: [0; SLIPS_MAX],
            done: false,
        };
        if self.open == Open::Both {
            next.reached[0] |= 1;
        }
        for slips in 1..=self.slips {
            let right = (before[slips] & stands) << 1;
            let more = before[slips - 1];
            let other = before[slips - 1] << 1;
            let less = next.reached[slips - 1] << 1;
            let swapped = (state.swaps[slips - 1] & stands) << 2;
            next.reached[slips] = (right | more | other | less | swapped) & self.all;
            next.swaps[slips - 1] = before[slips - 1] & (stands >> 1);
        }
        next
    }
}

/// Most slips.
const SLIPS_MAX: usize = 2;
/// Longest pattern, in octets: one bit is for none of them.
const PATTERN_MAX: usize = 62;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(near: &Near, word: &str) -> bool {
        let state = word
            .bytes()
            .fold(near.start(), |state, octet| near.accept(&state, octet));
        near.is_match(&state)
    }

    /// The optimal string alignment distance, as the textbook computes it.
    fn distance(a: &[u8], b: &[u8]) -> usize {
        let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                table[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let other = usize::from(a[i - 1] != b[j - 1]);
                    let mut least = (table[i - 1][j - 1] + other)
                        .min(table[i - 1][j] + 1)
                        .min(table[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        least = least.min(table[i - 2][j - 2] + 1);
                    }
                    least
                };
            }
        }
        table[a.len()][b.len()]
    }

    proptest! {
        #[test]
        fn slips_are_counted_as_the_textbook_counts_them(pattern in "[abc]{1,8}", word in "[abc]{0,10}", slips in 0..3_usize) {
            let near = Near::new(&pattern, slips, Open::Closed).unwrap();
            let distance = distance(pattern.as_bytes(), word.as_bytes());
            prop_assert_eq!(matches(&near, &word), distance <= slips, "{}", distance);
        }

        #[test]
        fn open_patterns_are_beginnings_and_parts(pattern in "[ab]{1,4}", word in "[ab]{0,8}") {
            let begins = Near::new(&pattern, 0, Open::End).unwrap();
            let part = Near::new(&pattern, 0, Open::Both).unwrap();
            prop_assert_eq!(matches(&begins, &word), word.starts_with(&pattern));
            prop_assert_eq!(matches(&part, &word), word.contains(&pattern));
        }
    }

    #[test]
    fn patterns_have_a_length() {
        assert!(Near::new("", 1, Open::Closed).is_none());
        assert!(Near::new(&"x".repeat(63), 1, Open::Closed).is_none());
        let longest = "x".repeat(62);
        assert!(matches(
            &Near::new(&longest, 2, Open::Closed).unwrap(),
            &longest[2..]
        ));
    }
}
