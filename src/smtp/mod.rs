//! The SMTP protocol without sockets, both sides.

pub mod command;
pub mod data;
pub mod extension;
pub mod server;
