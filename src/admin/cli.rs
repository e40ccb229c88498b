//! The command line: every command, its arguments and their help (`design.md` §4.1).
//!
//! Only what was typed stands here; what it means is checked by the command it is for. Wrong usage
//! ends with status 2 before any file is opened.

mod account;
mod directory;
mod queue;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::corpus::Floor;
use super::dkim::DkimCommand;
use super::sms::SmsCommand;
use crate::base::Reference;
use crate::config::duration_of;
use crate::mail::{ForwardPath, Mailbox, ReversePath};
use crate::policy::spam::{Organisation, Verdict};

pub use account::{AccountAdd, AccountCommand, AccountRotate, ChosenSecret, PatientDataWord};
pub use directory::{
    DirectoryCommand, DirectoryExport, DirectoryImport, ExportFormat, ImportFormat,
    SecureDomainsCommand, SecureDomainsImport,
};
pub use queue::{
    AllowedCommand, Chosen, List, Ordered, QuarantineCommand, QuarantineList, QuarantineRelease,
    QuarantineShow, QueueCommand, Release, Show,
};

/// A mail gateway and policy filter for organisations that send patient data by email.
#[derive(Clone, Debug, Parser)]
#[command(name = "postern", version, about, max_term_width = 100)]
pub struct Cli {
    /// The gateway's own file; it names all others
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    /// Answer in JSON, one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the gateway's own file is, unless somebody says otherwise.
pub const DEFAULT_CONFIG: &str = "policies/postern.toml";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the gateway: drains on SIGTERM, reloads on SIGHUP and when a policy file changes
    Serve,
    /// Report every error and warning of a policy folder at once, and run its policy tests
    Check(Check),
    /// Show the mailbox that an address leads to, hop by hop
    Resolve(Resolve),
    /// Load, export and look after mailboxes and organisations
    #[command(subcommand)]
    Directory(DirectoryCommand),
    /// Look after the register of secure domains
    #[command(subcommand)]
    SecureDomains(SecureDomainsCommand),
    /// Show what would happen to a message and why, or the decision behind a reference
    Explain(Explain),
    /// Show what a changed policy folder would have decided differently; the answer is no if anything
    Plan(Plan),
    /// Show and steer what waits for delivery
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Show and judge what was kept back as unwanted
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Learn what is spam from messages, and what is not
    Learn(Learn),
    /// Show where a message went
    Trace(Trace),
    /// Show what the audit trail says about mail of our own
    #[command(subcommand)]
    Report(ReportCommand),
    /// Write one signed document about a message, or check one
    Evidence(Evidence),
    /// Check the audit trail, or take it out
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Manage the accounts of applications
    #[command(subcommand)]
    Account(AccountCommand),
    /// Keep the list of those who want no text messages
    #[command(subcommand)]
    Sms(SmsCommand),
    /// Submit a test message and show what the server replies
    Send(Send),
    /// Make keys that sign mail, and check what the DNS has of them
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Make development certificates
    #[command(subcommand)]
    Certs(CertsCommand),
}

/// `postern check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// A policy folder (with a postern.toml in it) instead of the one in use
    pub dir: Option<PathBuf>,
    /// How diagnostics are written
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// Instead: how well the settings find patient data in labelled mail (a folder with a labels.tsv)
    #[arg(long, value_name = "FOLDER")]
    pub corpus: Option<PathBuf>,
    /// With --corpus: how well spam is told from other mail (a folder with the folders spam and ham)
    #[arg(long, requires = "corpus", conflicts_with = "floor")]
    pub spam: bool,
    /// With --spam: also each message with its score and the rules that spoke
    #[arg(long, requires = "spam")]
    pub each: bool,
    /// The least precision and recall that will do, from 0 to 1; below them the answer is no
    #[arg(long, num_args = 2, value_names = ["PRECISION", "RECALL"], value_parser = share, requires = "corpus")]
    pub floor: Option<Vec<f64>>,
}

/// `postern learn`.
#[derive(Args, Clone, Debug)]
pub struct Learn {
    /// What the messages are
    #[arg(value_enum)]
    pub what: Lesson,
    /// Messages, mbox files, Maildirs or other folders of messages
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Also write a model of these lessons alone that may be given away: nothing few messages or authors have in common
    #[arg(long, value_name = "FILE")]
    pub ship: Option<PathBuf>,
    /// For one organisation alone, by its ODS code, instead of everybody
    #[arg(long, value_name = "CODE", value_parser = organisation)]
    pub organisation: Option<Organisation>,
}

/// What messages are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Lesson {
    /// Unwanted
    Spam,
    /// Wanted
    Ham,
}

impl Learn {
    /// What the messages are said to be.
    pub fn verdict(&self) -> Verdict {
        match self.what {
            Lesson::Spam => Verdict::Spam,
            Lesson::Ham => Verdict::Ham,
        }
    }
}

