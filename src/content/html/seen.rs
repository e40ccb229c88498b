//! What somebody sees of a page, in the words that a text message says of it.

use super::lines::Lines;
use super::{Reader, Tag, hidden, push_decoded};

/// What somebody sees who looks at the page, and the addresses of its first links below: nothing that is surely hidden,
/// no comment, script, style sheet, title or text of a picture. What is struck out is not said any more. Where a style
/// hides something only here or there, it is said: a word too many is better than one too few.
pub(in crate::content) fn shown(html: &str) -> String {
    let mut reader = Reader::new(html);
    reader.links = Some(Vec::new());
    reader.read_all();
    let text = match reader.in_sight {
        Some(in_sight) => in_sight.lines.text,
        None => reader.text.text,
    };
    let links = reader.links.unwrap_or_default().into_iter();
    let links = links.filter(|link| !text.contains(link.as_str()));
    let links: Vec<String> = links.collect();
    format!("{text}\n{}", links.join("\n"))
}

impl Reader<'_> {
    /// Whether a tag hides its element. Where what is left is said to somebody, it has to do so for sure.
    pub(super) fn hides(&self, tag: &Tag<'_>) -> bool {
        match self.links {
            Some(_) => {
                STRUCK.iter().any(|struck| tag.is(struck))
                    || hidden::is_surely_hidden(tag, &self.names)
            }
            None => !tag.inside.is_empty() && hidden::is_hidden(tag, &self.names),
        }
    }

    /// What a tag shows that is no text: where a link leads, and that a number is raised.
    pub(super) fn tag_in_sight(&mut self, tag: &Tag<'_>) {
        if tag.is("sup") {
            self.is_raised = !tag.closes;
        }
        let is_address = |name: &str| name.eq_ignore_ascii_case("href");
        let address = tag.attributes().find(|(name, _)| is_address(name));
        if let (true, Some((_, address))) = (tag.is("a") && !tag.closes, address) {
            let mut lines = Lines::default();
            push_decoded(&mut lines, address.trim());
            let link = lines.text;
            let is_web = link.starts_with("https://") || link.starts_with("http://");
            let is_new = |all: &&mut Vec<String>| all.len() < LINKS_MAX && !all.contains(&link);
            if let Some(links) = self.links.as_mut().filter(is_new) {
                links.extend(is_web.then_some(link));
            }
        }
    }
}

/// Marks the number that was added at `at` as raised: `10^9` and not 109.
pub(super) fn raise(text: &mut String, at: usize) {
    let added = text[at..].trim_start();
    let at = text.len() - added.len();
    if added
        .trim_start_matches(['-', '+', '\u{2212}', '\u{2013}'])
        .starts_with(|c: char| c.is_ascii_digit())
    {
        text.insert(at, '^');
    }
}

/// Elements of what is not said any more.
const STRUCK: &[&str] = &["del", "s", "strike"];
/// Links that are told below a page: no text has room for more.
const LINKS_MAX: usize = 20;
