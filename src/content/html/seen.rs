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

/// Whether a text has an address in it; a number of a telephone however it is written, but not a part of another one.
fn is_told(link: &str, text: &str) -> bool {
    let wanted: String = link.chars().filter(char::is_ascii_digit).collect();
    if wanted.is_empty() || link.contains(|c: char| c.is_ascii_alphabetic()) {
        return text.contains(link);
    }
    let last = |digits: &str| {
        let at = digits.len().checked_sub(NUMBER_DIGITS)?;
        digits.get(at..).map(str::to_owned)
    };
    let is_wanted = |digits: String| {
        let whole = digits.replace(is_sign, "");
        digits == wanted || last(&wanted).is_some_and(|wanted| Some(wanted) == last(&whole))
    };
    numbers(text).any(is_wanted)
}

/// The numbers of a text as a telephone has them: digits that stand beside each other, or are parted by spaces, hyphens
/// and brackets, which are left out. A sign between two digits (`10:30`, `1.5`) is a part of the number.
fn numbers(text: &str) -> impl Iterator<Item = String> {
    let is_gap = |c: char| {
        matches!(
            c,
            ' ' | '\u{a0}' | '-' | '\u{2010}' | '\u{2011}' | '(' | ')'
        )
    };
    let others = text.split(move |c: char| !c.is_ascii_digit() && !is_gap(c) && !is_sign(c));
    others.flat_map(move |run| {
        let mut numbers = vec![String::new()];
        let mut before = ' ';
        let mut rest = run.chars().peekable();
        while let Some(c) = rest.next() {
            let is_within =
                before.is_ascii_digit() && rest.peek().is_some_and(char::is_ascii_digit);
            match numbers.last_mut() {
                Some(number) if c.is_ascii_digit() => number.push(c),
                Some(number) if is_sign(c) && is_within => number.push(c),
                _ if is_sign(c) => numbers.push(String::new()),
                _ => {}
            }
            before = c;
        }
        numbers
    })
}

fn is_sign(c: char) -> bool {
    matches!(c, '.' | ',' | ':' | '/')
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

#[cfg(test)]
mod tests {
    use super::is_told;

    #[test]
    fn a_number_to_ring_is_told_if_it_stands_there_whole() {
        for (link, text, told) in [
            ("111", "Come on 24.11. at 11:10 to room 0", false),
            ("111", "in 111110 cases, or 1,111, or 1.111", false),
            ("111", "on 1.11. at 11", false),
            ("111", "Ring 111, or (111). Now.", true),
            ("+442079460000", "at 10:30 ring (020) 7946-0000.", true),
            ("+442079460000", "Ring 020 7946 0000 or 111", true),
            ("02079460000", "Ring +44 (0)20 7946 0000", true),
            ("960123", "Ring 01632 960123", false),
            ("a@b.example", "write to a@b.example", true),
            ("+", "a + b", true),
        ] {
            assert_eq!(is_told(link, text), told, "{link} in {text}");
        }
    }
}
