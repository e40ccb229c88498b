//! The stage `scan`: what must not be let through to anybody, and links that readers are to be warned of
//! (`links.toml`).

pub mod attachments;
pub mod links;

use std::path::Path;
use std::sync::Arc;

use crate::config::{Diagnostics, Section, load_toml};
use crate::policy::case::Case;
use crate::policy::links::LinkSettings;
use crate::policy::opinion::{Ask, Opinion, Opinions};
use crate::policy::organisations::Organisations;
use crate::policy::secure_domains::SecureDomains;

use attachments::Attachments;
use links::LinkScan;

/// The stage `scan`.
#[derive(Debug)]
pub struct Scan {
    attachments: Attachments,
    links: LinkScan,
}

/// `links.toml`, checked.
#[derive(Debug)]
pub struct ScanSettings {
    /// `[scan]`.
    pub attachments: Attachments,
    /// `[links]`.
    pub links: LinkSettings,
}

impl ScanSettings {
    /// Reads `links.toml`; what is wrong with it is reported.
    pub fn load(path: &Path, diagnostics: &Diagnostics) -> Option<Self> {
        load_toml(path, diagnostics, Self::read)
    }

    /// Takes everything out of the outermost section. What is left out is as shipped.
    pub fn read(top: &Section<'_>) -> Self {
        Self {
            attachments: Attachments::read(top),
            links: LinkSettings::read(top),
        }
    }
}

impl Scan {
    /// The stage by its settings.
    pub fn new(
        settings: ScanSettings,
        organisations: Arc<Organisations>,
        register: Arc<SecureDomains>,
    ) -> Self {
        Self {
            attachments: settings.attachments,
            links: LinkScan::new(settings.links, organisations, register),
        }
    }

    /// The same opinion about attachments for every recipient, and what links are worth to each.
    pub fn examine(&self, case: &Case<'_>) -> Opinions {
        let mut opinions = self.links.examine(case);
        if let Some(about_files) = self.attachments.judge(case.content) {
            opinions
                .per_recipient
                .resize(case.recipients.len(), Opinion::pass());
            for opinion in &mut opinions.per_recipient {
                let is_worse =
                    matches!(opinion.ask, Ask::Refuse(_)) && about_files.ask == Ask::Quarantine;
                if !is_worse {
                    *opinion = about_files.clone();
                }
            }
        }
        opinions
    }
}
