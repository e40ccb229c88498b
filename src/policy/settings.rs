//! What `postern.toml` says about the policy: `[policy]`, `[files]`, `[dns]`. The order of the stages is
//! checked here, so that "this finding is not there yet" cannot happen while mail is decided.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::accounts::certificate;
use crate::base::Network;
use crate::base::certificate::KnownCertificate;
use crate::base::dns::DnsSettings;
use crate::config::{Diagnostic, Located, Place, Section};
use crate::directory::{self, Completeness, Served};
use crate::mail::{Domain, Mailbox};

use super::held::Holds;
use super::relay_networks;
use super::secure_domains::is_anybodys;
use super::signing::Signing;
use super::stage::StageName;
use super::urgency::Urgency;

/// The `[policy]` and `[files]` sections, checked.
#[derive(Debug)]
pub struct Settings {
    /// Networks whose mail is our own, without a password.
    pub relay_networks: Vec<Network>,
    /// Certificates whose clients' mail is our own, without a password.
    pub relay_certificates: Vec<KnownCertificate>,
    /// Domains that we take mail for from anyone.
    pub served: Vec<Served>,
    /// Whether `name+tag` is `name`.
    pub plus_addressing: bool,
    /// Who gets mail for the bare `postmaster`, and for that of a domain without one.
    pub postmaster: Option<Mailbox>,
    /// How often a sender is told that a name is an old one; `None` for never.
    pub tell_of_old_names: Option<Duration>,
    /// What happens to what is held.
    pub holds: Holds,
    /// Which mail goes first.
    pub urgency: Urgency,
    /// The stages in their order.
    pub stages: Vec<StageEntry>,
    /// Where the other files are.
    pub files: Files,
}

/// One line of the list of stages.
#[derive(Clone, Debug)]
pub struct StageEntry {
    /// Which stage.
    pub name: Located<StageName>,
    /// What its failure means.
    pub on_failure: OnFailure,
}

impl StageEntry {
    /// What says so, for people: `policies/postern.toml:71`.
    pub fn source(&self) -> String {
        self.name.source()
    }
}

/// What it means that a stage could not do its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnFailure {
    /// The client shall try again (451).
    Defer,
    /// The message goes on, with a note.
    Pass,
}

/// The files that `[files]` names.
#[derive(Clone, Debug)]
pub struct Files {
    /// `secure-domains.toml`.
    pub secure_domains: PathBuf,
    /// `secure-domains.csv`, the accredited list, if there is one.
    pub accredited_domains: Option<PathBuf>,
    /// `patient-data.toml`.
    pub patient_data: PathBuf,
    /// `aliases.toml`.
    pub aliases: PathBuf,
    /// `directory.csv`.
    pub directory: PathBuf,
    /// `redirects.csv`, if there is one.
    pub redirects: Option<PathBuf>,
    /// `organisations.toml`.
    pub organisations: PathBuf,
    /// `accounts.toml`.
    pub accounts: PathBuf,
    /// `scoring.toml`.
    pub scoring: PathBuf,
    /// `links.toml`.
    pub links: PathBuf,
    /// `senders.toml`, if there is one.
    pub senders: Option<PathBuf>,
    /// The folder of the policy tests.
    pub tests: PathBuf,
}

impl Files {
    /// Takes `[files]` out of the outermost section.
    pub fn read(top: &Section<'_>) -> Self {
        let files = top.section("files");
        let folder = top.place().file().path.parent().map(PathBuf::from);
        let path = |key: &str, default: &str| match files.path(key) {
            Some(path) => path.into_inner(),
            None => folder.clone().unwrap_or_default().join(default),
        };
        let read = Self {
            secure_domains: path("secure-domains", "secure-domains.toml"),
            accredited_domains: files.path("accredited-domains").map(Located::into_inner),
            patient_data: path("patient-data", "patient-data.toml"),
            aliases: path("aliases", "aliases.toml"),
            directory: path("directory", "directory.csv"),
            redirects: files.path("redirects").map(Located::into_inner),
            organisations: path("organisations", "organisations.toml"),
            accounts: path("accounts", "accounts.toml"),
            scoring: path("scoring", "scoring.toml"),
            links: path("links", "links.toml"),
            senders: files.path("senders").map(Located::into_inner),
            tests: path("tests", "tests"),
        };
        files.finish();
        read
    }

    /// The files and the folder that the gateway's own file names, whether or not they can be used.
    pub fn named(top: &Section<'_>) -> Vec<PathBuf> {
        let files = Self::read(top);
        let texts = files.texts().into_iter().map(|(_, path)| path.clone());
        let keys = Signing::files(top);
        texts.chain([files.tests.clone()]).chain(keys).collect()
    }

