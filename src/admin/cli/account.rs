//! Arguments of what looks after the accounts of applications.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::ago;
use crate::accounts::Declaration;
use crate::mail::Mailbox;

/// `postern account`.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountCommand {
    /// Add an account; its secret is shown once
    Add(AccountAdd),
    /// List the accounts
    List,
    /// Show an account
    Show {
        /// Its name
        name: String,
    },
    /// Give an account a new secret, shown once; the one before it stays good for a while
    Rotate(AccountRotate),
    /// Let somebody try again who is locked out after too many failed log-ins
    Unlock {
        /// The name of an account, or the address of a client
        who: String,
    },
    /// Let nobody log in to an account any more
    Disable {
        /// Its name
        name: String,
    },
}

/// `postern account rotate`.
#[derive(Args, Clone, Debug)]
pub struct AccountRotate {
    /// Its name
    pub name: String,
    /// How long the secret before it stays good; as accounts.toml says if left out
    #[arg(long, value_name = "DURATION", value_parser = ago)]
    pub overlap: Option<Duration>,
    /// Its secret.
    #[command(flatten)]
    pub secret: ChosenSecret,
}

/// A secret that somebody chose.
#[derive(Args, Clone, Debug, Default)]
pub struct ChosenSecret {
    /// A file with a secret that somebody chose, `-` for the standard input; left out, one is made
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Take a chosen one for SCRAM too: whoever steals the database can try passwords far cheaper then
    #[arg(long, requires = "secret_file")]
    pub scram: bool,
}

/// `postern account add`.
#[derive(Args, Clone, Debug)]
pub struct AccountAdd {
    /// Its name; best the address that it sends from
    pub name: String,
    /// Who answers for it
    #[arg(long)]
    pub owner: Option<String>,
    /// An address, or a domain as @bumbleton.example, that it may send from; its name if left out
    #[arg(long, value_name = "ADDRESS")]
    pub may_send_from: Vec<String>,
    /// Where its owner is told of mail of it that is held; the owner himself if he is an address
    #[arg(long, value_name = "ADDRESS")]
    pub owner_address: Option<Mailbox>,
    /// What it says of the patient data in its mail
    #[arg(long, value_enum, default_value = "by-content")]
    pub patient_data: PatientDataWord,
    /// The same as --patient-data always
    #[arg(long, conflicts_with = "patient_data")]
    pub declares_patient_data: bool,
    /// Its secret.
    #[command(flatten)]
    pub secret: ChosenSecret,
}

/// What an account says of the patient data in its mail.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum PatientDataWord {
    /// All its mail counts as patient data
    Always,
    /// What is found counts
    ByContent,
    /// It sends none: what is found all the same is held
    Never,
}

impl From<PatientDataWord> for Declaration {
    fn from(word: PatientDataWord) -> Self {
        match word {
            PatientDataWord::Always => Self::Always,
            PatientDataWord::ByContent => Self::ByContent,
            PatientDataWord::Never => Self::Never,
        }
    }
}
