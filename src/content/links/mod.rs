//! Where the links of a text lead, as a reader who follows them would find out.
//!
//! [`of_text`] reads what mail programs make clickable in plain text, [`of_html`] what HTML leads to or
//! loads. Each [`Link`] says where in the text it stands, so that an editor can take it out, and which host it
//! comes to after all the disguises that the WHATWG URL standard lets through. No address is kept: paths and
//! queries are content, the host alone is a fact about a message. Time is linear in the text.

mod autolink;
mod css;
pub mod domain;
mod entities;
mod html;
pub mod look_alike;
mod markup;
mod script;
mod target;
mod wrapper;

pub use autolink::Flow;
pub use look_alike::{Known, Resemblance};
pub use script::is_mixed;
pub use target::{Host, Scheme, Target};

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// All links of a message.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Links {
    /// In the order in which they were read; at most [`LINKS_MAX`].
    pub found: Vec<Link>,
    /// Whether there were more.
    pub beyond: bool,
}

/// One link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Link {
    /// `body:1.2`, `attachment:2`, as for a text (`design.md` §4.3); empty until it is known.
    pub place: String,
    /// The octets of the decoded text that go if the link is taken out.
    pub at: Range<usize>,
    /// What stands there.
    pub form: Form,
    /// How a reader comes to follow it.
    pub way: Way,
    /// Where it leads.
    pub target: Target,
    /// The host that the text of an anchor shows: `www.nhs.uk`.
    pub shown: Option<String>,
    /// Of [`Way::Shown`]: where the anchor that it stands in begins ([`Link::at`]).
    pub anchor: Option<usize>,
}

/// What a link is written as: what must come in its place.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Form {
    /// Words of the text: something must stand there.
    Words,
    /// An attribute of a tag, or an address in a style sheet: white space takes its place.
    Attribute,
    /// Code: it cannot be taken out without a reading of the code.
    Code,
}

/// How a reader comes to follow a link.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Way {
    /// A click on an address that stands in the text.
    Text,
    /// The same within an anchor: the anchor goes before it.
    Shown,
    /// A click on an anchor or an area.
    Anchor,
    /// A form that is filled in and sent.
    Form,
    /// Nothing: the page goes there by itself (`meta refresh`), or by a script.
    Redirect,
    /// Nothing: pictures, frames, style sheets are loaded from there.
    Load,
}

/// Returns the links of a plain text.
pub fn of_text(text: &str, flow: Flow) -> Links {
    let mut links = Links::default();
    autolink::each(text, flow, &mut |found| {
        if let Some(target) = Target::of(&found.written, None) {
            links.push(Link::new(found.at, Form::Words, Way::Text, target));
        }
        !links.beyond
    });
    links
}

/// Returns the addresses in what was read of a document: a PDF, a file of Office's. They are clicked there, but cannot
/// be taken out here. The names of the formats themselves look like addresses and lead nowhere.
pub fn of_document(text: &str) -> Links {
    let mut links = of_text(text, Flow::Fixed);
    links.found.retain(|link| {
        let host = link.target.host.as_ref().map(ToString::to_string);
        !host.is_some_and(|host| FORMATS.contains(&host.as_str()))
    });
    for link in &mut links.found {
        link.form = Form::Code;
    }
    links
}

/// Returns the links of an HTML text.
pub fn of_html(html: &str) -> Links {
    html::read(html)
}

impl Links {
    /// Adds one, if there is still room.
    pub fn push(&mut self, link: Link) {
        if self.found.len() < LINKS_MAX {
            self.found.push(link);
        } else {
            self.beyond = true;
        }
    }

    /// Adds the links of one text, which stands at `place`.
    pub fn add(&mut self, place: &str, others: Self) {
        self.beyond |= others.beyond;
        for mut link in others.found {
            place.clone_into(&mut link.place);
            self.push(link);
        }
    }
}

impl Link {
    fn new(at: Range<usize>, form: Form, way: Way, target: Target) -> Self {
        Self {
            place: String::new(),
            at,
            form,
            way,
            target,
            shown: None,
            anchor: None,
        }
    }
}

/// Hosts in the names of XML formats.
const FORMATS: &[&str] = &[
    "schemas.openxmlformats.org",
    "schemas.microsoft.com",
    "purl.oclc.org",
    "purl.org",
    "www.w3.org",
    "ns.adobe.com",
    "docs.oasis-open.org",
    "openoffice.org",
];

/// Links of one message that are kept; beyond them, that there are more is all that is known.
pub const LINKS_MAX: usize = 2_000;

/// So much of an address is read, in octets: the host stands at its front, and that of a wrapped one soon after.
const URL_OCTETS_MAX: usize = 4_096;

/// The start of a text of at most so many octets, cut between characters.
fn start_of(text: &str, octets: usize) -> &str {
    &text[..text.floor_char_boundary(octets)]
}

#[cfg(test)]
mod tests;
