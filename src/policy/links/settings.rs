//! `[links]` of `links.toml`.

use std::collections::HashMap;

use crate::config::{Diagnostics, Located, Section};
use crate::content::links::Known;
use crate::policy::finding::LinkKind;
use crate::policy::opinion::Ask;
use crate::policy::organisations::Organisations;
use crate::policy::refusal::Refusal;
use crate::policy::verdict::Direction;

use super::sites::{Site, Sites};

/// What happens because of a link. Later ones win over earlier ones.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum LinkVerdict {
    /// Nothing: the finding is recorded.
    #[default]
    Pass,
    /// A banner warns the reader.
    Annotate,
    /// The link is taken out, its text kept.
    Strip,
    /// The message is kept apart.
    Quarantine,
    /// The message is refused.
    Refuse,
}

impl LinkVerdict {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pass", Self::Pass),
        ("annotate", Self::Annotate),
        ("strip", Self::Strip),
        ("quarantine", Self::Quarantine),
        ("refuse", Self::Refuse),
    ];

    /// What it asks for a recipient; `None` if the message goes on.
    pub fn ask(self) -> Option<Ask> {
        match self {
            Self::Quarantine => Some(Ask::Quarantine),
            Self::Refuse => Some(Ask::Refuse(Refusal::Link)),
            Self::Pass | Self::Annotate | Self::Strip => None,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS[self as usize]; // in the order of the variants
        word
    }
}

/// `[links]`, checked.
#[derive(Debug)]
pub struct LinkSettings {
    /// Sites that nothing is said against.
    pub approved: Sites,
    /// More of them, for one legal entity each.
    pub approved_for: HashMap<String, Located<Sites>>,
    /// Whether the domains that may have patient data count as approved.
    pub secure_domains: bool,
    /// Services that hide where a link leads.
    pub shorteners: Sites,
    /// Names that others may pretend to be.
    pub known: Known,
    /// What happens to mail from outside.
    pub inbound: Verdicts,
    /// What happens to mail of our own.
    pub outbound: Verdicts,
    /// The words of the banner on mail from outside; `{links}` stands for what is odd, a line for each.
    pub banner: String,
    /// Those on mail of our own, of which nobody may say that it came from outside.
    pub banner_outbound: String,
    /// Whether a reply that quotes the whole banner gets no second one.
    pub once_per_thread: bool,
    /// What happens if a link cannot be taken out exactly.
    pub cannot_strip: Located<LinkVerdict>,
    /// What happens if there is no place for a banner.
    pub cannot_annotate: Located<LinkVerdict>,
}

/// The verdicts of one direction.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdicts(HashMap<LinkKind, Located<LinkVerdict>>);

/// A direction's verdict about a kind, and what says so.
pub type Direct<'s> = (LinkVerdict, Option<&'s Located<LinkVerdict>>);

impl Verdicts {
    /// What happens because of a link of this kind.
    pub fn of(&self, kind: LinkKind) -> Direct<'_> {
        let found = self.0.get(&kind);
        (found.map_or(LinkVerdict::Pass, |verdict| **verdict), found)
    }

    fn read(section: &Section<'_>, default: &[(LinkKind, LinkVerdict)]) -> Self {
        let mut verdicts = HashMap::new();
        for (word, kind) in LinkKind::WORDS {
            let shipped = default.iter().find(|(of, _)| of == kind);
            let shipped = shipped.map(|(_, verdict)| Located::built_in(*verdict));
            if let Some(verdict) = section.word(word, LinkVerdict::WORDS).or(shipped) {
                verdicts.insert(*kind, verdict);
            }
        }
        Self(verdicts)
    }
}

impl LinkSettings {
    /// Takes `[links]` out of the outermost section; what is left out is as shipped.
    pub fn read(top: &Section<'_>) -> Self {
        let links = top.section("links");
        let settings = Self::of(&links);
        links.finish();
        settings
    }

    fn of(links: &Section<'_>) -> Self {
        let approved = sites(links, "approved").unwrap_or_else(|| shipped(APPROVED));
        let own = sites(links, "own").unwrap_or_default();
        let approved_for = organisations(links);
        let names = approved.names().chain(own.names());
        let names = names.chain(approved_for.values().flat_map(|sites| sites.names()));
        let known = Known::new(names);
        let words = LinkVerdict::WORDS;
        let failed = [words[0], words[3], words[4]];
        let verdicts = |name: &str, default| {
            let section = links.section(name);
            let verdicts = Verdicts::read(&section, default);
            section.finish();
            verdicts
        };
        let mut approved = approved;
        for name in own.names() {
            let patterns = [name.to_owned(), format!("*.{name}")];
            for site in patterns.iter().filter_map(|pattern| pattern.parse().ok()) {
                approved.add(site); // what is our own needs no second entry
            }
        }
        Self {
            known,
            approved,
            approved_for,
            secure_domains: links
                .flag("approve-secure-domains")
                .is_none_or(|flag| *flag),
            shorteners: sites(links, "shorteners").unwrap_or_else(|| shipped(SHORTENERS)),
            inbound: verdicts("inbound", INBOUND),
            outbound: verdicts("outbound", &[]),
            banner: banner(links, "banner", BANNER),
            banner_outbound: banner(links, "banner-outbound", BANNER_OUTBOUND),
            once_per_thread: links.flag("once-per-thread").is_none_or(|flag| *flag),
            cannot_strip: links
                .word("cannot-strip", &failed)
                .unwrap_or_else(|| Located::built_in(LinkVerdict::Quarantine)),
            cannot_annotate: links
                .word("cannot-annotate", &failed)
                .unwrap_or_else(|| Located::built_in(LinkVerdict::Pass)),
        }
    }

