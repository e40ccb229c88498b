//! Which elements a reader does not see: by their own style, or by a class that the page hides.

use super::{Sight, Tag};

/// Whether an element is out of sight, by its own attributes or by what style sheets say of its names.
pub(super) fn is_hidden(tag: &Tag<'_>, names: &HiddenNames) -> bool {
    let by_value = tag.attributes().any(|(name, value)| {
        if name.eq_ignore_ascii_case("style") {
            hides(value)
        } else {
            let is_name = name.eq_ignore_ascii_case("class") || name.eq_ignore_ascii_case("id");
            name.eq_ignore_ascii_case("hidden") || (is_name && names.has(value))
        }
    });
    by_value || has_bare_hidden(tag.inside)
}

/// Whether somebody sees an element, whatever it is looked at with; `None` if it says nothing of that, and what cannot be
/// told for sure is seen. Its own style goes before a style sheet's and before `hidden`. `mso-hide` is for Outlook
/// alone, which gets the same words in a comment.
pub(super) fn sure_sight(tag: &Tag<'_>, names: &HiddenNames) -> Option<Sight> {
    let (mut own, mut by_name, mut shown) = (Said::default(), Said::default(), Said::default());
    for (name, value) in tag.names_and_values() {
        let is = |one: &str| name.eq_ignore_ascii_case(one);
        let value = value.unwrap_or_default();
        if is("hidden") {
            // As good as a rule: browsers have `[hidden] { display: none }`, which any other goes before.
            by_name.is_there = Some(false);
        } else if is("style") {
            own = said(value);
        } else if is("class") || is("id") {
            let sigil = if is("id") { '#' } else { '.' };
            by_name = names.hides(sigil, value).or(by_name);
            shown = names.shows(value).or(shown);
        }
    }
    own.or(shown).or(by_name).sight()
}

/// What a style, or the styles of some names, say of an element; `None` where they say nothing.
#[derive(Clone, Copy, Default)]
struct Said {
    /// Whether it takes its place on the page: `display`.
    is_there: Option<bool>,
    /// Whether its words are seen there: `visibility`, which what lies in it inherits.
    is_visible: Option<bool>,
}

impl Said {
    fn or(self, other: Self) -> Self {
        Self {
            is_there: self.is_there.or(other.is_there),
            is_visible: self.is_visible.or(other.is_visible),
        }
    }

    fn sight(self) -> Option<Sight> {
        match (self.is_there, self.is_visible) {
            (Some(false), _) => Some(Sight::Gone),
            (_, Some(false)) => Some(Sight::Unseen),
            (_, Some(true)) => Some(Sight::Shown),
            // What only takes its place is seen no more than what it lies in.
            (_, None) => None,
        }
    }
}

/// What a style says of whether an element is seen, by its last word on it. What is struck out is not said any more.
fn said(style: &str) -> Said {
    let last = |name: &str| {
        let values = style.split(';').filter_map(|one| one.split_once(':'));
        let mut values = values.filter(|(property, _)| property.trim().eq_ignore_ascii_case(name));
        let value = values.next_back()?.1.split('!').next()?;
        Some(value.trim().to_ascii_lowercase())
    };
    let is_struck = ["text-decoration", "text-decoration-line"]
        .into_iter()
        .filter_map(last)
        .any(|value| value.contains("line-through"));
    let is_visible = last("visibility").and_then(|value| match value.as_str() {
        "hidden" | "collapse" => Some(false),
        "visible" | "initial" => Some(true),
        // What is worked out elsewhere may be anything.
        _ => value.starts_with("var(").then_some(true),
    });
    Said {
        is_there: match is_struck {
            true => Some(false),
            false => last("display").map(|value| value != "none"),
        },
        is_visible,
    }
}

/// Whether `hidden` stands there without a value.
fn has_bare_hidden(inside: &str) -> bool {
    let mut words = inside.split(|c: char| c.is_ascii_whitespace() || c == '/');
    words.any(|word| word.eq_ignore_ascii_case("hidden"))
}

/// The classes and names that style sheets of a page hide.
#[derive(Default)]
pub(super) struct HiddenNames {
    /// Names; with the sign before them where they are of [`HiddenNames::add_sure`].
    hidden: Vec<String>,
    /// Names of which the words are not seen, with the sign before them.
    unseen: Vec<String>,
    /// Names of which a rule says that they take their place, and that they are visible.
    there: Vec<String>,
    visible: Vec<String>,
}

