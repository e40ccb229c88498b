//! Which elements a reader does not see: by their own style, or by a class that the page hides.

use super::Tag;

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

/// Whether `hidden` stands there without a value.
fn has_bare_hidden(inside: &str) -> bool {
    let mut words = inside.split(|c: char| c.is_ascii_whitespace() || c == '/');
    words.any(|word| word.eq_ignore_ascii_case("hidden"))
}

/// The classes and names that style sheets of a page hide.
#[derive(Default)]
pub(super) struct HiddenNames(Vec<String>);

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
            let room = NAMES_MAX.saturating_sub(self.0.len());
            self.0.extend(names.take(room));
        }
    }

    /// Whether the value of `class` or `id` has one of them.
    fn has(&self, names: &str) -> bool {
        let mut names = names.split_ascii_whitespace();
        names.any(|name| self.0.iter().any(|hidden| hidden == name))
    }
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
}
