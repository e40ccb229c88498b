//! Links in HTML: what is clicked, sent, loaded or gone to by itself.
//!
//! Read more widely than any one program reads: comments that Outlook takes for HTML, the content of elements
//! that other programs than browsers show, each of two attributes of the same name.

use url::Url;

use super::autolink::{self, Flow, shown_address, starts_with_ignoring_case};
use super::entities::Decoded;
use super::markup::{Attribute, Piece, Pieces, RAW, Tag};
use super::{Form, Link, Links, Target, Way, css, start_of};

/// Returns the links of a document or a piece of one.
pub(super) fn read(html: &str) -> Links {
    let mut reader = Reader {
        links: Links::default(),
        base: None,
        anchor: None,
    };
    reader.read(html, 0, DEPTH_MAX);
    reader.close_anchor();
    reader.links
}

struct Reader {
    links: Links,
    /// What the page says that its addresses are relative to; the first counts.
    base: Option<Url>,
    /// The anchor that is open.
    anchor: Option<Anchor>,
}

/// An anchor that is open.
struct Anchor {
    /// Its links among those that were found; two if it has two addresses.
    from: usize,
    to: usize,
    /// The start of what it shows.
    text: String,
}

impl Reader {
    /// Reads a piece that begins at `start` of the source.
    fn read(&mut self, html: &str, start: usize, depth: usize) {
        // The element whose content comes next in one piece.
        let mut inside = "";
        for piece in Pieces::of(html) {
            if self.links.beyond {
                return;
            }
            match piece {
                Piece::Text(at) => {
                    self.text(
                        std::mem::take(&mut inside),
                        &html[at.clone()],
                        start + at.start,
                        depth,
                    );
                }
                Piece::Tag(tag) => inside = self.tag(&tag, start, depth),
                // `<!--[if mso]>…<![endif]-->` is HTML to Outlook.
                Piece::Comment(at) if html[at.clone()].starts_with("[if") => {
                    if let Some(depth) = depth.checked_sub(1) {
                        self.read(&html[at.clone()], start + at.start, depth);
                    }
                }
                Piece::Comment(_) => {}
            }
        }
    }

    fn text(&mut self, inside: &str, text: &str, start: usize, depth: usize) {
        match inside {
            "" => self.words(text, start),
            "style" => self.style(text, start),
            "script" => self.script(text, start),
            // Shown as HTML by programs that do not know the element.
            _ => {
                if let Some(depth) = depth.checked_sub(1) {
                    self.read(text, start, depth);
                }
            }
        }
    }

    /// Text that is shown: addresses in it are clickable where they are not links already.
    fn words(&mut self, text: &str, start: usize) {
        let decoded = Decoded::of(text, start);
        if let Some(anchor) = &mut self.anchor
            && anchor.text.len() < SHOWN_OCTETS_MAX
        {
            anchor
                .text
                .push_str(start_of(&decoded.text, SHOWN_OCTETS_MAX));
        }
        let (way, anchor) = match &self.anchor {
            Some(anchor) => (
                Way::Shown,
                self.links.found.get(anchor.from).map(|link| link.at.start),
            ),
            None => (Way::Text, None),
        };
        let links = &mut self.links;
        autolink::each(&decoded.text, Flow::Fixed, &mut |found| {
            if let Some(target) = Target::of(&found.written, None) {
                let at = decoded.written_at(found.at);
                links.push(Link {
                    anchor,
                    ..Link::new(at, Form::Words, way, target)
                });
            }
            !links.beyond
        });
    }