impl HiddenNames {
    /// Takes in the rules of a style sheet that hide something: `.x { display: none }`. Conditions round them are
    /// not looked at: what is shown all the same is read as well.
    pub(super) fn add_sheet(&mut self, sheet: &str) {
        for rule in sheet.split('}') {
            let Some((selectors, style)) = rule.rsplit_once('{') else {
                continue;
            };
            if !hides(style) {
                continue;
            }
            let selectors = selectors.rsplit('{').next().unwrap_or_default();
            let names = selectors.split(',').filter_map(|selector| {
                let last = selector.split_ascii_whitespace().next_back()?;
                let name = last.rfind(['.', '#']).map(|at| &last[at + 1..])?;
                (!name.is_empty()).then(|| name.to_owned())
            });
            let room = NAMES_MAX.saturating_sub(self.hidden.len());
            self.hidden.extend(names.take(room));
        }
    }

    /// Takes in the rules that take something off the page everywhere, with no condition round them and a name alone
    /// before them: `.x { display: none }`; and of which names any rule says something else.
    pub(super) fn add_sure(&mut self, sheet: &str) {
        let sheet = without_comments(sheet);
        let (mut open, mut at) = (Vec::new(), 0);
        let mut is_innermost = false;
        for (brace, sign) in sheet.match_indices(['{', '}']) {
            let piece = &sheet[at..brace];
            at = brace + 1;
            if sign == "{" {
                open.push(piece);
            } else if let Some(before) = open.pop()
                && is_innermost
            {
                self.add_rule(before, piece, open.is_empty());
            }
            is_innermost = sign == "{";
        }
    }

    fn add_rule(&mut self, before: &str, style: &str, is_everywhere: bool) {
        let selectors = before.rsplit(';').next().unwrap_or_default();
        let said = said(style);
        let hides = [
            (said.is_there, &mut self.hidden),
            (said.is_visible, &mut self.unseen),
        ];
        for (_, kept) in hides
            .into_iter()
            .filter(|(it, _)| *it == Some(false) && is_everywhere)
        {
            let names = selectors.split(',').map(str::trim);
            let names = names.filter(|one| one.strip_prefix(['.', '#']).is_some_and(is_name));
            let room = NAMES_MAX.saturating_sub(kept.len());
            kept.extend(names.take(room).map(str::to_owned));
        }
        let shows = [
            (said.is_there, &mut self.there),
            (said.is_visible, &mut self.visible),
        ];
        for (_, kept) in shows.into_iter().filter(|(it, _)| *it == Some(true)) {
            let words = selectors
                .split(|c| !is_of_name(c))
                .filter(|one| is_name(one));
            let room = NAMES_MAX.saturating_sub(kept.len());
            kept.extend(words.take(room).map(str::to_owned));
        }
    }

    /// What the rules that hold everywhere take away of what has these names.
    fn hides(&self, sigil: char, names: &str) -> Said {
        let has = |kept: &[String]| {
            let mut names = names.split_ascii_whitespace();
            names.any(|name| {
                let is = |one: &String| one.strip_prefix(sigil) == Some(name);
                kept.iter().any(is)
            })
        };
        Said {
            is_there: has(&self.hidden).then_some(false),
            is_visible: has(&self.unseen).then_some(false),
        }
    }

    /// What some rule may show of what has these names: also if there are more of them than are kept.
    fn shows(&self, names: &str) -> Said {
        let has = |kept: &[String]| {
            let mut names = names.split_ascii_whitespace();
            kept.len() >= NAMES_MAX || names.any(|name| kept.iter().any(|one| one == name))
        };
        Said {
            is_there: has(&self.there).then_some(true),
            is_visible: has(&self.visible).then_some(true),
        }
    }

    /// Whether the value of `class` or `id` has one of them.
    fn has(&self, names: &str) -> bool {
        let mut names = names.split_ascii_whitespace();
        names.any(|name| self.hidden.iter().any(|hidden| hidden == name))
    }
}

/// A style sheet without `/* … */`: they may stand anywhere and have any braces.
fn without_comments(sheet: &str) -> String {
    let mut kept = String::with_capacity(sheet.len());
    let mut rest = sheet;
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    kept + rest
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_name)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

