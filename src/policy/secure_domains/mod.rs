//! The register of secure domains (`secure-domains.toml`, and the accredited list beside it): who may
//! have patient data, until when, over what, and what happens to those who may not.
//!
//! `x` is x alone; `*.x` is anything below x at any depth and not x itself. The most specific entry
//! speaks, and if it is out of its dates the domain is not secure: a wider entry does not step in.

pub mod accredited;
mod entry;
mod exchangers;
mod verdicts;

use std::collections::HashMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::config::{Diagnostic, Diagnostics, Section, load_toml, read_source};
use crate::mail::Domain;

use entry::Covers;

pub use entry::{Entry, Fallback, FallbackAction, Lapse, Transport};
pub use exchangers::{Exchanger, ExchangerStanding};
pub use verdicts::{Restriction, Verdicts};

/// The register and the verdicts, checked.
#[derive(Debug, Default)]
pub struct SecureDomains {
    exact: HashMap<String, Entry>,
    below: HashMap<String, Entry>,
    /// What happens where the rules of `domain.md` §4 leave a choice.
    pub verdicts: Verdicts,
    /// What happens when the secured path cannot be had, where an entry does not say.
    pub fallback: Fallback,
    /// How the accredited list is taken over.
    pub import: ImportSettings,
}

/// `[import]`: how the accredited list is taken over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportSettings {
    /// An import that would take out more than this share of the entries, in percent, must be confirmed.
    pub confirm_over_percent: f64,
}

impl Default for ImportSettings {
    fn default() -> Self {
        Self {
            confirm_over_percent: 10.0,
        }
    }
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
    /// Reads the file and, if there is one, the accredited list; `now` decides which entries are about
    /// to lapse.
    pub fn load(
        path: &Path,
        accredited: Option<&Path>,
        now: Timestamp,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        let register = load_toml(path, diagnostics, |top| Self::read(top, now));
        let Some(list) = accredited else {
            return register;
        };
        let list = read_source(list, diagnostics)?;
        let mut register = register?;
        for entry in accredited::read(&list, diagnostics) {
            entry.check(diagnostics, day(now));
            register.insert_accredited(entry, diagnostics);
        }
        Some(register)
    }

