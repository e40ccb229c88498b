//! Arguments of what looks after addresses: the directory, and the list of secure domains.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;
use crate::mail::Domain;

/// `postern secure-domains`.
#[derive(Clone, Debug, Subcommand)]
pub enum SecureDomainsCommand {
    /// Take a new accredited list over; what is kept by hand stays
    Import(SecureDomainsImport),
}

/// `postern secure-domains import`.
#[derive(Args, Clone, Debug)]
pub struct SecureDomainsImport {
    /// The list, as CSV with a header row
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Yes, so many domains are to be taken out
    #[arg(long)]
    pub confirm: bool,
}

/// `postern directory`.
#[derive(Clone, Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Take mailboxes and changes out of files, all or nothing; a gateway that runs takes them over
    Import(DirectoryImport),
    /// Write the mailboxes or the redirects out
    Export(DirectoryExport),
    /// Find mailboxes by parts of names, addresses, codes, towns, postcodes; typing mistakes are forgiven
    Find {
        /// What is known
        #[arg(required = true, value_name = "WORD")]
        words: Vec<String>,
        /// At most so many
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        limit: usize,
    },
    /// Show a mailbox, or all mailboxes of an organisation
    Show {
        /// An address, an old one too, or an ODS code
        #[arg(value_name = "ADDRESS|CODE")]
        of: String,
    },
    /// Show how often old names are used, and by whom
    Stats {
        /// The names of the files that were never used instead
        #[arg(long)]
        unused: bool,
        /// At most so many
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },
    /// Report loops, names that lead nowhere, and mailboxes that nobody looks after
    Lint {
        /// How diagnostics are written
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

/// `postern directory import`.
#[derive(Args, Clone, Debug)]
pub struct DirectoryImport {
    /// The files, taken in this order
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the files are; left out, each is looked at
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub format: Option<ImportFormat>,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Take the good rows although others are bad
    #[arg(long)]
    pub partial: bool,
    /// Yes, so many addresses are to be taken out or redirected
    #[arg(long)]
    pub confirm: bool,
    /// Where the mailboxes of the organisations of a national file are
    #[arg(long, value_name = "DOMAIN", default_value = "nhs.net")]
    pub domain: Domain,
}

/// What an imported file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ImportFormat {
    /// directory.csv or redirects.csv, or both in TOML: the whole table
    Postern,
    /// The national file of pharmacies, edispensary.csv
    OdsPharmacy,
    /// The national file of practices, epraccur.csv
    OdsPractice,
    /// Renames, new codes and owners, consolidations, leavers, joiners
    Changes,
}

/// `postern directory export`.
#[derive(Args, Clone, Debug)]
pub struct DirectoryExport {
    /// In which form; TOML has both tables
    #[arg(long = "as", value_enum, value_name = "FORMAT", default_value_t = ExportFormat::Csv)]
    pub format: ExportFormat,
    /// The redirects instead of the mailboxes
    #[arg(long, conflicts_with = "hidden")]
    pub redirects: bool,
    /// With the columns that are never shown elsewhere: mobile numbers
    #[arg(long)]
    pub hidden: bool,
    /// Into this file, which must not exist yet, instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ExportFormat {
    /// As directory.csv, or redirects.csv
    Csv,
    /// Both in one file
    Toml,
}
