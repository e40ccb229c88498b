//! One legal entity: its form, its particulars, its state, and the footer that follows from them.

use crate::config::{Located, Section};

use super::{law, template};

/// A legal entity that sends mail.
#[derive(Debug, Default)]
pub struct Entity {
    /// Its name in these files and in the audit trail.
    pub id: String,
    /// What is said about it; `None` if nothing is to be said.
    pub footer: Option<FooterText>,
}

/// A footer in both forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FooterText {
    /// For plain text, with the empty line that sets it off.
    pub text: String,
    /// For HTML.
    pub html: String,
}

/// What an entity says about itself.
#[derive(Debug)]
pub struct Particulars {
    /// What kind of entity it is.
    pub form: Form,
    /// The registered name, or the business name of a sole trader or partnership.
    pub name: String,
    /// A name that it trades under, if that is another one.
    pub trading_name: Option<String>,
    /// The part of the United Kingdom whose registrar has it; for overseas companies the country.
    pub registered_in: Option<String>,
    /// The number that the registrar gave it.
    pub number: Option<Located<String>>,
    /// The registered office.
    pub registered_office: Option<String>,
    /// The address for service, or the principal place of business.
    pub address: Option<String>,
    /// The own names of a sole trader or of all partners.
    pub people: Vec<String>,
    /// The number of a registered charity.
    pub charity_number: Option<String>,
    /// Whether it goes on.
    pub state: State,
    /// Who manages it while it is in administration.
    pub administrators: Vec<String>,
}

impl Entity {
    /// Reads an `[[entity]]` but for what leads to it. `None` if it has no id, form or name; what
    /// else is missing is reported.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let id = section.required_string("id");
        let particulars = Particulars::read(section);
        let given = Given::read(section);
        let (id, particulars) = (id?, particulars?);
        law::check(section, &particulars, given.text.as_ref());
        Some(Self {
            id: id.into_inner(),
            footer: given.or_made(&particulars),
        })
    }
}

impl Particulars {
    /// Reads what is said about an entity, with every mistake in it.
    fn read(section: &Section<'_>) -> Option<Self> {
        let text = |key: &str| section.string(key).map(Located::into_inner);
        let texts = |key: &str| {
            let texts = section.strings(key).unwrap_or_default();
            texts
                .into_iter()
                .map(Located::into_inner)
                .collect::<Vec<_>>()
        };
        section.required_string("form"); // reports its absence
        let form = section.word("form", Form::WORDS);
        let name = section.required_string("name");
        let state = section.word("state", State::WORDS);
        let number = section.string("number");
        let rest = (
            text("trading-name"),
            text("registered-in"),
            text("registered-office"),
        );
        let more = (
            text("address"),
            texts("people"),
            text("charity-number"),
            texts("administrators"),
        );
        Some(Self {
            form: form?.into_inner(),
            name: name?.into_inner(),
            trading_name: rest.0,
            registered_in: rest.1,
            number,
            registered_office: rest.2,
            address: more.0,
            people: more.1,
            charity_number: more.2,
            state: state.map_or(State::Trading, Located::into_inner),
            administrators: more.3,
        })
    }
}

/// A footer that is written in the file.
struct Given {
    text: Option<Located<String>>,
    html: Option<Located<String>>,
}

impl Given {
    fn read(section: &Section<'_>) -> Self {
        let footer = section.section("footer");
        let given = Self {
            text: footer.string("text"),
            html: footer.string("html"),
        };
        footer.finish();
        given
    }

    /// The footer as given; what is not given is made of the particulars.
    fn or_made(self, particulars: &Particulars) -> Option<FooterText> {
        let text = match self.text {
            Some(text) => text.into_inner(),
            None => format!("\n{}\n", template::sentences(particulars)?),
        };
        let html = match self.html {
            Some(html) => html.into_inner(),
            None => template::html_of(&text),
        };
        Some(FooterText { text, html })
    }
}

/// What kind of entity it is: each has duties of its own (`domain.md` §7.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// A private limited company.
    Company,
    /// A public limited company.
    Plc,
    /// A company that need not say "limited" in its name.
    ExemptCompany,
    /// A community interest company that is no plc.
    Cic,
    /// A limited liability partnership.
    Llp,
    /// One person.
    SoleTrader,
    /// Up to twenty partners.
    Partnership,
    /// More than twenty partners, with a list of them at the principal place of business.
    LargePartnership,
    /// A registered charity that is no company.
    Charity,
    /// A registered charity that is a company.
    CharitableCompany,
    /// A trust, a board: not under the Companies Act.
    NhsBody,
    /// A company registered outside of the United Kingdom.
    OverseasCompany,
}

impl Form {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("company", Self::Company),
        ("plc", Self::Plc),
        ("exempt-company", Self::ExemptCompany),
        ("cic", Self::Cic),
        ("llp", Self::Llp),
        ("sole-trader", Self::SoleTrader),
        ("partnership", Self::Partnership),
        ("large-partnership", Self::LargePartnership),
        ("charity", Self::Charity),
        ("charitable-company", Self::CharitableCompany),
        ("nhs-body", Self::NhsBody),
        ("overseas-company", Self::OverseasCompany),
    ];

    /// Whether Companies House has it in its register under an eight-character number.
    pub fn is_registered(self) -> bool {
        matches!(
            self,
            Self::Company
                | Self::Plc
                | Self::ExemptCompany
                | Self::Cic
                | Self::Llp
                | Self::CharitableCompany
        )
    }
}

/// Whether an entity goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// As usual.
    Trading,
    /// Being wound up (Insolvency Act 1986 s.188).
    BeingWoundUp,
    /// In administration (Insolvency Act 1986 Sch B1 para 45).
    InAdministration,
    /// A receiver or manager has been appointed (Insolvency Act 1986 s.39, s.64).
    ReceiverAppointed,
}

impl State {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("trading", Self::Trading),
        ("being-wound-up", Self::BeingWoundUp),
        ("in-administration", Self::InAdministration),
        ("receiver-appointed", Self::ReceiverAppointed),
    ];
}
