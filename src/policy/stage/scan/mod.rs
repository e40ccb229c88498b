//! The stage `scan`: what must not be let through to anybody, links that readers are to be warned of, and what an
//! external scanner names (`links.toml`).
//!
//! Scanners are asked only about what would be let through.

pub mod attachments;
pub mod links;
mod said;
mod shipped;

use std::path::Path;
use std::sync::Arc;

use crate::config::{Diagnostics, Section, load_toml};
use crate::policy::case::Case;
use crate::policy::links::LinkSettings;
use crate::policy::opinion::Opinions;
use crate::policy::organisations::Organisations;
use crate::policy::scanner::{Scanner, read_all};
use crate::policy::secure_domains::SecureDomains;

use attachments::Attachments;
use links::LinkScan;
use said::Said;

/// The stage `scan`.
#[derive(Debug)]
pub struct Scan {
    attachments: Attachments,
    links: LinkScan,
    scanners: Vec<Scanner>,
}

/// `links.toml`, checked.
#[derive(Debug)]
pub struct ScanSettings {
    /// `[scan]`.
    pub attachments: Attachments,
    /// `[links]`.
    pub links: LinkSettings,
    /// Every `[[scanner]]`.
    pub scanners: Vec<Scanner>,
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
            scanners: read_all(top),
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
            scanners: settings.scanners,
        }
    }

    /// Those that it asks.
    pub fn scanners(&self) -> &[Scanner] {
        &self.scanners
    }

    /// The same opinion for every recipient about the attachments and by the scanners, and what links are worth
    /// to each.
    pub async fn examine(&self, case: &Case<'_>) -> Opinions {
        let mut said = Said::of_attachments(&self.attachments, case);
        if case.network_allowed {
            for scanner in self
                .scanners
                .iter()
                .filter(|one| one.is_for(case.direction))
            {
                if said.is_refused() {
                    break;
                }
                said.take(scanner, Box::pin(scanner.ask(case)).await);
            }
        }
        said.added_to(self.links.examine(case), case)
    }
}
