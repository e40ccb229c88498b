//! The nearest of what was found, without a list of all of it.

use std::collections::BinaryHeap;

/// The best so far: distance, standing, number.
pub(super) struct Best {
    heap: BinaryHeap<(u32, u32, u32)>,
    limit: usize,
    /// How many more are looked at that are no nearer, for their standing alone.
    patience: u32,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            limit,
            patience: PATIENCE,
        }
    }

    /// Whether one at a distance could be among them. They come in the order of their numbers.
    pub(super) fn may_take(&mut self, distance: u32) -> bool {
        let worst = self.heap.peek().filter(|_| self.heap.len() >= self.limit);
        let Some((worst, standing, _)) = worst else {
            return true;
        };
        if distance == *worst && *standing > 0 && self.patience > 0 {
            self.patience -= 1;
            return true;
        }
        distance < *worst
    }

    pub(super) fn take(&mut self, one: (u32, u32, u32)) {
        if self.heap.len() < self.limit {
            self.heap.push(one);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && one < *worst
        {
            *worst = one;
        }
    }

    pub(super) fn into_vec(self) -> Vec<(u32, u32)> {
        let sorted = self.heap.into_sorted_vec().into_iter();
        sorted
            .map(|(distance, _, number)| (distance, number))
            .collect()
    }
}

/// So many equally near mailboxes are compared by their standing.
const PATIENCE: u32 = 100_000;
