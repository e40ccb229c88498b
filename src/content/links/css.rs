//! Addresses in style sheets: `url(…)` and `@import "…"` (CSS Syntax §4.3.6).

use std::ops::Range;

use super::autolink::starts_with_ignoring_case;

/// Where addresses stand in a style sheet, quotes and blanks left out.
pub(super) fn addresses(css: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let octets = css.as_bytes();
    for open in memchr::memchr_iter(b'(', octets) {
        let is_url = open >= 3 && octets[open - 3..open].eq_ignore_ascii_case(b"url");
        let close = is_url
            .then(|| memchr::memchr(b')', &octets[open + 1..]))
            .flatten();
        if let Some(close) = close {
            found.push(inner(css, open + 1..open + 1 + close));
        } else if is_url {
            break; // the last one has no end: neither has any behind it
        }
    }
    for at in memchr::memchr_iter(b'@', octets) {
        if !starts_with_ignoring_case(&css[at + 1..], "import") {
            continue;
        }
        let rest = at + "@import".len();
        let blanks = css[rest..].len() - css[rest..].trim_start().len();
        let quote = octets.get(rest + blanks).copied();
        if let Some(quote @ (b'"' | b'\'')) = quote {
            let start = rest + blanks + 1;
            let Some(end) = memchr::memchr(quote, &octets[start..]) else {
                break;
            };
            found.push(start..start + end);
        }
    }
    found
}

fn inner(css: &str, at: Range<usize>) -> Range<usize> {
    let cut = |c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'');
    let text = &css[at.clone()];
    let start = at.start + text.len() - text.trim_start_matches(cut).len();
    start..(at.end - (text.len() - text.trim_end_matches(cut).len())).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_style_sheet_are_found() {
        let css = "a { background: URL( 'http://a.example/x' ) } @import \"//b.example\"; c { x: url(y) } url(z";
        let found: Vec<&str> = addresses(css).into_iter().map(|at| &css[at]).collect();
        assert_eq!(found, ["http://a.example/x", "y", "//b.example"]);
    }
}
