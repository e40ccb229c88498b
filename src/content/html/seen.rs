//! What somebody sees of a page, in the words that a text message says of it.

use super::lines::Lines;
use super::{Reader, Sight, Tag, hidden, push_decoded};

/// What somebody sees who looks at the page, and the addresses of its links below: nothing that is surely hidden,
/// no comment, script, style sheet, title or text of a picture. What is struck out is not said any more. Where a style
/// hides something only here or there, it is said: a word too many is better than one too few. `None` if there are more
/// links than a text has room for.
pub(in crate::content) fn shown(html: &str) -> Option<String> {
    let mut reader = Reader::new(html);
    reader.links = Some(Vec::new());
    reader.read_all();
    let text = match reader.in_sight {
        Some(in_sight) => in_sight.lines.text,
        None => reader.text.text,
    };
    let mut links = reader.links.unwrap_or_default();
    links.retain(|link| !is_told(link, &text));
    (links.len() <= LINKS_MAX).then(|| format!("{text}\n{}", links.join("\n")))
}

/// Whether a text has an address in it; a number of a telephone however it is written.
fn is_told(link: &str, text: &str) -> bool {
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let is_number = !link.contains(|c: char| c.is_ascii_alphabetic());
    let last = |digits: String| digits[digits.len().saturating_sub(NUMBER_DIGITS)..].to_owned();
    text.contains(link) || (is_number && digits(text).contains(&last(digits(link))))
}

impl Reader<'_> {
    /// What a tag says of whether its element is seen. Where what is left is said to somebody, it has to be sure.
    pub(super) fn sight(&self, tag: &Tag<'_>) -> Option<Sight> {
        let is_struck = STRUCK.iter().any(|struck| tag.is(struck));
        match self.links {
            Some(_) if is_struck || NEVER_SHOWN.iter().any(|it| tag.is(it)) => Some(Sight::Gone),
            Some(_) => hidden::sure_sight(tag, &self.names),
            None => {
                let hides =
                    is_struck || (!tag.inside.is_empty() && hidden::is_hidden(tag, &self.names));
                hides.then_some(Sight::Gone)
            }
        }
    }

    /// What a tag shows that is no text: where a link leads, that a number is raised, which line of a list this is.
    pub(super) fn tag_in_sight(&mut self, tag: &Tag<'_>) {
        if tag.is("sup") {
            self.is_raised = !tag.closes;
        } else if tag.is("q") {
            self.push(|lines| lines.push_collapsed("\""));
        }
        let is_address = |name: &str| name.eq_ignore_ascii_case("href");
        let address = tag.attributes().find(|(name, _)| is_address(name));
        if let (true, Some((_, address))) = (tag.is("a") && !tag.closes, address) {
            let mut lines = Lines::default();
            push_decoded(&mut lines, address.trim());
            let link = address_in(&lines.text);
            if let (Some(links), Some(link)) = (&mut self.links, link)
                && links.len() <= LINKS_KEPT
                && !links.contains(&link)
            {
                links.push(link);
            }
        }
    }

    /// Begins and ends lists, and numbers the lines of those that are numbered. Asked behind the line end of the tag.
    pub(super) fn list(&mut self, tag: &Tag<'_>, is_seen: bool) {
        if self.links.is_none() {
            return;
        }
        let number = |wanted: &str| {
            let mut attributes = tag.attributes();
            let value = attributes.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            value.1.trim().parse::<usize>().ok()
        };
        if tag.is("ol") || tag.is("ul") {
            match tag.closes {
                true => drop(self.lists.pop()),
                false if self.lists.len() < LISTS_MAX => {
                    let first = tag.is("ol").then(|| number("start").unwrap_or(1));
                    self.lists.push(first);
                }
                false => {}
            }
        } else if tag.is("li")
            && !tag.closes
            && is_seen
            && let Some(Some(next)) = self.lists.last_mut()
        {
            let this = number("value").unwrap_or(*next);
            *next = this.saturating_add(1);
            self.push(|lines| lines.push_collapsed(&format!("{this}. ")));
        }
    }
}

/// What is said of where a link leads: an address of the web, a number to ring, an address to write to.
fn address_in(link: &str) -> Option<String> {
    let (scheme, rest) = link.split_once(':')?;
    let is = |one: &str| scheme.eq_ignore_ascii_case(one);
    if is("https") || is("http") {
        return Some(link.to_owned());
    }
    let to = rest.split(['?', ';']).next().unwrap_or_default().trim();
    ((is("tel") || is("mailto") || is("sms")) && !to.is_empty()).then(|| to.to_owned())
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
/// Elements of which no reader shows anything.
const NEVER_SHOWN: &[&str] = &["template", "datalist"];
/// Links that are told below a page: no text has room for more.
const LINKS_MAX: usize = 20;
/// Links that are taken down: those that the text has are not told again.
const LINKS_KEPT: usize = 200;
/// Lists within each other that are told apart.
const LISTS_MAX: usize = 100;
/// Digits at the end of a number of a telephone that are the same with and without the code of the country.
const NUMBER_DIGITS: usize = 9;
