//! The register of secure domains (`secure-domains.toml`): who may have patient data, until when, and
//! what happens to those who may not.
//!
//! `x` is x alone; `*.x` is anything below x at any depth and not x itself. The most specific entry
//! speaks, and if it is out of its dates the domain is not secure: a wider entry does not step in.

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::{Diagnostic, Diagnostics, Located, Section, load_toml};
use crate::mail::Domain;

/// The register and the verdicts, checked.
#[derive(Debug, Default)]
pub struct SecureDomains {
    exact: HashMap<String, Entry>,
    below: HashMap<String, Entry>,
    /// What happens where the rules of `domain.md` §4 leave a choice.
    pub verdicts: Verdicts,
}

/// One entry of the register.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it covers, as written.
    pub pattern: Located<String>,
    /// The first day on which it is secure.
    pub valid_from: Option<Date>,
    /// The last one.
    pub valid_until: Option<Date>,
}

impl Entry {
    fn is_valid(&self, on: Date) -> bool {
        self.valid_from.is_none_or(|from| from <= on)
            && self.valid_until.is_none_or(|until| on <= until)
    }
}

/// What happens where the decision table leaves a choice.
#[derive(Debug)]
pub struct Verdicts {
    /// Patient data for a domain that is not secure, without the keyword.
    pub not_secure: Located<Restriction>,
    /// A near miss of the keyword, for a domain that is not secure.
    pub near_miss: Located<Restriction>,
    /// Patient data for a mailbox that does not take any.
    pub mailbox_declines: Located<Restriction>,
    /// Whether numbers that are never issued restrict as well.
    pub synthetic_restricts: Located<bool>,
    /// What could not be looked into, by its reason, for domains that are not secure. A reason that
    /// is not here is recorded and restricts nothing.
    pub unreadable: HashMap<String, Located<Restriction>>,
}

impl Default for Verdicts {
    fn default() -> Self {
        let hold = || Located::built_in(Restriction::Hold);
        Self {
            not_secure: hold(),
            near_miss: hold(),
            mailbox_declines: hold(),
            synthetic_restricts: Located::built_in(false),
            unreadable: UNREADABLE_HELD
                .iter()
                .map(|reason| ((*reason).to_owned(), hold()))
                .collect(),
        }
    }
}

/// Something short of delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Restriction {
    /// Kept until somebody decides.
    Hold,
    /// Refused.
    Refuse,
}

/// What the register says about a domain at a moment.
#[derive(Clone, Copy, Debug)]
pub enum Standing<'r> {
    /// No entry covers it.
    Unlisted,
    /// This entry covers it, and is within its dates.
    Secure(&'r Entry),
    /// This entry covers it, and is out of its dates.
    Lapsed(&'r Entry),
}

impl SecureDomains {
    /// Reads the file; `now` decides which entries are about to lapse.
    pub fn load(path: &Path, now: Timestamp, diagnostics: &Diagnostics) -> Option<Self> {
        load_toml(path, diagnostics, |top| Self::read(top, now))
    }

    pub(super) fn read(top: &Section<'_>, now: Timestamp) -> Self {
        let mut register = Self {
            verdicts: Verdicts::read(top),
            ..Self::default()
        };
        for section in top.sections("domain") {
            register.add(&section, day(now));
            section.finish();
        }
        register
    }

    /// What the register says about a domain at a moment.
    pub fn standing(&self, domain: &Domain, at: Timestamp) -> Standing<'_> {
        match self.most_specific(domain.as_str()) {
            None => Standing::Unlisted,
            Some(entry) if entry.is_valid(day(at)) => Standing::Secure(entry),
            Some(entry) => Standing::Lapsed(entry),
        }
    }

    /// Whether a domain may have patient data at a moment.
    pub fn is_secure(&self, domain: &Domain, at: Timestamp) -> bool {
        matches!(self.standing(domain, at), Standing::Secure(_))
    }

    fn most_specific(&self, domain: &str) -> Option<&Entry> {
        let parents = domain.match_indices('.').map(|(dot, _)| &domain[dot + 1..]);
        self.exact.get(domain).or_else(|| {
            parents
                .into_iter()
                .find_map(|parent| self.below.get(parent))
        })
    }

    fn add(&mut self, section: &Section<'_>, today: Date) {
        let pattern = section.required_string("pattern");
        section.required_string("owner");
        section.required_string("reason");
        let retired = section.word("status", &[("current", false), ("retired", true)]);
        let entry = (section.date("valid-from"), section.date("valid-until"));
        let Some(pattern) = pattern else { return };
        let entry = Entry {
            valid_from: entry.0.map(Located::into_inner),
            valid_until: entry.1.map(Located::into_inner),
            pattern,
        };
        entry.check_dates(section, today);
        if retired.is_some_and(|retired| *retired) {
            warn(
                section,
                "retired-domain",
                &entry,
                "is a retired family that still counts as secure",
                "take it out when nobody uses it any more",
            );
        }
        self.insert(section, entry);
    }

    fn insert(&mut self, section: &Section<'_>, entry: Entry) {
        let written = entry.pattern.as_str();
        let (name, map) = match written.strip_prefix("*.") {
            Some(name) => (name, &mut self.below),
            None => (written, &mut self.exact),
        };
        let Ok(domain) = Domain::parse(name) else {
            section.report(
                "bad-pattern",
                format!("`{written}` is no pattern of domains"),
                &entry.pattern,
                "write `x.example` for x.example alone, `*.x.example` for all below it".into(),
            );
            return;
        };
        if let Some(first) = map.get(domain.as_str()) {
            let diagnostic = Diagnostic::error("twice", format!("`{written}` is listed twice"))
                .at_maybe(entry.pattern.place(), "a second time here")
                .at_maybe(first.pattern.place(), "it is listed here")
                .help("take one of them out");
            section.diagnostics().push(diagnostic);
            return;
        }
        map.insert(domain.as_str().to_owned(), entry);
    }
}

