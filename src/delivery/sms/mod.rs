//! Text messages: one text to one number through a provider, never twice by accident.
//!
//! Providers such as GOV.UK Notify send a text again if they are asked again, and a patient who gets a reminder five times
//! rings up, or stops reading them. So every text has a row in a book of its own (`<data>/sms.db`) from before its
//! request is written until long after it has ended, and what the row says decides:
//!
//! ```text
//!  row        what is known                          the next attempt
//!  none       it was never sent                      sends it
//!  begun      a request was written, no answer       asks the provider by reference: taken, or `on-unknown` decides
//!  failed     the provider says that it broke        asks by reference; sends again if the provider has nothing
//!  asked      the same as begun, and it was held     (somebody let it go on) asks by reference, else sends
//!  taken      the provider has it                    asks how it is getting on; never sends
//!  ended      delivered, or failed for good          says so
//! ```
//!
//! A crash at any moment leaves one of these rows: between the provider's answer and the queue's settlement it is
//! `begun` or `taken`, and the next attempt sends nothing.

mod attempt;
mod book;
mod callbacks;
mod http;
mod notify;
mod provider;
mod quiet;
pub mod settings;

mod webhook;

pub use attempt::{Texts, TextsError};
pub use book::{Book, BookError, OptOut};
pub use callbacks::{Heard, serve as serve_callbacks};
pub use settings::{CallbackSettings, OnUnknown, SmsSettings};

/// The file with the key that numbers are hashed with, in the data folder.
pub const KEY: &str = "sms.key";

#[cfg(test)]
mod tests;