    /// Those whose text makes up the policy, with the names they are known by.
    pub fn texts(&self) -> Vec<(&'static str, &PathBuf)> {
        let mut texts = vec![
            ("secure-domains", &self.secure_domains),
            ("patient-data", &self.patient_data),
            ("aliases", &self.aliases),
            ("directory", &self.directory),
            ("organisations", &self.organisations),
            ("accounts", &self.accounts),
            ("scoring", &self.scoring),
            ("links", &self.links),
        ];
        let accredited = self.accredited_domains.as_ref();
        texts.extend(accredited.map(|path| ("accredited-domains", path)));
        texts.extend(self.senders.as_ref().map(|path| ("senders", path)));
        texts.extend(self.redirects.as_ref().map(|path| ("redirects", path)));
        texts
    }

    /// Those of the directory.
    pub fn of_directory(&self) -> directory::Files {
        directory::Files {
            aliases: self.aliases.clone(),
            mailboxes: self.directory.clone(),
            redirects: self.redirects.clone(),
        }
    }
}

impl Settings {
    /// Takes `[policy]` and `[files]` out of the outermost section.
    pub fn read(top: &Section<'_>) -> Self {
        let policy = top.section("policy");
        let served = served(&policy);
        let postmaster = postmaster(&policy, &served);
        let settings = Self {
            relay_networks: relay_networks::read(&policy),
            relay_certificates: certificate::read_list(&policy, "relay-certificates"),
            plus_addressing: policy.flag("plus-addressing").is_some_and(|flag| *flag),
            tell_of_old_names: policy
                .duration("address-changed-notice")
                .map(Located::into_inner)
                .filter(|every| !every.is_zero()),
            holds: Holds::read(top, postmaster.clone()),
            urgency: Urgency::read(top),
            postmaster,
            stages: stages(&policy),
            served,
            files: Files::read(top),
        };
        policy.finish();
        settings
    }
}

/// Takes `[dns]` out of the outermost section; for whoever makes the resolver.
pub fn read_dns(top: &Section<'_>) -> DnsSettings {
    let dns = top.section("dns");
    let servers = dns.parse_list::<SocketAddr>("servers").unwrap_or_default();
    let concurrent = dns.integer("concurrent", 1..=100_000);
    let settings = DnsSettings {
        servers: servers.into_iter().map(Located::into_inner).collect(),
        timeout: dns
            .duration("timeout")
            .map_or(DNS_TIMEOUT, Located::into_inner),
        concurrent: concurrent
            .and_then(|number| usize::try_from(*number).ok())
            .unwrap_or(DNS_CONCURRENT),
        validating: dns.flag("validating").is_some_and(Located::into_inner),
    };
    dns.finish();
    settings
}

fn served(policy: &Section<'_>) -> Vec<Served> {
    let mut served: Vec<Served> = Vec::new();
    for entry in policy.sections("served") {
        let domain = entry.required::<Domain>("domain");
        let completeness = entry.word(
            "directory",
            &[
                ("complete", Completeness::Complete),
                ("partial", Completeness::Partial),
            ],
        );
        entry.finish();
        let Some(domain) = domain else { continue };
        if served.iter().any(|known| known.domain == *domain) {
            policy.report(
                "twice",
                format!("{} is served twice", *domain),
                &domain,
                "take one of them out".into(),
            );
            continue;
        }
        // A name without a dot is of a network of one's own.
        if domain.as_str().contains('.') && is_anybodys(&domain) {
            let message = format!(
                "`{}` is everybody's, and mail for it is taken from anyone",
                *domain
            );
            let diagnostic = Diagnostic::warning("everybodys-domain", message)
                .at_maybe(domain.place(), "")
                .help("take it out: only domains of your own are served");
            policy.diagnostics().push(diagnostic);
        }
        served.push(Served {
            domain: domain.into_inner(),
            completeness: completeness.map_or(Completeness::Partial, Located::into_inner),
        });
    }
    served
}

/// The one named, or `postmaster` at the first domain that is served.
fn postmaster(policy: &Section<'_>, served: &[Served]) -> Option<Mailbox> {
    if let Some(mailbox) = policy.parse::<Mailbox>("postmaster") {
        return Some(mailbox.into_inner());
    }
    let first = served.first()?;
    Mailbox::parse(&format!("postmaster@{}", first.domain)).ok()
}

