//! Findings: what the stages saw in a message. Evidence is redacted before it is put in here.

use crate::config::Located;
use crate::mail::{Domain, EditKind};

use super::links::LinkVerdict;
use super::organisations::IfUnproved;
use super::senders::Key;

/// What all stages found. Empty until a stage has run.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Who the sender is known to be.
    pub authentication: AuthenticationResults,
    /// Whether there is patient data in it.
    pub patient_data: PatientData,
    /// Protective markings found, in their canonical spelling.
    pub markings: Vec<String>,
    /// Whether the subject asks for encryption.
    pub secure_keyword: SecureKeyword,
    /// What could not be looked into.
    pub unreadable: Vec<Unreadable>,
    /// What is odd about where its links lead.
    pub links: Vec<LinkFinding>,
    /// What happens if the edits that its links call for are not made; `None` where there are none.
    pub link_edits: Option<LinkEdits>,
    /// What attachments and scanners add to the score of mail from outside.
    pub scanned: Vec<Symbol>,
    /// How much it looks like spam.
    pub spam: SpamScore,
    /// Where it stands with greylisting; `None` if nobody is put off.
    pub greylist: Option<Greylist>,
    /// What became of the footer; `None` where there is none to be: on mail from outside.
    pub footer: Option<FooterFinding>,
    /// What goes to the recipients that are numbers; `None` if there are none.
    pub short_text: Option<ShortText>,
    /// Remarks of stages that did nothing, and why: `footer: not added, signed by S/MIME`.
    pub notes: Vec<String>,
}

/// The text that goes to numbers. `Debug` shows its size.
#[derive(Clone, Eq, PartialEq)]
pub struct ShortText(pub String);

impl std::fmt::Debug for ShortText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShortText({} octets)", self.0.len())
    }
}

/// Who a message comes from, by the evidence of RFC 8601 methods.
#[derive(Clone, Debug, Default)]
pub struct AuthenticationResults {
    /// Each method that was tried: `spf`, `dkim`, `dmarc`, `arc`, `iprev`, `auth`.
    pub methods: Vec<MethodResult>,
    /// What the DMARC policy of the author's domain wants, if the check failed.
    pub dmarc_disposition: Option<DmarcDisposition>,
    /// Domains that answer for the message: that of the reverse path by SPF, those of good signatures.
    pub identities: Vec<Domain>,
    /// A trusted sealer that found the author to be who it says (RFC 8617).
    pub sealer: Option<Domain>,
    /// Whether a chain names such a sealer, and the DNS did not say whether the seals are its.
    pub sealer_unanswered: bool,
    /// Whether the DNS was asked at all: never of our own mail, nor by policy tests.
    pub was_asked: bool,
}

impl AuthenticationResults {
    /// Whether a method came to one of these results.
    pub fn has(&self, method: &str, results: &[&str]) -> bool {
        let mut found = self.methods.iter().filter(|one| one.method == method);
        found.any(|one| results.contains(&one.result.as_str()))
    }

    /// Whether one of the domains that answer for it is this one, or a domain above or below it.
    pub fn answers_for(&self, domain: &Domain) -> bool {
        let aligned =
            |known: &Domain| known == domain || known.is_below(domain) || domain.is_below(known);
        self.identities.iter().any(aligned)
    }

    /// Whether something could not be asked, and may be later.
    pub fn is_unsure(&self) -> bool {
        let undecided = |one: &MethodResult| {
            one.result == "temperror" && matches!(one.method, "spf" | "dkim" | "dmarc")
        };
        self.methods.iter().any(undecided)
    }
}

/// One line of `Authentication-Results`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MethodResult {
    /// For example `spf`; `spf-helo` is the `spf` of the HELO name beside that of the reverse path.
    pub method: &'static str,
    /// For example `pass`, `fail`, `softfail`, `none`, `temperror`.
    pub result: String,
    /// Properties such as `smtp.mailfrom=a.example`, ready for the header field.
    pub properties: Vec<String>,
}

impl MethodResult {
    /// The method as RFC 8601 §2.7 names it.
    pub fn word(&self) -> &'static str {
        match self.method {
            "spf-helo" => "spf",
            other => other,
        }
    }
}

/// What a DMARC policy asks for when the check fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DmarcDisposition {
    /// `p=none`.
    None,
    /// `p=quarantine`.
    Quarantine,
    /// `p=reject`.
    Reject,
}

/// Whether a message holds patient data.
#[derive(Clone, Debug, Default)]
pub struct PatientData {
    /// True from confidence medium up.
    pub found: bool,
    /// The highest confidence of the evidence.
    pub confidence: Confidence,
    /// Whether all evidence is of numbers that are never issued.
    pub synthetic: bool,
    /// Each piece of evidence.
    pub evidence: Vec<Evidence>,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Confidence {
    /// Recorded, restricts nothing.
    #[default]
    Low,
    /// Restricts.
    Medium,
    /// Restricts.
    High,
}

impl Confidence {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One piece of evidence of patient data. The value itself is in no field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// `nhs-number`, `chi-number`, `hc-number`, `marking`, `declared-by-account`.
    pub kind: &'static str,
    /// How sure.
    pub confidence: Confidence,
    /// Where: `subject`, `body:1.2`, `attachment:2/1`, … (`design.md` §4.3).
    pub place: String,
    /// With the middle starred out: `450 *** **04`.
    pub redacted: String,
    /// The reasons, as words: `checksum`, `live-range`, `keyword`.
    pub because: Vec<&'static str>,
}

/// Whether the subject asks for encryption.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SecureKeyword {
    /// It does not.
    #[default]
    Absent,
    /// It does.
    Present,
    /// It seems to mean to.
    NearMiss,
}

