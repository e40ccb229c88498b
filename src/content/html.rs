//! HTML as text: what a reader of it may see, in one pass and linear time.
//!
//! Tags within a line vanish, so that a number split by markup is whole; blocks end a line and cells are
//! parted by a tab, so that the row of a table is a line where each of its cells is. Nothing that could be shown is lost because a style hides it; where it stands within a line, the
//! text is read without it as well, for a number that it splits is whole to a reader. What a program
//! may show in place of the page (comments that some programs read, alternative texts, titles, addresses of
//! links, scripts, style sheets) follows behind the text, each on a line of its own.

mod address;
mod hidden;
mod hiding;
mod lines;
mod seen;

use encoding_rs::WINDOWS_1252;
use mail_parser::decoders::html::add_html_token;
use memchr::memmem;

pub(super) use address::unescaped;
use hidden::HiddenNames;
use hiding::{Hiding, Sight};
use lines::Lines;
use seen::raise;
pub(super) use seen::shown;

/// Returns what is to be read in an HTML text.
pub fn to_text(html: &str) -> String {
    let Read { text, titles, .. } = read(html);
    match titles {
        Some(titles) => format!("{}\n{titles}", text.trim_end_matches('\n')),
        None => text,
    }
}

/// What is to be read in an HTML text.
pub(super) struct Read {
    /// All of it.
    pub(super) text: String,
    /// The text without what is hidden, where something hidden stands within a line.
    pub(super) in_sight: Option<String>,
    /// The titles: no part of the page, which begins without them, and told beside it (HTML §4.2.2).
    pub(super) titles: Option<String>,
}

/// Reads an HTML text with and without what it hides.
pub(super) fn read(html: &str) -> Read {
    let mut reader = Reader::new(html);
    reader.read_all();
    let mut text = reader.text.text;
    if !reader.aside.text.trim().is_empty() {
        text.push('\n');
        text.push_str(&reader.aside.text);
    }
    Read {
        text,
        in_sight: reader
            .in_sight
            .filter(|it| it.has_cuts)
            .map(|it| it.lines.text),
        titles: Some(reader.titles.text).filter(|titles| !titles.trim().is_empty()),
    }
}

struct Reader<'h> {
    html: &'h str,
    at: usize,
    text: Lines,
    /// What is not hidden; `None` up to where something is.
    in_sight: Option<InSight>,
    /// The elements that hide what is in them, or show it all the same, each within the one before it.
    hiding: Vec<Hiding<'h>>,
    names: HiddenNames,
    aside: Lines,
    titles: Lines,
    /// Whether a title from here on may have an end: what has none is read as text.
    titles_end: bool,
    /// The links that are in sight, if what somebody sees is asked for.
    links: Option<Vec<String>>,
    /// Whether the next text is raised, if that is asked for.
    is_raised: bool,
    /// The lists that are open, if they are asked for, and the number of the next line of each.
    lists: Vec<Option<usize>>,
}

/// The text without what is hidden.
struct InSight {
    lines: Lines,
    /// Where the line goes on behind something hidden, if nothing was added since.
    cut_at: Option<usize>,
    /// Whether something hidden stood within a line.
    has_cuts: bool,
}

impl InSight {
    /// Notes that something was added: behind a cut, within the same line?
    fn added(&mut self) {
        if let Some(at) = self.cut_at.take_if(|at| *at < self.lines.text.len()) {
            let behind = &self.lines.text[at..];
            let goes_on = !behind.trim_start_matches(' ').starts_with(['\n', '\t']);
            let before = self.lines.text[..at].trim_end_matches(' ');
            self.has_cuts |= goes_on && !before.is_empty() && !before.ends_with(['\n', '\t']);
        }
    }
}

impl<'h> Reader<'h> {
    fn new(html: &'h str) -> Self {
        Self {
            html,
            at: 0,
            text: Lines::with_capacity(html.len() / 2),
            in_sight: None,
            hiding: Vec::new(),
            names: HiddenNames::default(),
            aside: Lines::default(),
            titles: Lines::default(),
            titles_end: true,
            links: None,
            is_raised: false,
            lists: Vec::new(),
        }
    }

    fn read_all(&mut self) {
        while self.at < self.html.len() {
            self.step();
        }
    }

