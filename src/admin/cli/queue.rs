//! Arguments of what gives orders about mail that waits: the queue, and the quarantine.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::base::Reference;
use crate::mail::Mailbox;

/// `postern queue`.
#[derive(Clone, Debug, Subcommand)]
pub enum QueueCommand {
    /// List what waits, and when it is tried next
    List(List),
    /// Show all that is known of a message
    Show(Show),
    /// Try again at once
    Retry(Chosen),
    /// Keep back until it is released
    Hold(Ordered),
    /// Let go on what is held
    Release(Release),
    /// Give up; the sender gets a report
    Fail(Ordered),
}

/// `postern quarantine`.
#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List and search what was kept back
    List(QuarantineList),
    /// Show all that is known of a message; with --message the message as well, as harmless text
    Show(QuarantineShow),
    /// Deliver it after all
    Release(QuarantineRelease),
    /// Remove it; nobody is told
    Delete(Ordered),
    /// Who is let through because a message was released so
    #[command(subcommand)]
    Allowed(AllowedCommand),
}

/// `postern quarantine allowed`.
#[derive(Clone, Debug, Subcommand)]
pub enum AllowedCommand {
    /// List who is let through, and to whom
    List {
        /// To this mailbox alone
        #[arg(long = "for", value_name = "MAILBOX")]
        mailbox: Option<Mailbox>,
    },
    /// Let a sender through no more
    Remove {
        /// The address of the sender
        #[arg(value_name = "SENDER")]
        sender: Mailbox,
        /// To whom
        #[arg(long = "for", value_name = "MAILBOX")]
        mailbox: Mailbox,
    },
}

/// Which deliveries to list.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// One line for each next hop: what waits for it, what it waits for, and when it is tried
    #[arg(long, value_name = "WHAT", value_parser = ["destination"], conflicts_with_all = ["state", "domain"])]
    pub by: Option<String>,
    /// In this state alone; may be given several times
    #[arg(long, value_name = "STATE", value_parser = ["due", "leased", "held", "quarantined"])]
    pub state: Vec<String>,
    /// To this domain alone
    #[arg(long)]
    pub domain: Option<String>,
    /// At most so many; 0 for all
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

/// `postern quarantine list`.
#[derive(Args, Clone, Debug)]
pub struct QuarantineList {
    /// To this domain alone
    #[arg(long)]
    pub domain: Option<String>,
    /// Of senders whose address has this in it
    #[arg(long, value_name = "TEXT")]
    pub from: Option<String>,
    /// To recipients whose address has this in it
    #[arg(long, value_name = "TEXT")]
    pub to: Option<String>,
    /// For a reason that has this in it
    #[arg(long, value_name = "TEXT")]
    pub because: Option<String>,
    /// With a subject that has this in it: looks into each message
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// Received at this moment or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<Timestamp>,
    /// Received before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// At most so many; 0 for all
    #[arg(long, default_value_t = 100)]
    pub limit: usize,
}

/// `postern quarantine show`.
#[derive(Args, Clone, Debug)]
pub struct QuarantineShow {
    /// The reference of the message
    #[arg(value_name = "REF")]
    pub reference: Reference,
    /// Also the message itself, as text; without it nothing of its content is shown
    #[arg(long)]
    pub message: bool,
    /// How many lines of each text are shown
    #[arg(long, default_value_t = 60, requires = "message")]
    pub lines: usize,
}

/// One message.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The reference of the message
    #[arg(value_name = "REF")]
    pub reference: Reference,
}

/// Which deliveries an order is for.
#[derive(Args, Clone, Debug)]
#[group(id = "chosen", required = true, multiple = false)]
pub struct Chosen {
    /// Messages, by reference
    #[arg(value_name = "REF", group = "chosen")]
    pub references: Vec<Reference>,
    /// One recipient of a message, by the number that `list` shows
    #[arg(long, value_name = "NUMBER", group = "chosen")]
    pub delivery: Option<i64>,
    /// All recipients in this domain
    #[arg(long, group = "chosen")]
    pub domain: Option<String>,
    /// All of them
    #[arg(long, group = "chosen")]
    pub all: bool,
}

/// An order and its reason.
#[derive(Args, Clone, Debug)]
pub struct Ordered {
    /// What it is for.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Why, for the audit trail; of `fail`, the sender reads it
    #[arg(long, default_value = "an administrator decided so")]
    pub reason: String,
}

/// `postern quarantine release`.
#[derive(Args, Clone, Debug)]
pub struct QuarantineRelease {
    /// Which, and why.
    #[command(flatten)]
    pub ordered: Ordered,
    /// From now on, keep nothing back of its author for this mailbox on the score alone, where it is proven to be him
    #[arg(long, conflicts_with_all = ["all", "domain"])]
    pub allow_sender: bool,
}

/// What is let go, why, and how it goes.
#[derive(Args, Clone, Debug)]
pub struct Release {
    /// Which, and why.
    #[command(flatten)]
    pub ordered: Ordered,
    /// By way of the encryption next hop instead of in clear
    #[arg(long)]
    pub encrypted: bool,
}
