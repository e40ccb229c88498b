//! Which words of a page are in sight: elements that hide what is in them lie in each other, and may show a part of it.

use super::{InSight, Reader, Tag, VOID};

/// An element that decides whether what is in it is seen.
pub(super) struct Hiding<'h> {
    name: &'h str,
    /// How many of its name are open within each other.
    open: usize,
    sight: Sight,
}

/// Whether an element is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sight {
    /// It is, within something that is not.
    Shown,
    /// Its words are not, but what in it says so of itself is: `visibility`.
    Unseen,
    /// Nothing of it is.
    Gone,
}

impl<'h> Reader<'h> {
    pub(super) fn is_hidden(&self) -> bool {
        let last = self.hiding.last();
        last.is_some_and(|it| it.sight != Sight::Shown)
    }

    fn is_gone(&self) -> bool {
        self.hiding.last().is_some_and(|it| it.sight == Sight::Gone)
    }

    /// Ends a hidden paragraph, and what lies in it, where it ends without a closing tag of its own.
    pub(super) fn end_paragraph(&mut self, tag: &Tag<'_>) {
        if self.hiding.is_empty() || !tag.ends_paragraph() {
            return;
        }
        let is_paragraph = |it: &Hiding<'_>| it.name.eq_ignore_ascii_case("p");
        if let Some(at) = self.hiding.iter().rposition(is_paragraph) {
            self.hiding.truncate(at);
        }
    }

    /// Follows where hidden elements begin and end. Returns whether the tag is of one that takes its place on the page.
    pub(super) fn hide(&mut self, tag: &Tag<'h>) -> bool {
        let was_gone = self.is_gone();
        let is_void = || VOID.iter().any(|void| tag.is(void));
        if tag.closes {
            self.close(tag);
        } else if let Some(sight) = self.turns(tag).filter(|_| !is_void()) {
            self.hiding.push(Hiding {
                name: tag.name,
                open: 1,
                sight,
            });
            let text = &self.text;
            let in_sight = self.in_sight.get_or_insert_with(|| InSight {
                lines: text.clone(),
                cut_at: None,
                has_cuts: false,
            });
            in_sight.cut_at = Some(in_sight.lines.text.len());
        } else if let Some(last) = self.hiding.last_mut().filter(|it| tag.is(it.name)) {
            last.open += usize::from(!is_void());
        }
        !was_gone && !self.is_gone()
    }

    /// What a tag makes of its element, if that is something else than what it lies in.
    fn turns(&self, tag: &Tag<'_>) -> Option<Sight> {
        let around = self.hiding.last().map_or(Sight::Shown, |it| it.sight);
        let sight = match around {
            Sight::Gone => None,
            Sight::Unseen | Sight::Shown => self.sight(tag),
        };
        sight.filter(|sight| *sight != around)
    }

    fn close(&mut self, tag: &Tag<'_>) {
        if let Some(last) = self.hiding.last_mut().filter(|it| tag.is(it.name)) {
            last.open -= 1;
            if last.open == 0 {
                self.hiding.pop();
            }
        }
    }
}