    /// The verdicts for mail that goes this way.
    pub fn verdicts(&self, direction: Direction) -> &Verdicts {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// The words of the banner on mail that goes this way.
    pub fn banner(&self, direction: Direction) -> &str {
        match direction {
            Direction::Inbound => &self.banner,
            Direction::Outbound => &self.banner_outbound,
        }
    }

    /// Reports lists of entities that `organisations.toml` does not have.
    pub fn check_entities(&self, organisations: &Organisations, diagnostics: &Diagnostics) {
        let mut known: Vec<&str> = organisations.ids().collect();
        known.sort_unstable();
        let mut unknown: Vec<_> = self
            .approved_for
            .iter()
            .filter(|(id, _)| !known.contains(&id.as_str()))
            .collect();
        unknown.sort_by_key(|(id, _)| id.as_str());
        for (id, sites) in unknown {
            let message = format!("there is no entity `{id}` in organisations.toml");
            let diagnostic = crate::config::Diagnostic::error("unknown-entity", message);
            let diagnostic = diagnostic.at_maybe(sites.place(), "");
            diagnostics.push(diagnostic.help(format!("known: {}", known.join(", "))));
        }
    }
}

/// `[[links.organisation]]`.
fn organisations(links: &Section<'_>) -> HashMap<String, Located<Sites>> {
    let mut all = HashMap::new();
    for section in links.sections("organisation") {
        let id = section.required_string("entity");
        let sites = sites(&section, "approved").unwrap_or_default();
        if let Some(id) = id {
            if sites.is_empty() {
                let help = "approved = [\"supplier.example\"]".to_owned();
                section.report("no-sites", "this organisation approves nothing", &id, help);
            }
            let name = id.as_str().to_owned();
            if all.insert(name, id.clone().map(|_| sites)).is_some() {
                let help = "put all its sites into one list".to_owned();
                section.report("twice", "this entity has a list already", &id, help);
            }
        }
        section.finish();
    }
    all
}

fn sites(section: &Section<'_>, key: &str) -> Option<Sites> {
    let mut sites = Sites::default();
    for site in section.parse_list::<Site>(key)? {
        sites.add(site.into_inner());
    }
    Some(sites)
}

fn shipped(patterns: &[&str]) -> Sites {
    let mut sites = Sites::default();
    for site in patterns.iter().filter_map(|pattern| pattern.parse().ok()) {
        sites.add(site);
    }
    sites
}

fn banner(links: &Section<'_>, key: &str, default: &str) -> String {
    let Some(text) = links.string(key) else {
        return default.to_owned();
    };
    let first = text.lines().next().unwrap_or_default();
    if !text.is_ascii() || !text.contains("{links}") || !first.trim().contains(' ') {
        let help = "it is in ASCII, so that every message can hold it; its first line has two words or more; {links} stands for what was found";
        links.report(
            "bad-banner",
            "this cannot be a banner",
            &text,
            help.to_owned(),
        );
    }
    text.into_inner()
}

/// Sites that are approved where the policy file says nothing.
const APPROVED: &[&str] = &[
    "nhs.uk",
    "*.nhs.uk",
    "nhs.net",
    "*.nhs.net",
    "gov.uk",
    "*.gov.uk",
];

/// Shorteners where the policy file says nothing.
const SHORTENERS: &[&str] = &[
    "bit.ly",
    "bitly.com",
    "buff.ly",
    "cutt.ly",
    "dlvr.it",
    "goo.gl",
    "ift.tt",
    "is.gd",
    "lnkd.in",
    "n9.cl",
    "ow.ly",
    "qr.ae",
    "rb.gy",
    "rebrand.ly",
    "s.id",
    "shorturl.at",
    "shrtco.de",
    "t.co",
    "t.ly",
    "tiny.cc",
    "tinyurl.com",
    "trib.al",
    "urlz.fr",
    "v.gd",
    "x.gd",
];

/// What happens to mail from outside where the policy file says nothing.
const INBOUND: &[(LinkKind, LinkVerdict)] = &[
    (LinkKind::UserInfo, LinkVerdict::Annotate),
    (LinkKind::LookAlike, LinkVerdict::Annotate),
    (LinkKind::MixedScript, LinkVerdict::Annotate),
    (LinkKind::IpAddress, LinkVerdict::Annotate),
    (LinkKind::Script, LinkVerdict::Annotate),
    (LinkKind::Program, LinkVerdict::Annotate),
    (LinkKind::TooMany, LinkVerdict::Annotate),
];

/// The banner on mail of our own where the policy file has none.
const BANNER_OUTBOUND: &str = "\
CAUTION: this message has links that may not be what they seem.
{links}
Do not follow them unless you expected them, and enter no password there.
";

/// The banner on mail from outside where the policy file has none.
const BANNER: &str = "\
CAUTION: this message came from outside, and has links that may not be what they seem.
{links}
Do not follow them unless you expected them, and enter no password there.
";

#[cfg(test)]
mod tests;
