//! The features of links and of HTML as it is written: what a reader does not see, and a sender seldom changes.

use super::features::{Sink, cut, hash, mix};
use super::head::shape;
use super::look::Look;

/// Where the links lead: host, its last names, and what the path is like. No query: it says who was written to.
pub(super) fn links(look: &Look<'_>, sink: &mut Sink) {
    for link in look.links() {
        let rest = link.split_once("://").map_or("", |(_, rest)| rest);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.rsplit('@').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        address(host, sink);
        sink.put(hash(LINK + 4, &shape(cut(path, PATH_OCTETS))));
        let ending = path.rsplit('.').next().unwrap_or_default();
        sink.put(hash(LINK + 5, cut(ending, 6).as_bytes()));
        let words = path.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| !word.is_empty()).take(WORDS_MAX) {
            sink.put(hash(LINK + 6, cut(word, 20).as_bytes()));
        }
    }
    sink.put(hash(LINK + 9, &magnitude(look.links().len())));
}

fn address(host: &str, sink: &mut Sink) {
    sink.put(hash(LINK, host.as_bytes()));
    let mut names = host.rmatch_indices('.').map(|(at, _)| &host[at + 1..]);
    let top = names.next().unwrap_or(host);
    let domain = names.next().unwrap_or(host);
    sink.put(hash(LINK + 1, top.as_bytes()));
    sink.put(hash(LINK + 2, domain.as_bytes()));
    sink.put(hash(LINK + 3, &shape(host)));
    sink.put(hash(LINK + 7, &magnitude(host.matches('.').count())));
}

/// Which tags there are, which follow each other, and their attributes but for addresses.
pub(super) fn tags(look: &Look<'_>, sink: &mut Sink) {
    let mut last = 0;
    for tag in cut(look.html(), HTML_OCTETS).split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        let end = tag.find(|c: char| c.is_ascii_whitespace());
        let (name, rest) = tag.split_at(end.unwrap_or(tag.len()));
        let this = small(TAG, name);
        sink.put(this);
        if last != 0 {
            sink.put(mix(last, this));
        }
        last = this;
        attributes(this, rest, sink);
    }
}

fn attributes(tag: u64, mut rest: &str, sink: &mut Sink) {
    for _ in 0..ATTRIBUTES_MAX {
        let Some((name, after)) = rest.split_once('=') else {
            return;
        };
        let name = name.trim_ascii();
        let name = name
            .rsplit(|c: char| c.is_ascii_whitespace())
            .next()
            .unwrap_or_default();
        let after = after.trim_ascii_start();
        let (value, behind) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap_or((&after[1..], "")),
            _ => after
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((after, "")),
        };
        rest = behind;
        sink.put(mix(tag, small(TAG + 1, name)));
        let leads_away = ["href", "src", "background", "action"]
            .iter()
            .any(|one| name.eq_ignore_ascii_case(one));
        if !leads_away {
            sink.put(mix(small(TAG + 2, name), small(TAG + 3, value)));
        }
    }
}

/// The hash of the start of a text in small letters.
fn small(space: u64, text: &str) -> u64 {
    let start = &text.as_bytes()[..text.len().min(NAME_OCTETS)];
    let mut octets = [0; NAME_OCTETS];
    let small = &mut octets[..start.len()];
    small.copy_from_slice(start);
    small.make_ascii_lowercase();
    hash(space, small)
}

/// The order of magnitude, in powers of two.
fn magnitude(count: usize) -> [u8; 1] {
    [(count + 1).ilog2().to_le_bytes()[0]]
}

const LINK: u64 = 70;
const TAG: u64 = 60;
const PATH_OCTETS: usize = 60;
const WORDS_MAX: usize = 8;
const HTML_OCTETS: usize = 8_000;
const ATTRIBUTES_MAX: usize = 12;
const NAME_OCTETS: usize = 32;

#[cfg(test)]
mod tests {
    use crate::policy::spam::Specimen;
    use crate::policy::spam::views::View;

    /// The features of a page but for those of its text.
    fn of(html: &str) -> Vec<usize> {
        let message = format!("MIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n{html}\r\n");
        let features = Specimen::read(message.into_bytes()).features();
        let text = View::Text.end() as usize;
        features.iter().filter(|number| *number >= text).collect()
    }

    #[test]
    fn who_was_written_to_is_no_feature_of_a_link_and_how_the_page_is_made_is_one() {
        let one = of("<a href=\"http://x.example/a.html?to=jane\">more</a>");
        assert_eq!(
            one,
            of("<A HREF='http://x.example/a.html?to=mary'>more</A>")
        );
        assert_ne!(
            one,
            of("<a href=\"http://y.example/a.html?to=jane\">more</a>")
        );
        assert_ne!(
            one,
            of("<a class=b href=\"http://x.example/a.html?to=jane\">more</a>")
        );
    }
}
