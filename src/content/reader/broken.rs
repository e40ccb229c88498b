//! A header that goes over into the body without an empty line, as some readers take it: they show what
//! follows the last field, by the type and the encoding that the fields above it say.

use std::borrow::Cow;

use crate::content::kind;
use crate::content::{Form, Kind};
use crate::mail::mime::{self, Encoding, Part};

use super::{Reader, form_of, place_of};

impl Reader {
    /// Reads such a header in all ways: as it stands; as HTML where there is markup; decoded where the part
    /// says that it is encoded. What is then no text is `malformed`.
    pub(super) fn header_as_body(&mut self, octets: &[u8], part: &Part, within: Option<&str>) {
        let place = place_of(part, within);
        let header = &octets[part.header.clone()];
        let charset = part.content_type.params.get("charset");
        self.take_text(place.clone(), header, None, Form::Plain);
        let body = &header[body_start(octets, part)..];
        if memchr::memchr(b'<', body).is_some() {
            self.take_text(place.clone(), body, charset, Form::Html);
        }
        let Some(decoded) = decoded(part, body) else {
            return;
        };
        match super::files::detect(&decoded).kind {
            kind @ (Kind::Text | Kind::Html | Kind::Script | Kind::Message)
                if kind::looks_like_text(&decoded) =>
            {
                let form = form_of(part, kind, part.filename().as_deref());
                self.take_text(place, &decoded, charset, form);
            }
            _ => self.unread(&place, "malformed"),
        }
    }
}

/// Where in the header the body may begin: at the first line that is no field, or else behind the field that
/// says how the body is encoded. The envelope line of an mbox file is none of either.
fn body_start(octets: &[u8], part: &Part) -> usize {
    let header = &octets[part.header.clone()];
    let mut at = match header {
        [b'F', b'r', b'o', b'm', b' ', ..] | [b'>', b'F', b'r', b'o', b'm', b' ', ..] => {
            memchr::memchr(b'\n', header).map_or(header.len(), |end| end + 1)
        }
        _ => 0,
    };
    let mut encoding_end = 0;
    for field in part.fields(octets).fields() {
        let range = field.range();
        if range.start > at {
            return at;
        }
        at = range.end;
        if field.is("Content-Transfer-Encoding") {
            encoding_end = at;
        }
    }
    if at < header.len() { at } else { encoding_end }
}

/// What the encoding of the part makes of these octets; `None` where nothing was encoded, or nobody could take it for that.
fn decoded<'o>(part: &Part, octets: &'o [u8]) -> Option<Cow<'o, [u8]>> {
    match part.encoding {
        Encoding::Base64 => {
            let line = octets.split(|octet| *octet == b'\n').next();
            let line = line.unwrap_or_default().trim_ascii();
            let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
            let may_be = line.len() >= BASE64_OCTETS && line.iter().all(is_base64);
            may_be.then(|| Cow::Owned(mime::base64(octets).0))
        }
        Encoding::QuotedPrintable if !octets.is_empty() => {
            Some(Cow::Owned(mime::quoted_printable(octets).0))
        }
        _ => None,
    }
}

/// A line of base64 that may hold a number has so many octets at least.
const BASE64_OCTETS: usize = 12;
