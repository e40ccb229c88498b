//! The SMTP protocol without sockets, both sides.

pub mod client;
pub mod data;
pub mod extension;
pub mod reply;