impl Entry {
    fn check_dates(&self, section: &Section<'_>, today: Date) {
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until < from
        {
            let message = format!("`{}` ends before it begins", self.pattern.as_str());
            section.report("bad-dates", message, &self.pattern, "swap the dates".into());
            return;
        }
        let Some(until) = self.valid_until else {
            return;
        };
        let warned_from = until.saturating_sub(jiff::Span::new().days(WARN_BEFORE_DAYS));
        if until < today {
            warn(
                section,
                "lapsed-domain",
                self,
                &format!("lapsed on {until}: it is not secure any more"),
                "renew it or take it out",
            );
        } else if warned_from <= today {
            warn(
                section,
                "lapsing-domain",
                self,
                &format!("lapses on {until}"),
                "renew it in time",
            );
        }
    }
}

fn warn(section: &Section<'_>, id: &'static str, entry: &Entry, what: &str, help: &str) {
    let message = format!("`{}` {what}", entry.pattern.as_str());
    let diagnostic = Diagnostic::warning(id, message)
        .at_maybe(entry.pattern.place(), "")
        .help(help);
    section.diagnostics().push(diagnostic);
}

impl Verdicts {
    fn read(top: &Section<'_>) -> Self {
        let words = [("hold", Restriction::Hold), ("refuse", Restriction::Refuse)];
        let section = top.section("verdicts");
        let word = |key: &str, otherwise| section.word(key, &words).unwrap_or(otherwise);
        let shipped = Self::default();
        let verdicts = Self {
            not_secure: word("not-secure", shipped.not_secure),
            near_miss: word("near-miss", shipped.near_miss),
            mailbox_declines: word("mailbox-declines", shipped.mailbox_declines),
            synthetic_restricts: section
                .flag("synthetic-restricts")
                .unwrap_or(shipped.synthetic_restricts),
            unreadable: read_unreadable(section.section("unreadable"), shipped.unreadable),
        };
        section.finish();
        verdicts
    }
}

fn read_unreadable(
    section: Section<'_>,
    mut verdicts: HashMap<String, Located<Restriction>>,
) -> HashMap<String, Located<Restriction>> {
    let words = [
        ("hold", Some(Restriction::Hold)),
        ("refuse", Some(Restriction::Refuse)),
        ("record", None),
    ];
    for reason in UNREADABLE_HELD.iter().chain(&["unknown-format"]) {
        let Some(word) = section.word(reason, &words) else {
            continue;
        };
        let place = word.place().cloned();
        match (*word, place) {
            (Some(restriction), Some(place)) => {
                verdicts.insert((*reason).to_owned(), Located::at(restriction, place))
            }
            _ => verdicts.remove(*reason),
        };
    }
    section.finish();
    verdicts
}

