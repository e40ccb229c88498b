//! The addresses of a header field such as `From`, as a reading program would show them (RFC 5322 §3.4).

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address, HeaderValue};

use crate::mail::{Header, Mailbox};

/// One address of a header field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Author {
    /// The name shown beside it, decoded.
    pub name: Option<String>,
    /// The address; `None` if what stands there is none.
    pub mailbox: Option<Mailbox>,
}

/// All addresses of all fields of this name, in order; those of groups as well.
pub fn authors(header: &Header<'_>, field: &str) -> Vec<Author> {
    let mut authors = Vec::new();
    for field in header.all(field) {
        match MessageStream::new(field.raw_value()).parse_address() {
            HeaderValue::Address(Address::List(list)) => authors.extend(list.iter().map(author)),
            HeaderValue::Address(Address::Group(groups)) => {
                authors.extend(groups.iter().flat_map(|group| &group.addresses).map(author));
            }
            _ => {}
        }
    }
    authors
}

fn author(address: &Addr<'_>) -> Author {
    Author {
        name: address.name.as_deref().map(str::to_owned),
        mailbox: address
            .address
            .as_deref()
            .and_then(|text| Mailbox::parse(text).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_decoded_and_groups_are_opened() {
        let octets = b"From: =?utf-8?q?Fl=C3=BCr?= <a@b.example>, group: c@d.example, nonsense;\r\nfrom: e@f.example\r\n";
        let found = authors(&Header::parse(octets), "From");
        let addresses: Vec<_> = found
            .iter()
            .map(|a| a.mailbox.as_ref().map(Mailbox::to_string))
            .collect();
        assert_eq!(found[0].name.as_deref(), Some("Fl\u{fc}r"));
        assert!(
            addresses.contains(&Some("c@d.example".into()))
                && addresses.contains(&Some("e@f.example".into()))
        );
    }

    proptest! {
        #[test]
        fn any_octets_have_authors(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let field = [b"From: ", &octets[..], b"\r\n"].concat();
            authors(&Header::parse(&field), "From");
        }
    }
}