impl SecureKeyword {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Present => "present",
            Self::NearMiss => "near-miss",
        }
    }
}

/// Something that could not be looked into.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// Where, as in [`Evidence::place`].
    pub place: String,
    /// One of `content::Unread::WORDS`.
    pub because: &'static str,
}

/// Something odd about links: one for each kind and host. The host is all that it says of an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkFinding {
    /// What is odd.
    pub kind: LinkKind,
    /// Where they lead, in ASCII; `None` if the address names no host.
    pub host: Option<String>,
    /// Where the first of them stands, as in [`Evidence::place`].
    pub place: String,
    /// The name that the host looks like, or that the text shows.
    pub instead_of: Option<String>,
    /// How many there are.
    pub count: usize,
    /// What happens: `pass`, `annotate`, `strip`, `quarantine`, `refuse`.
    pub does: &'static str,
    /// What says so: `policies/links.toml:31`.
    pub rule: String,
}

/// What is odd about a link. What nobody does without meaning harm comes first.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LinkKind {
    /// The host looks like one that people trust.
    LookAlike,
    /// A name stands before the host: `https://nhs.uk@evil.example`.
    UserInfo,
    /// The text shows another host than it goes to.
    OtherHost,
    /// The host mixes scripts in one label.
    MixedScript,
    /// It goes to a service that hides where it leads.
    Shortener,
    /// It goes to a bare IP address, however that is written.
    IpAddress,
    /// It is a script or a whole page: `javascript:`, `data:text/html`.
    Script,
    /// It starts a program on the reader's machine: `file:`, `search-ms:`.
    Program,
    /// It is a form that sends what is filled in.
    Form,
    /// It is no address by the standard, and some programs follow it all the same.
    Malformed,
    /// There are more links than are looked at.
    TooMany,
    /// It leads to a site that is not on the list.
    Unapproved,
    /// A picture, style sheet or frame is loaded from such a site.
    Remote,
}

impl LinkKind {
    /// All of them, with their words in JSON and in the policy file.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("look-alike", Self::LookAlike),
        ("user-info", Self::UserInfo),
        ("other-host", Self::OtherHost),
        ("mixed-script", Self::MixedScript),
        ("shortener", Self::Shortener),
        ("ip-address", Self::IpAddress),
        ("script", Self::Script),
        ("program", Self::Program),
        ("form", Self::Form),
        ("malformed", Self::Malformed),
        ("too-many", Self::TooMany),
        ("unapproved", Self::Unapproved),
        ("remote", Self::Remote),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        let (word, _) = Self::WORDS[self as usize]; // in the order of the variants, as a test says
        word
    }
}

/// How much a message looks like spam.
#[derive(Clone, Debug, Default)]
pub struct SpamScore {
    /// The sum of the symbols.
    pub score: f64,
    /// Each rule that spoke.
    pub symbols: Vec<Symbol>,
    /// Whether the score is over the tag threshold.
    pub tagged: bool,
}

/// What happens to a message whose links are not dealt with as the policy says, and the lines that say so.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkEdits {
    /// If links stay that were to be taken out.
    pub cannot_strip: Located<LinkVerdict>,
    /// If there is no banner that was to be put in.
    pub cannot_annotate: Located<LinkVerdict>,
}

impl LinkEdits {
    /// What happens if edits of this kind are not made; `None` if they are not of links.
    pub fn without(&self, kind: EditKind) -> Option<&Located<LinkVerdict>> {
        match kind {
            EditKind::Links => Some(&self.cannot_strip),
            EditKind::Banner => Some(&self.cannot_annotate),
            _ => None,
        }
    }
}

/// An attempt that is put off, or was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Greylist {
    /// Who, from where, for whom.
    pub keys: Vec<Key>,
    /// It has come again in time.
    pub has_returned: bool,
}

/// What became of the footer of a message of our own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FooterFinding {
    /// The legal entity that sends, if it is known: its id.
    pub entity: Option<String>,
    /// `added`, or the word for why it is not.
    pub outcome: &'static str,
    /// What becomes of the message if the edit cannot be proved, and the line that says so.
    pub if_unproved: Located<IfUnproved>,
}

impl FooterFinding {
    /// The outcome if it is put in.
    pub const ADDED: &'static str = "added";
    /// Nothing is to be said of this entity.
    pub const NOT_WANTED: &'static str = "not-wanted";
    /// It is there already.
    pub const ALREADY_THERE: &'static str = "already-there";

    /// It was to be put in, and is not: it would break a signature that is not ours.
    pub fn left_for_signature(&mut self) {
        if self.outcome == Self::ADDED {
            self.outcome = "foreign-signature";
        }
    }

    /// It was to be put in, and is not: an edit that matters more changes the same octets.
    pub fn left_for_another(&mut self) {
        if self.outcome == Self::ADDED {
            self.outcome = "overlaps";
        }
    }
}

/// A rule that spoke.
#[derive(Clone, Debug, PartialEq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// What it adds.
    pub score: f64,
    /// Why it spoke, in one sentence without content.
    pub because: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_link_has_its_word() {
        for (word, kind) in LinkKind::WORDS {
            assert_eq!(kind.word(), *word);
        }
    }
}