/// Days are those of UTC: an entry ends everywhere at one moment.
fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// The reasons that hold as shipped (`design.md` §4.3).
const UNREADABLE_HELD: &[&str] = &[
    "encrypted-archive",
    "encrypted-document",
    "image-only",
    "too-large",
    "malformed",
];
/// How long before its end an entry is warned about.
const WARN_BEFORE_DAYS: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, read_toml};
    use std::sync::Arc;

    const REGISTER: &str = r#"
[verdicts]
not-secure = "refuse"
[verdicts.unreadable]
unknown-format = "hold"
malformed = "record"

[[domain]]
pattern = "nhs.net"
owner = "NHS England"
reason = "NHSmail"
[[domain]]
pattern = "*.police.uk"
owner = "Police"
reason = "CJX"
[[domain]]
pattern = "*.old.police.uk"
owner = "Police"
reason = "gone"
valid-until = 2026-11-20
[[domain]]
pattern = "new.old.police.uk"
owner = "Police"
reason = "back"
valid-from = 2026-11-21
"#;

    fn read(text: &str) -> (SecureDomains, Vec<String>) {
        let file = Arc::new(SourceFile {
            path: "secure-domains.toml".into(),
            text: text.into(),
        });
        let diagnostics = Diagnostics::default();
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let register = read_toml(&file, &diagnostics, |top| SecureDomains::read(top, now));
        let said = diagnostics.into_vec().into_iter();
        (
            register,
            said.map(|d| format!("{}: {}", d.id, d.message)).collect(),
        )
    }

    fn is_secure(register: &SecureDomains, domain: &str, at: &str) -> bool {
        register.is_secure(&Domain::parse(domain).unwrap(), at.parse().unwrap())
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_that_looks_like_it() {
        let (register, _) = read(REGISTER);
        let at = "2026-11-21T12:00:00Z";
        for secure in ["nhs.net", "NHS.NET.", "met.police.uk", "a.b.police.uk"] {
            assert!(is_secure(&register, secure, at), "{secure}");
        }
        for open in [
            "police.uk",
            "foo.nhs.net",
            "evilnhs.net",
            "nhs.net.evil.example",
            "notpolice.uk",
            "met.police.uk.evil.example",
        ] {
            assert!(!is_secure(&register, open, at), "{open}");
        }
    }

    #[test]
    fn the_most_specific_entry_speaks_even_when_it_is_out_of_its_dates() {
        let (register, said) = read(REGISTER);
        assert!(is_secure(
            &register,
            "x.old.police.uk",
            "2026-11-20T23:59:59Z"
        ));
        assert!(!is_secure(
            &register,
            "x.old.police.uk",
            "2026-11-21T00:00:00Z"
        ));
        assert!(!is_secure(
            &register,
            "new.old.police.uk",
            "2026-11-20T23:59:59Z"
        ));
        assert!(is_secure(
            &register,
            "new.old.police.uk",
            "2026-11-21T00:00:00Z"
        ));
        assert_eq!(
            said,
            ["lapsed-domain: `*.old.police.uk` lapsed on 2026-11-20: it is not secure any more"]
        );
    }

    #[test]
    fn verdicts_are_settings() {
        let (register, _) = read(REGISTER);
        assert_eq!(*register.verdicts.not_secure, Restriction::Refuse);
        assert_eq!(*register.verdicts.near_miss, Restriction::Hold);
        let unreadable = &register.verdicts.unreadable;
        assert!(unreadable.contains_key("unknown-format") && !unreadable.contains_key("malformed"));
    }

    #[test]
    fn mistakes_are_told_at_once() {
        let (_, said) = read(
            "[[domain]]\npattern = \"*\"\nowner = \"a\"\nreason = \"b\"\n\
             [[domain]]\npattern = \"a.example\"\nowner = \"a\"\nreason = \"b\"\nvalid-from = 2027-01-01\nvalid-until = 2026-12-31\n\
             [[domain]]\npattern = \"A.example\"\nowner = \"a\"\nreason = \"b\"\nstatus = \"retired\"\n",
        );
        assert_eq!(
            said,
            [
                "bad-pattern: `*` is no pattern of domains",
                "bad-dates: `a.example` ends before it begins",
                "retired-domain: `A.example` is a retired family that still counts as secure",
                "twice: `A.example` is listed twice",
            ]
        );
    }
}