    /// Reads up to the next sign and what it begins.
    fn step(&mut self) {
        let rest = &self.html[self.at..];
        let sign = memchr::memchr2(b'<', b'&', rest.as_bytes()).unwrap_or(rest.len());
        self.push(|lines| lines.push_collapsed(&rest[..sign]));
        self.at += sign;
        let rest = &rest[sign..];
        if rest.starts_with('&') {
            let mut read = 0;
            self.push(|lines| read = push_entity(&mut lines.text, rest));
            self.at += read;
        } else if let Some(comment) = rest.strip_prefix("<!--") {
            self.comment(comment);
        } else if rest.starts_with("<!") || rest.starts_with("<?") {
            self.declaration(rest);
        } else if let Some(tag) = Tag::read(rest) {
            self.at += tag.len;
            self.tag(&tag);
        } else if !rest.is_empty() {
            self.push(|lines| lines.push_collapsed("<"));
            self.at += 1;
        }
    }

    /// Adds to the text, and to what is in sight of it.
    fn push(&mut self, add: impl FnMut(&mut Lines)) {
        self.push_if(!self.is_hidden(), add);
    }

    fn push_if(&mut self, seen: bool, mut add: impl FnMut(&mut Lines)) {
        let at = self.text.text.len();
        add(&mut self.text);
        let is_raised = self.is_raised && seen;
        if is_raised && !self.text.text[at..].trim().is_empty() {
            self.is_raised = false;
            raise(&mut self.text.text, at);
        }
        if let Some(in_sight) = self.in_sight.as_mut().filter(|_| seen) {
            let at = in_sight.lines.text.len();
            add(&mut in_sight.lines);
            if is_raised {
                raise(&mut in_sight.lines.text, at);
            }
            in_sight.added();
        }
    }

    fn comment(&mut self, comment: &'h str) {
        let (inner, len) = if comment.starts_with('>') {
            ("", 1)
        } else if comment.starts_with("->") {
            ("", 2)
        } else {
            match memmem::find(comment.as_bytes(), b"-->") {
                Some(end) => (&comment[..end], end + 3),
                None => (comment, comment.len()),
            }
        };
        self.at += "<!--".len() + len;
        self.aside.end_line();
        push_without_tags(&mut self.aside, inner);
    }

    /// `<!DOCTYPE …>`, and what readers of XHTML show: `<![CDATA[…]]>`.
    fn declaration(&mut self, rest: &'h str) {
        let end = memchr::memchr(b'>', rest.as_bytes()).unwrap_or(rest.len());
        self.at += rest.len().min(end + 1);
        self.aside.end_line();
        self.aside.push_collapsed(&rest[2..end.max(2)]);
    }

    fn tag(&mut self, tag: &Tag<'h>) {
        for (name, value) in tag.attributes() {
            if ASIDE.iter().any(|aside| name.eq_ignore_ascii_case(aside)) && !value.is_empty() {
                self.aside.end_line();
                push_decoded(&mut self.aside, value);
            }
            if name.eq_ignore_ascii_case("srcdoc") {
                let mut page = Lines::default();
                push_decoded(&mut page, value);
                self.aside.end_line();
                push_without_tags(&mut self.aside, &page.text);
            }
            if speaks_of_patients(name) {
                self.aside.end_line();
                self.aside.push_collapsed(name);
                self.aside.push_collapsed(": ");
                push_decoded(&mut self.aside, value);
            }
            if value.contains(':')
                && ADDRESSES.iter().any(|it| name.eq_ignore_ascii_case(it))
                && let Some(text) = address::text_in(value)
            {
                for line in text.lines() {
                    self.aside.end_line();
                    push_without_tags(&mut self.aside, line);
                }
            }
        }
        self.end_paragraph(tag);
        let was_hidden = self.is_hidden();
        let in_sight = self.hide(tag);
        let is_seen = !was_hidden && !self.is_hidden();
        if self.links.is_some() && is_seen {
            self.tag_in_sight(tag);
        }
        if tag.is("title") {
            self.title(tag, in_sight);
        } else if tag.is("tr") || tag.is("table") {
            self.push_if(in_sight, Lines::end_row);
        } else if tag.is("br") || BLOCKS.iter().any(|block| tag.is(block)) {
            self.push_if(in_sight, Lines::end_line);
        } else if tag.is("td") || tag.is("th") {
            let cell = if tag.closes {
                Lines::end_cell
            } else {
                Lines::begin_cell
            };
            self.push_if(in_sight, cell);
        } else if !tag.closes && (tag.is("style") || tag.is("script")) {
            self.raw_text(tag);
        }
        self.list(tag, is_seen);
    }

    /// The content of `title` is text up to its own closing tag. Who does not know that reads it without tags.
    fn title(&mut self, tag: &Tag<'h>, in_sight: bool) {
        if tag.closes {
            return;
        }
        let rest = &self.html[self.at..];
        let end = if self.titles_end {
            end_of_raw_text(rest, tag.name)
        } else {
            rest.len()
        };
        self.titles_end = end < rest.len();
        if !self.titles_end {
            self.push_if(in_sight, Lines::end_line);
            return;
        }
        let title = &rest[..end];
        self.titles.end_line();
        push_decoded(&mut self.titles, title);
        if title.contains('<') {
            self.titles.end_line();
            push_without_tags(&mut self.titles, title);
        }
        self.at += end;
    }

