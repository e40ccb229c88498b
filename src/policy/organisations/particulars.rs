//! What an entity says about itself: its form, its state, and the particulars that the law may want.

use crate::config::{Located, Section};

/// What an entity says about itself.
#[derive(Clone, Debug)]
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
    /// Who watches over it while a moratorium is in force.
    pub monitors: Vec<String>,
}

impl Particulars {
    /// Reads what is said about an entity, with every mistake in it. What is left out is as in `before`; an empty text
    /// takes it away. `None` without a form and a name.
    pub(super) fn read(section: &Section<'_>, before: Option<&Self>) -> Option<Self> {
        let reading = Reading { section, before };
        if before.is_none() {
            section.required_string("form"); // reports its absence
            section.required_string("name");
        }
        let form = section.word("form", Form::WORDS).map(Located::into_inner);
        let name = section.string("name").map(Located::into_inner);
        let state = section.word("state", State::WORDS).map(Located::into_inner);
        let number = section.string("number");
        let number = number.or_else(|| before.and_then(|before| before.number.clone()));
        let rest = Self {
            // Taken out below, so that every mistake in the others is told.
            form: Form::NhsBody,
            name: String::new(),
            trading_name: reading.text("trading-name", |before| &before.trading_name),
            registered_in: reading.text("registered-in", |before| &before.registered_in),
            number: number.filter(|number| before.is_none() || !number.is_empty()),
            registered_office: reading
                .text("registered-office", |before| &before.registered_office),
            address: reading.text("address", |before| &before.address),
            people: reading.texts("people", |before| &before.people),
            charity_number: reading.text("charity-number", |before| &before.charity_number),
            state: state
                .or_else(|| before.map(|before| before.state))
                .unwrap_or_default(),
            administrators: reading.texts("administrators", |before| &before.administrators),
            monitors: reading.texts("monitors", |before| &before.monitors),
        };
        Some(Self {
            form: form.or_else(|| before.map(|before| before.form))?,
            name: name.or_else(|| before.map(|before| before.name.clone()))?,
            ..rest
        })
    }
}

/// A section, and what was so before it.
struct Reading<'s, 't> {
    section: &'s Section<'t>,
    before: Option<&'s Particulars>,
}

impl Reading<'_, '_> {
    fn text(&self, key: &str, of: fn(&Particulars) -> &Option<String>) -> Option<String> {
        match self.section.string(key) {
            Some(text) => Some(text.into_inner()).filter(|text| !text.is_empty()),
            None => self.before.and_then(|before| of(before).clone()),
        }
    }

    fn texts(&self, key: &str, of: fn(&Particulars) -> &Vec<String>) -> Vec<String> {
        match self.section.strings(key) {
            Some(texts) => texts.into_iter().map(Located::into_inner).collect(),
            None => self
                .before
                .map(|before| of(before).clone())
                .unwrap_or_default(),
        }
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
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum State {
    /// As usual.
    #[default]
    Trading,
    /// Being wound up (Insolvency Act 1986 s.188).
    BeingWoundUp,
    /// In administration (Insolvency Act 1986 Sch B1 para 45).
    InAdministration,
    /// A receiver or manager has been appointed (Insolvency Act 1986 s.39, s.64).
    ReceiverAppointed,
    /// A moratorium is in force (Insolvency Act 1986 s.A19).
    InMoratorium,
}

impl State {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("trading", Self::Trading),
        ("being-wound-up", Self::BeingWoundUp),
        ("in-administration", Self::InAdministration),
        ("receiver-appointed", Self::ReceiverAppointed),
        ("in-moratorium", Self::InMoratorium),
    ];
}
