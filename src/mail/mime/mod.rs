//! The parts of a message, where they lie and how to decode them (RFC 2045, RFC 2046).
//!
//! The walker reads octets and gives ranges; nothing is copied and nothing is repaired. It is as
//! tolerant as reading programs are, and notes every [`Oddity`] on which two of them might part
//! ways, so that whoever edits a message can leave such ones alone.

mod charset;
mod decode;
mod field;
mod part;
mod walk;
mod words;

pub use charset::Charset;
pub use decode::{base64, quoted_printable, quoted_printable_offset, quoted_printable_offsets};
pub(in crate::mail) use field::{ParamPlace, place_of};
pub use part::{ContentType, Disposition, Encoding, Oddity, Params, Part, Undecodable};
pub use words::decode_words;

/// How deep parts may lie in parts; the message itself is at depth 0.
pub const DEPTH_MAX: usize = 64;

/// How many parts a message may have.
pub const PARTS_MAX: usize = 10_000;

/// The parts of a message, depth first; the first is the message itself.
#[derive(Clone, Debug)]
pub struct Structure {
    /// Never empty.
    pub parts: Vec<Part>,
}

/// Why a message was not taken apart. Its octets may hide anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MimeError {
    /// Parts in parts beyond [`DEPTH_MAX`].
    #[error("parts are nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// More than [`PARTS_MAX`] parts.
    #[error("more than {PARTS_MAX} parts")]
    TooManyParts,
}

/// Takes a message apart in one pass over its octets. Any octets have a structure; only the limits
/// make an error.
pub fn parse(message: &[u8]) -> Result<Structure, MimeError> {
    walk::walk(message).map(|parts| Structure { parts })
}

impl Structure {
    /// The message itself.
    pub fn root(&self) -> &Part {
        &self.parts[0] // the walker always begins with it
    }

    /// The parts that lie directly in the part with this index, and their own indices.
    pub fn children(&self, of: usize) -> impl Iterator<Item = (usize, &Part)> {
        let depth = self.parts[of].depth;
        self.parts
            .iter()
            .enumerate()
            .skip(of + 1)
            .take_while(move |(_, part)| part.depth > depth)
            .filter(move |(_, part)| part.parent == Some(of))
    }

    /// The parts without parts in them.
    pub fn leaves(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| part.is_leaf())
    }

    /// The parts that belong to the message itself: those of attached messages left out.
    pub fn own_parts(&self) -> impl Iterator<Item = &Part> {
        self.parts
            .iter()
            .filter(|part| part.within_message.is_none())
    }
}

#[cfg(test)]
mod tests;
