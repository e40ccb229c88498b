//! Addresses of links that hold a text: `mailto:` with a subject and a body, and `data:`.

use std::borrow::Cow;

use crate::mail::mime;

/// The text in an address, as a program shows it that follows the link; `None` for all other addresses.
pub(super) fn text_in(address: &str) -> Option<String> {
    let address = address.trim();
    let scheme = address.split_once(':')?.0;
    if ["mailto", "sms", "smsto", "whatsapp"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        // Without escapes it reads as it stands. `?subject=NHS%20no…&body=…`: each on a line of its own.
        if !address.contains('%') {
            return None;
        }
        let address = address.replace(['?', '&'], "\n");
        return Some(String::from_utf8_lossy(&unescaped(&address)).into_owned());
    }
    if !scheme.eq_ignore_ascii_case("data") {
        return None;
    }
    let (kind, data) = address[scheme.len() + 1..].split_once(',')?;
    let kind = kind.to_ascii_lowercase();
    if !(kind.is_empty()
        || kind.starts_with(';')
        || TEXTS.iter().any(|text| kind.starts_with(text)))
    {
        return None;
    }
    let data = unescaped(data);
    let data = match kind.ends_with(";base64") {
        true => Cow::Owned(mime::base64(&data).0),
        false => data,
    };
    Some(String::from_utf8_lossy(&data).into_owned())
}

/// Octets with `%20` as what they stand for (RFC 3986 §2.1).
pub(in crate::content) fn unescaped(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = match after {
            [high, low, ..] if *first == b'%' => digit(high).zip(digit(low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8); // two hexadecimal digits fit
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

/// Kinds of `data:` that are texts (RFC 2397); pictures are the most that there are.
const TEXTS: &[&str] = &[
    "text/",
    "application/json",
    "application/xml",
    "application/xhtml",
    "image/svg",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_address_is_what_a_program_shows() {
        for (address, text) in [
            (
                "mailto:a@b.example?subject=NHS%20no%20450%20557%207104&body=x",
                Some("mailto:a@b.example\nsubject=NHS no 450 557 7104\nbody=x"),
            ),
            ("data:,NHS%20no%204505577104", Some("NHS no 4505577104")),
            ("DATA:text/plain;base64,TkhTIG5v", Some("NHS no")),
            ("data:image/png;base64,TkhTIG5v", None),
            ("https://x.example/?a=%20", None),
            ("data:nothing", None),
            ("mailto:%4", Some("mailto:%4")),
            ("mailto:a@b.example?subject=943", None),
            ("x", None),
        ] {
            assert_eq!(text_in(address).as_deref(), text, "{address}");
        }
    }
}
