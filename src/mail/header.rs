//! The header of a message: its fields in order, as views of the octets (RFC 5322 §2.2, §3.6).
//!
//! Nothing is decoded or changed here but folding (§2.2.3). Octets that are no field stay where
//! they are and are counted as malformed lines.

use std::borrow::Cow;
use std::ops::Range;

/// The fields of one header section.
#[derive(Clone, Debug)]
pub struct Header<'m> {
    fields: Vec<HeaderField<'m>>,
    malformed_lines: usize,
}

impl<'m> Header<'m> {
    /// Reads a header section: field lines, each ended by CRLF (a lone LF is taken as well, for
    /// parts inside old mail).
    pub fn parse(octets: &'m [u8]) -> Self {
        let mut header = Self {
            fields: Vec::new(),
            malformed_lines: 0,
        };
        let mut at = 0;
        while at < octets.len() {
            let end = end_of_field(octets, at);
            match HeaderField::parse(octets, at..end) {
                Some(field) => header.fields.push(field),
                None => header.malformed_lines += 1,
            }
            at = end;
        }
        header
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[HeaderField<'m>] {
        &self.fields
    }

    /// The fields of this name, in order; the name in any case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s HeaderField<'m>> + 's {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// The first field of this name.
    pub fn first(&self, name: &str) -> Option<&HeaderField<'m>> {
        self.fields.iter().find(|field| field.is(name))
    }

    /// Lines that are neither a field nor the folding of one.
    pub fn malformed_lines(&self) -> usize {
        self.malformed_lines
    }
}

/// One field: name, colon, body.
#[derive(Clone)]
pub struct HeaderField<'m> {
    name: &'m [u8],
    raw_value: &'m [u8],
    range: Range<usize>,
}

impl<'m> HeaderField<'m> {
    fn parse(octets: &'m [u8], range: Range<usize>) -> Option<Self> {
        let line = &octets[range.clone()];
        let colon = memchr::memchr(b':', line)?;
        let name = line[..colon].trim_ascii_end();
        let named = !name.is_empty() && name.iter().all(|b| (b'!'..=b'~').contains(b));
        named.then(|| Self {
            name,
            raw_value: &line[colon + 1..],
            range,
        })
    }

    /// The name as written. Names are printable ASCII, so this is never lossy.
    pub fn name(&self) -> &'m str {
        std::str::from_utf8(self.name).unwrap_or_default()
    }

    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The body as written, from after the colon to its last line end, folding and all.
    pub fn raw_value(&self) -> &'m [u8] {
        self.raw_value
    }

    /// The body unfolded and trimmed; octets that are not UTF-8 become U+FFFD.
    pub fn value(&self) -> Cow<'m, str> {
        let trimmed = self.raw_value.trim_ascii();
        match String::from_utf8_lossy(trimmed) {
            Cow::Borrowed(text) if !text.contains(['\r', '\n']) => Cow::Borrowed(text),
            text => Cow::Owned(text.replace(['\r', '\n'], "")),
        }
    }

    /// Where the whole field lies in the header section, with its line ends.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }
}

impl std::fmt::Debug for HeaderField<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ({} octets)", self.name(), self.raw_value.len())
    }
}

/// Returns the index after the line end that closes the field which starts at `at`.
fn end_of_field(octets: &[u8], at: usize) -> usize {
    let mut from = at;
    while let Some(lf) = memchr::memchr(b'\n', &octets[from..]) {
        let next = from + lf + 1;
        if !matches!(octets.get(next), Some(b' ' | b'\t')) {
            return next;
        }
        from = next;
    }
    octets.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_keep_their_order_and_their_folding() {
        let octets = b"Received: a\r\n\tb\r\nsubject : x\r\njunk line\r\nSubject: y\r\n";
        let header = Header::parse(octets);
        let names: Vec<_> = header.fields().iter().map(HeaderField::name).collect();
        assert_eq!(names, ["Received", "subject", "Subject"]);
        assert_eq!(header.first("received").unwrap().value(), "a\tb");
        assert_eq!(
            header
                .all("SUBJECT")
                .map(|f| f.value().into_owned())
                .collect::<Vec<_>>(),
            ["x", "y"]
        );
        assert_eq!(header.malformed_lines(), 1);
        assert_eq!(&octets[header.fields()[1].range()], b"subject : x\r\n");
    }

    proptest! {
        #[test]
        fn any_octets_are_covered_once(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let header = Header::parse(&octets);
            let mut last = 0;
            for field in header.fields() {
                prop_assert!(field.range().start >= last && field.range().end <= octets.len());
                last = field.range().end;
            }
        }
    }
}
