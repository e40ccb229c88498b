//! Splices held against both messages: what no edit names is the same octets, moved.

use std::ops::Range;

use crate::mail::edit::Edit;

/// Edits in the order in which they lie, known to be what makes the one message of the other.
pub(super) struct Splices<'e> {
    order: Vec<&'e Edit>,
}

impl<'e> Splices<'e> {
    /// `None` if `new` is not `old` with these edits.
    pub(super) fn held_against(old: &[u8], new: &[u8], edits: &'e [Edit]) -> Option<Self> {
        let mut order: Vec<&Edit> = edits.iter().collect();
        order.sort_by_key(|edit| (edit.at.start, edit.at.end));
        let (mut rest, mut from) = (new, 0);
        for edit in &order {
            rest = rest.strip_prefix(old.get(from..edit.at.start)?)?;
            rest = rest.strip_prefix(edit.with.as_slice())?;
            from = edit.at.end;
        }
        (rest == old.get(from..)?).then_some(Self { order })
    }

    /// Where a stretch lies now in which no edit falls. Edits at its very start come before it.
    pub(super) fn moved(&self, range: &Range<usize>) -> Range<usize> {
        let (mut added, mut gone) = (0, 0);
        for edit in self
            .order
            .iter()
            .take_while(|edit| edit.at.end <= range.start)
        {
            added += edit.with.len();
            gone += edit.at.len();
        }
        range.start + added - gone..range.end + added - gone
    }
}
