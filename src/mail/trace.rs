//! The trace of a message: Received, loops (RFC 5321 §4.4, §6.3).
