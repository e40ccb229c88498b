//! Edits: changes to a message as splices of octets, decided apart and applied once.
//!
//! Whoever wants a change says which octets go and which come instead; [`apply`] makes the new
//! message. What no edit names stays as it came, octet by octet.

use std::ops::Range;

use super::message::Message;

/// One splice: the octets in `at` are replaced by `with`.
#[derive(Clone, Eq, PartialEq)]
pub struct Edit {
    /// What it is for.
    pub kind: EditKind,
    /// The part it changes, as IMAP numbers parts; `None` in the message's own header.
    pub part: Option<String>,
    /// The legal entity for whom it is made, for footers.
    pub entity: Option<String>,
    /// The octets of the original message that go. Empty inserts.
    pub at: Range<usize>,
    /// The octets that come instead.
    pub with: Vec<u8>,
}

impl Edit {
    /// Puts whole header fields, each ended by CRLF, at the top of the message.
    pub fn prepend_fields(kind: EditKind, fields: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            part: None,
            entity: None,
            at: 0..0,
            with: fields.into(),
        }
    }
}

impl std::fmt::Debug for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Edit({:?} {:?} {:?}, {} octets)",
            self.kind,
            self.part,
            self.at,
            self.with.len()
        )
    }
}

/// What an edit is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EditKind {
    /// A field of the trace: `Received`, `Authentication-Results`, `X-Spam-*`, `Date`, `Message-ID`.
    Trace,
    /// A forged field that was taken out.
    Removal,
    /// The particulars of the sending organisation.
    Footer,
    /// A sensitivity header or subject marking.
    Mark,
    /// A warning about links before the text.
    Banner,
    /// Links that were taken out.
    Links,
}

impl EditKind {
    /// The word for it in JSON and in the audit trail.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Removal => "removal",
            Self::Footer => "footer",
            Self::Mark => "mark",
            Self::Banner => "banner",
            Self::Links => "links",
        }
    }
}

/// Two edits want the same octets: a fault of whoever made them. Nothing was applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("edits overlap or lie outside the message")]
pub struct EditConflict;

/// Returns the message with all edits made, in one pass. Edits that insert at the same place keep
/// their order in the list.
pub fn apply(message: &Message, edits: &[Edit]) -> Result<Message, EditConflict> {
    if edits.is_empty() {
        return Ok(message.clone());
    }
    let octets = message.octets();
    let mut order: Vec<&Edit> = edits.iter().collect();
    order.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let added: usize = edits.iter().map(|edit| edit.with.len()).sum();
    let mut out = Vec::with_capacity(octets.len() + added);
    let mut from = 0;
    for edit in order {
        if edit.at.start < from || edit.at.end < edit.at.start || edit.at.end > octets.len() {
            return Err(EditConflict);
        }
        out.extend_from_slice(&octets[from..edit.at.start]);
        out.extend_from_slice(&edit.with);
        from = edit.at.end;
    }
    out.extend_from_slice(&octets[from..]);
    Ok(Message::new(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edit(at: Range<usize>, with: &str) -> Edit {
        Edit {
            kind: EditKind::Mark,
            part: None,
            entity: None,
            at,
            with: with.into(),
        }
    }

    #[test]
    fn insertions_at_one_place_keep_their_order() {
        let message = Message::new(&b"Subject: x\r\n\r\nbody"[..]);
        let edited = apply(
            &message,
            &[
                edit(18..18, "!"),
                edit(0..0, "A: 1\r\n"),
                edit(0..0, "B: 2\r\n"),
            ],
        )
        .unwrap();
        assert_eq!(
            &edited.octets()[..],
            b"A: 1\r\nB: 2\r\nSubject: x\r\n\r\nbody!"
        );
    }

    #[test]
    fn overlapping_edits_change_nothing() {
        let message = Message::new(&b"abcdef"[..]);
        assert_eq!(
            apply(&message, &[edit(0..3, ""), edit(2..4, "")]),
            Err(EditConflict)
        );
        assert_eq!(apply(&message, &[edit(0..7, "")]), Err(EditConflict));
    }

    proptest! {
        #[test]
        fn octets_outside_an_edit_are_the_original(octets in proptest::collection::vec(any::<u8>(), 0..100), a in 0usize..100, b in 0usize..100) {
            let (a, b) = (a.min(b).min(octets.len()), a.max(b).min(octets.len()));
            let edited = apply(&Message::new(octets.clone()), &[edit(a..b, "NEW")]).unwrap();
            let expected = [&octets[..a], b"NEW", &octets[b..]].concat();
            prop_assert_eq!(&edited.octets()[..], &expected[..]);
        }
    }
}