    /// The content of `style` and `script` is not HTML: it runs up to its own closing tag.
    fn raw_text(&mut self, tag: &Tag<'h>) {
        let rest = &self.html[self.at..];
        let end = end_of_raw_text(rest, tag.name);
        self.aside.end_line();
        self.aside.push_collapsed(&rest[..end]);
        if self.links.is_none() {
            self.names.add_sheet(&rest[..end]);
        } else if tag.is("style")
            && !tag
                .attributes()
                .any(|(name, _)| name.eq_ignore_ascii_case("media"))
        {
            self.names.add_sure(&rest[..end]);
        }
        self.at += end;
    }
}

/// A tag, as written.
struct Tag<'h> {
    name: &'h str,
    closes: bool,
    /// What stands behind the name.
    inside: &'h str,
    /// All of it, in octets.
    len: usize,
}

impl<'h> Tag<'h> {
    /// Reads what begins with `<`; `None` if that begins no tag.
    fn read(html: &'h str) -> Option<Self> {
        let after = html.strip_prefix('<')?;
        let closes = after.starts_with('/');
        let after = after.strip_prefix('/').unwrap_or(after);
        if !after.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let name_end = after
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, ':' | '-'))
            .unwrap_or(after.len());
        let inside = &after[name_end..];
        let end = end_of_tag(inside)?;
        Some(Self {
            name: &after[..name_end],
            closes,
            inside: &inside[..end],
            len: html.len() - inside.len() + end + 1,
        })
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether an open paragraph ends here without a closing tag of its own: where the next block begins, and with the
    /// block around it (HTML §13.1.2.4).
    fn ends_paragraph(&self) -> bool {
        let is_own_end = self.closes && self.is("p");
        let mut all = BLOCKS.iter().chain(&["table", "tr", "td", "th"]);
        !is_own_end && all.any(|block| self.is(block))
    }

    /// Names and values, entities not decoded; names alone are left out.
    fn attributes(&self) -> impl Iterator<Item = (&'h str, &'h str)> {
        self.names_and_values()
            .filter_map(|(name, value)| Some((name, value?)))
    }

    fn names_and_values(&self) -> impl Iterator<Item = (&'h str, Option<&'h str>)> {
        let mut rest = self.inside;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if rest.is_empty() {
                return None;
            }
            let name_end = rest.find(|c: char| c.is_ascii_whitespace() || c == '=');
            let (name, after) = rest.split_at(name_end.unwrap_or(rest.len()));
            let Some(value) = after.trim_start().strip_prefix('=') else {
                rest = after;
                return Some((name.trim_end_matches('/'), None));
            };
            let value = value.trim_start();
            let (value, after) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inner = &value[1..];
                    inner.split_once(quote).unwrap_or((inner, ""))
                }
                _ => {
                    let end = value.find(|c: char| c.is_ascii_whitespace());
                    value.split_at(end.unwrap_or(value.len()))
                }
            };
            rest = after;
            Some((name, Some(value)))
        })
    }
}

/// The `>` that ends a tag: not one within quotes, unless the quotes never end. That falls back at most
/// once for each kind of quote in a text, so that the whole stays linear.
fn end_of_tag(inside: &str) -> Option<usize> {
    let octets = inside.as_bytes();
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'>', b'"', b'\'', &octets[at..]) {
        at += found;
        if octets[at] == b'>' {
            return Some(at);
        }
        let is_value = inside[..at].trim_end().ends_with('=');
        match memchr::memchr(octets[at], &octets[at + 1..]) {
            Some(close) if is_value => at += close + 2,
            _ => at += 1,
        }
    }
    None
}

fn end_of_raw_text(rest: &str, name: &str) -> usize {
    let octets = rest.as_bytes();
    let mut at = 0;
    while let Some(found) = memmem::find(&octets[at..], b"</") {
        let name_at = at + found + 2;
        let closing = octets.get(name_at..name_at + name.len());
        if closing.is_some_and(|closing| closing.eq_ignore_ascii_case(name.as_bytes())) {
            return at + found;
        }
        at = name_at;
    }
    octets.len()
}

/// Whether the name of an attribute that a program has added for itself does: `data-nhs-number="…"`.
fn speaks_of_patients(name: &str) -> bool {
    LABELS.iter().any(|label| {
        let mut parts = name.as_bytes().windows(label.len());
        parts.any(|part| part.eq_ignore_ascii_case(label.as_bytes()))
    })
}

