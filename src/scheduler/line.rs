//! What waits for its turn at one destination: higher classes first, none of them for ever.

use std::collections::VecDeque;

use crate::mail::Priority;

/// Batches that wait, the higher classes first, each class in the order of coming.
pub(super) struct Line<B> {
    places: VecDeque<Place<B>>,
    leased: usize,
    /// Where in a round of turns the line is: the last ones of a round are for lower classes.
    turn: usize,
}

struct Place<B> {
    class: Priority,
    is_leased: bool,
    batch: B,
}

impl<B> Default for Line<B> {
    fn default() -> Self {
        Self {
            places: VecDeque::new(),
            leased: 0,
            turn: 0,
        }
    }
}

impl<B> Line<B> {
    /// Puts a batch behind those of its class and before those of lower ones.
    pub(super) fn push(&mut self, batch: B, class: Priority, is_leased: bool) {
        let at = self.places.partition_point(|place| place.class >= class);
        let place = Place {
            class,
            is_leased,
            batch,
        };
        self.places.insert(at, place);
        self.leased += usize::from(is_leased);
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<&B> {
        Some(&self.places.get(self.next()?)?.batch)
    }

    /// Takes it out.
    pub(super) fn pop(&mut self) -> Option<B> {
        let at = self.next()?;
        let is_passing = self.lower().next().is_some();
        self.turn = match is_passing {
            true => (self.turn + 1) % TURNS,
            false => 0,
        };
        let place = self.places.remove(at)?;
        self.leased -= usize::from(place.is_leased);
        Some(place.batch)
    }

    /// The first of the highest class; in the last turns of a round the first of each lower one.
    fn next(&self) -> Option<usize> {
        let highest = (!self.places.is_empty()).then_some(0);
        let own = TURNS - self.lower().count();
        match self.turn.checked_sub(own) {
            Some(after) => self.lower().nth(after).or(highest),
            None => highest,
        }
    }

    /// Where each class begins that waits behind a higher one.
    fn lower(&self) -> impl Iterator<Item = usize> {
        let begins = Priority::ALL.map(|class| {
            let at = self.places.partition_point(|place| place.class > class);
            let is_there = self.places.get(at).is_some_and(|one| one.class == class);
            (at > 0 && is_there).then_some(at)
        });
        begins.into_iter().flatten()
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many of them were leased: what is handed over as it comes has bounds of its own, and does not keep the
    /// queue from having its part.
    pub(super) fn leased(&self) -> usize {
        self.leased
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = B> {
        let Self { places, .. } = std::mem::take(self);
        places.into_iter().map(|place| place.batch)
    }
}

/// Turns in a round, of which each lower class that waits has one: its part of a lease (`queue::fair`) as well.
const TURNS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(of: &[(Priority, usize)]) -> Line<Priority> {
        let mut line = Line::default();
        for (class, count) in of {
            (0..*count).for_each(|_| line.push(*class, *class, false));
        }
        line
    }

    fn letters(line: &mut Line<Priority>, count: usize) -> String {
        let first = |line: &mut Line<Priority>| {
            let shown = line.first().copied();
            let taken = line.pop()?;
            assert_eq!(shown, Some(taken));
            taken.word().chars().next()
        };
        (0..count).map_while(|_| first(line)).collect()
    }

    #[test]
    fn higher_classes_go_first_and_leave_a_turn_of_eight_to_each_lower_one() {
        use Priority::{Bulk, Normal, Urgent};
        let mut all = line(&[(Bulk, 20), (Normal, 20), (Urgent, 20)]);
        assert_eq!(letters(&mut all, 24), "uuuuuunbuuuuuunbuuuuuunb");
        assert_eq!(letters(&mut all, 60).len(), 36);
        let mut two = line(&[(Normal, 9), (Bulk, 2)]);
        assert_eq!(letters(&mut two, 11), "nnnnnnnbnnb");
        assert_eq!(letters(&mut line(&[]), 1), "");
    }

    #[test]
    fn a_higher_class_that_never_ends_keeps_nobody_waiting_for_ever() {
        let mut line = line(&[(Priority::Bulk, 3), (Priority::Urgent, 5)]);
        let mut passed = 0;
        while line.places.iter().any(|one| one.class == Priority::Bulk) {
            line.push(Priority::Urgent, Priority::Urgent, false);
            line.pop();
            passed += 1;
        }
        assert_eq!(passed, 3 * TURNS);
    }

    #[test]
    fn each_class_goes_in_the_order_of_coming_and_what_was_leased_is_counted() {
        let mut line = Line::default();
        for (number, is_leased) in [(1, true), (2, false), (3, true)] {
            line.push(number, Priority::Normal, is_leased);
        }
        assert_eq!((line.places.len(), line.leased()), (3, 2));
        assert_eq!((line.pop(), line.leased()), (Some(1), 1));
        assert_eq!(line.drain().collect::<Vec<_>>(), [2, 3]);
        assert!(line.is_empty() && line.leased() == 0);
    }
}