fn stages(policy: &Section<'_>) -> Vec<StageEntry> {
    if !policy.has("stage") {
        return shipped_stages();
    }
    let words = StageName::ALL.map(|name| (name.word(), name));
    let mut entries = Vec::new();
    for line in policy.sections("stage") {
        line.required_string("use");
        let name = line.word("use", &words);
        let on_failure = line.word(
            "on-failure",
            &[("defer", OnFailure::Defer), ("pass", OnFailure::Pass)],
        );
        line.finish();
        let Some(name) = name else { continue };
        if let Some(on_failure) = &on_failure {
            check_on_failure(policy, *name, on_failure);
        }
        entries.push(StageEntry {
            on_failure: on_failure.map_or(default_on_failure(*name), Located::into_inner),
            name,
        });
    }
    check_order(policy, &entries);
    entries
}

fn shipped_stages() -> Vec<StageEntry> {
    let entry = |name| StageEntry {
        name: Located::built_in(name),
        on_failure: default_on_failure(name),
    };
    StageName::ALL.map(entry).into()
}

/// Defer where patient data, relaying, forgery or malware hang on it.
fn default_on_failure(name: StageName) -> OnFailure {
    let guards = matches!(name, StageName::AuthenticateSender | StageName::Scan);
    if name.is_safety() || guards {
        OnFailure::Defer
    } else {
        OnFailure::Pass
    }
}

fn check_on_failure(policy: &Section<'_>, name: StageName, on_failure: &Located<OnFailure>) {
    if name.is_safety() && **on_failure == OnFailure::Pass {
        policy.report(
            "unsafe-on-failure",
            format!("`{}` may not pass mail when it fails", name.word()),
            on_failure,
            "write on-failure = \"defer\"".into(),
        );
    }
}

/// Each stage at most once, after those whose findings it reads, and no safety stage left out.
fn check_order(policy: &Section<'_>, entries: &[StageEntry]) {
    for (at, entry) in entries.iter().enumerate() {
        let earlier = &entries[..at];
        if let Some(first) = earlier.iter().find(|other| *other.name == *entry.name) {
            report_twice(policy, first, entry);
        }
        for needed in entry.name.needs() {
            if !earlier.iter().any(|other| *other.name == *needed) {
                report_order(policy, entries, entry, *needed);
            }
        }
        for counted in entry.name.follows() {
            let is_later = entries[at..].iter().any(|other| *other.name == *counted);
            if is_later && !earlier.iter().any(|other| *other.name == *counted) {
                report_order(policy, entries, entry, *counted);
            }
        }
    }
    for name in StageName::ALL.into_iter().filter(|name| name.is_safety()) {
        if !entries.iter().any(|entry| *entry.name == name) {
            let message = format!("the stage `{}` is missing", name.word());
            let diagnostic = Diagnostic::error("stage-missing", message)
                .at(&place_of_stages(policy), "")
                .help("the gateway does not run without it");
            policy.diagnostics().push(diagnostic);
        }
    }
}

fn report_twice(policy: &Section<'_>, first: &StageEntry, again: &StageEntry) {
    let message = format!("`{}` runs twice", again.name.word());
    let diagnostic = Diagnostic::error("stage-twice", message)
        .at_maybe(again.name.place(), "a second time here")
        .at_maybe(first.name.place(), "it runs here")
        .help("take one of them out");
    policy.diagnostics().push(diagnostic);
}

fn report_order(
    policy: &Section<'_>,
    entries: &[StageEntry],
    entry: &StageEntry,
    needed: StageName,
) {
    let later = entries.iter().find(|other| *other.name == needed);
    let (name, other) = (entry.name.word(), needed.word());
    let diagnostic = match later {
        Some(later) => Diagnostic::error("stage-order", format!("`{name}` runs before `{other}`"))
            .at_maybe(entry.name.place(), "and is needed here")
            .at_maybe(later.name.place(), "its finding is made here")
            .help(format!("move this stage below `{other}`")),
        None => Diagnostic::error("stage-order", format!("`{name}` runs without `{other}`"))
            .at_maybe(entry.name.place(), "its finding is needed here")
            .help(format!("put `{other}` above it")),
    };
    policy.diagnostics().push(diagnostic);
}

/// The line with the key `stage`, or the section.
fn place_of_stages(policy: &Section<'_>) -> Place {
    let keys = policy.keys();
    let key = keys.iter().find(|key| key.as_str() == "stage");
    key.and_then(Located::place)
        .unwrap_or(policy.place())
        .clone()
}