/// Adds text in which entities stand and tags do not.
fn push_decoded(lines: &mut Lines, text: &str) {
    let mut rest = text;
    while let Some(sign) = memchr::memchr(b'&', rest.as_bytes()) {
        lines.push_collapsed(&rest[..sign]);
        let read = push_entity(&mut lines.text, &rest[sign..]);
        rest = &rest[sign + read..];
    }
    lines.push_collapsed(rest);
}

/// Adds the text of a comment: some programs read HTML in it.
fn push_without_tags(lines: &mut Lines, text: &str) {
    // `<!--[if mso]>…<![endif]-->`
    let conditional = text
        .strip_prefix("[if")
        .and_then(|text| text.split_once("]>"));
    let mut rest = match conditional {
        Some((_, inner)) => inner.strip_suffix("<![endif]").unwrap_or(inner),
        None => text,
    };
    while let Some(open) = memchr::memchr(b'<', rest.as_bytes()) {
        push_decoded(lines, &rest[..open]);
        let Some(close) = memchr::memchr(b'>', &rest.as_bytes()[open..]) else {
            push_decoded(lines, &rest[open..]);
            return;
        };
        rest = &rest[open + close + 1..];
    }
    push_decoded(lines, rest);
}

/// Adds what an entity stands for (itself, if that is nothing), and returns its length in octets.
/// `text` begins with `&`.
pub(super) fn push_entity(out: &mut String, text: &str) -> usize {
    let octets = text.as_bytes();
    // A number may begin with any count of zeros.
    let most = if octets.get(1) == Some(&b'#') {
        octets.len()
    } else {
        ENTITY_OCTETS
    };
    let name = octets[1..].iter().take(most);
    let name_len = name
        .take_while(|octet| octet.is_ascii_alphanumeric() || **octet == b'#')
        .count();
    let closed = octets.get(name_len + 1) == Some(&b';');
    let name = &text[1..=name_len];
    if let Some(code) = name.strip_prefix('#') {
        let (digits, radix) = match code.strip_prefix(['x', 'X']) {
            Some(digits) => (digits, 16),
            None => (code, 10),
        };
        let end = digits
            .find(|c: char| !c.is_digit(radix))
            .unwrap_or(digits.len());
        let read = name_len - (digits.len() - end);
        if let Ok(code) = u32::from_str_radix(&digits[..end], radix) {
            out.push(char_of(code));
            return 1 + read + usize::from(closed && end == digits.len());
        }
    } else if closed && name_len > 0 {
        add_html_token(out, &octets[..name_len + 2], false);
        return name_len + 2;
    } else if let Some((old, c)) = OPEN_ENTITIES.iter().find(|(old, _)| name.starts_with(old)) {
        out.push(*c);
        return 1 + old.len();
    }
    out.push('&');
    1
}

/// The character of a code; those of Windows-1252 where Unicode has controls (HTML §13.2.5.80).
fn char_of(code: u32) -> char {
    match u8::try_from(code) {
        Ok(octet @ 0x80..=0x9F) => {
            let octets = [octet];
            let (text, _) = WINDOWS_1252.decode_without_bom_handling(&octets);
            text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ => char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Elements that stand on lines of their own.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "li",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "hr",
    "blockquote",
    "pre",
    "section",
    "article",
    "header",
    "footer",
    "body",
    "head",
    "option",
    "center",
    "address",
    "form",
    "fieldset",
    "figure",
    "main",
    "nav",
    "caption",
    "textarea",
];
/// Attributes whose value a reader may come to see.
const ASIDE: &[&str] = &[
    "alt",
    "title",
    "value",
    "placeholder",
    "content",
    "aria-label",
    "label",
    "summary",
    "href",
];
/// Words in the names of attributes that label what they hold.
const LABELS: &[&str] = &["nhs", "patient"];
/// Attributes whose value is an address.
const ADDRESSES: &[&str] = &["href", "src", "data", "action"];
/// Elements in which nothing stands.
const VOID: &[&str] = &[
    "br", "img", "input", "meta", "hr", "link", "wbr", "col", "area", "base", "source", "embed",
    "param", "track",
];
/// Entities that are read without their semicolon too.
const OPEN_ENTITIES: &[(&str, char)] = &[
    ("nbsp", '\u{a0}'),
    ("shy", '\u{ad}'),
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
];
/// The longest name of an entity that is looked for, in octets.
const ENTITY_OCTETS: usize = 32;

#[cfg(test)]
mod tests;
