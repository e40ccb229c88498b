//! Seen from outside: the commands, and what runs beside the mail for people: the metrics, and the pages behind the links
//! in digests of the quarantine.
//!
//! Each command is a function that is handed what it needs, writes its answer and returns an
//! [`Answer`], the exit status. None of them knows how the parts of the gateway are put together:
//! that is `server`'s and `main`'s affair.

pub mod account;
mod account_contract;
mod account_report;
pub mod answer;
pub mod audit;
pub mod banner;
pub mod certs;
pub mod check;
pub mod cli;
pub mod corpus;
pub mod destinations;
pub mod directory;
pub mod dkim;
pub mod evidence;
pub mod explain;
pub mod input;
pub mod learn;
pub mod metrics;
pub mod people;
pub mod plan;
pub mod quarantine;
pub mod queue;
pub mod record;
pub mod report;
pub mod resolve;
pub mod secure_domains;
pub mod send;
pub mod settings;
pub mod sms;
pub mod spam_corpus;
pub mod trace;
mod trail;

pub use answer::{Answer, CommandError};
pub use settings::Settings;
