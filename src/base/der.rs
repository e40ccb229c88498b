//! Just enough of DER (X.690 §8, §10) to find the parts of a certificate that are asked for: no copying, no recursion.

/// An element of DER.
#[derive(Clone, Copy, Debug)]
pub struct Element<'c> {
    /// Its tag, of one octet.
    pub tag: u8,
    /// The element with its tag and length.
    pub whole: &'c [u8],
    /// What is in it.
    pub content: &'c [u8],
    /// What comes after it.
    pub rest: &'c [u8],
}

impl<'c> Element<'c> {
    /// The first of these octets. `None` if they end before it does, or it is longer than a certificate can be.
    pub fn first(octets: &'c [u8]) -> Option<Self> {
        let (tag, length) = (*octets.first()?, *octets.get(1)?);
        let (head, length) = match length {
            0..=0x7f => (2, usize::from(length)),
            0x81..=0x83 => {
                let digits = octets.get(2..2 + usize::from(length & 0x7f))?;
                let number = digits
                    .iter()
                    .fold(0, |n, digit| n << 8 | usize::from(*digit));
                (2 + digits.len(), number)
            }
            _ => return None,
        };
        let end = head.checked_add(length)?;
        Some(Self {
            tag,
            whole: octets.get(..end)?,
            content: octets.get(head..end)?,
            rest: octets.get(end..)?,
        })
    }

    /// The same if it has this tag.
    pub fn expect(octets: &'c [u8], tag: u8) -> Option<Self> {
        Self::first(octets).filter(|element| element.tag == tag)
    }

    /// The elements that these octets are made of, up to the first that is none.
    pub fn all(mut octets: &'c [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let element = Self::first(octets)?;
            octets = element.rest;
            Some(element)
        })
    }
}

/// The tag of a whole number.
pub const INTEGER: u8 = 0x02;
/// The tag of octets.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of an object identifier.
pub const OBJECT_IDENTIFIER: u8 = 0x06;
/// The tag of a time with two digits of the year.
pub const UTC_TIME: u8 = 0x17;
/// The tag of a time with four digits of the year.
pub const GENERALIZED_TIME: u8 = 0x18;
/// The tag of a sequence.
pub const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`: the version of a certificate.
pub const CONTEXT_0: u8 = 0xa0;
/// `[3] EXPLICIT`: the extensions of a certificate.
pub const CONTEXT_3: u8 = 0xa3;