/// How long one question to the DNS may take.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// How many questions may be out at once.
const DNS_CONCURRENT: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, read_toml, render};
    use crate::policy::testing::file;

    fn read(text: &str) -> (Settings, Vec<Diagnostic>) {
        let diagnostics = Diagnostics::default();
        let file = file("policies/postern.toml", text);
        let settings = read_toml(&file, &diagnostics, Settings::read);
        (settings, diagnostics.into_vec())
    }

    fn ids(text: &str) -> Vec<&'static str> {
        read(text)
            .1
            .iter()
            .map(|diagnostic| diagnostic.id)
            .collect()
    }

    fn stages(lines: &[&str]) -> String {
        format!("[policy]\nstage = [\n{}\n]\n", lines.join(",\n"))
    }

    const RESOLVE: &str = "{ use = \"resolve-recipients\" }";
    const CLASSIFY: &str = "{ use = \"classify-patient-data\" }";
    const SECURE: &str = "{ use = \"secure-domain\", on-failure = \"defer\" }";

    #[test]
    fn an_empty_file_means_the_stages_as_they_ship() {
        let (settings, said) = read("");
        let words: Vec<_> = settings
            .stages
            .iter()
            .map(|entry| entry.name.word())
            .collect();
        assert_eq!(words, StageName::ALL.map(StageName::word));
        for entry in &settings.stages {
            let may_pass = matches!(entry.name.word(), "score-spam" | "footer" | "mark");
            let passes = entry.on_failure == OnFailure::Pass;
            assert_eq!(passes, may_pass, "{}", entry.name.word());
        }
        assert!(said.is_empty() && settings.relay_networks.is_empty());
    }

    #[test]
    fn a_stage_runs_after_those_whose_findings_it_reads() {
        assert!(ids(&stages(&[RESOLVE, CLASSIFY, SECURE])).is_empty());
        let (_, said) = read(&stages(&[RESOLVE, SECURE, CLASSIFY]));
        assert_eq!(said.len(), 1);
        assert_eq!(
            said[0].message,
            "`secure-domain` runs before `classify-patient-data`"
        );
        let labels: Vec<_> = said[0]
            .labels
            .iter()
            .map(|label| (label.place.line(), label.text.as_str()))
            .collect();
        assert_eq!(
            labels,
            [(4, "and is needed here"), (5, "its finding is made here")]
        );
        assert_eq!(
            said[0].help.as_deref(),
            Some("move this stage below `classify-patient-data`")
        );
        let _ = render::short(&said[0]);
    }

    #[test]
    fn the_score_comes_after_the_scan_whose_findings_it_adds_up_and_may_do_without() {
        let all = |more: &[&str]| {
            let words = more.iter().map(|word| format!("{{ use = \"{word}\" }}"));
            let words: Vec<String> = words.collect();
            let mut lines = vec![RESOLVE, CLASSIFY, SECURE];
            lines.extend(words.iter().map(String::as_str));
            stages(&lines)
        };
        let (_, said) = read(&all(&["authenticate-sender", "score-spam", "scan"]));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].id, "stage-order");
        assert_eq!(said[0].message, "`score-spam` runs before `scan`");
        assert_eq!(
            said[0].help.as_deref(),
            Some("move this stage below `scan`")
        );
        for good in [
            &["authenticate-sender", "scan", "score-spam"][..],
            &["authenticate-sender", "score-spam"],
            &["scan"],
        ] {
            assert!(ids(&all(good)).is_empty(), "{good:?}");
        }
    }

    #[test]
    fn each_stage_runs_once_and_no_safety_stage_is_left_out() {
        assert_eq!(
            ids(&stages(&[RESOLVE, RESOLVE, CLASSIFY, SECURE])),
            ["stage-twice"]
        );
        assert_eq!(ids(&stages(&[RESOLVE, CLASSIFY])), ["stage-missing"]);
        assert_eq!(
            ids(&stages(&[
                RESOLVE,
                CLASSIFY,
                SECURE,
                "{ use = \"secure-domian\" }"
            ])),
            ["bad-word"]
        );
    }

    #[test]
    fn a_safety_stage_never_passes_mail_when_it_fails() {
        let pass = CLASSIFY.replace(" }", ", on-failure = \"pass\" }");
        assert_eq!(
            ids(&stages(&[RESOLVE, &pass, SECURE])),
            ["unsafe-on-failure"]
        );
    }

    #[test]
    fn served_domains_and_networks_are_checked() {
        let text = "[policy]\nrelay-networks = [\"10.0.0.0/33\"]\nserved = [{ domain = \"nhs.net\" }, { domain = \"NHS.net.\" }]\n";
        assert_eq!(ids(text), ["twice", "bad-value"]);
        let (settings, _) = read(text);
        assert_eq!(
            settings.postmaster.unwrap().to_string(),
            "postmaster@nhs.net"
        );
    }
}
