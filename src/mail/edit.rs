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
    /// For whose copies it is made; `None` for all.
    pub audience: Option<Audience>,
    /// The octets of the original message that go. Empty inserts.
    pub at: Range<usize>,
    /// The octets that come instead.
    pub with: Vec<u8>,
    /// What readers are to see that was not there, in the form of the part: text or HTML. Of an edit of a body,
    /// and of a subject; the proof holds the result against it.
    pub says: Option<String>,
    /// Words of the decoded text of the part that go with this edit, and what comes instead. Of links that are taken
    /// out; the proof holds the result against it.
    pub takes: Vec<Taken>,
}

/// Words of a text that go.
#[derive(Clone, Eq, PartialEq)]
pub struct Taken {
    /// Where they stand, in octets of the text of the part as it is in the original, in UTF-8.
    pub at: Range<usize>,
    /// What comes instead.
    pub with: String,
}

impl Edit {
    /// Puts whole header fields, each ended by CRLF, at the top of the message.
    pub fn prepend_fields(kind: EditKind, fields: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            part: None,
            entity: None,
            audience: None,
            at: 0..0,
            with: fields.into(),
            says: None,
            takes: Vec::new(),
        }
    }

    /// Takes a field of the message's own header out.
    pub fn removal(field: Range<usize>) -> Self {
        Self {
            kind: EditKind::Removal,
            part: None,
            entity: None,
            audience: None,
            at: field,
            with: Vec::new(),
            says: None,
            takes: Vec::new(),
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

/// Kinds of recipients who get copies that differ.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Audience {
    /// Those of the house.
    Internal,
    /// The NHS.
    Nhs,
    /// Everybody else.
    Outside,
}

impl Audience {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Internal, Self::Nhs, Self::Outside];

    /// The word for it in files and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Nhs => "nhs",
            Self::Outside => "outside",
        }
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

    /// Whether edits of this kind stay within the header of the message.
    pub fn is_of_header(self) -> bool {
        matches!(self, Self::Trace | Self::Removal | Self::Mark)
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
            audience: None,
            at,
            with: with.into(),
            says: None,
            takes: Vec::new(),
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
