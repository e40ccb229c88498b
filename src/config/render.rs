//! Diagnostics for people, for one line, as JSON.
