//! A text with its character references decoded, and the way back to where each piece was written.

use std::borrow::Cow;
use std::ops::Range;

use super::super::html::push_entity;

/// What was decoded.
pub(super) struct Decoded<'h> {
    pub text: Cow<'h, str>,
    /// Where it begins in the source.
    start: usize,
    /// Behind each reference: the place in the text, and in the source.
    marks: Vec<(usize, usize)>,
}

impl<'h> Decoded<'h> {
    /// Decodes a piece of HTML that begins at `start` of its source and has no tags in it.
    pub(super) fn of(html: &'h str, start: usize) -> Self {
        let mut marks = Vec::new();
        if memchr::memchr(b'&', html.as_bytes()).is_none() {
            let text = Cow::Borrowed(html);
            return Self { text, start, marks };
        }
        let mut text = String::with_capacity(html.len());
        let mut at = 0;
        while let Some(sign) = memchr::memchr(b'&', &html.as_bytes()[at..]) {
            text.push_str(&html[at..at + sign]);
            at += sign;
            marks.push((text.len(), start + at));
            at += push_entity(&mut text, &html[at..]);
            marks.push((text.len(), start + at));
        }
        text.push_str(&html[at..]);
        let text = Cow::Owned(text);
        Self { text, start, marks }
    }

    /// Where in the source a piece of the text was written; all of a reference of which it has a part.
    pub(super) fn written_at(&self, at: Range<usize>) -> Range<usize> {
        let from = self.marks.partition_point(|(text, _)| *text <= at.start);
        let start = self.before(from, at.start);
        // The end is that of the reference in which the piece ends, if it ends in one.
        let upto = self.marks.partition_point(|(text, _)| *text < at.end);
        let end = match self.marks.get(upto) {
            Some((_, source)) if upto % 2 == 1 => *source,
            _ => self.before(upto, at.end),
        };
        start..end.max(start)
    }

    /// Of a place behind the first `count` marks.
    fn before(&self, count: usize, at: usize) -> usize {
        match count.checked_sub(1).map(|last| self.marks[last]) {
            // An even number of marks: between references, and what is written is what is read.
            Some((text, source)) if count.is_multiple_of(2) => source + (at - text),
            Some((_, source)) => source,
            None => self.start + at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_the_text_is_found_where_it_was_written() {
        let html = "see http&#58;&sol;&#x2F;a.example&amp;b!";
        let decoded = Decoded::of(html, 0);
        assert_eq!(decoded.text, "see http://a.example&b!");
        let written = |at: Range<usize>| &html[decoded.written_at(at)];
        assert_eq!(written(4..22), "http&#58;&sol;&#x2F;a.example&amp;b");
        assert_eq!(written(0..4), "see ");
        assert_eq!(written(8..9), "&#58;");
        assert_eq!(written(11..20), "a.example");
        assert_eq!(written(22..23), "!");
        assert_eq!(Decoded::of("abc", 10).written_at(1..2), 11..12);
    }
}
