//! Delivery against programs that nobody here wrote: Postfix, OpenSSL, smtp-sink, unbound. A test whose program is
//! not installed, or that may not open port 25 of a loopback address, says so and passes; `.ci/run` installs them.
//!
//! Each file has its cases as a table: what the next hop does, and what comes of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/authority.rs"]
mod authority;
#[path = "support/chains.rs"]
mod chains;
#[path = "support/exchange.rs"]
mod exchange;
#[path = "support/name_server.rs"]
mod name_server;
#[path = "support/next_hop.rs"]
mod next_hop;
#[path = "support/postfix.rs"]
mod postfix;
#[path = "support/program.rs"]
mod program;

#[path = "real_next_hops/answers.rs"]
mod answers;
#[path = "real_next_hops/broken.rs"]
mod broken;
#[path = "real_next_hops/protection.rs"]
mod protection;
#[path = "real_next_hops/published.rs"]
mod published;
#[path = "real_next_hops/signed.rs"]
mod signed;
#[path = "real_next_hops/sink.rs"]
mod sink;
