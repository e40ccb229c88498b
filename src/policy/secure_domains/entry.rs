//! One entry of the register: which domains, who answers for it, from when until when, over what.

use std::time::Duration;

use jiff::civil::Date;

use crate::config::{Diagnostic, Diagnostics, Located, Section};
use crate::mail::Domain;

use super::exchangers::Exchanger;

/// One entry of the register.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it covers, as written.
    pub pattern: Located<String>,
    /// Who answers for it.
    pub owner: String,
    /// The first day on which it is secure.
    pub valid_from: Option<Date>,
    /// The last one.
    pub valid_until: Option<Date>,
    /// How patient data goes there.
    pub transport: Transport,
    /// The hosts that take its mail, whatever DNS says; empty for those that DNS names.
    pub exchangers: Vec<Located<Exchanger>>,
    /// What happens when it cannot go there so; `None` for what the register says of all.
    pub fallback: Fallback,
}

/// How patient data goes to a secure domain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Transport {
    /// Over TLS with a certificate that was verified for the name of the next hop.
    #[default]
    VerifiedTls,
    /// By way of the encryption next hop: for a domain whose servers have no good certificate.
    Encryption,
}

impl Transport {
    /// The words for them.
    pub const WORDS: [(&str, Self); 2] = [
        ("verified-tls", Self::VerifiedTls),
        ("encryption", Self::Encryption),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::WORDS[usize::from(self == Self::Encryption)].0
    }
}

/// What happens when the secured path cannot be had. What is left out is as it is for everybody.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fallback {
    /// What is done in the end.
    pub then: Option<FallbackAction>,
    /// How long it is tried before, from the acceptance of the message.
    pub after: Option<Duration>,
}

/// What is done when the secured path cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FallbackAction {
    /// Goes on trying until the route gives up.
    Defer,
    /// Held, with an alarm.
    Hold,
    /// Handed to the encryption next hop.
    Encrypt,
    /// Fails, and the sender gets it back.
    Bounce,
}

impl Fallback {
    /// Takes `no-secure-path` and `no-secure-path-after` out of a section.
    pub(super) fn read(section: &Section<'_>) -> Self {
        let words = [
            ("defer", FallbackAction::Defer),
            ("hold", FallbackAction::Hold),
            ("encrypt", FallbackAction::Encrypt),
            ("bounce", FallbackAction::Bounce),
        ];
        Self {
            then: section
                .word("no-secure-path", &words)
                .map(Located::into_inner),
            after: section
                .duration("no-secure-path-after")
                .map(Located::into_inner),
        }
    }
}

impl Entry {
    /// Reads one `[[domain]]`; what is wrong is reported. `None` without a pattern.
    pub(super) fn read(section: &Section<'_>, today: Date) -> Option<Self> {
        let pattern = section.required_string("pattern");
        let owner = section.required_string("owner");
        section.required_string("reason");
        let retired = section.word("status", &[("current", false), ("retired", true)]);
        let (from, until) = (section.date("valid-from"), section.date("valid-until"));
        let transport = section.word("transport", &Transport::WORDS);
        let fallback = Fallback::read(section);
        let entry = Self {
            pattern: pattern?,
            owner: owner.map_or_else(String::new, Located::into_inner),
            valid_from: from.map(Located::into_inner),
            valid_until: until.map(Located::into_inner),
            transport: transport.map_or_else(Transport::default, Located::into_inner),
            exchangers: section.parse_list("mx").unwrap_or_default(),
            fallback,
        };
        entry.check(section.diagnostics(), today);
        if retired.is_some_and(Located::into_inner) {
            entry.warn(
                section.diagnostics(),
                "retired-domain",
                "is a retired family that still counts as secure",
                "take it out when nobody uses it any more",
            );
        }
        Some(entry)
    }

    /// Whether it counts on a day.
    pub fn is_valid(&self, on: Date) -> bool {
        self.valid_from.is_none_or(|from| from <= on)
            && self.valid_until.is_none_or(|until| on <= until)
    }

    /// Whether patient data goes there over TLS to whatever host DNS names.
    pub fn trusts_dns(&self) -> bool {
        self.transport == Transport::VerifiedTls && self.exchangers.is_empty()
    }

    /// Whether its end is near or past.
    pub fn lapse(&self, today: Date) -> Option<Lapse> {
        let until = self.valid_until?;
        let warned_from = until.saturating_sub(jiff::Span::new().days(WARN_BEFORE_DAYS));
        match until {
            until if until < today => Some(Lapse::Lapsed(until)),
            until if warned_from <= today => Some(Lapse::Soon(until)),
            _ => None,
        }
    }

    /// The name that the pattern is about, and whether it covers what is below it or the name alone.
    /// `None` if it is no pattern.
    pub(super) fn parsed(&self) -> Option<(Domain, Covers)> {
        let written = self.pattern.as_str();
        let (name, covers) = match written.strip_prefix("*.") {
            Some(name) => (name, Covers::Below),
            None => (written, Covers::Exactly),
        };
        Some((Domain::parse(name).ok()?, covers))
    }