    pub(super) fn read(top: &Section<'_>, now: Timestamp) -> Self {
        let mut register = Self {
            verdicts: Verdicts::read(top),
            fallback: Fallback::read(top),
            import: ImportSettings::read(top),
            ..Self::default()
        };
        for section in top.sections("domain") {
            if let Some(entry) = Entry::read(&section, day(now)) {
                register.insert(entry, section.diagnostics());
            }
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

    /// How patient data goes to a domain, as its entry says.
    pub fn transport(&self, domain: &Domain) -> Transport {
        let entry = self.most_specific(domain.as_str());
        entry.map_or_else(Transport::default, |entry| entry.transport)
    }

    /// Whether a host that an MX record names for a domain may have its patient data.
    pub fn exchanger(&self, domain: &Domain, host: &str) -> ExchangerStanding {
        let entry = self.most_specific(domain.as_str());
        let listed = entry.map_or(&[][..], |entry| &entry.exchangers);
        if listed.is_empty() {
            return ExchangerStanding::Unlisted;
        }
        let host = Domain::parse(host);
        match host.is_ok_and(|host| listed.iter().any(|listed| listed.is(&host))) {
            true => ExchangerStanding::Listed,
            false => ExchangerStanding::Stranger,
        }
    }

    /// Whether patient data for some domain is to be encrypted, or may be in the end.
    pub(super) fn orders_encryption(&self) -> bool {
        let encrypts = |fallback: Fallback| fallback.then == Some(FallbackAction::Encrypt);
        let mut all = self.exact.values().chain(self.below.values());
        encrypts(self.fallback)
            || all.any(|entry| entry.transport == Transport::Encryption || encrypts(entry.fallback))
    }

    /// All entries, by their patterns.
    pub fn entries(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.exact.values().chain(self.below.values()).collect();
        all.sort_by(|one, other| one.pattern.as_str().cmp(other.pattern.as_str()));
        all
    }

    /// What happens to patient data for a domain when the secured path cannot be had. Where neither its
    /// entry nor the register says, nothing is said.
    pub fn fallback(&self, domain: &Domain) -> Fallback {
        let own = self.most_specific(domain.as_str());
        let own = own.map_or_else(Fallback::default, |entry| entry.fallback);
        Fallback {
            then: own.then.or(self.fallback.then),
            after: own.after.or(self.fallback.after),
        }
    }

    /// The entries that have lapsed or are about to, by their patterns.
    pub fn lapses(&self, now: Timestamp) -> Vec<(&Entry, Lapse)> {
        let all = self.exact.values().chain(self.below.values());
        let mut lapses: Vec<_> = all
            .filter_map(|entry| Some((entry, entry.lapse(day(now))?)))
            .collect();
        lapses.sort_by(|(one, _), (other, _)| one.pattern.as_str().cmp(other.pattern.as_str()));
        lapses
    }

    fn most_specific(&self, domain: &str) -> Option<&Entry> {
        let parents = domain.match_indices('.').map(|(dot, _)| &domain[dot + 1..]);
        self.exact.get(domain).or_else(|| {
            parents
                .into_iter()
                .find_map(|parent| self.below.get(parent))
        })
    }

    fn insert(&mut self, entry: Entry, diagnostics: &Diagnostics) {
        let written = entry.pattern.as_str();
        let Some((domain, covers)) = entry.parsed() else {
            let diagnostic = Diagnostic::error(
                "bad-pattern",
                format!("`{written}` is no pattern of domains"),
            )
            .at_maybe(entry.pattern.place(), "")
            .help("write `x.example` for x.example alone, `*.x.example` for all below it");
            diagnostics.push(diagnostic);
            return;
        };
        if let Some(first) = self.map(covers).get(domain.as_str()) {
            let diagnostic = Diagnostic::error("twice", format!("`{written}` is listed twice"))
                .at_maybe(entry.pattern.place(), "a second time here")
                .at_maybe(first.pattern.place(), "it is listed here")
                .help("take one of them out");
            diagnostics.push(diagnostic);
            return;
        }
        self.map(covers).insert(domain.as_str().to_owned(), entry);
    }

    /// What was written by hand comes before the list.
    fn insert_accredited(&mut self, entry: Entry, diagnostics: &Diagnostics) {
        let known = entry.parsed().and_then(|(domain, covers)| {
            self.map(covers)
                .get(domain.as_str())
                .map(|known| known.pattern.clone())
        });
        match known {
            Some(known)
                if known.place().map(|place| &place.file().path)
                    != entry.pattern.place().map(|place| &place.file().path) =>
            {
                let message = format!("`{}` is also on the accredited list", known.as_str());
                let diagnostic = Diagnostic::warning("listed-by-hand", message)
                    .at_maybe(known.place(), "this entry speaks")
                    .at_maybe(entry.pattern.place(), "and this one does not")
                    .help("take the entry out if the list is to speak");
                diagnostics.push(diagnostic);
            }
            _ => self.insert(entry, diagnostics),
        }
    }

    fn map(&mut self, covers: Covers) -> &mut HashMap<String, Entry> {
        match covers {
            Covers::Exactly => &mut self.exact,
            Covers::Below => &mut self.below,
        }
    }
}

impl ImportSettings {
    fn read(top: &Section<'_>) -> Self {
        let section = top.section("import");
        let share = section.number("confirm-over-percent");
        if let Some(share) = &share
            && !(0.0..=100.0).contains(&**share)
        {
            let message = "`confirm-over-percent` is out of bounds";
            section.report("out-of-bounds", message, share, "between 0 and 100".into());
        }
        section.finish();
        share.map_or_else(Self::default, |share| Self {
            confirm_over_percent: *share,
        })
    }
}

/// Whether anybody has a mailbox at a domain, or registers names right below it.
pub(super) fn is_anybodys(domain: &Domain) -> bool {
    entry::has_anybodys_mailboxes(domain) || entry::is_everybodys(domain)
}

/// Days are those of UTC: an entry ends everywhere at one moment.
pub(crate) fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::read_text;

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
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let (register, said) = read_text("secure-domains.toml", text, |top| {
            SecureDomains::read(top, now)
        });
        let said = said.into_iter();
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
    fn the_most_specific_entry_says_which_hosts_take_the_mail() {
        let listed = REGISTER.replace(
            "CJX\"",
            "CJX\"\nmx = [\"mx1.x.example\", \"*.mx.police.uk\"]",
        );
        let (register, said) = read(&listed);
        assert!(said.iter().all(|said| !said.contains("mx")), "{said:?}");
        for (domain, host, standing) in [
            ("met.police.uk", "mx1.x.example", ExchangerStanding::Listed),
            (
                "met.police.uk",
                "a.mx.police.uk.",
                ExchangerStanding::Listed,
            ),
            (
                "met.police.uk",
                "mx.evil.example",
                ExchangerStanding::Stranger,
            ),
            ("met.police.uk", "no host", ExchangerStanding::Stranger),
            (
                "new.old.police.uk",
                "mx.evil.example",
                ExchangerStanding::Unlisted,
            ),
            ("nhs.net", "mx.evil.example", ExchangerStanding::Unlisted),
            (
                "other.example",
                "mx.evil.example",
                ExchangerStanding::Unlisted,
            ),
        ] {
            let domain = Domain::parse(domain).unwrap();
            assert_eq!(
                register.exchanger(&domain, host),
                standing,
                "{domain} {host}"
            );
        }
        let trusting = register
            .entries()
            .into_iter()
            .filter(|entry| entry.trusts_dns());
        assert_eq!(trusting.count(), 3);
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
    fn an_entry_says_how_patient_data_goes_and_what_happens_if_it_cannot() {
        let (register, said) = read(
            "no-secure-path = \"bounce\"\nno-secure-path-after = \"2h\"\n[import]\nconfirm-over-percent = 3\n\
             [[domain]]\npattern = \"a.example\"\nowner = \"a\"\nreason = \"b\"\n\
             [[domain]]\npattern = \"b.example\"\nowner = \"a\"\nreason = \"b\"\ntransport = \"encryption\"\n\
             no-secure-path = \"encrypt\"\n",
        );
        assert_eq!(said, [""; 0]);
        let of = |name: &str| {
            let domain = Domain::parse(name).unwrap();
            let fallback = register.fallback(&domain);
            (
                register.transport(&domain),
                fallback.then.unwrap(),
                fallback.after.unwrap().as_secs(),
            )
        };
        assert_eq!(
            of("a.example"),
            (Transport::VerifiedTls, FallbackAction::Bounce, 7_200)
        );
        assert_eq!(
            of("b.example"),
            (Transport::Encryption, FallbackAction::Encrypt, 7_200)
        );
        assert!((register.import.confirm_over_percent - 3.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_opens_a_country() {
        for wide in [
            "*.uk",
            "*.nhs.uk",
            "*.co.uk",
            "*.sch.uk",
            "*.uk.com",
            "*.com.au",
            "*.co.nz",
            "*.eu.org",
            "*.OnMicrosoft.com",
            "gmail.com",
            "*.gmail.com",
            "BTinternet.com",
        ] {
            let (_, said) = read(&format!(
                "[[domain]]\npattern = \"{wide}\"\nowner = \"a\"\nreason = \"b\"\n"
            ));
            assert_eq!(said, [format!("too-wide: `{wide}` is everybody's")]);
        }
        for one in ["bumbleton.onmicrosoft.com", "*.bumbleton.co.uk", "uk.com"] {
            let (_, said) = read(&format!(
                "[[domain]]\npattern = \"{one}\"\nowner = \"a\"\nreason = \"b\"\n"
            ));
            assert_eq!(said, [""; 0], "{one}");
        }
    }

    #[test]
    fn the_accredited_list_stands_beside_the_file_and_the_file_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let (by_hand, list) = (folder.path().join("s.toml"), folder.path().join("s.csv"));
        let text = "[[domain]]\npattern = \"a.nhs.uk\"\nowner = \"a\"\nreason = \"b\"\nvalid-until = 2026-11-01\n";
        std::fs::write(&by_hand, text).unwrap();
        let rows = "# c\ndomain,owner,ods_code,valid_from,valid_until\n\
                    a.nhs.uk,A,,,2027-11-01\nb.nhs.uk,B,,,2026-12-01\n";
        std::fs::write(&list, rows).unwrap();
        let diagnostics = Diagnostics::default();
        let now = "2026-11-21T00:00:00Z".parse().unwrap();
        let register = SecureDomains::load(&by_hand, Some(&list), now, &diagnostics).unwrap();
        assert!(!is_secure(&register, "a.nhs.uk", "2026-11-21T00:00:00Z"));
        assert!(is_secure(&register, "b.nhs.uk", "2026-11-21T00:00:00Z"));
        let said: Vec<_> = diagnostics
            .into_vec()
            .into_iter()
            .map(|d| d.message)
            .collect();
        assert_eq!(
            said,
            [
                "`a.nhs.uk` lapsed on 2026-11-01: it is not secure any more",
                "`a.nhs.uk` is also on the accredited list",
                "`b.nhs.uk` lapses on 2026-12-01",
            ]
        );
        let Standing::Secure(entry) = register.standing(&Domain::parse("b.nhs.uk").unwrap(), now)
        else {
            panic!("secure")
        };
        assert!(
            entry.pattern.source().ends_with("s.csv:4"),
            "{}",
            entry.pattern.source()
        );
        let lapses = register.lapses(now);
        assert!(matches!(lapses[0].1, Lapse::Lapsed(_)) && matches!(lapses[1].1, Lapse::Soon(_)));
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
