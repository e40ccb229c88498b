//! Loading a policy: all its files, every mistake in them at once, and one version over them all.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::accounts::Accounts;
use crate::base::dns::Dns;
use crate::base::{Clock, PolicyVersion};
use crate::config::{Diagnostic, Located, Section, load_toml};
use crate::content::Limits;
use crate::directory::{Cache, Directory};

use super::relay_certificates::RelayCertificates;
use super::scoring::Scoring;
use super::secure_domains::SecureDomains;
use super::senders::{Known, Scored, Senders, Store};
use super::settings::{Files, Settings, StageEntry};
use super::signing::Signing;
use super::sms::SmsRule;
use super::spam::Learned;
use super::spam::learned::MODELS;
use super::stage::authenticate_sender::AuthenticateSender;
use super::stage::classify_patient_data::ClassifyPatientData;
use super::stage::footer::Footer;
use super::stage::mark::Mark;
use super::stage::resolve_recipients::ResolveRecipients;
use super::stage::scan::{Scan, ScanSettings};
use super::stage::score_spam::ScoreSpam;
use super::stage::secure_domain::SecureDomain;
use super::stage::{Stage, StageName};
use super::{PlacedStage, Policy, patient_data};

impl Policy {
    /// Reads `[policy]` and `[files]` out of the outermost section, and every file that is named
    /// there. What is wrong is reported through the section; `None` if a file cannot be used at all.
    /// Without `dns` nothing is asked about strangers. A directory that was compiled before is taken
    /// from `compiled`; a large one that was not takes seconds.
    pub fn load(
        top: &Section<'_>,
        hostname: &str,
        dns: Option<Dns>,
        clock: Clock,
        compiled: Option<&Cache>,
    ) -> Option<Self> {
        let settings = Settings::read(top);
        let signing = Signing::read(top, clock.now());
        let parts = Parts::load(top, &settings, &clock, compiled)?;
        let known = parts.known.clone();
        let version = version(top, &settings.files, &parts.directory);
        let sms = Arc::new(SmsRule::read(top, &settings.served));
        let recipients = ResolveRecipients::new(
            Arc::clone(&parts.directory),
            Arc::clone(&parts.register),
            settings.relay_networks.clone(),
            settings.postmaster.clone(),
        );
        let certificates = settings.relay_certificates.clone();
        let certificates = RelayCertificates::new(certificates, clock.clone());
        let recipients = recipients
            .with_texts(Arc::clone(&sms))
            .with_relay_certificates(Arc::new(certificates));
        let recipients = Arc::new(recipients.with_accounts(Arc::clone(&parts.accounts)));
        let register = Arc::clone(&parts.register);
        let learned = Arc::clone(&parts.learned);
        let learning = parts.scoring.learning.clone();
        let tags = parts.patient_data.secure_tags.first();
        let orders_encryption = tags.is_some()
            || register.orders_encryption()
            || settings.holds.self_release.orders_encryption();
        let secure_tag = tags.cloned().unwrap_or_else(|| "[secure]".to_owned());
        Some(Self {
            version,
            hostname: hostname.to_owned(),
            clock,
            limits: parts.limits,
            accounts: Arc::clone(&parts.accounts),
            directory: Arc::clone(&parts.directory),
            tell_of_old_names: settings.tell_of_old_names,
            holds: settings.holds,
            urgency: settings.urgency,
            secure_tag,
            orders_encryption,
            signing: Arc::new(signing),
            learned,
            learning,
            stages: parts.stages(&settings.stages, &recipients, dns, &sms),
            sms,
            recipients,
            known,
            register,
            files: settings.files,
        })
    }
}

/// What the files gave.
struct Parts {
    register: Arc<SecureDomains>,
    accounts: Arc<Accounts>,
    directory: Arc<Directory>,
    patient_data: patient_data::Settings,
    limits: Limits,
    scoring: Scoring,
    known: Known,
    learned: Arc<Learned>,
    scan: ScanSettings,
    footer: Footer,
}

impl Parts {
    /// Reads every file before it gives up, so that the mistakes of all are told.
    fn load(
        top: &Section<'_>,
        settings: &Settings,
        clock: &Clock,
        compiled: Option<&Cache>,
    ) -> Option<Self> {
        let diagnostics = top.diagnostics();
        let files = &settings.files;
        let register = SecureDomains::load(
            &files.secure_domains,
            files.accredited_domains.as_deref(),
            clock.now(),
            diagnostics,
        );
        let accounts = Accounts::load(&files.accounts, diagnostics);
        let directory = Directory::load_cached(
            &files.of_directory(),
            compiled,
            &settings.served,
            settings.plus_addressing,
            diagnostics,
        );
        let patient_data = load_toml(
            &files.patient_data,
            diagnostics,
            patient_data::Settings::read,
        );
        let scoring = Scoring::load(&files.scoring, diagnostics);
        let senders = Senders::load(files.senders.as_deref(), diagnostics);
        let scan = ScanSettings::load(&files.links, diagnostics);
        let footer = Footer::load(&files.organisations, diagnostics);
        if let (Some(scan), Some(footer)) = (&scan, &footer) {
            scan.links
                .check_entities(footer.organisations(), diagnostics);
        }
        let learned = scoring
            .as_ref()
            .and_then(|scoring| learned(top, scoring, compiled.is_some()));
        let patient_data = patient_data?;
        Some(Self {
            register: Arc::new(register?),
            accounts: Arc::new(accounts?),
            directory: Arc::new(directory?),
            limits: patient_data.limits,
            patient_data,
            scoring: scoring?,
            known: Known {
                senders: Arc::new(senders?),
                store: Some(Store::at(&data_folder(top))),
            },
            learned: learned?,
            scan: scan?,
            footer: footer?,
        })
    }

