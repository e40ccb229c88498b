//! Lists of tags, `a=b; c=d`, to the letter (RFC 6376 §3.2): a list that is none says nothing at all.

/// Names and values, in their order.
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    /// `None` if a name is none, or is there twice, or if there is nothing between two semicolons.
    pub(super) fn parse(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?.trim();
        let text = text.strip_suffix(';').unwrap_or(text);
        let mut tags: Vec<(String, String)> = Vec::new();
        for tag in text.split(';') {
            let (name, value) = tag.split_once('=')?;
            let name = name.trim();
            let is_known = tags.iter().any(|(known, _)| known == name);
            if !is_name(name) || is_known {
                return None;
            }
            tags.push((name.to_owned(), value.trim().to_owned()));
        }
        Some(Self(tags))
    }

    /// The value of a tag; names are compared as they are.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_good_or_none_at_all() {
        for (text, value) in [
            ("a=b", Some("b")),
            (" a = b ;\r\n c=d=e; ", Some("b")),
            ("c=d; A=b", None),
            ("a=b; a=b", None),
            ("a=b;; c=d", None),
            ("a=b; 1=d", None),
            ("a=b; c", None),
            ("", None),
        ] {
            let tags = Tags::parse(text.as_bytes());
            let found = tags.as_ref().and_then(|tags| tags.get("a"));
            assert_eq!(found, value, "{text:?}");
        }
    }
}
