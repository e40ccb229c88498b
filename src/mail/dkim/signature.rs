//! A signature that somebody else made: what of the message it covers, and whether it still does.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::canonical::{self, Form, body_hash};
use crate::mail::{Header, HeaderField, Message};

/// A `DKIM-Signature` field, as far as it says what it covers (RFC 6376 §3.5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    /// Whose it is.
    pub domain: String,
    fields_form: Form,
    body_form: Form,
    /// Canonical octets of the body that it covers; all if it does not say.
    length: Option<u64>,
    /// Names of the fields that it covers, one for each instance from the lowest up.
    signed: Vec<String>,
    body_hash: Vec<u8>,
}

impl Signature {
    /// Reads the body of a field. `None` for one that no verifier of today would accept: it has nothing
    /// to lose. SHA-1 is among those (RFC 8301 §3.1).
    pub fn parse(value: &str) -> Option<Self> {
        let tag = |name: &str| {
            let tags = value.split(';').filter_map(|tag| tag.split_once('='));
            let mut values = tags.filter(|(known, _)| known.trim() == name);
            values.next().map(|(_, value)| value)
        };
        let compact = |name| tag(name).map(|value| value.replace(char::is_whitespace, ""));
        if compact("v")? != "1" || !compact("a")?.to_ascii_lowercase().ends_with("-sha256") {
            return None;
        }
        let forms = compact("c").unwrap_or_default().to_ascii_lowercase();
        let (fields, body) = forms.split_once('/').unwrap_or((&forms, "simple"));
        Some(Self {
            domain: compact("d")?.to_ascii_lowercase(),
            fields_form: form(fields)?,
            body_form: form(body)?,
            length: match compact("l") {
                Some(length) => Some(length.parse().ok()?),
                None => None,
            },
            signed: names(&compact("h")?)?,
            body_hash: BASE64_STANDARD.decode(compact("bh")?).ok()?,
        })
    }

    /// Whether the body is the one that was signed.
    pub fn covers_body(&self, body: &[u8]) -> bool {
        body_hash(body, self.body_form, self.length).is_some_and(|hash| hash[..] == self.body_hash)
    }

    /// What the signature sees of a header: the fields that it covers, in its form.
    pub fn seen(&self, message: &Message) -> Vec<u8> {
        let octets = message.header_octets();
        signed_fields(&message.header(), octets, &self.signed, self.fields_form)
    }
}

/// Nobody signs so many fields; the work over them grows with the square.
fn names(list: &str) -> Option<Vec<String>> {
    let names: Vec<String> = list
        .split(':')
        .take(NAMES_MAX + 1)
        .map(str::to_owned)
        .collect();
    (names.len() <= NAMES_MAX).then_some(names)
}

fn form(word: &str) -> Option<Form> {
    match word {
        "relaxed" => Some(Form::Relaxed),
        "simple" | "" => Some(Form::Simple),
        _ => None,
    }
}

/// The fields of these names in canonical form, in their order; of a name given several times the lowest
/// instance first, then the one above it. A name without a further instance stands for nothing, which is what keeps
/// others from adding one (RFC 6376 §5.4.2).
pub fn signed_fields(
    header: &Header<'_>,
    octets: &[u8],
    names: &[impl AsRef<str>],
    form: Form,
) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let before = names[..at]
            .iter()
            .filter(|other| other.as_ref().eq_ignore_ascii_case(name.as_ref()))
            .count();
        let mut instances = header.fields().iter().rev();
        let nth = |field: &&HeaderField<'_>| field.is(name.as_ref());
        if let Some(field) = instances.by_ref().filter(nth).nth(before) {
            canonical::field(field, octets, form, &mut out);
        }
    }
    out
}

/// Most names in `h=` that are looked at.
const NAMES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(tags: &str) -> Option<Signature> {
        Signature::parse(tags)
    }

    #[test]
    fn tags_are_read_in_any_order_and_folding() {
        let read = parse(
            " v=1; a=rsa-sha256;\r\n\tc=relaxed; d=Lab.Example; h=From : To\r\n :From; l=5;\r\n bh=YWJ\r\n j; b=x",
        );
        let read = read.unwrap();
        assert_eq!(read.domain, "lab.example");
        assert_eq!(
            (read.fields_form, read.body_form, read.length),
            (Form::Relaxed, Form::Simple, Some(5))
        );
        assert_eq!(read.signed, ["From", "To", "From"]);
        assert_eq!(read.body_hash, b"abc");
    }

    #[test]
    fn what_no_verifier_accepts_has_nothing_to_lose() {
        for tags in [
            "",
            "v=2; a=rsa-sha256; d=x; h=From; bh=YWJj",
            "v=1; a=rsa-sha1; d=x; h=From; bh=YWJj",
            "v=1; a=rsa-sha256; c=lax; d=x; h=From; bh=YWJj",
            "v=1; a=rsa-sha256; d=x; h=From; bh=!",
            "v=1; a=rsa-sha256; d=x; h=From; l=many; bh=YWJj",
            "v=1; a=rsa-sha256; d=x; bh=YWJj",
        ] {
            assert_eq!(parse(tags), None, "{tags}");
        }
    }

    #[test]
    fn instances_are_taken_from_the_lowest_up() {
        let octets = b"To: one\r\nTo: two\r\nFrom: x\r\n";
        let header = Header::parse(octets);
        let names = ["to", "From", "To", "TO", "From"];
        let seen = signed_fields(&header, octets, &names, Form::Relaxed);
        assert_eq!(
            String::from_utf8(seen).unwrap(),
            "to:two\r\nfrom:x\r\nto:one\r\n"
        );
    }
}