    /// The stages in the order of the policy file. Each is there once: the settings have checked it.
    fn stages(
        self,
        entries: &[StageEntry],
        recipients: &Arc<ResolveRecipients>,
        dns: Option<Dns>,
        sms: &Arc<SmsRule>,
    ) -> Vec<PlacedStage> {
        let mut made = self.make(recipients, dns, sms);
        let mut stages = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(at) = made.iter().position(|(name, _)| *name == *entry.name) else {
                continue; // a second time: reported as `stage-twice`
            };
            let (name, stage) = made.swap_remove(at);
            stages.push(PlacedStage {
                stage,
                name,
                on_failure: entry.on_failure,
                source: entry.source(),
            });
        }
        stages
    }

    fn make(
        mut self,
        recipients: &Arc<ResolveRecipients>,
        dns: Option<Dns>,
        sms: &Arc<SmsRule>,
    ) -> Vec<(StageName, Stage)> {
        let register = || Arc::clone(&self.register);
        let senders = Arc::clone(&self.known.senders);
        let authenticate = AuthenticateSender::new(dns.clone(), senders, register())
            .with_relay_certificates(Arc::clone(recipients.relay_certificates()));
        let secure = SecureDomain::new(register()).with_texts(Arc::clone(sms));
        let organisations = Arc::clone(self.footer.organisations());
        let scan = Scan::new(self.scan, organisations, register());
        let lists = std::mem::take(&mut self.scoring.dns_lists);
        let score = ScoreSpam::new(self.scoring, register(), Arc::clone(&self.learned));
        let score = Box::new(Scored::new(score, self.known, dns, lists));
        let mark = Mark::new(self.patient_data.mark.clone());
        let classify = ClassifyPatientData::new(self.patient_data).with_texts(Arc::clone(sms));
        vec![
            (
                StageName::AuthenticateSender,
                Stage::AuthenticateSender(authenticate),
            ),
            (
                StageName::ResolveRecipients,
                Stage::ResolveRecipients(Arc::clone(recipients)),
            ),
            (
                StageName::ClassifyPatientData,
                Stage::ClassifyPatientData(Box::new(classify)),
            ),
            (StageName::SecureDomain, Stage::SecureDomain(secure)),
            (StageName::Scan, Stage::Scan(Box::new(scan))),
            (StageName::ScoreSpam, Stage::ScoreSpam(score)),
            (StageName::Footer, Stage::Footer(self.footer)),
            (StageName::Mark, Stage::Mark(mark)),
        ]
    }
}

/// Where lasting things lie: `data` of the gateway's own file.
fn data_folder(top: &Section<'_>) -> std::path::PathBuf {
    let folder = top.place().file().path.parent().unwrap_or(Path::new("."));
    top.path("data")
        .map_or_else(|| folder.join("../data"), Located::into_inner)
}

/// The models: the one that ships, and with a data folder those that were made here.
fn learned(top: &Section<'_>, scoring: &Scoring, has_data: bool) -> Option<Arc<Learned>> {
    let own = has_data.then(|| data_folder(top).join(MODELS));
    let shipped = scoring.learning.model.as_deref();
    match Learned::load(shipped, own) {
        Ok(learned) => Some(Arc::new(learned)),
        Err(error) => {
            let path = shipped.unwrap_or(Path::new("")).display();
            let diagnostic = Diagnostic::error("bad-model", format!("{path}: {error}")).help(
                "`model` under [learned] of scoring.toml names it; without the line there is none",
            );
            top.diagnostics().push(diagnostic);
            None
        }
    }
}

/// The first 12 hexadecimal digits of a SHA-256 over all files, each with its name and length before
/// it; of the table of mailboxes, which can be large, its own SHA-256 as it was read. A file that cannot
/// be read counts as empty; whoever loads it reports that.
fn version(top: &Section<'_>, files: &Files, directory: &Directory) -> PolicyVersion {
    let mut hash = Sha256::new();
    let mut add = |name: &str, octets: &[u8]| {
        hash.update(format!("{name} {}\n", octets.len()));
        hash.update(octets);
    };
    add("postern", top.place().file().text.as_bytes());
    for (name, path) in files.texts() {
        match directory.digest().filter(|_| *path == files.directory) {
            Some(digest) => add(name, digest),
            None => add(name, &std::fs::read(path).unwrap_or_default()),
        }
    }
    let digest = hash.finalize();
    PolicyVersion(
        digest
            .iter()
            .take(6)
            .map(|octet| format!("{octet:02x}"))
            .collect(),
    )
}