    /// Returns its name if what comes next is its content, in one piece.
    fn tag(&mut self, tag: &Tag<'_>, start: usize, depth: usize) -> &'static str {
        let is = |name: &str| tag.name.eq_ignore_ascii_case(name);
        if is("a") {
            self.close_anchor();
        }
        if tag.closes {
            return "";
        }
        let first = self.links.found.len();
        for attribute in &tag.attributes {
            self.attribute(tag, attribute, start, depth);
        }
        if is("a") && self.links.found.len() > first {
            self.anchor = Some(Anchor {
                from: first,
                to: self.links.found.len(),
                text: String::new(),
            });
        }
        RAW.iter().find(|raw| is(raw)).copied().unwrap_or("")
    }

    fn attribute(&mut self, tag: &Tag<'_>, attribute: &Attribute<'_>, start: usize, depth: usize) {
        let name = attribute.name;
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        let element = |word: &str| tag.name.eq_ignore_ascii_case(word);
        let value = || Decoded::of(attribute.value, 0).text;
        let at = start + attribute.at.start..start + attribute.at.end;
        if is("style") {
            for address in css::addresses(&value()) {
                self.push(at.clone(), Way::Load, &value()[address]);
            }
        } else if is("srcset") || is("imagesrcset") {
            for candidate in value().split(',') {
                let address = candidate.split_ascii_whitespace().next();
                self.push(at.clone(), Way::Load, address.unwrap_or_default());
            }
        } else if is("srcdoc") {
            for mut link in read_within(&value(), depth).found {
                link.at = at.clone();
                link.form = Form::Attribute;
                self.links.push(link);
            }
        } else if is("content") && element("meta") {
            if let Some(address) = refresh(tag, &value()) {
                self.push(at, Way::Redirect, address);
            }
        } else if is("href") && element("base") {
            let base = self.base.is_none().then(|| Url::parse(value().trim()).ok());
            self.base = base.flatten().or(self.base.take());
        } else if let Some(way) = way_of(name, tag.name) {
            self.push(at, way, &value());
        }
    }

    fn push(&mut self, at: std::ops::Range<usize>, way: Way, address: &str) {
        if let Some(target) = Target::of(address, self.base.as_ref()) {
            self.links.push(Link::new(at, Form::Attribute, way, target));
        }
    }

    fn style(&mut self, css: &str, start: usize) {
        for at in css::addresses(css) {
            let address = &css[at.clone()];
            self.push(start + at.start..start + at.end, Way::Load, address);
        }
    }

    /// Scripts run in attached pages: addresses that stand in one are where it may go to.
    fn script(&mut self, code: &str, start: usize) {
        let code = code.replace("\\/", "/");
        let links = &mut self.links;
        for quoted in code.split(['"', '\'', '`', '(', ')']) {
            let has_scheme = ["http:", "https:", "//"]
                .iter()
                .any(|s| starts_with_ignoring_case(quoted, s));
            let target = has_scheme.then(|| Target::of(quoted, None)).flatten();
            if let Some(target) = target.filter(|target| target.host.is_some()) {
                links.push(Link::new(start..start, Form::Code, Way::Redirect, target));
            }
        }
    }

    /// What an anchor shows is known at its end.
    fn close_anchor(&mut self) {
        let Some(anchor) = self.anchor.take() else {
            return;
        };
        let shown = shown_address(&anchor.text).and_then(|address| Target::of(&address, None));
        let shown = shown
            .and_then(|target| target.host)
            .map(|host| host.to_string());
        for link in &mut self.links.found[anchor.from..anchor.to] {
            if link.way == Way::Anchor {
                link.shown.clone_from(&shown);
            }
        }
    }
}

/// Reads a document that stands in an attribute.
fn read_within(html: &str, depth: usize) -> Links {
    let mut reader = Reader {
        links: Links::default(),
        base: None,
        anchor: None,
    };
    if let Some(depth) = depth.checked_sub(1) {
        reader.read(html, 0, depth);
    }
    reader.links
}

/// How a reader comes to follow the address in an attribute; `None` if it holds none.
fn way_of(attribute: &str, element: &str) -> Option<Way> {
    let (_, way) = ADDRESSES
        .iter()
        .find(|(name, _)| attribute.eq_ignore_ascii_case(name))?;
    let loads = ["link", "image", "use", "script"]
        .iter()
        .any(|name| element.eq_ignore_ascii_case(name));
    match way {
        Way::Anchor if loads => Some(Way::Load),
        way => Some(*way),
    }
}

/// The address in `0; url=…` (HTML §4.2.5.3), if the tag is one that refreshes.
fn refresh<'v>(tag: &Tag<'_>, content: &'v str) -> Option<&'v str> {
    let mut names = tag.attributes.iter();
    names.find(|attribute| {
        let value = Decoded::of(attribute.value, 0);
        attribute.name.eq_ignore_ascii_case("http-equiv")
            && value.text.trim().eq_ignore_ascii_case("refresh")
    })?;
    let rest = content
        .trim_start()
        .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let rest = rest
        .trim_start()
        .trim_start_matches([';', ','])
        .trim_start();
    let rest = match starts_with_ignoring_case(rest, "url") {
        true => rest[3..]
            .trim_start()
            .strip_prefix('=')
            .map_or(rest, str::trim_start),
        false => rest,
    };
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    Some(match quote {
        Some(quote) => rest[1..].split(quote).next().unwrap_or_default(),
        None => rest,
    })
}

/// Attributes that hold an address, on whatever element: Outlook and SVG have elements of their own.
const ADDRESSES: &[(&str, Way)] = &[
    ("href", Way::Anchor),
    ("xlink:href", Way::Anchor),
    ("action", Way::Form),
    ("formaction", Way::Form),
    ("src", Way::Load),
    ("background", Way::Load),
    ("poster", Way::Load),
    ("lowsrc", Way::Load),
    ("dynsrc", Way::Load),
    ("data", Way::Load),
    ("ping", Way::Load),
];
/// So much of what an anchor shows is looked at.
const SHOWN_OCTETS_MAX: usize = 300;
/// Documents within each other: in comments, attributes and elements.
const DEPTH_MAX: usize = 3;