/// Whether a style takes an element out of sight.
fn hides(style: &str) -> bool {
    style.split(';').any(|declaration| {
        let Some((property, value)) = declaration.split_once(':') else {
            return false;
        };
        let value = value.split('!').next().unwrap_or_default().trim();
        let is = |name: &str| property.trim().eq_ignore_ascii_case(name);
        let says = |word: &str| value.eq_ignore_ascii_case(word);
        (is("display") && says("none"))
            || (is("visibility") && (says("hidden") || says("collapse")))
            || (is("mso-hide") && says("all"))
            || (is("color") && says("transparent"))
            || ((is("text-decoration") || is("text-decoration-line"))
                && value.to_ascii_lowercase().contains("line-through"))
            || (SIZES.iter().any(|size| is(size)) && is_nothing(value))
    })
}

/// `0`, `0px`, `0.0em`; also what is too small for anybody to read: `1px`.
fn is_nothing(value: &str) -> bool {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
    let number = digits.trim().parse::<f32>();
    let in_points = value.ends_with("px") || value.ends_with("pt");
    number.is_ok_and(|number| number == 0.0 || (in_points && number <= 1.0))
}

/// Properties of which nothing leaves nothing to see.
const SIZES: &[&str] = &["font-size", "opacity", "max-height", "max-width"];
/// Names that are kept: a bound on time.
const NAMES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_that_takes_an_element_out_of_sight_is_known() {
        for style in [
            "display:none",
            "color: red; DISPLAY : None !important",
            "visibility:hidden",
            "font-size:0",
            "font-size: 0.0em",
            "font-size:1px",
            "opacity:0",
            "mso-hide:all",
            "max-height:0px",
            "text-decoration: underline line-through",
        ] {
            assert!(hides(style), "{style}");
        }
        for style in [
            "display:block",
            "font-size:10px",
            "opacity:0.5",
            "opacity:1",
            "none",
            "font-size:0.9em",
            "",
        ] {
            assert!(!hides(style), "{style}");
        }
    }

    #[test]
    fn a_sheet_hides_by_class_and_name() {
        let mut names = HiddenNames::default();
        names.add_sheet(
            "p { color: red } .a, td.b, #c { display:none } @media x { .d { opacity: 0 } } e { display: none }",
        );
        for (name, hidden) in [
            ("a", true),
            ("x b", true),
            ("c", true),
            ("d", true),
            ("e", false),
            ("p", false),
        ] {
            assert_eq!(names.has(name), hidden, "{name}");
        }
        names.add_sheet("} { display:none } {{");
    }

    #[test]
    fn only_what_is_hidden_everywhere_is_surely_hidden() {
        let mut names = HiddenNames::default();
        names.add_sure(
            "@import url(x); .a, #c { display: none !important } /* } */ .w .d, td.e, .f:hover { display: none }\
             @media (max-width: 600px) { .g { display: none } .h { display: block } } .h { display: none }\
             .i { font-size: 0 } .j { display: inline } } .k { visibility: hidden }",
        );
        for (html, hidden) in [
            ("<p class='x a'>", true),
            ("<p id=c>", true),
            ("<p class=k>", true),
            ("<p hidden>", true),
            ("<p hidden=''/>", true),
            ("<p style='text-decoration: line-through'>", true),
            ("<p style='visibility:hidden; visibility:visible'>", false),
            ("<p style='display:none; font-size:1px'>", true),
            ("<p class='c d e f g h i' id=a>", false),
            ("<p class='a j'>", false),
            ("<p class=a style='display:block'>", false),
            ("<p hidden style='display:block'>", false),
            ("<p hidden class=j>", false),
            ("<p hidden style='color:red'>", true),
            ("<p class=k style='display:block'>", true),
            ("<p class=k style='visibility:initial'>", false),
            ("<p style='visibility:hidden; display:block'>", true),
            ("<p class='hidden lg' title='a hidden one'>", false),
            ("<p style='display:none; display:block'>", false),
            (
                "<p style='font-size:0; max-height:0; opacity:0; mso-hide:all; color:transparent'>",
                false,
            ),
        ] {
            let tag = Tag::read(html).unwrap();
            let sight = sure_sight(&tag, &names);
            let is_hidden = sight.is_some_and(|sight| sight != Sight::Shown);
            assert_eq!(is_hidden, hidden, "{html}");
        }
    }
}
