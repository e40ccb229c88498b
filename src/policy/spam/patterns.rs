//! The expressions of the rules, those for one place in one set: a place is read once however many rules ask.
//!
//! They are linear in the octets they read (`regex`), and a place has a limit of octets ([`super::look`]).

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::look::Look;

/// What an expression is held against.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// Each field of this name.
    Header(String),
    /// The subject, decoded.
    Subject,
    /// The text, HTML as text.
    Text,
    /// The HTML as it is written.
    Html,
    /// Each address of a link, in small letters.
    Link,
    /// Each `Received`.
    Received,
    /// Each charset that a part names.
    Charset,
    /// The names of the authors that are shown.
    Name,
}

/// An expression and its place.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Where it is looked for.
    pub place: Place,
    /// The expression.
    pub text: String,
    /// It speaks only if there are no more `Received` than this.
    pub traces_at_most: Option<usize>,
}

/// The expressions of all rules.
#[derive(Debug, Default)]
pub struct Patterns {
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    place: Place,
    regexes: RegexSet,
    /// For each expression of the set the number of its rule and its limit of traces.
    rules: Vec<(usize, Option<usize>)>,
}

/// The expressions for one place, before they are compiled.
struct Group<'p> {
    place: &'p Place,
    texts: Vec<&'p str>,
    rules: Vec<(usize, Option<usize>)>,
}

impl Patterns {
    /// Compiles the expressions of rules, each with the number of its rule. Errs with the text of the compiler,
    /// which names no rule: compile each by itself first ([`compile`]).
    pub fn new<'p>(patterns: impl Iterator<Item = (usize, &'p Pattern)>) -> Result<Self, String> {
        let mut groups: Vec<Group<'p>> = Vec::new();
        for (rule, pattern) in patterns {
            let at = groups
                .iter()
                .position(|group| *group.place == pattern.place);
            let at = at.unwrap_or_else(|| {
                groups.push(Group {
                    place: &pattern.place,
                    texts: Vec::new(),
                    rules: Vec::new(),
                });
                groups.len() - 1
            });
            groups[at].texts.push(&pattern.text);
            groups[at].rules.push((rule, pattern.traces_at_most));
        }
        let sets = groups.into_iter().map(|group| {
            Ok(Set {
                place: group.place.clone(),
                regexes: compile(&group.texts)?,
                rules: group.rules,
            })
        });
        Ok(Self {
            sets: sets.collect::<Result<_, String>>()?,
        })
    }

    /// The numbers of the rules whose expressions match.
    pub fn hits(&self, look: &Look<'_>) -> Vec<usize> {
        let mut hits = Vec::new();
        let traces = look.mail.header.all("Received").count();
        for set in &self.sets {
            let mut take = |text: &str| {
                for at in &set.regexes.matches(text.as_bytes()) {
                    let (rule, most) = set.rules[at];
                    if most.is_none_or(|most| traces <= most) {
                        hits.push(rule);
                    }
                }
            };
            texts(&set.place, look, &mut take);
        }
        hits.sort_unstable();
        hits.dedup();
        hits
    }
}

/// One set of expressions: capitals or not, ASCII classes. Errs with what the compiler says.
pub fn compile(texts: &[&str]) -> Result<RegexSet, String> {
    RegexSetBuilder::new(texts)
        .case_insensitive(true)
        .multi_line(true)
        .unicode(false)
        .size_limit(COMPILED_OCTETS_MAX)
        .dfa_size_limit(CACHE_OCTETS_MAX)
        .build()
        .map_err(|error| error.to_string())
}

fn texts(place: &Place, look: &Look<'_>, take: &mut impl FnMut(&str)) {
    match place {
        Place::Header(name) => fields(look, name, take),
        Place::Subject => take(&look.mail.content.subject),
        Place::Text => take(&look.text),
        Place::Html => take(look.html()),
        Place::Link => look.links().iter().for_each(|link| take(link)),
        Place::Received => fields(look, "Received", take),
        Place::Charset => {
            for part in look.parts().iter().take(PARTS_MAX) {
                part.content_type
                    .params
                    .get("charset")
                    .into_iter()
                    .for_each(&mut *take);
            }
        }
        Place::Name => {
            let names = look.from.iter().filter_map(|author| author.name.as_deref());
            names.for_each(take);
        }
    }
}

fn fields(look: &Look<'_>, name: &str, take: &mut impl FnMut(&str)) {
    for field in look.mail.header.all(name).take(FIELDS_MAX) {
        take(super::features::cut(&field.value(), FIELD_OCTETS));
    }
}

/// Compiled, all expressions for one place.
const COMPILED_OCTETS_MAX: usize = 16 << 20;
const CACHE_OCTETS_MAX: usize = 8 << 20;
const FIELDS_MAX: usize = 60;
const FIELD_OCTETS: usize = 4 << 10;
const PARTS_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::spam::Specimen;
    use proptest::prelude::*;

    fn pattern(place: Place, text: &str, traces_at_most: Option<usize>) -> Pattern {
        Pattern {
            place,
            text: text.to_owned(),
            traces_at_most,
        }
    }

    fn all() -> Vec<Pattern> {
        vec![
            pattern(Place::Subject, "offer", None),
            pattern(Place::Text, "(?-i)Buy", None),
            pattern(Place::Link, r"^https?://[^/]+\.zip\b", None),
            pattern(Place::Received, "dialup", Some(1)),
            pattern(Place::Received, "dialup", None),
            pattern(Place::Header("X-Mailer".into()), "^bulk", None),
            pattern(Place::Html, "<form", None),
            pattern(Place::Charset, "^koi8", None),
            pattern(Place::Name, "helpdesk", None),
        ]
    }

    fn hits(message: &str) -> Vec<usize> {
        let all = all();
        let patterns = Patterns::new(all.iter().enumerate()).unwrap();
        let specimen = Specimen::read(message.replace('\n', "\r\n").into_bytes());
        specimen.ask(|mail| patterns.hits(&Look::new(*mail)))
    }

    #[test]
    fn each_expression_speaks_for_its_place_alone() {
        let plain = "Content-Type: text/plain; charset=KOI8-R";
        let html = "Content-Type: text/html";
        for (message, expected) in [
            ("Subject: OFFER\n\nx\n".to_owned(), vec![0]),
            ("Subject: x\n\noffer Buy\n".to_owned(), vec![1]),
            (
                "Subject: x\n\nbuy http://A.zip/x http://a.example/b.zip\n".to_owned(),
                vec![2],
            ),
            ("Received: from dialup\n\nx\n".to_owned(), vec![3, 4]),
            (
                "Received: from dialup\nReceived: x\n\nx\n".to_owned(),
                vec![4],
            ),
            ("X-Mailer: Bulk 3\n\nx\n".to_owned(), vec![5]),
            (format!("{html}\n\n<FORM action=x>\n"), vec![6]),
            (format!("{plain}\n\n<form\n"), vec![7]),
            ("From: IT Helpdesk <a@b.example>\n\nx\n".to_owned(), vec![8]),
        ] {
            assert_eq!(hits(&message), expected, "{message}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_octets_are_looked_at(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
            let all = all();
            let patterns = Patterns::new(all.iter().enumerate()).unwrap();
            Specimen::read(octets).ask(|mail| patterns.hits(&Look::new(*mail)));
        }
    }
}