    /// Says what is wrong with the dates, and what is too wide.
    pub(super) fn check(&self, diagnostics: &Diagnostics, today: Date) {
        if let (Some(from), Some(until)) = (self.valid_from, self.valid_until)
            && until < from
        {
            let message = format!("`{}` ends before it begins", self.pattern.as_str());
            let diagnostic = Diagnostic::error("bad-dates", message)
                .at_maybe(self.pattern.place(), "")
                .help("swap the dates");
            diagnostics.push(diagnostic);
            return;
        }
        match self.lapse(today) {
            Some(Lapse::Lapsed(until)) => self.warn(
                diagnostics,
                "lapsed-domain",
                &format!("lapsed on {until}: it is not secure any more"),
                "renew it or take it out",
            ),
            Some(Lapse::Soon(until)) => self.warn(
                diagnostics,
                "lapsing-domain",
                &format!("lapses on {until}"),
                "renew it in time",
            ),
            None => {}
        }
        self.check_width(diagnostics);
        for exchanger in self
            .exchangers
            .iter()
            .filter(|exchanger| exchanger.is_too_wide())
        {
            let message = "anybody can have a host below this name";
            let diagnostic = Diagnostic::error("too-wide", message)
                .at_maybe(exchanger.place(), "")
                .help("list the hosts that take the mail of the domain, or the name that they all are below");
            diagnostics.push(diagnostic);
        }
        for exchanger in self.exchangers.iter().filter(|one| one.is_shared()) {
            let message = format!(
                "`{}` is every customer's of a provider of many",
                **exchanger
            );
            let diagnostic = Diagnostic::warning("shared-exchangers", message)
                .at_maybe(exchanger.place(), "")
                .help("list the hosts of this domain one by one, as its MX records name them");
            diagnostics.push(diagnostic);
        }
    }

    /// A slip of the pen must not open a country (`domain.md` §9, hazard 10).
    fn check_width(&self, diagnostics: &Diagnostics) {
        let help = match self.parsed() {
            Some((name, Covers::Below)) if is_everybodys(&name) => {
                "list the domains of the organisations that are meant, one by one"
            }
            Some((name, _)) if has_anybodys_mailboxes(&name) => {
                "take it out: anybody has a mailbox there, and patient data for one of them goes by the encryption next hop"
            }
            _ => return,
        };
        let message = format!("`{}` is everybody's", self.pattern.as_str());
        let diagnostic = Diagnostic::error("too-wide", message)
            .at_maybe(self.pattern.place(), "")
            .help(help);
        diagnostics.push(diagnostic);
    }

    fn warn(&self, diagnostics: &Diagnostics, id: &'static str, what: &str, help: &str) {
        let message = format!("`{}` {what}", self.pattern.as_str());
        let diagnostic = Diagnostic::warning(id, message)
            .at_maybe(self.pattern.place(), "")
            .help(help);
        diagnostics.push(diagnostic);
    }
}

/// Whether anybody has a mailbox at this name.
pub(super) fn has_anybodys_mailboxes(name: &Domain) -> bool {
    MAILBOX_PROVIDERS.contains(&name.as_str())
}

/// Whether anybody registers names right below this one.
pub(super) fn is_everybodys(name: &Domain) -> bool {
    let Some((label, rest)) = name.as_str().split_once('.') else {
        return true;
    };
    // `com.au`, `co.nz`
    let is_of_a_country = rest.len() == 2 && matches!(label, "com" | "co");
    is_of_a_country || TOO_WIDE.contains(&name.as_str())
}

/// Which names a pattern covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Covers {
    /// The name itself.
    Exactly,
    /// What is below it.
    Below,
}

/// The end of an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lapse {
    /// This day is its last, within the time of warning.
    Soon(Date),
    /// This day was its last.
    Lapsed(Date),
}

/// How long before its end an entry is warned about.
const WARN_BEFORE_DAYS: i64 = 30;
/// Below these anybody registers a name; of `nhs.uk` only the accredited are secure (DCB1596).
const TOO_WIDE: [&str; 14] = [
    "nhs.uk",
    "co.uk",
    "org.uk",
    "ac.uk",
    "me.uk",
    "ltd.uk",
    "plc.uk",
    "net.uk",
    "sch.uk",
    "uk.com",
    "uk.net",
    "gb.net",
    "eu.org",
    "onmicrosoft.com",
];
/// At these anybody has a mailbox.
const MAILBOX_PROVIDERS: [&str; 18] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "hotmail.co.uk",
    "live.com",
    "live.co.uk",
    "msn.com",
    "yahoo.com",
    "yahoo.co.uk",
    "icloud.com",
    "me.com",
    "aol.com",
    "btinternet.com",
    "sky.com",
    "talktalk.net",
    "virginmedia.com",
    "proton.me",
];
