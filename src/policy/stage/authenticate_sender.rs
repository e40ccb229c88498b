//! The stage authenticate-sender.
