//! What an entity says at the end of its mail: one footer for all, or one for each kind of recipient.

use crate::config::{Diagnostic, Located, Section};
use crate::mail::Audience;

use super::particulars::Particulars;
use super::{law, template};

/// The footers of an entity.
#[derive(Clone, Debug, Default)]
pub struct Footers {
    /// For whoever has none of its own.
    all: Variant,
    /// Those that have one, in the order of [`Audience::ALL`].
    own: [Option<Variant>; 3],
}

/// One footer as the file has it, and as it is sent.
#[derive(Clone, Debug, Default)]
struct Variant {
    given: Given,
    /// `None` if nothing is said.
    text: Option<FooterText>,
}

/// A footer in both forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FooterText {
    /// For plain text, with the empty line that sets it off.
    pub text: String,
    /// For HTML.
    pub html: String,
}

impl Footers {
    /// Reads `footer` of an entity or of a change in it; what is left out there is as `before`.
    pub(super) fn read(
        section: &Section<'_>,
        particulars: &Particulars,
        before: Option<&Self>,
    ) -> Self {
        let footer = section.section("footer");
        let all = Given::read(&footer, before.map(|before| &before.all.given));
        law::check(section, particulars, all.text.as_ref());
        let own = Audience::ALL.map(|audience| {
            let of_audience = footer.section(audience.word());
            let before = before.and_then(|before| before.own[audience as usize].as_ref());
            if !of_audience.is_present() && before.is_none() {
                return None;
            }
            let given = Given::read(&of_audience, before.map(|before| &before.given));
            given.check(&of_audience, particulars, audience);
            of_audience.finish();
            Some(given.variant(particulars))
        });
        footer.finish();
        Self {
            all: all.variant(particulars),
            own,
        }
    }

    /// What the recipients of a kind get.
    pub fn of(&self, audience: Audience) -> Option<&FooterText> {
        let own = self.own[audience as usize].as_ref();
        own.unwrap_or(&self.all).text.as_ref()
    }

    /// Whether recipients are told apart.
    pub fn tell_apart(&self) -> bool {
        self.own.iter().any(Option::is_some)
    }
}

/// A footer that is written in the file.
#[derive(Clone, Debug, Default)]
struct Given {
    none: bool,
    text: Option<Located<String>>,
    html: Option<Located<String>>,
}

impl Given {
    fn read(section: &Section<'_>, before: Option<&Self>) -> Self {
        let none = section.flag("none").map(Located::into_inner);
        let (text, html) = (section.string("text"), section.string("html"));
        match before {
            // HTML that was written beside another text does not go with this one.
            Some(before) if none.is_none() && text.is_none() && html.is_none() => before.clone(),
            _ => Self {
                none: none.unwrap_or(false),
                text,
                html,
            },
        }
    }

    /// A footer for some recipients must say what the law wants like one for all. Within the house nothing is wanted.
    fn check(&self, section: &Section<'_>, particulars: &Particulars, audience: Audience) {
        if audience == Audience::Internal {
            return;
        }
        if let Some(text) = &self.text {
            law::check_text(section, particulars, text);
        } else if self.none && law::wants_anything(particulars) {
            let message = format!(
                "mail to `{}` goes without the particulars that the law wants",
                audience.word()
            );
            let diagnostic = Diagnostic::warning("footer-lacks-particular", message);
            section
                .diagnostics()
                .push(diagnostic.at(section.place(), "").help("take `none` out"));
        }
    }

    /// The footer as given; what is not given is made of the particulars.
    fn variant(self, particulars: &Particulars) -> Variant {
        Variant {
            text: self.footer(particulars),
            given: self,
        }
    }

    fn footer(&self, particulars: &Particulars) -> Option<FooterText> {
        if self.none {
            return None;
        }
        let text = match &self.text {
            Some(text) => text.to_string(),
            None => format!("\n{}\n", template::sentences(particulars)?),
        };
        let html = match &self.html {
            Some(html) => html.to_string(),
            None => template::html_of(&text),
        };
        Some(FooterText { text, html })
    }
}
