//! Whether a notification is due, to whom, and its text (RFC 3461 §5.2, RFC 5321 §6.1).
