//! What the rules look at in a message, put together once: its text, its HTML as written, its links.
//!
//! Of each so much and no more: a rule that has seen nothing in the first octets is silent.

use std::cell::OnceCell;

use crate::content::Form;
use crate::mail::mime::{Encoding, Part};
use crate::policy::author::{Author, authors};

use super::Mail;

/// A message, ready for the rules.
#[derive(Debug)]
pub struct Look<'m> {
    /// The message.
    pub mail: Mail<'m>,
    /// The authors, as shown.
    pub from: Vec<Author>,
    /// The text of the bodies, HTML as text.
    pub text: String,
    html: OnceCell<String>,
    links: OnceCell<Vec<String>>,
    words: OnceCell<usize>,
}

impl<'m> Look<'m> {
    /// Looks at a message.
    pub fn new(mail: Mail<'m>) -> Self {
        let mut text = String::new();
        for piece in &mail.content.texts {
            if piece.place.starts_with("body:") && text.len() < TEXT_OCTETS {
                let left = TEXT_OCTETS - text.len();
                text.push_str(super::features::cut(&piece.text, left));
                text.push('\n');
            }
        }
        Self {
            from: authors(mail.header, "From"),
            mail,
            text,
            html: OnceCell::new(),
            links: OnceCell::new(),
            words: OnceCell::new(),
        }
    }

    /// The parts of the message; none if they cannot be told apart.
    pub fn parts(&self) -> &'m [Part] {
        self.mail
            .structure
            .map_or(&[], |structure| &structure.parts)
    }

    /// The first field of this name; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let field = self.mail.header.first(name);
        field.map_or_else(String::new, |field| field.value().into_owned())
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.mail.header.first(name).is_some()
    }

    /// The text without that of HTML.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        let texts = self.mail.content.texts.iter();
        texts
            .filter(|piece| piece.place.starts_with("body:") && piece.form == Form::Plain)
            .map(|piece| super::features::cut(&piece.text, TEXT_OCTETS))
    }

    /// Words in the text.
    pub fn words(&self) -> usize {
        *self
            .words
            .get_or_init(|| self.text.split_whitespace().count())
    }

    /// The HTML bodies as they are written.
    pub fn html(&self) -> &str {
        self.html.get_or_init(|| {
            let mut html = String::new();
            let of = self
                .parts()
                .iter()
                .filter(|part| part.is("text", "html") && part.is_leaf());
            for part in of.take(BODIES_MAX) {
                let left = HTML_OCTETS.saturating_sub(html.len());
                html.push_str(super::features::cut(
                    &source(self.mail.octets, part, left),
                    left,
                ));
            }
            html
        })
    }

    /// The addresses of the links in the text and behind it, in small letters.
    pub fn links(&self) -> &[String] {
        self.links.get_or_init(|| {
            let found = memchr::memmem::find_iter(self.text.as_bytes(), b"://");
            found
                .filter_map(|at| link_at(&self.text, at))
                .take(LINKS_MAX)
                .collect()
        })
    }
}

/// The start of a part as it is written, without its transfer encoding.
fn source(octets: &[u8], part: &Part, most: usize) -> String {
    let raw = part.raw(octets);
    let cut = |factor: usize| &raw[..raw.len().min(most.saturating_mul(factor))];
    let decoded = match part.encoding {
        Encoding::Base64 => crate::mail::mime::base64(cut(2)).0,
        Encoding::QuotedPrintable => crate::mail::mime::quoted_printable(cut(3)).0,
        _ => cut(1).to_vec(),
    };
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The link whose `://` stands here, if it leads to the web.
fn link_at(text: &str, at: usize) -> Option<String> {
    let scheme = ["https", "http"].into_iter().find(|scheme| {
        let start = at.checked_sub(scheme.len());
        start
            .and_then(|start| text.get(start..at))
            .is_some_and(|word| word.eq_ignore_ascii_case(scheme))
    })?;
    let rest = &text[at..];
    let end = rest.find(|c: char| c.is_whitespace() || "\"'<>".contains(c));
    let rest = super::features::cut(&rest[..end.unwrap_or(rest.len())], LINK_OCTETS);
    Some(format!("{scheme}{rest}").to_lowercase())
}

const TEXT_OCTETS: usize = 16 << 10;
const HTML_OCTETS: usize = 32 << 10;
const BODIES_MAX: usize = 8;
const LINKS_MAX: usize = 50;
const LINK_OCTETS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::spam::Specimen;

    #[test]
    fn links_and_html_are_found_wherever_they_are_written() {
        let specimen = Specimen::read(
            b"MIME-Version: 1.0\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n\
              <P>see <A HREF=3D\"HTTP://X.example/a?b=3D1\">here</A> and https://y.example.</P>\n"
                .to_vec(),
        );
        specimen.ask(|mail| {
            let look = Look::new(*mail);
            assert!(look.html().contains("<A HREF=\"HTTP://X.example/a?b=1\">"));
            let mut links = look.links().to_vec();
            links.sort();
            assert_eq!(links, ["http://x.example/a?b=1", "https://y.example."]);
            assert!(look.text.contains("see here and"));
        });
    }
}
