//! The filters of the stretches that are not full yet (`queue::search`), gathered as events come, so that nobody has to
//! read a thousand rows again, in the middle of a commit, to know what is in them.
//!
//! Filled by the process that writes. Where it did not write all rows of a stretch itself (it was started in the midst of
//! one, or an administrator's command wrote beside it) it has no filter for it, and the rows are read after all.

use crate::outcome::audit::AuditEvent;

use super::search::{STRETCH, Stretch};

/// What was gathered.
#[derive(Default)]
pub(super) struct Gathering {
    /// In order; all but the last are full.
    parts: Vec<Part>,
}

struct Part {
    /// The number of its first row, and of the row that comes next.
    first: i64,
    next: i64,
    stretch: Stretch,
}

impl Part {
    fn is_full(&self) -> bool {
        self.next == self.first + STRETCH
    }
}

impl Gathering {
    /// Adds the event that gets this number. One whose job was taken back stays in the filter, which says yes once more
    /// than it need, and its number comes again.
    pub(super) fn add(&mut self, number: i64, event: &AuditEvent) {
        if (number - 1) % STRETCH == 0 {
            self.parts
                .retain(|part| part.next <= number && part.is_full());
            self.parts.push(Part {
                first: number,
                next: number,
                stretch: Stretch::empty(),
            });
        }
        let last = self.parts.last_mut();
        match last.filter(|part| {
            (part.first..=part.next).contains(&number) && number < part.first + STRETCH
        }) {
            Some(part) => {
                part.stretch.add_event(event);
                part.next = number + 1;
            }
            None => self.forget(),
        }
    }

    /// The transaction is whole, and the trail ends with this number: what comes next must follow on it.
    pub(super) fn ended(&mut self, end: i64) {
        match self.parts.last_mut() {
            Some(part) if part.first <= end + 1 => part.next = part.next.min(end + 1),
            Some(_) => self.forget(),
            None => {}
        }
    }

    /// Nothing that was gathered is known to be in the trail.
    pub(super) fn forget(&mut self) {
        self.parts.clear();
    }

    /// The full stretch that begins with this row, if all its rows were gathered. Those before it are gone then.
    pub(super) fn take(&mut self, first: i64) -> Option<Stretch> {
        self.parts.retain(|part| part.first >= first);
        let at = self
            .parts
            .iter()
            .position(|part| part.first == first && part.is_full())?;
        Some(self.parts.remove(at).stretch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reference;
    use crate::outcome::audit::AuditKind;
    use jiff::Timestamp;

    fn add(gathering: &mut Gathering, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            let event = AuditEvent::new(
                Timestamp::from_millisecond(number).unwrap(),
                Reference::random(),
                AuditKind::Received,
                "a@b.example",
            );
            gathering.add(number, &event);
        }
    }

    fn has(gathering: &mut Gathering, first: i64) -> Option<(i64, i64)> {
        gathering.take(first).map(|stretch| stretch.times)
    }

    #[test]
    fn a_stretch_is_there_once_all_its_rows_came() {
        let mut gathering = Gathering::default();
        add(&mut gathering, 1..STRETCH);
        assert_eq!(has(&mut gathering, 1), None);
        // Over the end of the first, and of the second, in one transaction.
        add(&mut gathering, STRETCH..=2 * STRETCH + 5);
        gathering.ended(2 * STRETCH + 5);
        assert_eq!(has(&mut gathering, 1), Some((1, STRETCH)));
        assert_eq!(has(&mut gathering, 1), None);
        assert_eq!(
            has(&mut gathering, 1 + STRETCH),
            Some((1 + STRETCH, 2 * STRETCH))
        );
        add(&mut gathering, 2 * STRETCH + 6..=3 * STRETCH);
        assert_eq!(
            has(&mut gathering, 1 + 2 * STRETCH),
            Some((1 + 2 * STRETCH, 3 * STRETCH))
        );
    }

    #[test]
    fn a_stretch_that_others_wrote_in_is_not_there() {
        let mut gathering = Gathering::default();
        // Started in the midst of the first.
        add(&mut gathering, 7..=STRETCH + 3);
        assert_eq!(has(&mut gathering, 1), None);
        // Another process wrote the row in between.
        add(&mut gathering, STRETCH + 5..=3 * STRETCH);
        assert_eq!(has(&mut gathering, 1 + STRETCH), None);
        assert!(has(&mut gathering, 1 + 2 * STRETCH).is_some());
    }

    #[test]
    fn a_job_that_is_taken_back_leaves_its_number_to_the_next() {
        let mut gathering = Gathering::default();
        add(&mut gathering, 1..=9);
        add(&mut gathering, 5..=STRETCH);
        assert!(has(&mut gathering, 1).is_some());
        // Over a boundary, and back to it.
        add(&mut gathering, 1..=STRETCH + 4);
        add(&mut gathering, STRETCH + 1..=2 * STRETCH);
        assert!(has(&mut gathering, 1).is_some());
        assert_eq!(
            has(&mut gathering, 1 + STRETCH),
            Some((STRETCH + 1, 2 * STRETCH))
        );
        // Over a boundary, and back behind it.
        add(&mut gathering, 1..=STRETCH + 4);
        add(&mut gathering, STRETCH - 4..=2 * STRETCH);
        assert_eq!(has(&mut gathering, 1), None);
        assert!(has(&mut gathering, 1 + STRETCH).is_some());
    }

    #[test]
    fn what_was_taken_back_at_the_end_is_not_taken_for_what_another_writes_there() {
        let mut gathering = Gathering::default();
        add(&mut gathering, 1..=20);
        gathering.ended(10);
        add(&mut gathering, 21..=STRETCH);
        assert_eq!(has(&mut gathering, 1), None);
        // A commit that failed.
        add(&mut gathering, 1..=STRETCH);
        gathering.forget();
        assert_eq!(has(&mut gathering, 1), None);
        // All of a new stretch was taken back, and others wrote it.
        add(&mut gathering, 1..=STRETCH + 1);
        gathering.ended(STRETCH - 1);
        add(&mut gathering, [STRETCH + 2]);
        assert_eq!(has(&mut gathering, 1), None);
    }
}