fn organisation(text: &str) -> Result<Organisation, String> {
    Organisation::of(text).ok_or_else(|| "this is not an ODS code".to_owned())
}

impl Check {
    /// The gateway's own file of the folder asked for, or else `config`.
    pub fn file(&self, config: &Path) -> PathBuf {
        match &self.dir {
            Some(file) if file.is_file() => file.clone(),
            Some(dir) => dir.join("postern.toml"),
            None => config.to_owned(),
        }
    }

    /// What precision and recall must reach.
    pub fn floor(&self) -> Option<Floor> {
        match self.floor.as_deref() {
            Some([precision, recall]) => Some(Floor {
                precision: *precision,
                recall: *recall,
            }),
            _ => None,
        }
    }
}

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// With the lines of the file, a caret and help
    Human,
    /// `file:line:column: error[id]: message`
    Short,
    /// One object per line
    Json,
}

/// `postern resolve`.
#[derive(Args, Clone, Debug)]
pub struct Resolve {
    /// Addresses; `-` reads them from the standard input, one a line
    #[arg(required = true, value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// `postern explain`, both forms.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The sender (the reverse path); `""` is the null path
    #[arg(long, value_parser = reverse_path, requires = "to")]
    pub from: Option<ReversePath>,
    /// A recipient; may be given several times
    #[arg(long, value_parser = forward_path, requires = "from")]
    pub to: Vec<ForwardPath>,
    /// As if this account had logged in
    #[arg(long, value_name = "NAME", requires = "from")]
    pub account: Option<String>,
    /// As if it came from this address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub client: IpAddr,
    /// Judge as of this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub at: Option<Timestamp>,
    /// Files with messages, `-` for the standard input; or a reference such as PX-7F3K2Q9A
    #[arg(value_name = "FILE|REF")]
    pub what: Vec<String>,
}

/// What `postern explain` is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Question {
    /// The decision behind a reference.
    Reference(Reference),
    /// What would happen to these messages; `-` is the standard input.
    Messages {
        /// The reverse path.
        from: ReversePath,
        /// The forward paths; not empty.
        to: Vec<ForwardPath>,
        /// Where the messages are; not empty.
        files: Vec<PathBuf>,
    },
}

impl Explain {
    /// Which of the two forms it is.
    ///
    /// # Errors
    /// A sentence for the user, if it is neither.
    pub fn question(&self) -> Result<Question, String> {
        match (&self.from, self.what.as_slice()) {
            (Some(from), files) => Ok(Question::Messages {
                from: from.clone(),
                to: self.to.clone(),
                files: files_or_input(files),
            }),
            (None, [one]) => match one.parse() {
                Ok(reference) => Ok(Question::Reference(reference)),
                Err(_) => Err(format!(
                    "`{one}` is no reference (such as PX-7F3K2Q9A); for a message, say --from and --to"
                )),
            },
            (None, _) => Err("say --from and --to for a message, or give one reference".to_owned()),
        }
    }
}

fn files_or_input(files: &[String]) -> Vec<PathBuf> {
    if files.is_empty() {
        return vec![PathBuf::from("-")];
    }
    files.iter().map(PathBuf::from).collect()
}

/// `postern plan`.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = PLAN_HELP)]
pub struct Plan {
    /// The changed policy folder (with a postern.toml in it), or its postern.toml
    pub dir: PathBuf,
    /// How far back the audit trail is looked at: 7d, 12h, 1d 6h, or a moment (RFC 3339). What waits in the queue or is
    /// kept apart is judged whenever it came
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = since)]
    pub since: Since,
    /// Examples of each change at most
    #[arg(long, default_value_t = 5)]
    pub limit: usize,
}

impl Plan {
    /// The gateway's own file in the changed folder.
    pub fn file(&self) -> PathBuf {
        match self.dir.is_file() {
            true => self.dir.clone(),
            false => self.dir.join("postern.toml"),
        }
    }
}

/// What `postern plan --help` says of its answer.
const PLAN_HELP: &str = "\
Messages in the queue and the quarantine are judged wholly by both policies. Of mail that is gone the audit trail has
envelope, client, redacted findings and spam symbols: what follows from these is decided again, the rest stays as it is
on record. Where the policy in force does not come to what is on record, nothing is told of that recipient. Nothing is
sent, stored or recorded.

Exit status: 0 nothing would have been different as far as it can be told, 1 something would, 2 wrong usage or DIR has
errors.

With --json one object per line; `kind` says what it is:
  summary    since, policy {before, after}, files (that differ), messages {wholly, by_record, own}, recipients, changed,
             untold, not_asked
  change     change, count (recipients), messages, before, after, domains [{domain, count}]
  recipient  an example of the change above it: reference, at, sender, address, judged (wholly, by-record), before, after
  untold     because (other-policy, not-on-record, hangs-on-content, text-message, not-opened), rule, count
