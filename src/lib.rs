//! Postern: a mail gateway and policy filter for organisations that send patient data by email.
//!
//! The modules, in the order in which a message meets them:

// The words of the RFCs: addresses, envelopes, messages, replies.
pub mod mail;

// What a test replaces, and what all share: clock, ids, DNS, secrets, metrics.
pub mod base;

// Files to checked values, with diagnostics like a compiler's.
pub mod config;

// The SMTP protocol without sockets, both sides.
pub mod smtp;

// 1st: mail comes in.
pub mod ingress;

// Who lives here, and where every other name leads.
pub mod directory;

// Who may submit, and under which contract.
pub mod accounts;

// What a reader of the message sees: decoded text, attachments.
pub mod content;

// 2nd: what should happen to it.
pub mod policy;

// 3rd: what was promised.
pub mod queue;

// 4th: when.
pub mod scheduler;

// 5th: how.
pub mod delivery;

// 6th: what came of it, and who is told.
pub mod outcome;

// Seen from outside: the commands, the metrics, the pages behind links in digests.
pub mod admin;

// The whole configuration: one section for each module.
pub mod settings;

// The composition root: builds every part, starts, reloads, drains, stops.
pub mod server;

// Design pages: queue states, crash points, shaping, changes of the directory, what a plan can tell.
pub mod manual;
