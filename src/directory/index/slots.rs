//! A hash table from names to numbers that is the same in memory and in a file.
//!
//! Each slot has 32 bits: the number of the name, counted from 1, and in the bits that are left a
//! piece of its hash, so that hardly any other name is ever looked at. Two names whose hashes begin
//! alike stand next to each other.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::numbers::nth_u32;

/// The table as it is made.
#[derive(Debug)]
pub(in crate::directory) struct Slots {
    slots: Vec<u32>,
    /// How many bits of a slot are the number.
    bits: u32,
    count: u32,
}

impl Slots {
    /// A table for `count` names at first; it grows.
    pub(in crate::directory) fn with_capacity(count: usize) -> Self {
        let slots = (count * 2).next_power_of_two().max(LEAST);
        Self {
            slots: vec![0; slots],
            bits: bits_for(slots),
            count: 0,
        }
    }

    /// The number of the name with this hash for which `is_it` says so.
    pub(in crate::directory) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let slot = |at| self.slots.get(at).copied();
        probe(self.slots.len(), self.bits, hash, slot, is_it)
    }

    /// Adds the next name: the first is 0, the second 1. `hash_of` tells the hashes of those before.
    pub(in crate::directory) fn push(&mut self, hash: u64, hash_of: impl Fn(u32) -> u64) {
        if (self.count as usize + 1) * 2 > self.slots.len() {
            let slots = self.slots.len() * 2;
            (self.slots, self.bits) = (vec![0; slots], bits_for(slots));
            for number in 0..self.count {
                self.put(hash_of(number), number);
            }
        }
        self.put(hash, self.count);
        self.count += 1;
    }

    /// The slots as octets.
    pub(super) fn into_octets(self) -> Vec<u8> {
        self.slots.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    fn put(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = tag(hash, self.bits) << self.bits | (number + 1);
    }
}

/// As [`Slots::find`], in the octets of a table.
pub(super) fn find(octets: &[u8], hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
    let slots = octets.len() / 4;
    let slot = |at| nth_u32(octets, at);
    probe(slots, bits_for(slots), hash, slot, is_it)
}

/// Whether these are the octets of a table whose numbers are all below `end`.
pub(super) fn are_below(octets: &[u8], end: u32) -> bool {
    let slots = octets.len() / 4;
    let numbers = u32::MAX.checked_shr(32 - bits_for(slots)).unwrap_or(0);
    octets.len().is_multiple_of(4)
        && slots.is_power_of_two()
        && (0..slots).all(|at| nth_u32(octets, at).is_some_and(|slot| slot & numbers <= end))
}

fn probe(
    slots: usize,
    bits: u32,
    hash: u64,
    slot: impl Fn(usize) -> Option<u32>,
    is_it: impl Fn(u32) -> bool,
) -> Option<u32> {
    let mask = slots.checked_sub(1)?;
    let wanted = tag(hash, bits);
    let mut at = hash as usize & mask;
    // A damaged table may have no empty slot: once round is enough.
    for _ in 0..slots {
        let found = slot(at)?;
        if found == 0 {
            return None;
        }
        if found.checked_shr(bits).unwrap_or(0) == wanted {
            let number = (found & (u32::MAX >> (32 - bits))).checked_sub(1)?;
            if is_it(number) {
                return Some(number);
            }
        }
        at = (at + 1) & mask;
    }
    None
}

/// The bits of a slot that the number takes: as many as the number of slots has.
fn bits_for(slots: usize) -> u32 {
    slots.max(LEAST).ilog2().min(31)
}

fn tag(hash: u64, bits: u32) -> u32 {
    ((hash >> 32) as u32).checked_shr(bits).unwrap_or(0)
}

/// A hash that is the same everywhere and always: it stands in files. The names are the
/// administrator's own, so nobody gains by finding two alike.
pub(in crate::directory) fn hash(name: &[u8], host: u32) -> u64 {
    let mut hash = fold(u64::from(host) ^ SEED, name.len() as u64 ^ FACTOR);
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.try_into().map_or(0, u64::from_le_bytes);
        hash = fold(hash ^ word, FACTOR);
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    fold(hash ^ u64::from_le_bytes(last), SEED)
}

/// A map whose keys are the administrator's own, as [`hash`] is for: the standard hash withstands
/// strangers who choose the keys, and takes a look-up's tenth part.
pub(in crate::directory) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// [`hash`] for a [`QuickMap`].
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::directory) struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, octets: &[u8]) {
        self.0 = fold(self.0 ^ hash(octets, 0), FACTOR);
    }

    fn write_u8(&mut self, octet: u8) {
        self.0 = fold(self.0 ^ u64::from(octet) ^ SEED, FACTOR);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Both halves of a product: every bit of the result hangs on every bit of both.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Fewest slots of a table.
const LEAST: usize = 16;
/// Odd, with as many ones as zeros: digits of pi and of e.
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const FACTOR: u64 = 0xb7e1_5162_8aed_2a6b;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn table(names: &[String]) -> Slots {
        let mut slots = Slots::with_capacity(0);
        let hash_of = |number: u32| hash(names[number as usize].as_bytes(), 0);
        for number in 0..names.len() {
            slots.push(hash_of(number as u32), hash_of);
        }
        slots
    }

    proptest! {
        #[test]
        fn every_name_is_found_and_no_other(names: BTreeSet<String>, other: String) {
            let names: Vec<String> = names.into_iter().collect();
            let slots = table(&names);
            let find_in_memory = |name: &str| {
                slots.find(hash(name.as_bytes(), 0), |number| names[number as usize] == name)
            };
            for (at, name) in names.iter().enumerate() {
                prop_assert_eq!(find_in_memory(name), Some(at as u32));
            }
            let expected = names.iter().position(|name| *name == other).map(|at| at as u32);
            prop_assert_eq!(find_in_memory(&other), expected);
            let octets = table(&names).into_octets();
            let count = names.len() as u32;
            prop_assert!(are_below(&octets, count) && (count == 0 || !are_below(&octets, count - 1)));
            for name in names.iter().chain([&other]) {
                let found = find(&octets, hash(name.as_bytes(), 0), |number| names[number as usize] == *name);
                prop_assert_eq!(found, find_in_memory(name));
            }
        }

        #[test]
        fn any_octets_can_be_searched(octets in prop::collection::vec(any::<u8>(), 0..300), hash: u64) {
            let _ = find(&octets, hash, |number| number.is_multiple_of(3));
        }
    }
}
