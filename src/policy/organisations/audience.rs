//! Whom the footers tell apart, and domains by pattern.

use std::collections::HashMap;

use crate::config::Section;
use crate::mail::{AddressError, Audience, Domain, Mailbox};

/// Domains whose recipients are of a kind, beside the senders of the entities, who are internal.
#[derive(Debug)]
pub(super) struct Audiences {
    by_domain: ByDomain<Audience>,
}

impl Audiences {
    /// Reads `[audiences]`.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let section = top.section("audiences");
        let mut audiences = Self::default();
        if section.has("nhs") {
            audiences = Self {
                by_domain: ByDomain::default(),
            };
        }
        for audience in [Audience::Nhs, Audience::Internal] {
            let patterns = section.parse_list::<Pattern>(audience.word());
            for pattern in patterns.unwrap_or_default() {
                audiences.by_domain.insert(pattern.into_inner(), audience);
            }
        }
        section.finish();
        audiences
    }

    pub(super) fn of(&self, recipient: &Mailbox) -> Audience {
        let found = recipient
            .domain()
            .and_then(|domain| self.by_domain.of(domain));
        found.copied().unwrap_or(Audience::Outside)
    }
}

impl Default for Audiences {
    /// NHSmail, and the domains of NHS organisations in the four countries.
    fn default() -> Self {
        let mut by_domain = ByDomain::default();
        for pattern in NHS {
            if let Ok(pattern) = pattern.parse() {
                by_domain.insert(pattern, Audience::Nhs);
            }
        }
        Self { by_domain }
    }
}

const NHS: [&str; 8] = [
    "nhs.net",
    "*.nhs.net",
    "nhs.uk",
    "*.nhs.uk",
    "nhs.scot",
    "*.nhs.scot",
    "hscni.net",
    "*.hscni.net",
];

/// What is said of domains: of `x` itself, or of anything below it; the nearest says it.
#[derive(Debug)]
pub(super) struct ByDomain<T> {
    itself: HashMap<Domain, T>,
    below: HashMap<Domain, T>,
}

impl<T> Default for ByDomain<T> {
    fn default() -> Self {
        Self {
            itself: HashMap::new(),
            below: HashMap::new(),
        }
    }
}

impl<T> ByDomain<T> {
    pub(super) fn insert(&mut self, pattern: Pattern, value: T) {
        self.map(&pattern).insert(pattern.domain, value);
    }

    /// Where a pattern of this shape stands.
    pub(super) fn map(&mut self, pattern: &Pattern) -> &mut HashMap<Domain, T> {
        match pattern.below {
            true => &mut self.below,
            false => &mut self.itself,
        }
    }

    pub(super) fn of(&self, domain: &Domain) -> Option<&T> {
        self.itself.get(domain).or_else(|| self.of_parent(domain))
    }

    /// What the nearest domain above this one that is written `*.x` says.
    fn of_parent(&self, domain: &Domain) -> Option<&T> {
        let mut name = domain.as_str();
        while let Some((_, parent)) = name.split_once('.') {
            let found = Domain::parse(parent).ok();
            if let Some(value) = found.and_then(|parent| self.below.get(&parent)) {
                return Some(value);
            }
            name = parent;
        }
        None
    }
}

/// `x`, or `*.x` for anything below it.
#[derive(Clone)]
pub(super) struct Pattern {
    pub(super) domain: Domain,
    pub(super) below: bool,
}

impl std::str::FromStr for Pattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        Domain::parse(name).map(|domain| Self { domain, below })
    }
}