before and after: verdict, rule, because, route, tls, binding, entity, edits, and of a recipient resolved; null where
one of them has no such recipient. The verdict `accept`: let in at RCPT TO, where it was refused; `encrypt or
hold`: one of them, by what is not on record.";

/// From when on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// This moment.
    At(Timestamp),
}

impl Since {
    /// The moment.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
        }
    }
}

/// `postern trace`.
#[derive(Args, Clone, Debug)]
pub struct Trace {
    /// An address, a Message-ID, a reference, or a time (RFC 3339): a day, hour, minute or second, or FROM..TO
    pub query: String,
    /// At most so many events
    #[arg(long, default_value_t = 1_000)]
    pub limit: usize,
}

/// `postern report`.
#[derive(Clone, Debug, Subcommand)]
pub enum ReportCommand {
    /// Who sent without the particulars that the law wants, and why
    Footers {
        /// How far back: 7d, 12h, 1d 6h
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = ago)]
        since: Duration,
    },
}

/// `postern evidence`, both forms.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Evidence {
    /// The reference of the message
    #[arg(value_name = "REF", required = true)]
    pub reference: Option<Reference>,
    /// Into this file, which must not exist yet, instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Or check a document.
    #[command(subcommand)]
    pub command: Option<EvidenceCommand>,
}

/// `postern evidence verify`.
#[derive(Clone, Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Check a document by itself: the answer is no unless it is whole and signed
    Verify {
        /// The document; `-` for the standard input
        file: PathBuf,
        /// The fingerprint that the key must have
        #[arg(long, value_name = "FINGERPRINT")]
        key: Option<String>,
    },
}

/// `postern audit`.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Go over the chain: a changed or missing row shows
    Verify,
    /// Write the trail out, one event per line
    Export {
        /// From this number on
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from: i64,
        /// Into this file, which must not exist yet, instead of the standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// `postern send`.
#[derive(Args, Clone, Debug)]
pub struct Send {
    /// The server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    pub server: String,
    /// The sender
    #[arg(long)]
    pub from: Mailbox,
    /// A recipient; may be given several times
    #[arg(long, required = true)]
    pub to: Vec<Mailbox>,
    /// The subject of the message that is composed
    #[arg(long, default_value = "A test message", conflicts_with = "file")]
    pub subject: String,
    /// The text of the message that is composed
    #[arg(
        long,
        default_value = "This message was sent by `postern send`.",
        conflicts_with = "file"
    )]
    pub body: String,
    /// A whole message to send as it is, instead of composing one; `-` for the standard input
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// How the connection is protected
    #[arg(long, value_enum, default_value_t = Tls::Opportunistic)]
    pub tls: Tls,
    /// An authority to trust besides the public ones; certs/ca.pem if that is there
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Log in as this account
    #[arg(long)]
    pub username: Option<String>,
    /// The environment variable that holds the password
    #[arg(long, value_name = "VARIABLE", default_value = "POSTERN_PASSWORD")]
    pub password_env: String,
}

/// How the connection of `postern send` is protected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Tls {
    /// In clear
    None,
    /// By STARTTLS if the server offers it
    Opportunistic,
    /// By STARTTLS or not at all
    Starttls,
    /// From the first octet (port 465, here 2465)
    Implicit,
}

/// `postern certs`.
#[derive(Clone, Debug, Subcommand)]
pub enum CertsCommand {
    /// Make an authority and a certificate for this gateway; what is there is kept
    Init {
        /// Where
        #[arg(long, value_name = "DIR", default_value = "certs")]
        folder: PathBuf,
    },
}

/// Reads a reverse path with or without its angle brackets.
fn reverse_path(text: &str) -> Result<ReversePath, String> {
    ReversePath::parse(without_brackets(text)).map_err(|error| error.to_string())
}

/// Reads how far back.
fn ago(text: &str) -> Result<Duration, String> {
    duration_of(text).ok_or_else(|| "a time such as 7d, 12h or 1d 6h".to_owned())
}

/// Reads how far back, or from which moment on.
fn since(text: &str) -> Result<Since, String> {
    let at = text.parse().map(Since::At);
    at.or_else(|_| ago(text).map(Since::Ago)).map_err(|_| {
        "a time such as 7d, 12h or 1d 6h, or a moment such as 2026-11-21T10:00:00Z".to_owned()
    })
}

/// Reads a share of a whole.
fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// Reads a forward path with or without its angle brackets.
fn forward_path(text: &str) -> Result<ForwardPath, String> {
    ForwardPath::parse(without_brackets(text)).map_err(|error| error.to_string())
}

fn without_brackets(text: &str) -> &str {
    let inside = text
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    inside.unwrap_or(text)
}

#[cfg(test)]
mod tests;
