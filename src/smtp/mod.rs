//! The protocol without sockets, both sides (RFC 5321; LMTP: RFC 2033).

pub mod action;
pub mod client;
pub mod command;
pub mod command_error;
pub mod data;
pub mod extension;
pub mod reply;
pub mod sasl;
pub mod server;
